//! The system calls a sandbox may make: a [`policy`] as data, a [`bpf`] compiler for it, and the [`load`] into the
//! calling process.
//!
//! The filter is compiled here and not by libseccomp, which takes 30 ms for it at every start.

pub mod bpf;
pub mod load;
pub mod policy;
