//! What an environment is made of, and what is left out of one that is too large.

use std::path::Path;

use playhouse_protocol::agent::Settings;
use rustix::fs::AtFlags;

use super::{HOME, WORKSPACE};
use crate::files::{
    root::{Root, names},
    temp::TEMP_NAME,
};

/// Folders that any tool makes again by itself.
const CACHES: &[&[u8]] = &[b".cache", b"__pycache__", b".pytest_cache", b".mypy_cache"];

/// What is left out first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A cache.
    Cache,
    /// Another folder.
    Folder,
    /// The home directory's loose files.
    Loose,
}

/// A part that is packed whole or not at all.
#[derive(Debug, Clone)]
pub struct Unit {
    /// Whether it lies in the home directory.
    pub in_home: bool,
    /// Where, below the workspace or the home directory, without a leading slash; empty for loose files.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
}

impl Unit {
    /// Its name in the pack and for people.
    #[must_use]
    pub fn name(&self) -> Vec<u8> {
        let mut name = if self.in_home { HOME } else { WORKSPACE }.as_bytes().to_vec();
        if !self.path.is_empty() {
            name.push(b'/');
            name.extend_from_slice(&self.path);
        }
        name
    }
}

/// The two directories that an environment comes from.
#[derive(Debug)]
pub struct Roots {
    /// The workspace.
    pub workspace: Root,
    /// The home directory.
    pub home: Root,
}

impl Roots {
    /// Opens them.
    ///
    /// # Errors
    /// One cannot be opened.
    pub fn open(workspace: &Path, home: &Path) -> std::io::Result<Self> {
        Ok(Self { workspace: Root::open(workspace)?, home: Root::open(home)? })
    }

    /// The one that a unit lies in.
    #[must_use]
    pub fn of(&self, in_home: bool) -> &Root {
        if in_home { &self.home } else { &self.workspace }
    }

    /// All units, in an order that depends on nothing but their names.
    ///
    /// # Errors
    /// A directory cannot be read: a part that nobody knows of must not be lost silently.
    pub fn units(&self, settings: &Settings) -> std::io::Result<Vec<Unit>> {
        let mut units = Vec::new();
        let mut queue = vec![Vec::new()];
        while let Some(path) = queue.pop() {
            let directory = match self.workspace.listing(&path) {
                Ok(directory) => directory,
                // What cannot be read belongs to the tree's side, which names it.
                Err(_) if !path.is_empty() => continue,
                Err(error) => return Err(error.into()),
            };
            names(&directory, |name| {
                let child = join(&path, name.to_bytes());
                if child == TEMP_NAME.as_bytes() {
                    return Ok(());
                }
                if settings.generated_folders.iter().any(|folder| folder.as_bytes() == name.to_bytes()) {
                    let kind = if CACHES.contains(&name.to_bytes()) { Kind::Cache } else { Kind::Folder };
                    units.push(Unit { in_home: false, path: child, kind });
                } else if is_directory(&directory, name) {
                    queue.push(child);
                }
                Ok(())
            })?;
        }
        let home = self.home.listing("")?;
        names(&home, |name| {
            if is_directory(&home, name) {
                let kind = if CACHES.contains(&name.to_bytes()) { Kind::Cache } else { Kind::Folder };
                units.push(Unit { in_home: true, path: name.to_bytes().to_vec(), kind });
            }
            Ok(())
        })?;
        units.push(Unit { in_home: true, path: Vec::new(), kind: Kind::Loose });
        units.sort_by(|a, b| (a.in_home, &a.path).cmp(&(b.in_home, &b.path)));
        Ok(units)
    }
}

/// `name` in the directory `path`.
#[must_use]
pub fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}

fn is_directory(parent: impl std::os::fd::AsFd, name: &std::ffi::CStr) -> bool {
    rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir())
}

/// Which units to leave out so that the rest is at most `most`: caches first, then other folders, the biggest of each
/// kind first. Returns their places.
#[must_use]
pub fn leave_out(sizes: &[(Kind, u64)], most: u64) -> Vec<usize> {
    let mut total: u64 = sizes.iter().fold(0, |total, (_, size)| total.saturating_add(*size));
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&place| (sizes[place].0, std::cmp::Reverse(sizes[place].1), place));
    let mut out = Vec::new();
    for place in order {
        if total <= most {
            break;
        }
        total = total.saturating_sub(sizes[place].1);
        out.push(place);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn caches_go_first_and_then_the_biggest() {
        let sizes = [(Kind::Folder, 50), (Kind::Cache, 10), (Kind::Folder, 70), (Kind::Loose, 90), (Kind::Cache, 20)];
        assert!(leave_out(&sizes, 240).is_empty());
        assert_eq!(leave_out(&sizes, 239), [4]);
        assert_eq!(leave_out(&sizes, 215), [4, 1]);
        assert_eq!(leave_out(&sizes, 209), [4, 1, 2]);
        assert_eq!(leave_out(&sizes, 0), [4, 1, 2, 0, 3]);
    }

    proptest! {
        #[test]
        fn what_stays_fits(sizes in prop::collection::vec(0..1000u64, 0..20), most in 0..5000u64) {
            let sizes: Vec<_> = sizes.into_iter().enumerate().map(|(n, size)| {
                ([Kind::Cache, Kind::Folder, Kind::Loose][n % 3], size)
            }).collect();
            let out = leave_out(&sizes, most);
            let left: u64 = (0..sizes.len()).filter(|place| !out.contains(place)).map(|place| sizes[place].1).sum();
            prop_assert!(left <= most);
            // The last one taken was needed.
            if let Some(last) = out.last() {
                prop_assert!(left + sizes[*last].1 > most);
            }
        }
    }
}
