//! What a client knows of a sandbox's processes, checked with every frame that comes: ids gap-free, each once and in
//! order; nothing after an end; losses named and contiguous. It outlives sockets.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::frame::{EventId, Frame, Listed, Origin, Output, Status};

/// How much of a process's output is kept for looking at; the hash is of all of it.
const KEPT_BYTES: usize = 8 * 1024 * 1024;

/// One process as it was received.
#[derive(Debug, Clone)]
pub struct Tape {
    /// The last event received, or the end of a loss.
    pub cursor: Option<EventId>,
    /// The first event received.
    pub first: Option<EventId>,
    /// How it ended.
    pub end: Option<Status>,
    /// All statuses, in order, repetitions left out.
    pub statuses: Vec<Status>,
    /// The losses.
    pub truncated: Vec<(EventId, EventId, u64)>,
    /// How many events came.
    pub events: u64,
    /// How many bytes came.
    pub bytes: u64,
    /// What came, its beginning.
    pub kept: Vec<u8>,
    /// What came on stderr, its beginning.
    pub kept_stderr: Vec<u8>,
    /// When the last event was read, by the server.
    pub timestamp: u64,
    hasher: blake3::Hasher,
    lost_before: bool,
}

impl Tape {
    fn new() -> Self {
        Self {
            cursor: None,
            first: None,
            end: None,
            statuses: Vec::new(),
            truncated: Vec::new(),
            events: 0,
            bytes: 0,
            kept: Vec::new(),
            kept_stderr: Vec::new(),
            timestamp: 0,
            hasher: blake3::Hasher::new(),
            lost_before: false,
        }
    }

    /// The hash of all bytes received.
    #[must_use]
    pub fn hash(&self) -> blake3::Hash {
        self.hasher.finalize()
    }

    /// What came, as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.kept).into_owned()
    }

    /// Whether everything from the first event on came, and nothing was lost.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.truncated.is_empty() && self.first.is_none_or(|id| id == EventId::FIRST)
    }

    fn output(&mut self, output: &Output) {
        let id = output.id;
        assert!(self.end.is_none(), "event {id} of {} after its last status {:?}", output.process, self.end);
        if let Some(cursor) = self.cursor {
            assert_eq!(id.sequence, cursor.sequence + 1, "{}: {id} came after {cursor}", output.process);
            let rises = id.generation > cursor.generation;
            assert!(
                id.generation == cursor.generation || (rises && self.lost_before),
                "{}: {id} after {cursor}",
                output.process
            );
        }
        assert!(id.sequence > 0, "the first event is 0-1, not {id}");
        assert!(output.timestamp > 1_600_000_000_000, "milliseconds since 1970: {}", output.timestamp);
        self.lost_before = false;
        self.cursor = Some(id);
        self.first.get_or_insert(id);
        self.events += 1;
        self.bytes += output.bytes.len() as u64;
        self.timestamp = output.timestamp;
        self.hasher.update(&output.bytes);
        let kept = match output.origin {
            Origin::Stdout => &mut self.kept,
            Origin::Stderr => &mut self.kept_stderr,
        };
        let room = KEPT_BYTES.saturating_sub(kept.len());
        kept.extend_from_slice(&output.bytes[..output.bytes.len().min(room)]);
    }

    fn lost(&mut self, from: EventId, to: EventId, bytes: u64) {
        assert!(self.end.is_none(), "a loss {from} to {to} after the end");
        assert!(from <= to, "a loss from {from} to {to}");
        if let Some(cursor) = self.cursor {
            assert_eq!(from.sequence, cursor.sequence + 1, "a loss from {from} after {cursor}");
        }
        self.cursor = Some(to);
        self.lost_before = true;
        self.truncated.push((from, to, bytes));
    }

    fn status(&mut self, status: &Status) {
        if let Some(end) = &self.end {
            assert_eq!(end, status, "another status after the last one");
            return;
        }
        if self.statuses.last() != Some(status) {
            self.statuses.push(status.clone());
        }
        if status.is_end() {
            self.end = Some(status.clone());
        }
    }
}

/// Everything received of one sandbox.
#[derive(Debug, Clone)]
pub struct Model {
    sandbox: Uuid,
    /// The role that the last hello told.
    pub role: String,
    /// The processes of the last hello.
    pub hello: BTreeMap<Uuid, Listed>,
    /// The processes that anything came of.
    pub tapes: BTreeMap<Uuid, Tape>,
    /// The highest version of the tree that was told.
    pub tree_version: u64,
    greeted: bool,
}

impl Model {
    /// Nothing received yet.
    #[must_use]
    pub fn new(sandbox: Uuid) -> Self {
        Self {
            sandbox,
            role: String::new(),
            hello: BTreeMap::new(),
            tapes: BTreeMap::new(),
            tree_version: 0,
            greeted: false,
        }
    }

    /// A new socket begins.
    pub(crate) fn new_socket(&mut self) {
        self.greeted = false;
    }

    /// What is known of a process.
    ///
    /// # Panics
    /// When nothing came of it.
    #[must_use]
    pub fn tape(&self, process: Uuid) -> &Tape {
        self.tapes.get(&process).unwrap_or_else(|| panic!("nothing came of {process}"))
    }

    /// The last event received of each process.
    #[must_use]
    pub fn cursors(&self) -> BTreeMap<Uuid, EventId> {
        self.tapes.iter().map(|(&process, tape)| (process, tape.cursor.unwrap_or(EventId::ZERO))).collect()
    }

    /// Claims that everything up to `cursor` was received, for resumes from an arbitrary place.
    pub fn set_cursor(&mut self, process: Uuid, cursor: EventId) {
        let mut tape = Tape::new();
        tape.cursor = Some(cursor);
        self.tapes.insert(process, tape);
    }

    /// Takes a frame in.
    ///
    /// # Panics
    /// When the contract does not allow it here.
    pub fn take(&mut self, frame: &Frame) {
        if let Frame::Hello { sandbox, role, processes } = frame {
            assert!(!self.greeted, "hello comes once a socket");
            self.greeted = true;
            assert_eq!(*sandbox, self.sandbox, "the sandbox in hello");
            assert!(["owner", "edit", "view"].contains(&&**role), "role {role:?}");
            self.role.clone_from(role);
            self.hello = processes.iter().cloned().collect();
            assert_eq!(self.hello.len(), processes.len(), "a process is listed once");
            return;
        }
        assert!(self.greeted, "hello comes first, not {frame:?}");
        match frame {
            Frame::Output(output) => self.known(output.process, "output").output(output),
            Frame::Truncated { process, from, to, bytes, .. } => {
                self.known(*process, "truncated").lost(*from, *to, *bytes)
            }
            Frame::Status(process, status) => self.tapes.entry(*process).or_insert_with(Tape::new).status(status),
            Frame::Files { version, .. } => {
                assert!(*version >= self.tree_version, "version {version} after {}", self.tree_version);
                self.tree_version = *version;
            }
            Frame::Hello { .. } | Frame::Sandbox(_) | Frame::InputAck(..) | Frame::Error { .. } | Frame::Other(_) => {}
        }
    }

    fn known(&mut self, process: Uuid, what: &str) -> &mut Tape {
        let listed = self.hello.contains_key(&process);
        match self.tapes.entry(process) {
            std::collections::btree_map::Entry::Occupied(tape) => tape.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                assert!(listed, "{what} of {process}, which neither hello nor a status has announced");
                place.insert(Tape::new())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(process: Uuid, id: &str, text: &str) -> Frame {
        Frame::Output(Output {
            process,
            id: id.parse().unwrap(),
            origin: Origin::Stdout,
            bytes: text.into(),
            timestamp: 1_700_000_000_000,
        })
    }

    fn greeted(process: Uuid) -> Model {
        let mut model = Model::new(Uuid::nil());
        let listed = Listed { status: "running".into(), first: None, last: None, input_seq: 0 };
        model.take(&Frame::Hello { sandbox: Uuid::nil(), role: "edit".into(), processes: vec![(process, listed)] });
        model
    }

    #[test]
    fn what_comes_in_order_is_taken() {
        let process = Uuid::new_v4();
        let mut model = greeted(process);
        model.take(&output(process, "0-1", "a"));
        model.take(&output(process, "0-2", "b"));
        assert_eq!(model.tape(process).text(), "ab");
        assert!(model.tape(process).is_whole());
    }

    #[test]
    #[should_panic(expected = "0-3 came after 0-1")]
    fn a_gap_is_noticed() {
        let process = Uuid::new_v4();
        let mut model = greeted(process);
        model.take(&output(process, "0-1", "a"));
        model.take(&output(process, "0-3", "b"));
    }

    #[test]
    #[should_panic(expected = "0-1 came after 0-1")]
    fn a_double_is_noticed() {
        let process = Uuid::new_v4();
        let mut model = greeted(process);
        model.take(&output(process, "0-1", "a"));
        model.take(&output(process, "0-1", "a"));
    }

    #[test]
    #[should_panic(expected = "after its last status")]
    fn output_after_the_end_is_noticed() {
        let process = Uuid::new_v4();
        let mut model = greeted(process);
        let end = Status { status: "completed".into(), exit_code: Some(0), signal: None, reason: None };
        model.take(&Frame::Status(process, end));
        model.take(&output(process, "0-1", "a"));
    }

    #[test]
    #[should_panic(expected = "1-2 after 0-1")]
    fn a_new_generation_without_a_loss_is_noticed() {
        let process = Uuid::new_v4();
        let mut model = greeted(process);
        model.take(&output(process, "0-1", "a"));
        model.take(&output(process, "1-2", "b"));
    }
}
