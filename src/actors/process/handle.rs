//! How handlers ask a process.

use super::{ProcessAnswer, ProcessCommand, ProcessMessage, ProcessRecord, ProcessRef};
use crate::actors::{Caller, Code, Idempotency, Refused, Role};

impl ProcessRef {
    /// The process's record, if there is such a process and the caller has at least this role in its workspace.
    ///
    /// # Errors
    /// `process_not_found` where the caller may not see it, `not_permitted` where the role is too low.
    pub async fn require(&self, caller: &Caller, needed: Role) -> Result<(ProcessRecord, Role), Refused> {
        let record = self.call(|reply| ProcessMessage::Record { reply }).await?.ok_or(Code::ProcessNotFound)?;
        let workspace = self.node().workspace(record.workspace_id);
        let role = workspace.require(caller, needed, Code::ProcessNotFound).await?;
        Ok((record, role))
    }

    /// Asks for a command to be done, once under its idempotency key.
    ///
    /// # Errors
    /// What refuses it.
    pub async fn command(
        &self,
        caller: &Caller,
        command: ProcessCommand,
        idempotency: Option<Idempotency>,
    ) -> Result<ProcessAnswer, Refused> {
        let needed = if command == ProcessCommand::Get { Role::View } else { Role::Edit };
        let (_, role) = self.require(caller, needed).await?;
        let caller = caller.clone();
        self.call(|reply| ProcessMessage::Command { caller, role, command, idempotency, reply }).await?
    }
}
