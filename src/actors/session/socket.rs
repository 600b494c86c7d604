//! A client's socket without its library: frames, and polling by a waker that knocks at the session's mailbox.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake},
};

use bytes::Bytes;
use futures::{Sink, Stream};
use ractor::ActorRef;

use super::{Own, SessionMessage, actor::Done};

/// A WebSocket message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Bytes),
    /// A ping; the library answers those that come.
    Ping(Bytes),
    /// A pong.
    Pong(Bytes),
    /// The end: its code, and why.
    Close(u16, String),
    /// Only read: what came is no message, and nothing after it can be one. The code to close with, and why.
    Unreadable(u16, &'static str),
}

/// The socket is broken.
#[derive(Debug)]
pub(super) struct Broken;

/// A socket whose library is forgotten.
pub(super) trait Wire: Send {
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame, Broken>>>;
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>>;
    fn write(&mut self, frame: Frame) -> Result<(), Broken>;
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>>;
}

impl fmt::Debug for dyn Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

pub(super) struct Socket<S>(pub(super) S);

impl<S, E> Wire for Socket<S>
where
    S: Stream<Item = Result<Frame, E>> + Sink<Frame, Error = E> + Unpin + Send,
{
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame, Broken>>> {
        Pin::new(&mut self.0).poll_next(context).map(|next| next.map(|frame| frame.map_err(|_| Broken)))
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Pin::new(&mut self.0).poll_ready(context).map_err(|_| Broken)
    }

    fn write(&mut self, frame: Frame) -> Result<(), Broken> {
        Pin::new(&mut self.0).start_send(frame).map_err(|_| Broken)
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Pin::new(&mut self.0).poll_flush(context).map_err(|_| Broken)
    }
}

/// Wakes the session by a message, one at a time: so a socket that becomes ready and an actor that says something
/// both reach the socket's owner without a task between.
#[derive(Debug)]
pub(super) struct Knock {
    session: ActorRef<SessionMessage>,
    knocked: AtomicBool,
}

impl Knock {
    pub(super) fn new(session: ActorRef<SessionMessage>) -> Arc<Self> {
        Arc::new(Self { session, knocked: AtomicBool::new(false) })
    }

    /// The message has come; whatever becomes ready from now on knocks again.
    pub(super) fn heard(&self) {
        self.knocked.store(false, Ordering::SeqCst);
    }
}

impl Wake for Knock {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.knocked.swap(true, Ordering::SeqCst) {
            // A session that is gone has no socket to look after.
            let _ = self.session.send_message(SessionMessage::Own(Own(Done::Knock)));
        }
    }
}
