//! Whether a program failed for want of disk. Nobody tells a failed write from outside, so it is judged: by a disk that
//! was filled while the program ran, or, where it was full before, by what the program says.

use std::path::Path;

/// A disk with less than this free is full. ext4 takes no more with some hundred KiB left (408 KiB after `dd` had filled
/// 8 GiB).
const FULL_BYTES: u64 = 1024 * 1024;
/// What strerror(3) says of ENOSPC, which most languages pass on; in lower case.
const WORDS: &[u8] = b"no space left on device";
/// The reason that is told.
pub const REASON: &str = "disk_full";

/// Whether the disk at `path` is full.
#[must_use]
pub fn is_full(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < FULL_BYTES)
}

/// What speaks for a program that began on a full disk having failed for that.
#[derive(Debug, Default)]
pub struct Witness {
    was_full: bool,
    said: bool,
    /// The end of what was heard, shorter than the words.
    last: Vec<u8>,
}

impl Witness {
    /// The program begins.
    pub fn begin(&mut self, is_full: bool) {
        self.was_full = is_full;
    }

    /// It has put this out.
    pub fn hear(&mut self, bytes: &[u8]) {
        if !self.was_full || self.said {
            return;
        }
        self.last.extend(bytes.iter().map(u8::to_ascii_lowercase));
        self.said = self.last.windows(WORDS.len()).any(|window| window == WORDS);
        let beyond = self.last.len().saturating_sub(WORDS.len() - 1);
        self.last.drain(..beyond);
    }

    /// Whether a full disk at its end is taken for why it failed.
    #[must_use]
    pub const fn blames(&self) -> bool {
        !self.was_full || self.said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_began_on_a_full_disk_must_say_so_itself() {
        let mut witness = Witness::default();
        assert!(witness.blames(), "it has filled it");
        witness.begin(true);
        witness.hear(b"something else, no space");
        assert!(!witness.blames());
        witness.hear(b" left");
        witness.hear(b" on Device\n");
        assert!(witness.blames());
        let mut cut = Witness::default();
        cut.begin(true);
        WORDS.iter().for_each(|byte| cut.hear(&[*byte]));
        assert!(cut.blames());
    }
}
