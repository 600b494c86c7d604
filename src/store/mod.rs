//! tmp
pub mod metadata;
