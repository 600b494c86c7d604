//! One record of a segment: a chunk, or the epoch of a new writer. Pure.
//!
//! `u32 length, u32 crc, payload`, little-endian, the checksum over the length and the payload. A chunk's payload is
//! `1, u64 sequence, u64 at_ms, u8 stream (its top bit: last), u8 length of the carry, carry, bytes`, an epoch's
//! `2, u64 epoch`. Its generation is the segment's.

use playhouse_protocol::{Chunk, Stream};

/// Length and checksum.
pub(super) const PREFIX_BYTES: usize = 8;
const CHUNK: u8 = 1;
const EPOCH: u8 = 2;
const CHUNK_HEAD_BYTES: usize = 19;
const LAST: u8 = 0x80;
/// So much of a chunk's record says how many bytes it has.
pub(super) const CHUNK_PREFIX_BYTES: usize = PREFIX_BYTES + CHUNK_HEAD_BYTES;

/// The longest payload that is written, and so the longest that is read.
pub(super) const PAYLOAD_BYTES: usize = 256 * 1024;
/// The longest carry: its length is one byte.
const CARRY_BYTES: usize = 255;

/// A record, read in place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record<'a> {
    Chunk(ChunkRecord<'a>),
    Epoch(u64),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct ChunkRecord<'a> {
    pub(super) sequence: u64,
    stream: Stream,
    at_ms: u64,
    last: bool,
    carry: &'a [u8],
    pub(super) bytes: &'a [u8],
}

impl ChunkRecord<'_> {
    pub(super) fn to_chunk(&self) -> Chunk {
        Chunk {
            sequence: self.sequence,
            stream: self.stream,
            at_ms: self.at_ms,
            carry: self.carry.to_vec(),
            bytes: self.bytes.to_vec(),
            last: self.last,
        }
    }
}

/// What stands at the front of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoded<'a> {
    /// A record, and how many bytes it takes.
    Whole(Record<'a>, usize),
    /// The front of what may be a record of this many bytes.
    Cut(usize),
    /// No record.
    Bad,
}

/// Whether a chunk fits into a record.
pub(super) fn fits(chunk: &Chunk) -> bool {
    chunk.carry.len() <= CARRY_BYTES && CHUNK_HEAD_BYTES + chunk.carry.len() + chunk.bytes.len() <= PAYLOAD_BYTES
}

/// Appends a chunk that [`fits`].
pub(super) fn encode_chunk(chunk: &Chunk, buffer: &mut Vec<u8>) {
    let start = begin(buffer);
    let stream = chunk.stream.byte() | if chunk.last { LAST } else { 0 };
    buffer.push(CHUNK);
    buffer.extend_from_slice(&chunk.sequence.to_le_bytes());
    buffer.extend_from_slice(&chunk.at_ms.to_le_bytes());
    buffer.extend_from_slice(&[stream, chunk.carry.len() as u8]);
    buffer.extend_from_slice(&chunk.carry);
    buffer.extend_from_slice(&chunk.bytes);
    seal(&mut buffer[start..]);
}

/// Appends an epoch.
pub(super) fn encode_epoch(epoch: u64, buffer: &mut Vec<u8>) {
    let start = begin(buffer);
    buffer.push(EPOCH);
    buffer.extend_from_slice(&epoch.to_le_bytes());
    seal(&mut buffer[start..]);
}

fn begin(buffer: &mut Vec<u8>) -> usize {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; PREFIX_BYTES]);
    start
}

/// Fills in the prefix of a block that is complete but for it: the payload's length and checksum.
pub(super) fn seal(block: &mut [u8]) {
    let (prefix, payload) = block.split_at_mut(PREFIX_BYTES);
    let length = (payload.len() as u32).to_le_bytes();
    prefix[..4].copy_from_slice(&length);
    prefix[4..].copy_from_slice(&checksum(length, payload).to_le_bytes());
}

/// The checksum of a block.
pub(super) fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(payload);
    hasher.finalize()
}

/// Reads the record at the front of `bytes`.
pub(super) fn decode(bytes: &[u8]) -> Decoded<'_> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Decoded::Cut(PREFIX_BYTES) };
    let payload_bytes = u32::from_le_bytes(*length) as usize;
    if payload_bytes == 0 || payload_bytes > PAYLOAD_BYTES {
        return Decoded::Bad;
    }
    let whole = PREFIX_BYTES + payload_bytes;
    let Some((crc, rest)) = rest.split_first_chunk::<4>() else { return Decoded::Cut(whole) };
    let Some(payload) = rest.get(..payload_bytes) else { return Decoded::Cut(whole) };
    if checksum(*length, payload) != u32::from_le_bytes(*crc) {
        return Decoded::Bad;
    }
    parse(payload).map_or(Decoded::Bad, |record| Decoded::Whole(record, whole))
}

/// What the front of a record says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Front {
    /// The record's length.
    pub(super) whole: usize,
    /// A chunk's sequence and the length of its bytes.
    pub(super) chunk: Option<(u64, u64)>,
}

/// Reads the front of a record, unchecked: of [`CHUNK_PREFIX_BYTES`], or of a whole record that is shorter.
pub(super) fn peek(bytes: &[u8]) -> Option<Front> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (_, payload) = rest.split_first_chunk::<4>()?;
    let payload_bytes = u32::from_le_bytes(*length) as usize;
    if payload_bytes > PAYLOAD_BYTES {
        return None;
    }
    let whole = PREFIX_BYTES + payload_bytes;
    let (&kind, rest) = payload.split_first()?;
    let (number, rest) = rest.split_first_chunk::<8>()?;
    match kind {
        CHUNK => {
            let (_, rest) = rest.split_first_chunk::<8>()?;
            let (&[_, carry], _) = rest.split_first_chunk::<2>()?;
            let length = payload_bytes.checked_sub(CHUNK_HEAD_BYTES + usize::from(carry))?;
            Some(Front { whole, chunk: Some((u64::from_le_bytes(*number), length as u64)) })
        }
        EPOCH => Some(Front { whole, chunk: None }),
        _ => None,
    }
}

fn parse(payload: &[u8]) -> Option<Record<'_>> {
    let (&kind, rest) = payload.split_first()?;
    let (number, rest) = rest.split_first_chunk::<8>()?;
    let number = u64::from_le_bytes(*number);
    match kind {
        CHUNK => {
            let (at_ms, rest) = rest.split_first_chunk::<8>()?;
            let (&[stream, carry], rest) = rest.split_first_chunk::<2>()?;
            let (carry, bytes) = rest.split_at_checked(usize::from(carry))?;
            Some(Record::Chunk(ChunkRecord {
                sequence: number,
                stream: Stream::from_byte(stream & !LAST)?,
                at_ms: u64::from_le_bytes(*at_ms),
                last: stream & LAST != 0,
                carry,
                bytes,
            }))
        }
        EPOCH if rest.is_empty() => Some(Record::Epoch(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_chunk_is_read_as_written_and_a_cut_or_flipped_one_is_not(
            sequence: u64, at_ms: u64, stdout: bool, last: bool,
            carry in prop::collection::vec(any::<u8>(), 0..4),
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            at: prop::sample::Index, bit in 0..8_u8,
        ) {
            let stream = if stdout { Stream::Stdout } else { Stream::Stderr };
            let chunk = Chunk { sequence, stream, at_ms, carry, bytes, last };
            let mut buffer = Vec::new();
            encode_chunk(&chunk, &mut buffer);
            let Decoded::Whole(Record::Chunk(read), used) = decode(&buffer) else { panic!("no chunk") };
            prop_assert_eq!(&read.to_chunk(), &chunk);
            prop_assert_eq!(used, buffer.len());
            let front = Front { whole: used, chunk: Some((chunk.sequence, chunk.bytes.len() as u64)) };
            prop_assert_eq!(peek(&buffer[..CHUNK_PREFIX_BYTES]), Some(front));
            let at = at.index(buffer.len());
            prop_assert!(matches!(decode(&buffer[..at]), Decoded::Cut(_)));
            buffer[at] ^= 1 << bit;
            prop_assert!(!matches!(decode(&buffer), Decoded::Whole(..)));
        }

        #[test]
        fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _any = decode(&bytes);
        }
    }

    #[test]
    fn zeros_are_no_record_and_the_bytes_on_disk_stay() {
        assert_eq!(decode(&[0; 64]), Decoded::Bad);
        let chunk = Chunk {
            sequence: 7,
            stream: Stream::Stderr,
            at_ms: 1_700_000_000_000,
            carry: vec![0xe2],
            bytes: b"hi".to_vec(),
            last: true,
        };
        let mut buffer = Vec::new();
        encode_chunk(&chunk, &mut buffer);
        encode_epoch(3, &mut buffer);
        let golden = "160000005abc3bdd01070000000000000000\
                      68e5cf8b0100008201e26869090000000f639828020300000000000000";
        assert_eq!(hex::encode(&buffer), golden);
    }
}
