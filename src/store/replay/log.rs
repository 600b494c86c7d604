//! One log: its segments, what may be appended to them, and what retention takes from them.
//!
//! The methods do file I/O of microseconds (write, create, unlink) and never sync.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use playhouse_protocol::{Chunk, EventId};

use super::{
    AppendError, Bounds, Retention, dropped,
    files::Files,
    record,
    segment::{self, HEAD_BYTES, Head, Mark, Marks},
    workspace::entries,
};

/// A segment is closed when it has grown to this many bytes, or an eighth of what a process may retain.
const SEGMENT_BYTES: u64 = 1024 * 1024;
const SEGMENT_LEAST_BYTES: u64 = 8 * 1024;
/// Records of few bytes cost more on disk than they hold. A log may take this many times its cap there before that
/// counts against it.
const DISK_FACTOR: u64 = 4;

/// What all logs share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) files: Files,
    pub(super) retention: Retention,
}

impl Shared {
    fn segment_bytes(&self) -> u64 {
        (self.retention.process_bytes / 8).clamp(SEGMENT_LEAST_BYTES, SEGMENT_BYTES)
    }
}

/// A segment of a log.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) head: Head,
    /// How much of its file is written.
    pub(super) len: u64,
    /// The bytes of its events.
    data: u64,
    /// None before it was scanned.
    pub(super) marks: Option<Marks>,
    /// See [`Files::wrote`].
    noted: u64,
}

impl Segment {
    fn new(head: Head) -> Self {
        Self { head, len: HEAD_BYTES as u64, data: 0, marks: Some(Marks::default()), noted: 0 }
    }

    fn first(&self) -> u64 {
        self.head.after.sequence + 1
    }

    pub(super) fn path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{:020}.seg", self.first()))
    }

    /// What it counts against a cap.
    fn weight(&self) -> u64 {
        weight(self.data, self.len)
    }
}

/// What a segment of so many bytes of events and so many bytes of file counts against a cap.
pub(super) fn weight(data: u64, disk: u64) -> u64 {
    data.max(disk / DISK_FACTOR)
}

/// A loaded log. It has at least one segment; the last is the one that is written.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) dir: Arc<Path>,
    pub(super) segments: VecDeque<Segment>,
    /// The last event, or the last one known to be lost.
    pub(super) end: EventId,
    /// The bytes of all events up to `end`, retained or not.
    pub(super) bytes: u64,
    epoch: u64,
}

impl Log {
    /// Makes a log whose numbering goes on after `after`; beyond `0-0` if what was before is lost.
    pub(super) fn create(shared: &Shared, dir: &Path, epoch: u64) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let dir: Arc<Path> = dir.into();
        let head = Head { epoch, previous: EventId::ZERO, previous_bytes: 0, after: EventId::ZERO, bytes_before: 0 };
        let mut log = Self { dir, segments: VecDeque::new(), end: EventId::ZERO, bytes: 0, epoch };
        log.begin(shared, head)?;
        for parent in log.dir.ancestors().skip(1).take(2) {
            shared.files.note(parent.to_owned());
        }
        Ok(log)
    }

    /// Reads a log from its directory and cuts its last segment at the first bad record. None if there is no segment.
    pub(super) fn load(dir: &Path) -> io::Result<Option<Self>> {
        let mut names = entries(dir)?;
        names.retain(|name| name.extension().is_some_and(|extension| extension == "seg"));
        names.sort_unstable();
        let mut segments: VecDeque<Segment> = VecDeque::with_capacity(names.len());
        for path in names {
            let file = File::open(&path)?;
            let mut bytes = [0; HEAD_BYTES];
            let head = match file.read_exact_at(&mut bytes, 0) {
                Ok(()) => Head::decode(&bytes),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
                Err(error) => return Err(error),
            };
            let in_order = |head: &Head| segments.back().is_none_or(|last| last.head.after < head.after);
            let Some(head) = head.filter(in_order) else {
                // Made by a program that died before it wrote the head, or damaged: a hole for readers either way.
                tracing::warn!(path = %path.display(), "a segment without a head is removed");
                fs::remove_file(&path)?;
                continue;
            };
            let len = file.metadata()?.len();
            if let Some(before) = segments.back_mut() {
                // At most what its head and its successor's say, if it is whole.
                before.data = head.previous_bytes.saturating_sub(before.head.bytes_before).min(before.len);
            }
            segments.push_back(Segment { head, len, data: 0, marks: None, noted: 0 });
        }
        let Some(last) = segments.back_mut() else { return Ok(None) };
        let path = last.path(dir);
        let scan = segment::scan(&last.head, &fs::read(&path)?);
        if scan.len < last.len {
            tracing::warn!(path = %path.display(), from = last.len, to = scan.len, "a replay log is cut at a bad record");
            File::options().write(true).open(&path)?.set_len(scan.len)?;
        }
        (last.len, last.data, last.marks) = (scan.len, scan.data, Some(scan.marks));
        let end = EventId::new(last.head.after.generation, scan.sequence);
        let bytes = last.head.bytes_before + scan.data;
        Ok(Some(Self { dir: dir.into(), segments, end, bytes, epoch: scan.epoch }))
    }

    /// Where it begins and ends.
    pub(super) fn bounds(&self, finished: bool) -> Bounds {
        let after = self.segments[0].head.after;
        let first = EventId::new(after.generation, after.sequence + 1);
        let retained_bytes = self.segments.iter().map(|segment| segment.data).sum();
        Bounds { first, last: self.end, retained_bytes, bytes: self.bytes, finished }
    }

    /// What it counts against the cap of its workspace.
    pub(super) fn weight(&self) -> u64 {
        self.segments.iter().map(Segment::weight).sum()
    }

    /// Appends what is not there yet.
    pub(super) fn append(
        &mut self,
        shared: &Shared,
        epoch: u64,
        chunks: &[Arc<Chunk>],
    ) -> Result<EventId, AppendError> {
        if epoch < self.epoch {
            return Err(AppendError::Fenced);
        }
        let known = chunks.iter().take_while(|chunk| chunk.sequence <= self.end.sequence).count();
        let fresh = &chunks[known..];
        for (expected, chunk) in (self.end.sequence + 1..).zip(fresh) {
            if chunk.sequence != expected {
                return Err(AppendError::Gap { expected });
            }
            if !record::fits(chunk) {
                return Err(AppendError::Io(io::Error::new(io::ErrorKind::InvalidInput, "an oversized chunk")));
            }
        }
        let mut pending = Pending::new(self);
        if epoch > self.epoch {
            record::encode_epoch(epoch, &mut pending.buffer);
            pending.epoch = epoch;
        }
        for chunk in fresh {
            let len = self.active().len + pending.buffer.len() as u64;
            if len >= shared.segment_bytes() && pending.sequence > self.active().head.after.sequence {
                self.flush(shared, pending)?;
                self.roll(shared)?;
                pending = Pending::new(self);
            }
            pending.chunk(self.active().len, self.bytes, chunk);
        }
        self.flush(shared, pending)?;
        self.drop_over(shared);
        Ok(self.end)
    }

    /// Records that everything up to `to_sequence` is gone: numbering goes on behind it, in the next generation.
    pub(super) fn lose(
        &mut self,
        shared: &Shared,
        epoch: u64,
        to_sequence: u64,
        bytes: u64,
    ) -> Result<EventId, AppendError> {
        if epoch < self.epoch {
            return Err(AppendError::Fenced);
        }
        if to_sequence <= self.end.sequence {
            return Ok(self.end);
        }
        // A last segment without events makes room for the new one, whose hole then takes in its own.
        let empty = (self.end == self.active().head.after).then_some(self.active().head);
        let (previous, previous_bytes) =
            empty.map_or((self.end, self.bytes), |head| (head.previous, head.previous_bytes));
        let after = EventId::new(self.end.generation + 1, to_sequence);
        let bytes_before = self.bytes.saturating_add(bytes);
        self.begin(shared, Head { epoch, previous, previous_bytes, after, bytes_before })?;
        if empty.is_some()
            && let Some(empty) = self.segments.remove(self.segments.len() - 2)
            && let Err(error) = fs::remove_file(empty.path(&self.dir))
        {
            tracing::warn!(%error, path = %empty.path(&self.dir).display(), "an empty segment is not removed");
        }
        (self.end, self.bytes, self.epoch) = (after, bytes_before, epoch);
        Ok(self.end)
    }

    fn active(&self) -> &Segment {
        &self.segments[self.segments.len() - 1]
    }

    /// Writes what is pending at the end of the last segment. A failed write leaves the log as it was.
    fn flush(&mut self, shared: &Shared, pending: Pending) -> io::Result<()> {
        if pending.buffer.is_empty() {
            return Ok(());
        }
        let dir = Arc::clone(&self.dir);
        let last = self.segments.len() - 1;
        let active = &mut self.segments[last];
        let file = shared.files.writable(&dir, active.first(), || active.path(&dir))?;
        if let Err(error) = file.write_all_at(&pending.buffer, active.len) {
            // What was written in part is cut now, or by the checksum when the log is next loaded.
            if let Err(cut) = file.set_len(active.len) {
                tracing::warn!(error = %cut, path = %active.path(&dir).display(), "a half-written record stays");
            }
            return Err(error);
        }
        active.len += pending.buffer.len() as u64;
        active.data += pending.data;
        let marks = active.marks.get_or_insert_default();
        pending.marks.into_iter().for_each(|mark| marks.note(mark));
        let mut noted = active.noted;
        shared.files.wrote(&mut noted, || active.path(&dir));
        active.noted = noted;
        self.end.sequence = pending.sequence;
        self.bytes += pending.data;
        self.epoch = pending.epoch;
        Ok(())
    }

    /// Begins a new segment at the log's end.
    fn roll(&mut self, shared: &Shared) -> io::Result<()> {
        let (end, bytes) = (self.end, self.bytes);
        let head = Head { epoch: self.epoch, previous: end, previous_bytes: bytes, after: end, bytes_before: bytes };
        self.begin(shared, head)
    }

    fn begin(&mut self, shared: &Shared, head: Head) -> io::Result<()> {
        let mut segment = Segment::new(head);
        let path = segment.path(&self.dir);
        let file = File::options().write(true).create(true).truncate(true).open(&path)?;
        if let Err(error) = file.write_all_at(&head.encode(), 0) {
            // Without a head it would be removed by the next load anyway.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        if let Some(before) = self.segments.back() {
            shared.files.close(&self.dir, before.first());
        }
        shared.files.keep(&self.dir, segment.first(), file);
        shared.files.wrote(&mut segment.noted, || path);
        shared.files.note(self.dir.to_path_buf());
        self.segments.push_back(segment);
        Ok(())
    }

    /// Drops the oldest segments that the cap of a process does not need.
    fn drop_over(&mut self, shared: &Shared) {
        let mut weight = self.weight();
        while self.segments.len() > 1 && weight - self.segments[0].weight() >= shared.retention.process_bytes {
            weight -= self.segments[0].weight();
            self.drop_first(shared);
        }
    }

    /// Frees the oldest segment, also if it is the one that is written.
    pub(super) fn drop_oldest(&mut self, shared: &Shared) -> io::Result<()> {
        if self.segments.len() == 1 {
            if self.end == self.active().head.after {
                return Ok(());
            }
            self.roll(shared)?;
        }
        self.drop_first(shared);
        Ok(())
    }

    fn drop_first(&mut self, shared: &Shared) {
        let Some(first) = self.segments.pop_front() else { return };
        shared.files.close(&self.dir, first.first());
        let path = first.path(&self.dir);
        if let Some(next) = self.segments.front()
            && let Err(error) = dropped::remember(&self.dir, &path, &first.head, &next.head)
        {
            // Whoever was in its midst is told about how much it missed, not exactly.
            tracing::warn!(%error, path = %path.display(), "the lengths of dropped events are not kept");
        }
        if let Err(error) = fs::remove_file(&path) {
            // It is forgotten here; a later load finds it again and drops it then.
            tracing::warn!(%error, path = %path.display(), "an old segment is not removed");
        }
    }
}

/// Records that are to be written in one go, and what will be true then.
struct Pending {
    buffer: Vec<u8>,
    marks: Vec<Mark>,
    sequence: u64,
    data: u64,
    epoch: u64,
}

impl Pending {
    fn new(log: &Log) -> Self {
        Self { buffer: Vec::new(), marks: Vec::new(), sequence: log.end.sequence, data: 0, epoch: log.epoch }
    }

    fn chunk(&mut self, offset: u64, bytes_before: u64, chunk: &Chunk) {
        let offset = offset + self.buffer.len() as u64;
        self.marks.push(Mark { sequence: chunk.sequence, offset, bytes: bytes_before + self.data });
        record::encode_chunk(chunk, &mut self.buffer);
        self.sequence = chunk.sequence;
        self.data += chunk.bytes.len() as u64;
    }
}
