//! What this machine needs to isolate programs, and what it lacks.

use std::{fs, path::Path};

use super::{
    cgroup::{self, Version},
    disk,
};

/// Something that is missing.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Lack {
    /// What, in a few words.
    pub what: String,
    /// How to get it.
    pub how: String,
}

impl std::fmt::Display for Lack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.what, self.how)
    }
}

pub(super) fn lack(what: &str, how: &str) -> Option<Lack> {
    Some(Lack { what: what.to_owned(), how: how.to_owned() })
}

pub(super) fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// Everything without which root can't make sandboxes here.
#[must_use]
pub fn lacking() -> Vec<Lack> {
    let roots = [root(), cgroups(), loop_devices(), mkfs(), ext4()];
    roots.into_iter().flatten().chain(for_everybody()).collect()
}

/// Everything without which nobody can.
pub(super) fn for_everybody() -> Vec<Lack> {
    [user_namespaces(), seccomp(), own_program()].into_iter().flatten().collect()
}

/// What isolates sandboxes here, or what is missing, one line each.
///
/// # Errors
/// What is missing.
pub fn isolation() -> Result<(), Vec<String>> {
    let lacking = lacking();
    if lacking.is_empty() { Ok(()) } else { Err(lacking.iter().map(ToString::to_string).collect()) }
}

/// Whether nothing but root's rights is missing, which `playhouse serve` gets for its host through sudo.
#[must_use]
pub fn is_only_root(lacking: &[Lack]) -> bool {
    lacking.len() == 1 && root().is_some_and(|root| lacking[0] == root)
}

fn root() -> Option<Lack> {
    if rustix::process::geteuid().is_root() {
        None
    } else {
        lack(
            "root",
            "start playhouse with sudo: it mounts disks and limits resources, and drops all of it inside; or do without, by \
             --rootless",
        )
    }
}

fn user_namespaces() -> Option<Lack> {
    match read("/proc/sys/user/max_user_namespaces").and_then(|text| text.parse::<u64>().ok()) {
        None => lack("user namespaces", "a kernel with CONFIG_USER_NS"),
        Some(0) => lack("user namespaces are switched off", "sysctl -w user.max_user_namespaces=10000"),
        Some(_) => None,
    }
}

fn cgroups() -> Option<Lack> {
    let root = Path::new(cgroup::ROOT);
    let needed: &[&str] = match cgroup::version(root) {
        None => return lack("cgroups", "mount -t cgroup2 cgroup2 /sys/fs/cgroup"),
        Some(Version::V1) => &["memory", "cpu", "cpuacct", "pids", "devices", "freezer"],
        Some(Version::V2) => &["memory", "cpu", "pids"],
    };
    let have = match cgroup::version(root) {
        Some(Version::V2) => read("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default(),
        Some(Version::V1) | None => {
            needed.iter().filter(|name| root.join(name).is_dir()).copied().collect::<Vec<_>>().join(" ")
        }
    };
    let missing: Vec<_> = needed.iter().filter(|name| !have.split(' ').any(|one| one == **name)).copied().collect();
    if !missing.is_empty() {
        return lack(
            &format!("cgroup controllers: {}", missing.join(", ")),
            "boot with cgroup_enable=memory, or mount the missing v1 hierarchies below /sys/fs/cgroup",
        );
    }
    if rustix::process::geteuid().is_root() && rustix::fs::access(root, rustix::fs::Access::WRITE_OK).is_err() {
        return lack("/sys/fs/cgroup is read-only", "in a container: run it privileged");
    }
    None
}

fn loop_devices() -> Option<Lack> {
    if Path::new("/dev/loop-control").exists() {
        None
    } else {
        lack("loop devices", "modprobe loop; in a container: run it privileged")
    }
}

fn mkfs() -> Option<Lack> {
    if disk::mkfs().is_some() { None } else { lack("mkfs.ext4", "install e2fsprogs") }
}

fn ext4() -> Option<Lack> {
    let known = read("/proc/filesystems").unwrap_or_default();
    let module = read("/proc/sys/kernel/osrelease")
        .is_some_and(|release| Path::new("/lib/modules").join(release).join("kernel/fs/ext4").exists());
    if module || known.lines().any(|line| line.trim() == "ext4") {
        None
    } else {
        lack("the ext4 file system", "modprobe ext4")
    }
}

fn seccomp() -> Option<Lack> {
    match read("/proc/sys/kernel/seccomp/actions_avail") {
        Some(actions) if actions.split(' ').any(|action| action == "errno") => None,
        _ => lack("seccomp filters", "a kernel with CONFIG_SECCOMP_FILTER"),
    }
}

fn own_program() -> Option<Lack> {
    if cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
        None
    } else {
        lack("a known processor architecture", "x86-64 or aarch64")
    }
}

/// Something that should be looked at, without which sandboxes work all the same.
#[must_use]
pub fn advice() -> Vec<Lack> {
    common_advice().into_iter().chain(swap()).collect()
}

/// Of that, what concerns everybody.
pub(super) fn common_advice() -> Vec<Lack> {
    [inotify(), v2_devices()].into_iter().flatten().collect()
}

/// The AppArmor profile that lets programs make user namespaces where that is restricted, for `program`.
#[must_use]
pub fn apparmor_profile(program: &str) -> String {
    format!(
        "abi <abi/4.0>,\ninclude <tunables/global>\nprofile playhouse {program} flags=(unconfined) {{\n  userns,\n}}\n"
    )
}

/// Ubuntu's restriction of user namespaces, unless a profile exempts this program. Root is exempt, so this matters to
/// `--rootless` alone.
#[must_use]
pub fn apparmor_restricts() -> bool {
    read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").as_deref() == Some("1")
        && read("/proc/self/attr/current").is_none_or(|profile| profile == "unconfined")
}

pub(super) fn apparmor() -> Option<Lack> {
    if apparmor_restricts() {
        lack(
            "user namespaces: AppArmor restricts them",
            "put the profile that `playhouse doctor --rootless` prints into /etc/apparmor.d/playhouse and load it with `sudo \
             apparmor_parser -r /etc/apparmor.d/playhouse`; or, for all programs, sudo sysctl -w \
             kernel.apparmor_restrict_unprivileged_userns=0",
        )
    } else {
        None
    }
}

fn swap() -> Option<Lack> {
    let swaps = read("/proc/swaps").is_some_and(|text| text.lines().count() > 1);
    if swaps && !cgroup::has_swap_limit() {
        lack("swap that can't be limited", "boot with swapaccount=1, or swapoff -a")
    } else {
        None
    }
}

fn inotify() -> Option<Lack> {
    let limit = |name: &str| read(&format!("/proc/sys/fs/inotify/{name}")).and_then(|text| text.parse::<u64>().ok());
    if limit("max_user_instances").is_some_and(|most| most < 1024)
        || limit("max_user_watches").is_some_and(|most| most < 524_288)
    {
        lack(
            "low inotify limits",
            "sysctl -w fs.inotify.max_user_instances=8192 fs.inotify.max_user_watches=1048576; each sandbox takes one or two instances",
        )
    } else {
        None
    }
}

fn v2_devices() -> Option<Lack> {
    if cgroup::version(Path::new(cgroup::ROOT)) == Some(Version::V2) {
        lack(
            "device rules on cgroup v2 need a build with libbpf",
            "nothing to do: without capabilities and on nodev mounts no device can be made",
        )
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_comes_with_how_to_get_it() {
        for lack in lacking().into_iter().chain(advice()) {
            assert!(!lack.what.is_empty() && !lack.how.is_empty());
        }
        assert!(apparmor_profile("/usr/bin/playhouse").contains("userns,"));
    }
}
