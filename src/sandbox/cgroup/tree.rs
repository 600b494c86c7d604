//! The place of a host's cgroups: below the root of the machine's, or below one that was delegated to an ordinary user.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Cgroup, OURS, ROOT, Version, hierarchies, v2, version};

/// What is kept from the sandboxes for the system, the node and the host.
const SPARED_BYTES: u64 = 512 * 1024 * 1024;

/// The cgroups of one host's sandboxes.
#[derive(Debug, Clone)]
pub struct Cgroups {
    pub(super) root: PathBuf,
    /// `None` where there are no cgroups at all.
    pub(super) version: Option<Version>,
    /// The cgroup below which they are, relative to `root`: empty for the machine's own root.
    pub(super) base: PathBuf,
    pub(super) host_id: String,
}

impl Cgroups {
    /// Those of a host, below `base` (relative to the root of the hierarchies; empty for that root itself).
    #[must_use]
    pub fn new(base: impl Into<PathBuf>, host_id: &str) -> Self {
        let root = PathBuf::from(ROOT);
        Self { version: version(&root), root, base: base.into(), host_id: host_id.to_owned() }
    }

    /// The directory of the host below each hierarchy's root.
    fn below(&self) -> PathBuf {
        self.base.join(OURS).join(&self.host_id)
    }

    fn dirs(&self) -> Vec<PathBuf> {
        match self.version {
            Some(Version::V1) => {
                hierarchies(&self.root).iter().map(|name| self.root.join(name).join(self.below())).collect()
            }
            Some(Version::V2) => vec![self.root.join(self.below())],
            None => Vec::new(),
        }
    }

    /// The cgroup of sandbox number `n`.
    ///
    /// # Errors
    /// There are no cgroups on this machine.
    pub fn sandbox(&self, n: u32) -> io::Result<Cgroup> {
        let version = self.version.ok_or_else(|| io::Error::other("no cgroups are mounted on /sys/fs/cgroup"))?;
        Ok(Cgroup { root: self.root.clone(), version, below: self.below().join(n.to_string()) })
    }

    /// Makes sure that cgroups with limits can be made here. On v2 every level has to pass its controllers on, which is
    /// not everybody's to grant, so it is asked for here and not left to fail for each sandbox.
    ///
    /// # Errors
    /// Which controller isn't passed on, or what the kernel said.
    pub fn prepare(&self) -> io::Result<()> {
        match self.version {
            Some(Version::V2) => v2::pass_on(&self.root.join(&self.base), &[OURS, &self.host_id]),
            Some(Version::V1) | None => Ok(()),
        }
    }

    /// Keeps a share of the machine's memory from all sandboxes together. A sandbox may have more than a small machine has:
    /// then its programs are killed, before everything else on the machine stands still for want of memory.
    ///
    /// # Errors
    /// What the kernel said. Sandboxes can be made all the same.
    pub fn spare_memory(&self) -> io::Result<()> {
        let ours = self.base.join(OURS);
        let limit = shared_bytes(machine_bytes()?).to_string();
        match self.version {
            Some(Version::V2) => fs::write(self.root.join(ours).join("memory.max"), limit),
            Some(Version::V1) => {
                let dir = self.root.join("memory").join(ours);
                fs::create_dir_all(&dir)?;
                fs::write(dir.join("memory.limit_in_bytes"), limit)
            }
            None => Ok(()),
        }
    }

    /// The numbers of the sandboxes' cgroups that exist, in whatever hierarchy.
    #[must_use]
    pub fn numbers(&self) -> Vec<u32> {
        let mut numbers: Vec<u32> = self
            .dirs()
            .iter()
            .filter_map(|dir| fs::read_dir(dir).ok())
            .flat_map(|entries| entries.flatten())
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// Removes the host's own directory in every hierarchy, if nothing is left in it. The one of all hosts stays: another
    /// host may be making its own in it.
    pub fn remove(&self) {
        for dir in self.dirs() {
            // One that still has a sandbox stays, which is what is wanted.
            let _ = fs::remove_dir(dir);
        }
    }
}

/// The machine's memory.
fn machine_bytes() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let kib =
        text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse().ok());
    kib.map(|kib: u64| kib * 1024).ok_or_else(|| io::Error::other("/proc/meminfo has no MemTotal"))
}

/// What all sandboxes may have of a machine's memory: all but a tenth, or but 512 MiB if that is more; half of it on a
/// machine too small for that.
const fn shared_bytes(machine: u64) -> u64 {
    let spared = if machine / 10 > SPARED_BYTES { machine / 10 } else { SPARED_BYTES };
    if spared > machine / 2 { machine / 2 } else { machine - spared }
}

/// Whether a limit of memory and swap together can be set. Without it, on a machine that swaps, the memory limit alone
/// would only move what is too much to the swap.
#[must_use]
pub fn has_swap_limit() -> bool {
    let root = Path::new(ROOT);
    match version(root) {
        Some(Version::V1) => root.join("memory/memory.memsw.limit_in_bytes").exists(),
        // The root itself has no limits; those below it have this one or none has.
        Some(Version::V2) => fs::read_dir(root)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.path().join("memory.max").exists())
            .all(|entry| entry.path().join("memory.swap.max").exists()),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_memory_is_kept_from_the_sandboxes() {
        const GIB: u64 = 1024 * 1024 * 1024;
        assert_eq!(shared_bytes(20 * GIB), 18 * GIB);
        assert_eq!(shared_bytes(3 * GIB), 3 * GIB - SPARED_BYTES);
        assert_eq!(shared_bytes(GIB / 2), GIB / 4);
        assert!(machine_bytes().expect("a figure") > SPARED_BYTES / 4);
    }

    #[test]
    fn a_hosts_cgroups_are_below_what_was_delegated() {
        let dir = tempfile::tempdir().expect("a directory");
        let groups = Cgroups {
            root: dir.path().to_owned(),
            version: Some(Version::V2),
            base: "user.slice/a.scope".into(),
            host_id: "h".into(),
        };
        assert_eq!(groups.sandbox(3).expect("v2").path(), "/user.slice/a.scope/playhouse/h/3");
        let own = dir.path().join("user.slice/a.scope/playhouse/h");
        for n in ["3", "1", "x"] {
            fs::create_dir_all(own.join(n)).expect("made");
        }
        assert_eq!(groups.numbers(), [1, 3]);
        groups.remove();
        assert!(own.exists(), "it still has sandboxes");
        for n in ["3", "1", "x"] {
            fs::remove_dir(own.join(n)).expect("removed");
        }
        groups.remove();
        assert!(!own.exists());
        let none = Cgroups { version: None, ..groups };
        assert!(none.sandbox(1).is_err() && none.numbers().is_empty() && none.prepare().is_ok());
    }
}
