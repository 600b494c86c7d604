//! The Host: one sandbox machine as this node knows it, and the link to it.

mod entity;
mod link;
mod trust;

pub use entity::{Host, HostMessage, HostRef};
pub use link::{HostLink, connect};
