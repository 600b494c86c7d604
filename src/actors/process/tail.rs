//! The newest output of a process: what is not in the log yet, and what viewers near the live edge still need.
//!
//! Pure. Sequences are contiguous and of one generation; positions count the bytes taken since the actor started.
//!
//! Invariant: an event leaves the tail only after it is stored, so log and tail together have no gap.

use std::{collections::VecDeque, sync::Arc};

use playhouse_protocol::{Chunk, EventId, stream::CHUNK_BYTES};

use crate::{check, invariant::Inv};

/// How much stored output is kept for viewers that lag a little, in bytes with their fixed costs.
pub const KEEP_BYTES: usize = 256 * 1024;
/// An agent within its credit never has so much unstored, fixed costs included: what exceeds it is not taken.
const UNSTORED_BYTES: usize = 4 * 1024 * 1024;
/// The most one append carries, so that its buffer stays small.
const APPEND_BYTES: usize = 512 * 1024;

#[derive(Debug)]
struct Kept {
    chunk: Arc<Chunk>,
    /// The position after it.
    end: u64,
}

/// Why chunks were not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// They begin behind the event that comes next, which is this one.
    Gap {
        /// The next sequence.
        expected: u64,
    },
    /// They break a rule of the protocol.
    Malformed,
    /// They exceed every credit that was given.
    TooMuch,
}

/// The newest output of a process.
#[derive(Debug)]
pub struct Tail {
    kept: VecDeque<Kept>,
    /// Everything up to here is only in the log.
    start: EventId,
    start_position: u64,
    stored: EventId,
    stored_position: u64,
    received: EventId,
    position: u64,
    /// The bytes of everything before the actor started.
    origin: u64,
    cost: usize,
    unstored_cost: usize,
}

impl Tail {
    /// A tail that goes on where the log ends.
    #[must_use]
    pub const fn new(end: EventId) -> Self {
        Self {
            kept: VecDeque::new(),
            start: end,
            start_position: 0,
            stored: end,
            stored_position: 0,
            received: end,
            position: 0,
            origin: 0,
            cost: 0,
            unstored_cost: 0,
        }
    }

    /// The log has so many bytes up to its end.
    #[must_use]
    pub const fn behind(mut self, bytes: u64) -> Self {
        self.origin = bytes;
        self
    }

    /// The bytes of all events up to `cursor`, for one that is not before the tail's start.
    #[must_use]
    pub fn bytes_up_to(&self, cursor: EventId) -> u64 {
        self.origin + self.position_at(cursor)
    }

    /// Viewers up to here find nothing here; they read the log.
    #[must_use]
    pub const fn start(&self) -> EventId {
        self.start
    }

    /// The last event known here.
    #[must_use]
    pub const fn received(&self) -> EventId {
        self.received
    }

    /// The last event in the log.
    #[must_use]
    pub const fn stored(&self) -> EventId {
        self.stored
    }

    /// How many bytes were taken since the actor started.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// How many of them are stored.
    #[must_use]
    pub const fn stored_position(&self) -> u64 {
        self.stored_position
    }

    /// What is not stored costs so much memory.
    #[must_use]
    pub const fn unstored_cost(&self) -> usize {
        self.unstored_cost
    }

    /// The first event held here, if any is.
    #[must_use]
    pub fn first(&self) -> Option<EventId> {
        self.kept.front().map(|kept| EventId::new(self.received.generation, kept.chunk.sequence))
    }

    /// Takes what is new of these chunks, and says how many that were; with the reason why not the rest.
    pub fn take(&mut self, chunks: Vec<Arc<Chunk>>) -> (usize, Option<NotTaken>) {
        let mut taken = 0;
        for chunk in chunks {
            if chunk.sequence <= self.received.sequence {
                continue;
            }
            let expected = self.received.sequence + 1;
            if chunk.sequence != expected {
                return (taken, Some(NotTaken::Gap { expected }));
            }
            let empty = chunk.bytes.is_empty() && !chunk.last;
            if chunk.bytes.len() > CHUNK_BYTES || chunk.carry.len() > 3 || empty {
                return (taken, Some(NotTaken::Malformed));
            }
            if self.unstored_cost + chunk.cost() > UNSTORED_BYTES {
                return (taken, Some(NotTaken::TooMuch));
            }
            self.received.sequence = expected;
            self.position += chunk.bytes.len() as u64;
            self.cost += chunk.cost();
            self.unstored_cost += chunk.cost();
            self.kept.push_back(Kept { chunk, end: self.position });
            taken += 1;
        }
        check!(Inv::Bounded, self.unstored_cost <= UNSTORED_BYTES, "{} bytes are not stored", self.unstored_cost);
        (taken, None)
    }

    /// The index of the first kept event after `cursor`; their number when none is.
    fn index_after(&self, cursor: EventId) -> usize {
        if cursor < EventId::new(self.received.generation, 0) {
            return 0;
        }
        let skip = cursor.sequence.saturating_sub(self.start.sequence);
        usize::try_from(skip).unwrap_or(usize::MAX).min(self.kept.len())
    }

    /// The kept events after `cursor`, in order.
    pub fn after(&self, cursor: EventId) -> impl Iterator<Item = &Arc<Chunk>> {
        self.kept.range(self.index_after(cursor)..).map(|kept| &kept.chunk)
    }

    /// The position after the event `cursor`, for one that is not before the tail's start.
    #[must_use]
    pub fn position_at(&self, cursor: EventId) -> u64 {
        match self.index_after(cursor) {
            0 => self.start_position,
            index => self.kept[index - 1].end,
        }
    }

    /// What is to be appended to the log next.
    #[must_use]
    pub fn unstored(&self) -> Vec<Arc<Chunk>> {
        let mut cost = 0;
        self.after(self.stored)
            .take_while(|chunk| {
                let fits = cost < APPEND_BYTES;
                cost += chunk.cost();
                fits
            })
            .map(Arc::clone)
            .collect()
    }

    /// The log's end is `end` now.
    pub fn store(&mut self, end: EventId) {
        let sequence = end.sequence.min(self.received.sequence);
        if sequence <= self.stored.sequence {
            return;
        }
        let from = self.index_after(self.stored);
        self.stored.sequence = sequence;
        let to = self.index_after(self.stored);
        self.stored_position = self.position_at(self.stored);
        self.unstored_cost -= self.kept.range(from..to).map(|kept| kept.chunk.cost()).sum::<usize>();
    }

    /// Drops what is stored and no viewer after `needed` waits for, and stored events over [`KEEP_BYTES`] anyhow.
    pub fn trim(&mut self, needed: Option<EventId>) {
        let needed = needed.unwrap_or(self.received);
        while let Some(front) = self.kept.front() {
            let id = EventId::new(self.received.generation, front.chunk.sequence);
            if id > self.stored || (id > needed && self.cost <= KEEP_BYTES) {
                break;
            }
            check!(Inv::AcknowledgedIsStored, id <= self.stored, "{id} leaves and {} is stored", self.stored);
            self.start = id;
            self.start_position = front.end;
            self.cost -= front.chunk.cost();
            self.kept.pop_front();
        }
        if self.kept.is_empty() {
            // An idle process keeps no buffer.
            self.kept.shrink_to(8);
        }
    }

    /// The log ends earlier than it said, before `expected`. False when what follows it is no longer here: then the
    /// tail goes on from there, and the agent is asked.
    pub fn rewind(&mut self, expected: u64) -> bool {
        let end = EventId::new(self.received.generation, expected.saturating_sub(1));
        if end.sequence >= self.start.sequence {
            self.stored = end;
            self.stored_position = self.position_at(end);
            let from = self.index_after(end);
            self.unstored_cost = self.kept.range(from..).map(|kept| kept.chunk.cost()).sum();
            return true;
        }
        self.restart(end);
        false
    }

    /// Everything up to `end` is in the log, or recorded there as lost; nothing is kept.
    pub fn restart(&mut self, end: EventId) {
        self.kept.clear();
        (self.start, self.stored, self.received) = (end, end, end);
        (self.start_position, self.stored_position) = (self.position, self.position);
        (self.cost, self.unstored_cost) = (0, 0);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use playhouse_protocol::Stream;

    use super::*;

    pub(in crate::actors::process) fn chunk(sequence: u64, len: usize) -> Arc<Chunk> {
        let byte = u8::try_from(sequence % 251).expect("small");
        Arc::new(Chunk {
            sequence,
            stream: Stream::Stdout,
            at_ms: sequence,
            carry: Vec::new(),
            bytes: vec![byte; len],
            last: false,
        })
    }

    fn numbers(tail: &Tail, after: u64) -> Vec<u64> {
        tail.after(EventId::new(0, after)).map(|chunk| chunk.sequence).collect()
    }

    #[test]
    fn duplicates_are_dropped_and_a_gap_is_named() {
        let mut tail = Tail::new(EventId::ZERO);
        assert_eq!(tail.take(vec![chunk(1, 10), chunk(2, 10)]), (2, None));
        assert_eq!(tail.take(vec![chunk(2, 10), chunk(3, 10)]), (1, None));
        assert_eq!(tail.take(vec![chunk(5, 10)]), (0, Some(NotTaken::Gap { expected: 4 })));
        assert_eq!(tail.take(vec![chunk(4, 0)]), (0, Some(NotTaken::Malformed)));
        assert_eq!(tail.take(vec![chunk(4, CHUNK_BYTES + 1)]), (0, Some(NotTaken::Malformed)));
        assert_eq!((numbers(&tail, 0), tail.position()), (vec![1, 2, 3], 30));
    }

    #[test]
    fn only_what_is_stored_leaves() {
        let mut tail = Tail::new(EventId::ZERO);
        tail.take((1..=5).map(|n| chunk(n, 10)).collect());
        tail.trim(None);
        assert_eq!(numbers(&tail, 0), [1, 2, 3, 4, 5]);
        tail.store(EventId::new(0, 3));
        assert_eq!((tail.stored_position(), tail.unstored_cost()), (30, 2 * 74));
        tail.trim(Some(EventId::new(0, 1)));
        assert_eq!((numbers(&tail, 0), tail.start()), (vec![2, 3, 4, 5], EventId::new(0, 1)));
        tail.trim(None);
        assert_eq!((numbers(&tail, 0), numbers(&tail, 4)), (vec![4, 5], vec![5]));
        assert_eq!(tail.position_at(EventId::new(0, 4)), 40);
        assert_eq!(tail.unstored().len(), 2);
    }

    #[test]
    fn a_flood_beyond_all_credit_is_not_taken() {
        let mut tail = Tail::new(EventId::ZERO);
        let (taken, why) = tail.take((1..=100_000).map(|n| chunk(n, 1)).collect());
        assert_eq!(why, Some(NotTaken::TooMuch));
        assert!(taken < 70_000);
    }

    #[test]
    fn a_log_that_lost_its_end_gets_it_again_or_goes_on_from_there() {
        let mut tail = Tail::new(EventId::new(0, 10));
        tail.take((11..=14).map(|n| chunk(n, 10)).collect());
        tail.store(EventId::new(0, 14));
        assert!(tail.rewind(12));
        assert_eq!(tail.unstored().iter().map(|c| c.sequence).collect::<Vec<_>>(), [12, 13, 14]);
        assert!(!tail.rewind(5));
        assert_eq!((tail.received(), tail.position()), (EventId::new(0, 4), 40));
        assert_eq!(tail.take(vec![chunk(5, 1)]), (1, None));
    }
}
