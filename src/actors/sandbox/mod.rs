//! The Sandbox: one life of one sandbox, from provisioning to its end, and its agent's link.

mod actor;
mod handle;
mod once;
pub mod record;
mod shell;
pub mod message;
pub mod state;

pub use message::{Fate, SandboxCommand, SandboxMessage};

/// The Sandbox entity.
#[derive(Debug)]
pub struct Sandbox;

/// A reference to a sandbox.
pub type SandboxRef = crate::cluster::EntityRef<Sandbox>;
