//! The three-way comparison of one path: the tree, what was agreed, the disk.

use playhouse_protocol::agent::Node;

use super::{
    record::{Record, Standing},
    stamp::Disk,
};

/// What is to be done about a path when the tree is compared with the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All three are alike, or the difference is a known and lasting one.
    Nothing,
    /// The disk has what the tree has, only the record does not say so.
    Adopt,
    /// No program changed it: make the disk like the tree.
    Write,
    /// A program changed it: the disk stays and is reported.
    Keep,
}

/// Whether a program changed the path since its record was made.
#[must_use]
pub fn is_changed(record: Option<&Record>, disk: &Disk) -> bool {
    match record {
        Some(record) => record.seen.as_ref() != Some(disk),
        None => *disk != Disk::Absent,
    }
}

/// Compares. `same` says that the disk holds exactly what the tree wants; `told` is the disk's state that a report
/// spoke of which was never answered, so that nobody knows whether the tree has taken it.
#[must_use]
pub fn compare(tree: Option<&Node>, record: Option<&Record>, disk: &Disk, same: bool, told: Option<&Disk>) -> Verdict {
    if let Some(told) = told {
        // If the tree has moved on from what was agreed, it did so knowing our report or against it; either way its
        // state is the later one. A program that went on after the report is later still.
        let tree_moved = record.and_then(|record| record.tree.as_ref()) != tree;
        return match (told == disk && tree_moved, same) {
            (true, true) => Verdict::Adopt,
            (true, false) => Verdict::Write,
            (false, _) => Verdict::Keep,
        };
    }
    if is_changed(record, disk) {
        return if same { Verdict::Adopt } else { Verdict::Keep };
    }
    let Some(record) = record else {
        // Neither on the disk nor known.
        return if tree.is_some() { Verdict::Write } else { Verdict::Nothing };
    };
    if record.tree.as_ref() != tree {
        return Verdict::Write;
    }
    match record.standing {
        Standing::Agreed | Standing::LeftOut => Verdict::Nothing,
        Standing::Lacking => Verdict::Write,
    }
}

/// Whether what stat shows can be what the tree wants; a file's content and a link's target are still to be compared.
#[must_use]
pub fn may_be_same(tree: Option<&Node>, disk: &Disk) -> bool {
    match (tree, disk) {
        (None, Disk::Absent)
        | (Some(Node::Directory), Disk::Directory)
        | (Some(Node::Symlink { .. }), Disk::Symlink(_)) => true,
        (Some(Node::File { size, executable, .. }), Disk::File(stamp)) => {
            *size == stamp.size && *executable == stamp.is_executable()
        }
        (None | Some(_), _) => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::files::stamp::Stamp;

    fn stamp(content: u8, executable: bool) -> Stamp {
        Stamp {
            ino: 1,
            size: u64::from(content),
            mtime: 0,
            ctime: 0,
            mode: if executable { 0o755 } else { 0o644 },
            linked: false,
        }
    }

    fn node(content: u8, executable: bool) -> Node {
        Node::File { hash: [content; 32], size: u64::from(content), executable }
    }

    /// A state that both tree and disk can be in.
    #[derive(Debug, Clone, PartialEq)]
    enum State {
        Absent,
        Directory,
        File(u8, bool),
    }

    impl State {
        fn node(&self) -> Option<Node> {
            match self {
                Self::Absent => None,
                Self::Directory => Some(Node::Directory),
                Self::File(content, executable) => Some(node(*content, *executable)),
            }
        }
        fn disk(&self) -> Disk {
            match self {
                Self::Absent => Disk::Absent,
                Self::Directory => Disk::Directory,
                Self::File(content, executable) => Disk::File(stamp(*content, *executable)),
            }
        }
    }

    fn state() -> impl Strategy<Value = State> {
        prop_oneof![
            Just(State::Absent),
            Just(State::Directory),
            (0..3u8, any::<bool>()).prop_map(|(content, executable)| State::File(content, executable)),
        ]
    }

    proptest! {
        #[test]
        fn a_change_on_one_side_alone_reaches_the_other(base in state(), tree in state(), disk in state()) {
            let record = base.node().map(|node| Record::agreed(node, base.disk(), i128::MAX));
            let same = tree == disk;
            prop_assert_eq!(same, may_be_same(tree.node().as_ref(), &disk.disk()));
            let verdict = compare(tree.node().as_ref(), record.as_ref(), &disk.disk(), same, None);
            let expected = if disk == base {
                if tree == base { Verdict::Nothing } else { Verdict::Write }
            } else if same {
                Verdict::Adopt
            } else {
                Verdict::Keep
            };
            prop_assert_eq!(verdict, expected);
        }

        #[test]
        fn after_an_unanswered_report_the_later_state_stands(
            base in state(), told in state(), tree in state(), disk in state(),
        ) {
            let record = base.node().map(|node| Record::agreed(node, base.disk(), i128::MAX));
            let verdict =
                compare(tree.node().as_ref(), record.as_ref(), &disk.disk(), tree == disk, Some(&told.disk()));
            if disk != told || tree == base {
                // A program went on, or the report never arrived.
                prop_assert_eq!(verdict, Verdict::Keep);
            } else {
                prop_assert_eq!(verdict, if tree == disk { Verdict::Adopt } else { Verdict::Write });
            }
        }
    }

    #[test]
    fn what_was_left_out_stays_until_the_tree_has_something_else_there() {
        let disk = Disk::Other("fifo", stamp(0, false));
        let record = Record::aside(None, disk, Standing::LeftOut);
        assert_eq!(compare(None, Some(&record), &disk, false, None), Verdict::Nothing);
        assert_eq!(compare(Some(&node(1, false)), Some(&record), &disk, false, None), Verdict::Write);
        let record = Record::aside(Some(node(1, false)), Disk::Absent, Standing::Lacking);
        assert_eq!(compare(Some(&node(1, false)), Some(&record), &Disk::Absent, false, None), Verdict::Write);
    }
}
