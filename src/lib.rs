//! Playhouse.
pub mod store;
