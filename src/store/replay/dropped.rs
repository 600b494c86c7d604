//! What became of dropped segments: the lengths of their events, so that a reader who was in the midst of them is told
//! exactly how many bytes it missed.
//!
//! One file a log, a block a dropped segment, written before the segment goes: `u32 length, u32 crc, payload`, the
//! payload `u64 sequence, u64 bytes` of everything before the segment, then one LEB128 number an event. Integers are
//! little-endian, the checksum is over length and payload. A block that is missing or damaged only makes an answer less
//! exact.

use std::{
    fs::{self, File},
    io::{self, BufReader, Read, Seek, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use super::{
    record::{self, CHUNK_PREFIX_BYTES, PREFIX_BYTES, checksum, seal},
    segment::{HEAD_BYTES, Head},
};

/// The file, beside the segments.
pub(super) const FILE: &str = "dropped";
/// Above this size the older half of the file goes: for 32 KiB events that is what gigabytes of output take.
const MOST_BYTES: usize = 1024 * 1024;
const HEADER_BYTES: usize = 16;
/// Large records are skipped, so a segment is read in little more than this for each of them.
const READ_BYTES: usize = 4 * 1024;

/// A point in a log: an event, and the bytes of all events up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) sequence: u64,
    pub(super) bytes: u64,
}

fn path(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

/// Remembers a segment that is about to be removed; `next` is the head of the one after it.
pub(super) fn remember(dir: &Path, segment: &Path, head: &Head, next: &Head) -> io::Result<()> {
    let lengths = lengths(segment, head)?;
    let (events, bytes) = (lengths.len() as u64, lengths.iter().sum::<u64>());
    if events == 0
        || head.after.sequence + events != next.previous.sequence
        || head.bytes_before + bytes != next.previous_bytes
    {
        // Damaged, or without an event: what is said of it is its share.
        return Ok(());
    }
    let mut block = vec![0; PREFIX_BYTES];
    block.extend_from_slice(&head.after.sequence.to_le_bytes());
    block.extend_from_slice(&head.bytes_before.to_le_bytes());
    for length in lengths {
        varint(length, &mut block);
    }
    seal(&mut block);
    let path = path(dir);
    let mut file = File::options().append(true).create(true).open(&path)?;
    file.write_all(&block)?;
    if file.metadata()?.len() > MOST_BYTES as u64 {
        halve(&path)?;
    }
    Ok(())
}

/// The bytes of all events up to `sequence`, one that was dropped: exact where its segment is remembered, and else in
/// proportion between the nearest points that are. `first` is where the retained events begin.
pub(super) fn bytes_up_to(dir: &Path, sequence: u64, first: Point) -> u64 {
    let file = fs::read(path(dir)).unwrap_or_default();
    let (mut low, mut high) = (Point { sequence: 0, bytes: 0 }, first);
    for block in blocks(&file) {
        let Some(mut at) = block.start() else { continue };
        let start = at;
        for length in block.lengths() {
            if at.sequence >= sequence {
                break;
            }
            at = Point { sequence: at.sequence + 1, bytes: at.bytes + length };
        }
        if at.sequence == sequence {
            return at.bytes;
        }
        if at.sequence < sequence && at.sequence >= low.sequence {
            low = at;
        }
        if start.sequence > sequence && start.sequence < high.sequence {
            high = start;
        }
    }
    let (part, whole) = (sequence.saturating_sub(low.sequence), high.sequence.saturating_sub(low.sequence));
    low.bytes + share(high.bytes.saturating_sub(low.bytes), part, whole)
}

/// `part / whole` of `bytes`.
#[must_use]
pub fn share(bytes: u64, part: u64, whole: u64) -> u64 {
    if whole == 0 {
        return 0;
    }
    let share = u128::from(bytes) * u128::from(part.min(whole)) / u128::from(whole);
    u64::try_from(share).unwrap_or(u64::MAX)
}

/// The lengths of a segment's events, up to the first record that can't be one; what they hold is not looked at.
fn lengths(segment: &Path, head: &Head) -> io::Result<Vec<u64>> {
    let mut file = BufReader::with_capacity(READ_BYTES, File::open(segment)?);
    file.seek(SeekFrom::Start(HEAD_BYTES as u64))?;
    let mut lengths = Vec::new();
    loop {
        let mut prefix = [0; CHUNK_PREFIX_BYTES];
        let got = read_at_most(&mut file, &mut prefix)?;
        let Some(prefix) = record::peek(&prefix[..got]) else { return Ok(lengths) };
        if let Some((sequence, length)) = prefix.chunk {
            if sequence != head.after.sequence + lengths.len() as u64 + 1 {
                return Ok(lengths);
            }
            lengths.push(length);
        }
        let whole = i64::try_from(prefix.whole).map_err(io::Error::other)?;
        file.seek_relative(whole - got as i64)?;
    }
}

fn read_at_most(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read(&mut buffer[got..]) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

struct Block<'a> {
    whole: &'a [u8],
    payload: &'a [u8],
}

impl Block<'_> {
    fn start(&self) -> Option<Point> {
        let (sequence, rest) = self.payload.split_first_chunk::<8>()?;
        let (bytes, _) = rest.split_first_chunk::<8>()?;
        Some(Point { sequence: u64::from_le_bytes(*sequence), bytes: u64::from_le_bytes(*bytes) })
    }

    fn lengths(&self) -> impl Iterator<Item = u64> {
        let mut rest = self.payload.get(HEADER_BYTES..).unwrap_or_default();
        std::iter::from_fn(move || {
            let (number, after) = take_varint(rest)?;
            rest = after;
            Some(number)
        })
    }
}

/// The good blocks of a file.
fn blocks(mut rest: &[u8]) -> impl Iterator<Item = Block<'_>> {
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (crc, after) = after.split_first_chunk::<4>()?;
        let payload = after.get(..u32::from_le_bytes(*length) as usize)?;
        if payload.is_empty() || checksum(*length, payload) != u32::from_le_bytes(*crc) {
            return None;
        }
        let (whole, behind) = rest.split_at(PREFIX_BYTES + payload.len());
        rest = behind;
        Some(Block { whole, payload })
    })
}

/// Keeps the newer half, without what is damaged.
fn halve(path: &Path) -> io::Result<()> {
    let file = fs::read(path)?;
    let mut newest: Vec<&[u8]> = blocks(&file).map(|block| block.whole).collect();
    let mut kept = 0;
    newest.reverse();
    newest.retain(|block| {
        kept += block.len();
        kept <= MOST_BYTES / 2
    });
    newest.reverse();
    let new = path.with_extension("new");
    fs::write(&new, newest.concat())?;
    fs::rename(new, path)
}

fn varint(mut number: u64, buffer: &mut Vec<u8>) {
    while number >= 0x80 {
        buffer.push(number as u8 | 0x80);
        number >>= 7;
    }
    buffer.push(number as u8);
}

fn take_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (n, byte) in bytes.iter().enumerate().take(10) {
        number |= u64::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return Some((number, &bytes[n + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(after: u64, bytes: u64, lengths: &[u64]) -> Vec<u8> {
        let mut block = vec![0; PREFIX_BYTES];
        block.extend_from_slice(&after.to_le_bytes());
        block.extend_from_slice(&bytes.to_le_bytes());
        lengths.iter().for_each(|length| varint(*length, &mut block));
        seal(&mut block);
        block
    }

    #[test]
    fn remembered_events_are_exact_and_the_rest_is_in_proportion() {
        let dir = tempfile::tempdir().unwrap();
        let first = Point { sequence: 20, bytes: 100_000 };
        let up_to = |sequence| bytes_up_to(dir.path(), sequence, first);
        assert_eq!((up_to(0), up_to(10), up_to(20)), (0, 50_000, 100_000));
        let good = [block(4, 400, &[1, 300, 0, 40_000]), block(10, 80_000, &[7, 8])].concat();
        fs::write(path(dir.path()), &good).unwrap();
        let exact: Vec<u64> = (4..=8).map(up_to).collect();
        assert_eq!(exact, [400, 401, 701, 701, 40_701]);
        assert_eq!((up_to(2), up_to(9), up_to(11), up_to(12)), (200, 40_701 + 39_299 / 2, 80_007, 80_015));
        fs::write(path(dir.path()), &good[..good.len() - 1]).unwrap();
        assert_eq!(up_to(8), 40_701);
        assert_eq!(up_to(14), 40_701 + (100_000 - 40_701) / 2);
    }

    #[test]
    fn the_older_half_of_a_long_file_goes() {
        let dir = tempfile::tempdir().unwrap();
        let lengths = vec![1; 4000];
        let all: Vec<u8> = (0..300).flat_map(|n| block(n * 4000, n * 4000, &lengths)).collect();
        fs::write(path(dir.path()), &all).unwrap();
        halve(&path(dir.path())).unwrap();
        let left = fs::read(path(dir.path())).unwrap();
        assert!(left.len() <= MOST_BYTES / 2 && left.len() > MOST_BYTES / 2 - 5000);
        assert!(all.ends_with(&left) && blocks(&left).all(|block| block.start().is_some()));
    }

    #[test]
    fn numbers_are_read_as_written() {
        for number in [0, 1, 127, 128, 300, 32_768, u64::MAX] {
            let mut bytes = Vec::new();
            varint(number, &mut bytes);
            assert_eq!(take_varint(&bytes), Some((number, &[][..])));
            assert_eq!(take_varint(&bytes[..bytes.len() - 1]), None);
        }
    }
}
