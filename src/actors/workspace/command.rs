//! What can be asked of a workspace, and what it answers.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    actors::{
        PageRequest, Paged, Role,
        views::{FileView, LinkView, MemberView, RunCommand, SandboxView, SharingMode, WorkspaceView},
    },
    store::blobs::BlobRef,
};

/// A file to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewFile {
    /// Where.
    pub path: String,
    /// Its content, staged before; `None` makes a directory.
    pub content: Option<BlobRef>,
}

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRequest {
    /// What.
    pub command: RunCommand,
    /// With a terminal of this size (columns, rows), or pipes.
    pub pty: Option<(u16, u16)>,
    /// Variables beside the sandbox's.
    pub env: Vec<(String, String)>,
    /// Where it starts.
    pub cwd: String,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkspaceCommand {
    /// Makes it, with the caller as owner. Answers `Workspace`.
    Create {
        /// Its name.
        name: String,
        /// Its template, the default when `None`.
        template: Option<String>,
    },
    /// Answers `Workspace`.
    Get,
    /// Answers `Workspace`.
    Update {
        /// A new name.
        name: Option<String>,
        /// A new mode.
        sharing_mode: Option<SharingMode>,
    },
    /// Ends its sandbox and removes all of it. Answers `Done`.
    Delete,
    /// Answers `Members`.
    Members(PageRequest),
    /// Answers `Member`.
    PutMember {
        /// An id or a name.
        user: String,
        /// `View` or `Edit`.
        role: Role,
    },
    /// Answers `Done`.
    RemoveMember {
        /// An id or a name.
        user: String,
    },
    /// Answers `Link`.
    CreateLink {
        /// `View` or `Edit`.
        role: Role,
        /// It ends after so many seconds.
        ttl_seconds: Option<u64>,
    },
    /// Answers `Links`.
    Links(PageRequest),
    /// Answers `Done`.
    RemoveLink {
        /// Which one.
        id: Uuid,
    },
    /// Grants the link's role to the caller. Answers `Workspace`.
    AcceptLink {
        /// Which one.
        id: Uuid,
        /// The secret in its url.
        secret: String,
    },
    /// Answers `Tree`.
    Files {
        /// Only this and what is below it.
        prefix: String,
        /// What lies under `.git` too.
        all: bool,
        /// Which page; `None` for all of it.
        page: Option<PageRequest>,
        /// Not if the tree is still of this version.
        unless: Option<u64>,
    },
    /// Makes files, all or none. Answers `Files` with what was made, in the order asked for.
    CreateFiles {
        /// What.
        files: Vec<NewFile>,
        /// Write over files that exist.
        overwrite: bool,
    },
    /// Answers `File`.
    File {
        /// Which one.
        id: Uuid,
    },
    /// Writes a file. Answers `File`.
    PutFile {
        /// Which one.
        id: Uuid,
        /// Its new content.
        content: BlobRef,
        /// Only if this is its etag.
        if_match: Option<String>,
    },
    /// Answers `File`.
    MoveFile {
        /// Which one.
        id: Uuid,
        /// Where to.
        path: String,
        /// Only if this is its etag.
        if_match: Option<String>,
    },
    /// Answers `Done`.
    DeleteFile {
        /// Which one.
        id: Uuid,
        /// Only if this is its etag.
        if_match: Option<String>,
    },
    /// Runs a program, and makes the sandbox if there is none. Answers `Ran`.
    Run(RunRequest),
    /// The ids of its processes, oldest first. Answers `Processes`.
    Processes(PageRequest),
    /// Makes a sandbox if there is none. Answers `Sandbox`.
    EnsureSandbox {
        /// The default when `None`.
        instance_type: Option<String>,
    },
}

/// What is answered; an idempotency key keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkspaceAnswer {
    /// It is done.
    Done,
    /// A workspace.
    Workspace(WorkspaceView),
    /// Members, by name.
    Members(Paged<MemberView>),
    /// A member.
    Member(MemberView),
    /// Links, oldest first.
    Links(Paged<LinkView>),
    /// A link.
    Link(LinkView),
    /// Files that were made.
    Files(Paged<FileView>),
    /// What was asked for of the tree.
    Tree {
        /// The tree's version.
        version: u64,
        /// `None` where the version is the one that was known.
        files: Option<Paged<FileView>>,
    },
    /// A file, with its content where it has one.
    File {
        /// As the API shows it.
        file: FileView,
        /// Where its bytes are.
        content: Option<BlobRef>,
    },
    /// A program was accepted.
    Ran {
        /// Its process.
        process_id: Uuid,
        /// Its sandbox.
        sandbox_id: Uuid,
    },
    /// Processes' ids.
    Processes(Paged<Uuid>),
    /// A sandbox, and whether it was made by this call.
    Sandbox {
        /// As the API shows it.
        sandbox: SandboxView,
        /// Whether it is new.
        created: bool,
    },
}
