//! What a workspace takes from the node's other actors.

use playhouse_protocol::agent::AgentFrame;
use ractor::RpcReplyPort;
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use super::{
    Programs,
    command::{WorkspaceAnswer, WorkspaceCommand},
};
use crate::actors::{
    Caller, Idempotency, Refused, Role,
    agent_link::LinkRef,
    session::SessionRef,
    views::{SandboxStatus, SandboxView},
};

/// What a session learns when it attaches.
#[derive(Debug, Clone)]
pub struct Attached {
    /// The caller's role now.
    pub role: Role,
    /// The sandbox's processes whose output may still be retained, oldest first.
    pub processes: Vec<Uuid>,
    /// The sandbox's status.
    pub status: SandboxStatus,
    /// Why it ended.
    pub reason: Option<String>,
}

/// Why a session may not attach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttachRefused {
    /// No such sandbox, or not this workspace's.
    NoSandbox,
    /// The caller may not see the workspace.
    NotPermitted,
}

/// How saving a sandbox's files and environment went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SaveOutcome {
    /// All of it is kept.
    Saved,
    /// It could not be saved; what was kept before stays.
    Failed(String),
}

/// Messages.
#[derive(Debug)]
pub enum WorkspaceMessage {
    /// A caller's command.
    Command {
        /// Who asks.
        caller: Caller,
        /// What.
        command: WorkspaceCommand,
        /// Under which key, if any.
        idempotency: Option<Idempotency>,
        /// The answer.
        reply: RpcReplyPort<Result<WorkspaceAnswer, Refused>>,
    },
    /// What may this user do? `None`: nothing, not even see it.
    Role {
        /// Who.
        caller: Caller,
        /// The role.
        reply: RpcReplyPort<Option<Role>>,
    },
    /// A client's socket wants this sandbox's events: new processes, files, status, role changes.
    Attach {
        /// Its session.
        session: SessionRef,
        /// Who.
        caller: Caller,
        /// Which sandbox.
        sandbox_id: Uuid,
        /// What it needs to begin.
        reply: RpcReplyPort<Result<Attached, AttachRefused>>,
    },
    /// A session is gone.
    Detach {
        /// Which one.
        session_id: u64,
    },
    /// Its sandbox changed: the new state of it. A status that is over ends the sandbox's place here.
    SandboxChanged(SandboxView),
    /// Its sandbox's agent is connected and proven.
    LinkUp {
        /// Whose.
        sandbox_id: Uuid,
        /// The link; a newer one has a higher number.
        link: LinkRef,
        /// Environment and tree were applied before.
        ready: bool,
        /// The last tree version applied.
        tree_version: u64,
        /// It is a fresh agent on the disk that one before it left: what is newer there is taken over.
        harvest: bool,
    },
    /// The link with this number is gone.
    LinkDown {
        /// Which one.
        link: u64,
    },
    /// A frame about files: `Ready`, `Want`, `Upload`, `UploadVoid`, `Report`, `Flushed`, `Environment`, `PackFailed`, `Notice`,
    /// `Lacking`.
    FromAgent {
        /// Over which link.
        link: u64,
        /// The frame.
        frame: AgentFrame,
    },
    /// As [`Self::FromAgent`], for frames that carry content: `Upload`, `Report`, `Environment`. The permit is let go
    /// when the content is stored, so that a link with few permits is never far ahead of the store.
    Bulk {
        /// Over which link.
        link: u64,
        /// The frame.
        frame: AgentFrame,
        /// The link's.
        permit: OwnedSemaphorePermit,
    },
    /// The sandbox is to be suspended or ended: flush its changes, pack its environment, then tell the sandbox `Saved`.
    Save {
        /// Which one.
        sandbox_id: Uuid,
        /// Which saving of it this is; told with its end.
        number: u64,
        /// What becomes of its programs.
        programs: Programs,
    },
    /// A process of this workspace has ended or was forgotten.
    ProcessEnded {
        /// Which one.
        process_id: Uuid,
    },
    /// Time has passed: timers, expiry, idleness. Sent to itself.
    Tick,
    /// A result of its own background work.
    Own(super::Own),
}

impl ractor::Message for WorkspaceMessage {}
