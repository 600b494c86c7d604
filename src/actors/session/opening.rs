//! How a session begins: it finds its sandbox's workspace, attaches, and asks each process for its part of `hello`.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use playhouse_protocol::client::{HelloProcess, ServerMessage};
use uuid::Uuid;

use super::{SessionRef, StreamParams, close};
use crate::actors::{
    Node, Role,
    process::{ProcessInfo, ProcessMessage, ProcessRef},
    sandbox::SandboxMessage,
    workspace::{AttachRefused, Attached, WorkspaceMessage, WorkspaceRef},
};

/// How many processes are asked at once.
const ASKED_AT_ONCE: usize = 32;

/// How a session finds what it is to show.
#[derive(Debug)]
pub(super) enum Way {
    /// From its sandbox's workspace.
    Attach,
    /// It was told.
    #[cfg(test)]
    Told(Attached),
}

/// What a session begins with.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) workspace: Option<WorkspaceRef>,
    pub(super) role: Role,
    pub(super) ended: bool,
    /// `None` for one whose output is retained no longer.
    pub(super) processes: Vec<(ProcessRef, Option<ProcessInfo>)>,
}

/// Finds it, or the code to close with and why.
pub(super) async fn open(
    node: Node,
    session: SessionRef,
    params: &StreamParams,
    way: Way,
) -> Result<Opened, (u16, &'static str)> {
    let unknown = (close::RESTART, "the node can't answer now");
    let (workspace, attached) = match way {
        Way::Attach => {
            let asked = node.sandbox(params.sandbox_id).call(|reply| SandboxMessage::Workspace { reply }).await;
            let workspace_id = asked.map_err(|_| unknown)?.ok_or((close::NO_SANDBOX, "no such sandbox"))?;
            let workspace = node.workspace(workspace_id);
            let (caller, sandbox_id) = (params.caller.clone(), params.sandbox_id);
            let asked = workspace.call(|reply| WorkspaceMessage::Attach { session, caller, sandbox_id, reply }).await;
            let attached = asked.map_err(|_| unknown)?.map_err(|refused| match refused {
                AttachRefused::NoSandbox => (close::NO_SANDBOX, "no such sandbox"),
                AttachRefused::NotPermitted => (close::REVOKED, "access was revoked"),
            })?;
            (Some(workspace), attached)
        }
        #[cfg(test)]
        Way::Told(attached) => (None, attached),
    };
    let Attached { role, processes, status, .. } = attached;
    let asked = processes.iter().map(|id| {
        let process = node.process(*id);
        async move {
            let info = process.call(|reply| ProcessMessage::Info { writer: params.writer.clone(), reply }).await;
            (process, info)
        }
    });
    let mut infos = BTreeMap::new();
    let mut answers = stream::iter(asked.collect::<Vec<_>>()).buffer_unordered(ASKED_AT_ONCE);
    while let Some((process, info)) = answers.next().await {
        let info = info.map_err(|_| unknown)?.filter(|info| info.retained);
        infos.insert(process.id(), (process, info));
    }
    // In the workspace's order, which is the order they were started in.
    let processes = processes.iter().filter_map(|id| infos.remove(id)).collect();
    Ok(Opened { workspace, role, ended: status.ended(), processes })
}

impl Opened {
    /// The first message of the socket.
    pub(super) fn hello(&self, sandbox_id: Uuid) -> ServerMessage {
        let listed = |(process, info): &(ProcessRef, Option<ProcessInfo>)| {
            info.as_ref().map(|info| HelloProcess {
                process_id: process.id(),
                status: info.status,
                first_id: info.first_id,
                last_id: info.last_id,
                input_seq: info.input_seq,
            })
        };
        let processes = self.processes.iter().filter_map(listed).collect();
        ServerMessage::Hello { sandbox_id, role: self.role.as_str(), processes }
    }
}
