//! Packing: walks each unit through descriptors and streams it to the node, as fast as the link takes it.

use std::{
    collections::HashMap,
    ffi::OsStr,
    io::{self, Read, Write},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use anyhow::{Context, bail};
use playhouse_protocol::agent::{AgentFrame, PIECE_BYTES, Settings};
use rustix::fs::{AtFlags, FileType, Stat};
use tar::{EntryType, Header};

use super::{
    MOST_EXPANSION,
    units::{Kind, Roots, Unit, join, leave_out},
};
use crate::files::{
    Outbox,
    root::{is_absent, names, open_file_at},
};

/// Fast, and already half the size.
const LEVEL: i32 = 2;
/// The most left-out things that are named.
const NAMED: usize = 500;

/// How packing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packed {
    /// All of it was sent.
    Whole,
    /// The link ended.
    Stopped,
}

/// Packs the environment and sends it.
///
/// # Errors
/// Something cannot be read or changes meanwhile; what was sent is then void.
pub fn pack(workspace: &Path, home: &Path, settings: &Settings, tag: u64, outbox: &Outbox) -> anyhow::Result<Packed> {
    let roots = Roots::open(workspace, home).context("opening the workspace and the home directory")?;
    let mut units = roots.units(settings).context("looking for what to pack")?;
    let most = settings.max_environment_bytes;
    let mut left_out: Vec<(String, String)> = Vec::new();
    for place in too_large(&roots, &units, most, outbox)? {
        let name = String::from_utf8_lossy(&units[place].name()).into_owned();
        left_out.push((name, "environment_too_large".to_owned()));
        units[place].path = b"\0".to_vec();
    }
    units.retain(|unit| unit.path != b"\0");
    let mut pieces = Pieces { outbox, tag, offset: 0, buffer: Vec::with_capacity(PIECE_BYTES) };
    let mut links = HashMap::new();
    for unit in &units {
        if let Err(error) = write_unit(&roots, unit, &mut pieces, &mut links, &mut left_out) {
            return if outbox.is_closed() { Ok(Packed::Stopped) } else { Err(error) };
        }
        if pieces.offset + pieces.buffer.len() as u64 > most {
            bail!("the environment has grown beyond {most} bytes while it was packed");
        }
    }
    left_out.truncate(NAMED);
    Ok(if pieces.finish(left_out) { Packed::Whole } else { Packed::Stopped })
}

/// The places of the units that are left out. Sizes are first estimated from the files' lengths; only where these are
/// too large is everything packed once for its size alone.
fn too_large(roots: &Roots, units: &[Unit], most: u64, outbox: &Outbox) -> anyhow::Result<Vec<usize>> {
    let mut plain = Vec::new();
    for unit in units {
        let mut size = 4096u64;
        walk(roots, unit, |_, _, _, stat| {
            let length = if FileType::from_raw_mode(stat.st_mode).is_file() { stat.st_size } else { 0 };
            // A header of 512 bytes, maybe two more blocks for a long name, and padding.
            size = size.saturating_add(u64::try_from(length).unwrap_or(0)).saturating_add(2048);
            Ok(())
        })?;
        plain.push(size);
    }
    let total = plain.iter().fold(0u64, |total, size| total.saturating_add(*size));
    if total.saturating_add(total / 100) <= most {
        return Ok(Vec::new());
    }
    let bomb = most.saturating_mul(MOST_EXPANSION) / 2;
    let mut sizes: Vec<(Kind, u64)> = Vec::new();
    for (unit, plain) in units.iter().zip(plain) {
        if outbox.is_closed() {
            break;
        }
        let size = if plain > bomb {
            u64::MAX
        } else {
            let mut count = Count(0);
            write_unit(roots, unit, &mut count, &mut HashMap::new(), &mut Vec::new())?;
            count.0
        };
        sizes.push((unit.kind, size));
    }
    // Those that no pack can hold go whatever their kind; the others are chosen among themselves.
    let mut out: Vec<usize> = (0..sizes.len()).filter(|&place| sizes[place].1 == u64::MAX).collect();
    out.iter().for_each(|&place| sizes[place].1 = 0);
    out.extend(leave_out(&sizes, most).into_iter().filter(|&place| sizes[place].1 > 0));
    Ok(out)
}

/// Calls `each` with the directory, the name, the path in the unit's root and the stat of everything in a unit,
/// directories before what is in them.
fn walk(
    roots: &Roots,
    unit: &Unit,
    mut each: impl FnMut(&rustix::fd::OwnedFd, &[u8], &[u8], &Stat) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let root = roots.of(unit.in_home);
    let mut queue: Vec<Vec<u8>> = Vec::new();
    if unit.kind == Kind::Loose {
        let directory = root.listing("")?;
        let mut loose = Vec::new();
        names(&directory, |name| {
            loose.push(name.to_bytes().to_vec());
            Ok(())
        })?;
        loose.sort();
        for name in loose {
            if let Ok(stat) = rustix::fs::statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW)
                && !FileType::from_raw_mode(stat.st_mode).is_dir()
            {
                each(&directory, &name, &name, &stat)?;
            }
        }
        return Ok(());
    }
    let (parent, name) = root.parent(&unit.path)?;
    let stat = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    each(&parent, name, &unit.path, &stat)?;
    if FileType::from_raw_mode(stat.st_mode).is_dir() {
        queue.push(unit.path.clone());
    }
    while let Some(path) = queue.pop() {
        // A directory that may not be read was named when it was met.
        let Ok(directory) = root.listing(&path) else { continue };
        let mut children = Vec::new();
        names(&directory, |name| {
            children.push(name.to_bytes().to_vec());
            Ok(())
        })
        .with_context(|| format!("reading {}", String::from_utf8_lossy(&path)))?;
        for name in children {
            let stat = match rustix::fs::statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(error) if is_absent(error) => continue,
                Err(error) => return Err(error.into()),
            };
            let child = join(&path, &name);
            each(&directory, &name, &child, &stat)?;
            if FileType::from_raw_mode(stat.st_mode).is_dir() {
                queue.push(child);
            }
        }
    }
    Ok(())
}

type Links = HashMap<(bool, u64, u64), Vec<u8>>;

fn write_unit(
    roots: &Roots,
    unit: &Unit,
    to: &mut impl Write,
    links: &mut Links,
    left_out: &mut Vec<(String, String)>,
) -> anyhow::Result<()> {
    let prefix = Unit { path: Vec::new(), ..unit.clone() }.name();
    let mut tar = tar::Builder::new(zstd::stream::write::Encoder::new(to, LEVEL)?);
    walk(roots, unit, |directory, name, path, stat| {
        let full = join(&prefix, path);
        let mut miss = |why: &str| {
            if left_out.len() < NAMED {
                left_out.push((String::from_utf8_lossy(&full).into_owned(), why.to_owned()));
            }
        };
        let full_path = Path::new(OsStr::from_bytes(&full));
        let mut header = header(stat);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                if roots.of(unit.in_home).listing(path).is_err() {
                    miss("unreadable");
                }
                header.set_entry_type(EntryType::Directory);
                tar.append_data(&mut header, full_path, io::empty())?;
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(directory, name, Vec::new())?.into_bytes();
                header.set_entry_type(EntryType::Symlink);
                tar.append_link(&mut header, full_path, OsStr::from_bytes(&target))?;
            }
            FileType::RegularFile => {
                let key = (unit.in_home, stat.st_dev, stat.st_ino);
                if let Some(first) = links.get(&key) {
                    header.set_entry_type(EntryType::Link);
                    tar.append_link(&mut header, full_path, OsStr::from_bytes(first))?;
                    return Ok(());
                }
                let file = match open_file_at(directory, name) {
                    Ok((file, now)) if now.st_size == stat.st_size => file,
                    Ok(_) => bail!("{} changed while it was packed", full_path.display()),
                    Err(_) => {
                        miss("unreadable");
                        return Ok(());
                    }
                };
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                header.set_entry_type(EntryType::Regular);
                header.set_size(size);
                tar.append_data(&mut header, full_path, Exactly { file, left: size })
                    .with_context(|| format!("packing {}", full_path.display()))?;
                if stat.st_nlink > 1 {
                    links.insert(key, full);
                }
            }
            // Nobody is at the other end of a fifo or socket in the next sandbox.
            _ => {}
        }
        Ok(())
    })?;
    tar.into_inner()?.finish()?;
    Ok(())
}

fn header(stat: &Stat) -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(stat.st_mode & 0o777);
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
    header.set_size(0);
    header
}

/// A file that must have exactly this many bytes: the header that says so is already written.
struct Exactly {
    file: std::fs::File,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let n = self.file.read(&mut buffer[..most])?;
        if n == 0 {
            return Err(io::Error::other("it became shorter while it was packed"));
        }
        self.left -= n as u64;
        Ok(n)
    }
}

/// Counts what would be written.
struct Count(u64);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends what is written, piece by piece; the last piece is held back until the end is known.
struct Pieces<'a> {
    outbox: &'a Outbox,
    tag: u64,
    offset: u64,
    buffer: Vec<u8>,
}

impl Pieces<'_> {
    fn send(&mut self, last: bool, left_out: Vec<(String, String)>) -> bool {
        let bytes = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE_BYTES));
        let offset = self.offset;
        self.offset += bytes.len() as u64;
        let frame = AgentFrame::Environment { tag: self.tag, offset, bytes, last, left_out };
        self.outbox.blocking_send(frame).is_ok()
    }

    fn finish(mut self, left_out: Vec<(String, String)>) -> bool {
        self.send(true, left_out)
    }
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() == PIECE_BYTES && !self.send(false, Vec::new()) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let n = bytes.len().min(PIECE_BYTES - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..n]);
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
