//! Waits for a sandbox's init to end.

use std::{io, os::fd::OwnedFd};

use rustix::process::{WaitId, WaitIdOptions};

use super::ready;
use crate::sandbox::process::ProcessRef;

/// What an init ended with when it can't be known: it was another host process's child, and its status went elsewhere.
const UNKNOWN: i32 = 255;

/// Waits for it, and says its status as a shell would.
pub(super) async fn ended(init: ProcessRef) -> io::Result<i32> {
    let descriptor = match init.open() {
        Ok(descriptor) => descriptor,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(UNKNOWN),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(UNKNOWN),
        Err(error) => return Err(error),
    };
    let descriptor = ready::register(descriptor)?;
    // Nothing is ever read: a pidfd only becomes readable once, when its process ends.
    let _ready = descriptor.readable().await?;
    Ok(status(descriptor.get_ref()))
}

/// Reaps it if it is this process's child, or became that when the runtime that made it ended.
fn status(descriptor: &OwnedFd) -> i32 {
    let waited = rustix::process::waitid(
        WaitId::PidFd(std::os::fd::AsFd::as_fd(descriptor)),
        WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
    );
    match waited {
        Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => code,
            (None, Some(signal)) => 128 + signal,
            (None, None) => UNKNOWN,
        },
        Ok(None) | Err(_) => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn a_childs_status_is_its_own() {
        for (script, want) in [("exit 3", 3), ("kill -9 $$", 137)] {
            #[allow(clippy::zombie_processes, reason = "reaping it is what is tested")]
            let child = Command::new("/bin/sh").args(["-c", script]).spawn().expect("started");
            let init = ProcessRef::of(child.id().cast_signed()).expect("there");
            assert_eq!(ended(init).await.expect("waited"), want);
        }
    }

    #[tokio::test]
    async fn one_that_is_long_gone_has_ended() {
        let init = ProcessRef { pid: std::process::id().cast_signed(), started: 1 };
        assert_eq!(ended(init).await.expect("gone"), UNKNOWN);
    }
}
