//! What callers say and are told.

use std::{io, sync::Arc, time::Duration};

use playhouse_protocol::{Chunk, EventId};
use uuid::Uuid;

/// Whose output it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogKey {
    /// The workspace, whose cap it shares.
    pub workspace: Uuid,
    /// The process.
    pub process: Uuid,
}

/// How much is kept, and how long.
#[derive(Clone, Debug)]
pub struct Retention {
    /// The bytes of output that each process keeps at least; at most one segment more (1 MiB or an eighth).
    pub process_bytes: u64,
    /// The bytes of output that a workspace keeps at most.
    pub workspace_bytes: u64,
    /// How long after its end a process's output is kept.
    pub ttl: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { process_bytes: 16 * 1024 * 1024, workspace_bytes: 128 * 1024 * 1024, ttl: Duration::from_secs(60 * 60) }
    }
}

/// Where a log begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The first retained event, or the one after `last` if none is.
    pub first: EventId,
    /// The last event, retained or not; `0-0` before the first.
    pub last: EventId,
    /// The bytes of the retained events.
    pub retained_bytes: u64,
    /// The bytes of all events up to `last`.
    pub bytes: u64,
    /// The process is over.
    pub finished: bool,
}

/// Why events are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossReason {
    /// They were dropped to stay within the caps.
    Retention,
    /// They were not, or no longer, in the store, nor with their sender.
    StoreLost,
}

impl LossReason {
    /// Its name in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retention => "retention",
            Self::StoreLost => "store_lost",
        }
    }
}

/// Events that are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The first of them.
    pub from: EventId,
    /// The last of them.
    pub to: EventId,
    /// How many bytes they had: exact where the log was whole when retention dropped them, unless that was very long ago;
    /// otherwise in proportion.
    pub bytes: u64,
    /// Why.
    pub reason: LossReason,
}

/// What a page holds.
#[derive(Debug)]
pub enum Item {
    /// A hole.
    Lost(Lost),
    /// An event.
    Chunk {
        /// The first half of its id; the second is the chunk's sequence.
        generation: u64,
        /// The event.
        chunk: Arc<Chunk>,
    },
}

/// Events in order.
#[derive(Debug)]
pub struct Page {
    /// They, and the holes between them.
    pub items: Vec<Item>,
    /// The last id covered: `after` of the next read.
    pub next: EventId,
    /// Nothing more is stored now.
    pub end: bool,
    /// Why events that were stored behind its end are not there, if there were any.
    pub missing: LossReason,
}

/// Why nothing was appended. After `Io` a part may have been: appending again is safe.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The chunks begin, or go on, behind the event that comes next.
    #[error("the log goes on at event {expected}")]
    Gap {
        /// Its sequence.
        expected: u64,
    },
    /// A writer of a higher epoch has written.
    #[error("the log has a writer of a later epoch")]
    Fenced,
    /// The disk.
    #[error("the replay log: {0}")]
    Io(#[from] io::Error),
}
