//! How handlers ask a sandbox.

use uuid::Uuid;

use super::{SandboxCommand, SandboxMessage, SandboxRef};
use crate::actors::{Caller, Code, Refused, Role, views::SandboxView};

impl SandboxRef {
    /// Its workspace, if there is such a sandbox and the caller has at least this role there.
    ///
    /// # Errors
    /// `sandbox_not_found` where the caller may not see it, `not_permitted` where the role is too low.
    pub async fn require(&self, caller: &Caller, needed: Role) -> Result<(Uuid, Role), Refused> {
        let workspace = self.call(|reply| SandboxMessage::Workspace { reply }).await?.ok_or(Code::SandboxNotFound)?;
        let role = self.node().workspace(workspace).require(caller, needed, Code::SandboxNotFound).await?;
        Ok((workspace, role))
    }

    /// Asks for a command to be done.
    ///
    /// # Errors
    /// What refuses it.
    pub async fn command(&self, caller: &Caller, command: SandboxCommand) -> Result<SandboxView, Refused> {
        let needed = if command == SandboxCommand::Status { Role::View } else { Role::Edit };
        let (_, role) = self.require(caller, needed).await?;
        self.call(|reply| SandboxMessage::Command { role, command, reply }).await?
    }
}
