//! What a sandbox takes.

use std::os::fd::OwnedFd;

use playhouse_protocol::{
    handshake::{Hello, TokenHash},
    host::{EndCause, HostError, Look, Usage},
};
use ractor::RpcReplyPort;
use uuid::Uuid;

use crate::actors::{
    Caller, Idempotency, Refused, Role, agent_link::LinkRef, views::SandboxView, workspace::SaveOutcome,
};

/// What is asked of a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SandboxCommand {
    /// How it is.
    Status,
    /// Save and end it; idempotent.
    End,
    /// Save it and let its programs stand still.
    Suspend,
    /// Let its programs go on.
    Resume,
    /// A token for its stream is wanted: all of it that is kept is that it was asked for.
    Token,
}

/// What may have ended one of its programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fate {
    /// How often the kernel killed one of its programs for want of memory.
    pub oom_kills: u64,
    /// Why it is being ended, or was: its programs are ended for the same reason.
    pub ending: Option<String>,
}

/// Messages.
#[derive(Debug)]
pub enum SandboxMessage {
    /// It is new: make it. Answered as soon as it is committed as provisioning.
    Create {
        /// Its workspace.
        workspace_id: Uuid,
        /// For whom.
        caller: Caller,
        /// The template's name.
        template: String,
        /// The instance type's name; checked.
        instance_type: String,
        /// It, or why it can't be had.
        reply: RpcReplyPort<Result<SandboxView, Refused>>,
    },
    /// A caller's command; the role is the caller's role in the workspace, asked just before.
    Command {
        /// The caller's role.
        role: Role,
        /// What.
        command: SandboxCommand,
        /// How it is then.
        reply: RpcReplyPort<Result<SandboxView, Refused>>,
    },
    /// A caller's command under an idempotency key: done once, however often it is asked.
    Once {
        /// Whose key it is.
        user_id: Uuid,
        /// What.
        command: SandboxCommand,
        /// The key.
        idempotency: Idempotency,
        /// How it is then.
        reply: RpcReplyPort<Result<SandboxView, Refused>>,
    },
    /// Which workspace it belongs to; `None` when there is no such sandbox.
    Workspace {
        /// The workspace.
        reply: RpcReplyPort<Option<Uuid>>,
    },
    /// End it for this reason, after saving it when `save`; answered when it has ended.
    EndFor {
        /// The reason that its programs and its status show.
        reason: String,
        /// Whether its files and environment are saved first.
        save: bool,
        /// It has ended.
        reply: RpcReplyPort<()>,
    },
    /// Forget it, if it is over: its rows go.
    Remove {
        /// They are gone.
        reply: RpcReplyPort<()>,
    },
    /// The workspace has saved it, or could not.
    Saved {
        /// Which saving it was.
        number: u64,
        /// How it went.
        outcome: SaveOutcome,
    },
    /// Its agent has its files: from now on there may be others to be saved.
    Filled,
    /// Something is to run in it.
    Wake,
    /// The workspace says that something runs, or that nothing does.
    Busy(bool),
    /// Its agent has dialled, said this, and waits for a challenge.
    AgentArrived {
        /// What it said.
        hello: Hello,
        /// The stream.
        stream: OwnedFd,
    },
    /// A link is proven and has told its state.
    LinkUp {
        /// The link.
        link: LinkRef,
        /// The hash of the token with which it is proven.
        key: TokenHash,
        /// The agent's instance.
        instance: [u8; 16],
        /// The dial's number.
        attempt: u64,
    },
    /// The link with this number is gone.
    LinkDown {
        /// Which one.
        link: u64,
        /// Nothing was heard on it for [`SILENCE`](crate::actors::agent_link::SILENCE).
        silent: bool,
    },
    /// The host is here and holds it, or doesn't.
    HostUp {
        /// Whether the host holds it, and how it ended there.
        held: Option<Option<EndCause>>,
    },
    /// The host ended a command.
    HostDone {
        /// Which one.
        command_id: Uuid,
        /// How.
        result: Result<(), HostError>,
    },
    /// It ended by itself.
    HostEnded(EndCause),
    /// Whether its agent lives, as the host sees it.
    HostLooked(Look),
    /// What it has used.
    HostUsage(Usage),
    /// What may have ended one of its programs.
    Fate {
        /// As of now, for one that has ended. For one that starts what was known last must do: the fresh answer may come
        /// after the program ran out of memory already.
        now: bool,
        /// It.
        reply: RpcReplyPort<Fate>,
    },
    /// Time has passed. Sent to itself.
    Tick,
}

impl ractor::Message for SandboxMessage {}
