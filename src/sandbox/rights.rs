//! With what rights a host makes sandboxes, and what follows from them. There is one driver: all that differs without root
//! is in here as data.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{StepError, disk, ranges::Ids};

/// With what rights sandboxes are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rights {
    /// Root's own.
    Root,
    /// An ordinary user's, who is root in a user namespace of their own: see [`super::rootless`].
    Rootless(Delegation),
}

/// What an ordinary user was given to make sandboxes with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    /// The cgroup that is the user's, relative to the root of the hierarchy.
    pub cgroup: PathBuf,
    /// How many subordinate ids the namespace has; the first of them is its user 1.
    pub subordinate_ids: u32,
    /// The user, as everybody else sees them.
    pub user: u32,
}

/// Directories that a mount namespace of our own may cover, in order: anybody may walk to them, and seldom is anything
/// there.
const COVERED: &[&str] = &["/mnt", "/media", "/srv", "/opt"];

/// What the API calls containers that root's host makes.
pub const HARDENED: &str = "hardened-container";
/// What it calls those of a host without root.
pub const ROOTLESS: &str = "rootless-container";
/// What it calls no isolation at all.
pub const NONE: &str = "none";

impl Rights {
    /// What isolates sandboxes then, as the API says it.
    #[must_use]
    pub const fn isolation(&self) -> &'static str {
        match self {
            Self::Root => HARDENED,
            Self::Rootless(_) => ROOTLESS,
        }
    }

    /// The ids that sandboxes get.
    #[must_use]
    pub const fn ids(&self) -> Ids {
        match self {
            Self::Root => Ids::MACHINE,
            Self::Rootless(delegation) => Ids::subordinate(delegation.subordinate_ids),
        }
    }

    /// The cgroup below which sandboxes' are.
    #[must_use]
    pub fn cgroup(&self) -> &Path {
        match self {
            Self::Root => Path::new(""),
            Self::Rootless(delegation) => &delegation.cgroup,
        }
    }

    /// The user whose directories are used.
    #[must_use]
    pub fn user(&self) -> u32 {
        match self {
            Self::Root => rustix::process::geteuid().as_raw(),
            Self::Rootless(delegation) => delegation.user,
        }
    }

    /// Where the stage is set for a sandbox (see [`super::request::Request::stage`]). The sandbox's users must be able to
    /// walk there, and a directory in an ordinary user's home or run directory may be closed to them: in a mount namespace
    /// of its own the stage then covers a directory that is open to all and holds nothing of `used`.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn stage(&self, run_dir: &Path, used: &[&Path]) -> io::Result<PathBuf> {
        match self {
            Self::Root => {
                let stage = run_dir.join("stage");
                fs::create_dir_all(&stage)?;
                Ok(stage)
            }
            Self::Rootless(_) => COVERED
                .iter()
                .map(Path::new)
                .find(|dir| dir.is_dir() && used.iter().all(|path| !path.starts_with(dir)))
                .map(Path::to_owned)
                .ok_or_else(|| {
                    io::Error::other(format!("one of {} is needed, with nothing in it", COVERED.join(", ")))
                }),
        }
    }

    /// Makes a sandbox's disk of this size in its directory, if it isn't there.
    pub(super) fn provide_disk(&self, spares: &Path, bytes: u64, dir: &Path) -> Result<disk::Disk, StepError> {
        match self {
            Self::Root => {
                let image = dir.join(disk::IMAGE);
                // One that is started anew has its disk.
                if image.exists() {
                    disk::repair(&image)?;
                } else {
                    disk::provide(spares, bytes, &image)?;
                }
                Ok(disk::Disk::Image(image))
            }
            Self::Rootless(_) => {
                let files = dir.join(disk::FILES);
                fs::create_dir_all(&files).map_err(StepError::at("make the directory of the sandbox's files"))?;
                Ok(disk::Disk::Directory(files))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rootless() -> Rights {
        Rights::Rootless(Delegation { cgroup: "a.scope".into(), subordinate_ids: 65_536, user: 1000 })
    }

    #[test]
    fn the_stage_covers_nothing_that_is_used() {
        let stage = rootless().stage(Path::new("/run"), &[Path::new("/mnt/data"), Path::new("/home/a")]).expect("one");
        assert!(COVERED[1..].iter().any(|dir| Path::new(dir) == stage), "{}", stage.display());
        let all: Vec<&Path> = COVERED.iter().map(Path::new).collect();
        assert!(rootless().stage(Path::new("/run"), &all).is_err());
    }

    #[test]
    fn without_root_the_disk_is_a_directory_and_that_is_said() {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = rootless().provide_disk(dir.path(), 1, dir.path()).expect("made");
        assert_eq!(disk, disk::Disk::Directory(dir.path().join("files")));
        assert_ne!(rootless().isolation(), Rights::Root.isolation());
    }
}
