//! A directory whose inside is hostile, reached only through descriptors.
//!
//! Programs of the same user swap links in and move directories away while we work. So every path is resolved beneath
//! the root's descriptor without following a link, and what is done to a name is done relative to its parent's
//! descriptor.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, Dir, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};

use super::stamp::Disk;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A directory tree that is never left.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
}

/// Whether an error says that nothing (reachable without a link) is there.
#[must_use]
pub fn is_absent(error: Errno) -> bool {
    matches!(error, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG)
}

impl Root {
    /// The directory at `path`, which is trusted.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { fd: rustix::fs::open(path, OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY, Mode::empty())? })
    }

    /// Its own descriptor.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// How much more its disk takes, in bytes; as much as can be where that can't be told.
    #[must_use]
    pub fn free(&self) -> u64 {
        rustix::fs::fstatvfs(&self.fd).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    fn resolve(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let relative = path.strip_prefix(b"/").unwrap_or(path);
        let flags = flags | DIRECTORY;
        if relative.is_empty() {
            return rustix::fs::openat(&self.fd, ".", flags, Mode::empty());
        }
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(&self.fd, relative, flags, Mode::empty(), beneath) {
            // A runtime without openat2 (gVisor), or a filter that does not know it.
            Err(Errno::NOSYS | Errno::PERM) => self.step(relative, flags),
            // A rename raced with the resolution.
            Err(Errno::AGAIN) => self.step(relative, flags),
            other => other,
        }
    }

    /// The same one component at a time.
    fn step(&self, relative: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let mut at = rustix::fs::openat(&self.fd, ".", OFlags::PATH | DIRECTORY, Mode::empty())?;
        let mut names = relative.split(|byte| *byte == b'/').peekable();
        while let Some(name) = names.next() {
            if matches!(name, b"" | b"." | b"..") {
                return Err(Errno::INVAL);
            }
            let flags = if names.peek().is_some() { OFlags::PATH | DIRECTORY } else { flags };
            at = rustix::fs::openat(&at, name, flags, Mode::empty())?;
        }
        Ok(at)
    }

    /// A directory, to work relative to it.
    ///
    /// # Errors
    /// It is not there, or no directory, or behind a link.
    pub fn directory(&self, path: impl AsRef<[u8]>) -> rustix::io::Result<OwnedFd> {
        self.resolve(path.as_ref(), OFlags::PATH)
    }

    /// A directory, to read its names.
    ///
    /// # Errors
    /// As [`Self::directory`], and where it may not be read.
    pub fn listing(&self, path: impl AsRef<[u8]>) -> rustix::io::Result<OwnedFd> {
        self.resolve(path.as_ref(), OFlags::RDONLY)
    }

    /// The directory that holds `path`, and the name in it.
    ///
    /// # Errors
    /// As [`Self::directory`].
    pub fn parent<'a>(&self, path: &'a (impl AsRef<[u8]> + ?Sized)) -> rustix::io::Result<(OwnedFd, &'a [u8])> {
        let path = path.as_ref();
        let slash = path.iter().rposition(|byte| *byte == b'/');
        let (parent, name) = slash.map_or((&path[..0], path), |at| (&path[..at], &path[at + 1..]));
        Ok((self.directory(parent)?, name))
    }

    /// What is at `path`.
    ///
    /// # Errors
    /// Only where the answer is unknown: no permission, an I/O error.
    pub fn look(&self, path: &(impl AsRef<[u8]> + ?Sized)) -> rustix::io::Result<Disk> {
        match self.parent(path).and_then(|(parent, name)| look_at(&parent, name)) {
            Err(error) if is_absent(error) => Ok(Disk::Absent),
            other => other,
        }
    }

    /// Opens a regular file for reading. Whatever was swapped in for it is refused without blocking on it.
    ///
    /// # Errors
    /// It is not there, no regular file, or may not be read.
    pub fn open_file(&self, path: &str) -> rustix::io::Result<(std::fs::File, Stat)> {
        let (parent, name) = self.parent(path)?;
        open_file_at(&parent, name)
    }

    /// What a link names, as bytes.
    ///
    /// # Errors
    /// It is no link.
    pub fn read_link(&self, path: &str) -> rustix::io::Result<Vec<u8>> {
        let (parent, name) = self.parent(path)?;
        Ok(rustix::fs::readlinkat(&parent, name, Vec::new())?.into_bytes())
    }

    /// Sets a file's permission bits.
    ///
    /// # Errors
    /// It is not there, no regular file, or not ours.
    pub fn set_mode(&self, path: &str, mode: u32) -> rustix::io::Result<()> {
        let (parent, name) = self.parent(path)?;
        let file = rustix::fs::openat(&parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        if !matches!(Disk::from(&rustix::fs::fstat(&file)?), Disk::File(_)) {
            return Err(Errno::NOENT);
        }
        chmod(&file, mode)
    }
}

/// What is at `name` in a directory.
///
/// # Errors
/// Nothing is there, or the answer is unknown.
pub fn look_at(parent: impl AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<Disk> {
    Ok(Disk::from(&rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?))
}

/// Opens the regular file `name` in a directory.
///
/// # Errors
/// As [`Root::open_file`].
pub fn open_file_at(parent: impl AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<(std::fs::File, Stat)> {
    // NONBLOCK: a fifo swapped in must not hold us.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&fd)?;
    match Disk::from(&stat) {
        Disk::File(_) => Ok((fd.into(), stat)),
        Disk::Absent | Disk::Directory | Disk::Symlink(_) | Disk::Other(..) => Err(Errno::NOENT),
    }
}

/// Sets the mode of what a descriptor names, also one opened with `O_PATH`, which fchmod refuses.
///
/// # Errors
/// It is not ours.
pub fn chmod(fd: impl AsFd, mode: u32) -> rustix::io::Result<()> {
    rustix::fs::chmod(magic_link(fd), Mode::from_raw_mode(mode))
}

/// The path under which the kernel knows an open descriptor: it names exactly the inode that was opened.
#[must_use]
pub fn magic_link(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

/// The names in a directory, less `.` and `..`.
///
/// # Errors
/// It cannot be read to its end.
pub fn names(directory: impl AsFd, mut each: impl FnMut(&CStr) -> rustix::io::Result<()>) -> rustix::io::Result<()> {
    let mut dir = Dir::read_from(directory)?;
    while let Some(entry) = dir.read() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            each(name)?;
        }
    }
    Ok(())
}
