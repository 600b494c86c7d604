//! A process of the host that may outlive whoever started it: known by its number *and* its start time, since numbers
//! are used again.

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions},
};
use serde::{Deserialize, Serialize};

/// A process, past or present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRef {
    /// Its number.
    pub pid: i32,
    /// When it started, in clock ticks since boot.
    pub started: u64,
}

impl ProcessRef {
    /// The living process with this number.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        Some(Self { pid, started: start_time(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)? })
    }

    /// Whether it still is there. A zombie is, until it was waited for.
    #[must_use]
    pub fn exists(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// A descriptor that is readable once the process ended, if it has not been waited for yet.
    ///
    /// # Errors
    /// `NotFound` when it is gone or its number belongs to another process by now.
    pub fn open(self) -> io::Result<OwnedFd> {
        let pid = Pid::from_raw(self.pid).ok_or(io::ErrorKind::NotFound)?;
        let descriptor = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        // Only now is the number certain to stay this process's.
        if self.exists() { Ok(descriptor) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// Kills it, waits until it is dead, and reaps it if it is this process's child.
    ///
    /// # Errors
    /// What the kernel said, or that it took longer than `limit`.
    pub fn finish(self, limit: Duration) -> io::Result<()> {
        let descriptor = match self.open() {
            Ok(descriptor) => descriptor,
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        killed(rustix::process::pidfd_send_signal(&descriptor, Signal::KILL))?;
        let timeout = Timespec { tv_sec: limit.as_secs().cast_signed(), tv_nsec: i64::from(limit.subsec_nanos()) };
        if rustix::event::poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&timeout))? == 0 {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the process did not die"));
        }
        // Another process's child is reaped by that.
        let _ =
            rustix::process::waitid(WaitId::PidFd(descriptor.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        Ok(())
    }

    /// Kills it, and nothing else that might have its number by now. Done when it is already gone.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn kill(self) -> io::Result<()> {
        match self.open() {
            Ok(descriptor) => match rustix::process::pidfd_send_signal(descriptor, Signal::KILL) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
                Err(error) => Err(error.into()),
            },
            Err(error) if is_gone(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Whether a signal may have been what ends a process. Without root a host may not signal what a host before it started, in
/// a user namespace of that one's: its cgroup has killed it then, and what is left is to wait.
fn killed(sent: Result<(), rustix::io::Errno>) -> io::Result<()> {
    match sent {
        Ok(()) | Err(rustix::io::Errno::SRCH | rustix::io::Errno::PERM) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether an error says that there is no such process.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// Field 22 of a `/proc/<pid>/stat` line. The second field is the program's name in brackets and may hold anything, so
/// the count begins after the last bracket.
fn start_time(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_does_not_shift_the_fields() {
        let line = "17 (a) b) S) R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(start_time(line), Some(4711));
        assert_eq!(start_time("17 (x"), None);
    }

    #[test]
    fn a_process_that_may_not_be_signalled_is_waited_for_all_the_same() {
        use rustix::io::Errno;
        assert!(killed(Ok(())).is_ok() && killed(Err(Errno::SRCH)).is_ok() && killed(Err(Errno::PERM)).is_ok());
        assert!(killed(Err(Errno::INVAL)).is_err());
    }

    #[test]
    fn this_process_exists_and_another_time_does_not() {
        let me = ProcessRef::of(std::process::id().cast_signed()).expect("this process");
        assert!(me.exists());
        assert!(me.open().is_ok());
        let other = ProcessRef { started: me.started + 1, ..me };
        assert!(!other.exists());
        assert!(other.open().is_err());
        assert!(other.kill().is_ok(), "nothing to kill is done, and this test still runs");
    }
}
