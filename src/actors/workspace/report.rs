//! What an agent reports of its disk, and how it becomes the tree: the last commit wins, whatever is there.
//!
//! Everything in a report is hostile: paths are checked, generated folders refused, and content counts only as what it
//! was received as.

use std::collections::{BTreeMap, BTreeSet};

use playhouse_protocol::{agent, path};
use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    WorkspaceAnswer,
    pusher::told,
    rows::{self, BatchRow},
    state::{Decision, Push, State},
    tree::{FileRow, Node, Over},
};
use crate::store::blobs::BlobRef;

/// The longest target of a symbolic link, in bytes.
const TARGET_BYTES: usize = 4096;

/// A reported change whose content, if any, is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reported {
    /// `path` is this.
    Put {
        /// Where.
        path: String,
        /// What.
        node: Node,
    },
    /// The file at `path`, with the content it is known by, may or may not be executed.
    Mode {
        /// Where.
        path: String,
        /// Its content.
        hash: agent::Hash,
        /// Whether it may be executed.
        executable: bool,
    },
    /// `path` and all below it is gone.
    Remove {
        /// Where.
        path: String,
    },
}

/// What became of a report.
#[derive(Debug)]
pub struct Outcome {
    /// What to commit.
    pub decision: Decision,
    /// The batch, to be kept when the decision has landed.
    pub batch: BatchRow,
    /// Content that was received and is not named by the tree.
    pub unused: Vec<BlobRef>,
}

/// What may be reported here.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// The template's generated folders.
    pub generated: &'static [&'static str],
    /// The largest file, in bytes.
    pub max_upload: u64,
}

impl Rules {
    /// Checks a change before its content is looked at.
    ///
    /// # Errors
    /// The path that is not taken, and why.
    pub fn check(self, change: &agent::Change) -> Result<(), (String, &'static str)> {
        let (path, node) = match change {
            agent::Change::Put { path, node, .. } => (path, Some(node)),
            agent::Change::Remove { path } => (path, None),
            agent::Change::Move { from, .. } => return Err((from.clone(), "move_unexpected")),
        };
        let why = if path::check(path).is_err() {
            Some("path_invalid")
        } else if path::is_generated(path, self.generated) {
            Some("generated_folder")
        } else {
            match node {
                Some(agent::Node::File { size, .. }) if *size > self.max_upload => Some("too_large"),
                Some(agent::Node::Symlink { target })
                    if target.is_empty() || target.len() > TARGET_BYTES || target.contains('\0') =>
                {
                    Some("target_invalid")
                }
                Some(agent::Node::File { .. } | agent::Node::Symlink { .. } | agent::Node::Directory) | None => None,
            }
        };
        why.map_or(Ok(()), |why| Err((path.chars().take(path::PATH_BYTES).collect(), why)))
    }
}

impl Reported {
    /// Whether something is at `at`, or below it, after this.
    pub(super) fn makes(&self, at: &str) -> bool {
        match self {
            Self::Put { path: made, .. } | Self::Mode { path: made, .. } => path::is_within(made, at),
            Self::Remove { .. } => false,
        }
    }

    fn path(&self) -> &str {
        match self {
            Self::Put { path, .. } | Self::Mode { path, .. } | Self::Remove { path } => path,
        }
    }
}

impl State {
    /// The tree for a harvest, in path order.
    #[must_use]
    pub fn known(&self) -> Vec<agent::Known> {
        let since = |row: &FileRow| {
            let nanos = if row.reported { 0 } else { row.updated_at.unix_timestamp_nanos() };
            i64::try_from(nanos).unwrap_or(i64::MAX)
        };
        let entries = self.tree.iter().map(|(_, entry)| agent::Known {
            path: entry.path.to_string(),
            node: told(&entry.row.node),
            since: since(&entry.row),
        });
        entries.collect()
    }

    /// What the tree has at and below each of these paths, for an agent whose disk has something else.
    #[must_use]
    pub fn as_it_stands(&self, paths: Vec<String>) -> Vec<Push> {
        let paths: BTreeSet<String> = paths.into_iter().filter(|path| path::check(path).is_ok()).collect();
        // What lies below another comes with it, once.
        let is_covered = |path: &str| {
            std::iter::successors(path::parent(path), |above| path::parent(above)).any(|above| paths.contains(above))
        };
        let mut pushes = Vec::new();
        for path in paths.iter().filter(|path| !is_covered(path)).cloned() {
            if self.tree.find(&path).is_none() {
                pushes.push(Push::Remove { path });
                continue;
            }
            let entries = self.tree.within(&path, None);
            pushes.extend(
                entries.map(|(_, entry)| Push::Put { path: entry.path.to_string(), node: entry.row.node.clone() }),
            );
        }
        pushes
    }

    /// Refuses what a harvest that began at `begun` brings of paths that were written or removed by somebody since.
    #[must_use]
    pub fn outdone(
        &self,
        changes: Vec<Reported>,
        mut refused: Vec<(String, String)>,
        begun: OffsetDateTime,
        vacated: &BTreeMap<String, Instant>,
    ) -> (Vec<Reported>, Vec<(String, String)>) {
        let newer = |at: &str| {
            self.tree.find(at).is_some_and(|(_, entry)| !entry.row.reported && entry.row.updated_at >= begun)
        };
        let gone = |at: &str| {
            let mut above = Some(at);
            while let Some(now) = above {
                if vacated.contains_key(now) {
                    return true;
                }
                above = path::parent(now);
            }
            false
        };
        let (kept, outdone) = changes.into_iter().partition(|change| !newer(change.path()) && !gone(change.path()));
        let outdone: Vec<Reported> = outdone;
        refused.extend(outdone.iter().map(|change| (change.path().to_owned(), "newer_in_the_tree".to_owned())));
        (kept, refused)
    }

    /// Takes a report's changes over, in order; those that can't be are refused one by one.
    pub fn report(
        &mut self,
        sandbox: Uuid,
        batch: u64,
        changes: &[Reported],
        mut refused: Vec<(String, String)>,
        now: OffsetDateTime,
    ) -> Outcome {
        let shard = playhouse_protocol::Shard::of(self.id);
        let mut unused = Vec::new();
        for change in changes.iter().cloned() {
            match change {
                Reported::Remove { path } => {
                    if let Some((id, _)) = self.tree.find(&path) {
                        self.tree.remove(id);
                    }
                }
                Reported::Mode { path, hash, executable } => {
                    match self.tree.find(&path).map(|(_, entry)| &entry.row.node) {
                        Some(Node::File { blob, .. }) if blob.hash == hash => {
                            let node = Node::File { blob: blob.clone(), executable };
                            // A file over a file can't be refused.
                            let _ = self.tree.put(&path, node, Over::All, now, &mut || shard.fresh_id());
                        }
                        Some(_) | None => refused.push((path, "content_missing".to_owned())),
                    }
                }
                Reported::Put { path, node } => {
                    let node = match (self.tree.find(&path).map(|(_, entry)| &entry.row.node), node) {
                        (Some(Node::File { blob: old, .. }), Node::File { blob, executable })
                            if old.hash == blob.hash =>
                        {
                            unused.push(blob);
                            Node::File { blob: old.clone(), executable }
                        }
                        (_, node) => node,
                    };
                    let blob = node.blob().cloned();
                    if let Err(error) = self.tree.put(&path, node, Over::All, now, &mut || shard.fresh_id()) {
                        unused.extend(blob);
                        refused.push((path, error.to_string()));
                    }
                }
            }
        }
        let mut decision = self.tree_decision(WorkspaceAnswer::Done, Vec::new(), now);
        let version = decision.meta.as_ref().map_or(self.meta.tree_version, |meta| meta.tree_version);
        let batch = BatchRow { batch, version, refused };
        decision.commit.put_json(rows::batch(sandbox), &batch);
        Outcome { decision, batch, unused }
    }
}
