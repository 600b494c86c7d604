//! The logs of one workspace: loaded when they are asked for, and together under one cap.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use uuid::Uuid;

use super::{
    dropped,
    log::{Log, Shared, weight},
};

/// Holds when a process finished, in milliseconds since the Unix epoch, in decimal.
const FINISHED: &str = "finished";
/// A log that weighs no more holds no events worth dropping.
const LEAST_WEIGHT: u64 = 64;

/// The logs of one workspace.
#[derive(Debug)]
pub(super) struct Workspace {
    dir: PathBuf,
    logs: Mutex<BTreeMap<Uuid, Arc<Slot>>>,
    weight: Arc<AtomicU64>,
}

/// One log, loaded or not.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) dir: PathBuf,
    state: Mutex<State>,
    weight: AtomicU64,
    /// All logs' weights together.
    total: Arc<AtomicU64>,
    /// When the process finished, 0 while it runs.
    finished: AtomicU64,
    /// Set by every use, cleared by every sweep.
    used: AtomicU64,
}

/// What is in memory of a log.
#[derive(Debug)]
pub(super) enum State {
    /// Nothing: it may be on disk.
    Unloaded,
    /// It is open.
    Loaded(Log),
    /// It was removed; who still holds it must look it up again.
    Removed,
}

impl Workspace {
    /// Looks at the directory, not into the logs.
    pub(super) fn list(dir: PathBuf) -> io::Result<Self> {
        let total = Arc::new(AtomicU64::new(0));
        let mut logs = BTreeMap::new();
        for entry in entries(&dir)? {
            let Some(process) = entry.file_name().and_then(|name| name.to_str()?.parse().ok()) else { continue };
            logs.insert(process, Arc::new(Slot::list(entry, Arc::clone(&total))?));
        }
        Ok(Self { dir, logs: Mutex::new(logs), weight: total })
    }

    fn logs(&self) -> MutexGuard<'_, BTreeMap<Uuid, Arc<Slot>>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn slot(&self, process: Uuid) -> Option<Arc<Slot>> {
        self.logs().get(&process).cloned()
    }

    pub(super) fn slot_or_new(&self, process: Uuid) -> Arc<Slot> {
        let new = || Arc::new(Slot::new(self.dir.join(process.to_string()), Arc::clone(&self.weight)));
        Arc::clone(self.logs().entry(process).or_insert_with(new))
    }

    pub(super) fn slots(&self) -> Vec<(Uuid, Arc<Slot>)> {
        self.logs().iter().map(|(process, slot)| (*process, Arc::clone(slot))).collect()
    }

    /// Removes a log.
    pub(super) fn remove(&self, process: Uuid) -> io::Result<()> {
        // The directory goes before the entry: a new log of this name waits for the slot's lock, and finds it removed.
        let Some(slot) = self.slot(process) else { return Ok(()) };
        slot.remove()?;
        let mut logs = self.logs();
        if logs.get(&process).is_some_and(|now| Arc::ptr_eq(now, &slot)) {
            logs.remove(&process);
        }
        Ok(())
    }

    /// Whether nothing of it is in memory or in use.
    pub(super) fn is_idle(&self) -> bool {
        self.logs().values().all(|slot| Arc::strong_count(slot) == 1 && slot.is_unloaded())
    }

    /// Whether the cap is exceeded.
    pub(super) fn is_over(&self, shared: &Shared) -> bool {
        self.weight.load(Ordering::Relaxed) > shared.retention.workspace_bytes
    }

    /// Frees what is over the cap and no more: the oldest segments of the logs that finished first, then those of the
    /// biggest.
    pub(super) fn trim(&self, shared: &Shared) -> io::Result<()> {
        while self.is_over(shared) {
            let slots: Vec<_> =
                self.slots().into_iter().map(|(_, slot)| slot).filter(|slot| slot.weight() > LEAST_WEIGHT).collect();
            let finished = slots.iter().filter(|slot| slot.finished().is_some()).min_by_key(|slot| slot.finished());
            let Some(slot) = finished.or_else(|| slots.iter().max_by_key(|slot| slot.weight())) else { break };
            let before = slot.weight();
            slot.change(|log| log.drop_oldest(shared))?;
            if slot.weight() >= before {
                // Nothing to gain there; an estimate was replaced by the truth, or the log is gone.
                break;
            }
        }
        Ok(())
    }
}

impl Slot {
    fn new(dir: PathBuf, total: Arc<AtomicU64>) -> Self {
        let zero = || AtomicU64::new(0);
        Self { dir, state: Mutex::new(State::Unloaded), weight: zero(), total, finished: zero(), used: zero() }
    }

    fn list(dir: PathBuf, total: Arc<AtomicU64>) -> io::Result<Self> {
        let mut disk = 0;
        let mut finished = None;
        for path in entries(&dir)? {
            if path.file_name().is_some_and(|name| name == FINISHED) {
                finished = unless_gone(read_finished(&path))?;
            } else if path.file_name().is_some_and(|name| name == dropped::FILE) {
                // It holds no events.
            } else if let Some(metadata) = unless_gone(fs::metadata(&path))? {
                disk += metadata.len();
            }
        }
        let slot = Self::new(dir, total);
        // All of it may be events, until the log is loaded.
        slot.set_weight(weight(disk, disk));
        slot.finished.store(finished.unwrap_or(0), Ordering::Relaxed);
        Ok(slot)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.used.store(1, Ordering::Relaxed);
        // A panic can't leave a log half changed: what it says follows the write.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn weight(&self) -> u64 {
        self.weight.load(Ordering::Relaxed)
    }

    /// Brings the sum up to date after a change.
    pub(super) fn set_weight(&self, weight: u64) {
        let before = self.weight.swap(weight, Ordering::Relaxed);
        // Wraps around for a smaller weight, and so subtracts.
        self.total.fetch_add(weight.wrapping_sub(before), Ordering::Relaxed);
    }

    /// When the process finished, in milliseconds since the Unix epoch.
    pub(super) fn finished(&self) -> Option<u64> {
        Some(self.finished.load(Ordering::Relaxed)).filter(|at| *at != 0)
    }

    /// Whether it finished so long ago that it is to be forgotten.
    pub(super) fn is_expired(&self, ttl: Duration) -> bool {
        let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        self.finished().is_some_and(|at| now_ms() >= at.saturating_add(ttl))
    }

    /// Reads the log from disk if it is not in memory, and makes it if it is not there.
    pub(super) fn load_or_create(&self, shared: &Shared, epoch: u64) -> io::Result<()> {
        let mut state = self.lock();
        self.load(&mut state)?;
        if matches!(*state, State::Unloaded) {
            *state = State::Loaded(Log::create(shared, &self.dir, epoch)?);
        }
        Ok(())
    }

    /// Reads the log from disk if it is not in memory.
    pub(super) fn load(&self, state: &mut State) -> io::Result<()> {
        if matches!(state, State::Unloaded)
            && let Some(log) = Log::load(&self.dir)?
        {
            self.set_weight(log.weight());
            *state = State::Loaded(log);
        }
        Ok(())
    }

    /// Loads the log and changes it, if there is one.
    fn change(&self, change: impl FnOnce(&mut Log) -> io::Result<()>) -> io::Result<()> {
        let mut state = self.lock();
        self.load(&mut state)?;
        if let State::Loaded(log) = &mut *state {
            change(log)?;
            self.set_weight(log.weight());
        } else {
            self.set_weight(0);
        }
        Ok(())
    }

    /// Makes the log finished now, if there is one and it was not.
    pub(super) fn finish(&self, shared: &Shared) -> io::Result<()> {
        let _state = self.lock();
        if self.finished().is_some() || !self.dir.exists() {
            return Ok(());
        }
        let now = now_ms();
        let path = self.dir.join(FINISHED);
        fs::write(&path, now.to_string())?;
        shared.files.note(path);
        shared.files.note(self.dir.clone());
        self.finished.store(now, Ordering::Relaxed);
        Ok(())
    }

    fn remove(&self) -> io::Result<()> {
        let mut state = self.lock();
        remove_tree(&self.dir)?;
        self.set_weight(0);
        *state = State::Removed;
        Ok(())
    }

    /// Forgets what is in memory of the log, so that the next use reads it anew.
    pub(super) fn unload(&self) {
        let mut state = self.lock();
        if matches!(*state, State::Loaded(_)) {
            *state = State::Unloaded;
        }
    }

    fn is_unloaded(&self) -> bool {
        self.state.try_lock().is_ok_and(|state| matches!(*state, State::Unloaded))
    }

    /// Gives the memory of a log back that was not used since the last call.
    pub(super) fn rest(&self) {
        if self.used.swap(0, Ordering::Relaxed) == 0
            && let Ok(mut state) = self.state.try_lock()
            && matches!(*state, State::Loaded(_))
        {
            *state = State::Unloaded;
        }
    }
}

/// The paths in a directory; none if it is not there.
pub(super) fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = unless_gone(fs::read_dir(dir))?;
    entries.into_iter().flatten().map(|entry| Ok(entry?.path())).collect()
}

/// Removes a directory and what is in it, in one step for whoever opens it later: a log whose removal was cut short must
/// not come back as a shorter one.
pub(super) fn remove_tree(dir: &Path) -> io::Result<()> {
    let doomed = dir.with_extension(DOOMED);
    // Left over from a removal that was cut short.
    remove_doomed(&doomed)?;
    unless_gone(fs::rename(dir, &doomed))?;
    remove_doomed(&doomed)
}

/// The extension of a directory that is being removed.
const DOOMED: &str = "doomed";

/// Whether a directory is being removed, or its removal was cut short.
pub(super) fn is_doomed(dir: &Path) -> bool {
    dir.extension().is_some_and(|extension| extension == DOOMED)
}

/// Removes the rest of such a directory.
pub(super) fn remove_doomed(dir: &Path) -> io::Result<()> {
    unless_gone(fs::remove_dir_all(dir)).map(drop)
}

/// None where another was faster.
fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// When the process of a `finished` file finished. One that was cut short says it by its age.
pub(super) fn read_finished(path: &Path) -> io::Result<u64> {
    if let Some(at) = fs::read_to_string(path)?.parse().ok().filter(|at| *at != 0) {
        return Ok(at);
    }
    let age = fs::metadata(path)?.modified()?;
    Ok(ms(age).max(1))
}

/// The `finished` file of a log's directory.
pub(super) fn finished_path(dir: &Path) -> PathBuf {
    dir.join(FINISHED)
}

/// The wall clock: what is compared with it outlives the machine's other clocks.
pub(super) fn now_ms() -> u64 {
    ms(SystemTime::now())
}

fn ms(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
