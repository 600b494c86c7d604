//! What a tenant takes.

use ractor::RpcReplyPort;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::actors::{Caller, PageRequest, Paged, Refused, Role, views::SharingMode};

/// A user of the organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRow {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// `free` or `paid`.
    pub tier: String,
}

/// A workspace as the organisation's index knows it; replaced only by a higher version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkspaceRow {
    /// The workspace.
    pub id: Uuid,
    /// Of the workspace's partition.
    pub version: u64,
    /// Its owner.
    pub owner_id: Uuid,
    /// The users of this organisation that have a role, the owner among them.
    pub members: Vec<(Uuid, Role)>,
    /// Who else of the organisation it is open to.
    pub sharing_mode: SharingMode,
    /// Whether it belongs to this organisation (else only its members of this organisation see it).
    pub home: bool,
    /// It is gone.
    pub deleted: bool,
    /// When it was made: the list's order.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// Messages.
#[derive(Debug)]
pub enum TenantMessage {
    /// The user with this name, made on first sight.
    EnsureUser {
        /// The organisation's name, kept on first sight.
        org: String,
        /// The user's name.
        name: String,
        /// A tier to set.
        tier: Option<String>,
        /// The user.
        reply: RpcReplyPort<Result<Caller, Refused>>,
    },
    /// The user with this id or name.
    FindUser {
        /// An id or a name.
        user: String,
        /// The user.
        reply: RpcReplyPort<Result<Option<UserRow>, Refused>>,
    },
    /// The caller's own and shared workspaces, oldest first.
    Workspaces {
        /// Who.
        caller: Caller,
        /// Which page.
        page: PageRequest,
        /// Their ids.
        reply: RpcReplyPort<Result<Paged<Uuid>, Refused>>,
    },
    /// Whether the caller may own one workspace more.
    RoomForWorkspace {
        /// Who.
        caller: Caller,
        /// `quota_exceeded` when not.
        reply: RpcReplyPort<Result<(), Refused>>,
    },
    /// Whether an owner's workspaces may have this sandbox beside those that they have; if so it counts from now on.
    RoomForSandbox {
        /// Whose workspace it is for.
        owner: Caller,
        /// It.
        sandbox_id: Uuid,
        /// `quota_exceeded` when not.
        reply: RpcReplyPort<Result<(), Refused>>,
    },
    /// A sandbox of an owner's workspace is there, or is not any more.
    Sandbox {
        /// Whose workspace it is for.
        owner_id: Uuid,
        /// It.
        sandbox_id: Uuid,
        /// Whether it is there.
        there: bool,
    },
    /// A workspace's row changed; idempotent, guarded by its version.
    Project {
        /// The row.
        row: WorkspaceRow,
        /// Kept.
        reply: RpcReplyPort<Result<(), Refused>>,
    },
    /// Uses a one-time word (a login link's) up: true the first time, until it expires.
    UseOnce {
        /// The word.
        nonce: String,
        /// Until when it must be remembered.
        expires_at: OffsetDateTime,
        /// Whether this was its first use.
        reply: RpcReplyPort<Result<bool, Refused>>,
    },
    /// Time has passed. Sent to itself.
    Tick,
}

impl ractor::Message for TenantMessage {}
