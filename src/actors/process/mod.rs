//! The Process: its status, and its output on the way from the agent to the log and to every viewer.
//!
//! The decisions are pure: [`state`] (its life), [`tail`] (what is not stored yet), [`viewers`] (who gets what next),
//! [`pace`] (how fast it may print), [`inputs`] (what is typed) and `numbers` (what of it was taken). The actor in [`shell`] runs their effects.

mod activation;
mod asked;
pub mod command;
mod ending;
mod handle;
pub mod inputs;
mod link;
pub mod message;
mod numbers;
mod output;
pub mod pace;
mod rows;
mod shell;
pub mod state;
pub mod tail;
#[cfg(test)]
pub(in crate::actors) mod tests;
mod typing;
pub mod viewers;
mod watching;

pub use command::{ProcessAnswer, ProcessCommand, ProcessRecord};
pub use message::{Allowance, Counted, From, FromAgent, ProcessInfo, ProcessMessage, ResumeInvalid};

use playhouse_protocol::EventId;

use crate::store::{
    metadata::{CommitError, Guard},
    replay::{AppendError, Page},
};

/// The Process entity.
#[derive(Debug)]
pub struct Process;

/// A reference to a process.
pub type ProcessRef = crate::cluster::EntityRef<Process>;

/// Results of the process's own background work.
#[derive(Debug)]
pub struct Own(Done);

#[derive(Debug)]
enum Done {
    /// A commit ended; then what follows it.
    Committed(Result<Guard, CommitError>, Option<Box<rows::After>>),
    /// An append to the log ended, or recording a loss there.
    Appended {
        /// Where the log ends now.
        result: Result<EventId, AppendError>,
        /// It recorded a loss.
        lost: bool,
    },
    /// The log may be tried again.
    AppendAgain,
    /// A page for a viewer; `None` when it could not be read.
    Page { viewer: u64, token: u64, page: Option<Page> },
    /// What the sandbox may have done to the program, if that is known.
    Fate { at_end: bool, fate: Option<crate::actors::sandbox::Fate> },
    /// The end may be committed again.
    CommitEndAgain,
    /// A minute has passed.
    Minute,
}
