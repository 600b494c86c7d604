//! Rows in fenced partitions: one partition per entity, changed only by a commit that names the guard it was read under.
//!
//! Invariant: a partition's `(epoch, version)` only rises, and outlives its rows, so a commit that was in flight when
//! the partition moved, or was dropped and made again, can never land.

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

use serde::Serialize;
use uuid::Uuid;

mod embedded;
mod error;

pub use embedded::file_in;
pub use error::{ActivateError, CommitError, OpenError, StoreError};

use embedded::Embedded;

/// The schema that this program reads and writes.
pub const SCHEMA: u32 = 1;

/// The longest key of a row, in bytes.
pub const KEY_BYTES: usize = 1024;
/// The longest value of a row, in bytes: what is bigger is a blob.
pub const VALUE_BYTES: usize = 16 * 1024 * 1024;
/// The most that one commit may hold, keys and values together, in bytes.
pub const COMMIT_BYTES: usize = 256 * 1024 * 1024;

/// What sort of entity a partition belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Kind {
    /// A workspace: its tree, its members.
    Workspace,
    /// A sandbox: one life on one host.
    Sandbox,
    /// A process.
    Process,
    /// An organisation.
    Tenant,
    /// A machine that runs sandboxes.
    Host,
}

/// One entity's rows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Partition {
    /// What it is.
    pub kind: Kind,
    /// Which one.
    pub id: Uuid,
}

impl Partition {
    /// The partition of this entity.
    #[must_use]
    pub const fn new(kind: Kind, id: Uuid) -> Self {
        Self { kind, id }
    }
}

/// What a partition's fence stood at: the condition of the next commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The shard epoch it was activated under.
    pub epoch: u64,
    /// How often it was activated or committed to.
    pub version: u64,
}

/// Changes to one partition that happen together or not at all.
///
/// They apply in this order: `drop_partition`, `deletes`, `puts`, `unindex`, `index`. So a key that is both deleted and
/// put is there afterwards, and so are the puts beside a `drop_partition`.
#[derive(Debug, Default)]
pub struct Commit {
    /// Rows to write.
    pub puts: Vec<(String, Vec<u8>)>,
    /// Rows to remove. One that isn't there is fine.
    pub deletes: Vec<String>,
    /// Ids that [`Metadata::owner_of`] shall know, each with its owner.
    pub index: Vec<(Uuid, Uuid)>,
    /// Ids that it shall know no longer.
    pub unindex: Vec<Uuid>,
    /// Removes all rows, and all index entries whose owner is this partition's id.
    pub drop_partition: bool,
}

impl Commit {
    /// Writes a row.
    pub fn put(&mut self, key: impl Into<String>, value: impl Into<Vec<u8>>) {
        self.puts.push((key.into(), value.into()));
    }

    /// Writes a row of JSON.
    ///
    /// # Panics
    /// On a value that is no JSON, such as a map whose keys are no strings: rows are types of this program, so that is
    /// a mistake in it.
    pub fn put_json(&mut self, key: impl Into<String>, value: &impl Serialize) {
        let bytes = serde_json::to_vec(value).expect("a row's type serializes to JSON");
        self.puts.push((key.into(), bytes));
    }

    /// Removes a row.
    pub fn delete(&mut self, key: impl Into<String>) {
        self.deletes.push(key.into());
    }

    /// Whether it changes nothing but the guard's version.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.puts.is_empty()
            && self.deletes.is_empty()
            && self.index.is_empty()
            && self.unindex.is_empty()
            && !self.drop_partition
    }

    fn bytes(&self) -> usize {
        let puts: usize = self.puts.iter().map(|(key, value)| key.len() + value.len() + 64).sum();
        let deletes: usize = self.deletes.iter().map(|key| key.len() + 64).sum();
        puts + deletes + (self.index.len() + self.unindex.len()) * 64
    }

    /// A commit that cannot be stored is refused alone, before it shares a transaction with others.
    fn check(&self) -> Result<(), StoreError> {
        let keys = self.puts.iter().map(|(key, _)| key).chain(&self.deletes);
        if let Some(key) = keys.into_iter().find(|key| key.len() > KEY_BYTES) {
            return Err(StoreError::TooLarge { what: "a key", bytes: key.len(), limit: KEY_BYTES });
        }
        if let Some((_, value)) = self.puts.iter().find(|(_, value)| value.len() > VALUE_BYTES) {
            return Err(StoreError::TooLarge { what: "a row", bytes: value.len(), limit: VALUE_BYTES });
        }
        match self.bytes() {
            bytes if bytes > COMMIT_BYTES => Err(StoreError::TooLarge { what: "a commit", bytes, limit: COMMIT_BYTES }),
            _ => Ok(()),
        }
    }
}

/// What an activation found.
#[derive(Debug)]
pub struct Activated {
    /// The condition of the first commit.
    pub guard: Guard,
    /// All rows of the partition.
    pub rows: BTreeMap<String, Vec<u8>>,
}

/// What a node that starts is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Which life of the node this is, never reused.
    pub incarnation: u64,
    /// The epoch of all its shards, above every earlier one.
    pub epoch: u64,
}

/// The metadata store. Clones share it; the file is closed when the last one is dropped.
#[derive(Clone)]
pub struct Metadata(Arc<Embedded>);

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Metadata").field(&self.0).finish()
    }
}

impl Metadata {
    /// Opens the store in this directory, and makes it when there is none.
    ///
    /// # Errors
    /// `Locked` while another process, or another handle of this one, has it open; `Schema` when it is not of
    /// [`SCHEMA`].
    pub async fn open(dir: &Path) -> Result<Self, OpenError> {
        Ok(Self(Arc::new(Embedded::open(dir).await?)))
    }

    /// Makes the store, or brings its schema up to [`SCHEMA`], and says which schema it is of. Two at once wait for
    /// each other.
    ///
    /// # Errors
    /// `Locked` while a node runs on it; `Schema` when it is of a newer schema than this program knows.
    pub async fn migrate(dir: &Path) -> Result<u32, OpenError> {
        Embedded::migrate(dir).await
    }

    /// Takes the store for a node that starts. Holding the file's lock proves that every earlier node is dead, so one
    /// transaction raises the node's incarnation and the epoch of all shards.
    ///
    /// # Errors
    /// When it was not, or not for certain, written.
    pub async fn claim(&self, node: &str) -> Result<Claim, StoreError> {
        self.0.claim(node).await
    }

    /// Fences a partition and reads it: its guard becomes `(epoch, version + 1)`, so that nothing sent under an earlier
    /// guard can land any more.
    ///
    /// # Errors
    /// `Fenced` when it was activated under a higher epoch.
    pub async fn activate(&self, p: Partition, epoch: u64) -> Result<Activated, ActivateError> {
        let guard = self.0.fence(p, epoch).await?;
        // Read after the fence: what another activation commits meanwhile has fenced this one, so it does no harm.
        let rows = self.0.scan(p, "").await?.into_iter().collect();
        Ok(Activated { guard, rows })
    }

    /// Changes a partition if its guard still stands, and answers once that is durable, with the next guard.
    ///
    /// # Errors
    /// `Fenced` and `Failed` certainly changed nothing. After `Unknown` the entity must stop and activate anew.
    pub async fn commit(&self, p: Partition, guard: Guard, commit: Commit) -> Result<Guard, CommitError> {
        commit.check()?;
        self.0.commit(p, guard, commit).await
    }

    /// One row.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn row(&self, p: Partition, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.row(p, key).await
    }

    /// The rows whose keys begin with `prefix`, in the order of their keys.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn scan(&self, p: Partition, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.0.scan(p, prefix).await
    }

    /// The owner that the index names for an id: a file's, process's or sandbox's workspace, a user's organisation.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn owner_of(&self, id: Uuid) -> Result<Option<Uuid>, StoreError> {
        self.0.owner_of(id).await
    }
}

#[cfg(test)]
mod tests;
