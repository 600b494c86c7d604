//! The embedded store: one redb file, one writer thread, reads beside it.

use std::{
    fmt,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use redb::{Database, ReadableDatabase};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{ActivateError, Claim, Commit, CommitError, Guard, OpenError, Partition, SCHEMA, StoreError};
use crate::store::blocking::{CancelledError, blocking};
use handle::Handle;
use writer::Job;

mod handle;
mod tables;
mod writer;

/// Jobs that may wait for the writer; whoever comes then waits for room.
const QUEUE: usize = 256;
/// What redb may cache, in bytes.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

pub(super) struct Embedded {
    path: PathBuf,
    handle: Arc<Handle>,
    // Both are taken only in Drop.
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<thread::JoinHandle<()>>,
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Drop for Embedded {
    /// Waits for the writer, so that the file is closed and unlocked once the last handle is gone. That takes at most
    /// what is queued, usually nothing.
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!(path = %self.path.display(), "the metadata store's writer panicked");
        }
    }
}

impl Embedded {
    pub(super) async fn open(dir: &Path) -> Result<Self, OpenError> {
        let dir = dir.to_owned();
        blocking(move || {
            let path = file_in(&dir);
            let database = with_opening_lock(&dir, || {
                let database = database(&path)?;
                match tables::schema(&database)? {
                    None => tables::create(&database)?,
                    Some(SCHEMA) => {}
                    Some(found) => return Err(OpenError::Schema { found, known: SCHEMA }),
                }
                Ok(database)
            })?;
            let handle = Arc::new(Handle::new(path.clone(), database));
            let (jobs, queue) = mpsc::channel(QUEUE);
            let written = Arc::clone(&handle);
            let writer =
                thread::Builder::new().name("metadata-writer".into()).spawn(move || writer::run(&written, queue))?;
            Ok(Self { path, handle, jobs: Some(jobs), writer: Some(writer) })
        })
        .await
    }

    pub(super) async fn migrate(dir: &Path) -> Result<u32, OpenError> {
        let dir = dir.to_owned();
        blocking(move || {
            with_opening_lock(&dir, || {
                let database = database(&file_in(&dir))?;
                match tables::schema(&database)? {
                    None => tables::create(&database)?,
                    Some(SCHEMA) => {}
                    // Schema 1 is the first, so there is no older one to bring up.
                    Some(found) => return Err(OpenError::Schema { found, known: SCHEMA }),
                }
                Ok(SCHEMA)
            })
        })
        .await
    }

    pub(super) async fn claim(&self, node: &str) -> Result<Claim, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Claim { node: node.to_owned(), reply }).await?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    pub(super) async fn fence(&self, p: Partition, epoch: u64) -> Result<Guard, ActivateError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Fence { p, epoch, reply }).await?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    pub(super) async fn commit(&self, p: Partition, guard: Guard, commit: Commit) -> Result<Guard, CommitError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Commit { p, guard, commit, reply }).await?;
        // A writer that panicked may have done so after the transaction.
        answer.await.map_err(|_| CommitError::Unknown)?
    }

    async fn send(&self, job: Job) -> Result<(), StoreError> {
        let jobs = self.jobs.as_ref().ok_or(StoreError::Closed)?;
        jobs.send(job).await.map_err(|_| StoreError::Closed)
    }

    pub(super) async fn row(&self, p: Partition, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let key = key.to_owned();
        self.read(move |read| tables::row(read, p, &key)).await
    }

    pub(super) async fn scan(&self, p: Partition, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let prefix = prefix.to_owned();
        self.read(move |read| tables::scan(read, p, &prefix)).await
    }

    pub(super) async fn owner_of(&self, id: Uuid) -> Result<Option<Uuid>, StoreError> {
        self.read(move |read| tables::owner_of(read, id)).await
    }

    async fn read<T: Send + 'static>(
        &self,
        run: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let handle = Arc::clone(&self.handle);
        let read = move || handle.with(|database| run(&database.begin_read()?));
        blocking(read).await.map_err(StoreError::database)
    }
}

/// Where a data directory's metadata lies.
pub fn file_in(dir: &Path) -> PathBuf {
    dir.join("metadata.redb")
}

fn database(path: &Path) -> Result<Database, OpenError> {
    Ok(Database::builder().set_cache_size(CACHE_BYTES).create(path)?)
}

/// Runs `open` while holding a lock that is only held for opening: two programs that open or migrate at the same moment
/// wait for each other, and only one that finds a *running* node sees `Locked`.
fn with_opening_lock<T>(dir: &Path, open: impl FnOnce() -> Result<T, OpenError>) -> Result<T, OpenError> {
    fs::create_dir_all(dir)?;
    let lock = File::options().create(true).truncate(false).write(true).open(dir.join("opening.lock"))?;
    lock.lock()?;
    let opened = open();
    lock.unlock()?;
    opened
}

impl From<CancelledError> for OpenError {
    fn from(cancelled: CancelledError) -> Self {
        Self::Io(cancelled.into())
    }
}

impl From<CancelledError> for redb::Error {
    fn from(cancelled: CancelledError) -> Self {
        Self::Io(cancelled.into())
    }
}
