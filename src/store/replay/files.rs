//! Descriptors and syncs that all logs share: few files are open, and what was written is synced once a second.

use std::{
    collections::{BTreeSet, HashMap},
    fs::File,
    io, mem,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// How many segments are kept open for writing.
const OPEN: usize = 256;
/// From this many files on, one sync of the file system is cheaper than one of each.
const MANY: usize = 32;

/// A segment: its log's directory and its first sequence.
type Segment = (Arc<Path>, u64);

/// See the module.
#[derive(Debug)]
pub(super) struct Files {
    root: PathBuf,
    open: Mutex<Open>,
    written: Mutex<BTreeSet<PathBuf>>,
    round: AtomicU64,
}

#[derive(Debug, Default)]
struct Open {
    files: HashMap<Segment, (Arc<File>, u64)>,
    clock: u64,
}

impl Files {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            open: Mutex::default(),
            written: Mutex::default(),
            // A segment that was never written carries round 0.
            round: AtomicU64::new(1),
        }
    }

    /// The segment's file, opened for writing now if it was not.
    pub(super) fn writable(
        &self,
        dir: &Arc<Path>,
        first: u64,
        path: impl FnOnce() -> PathBuf,
    ) -> io::Result<Arc<File>> {
        let key = (Arc::clone(dir), first);
        let mut open = self.open();
        open.clock += 1;
        let clock = open.clock;
        if let Some((file, used)) = open.files.get_mut(&key) {
            *used = clock;
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(File::options().write(true).open(path())?);
        open.keep(key, Arc::clone(&file));
        Ok(file)
    }

    /// Keeps a file that was just made.
    pub(super) fn keep(&self, dir: &Arc<Path>, first: u64, file: File) {
        let mut open = self.open();
        open.clock += 1;
        open.keep((Arc::clone(dir), first), Arc::new(file));
    }

    /// Closes a segment that is not written any more.
    pub(super) fn close(&self, dir: &Arc<Path>, first: u64) {
        self.open().files.remove(&(Arc::clone(dir), first));
    }

    fn open(&self) -> std::sync::MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes, after a write, that `path` is to be synced. `noted` is the writer's memory of the last time it said so,
    /// which spares it the lock for all but the first write between two syncs.
    pub(super) fn wrote(&self, noted: &mut u64, path: impl FnOnce() -> PathBuf) {
        // A round that ends after this load syncs later than it ends, so after the write.
        let round = self.round.load(Ordering::SeqCst);
        if mem::replace(noted, round) != round {
            self.note(path());
        }
    }

    /// Notes that a directory's entries changed, or a file was written.
    pub(super) fn note(&self, path: PathBuf) {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).insert(path);
    }

    /// Syncs what was written since the last time. Blocks for as long as the disk takes.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.round.fetch_add(1, Ordering::SeqCst);
        let written = mem::take(&mut *self.written.lock().unwrap_or_else(PoisonError::into_inner));
        if written.len() > MANY {
            return Ok(rustix::fs::syncfs(File::open(&self.root)?)?);
        }
        let mut outcome = Ok(());
        for path in written {
            match File::open(&path).and_then(|file| file.sync_data()) {
                Ok(()) => {}
                // Dropped by retention or removed since.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }
}

impl Open {
    fn keep(&mut self, key: Segment, file: Arc<File>) {
        if self.files.len() >= OPEN
            && let Some(oldest) = self.files.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| key.clone())
        {
            self.files.remove(&oldest);
        }
        self.files.insert(key, (file, self.clock));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_file_is_closed_first() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path());
        let log: Arc<Path> = dir.path().into();
        let path = |n: u64| dir.path().join(n.to_string());
        for n in 0..=OPEN as u64 {
            files.keep(&log, n, File::create(path(n)).unwrap());
            files.writable(&log, 0, || path(0)).unwrap();
        }
        let open = files.open();
        assert_eq!(open.files.len(), OPEN);
        assert!(open.files.contains_key(&(Arc::clone(&log), 0)));
        assert!(!open.files.contains_key(&(Arc::clone(&log), 1)));
    }

    #[test]
    fn a_write_is_noted_once_a_round_and_a_missing_file_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path());
        let mut noted = 0;
        for n in 0..3 {
            files.wrote(&mut noted, || dir.path().join(n.to_string()));
        }
        assert_eq!(files.written.lock().unwrap().len(), 1);
        files.sync().unwrap();
        assert!(files.written.lock().unwrap().is_empty());
        files.wrote(&mut noted, || dir.path().join("x"));
        assert_eq!(files.written.lock().unwrap().len(), 1);
        for n in 0..=MANY {
            files.note(dir.path().join(n.to_string()));
        }
        files.sync().unwrap();
    }
}
