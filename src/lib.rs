//! Playhouse.

pub mod sandbox;
pub mod host;
pub mod doctor;
