//! What the host's own /proc and /sys say of a server and its sandboxes.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

/// Whether these tests are root's.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Sends a signal; false if there is no such process. One of root's or of a sandbox's gets it through sudo.
#[must_use]
#[allow(unsafe_code, reason = "kill(2) has no safe wrapper in std; it touches no memory")]
pub fn kill(pid: u32, signal: i32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().filter(|pid| *pid > 1) else { return false };
    // SAFETY: a plain system call without pointers.
    let sent = unsafe { libc::kill(pid, signal) } == 0;
    if sent || io::Error::last_os_error().kind() != io::ErrorKind::PermissionDenied {
        return sent;
    }
    as_root("kill").args([format!("-{signal}"), pid.to_string()]).status().is_ok_and(|status| status.success())
}

/// A program that is run as root, through sudo where these tests are another user's.
#[must_use]
pub fn as_root(program: impl AsRef<OsStr>) -> Command {
    if is_root() {
        return Command::new(program);
    }
    let mut sudo = Command::new("sudo");
    sudo.arg("-n").arg(program);
    sudo
}

/// Writes a file of root's.
///
/// # Panics
/// When it can't be written.
pub fn write_as_root(path: &Path, text: &str) {
    let written = as_root("sh").args(["-c", r#"printf %s "$1" > "$2""#, "sh", text]).arg(path).status();
    assert!(written.expect("sh starts").success(), "{} is not written", path.display());
}

/// A namespace of a process, as the kernel names it.
///
/// # Panics
/// When it has none such.
#[must_use]
pub fn namespace(pid: u32, kind: &str) -> String {
    let read = as_root("readlink").arg(format!("/proc/{pid}/ns/{kind}")).output().expect("readlink starts");
    let name = String::from_utf8_lossy(&read.stdout).trim().to_owned();
    assert!(name.starts_with(kind), "the {kind} namespace of {pid}: {name:?}");
    name
}

/// Whether the process exists and is no zombie.
#[must_use]
pub fn alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| stat.rsplit_once(") ").map(|(_, rest)| !rest.starts_with(['Z', 'X'])))
        .unwrap_or(false)
}

/// A process's parent.
#[must_use]
pub fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(1)?.parse().ok()
}

/// Every process's id and arguments.
fn processes() -> impl Iterator<Item = (u32, Vec<String>)> {
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let arguments = line.split(|&byte| byte == 0).map(|part| String::from_utf8_lossy(part).into_owned());
        Some((pid, arguments.filter(|part| !part.is_empty()).collect()))
    })
}

/// The `playhouse <command>` processes of the server whose data lie in `data`.
#[must_use]
pub fn of_data_dir(data: &Path, command: &str) -> Vec<u32> {
    let data = data.to_string_lossy().into_owned();
    processes()
        .filter(|(pid, arguments)| {
            alive(*pid)
                && arguments.first().is_some_and(|program| program.contains("playhouse"))
                && arguments.iter().any(|argument| argument == command)
                && arguments.iter().any(|argument| argument.contains(&data))
        })
        .map(|(pid, _)| pid)
        .collect()
}

/// Processes one of whose arguments is exactly `marker`: how a test finds, from the host, what it runs in a sandbox.
#[must_use]
pub fn with_argument(marker: &str) -> Vec<u32> {
    processes()
        .filter(|(pid, arguments)| alive(*pid) && arguments.iter().any(|argument| argument == marker))
        .map(|(pid, _)| pid)
        .collect()
}

/// The cgroup directories a process is in, those of the root left out.
#[must_use]
pub fn cgroups(pid: u32) -> BTreeSet<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let mut found = BTreeSet::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        if path == "/" {
            continue;
        }
        let bases = match controllers {
            "" => vec![PathBuf::from("/sys/fs/cgroup"), PathBuf::from("/sys/fs/cgroup/unified")],
            named => vec![Path::new("/sys/fs/cgroup").join(named.trim_start_matches("name="))],
        };
        for base in bases {
            let directory = base.join(path.trim_start_matches('/'));
            if directory.is_dir() {
                found.insert(directory);
            }
        }
    }
    found
}

/// The loop devices whose files lie under `data`.
#[must_use]
pub fn loop_devices(data: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/block").into_iter().flatten().flatten() {
        if let Ok(file) = fs::read_to_string(entry.path().join("loop/backing_file"))
            && Path::new(file.trim()).starts_with(data)
        {
            found.push(format!("{} on {}", entry.file_name().to_string_lossy(), file.trim()));
        }
    }
    found
}

/// The mounts of this mount namespace at or of something under `data`.
#[must_use]
pub fn mounts(data: &Path) -> Vec<String> {
    let data = data.to_string_lossy();
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines().filter(|line| line.contains(&*data)).map(str::to_owned).collect()
}
