//! Replay logs in files: what a process printed, numbered, appended once, kept within bounds.
//!
//! A log is a directory `<workspace>/<process>/` of segments. An append answers after write(2); a task syncs once a
//! second, and a log that a power cut left with a torn end is cut at its first bad checksum when it is next used.
//!
//! Invariant: a reader is given every retained event once and in order, and every hole as one [`Item::Lost`].

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use playhouse_protocol::{Chunk, EventId};
use time::OffsetDateTime;
use tokio::sync::OnceCell;
use uuid::Uuid;

mod dropped;
mod files;
mod keeper;
mod log;
mod reader;
mod record;
mod segment;
mod types;
mod workspace;

pub use dropped::share;
pub use types::{AppendError, Bounds, Item, LogKey, LossReason, Lost, Page, Retention};

use crate::store::blocking::blocking;
use files::Files;
use log::{Log, Shared};
use reader::{Read, Step};
use workspace::{Slot, State, Workspace};

/// All replay logs. Clones share them; the syncing task ends with the last one.
#[derive(Clone, Debug)]
pub struct Replay(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    shared: Arc<Shared>,
    workspaces: Mutex<HashMap<Uuid, Arc<OnceCell<Arc<Workspace>>>>>,
}

impl Replay {
    /// Opens the logs below a directory, and makes it when there is none. Takes no longer for many logs: each is read
    /// when it is first used.
    ///
    /// # Errors
    /// When the directory can't be made or read.
    pub async fn open(dir: &Path, retention: Retention) -> Result<Self, io::Error> {
        let dir = dir.to_owned();
        tokio::fs::create_dir_all(&dir).await?;
        let shared = Arc::new(Shared { files: Files::new(&dir), retention });
        let inner = Arc::new(Inner { dir, shared, workspaces: Mutex::default() });
        tokio::spawn(keeper::run(Arc::downgrade(&inner)));
        Ok(Self(inner))
    }

    /// Appends chunks, and answers with the log's end once they are written. Chunks that are there already are skipped;
    /// the rest must follow the log's end without a gap. No chunks of a new epoch only shut out the older ones.
    ///
    /// # Errors
    /// `Gap` and `Fenced` have written nothing.
    pub async fn append(&self, key: LogKey, epoch: u64, chunks: Vec<Arc<Chunk>>) -> Result<EventId, AppendError> {
        let workspace = self.0.workspace(key.workspace).await?;
        if workspace.slot(key.process).is_none() {
            // Nothing is made for what can't be its first append.
            match chunks.first() {
                None => return Ok(EventId::ZERO),
                Some(first) if first.sequence > 1 => return Err(AppendError::Gap { expected: 1 }),
                Some(_) => {}
            }
        }
        let shared = Arc::clone(&self.0.shared);
        self.0.write(&workspace, key, epoch, move |log| log.append(&shared, epoch, &chunks)).await
    }

    /// Records that everything up to `to_sequence` is gone, of some `bytes`, and answers with the log's end: numbering
    /// goes on behind it, in the next generation. If the log has that much, nothing happens.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub async fn lose(&self, key: LogKey, epoch: u64, to_sequence: u64, bytes: u64) -> Result<EventId, AppendError> {
        let workspace = self.0.workspace(key.workspace).await?;
        let shared = Arc::clone(&self.0.shared);
        self.0.write(&workspace, key, epoch, move |log| log.lose(&shared, epoch, to_sequence, bytes)).await
    }

    /// Where a log begins and ends; none if there is no such log, or no longer.
    ///
    /// # Errors
    /// When it can't be read.
    pub async fn bounds(&self, key: LogKey) -> Result<Option<Bounds>, io::Error> {
        let Some(slot) = self.0.living(key).await? else { return Ok(None) };
        let known = |slot: &Slot, state: &State| match state {
            State::Loaded(log) => Some(log.bounds(slot.finished().is_some())),
            State::Unloaded | State::Removed => None,
        };
        if let Some(bounds) = known(&slot, &slot.lock()) {
            return Ok(Some(bounds));
        }
        blocking(move || {
            let mut state = slot.lock();
            slot.load(&mut state)?;
            Ok(known(&slot, &state))
        })
        .await
    }

    /// The events after `after`, about `max_bytes` of them with what they cost in memory, at least one if there is any.
    ///
    /// # Errors
    /// When the log can't be read.
    pub async fn read(&self, key: LogKey, after: EventId, max_bytes: usize) -> Result<Page, io::Error> {
        let nothing = |missing| Page { items: Vec::new(), next: after, end: true, missing };
        let Some(slot) = self.0.living(key).await? else { return Ok(nothing(LossReason::Retention)) };
        if matches!(&*slot.lock(), State::Loaded(log) if after >= log.end) {
            return Ok(nothing(LossReason::StoreLost));
        }
        blocking(move || page(&slot, after, max_bytes)).await
    }

    /// The process is over: its log is kept for the retention's `ttl` from now on.
    ///
    /// # Errors
    /// When that can't be written.
    pub async fn finish(&self, key: LogKey) -> Result<(), io::Error> {
        let Some(slot) = self.0.living(key).await? else { return Ok(()) };
        let shared = Arc::clone(&self.0.shared);
        blocking(move || slot.finish(&shared)).await
    }

    /// Whether the log of a process that finished then may be gone by now because its time is up.
    #[must_use]
    pub fn may_have_expired(&self, finished: OffsetDateTime, now: OffsetDateTime) -> bool {
        finished + self.0.shared.retention.ttl <= now
    }

    /// Removes a log.
    ///
    /// # Errors
    /// When it can't be removed.
    pub async fn remove(&self, key: LogKey) -> Result<(), io::Error> {
        let workspace = self.0.workspace(key.workspace).await?;
        blocking(move || workspace.remove(key.process)).await
    }

    /// Removes all logs of a workspace.
    ///
    /// # Errors
    /// When they can't be removed.
    pub async fn remove_workspace(&self, workspace: Uuid) -> Result<(), io::Error> {
        let logs = self.0.workspace(workspace).await?;
        let inner = Arc::clone(&self.0);
        blocking(move || {
            for (process, _) in logs.slots() {
                logs.remove(process)?;
            }
            workspace::remove_tree(&inner.workspace_dir(workspace))?;
            inner.workspaces().remove(&workspace);
            Ok(())
        })
        .await
    }

    /// Syncs what was written, for a node that ends in good order.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn sync(&self) -> Result<(), io::Error> {
        let shared = Arc::clone(&self.0.shared);
        blocking(move || shared.files.sync()).await
    }
}

impl Inner {
    fn workspaces(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<OnceCell<Arc<Workspace>>>>> {
        self.workspaces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn workspace_dir(&self, id: Uuid) -> PathBuf {
        self.dir.join(id.to_string())
    }

    async fn workspace(&self, id: Uuid) -> io::Result<Arc<Workspace>> {
        let cell = Arc::clone(self.workspaces().entry(id).or_default());
        let list = || {
            let dir = self.workspace_dir(id);
            blocking(move || Workspace::list(dir).map(Arc::new))
        };
        cell.get_or_try_init(list).await.cloned()
    }

    /// The log, if it is there and not expired.
    async fn living(&self, key: LogKey) -> io::Result<Option<Arc<Slot>>> {
        let workspace = self.workspace(key.workspace).await?;
        let Some(slot) = workspace.slot(key.process) else { return Ok(None) };
        if slot.is_expired(self.shared.retention.ttl) {
            blocking(move || workspace.remove(key.process)).await?;
            return Ok(None);
        }
        Ok(Some(slot))
    }

    /// Changes a log, which is made if it is not there, and then keeps its workspace under the cap.
    async fn write(
        &self,
        workspace: &Arc<Workspace>,
        key: LogKey,
        epoch: u64,
        mut change: impl FnMut(&mut Log) -> Result<EventId, AppendError>,
    ) -> Result<EventId, AppendError> {
        let end = loop {
            let slot = workspace.slot_or_new(key.process);
            if slot.is_expired(self.shared.retention.ttl) {
                let workspace = Arc::clone(workspace);
                blocking(move || workspace.remove(key.process)).await?;
                continue;
            }
            if let State::Loaded(log) = &mut *slot.lock() {
                let result = change(log);
                slot.set_weight(log.weight());
                break result?;
            }
            // It is to be loaded; or it was removed just now, and the next look-up makes a new one.
            let shared = Arc::clone(&self.shared);
            blocking(move || slot.load_or_create(&shared, epoch)).await?;
        };
        if workspace.is_over(&self.shared) {
            let (workspace, shared) = (Arc::clone(workspace), Arc::clone(&self.shared));
            if let Err(error) = blocking(move || workspace.trim(&shared)).await {
                // What was appended is there all the same.
                tracing::error!(%error, workspace = %key.workspace, "replay logs are not kept under their cap");
            }
        }
        Ok(end)
    }
}

/// How often a page is begun anew because the log changed under it.
const PAGE_TRIES: usize = 4;

fn page(slot: &Slot, after: EventId, max_bytes: usize) -> io::Result<Page> {
    let mut page = Page { items: Vec::new(), next: after, end: false, missing: LossReason::StoreLost };
    let mut cost = 0;
    let mut tries = 0;
    loop {
        let step = {
            let mut state = slot.lock();
            slot.load(&mut state)?;
            match &*state {
                State::Loaded(log) => log.step(page.next),
                State::Unloaded | State::Removed => Step::End,
            }
        };
        let result = match step {
            Step::End => {
                page.end = true;
                return Ok(page);
            }
            Step::Hole { .. } | Step::Scan { .. } | Step::Read(_) if cost >= max_bytes.max(1) => return Ok(page),
            Step::Hole { lost, to } => {
                page.items.extend(lost.map(Item::Lost));
                page.next = to;
                continue;
            }
            Step::Scan { path, head } => std::fs::read(path).map(|bytes| {
                let scan = segment::scan(&head, &bytes);
                if let State::Loaded(log) = &mut *slot.lock() {
                    log.scanned(&head, scan.marks);
                }
            }),
            Step::Read(piece) => piece.read(&mut page, &mut cost, max_bytes).and_then(|read| match read {
                Read::Done => Ok(()),
                Read::Damaged => {
                    slot.unload();
                    Err(io::Error::new(io::ErrorKind::InvalidData, "a replay log's end is damaged"))
                }
            }),
        };
        match result {
            Ok(()) => {}
            // Retention took the segment between the look and the read, or the log's end is to be cut first.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData)
                    && tries < PAGE_TRIES =>
            {
                tries += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
