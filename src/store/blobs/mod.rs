//! Contents of files: immutable objects below their workspace, known by BLAKE3 and by a key that no two uploads share.
//!
//! An object appears under its name whole or not at all, and a reference is given out only once object and directory
//! are synced. Small blobs that are put together share an object (a *pack*), since each object costs a sync.

use std::{
    collections::{BTreeSet, HashSet},
    fmt, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt, TryStreamExt, future::BoxFuture, stream};
use opendal::{EntryMode, ErrorKind, Operator, services};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

mod digits;
mod key;
mod pack;
mod reader;
mod writer;

pub use writer::BlobWriter;

use crate::store::blocking::blocking;
use key::Key;

/// How many objects one call writes, or removes, at once.
const IN_FLIGHT: usize = 32;
/// The longest content that is hashed without leaving the async thread.
const HASH_INLINE_BYTES: usize = 64 * 1024;

/// A blob: what the tree keeps of a file's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRef {
    /// The BLAKE3 hash of the content.
    #[serde(with = "digits")]
    pub hash: [u8; 32],
    /// Which upload it is: the object, and for one in a pack the place in it.
    pub key: String,
    /// The content's length in bytes.
    pub size: u64,
}

/// Why a blob was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// Its object is not there.
    #[error("the blob is gone")]
    Missing,
    /// Its object does not hold what the reference says.
    #[error("the blob is damaged")]
    Damaged,
    /// No blob has such a key.
    #[error("malformed blob key")]
    Key,
    /// The range does not lie within the blob.
    #[error("the range {}..{} is not within the blob's {size} bytes", .range.start, .range.end)]
    Range {
        /// What was asked for.
        range: Range<u64>,
        /// The blob's length.
        size: u64,
    },
    /// The blob is longer than the caller takes.
    #[error("the blob of {size} bytes is over the limit of {limit}")]
    TooLarge {
        /// The blob's length.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The storage failed.
    #[error("the blob storage: {0}")]
    Storage(#[source] opendal::Error),
    /// The file system failed beside it.
    #[error("the blob storage: {0}")]
    Io(#[from] io::Error),
}

impl From<opendal::Error> for BlobError {
    fn from(error: opendal::Error) -> Self {
        if error.kind() == ErrorKind::NotFound { Self::Missing } else { Self::Storage(error) }
    }
}

/// Blobs of one call, each with its place in it.
type Placed = Result<Vec<(usize, BlobRef)>, BlobError>;

/// The blob store. Clones share it.
#[derive(Clone)]
pub struct Blobs(Arc<Inner>);

struct Inner {
    operator: Operator,
    root: PathBuf,
    /// Workspaces whose own directory entry is synced.
    synced: Mutex<HashSet<Uuid>>,
}

impl fmt::Debug for Blobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blobs").field("root", &self.0.root).finish_non_exhaustive()
    }
}

impl Blobs {
    /// Opens the blobs below a directory that nobody else uses, and makes it when there is none. Uploads that an
    /// earlier life did not finish are removed.
    ///
    /// # Errors
    /// When the directory can't be made.
    pub async fn open(dir: &Path) -> Result<Self, BlobError> {
        let (root, unfinished) = (dir.join("objects"), dir.join("unfinished"));
        match tokio::fs::remove_dir_all(&unfinished).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        tokio::fs::create_dir_all(&root).await?;
        tokio::fs::create_dir_all(&unfinished).await?;
        let text = |path: &Path| {
            path.to_str()
                .map(str::to_owned)
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a path that is no UTF-8"))
        };
        let service = services::Fs::default().root(&text(&root)?).atomic_write_dir(&text(&unfinished)?);
        let operator = Operator::new(service)?;
        Ok(Self(Arc::new(Inner { operator, root, synced: Mutex::default() })))
    }

    /// Stores a content.
    ///
    /// # Errors
    /// When it is not stored durably.
    pub async fn put(&self, workspace: Uuid, bytes: Bytes) -> Result<BlobRef, BlobError> {
        let blob = self.put_unsynced(workspace, bytes).await?;
        self.sync(workspace).await?;
        Ok(blob)
    }

    /// Stores many contents, small ones packed together, and answers in their order. On an error none is referenced,
    /// and a sweep removes what was stored.
    ///
    /// # Errors
    /// When one of them is not stored durably.
    pub async fn put_many(&self, workspace: Uuid, many: Vec<Bytes>) -> Result<Vec<BlobRef>, BlobError> {
        let count = many.len();
        let plan = blocking(move || io::Result::Ok(pack::plan(many))).await?;
        // A plain list: with closures here the future of a caller's task counts as not `Send`.
        let mut puts: Vec<BoxFuture<'_, Placed>> = Vec::new();
        for pack in plan.packs {
            puts.push(self.put_pack(workspace, pack).boxed());
        }
        for (at, bytes) in plan.singles {
            puts.push(async move { Ok(vec![(at, self.put_unsynced(workspace, bytes).await?)]) }.boxed());
        }
        let all = stream::iter(puts).buffer_unordered(IN_FLIGHT);
        let stored: Vec<Vec<(usize, BlobRef)>> = all.try_collect().await?;
        if count > 0 {
            self.sync(workspace).await?;
        }
        let mut blobs: Vec<_> = stored.into_iter().flatten().collect();
        blobs.sort_unstable_by_key(|(at, _)| *at);
        Ok(blobs.into_iter().map(|(_, blob)| blob).collect())
    }

    async fn put_unsynced(&self, workspace: Uuid, bytes: Bytes) -> Result<BlobRef, BlobError> {
        let (hash, size) = (hash(bytes.clone()).await?, bytes.len() as u64);
        let key = Key::single(&hash);
        self.write_object(workspace, &key.object, bytes).await?;
        Ok(BlobRef { hash, key: key.to_string(), size })
    }

    async fn put_pack(&self, workspace: Uuid, pack: pack::Pack) -> Result<Vec<(usize, BlobRef)>, BlobError> {
        let object = Key::pack_object();
        self.write_object(workspace, &object, pack.bytes).await?;
        let blob = |entry: pack::Entry| {
            let key = Key::in_pack(&object, entry.offset, entry.size).to_string();
            (entry.at, BlobRef { hash: entry.hash, key, size: entry.size })
        };
        Ok(pack.entries.into_iter().map(blob).collect())
    }

    async fn write_object(&self, workspace: Uuid, object: &str, bytes: Bytes) -> Result<(), BlobError> {
        let (operator, path) = (self.0.operator.clone(), path(workspace, object));
        off_the_runtime(async move { operator.write(&path, bytes).await }).await?;
        Ok(())
    }

    /// Begins an upload of unknown length.
    ///
    /// # Errors
    /// None yet; a storage that is elsewhere may refuse.
    #[allow(clippy::unused_async, reason = "a storage that is elsewhere begins an upload with a request")]
    pub async fn writer(&self, workspace: Uuid) -> Result<BlobWriter, BlobError> {
        Ok(BlobWriter::new(self.clone(), workspace))
    }

    /// Streams a part of a blob. A stream of all of it ends with [`BlobError::Damaged`] if it is not what was stored.
    ///
    /// # Errors
    /// Before the first byte: a blob that is gone, or is not as long as its reference says; a range outside of it.
    pub async fn read(
        &self,
        workspace: Uuid,
        blob: &BlobRef,
        range: Range<u64>,
    ) -> Result<impl Stream<Item = Result<Bytes, BlobError>> + Send + Unpin + use<>, BlobError> {
        reader::read(&self.0.operator, workspace, blob, range).await
    }

    /// A whole blob, checked against its hash.
    ///
    /// # Errors
    /// `TooLarge` above `limit`, before anything is read.
    pub async fn read_all(&self, workspace: Uuid, blob: &BlobRef, limit: u64) -> Result<Bytes, BlobError> {
        if blob.size > limit {
            return Err(BlobError::TooLarge { size: blob.size, limit });
        }
        let parts: Vec<Bytes> = self.read(workspace, blob, 0..blob.size).await?.try_collect().await?;
        Ok(match <[Bytes; 1]>::try_from(parts) {
            Ok([whole]) => whole,
            Err(parts) => parts.concat().into(),
        })
    }

    /// Removes blobs as far as it can; a sweep finds what is left. Those in packs stay until no blob of their pack is
    /// kept.
    pub async fn delete(&self, workspace: Uuid, blobs: Vec<BlobRef>) {
        let objects = blobs.iter().filter_map(|blob| Key::parse(&blob.key)).filter(|key| key.place.is_none());
        let paths: Vec<String> = objects.map(|key| path(workspace, &key.object)).collect();
        stream::iter(paths)
            .for_each_concurrent(IN_FLIGHT, |path| async move {
                if let Err(error) = self.0.operator.delete(&path).await {
                    tracing::warn!(%error, path, "a blob is left for the sweep");
                }
            })
            .await;
    }

    /// Removes all blobs of a workspace.
    ///
    /// # Errors
    /// When some may be left.
    pub async fn remove_workspace(&self, workspace: Uuid) -> Result<(), BlobError> {
        self.synced().remove(&workspace);
        Ok(self.0.operator.delete_with(&format!("{workspace}/")).recursive(true).await?)
    }

    /// Removes the objects that none of the keys in `keep` needs and that are older than `older_than`, and says how
    /// many. The age spares uploads whose reference is not committed yet.
    ///
    /// # Errors
    /// When the objects can't be listed, or one of them not removed.
    pub async fn sweep(
        &self,
        workspace: Uuid,
        keep: &BTreeSet<String>,
        older_than: Duration,
    ) -> Result<u64, BlobError> {
        let kept: HashSet<String> = keep.iter().filter_map(|key| Key::parse(key)).map(|key| key.object).collect();
        let now = SystemTime::now();
        let mut objects = self.0.operator.lister(&format!("{workspace}/")).await?;
        let mut removed = 0;
        while let Some(entry) = objects.try_next().await? {
            if entry.metadata().mode() != EntryMode::FILE || kept.contains(entry.name()) {
                continue;
            }
            // One whose age is unknown, or who comes from the future, is not old.
            let age = entry.metadata().last_modified().and_then(|at| now.duration_since(at.into()).ok());
            if age.is_some_and(|age| age >= older_than) {
                self.0.operator.delete(entry.path()).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn synced(&self) -> std::sync::MutexGuard<'_, HashSet<Uuid>> {
        self.0.synced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Syncs the names of a workspace's objects, which the storage does not.
    async fn sync(&self, workspace: Uuid) -> Result<(), BlobError> {
        let new = !self.synced().contains(&workspace);
        let root = self.0.root.clone();
        blocking(move || {
            std::fs::File::open(root.join(workspace.to_string()))?.sync_all()?;
            if new { std::fs::File::open(root)?.sync_all() } else { Ok(()) }
        })
        .await?;
        self.synced().insert(workspace);
        Ok(())
    }
}

fn path(workspace: Uuid, object: &str) -> String {
    format!("{workspace}/{object}")
}

async fn hash(bytes: Bytes) -> io::Result<[u8; 32]> {
    if bytes.len() <= HASH_INLINE_BYTES {
        return Ok(*blake3::hash(&bytes).as_bytes());
    }
    blocking(move || Ok(*blake3::hash(&bytes).as_bytes())).await
}

/// Drives a storage call on the blocking pool: opendal's fs syncs a file that it closes on the thread that polls it.
async fn off_the_runtime<T: Send + 'static>(
    call: impl Future<Output = opendal::Result<T>> + Send + 'static,
) -> Result<T, BlobError> {
    let runtime = tokio::runtime::Handle::current();
    Ok(blocking(move || io::Result::Ok(runtime.block_on(call))).await??)
}

#[cfg(test)]
mod tests;
