//! The Workspace: its file tree, who may do what, its programs and its sandbox's place.

pub mod command;
mod handle;
pub mod message;

pub use command::{NewFile, RunRequest, WorkspaceAnswer, WorkspaceCommand};
pub use handle::Staged;
pub use message::{AttachRefused, Attached, SaveOutcome, WorkspaceMessage};

/// The Workspace entity.
#[derive(Debug)]
pub struct Workspace;

/// A reference to a workspace.
pub type WorkspaceRef = crate::cluster::EntityRef<Workspace>;

/// Results of the workspace's own background work.
#[derive(Debug)]
pub enum Own {}
