//! Every refusal as RFC 9457 `application/problem+json`: one place where a [`Code`] becomes a status and a body.
//!
//! A handler's answer carries its [`Problem`] as an extension and no body; [`render`], the outermost layer but the
//! request's id, writes the body, so that every problem names the request it belongs to. Answers of other layers that
//! only have a status (a panic, an unknown method) become problems there too.

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::request_id::RequestId;
use crate::actors::{Code, Refused};

/// The media type of a problem.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// What went wrong, as the contract shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// A URN of the code.
    #[serde(rename = "type")]
    kind: String,
    /// A short title, the same for every problem of this code.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What was wrong here, for a person.
    detail: String,
    /// A stable word.
    code: Code,
    /// The request it happened in, as in `x-request-id`.
    request_id: String,
}

/// A refusal on its way out.
#[derive(Debug, Clone)]
pub struct Problem {
    refused: Refused,
    /// Seconds after which a retry makes sense.
    retry_after: Option<u64>,
}

/// What a handler answers.
pub type Answer<T> = Result<T, Problem>;

impl Problem {
    /// A problem of this code with these particulars.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Refused::new(code, detail).into()
    }

    /// The same, and when to try again, in seconds (at least one).
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds.max(1));
        self
    }

    /// Its code.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.refused.code
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        // Both say "not now": a client that is told nothing would retry at once.
        let retry_after = matches!(refused.code.status(), 429 | 503).then_some(1);
        Self { refused, retry_after }
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Refused::from(code).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.refused.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if self.refused.code == Code::Unauthenticated {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// The code of an answer that has only a status, where it is one of ours.
fn code_of_status(status: StatusCode) -> Option<Code> {
    match status.as_u16() {
        404 => Some(Code::NotFound),
        405 => Some(Code::MethodNotAllowed),
        413 => Some(Code::TooLarge),
        415 => Some(Code::UnsupportedMediaType),
        500 => Some(Code::Internal),
        _ => None,
    }
}

/// The layer that writes problems out.
pub async fn render(request: Request, next: Next) -> Response {
    let request_id = request.extensions().get::<RequestId>().cloned();
    let mut response = next.run(request).await;
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        // Whatever has a body says itself what it is.
        None if response.headers().contains_key(header::CONTENT_TYPE) => return response,
        None => match code_of_status(response.status()) {
            Some(code) => code.into(),
            None => return response,
        },
    };
    let code = problem.refused.code;
    if code.status() >= 500 && code != Code::Retry && code != Code::Overloaded {
        tracing::warn!(code = code.as_str(), detail = problem.refused.detail, "a request failed");
    }
    let body = ProblemBody {
        kind: format!("urn:playhouse:problem:{}", code.as_str()),
        title: code.title().to_owned(),
        status: code.status(),
        detail: problem.refused.detail,
        code,
        request_id: request_id.map(|id| id.to_string()).unwrap_or_default(),
    };
    let (mut parts, _) = response.into_parts();
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    parts.headers.remove(header::CONTENT_LENGTH);
    // Plain strings and numbers always serialise.
    Response::from_parts(parts, Body::from(serde_json::to_vec(&body).unwrap_or_default()))
}

/// Answers what no route knows.
pub async fn not_found() -> Problem {
    Code::NotFound.into()
}

/// Answers a known path asked with an unknown method.
pub async fn method_not_allowed() -> Problem {
    Code::MethodNotAllowed.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_valid_status_and_its_word_is_what_serde_writes() {
        for code in Code::ALL {
            let status = Problem::from(*code).into_response().status();
            assert!(status.is_client_error() || status.is_server_error(), "{code:?}");
            assert_eq!(serde_json::to_value(code).expect("serialises"), code.as_str());
        }
    }

    #[test]
    fn what_may_be_tried_again_says_when() {
        for code in [Code::RateLimited, Code::Overloaded, Code::Retry, Code::InputFull, Code::SandboxUnavailable] {
            let response = Problem::from(code).into_response();
            assert_eq!(response.headers()[header::RETRY_AFTER], "1", "{code:?}");
        }
        assert!(!Problem::from(Code::PathExists).into_response().headers().contains_key(header::RETRY_AFTER));
    }
}
