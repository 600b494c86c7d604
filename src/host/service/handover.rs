//! Agents that dialled, on their way to the node.

use std::time::Instant;

use playhouse_protocol::{handshake::Hello, host::Arrived};
use tokio::net::UnixStream;
use uuid::Uuid;

use super::{Service, agents};

impl Service {
    /// An agent dialled: the node takes it, or it is held for the node that comes.
    pub(super) fn arrived(&mut self, hello: Hello, stream: UnixStream) {
        let id = hello.sandbox_id;
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.hello = Some((hello, stream, Instant::now()));
        self.hand_over(id);
    }

    pub(super) fn hand_over_all(&mut self) {
        let waiting: Vec<Uuid> =
            self.entries.iter().filter(|(_, entry)| entry.hello.is_some()).map(|(id, _)| *id).collect();
        for id in waiting {
            self.hand_over(id);
        }
    }

    fn hand_over(&mut self, sandbox_id: Uuid) {
        let Some(node) = &self.node else { return };
        // A node's two connections come from one process.
        while let Some(place) = self.receivers.iter().rposition(|receiver| receiver.peer.pid == node.peer.pid) {
            let Some((hello, stream, _)) = self.entries.get_mut(&sandbox_id).and_then(|entry| entry.hello.take())
            else {
                return;
            };
            match self.receivers[place].hand_over(&Arrived { hello: hello.clone() }, &stream) {
                Ok(()) => return,
                // The node may be slow for a moment, or another sandbox's programs dial without end: this agent dials
                // again soon. Without its receiver the node would lose its host, and with it every sandbox.
                Err(error) if agents::is_full(&error) => {
                    let dropped = self.entries.get_mut(&sandbox_id).map(|entry| &mut entry.dropped);
                    if let Some(untold) = dropped.and_then(|dropped| dropped.happens(Instant::now())) {
                        tracing::warn!(%sandbox_id, %error, untold, "the node takes no more agents just now");
                    }
                    return;
                }
                Err(error) => {
                    tracing::warn!(%sandbox_id, %error, "an agent could not be handed over");
                    self.receivers.remove(place);
                    if let Some(entry) = self.entries.get_mut(&sandbox_id) {
                        entry.hello = Some((hello, stream, Instant::now()));
                    }
                }
            }
        }
    }
}
