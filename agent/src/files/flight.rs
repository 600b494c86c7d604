//! The one report that is under way.

use std::time::Duration;

use playhouse_protocol::{agent::Node, path as paths};

use super::{
    core::Tree,
    record::{Record, Standing},
    report::Told,
    stamp::Disk,
    versions::Made,
};

/// See the module.
#[derive(Debug)]
pub enum Flight {
    /// None.
    Idle,
    /// Its paths are being read.
    Building,
    /// It is sent and not yet answered.
    Sent {
        /// Its number.
        batch: u64,
        /// What it says.
        told: Vec<Told>,
        /// What it names as left out.
        named: Vec<(String, String)>,
        /// When its making began.
        started: Duration,
    },
}

impl PartialEq for Flight {
    fn eq(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl Flight {
    /// Gives up a report that was sent and not answered: the paths it spoke of with the disk's state that it told, and
    /// what it named.
    #[allow(clippy::type_complexity, reason = "two lists that are taken apart at once")]
    pub fn give_up(&mut self) -> Option<(Vec<(String, Disk)>, Vec<(String, String)>)> {
        match std::mem::replace(self, Self::Idle) {
            Self::Sent { told, named, .. } => {
                let told = told.into_iter().map(|told| {
                    let disk = told.record.and_then(|record| record.seen).unwrap_or(Disk::Absent);
                    (told.path, disk)
                });
                Some((told.collect(), named))
            }
            building @ (Self::Building | Self::Idle) => {
                *self = building;
                None
            }
        }
    }

    /// The report with this number is answered; any other answer is an old one.
    pub fn answered(&mut self, number: u64) -> Option<(Vec<Told>, Duration)> {
        match std::mem::replace(self, Self::Idle) {
            Self::Sent { batch, told, started, .. } if batch == number => Some((told, started)),
            other => {
                *self = other;
                None
            }
        }
    }
}

/// Refusals that say nothing against the file itself.
const PASSING: &[&str] = &["content_missing", "content_differs", "store_failed", "overloaded"];

/// What is to be done once a report is settled.
#[derive(Debug, Default)]
pub struct Settled {
    /// Paths that must be reported again, since a push has changed the disk meanwhile and the report came after it in
    /// the tree.
    pub again: Vec<String>,
    /// Directories that took another thing's place in the tree, and are empty there whatever they hold here.
    pub emptied: Vec<String>,
}

/// Settles what a committed report told.
pub fn settle(tree: &mut Tree, told: Vec<Told>, version: u64, refused: &[(String, String)]) -> Settled {
    let mut again = Vec::new();
    let emptied = told.windows(2).filter(|pair| pair[0].path == pair[1].path && made(&pair[1]) == Made::Directory);
    let emptied: Vec<String> = emptied.map(|pair| pair[1].path.clone()).collect();
    let taken = |path: &str| !refused.iter().any(|(refused, _)| refused == path);
    let decided: Vec<(String, Made)> =
        told.iter().filter(|told| taken(&told.path)).map(|told| (told.path.clone(), made(told))).collect();
    for Told { path, record, .. } in told {
        tree.forced.remove(&path);
        if refused.iter().any(|(refused, why)| *refused == path && PASSING.contains(&why.as_str())) {
            // The node did not get its content, or knew the path by another one: it is told anew, whole.
            if !tree.versions.outdone(&path, version) {
                tree.records.set(&path, Record::unsettled(None));
                again.push(path);
            }
        } else if !taken(&path) {
            // It is not offered again until it changes.
            let known = tree.records.get(&path).and_then(|record| record.tree.clone());
            if let Some(disk) = record.and_then(|record| record.seen) {
                tree.records.set(&path, Record::aside(known, disk, Standing::LeftOut));
            }
        } else {
            if record.as_ref().is_none_or(|record| record.tree.is_none()) {
                let below: Vec<String> = tree.records.below(&path).map(|(below, _)| below.to_owned()).collect();
                for below in below {
                    settle_one(tree, &below, None, version, &mut again);
                }
            }
            settle_one(tree, &path, record, version, &mut again);
        }
    }
    tree.versions.reported(version, decided.iter().map(|(path, made)| (path.as_str(), *made)));
    tree.versions.end();
    Settled { again, emptied }
}

fn made(told: &Told) -> Made {
    match told.record.as_ref().and_then(|record| record.tree.as_ref()) {
        None => Made::Nothing,
        Some(Node::Directory) => Made::Directory,
        Some(Node::File { .. } | Node::Symlink { .. }) => Made::Leaf,
    }
}

fn settle_one(tree: &mut Tree, path: &str, record: Option<Record>, version: u64, again: &mut Vec<String>) {
    if tree.versions.outdone(path, version) {
        // The push's record stands.
    } else if tree.versions.overtaken(path, version) {
        tree.records.set(path, Record::unsettled(record.and_then(|record| record.tree)));
        again.extend(implied_parents(tree, path));
        again.push(path.to_owned());
    } else if let Some(record) = record {
        tree.records.set(path, record);
        again.extend(implied_parents(tree, path));
    } else {
        tree.records.remove(path);
    }
}

/// A put makes its parents in the tree: those that are no directories here are to be compared with
/// the disk.
fn implied_parents(tree: &mut Tree, path: &str) -> Vec<String> {
    let mut implied = Vec::new();
    let mut above = paths::parent(path);
    let is_directory =
        |tree: &Tree, path: &str| tree.records.get(path).is_some_and(|record| record.tree == Some(Node::Directory));
    while let Some(parent) = above.filter(|parent| !is_directory(tree, parent)) {
        tree.records.set(parent, Record::unsettled(Some(Node::Directory)));
        implied.push(parent.to_owned());
        above = paths::parent(parent);
    }
    implied
}
