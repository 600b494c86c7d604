//! Sandboxes on this machine: what isolates a program, what it finds, what it may use.
//!
//! A sandbox is made by a fresh process of this binary, [`runtime`], that mounts what the sandbox will see in a mount
//! namespace of its own and hands over to libcontainer. So nothing is ever mounted on the host itself: when a sandbox's
//! last process is gone, its mounts and its loop device are gone with it.

mod atomic;
pub mod bundle;
pub mod cgroup;
pub mod contained;
pub mod disk;
pub mod driver;
pub mod environment;
pub mod escape;
mod executor;
mod loopback;
mod owners;
pub mod plain;
pub mod probe;
pub mod process;
mod program;
pub mod ranges;
pub mod request;
pub mod rights;
pub mod rootless;
mod runtime;
pub mod seccomp;
pub mod skeleton;
mod stage;
pub mod toolchains;

pub use atomic::write_atomically;
pub use driver::{Driver, StepError};
pub use program::this_program;
pub use runtime::runtime_main;
