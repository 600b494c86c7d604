//! What a session takes from the node's other actors.

use std::sync::Arc;

use playhouse_protocol::{Chunk, client::ServerMessage};
use uuid::Uuid;

use crate::actors::{Refused, Role};

/// Messages.
#[derive(Debug)]
pub enum SessionMessage {
    /// Numbered output of a subscribed process, in order, each once, within the session's credit.
    Output {
        /// Whose.
        process_id: Uuid,
        /// Of which subscription.
        subscription: u64,
        /// The chunks' generation.
        generation: u64,
        /// At least one.
        chunks: Vec<Arc<Chunk>>,
    },
    /// A subscribed process's `status` or `truncated`, after all output sent before it.
    OfProcess {
        /// Whose.
        process_id: Uuid,
        /// Of which subscription.
        subscription: u64,
        /// What is said.
        message: ServerMessage,
        /// It is the process's last word: the subscription is over.
        ended: bool,
    },
    /// A process's number after which a subscription was to begin was never reached: the subscription is over.
    ResumeInvalid {
        /// Whose.
        process_id: Uuid,
        /// Of which subscription.
        subscription: u64,
    },
    /// Something to send as it is: `files`, `sandbox`, `notice`.
    Say(ServerMessage),
    /// A process was made in the sandbox: subscribe to it.
    NewProcess {
        /// Which one.
        process_id: Uuid,
    },
    /// The caller's role is now this; `None`: it may no longer see the workspace.
    Role(Option<Role>),
    /// An input that the client numbered was taken.
    InputAck {
        /// Whose.
        process_id: Uuid,
        /// Its number.
        seq: u64,
    },
    /// Something asked over this socket was refused.
    Refused {
        /// About which process.
        process_id: Option<Uuid>,
        /// Why.
        refused: Refused,
    },
    /// The sandbox is over: after all retained output and the last statuses, close with 4410.
    SandboxEnded,
    /// The workspace is deleted, and with it all that it could be told.
    WorkspaceDeleted,
    /// The node restarts: close with 1012.
    NodeStops,
    /// Its socket, and its own background work.
    Own(super::Own),
}

impl ractor::Message for SessionMessage {}
