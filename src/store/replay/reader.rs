//! Reading a page: what comes after an id, holes included, without holding the log while the disk works.

use std::{fs::File, io, os::unix::fs::FileExt, path::PathBuf, sync::Arc};

use playhouse_protocol::EventId;

use super::{
    Item, LossReason, Lost, Page,
    dropped::{Point, bytes_up_to, share},
    log::Log,
    record::{self, Decoded, Record},
    segment::{Head, Mark, Marks},
};

/// How much is read at once.
const READ_BYTES: usize = 256 * 1024;

/// What is to be done next in order to read on.
#[derive(Debug)]
pub(super) enum Step {
    /// There is nothing more.
    End,
    /// A hole, unless the reader came from an older generation beyond it; reading goes on behind `to`.
    Hole { lost: Option<Lost>, to: EventId },
    /// A segment is to be scanned first, since the reader is in its midst.
    Scan { path: PathBuf, head: Head },
    /// Records are to be read.
    Read(Piece),
}

/// A stretch of one segment.
#[derive(Debug)]
pub(super) struct Piece {
    path: PathBuf,
    generation: u64,
    from: Mark,
    len: u64,
    /// Where the next segment says that this one ended, and the bytes up to there; none for the last segment.
    sealed: Option<(EventId, u64)>,
}

/// How reading a [`Piece`] ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// The page is full, or the piece is at its end.
    Done,
    /// The last segment has a bad record: the log is to be loaded, and so cut, anew.
    Damaged,
}

impl Log {
    /// The next step for a reader who has everything up to `cursor`.
    pub(super) fn step(&self, cursor: EventId) -> Step {
        if cursor >= self.end {
            return Step::End;
        }
        let behind = self.segments.partition_point(|segment| segment.head.after <= cursor);
        let Some(at) = behind.checked_sub(1) else {
            return self.before_first(cursor);
        };
        let segment = &self.segments[at];
        let sealed = self.segments.get(at + 1).map(|next| next.head);
        if let Some(next) = sealed
            && cursor >= next.previous
        {
            return hole(cursor, next.previous, next.after, next.bytes_before.saturating_sub(next.previous_bytes));
        }
        let path = segment.path(&self.dir);
        // The segment holds what follows the cursor, so the cursor is of its generation.
        let from = match &segment.marks {
            Some(marks) => marks.before(&segment.head, cursor.sequence),
            None if cursor == segment.head.after => Marks::default().before(&segment.head, cursor.sequence),
            None => return Step::Scan { path, head: segment.head },
        };
        let sealed = sealed.map(|next| (next.previous, next.previous_bytes));
        Step::Read(Piece { path, generation: segment.head.after.generation, from, len: segment.len, sealed })
    }

    fn before_first(&self, cursor: EventId) -> Step {
        let head = self.segments[0].head;
        if cursor >= head.previous && head.previous < head.after {
            return hole(cursor, head.previous, head.after, head.bytes_before.saturating_sub(head.previous_bytes));
        }
        let first = Point { sequence: head.after.sequence, bytes: head.bytes_before };
        let bytes = head.bytes_before.saturating_sub(bytes_up_to(&self.dir, cursor.sequence, first));
        Step::Hole { lost: lost(cursor, head.after, bytes, LossReason::Retention), to: head.after }
    }

    /// Keeps what a scan found, if the segment is still there.
    pub(super) fn scanned(&mut self, head: &Head, marks: Marks) {
        if let Some(segment) = self.segments.iter_mut().find(|segment| segment.head == *head) {
            segment.marks = Some(marks);
        }
    }
}

/// What the store lost between two segments, or the rest of it behind the cursor.
fn hole(cursor: EventId, from: EventId, to: EventId, bytes: u64) -> Step {
    let whole = to.sequence.saturating_sub(from.sequence);
    let bytes = share(bytes, to.sequence.saturating_sub(cursor.sequence), whole);
    Step::Hole { lost: lost(cursor, to, bytes, LossReason::StoreLost), to }
}

fn lost(cursor: EventId, to: EventId, bytes: u64, reason: LossReason) -> Option<Lost> {
    let from = EventId::new(cursor.generation, cursor.sequence + 1);
    (from.sequence <= to.sequence).then_some(Lost { from, to, bytes, reason })
}

impl Piece {
    /// Appends the piece's events behind `page.next` to the page until their cost reaches `max`.
    pub(super) fn read(&self, page: &mut Page, cost: &mut usize, max: usize) -> io::Result<Read> {
        let file = File::open(&self.path)?;
        let mut offset = self.from.offset;
        let mut bytes = self.from.bytes;
        let mut next = self.from.sequence;
        let mut want = READ_BYTES.min(max.saturating_sub(*cost).saturating_add(16 * 1024));
        let mut buffer = Vec::new();
        while offset < self.len {
            let here = usize::try_from(self.len - offset).unwrap_or(want).min(want);
            buffer.resize(here, 0);
            let got = read_at_most(&file, &mut buffer, offset)?;
            let mut rest = &buffer[..got];
            loop {
                let (record, used) = match record::decode(rest) {
                    Decoded::Whole(record, used) => (record, used),
                    Decoded::Cut(whole) if whole as u64 <= self.len - offset && got == here => {
                        // It goes on behind what was read.
                        want = want.max(whole);
                        break;
                    }
                    Decoded::Cut(_) | Decoded::Bad => return Ok(self.damaged(page, bytes)),
                };
                if let Record::Chunk(chunk) = record {
                    if chunk.sequence != next {
                        return Ok(self.damaged(page, bytes));
                    }
                    let id = EventId::new(self.generation, chunk.sequence);
                    let length = chunk.bytes.len() as u64;
                    if id > page.next {
                        if *cost >= max && !page.items.is_empty() {
                            return Ok(Read::Done);
                        }
                        let chunk = chunk.to_chunk();
                        *cost += chunk.cost();
                        page.items.push(Item::Chunk { generation: self.generation, chunk: Arc::new(chunk) });
                        page.next = id;
                    }
                    next += 1;
                    bytes += length;
                }
                rest = &rest[used..];
                offset += used as u64;
                if rest.is_empty() {
                    break;
                }
            }
        }
        match self.sealed {
            // It ended before it should have.
            Some((end, _)) if page.next < end => Ok(self.damaged(page, bytes)),
            _ => Ok(Read::Done),
        }
    }

    /// The rest of a closed segment is lost; the last one is to be cut.
    fn damaged(&self, page: &mut Page, bytes: u64) -> Read {
        let Some((end, end_bytes)) = self.sealed else { return Read::Damaged };
        tracing::warn!(path = %self.path.display(), "a closed segment is damaged");
        let lost = lost(page.next, end, end_bytes.saturating_sub(bytes), LossReason::StoreLost);
        page.items.extend(lost.map(Item::Lost));
        page.next = end;
        Read::Done
    }
}

/// As much as there is, up to the buffer.
fn read_at_most(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read_at(&mut buffer[got..], offset + got as u64) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}
