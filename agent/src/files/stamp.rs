//! What a path holds on the disk, as far as a stat tells.

use rustix::fs::{FileType, Stat};

/// The marks by which a change of a file is noticed without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Inode number.
    pub ino: u64,
    /// Length in bytes.
    pub size: u64,
    /// Last modification, nanoseconds since the epoch. A program may set it to anything.
    pub mtime: i128,
    /// Last change of any kind, nanoseconds since the epoch. No program can set it.
    pub ctime: i128,
    /// Permission bits.
    pub mode: u32,
    /// The file has other names too, through which it may change without a word about this one.
    pub linked: bool,
}

/// How old a file's last change must be before its stamp alone proves that it has not changed since: file times have
/// the granularity of a clock tick, which may be 10 ms.
const SETTLED_AFTER: i128 = 30_000_000;

impl Stamp {
    /// Whether the file changed so shortly before `now` (nanoseconds since the epoch) that a later write could leave
    /// the same stamp.
    #[must_use]
    pub fn is_racy(&self, now: i128) -> bool {
        now - self.ctime < SETTLED_AFTER
    }

    /// Whether the owner may execute it.
    #[must_use]
    pub fn is_executable(&self) -> bool {
        self.mode & 0o100 != 0
    }
}

impl From<&Stat> for Stamp {
    fn from(stat: &Stat) -> Self {
        let nanoseconds = |seconds: i64, rest: u64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Self {
            ino: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
            ctime: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
            mode: stat.st_mode & 0o7777,
            linked: stat.st_nlink > 1,
        }
    }
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// Nothing, or a parent is no directory.
    Absent,
    /// A directory. Its times say nothing about the tree.
    Directory,
    /// A symbolic link.
    Symlink(Stamp),
    /// A regular file.
    File(Stamp),
    /// What the tree cannot hold: the word says what it is.
    Other(&'static str, Stamp),
}

impl From<&Stat> for Disk {
    fn from(stat: &Stat) -> Self {
        let stamp = Stamp::from(stat);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Self::Directory,
            FileType::RegularFile => Self::File(stamp),
            FileType::Symlink => Self::Symlink(stamp),
            FileType::Fifo => Self::Other("fifo", stamp),
            FileType::Socket => Self::Other("socket", stamp),
            _ => Self::Other("device", stamp),
        }
    }
}

/// Now, in nanoseconds since the epoch, on the clock that file times are taken from.
#[must_use]
pub fn wall_clock() -> i128 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
}
