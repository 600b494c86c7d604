//! What the API shows of each entity: the JSON objects of the contract.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::Role;
use crate::word::word;

/// Who a workspace is open to beside its members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self", rename_all = "lowercase")]
pub enum SharingMode {
    /// Nobody.
    #[default]
    Private,
    /// Everyone signed in of the same organisation may watch.
    View,
    /// Everyone signed in of the same organisation may edit.
    Edit,
}

word!(SharingMode, written);

/// A workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Workspace)]
pub struct WorkspaceView {
    /// Its id.
    pub id: Uuid,
    /// Who made it.
    pub owner_id: Uuid,
    /// Its name.
    pub name: String,
    /// The template it was made from.
    pub template: String,
    /// Who it is open to beside its members.
    pub sharing_mode: SharingMode,
    /// What the caller may do.
    pub role: Role,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When its name, sharing or files last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// Its active sandbox.
    #[schema(required = true)]
    pub sandbox: Option<SandboxView>,
}

/// A file, a directory or a symbolic link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = File)]
pub struct FileView {
    /// Its id, which stays when it moves.
    pub id: Uuid,
    /// Its workspace.
    pub workspace_id: Uuid,
    /// Where it is.
    pub path: String,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// What a symbolic link names.
    #[schema(required = true)]
    pub symlink_target: Option<String>,
    /// Its length in bytes, 0 for what is no file.
    pub size: u64,
    /// Whether it may be executed.
    pub executable: bool,
    /// Changes with its content; the `ETag` header without its quotes.
    pub etag: String,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

/// A member of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Member)]
pub struct MemberView {
    /// The user.
    pub user_id: Uuid,
    /// The user's name.
    pub name: String,
    /// What the member may do.
    pub role: Role,
}

/// A share link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Link)]
pub struct LinkView {
    /// Its id.
    pub id: Uuid,
    /// Where to go to accept it.
    pub url: String,
    /// What it grants.
    pub role: Role,
    /// When it ends, and with it what it granted.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required = true)]
    pub expires_at: Option<OffsetDateTime>,
}

/// What a program is run as: through `sh -c`, or as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a string, or an array of strings")]
pub enum RunCommand {
    /// A line for `sh -c`.
    Line(String),
    /// A program and its arguments.
    Argv(Vec<String>),
}

/// Where a process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProcessStatus {
    /// Accepted, not started yet.
    Pending,
    /// It runs.
    Running,
    /// It ended with exit code 0.
    Completed,
    /// It ended otherwise.
    Failed,
    /// It ended after an accepted cancel.
    Cancelled,
}

impl ProcessStatus {
    /// Its word in the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether it has ended.
    #[must_use]
    pub const fn ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Process)]
pub struct ProcessView {
    /// Its id.
    pub id: Uuid,
    /// Its workspace.
    pub workspace_id: Uuid,
    /// The sandbox it runs in.
    pub sandbox_id: Uuid,
    /// What was asked for.
    pub command: RunCommand,
    /// Whether it has a terminal.
    pub pty: bool,
    /// Where it is in its life.
    pub status: ProcessStatus,
    /// Its exit code; null while it runs or when a signal ended it.
    #[schema(required = true)]
    pub exit_code: Option<i32>,
    /// The signal that ended it, by name.
    #[schema(required = true)]
    pub signal: Option<String>,
    /// The cause where it is not the program's own.
    #[schema(required = true)]
    pub reason: Option<String>,
    /// When it started.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required = true)]
    pub started_at: Option<OffsetDateTime>,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required = true)]
    pub finished_at: Option<OffsetDateTime>,
}

/// Where a sandbox is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SandboxStatus {
    /// It is being made.
    Provisioning,
    /// Made ahead, without a workspace.
    Warm,
    /// It has its workspace and is being filled.
    Assigned,
    /// Programs run or may run.
    Running,
    /// Nothing has run for a while.
    Idle,
    /// It is being saved.
    Suspending,
    /// Saved; its programs stand still.
    Suspended,
    /// It has ended.
    Terminated,
    /// It could not be made, or was lost.
    Failed,
}

impl SandboxStatus {
    /// Its word in the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Provisioning => "provisioning",
            Self::Warm => "warm",
            Self::Assigned => "assigned",
            Self::Running => "running",
            Self::Idle => "idle",
            Self::Suspending => "suspending",
            Self::Suspended => "suspended",
            Self::Terminated => "terminated",
            Self::Failed => "failed",
        }
    }

    /// Whether it is over.
    #[must_use]
    pub const fn ended(self) -> bool {
        matches!(self, Self::Terminated | Self::Failed)
    }
}

/// What a sandbox has used.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct UsageView {
    /// CPU time in seconds.
    pub cpu_seconds: f64,
    /// Memory now, in bytes.
    pub memory_bytes: u64,
    /// Disk now, in bytes.
    pub disk_bytes: u64,
}

impl Eq for UsageView {}

/// A sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Sandbox)]
pub struct SandboxView {
    /// Its id: one life.
    pub id: Uuid,
    /// Its workspace.
    pub workspace_id: Uuid,
    /// Who it was made for.
    pub user_id: Uuid,
    /// Where it is in its life.
    pub status: SandboxStatus,
    /// Why it ended or failed.
    #[schema(required = true)]
    pub reason: Option<String>,
    /// Its instance type.
    pub instance_type: String,
    /// What isolates it: `hardened-container`, `rootless-container` or `none`.
    pub isolation: String,
    /// Null: this runtime gives none.
    #[schema(required = true)]
    pub ip_address: Option<String>,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it last did something.
    #[serde(with = "time::serde::rfc3339")]
    pub last_activity_at: OffsetDateTime,
    /// When it ends by itself, if it does.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required = true)]
    pub expires_at: Option<OffsetDateTime>,
    /// What it has used.
    pub usage: UsageView,
}

impl SandboxView {
    /// Whether it is being ended, and not only suspended: then it has a reason.
    #[must_use]
    pub fn ends(&self) -> bool {
        self.status == SandboxStatus::Suspending && self.reason.is_some()
    }
}

/// An instance type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InstanceType {
    /// Its name.
    pub name: String,
    /// How many CPUs.
    pub cpu: f64,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Disk in bytes.
    pub disk_bytes: u64,
    /// Its GPU, if any.
    #[schema(required = true)]
    pub gpu: Option<String>,
    /// The runtime it is made with.
    pub runtime: String,
}
