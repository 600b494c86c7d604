//! What comes from the sandbox's agent in bulk: uploads, reports, the packed environment. One task per link stores the
//! content; the workspace hears of what is stored.
//!
//! An upload that breaks a rule is spoiled: the report that names it gets that path refused.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use playhouse_protocol::agent::{self, AgentFrame, Change, Content, INLINE_BYTES, PIECE_BYTES};
use ractor::ActorRef;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    task::AbortHandle,
};
use uuid::Uuid;

use super::{
    Own, WorkspaceMessage,
    own::Taken,
    report::{Reported, Rules},
    tree::Node as TreeNode,
};
use crate::{
    actors::Node,
    store::blobs::{BlobRef, BlobWriter},
};

/// How many uploads may be under way on a link.
const UPLOADS: usize = 64;
/// How many bytes may wait to be stored; what comes beyond is spoiled.
const QUEUE_BYTES: u64 = 64 * 1024 * 1024;
/// How long a store that failed is left alone before it is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// The intake of one link. Dropping it ends it.
#[derive(Debug)]
pub struct Intake {
    queue: mpsc::UnboundedSender<(AgentFrame, Option<OwnedSemaphorePermit>)>,
    queued: Arc<AtomicU64>,
    task: AbortHandle,
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Intake {
    /// Begins.
    #[must_use]
    pub fn begin(
        node: &Node,
        workspace: Uuid,
        link: u64,
        rules: Rules,
        max_environment: u64,
        to: ActorRef<WorkspaceMessage>,
    ) -> Self {
        let (queue, next) = mpsc::unbounded_channel();
        let queued = Arc::new(AtomicU64::new(0));
        let worker = Worker {
            node: node.clone(),
            workspace,
            link,
            rules,
            max_environment,
            to,
            uploads: HashMap::new(),
            environment: None,
        };
        let task = tokio::spawn(worker.run(next, Arc::clone(&queued))).abort_handle();
        Self { queue, queued, task }
    }

    /// Takes a frame. The permit, if any, is let go when its content is stored.
    pub fn take(&self, frame: AgentFrame, permit: Option<OwnedSemaphorePermit>) {
        let bytes = weight(&frame);
        let frame = match frame {
            AgentFrame::Upload { transfer, .. } if self.queued.load(Ordering::Relaxed) + bytes > QUEUE_BYTES => {
                // A piece that is too long spoils its upload, whatever it holds.
                AgentFrame::Upload { transfer, bytes: vec![0; PIECE_BYTES + 1] }
            }
            frame => frame,
        };
        self.queued.fetch_add(weight(&frame), Ordering::Relaxed);
        // A task that has ended did so with its link: the agent sends what was not answered again.
        let _ = self.queue.send((frame, permit));
    }
}

fn weight(frame: &AgentFrame) -> u64 {
    match frame {
        AgentFrame::Upload { bytes, .. } | AgentFrame::Environment { bytes, .. } => bytes.len() as u64,
        _ => 1024,
    }
}

enum Upload {
    Under(Box<BlobWriter>, u64),
    Spoiled(&'static str),
}

struct Environment {
    tag: u64,
    writer: BlobWriter,
    bytes: u64,
}

struct Worker {
    node: Node,
    workspace: Uuid,
    link: u64,
    rules: Rules,
    max_environment: u64,
    to: ActorRef<WorkspaceMessage>,
    uploads: HashMap<u64, Upload>,
    environment: Option<Environment>,
}

impl Worker {
    async fn run(
        mut self,
        mut queue: mpsc::UnboundedReceiver<(AgentFrame, Option<OwnedSemaphorePermit>)>,
        queued: Arc<AtomicU64>,
    ) {
        while let Some((frame, permit)) = queue.recv().await {
            let bytes = weight(&frame);
            let taken = match frame {
                AgentFrame::Upload { transfer, bytes } => {
                    self.upload(transfer, bytes).await;
                    None
                }
                AgentFrame::UploadVoid { transfer } => {
                    self.forget(transfer).await;
                    None
                }
                AgentFrame::Report { batch, changes, left_out } => Some(self.report(batch, changes, left_out).await),
                AgentFrame::Environment { tag, offset, bytes, last, left_out } => {
                    let stored = self.environment(tag, offset, bytes, last).await;
                    stored.map(|stored| Taken::Environment { tag, stored: stored.map(|blob| (blob, left_out)) })
                }
                AgentFrame::Beat
                | AgentFrame::State { .. }
                | AgentFrame::Ready { .. }
                | AgentFrame::Want { .. }
                | AgentFrame::Started { .. }
                | AgentFrame::Output { .. }
                | AgentFrame::Exited { .. }
                | AgentFrame::InputTaken { .. }
                | AgentFrame::Flushed { .. }
                | AgentFrame::PackFailed { .. }
                | AgentFrame::Notice { .. }
                | AgentFrame::Lacking { .. } => None,
            };
            queued.fetch_sub(bytes, Ordering::Relaxed);
            drop(permit);
            if let Some(taken) = taken {
                // A workspace that has ended is told again by the agent.
                let _ = self.to.send_message(WorkspaceMessage::Own(Own::Intake { link: self.link, taken }));
            }
        }
    }

    async fn upload(&mut self, transfer: u64, bytes: Vec<u8>) {
        let size = bytes.len() as u64;
        let upload = match self.uploads.remove(&transfer) {
            Some(upload) => upload,
            None if self.uploads.len() >= UPLOADS => {
                tracing::warn!(workspace = %self.workspace, "an agent has too many uploads under way");
                return;
            }
            None => match self.node.store.blobs.writer(self.workspace).await {
                Ok(writer) => Upload::Under(Box::new(writer), 0),
                Err(error) => {
                    tracing::warn!(%error, workspace = %self.workspace, "an upload can't be stored");
                    Upload::Spoiled("store_failed")
                }
            },
        };
        let upload = match upload {
            Upload::Under(writer, _) if bytes.len() > PIECE_BYTES => Self::spoil(writer, "overloaded").await,
            Upload::Under(writer, had) if had + size > self.rules.max_upload => Self::spoil(writer, "too_large").await,
            Upload::Under(mut writer, had) => match writer.write(Bytes::from(bytes)).await {
                Ok(()) => Upload::Under(writer, had + size),
                Err(error) => {
                    tracing::warn!(%error, workspace = %self.workspace, "an upload can't be stored");
                    Self::spoil(writer, "store_failed").await
                }
            },
            spoiled @ Upload::Spoiled(_) => spoiled,
        };
        self.uploads.insert(transfer, upload);
    }

    async fn spoil(writer: Box<BlobWriter>, why: &'static str) -> Upload {
        writer.abort().await;
        Upload::Spoiled(why)
    }

    async fn forget(&mut self, transfer: u64) {
        if let Some(Upload::Under(writer, _)) = self.uploads.remove(&transfer) {
            writer.abort().await;
        }
    }

    async fn report(&mut self, batch: u64, changes: Vec<Change>, left_out: Vec<(String, String)>) -> Taken {
        let mut refused = Vec::new();
        let mut inline = Vec::new();
        let mut taken = Vec::with_capacity(changes.len());
        for change in changes {
            if let Err((path, why)) = self.rules.check(&change) {
                if let Change::Put { content: Some(Content::Transfer(transfer)), .. } = change {
                    self.forget(transfer).await;
                }
                refused.push((path, why.to_owned()));
                continue;
            }
            match self.resolve(change, &mut inline).await {
                Ok(change) => taken.push(change),
                Err((path, why)) => refused.push((path, why.to_owned())),
            }
        }
        let mut stored = self.store(inline).await.into_iter();
        let changes = taken
            .into_iter()
            .filter_map(|change| match change {
                Resolved::Reported(change) => Some(change),
                Resolved::Inline { path, executable } => {
                    let blob = stored.next()?;
                    Some(Reported::Put { path, node: TreeNode::File { blob, executable } })
                }
            })
            .collect();
        Taken::Report { batch, changes, refused, left_out }
    }

    async fn resolve(&mut self, change: Change, inline: &mut Vec<Bytes>) -> Result<Resolved, (String, &'static str)> {
        let (path, node, content) = match change {
            Change::Remove { path } => return Ok(Resolved::Reported(Reported::Remove { path })),
            Change::Move { from, .. } => return Err((from, "move_unexpected")),
            Change::Put { path, node, content } => (path, node, content),
        };
        let node = match (node, content) {
            (agent::Node::Directory, _) => TreeNode::Directory,
            (agent::Node::Symlink { target }, _) => TreeNode::Symlink { target },
            (agent::Node::File { hash, executable, .. }, None) => {
                return Ok(Resolved::Reported(Reported::Mode { path, hash, executable }));
            }
            (agent::Node::File { hash, size, executable }, Some(Content::Inline(bytes))) => {
                if bytes.len() > INLINE_BYTES {
                    return Err((path, "too_large"));
                }
                if bytes.len() as u64 != size || *blake3::hash(&bytes).as_bytes() != hash {
                    return Err((path, "content_differs"));
                }
                inline.push(Bytes::from(bytes));
                return Ok(Resolved::Inline { path, executable });
            }
            (agent::Node::File { hash, size, executable }, Some(Content::Transfer(transfer))) => {
                let blob = match self.uploads.remove(&transfer) {
                    None => return Err((path, "content_missing")),
                    Some(Upload::Spoiled(why)) => return Err((path, why)),
                    Some(Upload::Under(writer, _)) => writer.finish().await,
                };
                let blob = match blob {
                    Ok(blob) => blob,
                    Err(error) => {
                        tracing::warn!(%error, workspace = %self.workspace, "an upload can't be stored");
                        return Err((path, "store_failed"));
                    }
                };
                if blob.hash != hash || blob.size != size {
                    self.node.store.blobs.delete(self.workspace, vec![blob]).await;
                    return Err((path, "content_differs"));
                }
                TreeNode::File { blob, executable }
            }
        };
        Ok(Resolved::Reported(Reported::Put { path, node }))
    }

    /// Stores contents, however often it takes: the agent keeps its report until it is answered.
    async fn store(&self, contents: Vec<Bytes>) -> Vec<BlobRef> {
        if contents.is_empty() {
            return Vec::new();
        }
        loop {
            match self.node.store.blobs.put_many(self.workspace, contents.clone()).await {
                Ok(blobs) => return blobs,
                Err(error) => {
                    tracing::error!(%error, workspace = %self.workspace, "reported files can't be stored yet");
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
    }

    /// Takes a piece of the environment. Something to say when it is whole, or can't be had.
    async fn environment(
        &mut self,
        tag: u64,
        offset: u64,
        bytes: Vec<u8>,
        last: bool,
    ) -> Option<Result<BlobRef, String>> {
        if offset == 0 {
            if let Some(old) = self.environment.take() {
                old.writer.abort().await;
            }
            match self.node.store.blobs.writer(self.workspace).await {
                Ok(writer) => self.environment = Some(Environment { tag, writer, bytes: 0 }),
                Err(error) => return Some(Err(error.to_string())),
            }
        }
        // A piece of a packing that has failed before: that was said.
        let mut environment = self.environment.take().filter(|environment| environment.tag == tag)?;
        let size = bytes.len() as u64;
        let wrong = if environment.bytes != offset {
            Some("a piece is missing".to_owned())
        } else if environment.bytes + size > self.max_environment {
            Some("it is over the limit".to_owned())
        } else {
            let written = environment.writer.write(Bytes::from(bytes)).await;
            written.err().map(|error| error.to_string())
        };
        if let Some(wrong) = wrong {
            environment.writer.abort().await;
            return Some(Err(wrong));
        }
        environment.bytes += size;
        if last {
            return Some(environment.writer.finish().await.map_err(|error| error.to_string()));
        }
        self.environment = Some(environment);
        None
    }
}

enum Resolved {
    Reported(Reported),
    Inline { path: String, executable: bool },
}
