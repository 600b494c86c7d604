//! Messages between a client and its Session: JSON text frames, and the binary frames of `playhouse.v1.bin`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::stream::{Chunk, EventId, Stream};

/// The subprotocol of binary output and input frames.
pub const BINARY_SUBPROTOCOL: &str = "playhouse.v1.bin";
/// The longest message either way, in bytes.
pub const MESSAGE_BYTES: usize = 1024 * 1024;
/// The longest `?writer=`, in characters.
pub const WRITER_CHARS: usize = 64;

/// From the client, as text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientMessage {
    /// Where to go on, for one process or for all.
    Resume {
        /// The singular form's process.
        process_id: Option<Uuid>,
        /// The singular form's cursor.
        last_seen_id: Option<String>,
        /// The plural form: cursors by processes' ids.
        processes: Option<BTreeMap<String, String>>,
    },
    /// Something typed.
    Input {
        /// For whom.
        process_id: Uuid,
        /// What.
        data: String,
        /// Its number.
        seq: Option<u64>,
    },
    /// A terminal's new size.
    Resize {
        /// Whose.
        process_id: Uuid,
        /// Columns.
        cols: u16,
        /// Rows.
        rows: u16,
    },
    /// TERM, then KILL.
    Cancel {
        /// Whom.
        process_id: Uuid,
    },
    /// Everything up to `id` is shown (`?flow=ack`).
    Ack {
        /// Whose.
        process_id: Uuid,
        /// Up to here.
        id: EventId,
    },
}

/// A process as `hello` lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HelloProcess {
    /// Which one.
    pub process_id: Uuid,
    /// Its status.
    pub status: &'static str,
    /// The first retained event, null before any output.
    pub first_id: Option<EventId>,
    /// The last event, null before any output.
    pub last_id: Option<EventId>,
    /// The last input number taken of this socket's writer.
    pub input_seq: u64,
}

/// A changed file as `files` names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangedFile {
    /// Where.
    pub path: String,
    /// Its id.
    pub id: Uuid,
    /// Its etag, empty for what has no content.
    pub etag: String,
}

/// To the client, as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// The first message of every socket.
    Hello {
        /// Which sandbox.
        sandbox_id: Uuid,
        /// The caller's role.
        role: &'static str,
        /// Running and retained processes.
        processes: Vec<HelloProcess>,
    },
    /// One event as text.
    Output {
        /// Whose.
        process_id: Uuid,
        /// Its id.
        id: EventId,
        /// Where it came from.
        stream: Stream,
        /// Its text.
        data: String,
        /// Milliseconds since the Unix epoch.
        timestamp: u64,
    },
    /// A process's status.
    Status {
        /// Whose.
        process_id: Uuid,
        /// The status.
        status: &'static str,
        /// Null while it runs or when a signal ended it.
        exit_code: Option<i32>,
        /// The signal's name.
        signal: Option<String>,
        /// The cause where it is not the program's own.
        reason: Option<String>,
    },
    /// What a commit changed in the tree.
    Files {
        /// Whose tree.
        workspace_id: Uuid,
        /// The tree's version after it.
        version: u64,
        /// What is new or changed.
        changed: Vec<ChangedFile>,
        /// Paths that are gone.
        removed: Vec<String>,
    },
    /// The sandbox's status.
    Sandbox {
        /// The status.
        status: &'static str,
        /// Why, where there is a cause.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A range that is no longer retained.
    Truncated {
        /// Whose.
        process_id: Uuid,
        /// Its first event.
        from_id: EventId,
        /// Its last event.
        to_id: EventId,
        /// How many bytes of output it was, as far as known.
        bytes: u64,
        /// `retention` or `store_lost`.
        reason: &'static str,
    },
    /// An input was taken.
    InputAck {
        /// Whose.
        process_id: Uuid,
        /// Its number.
        seq: u64,
    },
    /// Something could not be done.
    Error {
        /// A stable word.
        code: &'static str,
        /// In words.
        detail: String,
        /// About which process; null when it is about none.
        process_id: Option<Uuid>,
    },
    /// Something a person should know, such as a file that is left out of the tree.
    Notice {
        /// A stable word.
        code: String,
        /// In words.
        detail: String,
    },
}

/// The length of an output frame's head, in bytes.
pub const OUTPUT_HEAD_BYTES: usize = 1 + 1 + 16 + 8 + 8 + 8;
/// The length of an input frame's head, in bytes.
pub const INPUT_HEAD_BYTES: usize = 1 + 16 + 8;

/// One event as a binary frame. The undecoded bytes before a chunk were in the frame before it, so only its own go out;
/// the event that gives out a cut character's rest is empty.
#[must_use]
pub fn output_frame(process_id: Uuid, generation: u64, chunk: &Chunk) -> Vec<u8> {
    let mut frame = Vec::with_capacity(OUTPUT_HEAD_BYTES + chunk.bytes.len());
    frame.push(0x01);
    frame.push(chunk.stream.byte());
    frame.extend_from_slice(process_id.as_bytes());
    frame.extend_from_slice(&generation.to_be_bytes());
    frame.extend_from_slice(&chunk.sequence.to_be_bytes());
    frame.extend_from_slice(&chunk.at_ms.to_be_bytes());
    frame.extend_from_slice(&chunk.bytes);
    frame
}

/// A binary input frame, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputFrame<'a> {
    /// For whom.
    pub process_id: Uuid,
    /// Its number, 0 for none.
    pub seq: u64,
    /// What was typed.
    pub bytes: &'a [u8],
}

/// Takes a client's binary frame apart; `None` for anything that is no input frame.
#[must_use]
pub fn input_frame(frame: &[u8]) -> Option<InputFrame<'_>> {
    let (head, bytes) = frame.split_at_checked(INPUT_HEAD_BYTES)?;
    if head[0] != 0x02 {
        return None;
    }
    let process_id = Uuid::from_slice(&head[1..17]).ok()?;
    let seq = u64::from_be_bytes(head[17..25].try_into().ok()?);
    Some(InputFrame { process_id, seq, bytes })
}
