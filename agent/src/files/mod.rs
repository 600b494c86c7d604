//! The workspace's files: the tree that the node keeps and the disk that programs write are kept alike.
//!
//! Two sides work on it. The *ordered* side applies manifests and pushes, one after the other, whatever the disk has:
//! the last commit wins. The *reporting* side watches the disk and tells the node what programs changed. Between them
//! are the records: per path, what the tree has and which state of the disk goes with it. A state that differs from the
//! record's is a program's change, and nothing else is; so the agent's own writes are never reported.
//!
//! Invariant: a report that was sent and not answered is never assumed to be committed or lost; its paths are reported
//! anew. Invariant: no path is resolved through a link that a program made.

mod apply;
mod core;
mod diff;
mod engine;
mod flight;
mod harvest;
mod lacking;
mod manifest;
mod pending;
mod read;
mod record;
mod report;
pub mod root;
mod scan;
mod spool;
mod stamp;
pub mod temp;
#[cfg(test)]
mod tests;
mod upload;
mod versions;
mod wants;
mod watch;

use std::{path::PathBuf, sync::Arc};

use playhouse_protocol::agent::{AgentFrame, NodeFrame};
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc, oneshot};

use self::{
    core::{Core, Link},
    engine::{Command, Engine},
    manifest::{Incoming, Wanted},
    spool::Spool,
};
use crate::environment::Unpacking;

/// Where frames to the node go: bounded, a new one for each stream.
pub type Outbox = mpsc::Sender<AgentFrame>;

/// More pieces than can have been asked for.
const WANTED: usize = 2 * wants::WINDOW_HASHES;

/// The handle of the workspace's files.
#[derive(Clone, Debug)]
pub struct Files {
    core: Arc<Core>,
    commands: mpsc::Sender<Command>,
    wanted: mpsc::Sender<Wanted>,
    ordered: Arc<Mutex<Ordered>>,
}

#[derive(Debug)]
struct Ordered {
    incoming: Incoming,
    spool: Spool,
    wanted: mpsc::Receiver<Wanted>,
    unpacking: Option<Unpacking>,
    notes: Vec<String>,
    generation: u64,
}

impl Files {
    /// Takes charge of a workspace. Must be called within a tokio runtime.
    ///
    /// # Panics
    /// If the workspace cannot be opened: a sandbox without it is none.
    #[must_use]
    pub fn spawn(workspace: PathBuf, home: PathBuf) -> Self {
        let core = Core::open(&workspace, &home)
            .unwrap_or_else(|error| panic!("the workspace {} cannot be opened: {error}", workspace.display()));
        if let Err(error) = core.root.clean_temp() {
            core.tree().notice("temporary_files", error.to_string());
        }
        let core = Arc::new(core);
        let (commands, engine) = mpsc::channel(256);
        let (wanted, pieces) = mpsc::channel(WANTED);
        tokio::spawn(Engine::new(Arc::clone(&core), engine).run());
        let ordered = Ordered {
            incoming: Incoming::default(),
            spool: Spool::default(),
            wanted: pieces,
            unpacking: None,
            notes: Vec::new(),
            generation: 0,
        };
        Self { core, commands, wanted, ordered: Arc::new(Mutex::new(ordered)) }
    }

    /// The last tree version that is applied with all before it, 0 before any.
    #[must_use]
    pub fn tree_version(&self) -> u64 {
        self.core.tree().versions.tree()
    }

    /// Whether environment and tree were applied once.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.core.tree().ready
    }

    /// A stream has begun; frames go to this outbox from now on.
    pub async fn link_up(&self, outbox: Outbox) {
        self.link(Some(outbox)).await;
    }

    /// The stream has ended. What waits for the node returns.
    pub async fn link_down(&self) {
        self.link(None).await;
    }

    async fn link(&self, outbox: Option<Outbox>) {
        let generation = self.core.link.borrow().generation + 1;
        let link = Link { generation, outbox };
        self.core.link.send_replace(link.clone());
        let (heard, answer) = oneshot::channel();
        if self.commands.send(Command::Link(link, heard)).await.is_ok() {
            // The engine only ends with the agent.
            let _ = answer.await;
        }
    }

    /// Does a frame of the ordered kind: `Settings`, `Environment`, `Manifest`, `Harvest`, `Content`, `Push`. All
    /// others are ignored. It is done when this returns, unless the link ended meanwhile. Frames of a stream that has ended must
    /// not be handed over once the next has begun.
    pub async fn ordered(&self, frame: NodeFrame) {
        let link = self.core.link.borrow().clone();
        let ordered = Arc::clone(&self.ordered).lock_owned().await;
        let files = self.clone();
        // In a task of its own: a caller that is dropped must not leave a half-done frame beside the next one.
        let done = tokio::spawn(async move {
            files.in_order(ordered, link, frame).await;
            files.core.root.drop_temp();
        });
        // A panic has undone nothing that was done, and the next manifest finds what was not.
        let _ = done.await;
    }

    async fn in_order(&self, mut ordered: OwnedMutexGuard<Ordered>, link: Link, frame: NodeFrame) {
        if link.generation != self.core.link.borrow().generation {
            // It came on a stream that has ended; the next one says it again.
            return;
        }
        if ordered.generation != link.generation {
            ordered.generation = link.generation;
            ordered.incoming = Incoming::default();
            ordered.spool.clear();
            // A pack that was cut off is sent again from its beginning.
            if let Some(unpacking) = ordered.unpacking.take() {
                unpacking.abandon().await;
            }
            ordered.notes.clear();
            while ordered.wanted.try_recv().is_ok() {}
        }
        match frame {
            NodeFrame::Settings(settings) => self.core.tree().settings = Arc::new(settings),
            NodeFrame::Environment { offset, bytes, last } => {
                self.environment(&mut ordered, offset, bytes, last).await;
            }
            NodeFrame::Manifest { version, entries, last } => {
                ordered.incoming.part(version, entries, &self.core.tree());
                if last {
                    self.manifest(&mut ordered, link).await;
                }
            }
            NodeFrame::Harvest { entries, last } => {
                self.blocking(&mut ordered, move |core, _| harvest::take(core, &entries)).await;
                if last {
                    self.is_ready(link, Vec::new()).await;
                }
            }
            NodeFrame::Content { transfer, bytes } => {
                self.blocking(&mut ordered, move |core, spool| spool.piece(core, transfer, &bytes)).await;
            }
            NodeFrame::Push { version, changes } => {
                self.blocking(&mut ordered, move |core, spool| core.push(version, changes, spool)).await;
            }
            _ => {}
        }
    }

    async fn blocking(&self, ordered: &mut Ordered, work: impl FnOnce(&Core, &mut Spool) + Send + 'static) {
        let core = Arc::clone(&self.core);
        let mut spool = std::mem::take(&mut ordered.spool);
        let done = tokio::task::spawn_blocking(move || {
            work(&core, &mut spool);
            spool
        });
        // After a panic the transfers are lost and are told as never come.
        ordered.spool = done.await.unwrap_or_default();
    }

    async fn environment(&self, ordered: &mut Ordered, offset: u64, bytes: Vec<u8>, last: bool) {
        let settings = self.core.settings();
        if !settings.fresh || self.ready() {
            return;
        }
        if offset == 0 && (!bytes.is_empty() || !last) {
            ordered.unpacking = Some(Unpacking::start(&self.core.workspace, &self.core.home, &settings));
        }
        if let Some(unpacking) = &mut ordered.unpacking {
            unpacking.piece(offset, bytes).await;
        }
        if last && let Some(unpacking) = ordered.unpacking.take() {
            ordered.notes.extend(unpacking.finish().await);
        }
    }

    async fn manifest(&self, ordered: &mut Ordered, link: Link) {
        let incoming = std::mem::take(&mut ordered.incoming);
        let Some(mut notes) = manifest::apply(&self.core, incoming, &mut ordered.wanted).await else { return };
        notes.splice(0..0, ordered.notes.drain(..));
        self.is_ready(link, notes).await;
    }

    /// The disk is as the node said, and its changes are reported from now on.
    async fn is_ready(&self, link: Link, notes: Vec<String>) {
        let first = !std::mem::replace(&mut self.core.tree().ready, true);
        self.core.wake.notify_one();
        if !first {
            for note in notes {
                self.core.tree().notice("file_not_written", note);
            }
        } else if let Some(outbox) = link.outbox {
            tokio::select! {
                biased;
                // The next stream's state says it.
                () = self.core.link_changed(link.generation) => {}
                _ = outbox.send(AgentFrame::Ready { notes }) => {}
            }
        }
    }

    /// Does a frame that waits for nothing: `Wanted`, `Reported`, `Flush`, `Pack`. All others are ignored.
    pub async fn now(&self, frame: NodeFrame) {
        let command = match frame {
            NodeFrame::Wanted { hash, offset, bytes, last, failed } => {
                // More than was asked for is dropped, and then fails as a gap.
                let _ = self.wanted.try_send(Wanted { hash, offset, bytes, last, failed });
                return;
            }
            NodeFrame::Reported { batch, version, refused } => Command::Reported { batch, version, refused },
            NodeFrame::Flush { tag } => Command::Flush(tag),
            NodeFrame::Pack { tag } => Command::Pack(tag),
            _ => return,
        };
        // The engine only ends with the agent.
        let _ = self.commands.send(command).await;
    }
}
