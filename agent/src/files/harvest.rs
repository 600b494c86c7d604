//! A fresh agent on a disk that another one left: what does the disk have that the tree lacks?
//!
//! Nothing is known of what was agreed, so time decides: a program's change is newer than the tree's entry if the file
//! changed after that was committed, which no program can pretend. What is gone from the disk is not taken for removed:
//! to bring a file back is better than to lose one. The disk itself is left as it is.

use playhouse_protocol::agent::Known;

use super::{
    core::Core,
    diff,
    manifest::holds,
    record::{Record, Standing},
    stamp::{Disk, wall_clock},
};

/// Compares a part of the tree with the disk. What is on the disk and in no part is found by the scan that follows.
pub fn take(core: &Core, entries: &[Known]) {
    for Known { path, node, since } in entries {
        if !core.tree().is_ours(path) {
            continue;
        }
        // What can't be looked at can't be reported either.
        let Ok(disk) = core.root.look(path) else { continue };
        let record = if diff::may_be_same(Some(node), &disk) && holds(core, path, node) {
            Record::agreed(node.clone(), disk, wall_clock())
        } else if is_newer(&disk, *since) {
            Record::unsettled(Some(node.clone()))
        } else {
            Record::aside(Some(node.clone()), disk, Standing::Lacking)
        };
        core.tree().records.set(path, record);
    }
}

fn is_newer(disk: &Disk, since: i64) -> bool {
    match disk {
        Disk::File(stamp) | Disk::Symlink(stamp) => stamp.ctime > i128::from(since),
        // A directory in a file's place: only what lies in it could tell when it came.
        Disk::Directory => since == 0,
        Disk::Absent | Disk::Other(..) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use playhouse_protocol::agent::Node;

    use super::*;

    fn node(content: &str) -> Node {
        let hash = *blake3::hash(content.as_bytes()).as_bytes();
        Node::File { hash, size: content.len() as u64, executable: false }
    }

    #[test]
    fn only_what_changed_after_its_entry_is_newer() {
        let dir = tempfile::tempdir().expect("a directory");
        let (workspace, home) = (dir.path().join("w"), dir.path().join("h"));
        for made in [&workspace, &home] {
            fs::create_dir(made).expect("made");
        }
        for (name, content) in [("same", "a"), ("later", "new"), ("earlier", "old"), ("ours", "new")] {
            fs::write(workspace.join(name), content).expect("written");
        }
        let core = Core::open(&workspace, &home).expect("opened");
        let now = i64::try_from(wall_clock()).expect("before 2262");
        let hour = 3_600_000_000_000;
        let known = |path: &str, content: &str, since| Known { path: path.into(), node: node(content), since };
        take(
            &core,
            &[
                known("/same", "a", now + hour),
                known("/later", "before", now - hour),
                known("/earlier", "by the API", now + hour),
                known("/ours", "reported", 0),
                known("/gone", "x", 0),
            ],
        );
        let tree = core.tree();
        let changed = |path: &str| diff::is_changed(tree.records.get(path), &core.root.look(path).expect("looked at"));
        assert!(!changed("/same") && !changed("/earlier") && !changed("/gone"));
        assert!(changed("/later") && changed("/ours"));
    }
}
