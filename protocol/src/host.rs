//! Frames between a node and a host on the same machine, and the names of the host's sockets.
//!
//! Two unix sockets in the host's run directory. `control.sock` (stream) carries length-prefixed [`ToHost`] and
//! [`FromHost`] frames. `agents.sock` (seqpacket) carries one message per agent that dialled: an [`Arrived`] frame with
//! the agent's descriptor beside it (`SCM_RIGHTS`); after that the host is out of the path.

use std::path::{Path, PathBuf};

use bincode::{Decode, Encode};
use uuid::Uuid;

use crate::handshake::{Hello, Token};

/// Where the sandbox finds its sockets.
pub const SANDBOX_SOCKETS: &str = "/run/playhouse";
/// The agent's link to its node, in [`SANDBOX_SOCKETS`].
pub const NODE_SOCKET: &str = "node.sock";
/// The relay to the egress proxy, in [`SANDBOX_SOCKETS`].
pub const EGRESS_SOCKET: &str = "egress.sock";
/// The port on the sandbox's loopback where the agent relays to the egress proxy.
pub const EGRESS_PORT: u16 = 3128;
/// The host's control socket, in its run directory.
pub const CONTROL_SOCKET: &str = "control.sock";
/// The host's hand-over socket, in its run directory.
pub const AGENTS_SOCKET: &str = "agents.sock";
/// The descriptor on which the agent reads its token: 32 bytes, then end of file.
pub const TOKEN_FD: i32 = 3;

/// The short name of the host that belongs to a data directory: 8 hex digits of its absolute path's hash.
#[must_use]
pub fn host_id(data_dir: &Path) -> String {
    let hash = blake3::hash(data_dir.as_os_str().as_encoded_bytes());
    hash.to_hex().as_str()[..8].to_owned()
}

/// Where the host of an (absolute) data directory may have its run directory, best first: `/run` when the host is root,
/// else the user's runtime directory, which is there for a process that was not told of it too. A socket's path may have
/// 107 bytes, so it never lies in the data directory.
#[must_use]
pub fn run_dirs(data_dir: &Path, user: u32, xdg_runtime_dir: Option<&Path>) -> Vec<PathBuf> {
    let id = host_id(data_dir);
    let mut dirs = vec![Path::new("/run/playhouse").join(&id)];
    let usual = PathBuf::from(format!("/run/user/{user}"));
    let other = xdg_runtime_dir.filter(|dir| *dir != usual);
    dirs.extend(other.into_iter().chain([usual.as_path()]).map(|dir| dir.join("playhouse").join(&id)));
    dirs.push(PathBuf::from(format!("/tmp/playhouse-{user}")).join(&id));
    dirs
}

/// The file in the data directory whose lock makes a process the host. It says where that has its run directory: a node
/// may have been started with another environment.
pub const LOCK: &str = "host.lock";

/// The run directory that the text of [`LOCK`] names, if a host of this data directory can have it.
#[must_use]
pub fn said_run_dir(data_dir: &Path, text: &[u8]) -> Option<PathBuf> {
    let dir = Path::new(std::str::from_utf8(text).ok()?);
    let is_shared = |name: &str| name == "playhouse" || name.starts_with("playhouse-");
    let is_ours = dir.is_absolute()
        && dir.file_name()?.to_str()? == host_id(data_dir)
        && is_shared(dir.parent()?.file_name()?.to_str()?);
    is_ours.then(|| dir.to_owned())
}

/// What a sandbox may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Limits {
    /// Thousandths of a CPU.
    pub cpu_millis: u64,
    /// Memory, swap included, in bytes.
    pub memory_bytes: u64,
    /// The disk of /workspace and the home directory together, in bytes.
    pub disk_bytes: u64,
    /// Processes and threads.
    pub pids: u32,
}

impl Limits {
    /// The least that an agent and a shell need.
    pub const LEAST: Self = Self { cpu_millis: 10, memory_bytes: 32 << 20, disk_bytes: 16 << 20, pids: 16 };
    /// The most that can be made. The disk's is what ext4's default layout takes.
    pub const MOST: Self = Self { cpu_millis: 1_000_000, memory_bytes: 16 << 40, disk_bytes: 15 << 40, pids: 1 << 20 };
}

/// A name that sandboxes may reach through the egress proxy.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EgressRule {
    /// The host name, in lower case. A leading `*.` stands for any subdomain.
    pub name: String,
    /// Where it is instead of what DNS says, `ADDR:PORT`; may be loopback, since the operator named it.
    pub address: Option<String>,
}

/// A sandbox to make.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SandboxSpec {
    /// Its id: one life.
    #[bincode(with_serde)]
    pub sandbox_id: Uuid,
    /// The template's name.
    pub template: String,
    /// Its limits.
    pub limits: Limits,
    /// Its agent's secret.
    pub token: Token,
    /// What it may reach.
    pub egress: Vec<EgressRule>,
}

/// A node's command. A host remembers each sandbox's highest epoch on disk and refuses a lower one; a command id that
/// was done before is answered again and not done again.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ToHost {
    /// The first frame of a connection.
    Hello {
        /// The node's name.
        node: String,
        /// Its incarnation.
        incarnation: u64,
    },
    /// Makes a sandbox and starts its agent. One that is there with another token is started anew with this one.
    Create {
        /// Echoed in [`FromHost::Done`].
        #[bincode(with_serde)]
        command_id: Uuid,
        /// The shard's epoch.
        epoch: u64,
        /// What to make.
        spec: SandboxSpec,
    },
    /// Ends a sandbox and removes all of it.
    End {
        /// Echoed.
        #[bincode(with_serde)]
        command_id: Uuid,
        /// The shard's epoch.
        epoch: u64,
        /// Which one; one that isn't there is done.
        #[bincode(with_serde)]
        sandbox_id: Uuid,
    },
    /// Freezes or thaws all of a sandbox's programs.
    Freeze {
        /// Echoed.
        #[bincode(with_serde)]
        command_id: Uuid,
        /// The shard's epoch.
        epoch: u64,
        /// Which one.
        #[bincode(with_serde)]
        sandbox_id: Uuid,
        /// Frozen, or running again.
        frozen: bool,
    },
    /// Asks for a sandbox's usage at once, answered by [`FromHost::Usage`].
    AskUsage {
        /// Which one.
        #[bincode(with_serde)]
        sandbox_id: Uuid,
    },
    /// Ends the host: it exits and leaves its sandboxes to its successor.
    Leave,
    /// Ends all of a sandbox's programs and starts its agent anew on the disk that it has, so that what was not saved of
    /// it can be.
    Recover {
        /// Echoed in [`FromHost::Done`].
        #[bincode(with_serde)]
        command_id: Uuid,
        /// The shard's epoch.
        epoch: u64,
        /// What it was made with, with a fresh token.
        spec: SandboxSpec,
    },
    /// Asks whether a sandbox's agent lives, answered by [`FromHost::Looked`].
    Look {
        /// Which one.
        #[bincode(with_serde)]
        sandbox_id: Uuid,
    },
}

/// Why a host could not do a command.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum HostError {
    /// It has seen a higher epoch.
    #[error("the command's epoch is older than {seen}")]
    Fenced {
        /// The highest it has seen.
        seen: u64,
    },
    /// No such sandbox.
    #[error("no such sandbox")]
    Unknown,
    /// The host can't isolate programs; what is missing, one line each.
    #[error("this host can't isolate programs: {}", missing.join("; "))]
    CannotIsolate {
        /// What is missing.
        missing: Vec<String>,
    },
    /// A step failed; it may succeed when tried again.
    #[error("{step}: {detail}")]
    Failed {
        /// Which step.
        step: String,
        /// What the system said.
        detail: String,
    },
}

/// What a sandbox has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Usage {
    /// CPU time in microseconds.
    pub cpu_micros: u64,
    /// Memory now, in bytes.
    pub memory_bytes: u64,
    /// Disk now, in bytes.
    pub disk_bytes: u64,
    /// How often the kernel killed one of its programs for want of memory.
    pub oom_kills: u64,
}

/// Why a sandbox ended by itself.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum EndCause {
    /// Its agent, which is its init, was killed for want of memory.
    OutOfMemory,
    /// Its agent ended.
    AgentExited {
        /// With this status, as a shell shows it.
        status: i32,
    },
}

/// A sandbox in a host's inventory.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Held {
    /// Which one.
    #[bincode(with_serde)]
    pub sandbox_id: Uuid,
    /// The highest epoch it was commanded under.
    pub epoch: u64,
    /// It runs (frozen counts, and so does one that is being made); otherwise how it ended.
    pub ended: Option<EndCause>,
}

/// From the host.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum FromHost {
    /// Answers `Hello`.
    Welcome {
        /// The host's name.
        name: String,
        /// What isolates its sandboxes (`hardened-container`, `none`), or what is missing.
        isolation: Result<String, Vec<String>>,
        /// What it holds.
        held: Vec<Held>,
    },
    /// What became of a command.
    Done {
        /// Which one.
        #[bincode(with_serde)]
        command_id: Uuid,
        /// How it went.
        result: Result<(), HostError>,
    },
    /// A sandbox ended by itself; it is held until `End`.
    Ended {
        /// Which one.
        #[bincode(with_serde)]
        sandbox_id: Uuid,
        /// Why.
        cause: EndCause,
    },
    /// Sent for every sandbox every 2 s, and when asked.
    Usage {
        /// Whose.
        #[bincode(with_serde)]
        sandbox_id: Uuid,
        /// How much.
        usage: Usage,
    },
    /// Sent every second.
    Beat,
    /// Answers [`ToHost::Look`].
    Looked {
        /// Which one.
        #[bincode(with_serde)]
        sandbox_id: Uuid,
        /// How it is.
        state: Look,
    },
}

/// How a sandbox is, as its driver sees it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Look {
    /// Its agent is there and may run.
    Runs,
    /// All of it stands still.
    Frozen,
    /// It has ended by itself, so.
    Ended(EndCause),
    /// It is being made, removed or frozen just now.
    Busy,
    /// It isn't there.
    Unknown,
}

/// On `agents.sock`, with the agent's descriptor: it has sent this hello and waits for a challenge.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Arrived {
    /// What it said.
    pub hello: Hello,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_directory_is_tried_whether_or_not_it_was_named() {
        let data = Path::new("/data");
        let id = host_id(data);
        let dirs = |xdg: Option<&str>| run_dirs(data, 1000, xdg.map(Path::new));
        let expected = |places: &[&str]| places.iter().map(|place| Path::new(place).join(&id)).collect::<Vec<_>>();
        let usual = ["/run/playhouse", "/run/user/1000/playhouse", "/tmp/playhouse-1000"];
        assert_eq!(dirs(None), expected(&usual));
        assert_eq!(dirs(Some("/run/user/1000")), expected(&usual));
        let other = ["/run/playhouse", "/x/playhouse", "/run/user/1000/playhouse", "/tmp/playhouse-1000"];
        assert_eq!(dirs(Some("/x")), expected(&other));
        for dir in dirs(None) {
            assert_eq!(said_run_dir(data, dir.as_os_str().as_encoded_bytes()), Some(dir));
        }
        assert_eq!(said_run_dir(data, b"/run/playhouse/other"), None);
        assert_eq!(said_run_dir(Path::new("/other"), expected(&usual)[0].as_os_str().as_encoded_bytes()), None);
    }
}
