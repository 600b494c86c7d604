//! How handlers ask a sandbox.

use uuid::Uuid;

use super::{SandboxCommand, SandboxMessage, SandboxRef};
use crate::actors::{Caller, Code, Idempotency, Refused, Role, views::SandboxView};

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

    /// Asks for a command to be done, once under its idempotency key. Says the caller's role too.
    ///
    /// # Errors
    /// What refuses it.
    pub async fn command(
        &self,
        caller: &Caller,
        command: SandboxCommand,
        idempotency: Option<Idempotency>,
    ) -> Result<(SandboxView, Role), Refused> {
        let needed = match command {
            SandboxCommand::Status | SandboxCommand::Token => Role::View,
            SandboxCommand::End | SandboxCommand::Suspend | SandboxCommand::Resume => Role::Edit,
        };
        let (_, role) = self.require(caller, needed).await?;
        let user_id = caller.user_id;
        let view = match idempotency {
            None => self.call(|reply| SandboxMessage::Command { role, command, reply }).await?,
            Some(idempotency) => {
                self.call(|reply| SandboxMessage::Once { user_id, command, idempotency, reply }).await?
            }
        };
        Ok((view?, role))
    }
}
