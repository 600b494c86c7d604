//! What goes to the sandbox's agent in order: settings, environment, the tree as it stands, then every change of it and
//! every start, by one task per link. So a program sees every write that was answered before it was run.
//!
//! A second task answers what the agent wants of the tree's content. It sends on the same bounded queue, so that an
//! agent that reads slowly is sent slowly.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use playhouse_protocol::agent::{self, Change, Content, Entry, Hash, INLINE_BYTES, Known, NodeFrame, Settings, Start};
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
};
use uuid::Uuid;

use super::{
    WorkspaceMessage,
    pieces::{Piece, Pieces},
    state::Push,
    tree::Node as TreeNode,
};
use crate::{
    actors::{
        Caller, Node, Role,
        agent_link::LinkRef,
        process::{ProcessAnswer, ProcessCommand, ProcessMessage},
        quota::TREE_ENTRIES,
        views::ProcessStatus,
    },
    store::blobs::{BlobError, BlobRef},
};

/// How many bytes of entries or changes one frame carries.
const FRAME_BYTES: usize = 512 * 1024;
/// How many bytes an entry or change takes beside its path and content, at most.
const ENTRY_BYTES: usize = 128;

/// What a stream begins with.
#[derive(Debug)]
pub enum Begin {
    /// The sandbox is to be made like the tree.
    Fill {
        /// For the agent.
        settings: Settings,
        /// The packed environment, if there is one.
        environment: Option<BlobRef>,
        /// The tree's version.
        version: u64,
        /// The tree, in path order.
        entries: Vec<(Arc<str>, TreeNode)>,
    },
    /// What a lost agent left is to be brought into the tree.
    Harvest {
        /// For the agent.
        settings: Settings,
        /// The tree, in path order.
        entries: Vec<Known>,
    },
}

impl Begin {
    /// Every content that the agent may ask for.
    fn content(&self) -> HashMap<Hash, BlobRef> {
        match self {
            Self::Fill { entries, .. } => {
                entries.iter().filter_map(|(_, node)| node.blob()).map(|blob| (blob.hash, blob.clone())).collect()
            }
            Self::Harvest { .. } => HashMap::new(),
        }
    }
}

/// What follows, in order.
#[derive(Debug)]
pub enum Item {
    /// What a commit changed.
    Push {
        /// The tree's version after it.
        version: u64,
        /// What.
        changes: Vec<Push>,
    },
    /// What an agent has asked for again.
    Again {
        /// The tree's version.
        version: u64,
        /// What it has there.
        changes: Vec<Push>,
    },
    /// A program to start.
    Start {
        /// What.
        start: Start,
        /// It may have been started on an earlier link: ask its process first, as this caller.
        ask: Option<Caller>,
    },
}

/// The tasks of one link. Dropping it ends them.
#[derive(Debug)]
pub struct Pusher {
    items: mpsc::UnboundedSender<Item>,
    wants: mpsc::UnboundedSender<Vec<Hash>>,
    wanted: Arc<AtomicUsize>,
    /// Something that was asked for again is still to be sent.
    again: Arc<AtomicBool>,
    ready: watch::Sender<bool>,
    tasks: [AbortHandle; 2],
}

impl Drop for Pusher {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Pusher {
    /// Begins a stream.
    #[must_use]
    pub fn begin(node: &Node, workspace: Uuid, link: &LinkRef, begin: Begin, ready: bool) -> Self {
        let (items, next_item) = mpsc::unbounded_channel();
        let (wants, next_want) = mpsc::unbounded_channel();
        let (ready, is_ready) = watch::channel(ready);
        let wanted = Arc::new(AtomicUsize::new(0));
        let again = Arc::new(AtomicBool::new(false));
        let sender =
            Sender { node: node.clone(), workspace, link: link.clone(), transfer: 0, again: Arc::clone(&again) };
        let wanting = Wanting { content: begin.content(), wanted: Arc::clone(&wanted) };
        let tasks = [
            tokio::spawn(sender.clone().run(begin, next_item, is_ready)).abort_handle(),
            tokio::spawn(sender.answer_wants(wanting, next_want)).abort_handle(),
        ];
        Self { items, wants, wanted, again, ready, tasks }
    }

    /// Sends what an agent has asked for again. It asks later for what it asks while that is under way: a tree's worth
    /// at a time is what waits for an agent, whatever it says.
    pub fn push_again(&self, version: u64, changes: impl FnOnce() -> Vec<Push>) {
        if !self.again.swap(true, Ordering::Relaxed) {
            self.push(Item::Again { version, changes: changes() });
        }
    }

    /// Sends this after all that was given before.
    pub fn push(&self, item: Item) {
        // A task that has ended did so with its link, whose successor begins with the tree as it stands.
        let _ = self.items.send(item);
    }

    /// The agent has its environment and tree.
    pub fn ready(&self) {
        self.ready.send_replace(true);
    }

    /// The agent wants this content. More than a tree can name is not queued.
    pub fn want(&self, hashes: Vec<Hash>) {
        if self.wanted.fetch_add(hashes.len(), Ordering::Relaxed) + hashes.len() > TREE_ENTRIES {
            self.wanted.fetch_sub(hashes.len(), Ordering::Relaxed);
            tracing::warn!("an agent wants more than the tree has");
            return;
        }
        // As above.
        let _ = self.wants.send(hashes);
    }
}

/// The link is gone: its tasks end.
struct LinkGone;

#[derive(Clone)]
struct Sender {
    node: Node,
    workspace: Uuid,
    link: LinkRef,
    transfer: u64,
    again: Arc<AtomicBool>,
}

struct Wanting {
    content: HashMap<Hash, BlobRef>,
    wanted: Arc<AtomicUsize>,
}

impl Sender {
    async fn send(&self, frame: NodeFrame) -> Result<(), LinkGone> {
        if self.link.ordered(frame).await { Ok(()) } else { Err(LinkGone) }
    }

    async fn run(mut self, begin: Begin, mut items: mpsc::UnboundedReceiver<Item>, mut ready: watch::Receiver<bool>) {
        if self.begin(begin).await.is_err() || ready.wait_for(|ready| *ready).await.is_err() {
            return;
        }
        while let Some(item) = items.recv().await {
            let sent = match item {
                Item::Push { version, changes } => self.push(version, changes).await,
                Item::Again { version, changes } => {
                    let sent = self.push(version, changes).await;
                    self.again.store(false, Ordering::Relaxed);
                    sent
                }
                Item::Start { start, ask } => self.start(start, ask).await,
            };
            if sent.is_err() {
                return;
            }
        }
    }

    async fn begin(&self, begin: Begin) -> Result<(), LinkGone> {
        match begin {
            Begin::Fill { settings, environment, version, entries } => {
                let fresh = settings.fresh;
                self.send(NodeFrame::Settings(settings)).await?;
                if fresh {
                    self.environment(environment).await?;
                }
                self.manifest(version, entries).await
            }
            Begin::Harvest { settings, entries } => {
                let fresh = settings.fresh;
                self.send(NodeFrame::Settings(settings)).await?;
                // One that was told on an earlier link goes on with what it has to report.
                if fresh { self.harvest(entries).await } else { Ok(()) }
            }
        }
    }

    async fn harvest(&self, known: Vec<Known>) -> Result<(), LinkGone> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        for entry in known {
            bytes += entry.path.len() + ENTRY_BYTES;
            if let agent::Node::Symlink { target } = &entry.node {
                bytes += target.len();
            }
            entries.push(entry);
            if bytes >= FRAME_BYTES {
                bytes = 0;
                self.send(NodeFrame::Harvest { entries: std::mem::take(&mut entries), last: false }).await?;
            }
        }
        self.send(NodeFrame::Harvest { entries, last: true }).await
    }

    async fn manifest(&self, version: u64, tree: Vec<(Arc<str>, TreeNode)>) -> Result<(), LinkGone> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        for (path, node) in tree {
            bytes += path.len() + node_bytes(&node) + ENTRY_BYTES;
            entries.push(Entry { path: path.to_string(), node: told(&node) });
            if bytes >= FRAME_BYTES {
                bytes = 0;
                self.send(NodeFrame::Manifest { version, entries: std::mem::take(&mut entries), last: false }).await?;
            }
        }
        self.send(NodeFrame::Manifest { version, entries, last: true }).await
    }

    async fn environment(&self, blob: Option<BlobRef>) -> Result<(), LinkGone> {
        let mut offset = 0;
        if let Some(blob) = blob {
            match Pieces::open(&self.node, self.workspace, &blob).await {
                Ok(mut pieces) => {
                    while let Some(piece) = pieces.next().await {
                        match piece {
                            Ok(Piece { offset: at, bytes, last }) => {
                                offset = at + bytes.len() as u64;
                                self.send(NodeFrame::Environment { offset: at, bytes, last }).await?;
                                if last {
                                    return Ok(());
                                }
                            }
                            // The agent notices that the pack is cut, and says so.
                            Err(error) => {
                                tracing::error!(%error, workspace = %self.workspace, "an environment can't be read")
                            }
                        }
                    }
                }
                Err(error) => tracing::error!(%error, workspace = %self.workspace, "an environment can't be read"),
            }
        }
        self.send(NodeFrame::Environment { offset, bytes: Vec::new(), last: true }).await
    }

    async fn push(&mut self, version: u64, pushes: Vec<Push>) -> Result<(), LinkGone> {
        let mut changes = Vec::new();
        let mut bytes = 0;
        for push in pushes {
            if bytes >= FRAME_BYTES {
                bytes = 0;
                // Only the last part brings the tree to its version.
                let part =
                    NodeFrame::Push { version: version.saturating_sub(1), changes: std::mem::take(&mut changes) };
                self.send(part).await?;
            }
            let change = match push {
                Push::Remove { path } => Change::Remove { path },
                Push::Move { from, to } => Change::Move { from, to },
                Push::Put { path, node } => {
                    let content = match node.blob() {
                        None => None,
                        Some(blob) => match self.content(blob).await? {
                            Some(content) => Some(content),
                            // What can't be read was replaced long ago: that change is behind this one in the queue.
                            None => continue,
                        },
                    };
                    if let Some(Content::Inline(inline)) = &content {
                        bytes += inline.len();
                    }
                    Change::Put { path, node: told(&node), content }
                }
            };
            bytes += ENTRY_BYTES
                + match &change {
                    Change::Put { path, node: agent::Node::Symlink { target }, .. } => path.len() + target.len(),
                    Change::Put { path, .. } | Change::Remove { path } => path.len(),
                    Change::Move { from, to } => from.len() + to.len(),
                };
            changes.push(change);
        }
        self.send(NodeFrame::Push { version, changes }).await
    }

    /// A file's bytes for a change: inside it, or sent before it. `None` when they can't be read.
    async fn content(&mut self, blob: &BlobRef) -> Result<Option<Content>, LinkGone> {
        let unreadable = |error: BlobError| {
            tracing::warn!(%error, key = blob.key, "a pushed file's content can't be read");
            None
        };
        if blob.size <= INLINE_BYTES as u64 {
            let read = self.node.store.blobs.read_all(self.workspace, blob, INLINE_BYTES as u64).await;
            return Ok(read.map_or_else(unreadable, |bytes| Some(Content::Inline(bytes.into()))));
        }
        self.transfer += 1;
        let transfer = self.transfer;
        let mut pieces = match Pieces::open(&self.node, self.workspace, blob).await {
            Ok(pieces) => pieces,
            Err(error) => return Ok(unreadable(error)),
        };
        while let Some(piece) = pieces.next().await {
            match piece {
                Ok(Piece { bytes, .. }) => self.send(NodeFrame::Content { transfer, bytes }).await?,
                Err(error) => return Ok(unreadable(error)),
            }
        }
        Ok(Some(Content::Transfer(transfer)))
    }

    async fn start(&self, start: Start, ask: Option<Caller>) -> Result<(), LinkGone> {
        let process = self.node.process(start.process_id);
        if let Some(caller) = ask {
            let status = process
                .call(|reply| ProcessMessage::Command {
                    caller,
                    role: Role::Owner,
                    command: ProcessCommand::Get,
                    idempotency: None,
                    reply,
                })
                .await;
            match status {
                Ok(Ok(ProcessAnswer::Process(view))) if view.status == ProcessStatus::Pending => {}
                Ok(Ok(ProcessAnswer::Process(view))) if view.status.ended() => {
                    let workspace = self.node.workspace(self.workspace);
                    let ended = WorkspaceMessage::ProcessEnded { process_id: start.process_id };
                    // The workspace whose link this is runs; else the next link is here again.
                    let _ = workspace.cast(ended).await;
                    return Ok(());
                }
                Ok(Ok(ProcessAnswer::Process(_) | ProcessAnswer::Done)) => return Ok(()),
                Ok(Err(error)) => {
                    tracing::warn!(%error, process = %start.process_id, "a process can't be asked whether it has started");
                    return Ok(());
                }
                Err(error) => {
                    tracing::warn!(%error, process = %start.process_id, "a process can't be asked whether it has started");
                    return Ok(());
                }
            }
        }
        // It hears of its link before the agent can say anything of it.
        if let Err(error) = process.cast(ProcessMessage::LinkUp { link: self.link.clone(), state: None }).await {
            tracing::warn!(%error, process = %start.process_id, "a process can't be told of its link");
        }
        self.send(NodeFrame::Start(start)).await
    }

    async fn answer_wants(self, wanting: Wanting, mut wants: mpsc::UnboundedReceiver<Vec<Hash>>) {
        while let Some(hashes) = wants.recv().await {
            wanting.wanted.fetch_sub(hashes.len(), Ordering::Relaxed);
            for hash in hashes {
                if self.answer_want(hash, wanting.content.get(&hash)).await.is_err() {
                    return;
                }
            }
        }
    }

    async fn answer_want(&self, hash: Hash, blob: Option<&BlobRef>) -> Result<(), LinkGone> {
        let failed = |offset| NodeFrame::Wanted { hash, offset, bytes: Vec::new(), last: true, failed: true };
        let Some(blob) = blob else { return self.send(failed(0)).await };
        let mut pieces = match Pieces::open(&self.node, self.workspace, blob).await {
            Ok(pieces) => pieces,
            Err(error) => {
                tracing::warn!(%error, key = blob.key, "wanted content can't be read");
                return self.send(failed(0)).await;
            }
        };
        let mut end = 0;
        while let Some(piece) = pieces.next().await {
            match piece {
                Ok(Piece { offset, bytes, last }) => {
                    end = offset + bytes.len() as u64;
                    self.send(NodeFrame::Wanted { hash, offset, bytes, last, failed: false }).await?;
                }
                Err(error) => {
                    tracing::warn!(%error, key = blob.key, "wanted content can't be read");
                    return self.send(failed(end)).await;
                }
            }
        }
        Ok(())
    }
}

fn node_bytes(node: &TreeNode) -> usize {
    match node {
        TreeNode::Symlink { target } => target.len(),
        TreeNode::Directory | TreeNode::File { .. } => 0,
    }
}

/// A tree's node as the agent is told of it.
pub(super) fn told(node: &TreeNode) -> agent::Node {
    match node {
        TreeNode::Directory => agent::Node::Directory,
        TreeNode::Symlink { target } => agent::Node::Symlink { target: target.clone() },
        TreeNode::File { blob, executable } => {
            agent::Node::File { hash: blob.hash, size: blob.size, executable: *executable }
        }
    }
}
