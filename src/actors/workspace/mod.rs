//! The Workspace: its file tree, who may do what, its programs and its sandbox's place.

mod handle;
pub mod command;
pub mod message;

pub use handle::Staged;
pub use command::{NewFile, RunRequest, WorkspaceAnswer, WorkspaceCommand};
pub use message::{Attached, AttachRefused, SaveOutcome, WorkspaceMessage};

/// The Workspace entity.
#[derive(Debug)]
pub struct Workspace;

/// A reference to a workspace.
pub type WorkspaceRef = crate::cluster::EntityRef<Workspace>;

/// Results of the workspace's own background work.
#[derive(Debug)]
pub enum Own {}
