//! Which commit of the tree decided a path last, where answers to reports overtake commits that still wait in line.
//!
//! Pushes are applied in order; the answer to a report is heard at once. So three things can cross, and each is told
//! apart by its version:
//! - a push that is older than a report already answered: the report's state stands ([`Versions::decided`]);
//! - a push applied while a report is under way that is committed later: the tree has the report's state and the disk
//!   the push's, and the path is reported again ([`Versions::overtaken`]);
//! - a stream that ends before a push was applied: the version that is told to the next node must not claim it
//!   ([`Versions::tree`] only takes a report's version when nothing can lie between).

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use playhouse_protocol::path;

/// How many paths are remembered beyond the last push. A push waits behind at most a few others, so older ones are
/// never asked for.
const DECIDED: usize = 20_000;

#[derive(Debug, Clone, Copy, Default)]
struct Decided {
    put: u64,
    closed: u64,
}

/// What a report made of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// Nothing is there any more, nor below.
    Nothing,
    /// A file or link, with nothing below.
    Leaf,
    /// A directory, which says nothing about what lies below.
    Directory,
}

impl Decided {
    fn last(self) -> u64 {
        self.put.max(self.closed)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Versions {
    tree: u64,
    ahead: BTreeSet<u64>,
    decided: BTreeMap<String, Decided>,
    under_way: Option<Vec<(String, u64)>>,
}

impl Versions {
    /// The last version that is applied with all before it.
    #[must_use]
    pub fn tree(&self) -> u64 {
        self.tree
    }

    /// A manifest or push is applied whole.
    pub fn applied(&mut self, version: u64) {
        self.tree = self.tree.max(version);
        self.decided.retain(|_, decided| decided.last() > version);
        self.absorb();
    }

    /// A report is committed, which made this of these paths.
    pub fn reported<'a>(&mut self, version: u64, paths: impl Iterator<Item = (&'a str, Made)>) {
        if version > self.tree {
            self.ahead.insert(version);
        }
        for (path, made) in paths {
            let decided = match self.decided.get_mut(path) {
                Some(decided) => decided,
                None => self.decided.entry(path.to_owned()).or_default(),
            };
            if made != Made::Nothing {
                decided.put = decided.put.max(version);
            }
            if made != Made::Directory {
                decided.closed = decided.closed.max(version);
            }
        }
        if self.decided.len() > DECIDED {
            let mut all: Vec<u64> = self.decided.values().map(|decided| decided.last()).collect();
            let middle = all.len() / 2;
            let (_, &mut median, _) = all.select_nth_unstable(middle);
            self.decided.retain(|_, decided| decided.last() > median);
        }
        self.absorb();
    }

    fn absorb(&mut self) {
        self.ahead.retain(|version| *version > self.tree);
        while self.ahead.remove(&(self.tree + 1)) {
            self.tree += 1;
        }
    }

    /// Whether a report committed after `version` settled what is at `path`.
    #[must_use]
    pub fn decided(&self, path: &str, version: u64) -> bool {
        if self.decided.is_empty() {
            return false;
        }
        if self.decided.get(path).is_some_and(|decided| decided.last() > version) {
            return true;
        }
        ancestors(path).any(|above| self.decided.get(above).is_some_and(|decided| decided.closed > version))
    }

    /// The paths at and below `path` of which reports that were committed after `version` spoke.
    pub fn decided_within<'a>(&'a self, path: &str, version: u64) -> impl Iterator<Item = &'a str> {
        let (own, below) = (self.decided.get_key_value(path), format!("{path}/"));
        let end = format!("{path}0");
        own.into_iter()
            .chain(self.decided.range::<str, _>((Bound::Included(below.as_str()), Bound::Excluded(end.as_str()))))
            .filter(move |(_, decided)| decided.last() > version)
            .map(|(path, _)| path.as_str())
    }

    /// Whether a report committed after `version` put anything below `path`, and so made a directory of it.
    #[must_use]
    pub fn decided_below(&self, path: &str, version: u64) -> bool {
        let from = format!("{path}/");
        self.decided
            .range::<str, _>((Bound::Included(from.as_str()), Bound::Unbounded))
            .take_while(|(below, _)| below.starts_with(&from))
            .any(|(_, decided)| decided.put > version)
    }

    /// A report is being made. From here on pushes that touch its paths are noticed.
    pub fn begin(&mut self) {
        self.under_way = Some(Vec::new());
    }

    /// A push or manifest changed this path on the disk.
    pub fn touch(&mut self, path: &str, version: u64) {
        if let Some(touched) = &mut self.under_way {
            touched.push((path.to_owned(), version));
        }
    }

    /// Whether a push touched `path`, something above it or something below it since the report was begun.
    #[must_use]
    pub fn is_touched(&self, path: &str) -> bool {
        self.under_way.iter().flatten().any(|(touched, _)| related(touched, path))
    }

    /// Whether the report, committed at `version`, undid in the tree what a push did to `path` on the disk.
    #[must_use]
    pub fn overtaken(&self, path: &str, version: u64) -> bool {
        self.under_way.iter().flatten().any(|(touched, at)| *at < version && related(touched, path))
    }

    /// Whether a push that came after the report decided `path`, by itself or with something above it.
    #[must_use]
    pub fn outdone(&self, path: &str, version: u64) -> bool {
        self.under_way.iter().flatten().any(|(touched, at)| *at >= version && path::is_within(path, touched))
    }

    /// The report is answered or given up.
    pub fn end(&mut self) {
        self.under_way = None;
    }
}

fn related(a: &str, b: &str) -> bool {
    path::is_within(a, b) || path::is_within(b, a)
}

fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(path::parent(path), |path| path::parent(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_claimed_only_with_all_before_it() {
        let mut versions = Versions::default();
        versions.applied(10);
        versions.reported(11, [("/a", Made::Leaf)].into_iter());
        assert_eq!(versions.tree(), 11);
        versions.reported(13, [("/b", Made::Leaf)].into_iter());
        assert_eq!(versions.tree(), 11, "12 may be a push that still waits in line");
        assert!(versions.decided("/b", 12) && !versions.decided("/b", 13) && !versions.decided("/a", 12));
        versions.applied(12);
        assert_eq!(versions.tree(), 13);
    }

    #[test]
    fn a_removal_decides_what_lay_below_and_a_directory_does_not() {
        let mut versions = Versions::default();
        versions.reported(
            5,
            [("/gone", Made::Nothing), ("/dir", Made::Directory), ("/dir/x", Made::Leaf), ("/d/x", Made::Nothing)]
                .into_iter(),
        );
        assert!(versions.decided("/gone/deep/down", 4) && versions.decided("/gone", 4));
        assert!(!versions.decided("/dir/y", 4) && versions.decided("/dir", 4));
        assert!(versions.decided_below("/dir", 4) && !versions.decided_below("/gone", 4));
        assert!(!versions.decided_below("/d", 4), "a removal makes no directory");
        versions.applied(5);
        assert!(!versions.decided("/gone", 4), "what a push has passed is forgotten");
    }

    #[test]
    fn a_push_during_a_report_is_noticed_in_both_directions() {
        let mut versions = Versions::default();
        versions.touch("/before", 3);
        versions.begin();
        versions.touch("/dir", 4);
        assert!(versions.is_touched("/dir/file") && versions.is_touched("/dir") && !versions.is_touched("/dirs"));
        assert!(!versions.is_touched("/before"));
        assert!(versions.overtaken("/dir/file", 5) && !versions.outdone("/dir/file", 5));
        assert!(versions.outdone("/dir/file", 4) && !versions.overtaken("/dir/file", 4));
        versions.end();
        assert!(!versions.is_touched("/dir"));
    }

    #[test]
    fn memory_of_decided_paths_is_bounded() {
        let mut versions = Versions::default();
        for version in 1..=30u64 {
            let paths: Vec<String> = (0..1000).map(|n| format!("/{version}/{n}")).collect();
            versions.reported(version, paths.iter().map(|path| (path.as_str(), Made::Leaf)));
        }
        assert!(versions.decided.len() <= DECIDED);
        assert!(versions.decided("/30/7", 29));
    }
}
