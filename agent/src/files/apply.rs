//! Making the disk like the tree, one path at a time. The last commit wins: whatever is in the way is replaced.

use std::io;

use playhouse_protocol::{
    agent::{Change, Node},
    path as paths,
};
use rustix::{fs::Mode, io::Errno};

use super::{
    core::{Core, Tree, mode_for},
    manifest::is_sure,
    record::{Record, Standing},
    spool::Spool,
    stamp::{Disk, wall_clock},
    temp::Temp,
};

impl Core {
    /// Applies what a commit changed, in order. A change that cannot be done is told, and asked for again later.
    pub fn push(&self, version: u64, changes: Vec<Change>, spool: &mut Spool) {
        spool.expect(&changes);
        for change in changes {
            match change {
                Change::Put { path, node, content } => {
                    let content = match spool.content(self, &node, content) {
                        Ok(content) => content,
                        Err(error) => {
                            let mut tree = self.tree();
                            tree.lacks(&path, &error);
                            if tree.is_ours(&path) && !tree.versions.decided(&path, version) {
                                tree.versions.touch(&path, version);
                                if self.root.look(&path) == Ok(Disk::Directory) {
                                    // What was below is gone from the tree whether or not its successor can be had.
                                    // What resists is found by the next scan.
                                    let _ = self.root.remove(&path);
                                    tree.records.remove_below(&path);
                                }
                                self.set_aside(&mut tree, &path, Some(node));
                            }
                            continue;
                        }
                    };
                    let done = self.push_put(version, &path, &node, content);
                    let mut tree = self.tree();
                    match done {
                        Ok(()) => tree.lacking.settle(&path),
                        Err(error) if is_race(&error) => {
                            // A program changed the folders at that moment: it has the last word, and it is told.
                            tree.records.set(&path, Record::unsettled(Some(node)));
                            tree.marks.push((path, false));
                        }
                        Err(error) => {
                            self.set_aside(&mut tree, &path, Some(node));
                            tree.lacks(&path, &error);
                        }
                    }
                }
                Change::Remove { path } => {
                    let done = self.push_remove(version, &path);
                    let mut tree = self.tree();
                    match done {
                        Ok(()) => tree.lacking.settle(&path),
                        Err(error) => self.resists(&mut tree, &path, &error),
                    }
                }
                Change::Move { from, to } => {
                    if let Err(error) = self.push_move(version, &from, &to) {
                        let mut tree = self.tree();
                        self.resists(&mut tree, &from, &error);
                        tree.lacks(&to, &error);
                    }
                }
            }
        }
        self.tree().versions.applied(version);
        self.wake.notify_one();
    }

    fn push_put(&self, version: u64, path: &str, node: &Node, content: Option<Temp>) -> io::Result<()> {
        let mut tree = self.tree();
        if !tree.is_ours(path) {
            return Ok(());
        }
        let decided = tree.versions.decided(path, version);
        if *node != Node::Directory && (decided || tree.versions.decided_below(path, version)) {
            // A later report has made something else of it; what that did not speak of was gone in between.
            return self.remove_undecided(&mut tree, path, version);
        }
        if decided {
            return Ok(());
        }
        if self.is_ahead(&tree, path)? {
            tree.records.set(path, Record::unsettled(Some(node.clone())));
            tree.marks.push((path.to_owned(), true));
            return Ok(());
        }
        if self.was_made_meanwhile(&tree, path, Some(node))? {
            tree.records.set(path, Record::unsettled(Some(node.clone())));
            tree.marks.push((path.to_owned(), false));
            return Ok(());
        }
        self.put(&mut tree, path, node, content, version)
    }

    /// Whether a program went on changing `path` after a report of it that was never answered. A push may then be that
    /// very report, come back after the link was lost; the newer state must not be lost to it.
    fn is_ahead(&self, tree: &Tree, path: &str) -> io::Result<bool> {
        match tree.forced.get(path) {
            Some(told) => Ok(self.root.look(path)? != *told),
            None => Ok(false),
        }
    }

    /// Whether this is only tried again, and a program has changed `path` since it failed: its state will be reported.
    fn was_made_meanwhile(&self, tree: &Tree, path: &str, node: Option<&Node>) -> io::Result<bool> {
        let failed = |record: &&Record| record.standing == Standing::Lacking && record.tree.as_ref() == node;
        match tree.records.get(path).filter(failed) {
            Some(record) => Ok(record.seen != Some(self.root.look(path)?)),
            None => Ok(false),
        }
    }

    /// What the tree has no longer is still on the disk, at and below `path`. What a program has changed there since it
    /// was settled is reported.
    pub fn resists(&self, tree: &mut Tree, path: &str, error: &io::Error) {
        if !tree.is_ours(path) {
            return;
        }
        let mut paths: Vec<String> = tree.records.below(path).map(|(below, _)| below.to_owned()).collect();
        paths.push(path.to_owned());
        for path in paths {
            let Some(record) = tree.records.get(&path) else { continue };
            match self.root.look(&path) {
                Ok(Disk::Absent) => {
                    tree.records.remove(&path);
                }
                Ok(disk) => {
                    let is_known = record.tree.as_ref().is_some_and(|known| is_sure(self, &path, record, &disk, known));
                    let is_left = record.tree.is_none() && record.seen == Some(disk);
                    let left = Record::aside(None, disk, Standing::Lacking);
                    tree.records.set(&path, if is_known || is_left { left } else { Record::unsettled(None) });
                }
                // It is compared with what was settled once it can be looked at.
                Err(_) => {}
            }
        }
        tree.lacks(path, error);
    }

    /// Remembers that the tree has something at `path` which the disk could not be given.
    pub fn set_aside(&self, tree: &mut Tree, path: &str, node: Option<Node>) {
        if let (true, Ok(disk)) = (tree.is_ours(path), self.root.look(path)) {
            tree.records.set(path, Record::aside(node, disk, Standing::Lacking));
        }
    }

    /// Makes `path` this, whatever is there. A file without content only gets its mode.
    ///
    /// # Errors
    /// The disk is full or something resists.
    pub fn put(&self, tree: &mut Tree, path: &str, node: &Node, content: Option<Temp>, version: u64) -> io::Result<()> {
        self.make_parents(tree, path, version)?;
        let before = self.root.look(path)?;
        let is_directory = before == Disk::Directory;
        if !(is_directory && *node == Node::Directory) {
            // A directory that is there already says nothing about what lies below it.
            tree.versions.touch(path, version);
        }
        if is_directory && *node != Node::Directory {
            self.root.remove(path)?;
            tree.records.remove_below(path);
        }
        let disk = match (node, content) {
            (Node::Directory, _) => {
                if !is_directory {
                    self.root.remove(path)?;
                    self.make_directory(path)?;
                }
                Disk::Directory
            }
            (Node::Symlink { target }, _) => {
                let same = matches!(before, Disk::Symlink(_))
                    && self.root.read_link(path).is_ok_and(|now| now == target.as_bytes());
                if !same {
                    self.root.place_link(path, target)?;
                }
                self.root.look(path)?
            }
            (Node::File { .. }, Some(temp)) => {
                let mode = match before {
                    Disk::File(stamp) => Some(stamp.mode),
                    Disk::Absent | Disk::Directory | Disk::Symlink(_) | Disk::Other(..) => None,
                };
                temp.place(&self.root, path, mode_for(node, mode))?
            }
            (Node::File { .. }, None) => return self.put_mode(tree, path, node, &before),
        };
        if *node != Node::Directory {
            tree.records.remove_below(path);
        }
        tree.records.set(path, Record::agreed(node.clone(), disk, wall_clock()));
        Ok(())
    }

    fn put_mode(&self, tree: &mut Tree, path: &str, node: &Node, before: &Disk) -> io::Result<()> {
        let known = tree
            .records
            .get(path)
            .is_some_and(|record| record.seen == Some(*before) && same_content(record.tree.as_ref(), node));
        if let Disk::File(stamp) = before {
            self.root.set_mode(path, mode_for(node, Some(stamp.mode)))?;
        }
        if known {
            let disk = self.root.look(path)?;
            tree.records.set(path, Record::agreed(node.clone(), disk, wall_clock()));
        } else {
            // A program has changed the content meanwhile: that is still to be reported.
            tree.records.set(path, Record::unsettled(Some(node.clone())));
            tree.marks.push((path.to_owned(), false));
        }
        Ok(())
    }

    fn make_directory(&self, path: &str) -> io::Result<()> {
        let (parent, name) = self.root.parent(path)?;
        match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn make_parents(&self, tree: &mut Tree, path: &str, version: u64) -> io::Result<()> {
        let Some(parent) = paths::parent(path) else { return Ok(()) };
        let is_known = |tree: &Tree, above: &str| {
            tree.records.get(above).is_some_and(|record| record.tree == Some(Node::Directory))
        };
        if is_known(tree, parent) && self.root.directory(parent).is_ok() {
            return Ok(());
        }
        for (at, _) in path.match_indices('/').skip(1) {
            let above = &path[..at];
            match self.root.look(above)? {
                Disk::Directory => {
                    // A program made it, and the tree has it now too: if it goes away again, that is to be told.
                    if !is_known(tree, above) && !tree.versions.decided(above, version) {
                        tree.records.set(above, Record::agreed(Node::Directory, Disk::Directory, 0));
                    }
                    continue;
                }
                Disk::Absent => {}
                Disk::Symlink(_) | Disk::File(_) | Disk::Other(..) => self.root.remove(above)?,
            }
            tree.versions.touch(above, version);
            self.make_directory(above)?;
            tree.records.set(above, Record::agreed(Node::Directory, Disk::Directory, 0));
        }
        Ok(())
    }

    fn push_remove(&self, version: u64, path: &str) -> io::Result<()> {
        let mut tree = self.tree();
        if !tree.is_ours(path) {
            return Ok(());
        }
        if self.is_ahead(&tree, path)? {
            tree.marks.push((path.to_owned(), true));
            return Ok(());
        }
        if self.was_made_meanwhile(&tree, path, None)? {
            tree.marks.push((path.to_owned(), false));
            return Ok(());
        }
        if tree.versions.decided(path, version) || tree.versions.decided_below(path, version) {
            // Something here was committed after this removal and stays; the rest goes one by one.
            return self.remove_undecided(&mut tree, path, version);
        }
        tree.versions.touch(path, version);
        self.root.remove(path)?;
        tree.records.remove_below(path);
        tree.records.remove(path);
        Ok(())
    }

    fn remove_undecided(&self, tree: &mut Tree, path: &str, version: u64) -> io::Result<()> {
        for path in self.undecided(tree, path, version).iter().rev() {
            if !tree.versions.decided_below(path, version) {
                self.remove_one(tree, path, version)?;
            }
        }
        Ok(())
    }

    /// The paths at and below `path` that no later report has decided, in order.
    fn undecided(&self, tree: &Tree, path: &str, version: u64) -> Vec<String> {
        let own = tree.records.get(path).map(|_| path);
        let all = own.into_iter().chain(tree.records.below(path).map(|(path, _)| path));
        all.filter(|path| !tree.versions.decided(path, version)).map(str::to_owned).collect()
    }

    /// Removes one path; a directory only if nothing but generated folders is left in it.
    ///
    /// # Errors
    /// Something resists.
    pub fn remove_one(&self, tree: &mut Tree, path: &str, version: u64) -> io::Result<()> {
        tree.versions.touch(path, version);
        if self.root.look(path)? == Disk::Directory && !self.is_empty_but_for_generated(tree, path)? {
            // What a program put there meanwhile keeps the directory, which is then its own.
            tree.records.set(path, Record::unsettled(None));
            tree.marks.push((path.to_owned(), false));
            return Ok(());
        }
        self.root.remove(path)?;
        tree.records.remove(path);
        Ok(())
    }

    fn is_empty_but_for_generated(&self, tree: &Tree, path: &str) -> io::Result<bool> {
        let mut only_generated = true;
        super::root::names(self.root.listing(path)?, |name| {
            only_generated &= tree.settings.generated_folders.iter().any(|folder| folder.as_bytes() == name.to_bytes());
            Ok(())
        })?;
        Ok(only_generated)
    }

    fn push_move(&self, version: u64, from: &str, to: &str) -> io::Result<()> {
        let mut tree = self.tree();
        if !tree.is_ours(from) || !tree.is_ours(to) || paths::is_within(to, from) {
            return Ok(());
        }
        let newer = |path| tree.versions.decided(path, version) || tree.versions.decided_below(path, version);
        if newer(from) || newer(to) {
            for path in self.undecided(&tree, from, version) {
                let target = format!("{to}{}", &path[from.len()..]);
                if tree.versions.decided(&target, version) {
                    self.remove_one(&mut tree, &path, version)?;
                } else if tree.records.get(&path).is_some_and(|record| record.tree == Some(Node::Directory)) {
                    self.put(&mut tree, &target, &Node::Directory, None, version)?;
                } else {
                    self.move_whole(&mut tree, &path, &target, version)?;
                }
            }
            // In the tree the move came first: what those reports removed or replaced here went on there, under its new
            // name.
            let spoken: Vec<String> = tree.versions.decided_within(from, version).map(str::to_owned).collect();
            for path in spoken.iter().map(String::as_str).chain([from]) {
                let target = format!("{to}{}", &path[from.len()..]);
                if !tree.versions.decided(&target, version) {
                    tree.marks.push((target, true));
                }
            }
            return Ok(());
        }
        self.move_whole(&mut tree, from, to, version)
    }

    fn move_whole(&self, tree: &mut Tree, from: &str, to: &str, version: u64) -> io::Result<()> {
        tree.versions.touch(from, version);
        tree.versions.touch(to, version);
        self.make_parents(tree, to, version)?;
        let before = self.root.look(from)?;
        if before != Disk::Absent {
            if self.root.look(to)? != Disk::Absent {
                self.root.remove(to)?;
            }
            let (source, source_name) = self.root.parent(from)?;
            let (target, target_name) = self.root.parent(to)?;
            rustix::fs::renameat(&source, source_name, &target, target_name)?;
        }
        tree.records.remove_below(to);
        let own = tree.records.remove(from).map(|record| (from.to_owned(), record));
        let mut moved = tree.records.remove_below(from);
        moved.extend(own);
        for (path, mut record) in moved {
            let target = format!("{to}{}", &path[from.len()..]);
            // A rename changes the times of what is renamed, not of what lies below it.
            if path == from && record.seen == Some(before) && before != Disk::Absent {
                record.seen = Some(self.root.look(to)?);
                record.racy = true;
            }
            match record.standing {
                Standing::Agreed => {}
                Standing::LeftOut => record = Record::unsettled(record.tree),
                Standing::Lacking => tree.lacking.moved(&path, &target),
            }
            // What a program changed under the old name is found under the new one.
            tree.marks.push((target.clone(), false));
            tree.records.set(&target, record);
        }
        Ok(())
    }
}

/// Whether an error comes from a program that moved things between our steps.
fn is_race(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(|error| {
        super::root::is_absent(error) || matches!(error, Errno::EXIST | Errno::ISDIR | Errno::NOTEMPTY)
    })
}

/// Whether two nodes are files with the same bytes.
#[must_use]
pub fn same_content(a: Option<&Node>, b: &Node) -> bool {
    matches!((a, b), (Some(Node::File { hash: a, .. }), Node::File { hash: b, .. }) if a == b)
}
