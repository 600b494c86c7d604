//! `playhouse host`: the data plane of one machine. It owns what must outlive a node: the sandboxes, the sockets that
//! their agents dial, and the way out to the network.
//!
//! One task, [`service`], owns every sandbox's life and does what the pure [`machine`] decides; around it stand small
//! tasks that each hold one socket or one process. Sandboxes outlive this process: its successor finds them by the
//! [`record`]s on the disk.

mod agents;
mod arrivals;
mod config;
mod control;
pub mod egress;
mod machine;
mod place;
mod ready;
mod record;
mod sandbox;
mod service;
mod sockets;
mod watch;

pub use config::{HostConfig, HostFailure, LOG, LOG_BYTES};
pub use service::{run, run_with};
