//! `--rootless`: sandboxes by an ordinary user.
//!
//! The host becomes root in a user namespace of its own, with the user's subordinate ids (as rootless Podman and Docker
//! do), in a cgroup that systemd delegated to the user. There it makes sandboxes as root does. What it can't have is a
//! disk of a fixed size: only the machine's root may mount an image.

mod namespace;
mod scope;
mod subids;

use std::path::Path;

use super::{
    cgroup::{self, Version},
    probe::{self, Lack, lack},
    rights::Delegation,
};

/// Everything without which this user can't make sandboxes here.
#[must_use]
pub fn lacking() -> Vec<Lack> {
    if rustix::process::geteuid().is_root() {
        return lack("an ordinary user: this is root", "leave --rootless out").into_iter().collect();
    }
    // Without cgroups of the second version nothing else is worth mending.
    match cgroup::version(Path::new(cgroup::ROOT)) {
        Some(Version::V2) => {}
        Some(Version::V1) | None => {
            return lack(
                "cgroup v2: nobody but root may limit anything on this machine",
                "boot with systemd.unified_cgroup_hierarchy=1, or start playhouse with sudo and without --rootless",
            )
            .into_iter()
            .collect();
        }
    }
    let mut lacking: Vec<Lack> = probe::for_everybody();
    lacking.extend([unprivileged_namespaces(), probe::apparmor(), scope::lack()].into_iter().flatten());
    lacking.extend(subids::of_this_user().err());
    lacking
}

/// Some distributions let only root make user namespaces.
fn unprivileged_namespaces() -> Option<Lack> {
    match probe::read("/proc/sys/kernel/unprivileged_userns_clone").as_deref() {
        Some("0") => lack("user namespaces for ordinary users", "sudo sysctl -w kernel.unprivileged_userns_clone=1"),
        _ => None,
    }
}

/// Makes this process the root of a user namespace in a cgroup of its own, or starts the program anew in such a cgroup
/// first. Must be called while this process has one thread. `remembered` names a file with the cgroup that a host before
/// this one had: its sandboxes are still there.
///
/// # Errors
/// What is missing.
pub fn enter(remembered: Option<&Path>) -> Result<Delegation, Vec<Lack>> {
    let lacking = lacking();
    if !lacking.is_empty() {
        return Err(lacking);
    }
    let one = |lack: Lack| vec![lack];
    let cgroup = scope::enter(remembered).map_err(one)?;
    let subids = subids::of_this_user().map_err(one)?;
    let user = rustix::process::geteuid().as_raw();
    namespace::enter(&subids).map_err(one)?;
    Ok(Delegation { cgroup, subordinate_ids: subids.count(), user })
}

/// What to know about sandboxes that are made without root, for logs and the doctor.
pub const NO_QUOTA: &str =
    "without root a sandbox's disk has no quota: one program can fill the disk of the data directory";

/// What should be looked at, without which sandboxes work all the same.
#[must_use]
pub fn advice() -> Vec<Lack> {
    let mut advice = probe::common_advice();
    advice.extend(lack(NO_QUOTA, "nothing to do without root; watch that disk, or start playhouse with sudo"));
    advice.extend(lingering());
    advice
}

/// Whether the user's services, and with them sandboxes, end when the user logs out.
fn lingering() -> Option<Lack> {
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::current()).ok().flatten()?;
    if !Path::new("/run/systemd/system").exists() || Path::new("/var/lib/systemd/linger").join(&user.name).exists() {
        return None;
    }
    lack("sandboxes end when you log out", &format!("sudo loginctl enable-linger {}", user.name))
}
