//! The agent's memory of one process's output: numbered chunks, kept until they are stored.

use std::{collections::VecDeque, sync::Arc};

use crate::stream::{Chunk, Stream};

/// How much of a process's output is kept in the agent, in bytes: beyond it, unstored, reading stops.
pub const RING_BYTES: usize = 1024 * 1024;

/// Numbered chunks from the oldest kept to the newest. Numbers are contiguous, and a chunk never changes.
#[derive(Debug)]
pub struct Ring {
    chunks: VecDeque<Arc<Chunk>>,
    capacity: usize,
    cost: usize,
    next: u64,
    stored: u64,
    undecoded: [Vec<u8>; 2],
}

impl Ring {
    /// An empty ring that holds `capacity` bytes; its first chunk will be number 1.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { chunks: VecDeque::new(), capacity, cost: 0, next: 1, stored: 0, undecoded: [Vec::new(), Vec::new()] }
    }

    /// The number the next chunk will get.
    #[must_use]
    pub const fn next_sequence(&self) -> u64 {
        self.next
    }

    /// The oldest number still here; [`Ring::next_sequence`] when none is.
    #[must_use]
    pub fn first_sequence(&self) -> u64 {
        self.chunks.front().map_or(self.next, |chunk| chunk.sequence)
    }

    /// Everything up to this number is stored elsewhere.
    #[must_use]
    pub const fn stored(&self) -> u64 {
        self.stored
    }

    /// Whether another chunk may be read: what is not stored still fits.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let stored_cost: usize =
            self.chunks.iter().take_while(|chunk| chunk.sequence <= self.stored).map(|chunk| chunk.cost()).sum();
        self.cost - stored_cost < self.capacity
    }

    /// Numbers what was read from `stream` and keeps it. Chunks that are stored make room for it, oldest first.
    pub fn push(&mut self, stream: Stream, at_ms: u64, bytes: Vec<u8>) -> Arc<Chunk> {
        let slot = &mut self.undecoded[usize::from(stream.byte() - 1)];
        let carry = std::mem::take(slot);
        *slot = crate::text::undecoded(&carry, &bytes);
        self.keep(Chunk { sequence: self.next, stream, at_ms, carry, bytes, last: false })
    }

    /// Ends `stream`: where a cut character is left over, one more event gives it out.
    pub fn finish(&mut self, stream: Stream, at_ms: u64) -> Option<Arc<Chunk>> {
        let carry = std::mem::take(&mut self.undecoded[usize::from(stream.byte() - 1)]);
        if carry.is_empty() {
            return None;
        }
        Some(self.keep(Chunk { sequence: self.next, stream, at_ms, carry, bytes: Vec::new(), last: true }))
    }

    fn keep(&mut self, chunk: Chunk) -> Arc<Chunk> {
        self.next += 1;
        self.cost += chunk.cost();
        let chunk = Arc::new(chunk);
        self.chunks.push_back(Arc::clone(&chunk));
        self.make_room();
        chunk
    }

    /// Everything up to `sequence` is stored. A number never reached is taken as the newest one.
    pub fn acknowledge(&mut self, sequence: u64) {
        self.stored = self.stored.max(sequence.min(self.next - 1));
        self.make_room();
    }

    fn make_room(&mut self) {
        while self.cost > self.capacity {
            match self.chunks.front() {
                Some(chunk) if chunk.sequence <= self.stored => {
                    self.cost -= chunk.cost();
                    self.chunks.pop_front();
                }
                _ => break,
            }
        }
    }

    /// The chunk with this number, if it is still here.
    #[must_use]
    pub fn get(&self, sequence: u64) -> Option<&Arc<Chunk>> {
        let first = self.chunks.front()?.sequence;
        self.chunks.get(usize::try_from(sequence.checked_sub(first)?).ok()?)
    }
}
