//! A whole tree comes: compare it with what is known and with the disk, change what no program has changed, keep what
//! one has, and ask the node for contents that the disk lacks.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io::Write,
    sync::Arc,
};

use playhouse_protocol::agent::{AgentFrame, Entry, Hash, Node};
use tokio::sync::mpsc;

use super::{
    apply::same_content,
    core::{Core, Tree},
    diff::{self, Verdict},
    read::Reading,
    record::{Record, Standing},
    spool::copy_of,
    stamp::{Disk, wall_clock},
    temp::Temp,
    wants::{Piece, Wants},
};

/// The most entries a tree may have.
const ENTRIES: usize = 2_000_000;
/// The most notes about files that could not be restored.
const NOTES: usize = 100;
/// How many pieces are written in one go.
const PIECES_AT_ONCE: usize = 64;

/// A piece of wanted content.
#[derive(Debug)]
pub struct Wanted {
    /// Whose.
    pub hash: Hash,
    /// Where in it.
    pub offset: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// It ends the content.
    pub last: bool,
    /// There is none.
    pub failed: bool,
}

/// A manifest as far as it has come.
#[derive(Debug, Default)]
pub struct Incoming {
    version: u64,
    entries: BTreeMap<String, Node>,
}

impl Incoming {
    /// Takes a part.
    pub fn part(&mut self, version: u64, entries: Vec<Entry>, tree: &Tree) {
        if self.version != version {
            self.entries.clear();
            self.version = version;
        }
        for Entry { path, node } in entries {
            if tree.is_ours(&path) && self.entries.len() < ENTRIES {
                self.entries.insert(path, node);
            }
        }
    }
}

/// A file that waits for its content.
#[derive(Debug)]
struct Lacking {
    path: String,
    node: Node,
    disk: Disk,
}

/// What is still to be fetched, and what could not be done.
#[derive(Debug, Default)]
struct Work {
    version: u64,
    lacking: HashMap<Hash, Vec<Lacking>>,
    wants: Wants,
    temps: HashMap<Hash, (Temp, blake3::Hasher)>,
    notes: Vec<String>,
}

/// Applies a whole manifest. `None` if the link ended before its contents had come; then what was done so far is kept
/// and the next manifest goes on from there.
pub async fn apply(core: &Arc<Core>, incoming: Incoming, wanted: &mut mpsc::Receiver<Wanted>) -> Option<Vec<String>> {
    let link = core.link.borrow().clone();
    let outbox = link.outbox?;
    let version = incoming.version;
    let shared = Arc::clone(core);
    // A panic in the comparison leaves the manifest undone; the node sends it again.
    let mut work = tokio::task::spawn_blocking(move || compare(&shared, incoming)).await.ok()?;
    while !work.wants.is_done() {
        let hashes = work.wants.ask();
        if !hashes.is_empty() {
            tokio::select! {
                biased;
                () = core.link_changed(link.generation) => return None,
                sent = outbox.send(AgentFrame::Want { hashes }) => sent.ok()?,
            }
        }
        let mut pieces = Vec::new();
        tokio::select! {
            biased;
            () = core.link_changed(link.generation) => return None,
            count = wanted.recv_many(&mut pieces, PIECES_AT_ONCE) => if count == 0 { return None },
        }
        let shared = Arc::clone(core);
        work = tokio::task::spawn_blocking(move || {
            for piece in pieces {
                work.piece(&shared, piece);
            }
            work
        })
        .await
        .ok()?;
    }
    core.tree().versions.applied(version);
    core.wake.notify_one();
    Some(work.notes)
}

fn compare(core: &Core, incoming: Incoming) -> Work {
    let Incoming { version, entries } = incoming;
    let mut work = Work { version, ..Work::default() };
    let needed: BTreeSet<Hash> = entries
        .values()
        .filter_map(|node| match node {
            Node::File { hash, .. } => Some(*hash),
            Node::Directory | Node::Symlink { .. } => None,
        })
        .collect();
    let gone: Vec<String> = {
        let tree = core.tree();
        let known = tree.records.iter().filter(|(path, record)| {
            record.tree.is_some()
                && !entries.contains_key(*path)
                && !tree.versions.decided(path, version)
                && !tree.versions.decided_below(path, version)
        });
        known.map(|(path, _)| path.to_owned()).rev().collect()
    };
    let mut salvaged: HashMap<Hash, Temp> = HashMap::new();
    for path in gone {
        if let Err(error) = work.gone(core, &path, &needed, &mut salvaged) {
            core.resists(&mut core.tree(), &path, &error);
            work.note(format!("{path} could not be removed: {error}"));
        }
    }
    for (path, node) in entries {
        if let Err(error) = work.entry(core, &path, &node, &mut salvaged) {
            work.fail(core, &path, node, &error.to_string());
        }
    }
    for (hash, files) in &work.lacking {
        if let Some(Node::File { size, .. }) = files.first().map(|file| &file.node) {
            work.wants.add(*hash, *size);
        }
    }
    work
}

impl Work {
    fn note(&mut self, note: String) {
        if self.notes.len() < NOTES {
            self.notes.push(note);
        }
    }

    fn fail(&mut self, core: &Core, path: &str, node: Node, why: &str) {
        let mut tree = core.tree();
        core.set_aside(&mut tree, path, Some(node));
        tree.lacking.add(path);
        drop(tree);
        self.note(format!("{path} could not be restored: {why}"));
    }

    /// The tree no longer has what it had at `path`.
    fn gone(
        &mut self,
        core: &Core,
        path: &str,
        needed: &BTreeSet<Hash>,
        salvaged: &mut HashMap<Hash, Temp>,
    ) -> std::io::Result<()> {
        let mut tree = core.tree();
        let disk = core.root.look(path)?;
        let record = tree.records.get(path);
        match diff::compare(None, record, &disk, disk == Disk::Absent, tree.forced.get(path)) {
            Verdict::Nothing | Verdict::Adopt => {
                tree.records.remove(path);
            }
            Verdict::Keep => keep(&mut tree, path, None),
            Verdict::Write => {
                // A file that moved is not fetched again.
                if let (Disk::File(_), Some(record)) = (disk, record)
                    && let Some(node @ Node::File { hash, .. }) = &record.tree
                    && needed.contains(hash)
                    && !salvaged.contains_key(hash)
                    && is_sure(core, path, record, &disk, node)
                {
                    let hash = *hash;
                    tree.versions.touch(path, self.version);
                    salvaged.insert(hash, core.root.take(path)?);
                    tree.records.remove(path);
                } else {
                    core.remove_one(&mut tree, path, self.version)?;
                }
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        core: &Core,
        path: &str,
        node: &Node,
        salvaged: &mut HashMap<Hash, Temp>,
    ) -> std::io::Result<()> {
        let mut tree = core.tree();
        let is_directory = *node == Node::Directory;
        if tree.versions.decided(path, self.version)
            || (!is_directory && tree.versions.decided_below(path, self.version))
        {
            // A report that was committed later says something else.
            return Ok(());
        }
        let disk = core.root.look(path)?;
        let told = tree.forced.get(path).copied();
        let known = tree.records.get(path).cloned();
        let agreed = known.as_ref().is_some_and(|record| {
            record.tree.as_ref() == Some(node) && record.seen == Some(disk) && record.standing == Standing::Agreed
        });
        if agreed && told.is_none() {
            return Ok(());
        }
        let is_same = diff::may_be_same(Some(node), &disk) && holds(core, path, node);
        match diff::compare(Some(node), known.as_ref(), &disk, is_same, told.as_ref()) {
            Verdict::Nothing => Ok(()),
            Verdict::Adopt => {
                tree.records.set(path, Record::agreed(node.clone(), disk, wall_clock()));
                Ok(())
            }
            Verdict::Keep => {
                keep(&mut tree, path, Some(node.clone()));
                Ok(())
            }
            Verdict::Write => {
                if blocked(core, &tree, path, &disk)? {
                    // A program has put something else in the way: that is kept, and told.
                    keep(&mut tree, path, Some(node.clone()));
                    return Ok(());
                }
                let Node::File { hash, .. } = node else { return core.put(&mut tree, path, node, None, self.version) };
                let has_content = |record: &Record| {
                    same_content(record.tree.as_ref(), node)
                        && record.tree.as_ref().is_some_and(|known| is_sure(core, path, record, &disk, known))
                };
                if matches!(disk, Disk::File(_)) && known.as_ref().is_some_and(has_content) {
                    return core.put(&mut tree, path, node, None, self.version);
                }
                if let Some(temp) = salvaged.get_mut(hash) {
                    let copy = copy_of(core, temp)?;
                    return core.put(&mut tree, path, node, Some(copy), self.version);
                }
                self.lacking.entry(*hash).or_default().push(Lacking {
                    path: path.to_owned(),
                    node: node.clone(),
                    disk,
                });
                Ok(())
            }
        }
    }

    fn piece(&mut self, core: &Core, piece: Wanted) {
        let Wanted { hash, offset, bytes, last, failed } = piece;
        let mut fate = self.wants.piece(&hash, offset, bytes.len() as u64, last, failed);
        if matches!(fate, Piece::Append | Piece::Finish)
            && let Err(error) = self.write(core, &hash, &bytes)
        {
            self.give_up(core, &hash, &error.to_string());
            // The rest of it may still come, and is nobody's.
            self.wants.piece(&hash, 0, 0, false, true);
            fate = Piece::Ignore;
        }
        match fate {
            Piece::Ignore | Piece::Append => {}
            Piece::Fail => self.give_up(core, &hash, "its content could not be read"),
            Piece::Finish => self.finish(core, &hash),
        }
    }

    fn write(&mut self, core: &Core, hash: &Hash, bytes: &[u8]) -> std::io::Result<()> {
        if !self.temps.contains_key(hash) {
            self.temps.insert(*hash, (core.root.temp()?, blake3::Hasher::new()));
        }
        if let Some((temp, hasher)) = self.temps.get_mut(hash) {
            hasher.update(bytes);
            temp.file.write_all(bytes)?;
        }
        Ok(())
    }

    fn give_up(&mut self, core: &Core, hash: &Hash, why: &str) {
        self.temps.remove(hash);
        for Lacking { path, node, .. } in self.lacking.remove(hash).unwrap_or_default() {
            self.fail(core, &path, node, why);
        }
    }

    fn finish(&mut self, core: &Core, hash: &Hash) {
        let Some((mut temp, hasher)) = self.temps.remove(hash) else { return };
        if hasher.finalize().as_bytes() != hash {
            return self.give_up(core, hash, "its content is not what its hash says");
        }
        let mut files = self.lacking.remove(hash).unwrap_or_default();
        let Some(last) = files.pop() else { return };
        for file in files {
            match copy_of(core, &mut temp) {
                Ok(copy) => self.place(core, file, copy),
                Err(error) => self.fail(core, &file.path, file.node, &error.to_string()),
            }
        }
        self.place(core, last, temp);
    }

    fn place(&mut self, core: &Core, file: Lacking, temp: Temp) {
        let mut tree = core.tree();
        if core.root.look(&file.path) != Ok(file.disk) {
            // A program wrote there while the content was on its way.
            keep(&mut tree, &file.path, Some(file.node));
            return;
        }
        let placed = core.put(&mut tree, &file.path, &file.node, Some(temp), self.version);
        drop(tree);
        if let Err(error) = placed {
            self.fail(core, &file.path, file.node, &error.to_string());
        }
    }
}

/// The disk keeps what a program made of `path`; the tree will hear of it.
fn keep(tree: &mut Tree, path: &str, node: Option<Node>) {
    tree.records.set(path, Record::unsettled(node));
    tree.marks.push((path.to_owned(), false));
}

/// Whether the disk certainly has what the record says the tree has.
pub fn is_sure(core: &Core, path: &str, record: &Record, disk: &Disk, known: &Node) -> bool {
    record.seen.as_ref() == Some(disk)
        && record.standing == Standing::Agreed
        && (!record.racy || holds(core, path, known))
}

/// Whether the disk holds exactly this file or link, by its content.
pub fn holds(core: &Core, path: &str, node: &Node) -> bool {
    match node {
        Node::Directory => true,
        Node::Symlink { target } => core.root.read_link(path).is_ok_and(|now| now == target.as_bytes()),
        Node::File { .. } => {
            let content = Reading::open(core, path).and_then(|mut reading| reading.pieces(|_| true));
            content
                .is_ok_and(|content| matches!(node, Node::File { hash, .. } if content.steady && *hash == content.hash))
        }
    }
}

/// Whether something that a program made stands in the way of writing `path`: a parent that is no directory, or a
/// directory that still has something in it.
fn blocked(core: &Core, tree: &Tree, path: &str, disk: &Disk) -> std::io::Result<bool> {
    let mut above = playhouse_protocol::path::parent(path);
    while let Some(parent) = above {
        match core.root.look(parent)? {
            Disk::Directory => break,
            Disk::Absent => {}
            Disk::Symlink(_) | Disk::File(_) | Disk::Other(..) => return Ok(true),
        }
        above = playhouse_protocol::path::parent(parent);
    }
    if *disk != Disk::Directory {
        return Ok(false);
    }
    let mut is_full = false;
    super::root::names(core.root.listing(path)?, |name| {
        is_full |= !tree.settings.generated_folders.iter().any(|folder| folder.as_bytes() == name.to_bytes());
        Ok(())
    })?;
    Ok(is_full)
}
