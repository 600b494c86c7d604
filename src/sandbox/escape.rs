//! Tries to get out. Run as a sandbox's init, it reports every attempt that was not refused.
//!
//! These are the essentials that `playhouse doctor --probe` and the tests ask of every driver; the errno differs by
//! runtime, so only the kinds of errors that mean a refusal count.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// The line that ends a report.
pub const END: &str = "probes done";

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// What was tried.
    pub name: String,
    /// What came of it, where it was not refused.
    pub escaped: Option<String>,
}

/// The attempts of a report, if it is whole.
#[must_use]
pub fn parse(report: &str) -> Option<Vec<Attempt>> {
    let (attempts, _) = report.split_once(END)?;
    attempts.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).ok()).collect()
}

/// Makes every attempt and reports on standard error.
pub(super) fn report() -> u8 {
    for attempt in attempts() {
        if let Ok(line) = serde_json::to_string(&attempt) {
            eprintln!("{line}");
        }
    }
    eprintln!("{END}");
    0
}

fn attempts() -> Vec<Attempt> {
    let mut attempts = calls();
    attempts.extend(files());
    attempts.extend(network());
    attempts.extend(status());
    attempts
}

fn attempt(name: impl Into<String>, escaped: Option<String>) -> Attempt {
    Attempt { name: name.into(), escaped }
}

#[allow(unsafe_code, reason = "probing raw system calls is the point")]
fn call(number: libc::c_long, arguments: [u64; 5]) -> i64 {
    let [a, b, c, d, e] = arguments;
    // SAFETY: each call below passes null or small numbers where pointers go, so the kernel writes nowhere.
    let result = unsafe { libc::syscall(number, a, b, c, d, e) };
    if result < 0 { -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { result }
}

/// The errors that mean a refusal. `EFAULT` does not: the kernel looked at the arguments then.
fn refused(result: i64) -> bool {
    let refusals = [libc::EPERM, libc::EACCES, libc::ENOSYS, libc::EAFNOSUPPORT, libc::EPROTONOSUPPORT];
    refusals.iter().any(|errno| result == -i64::from(*errno))
}

fn calls() -> Vec<Attempt> {
    const NEW_USER: u64 = 0x1000_0000;
    const SIGCHLD: u64 = 17;
    let mut tried: Vec<(&str, libc::c_long, [u64; 5])> = vec![
        ("mount", libc::SYS_mount, [0; 5]),
        ("umount2", libc::SYS_umount2, [0; 5]),
        ("fsopen", libc::SYS_fsopen, [0; 5]),
        ("open_tree", libc::SYS_open_tree, [0; 5]),
        ("move_mount", libc::SYS_move_mount, [0; 5]),
        ("mount_setattr", libc::SYS_mount_setattr, [0; 5]),
        ("pivot_root", libc::SYS_pivot_root, [0; 5]),
        ("chroot", libc::SYS_chroot, [0; 5]),
        ("unshare(user)", libc::SYS_unshare, [NEW_USER, 0, 0, 0, 0]),
        ("unshare(mount)", libc::SYS_unshare, [0x2_0000, 0, 0, 0, 0]),
        ("setns", libc::SYS_setns, [0; 5]),
        ("clone3", libc::SYS_clone3, [0; 5]),
        ("bpf", libc::SYS_bpf, [0; 5]),
        ("keyctl", libc::SYS_keyctl, [0; 5]),
        ("add_key", libc::SYS_add_key, [0; 5]),
        ("request_key", libc::SYS_request_key, [0; 5]),
        ("io_uring_setup", libc::SYS_io_uring_setup, [1, 0, 0, 0, 0]),
        ("userfaultfd", libc::SYS_userfaultfd, [0; 5]),
        ("perf_event_open", libc::SYS_perf_event_open, [0; 5]),
        ("open_by_handle_at", libc::SYS_open_by_handle_at, [0; 5]),
        ("syslog", libc::SYS_syslog, [10, 0, 0, 0, 0]),
        ("init_module", libc::SYS_init_module, [0; 5]),
        ("finit_module", libc::SYS_finit_module, [0; 5]),
        ("reboot", libc::SYS_reboot, [0; 5]),
        ("sethostname", libc::SYS_sethostname, [0; 5]),
        ("clock_settime", libc::SYS_clock_settime, [0; 5]),
        ("settimeofday", libc::SYS_settimeofday, [0; 5]),
        ("kexec_load", libc::SYS_kexec_load, [0; 5]),
        ("acct", libc::SYS_acct, [0; 5]),
        ("quotactl", libc::SYS_quotactl, [0; 5]),
        ("setuid(0)", libc::SYS_setuid, [0; 5]),
        ("setresuid(0)", libc::SYS_setresuid, [0; 5]),
        ("packet socket", libc::SYS_socket, [17, 3, 0, 0, 0]),
        ("raw socket", libc::SYS_socket, [2, 3, 1, 0, 0]),
        ("vsock socket", libc::SYS_socket, [40, 1, 0, 0, 0]),
        ("crypto socket", libc::SYS_socket, [38, 5, 0, 0, 0]),
        ("TIOCSTI", libc::SYS_ioctl, [0, 0x5412, 0, 0, 0]),
        ("TIOCLINUX", libc::SYS_ioctl, [0, 0x541c, 0, 0, 0]),
        ("an x32 call", 0x4000_0000 | libc::SYS_getpid, [0; 5]),
    ];
    #[cfg(target_arch = "x86_64")]
    tried.push(("iopl", libc::SYS_iopl, [3, 0, 0, 0, 0]));
    let mut attempts: Vec<Attempt> = tried
        .into_iter()
        .map(|(name, number, arguments)| {
            let result = call(number, arguments);
            attempt(name, (!refused(result)).then(|| format!("returned {result}")))
        })
        .collect();
    let child = call(libc::SYS_clone, [NEW_USER | SIGCHLD, 0, 0, 0, 0]);
    if child == 0 {
        std::process::exit(0);
    }
    attempts.push(attempt("clone(user)", (!refused(child)).then(|| format!("returned {child}"))));
    #[cfg(target_arch = "x86_64")]
    attempts.push(attempt("int 0x80", old_gate()));
    attempts
}

/// The 32-bit way into the kernel, which has other numbers. It may fail in any way, or kill: it must not answer.
#[cfg(target_arch = "x86_64")]
fn old_gate() -> Option<String> {
    let result: i64;
    #[allow(unsafe_code, reason = "there is no other way to use this gate")]
    // SAFETY: getpid (20) of the 32-bit table takes nothing and writes nothing; the gate may spoil r8 to r11.
    unsafe {
        std::arch::asm!(
            "int 0x80", inlateout("rax") 20_i64 => result,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _
        );
    }
    // 32-bit results come back zero-extended.
    ((result as i32) >= 0).then(|| format!("returned {}", result as i32))
}

fn files() -> Vec<Attempt> {
    let mut attempts = Vec::new();
    for path in
        ["/etc/shadow", "/root", "/sys/fs/cgroup", "/var/run/docker.sock", "/run/dbus/system_bus_socket", "/home/root"]
    {
        let seen = fs::symlink_metadata(path).is_ok();
        attempts.push(attempt(format!("see {path}"), seen.then(|| "it is there".to_owned())));
    }
    for path in [
        "/proc/kcore",
        "/proc/kallsyms",
        "/proc/keys",
        "/proc/config.gz",
        "/proc/kmsg",
        "/proc/timer_list",
        "/proc/slabinfo",
        "/dev/mem",
        "/dev/kmsg",
        "/dev/loop-control",
        "/dev/fuse",
    ] {
        use std::io::Read;
        let mut byte = [0; 1];
        let read = fs::File::open(path).and_then(|mut file| file.read(&mut byte)).is_ok_and(|length| length > 0);
        attempts.push(attempt(format!("read {path}"), read.then(|| "it has content".to_owned())));
    }
    for path in ["/usr/probe", "/probe", "/etc/probe", "/opt/probe", "/run/playhouse/probe", "/proc/1/root/usr/probe"] {
        let made = fs::write(path, "x").is_ok();
        attempts.push(attempt(format!("write {path}"), made.then(|| "it was written".to_owned())));
    }
    for (path, text) in [
        ("/etc/passwd", ""),
        ("/proc/sysrq-trigger", "h"),
        ("/proc/sys/kernel/core_pattern", "x"),
        ("/proc/sys/user/max_user_namespaces", "1"),
        ("/proc/self/oom_score_adj", "-1000"),
        ("/proc/self/uid_map", "0 0 1"),
        ("/proc/1/exe", ""),
    ] {
        let written = fs::OpenOptions::new()
            .write(true)
            .open(path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .is_ok();
        attempts.push(attempt(format!("write {path}"), written.then(|| "it was written".to_owned())));
    }
    for (name, kind) in [("/dev/shm/probe", libc::S_IFBLK), ("/workspace/probe", libc::S_IFCHR)] {
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
        let kind = nix::sys::stat::SFlag::from_bits_truncate(kind);
        let made = nix::sys::stat::mknod(name, kind, mode, nix::sys::stat::makedev(1, 1)).is_ok();
        attempts.push(attempt(format!("mknod {name}"), made.then(|| "it was made".to_owned())));
    }
    attempts
}

fn network() -> Vec<Attempt> {
    let mut attempts: Vec<Attempt> = ["169.254.169.254:80", "[fd00:ec2::254]:80", "1.1.1.1:443", "10.0.0.1:80"]
        .into_iter()
        .filter_map(|text| Some((text, text.parse::<SocketAddr>().ok()?)))
        .map(|(text, address)| {
            let connected = TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok();
            attempt(format!("connect to {text}"), connected.then(|| "it answered".to_owned()))
        })
        .collect();
    let devices = fs::read_to_string("/proc/net/dev").unwrap_or_default();
    let others: Vec<&str> = devices
        .lines()
        .skip(2)
        .filter_map(|line| line.split(':').next())
        .map(str::trim)
        .filter(|name| *name != "lo")
        .collect();
    attempts.push(attempt("another network interface", (!others.is_empty()).then(|| others.join(" "))));
    let sockets = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let abstract_ones = sockets.lines().filter(|line| line.contains(" @")).count();
    attempts.push(attempt("abstract sockets", (abstract_ones > 0).then(|| format!("{abstract_ones} can be seen"))));
    attempts
}

fn status() -> Vec<Attempt> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim).unwrap_or_default()
    };
    let mut attempts = Vec::new();
    for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        let value = field(name);
        attempts
            .push(attempt(format!("capabilities ({name})"), (value != "0000000000000000").then(|| value.to_owned())));
    }
    for (name, want) in [("NoNewPrivs", "1"), ("Seccomp", "2"), ("Uid", "1000\t1000\t1000\t1000")] {
        let value = field(name);
        attempts.push(attempt(name, (value != want).then(|| value.to_owned())));
    }
    let pids: Vec<String> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.parse::<u32>().is_ok_and(|pid| pid != std::process::id()))
        .collect();
    attempts.push(attempt("other processes", (!pids.is_empty()).then(|| pids.join(" "))));
    let open: Vec<String> = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| !entry.file_name().to_str().is_some_and(|name| ["0", "1", "2", "3"].contains(&name)))
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        // The directory that is being read here.
        .filter(|target| !target.starts_with(Path::new("/proc")))
        .map(|target| target.display().to_string())
        .collect();
    attempts.push(attempt("leaked descriptors", (!open.is_empty()).then(|| open.join(" "))));
    attempts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_report_counts() {
        let line = serde_json::to_string(&attempt("mount", None)).expect("JSON");
        assert_eq!(parse(&line), None);
        assert_eq!(parse(&format!("{line}\n{END}\n")), Some(vec![attempt("mount", None)]));
        assert_eq!(parse(&format!("rubbish\n{END}\n")), None);
    }

    #[test]
    fn looking_at_the_arguments_is_no_refusal() {
        assert!(refused(-i64::from(libc::ENOSYS)));
        assert!(!refused(-i64::from(libc::EFAULT)));
        assert!(!refused(0));
    }
}
