//! The environment: what a sandbox has beside the tree (generated folders and the home directory), packed when it ends
//! and unpacked in the next one.
//!
//! A pack is a series of zstd frames, one for each unit (a generated folder, a folder of the home directory, the home
//! directory's loose files), each holding a tar archive. So a unit's packed size is known apart from the others, and
//! whole units can be left out where all together are too large.

mod pack;
mod units;
mod unpack;

pub use pack::{Packed, pack};
pub use unpack::Unpacking;

/// An environment may unpack to so many times the bytes that it may have packed; more is no environment but a bomb.
const MOST_EXPANSION: u64 = 16;
/// The first component of what belongs to the workspace.
const WORKSPACE: &str = "workspace";
/// The first component of what belongs to the home directory.
const HOME: &str = "home";
