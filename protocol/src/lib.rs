//! What Playhouse's parts say to each other: ids, stream numbering, and the frames of agents, hosts and clients.
//!
//! No tokio, no I/O: everything here is data and pure functions, shared by the node, the host and the agent.

pub mod agent;
pub mod client;
pub mod codec;
pub mod dns;
pub mod handshake;
pub mod host;
pub mod ids;
pub mod path;
pub mod ring;
pub mod stream;
pub mod templates;
pub mod text;

pub use ids::{SHARDS, Shard};
pub use stream::{Chunk, EventId, Stream};
