//! Frames of the stream as a client receives them, parsed strictly.

use std::{fmt, str::FromStr};

use serde_json::Value;
use uuid::Uuid;

use crate::shape;

/// `<generation>-<sequence>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// Rises only after a loss.
    pub generation: u64,
    /// Rises by one with every event.
    pub sequence: u64,
}

impl EventId {
    /// Nothing seen yet.
    pub const ZERO: Self = Self { generation: 0, sequence: 0 };
    /// The first event of a process.
    pub const FIRST: Self = Self { generation: 0, sequence: 1 };

    /// The id after this one, if no loss comes between.
    #[must_use]
    pub const fn next(self) -> Self {
        Self { sequence: self.sequence + 1, ..self }
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.generation, self.sequence)
    }
}

impl FromStr for EventId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('-').and_then(|(generation, sequence)| {
            Some(Self { generation: generation.parse().ok()?, sequence: sequence.parse().ok()? })
        });
        // Printing it again refuses what parses but is not in its one form.
        parsed.filter(|id| id.to_string() == text).ok_or_else(|| format!("{text:?} is no event id"))
    }
}

/// Where output came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// stdout, or a PTY.
    Stdout,
    /// stderr.
    Stderr,
}

/// A process as `hello` lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its status.
    pub status: String,
    /// Its first retained event.
    pub first: Option<EventId>,
    /// Its last event.
    pub last: Option<EventId>,
    /// The last input number taken of this socket's writer.
    pub input_seq: u64,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Whose.
    pub process: Uuid,
    /// Its id.
    pub id: EventId,
    /// Where it came from.
    pub origin: Origin,
    /// Its bytes (of its text, in text mode).
    pub bytes: Vec<u8>,
    /// Milliseconds since the Unix epoch.
    pub timestamp: u64,
}

/// A process's status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The word.
    pub status: String,
    /// The exit code.
    pub exit_code: Option<i64>,
    /// The signal's name.
    pub signal: Option<String>,
    /// The cause.
    pub reason: Option<String>,
}

impl Status {
    /// Whether nothing comes after it.
    #[must_use]
    pub fn is_end(&self) -> bool {
        shape::ENDED.contains(&&*self.status)
    }
}

/// A frame from the server.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// The first of every socket.
    Hello {
        /// Which sandbox.
        sandbox: Uuid,
        /// The caller's role.
        role: String,
        /// The running and the retained processes.
        processes: Vec<(Uuid, Listed)>,
    },
    /// One event.
    Output(Output),
    /// A process's status.
    Status(Uuid, Status),
    /// What a commit changed in the tree.
    Files {
        /// The tree's version.
        version: u64,
        /// Paths that are new or changed.
        changed: Vec<String>,
        /// Paths that are gone.
        removed: Vec<String>,
    },
    /// The sandbox's status.
    Sandbox(String),
    /// A range that is no longer retained.
    Truncated {
        /// Whose.
        process: Uuid,
        /// Its first event.
        from: EventId,
        /// Its last event.
        to: EventId,
        /// How much output it was.
        bytes: u64,
        /// Why.
        reason: String,
    },
    /// An input was taken.
    InputAck(Uuid, u64),
    /// Something could not be done.
    Error {
        /// A stable word.
        code: String,
        /// About which process.
        process: Option<Uuid>,
    },
    /// What the contract does not know: it may have been added.
    Other(Value),
}

fn event(value: &Value, key: &str) -> EventId {
    shape::text(value, key).parse().unwrap_or_else(|error| panic!("{key}: {error} in {value}"))
}

fn event_or_null(value: &Value, key: &str) -> Option<EventId> {
    assert!(value.get(key).is_some(), "{key} is missing in {value}");
    (!value[key].is_null()).then(|| event(value, key))
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("{key} is no number in {value}"))
}

fn texts(value: &Value, of: impl Fn(&Value) -> String) -> Vec<String> {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}")).iter().map(of).collect()
}

impl Frame {
    /// Parses a text frame.
    ///
    /// # Panics
    /// When it breaks the contract.
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        let value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in frame {text}"));
        match &*shape::text(&value, "type") {
            "hello" => Self::hello(&value),
            "output" => Self::Output(Output {
                process: shape::id(&value, "process_id"),
                id: event(&value, "id"),
                origin: match &*shape::text(&value, "stream") {
                    "stdout" => Origin::Stdout,
                    "stderr" => Origin::Stderr,
                    other => panic!("stream {other:?}"),
                },
                bytes: shape::text(&value, "data").into_bytes(),
                timestamp: number(&value, "timestamp"),
            }),
            "status" => Self::Status(shape::id(&value, "process_id"), status(&value)),
            "files" => {
                let _ = shape::id(&value, "workspace_id");
                let changed = |file: &Value| {
                    let _ = shape::id(file, "id");
                    assert_eq!(shape::text(file, "etag").len(), 32, "directories and links have one too: {file}");
                    shape::text(file, "path")
                };
                Self::Files {
                    version: number(&value, "version"),
                    changed: texts(&value["changed"], changed),
                    removed: texts(&value["removed"], |path| path.as_str().expect("a path").to_owned()),
                }
            }
            "sandbox" => Self::Sandbox(shape::text(&value, "status")),
            "truncated" => Self::Truncated {
                process: shape::id(&value, "process_id"),
                from: event(&value, "from_id"),
                to: event(&value, "to_id"),
                bytes: number(&value, "bytes"),
                reason: shape::text(&value, "reason"),
            },
            "input_ack" => Self::InputAck(shape::id(&value, "process_id"), number(&value, "seq")),
            "error" => {
                let _ = shape::text(&value, "detail");
                assert!(value.get("process_id").is_some(), "null when there is none: {value}");
                Self::Error {
                    code: shape::text(&value, "code"),
                    process: value["process_id"].is_string().then(|| shape::id(&value, "process_id")),
                }
            }
            _ => Self::Other(value),
        }
    }

    fn hello(value: &Value) -> Self {
        let listed = |process: &Value| {
            let listed = Listed {
                status: shape::text(process, "status"),
                first: event_or_null(process, "first_id"),
                last: event_or_null(process, "last_id"),
                input_seq: number(process, "input_seq"),
            };
            assert_eq!(listed.first.is_some(), listed.last.is_some(), "both or none: {process}");
            (shape::id(process, "process_id"), listed)
        };
        Self::Hello {
            sandbox: shape::id(value, "sandbox_id"),
            role: shape::text(value, "role"),
            processes: value["processes"].as_array().expect("hello lists processes").iter().map(listed).collect(),
        }
    }

    /// Parses a binary frame.
    ///
    /// # Panics
    /// When it is no output frame.
    #[must_use]
    pub fn of_binary(bytes: &[u8]) -> Self {
        let (head, rest) =
            bytes.split_at_checked(42).unwrap_or_else(|| panic!("a binary frame of {} bytes", bytes.len()));
        assert_eq!(head[0], 0x01, "an output frame begins with 1");
        let long = |at: usize| u64::from_be_bytes(head[at..at + 8].try_into().expect("eight bytes"));
        Self::Output(Output {
            process: Uuid::from_slice(&head[2..18]).expect("sixteen bytes"),
            id: EventId { generation: long(18), sequence: long(26) },
            origin: match head[1] {
                1 => Origin::Stdout,
                2 => Origin::Stderr,
                other => panic!("stream {other}"),
            },
            bytes: rest.to_vec(),
            timestamp: long(34),
        })
    }
}

fn status(value: &Value) -> Status {
    for key in ["exit_code", "signal", "reason"] {
        assert!(value.get(key).is_some(), "{key} is missing in {value}");
    }
    let words = |key: &str| value[key].as_str().map(str::to_owned);
    Status {
        status: shape::text(value, "status"),
        exit_code: value["exit_code"].as_i64(),
        signal: words("signal"),
        reason: words("reason"),
    }
}

/// A binary input frame.
#[must_use]
pub fn input_frame(process: Uuid, seq: u64, bytes: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x02];
    frame.extend_from_slice(process.as_bytes());
    frame.extend_from_slice(&seq.to_be_bytes());
    frame.extend_from_slice(bytes);
    frame
}
