//! The Workspace: its file tree, who may do what, its programs and its sandbox's place.
//!
//! Pure: [`tree`], [`access`], [`rows`], and [`state`] with what is decided about [`files`],
//! [`sharing`], [`runs`] and [`report`]s; [`save`]. Around them the actor: it lands decisions (`land`), takes commands
//! (`ask`), keeps the sandbox's lives (`lives`), its `processes`, and its agent's link (`link`), whose bulk is moved by the tasks of
//! [`pusher`] and [`intake`].
//!
//! Invariant: nothing is told to anybody (answer, event, push, acknowledgement) before the commit it comes from has
//! landed.

mod handle;
pub mod command;
pub mod message;
pub mod tree;
pub mod access;
pub mod rows;
pub mod state;
pub mod files;
pub mod sharing;
pub mod runs;
pub mod report;
pub mod save;
pub mod pusher;
pub mod intake;
mod own;
mod pieces;
mod processes;
mod actor;
mod land;
mod ask;
mod lives;
mod link;
mod remove;
#[cfg(test)]
pub(in crate::actors) mod tests;

pub use command::{NewFile, RunRequest, WorkspaceAnswer, WorkspaceCommand};
pub use handle::Staged;
pub use message::{AttachRefused, Attached, SaveOutcome, WorkspaceMessage};
pub use own::Own;
pub use save::Programs;

/// The Workspace entity.
#[derive(Debug)]
pub struct Workspace;

/// A reference to a workspace.
pub type WorkspaceRef = crate::cluster::EntityRef<Workspace>;
