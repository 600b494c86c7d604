//! Numbered output: the chunk that is one event for ever, and the id it is known by.

use std::{fmt, str::FromStr};

use bincode::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Which of a process's streams a chunk came from. A PTY has only `Stdout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output, or everything a PTY shows.
    Stdout,
    /// Standard error of a process without a PTY.
    Stderr,
}

impl Stream {
    /// The byte that names it in binary frames and in the log: 1 or 2.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Stdout => 1,
            Self::Stderr => 2,
        }
    }

    /// The stream that a byte names.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Stdout),
            2 => Some(Self::Stderr),
            _ => None,
        }
    }
}

/// An event's id, `<generation>-<sequence>`, ordered and gap-free per process, as Redis stream ids are written.
///
/// `0-0` stands before the first event, which is `0-1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct EventId {
    /// Rises only where numbering had to go on after a loss.
    pub generation: u64,
    /// Rises by one with every event and never restarts.
    pub sequence: u64,
}

impl EventId {
    /// Before the first event.
    pub const ZERO: Self = Self::new(0, 0);

    /// The id made of these two numbers.
    #[must_use]
    pub const fn new(generation: u64, sequence: u64) -> Self {
        Self { generation, sequence }
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.generation, self.sequence)
    }
}

/// A string that is no event id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event id is two decimal numbers, <generation>-<sequence>")]
pub struct EventIdError;

impl FromStr for EventId {
    type Err = EventIdError;

    fn from_str(text: &str) -> Result<Self, EventIdError> {
        let (generation, sequence) = text.split_once('-').ok_or(EventIdError)?;
        let number = |digits: &str| -> Result<u64, EventIdError> {
            // u64::from_str takes a leading plus, and `01` would be a second name for `1`.
            let plain = digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
            if plain { digits.parse().map_err(|_| EventIdError) } else { Err(EventIdError) }
        };
        Ok(Self::new(number(generation)?, number(sequence)?))
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The most a chunk's own bytes may be: one coalesced read, 32 KiB.
pub const CHUNK_BYTES: usize = 32 * 1024;

/// One output event: its boundaries never change once it has a number.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Chunk {
    /// Its place in the process's numbering, from 1.
    pub sequence: u64,
    /// Where it came from.
    pub stream: Stream,
    /// When it was read, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The at most 3 bytes of the same stream before `bytes` that were not yet a whole character.
    pub carry: Vec<u8>,
    /// What was read, at most [`CHUNK_BYTES`]. Empty only in the event that gives out a stream's undecodable rest.
    pub bytes: Vec<u8>,
    /// Nothing more comes on this stream: a rest in `carry` is given out as U+FFFD.
    pub last: bool,
}

impl Chunk {
    /// Roughly what it costs to keep: its bytes and a fixed share for the rest.
    #[must_use]
    pub fn cost(&self) -> usize {
        self.bytes.len() + 64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_ids_are_written_and_read_alike() {
        assert_eq!("0-413".parse(), Ok(EventId::new(0, 413)));
        assert_eq!(EventId::new(2, 9).to_string(), "2-9");
        for bad in ["", "-", "1", "1-", "-1", "+1-2", "01-2", "1-2-3", "1-18446744073709551616", "a-b", " 1-2"] {
            assert!(bad.parse::<EventId>().is_err(), "{bad:?}");
        }
        assert!(EventId::new(0, 99) < EventId::new(1, 0));
    }
}
