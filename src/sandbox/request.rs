//! What the host asks of the process that makes one sandbox, and what that answers: one JSON line each way.

use std::path::PathBuf;

use playhouse_protocol::handshake::Token;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{disk::Disk, process::ProcessRef};

/// The longest request, in bytes.
pub const REQUEST_BYTES: u64 = 256 * 1024;

/// A sandbox to make.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its id.
    pub sandbox_id: Uuid,
    /// The host's id of its user 0.
    pub first_id: u32,
    /// How many ids it has.
    pub ids: u32,
    /// What carries its disk.
    pub disk: Disk,
    /// The skeleton that is its root.
    pub root: PathBuf,
    /// A directory of the host, the same for all sandboxes: in its own mount namespace the request's process mounts there
    /// what the sandbox will see and what the sandbox's users may not walk to.
    pub stage: PathBuf,
    /// A directory for this request's own files: the bundle, the runtime's state.
    pub scratch: PathBuf,
    /// The directory of its sockets.
    pub sockets: PathBuf,
    /// What the agent's standard error is appended to.
    pub log: PathBuf,
    /// Toolchains to bind: the name, and the directory.
    pub toolchains: Vec<(String, PathBuf)>,
    /// Its cgroup, below each hierarchy's root.
    pub cgroup: String,
    /// Thousandths of a CPU.
    pub cpu_millis: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Whether a swap limit can be set beside it.
    pub swap_limit: bool,
    /// Processes and threads.
    pub pids: u32,
    /// The variables of its programs.
    pub variables: Vec<(String, String)>,
    /// The agent's arguments, its own name first.
    pub arguments: Vec<String>,
    /// The agent's secret.
    pub token: Token,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").field("sandbox_id", &self.sandbox_id).finish_non_exhaustive()
    }
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The sandbox runs; this is its init.
    Started(ProcessRef),
    /// It doesn't.
    Failed {
        /// Which step failed.
        step: String,
        /// What the system said.
        detail: String,
    },
}
