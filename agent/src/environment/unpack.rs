//! Unpacking into a fresh sandbox. The pack was made in a sandbox whose programs may have meant harm: nothing in it may
//! reach beyond the workspace's generated folders and the home directory, and it may not fill the memory.

use std::{
    borrow::Cow,
    io::{self, Read},
    os::fd::OwnedFd,
    path::Path,
};

use playhouse_protocol::agent::Settings;
use rustix::{
    fs::{AtFlags, Mode, OFlags, Timespec, Timestamps},
    io::Errno,
};
use tar::EntryType;
use tokio::{sync::mpsc, task::JoinHandle};

use super::{HOME, MOST_EXPANSION, WORKSPACE, units::Roots};
use crate::files::root::{Root, chmod, is_absent};

/// The most notes.
const NOTES: usize = 50;
/// How many pieces may wait for the disk.
const PIECES: usize = 8;
/// A block of an archive, in bytes: each entry has one as its header.
const BLOCK_BYTES: u64 = 512;
/// A name that did not fit into a header, in bytes. No kernel takes as long a one.
const NAME_BYTES: u64 = 64 * 1024;

enum Piece {
    Bytes(Vec<u8>),
    End,
}

/// A pack that is being unpacked while it comes.
#[derive(Debug)]
pub struct Unpacking {
    pieces: mpsc::Sender<Piece>,
    offset: u64,
    ended: bool,
    task: JoinHandle<Vec<String>>,
}

impl std::fmt::Debug for Piece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Piece")
    }
}

impl Unpacking {
    /// Begins. Must be called within a tokio runtime.
    #[must_use]
    pub fn start(workspace: &Path, home: &Path, settings: &Settings) -> Self {
        let (pieces, rest) = mpsc::channel(PIECES);
        let (workspace, home, settings) = (workspace.to_owned(), home.to_owned(), settings.clone());
        let task = tokio::task::spawn_blocking(move || {
            let source = Source { pieces: rest, bytes: Vec::new(), at: 0, ended: false };
            match Roots::open(&workspace, &home) {
                Ok(roots) => unpack(source, &roots, &settings),
                Err(error) => vec![format!("the environment could not be restored: {error}")],
            }
        });
        Self { pieces, offset: 0, ended: false, task }
    }

    /// Takes the next piece. After a gap nothing more is taken.
    pub async fn piece(&mut self, offset: u64, bytes: Vec<u8>) {
        if self.ended || offset != self.offset {
            self.ended = true;
            return;
        }
        self.offset += bytes.len() as u64;
        // A task that has ended has said why in its notes.
        let _ = self.pieces.send(Piece::Bytes(bytes)).await;
    }

    /// The pack is whole: waits until it is unpacked. Returns what could not be restored, in words.
    pub async fn finish(self) -> Vec<String> {
        if !self.ended {
            // As above.
            let _ = self.pieces.send(Piece::End).await;
        }
        drop(self.pieces);
        self.task.await.unwrap_or_else(|_| vec!["the environment could not be restored".to_owned()])
    }

    /// The pack was cut off: waits until nothing more is written.
    pub async fn abandon(self) {
        drop(self.pieces);
        // Its notes are about a pack that comes again.
        let _ = self.task.await;
    }
}

/// The pieces as one stream, whose end is only an end if it was said.
struct Source {
    pieces: mpsc::Receiver<Piece>,
    bytes: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.bytes.len() {
            if self.ended {
                return Ok(0);
            }
            match self.pieces.blocking_recv() {
                Some(Piece::Bytes(bytes)) => (self.bytes, self.at) = (bytes, 0),
                Some(Piece::End) => self.ended = true,
                None => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it was cut off")),
            }
        }
        let n = buffer.len().min(self.bytes.len() - self.at);
        buffer[..n].copy_from_slice(&self.bytes[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

/// Unpacks everything that may be, and says in words what was not.
pub(super) fn unpack(source: impl Read, roots: &Roots, settings: &Settings) -> Vec<String> {
    let mut unpacker = Unpacker {
        roots,
        settings,
        left: settings.max_environment_bytes.saturating_mul(MOST_EXPANSION),
        directories: Vec::new(),
        parent: None,
        notes: Vec::new(),
    };
    if let Err(error) = unpacker.all(source) {
        unpacker.note(format!("the environment is only partly restored: {error}"));
    }
    unpacker.finish_directories();
    unpacker.notes
}

struct Unpacker<'a> {
    roots: &'a Roots,
    settings: &'a Settings,
    left: u64,
    directories: Vec<(bool, Vec<u8>, u32, i64)>,
    parent: Option<(bool, Vec<u8>, OwnedFd)>,
    notes: Vec<String>,
}

impl Unpacker<'_> {
    fn note(&mut self, note: String) {
        if self.notes.len() < NOTES {
            self.notes.push(note);
        }
    }

    fn all(&mut self, source: impl Read) -> io::Result<()> {
        let mut archive = tar::Archive::new(zstd::stream::read::Decoder::new(source)?);
        // Each unit is an archive of its own, with its own end.
        archive.set_ignore_zeros(true);
        let (mut long_path, mut long_target) = (None, None);
        // Raw, since the library would read a long name of any length into the memory before it can be counted.
        for entry in archive.entries()?.raw(true) {
            let mut entry = entry?;
            // Headers cost, too: a pack of a billion empty files is no environment.
            let cost = entry.size().saturating_add(BLOCK_BYTES);
            self.left = self.left.checked_sub(cost).ok_or_else(|| io::Error::other("it is too large"))?;
            let kind = entry.header().entry_type();
            if kind.is_gnu_longname() {
                long_path = Some(long_name(&mut entry)?);
                continue;
            }
            if kind.is_gnu_longlink() {
                long_target = Some(long_name(&mut entry)?);
                continue;
            }
            let path = long_path.take().unwrap_or_else(|| entry.path_bytes().into_owned());
            let target = long_target.take().or_else(|| entry.link_name_bytes().map(Cow::into_owned));
            if let Err(error) = self.entry(&mut entry, &path, target.as_deref()) {
                if error.kind() == io::ErrorKind::StorageFull {
                    return Err(error);
                }
                self.note(format!("{} could not be restored: {error}", String::from_utf8_lossy(&path)));
            }
        }
        Ok(())
    }

    /// Where an archive's path leads: whether into the home directory, and where there.
    fn place<'p>(&self, path: &'p [u8]) -> io::Result<(bool, &'p [u8])> {
        let refuse = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, why.to_owned()));
        let path = path.strip_suffix(b"/").unwrap_or(path);
        let Some(slash) = path.iter().position(|byte| *byte == b'/') else { return refuse("it is outside") };
        let (top, rest) = (&path[..slash], &path[slash + 1..]);
        if rest.split(|byte| *byte == b'/').any(|name| matches!(name, b"" | b"." | b"..") || name.contains(&0)) {
            return refuse("its path is not in normal form");
        }
        if top == HOME.as_bytes() {
            return Ok((true, rest));
        }
        let generated = |name: &[u8]| self.settings.generated_folders.iter().any(|folder| folder.as_bytes() == name);
        if top == WORKSPACE.as_bytes() && rest.split(|byte| *byte == b'/').any(generated) {
            return Ok((false, rest));
        }
        refuse("it does not belong to an environment")
    }

    fn entry(&mut self, entry: &mut tar::Entry<'_, impl Read>, path: &[u8], target: Option<&[u8]>) -> io::Result<()> {
        let target = || target.ok_or_else(|| io::Error::other("it names nothing"));
        let (in_home, path) = self.place(path)?;
        let kind = entry.header().entry_type();
        let mode = entry.header().mode()? & 0o777;
        let mtime = i64::try_from(entry.header().mtime()?).unwrap_or(0);
        let name_at = path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
        let name = &path[name_at..];
        match kind {
            EntryType::Directory => {
                self.directory(in_home, path)?;
                self.directories.push((in_home, path.to_vec(), mode, mtime));
            }
            EntryType::Regular => {
                let parent = self.parent(in_home, path)?;
                clear(parent, name)?;
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fd = rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?;
                let mut file = std::fs::File::from(fd);
                io::copy(entry, &mut file)?;
                rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
                rustix::fs::futimens(&file, &times(mtime))?;
            }
            EntryType::Symlink => {
                let target = target()?;
                let parent = self.parent(in_home, path)?;
                clear(parent, name)?;
                rustix::fs::symlinkat(target, parent, name)?;
                rustix::fs::utimensat(parent, name, &times(mtime), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            EntryType::Link => {
                let (target_in_home, target) = self.place(target()?)?;
                let (target_parent, target_name) = self.roots.of(target_in_home).parent(target)?;
                let parent = self.parent(in_home, path)?;
                clear(parent, name)?;
                rustix::fs::linkat(&target_parent, target_name, parent, name, AtFlags::empty())?;
            }
            // No pack of ours has any other.
            _ => {}
        }
        Ok(())
    }

    /// The directory that holds `path`, made if need be.
    fn parent(&mut self, in_home: bool, path: &[u8]) -> io::Result<&OwnedFd> {
        let parent = path.iter().rposition(|byte| *byte == b'/').map_or(&path[..0], |at| &path[..at]);
        let known = self.parent.as_ref().is_some_and(|(home, at, _)| *home == in_home && at == parent);
        if !known {
            let directory = self.directory(in_home, parent)?;
            self.parent = Some((in_home, parent.to_vec(), directory));
        }
        self.parent.as_ref().map(|(.., directory)| directory).ok_or_else(|| io::Error::from(Errno::NOENT))
    }

    fn directory(&self, in_home: bool, path: &[u8]) -> io::Result<OwnedFd> {
        let root: &Root = self.roots.of(in_home);
        match root.directory(path) {
            Err(error) if error == Errno::NOENT => {}
            other => return Ok(other?),
        }
        let mut ends: Vec<usize> =
            path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at).collect();
        ends.push(path.len());
        for end in ends {
            let (parent, name) = root.parent(&path[..end])?;
            match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(root.directory(path)?)
    }

    /// Directories get their modes and times last: a read-only one could not be filled, and filling changes the time.
    fn finish_directories(&mut self) {
        self.parent = None;
        for (in_home, path, mode, mtime) in std::mem::take(&mut self.directories).into_iter().rev() {
            let Ok(directory) = self.roots.of(in_home).listing(&path) else { continue };
            let done = rustix::fs::futimens(&directory, &times(mtime)).and_then(|()| chmod(&directory, mode));
            if let Err(error) = done {
                self.note(format!("{}: {error}", String::from_utf8_lossy(&path)));
            }
        }
    }
}

/// The name that an entry holds for the one behind it.
fn long_name(entry: &mut tar::Entry<'_, impl Read>) -> io::Result<Vec<u8>> {
    if entry.size() > NAME_BYTES {
        return Err(io::Error::other("a name in it is too long"));
    }
    let mut name = Vec::new();
    entry.read_to_end(&mut name)?;
    if name.last() == Some(&0) {
        name.pop();
    }
    Ok(name)
}

/// Makes room for a file or link: what an earlier, cut-off attempt left there goes, a directory stays in the way.
fn clear(parent: &OwnedFd, name: &[u8]) -> io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) => Ok(()),
        Err(error) if is_absent(error) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn times(mtime: i64) -> Timestamps {
    let time = Timespec { tv_sec: mtime, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}
