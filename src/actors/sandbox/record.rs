//! What is kept of a sandbox, and how the API shows it.

use std::time::Duration;

use playhouse_protocol::handshake::TokenHash;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::actors::views::{SandboxStatus, SandboxView, UsageView};

/// The token hash of one that no host was told of yet: a token is drawn when it is.
pub const NO_TOKEN: TokenHash = [0; 32];

/// Where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// The host makes it.
    Provisioning {
        /// Which try this is, from 1.
        attempt: u32,
        /// Somebody wants it suspended as soon as it is made.
        #[serde(default)]
        suspend: bool,
    },
    /// Programs run.
    Running,
    /// Nothing runs since then.
    Idle {
        /// Since then.
        #[serde(with = "time::serde::rfc3339")]
        since: OffsetDateTime,
    },
    /// It is being saved, to stand still then.
    Suspending {
        /// Since when.
        #[serde(with = "time::serde::rfc3339")]
        since: OffsetDateTime,
    },
    /// Its programs stand still.
    Suspended,
    /// It ended by itself; what it has on its disk and was not saved is brought in.
    Harvesting {
        /// Why it ended.
        reason: String,
        /// What it will be.
        failed: bool,
        /// Since when.
        #[serde(with = "time::serde::rfc3339")]
        since: OffsetDateTime,
    },
    /// It is being ended.
    Ending {
        /// Why.
        reason: String,
        /// Its files and environment are being saved; then the host ends it.
        saving: bool,
        /// What it will be.
        failed: bool,
        /// Since when.
        #[serde(with = "time::serde::rfc3339")]
        since: OffsetDateTime,
    },
    /// It is over.
    Over {
        /// Why.
        reason: String,
        /// It failed or was lost.
        failed: bool,
    },
}

/// What is kept of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its id.
    pub id: Uuid,
    /// Its workspace.
    pub workspace_id: Uuid,
    /// For whom it was made.
    pub user_id: Uuid,
    /// The template's name.
    pub template: String,
    /// The instance type's name.
    pub instance_type: String,
    /// What isolates it.
    pub isolation: String,
    /// What its agent proves itself by.
    pub token_hash: TokenHash,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When a program was last started in it, or its last one ended.
    #[serde(with = "time::serde::rfc3339")]
    pub last_activity_at: OffsetDateTime,
    /// Its agent has had the tree, so that there may be something on its disk that was not saved.
    #[serde(default)]
    pub filled: bool,
    /// Where it is.
    pub phase: Phase,
}

impl Record {
    /// Whether it is over.
    #[must_use]
    pub const fn over(&self) -> bool {
        matches!(self.phase, Phase::Over { .. })
    }

    /// Why it is being ended, or was.
    #[must_use]
    pub fn ending(&self) -> Option<&str> {
        match &self.phase {
            Phase::Ending { reason, .. } | Phase::Harvesting { reason, .. } | Phase::Over { reason, .. } => {
                Some(reason)
            }
            Phase::Provisioning { .. }
            | Phase::Running
            | Phase::Idle { .. }
            | Phase::Suspending { .. }
            | Phase::Suspended => None,
        }
    }

    /// Whether an agent that links is there to bring in what a lost one left.
    #[must_use]
    pub const fn harvests(&self) -> bool {
        matches!(self.phase, Phase::Harvesting { .. })
    }

    /// Whether an agent may link.
    #[must_use]
    pub const fn takes_agent(&self) -> bool {
        !matches!(self.phase, Phase::Over { .. })
    }

    /// As the API shows it.
    #[must_use]
    pub fn view(&self, usage: UsageView, idle_after: Duration) -> SandboxView {
        let (status, reason) = match &self.phase {
            Phase::Provisioning { .. } => (SandboxStatus::Provisioning, None),
            Phase::Running => (SandboxStatus::Running, None),
            Phase::Idle { .. } => (SandboxStatus::Idle, None),
            Phase::Suspending { .. } => (SandboxStatus::Suspending, None),
            Phase::Suspended => (SandboxStatus::Suspended, None),
            Phase::Ending { reason, .. } | Phase::Harvesting { reason, .. } => {
                (SandboxStatus::Suspending, Some(reason.clone()))
            }
            Phase::Over { reason, failed: false } => (SandboxStatus::Terminated, Some(reason.clone())),
            Phase::Over { reason, failed: true } => (SandboxStatus::Failed, Some(reason.clone())),
        };
        let expires_at = if let Phase::Idle { since } = &self.phase { Some(*since + idle_after) } else { None };
        SandboxView {
            id: self.id,
            workspace_id: self.workspace_id,
            user_id: self.user_id,
            status,
            reason,
            instance_type: self.instance_type.clone(),
            isolation: self.isolation.clone(),
            ip_address: None,
            created_at: self.created_at,
            last_activity_at: self.last_activity_at,
            expires_at,
            usage,
        }
    }
}
