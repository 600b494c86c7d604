//! One stream to the node after the handshake: frames in and out, one at a time, and whether the node still speaks.

use std::{
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::{SinkExt, StreamExt};
use playhouse_protocol::{
    agent::{AgentFrame, NodeFrame},
    codec::{self, CodecError, FRAME_BYTES},
};
use playhouse_quiet::QuietStream;
use tokio::time::Instant;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message, protocol::Role, protocol::WebSocketConfig},
};

use crate::log;

/// How often a beat is sent.
pub const BEAT: Duration = Duration::from_secs(1);

/// A node that says nothing for this long is gone.
pub const SILENCE: Duration = Duration::from_secs(3);

/// Frames are gathered up to this size before they are written: an echo and the word that its key was taken fit.
const WRITE_BUFFER_BYTES: usize = 4 * 1024;

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The node closed it.
    #[error("the node closed the stream")]
    Closed,
    /// It broke.
    #[error("{0}")]
    WebSocket(Box<tungstenite::Error>),
    /// A frame that does not decode.
    #[error("{0}")]
    Codec(#[from] CodecError),
    /// Nothing came for 3 s.
    #[error("nothing came from the node for {} s", SILENCE.as_secs())]
    Silent,
    /// The node sends faster than its frames can be carried out, or takes no answers.
    #[error("{0}")]
    Overrun(&'static str),
}

impl From<tungstenite::Error> for LinkError {
    fn from(error: tungstenite::Error) -> Self {
        Self::WebSocket(Box::new(error))
    }
}

/// A stream to the node.
#[derive(Debug)]
pub struct Link {
    socket: WebSocketStream<QuietStream>,
    /// Something sent is not in the node's socket yet.
    unflushed: bool,
    heard: Instant,
    beat_at: Instant,
}

impl Link {
    /// Speaks WebSocket on a proven stream.
    pub async fn new(stream: QuietStream) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(16 * 1024)
            .write_buffer_size(WRITE_BUFFER_BYTES)
            .max_write_buffer_size(2 * FRAME_BYTES)
            .max_message_size(Some(FRAME_BYTES))
            .max_frame_size(Some(FRAME_BYTES));
        let socket = WebSocketStream::from_raw_socket(stream, Role::Client, Some(config)).await;
        let now = Instant::now();
        Self { socket, unflushed: false, heard: now, beat_at: now + BEAT }
    }

    /// The next frame and its size in bytes. Nothing is lost when this is dropped.
    ///
    /// # Errors
    /// The stream has ended.
    pub async fn receive(&mut self) -> Result<(NodeFrame, usize), LinkError> {
        loop {
            let message = self.socket.next().await.ok_or(LinkError::Closed)??;
            self.heard = Instant::now();
            match message {
                Message::Binary(bytes) => return Ok((codec::decode(&bytes)?, bytes.len())),
                Message::Close(_) => return Err(LinkError::Closed),
                Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    /// Whether another frame may be sent: none is stopped by a full socket.
    ///
    /// # Errors
    /// The stream is broken.
    pub fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        self.socket.poll_ready_unpin(context).map_err(LinkError::from)
    }

    /// Hands over what was sent; ready when nothing is left.
    ///
    /// # Errors
    /// The stream is broken.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        if self.unflushed {
            ready!(self.socket.poll_flush_unpin(context))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Sends a frame, where there is room. Small ones wait for [`Link::poll_flush`], to reach the node in one piece.
    ///
    /// # Errors
    /// The stream is broken. A frame that is too long is left out with a log line: sending it again would not help.
    pub fn send(&mut self, frame: &AgentFrame) -> Result<(), LinkError> {
        match codec::encode(frame) {
            Ok(bytes) => {
                self.unflushed = true;
                Ok(self.socket.start_send_unpin(Message::Binary(bytes.into()))?)
            }
            Err(error) => {
                log::line(format_args!("a frame was left out: {error}"));
                Ok(())
            }
        }
    }

    /// When [`Link::tick`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.beat_at.min(self.heard + SILENCE)
    }

    /// Whether a beat is due.
    ///
    /// # Errors
    /// The node was silent for too long.
    pub fn tick(&mut self, now: Instant) -> Result<bool, LinkError> {
        if now >= self.heard + SILENCE {
            return Err(LinkError::Silent);
        }
        let is_due = now >= self.beat_at;
        if is_due {
            self.beat_at = now + BEAT;
        }
        Ok(is_due)
    }
}
