//! What a client still sends when it has been answered. A refusal that comes early would otherwise close the connection
//! under a client that is sending: it may never see the answer, and the next request on that connection is lost.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    middleware::Next,
    response::Response,
};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};
use tokio::runtime::Handle;

/// The most that is read of what nobody wants, in bytes: a large upload and some.
const LEFTOVER_BYTES: usize = 256 * 1024 * 1024;
/// How long it is read.
const LEFTOVER_WITHIN: Duration = Duration::from_secs(30);

/// The layer.
pub async fn drain(request: Request, next: Next) -> Response {
    next.run(request.map(|body| Body::new(Drained(Some(body))))).await
}

/// A body whose rest is read when it is dropped.
struct Drained(Option<Body>);

impl HttpBody for Drained {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.0 = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        let rest = self.0.take().filter(|body| !body.is_end_stream());
        // Without a runtime the connection is gone as well.
        if let (Some(rest), Ok(runtime)) = (rest, Handle::try_current()) {
            runtime.spawn(tokio::time::timeout(LEFTOVER_WITHIN, discard(rest)));
        }
    }
}

async fn discard(mut rest: Body) {
    let mut discarded = 0;
    while let Some(Ok(frame)) = rest.frame().await {
        discarded += frame.data_ref().map_or(0, Bytes::len);
        if discarded > LEFTOVER_BYTES {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::{StreamExt as _, stream};
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn what_is_dropped_is_read_to_its_end() {
        let (seen, mut sees) = mpsc::unbounded_channel();
        let chunks = stream::iter(0..10_u8).map(move |n| {
            seen.send(n).expect("someone looks");
            Ok::<_, Infallible>(Bytes::from(vec![n; 1000]))
        });
        let mut body = Body::new(Drained(Some(Body::from_stream(chunks))));
        assert!(body.frame().await.is_some());
        drop(body);
        let mut last = None;
        while let Some(n) = sees.recv().await {
            last = Some(n);
        }
        assert_eq!(last, Some(9));
    }
}
