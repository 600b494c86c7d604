//! Each request's id: taken from the caller where it is plain, made otherwise, and named on every answer.

use std::{fmt, sync::Arc};

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use uuid::Uuid;

/// The header.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id taken from a caller.
const CALLERS_ID_BYTES: usize = 128;

/// A request's id.
#[derive(Debug, Clone)]
pub struct RequestId(Arc<str>);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl RequestId {
    /// The caller's, if it is short and can't break a log line; a fresh one otherwise.
    fn of(request: &Request) -> Self {
        let callers = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
        match callers.filter(|id| plain(id)) {
            Some(id) => Self(id.into()),
            None => Self(Uuid::now_v7().to_string().into()),
        }
    }
}

fn plain(id: &str) -> bool {
    (1..=CALLERS_ID_BYTES).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte))
}

/// The outermost layer.
pub async fn tag(mut request: Request, next: Next) -> Response {
    let id = RequestId::of(&request);
    let header = HeaderValue::from_str(&id.0);
    request.extensions_mut().insert(id);
    let mut response = next.run(request).await;
    if let Ok(header) = header {
        response.headers_mut().insert(REQUEST_ID, header);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_ids_are_taken_over() {
        for good in ["a", "0193-aa_b.c:d/e"] {
            assert!(plain(good), "{good:?}");
        }
        for bad in ["", "a b", "a\nb", "ä", &"x".repeat(129)] {
            assert!(!plain(bad), "{bad:?}");
        }
    }
}
