//! What can be asked of a process, and what it answers.

use playhouse_protocol::agent::{PtySize, Signal};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::actors::views::{ProcessView, RunCommand};

/// What a process is made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRecord {
    /// Its id.
    pub id: Uuid,
    /// Its workspace.
    pub workspace_id: Uuid,
    /// The sandbox it runs in.
    pub sandbox_id: Uuid,
    /// Who ran it.
    pub user_id: Uuid,
    /// What was asked for.
    pub command: RunCommand,
    /// Whether it has a terminal.
    pub pty: bool,
    /// When it was accepted.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessCommand {
    /// Answers `Process`.
    Get,
    /// Bytes for the program. Answers `Done` when the agent has them.
    Input {
        /// What.
        bytes: Vec<u8>,
        /// The input ends after them.
        eof: bool,
        /// Its number, if the client numbers.
        seq: Option<u64>,
        /// Who numbers; the user's id by default.
        writer: Option<String>,
    },
    /// Answers `Done`.
    Signal(Signal),
    /// Answers `Done`.
    Resize(PtySize),
    /// Answers `Done`.
    Cancel,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProcessAnswer {
    /// It is done.
    Done,
    /// A process.
    Process(ProcessView),
}
