//! `GET /api/stream/{sandbox_id}`: the WebSocket. A page can't see an HTTP status, so what refuses a stream comes as a
//! close after the upgrade; only a full node and what is no WebSocket are answered before.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    extract::{
        FromRequestParts, Path, Query, State,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade},
    },
    http::{Uri, request::Parts},
    response::{IntoResponse, Response},
};
use futures::{Sink, SinkExt as _, Stream, StreamExt as _};
use playhouse_protocol::client::{BINARY_SUBPROTOCOL, MESSAGE_BYTES};
use serde::Deserialize;
use tokio_tungstenite::tungstenite;
use utoipa::IntoParams;

use super::{
    app::App,
    extract,
    problem::{Answer, Problem},
    processes::check_writer,
};
use crate::actors::{
    Code,
    session::{self, Frame, StreamFrom, StreamParams, close},
};

/// A socket's read buffer: clients send keystrokes. The library's own default is 128 KiB for each socket.
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// A socket's write buffer: frames above it go straight out.
const WRITE_BUFFER_BYTES: usize = 8 * 1024;
/// The most a socket holds unsent before a write fails: one large message and some.
const MAX_WRITE_BUFFER_BYTES: usize = 2 * 1024 * 1024;
/// What the library reads of a message: twice what one may have, so that one that is a little too long is read to its
/// end and answered with a close. What is left unread would reset the connection under that close.
const READ_MESSAGE_BYTES: usize = 2 * MESSAGE_BYTES;
/// How long a refused client has to take its close.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// The token is missing, not valid, or for another sandbox.
const TOKEN_INVALID: u16 = 4401;
/// There is no such sandbox.
const NO_SANDBOX: u16 = 4404;
/// A parameter is not what is asked for (RFC 6455: policy violation).
const PARAMETER_INVALID: u16 = 1008;

/// How the stream is opened.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StreamQuery {
    /// A stream token for this sandbox.
    token: Option<String>,
    /// `earliest` (the default), `resume` or `live`.
    from: Option<String>,
    /// `ack`: at most 100 KiB of data a process beyond its last `ack` is sent.
    flow: Option<String>,
    /// Names the socket's writer, at most 64 characters; the user's id by default.
    writer: Option<String>,
}

/// An upgrade, or the refusal of what is none.
pub struct Upgrade(WebSocketUpgrade);

impl std::fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Upgrade")
    }
}

impl FromRequestParts<App> for Upgrade {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        match WebSocketUpgrade::from_request_parts(parts, app).await {
            Ok(upgrade) => Ok(Self(upgrade)),
            Err(rejection) => Err(Problem::new(Code::UpgradeRequired, rejection.body_text())),
        }
    }
}

/// Opens a sandbox's stream.
#[utoipa::path(get, path = "/api/stream/{sandbox_id}", tag = "running",
    params(("sandbox_id" = Uuid, Path, description = "The sandbox"), StreamQuery),
    responses((status = 101, description = "A WebSocket; refusals come as closes"), (status = 503, description = "The node is full")))]
pub async fn open_stream(
    State(app): State<App>,
    Path(sandbox): Path<String>,
    uri: Uri,
    Upgrade(upgrade): Upgrade,
) -> Answer<Response> {
    // Taken before the upgrade, which takes its time: many that come at once are counted one after the other.
    let place = app.limits.socket()?;
    let upgrade = upgrade
        .protocols([BINARY_SUBPROTOCOL])
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(MAX_WRITE_BUFFER_BYTES)
        .max_message_size(READ_MESSAGE_BYTES)
        .max_frame_size(READ_MESSAGE_BYTES);
    let binary =
        upgrade.selected_protocol().is_some_and(|protocol| protocol.as_bytes() == BINARY_SUBPROTOCOL.as_bytes());
    let params = params(&app, &sandbox, &uri, binary);
    let node = app.node.clone();
    Ok(upgrade
        .on_upgrade(async move |socket| match params {
            Ok(params) => {
                session::run(node, Socket { socket, unreadable: false }, params).await;
                drop(place);
            }
            Err(refused) => {
                // Whoever has no token keeps nobody's place while it takes its time.
                drop(place);
                refuse(socket, refused).await;
            }
        })
        .into_response())
}

/// Why a stream is refused: the close's code and its reason.
#[derive(Debug, PartialEq, Eq)]
struct Refused {
    code: u16,
    reason: String,
}

fn params(app: &App, sandbox: &str, uri: &Uri, binary: bool) -> Result<StreamParams, Refused> {
    let refused = |code, reason: &str| Refused { code, reason: reason.to_owned() };
    let Query(query) =
        Query::<StreamQuery>::try_from_uri(uri).map_err(|_| refused(PARAMETER_INVALID, "the query can't be read"))?;
    let sandbox_id = extract::id(sandbox).map_err(|_| refused(NO_SANDBOX, "no such sandbox"))?;
    let token = query.token.as_deref().ok_or_else(|| refused(TOKEN_INVALID, "a token is needed"))?;
    let grant = app.keys.check_stream(token).map_err(|error| refused(TOKEN_INVALID, &error.to_string()))?;
    if grant.sandbox_id != sandbox_id {
        return Err(refused(TOKEN_INVALID, "the token is for another sandbox"));
    }
    let from =
        from(query.from.as_deref()).ok_or_else(|| refused(PARAMETER_INVALID, "from: earliest, resume or live"))?;
    let flow_ack = match query.flow.as_deref() {
        None | Some("") => false,
        Some("ack") => true,
        Some(_) => return Err(refused(PARAMETER_INVALID, "flow: ack")),
    };
    let writer = query.writer.unwrap_or_else(|| grant.caller.user_id.to_string());
    check_writer(&writer).map_err(|error| refused(PARAMETER_INVALID, &error))?;
    Ok(StreamParams { sandbox_id, caller: grant.caller, from, flow_ack, writer, binary })
}

fn from(text: Option<&str>) -> Option<StreamFrom> {
    match text {
        None | Some("" | "earliest") => Some(StreamFrom::Earliest),
        Some("resume") => Some(StreamFrom::Resume),
        Some("live") => Some(StreamFrom::Live),
        Some(_) => None,
    }
}

/// Closes a socket, and waits until the client has taken it: a socket that is just dropped would look broken.
async fn refuse(mut socket: WebSocket, refused: Refused) {
    let close = CloseFrame { code: refused.code, reason: refused.reason.into() };
    let closed = async {
        if socket.send(Message::Close(Some(close))).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    // A client that does not answer has had its time.
    let _ = tokio::time::timeout(CLOSE_WITHIN, closed).await;
}

/// The socket as a session knows it.
#[derive(Debug)]
struct Socket {
    socket: WebSocket,
    /// Something came that is not read: nothing after it can be.
    unreadable: bool,
}

/// What a client is told that sent what is no message; an error where the connection itself is broken.
fn unreadable(error: axum::Error) -> Result<Frame, axum::Error> {
    use tungstenite::{Error, error::ProtocolError};

    let error = error.into_inner().downcast::<Error>().map_err(axum::Error::new)?;
    match *error {
        Error::Capacity(_) => Ok(Frame::Unreadable(close::TOO_LARGE, "a message may be 1 MiB")),
        Error::Utf8(_) => Ok(Frame::Unreadable(close::NOT_TEXT, "a text message is UTF-8")),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Err(axum::Error::new(error)),
        Error::Protocol(_) => Ok(Frame::Unreadable(close::PROTOCOL, "this is no frame of a client's")),
        _ => Err(axum::Error::new(error)),
    }
}

impl Stream for Socket {
    type Item = Result<Frame, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.unreadable {
            // The session ends it once the client has had its time to take the close.
            return Poll::Pending;
        }
        let message = match ready!(self.socket.poll_next_unpin(context)) {
            None => return Poll::Ready(None),
            Some(Ok(message)) => message,
            Some(Err(error)) => {
                return Poll::Ready(Some(unreadable(error).inspect(|_| self.unreadable = true)));
            }
        };
        Poll::Ready(Some(Ok(match message {
            Message::Text(text) => Frame::Text(text.as_str().to_owned()),
            Message::Binary(bytes) => Frame::Binary(bytes),
            Message::Ping(bytes) => Frame::Ping(bytes),
            Message::Pong(bytes) => Frame::Pong(bytes),
            Message::Close(Some(close)) => Frame::Close(close.code, close.reason.to_string()),
            // 1005: no code was given (RFC 6455).
            Message::Close(None) => Frame::Close(1005, String::new()),
        })))
    }
}

impl Sink<Frame> for Socket {
    type Error = axum::Error;

    fn poll_ready(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.socket.poll_ready_unpin(context)
    }

    fn start_send(mut self: Pin<&mut Self>, frame: Frame) -> Result<(), Self::Error> {
        self.socket.start_send_unpin(match frame {
            Frame::Text(text) => Message::Text(text.into()),
            Frame::Binary(bytes) => Message::Binary(bytes),
            Frame::Ping(bytes) => Message::Ping(bytes),
            Frame::Pong(bytes) => Message::Pong(bytes),
            Frame::Close(code, reason) => Message::Close(Some(CloseFrame { code, reason: reason.into() })),
            // A session never writes one.
            Frame::Unreadable(..) => return Ok(()),
        })
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.socket.poll_flush_unpin(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.socket.poll_close_unpin(context)
    }
}
