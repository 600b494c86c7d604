//! The file tree: an entry knows its parent and its name, so moving or deleting a directory changes one row; whole
//! paths are an index in memory beside it.
//!
//! Changes are made at once and written down in a journal. When their commit has landed the journal is accepted; when
//! it has not, it is rolled back.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
};

use playhouse_protocol::path;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{actors::quota::TREE_ENTRIES, store::blobs::BlobRef};

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Node {
    /// A directory.
    Directory,
    /// A symbolic link, kept and never followed.
    Symlink {
        /// What it names, as written.
        target: String,
    },
    /// A regular file.
    File {
        /// Its content.
        blob: BlobRef,
        /// Whether it may be executed.
        executable: bool,
    },
}

impl Node {
    /// Where its content is.
    #[must_use]
    pub const fn blob(&self) -> Option<&BlobRef> {
        match self {
            Self::File { blob, .. } => Some(blob),
            Self::Directory | Self::Symlink { .. } => None,
        }
    }

    /// Whether it is a directory.
    #[must_use]
    pub const fn is_directory(&self) -> bool {
        matches!(self, Self::Directory)
    }
}

/// An entry as it is kept: `file/<id>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRow {
    /// The directory it lies in, `None` for the root.
    pub parent: Option<Uuid>,
    /// Its name there.
    pub name: String,
    /// What it is.
    pub node: Node,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// A sandbox reported it: if the disk has something else, a program wrote that later.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reported: bool,
}

/// An entry with its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub path: Arc<str>,
    /// What is kept of it.
    pub row: FileRow,
}

/// What a put may replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Nothing.
    Nothing,
    /// A file or a symbolic link, by a file; a directory by the same directory.
    Files,
    /// Whatever is there, parents that are no directories too: the last commit wins. So it is with reports.
    All,
}

/// Why a change can't be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// Something is there.
    #[error("`{0}` exists")]
    Exists(String),
    /// A parent is no directory.
    #[error("`{0}` is no directory")]
    NotADirectory(String),
    /// A directory can't be moved into itself.
    #[error("a directory can't be moved into itself")]
    IntoItself,
    /// What lies below would have too long a path.
    #[error("what lies below it would have a path of more than {} bytes", path::PATH_BYTES)]
    TooLong,
    /// The tree is full.
    #[error("a workspace holds at most {TREE_ENTRIES} files and directories")]
    Full,
}

/// Rows that make no tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the row of file {0} has no parent, or shares its path with another one")]
pub struct TreeBroken(Uuid);

#[derive(Debug)]
enum Undo {
    Inserted(Uuid),
    Removed(Uuid, Entry),
    Changed(Uuid, FileRow),
    Moved(Uuid, Arc<str>, FileRow),
}

/// What the journal's changes come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// Rows to write.
    pub put: BTreeSet<Uuid>,
    /// Those of them that are new.
    pub new: Vec<Uuid>,
    /// Rows to remove.
    pub gone: Vec<Uuid>,
    /// Content that is no longer named.
    pub freed: Vec<BlobRef>,
    /// Entries that are new, changed or elsewhere, below moved directories too.
    pub changed: BTreeSet<Uuid>,
    /// Paths at which nothing is any more.
    pub removed: BTreeSet<Arc<str>>,
}

/// The tree.
#[derive(Debug, Default)]
pub struct Tree {
    entries: HashMap<Uuid, Entry>,
    paths: BTreeMap<Arc<str>, Uuid>,
    journal: Vec<Undo>,
    changed: BTreeSet<Uuid>,
    removed: BTreeSet<Arc<str>>,
}

impl Tree {
    /// The tree of these rows.
    ///
    /// # Errors
    /// Rows that make no tree.
    pub fn load(rows: HashMap<Uuid, FileRow>) -> Result<Self, TreeBroken> {
        let mut known: HashMap<Uuid, Arc<str>> = HashMap::with_capacity(rows.len());
        for &id in rows.keys() {
            let mut chain = Vec::new();
            let mut at = Some(id);
            while let Some(id) = at.filter(|id| !known.contains_key(id)) {
                // A chain longer than there are rows goes round in a circle.
                let row = rows.get(&id).filter(|_| chain.len() <= rows.len()).ok_or(TreeBroken(id))?;
                chain.push((id, row));
                at = row.parent;
            }
            for (id, row) in chain.into_iter().rev() {
                let parent = row.parent.and_then(|parent| known.get(&parent)).map_or("", |path| &**path);
                let path = format!("{parent}/{}", row.name).into();
                known.insert(id, path);
            }
        }
        let mut tree = Self::default();
        for (id, row) in rows {
            let path = known.remove(&id).ok_or(TreeBroken(id))?;
            if tree.paths.insert(Arc::clone(&path), id).is_some() {
                return Err(TreeBroken(id));
            }
            tree.entries.insert(id, Entry { path, row });
        }
        Ok(tree)
    }

    /// How many entries it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many bytes its files have together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.entries.values().filter_map(|entry| entry.row.node.blob()).map(|blob| blob.size).sum()
    }

    /// The entry with this id.
    #[must_use]
    pub fn get(&self, id: Uuid) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// What is at this path.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<(Uuid, &Entry)> {
        let id = *self.paths.get(path)?;
        Some((id, self.entries.get(&id)?))
    }

    /// Everything, in byte order of the paths.
    pub fn iter(&self) -> impl Iterator<Item = (Uuid, &Entry)> {
        self.paths.values().filter_map(|id| Some((*id, self.entries.get(id)?)))
    }

    /// `prefix` and what is below it, in byte order, after the path `after`.
    pub fn within<'a>(&'a self, prefix: &'a str, after: Option<&'a str>) -> impl Iterator<Item = (Uuid, &'a Entry)> {
        let begin = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            Some(_) | None => Bound::Included(prefix),
        };
        self.paths
            .range::<str, _>((begin, Bound::Unbounded))
            .take_while(move |(path, _)| path.starts_with(prefix))
            .filter(move |(path, _)| path::is_within(path, prefix))
            .filter_map(|(_, id)| Some((*id, self.entries.get(id)?)))
    }

    fn below(&self, path: &str) -> Vec<Uuid> {
        let begin = format!("{path}/");
        let end = format!("{path}0");
        self.paths.range::<str, _>((Bound::Included(&*begin), Bound::Excluded(&*end))).map(|(_, id)| *id).collect()
    }

    fn insert(&mut self, id: Uuid, entry: Entry) -> Result<(), TreeError> {
        if self.entries.len() >= TREE_ENTRIES {
            return Err(TreeError::Full);
        }
        self.paths.insert(Arc::clone(&entry.path), id);
        self.entries.insert(id, entry);
        self.changed.insert(id);
        self.journal.push(Undo::Inserted(id));
        Ok(())
    }

    fn set(&mut self, id: Uuid, node: Node, over: Over, now: OffsetDateTime) {
        if let Some(entry) = self.entries.get_mut(&id) {
            self.journal.push(Undo::Changed(id, entry.row.clone()));
            entry.row.node = node;
            entry.row.updated_at = now;
            entry.row.reported = over == Over::All;
            self.changed.insert(id);
        }
    }

    fn parents(
        &mut self,
        path: &str,
        over: Over,
        now: OffsetDateTime,
        fresh: &mut impl FnMut() -> Uuid,
    ) -> Result<Option<Uuid>, TreeError> {
        // A loop, since a path may have 2047 folders: those that are missing, from the lowest up to one that is there.
        let mut missing = Vec::new();
        let mut found = None;
        let mut below = path;
        while let Some(parent) = path::parent(below) {
            if let Some((id, entry)) = self.find(parent) {
                match (&entry.row.node, over) {
                    (Node::Directory, _) => {
                        found = Some(id);
                        break;
                    }
                    (Node::File { .. } | Node::Symlink { .. }, Over::All) => self.remove(id),
                    (Node::File { .. } | Node::Symlink { .. }, Over::Nothing | Over::Files) => {
                        return Err(TreeError::NotADirectory(parent.to_owned()));
                    }
                }
            }
            missing.push(parent);
            below = parent;
        }
        for path in missing.into_iter().rev() {
            let row = FileRow {
                parent: found,
                name: path::name(path).to_owned(),
                node: Node::Directory,
                created_at: now,
                updated_at: now,
                reported: over == Over::All,
            };
            let id = fresh();
            self.insert(id, Entry { path: path.into(), row })?;
            found = Some(id);
        }
        Ok(found)
    }

    /// Makes `path` this, and its parents as needed. A file or link that replaces one keeps its id. The path was
    /// checked before.
    ///
    /// # Errors
    /// What stands in the way. The journal then holds what was done until there: roll it back.
    pub fn put(
        &mut self,
        path: &str,
        node: Node,
        over: Over,
        now: OffsetDateTime,
        fresh: &mut impl FnMut() -> Uuid,
    ) -> Result<Uuid, TreeError> {
        if let Some((id, entry)) = self.find(path) {
            let was_directory = entry.row.node.is_directory();
            return match (over, was_directory, node.is_directory()) {
                (Over::Files | Over::All, true, true) => Ok(id),
                (Over::Files | Over::All, false, false) => {
                    if entry.row.node != node {
                        self.set(id, node, over, now);
                    }
                    Ok(id)
                }
                (Over::All, _, _) => {
                    self.remove(id);
                    self.put(path, node, over, now, fresh)
                }
                (Over::Nothing, _, _) | (Over::Files, _, _) => Err(TreeError::Exists(path.to_owned())),
            };
        }
        let parent = self.parents(path, over, now, fresh)?;
        let id = fresh();
        let row = FileRow {
            parent,
            name: path::name(path).to_owned(),
            node,
            created_at: now,
            updated_at: now,
            reported: over == Over::All,
        };
        self.insert(id, Entry { path: path.into(), row })?;
        Ok(id)
    }

    /// Removes an entry with all below it.
    pub fn remove(&mut self, id: Uuid) {
        let Some(entry) = self.entries.get(&id) else { return };
        let mut ids = self.below(&entry.path);
        ids.reverse();
        ids.push(id);
        for id in ids {
            if let Some(entry) = self.entries.remove(&id) {
                self.paths.remove(&entry.path);
                self.removed.insert(Arc::clone(&entry.path));
                self.journal.push(Undo::Removed(id, entry));
            }
        }
    }

    /// Moves an entry with all below it. The path was checked before.
    ///
    /// # Errors
    /// What stands in the way; as with [`Self::put`].
    pub fn move_to(
        &mut self,
        id: Uuid,
        to: &str,
        now: OffsetDateTime,
        fresh: &mut impl FnMut() -> Uuid,
    ) -> Result<(), TreeError> {
        let Some(from) = self.entries.get(&id).map(|entry| Arc::clone(&entry.path)) else { return Ok(()) };
        if *from == *to {
            return Err(TreeError::Exists(to.to_owned()));
        }
        if path::is_within(to, &from) {
            return Err(TreeError::IntoItself);
        }
        if self.find(to).is_some() {
            return Err(TreeError::Exists(to.to_owned()));
        }
        let longest = self.below(&from).iter().filter_map(|id| self.entries.get(id)).map(|e| e.path.len()).max();
        if longest.is_some_and(|longest| longest - from.len() + to.len() > path::PATH_BYTES) {
            return Err(TreeError::TooLong);
        }
        let parent = self.parents(to, Over::Nothing, now, fresh)?;
        let Some(entry) = self.entries.get_mut(&id) else { return Ok(()) };
        self.journal.push(Undo::Moved(id, Arc::clone(&from), entry.row.clone()));
        entry.row.parent = parent;
        path::name(to).clone_into(&mut entry.row.name);
        entry.row.updated_at = now;
        for (id, old) in self.relocate(id, to) {
            self.changed.insert(id);
            self.removed.insert(old);
        }
        Ok(())
    }

    /// Gives an entry and all below it new paths; says which ones they had.
    fn relocate(&mut self, id: Uuid, to: &str) -> Vec<(Uuid, Arc<str>)> {
        let Some(from) = self.entries.get(&id).map(|entry| Arc::clone(&entry.path)) else { return Vec::new() };
        let mut ids = self.below(&from);
        ids.push(id);
        let mut old = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            let path: Arc<str> = format!("{to}{}", &entry.path[from.len()..]).into();
            let was = std::mem::replace(&mut entry.path, Arc::clone(&path));
            self.paths.remove(&was);
            self.paths.insert(path, id);
            old.push((id, was));
        }
        old
    }

    /// Whether nothing was changed since the journal was last accepted or rolled back.
    #[must_use]
    pub fn unchanged(&self) -> bool {
        self.journal.is_empty()
    }

    /// What the journal's changes come to.
    #[must_use]
    pub fn delta(&self) -> Delta {
        let mut before: HashMap<Uuid, Option<&FileRow>> = HashMap::new();
        for undo in &self.journal {
            match undo {
                Undo::Inserted(id) => before.entry(*id).or_insert(None),
                Undo::Removed(id, Entry { row, .. }) | Undo::Changed(id, row) | Undo::Moved(id, _, row) => {
                    before.entry(*id).or_insert(Some(row))
                }
            };
        }
        let mut delta = Delta::default();
        for (id, before) in before {
            let after = self.entries.get(&id).map(|entry| &entry.row);
            match (before, after) {
                (None, Some(_)) => {
                    delta.put.insert(id);
                    delta.new.push(id);
                }
                (Some(_), None) => delta.gone.push(id),
                (Some(before), Some(after)) if before != after => {
                    delta.put.insert(id);
                }
                (None, None) | (Some(_), Some(_)) => {}
            }
            let blob_before = before.and_then(|row| row.node.blob());
            let blob_after = after.and_then(|row| row.node.blob());
            if let Some(blob) = blob_before.filter(|blob| blob_after.is_none_or(|after| after.key != blob.key)) {
                delta.freed.push(blob.clone());
            }
        }
        delta.changed = self.changed.iter().filter(|id| self.entries.contains_key(id)).copied().collect();
        delta.removed = self.removed.iter().filter(|path| !self.paths.contains_key(*path)).cloned().collect();
        delta
    }

    /// The journal's changes are committed.
    pub fn accept(&mut self) {
        self.journal.clear();
        self.changed.clear();
        self.removed.clear();
    }

    /// The journal's changes did not happen.
    pub fn rollback(&mut self) {
        while let Some(undo) = self.journal.pop() {
            match undo {
                Undo::Inserted(id) => {
                    if let Some(entry) = self.entries.remove(&id) {
                        self.paths.remove(&entry.path);
                    }
                }
                Undo::Removed(id, entry) => {
                    self.paths.insert(Arc::clone(&entry.path), id);
                    self.entries.insert(id, entry);
                }
                Undo::Changed(id, row) => {
                    if let Some(entry) = self.entries.get_mut(&id) {
                        entry.row = row;
                    }
                }
                Undo::Moved(id, from, row) => {
                    self.relocate(id, &from);
                    if let Some(entry) = self.entries.get_mut(&id) {
                        entry.row = row;
                    }
                }
            }
        }
        self.changed.clear();
        self.removed.clear();
    }
}

#[cfg(test)]
mod tests;
