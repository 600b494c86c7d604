//! Reading a file that programs may be writing, through one descriptor, and knowing whether what was read is one state
//! of it.

use std::{
    fs::File,
    io::{self, Read},
};

use playhouse_protocol::agent::{Hash, Node, PIECE_BYTES};

use super::{
    core::Core,
    record::Record,
    root::is_absent,
    stamp::{Disk, Stamp, wall_clock},
};

/// A file opened to be read once.
#[derive(Debug)]
pub struct Reading {
    file: File,
    /// Its stamp when it was opened.
    pub stamp: Stamp,
    /// When that was.
    pub at: i128,
}

/// Why a file's content could not be had.
#[derive(Debug)]
pub enum ReadError {
    /// It is not there any more, or something else is; an event or scan tells the rest.
    Gone,
    /// It may not be read, or the disk fails. Never taken for the file's end.
    Failed(io::Error),
    /// Nobody takes the pieces.
    Stopped,
}

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// BLAKE3 of it.
    pub hash: Hash,
    /// Its length.
    pub size: u64,
    /// The file did not change while it was read.
    pub steady: bool,
}

impl Reading {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// It is gone, no regular file, or may not be read.
    pub fn open(core: &Core, path: &str) -> Result<Self, ReadError> {
        let at = wall_clock();
        match core.root.open_file(path) {
            Ok((file, stat)) => Ok(Self { file, stamp: Stamp::from(&stat), at }),
            Err(error) if is_absent(error) => Err(ReadError::Gone),
            Err(error) => Err(ReadError::Failed(error.into())),
        }
    }

    /// Reads what the file had when it was opened (what is appended meanwhile is another state), piece by piece; `each`
    /// says whether to go on.
    ///
    /// # Errors
    /// The disk fails, or `each` stops it.
    pub fn pieces(&mut self, mut each: impl FnMut(&[u8]) -> bool) -> Result<Content, ReadError> {
        let mut hasher = blake3::Hasher::new();
        let mut left = self.stamp.size;
        let mut buffer = vec![0; PIECE_BYTES.min(usize::try_from(left).unwrap_or(PIECE_BYTES))];
        while left > 0 {
            let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let mut have = 0;
            while have < want {
                match self.file.read(&mut buffer[have..want]) {
                    Ok(0) => break,
                    Ok(n) => have += n,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(ReadError::Failed(error)),
                }
            }
            if have == 0 {
                break;
            }
            left -= have as u64;
            hasher.update(&buffer[..have]);
            if !each(&buffer[..have]) {
                return Err(ReadError::Stopped);
            }
        }
        let after = rustix::fs::fstat(&self.file).map_err(|error| ReadError::Failed(error.into()))?;
        let steady = left == 0 && Disk::from(&after) == Disk::File(self.stamp);
        Ok(Content { hash: *hasher.finalize().as_bytes(), size: self.stamp.size - left, steady })
    }

    /// Goes back to the file's beginning.
    ///
    /// # Errors
    /// The disk fails.
    pub fn rewind(&mut self) -> Result<(), ReadError> {
        io::Seek::rewind(&mut self.file).map_err(ReadError::Failed)
    }
}

impl Content {
    /// The file in the tree that has it.
    #[must_use]
    pub fn node(&self, stamp: &Stamp) -> Node {
        Node::File { hash: self.hash, size: self.size, executable: stamp.is_executable() }
    }

    /// What is settled once the tree has it: nothing, where the file went on changing.
    #[must_use]
    pub fn record(&self, node: &Node, stamp: Stamp, at: i128) -> Record {
        if self.steady {
            Record::agreed(node.clone(), Disk::File(stamp), at)
        } else {
            Record::unsettled(Some(node.clone()))
        }
    }
}
