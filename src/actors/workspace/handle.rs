//! How handlers and other actors ask a workspace.

use bytes::Bytes;

use super::{WorkspaceAnswer, WorkspaceCommand, WorkspaceMessage, WorkspaceRef};
use crate::{
    actors::{Caller, Code, Idempotency, Refused, Role},
    cluster::CallError,
    store::blobs::{BlobRef, BlobWriter},
};

/// Content on its way into a workspace: it takes effect when a command names what [`Staged::finish`] gives.
#[derive(Debug)]
pub struct Staged(BlobWriter);

impl Staged {
    /// Takes more of it.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Refused> {
        self.0.write(bytes).await.map_err(|error| Refused::retry(error.to_string()))
    }

    /// All of it is there.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn finish(self) -> Result<BlobRef, Refused> {
        self.0.finish().await.map_err(|error| Refused::retry(error.to_string()))
    }
}

impl WorkspaceRef {
    /// Asks for a command to be done, once under its idempotency key.
    ///
    /// # Errors
    /// What refuses it.
    pub async fn command(
        &self,
        caller: &Caller,
        command: WorkspaceCommand,
        idempotency: Option<Idempotency>,
    ) -> Result<WorkspaceAnswer, Refused> {
        let caller = caller.clone();
        self.call(|reply| WorkspaceMessage::Command { caller, command, idempotency, reply }).await?
    }

    /// What the caller may do; `None` is not even see it.
    ///
    /// # Errors
    /// When the workspace can't be asked.
    pub async fn role(&self, caller: &Caller) -> Result<Option<Role>, Refused> {
        let caller = caller.clone();
        Ok(self.call(|reply| WorkspaceMessage::Role { caller, reply }).await?)
    }

    /// The caller's role, refused as `missing` when it may not see the workspace and as not permitted below `needed`.
    ///
    /// # Errors
    /// As said.
    pub async fn require(&self, caller: &Caller, needed: Role, missing: Code) -> Result<Role, Refused> {
        match self.role(caller).await? {
            None => Err(missing.into()),
            Some(role) if role < needed => {
                Err(Refused::new(Code::NotPermitted, format!("this needs the role {}", needed.as_str())))
            }
            Some(role) => Ok(role),
        }
    }

    /// Begins to stage content. Ask [`Self::require`] first.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn stage(&self) -> Result<Staged, Refused> {
        let writer = self.node().store.blobs.writer(self.id()).await;
        writer.map(Staged).map_err(|error| Refused::retry(error.to_string()))
    }
}

impl From<CallError> for Refused {
    fn from(error: CallError) -> Self {
        Self::retry(error.to_string())
    }
}
