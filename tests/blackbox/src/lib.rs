//! The harness of the black-box suites: it starts the real binary, speaks HTTP and WebSocket to it, and checks on receipt
//! what the contract promises of every answer and every frame. It shares no code with what it tests.
//!
//! `PLAYHOUSE_BIN` names the binary (or the directory it lies in); `PLAYHOUSE_KEEP` keeps the servers' data directories.

pub mod arena;
pub mod cli;
pub mod client;
pub mod frame;
pub mod model;
pub mod os;
pub mod server;
pub mod shape;
pub mod stream;
pub mod wait;
pub mod workspace;

pub use arena::{Arena, on_own, on_shared};
pub use client::{Answer, Client};
pub use frame::{EventId, Frame};
pub use model::Model;
pub use server::Server;
pub use stream::{Closed, Options, Stream};
pub use workspace::{Run, Workspace};
