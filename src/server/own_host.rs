//! The host beside the node: a process of its own, which outlives this one.
//!
//! Whoever holds `host.lock` in the data directory is the host, whether this node started it, an earlier one did, or an
//! operator. So the node waits for that lock to be free, and only then starts a host.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, IsTerminal as _, Read as _, Seek as _, SeekFrom},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use playhouse_protocol::host::LOCK;
use rustix::{
    fs::FlockOperation,
    process::{Pid, Signal},
};
use tokio::{
    process::{Child, Command},
    sync::{Mutex, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::Failure;
use crate::{
    config::{LogFormat, Settings},
    host::{LOG, LOG_BYTES},
    sandbox::{rootless, this_program},
};

/// The shortest pause before a host that ended is started again; it doubles with every early end.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A host that ran so long did not end early.
const RAN_WELL: Duration = Duration::from_secs(30);
/// How long a host may take to leave.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);

/// How the host is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Launch {
    /// As it is.
    Direct,
    /// By sudo, which asks nothing.
    Sudo,
}

/// The host beside this node.
#[derive(Debug)]
pub(crate) struct OwnHost {
    data_dir: PathBuf,
    arguments: Vec<OsString>,
    launch: Launch,
    /// The host that this node has started last. It is held while that is waited for.
    child: Mutex<Option<Child>>,
}

impl OwnHost {
    /// Of these settings. Where it needs root it asks for a password once, if a person is there to give it.
    ///
    /// # Errors
    /// What is missing to make sandboxes.
    pub(crate) async fn new(settings: &Settings, data_dir: &Path) -> Result<Self, Failure> {
        let is_root = rustix::process::geteuid().is_root();
        let launch = if settings.insecure_no_sandbox {
            Launch::Direct
        } else if settings.rootless {
            super::without_root(rootless::lacking())?;
            Launch::Direct
        } else if is_root {
            Launch::Direct
        } else {
            by_sudo(is_taken(data_dir)).await?
        };
        let child = Mutex::new(None);
        Ok(Self { data_dir: data_dir.to_owned(), arguments: arguments(settings, data_dir), launch, child })
    }

    /// Starts the host whenever there is none, until `stop`. The host itself stays.
    pub(crate) async fn keep(&self, stop: CancellationToken) {
        // Losing the rest of this work is what stopping means.
        let _ = stop.run_until_cancelled(self.keep_forever()).await;
    }

    async fn keep_forever(&self) {
        let mut pause = SHORTEST_PAUSE;
        loop {
            if let Err(error) = free(&self.data_dir).await {
                tracing::error!(%error, "the host's lock can't be looked at");
            }
            let begun = Instant::now();
            match self.start() {
                Ok(child) => {
                    tracing::debug!(pid = child.id(), "the host is started");
                    match self.child.lock().await.insert(child).wait().await {
                        Ok(status) => self.complain(status),
                        Err(error) => tracing::error!(%error, "the host can't be watched"),
                    }
                }
                Err(error) => tracing::error!(%error, "the host can't be started"),
            }
            pause = if begun.elapsed() > RAN_WELL { SHORTEST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
            tokio::time::sleep(pause).await;
        }
    }

    fn start(&self) -> io::Result<Child> {
        let program = this_program()?;
        let mut command = match self.launch {
            Launch::Direct => std::process::Command::new(program),
            Launch::Sudo => {
                let mut command = std::process::Command::new("sudo");
                command.args(["-n", "--"]).arg(program);
                command
            }
        };
        let log = log(&self.data_dir)?;
        command.args(&self.arguments).current_dir(&self.data_dir);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        match self.launch {
            Launch::Direct => {
                let detach = || rustix::process::setsid().map(drop).map_err(io::Error::from);
                #[expect(
                    unsafe_code,
                    reason = "setsid is one system call: it neither allocates nor locks after the fork"
                )]
                // SAFETY: as the reason says.
                unsafe {
                    command.pre_exec(detach);
                }
            }
            // A password that was given counts for the terminal it was given on: sudo stays in this session.
            Launch::Sudo => {
                command.process_group(0);
            }
        }
        Command::from(command).spawn()
    }

    fn complain(&self, status: ExitStatus) {
        let last = last_line(&self.data_dir.join(LOG)).unwrap_or_default();
        let log = self.data_dir.join(LOG).display().to_string();
        tracing::warn!(%status, last, log, "the host ended; starting it again");
    }

    /// Whether there is a host, linked or not yet. One that was just started may not have its lock.
    pub(crate) async fn exists(&self) -> bool {
        let started = self.child.lock().await.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)));
        started || is_taken(&self.data_dir)
    }

    /// Waits until the host has left, after it was told to.
    pub(crate) async fn left(&self) {
        let mut child = self.child.lock().await;
        let left = async {
            if let Some(child) = child.as_mut() {
                child.wait().await?;
            }
            free(&self.data_dir).await
        };
        match tokio::time::timeout(LEAVE_WITHIN, left).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the host's lock can't be looked at"),
            Err(_) => {
                tracing::warn!("the host did not leave in time; the next `serve` takes over what it holds");
                // It may not have heard it: one that is ended by a signal leaves its sandboxes as they are.
                let pid = child.as_ref().and_then(Child::id).and_then(|pid| Pid::from_raw(pid.cast_signed()));
                if let Some(Err(error)) = pid.map(|pid| rustix::process::kill_process(pid, Signal::TERM)) {
                    tracing::warn!(%error, "the host can't be told to end");
                }
            }
        }
    }
}

fn arguments(settings: &Settings, data_dir: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["host".into(), "--data-dir".into(), data_dir.into()];
    arguments.extend(["--name".into(), settings.node.clone().into()]);
    arguments.extend(["--sandbox-runtime".into(), settings.sandbox_runtime.clone().into()]);
    for (set, flag) in [(settings.rootless, "--rootless"), (settings.insecure_no_sandbox, "--insecure-no-sandbox")] {
        if set {
            arguments.push(flag.into());
        }
    }
    if settings.log_format == LogFormat::Json {
        arguments.extend(["--log-format".into(), "json".into()]);
    }
    arguments
}

/// One that is `here` already was started by someone who could; should it end, sudo is asked then.
async fn by_sudo(here: bool) -> Result<Launch, Failure> {
    if here || asks(&["-n", "true"], false).await {
        return Ok(Launch::Sudo);
    }
    if io::stdin().is_terminal() && sudo_is_there() {
        eprintln!("Sandboxes need root on this machine, so their host is started by sudo.");
        if asks(&["-v"], true).await {
            return Ok(Launch::Sudo);
        }
    }
    let why = if sudo_is_there() { "sudo asks for a password that nobody is here to give" } else { "there is no sudo" };
    Err(Failure::lacking(format!(
        "sandboxes need root on this machine, and {why}: install sudo and be allowed to use it, start `playhouse host` as \
         root with the same --data-dir first, start `playhouse serve` as root, or use --rootless (`playhouse doctor \
         --rootless` says whether it works here)"
    )))
}

/// Whether somebody is the host.
fn is_taken(data_dir: &Path) -> bool {
    let Ok(file) = open_lock(data_dir) else { return false };
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(rustix::io::Errno::WOULDBLOCK)
}

/// Opens the host's lock. A host that was started by another user first made it that user's: it can be locked all the same.
fn open_lock(data_dir: &Path) -> io::Result<File> {
    let path = data_dir.join(LOCK);
    match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::OpenOptions::new().create(true).truncate(false).write(true).open(path)
        }
        other => other,
    }
}

async fn asks(arguments: &[&str], aloud: bool) -> bool {
    let mut sudo = Command::new("sudo");
    sudo.args(arguments);
    if !aloud {
        sudo.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    }
    sudo.status().await.is_ok_and(|status| status.success())
}

fn sudo_is_there() -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join("sudo").is_file()))
}

fn log(data_dir: &Path) -> io::Result<File> {
    let path = data_dir.join(LOG);
    // The host begins it anew while it runs, so it must not write on where it was.
    let log = fs::OpenOptions::new().create(true).append(true).open(path)?;
    if log.metadata()?.len() > LOG_BYTES {
        log.set_len(0)?;
    }
    Ok(log)
}

fn last_line(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(4096)))?;
    let mut tail = Vec::new();
    file.take(4096).read_to_end(&mut tail)?;
    Ok(String::from_utf8_lossy(&tail).lines().last().unwrap_or_default().to_owned())
}

/// Waits until nobody is the host. The system wakes a thread for it, so a host that dies is noticed at once.
async fn free(data_dir: &Path) -> io::Result<()> {
    let file = open_lock(data_dir)?;
    if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
        return Ok(());
    }
    let (freed, waiting) = oneshot::channel();
    // A thread, not the runtime's pool: the process must not wait for it when it ends.
    std::thread::Builder::new().name("host lock".to_owned()).spawn(move || {
        let result = loop {
            match rustix::fs::flock(&file, FlockOperation::LockExclusive) {
                Err(rustix::io::Errno::INTR) => {}
                result => break result,
            }
        };
        drop(file);
        // Nobody waits any more when the node stops.
        let _ = freed.send(result);
    })?;
    match waiting.await {
        Ok(result) => result.map_err(io::Error::from),
        Err(_) => Err(io::Error::other("the thread that waits for the host is gone")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_host_is_waited_for_until_it_is_gone() {
        let dir = tempfile::tempdir().expect("a directory");
        free(dir.path()).await.expect("nobody");
        let host = File::open(dir.path().join(LOCK)).expect("there");
        rustix::fs::flock(&host, FlockOperation::LockExclusive).expect("locked");
        let mut waiting = Box::pin(free(dir.path()));
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        drop(host);
        waiting.await.expect("gone");
    }

    #[test]
    fn the_last_line_of_a_log_is_found() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        fs::write(&path, format!("{}\nlast words\n", "x".repeat(10_000))).expect("written");
        assert_eq!(last_line(&path).expect("read"), "last words");
    }
}
