//! What the ordered side (manifests, pushes) and the reporting side share, behind one lock that is held for one path's
//! worth of disk work and never across a wait.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use playhouse_protocol::{
    agent::{Node, Settings},
    path as paths,
};
use tokio::sync::{Notify, watch};

use super::{
    Outbox,
    lacking::{Lacking, Look},
    record::{Record, Records, Standing},
    root::Root,
    stamp::Disk,
    temp::is_temp,
    versions::Versions,
};

/// The most notices that wait for a link.
const NOTICES: usize = 64;

/// The state that both sides change.
#[derive(Debug)]
pub struct Tree {
    /// What is where.
    pub records: Records,
    /// Which commit decided it.
    pub versions: Versions,
    /// As the node said last.
    pub settings: Arc<Settings>,
    /// Environment and tree were applied once.
    pub ready: bool,
    /// Paths that the ordered side wants looked at; `true` where they must be reported whatever they look like.
    pub marks: Vec<(String, bool)>,
    /// Things to tell a person.
    pub notices: Vec<(&'static str, String)>,
    /// Paths that a report spoke of which was never answered, with the disk's state that it told.
    pub forced: BTreeMap<String, Disk>,
    /// Where the disk could not be made like the tree.
    pub lacking: Lacking,
}

/// One life of the link.
#[derive(Debug, Clone, Default)]
pub struct Link {
    /// Counts them.
    pub generation: u64,
    /// Where frames go, while it is up.
    pub outbox: Option<Outbox>,
}

/// See the module.
#[derive(Debug)]
pub struct Core {
    /// The workspace.
    pub root: Root,
    /// Where it is, for the environment.
    pub workspace: PathBuf,
    /// The home directory.
    pub home: PathBuf,
    tree: Mutex<Tree>,
    /// Rung when `marks`, `notices` or `ready` may have changed.
    pub wake: Notify,
    /// The link as it is.
    pub link: watch::Sender<Link>,
}

impl Core {
    /// Opens the workspace.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(workspace: &Path, home: &Path) -> std::io::Result<Self> {
        Ok(Self {
            root: Root::open(workspace)?,
            workspace: workspace.to_owned(),
            home: home.to_owned(),
            tree: Mutex::new(Tree {
                records: Records::default(),
                versions: Versions::default(),
                settings: Arc::new(Settings {
                    generated_folders: Vec::new(),
                    max_file_bytes: 0,
                    max_environment_bytes: 0,
                    fresh: false,
                }),
                ready: false,
                marks: Vec::new(),
                notices: Vec::new(),
                forced: BTreeMap::new(),
                lacking: Lacking::default(),
            }),
            wake: Notify::new(),
            link: watch::Sender::new(Link::default()),
        })
    }

    /// The shared state. A panic elsewhere leaves it usable: each path is settled before the next is begun.
    pub fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The settings.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.tree().settings)
    }

    /// Waits until the link is another than `generation`'s.
    pub async fn link_changed(&self, generation: u64) {
        let mut link = self.link.subscribe();
        // The sender lives as long as we do.
        let _ = link.wait_for(|link| link.generation != generation).await;
    }
}

impl Tree {
    /// Tells a person, once there is a link.
    pub fn notice(&mut self, code: &'static str, detail: String) {
        if self.notices.len() < NOTICES {
            self.notices.push((code, detail));
        }
    }

    /// The disk could not be given what the tree has at `path`: a person is told the first time, and the node is asked
    /// again later.
    pub fn lacks(&mut self, path: &str, error: &dyn std::fmt::Display) {
        if self.lacking.add(path) {
            self.notice("file_not_written", format!("{path}: {error}; it is tried again"));
        }
    }

    /// At most so many of the paths whose time has come, to ask the node for; `free` bytes fit on the disk.
    pub fn due_again(&mut self, most: usize, now: Duration, free: u64) -> Vec<String> {
        let records = &self.records;
        self.lacking.due(most, now, |path| match records.get(path) {
            Some(record) if record.standing == Standing::Agreed => Look::Settled,
            Some(Record { tree: Some(Node::File { size, .. }), .. }) if *size > free => Look::Vain,
            Some(_) | None => Look::Asked,
        })
    }

    /// Whether `path` is one that the tree can have.
    #[must_use]
    pub fn is_ours(&self, path: &str) -> bool {
        paths::check(path).is_ok() && !is_temp(path) && !paths::is_generated(path, &self.settings.generated_folders)
    }
}

/// The permission bits a file gets: what it had, with the right to execute where there is the right to read.
#[must_use]
pub fn mode_for(node: &Node, before: Option<u32>) -> u32 {
    let base = before.unwrap_or(0o644) & 0o666 | 0o400;
    match node {
        Node::File { executable: true, .. } => base | (base & 0o444) >> 2,
        Node::File { executable: false, .. } | Node::Directory | Node::Symlink { .. } => base,
    }
}
