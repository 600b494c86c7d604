//! The Session: one client's socket, its cursors and its windows.

pub mod message;

pub use message::SessionMessage;

use ractor::ActorRef;

/// Results of the session's own background work and of its socket.
#[derive(Debug)]
pub enum Own {}

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
