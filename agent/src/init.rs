//! What the agent does as the first process of its sandbox: takes its token, hides its memory, reaps what ends.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::FromRawFd,
};

use anyhow::{Context, bail};
use playhouse_protocol::{
    handshake::{Token, TokenHash, token_hash},
    host::TOKEN_FD,
};
use rustix::process::{DumpableBehavior, WaitOptions, getpid, set_child_subreaper, set_dumpable_behavior, wait};

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// Reads the token from its inherited descriptor and closes that. To be called before any other descriptor is opened.
///
/// # Errors
/// There is no such descriptor, or there are not exactly 32 bytes in it.
pub fn take_token() -> anyhow::Result<TokenHash> {
    // SAFETY: asks whether the descriptor is open, and changes nothing.
    #[allow(unsafe_code, reason = "a descriptor that may not be open can't be borrowed")]
    let is_open = unsafe { libc::fcntl(TOKEN_FD, libc::F_GETFD) } != -1;
    if !is_open {
        bail!("no token: descriptor {TOKEN_FD} is not open");
    }
    // SAFETY: it is open, inherited for this purpose, and nothing else in this process knows it.
    #[allow(unsafe_code, reason = "the token comes in an inherited descriptor")]
    let file = unsafe { File::from_raw_fd(TOKEN_FD) };
    let mut bytes = Vec::with_capacity(64);
    file.take(33).read_to_end(&mut bytes).context("could not read the token")?;
    let mut token = Token::try_from(bytes.as_slice()).ok().context("the token is not 32 bytes long")?;
    bytes.fill(0);
    let hash = token_hash(&token);
    token.fill(0);
    Ok(hash)
}

/// Makes this process's memory and descriptors unreadable to others of the same user, and the parent of all orphans.
///
/// # Errors
/// The system refuses.
pub fn settle() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    hear_signals();
    if !is_init() {
        set_child_subreaper(Some(getpid()))?;
    }
    Ok(())
}

/// Takes back what whoever started this ignores: a shell ignores SIGINT for what it starts in the background, `nohup`
/// SIGHUP, and programs would inherit it and be deaf to Ctrl-C. SIGPIPE is left as the runtime wants it for itself; it
/// puts that right in its children.
fn hear_signals() {
    for signal in (1..=libc::SIGSYS).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP, libc::SIGPIPE].contains(signal)) {
        // SAFETY: the default disposition runs no code of ours.
        #[allow(unsafe_code, reason = "no safe wrapper sets a disposition")]
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

/// Whether this is the first process of a sandbox.
#[must_use]
pub fn is_init() -> bool {
    getpid().is_init()
}

/// Reaps the next child that has ended, started here or orphaned. Call it only where no start is under way: then an
/// id names the child that was started under it, and nothing else.
#[must_use]
pub fn reap() -> Option<(i32, Ended)> {
    loop {
        // No child is left, or none has ended.
        let (pid, status) = wait(WaitOptions::NOHANG).ok().flatten()?;
        let pid = pid.as_raw_nonzero().get();
        if let Some(code) = status.exit_status() {
            return Some((pid, Ended::Code(code)));
        }
        if let Some(signal) = status.terminating_signal() {
            return Some((pid, Ended::Signal(signal)));
        }
    }
}

/// As init, kills every other process of the sandbox.
pub fn kill_all() {
    if is_init() {
        // SAFETY: two integers; as pid 1 of its namespace the caller itself is exempt.
        #[allow(unsafe_code, reason = "rustix can't name all processes")]
        unsafe {
            libc::kill(-1, libc::SIGKILL);
        }
    }
}
