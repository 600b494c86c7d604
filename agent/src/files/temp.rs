//! Temporary files inside the workspace, which become whole files by one rename, and removal that needs no recursion.
//!
//! The workspace and the home directory are mounts of their own, and a rename does not cross mounts: so what shall
//! become a file of the workspace is written inside it, in one hidden directory that belongs to no tree and is there only
//! while it is needed.

use std::{fs::File, io, os::fd::OwnedFd};

use playhouse_protocol::path::AGENT_FOLDER;
use rustix::{
    fs::{AtFlags, Mode, OFlags},
    io::Errno,
};

use super::{
    root::{Root, chmod, is_absent, look_at, names},
    stamp::Disk,
};

/// The hidden directory's name at the root of the workspace.
pub const TEMP_NAME: &str = AGENT_FOLDER.split_at(1).1;

/// Whether a path lies in the hidden directory.
#[must_use]
pub fn is_temp(path: &str) -> bool {
    playhouse_protocol::path::is_within(path, AGENT_FOLDER)
}

/// A file that is not yet anywhere. Dropped, it is gone.
#[derive(Debug)]
pub struct Temp {
    directory: OwnedFd,
    name: String,
    /// Its descriptor, opened for writing (and reading, unless it was taken from the tree).
    pub file: File,
    placed: bool,
}

impl Root {
    fn temp_directory(&self) -> rustix::io::Result<OwnedFd> {
        match self.directory(AGENT_FOLDER) {
            Err(error) if is_absent(error) => {}
            other => return other,
        }
        // A program removed it, or put something else in its place.
        match look_at(self.fd(), TEMP_NAME) {
            Ok(Disk::Absent | Disk::Directory) | Err(_) => {}
            Ok(Disk::Symlink(_) | Disk::File(_) | Disk::Other(..)) => {
                rustix::fs::unlinkat(self.fd(), TEMP_NAME, AtFlags::empty())?;
            }
        }
        match rustix::fs::mkdirat(self.fd(), TEMP_NAME, Mode::RWXU) {
            Err(Errno::EXIST) | Ok(()) => {}
            Err(error) => return Err(error),
        }
        self.directory(AGENT_FOLDER)
    }

    /// Removes the hidden directory with what an agent that died has left in it.
    ///
    /// # Errors
    /// Something in it resists.
    pub fn clean_temp(&self) -> io::Result<()> {
        if self.directory(AGENT_FOLDER).is_ok() { self.remove(AGENT_FOLDER) } else { Ok(()) }
    }

    /// Removes the hidden directory if nothing is in it: programs list the workspace, too.
    pub fn drop_temp(&self) {
        // One that holds something is needed.
        let _ = rustix::fs::unlinkat(self.fd(), TEMP_NAME, AtFlags::REMOVEDIR);
    }

    /// A new empty file.
    ///
    /// # Errors
    /// The disk is full or broken.
    pub fn temp(&self) -> io::Result<Temp> {
        let directory = self.temp_directory()?;
        let name = random_name();
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&directory, &name, flags, Mode::RUSR | Mode::WUSR)?;
        Ok(Temp { directory, name, file: file.into(), placed: false })
    }

    /// Takes the regular file at `path` out of the tree, to be placed elsewhere.
    ///
    /// # Errors
    /// It is not there or no regular file.
    pub fn take(&self, path: &str) -> io::Result<Temp> {
        let (parent, name) = self.parent(path)?;
        let directory = self.temp_directory()?;
        let temp = random_name();
        rustix::fs::renameat(&parent, name, &directory, &temp)?;
        match super::root::open_file_at(&directory, &temp) {
            Ok((file, _)) => Ok(Temp { directory, name: temp, file, placed: false }),
            Err(error) => {
                // Not what it was taken for: it goes back where it was.
                rustix::fs::renameat(&directory, &temp, &parent, name)?;
                Err(error.into())
            }
        }
    }

    /// Makes a link at `path` in one step, over a file or link that is there.
    ///
    /// # Errors
    /// A directory is there, the parent is not, or the disk is full.
    pub fn place_link(&self, path: &str, target: &str) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        let directory = self.temp_directory()?;
        let temp = random_name();
        rustix::fs::symlinkat(target, &directory, &temp)?;
        rustix::fs::renameat(&directory, &temp, &parent, name).map_err(|error| {
            // The error that matters is the rename's.
            let _ = rustix::fs::unlinkat(&directory, &temp, AtFlags::empty());
            io::Error::from(error)
        })
    }

    /// Removes what is at `path` with all below it. It vanishes in one step; then its directories are emptied one by
    /// one, each moved up first, so that depth costs neither stack nor descriptors.
    ///
    /// # Errors
    /// Something resists; nothing there is no error.
    pub fn remove(&self, path: &str) -> io::Result<()> {
        let (parent, name) = match self.parent(path) {
            Err(error) if is_absent(error) => return Ok(()),
            other => other?,
        };
        match look_at(&parent, name) {
            Err(error) if is_absent(error) => return Ok(()),
            Err(error) => return Err(error.into()),
            Ok(Disk::Directory) => {}
            Ok(_) => {
                return match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => Ok(()),
                    Err(error) => Err(error.into()),
                };
            }
        }
        // Emptying the hidden directory itself works in place.
        let bin = if path == AGENT_FOLDER { self.directory("")? } else { self.temp_directory()? };
        let mut doomed = vec![move_away(&parent, name, &bin)?];
        while let Some(name) = doomed.pop() {
            let directory = rustix::fs::openat(
                &bin,
                &name,
                OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::empty(),
            )?;
            names(&directory, |child| {
                match rustix::fs::unlinkat(&directory, child, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(Errno::ISDIR | Errno::PERM) => doomed.push(move_away(&directory, child, &bin)?),
                    Err(error) => return Err(error),
                }
                Ok(())
            })?;
            rustix::fs::unlinkat(&bin, &name, AtFlags::REMOVEDIR)?;
        }
        Ok(())
    }
}

/// Moves a directory to a random name in `bin`, writable so that it can be emptied.
fn move_away(parent: &OwnedFd, name: impl rustix::path::Arg + Copy, bin: &OwnedFd) -> rustix::io::Result<String> {
    let directory = rustix::fs::openat(
        parent,
        name,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let mode = rustix::fs::fstat(&directory)?.st_mode;
    if mode & 0o700 != 0o700 {
        // Renaming rewrites the directory's own `..`, so it must be writable (Go's module cache is not).
        chmod(&directory, (mode & 0o7777) | 0o700)?;
    }
    let away = random_name();
    rustix::fs::renameat(parent, name, bin, &away)?;
    Ok(away)
}

fn random_name() -> String {
    format!("{:032x}", rand::random::<u128>())
}

impl Temp {
    /// Makes it the file at `path` in one step, over a file or link that is there, and says what is there now.
    ///
    /// # Errors
    /// A directory is there, the parent is not, or the disk is full.
    pub fn place(mut self, root: &Root, path: &str, mode: u32) -> io::Result<Disk> {
        let (parent, name) = root.parent(path)?;
        rustix::fs::fchmod(&self.file, Mode::from_raw_mode(mode))?;
        rustix::fs::renameat(&self.directory, &self.name, &parent, name)?;
        self.placed = true;
        // The stamp of our own inode, whatever was put there meanwhile.
        Ok(Disk::from(&rustix::fs::fstat(&self.file)?))
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if !self.placed {
            // What cannot be removed now goes at the next start.
            let _ = rustix::fs::unlinkat(&self.directory, &self.name, AtFlags::empty());
        }
    }
}
