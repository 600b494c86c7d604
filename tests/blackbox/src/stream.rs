//! A WebSocket to one sandbox, with a [`Model`] that checks every frame.

use std::{collections::BTreeMap, time::Duration};

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{self, Message, client::IntoClientRequest, http::StatusCode, protocol::WebSocketConfig},
};
use uuid::Uuid;

use crate::{
    Client, Model,
    client::encoded,
    frame::{self, EventId, Frame, Status},
    shape,
    wait::PATIENCE,
};

/// The subprotocol of binary frames.
pub const BINARY: &str = "playhouse.v1.bin";
/// In `?flow=ack`: how much is taken before it is acknowledged.
const ACK_EVERY: u64 = 5 * 1024;

/// How a stream is opened.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `?from=`.
    pub from: Option<&'static str>,
    /// `?flow=ack`, with an `ack` every 5 KiB unless `hold_acks`.
    pub flow_ack: bool,
    /// Send no acks by itself.
    pub hold_acks: bool,
    /// `?writer=`.
    pub writer: Option<String>,
    /// Offer the binary subprotocol.
    pub binary: bool,
    /// This token instead of a fresh one.
    pub token: Option<String>,
}

/// How a socket ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The close code, 1006 where there was none.
    pub code: u16,
    /// In words.
    pub reason: String,
}

/// A socket that is refused before it is one.
#[derive(Debug)]
pub struct Refused {
    /// The status of the upgrade.
    pub status: u16,
    /// In words.
    pub reason: String,
}

/// An open socket.
#[derive(Debug)]
pub struct Stream {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// What it received.
    pub model: Model,
    /// Frames other than output, in order.
    pub seen: Vec<Frame>,
    /// How many pings the server sent.
    pub pings: u64,
    /// Whether the server chose the binary subprotocol.
    pub is_binary: bool,
    options: Options,
    unacked: BTreeMap<Uuid, u64>,
}

/// A fresh token for a sandbox's stream.
pub async fn token(client: &Client, sandbox: Uuid) -> String {
    let answer = client.post_empty(&format!("/api/sandboxes/{sandbox}/token")).await.expect(200).json();
    shape::time(&answer, "expires_at");
    shape::text(&answer, "stream_token")
}

impl Stream {
    /// Opens a socket and waits for its hello.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn open(client: &Client, sandbox: Uuid, options: Options) -> Self {
        let token = match &options.token {
            Some(token) => token.clone(),
            None => token(client, sandbox).await,
        };
        let model = Model::new(sandbox);
        let mut stream = Self::connect(client, sandbox, &token, options, model).await.expect("the upgrade");
        stream.hello().await.unwrap_or_else(|closed| panic!("no hello but {closed:?}"));
        stream
    }

    /// Opens a socket with this token and what was received before; `hello` is not awaited.
    ///
    /// # Errors
    /// When the server is not there or refuses the upgrade itself.
    pub async fn connect(
        client: &Client,
        sandbox: Uuid,
        token: &str,
        options: Options,
        mut model: Model,
    ) -> Result<Self, Refused> {
        let base = client.server().url().replacen("http://", "ws://", 1);
        let mut url = format!("{base}/api/stream/{sandbox}?token={}", encoded(token));
        if let Some(from) = options.from {
            url.push_str(&format!("&from={from}"));
        }
        if options.flow_ack {
            url.push_str("&flow=ack");
        }
        if let Some(writer) = &options.writer {
            url.push_str(&format!("&writer={}", encoded(writer)));
        }
        let mut request = url.into_client_request().expect("a request");
        if options.binary {
            request.headers_mut().insert("sec-websocket-protocol", BINARY.parse().expect("a header"));
        }
        let config = WebSocketConfig::default().max_message_size(Some(4 << 20)).max_frame_size(Some(4 << 20));
        let opening = connect_async_with_config(request, Some(config), true);
        let (socket, answer) = match timeout(PATIENCE, opening).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(tungstenite::Error::Http(answer))) => {
                let reason = answer.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
                return Err(Refused { status: answer.status().as_u16(), reason });
            }
            Ok(Err(error)) => return Err(Refused { status: 0, reason: error.to_string() }),
            Err(_) => return Err(Refused { status: 0, reason: "no answer to the upgrade".into() }),
        };
        assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
        let is_binary = answer.headers().get("sec-websocket-protocol").is_some_and(|chosen| chosen == BINARY);
        assert_eq!(is_binary, options.binary, "the chosen subprotocol");
        model.new_socket();
        Ok(Self { socket, model, seen: Vec::new(), pings: 0, is_binary, options, unacked: BTreeMap::new() })
    }

    /// Opens a socket that goes on where `model` ends, by the plural resume.
    ///
    /// # Errors
    /// When the server is not there, refuses, or closes at once.
    pub async fn resume(
        client: &Client,
        sandbox: Uuid,
        token: &str,
        options: Options,
        model: Model,
    ) -> Result<Self, (Model, String)> {
        let options = Options { from: Some("resume"), ..options };
        let before = model.clone();
        let mut stream = match Self::connect(client, sandbox, token, options, model).await {
            Ok(stream) => stream,
            Err(refused) => return Err((before, format!("{refused:?}"))),
        };
        if let Err(closed) = stream.hello().await {
            return Err((stream.model, format!("{closed:?}")));
        }
        let cursors = stream.model.cursors();
        match stream.try_send(resume_all(&cursors)).await {
            Ok(()) => Ok(stream),
            Err(error) => Err((stream.model, error.to_string())),
        }
    }

    /// Waits for `hello`.
    ///
    /// # Errors
    /// When the socket is closed instead.
    pub async fn hello(&mut self) -> Result<(), Closed> {
        let frame = self.next().await?;
        assert!(matches!(frame, Frame::Hello { .. }), "hello comes first, not {frame:?}");
        Ok(())
    }

    /// The next frame.
    ///
    /// # Errors
    /// When the socket is closed.
    ///
    /// # Panics
    /// When nothing comes, or what comes breaks the contract.
    pub async fn next(&mut self) -> Result<Frame, Closed> {
        match self.next_within(PATIENCE).await {
            Some(next) => next,
            None => panic!("nothing came for {PATIENCE:?}; cursors {:?}", self.model.cursors()),
        }
    }

    /// The next frame, or none within `limit`.
    pub async fn next_within(&mut self, limit: Duration) -> Option<Result<Frame, Closed>> {
        // One deadline for all: pings must not keep this waiting for ever.
        timeout(limit, self.next_frame()).await.ok()
    }

    async fn next_frame(&mut self) -> Result<Frame, Closed> {
        loop {
            let frame = match self.socket.next().await {
                Some(Ok(Message::Text(text))) => Frame::of_text(&text),
                Some(Ok(Message::Binary(bytes))) => {
                    assert!(self.is_binary, "a binary frame that was not asked for");
                    Frame::of_binary(&bytes)
                }
                Some(Ok(Message::Close(frame))) => {
                    let (code, reason) = frame.map_or((1005, String::new()), |f| (f.code.into(), f.reason.to_string()));
                    return Err(Closed { code, reason });
                }
                Some(Ok(Message::Ping(_))) => {
                    self.pings += 1;
                    continue;
                }
                Some(Ok(Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Err(error)) => return Err(Closed { code: 1006, reason: error.to_string() }),
                None => return Err(Closed { code: 1006, reason: "the end".into() }),
            };
            self.model.take(&frame);
            if let Frame::Output(output) = &frame {
                self.count(output.process, output.id, output.bytes.len() as u64).await;
            } else {
                self.seen.push(frame.clone());
            }
            return Ok(frame);
        }
    }

    async fn count(&mut self, process: Uuid, id: EventId, bytes: u64) {
        let unacked = self.unacked.entry(process).or_default();
        *unacked += bytes;
        if self.options.flow_ack && !self.options.hold_acks && *unacked >= ACK_EVERY {
            *unacked = 0;
            // A socket that fails here fails in the next read too.
            let _ = self.try_send(json!({"type": "ack", "process_id": process, "id": id.to_string()})).await;
        }
    }

    /// Takes frames until `done` says so of one; it is answered.
    ///
    /// # Panics
    /// When the socket closes before, or nothing comes.
    pub async fn until(&mut self, what: &str, mut done: impl FnMut(&Frame, &Model) -> bool) -> Frame {
        loop {
            match self.next().await {
                Ok(frame) if done(&frame, &self.model) => return frame,
                Ok(_) => {}
                Err(closed) => panic!("{closed:?} while waiting for {what}"),
            }
        }
    }

    /// Takes frames until a process has ended.
    pub async fn end_of(&mut self, process: Uuid) -> Status {
        let known = |model: &Model| model.tapes.get(&process).and_then(|tape| tape.end.clone());
        if known(&self.model).is_none() {
            self.until("the process to end", |_, model| known(model).is_some()).await;
        }
        known(&self.model).expect("it has ended")
    }

    /// Takes frames until a process has printed something on stdout.
    pub async fn shows(&mut self, process: Uuid, needle: &str) {
        let has = |model: &Model| model.tapes.get(&process).is_some_and(|tape| tape.text().contains(needle));
        if !has(&self.model) {
            self.until(&format!("{needle:?} on the stream"), |_, model| has(model)).await;
        }
    }

    /// Takes frames until an `error` comes, and answers its code.
    pub async fn error(&mut self) -> (String, Option<Uuid>) {
        match self.until("an error", |frame, _| matches!(frame, Frame::Error { .. })).await {
            Frame::Error { code, process } => (code, process),
            other => unreachable!("{other:?}"),
        }
    }

    /// Takes frames until an input is acknowledged up to `seq`.
    pub async fn input_taken(&mut self, process: Uuid, seq: u64) {
        self.until("an input_ack", |frame, _| matches!(frame, Frame::InputAck(of, to) if *of == process && *to >= seq))
            .await;
    }

    /// Takes frames until the socket closes.
    ///
    /// # Panics
    /// When it does not.
    pub async fn closed(&mut self) -> Closed {
        loop {
            if let Err(closed) = self.next().await {
                return closed;
            }
        }
    }

    /// Sends a JSON message.
    ///
    /// # Errors
    /// When the socket is broken.
    pub async fn try_send(&mut self, message: Value) -> Result<(), tungstenite::Error> {
        self.socket.send(Message::text(message.to_string())).await
    }

    /// Sends a JSON message.
    ///
    /// # Panics
    /// When the socket is broken.
    pub async fn send(&mut self, message: Value) {
        self.try_send(message).await.expect("the socket takes it");
    }

    /// Sends any text.
    ///
    /// # Panics
    /// When the socket is broken.
    pub async fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.expect("the socket takes it");
    }

    /// Sends any bytes, whether the socket takes them or not.
    pub async fn send_bytes(&mut self, bytes: Vec<u8>) {
        // One that the server closes on may fail on either side; what comes back tells.
        let _ = self.socket.send(Message::binary(bytes)).await;
    }

    /// Sends input with a number.
    pub async fn input(&mut self, process: Uuid, data: &str, seq: u64) {
        if self.is_binary {
            self.send_bytes(frame::input_frame(process, seq, data.as_bytes())).await;
        } else {
            self.send(json!({"type": "input", "process_id": process, "data": data, "seq": seq})).await;
        }
    }

    /// Breaks the connection without a word, and answers what was received.
    #[must_use]
    pub fn break_off(self) -> Model {
        self.model
    }
}

/// The plural resume.
#[must_use]
pub fn resume_all(cursors: &BTreeMap<Uuid, EventId>) -> Value {
    let processes: serde_json::Map<String, Value> =
        cursors.iter().map(|(process, id)| (process.to_string(), json!(id.to_string()))).collect();
    json!({"type": "resume", "processes": processes})
}
