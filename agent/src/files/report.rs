//! Making a report of paths that are due: looking, reading, and deciding what the tree must be told.

use std::{collections::HashMap, io, mem::discriminant};

use playhouse_protocol::{
    agent::{Change, Content, INLINE_BYTES, Node},
    path as paths,
};

use super::{
    apply::same_content,
    core::{Core, Tree},
    pending::Due,
    read::{ReadError, Reading},
    record::{Record, Standing},
    stamp::{Disk, Stamp},
    upload::Uploaded,
};

/// The most a report may weigh, in bytes. A frame may have twice that.
pub const REPORT_BYTES: usize = 480 * 1024;
/// After so many attempts a file that never rests is sent as it was read: late and torn is better than never, and it
/// is looked at again.
pub const PATIENT_TRIES: u8 = 3;

/// One change of a report, and what is settled once it is committed.
#[derive(Debug)]
pub struct Told {
    /// Where.
    pub path: String,
    /// The record it will have; none where the tree and the disk have nothing.
    pub record: Option<Record>,
    /// Bytes of content.
    pub bytes: u64,
}

/// A report in the making.
#[derive(Debug, Default)]
pub struct Built {
    /// Its changes, in the order in which they were seen.
    pub changes: Vec<Change>,
    /// One for each change.
    pub told: Vec<Told>,
    /// What is left out.
    pub left_out: Vec<(String, String)>,
    /// Too large to travel inside: to be uploaded first. With their sizes.
    pub large: Vec<(Due, u64)>,
    /// Changed while they were read.
    pub retry: Vec<Due>,
    /// Not reached: the report is full.
    pub rest: Vec<Due>,
    /// Sent as it was read while it was written: to be looked at again.
    pub again: Vec<String>,
    /// Uploads that came to nothing, since their file is another by now.
    pub void: Vec<u64>,
    weight: usize,
    /// The paths by their files' inode numbers, once a file with several names is met.
    names: Option<HashMap<u64, Vec<String>>>,
    /// The same of those files only that were seen to have several names.
    linked: Option<HashMap<u64, Vec<String>>>,
}

/// Looks at everything that was uploaded and everything that is due.
#[must_use]
pub fn build(core: &Core, due: Vec<Due>, uploaded: Vec<Uploaded>) -> Built {
    let mut built = Built::default();
    // Names that share a file are looked at in the next report.
    for upload in uploaded {
        built.upload(core, upload);
    }
    for item in due {
        if built.weight >= REPORT_BYTES {
            built.rest.push(item);
        } else if let Some(stamp) = built.look(core, &item) {
            if stamp.size > INLINE_BYTES as u64 {
                built.large.push((item, stamp.size));
            } else if built.weight > 0 && built.weight + weight(&item.path, stamp.size) > REPORT_BYTES {
                built.weight = REPORT_BYTES;
                built.rest.push(item);
            } else {
                built.read(core, item);
            }
        }
    }
    (built.names, built.linked) = (None, None);
    built
}

/// The paths of the files whose stamps are so, by their inode numbers.
fn names(tree: &Tree, which: impl Fn(&Stamp) -> bool) -> HashMap<u64, Vec<String>> {
    let mut names: HashMap<u64, Vec<String>> = HashMap::new();
    for (path, record) in tree.records.iter() {
        if let Some(Disk::File(stamp)) = record.seen.filter(|seen| matches!(seen, Disk::File(stamp) if which(stamp))) {
            names.entry(stamp.ino).or_default().push(path.to_owned());
        }
    }
    names
}

/// Roughly what a change weighs in a frame.
fn weight(path: &str, content: u64) -> usize {
    path.len() + 64 + usize::try_from(content).unwrap_or(usize::MAX / 4)
}

impl Built {
    /// Drops the changes for which `stale` holds, since a push has been there meanwhile, and returns their paths.
    pub fn drop_stale(&mut self, stale: impl Fn(&str) -> bool) -> Vec<String> {
        let keep: Vec<bool> = self.told.iter().map(|told| !stale(&told.path)).collect();
        let stale = self.told.iter().zip(&keep).filter(|(_, keep)| !**keep).map(|(told, _)| told.path.clone());
        let stale: Vec<String> = stale.collect();
        let mut kept = keep.iter();
        self.changes.retain(|change| {
            let keep = kept.next().copied().unwrap_or(true);
            if let (false, Change::Put { content: Some(Content::Transfer(transfer)), .. }) = (keep, change) {
                self.void.push(*transfer);
            }
            keep
        });
        let mut kept = keep.iter();
        self.told.retain(|_| kept.next().copied().unwrap_or(true));
        stale
    }

    fn upload(&mut self, core: &Core, upload: Uploaded) {
        let Uploaded { due, transfer, content, stamp, at } = upload;
        let now = core.root.look(&due.path);
        if content.steady && now != Ok(Disk::File(stamp)) {
            self.void.extend(transfer);
            self.retry.push(due);
            return;
        }
        let node = content.node(&stamp);
        let record = content.record(&node, stamp, at);
        {
            let mut tree = core.tree();
            if !tree.is_ours(&due.path) {
                self.void.extend(transfer);
                return;
            }
            self.replace_kind(&mut tree, &due.path, &node);
        }
        if !content.steady {
            self.again.push(due.path.clone());
        }
        self.put(due.path, node, transfer.map(Content::Transfer), record, content.size);
    }

    /// Settles what needs no reading; returns the stamp of a file that does.
    fn look(&mut self, core: &Core, due: &Due) -> Option<Stamp> {
        let path = due.path.as_str();
        let mut tree = core.tree();
        if !tree.is_ours(path) {
            return None;
        }
        let disk = match core.root.look(path) {
            Ok(disk) => disk,
            Err(error) => {
                self.leave_out(path, format!("unreadable: {error}"));
                return None;
            }
        };
        if let Disk::File(stamp) = disk
            && stamp.linked
        {
            self.mark_names(&mut tree, path, stamp);
        }
        if let Some(Disk::File(gone)) = tree.records.get(path).and_then(|record| record.seen)
            && !matches!(disk, Disk::File(stamp) if stamp.ino == gone.ino)
        {
            // What was written to that file before it lost this name shows under its others.
            self.mark_linked(&mut tree, path, gone.ino);
        }
        let record = tree.records.get(path);
        let settled = match record {
            Some(record) => record.seen == Some(disk) && !(due.wrote && record.racy),
            None => disk == Disk::Absent,
        };
        if settled && !due.forced {
            return None;
        }
        let known = record.and_then(|record| record.tree.clone());
        match disk {
            Disk::Absent if known.is_some() || due.forced => self.remove(path, None),
            Disk::Absent => {
                tree.records.remove(path);
            }
            Disk::Directory => self.put_plain(&mut tree, due, Node::Directory, disk),
            Disk::Symlink(_) => match core.root.read_link(path).map(String::from_utf8) {
                Ok(Ok(target)) => self.put_plain(&mut tree, due, Node::Symlink { target }, disk),
                Ok(Err(_)) => self.exclude(&mut tree, path, disk, "not_utf8"),
                // Replaced meanwhile: an event follows.
                Err(_) => {}
            },
            Disk::File(stamp) if stamp.size > tree.settings.max_file_bytes => {
                // The tree keeps the smaller state that it has: better old than nothing.
                tree.records.set(path, Record::aside(known, disk, Standing::LeftOut));
                self.leave_out(path, "too_large".to_owned());
            }
            Disk::File(stamp) => return Some(stamp),
            Disk::Other(kind, _) => self.exclude(&mut tree, path, disk, kind),
        }
        None
    }

    /// A file with several names has changed under one of them: no event speaks of the others.
    fn mark_names(&mut self, tree: &mut Tree, path: &str, stamp: Stamp) {
        let names = self.names.get_or_insert_with(|| names(tree, |_| true));
        for other in names.get(&stamp.ino).into_iter().flatten().filter(|other| *other != path) {
            if tree.records.get(other).is_some_and(|record| record.racy || record.seen != Some(Disk::File(stamp))) {
                tree.marks.push((other.clone(), false));
            }
        }
    }

    /// A file has lost this name: the ones that were seen to be several may have another content.
    fn mark_linked(&mut self, tree: &mut Tree, path: &str, ino: u64) {
        let linked = self.linked.get_or_insert_with(|| names(tree, |stamp| stamp.linked));
        let others = linked.get(&ino).into_iter().flatten().filter(|other| *other != path);
        tree.marks.extend(others.map(|other| (other.clone(), false)));
    }

    fn put_plain(&mut self, tree: &mut Tree, due: &Due, node: Node, disk: Disk) {
        let record = Record::agreed(node.clone(), disk, 0);
        let known = tree.records.get(&due.path).and_then(|record| record.tree.as_ref());
        if known == Some(&node) && !due.forced {
            tree.records.set(&due.path, record);
        } else {
            self.replace_kind(tree, &due.path, &node);
            self.put(due.path.clone(), node, None, record, 0);
        }
    }

    /// What the tree cannot hold has come in the place of what it has.
    fn exclude(&mut self, tree: &mut Tree, path: &str, disk: Disk, why: &str) {
        self.leave_out(path, why.to_owned());
        let record = Record::aside(None, disk, Standing::LeftOut);
        if tree.records.get(path).is_some_and(|record| record.tree.is_some()) {
            self.remove(path, Some(record));
        } else {
            tree.records.set(path, record);
        }
    }

    /// Names what is left out.
    pub fn leave_out(&mut self, path: &str, why: String) {
        self.weight += weight(path, 0) + why.len();
        self.left_out.push((path.to_owned(), why));
    }

    fn remove(&mut self, path: &str, record: Option<Record>) {
        // What is below a removed directory goes with it.
        let covered =
            matches!(self.changes.last(), Some(Change::Remove { path: above }) if paths::is_within(path, above));
        if !covered || record.is_some() {
            self.weight += weight(path, 0);
            self.changes.push(Change::Remove { path: path.to_owned() });
            self.told.push(Told { path: path.to_owned(), record, bytes: 0 });
        }
    }

    /// Something of another kind is in the tree at this path: it goes first, with all below it.
    fn replace_kind(&mut self, tree: &mut Tree, path: &str, node: &Node) {
        let known = tree.records.get(path).and_then(|record| record.tree.as_ref());
        if known.is_some_and(|known| discriminant(known) != discriminant(node)) {
            self.remove(path, None);
        }
    }

    fn put(&mut self, path: String, node: Node, content: Option<Content>, record: Record, bytes: u64) {
        self.weight += weight(&path, if matches!(content, Some(Content::Inline(_))) { bytes } else { 0 });
        self.changes.push(Change::Put { path: path.clone(), node, content });
        self.told.push(Told { path, record: Some(record), bytes });
    }

    fn read(&mut self, core: &Core, due: Due) {
        let mut bytes = Vec::new();
        let mut read = || {
            let mut reading = Reading::open(core, &due.path)?;
            if reading.stamp.size > INLINE_BYTES as u64 {
                // It grew since the look.
                return Err(ReadError::Gone);
            }
            let content = reading.pieces(|piece| {
                bytes.extend_from_slice(piece);
                true
            })?;
            Ok((reading.stamp, reading.at, content))
        };
        let (stamp, at, content) = match read() {
            Ok(read) => read,
            Err(ReadError::Gone | ReadError::Stopped) => return self.retry.push(due),
            Err(ReadError::Failed(error)) => return self.unreadable(core, &due.path, &error),
        };
        if !content.steady {
            if due.tries < PATIENT_TRIES {
                return self.retry.push(due);
            }
            self.again.push(due.path.clone());
        }
        let node = content.node(&stamp);
        let record = content.record(&node, stamp, at);
        let mut tree = core.tree();
        let known = tree.records.get(&due.path).and_then(|record| record.tree.as_ref());
        if due.forced || !same_content(known, &node) {
            self.replace_kind(&mut tree, &due.path, &node);
            drop(tree);
            self.put(due.path, node, Some(Content::Inline(bytes)), record, content.size);
        } else if known == Some(&node) {
            tree.records.set(&due.path, record);
        } else {
            drop(tree);
            self.put(due.path, node, None, record, 0);
        }
    }

    /// A file whose content cannot be had is left out until it changes.
    pub fn unreadable(&mut self, core: &Core, path: &str, error: &io::Error) {
        let mut tree = core.tree();
        if let Ok(disk) = core.root.look(path) {
            let known = tree.records.get(path).and_then(|record| record.tree.clone());
            tree.records.set(path, Record::aside(known, disk, Standing::LeftOut));
        }
        drop(tree);
        self.leave_out(path, format!("unreadable: {error}"));
    }
}
