//! cgroup v1: a directory in each controller's hierarchy.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use playhouse_protocol::host::{Limits, Usage};

use super::{cpu_quota, keyed, not_enforced, number, same_bytes};

pub(super) fn verify(root: &Path, below: &Path, limits: &Limits) -> io::Result<()> {
    let memory = number(&root.join("memory").join(below).join("memory.limit_in_bytes"))?;
    if !same_bytes(memory, limits.memory_bytes) {
        return Err(not_enforced("memory", limits.memory_bytes, memory));
    }
    let swap = root.join("memory").join(below).join("memory.memsw.limit_in_bytes");
    if swap.exists() {
        let swap = number(&swap)?;
        if !same_bytes(swap, limits.memory_bytes) {
            return Err(not_enforced("swap", limits.memory_bytes, swap));
        }
    }
    let pids = number(&root.join("pids").join(below).join("pids.max"))?;
    if pids != u64::from(limits.pids) {
        return Err(not_enforced("process", limits.pids, pids));
    }
    let quota = number(&root.join("cpu").join(below).join("cpu.cfs_quota_us"))?;
    let (want, _) = cpu_quota(limits.cpu_millis);
    if i64::try_from(quota) != Ok(want) {
        return Err(not_enforced("cpu", want, quota));
    }
    Ok(())
}

pub(super) fn usage(cpuacct: &Path, memory: &Path) -> io::Result<Usage> {
    let stat = fs::read_to_string(memory.join("memory.stat"))?;
    let held = number(&memory.join("memory.usage_in_bytes"))?;
    Ok(Usage {
        cpu_micros: number(&cpuacct.join("cpuacct.usage"))? / 1000,
        memory_bytes: held.saturating_sub(keyed(&stat, "total_inactive_file").unwrap_or(0)),
        disk_bytes: 0,
        oom_kills: keyed(&fs::read_to_string(memory.join("memory.oom_control"))?, "oom_kill").unwrap_or(0),
    })
}

/// Sets the state and says whether it is reached. Asked again it sets it again, which a freeze that raced a fork needs.
pub(super) fn freeze(freezer: &Path, frozen: bool) -> io::Result<bool> {
    let want = if frozen { "FROZEN" } else { "THAWED" };
    let state = freezer.join("freezer.state");
    fs::write(&state, want)?;
    Ok(fs::read_to_string(&state)?.trim() == want)
}

/// Kills what is in the cgroup. Frozen processes die only once they thaw.
pub(super) fn kill(dirs: &[PathBuf]) -> io::Result<()> {
    for dir in dirs {
        let state = dir.join("freezer.state");
        if state.exists() {
            fs::write(state, "THAWED")?;
        }
        let Ok(text) = fs::read_to_string(dir.join("cgroup.procs")) else { continue };
        for pid in text.lines().filter_map(|line| line.parse().ok()).filter_map(rustix::process::Pid::from_raw) {
            // One that ended meanwhile is what is wanted.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_leaves_out_cache_that_can_go_at_any_time() {
        let dir = tempfile::tempdir().expect("a directory");
        let put = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("written");
        put("memory.stat", "cache 9\ninactive_file 1\ntotal_inactive_file 300\n");
        put("memory.usage_in_bytes", "1000\n");
        put("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n");
        put("cpuacct.usage", "5000000\n");
        let usage = usage(dir.path(), dir.path()).expect("read");
        assert_eq!(usage, Usage { cpu_micros: 5000, memory_bytes: 700, disk_bytes: 0, oom_kills: 2 });
    }
}
