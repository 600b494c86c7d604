//! A request for an `http://` address, sent on as a proxy does (RFC 9110, 7.6).

use std::{sync::Arc, time::Duration};

use http_body_util::BodyExt as _;
use hyper::{
    HeaderMap, Request, Uri,
    body::Incoming,
    client::conn::http1,
    header::{self, HeaderName, HeaderValue},
    http::uri::PathAndQuery,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::OwnedSemaphorePermit, time::timeout};
use tower_http::timeout::TimeoutBody;

use super::proxy::{Answer, IDLE_LIMIT};

/// How long a server may take to begin its answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// Fields that are between two neighbours alone, beside those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
const UNREGISTERED: [&str; 2] = ["keep-alive", "proxy-connection"];

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum ForwardError {
    /// The connection broke, or what came is no HTTP.
    #[error("{0}")]
    Http(#[from] hyper::Error),
    /// It took too long.
    #[error("no answer came in {} s", ANSWER_LIMIT.as_secs())]
    Late(#[from] tokio::time::error::Elapsed),
    /// The authority is none that can stand in a header.
    #[error("the address is malformed")]
    Malformed,
}

/// Sends a request on over a connection to where it goes, and answers what comes back. The place is taken until all of
/// that has passed.
///
/// # Errors
/// See [`ForwardError`].
pub(super) async fn forward(
    request: Request<Incoming>,
    server: TcpStream,
    place: Arc<OwnedSemaphorePermit>,
) -> Result<Answer, ForwardError> {
    let (mut head, body) = request.into_parts();
    let named = head.uri.authority().map(|authority| HeaderValue::from_str(authority.as_str()));
    let host = named.and_then(Result::ok).ok_or(ForwardError::Malformed)?;
    let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    head.uri = Uri::from(path);
    strip(&mut head.headers);
    head.headers.insert(header::HOST, host);
    let (mut sender, connection) = http1::handshake(TokioIo::new(server)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a forwarded request broke off");
        }
    });
    let answer = timeout(ANSWER_LIMIT, sender.send_request(Request::from_parts(head, body))).await??;
    let (mut head, body) = answer.into_parts();
    strip(&mut head.headers);
    let body = TimeoutBody::new(IDLE_LIMIT, body).map_frame(move |frame| {
        let _taken = &place;
        frame
    });
    Ok(Answer::from_parts(head, body.boxed()))
}

/// Takes away what is not for the next one.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.into_iter().chain(HOP_BY_HOP) {
        headers.remove(name);
    }
    for name in UNREGISTERED {
        headers.remove(name);
    }
}
