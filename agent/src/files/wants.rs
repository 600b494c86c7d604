//! Which contents to ask the node for, and when: enough to keep the link busy, and no more than the disk can take.

use std::collections::{HashMap, VecDeque};

use playhouse_protocol::agent::Hash;

/// The most content that is asked for and not yet there, in bytes, unless one file alone has more.
pub const WINDOW_BYTES: u64 = 16 * 1024 * 1024;
/// The most hashes that are asked for and not yet there; also the most in one frame.
pub const WINDOW_HASHES: usize = 4096;

#[derive(Debug)]
struct Open {
    size: u64,
    received: u64,
}

/// What to do with a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// Nobody asked for it.
    Ignore,
    /// It belongs at the end of what came before.
    Append,
    /// The same, and the content is whole.
    Finish,
    /// The content will not come, or not as announced.
    Fail,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Wants {
    queue: VecDeque<(Hash, u64)>,
    open: HashMap<Hash, Open>,
    open_bytes: u64,
}

impl Wants {
    /// Adds a content of this size to what is lacking. Each hash once.
    pub fn add(&mut self, hash: Hash, size: u64) {
        self.queue.push_back((hash, size));
    }

    /// Whether all has come or failed.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.queue.is_empty() && self.open.is_empty()
    }

    /// What to ask for now, at most one frame's worth.
    pub fn ask(&mut self) -> Vec<Hash> {
        let mut hashes = Vec::new();
        while let Some(&(hash, size)) = self.queue.front() {
            let fits = self.open.is_empty() || self.open_bytes.saturating_add(size) <= WINDOW_BYTES;
            if !fits || self.open.len() >= WINDOW_HASHES {
                break;
            }
            self.queue.pop_front();
            self.open_bytes = self.open_bytes.saturating_add(size);
            self.open.insert(hash, Open { size, received: 0 });
            hashes.push(hash);
        }
        hashes
    }

    /// A piece has come.
    pub fn piece(&mut self, hash: &Hash, offset: u64, length: u64, last: bool, failed: bool) -> Piece {
        let Some(open) = self.open.get_mut(hash) else { return Piece::Ignore };
        let end = open.received.saturating_add(length);
        if failed || offset != open.received || end > open.size || (last && end != open.size) {
            self.close(hash);
            return Piece::Fail;
        }
        open.received = end;
        if last {
            self.close(hash);
            return Piece::Finish;
        }
        Piece::Append
    }

    fn close(&mut self, hash: &Hash) {
        if let Some(open) = self.open.remove(hash) {
            self.open_bytes = self.open_bytes.saturating_sub(open.size);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash(n: usize) -> Hash {
        *blake3::hash(&n.to_le_bytes()).as_bytes()
    }

    proptest! {
        #[test]
        fn everything_is_asked_for_once_and_within_the_window(sizes in prop::collection::vec(0..40_000_000u64, 0..60)) {
            let mut wants = Wants::default();
            for (n, size) in sizes.iter().enumerate() {
                wants.add(hash(n), *size);
            }
            let mut asked = 0;
            let mut under_way: VecDeque<(Hash, u64)> = VecDeque::new();
            while !wants.is_done() {
                for hash_asked in wants.ask() {
                    prop_assert_eq!(hash_asked, hash(asked));
                    under_way.push_back((hash_asked, sizes[asked]));
                    asked += 1;
                }
                let total: u64 = under_way.iter().map(|(_, size)| size).sum();
                prop_assert!(total <= WINDOW_BYTES || under_way.len() == 1);
                let (next, size) = under_way.pop_front().expect("something is always under way");
                let half = size / 2;
                prop_assert_eq!(wants.piece(&next, 0, half, false, false), Piece::Append);
                prop_assert_eq!(wants.piece(&next, half, size - half, true, false), Piece::Finish);
                prop_assert_eq!(wants.piece(&next, 0, 1, true, false), Piece::Ignore);
            }
            prop_assert_eq!(asked, sizes.len());
        }
    }

    #[test]
    fn a_content_that_is_not_as_announced_fails() {
        for (offset, length, last) in [(1, 1, false), (0, 11, false), (0, 9, true)] {
            let mut wants = Wants::default();
            wants.add(hash(1), 10);
            wants.ask();
            assert_eq!(wants.piece(&hash(1), offset, length, last, false), Piece::Fail);
            assert!(wants.is_done());
        }
    }
}
