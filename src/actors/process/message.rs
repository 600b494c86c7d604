//! What a process takes from the node's other actors.

use std::sync::Arc;

use playhouse_protocol::{
    Chunk, EventId,
    agent::{Exit, InputOutcome, ProcessState},
    text,
};
use ractor::RpcReplyPort;

use super::command::{ProcessAnswer, ProcessCommand, ProcessRecord};
use crate::actors::{Caller, Idempotency, Refused, Role, agent_link::LinkRef, session::SessionRef};

/// Where a session begins with a process's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The first retained event.
    Earliest,
    /// After this event.
    After(EventId),
    /// Now.
    Live,
}

/// Which of an event's bytes count for what a session takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Those that the program wrote.
    Raw,
    /// Those of the text that is made of them.
    Text,
}

impl Counted {
    /// How many of this event's bytes count.
    #[must_use]
    pub fn of(self, chunk: &Chunk) -> u64 {
        let count = match self {
            Self::Raw => chunk.bytes.len(),
            Self::Text => text::decoded_len(&chunk.carry, &chunk.bytes, chunk.last),
        };
        count as u64
    }
}

/// How much a session takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// How many bytes may be on their way at once, to begin with; counted like `SessionCredit`.
    pub credit: u64,
    /// How many of them a subscription before has sent, and were not taken yet.
    pub owed: u64,
    /// Which bytes those are.
    pub counted: Counted,
}

/// What a session learns when it subscribes, before any output.
#[derive(Debug, Clone)]
pub struct ProcessInfo {
    /// The status's word.
    pub status: &'static str,
    /// The first retained event, `None` before any output.
    pub first_id: Option<EventId>,
    /// The last event known here.
    pub last_id: Option<EventId>,
    /// The last input number taken of the asking writer.
    pub input_seq: u64,
    /// False when its output is kept no longer, its time being up.
    pub retained: bool,
}

/// Why a subscription's cursor is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResumeInvalid;

/// What the agent says of one process.
#[derive(Debug)]
pub enum FromAgent {
    /// It runs.
    Started,
    /// Numbered output.
    Output(Vec<Arc<Chunk>>),
    /// It ended, after all its output.
    Exited(Exit),
    /// What became of an input.
    InputTaken {
        /// Whose.
        writer: String,
        /// Its number.
        seq: u64,
        /// As sent.
        tag: u64,
        /// What became of it.
        outcome: InputOutcome,
    },
}

/// Messages.
#[derive(Debug)]
pub enum ProcessMessage {
    /// It is new: keep this record, status pending. Answered when committed.
    Init {
        /// What it is.
        record: ProcessRecord,
        /// Committed, or not.
        reply: RpcReplyPort<Result<(), Refused>>,
    },
    /// A caller's command; the role is the caller's role in the workspace, asked just before.
    Command {
        /// Who asks.
        caller: Caller,
        /// The caller's role.
        role: Role,
        /// What.
        command: ProcessCommand,
        /// Under which key, if any.
        idempotency: Option<Idempotency>,
        /// The answer.
        reply: RpcReplyPort<Result<ProcessAnswer, Refused>>,
    },
    /// Which workspace it belongs to; `None` when there is no such process.
    Record {
        /// Its record.
        reply: RpcReplyPort<Option<ProcessRecord>>,
    },
    /// What `hello` says of it.
    Info {
        /// The asking socket's writer.
        writer: String,
        /// What it is.
        reply: RpcReplyPort<Option<ProcessInfo>>,
    },
    /// A session wants its status and its output.
    Subscribe {
        /// The session; subscribing again replaces.
        session: SessionRef,
        /// Echoed in everything that comes of it, so that what was sent before is told from it.
        subscription: u64,
        /// Where to begin.
        from: From,
        /// Whether it may type: such viewers at the live edge pace the program.
        may_type: bool,
        /// How much may be sent to it.
        allowance: Allowance,
        /// Taken: events after this one come. Or the cursor is refused.
        reply: RpcReplyPort<Result<EventId, ResumeInvalid>>,
    },
    /// A session is gone, or no longer wants it.
    Unsubscribe {
        /// Which one.
        session_id: u64,
    },
    /// How many bytes of output in all, since its subscription, a session takes. Absolute.
    SessionCredit {
        /// Which one.
        session_id: u64,
        /// In all.
        bytes: u64,
        /// Whether it may type now.
        may_type: bool,
    },
    /// Something typed on a socket. Answered by `SessionMessage::InputAck` or `SessionMessage::Refused`.
    SessionInput {
        /// Which session.
        session: SessionRef,
        /// Its writer.
        writer: String,
        /// Its number, if the client numbers.
        seq: Option<u64>,
        /// What.
        bytes: Vec<u8>,
    },
    /// The sandbox's agent is connected: what it says of this process, `None` when it doesn't know it.
    LinkUp {
        /// The link; a newer one has a higher number.
        link: LinkRef,
        /// Its state there.
        state: Option<ProcessState>,
    },
    /// The link with this number is gone.
    LinkDown {
        /// Which one.
        link: u64,
    },
    /// What the agent says.
    FromAgent {
        /// Over which link.
        link: u64,
        /// What.
        event: FromAgent,
    },
    /// Its sandbox has ended: it ends with this reason unless it has ended already. Answered when committed.
    SandboxEnded {
        /// The reason: `sandbox_lost`, `node_stopped`, `out_of_memory`, ….
        reason: String,
        /// Committed.
        reply: RpcReplyPort<()>,
    },
    /// Its workspace is deleted: remove its rows and its output.
    Remove {
        /// Done.
        reply: RpcReplyPort<()>,
    },
    /// Time has passed. Sent to itself.
    Tick,
    /// A result of its own background work.
    Own(super::Own),
}

impl ractor::Message for ProcessMessage {}
