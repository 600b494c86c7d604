//! One process: what is read from it, what is written to it, and how it ends.
//!
//! `Waiting` (its start is queued) → `Running` → `Draining` (it has ended, its last output is being read) → `Over`
//! (kept until the node forgets it).

use std::time::Duration;

use playhouse_protocol::{
    agent::{Exit, InputOutcome, ProcessState, PtySize},
    stream::{CHUNK_BYTES, Stream},
};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    full_disk::{self, Witness},
    init::Ended,
    input::Input,
    output::Output,
    wires::{Found, SHORT_READ, Wires},
};

/// How long output of a program that has ended may be held open by its children.
pub const DRAIN_TIME: Duration = Duration::from_secs(1);

/// How much is still read of a stream when that time is over: more than a pipe or a terminal can hold.
const DRAIN_BYTES: usize = 1024 * 1024;

/// How much input is written in one go, so that one process's does not keep the others waiting.
const WRITE_BYTES: usize = 64 * 1024;

#[derive(Debug)]
enum Phase {
    Waiting { size: Option<PtySize> },
    Running { pid: i32, wires: Wires },
    Draining { wires: Wires, exit: Exit, until: Instant, left: usize },
    Over,
}

/// One process.
#[derive(Debug)]
pub struct Process {
    /// What it has put out.
    pub output: Output,
    input: Input,
    phase: Phase,
    /// It is in the queue of those that may send.
    pub is_queued: bool,
    /// It floods, and what it has put out waits so long at most for what follows.
    pub gathers_until: Option<Instant>,
    /// Its output has begun to flow once.
    pub has_begun: bool,
    witness: Witness,
}

impl Process {
    /// A process whose start is queued.
    #[must_use]
    pub fn waiting(size: Option<PtySize>) -> Self {
        Self {
            output: Output::default(),
            input: Input::new(size.is_some()),
            phase: Phase::Waiting { size },
            is_queued: false,
            gathers_until: None,
            has_begun: false,
            witness: Witness::default(),
        }
    }

    /// Its start is queued.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Waiting { .. })
    }

    /// The size its terminal is to have when it starts.
    #[must_use]
    pub const fn size(&self) -> Option<PtySize> {
        match &self.phase {
            Phase::Waiting { size } => *size,
            Phase::Running { .. } | Phase::Draining { .. } | Phase::Over => None,
        }
    }

    /// It is not over: it runs, or its last output is being read.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Running { .. } | Phase::Draining { .. })
    }

    /// Its process id while it runs and was not reaped.
    #[must_use]
    pub const fn pid(&self) -> Option<i32> {
        match &self.phase {
            Phase::Running { pid, .. } => Some(*pid),
            Phase::Waiting { .. } | Phase::Draining { .. } | Phase::Over => None,
        }
    }

    /// When to [`Process::drain`] it. While there is no room for its last output, never.
    #[must_use]
    pub fn drains_at(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Draining { until, .. } => self.output.wants_read().then_some(*until),
            Phase::Waiting { .. } | Phase::Running { .. } | Phase::Over => None,
        }
    }

    /// It runs, on a disk that is full or not; what was written to it meanwhile is passed on.
    pub fn run(&mut self, pid: i32, wires: Wires, is_disk_full: bool) {
        self.witness.begin(is_disk_full);
        for stream in wires.open_streams() {
            wires.watch(stream);
        }
        self.phase = Phase::Running { pid, wires };
        self.feed();
    }

    /// It could not be started, or ended before it was.
    pub fn end_unstarted(&mut self, message: &str, stream: Stream, exit: Exit) {
        if !message.is_empty() {
            self.output.read(stream, exit.at_ms, message.as_bytes());
        }
        self.over(exit);
    }

    /// Takes input for it.
    pub fn offer(&mut self, writer: &str, seq: u64, bytes: &[u8], eof: bool) -> InputOutcome {
        let in_kernel = match &self.phase {
            Phase::Running { wires, .. } if !self.input.waiting().is_empty() => wires.unread_input(),
            // While nothing waits here, the kernel's share is too small to matter.
            Phase::Running { .. } | Phase::Waiting { .. } | Phase::Draining { .. } | Phase::Over => 0,
        };
        let outcome = self.input.offer(writer, seq, bytes, eof, in_kernel);
        if outcome == InputOutcome::Taken {
            self.feed();
        }
        outcome
    }

    /// Writes what waits, as far as the program takes it.
    pub fn feed(&mut self) {
        let Phase::Running { wires, .. } = &mut self.phase else { return };
        let mut room = WRITE_BYTES;
        while !self.input.waiting().is_empty() {
            let bytes = self.input.waiting();
            let bytes = &bytes[..bytes.len().min(room)];
            match if bytes.is_empty() { Ok(0) } else { wires.write(bytes) } {
                Ok(0) => return wires.watch_input(),
                Ok(count) => {
                    room -= count;
                    self.input.wrote(count);
                }
                Err(_) => self.input.close(),
            }
        }
        if self.input.is_done() {
            wires.close_input();
        }
    }

    /// Sets its terminal's size.
    pub fn resize(&mut self, to: PtySize) {
        match &mut self.phase {
            Phase::Waiting { size: Some(size) } => *size = to,
            Phase::Running { wires, .. } => wires.resize(to),
            Phase::Waiting { size: None } | Phase::Draining { .. } | Phase::Over => {}
        }
    }

    /// Reads `stream` once, if there is room, and asks to be told when there is more. Whether it floods: then what
    /// was read may wait a moment for what follows.
    pub fn read(&mut self, stream: Stream, now_ms: u64, buffer: &mut [u8; CHUNK_BYTES]) -> bool {
        let mut floods = false;
        if !self.output.wants_read() {
            return floods;
        }
        let (Phase::Running { wires, .. } | Phase::Draining { wires, .. }) = &mut self.phase else { return floods };
        match wires.read(stream, buffer) {
            Found::Bytes(count) => {
                self.output.read(stream, now_ms, &buffer[..count]);
                self.witness.hear(&buffer[..count]);
                wires.watch(stream);
                floods = count >= SHORT_READ && self.output.may_gather();
            }
            Found::Nothing => wires.watch(stream),
            Found::End => self.output.finish(stream, now_ms),
        }
        self.finish_if_drained();
        floods && self.is_live()
    }

    /// There is room again: streams that were not read for want of it are watched.
    pub fn watch(&self) {
        if let Phase::Running { wires, .. } | Phase::Draining { wires, .. } = &self.phase
            && self.output.wants_read()
        {
            for stream in wires.open_streams() {
                wires.watch(stream);
            }
        }
    }

    /// It has ended and was reaped.
    pub fn ended(&mut self, how: Ended, reason: Option<String>, now: Instant, now_ms: u64) {
        let (code, signal) = match how {
            Ended::Code(code) => (Some(code), None),
            Ended::Signal(signal) => (None, Some(signal)),
        };
        let exit = Exit { last_sequence: 0, code, signal, reason, at_ms: now_ms };
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Running { mut wires, .. } => {
                self.input.close();
                wires.close_input();
                self.phase = Phase::Draining { wires, exit, until: now + DRAIN_TIME, left: DRAIN_BYTES };
                self.finish_if_drained();
            }
            other => self.phase = other,
        }
    }

    /// Its time to drain is over: what can be read is read, then its streams are given up. As long as there is no room
    /// for that, it goes on draining.
    pub fn drain(&mut self, now_ms: u64, buffer: &mut [u8; CHUNK_BYTES]) {
        let Phase::Draining { wires, left, .. } = &mut self.phase else { return };
        for stream in wires.open_streams() {
            loop {
                if !self.output.wants_read() {
                    return;
                }
                match wires.read(stream, buffer) {
                    Found::Bytes(count) => {
                        *left = left.saturating_sub(count);
                        self.output.read(stream, now_ms, &buffer[..count]);
                        self.witness.hear(&buffer[..count]);
                        if *left == 0 {
                            break;
                        }
                    }
                    Found::Nothing | Found::End => break,
                }
            }
            wires.close_output(stream);
            self.output.finish(stream, now_ms);
        }
        self.finish_if_drained();
    }

    fn finish_if_drained(&mut self) {
        if let Phase::Draining { wires, exit, .. } = &self.phase
            && wires.open_streams().next().is_none()
        {
            let mut exit = exit.clone();
            exit.reason = exit.reason.filter(|reason| reason != full_disk::REASON || self.witness.blames());
            self.over(exit);
        }
    }

    fn over(&mut self, exit: Exit) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            self.output.finish(stream, exit.at_ms);
        }
        self.output.end(exit);
        self.input.close();
        self.phase = Phase::Over;
    }

    /// What a new stream is told of it, unless its start is still queued.
    #[must_use]
    pub fn state(&self, process_id: Uuid) -> Option<ProcessState> {
        if self.is_waiting() {
            return None;
        }
        Some(ProcessState {
            process_id,
            first_sequence: self.output.first_sequence(),
            next_sequence: self.output.next_sequence(),
            exit: self.output.exit().cloned(),
            writers: self.input.writers().map(|(writer, seq)| (writer.to_owned(), seq)).collect(),
        })
    }
}
