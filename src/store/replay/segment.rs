//! One file of a log: a head that says where the log stood, then records. Pure.
//!
//! A hole in a log lies always between two segments: what the store lost (`previous` to `after` in a head), what
//! retention dropped (before the first head), and what a damaged segment no longer holds.

use playhouse_protocol::EventId;

use super::record::{self, Decoded, Record};

const MAGIC: [u8; 8] = *b"PLAYLOG1";
/// The length of an encoded [`Head`].
pub(super) const HEAD_BYTES: usize = 68;
/// A mark is set about every this many bytes, so that a reader skips at most as many.
const MARK_BYTES: u64 = 64 * 1024;

/// Where the log stood when the segment began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// The writer's epoch.
    pub(super) epoch: u64,
    /// The end of the segment before.
    pub(super) previous: EventId,
    /// The bytes of all events up to `previous`.
    pub(super) previous_bytes: u64,
    /// The event before this segment's first. Beyond `previous` only after a loss. Its generation is the segment's.
    pub(super) after: EventId,
    /// The bytes of all events up to `after`, retained or not.
    pub(super) bytes_before: u64,
}

impl Head {
    pub(super) fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        for (n, number) in self.numbers().into_iter().enumerate() {
            bytes[8 + n * 8..16 + n * 8].copy_from_slice(&number.to_le_bytes());
        }
        let crc = crc32fast::hash(&bytes[..HEAD_BYTES - 4]);
        bytes[HEAD_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    const fn numbers(&self) -> [u64; 7] {
        [
            self.epoch,
            self.previous.generation,
            self.previous.sequence,
            self.previous_bytes,
            self.after.generation,
            self.after.sequence,
            self.bytes_before,
        ]
    }

    /// The head at the front of a segment's bytes.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, _) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let (body, crc) = head.split_last_chunk::<4>()?;
        if crc32fast::hash(body) != u32::from_le_bytes(*crc) || !body.starts_with(&MAGIC) {
            return None;
        }
        let number = |n: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&body[8 + n * 8..16 + n * 8]);
            u64::from_le_bytes(bytes)
        };
        Some(Self {
            epoch: number(0),
            previous: EventId::new(number(1), number(2)),
            previous_bytes: number(3),
            after: EventId::new(number(4), number(5)),
            bytes_before: number(6),
        })
    }
}

/// Where an event's record begins, and the bytes of all events before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) sequence: u64,
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

/// Sparse marks into one segment, in order.
#[derive(Debug, Default, Clone)]
pub(super) struct Marks(Vec<Mark>);

impl Marks {
    /// Notes an event's record, if the last mark is far enough behind.
    pub(super) fn note(&mut self, mark: Mark) {
        if mark.offset >= self.0.last().map_or(0, |last| last.offset) + MARK_BYTES {
            self.0.push(mark);
        }
    }

    /// The place to read from in order to find what comes after `sequence`.
    pub(super) fn before(&self, head: &Head, sequence: u64) -> Mark {
        let start = Mark { sequence: head.after.sequence + 1, offset: HEAD_BYTES as u64, bytes: head.bytes_before };
        match self.0.partition_point(|mark| mark.sequence <= sequence.saturating_add(1)) {
            0 => start,
            n => self.0[n - 1],
        }
    }
}

/// What a whole segment holds, up to its first bad record.
#[derive(Debug)]
pub(super) struct Scan {
    /// The last event's sequence, `after`'s if there is none.
    pub(super) sequence: u64,
    /// The bytes of its events.
    pub(super) data: u64,
    /// The highest epoch it names.
    pub(super) epoch: u64,
    /// How much of the file is good.
    pub(super) len: u64,
    pub(super) marks: Marks,
}

/// Reads a whole segment whose head is known.
pub(super) fn scan(head: &Head, bytes: &[u8]) -> Scan {
    let mut scan = Scan {
        sequence: head.after.sequence,
        data: 0,
        epoch: head.epoch,
        len: HEAD_BYTES as u64,
        marks: Marks::default(),
    };
    while let Decoded::Whole(record, used) = record::decode(&bytes[scan.len as usize..]) {
        match record {
            Record::Epoch(epoch) => scan.epoch = scan.epoch.max(epoch),
            Record::Chunk(chunk) if chunk.sequence == scan.sequence + 1 => {
                let bytes = head.bytes_before + scan.data;
                scan.marks.note(Mark { sequence: chunk.sequence, offset: scan.len, bytes });
                scan.sequence = chunk.sequence;
                scan.data += chunk.bytes.len() as u64;
            }
            // A record out of order is as bad as one that does not read.
            Record::Chunk(_) => break,
        }
        scan.len += used as u64;
    }
    scan
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head {
            epoch: 3,
            previous: EventId::new(0, 10),
            previous_bytes: 100,
            after: EventId::new(1, 12),
            bytes_before: 120,
        }
    }

    #[test]
    fn a_head_is_read_as_written_and_no_other_way() {
        let bytes = head().encode();
        assert_eq!(Head::decode(&bytes), Some(head()));
        assert_eq!(Head::decode(&bytes[..HEAD_BYTES - 1]), None);
        for at in 0..HEAD_BYTES {
            let mut flipped = bytes;
            flipped[at] ^= 1;
            assert_eq!(Head::decode(&flipped), None, "byte {at}");
        }
    }

    #[test]
    fn the_nearest_mark_before_an_event_is_found() {
        let mut marks = Marks::default();
        for sequence in 13..200 {
            marks.note(Mark { sequence, offset: (sequence - 13) * 10_000 + HEAD_BYTES as u64, bytes: sequence });
        }
        assert_eq!(marks.before(&head(), 12).offset, HEAD_BYTES as u64);
        for after in 12..199 {
            let mark = marks.before(&head(), after);
            assert!(mark.sequence <= after + 1, "{mark:?} begins behind {after}");
            assert!(after + 1 - mark.sequence <= 7, "{mark:?} is far before {after}");
        }
    }
}
