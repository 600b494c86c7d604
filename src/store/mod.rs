//! tmp
pub mod metadata;
pub mod replay;
