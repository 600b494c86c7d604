//! Walking a part of the workspace and comparing what stat shows with what is known.

use std::sync::atomic::{AtomicU32, Ordering};

use playhouse_protocol::{agent::Settings, path::PATH_BYTES};
use rustix::fs::AtFlags;

use super::{
    core::Core,
    diff,
    root::{is_absent, names},
    stamp::Disk,
    temp::is_temp,
    watch::Watcher,
};

/// How many names are compared under one hold of the lock.
const AT_ONCE: usize = 512;

/// What a scan found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Paths whose state is not the settled one; `true` where the stamp is but proves nothing.
    pub changed: Vec<(String, bool)>,
    /// Paths that the tree can never hold, and why.
    pub odd: Vec<(String, &'static str)>,
}

static SCANS: AtomicU32 = AtomicU32::new(1);

/// What a path's name says of whether it is in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByName {
    /// It may be.
    In,
    /// It is ours.
    Ours,
    /// It is a generated folder's: the environment keeps what is there, and who made something else of it is told.
    Generated,
}

/// Why something that is no folder is left out by its name.
pub const LIKE_GENERATED: &str = "named_like_a_generated_folder";

/// What the last component of `path` says.
#[must_use]
pub fn by_name(path: &str, settings: &Settings) -> ByName {
    let name = playhouse_protocol::path::name(path);
    if is_temp(path) {
        ByName::Ours
    } else if settings.generated_folders.iter().any(|folder| folder == name) {
        ByName::Generated
    } else {
        ByName::In
    }
}

/// Walks the directory at `from` (`""` is the root) and below it, watching each directory before its names are read,
/// so that nothing appears unnoticed between the two. `strict` also distrusts racy stamps.
pub fn scan(core: &Core, watcher: &mut Watcher, from: &str, strict: bool) -> Findings {
    let settings = core.settings();
    let number = SCANS.fetch_add(1, Ordering::Relaxed);
    let mut findings = Findings::default();
    let mut queue = vec![from.to_owned()];
    let mut unreadable = Vec::new();
    while let Some(path) = queue.pop() {
        let Ok(directory) = core.root.listing(&path) else {
            // Gone again, which an event or the records tell; or not readable, and then its inside is not known.
            if core.root.look(&path).is_ok_and(|disk| disk == Disk::Directory) {
                findings.odd.push((path.clone(), "unreadable"));
                unreadable.push(path);
            }
            continue;
        };
        watcher.add(&path, &directory);
        let mut found: Vec<(String, Disk)> = Vec::new();
        let whole = names(&directory, |name| {
            let Ok(text) = name.to_str() else {
                findings.odd.push((format!("{path}/{}", name.to_string_lossy()), "not_utf8"));
                return Ok(());
            };
            let child = format!("{path}/{text}");
            let by_name = by_name(&child, &settings);
            if by_name == ByName::Ours {
                return Ok(());
            }
            if child.len() > PATH_BYTES {
                findings.odd.push((child, "path_too_long"));
                return Ok(());
            }
            match rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => match (by_name, Disk::from(&stat)) {
                    (ByName::Generated, Disk::Directory) => {}
                    (ByName::Generated, _) => findings.odd.push((child, LIKE_GENERATED)),
                    (ByName::In | ByName::Ours, disk) => found.push((child, disk)),
                },
                Err(error) if is_absent(error) => {}
                Err(error) => return Err(error),
            }
            if found.len() >= AT_ONCE {
                compare(core, &mut found, number, strict, &mut findings, &mut queue);
            }
            Ok(())
        });
        compare(core, &mut found, number, strict, &mut findings, &mut queue);
        if whole.is_err() {
            // A read error is not an empty directory.
            unreadable.push(path);
        }
    }
    let tree = core.tree();
    let missed = tree.records.below(from).filter(|(path, record)| {
        record.scan != number && !unreadable.iter().any(|above| playhouse_protocol::path::is_within(path, above))
    });
    findings.changed.extend(missed.map(|(path, _)| (path.to_owned(), false)));
    findings
}

fn compare(
    core: &Core,
    found: &mut Vec<(String, Disk)>,
    number: u32,
    strict: bool,
    findings: &mut Findings,
    queue: &mut Vec<String>,
) {
    let mut tree = core.tree();
    for (path, disk) in found.drain(..) {
        let record = tree.records.get_mut(&path);
        let racy = record.as_ref().is_some_and(|record| record.racy);
        if diff::is_changed(record.as_deref(), &disk) {
            findings.changed.push((path.clone(), false));
        } else if strict && racy {
            findings.changed.push((path.clone(), true));
        }
        if let Some(record) = record {
            record.scan = number;
        }
        if disk == Disk::Directory {
            queue.push(path);
        }
    }
}
