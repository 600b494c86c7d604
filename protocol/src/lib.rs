//! What Playhouse's parts say to each other: ids, stream numbering, and the frames of agents, hosts and clients.
//!
//! No tokio, no I/O: everything here is data and pure functions, shared by the node, the host and the agent.

pub mod ids;
pub mod stream;
pub mod ring;
pub mod text;
pub mod path;
pub mod codec;
pub mod templates;
pub mod handshake;
pub mod agent;
pub mod host;
pub mod client;

pub use ids::{Shard, SHARDS};
pub use stream::{Chunk, EventId, Stream};
