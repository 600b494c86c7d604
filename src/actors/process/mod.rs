//! The Process: its status, and its output on the way from the agent to the log and to every viewer.

pub mod command;
mod handle;
pub mod message;

pub use command::{ProcessAnswer, ProcessCommand, ProcessRecord};
pub use message::{From, FromAgent, OutputLog, ProcessInfo, ProcessMessage, ResumeInvalid};

/// The Process entity.
#[derive(Debug)]
pub struct Process;

/// A reference to a process.
pub type ProcessRef = crate::cluster::EntityRef<Process>;

/// Results of the process's own background work.
#[derive(Debug)]
pub enum Own {}
