//! Playhouse.

pub mod sandbox;
