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
    stored_cost: usize,
    next: u64,
    stored: u64,
    undecoded: [Vec<u8>; 2],
}

impl Ring {
    /// An empty ring that holds `capacity` bytes; its first chunk will be number 1.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            chunks: VecDeque::new(),
            capacity,
            cost: 0,
            stored_cost: 0,
            next: 1,
            stored: 0,
            undecoded: [Vec::new(), Vec::new()],
        }
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
        self.cost - self.stored_cost < self.capacity
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
        let sequence = sequence.min(self.next - 1);
        for number in self.stored.max(self.first_sequence().saturating_sub(1)) + 1..=sequence {
            self.stored_cost += self.get(number).map_or(0, |chunk| chunk.cost());
        }
        self.stored = self.stored.max(sequence);
        self.make_room();
    }

    fn make_room(&mut self) {
        while self.cost > self.capacity {
            match self.chunks.front() {
                Some(chunk) if chunk.sequence <= self.stored => {
                    self.cost -= chunk.cost();
                    self.stored_cost -= chunk.cost();
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::decode;

    #[derive(Debug, Clone)]
    enum Step {
        Push(Stream, Vec<u8>),
        Acknowledge(u64),
        Finish(Stream),
    }

    fn stream() -> impl Strategy<Value = Stream> {
        prop_oneof![Just(Stream::Stdout), Just(Stream::Stderr)]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (stream(), prop::collection::vec(any::<u8>(), 1..300)).prop_map(|(to, bytes)| Step::Push(to, bytes)),
            3 => (0..80_u64).prop_map(Step::Acknowledge),
            1 => stream().prop_map(Step::Finish),
        ]
    }

    proptest! {
        #[test]
        fn what_is_not_stored_is_kept_and_never_changes(steps in prop::collection::vec(step(), 1..120)) {
            let capacity = 4096;
            let mut ring = Ring::new(capacity);
            let mut all: Vec<Arc<Chunk>> = Vec::new();
            for step in steps {
                match step {
                    Step::Push(..) if !ring.has_room() => {}
                    Step::Push(to, bytes) => all.push(ring.push(to, 7, bytes)),
                    Step::Acknowledge(sequence) => ring.acknowledge(sequence),
                    Step::Finish(of) => all.extend(ring.finish(of, 9)),
                }
                prop_assert_eq!(ring.next_sequence(), all.len() as u64 + 1);
                prop_assert!(ring.first_sequence() <= ring.stored() + 1);
                let mut unstored = 0;
                let mut kept = 0;
                for sequence in 1..ring.next_sequence() {
                    let chunk = ring.get(sequence);
                    prop_assert_eq!(chunk.is_some(), sequence >= ring.first_sequence());
                    if let Some(chunk) = chunk {
                        prop_assert_eq!(chunk, &all[usize::try_from(sequence).unwrap() - 1]);
                        kept += chunk.cost();
                        unstored += if sequence > ring.stored() { chunk.cost() } else { 0 };
                    }
                }
                prop_assert_eq!(ring.has_room(), unstored < capacity);
                // Only what is not stored may exceed the capacity, by one chunk.
                prop_assert!(kept <= capacity.max(unstored));
            }
        }

        #[test]
        fn text_resumes_at_any_chunk(text in "[a-zé€😀]{0,40}", cuts in prop::collection::vec(1..5_usize, 1..60)) {
            let mut ring = Ring::new(1 << 20);
            let mut rest = text.as_bytes();
            let mut cuts = cuts.into_iter().cycle();
            while !rest.is_empty() {
                let (head, tail) = rest.split_at(cuts.next().unwrap_or(1).min(rest.len()));
                ring.push(Stream::Stdout, 0, head.to_vec());
                rest = tail;
            }
            ring.finish(Stream::Stdout, 0);
            let shown: String = (1..ring.next_sequence())
                .map(|sequence| ring.get(sequence).unwrap())
                .map(|chunk| decode(&chunk.carry, &chunk.bytes, chunk.last))
                .collect();
            prop_assert_eq!(shown, text);
        }
    }

    #[test]
    fn a_cut_character_at_the_very_end_is_one_more_event() {
        let mut ring = Ring::new(1024);
        ring.push(Stream::Stdout, 0, "é".as_bytes()[..1].to_vec());
        assert!(ring.finish(Stream::Stderr, 0).is_none());
        let rest = ring.finish(Stream::Stdout, 0).unwrap();
        assert_eq!((rest.sequence, rest.bytes.len(), rest.last), (2, 0, true));
        assert_eq!(decode(&rest.carry, &rest.bytes, rest.last), "\u{FFFD}");
        assert!(ring.finish(Stream::Stdout, 0).is_none());
    }
}
