//! Each request as a span, a log line and two metrics. Routes are named by their pattern, never by what was asked.

use std::time::Duration;

use axum::{
    extract::{MatchedPath, Request},
    http::Method,
    middleware::Next,
    response::Response,
};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::request_id::RequestId;

/// A request slower than this is worth a line.
const SLOW: Duration = Duration::from_secs(5);

/// The layer.
pub async fn observe(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let id = request.extensions().get::<RequestId>().map(ToString::to_string).unwrap_or_default();
    let span = tracing::info_span!("request", %method, route, id);
    let begun = Instant::now();
    let response = next.run(request).instrument(span.clone()).await;
    let took = begun.elapsed();
    let status = response.status();
    let labels = [("method", label(&method).to_owned()), ("route", route), ("status", status.as_u16().to_string())];
    metrics::counter!("playhouse_http_requests_total", &labels).increment(1);
    metrics::histogram!("playhouse_http_request_seconds", &labels[..2]).record(took.as_secs_f64());
    span.in_scope(|| {
        if status.is_server_error() || took > SLOW {
            tracing::warn!(status = status.as_u16(), took_ms = took.as_millis(), "answered");
        } else {
            tracing::debug!(status = status.as_u16(), took_ms = took.as_millis(), "answered");
        }
    });
    response
}

/// Only known methods are labels, so that a client can't make series.
fn label(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("OTHER")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_can_not_make_labels() {
        assert_eq!(label(&Method::GET), "GET");
        for made in ["QWERTYU", "get", "X"] {
            assert_eq!(label(&Method::from_bytes(made.as_bytes()).expect("a token")), "OTHER");
        }
    }
}
