//! Where entities live: the Region that starts and finds them, and the reference by which everyone else reaches them.

pub mod entity;
pub mod region;

pub use entity::{CallError, Entity, EntityRef, NodeContext, StartError};
pub use region::Region;
