//! A sandbox's cgroup: read, frozen, killed and removed here; made and limited by the runtime that starts its init.

pub mod delegated;
mod tree;
mod v1;
mod v2;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use playhouse_protocol::host::{Limits, Usage};

pub use tree::{Cgroups, has_swap_limit};

/// Where cgroups are mounted.
pub const ROOT: &str = "/sys/fs/cgroup";
/// The directory of all sandboxes of all hosts, below a hierarchy's root.
pub const OURS: &str = "playhouse";

/// Which interface this machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One hierarchy per controller, with or without an empty v2 hierarchy beside it.
    V1,
    /// One unified hierarchy.
    V2,
}

/// What `root` has mounted on it.
#[must_use]
pub fn version(root: &Path) -> Option<Version> {
    if root.join("cgroup.controllers").exists() {
        Some(Version::V2)
    } else if root.join("memory").is_dir() {
        Some(Version::V1)
    } else {
        None
    }
}

/// One sandbox's cgroup.
#[derive(Debug, Clone)]
pub struct Cgroup {
    root: PathBuf,
    version: Version,
    /// Below each hierarchy's root.
    below: PathBuf,
}

/// The controllers of v1 that matter here, each a hierarchy of its own.
const V1_HIERARCHIES: &[&str] = &["freezer", "memory", "cpu", "cpuacct", "pids", "devices", "cpuset", "blkio"];

impl Cgroup {
    /// Its path below each hierarchy's root, as the runtime takes it.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/{}", self.below.display())
    }

    fn dir(&self, hierarchy: &str) -> PathBuf {
        match self.version {
            Version::V1 => self.root.join(hierarchy).join(&self.below),
            Version::V2 => self.root.join(&self.below),
        }
    }

    fn dirs(&self) -> Vec<PathBuf> {
        match self.version {
            Version::V1 => hierarchies(&self.root).into_iter().map(|hierarchy| self.dir(&hierarchy)).collect(),
            Version::V2 => vec![self.dir("")],
        }
    }

    /// Makes it as far as the runtime doesn't: on v1 that makes and limits all of it, on v2 it sets no swap limit of zero.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn make(&self) -> io::Result<()> {
        match self.version {
            Version::V1 => Ok(()),
            Version::V2 => v2::make(&self.dir("")),
        }
    }

    /// Checks that the limits are the kernel's own now: one that could not be set is an error, never silence.
    ///
    /// # Errors
    /// Which one isn't in force.
    pub fn verify(&self, limits: &Limits) -> io::Result<()> {
        match self.version {
            Version::V1 => v1::verify(&self.root, &self.below, limits),
            Version::V2 => v2::verify(&self.dir(""), limits),
        }
    }

    /// What it has used. The disk is not the cgroup's to know.
    ///
    /// # Errors
    /// It is gone.
    pub fn usage(&self) -> io::Result<Usage> {
        match self.version {
            Version::V1 => v1::usage(&self.dir("cpuacct"), &self.dir("memory")),
            Version::V2 => v2::usage(&self.dir("")),
        }
    }

    /// Stops or resumes all its processes, and waits until that is so.
    ///
    /// # Errors
    /// What the kernel said, or that it took longer than two seconds.
    pub fn freeze(&self, frozen: bool) -> io::Result<()> {
        let dir = match self.version {
            Version::V1 => self.dir("freezer"),
            Version::V2 => self.dir(""),
        };
        let set = || match self.version {
            Version::V1 => v1::freeze(&dir, frozen),
            Version::V2 => v2::freeze(&dir, frozen),
        };
        wait_until(Duration::from_secs(2), set).and_then(|done| {
            if done { Ok(()) } else { Err(io::Error::new(io::ErrorKind::TimedOut, "the freezer did not settle")) }
        })
    }

    /// Whether its processes stand still, or are about to.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        let (file, frozen) = match self.version {
            Version::V1 => (self.dir("freezer").join("freezer.state"), ["FROZEN", "FREEZING"]),
            Version::V2 => (self.dir("").join("cgroup.freeze"), ["1", "1"]),
        };
        fs::read_to_string(file).is_ok_and(|state| frozen.contains(&state.trim()))
    }

    /// Kills every process in it, frozen or not. Done when it isn't there.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn kill(&self) -> io::Result<()> {
        let dirs: Vec<_> = self.dirs().into_iter().filter(|dir| dir.exists()).collect();
        match (self.version, dirs.first()) {
            (_, None) => Ok(()),
            (Version::V1, Some(_)) => v1::kill(&dirs),
            (Version::V2, Some(dir)) => v2::kill(dir),
        }
    }

    /// Kills every process in it and removes it. Done when it isn't there.
    ///
    /// # Errors
    /// Its processes did not end within a second, or what the kernel said.
    pub fn destroy(&self) -> io::Result<()> {
        let dirs: Vec<_> = self.dirs().into_iter().filter(|dir| dir.exists()).collect();
        if dirs.is_empty() {
            return Ok(());
        }
        let step = || {
            self.kill()?;
            let mut gone = true;
            for dir in &dirs {
                gone &= remove(dir)?;
            }
            Ok(gone)
        };
        if wait_until(Duration::from_secs(1), step)? {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::TimedOut, "processes of the sandbox did not end"))
        }
    }
}

/// Removes a cgroup with the cgroups below it (a sandbox can't make any, but what is found is removed). Says whether it
/// is gone; one that still has processes isn't.
fn remove(dir: &Path) -> io::Result<bool> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path())?;
        }
    }
    match fs::remove_dir(dir) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(false),
        Err(error) => Err(error),
    }
}

/// Asks every millisecond at first, then ever less often, until it is so or the time is over: the kernel tells nobody
/// when a v1 cgroup has frozen or emptied.
fn wait_until(limit: Duration, mut step: impl FnMut() -> io::Result<bool>) -> io::Result<bool> {
    let begin = Instant::now();
    let mut pause = Duration::from_millis(1);
    while !step()? {
        if begin.elapsed() > limit {
            return Ok(false);
        }
        let _ = rustix::thread::nanosleep(&rustix::thread::Timespec {
            tv_sec: 0,
            tv_nsec: i64::try_from(pause.as_nanos()).unwrap_or(1_000_000),
        });
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    Ok(true)
}

/// The v1 hierarchies that are mounted here.
fn hierarchies(root: &Path) -> Vec<String> {
    V1_HIERARCHIES.iter().filter(|name| root.join(name).is_dir()).map(|name| (*name).to_owned()).collect()
}

/// Checks that a process is in the cgroup with this path. The runtime takes it for a trifle if it couldn't move the process
/// there without root, and then no limit would hold.
pub(super) fn verify_member(pid: i32, path: &str) -> io::Result<()> {
    if is_in(&fs::read_to_string(format!("/proc/{pid}/cgroup"))?, path) {
        Ok(())
    } else {
        Err(io::Error::other(format!("no limit holds: the sandbox's init is not in the cgroup {path}")))
    }
}

/// Whether the lines of a process's cgroups name this one. In a container they may name what lies above it too.
fn is_in(text: &str, path: &str) -> bool {
    text.lines().any(|line| line.ends_with(path))
}

/// The value after `key` in a file of `key value` lines.
fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

fn number(path: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(path)?;
    text.trim().parse().map_err(|_| io::Error::other(format!("{} holds no number", path.display())))
}

/// The quota and period, in microseconds, of a number of thousandths of a CPU. The kernel refuses quotas under 1 ms.
#[must_use]
pub fn cpu_quota(cpu_millis: u64) -> (i64, u64) {
    const PERIOD_MICROS: u64 = 100_000;
    let quota = cpu_millis.saturating_mul(PERIOD_MICROS / 1000).max(1000);
    (i64::try_from(quota).unwrap_or(i64::MAX), PERIOD_MICROS)
}

fn not_enforced(what: &str, want: impl std::fmt::Display, is: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("the {what} limit of {want} is not in force (the kernel says {is})"))
}

/// Memory limits are kept in whole pages.
fn same_bytes(is: u64, want: u64) -> bool {
    is <= want && want - is < 65_536
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_matched_whole() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(keyed(text, "oom_kill"), Some(3));
        assert_eq!(keyed(text, "oom"), None);
    }

    #[test]
    fn a_process_is_in_the_cgroup_that_its_lines_name() {
        let text = "9:memory:/docker/x/playhouse/h/1\n0::/user.slice/a.scope/playhouse/h/1\n";
        assert!(is_in(text, "/playhouse/h/1"));
        assert!(!is_in(text, "/playhouse/h/11") && !is_in("", "/playhouse/h/1"));
    }

    #[test]
    fn quotas_are_proportional_and_never_too_small() {
        assert_eq!(cpu_quota(2000), (200_000, 100_000));
        assert_eq!(cpu_quota(1), (1000, 100_000));
        assert_eq!(cpu_quota(u64::MAX).1, 100_000);
    }

    #[test]
    fn versions_are_told_apart() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(version(dir.path()), None);
        fs::create_dir(dir.path().join("memory")).expect("made");
        assert_eq!(version(dir.path()), Some(Version::V1));
        fs::write(dir.path().join("cgroup.controllers"), "cpu memory").expect("written");
        assert_eq!(version(dir.path()), Some(Version::V2));
    }
}
