//! `--insecure-no-sandbox`: the agent as a plain child process, isolated from nothing. For machines that can't do better
//! and people who know it.

use std::{
    fs, io,
    io::Write,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use playhouse_protocol::host::{SandboxSpec, TOKEN_FD, Usage};
use rustix::process::{Pid, Signal, kill_process};

use super::{StepError, environment, process::ProcessRef};

/// How long a killed agent may take to be dead.
const END_LIMIT: Duration = Duration::from_secs(1);

/// Where programs are looked for when the host was not told.
const USUAL_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Starts the agent.
pub(super) fn start(agent: &Path, dir: &Path, sockets: &Path, spec: &SandboxSpec) -> Result<ProcessRef, StepError> {
    let (workspace, home) = (dir.join("workspace"), dir.join("home"));
    for made in [&workspace, &home] {
        fs::create_dir_all(made).map_err(StepError::at("make the sandbox's directories"))?;
    }
    let log = fs::OpenOptions::new().append(true).create(true).open(dir.join("agent.log"));
    let mut command = Command::new("/bin/sh");
    command
        // The shell puts the token, which comes on its standard input, where the agent reads it.
        .args(["-c", &format!("exec \"$0\" {TOKEN_FD}<&0 0</dev/null")])
        .arg(agent)
        .env_clear()
        .current_dir(&workspace)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(log.map_err(StepError::at("open the agent's log"))?);
    for name in ["LANG", "SHELL", "USER", "LOGNAME"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    if let Some(toolchains) = rustup_home() {
        command.env("RUSTUP_HOME", toolchains);
    }
    let (path, below) = (std::env::var("PATH").unwrap_or_else(|_| USUAL_PATH.to_owned()), home.to_string_lossy());
    command
        .env("PATH", environment::search_path(&below, [path.as_str()]))
        .envs(environment::installing(&below))
        .env("HOME", &home)
        .env("PLAYHOUSE_SANDBOX_ID", spec.sandbox_id.to_string())
        .env("PLAYHOUSE_SOCKETS", sockets)
        .env("PLAYHOUSE_WORKSPACE", &workspace)
        .env("PLAYHOUSE_HOME", &home)
        // All sandboxes share the machine's loopback, so there is no port for a relay, and nothing to relay around.
        .env("PLAYHOUSE_EGRESS_PORT", "0");
    let mut child = command.spawn().map_err(StepError::at("start the agent"))?;
    let told = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(&spec.token));
    told.map_err(StepError::at("hand over the token"))?;
    ProcessRef::of(child.id().cast_signed()).ok_or_else(|| StepError::new("start the agent", "it ended"))
}

/// Where rustup has its toolchains: with another home directory it must be told.
fn rustup_home() -> Option<PathBuf> {
    let named = std::env::var_os("RUSTUP_HOME").map(PathBuf::from);
    let usual = || std::env::home_dir().map(|home| home.join(".rustup"));
    named.or_else(usual).filter(|dir| dir.is_dir())
}

/// A process in the tree below an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    pid: i32,
    parent: i32,
    cpu_ticks: u64,
    resident_pages: u64,
}

fn parse(stat: &str) -> Option<Entry> {
    let pid = stat.split_once(' ')?.0.parse().ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
    Some(Entry {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        cpu_ticks: number(11)? + number(12)?,
        resident_pages: number(21)?,
    })
}

/// All processes of the machine.
fn processes() -> io::Result<Vec<Entry>> {
    Ok(fs::read_dir("/proc")?
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
        .filter_map(|entry| parse(&fs::read_to_string(entry.path().join("stat")).ok()?))
        .collect())
}

/// The root's descendants, itself first.
fn tree(all: &[Entry], root: i32) -> Vec<Entry> {
    let mut found: Vec<Entry> = all.iter().filter(|entry| entry.pid == root).copied().collect();
    let mut next = 0;
    while let Some(parent) = found.get(next).map(|entry| entry.pid) {
        found.extend(all.iter().filter(|entry| entry.parent == parent && entry.pid != parent));
        next += 1;
    }
    found
}

/// Everything of a sandbox: the agent, what is below it, and what left its tree but still has the sandbox's home.
fn members(init: ProcessRef, dir: &Path) -> io::Result<Vec<Entry>> {
    let all = processes()?;
    let mut found = if init.exists() { tree(&all, init.pid) } else { Vec::new() };
    let mut home = b"HOME=".to_vec();
    home.extend_from_slice(dir.join("home").as_os_str().as_encoded_bytes());
    for entry in all {
        // Other users' variables can't be read, and are no business of this.
        let variables = fs::read(format!("/proc/{}/environ", entry.pid)).unwrap_or_default();
        if variables.split(|byte| *byte == 0).any(|one| one == home) && !found.contains(&entry) {
            found.push(entry);
        }
    }
    Ok(found)
}

/// What an agent and everything below it has used, but for the disk.
pub(super) fn usage(init: ProcessRef, dir: &Path) -> io::Result<Usage> {
    if !init.exists() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let members = members(init, dir)?;
    let ticks = rustix::param::clock_ticks_per_second().max(1);
    let page = rustix::param::page_size() as u64;
    Ok(Usage {
        cpu_micros: members.iter().map(|entry| entry.cpu_ticks).sum::<u64>() * 1_000_000 / ticks,
        memory_bytes: members.iter().map(|entry| entry.resident_pages).sum::<u64>() * page,
        disk_bytes: 0,
        oom_kills: 0,
    })
}

fn signal_all(entries: &[Entry], signal: Signal) {
    for pid in entries.iter().filter_map(|entry| Pid::from_raw(entry.pid)) {
        // One that ended meanwhile needs no signal.
        let _ = kill_process(pid, signal);
    }
}

/// Stops or resumes an agent and everything below it.
pub(super) fn freeze(init: ProcessRef, dir: &Path, frozen: bool) -> io::Result<()> {
    if !init.exists() {
        return Err(io::ErrorKind::NotFound.into());
    }
    signal_all(&members(init, dir)?, if frozen { Signal::STOP } else { Signal::CONT });
    Ok(())
}

/// Kills an agent and everything below it. They are stopped first, so that they start nothing meanwhile, and the agent
/// goes last, so that its descendants stay findable.
pub(super) fn end(init: ProcessRef, dir: &Path) -> io::Result<()> {
    signal_all(&members(init, dir)?, Signal::STOP);
    let below: Vec<Entry> = members(init, dir)?.into_iter().filter(|entry| entry.pid != init.pid).collect();
    signal_all(&below, Signal::KILL);
    init.finish(END_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_holds_descendants_and_nobody_else() {
        let entry = |pid, parent| Entry { pid, parent, cpu_ticks: 0, resident_pages: 0 };
        let all = [entry(1, 0), entry(5, 1), entry(6, 5), entry(7, 6), entry(8, 1)];
        let pids: Vec<_> = tree(&all, 5).iter().map(|entry| entry.pid).collect();
        assert_eq!(pids, [5, 6, 7]);
        assert!(tree(&all, 9).is_empty());
    }

    #[test]
    fn the_kernels_line_is_read() {
        let stat = fs::read_to_string("/proc/self/stat").expect("read");
        let entry = parse(&stat).expect("parsed");
        assert_eq!(entry.pid, std::process::id().cast_signed());
        assert!(entry.resident_pages > 0);
    }
}
