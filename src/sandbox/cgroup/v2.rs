//! cgroup v2: one directory with the files of every controller.

use std::{fs, io, path::Path};

use playhouse_protocol::host::{Limits, Usage};

use super::{cpu_quota, keyed, not_enforced, number, same_bytes};

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
