//! Frames between the agent in a sandbox and the node that owns it: binary WebSocket messages, one frame each.
//!
//! Two classes of node frames. *Ordered* ones ([`NodeFrame::Settings`], `Environment`, `Manifest`, `Content`, `Push`,
//! `Start`) are done one after the other, so that a program sees every write that was answered before it was started.
//! All others are done at once, whatever the ordered ones wait for.

use bincode::{Decode, Encode};
use uuid::Uuid;

use crate::stream::Chunk;

/// BLAKE3 of a file's content.
pub type Hash = [u8; 32];

/// How far an agent may send a process's output beyond the last credit when it starts, in bytes.
pub const OUTPUT_WINDOW_BYTES: u64 = 256 * 1024;
/// How much input a process may have that its program has not read, in bytes.
pub const INPUT_BYTES: usize = 1024 * 1024;
/// The most content one frame carries, in bytes: file pieces, environment pieces, input.
pub const PIECE_BYTES: usize = 256 * 1024;
/// Content up to this many bytes travels inside the change that names it; more goes in pieces before it.
pub const INLINE_BYTES: usize = 64 * 1024;

/// A terminal's size in cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct PtySize {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}

/// The signals a client may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Signal {
    /// SIGINT.
    Int,
    /// SIGTERM.
    Term,
    /// SIGKILL.
    Kill,
    /// SIGHUP.
    Hup,
    /// SIGQUIT.
    Quit,
    /// SIGUSR1.
    Usr1,
    /// SIGUSR2.
    Usr2,
}

/// A program to start.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Start {
    /// Its process; a start that arrives twice is done once.
    #[bincode(with_serde)]
    pub process_id: Uuid,
    /// The program and its arguments, at least one.
    pub argv: Vec<String>,
    /// Variables beside those of the sandbox.
    pub env: Vec<(String, String)>,
    /// The directory it starts in, absolute inside the sandbox.
    pub cwd: String,
    /// A PTY of this size, or pipes.
    pub pty: Option<PtySize>,
}

/// How a process ended. It is the ring's last record: it comes after all output.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Exit {
    /// The number of the last output event, 0 without any.
    pub last_sequence: u64,
    /// The exit code, `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal's number.
    pub signal: Option<i32>,
    /// The cause where it is not the program's own: `cwd_not_found`, `disk_full`.
    pub reason: Option<String>,
    /// When it ended, milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// What became of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum InputOutcome {
    /// The agent has it, or had it before.
    Taken,
    /// More than [`INPUT_BYTES`] would be waiting; the number is unused.
    Full,
    /// The process has ended, or its input was closed.
    Ended,
}

/// A process as the agent knows it, told when a stream begins.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ProcessState {
    /// Which one.
    #[bincode(with_serde)]
    pub process_id: Uuid,
    /// The oldest event still in the ring.
    pub first_sequence: u64,
    /// The number that the next event will get.
    pub next_sequence: u64,
    /// How it ended, if it did.
    pub exit: Option<Exit>,
    /// The last input number taken of each writer.
    pub writers: Vec<(String, u64)>,
}

/// What an entry of the tree is.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Node {
    /// A directory.
    Directory,
    /// A symbolic link, kept and never followed.
    Symlink {
        /// What it names, as written.
        target: String,
    },
    /// A regular file.
    File {
        /// BLAKE3 of its content.
        hash: Hash,
        /// Its length in bytes.
        size: u64,
        /// Whether its owner may execute it.
        executable: bool,
    },
}

/// An entry of the tree in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Entry {
    /// Where, a workspace path such as `/src/main.py`.
    pub path: String,
    /// What.
    pub node: Node,
}

/// Where a changed file's bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Content {
    /// Here, at most [`INLINE_BYTES`].
    Inline(Vec<u8>),
    /// In the `Content` pieces (node to agent) or the `Upload` (agent to node) that came before, under this number.
    Transfer(u64),
}

/// One change of the tree, in either direction.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Change {
    /// `path` is now this; its parents are made as needed.
    Put {
        /// Where.
        path: String,
        /// What.
        node: Node,
        /// A file's bytes; `None` for what is no file and where only the mode changed.
        content: Option<Content>,
    },
    /// `path` and all below it is gone.
    Remove {
        /// Where.
        path: String,
    },
    /// What was at `from` is at `to`, with all below it. Only from the node.
    Move {
        /// Where it was.
        from: String,
        /// Where it is.
        to: String,
    },
}

/// What the agent needs to know of its workspace, the first ordered frame of every stream.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Settings {
    /// Names of folders that belong to the environment and not to the tree.
    pub generated_folders: Vec<String>,
    /// The largest file that is kept in the tree, in bytes.
    pub max_file_bytes: u64,
    /// The most an environment may weigh, packed, in bytes.
    pub max_environment_bytes: u64,
    /// This sandbox has not had its environment and tree yet, or had them before this stream.
    pub fresh: bool,
}

/// From the node.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum NodeFrame {
    /// Sent every second; three seconds without any frame and the agent redials.
    Beat,
    /// Ordered.
    Settings(Settings),
    /// Ordered. A piece of the packed environment to unpack, only to a fresh sandbox. `last` ends it; a fresh sandbox
    /// always gets at least one, empty if there is no environment.
    Environment {
        /// Where in the pack it belongs.
        offset: u64,
        /// At most [`PIECE_BYTES`].
        bytes: Vec<u8>,
        /// It ends the pack.
        last: bool,
    },
    /// Ordered. The tree at `version`, in parts; the last one makes the agent compare it with its disk, ask for what it
    /// lacks by [`AgentFrame::Want`], and hold later ordered frames until it has that.
    Manifest {
        /// The version it shows.
        version: u64,
        /// A part of it in path order.
        entries: Vec<Entry>,
        /// It is whole.
        last: bool,
    },
    /// Answers [`AgentFrame::Want`], not ordered. A piece of the file with this hash.
    Wanted {
        /// Whose content.
        hash: Hash,
        /// Where in it.
        offset: u64,
        /// At most [`PIECE_BYTES`].
        bytes: Vec<u8>,
        /// It ends the file.
        last: bool,
        /// It could not be read; what was asked for is left out.
        failed: bool,
    },
    /// Ordered. A piece of what a later `Push` names as [`Content::Transfer`].
    Content {
        /// Its number, unique on this stream.
        transfer: u64,
        /// At most [`PIECE_BYTES`].
        bytes: Vec<u8>,
    },
    /// Ordered. What a commit changed. Applied over whatever is there: the last commit wins.
    Push {
        /// The tree's version after it.
        version: u64,
        /// In order.
        changes: Vec<Change>,
    },
    /// Ordered.
    Start(Start),
    /// Bytes for a program.
    Input {
        /// Which one.
        #[bincode(with_serde)]
        process_id: Uuid,
        /// Who writes; numbers count per writer.
        writer: String,
        /// Rises per writer; a number seen before is ignored, 0 is taken always.
        seq: u64,
        /// At most [`PIECE_BYTES`].
        bytes: Vec<u8>,
        /// The input ends after them.
        eof: bool,
        /// Echoed in [`AgentFrame::InputTaken`].
        tag: u64,
    },
    /// A terminal has a new size.
    Resize {
        /// Which one.
        #[bincode(with_serde)]
        process_id: Uuid,
        /// Its size.
        size: PtySize,
    },
    /// A signal for the process group.
    Signal {
        /// Which one.
        #[bincode(with_serde)]
        process_id: Uuid,
        /// Which signal.
        signal: Signal,
    },
    /// TERM to the process group, KILL 5 s later.
    Cancel {
        /// Which one.
        #[bincode(with_serde)]
        process_id: Uuid,
    },
    /// Everything up to `sequence` is stored.
    Stored {
        /// Whose.
        #[bincode(with_serde)]
        process_id: Uuid,
        /// Up to here.
        sequence: u64,
    },
    /// Where to go on with a process's output after a stream began; without it nothing of it is sent. For a process
    /// that was started on this stream it is implied with sequence 1 and [`OUTPUT_WINDOW_BYTES`].
    Resume {
        /// Whose.
        #[bincode(with_serde)]
        process_id: Uuid,
        /// The first event wanted; older than the ring begins is taken as the ring's first.
        sequence: u64,
        /// Credit counted from here, as in `Credit`.
        credit: u64,
    },
    /// How many bytes of a process's output may be sent in all, counted since the last `Resume` or the start. Absolute,
    /// so that repeating or losing one is harmless; a lower one is ignored.
    Credit {
        /// Whose.
        #[bincode(with_serde)]
        process_id: Uuid,
        /// In all.
        bytes: u64,
    },
    /// A process that is ended and stored: the agent may forget it.
    Forget {
        /// Which one.
        #[bincode(with_serde)]
        process_id: Uuid,
    },
    /// The batch with this number is committed at this tree version, or refused for good with a reason.
    Reported {
        /// Which batch.
        batch: u64,
        /// The tree's version after it.
        version: u64,
        /// Paths that were not taken, and why.
        refused: Vec<(String, String)>,
    },
    /// Report everything that has changed by now, then answer [`AgentFrame::Flushed`].
    Flush {
        /// Echoed.
        tag: u64,
    },
    /// Stop all programs, report what changed, then send the environment as [`AgentFrame::Environment`].
    Pack {
        /// Echoed.
        tag: u64,
    },
    /// Ordered, in place of environment and manifest, to a fresh agent on a disk that another one left: the tree, in
    /// parts. Nothing on the disk is changed; what is newer there than in the tree is reported, and what is not there
    /// is not missed. Answered by [`AgentFrame::Ready`].
    Harvest {
        /// A part of the tree.
        entries: Vec<Known>,
        /// It is whole.
        last: bool,
    },
    /// As `Pack`, while all programs go on: the sandbox is to be suspended.
    Copy {
        /// Echoed.
        tag: u64,
    },
}

/// An entry of the tree, for a harvest.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Known {
    /// Where.
    pub path: String,
    /// What.
    pub node: Node,
    /// Only what changed on the disk after this is newer, in nanoseconds since the epoch; 0 where anything is that
    /// differs.
    pub since: i64,
}

/// From the agent.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum AgentFrame {
    /// Sent every second.
    Beat,
    /// What the agent has, the first frames of every stream; `last` ends it.
    State {
        /// A part of its processes.
        processes: Vec<ProcessState>,
        /// The last tree version it applied, 0 before any.
        tree_version: u64,
        /// Environment and tree were applied once in this sandbox's life.
        ready: bool,
        /// It is whole.
        last: bool,
    },
    /// A fresh sandbox has its environment and its tree; programs start from now.
    Ready {
        /// What could not be restored, in words.
        notes: Vec<String>,
    },
    /// Content that the manifest names and the disk lacks.
    Want {
        /// At most 4096 at once.
        hashes: Vec<Hash>,
    },
    /// A program runs.
    Started {
        /// Which one.
        #[bincode(with_serde)]
        process_id: Uuid,
    },
    /// Numbered output, contiguous.
    Output {
        /// Whose.
        #[bincode(with_serde)]
        process_id: Uuid,
        /// At least one.
        chunks: Vec<Chunk>,
    },
    /// A program has ended and all its output was sent. Sent again after every `Resume` that reaches the end.
    Exited {
        /// Which one.
        #[bincode(with_serde)]
        process_id: Uuid,
        /// How.
        exit: Exit,
    },
    /// What became of an input.
    InputTaken {
        /// Whose.
        #[bincode(with_serde)]
        process_id: Uuid,
        /// As sent.
        writer: String,
        /// As sent.
        seq: u64,
        /// As sent.
        tag: u64,
        /// What became of it.
        outcome: InputOutcome,
    },
    /// A piece of a changed file's content, named later by a [`Content::Transfer`] in a `Report`.
    Upload {
        /// Its number, unique on this stream.
        transfer: u64,
        /// At most [`PIECE_BYTES`].
        bytes: Vec<u8>,
    },
    /// An upload whose file changed meanwhile: what came of it is void.
    UploadVoid {
        /// Which one.
        transfer: u64,
    },
    /// What changed on the disk. Kept and sent again until it is `Reported`; one is in flight at a time.
    Report {
        /// Its number, rising through the sandbox's life; one that was committed before is answered and not done again.
        batch: u64,
        /// In order.
        changes: Vec<Change>,
        /// Paths that are left out of the tree, and why (`fifo`, `socket`, `device`, `not_utf8`, `too_large`,
        /// `named_like_a_generated_folder`).
        left_out: Vec<(String, String)>,
    },
    /// Everything that had changed when `Flush` came is committed.
    Flushed {
        /// As sent.
        tag: u64,
    },
    /// A piece of the packed environment (tar.zst), in order from offset 0.
    Environment {
        /// As sent.
        tag: u64,
        /// Where in the pack.
        offset: u64,
        /// At most [`PIECE_BYTES`].
        bytes: Vec<u8>,
        /// It ends the pack.
        last: bool,
        /// With the last piece: folders that were left out, and why.
        left_out: Vec<(String, String)>,
    },
    /// The environment could not be packed; the previous one stays.
    PackFailed {
        /// As sent.
        tag: u64,
        /// Why.
        detail: String,
    },
    /// Something a person should know, such as an attempt to reach the agent's socket.
    Notice {
        /// A stable word.
        code: String,
        /// In words.
        detail: String,
    },
    /// Paths at which the disk could not be made like the tree: the node pushes what the tree has there by now.
    Lacking {
        /// At most 256 at once.
        paths: Vec<String>,
    },
}
