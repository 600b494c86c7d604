//! What is typed, until the agent has it.
//!
//! Pure. Numbers count per process and writer, and the agent is their authority: it applies each once, in order, so
//! everything unacknowledged is sent again on a new link. One input is under way at a time: the agent may refuse it
//! when it is full, and a later number that was taken would make the refused one look seen. For the same reason a
//! refusal is one of whatever waits behind it, and [`super::numbers`] says what becomes of what comes after it.
//!
//! What a client did not number gets a number of an internal writer, whose name is longer than a client's may be.
//! Input beyond one frame is sent in parts: all but the last under a writer derived from the client's, with the
//! client's number, so that a retry repeats none of them.

use std::collections::{HashSet, VecDeque};

use playhouse_protocol::agent::{INPUT_BYTES, InputOutcome, NodeFrame, PIECE_BYTES};
use uuid::Uuid;

use super::numbers::{Numbers, Standing, WRITERS, is_clients};
use crate::{check, invariant::Inv};

/// How many inputs may wait: a client that sends empty ones costs no more memory than one that sends full ones.
const WAITING: usize = 4096;

/// Who writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Writer {
    /// A client that numbers: its name and the number.
    Numbered(String, u64),
    /// A client that does not.
    Unnumbered,
    /// A request that is retried under a key: the key's hash names a writer that writes once.
    Once([u8; 32]),
}

/// What becomes of an input at once.
#[derive(Debug, PartialEq, Eq)]
pub enum Offered {
    /// It was taken before.
    Known,
    /// It waits for the agent.
    Waits,
    /// More than 1 MiB would wait, or an earlier number of the writer was refused; the number is unused.
    Full,
    /// It was refused, and a later number was let through since: it stays unused.
    Passed,
}

/// The answer for whoever typed.
#[derive(Debug, PartialEq, Eq)]
pub struct Answered<T> {
    /// Who.
    pub to: T,
    /// What became of it.
    pub outcome: InputOutcome,
}

#[derive(Debug)]
struct Waiting<T> {
    writer: String,
    seq: u64,
    bytes: Vec<u8>,
    eof: bool,
    tag: u64,
    /// The parts of one input share it.
    group: u64,
    sent: bool,
    /// Whoever waits for it; empty for a part that is not the last.
    to: Vec<T>,
}

/// A process's input.
#[derive(Debug)]
pub struct Inputs<T> {
    waiting: VecDeque<Waiting<T>>,
    bytes: usize,
    numbers: Numbers,
    internal: String,
    next_internal: u64,
    next_tag: u64,
}

impl<T> Inputs<T> {
    /// No input yet. The pair is unique to this activation of the process.
    #[must_use]
    pub fn new(activation: (u64, u64)) -> Self {
        let (epoch, version) = activation;
        // 65 characters: no client's writer has as many.
        let internal = format!("{epoch:0>32}/{version:0>32}");
        let numbers = Numbers::default();
        Self { waiting: VecDeque::new(), bytes: 0, numbers, internal, next_internal: 1, next_tag: 1 }
    }

    /// The last number taken of a writer.
    #[must_use]
    pub fn last(&self, writer: &str) -> u64 {
        self.numbers.last(writer)
    }

    /// Takes something typed; `to` is answered later when it [`Offered::Waits`], and given back otherwise.
    pub fn offer(&mut self, writer: Writer, mut bytes: Vec<u8>, eof: bool, to: T, now_ms: u64) -> (Offered, Option<T>) {
        let (writer, seq) = match writer {
            Writer::Numbered(writer, seq) => {
                match self.numbers.standing(&writer, seq, now_ms) {
                    Standing::Known => return (Offered::Known, Some(to)),
                    Standing::Held => {
                        self.numbers.refuse(&writer, seq, now_ms);
                        return (Offered::Full, Some(to));
                    }
                    Standing::Passed => return (Offered::Passed, Some(to)),
                    Standing::New => {}
                }
                let mut same = self.waiting.iter_mut().filter(|waiting| waiting.writer == writer);
                let newer_waits = match same.find(|waiting| waiting.seq >= seq) {
                    // A retry of what waits: whoever asks again is answered with it.
                    Some(waiting) if waiting.seq == seq => {
                        waiting.to.push(to);
                        return (Offered::Waits, None);
                    }
                    other => other.is_some(),
                };
                if newer_waits {
                    return (Offered::Known, Some(to));
                }
                (writer, seq)
            }
            Writer::Unnumbered => {
                self.next_internal += 1;
                (self.internal.clone(), self.next_internal - 1)
            }
            Writer::Once(hash) => (format!("k{}", hex::encode(hash)), 1),
        };
        if self.bytes + bytes.len() > INPUT_BYTES || self.waiting.len() >= WAITING {
            if is_clients(&writer) {
                self.numbers.refuse(&writer, seq, now_ms);
            }
            return (Offered::Full, Some(to));
        }
        self.bytes += bytes.len();
        let group = self.next_tag;
        if bytes.len() > PIECE_BYTES {
            let parts = format!("p{}", blake3::hash(writer.as_bytes()).to_hex());
            for number in 0_u32.. {
                let rest = bytes.split_off(PIECE_BYTES);
                // Each part of an input has a writer of its own, since they share the number.
                self.push(format!("{parts}{number}"), seq, bytes, false, group, Vec::new());
                bytes = rest;
                if bytes.len() <= PIECE_BYTES {
                    break;
                }
            }
        }
        self.push(writer, seq, bytes, eof, group, vec![to]);
        (Offered::Waits, None)
    }

    fn push(&mut self, writer: String, seq: u64, bytes: Vec<u8>, eof: bool, group: u64, to: Vec<T>) {
        let tag = self.next_tag;
        self.next_tag += 1;
        self.waiting.push_back(Waiting { writer, seq, bytes, eof, tag, group, sent: false, to });
    }

    /// What is to be sent now.
    pub fn to_send(&mut self, process_id: Uuid) -> Option<NodeFrame> {
        let waiting = self.waiting.front_mut().filter(|waiting| !waiting.sent)?;
        let last = self.numbers.last(&waiting.writer);
        check!(Inv::InputOnce, waiting.seq > last, "{} follows {last} of {}", waiting.seq, waiting.writer);
        waiting.sent = true;
        Some(NodeFrame::Input {
            process_id,
            writer: waiting.writer.clone(),
            seq: waiting.seq,
            bytes: waiting.bytes.clone(),
            eof: waiting.eof,
            tag: waiting.tag,
        })
    }

    /// The agent says what became of an input.
    pub fn answer(&mut self, tag: u64, outcome: InputOutcome, now_ms: u64) -> Vec<Answered<T>> {
        let Some(index) = self.waiting.iter().position(|waiting| waiting.tag == tag) else { return Vec::new() };
        let Some(waiting) = self.waiting.remove(index) else { return Vec::new() };
        let mut gone = vec![waiting];
        if outcome == InputOutcome::Taken {
            self.numbers.take(&gone[0].writer, gone[0].seq);
        } else {
            // The parts after one that was refused must not go in without it.
            let group = gone[0].group;
            gone.extend(self.remove(|waiting| waiting.group == group));
        }
        // Nor must later numbers. After an end none is taken anyway.
        if outcome == InputOutcome::Full
            && let Some(whole) = gone.last().filter(|whole| is_clients(&whole.writer))
        {
            let writer = whole.writer.clone();
            let same = self.waiting.iter().filter(|waiting| waiting.writer == writer);
            let behind: HashSet<u64> = same.map(|waiting| waiting.group).collect();
            gone.extend(self.remove(|waiting| behind.contains(&waiting.group)));
            for refused in gone.iter().filter(|refused| refused.writer == writer) {
                self.numbers.refuse(&writer, refused.seq, now_ms);
            }
        }
        self.bytes -= gone.iter().map(|waiting| waiting.bytes.len()).sum::<usize>();
        gone.into_iter().flat_map(|waiting| waiting.to).map(|to| Answered { to, outcome }).collect()
    }

    fn remove(&mut self, which: impl Fn(&Waiting<T>) -> bool) -> VecDeque<Waiting<T>> {
        let (gone, stay) = self.waiting.drain(..).partition(which);
        self.waiting = stay;
        gone
    }

    /// A link begins; the agent has these numbers. What it has is answered, the rest is to be sent again.
    pub fn linked(&mut self, writers: Vec<(String, u64)>) -> Vec<Answered<T>> {
        for waiting in &mut self.waiting {
            waiting.sent = false;
        }
        let mut answered = Vec::new();
        for (writer, seq) in writers.into_iter().take(WRITERS) {
            let tags: Vec<u64> = self
                .waiting
                .iter()
                .filter(|waiting| waiting.writer == writer && waiting.seq <= seq)
                .map(|waiting| waiting.tag)
                .collect();
            for tag in tags {
                // What is taken is so at any time.
                answered.extend(self.answer(tag, InputOutcome::Taken, 0));
            }
            self.numbers.take(&writer, seq);
        }
        answered
    }

    /// The process has ended: nothing is taken any more.
    pub fn end(&mut self) -> Vec<Answered<T>> {
        self.bytes = 0;
        let ended = |to| Answered { to, outcome: InputOutcome::Ended };
        self.waiting.drain(..).flat_map(|waiting| waiting.to).map(ended).collect()
    }

    /// Takes back everyone who waits and is `due`. An input that nobody waits for any more, that was never sent and that
    /// nothing of its writer waits behind is dropped, and its number is unused.
    pub fn expire(&mut self, due: impl Fn(&T) -> bool, now_ms: u64) -> Vec<T> {
        let mut expired = Vec::new();
        let mut given_up = HashSet::new();
        for waiting in &mut self.waiting {
            let (late, rest): (Vec<T>, Vec<T>) = waiting.to.drain(..).partition(&due);
            waiting.to = rest;
            if !late.is_empty() && waiting.to.is_empty() {
                given_up.insert(waiting.group);
            }
            expired.extend(late);
        }
        if let Some(under_way) = self.waiting.front().filter(|waiting| waiting.sent) {
            given_up.remove(&under_way.group);
        }
        let (mut dropped, mut behind) = (HashSet::new(), HashSet::new());
        // An input's last part has its writer's name.
        for waiting in self.waiting.iter().rev() {
            if given_up.remove(&waiting.group) && !behind.contains(&waiting.writer) {
                dropped.insert(waiting.group);
                if is_clients(&waiting.writer) {
                    self.numbers.refuse(&waiting.writer, waiting.seq, now_ms);
                }
            } else if is_clients(&waiting.writer) && !dropped.contains(&waiting.group) {
                behind.insert(waiting.writer.clone());
            }
        }
        if !dropped.is_empty() {
            let gone = self.remove(|waiting| dropped.contains(&waiting.group));
            self.bytes -= gone.iter().map(|waiting| waiting.bytes.len()).sum::<usize>();
        }
        expired
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
#[path = "inputs_tests.rs"]
mod tests;
