//! What the tree holds at each path as far as the agent knows, and the state of the disk that goes with it.

use std::{collections::BTreeMap, ops::Bound};

use playhouse_protocol::agent::Node;

use super::stamp::Disk;

/// How the disk's settled state and the tree's belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// They are the same thing.
    Agreed,
    /// The tree cannot hold what the disk has (or refused it); it is left alone.
    LeftOut,
    /// The disk could not be given what the tree has, or nothing where that has nothing; it is tried again.
    Lacking,
}

/// One path. A path without a record is in neither.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What the tree has.
    pub tree: Option<Node>,
    /// The state of the disk that is settled: only a different one is a program's change. `None` where nothing is
    /// settled, so that whatever is there counts as changed.
    pub seen: Option<Disk>,
    /// What "settled" means.
    pub standing: Standing,
    /// The stamp is so young that an equal one does not prove an unchanged file.
    pub racy: bool,
    /// The last scan that came by.
    pub scan: u32,
}

impl Record {
    /// The disk has what the tree has.
    #[must_use]
    pub fn agreed(node: Node, disk: Disk, now: i128) -> Self {
        Self { tree: Some(node), seen: Some(disk), standing: Standing::Agreed, racy: racy(&disk, now), scan: 0 }
    }

    /// The tree has (or lacks) `tree`, and whatever is on the disk shall be reported.
    #[must_use]
    pub fn unsettled(tree: Option<Node>) -> Self {
        Self { tree, seen: None, standing: Standing::Agreed, racy: false, scan: 0 }
    }

    /// The disk stays as it is, though the tree has something else.
    #[must_use]
    pub fn aside(tree: Option<Node>, disk: Disk, standing: Standing) -> Self {
        Self { tree, seen: Some(disk), standing, racy: false, scan: 0 }
    }
}

fn racy(disk: &Disk, now: i128) -> bool {
    match disk {
        Disk::File(stamp) => stamp.is_racy(now),
        Disk::Absent | Disk::Directory | Disk::Symlink(_) | Disk::Other(..) => false,
    }
}

/// All records, in byte order of their paths.
#[derive(Debug, Default)]
pub struct Records {
    map: BTreeMap<String, Record>,
}

impl Records {
    /// The record of a path.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Record> {
        self.map.get(path)
    }

    /// The same, to change.
    pub fn get_mut(&mut self, path: &str) -> Option<&mut Record> {
        self.map.get_mut(path)
    }

    /// Sets it.
    pub fn set(&mut self, path: &str, record: Record) {
        match self.map.get_mut(path) {
            Some(old) => *old = record,
            None => {
                self.map.insert(path.to_owned(), record);
            }
        }
    }

    /// Forgets one path.
    pub fn remove(&mut self, path: &str) -> Option<Record> {
        self.map.remove(path)
    }

    /// The paths below `path`, in order. `""` stands for the root.
    pub fn below<'a>(&'a self, path: &str) -> impl Iterator<Item = (&'a str, &'a Record)> {
        self.map.range::<str, _>(bounds(&range_of(path))).map(|(path, record)| (path.as_str(), record))
    }

    /// Forgets what is below `path`.
    pub fn remove_below(&mut self, path: &str) -> Vec<(String, Record)> {
        let paths: Vec<String> = self.below(path).map(|(path, _)| path.to_owned()).collect();
        paths.into_iter().filter_map(|path| self.map.remove(&path).map(|record| (path, record))).collect()
    }

    /// All of them.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, &Record)> {
        self.map.iter().map(|(path, record)| (path.as_str(), record))
    }
}

/// What lies below a path sorts after `path/` and before `path0`, since `0` follows `/`.
fn range_of(path: &str) -> (String, String) {
    (format!("{path}/"), format!("{path}0"))
}

fn bounds((from, to): &(String, String)) -> (Bound<&str>, Bound<&str>) {
    (Bound::Included(from.as_str()), Bound::Excluded(to.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_is_exactly_the_subtree() {
        let mut records = Records::default();
        for path in ["/a", "/a-b", "/a/b", "/a/b/c", "/a0", "/b/a/b", "/a.x"] {
            records.set(path, Record::agreed(Node::Directory, Disk::Directory, 0));
        }
        let below: Vec<_> = records.below("/a").map(|(path, _)| path).collect();
        assert_eq!(below, ["/a/b", "/a/b/c"]);
        assert_eq!(records.below("").count(), 7);
        assert_eq!(records.remove_below("/a").len(), 2);
        assert_eq!(records.iter().count(), 5);
    }
}
