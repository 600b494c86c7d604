//! cgroup v2: one directory with the files of every controller.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use playhouse_protocol::host::{Limits, Usage};

use super::{cpu_quota, delegated::missing, keyed, not_enforced, number, same_bytes};

/// What sandboxes are limited by.
pub(super) const CONTROLLERS: &[&str] = &["cpu", "memory", "pids"];
/// Where the processes of a cgroup go that is to have limited cgroups below it: the kernel lets it have only one of both.
const LEAF: &str = "playhouse-host";

/// Makes the cgroups `names`, each below the one before, and has `base` and each of them pass on to those below it what
/// limits need.
pub(super) fn pass_on(base: &Path, names: &[&str]) -> io::Result<()> {
    let mut dir = base.to_owned();
    enable(&dir, true)?;
    for name in names {
        dir.push(name);
        create(&dir)?;
        enable(&dir, false)?;
    }
    Ok(())
}

/// Makes a sandbox's own cgroup.
pub(super) fn make(dir: &Path) -> io::Result<()> {
    create(dir)?;
    // The runtime takes a limit of zero for none.
    let swap = dir.join("memory.swap.max");
    if swap.exists() { fs::write(swap, "0") } else { Ok(()) }
}

fn create(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(|error| io::Error::other(format!("{}: {error}", dir.display()))),
    }
}

/// The controllers that a cgroup has and that its children don't get yet; an error if it lacks one itself.
fn to_enable(dir: &Path) -> io::Result<Vec<&'static str>> {
    let words = |name: &str| fs::read_to_string(dir.join(name));
    let (has, passes) = (words("cgroup.controllers")?, words("cgroup.subtree_control")?);
    let lacks = missing(&has);
    if lacks.is_empty() {
        return Ok(missing(&passes));
    }
    Err(io::Error::other(format!(
        "the cgroup {} has no {} controller: whoever manages the one above must delegate it",
        dir.display(),
        lacks.join(", ")
    )))
}

fn enable(dir: &Path, may_empty: bool) -> io::Result<()> {
    let wanted: Vec<String> = to_enable(dir)?.iter().map(|name| format!("+{name}")).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let write = || fs::write(dir.join("cgroup.subtree_control"), wanted.join(" "));
    let written = match write() {
        // It has processes, as the root of a container's cgroups has and a scope that was just made.
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy && may_empty => {
            empty(dir)?;
            write()
        }
        other => other,
    };
    written
        .map_err(|error| io::Error::other(format!("{} does not pass on {}: {error}", dir.display(), wanted.join(" "))))
}

/// The cgroup for the processes of another one, made if need be.
pub(super) fn leaf(dir: &Path) -> io::Result<PathBuf> {
    let leaf = dir.join(LEAF);
    create(&leaf)?;
    Ok(leaf)
}

/// Moves a cgroup's processes into one below it.
fn empty(dir: &Path) -> io::Result<()> {
    let leaf = leaf(dir)?;
    for pid in fs::read_to_string(dir.join("cgroup.procs"))?.lines() {
        match fs::write(leaf.join("cgroup.procs"), pid) {
            // One that ended meanwhile need not move.
            Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
                return Err(io::Error::other(format!("move process {pid} into {}: {error}", leaf.display())));
            }
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn verify(dir: &Path, limits: &Limits) -> io::Result<()> {
    let read = |name: &str| {
        fs::read_to_string(dir.join(name))
            .map(|text| text.trim().to_owned())
            .map_err(|error| io::Error::other(format!("{name}: {error} (is its controller delegated to this cgroup?)")))
    };
    let memory = read("memory.max")?;
    if !memory.parse().is_ok_and(|bytes| same_bytes(bytes, limits.memory_bytes)) {
        return Err(not_enforced("memory", limits.memory_bytes, memory));
    }
    if dir.join("memory.swap.max").exists() {
        let swap = read("memory.swap.max")?;
        if swap != "0" {
            return Err(not_enforced("swap", 0, swap));
        }
    }
    let pids = read("pids.max")?;
    if pids != limits.pids.to_string() {
        return Err(not_enforced("process", limits.pids, pids));
    }
    let (quota, period) = cpu_quota(limits.cpu_millis);
    let cpu = read("cpu.max")?;
    if cpu != format!("{quota} {period}") {
        return Err(not_enforced("cpu", quota, cpu));
    }
    Ok(())
}

pub(super) fn usage(dir: &Path) -> io::Result<Usage> {
    let stat = fs::read_to_string(dir.join("memory.stat"))?;
    let held = number(&dir.join("memory.current"))?;
    let read = |name: &str, key: &str| fs::read_to_string(dir.join(name)).map(|text| keyed(&text, key).unwrap_or(0));
    Ok(Usage {
        cpu_micros: read("cpu.stat", "usage_usec")?,
        memory_bytes: held.saturating_sub(keyed(&stat, "inactive_file").unwrap_or(0)),
        disk_bytes: 0,
        oom_kills: read("memory.events", "oom_kill")?,
    })
}

pub(super) fn freeze(dir: &Path, frozen: bool) -> io::Result<bool> {
    fs::write(dir.join("cgroup.freeze"), if frozen { "1" } else { "0" })?;
    Ok(keyed(&fs::read_to_string(dir.join("cgroup.events"))?, "frozen") == Some(u64::from(frozen)))
}

pub(super) fn kill(dir: &Path) -> io::Result<()> {
    let all = dir.join("cgroup.kill");
    if all.exists() {
        return match fs::write(all, "1") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
    }
    // Before Linux 5.14.
    let _ = fs::write(dir.join("cgroup.freeze"), "0");
    let Ok(text) = fs::read_to_string(dir.join("cgroup.procs")) else { return Ok(()) };
    for pid in text.lines().filter_map(|line| line.parse().ok()).filter_map(rustix::process::Pid::from_raw) {
        // One that ended meanwhile is what is wanted.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { cpu_millis: 500, memory_bytes: 1 << 20, disk_bytes: 0, pids: 64 };

    fn put(dir: &Path, name: &str, text: &str) {
        fs::write(dir.join(name), text).expect("written");
    }

    #[test]
    fn limits_that_are_not_in_force_are_named() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(verify(dir.path(), &LIMITS).expect_err("no file").to_string().contains("memory.max"));
        put(dir.path(), "memory.max", "max\n");
        assert!(verify(dir.path(), &LIMITS).is_err());
        put(dir.path(), "memory.max", "1048576\n");
        put(dir.path(), "memory.swap.max", "0\n");
        put(dir.path(), "pids.max", "64\n");
        put(dir.path(), "cpu.max", "50000 100000\n");
        verify(dir.path(), &LIMITS).expect("all in force");
        put(dir.path(), "memory.swap.max", "max\n");
        assert!(verify(dir.path(), &LIMITS).expect_err("swap").to_string().contains("swap"));
    }

    #[test]
    fn controllers_are_passed_on_level_by_level_or_named() {
        let dir = tempfile::tempdir().expect("a directory");
        put(dir.path(), "cgroup.controllers", "cpuset cpu memory\n");
        put(dir.path(), "cgroup.subtree_control", "cpu\n");
        let error = pass_on(dir.path(), &["a"]).expect_err("not delegated").to_string();
        assert!(error.contains("pids") && error.contains("delegate"), "{error}");
        put(dir.path(), "cgroup.controllers", "cpuset cpu memory pids\n");
        assert_eq!(to_enable(dir.path()).expect("delegated"), ["memory", "pids"]);
        fs::create_dir(dir.path().join("a")).expect("made");
        for name in ["cgroup.controllers", "cgroup.subtree_control"] {
            put(&dir.path().join("a"), name, "cpu memory pids\n");
        }
        pass_on(dir.path(), &["a"]).expect("passed on");
        let written = fs::read_to_string(dir.path().join("cgroup.subtree_control")).expect("read");
        assert_eq!(written, "+memory +pids");
    }

    #[test]
    fn no_swap_is_written_and_not_left_to_the_runtime() {
        let dir = tempfile::tempdir().expect("a directory");
        make(dir.path()).expect("a kernel that does not count swap");
        assert!(!dir.path().join("memory.swap.max").exists());
        put(dir.path(), "memory.swap.max", "max\n");
        make(dir.path()).expect("made");
        assert_eq!(fs::read_to_string(dir.path().join("memory.swap.max")).expect("read"), "0");
    }

    #[test]
    fn usage_and_freezing_read_the_kernels_files() {
        let dir = tempfile::tempdir().expect("a directory");
        put(dir.path(), "memory.stat", "anon 5\ninactive_file 24\n");
        put(dir.path(), "memory.current", "1024\n");
        put(dir.path(), "cpu.stat", "usage_usec 77\nuser_usec 5\n");
        put(dir.path(), "memory.events", "low 0\noom 1\noom_kill 1\noom_group_kill 0\n");
        let usage = usage(dir.path()).expect("read");
        assert_eq!(usage, Usage { cpu_micros: 77, memory_bytes: 1000, disk_bytes: 0, oom_kills: 1 });
        put(dir.path(), "cgroup.events", "populated 1\nfrozen 0\n");
        assert!(!freeze(dir.path(), true).expect("written"));
        put(dir.path(), "cgroup.events", "populated 1\nfrozen 1\n");
        assert!(freeze(dir.path(), true).expect("written"));
    }
}
