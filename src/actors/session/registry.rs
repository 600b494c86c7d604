//! The sessions of a node: how many there are, and how to tell all of them that it stops.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use ractor::ActorRef;
use tokio::sync::Notify;

use super::SessionMessage;

#[derive(Debug, Default)]
struct Inner {
    next: AtomicU64,
    live: Mutex<HashMap<u64, ActorRef<SessionMessage>>>,
    left: Notify,
}

/// The sessions of a node. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Sessions(Arc<Inner>);

/// A session's place among them; it leaves when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) id: u64,
    sessions: Sessions,
}

impl Sessions {
    /// How many sockets there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.live().len()
    }

    /// Tells every session that the node stops, and waits until all are gone.
    pub async fn stop(&self) {
        for session in self.live().values() {
            // One that ended meanwhile is what is asked for.
            let _ = session.send_message(SessionMessage::NodeStops);
        }
        loop {
            let left = self.0.left.notified();
            if self.count() == 0 {
                return;
            }
            left.await;
        }
    }

    /// Tells some session this.
    #[cfg(test)]
    pub(super) fn tell_one(&self, message: SessionMessage) {
        let live = self.live();
        let session = live.values().next().expect("a session");
        session.send_message(message).expect("it lives");
    }

    pub(super) fn enter(&self, session: ActorRef<SessionMessage>) -> Place {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed) + 1;
        self.live().insert(id, session);
        Place { id, sessions: self.clone() }
    }

    fn live(&self) -> std::sync::MutexGuard<'_, HashMap<u64, ActorRef<SessionMessage>>> {
        self.0.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.sessions.live().remove(&self.id);
        self.sessions.0.left.notify_waiters();
    }
}
