//! How a node stops: nobody is let in, every socket is told, sandboxes are saved and ended, and what the entities have
//! queued is done. Everything within a bound; what was not reached is found again by the next node.

use std::time::Duration;

use futures::future::join_all;
use playhouse_protocol::host::ToHost;
use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;

use super::own_host::OwnHost;
use crate::actors::{Node, sandbox::SandboxMessage};

/// The reason that programs and sandboxes show which ended with their node.
const REASON: &str = "node_stopped";
/// How long it may take until a host has linked and said what it holds, since a node may stop right after its start, and
/// until its sandboxes are saved and ended.
const SAVE_WITHIN: Duration = Duration::from_secs(8);
/// How long those that could not be saved may take to be ended.
const END_WITHIN: Duration = Duration::from_secs(2);
/// How long the entities may take for what is queued.
const QUEUES_WITHIN: Duration = Duration::from_secs(5);

/// Saves and ends every sandbox of the host beside this node, and then the host.
pub(crate) async fn end_sandboxes(node: &Node, host: &OwnHost) {
    let entity = node.host_entity();
    let saved_by = Instant::now() + SAVE_WITHIN;
    if host.exists().await && !matches!(timeout_at(saved_by, entity.here()).await, Ok(Ok(()))) {
        tracing::warn!(
            "the host has not said which sandboxes it holds; those unknown here run on, and the next node has them"
        );
    }
    match entity.living().await {
        Ok(sandboxes) if sandboxes.is_empty() => {}
        Ok(sandboxes) => {
            tracing::info!(sandboxes = sandboxes.len(), "saving and ending the sandboxes");
            if timeout_at(saved_by, end_all(node, &sandboxes, true)).await.is_err() {
                tracing::warn!("some sandboxes could not be saved in time; ending them as they are");
                if timeout(END_WITHIN, end_all(node, &sandboxes, false)).await.is_err() {
                    tracing::warn!("some sandboxes did not end in time; the next host removes them");
                }
            }
        }
        Err(error) => tracing::warn!(%error, "which sandboxes there are can't be asked"),
    }
    node.host.send(ToHost::Leave);
    host.left().await;
}

async fn end_all(node: &Node, sandboxes: &[Uuid], save: bool) {
    let ends = sandboxes.iter().map(|id| {
        let sandbox = node.sandbox(*id);
        async move {
            let ended = sandbox.call(|reply| SandboxMessage::EndFor { reason: REASON.to_owned(), save, reply }).await;
            if let Err(error) = ended {
                tracing::warn!(?sandbox, %error, "a sandbox was not ended");
            }
        }
    });
    join_all(ends).await;
}

/// Lets the entities do what is queued, and brings the logs to the disk.
pub(crate) async fn settle(node: &Node) {
    if timeout(QUEUES_WITHIN, node.region.drain()).await.is_err() {
        tracing::warn!("some entities did not end in time");
    }
    if let Err(error) = node.store.replay.sync().await {
        tracing::warn!(%error, "the output's logs were not synced");
    }
}
