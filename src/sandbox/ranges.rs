//! Ranges of user ids, one per sandbox, so that no two sandboxes of a machine share a user.
//!
//! A range's number `n` is also part of its sandbox's cgroup and socket paths. Several hosts may run on one machine:
//! they settle by a lock on a file per number, whose content outlives the host that took it, since its sandbox does.

use std::{
    fs,
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::process::ProcessRef;

/// The ids that a host has for its sandboxes, in ranges of the same length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    first: u32,
    each: u32,
    ranges: u32,
}

impl Ids {
    /// Root's: what useradd gives out as subordinate ids lies far below the first, and the last is below 2³² − 1, which is
    /// no id.
    pub const MACHINE: Self = Self { first: 1_000_000_000, each: 65_536, ranges: (u32::MAX - 1_000_000_000) / 65_536 };

    /// Those of a user namespace with so many subordinate ids from 1 on. A user usually has 65 536 for all sandboxes, so
    /// each gets as few as it needs: up to its own user's, 1000.
    #[must_use]
    pub const fn subordinate(count: u32) -> Self {
        Self { first: 1, each: 1024, ranges: count / 1024 }
    }

    /// The first id of a range: its user 0.
    #[must_use]
    pub const fn base(self, n: u32) -> u32 {
        self.first + n * self.each
    }

    /// How many ids each range has.
    #[must_use]
    pub const fn each(self) -> u32 {
        self.each
    }

    /// How many ranges there are.
    #[must_use]
    pub const fn ranges(self) -> u32 {
        self.ranges
    }
}

/// Who has a range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    host_id: String,
    sandbox_id: Uuid,
    /// The sandbox's state on its host's disk: while it is there, the range is taken.
    state: PathBuf,
    init: Option<ProcessRef>,
}

impl Holder {
    fn lives(&self) -> bool {
        self.state.exists() || self.init.is_some_and(ProcessRef::exists)
    }
}

/// Whether this host's sandbox that has range `n` in the lock directory `dir` has its state on the disk.
#[must_use]
pub fn is_kept(dir: &Path, n: u32, host_id: &str) -> bool {
    match fs::read(dir.join(n.to_string())) {
        Ok(text) => serde_json::from_slice::<Holder>(&text)
            .is_ok_and(|holder| holder.host_id == host_id && holder.state.try_exists().unwrap_or(true)),
        // Who can't look must not say that it is gone.
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// A range that this process holds. Dropping it leaves its sandbox's claim on it; [`Range::release`] gives it back.
#[derive(Debug)]
pub struct Range {
    n: u32,
    file: fs::File,
    holder: Holder,
}

impl Range {
    /// Takes the first free of so many ranges in the lock directory `dir`.
    ///
    /// # Errors
    /// What the file system said, or that all are taken.
    pub fn claim(dir: &Path, ranges: u32, host_id: &str, sandbox_id: Uuid, state: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        // Two sandboxes that are made at once mostly start looking at different numbers.
        let start = (sandbox_id.as_u128() % 64) as u32;
        for step in 0..ranges {
            let n = (start + step) % ranges;
            let holder = Holder { host_id: host_id.to_owned(), sandbox_id, state: state.to_owned(), init: None };
            if let Some(range) = Self::take(dir, n, holder, |before| !before.lives())? {
                return Ok(range);
            }
        }
        Err(io::Error::other(format!("all {ranges} ranges of user ids are taken: end sandboxes")))
    }

    /// Takes back the range that a sandbox of this host was given before, unless it has become another's.
    ///
    /// # Errors
    /// What the file system said.
    pub fn reclaim(
        dir: &Path,
        n: u32,
        host_id: &str,
        sandbox_id: Uuid,
        state: &Path,
        init: Option<ProcessRef>,
    ) -> io::Result<Option<Self>> {
        fs::create_dir_all(dir)?;
        let holder = Holder { host_id: host_id.to_owned(), sandbox_id, state: state.to_owned(), init };
        Self::take(dir, n, holder, |before| before.sandbox_id == sandbox_id || !before.lives())
    }

    fn take(dir: &Path, n: u32, holder: Holder, may: impl Fn(&Holder) -> bool) -> io::Result<Option<Self>> {
        let mut file =
            fs::OpenOptions::new().create(true).truncate(false).read(true).write(true).open(dir.join(n.to_string()))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        // What doesn't parse is a write that was cut short: its sandbox was never started.
        if serde_json::from_str::<Holder>(&text).is_ok_and(|before| !may(&before)) {
            return Ok(None);
        }
        let mut range = Self { n, file, holder };
        range.write()?;
        Ok(Some(range))
    }

    fn write(&mut self) -> io::Result<()> {
        let bytes = serde_json::to_vec(&self.holder)?;
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(&bytes)
    }

    /// Notes the sandbox's init: the range is taken while that lives, even if its state is lost.
    ///
    /// # Errors
    /// What the file system said.
    pub fn note_init(&mut self, init: ProcessRef) -> io::Result<()> {
        self.holder.init = Some(init);
        self.write()
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.n
    }

    /// Gives it back: its sandbox is gone.
    ///
    /// # Errors
    /// What the file system said.
    pub fn release(self) -> io::Result<()> {
        self.file.set_len(0)
    }
}

impl Drop for Range {
    /// Unlocks by word: the lock is the open file's, and a child that was just forked has that too until it executes its
    /// program.
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_range_ends_below_the_id_that_is_none() {
        let ids = Ids::MACHINE;
        assert!(ids.base(ids.ranges() - 1).checked_add(ids.each() - 1).is_some_and(|last| last < u32::MAX));
    }

    #[test]
    fn subordinate_ranges_hold_the_sandboxs_user_and_end_with_the_last_id() {
        let ids = Ids::subordinate(65_536);
        assert_eq!((ids.base(0), ids.ranges()), (1, 64));
        assert!(ids.each() > crate::sandbox::bundle::USER);
        assert_eq!(ids.base(63) + ids.each() - 1, 65_536);
        assert_eq!(Ids::subordinate(1000).ranges(), 0);
    }

    #[test]
    fn when_all_are_taken_that_is_said() {
        let dir = tempfile::tempdir().expect("a directory");
        let _one = Range::claim(dir.path(), 1, "a", Uuid::from_u128(7), dir.path()).expect("free");
        let error = Range::claim(dir.path(), 1, "a", Uuid::from_u128(8), dir.path()).expect_err("taken");
        assert!(error.to_string().contains("taken"));
    }

    #[test]
    fn what_is_given_back_is_free_though_a_child_has_its_file_open() {
        let dir = tempfile::tempdir().expect("a directory");
        let range = Range::claim(dir.path(), 2, "a", Uuid::from_u128(0), dir.path()).expect("free");
        let _in_the_child = range.file.try_clone().expect("a duplicate");
        let n = range.number();
        range.release().expect("given back");
        assert_eq!(Range::claim(dir.path(), 2, "a", Uuid::from_u128(0), dir.path()).expect("free").number(), n);
    }

    #[test]
    fn a_range_is_taken_while_its_host_its_state_or_its_init_lives() {
        let dir = tempfile::tempdir().expect("a directory");
        let state = dir.path().join("state");
        fs::write(&state, "").expect("written");
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(65));
        let held = Range::claim(dir.path(), 100, "a", one, &state).expect("free");
        let kept = |n| is_kept(dir.path(), n, "a");
        assert!(kept(held.number()) && !kept(99) && !is_kept(dir.path(), held.number(), "another host"));
        let n = held.number();
        let other = Range::claim(dir.path(), 100, "b", two, &state).expect("free");
        assert_ne!(other.number(), n, "locked");
        drop(held);
        let third = Range::claim(dir.path(), 100, "b", one, &state).expect("free");
        assert_ne!(third.number(), n, "its host died, its state is there");
        let reclaim = |id| Range::reclaim(dir.path(), n, "a", id, &state, None).expect("looked at");
        assert!(reclaim(two).is_none(), "another's");
        let mut back = reclaim(one).expect("its own");
        back.note_init(ProcessRef::of(std::process::id().cast_signed()).expect("this process")).expect("written");
        drop(back);
        fs::remove_file(&state).expect("removed");
        assert_ne!(Range::claim(dir.path(), 100, "b", one, &state).expect("free").number(), n, "its init lives");
        reclaim(one).expect("its own").release().expect("given back");
        assert_eq!(Range::claim(dir.path(), 100, "b", one, &state).expect("free").number(), n);
    }
}
