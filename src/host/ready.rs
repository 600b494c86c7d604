//! Waiting for a descriptor that tokio has no type for.

use std::{io, os::fd::OwnedFd};

use tokio::io::unix::AsyncFd;

/// Registers an owned descriptor with the runtime.
pub(super) fn register(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    #[allow(unsafe_code, reason = "an owned descriptor keeps the promise that tokio asks for")]
    // SAFETY: an `OwnedFd` is open, stays the same, and is closed only with the `AsyncFd` that owns it now.
    let registered = unsafe { AsyncFd::register(descriptor) };
    Ok(registered?)
}
