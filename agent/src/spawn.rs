//! Starting a program: on a terminal or on pipes, in a session of its own, with nothing of the agent's but its variables.

use std::{
    ffi::OsString,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::Path,
    process::{Command, Stdio},
};

use playhouse_protocol::agent::{PtySize, Start};
use rustix::{
    io::ioctl_fionbio,
    pipe::{PipeFlags, pipe_with},
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{InputModes, OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize},
};

/// How much sooner than the agent a program is killed for want of memory: as if it used half of it more.
const OOM_SCORE: &str = "500";

/// A program that runs.
#[derive(Debug)]
pub struct Spawned {
    /// Its process id, which is its process group's and its session's too.
    pub pid: i32,
    /// What it is connected to; our ends don't block.
    pub ends: Ends,
}

/// Our ends of a program's standard streams.
#[derive(Debug)]
pub enum Ends {
    /// The controlling side of its terminal.
    Terminal(OwnedFd),
    /// The other ends of its pipes.
    Pipes {
        /// Where its input is written.
        input: OwnedFd,
        /// Where its output is read.
        output: OwnedFd,
        /// Where its errors are read.
        errors: OwnedFd,
    },
}

/// Why a program could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// Its directory is not there.
    #[error("{0}: no such directory")]
    NoDirectory(String),
    /// It is not there: 127, as in a shell.
    #[error("{0}: not found")]
    NotFound(String),
    /// It is there and can't be run: 126, as in a shell.
    #[error("{program}: {cause}")]
    CannotRun {
        /// What was to run.
        program: String,
        /// What the system said.
        cause: io::Error,
    },
}

impl SpawnError {
    /// The exit code that a shell would give.
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::NoDirectory(_) => 1,
            Self::NotFound(_) => 127,
            Self::CannotRun { .. } => 126,
        }
    }
}

/// The sandbox's own variables, for every program in it: the agent's own are left out.
#[must_use]
pub fn sandbox_variables() -> Vec<(OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| !name.as_encoded_bytes().starts_with(b"PLAYHOUSE_")).collect()
}

/// Starts a program in `directory`, which is where its `cwd` is. Blocks until its image is loaded, about a millisecond.
///
/// # Errors
/// See [`SpawnError`].
pub fn spawn(start: &Start, directory: &Path, variables: &[(OsString, OsString)]) -> Result<Spawned, SpawnError> {
    if !directory.is_dir() {
        return Err(SpawnError::NoDirectory(start.cwd.clone()));
    }
    let (program, arguments) =
        start.argv.split_first().ok_or_else(|| SpawnError::NotFound("an empty command".into()))?;
    let cannot_run = |cause| SpawnError::CannotRun { program: program.clone(), cause };
    if program.is_empty() {
        return Err(SpawnError::NotFound("''".into()));
    }
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(variables.iter().map(|(name, value)| (name, value)));
    if start.pty.is_some() {
        command.env("TERM", "xterm-256color");
    }
    command.env("PWD", directory).current_dir(directory);
    let is_name = |name: &str| !name.is_empty() && !name.contains(['=', '\0']);
    command.envs(start.env.iter().filter(|(name, _)| is_name(name)).map(|(name, value)| (name, value)));

    let ends = match start.pty {
        Some(size) => on_terminal(&mut command, size),
        None => on_pipes(&mut command),
    }
    .map_err(cannot_run)?;
    lead_session(&mut command, start.pty.is_some());
    let child = command.spawn().map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound => SpawnError::NotFound(program.clone()),
        _ => cannot_run(cause),
    })?;
    // The command holds the program's ends: while they are open here, ours never end.
    drop(command);
    let pid = i32::try_from(child.id()).map_err(|_| cannot_run(io::ErrorKind::InvalidData.into()))?;
    prefer_to_kill(pid);
    Ok(Spawned { pid, ends })
}

/// When memory runs out, a program goes and not the agent, whose end would end the sandbox. Best effort: without it the
/// biggest goes, which is seldom the agent.
fn prefer_to_kill(pid: i32) {
    let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), OOM_SCORE);
}

/// Tells a terminal its size.
///
/// # Errors
/// What the system says.
pub fn resize(terminal: impl AsFd, size: PtySize) -> io::Result<()> {
    let size = Winsize { ws_row: size.rows, ws_col: size.cols, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(tcsetwinsize(terminal, size)?)
}

fn on_terminal(command: &mut Command, size: PtySize) -> io::Result<Ends> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let theirs = ioctl_tiocgptpeer(&ours, flags)?;
    // Without it a backspace in canonical mode removes a byte of a character.
    let mut modes = tcgetattr(&theirs)?;
    modes.input_modes |= InputModes::IUTF8;
    tcsetattr(&theirs, OptionalActions::Now, &modes)?;
    resize(&ours, size)?;
    ioctl_fionbio(&ours, true)?;
    command.stdin(theirs.try_clone()?).stdout(theirs.try_clone()?).stderr(theirs);
    Ok(Ends::Terminal(ours))
}

fn on_pipes(command: &mut Command) -> io::Result<Ends> {
    let (their_input, input) = pipe_with(PipeFlags::CLOEXEC)?;
    let (output, their_output) = pipe_with(PipeFlags::CLOEXEC)?;
    let (errors, their_errors) = pipe_with(PipeFlags::CLOEXEC)?;
    for ours in [&input, &output, &errors] {
        ioctl_fionbio(ours, true)?;
    }
    command.stdin(Stdio::from(their_input)).stdout(their_output).stderr(their_errors);
    Ok(Ends::Pipes { input, output, errors })
}

/// Makes the program lead a session, with its standard input as the terminal if it has one, and close all else.
fn lead_session(command: &mut Command, terminal: bool) {
    let before_exec = move || {
        rustix::process::setsid()?;
        if terminal {
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
        }
        close_all_on_exec();
        Ok(())
    };
    // SAFETY: between fork and exec only system calls are made: no allocation, no lock.
    #[allow(unsafe_code, reason = "a session and its terminal can only be taken by the program itself, before exec")]
    unsafe {
        command.pre_exec(before_exec);
    }
}

/// Every descriptor of the agent's is opened to close on exec; this also holds for one that a library forgot, or that
/// was inherited. Where the kernel or a filter refuses the call, the former must do.
fn close_all_on_exec() {
    // SAFETY: the call takes three integers and touches no memory.
    #[allow(unsafe_code, reason = "rustix has no close_range")]
    unsafe {
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
    }
}
