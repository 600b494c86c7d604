//! How handlers and other actors ask a tenant.

use time::OffsetDateTime;
use uuid::Uuid;

use super::{TenantMessage, TenantRef, UserRow, WorkspaceRow};
use crate::actors::{Caller, PageRequest, Paged, Refused};

impl TenantRef {
    /// The user with this name, made on first sight.
    ///
    /// # Errors
    /// `name_invalid`, or a store that can't be reached.
    pub async fn ensure_user(&self, org: &str, name: &str, tier: Option<String>) -> Result<Caller, Refused> {
        let (org, name) = (org.to_owned(), name.to_owned());
        self.call(|reply| TenantMessage::EnsureUser { org, name, tier, reply }).await?
    }

    /// The user with this id or name.
    ///
    /// # Errors
    /// A store that can't be reached.
    pub async fn find_user(&self, user: &str) -> Result<Option<UserRow>, Refused> {
        let user = user.to_owned();
        self.call(|reply| TenantMessage::FindUser { user, reply }).await?
    }

    /// The caller's own and shared workspaces, oldest first.
    ///
    /// # Errors
    /// `cursor_invalid`.
    pub async fn workspaces(&self, caller: &Caller, page: PageRequest) -> Result<Paged<Uuid>, Refused> {
        let caller = caller.clone();
        self.call(|reply| TenantMessage::Workspaces { caller, page, reply }).await?
    }

    /// Whether the caller may own one workspace more.
    ///
    /// # Errors
    /// `quota_exceeded`.
    pub async fn room_for_workspace(&self, caller: &Caller) -> Result<(), Refused> {
        let caller = caller.clone();
        self.call(|reply| TenantMessage::RoomForWorkspace { caller, reply }).await?
    }

    /// Whether an owner's workspaces may have this sandbox too; if so it counts.
    ///
    /// # Errors
    /// `quota_exceeded`.
    pub async fn room_for_sandbox(&self, owner: &Caller, sandbox_id: Uuid) -> Result<(), Refused> {
        let owner = owner.clone();
        self.call(|reply| TenantMessage::RoomForSandbox { owner, sandbox_id, reply }).await?
    }

    /// Keeps a workspace's row, unless a newer one is kept.
    ///
    /// # Errors
    /// A store that can't be reached.
    pub async fn project(&self, row: WorkspaceRow) -> Result<(), Refused> {
        self.call(|reply| TenantMessage::Project { row, reply }).await?
    }

    /// Uses a one-time word up: true the first time.
    ///
    /// # Errors
    /// A store that can't be reached.
    pub async fn use_once(&self, nonce: &str, expires_at: OffsetDateTime) -> Result<bool, Refused> {
        let nonce = nonce.to_owned();
        self.call(|reply| TenantMessage::UseOnce { nonce, expires_at, reply }).await?
    }
}
