//! What is written to one process: each writer's numbers once and in order, no more waiting than the program may owe.
//!
//! Pure: the queue is drained by whoever holds the descriptor.

use std::collections::{HashMap, VecDeque};

use playhouse_protocol::agent::{INPUT_BYTES, InputOutcome};

/// How many writers' numbers are remembered for a process; beyond it the one that was silent longest is forgotten.
const WRITERS: usize = 1024;

/// The longest name of a writer, in bytes: 64 characters.
const WRITER_BYTES: usize = 256;

/// What a terminal reads as the end of its input.
const END_OF_TRANSMISSION: u8 = 4;

#[derive(Debug, Clone, Copy)]
struct Seen {
    seq: u64,
    at: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    /// More is taken.
    Open,
    /// The end was taken; the descriptor is closed when the queue is empty.
    Closing,
    /// Nothing is taken.
    Closed,
}

/// One process's input.
#[derive(Debug)]
pub struct Input {
    queue: VecDeque<u8>,
    gate: Gate,
    terminal: bool,
    writers: HashMap<String, Seen>,
    /// Counts offers, to know which writer was silent longest.
    offers: u64,
}

impl Input {
    /// No input yet, for a terminal or a pipe.
    #[must_use]
    pub fn new(terminal: bool) -> Self {
        Self { queue: VecDeque::new(), gate: Gate::Open, terminal, writers: HashMap::new(), offers: 0 }
    }

    /// Takes `bytes` from `writer` unless its number was seen. `in_kernel` bytes wait outside this queue.
    pub fn offer(&mut self, writer: &str, seq: u64, bytes: &[u8], eof: bool, in_kernel: usize) -> InputOutcome {
        if seq != 0 && self.writers.get(writer).is_some_and(|seen| seq <= seen.seq) {
            return InputOutcome::Taken;
        }
        if self.gate != Gate::Open || writer.len() > WRITER_BYTES {
            return InputOutcome::Ended;
        }
        if self.queue.len() + in_kernel + bytes.len() > INPUT_BYTES && !bytes.is_empty() {
            return InputOutcome::Full;
        }
        if seq != 0 {
            self.remember(writer, seq);
        }
        self.queue.extend(bytes);
        if eof && self.terminal {
            self.queue.push_back(END_OF_TRANSMISSION);
        } else if eof {
            self.gate = Gate::Closing;
        }
        InputOutcome::Taken
    }

    fn remember(&mut self, writer: &str, seq: u64) {
        self.offers += 1;
        let seen = Seen { seq, at: self.offers };
        if let Some(known) = self.writers.get_mut(writer) {
            *known = seen;
            return;
        }
        if self.writers.len() == WRITERS
            && let Some(oldest) = self.writers.iter().min_by_key(|(_, seen)| seen.at).map(|(name, _)| name.clone())
        {
            self.writers.remove(&oldest);
        }
        self.writers.insert(writer.to_owned(), seen);
    }

    /// The next bytes to write.
    #[must_use]
    pub fn waiting(&self) -> &[u8] {
        let (front, back) = self.queue.as_slices();
        if front.is_empty() { back } else { front }
    }

    /// The first `count` of them were written.
    pub fn wrote(&mut self, count: usize) {
        self.queue.drain(..count.min(self.queue.len()));
        if self.queue.is_empty() {
            // A burst's room is given back.
            self.queue.shrink_to(4096);
        }
    }

    /// Whether the descriptor is to be closed now.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match self.gate {
            Gate::Open => false,
            Gate::Closing => self.queue.is_empty(),
            Gate::Closed => true,
        }
    }

    /// The program reads no more: what waits is dropped, and nothing is taken. Numbers stay known.
    pub fn close(&mut self) {
        self.gate = Gate::Closed;
        self.queue = VecDeque::new();
    }

    /// The last number of each writer.
    pub fn writers(&self) -> impl Iterator<Item = (&str, u64)> {
        self.writers.iter().map(|(writer, seen)| (writer.as_str(), seen.seq))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_counts_once_and_a_gap_is_taken() {
        let mut input = Input::new(true);
        assert_eq!(input.offer("a", 1, b"x", false, 0), InputOutcome::Taken);
        assert_eq!(input.offer("a", 1, b"x", false, 0), InputOutcome::Taken);
        assert_eq!(input.offer("b", 1, b"y", false, 0), InputOutcome::Taken);
        assert_eq!(input.offer("a", 9, b"z", false, 0), InputOutcome::Taken);
        assert_eq!(input.offer("a", 8, b"!", false, 0), InputOutcome::Taken);
        assert_eq!(input.offer("a", 0, b"0", false, 0), InputOutcome::Taken);
        assert_eq!(input.offer("a", 0, b"0", true, 0), InputOutcome::Taken);
        assert_eq!(input.waiting(), b"xyz00\x04");
        let mut writers: Vec<_> = input.writers().collect();
        writers.sort_unstable();
        assert_eq!(writers, [("a", 9), ("b", 1)]);
    }

    #[test]
    fn full_leaves_the_number_unused() {
        let mut input = Input::new(false);
        let piece = vec![b'x'; INPUT_BYTES / 2];
        assert_eq!(input.offer("a", 1, &piece, false, 0), InputOutcome::Taken);
        assert_eq!(input.offer("a", 2, &piece, false, 1), InputOutcome::Full);
        assert_eq!(input.offer("a", 2, &piece, false, 0), InputOutcome::Taken);
        assert_eq!(input.offer("a", 3, b"x", false, 0), InputOutcome::Full);
        input.wrote(1);
        assert_eq!(input.offer("a", 3, b"x", false, 0), InputOutcome::Taken);
    }

    #[test]
    fn a_pipe_closes_after_what_waits_and_takes_no_more() {
        let mut input = Input::new(false);
        assert_eq!(input.offer("a", 1, b"last", true, 0), InputOutcome::Taken);
        assert!(!input.is_done());
        assert_eq!(input.offer("a", 2, b"late", false, 0), InputOutcome::Ended);
        assert_eq!(input.offer("a", 1, b"last", true, 0), InputOutcome::Taken, "it was taken before");
        input.wrote(4);
        assert!(input.is_done());
    }

    #[test]
    fn a_closed_input_drops_what_waits() {
        let mut input = Input::new(false);
        input.offer("a", 1, b"unread", false, 0);
        input.close();
        assert!(input.waiting().is_empty() && input.is_done());
        assert_eq!(input.offer("a", 2, b"x", false, 0), InputOutcome::Ended);
    }

    #[test]
    fn the_most_silent_writer_is_forgotten_first() {
        let mut input = Input::new(true);
        for number in 0..=WRITERS {
            input.offer(&format!("w{number}"), 1, b"", false, 0);
            input.offer("w0", number as u64 + 2, b"", false, 0);
        }
        assert_eq!(input.writers().count(), WRITERS);
        assert!(input.writers().any(|(writer, _)| writer == "w0"));
        assert!(!input.writers().any(|(writer, _)| writer == "w1"));
    }
}
