//! The Session: one client's socket, its cursors and its windows.
//!
//! The decisions are pure: [`subs`] (which processes, from where), [`window`] (how much may be on its way), [`outbox`]
//! (what waits for the socket) and [`incoming`] (what the client says). The actor polls the socket itself, inside its
//! handler: an actor's message reaches the socket, and a keystroke its process, without another task between.

mod actor;
pub mod incoming;
pub mod message;
mod opening;
pub mod outbox;
mod pump;
mod reaching;
mod registry;
pub mod socket;
pub mod subs;
#[cfg(test)]
mod tests;
pub mod window;

pub use message::SessionMessage;
pub use registry::Sessions;
pub use socket::Frame;

use futures::{Sink, Stream};
use ractor::{Actor, ActorRef};
use uuid::Uuid;

use super::{Caller, Node};

/// Results of the session's own background work, and its socket's knocks.
#[derive(Debug)]
pub struct Own(actor::Done);

/// How other actors reach a session.
#[derive(Debug, Clone)]
pub struct SessionRef {
    /// Unique on this node.
    pub id: u64,
    /// Its actor.
    pub actor: ActorRef<SessionMessage>,
}

impl SessionRef {
    /// Tells it something; a session that is gone needs nothing.
    pub fn tell(&self, message: SessionMessage) {
        // As said: nothing is lost with a session that is gone.
        let _ = self.actor.send_message(message);
    }
}

/// Where a socket begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StreamFrom {
    /// At each process's first retained event.
    #[default]
    Earliest,
    /// Where the client's `resume` says.
    Resume,
    /// Now.
    Live,
}

/// What a socket was opened with; its token is checked.
#[derive(Debug, Clone)]
pub struct StreamParams {
    /// Which sandbox.
    pub sandbox_id: Uuid,
    /// Whose socket it is.
    pub caller: Caller,
    /// Where it begins.
    pub from: StreamFrom,
    /// The client acknowledges what it has shown.
    pub flow_ack: bool,
    /// Who types on it.
    pub writer: String,
    /// It takes output as binary frames.
    pub binary: bool,
}

/// Close codes of the contract.
pub mod close {
    /// The client's access was revoked.
    pub const REVOKED: u16 = 4403;
    /// No such sandbox.
    pub const NO_SANDBOX: u16 = 4404;
    /// Nothing came from the client for too long.
    pub const SILENT: u16 = 4408;
    /// The sandbox is over.
    pub const SANDBOX_ENDED: u16 = 4410;
    /// The node restarts: reconnect and resume.
    pub const RESTART: u16 = 1012;
    /// A message is too large.
    pub const TOO_LARGE: u16 = 1009;
    /// What came breaks the protocol of WebSockets.
    pub const PROTOCOL: u16 = 1002;
    /// A text message is no UTF-8.
    pub const NOT_TEXT: u16 = 1007;
}

/// Serves a client's socket until it ends.
pub async fn run<S, E>(node: Node, socket: S, params: StreamParams)
where
    S: Stream<Item = Result<Frame, E>> + Sink<Frame, Error = E> + Unpin + Send + 'static,
    E: Send + 'static,
{
    serve(node, socket, params, opening::Way::Attach).await;
}

async fn serve<S, E>(node: Node, socket: S, params: StreamParams, way: opening::Way)
where
    S: Stream<Item = Result<Frame, E>> + Sink<Frame, Error = E> + Unpin + Send + 'static,
    E: Send + 'static,
{
    let arguments = actor::Arguments { node, wire: Box::new(socket::Socket(socket)), params, way };
    match Actor::spawn(None, actor::SessionActor, arguments).await {
        Ok((session, ended)) => {
            // A connection that is dropped takes its session with it.
            let _stop = Stop(session);
            if let Err(error) = ended.await {
                tracing::error!(%error, "a session failed");
            }
        }
        Err(error) => tracing::error!(%error, "a session does not start"),
    }
}

struct Stop(ActorRef<SessionMessage>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.stop(None);
    }
}
