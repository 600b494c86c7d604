//! What becomes of one process's output on its way to the node: numbered, kept, sent within credit, sent again.
//!
//! Pure: no descriptors, no clock. [`Output::read`] takes what was read; [`Output::next`] gives out what may be sent
//! now. What was read but can't be sent yet stays one unnumbered *tail* that grows up to [`CHUNK_BYTES`], so chunks are
//! coalesced exactly while sending is not possible, and a lone keystroke is a chunk at once.

use playhouse_protocol::{
    agent::{Exit, OUTPUT_WINDOW_BYTES},
    ring::{RING_BYTES, Ring},
    stream::{CHUNK_BYTES, Chunk, Stream},
};

/// How much may be read ahead of what was sent while a node takes output: enough to fill the link when credit comes,
/// little enough that what follows a Ctrl-C is not queued behind a mebibyte. Without a node the whole ring is used.
pub const READ_AHEAD_BYTES: u64 = 64 * 1024;

/// A flood's output is sent when there is so much of it. A terminal's next read, 4 KiB, still fits the same chunk.
const GATHERED_BYTES: u64 = CHUNK_BYTES as u64 - 4096;

/// The most chunks in one frame: their fixed costs stay far below the frame's limit.
const FRAME_CHUNKS: usize = 512;

/// What may be sent now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Emission {
    /// Contiguous chunks, at least one.
    Chunks(Vec<Chunk>),
    /// The end; all output was sent before it.
    Exit(Exit),
}

/// How far a node has asked for a process's output on the present stream.
#[derive(Debug)]
struct Flow {
    /// The next number to send.
    cursor: u64,
    /// Bytes sent since the flow began.
    sent: u64,
    /// Bytes that may be sent since the flow began.
    credit: u64,
    /// Bytes read and not sent.
    unsent: u64,
    exit_sent: bool,
}

#[derive(Debug)]
struct Tail {
    stream: Stream,
    at_ms: u64,
    bytes: Vec<u8>,
}

/// One process's output.
#[derive(Debug)]
pub struct Output {
    ring: Ring,
    tail: Option<Tail>,
    flow: Option<Flow>,
    exit: Option<Exit>,
}

impl Default for Output {
    fn default() -> Self {
        Self::new(RING_BYTES)
    }
}

impl Output {
    /// Nothing yet, kept in a ring of `capacity` bytes.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { ring: Ring::new(capacity), tail: None, flow: None, exit: None }
    }

    /// The oldest number kept.
    #[must_use]
    pub fn first_sequence(&self) -> u64 {
        self.ring.first_sequence()
    }

    /// The number that comes next.
    #[must_use]
    pub const fn next_sequence(&self) -> u64 {
        self.ring.next_sequence()
    }

    /// How the process ended.
    #[must_use]
    pub const fn exit(&self) -> Option<&Exit> {
        self.exit.as_ref()
    }

    /// Whether more may be read. The next read may be up to [`CHUNK_BYTES`].
    #[must_use]
    pub fn wants_read(&self) -> bool {
        self.ring.has_room() && self.flow.as_ref().is_none_or(|flow| flow.unsent < READ_AHEAD_BYTES)
    }

    /// Whether so little is unsent that it may wait for more.
    #[must_use]
    pub fn may_gather(&self) -> bool {
        self.flow.as_ref().is_some_and(|flow| flow.unsent < GATHERED_BYTES)
    }

    /// Takes what was read, 1 to [`CHUNK_BYTES`] bytes.
    pub fn read(&mut self, stream: Stream, at_ms: u64, bytes: &[u8]) {
        debug_assert!(!bytes.is_empty() && bytes.len() <= CHUNK_BYTES && self.exit.is_none());
        if let Some(flow) = &mut self.flow {
            flow.unsent += bytes.len() as u64;
        }
        match &mut self.tail {
            Some(tail) if tail.stream == stream && tail.bytes.len() + bytes.len() <= CHUNK_BYTES => {
                tail.bytes.extend_from_slice(bytes);
            }
            _ => {
                self.number_tail();
                self.tail = Some(Tail { stream, at_ms, bytes: bytes.to_vec() });
            }
        }
    }

    /// Nothing more comes on `stream`: a cut character left over becomes an event.
    pub fn finish(&mut self, stream: Stream, at_ms: u64) {
        self.number_tail();
        self.ring.finish(stream, at_ms);
    }

    /// The process has ended and both streams are finished. Its last number is filled in here.
    pub fn end(&mut self, exit: Exit) {
        self.number_tail();
        self.exit = Some(Exit { last_sequence: self.ring.next_sequence() - 1, ..exit });
    }

    /// The process was started on this stream: its output flows from the first event.
    pub fn begin(&mut self) {
        self.resume(1, OUTPUT_WINDOW_BYTES);
    }

    /// Output flows from `sequence`, or from the nearest number that is here; `credit` bytes may be sent.
    pub fn resume(&mut self, sequence: u64, credit: u64) {
        let cursor = sequence.clamp(self.ring.first_sequence(), self.ring.next_sequence());
        let kept: usize = (cursor..self.ring.next_sequence())
            .filter_map(|number| self.ring.get(number))
            .map(|chunk| chunk.bytes.len())
            .sum();
        let unsent = (kept + self.tail.as_ref().map_or(0, |tail| tail.bytes.len())) as u64;
        self.flow = Some(Flow { cursor, sent: 0, credit, unsent, exit_sent: false });
    }

    /// The stream is gone: nothing is sent until the next [`Output::resume`].
    pub fn detach(&mut self) {
        self.flow = None;
    }

    /// `bytes` may be sent in all since the flow began. A lower figure than before is ignored.
    pub fn credit(&mut self, bytes: u64) {
        if let Some(flow) = &mut self.flow {
            flow.credit = flow.credit.max(bytes);
        }
    }

    /// Everything up to `sequence` is stored.
    pub fn stored(&mut self, sequence: u64) {
        self.ring.acknowledge(sequence);
        // What is stored and made room for need not be sent: the node that stored it has it.
        let Some(flow) = &mut self.flow else { return };
        let first = self.ring.first_sequence();
        if flow.cursor < first {
            let (sent, credit, exit_sent) = (flow.sent, flow.credit, flow.exit_sent);
            self.resume(first, credit);
            if let Some(flow) = &mut self.flow {
                (flow.sent, flow.exit_sent) = (sent, exit_sent);
            }
        }
    }

    /// What to send now, about `limit` bytes and at least one event, or `None` when there is nothing or no credit.
    pub fn next(&mut self, limit: usize) -> Option<Emission> {
        let mut chunks: Vec<Chunk> = Vec::new();
        let mut bytes = 0;
        loop {
            let flow = self.flow.as_ref()?;
            let length = match (self.ring.get(flow.cursor), &self.tail) {
                (Some(chunk), _) => chunk.bytes.len(),
                (None, Some(tail)) => tail.bytes.len(),
                (None, None) => break,
            };
            let allowed = flow.sent + length as u64 <= flow.credit;
            if !allowed || (!chunks.is_empty() && bytes + length > limit) || chunks.len() == FRAME_CHUNKS {
                break;
            }
            if flow.cursor == self.ring.next_sequence() {
                self.number_tail();
            }
            let (Some(flow), ring) = (&mut self.flow, &self.ring) else { break };
            let Some(chunk) = ring.get(flow.cursor) else { break };
            chunks.push(Chunk::clone(chunk));
            flow.cursor += 1;
            flow.sent += length as u64;
            flow.unsent -= length as u64;
            bytes += length;
        }
        if !chunks.is_empty() {
            return Some(Emission::Chunks(chunks));
        }
        let (Some(flow), Some(exit)) = (&mut self.flow, &self.exit) else { return None };
        if flow.exit_sent || flow.cursor < self.ring.next_sequence() {
            return None;
        }
        flow.exit_sent = true;
        Some(Emission::Exit(exit.clone()))
    }

    fn number_tail(&mut self) {
        if let Some(tail) = self.tail.take() {
            self.ring.push(tail.stream, tail.at_ms, tail.bytes);
        }
    }
}

#[cfg(test)]
#[path = "output_tests.rs"]
mod tests;
