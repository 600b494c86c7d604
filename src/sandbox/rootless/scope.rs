//! The cgroup of an ordinary user's host: one that systemd's user manager delegates, or the one that this process is in
//! where that is the user's already, as in a service with `Delegate=yes`.

use std::{
    fs, io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::fs::Access;

use super::super::{
    cgroup::{self, delegated},
    probe::{self, Lack},
    this_program, write_atomically,
};

/// Set for a program that was started in a scope, which would be started in another one otherwise.
const IN_SCOPE: &str = "PLAYHOUSE_IN_SCOPE";

/// What is missing to get a cgroup of our own.
pub(super) fn lack() -> Option<Lack> {
    let controllers = |dir: &Path| fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
    let (place, have) = if let Some(manager) = manager() {
        ("systemd's user manager", controllers(&manager))
    } else if let Some(own) = own().filter(|own| is_ours(own)) {
        ("the cgroup of this process", controllers(&absolute(&own)))
    } else {
        return probe::lack(
            "a cgroup of this user's own",
            "log in as the user (by ssh, at a console or with `machinectl shell`, not with su or sudo), so that systemd's \
             user manager runs; or run this in a service with User= and Delegate=yes",
        );
    };
    let missing = delegated::missing(&have);
    if missing.is_empty() {
        return None;
    }
    probe::lack(
        &format!("the {} controller in {place}", missing.join(", ")),
        "sudo mkdir -p /etc/systemd/system/user@.service.d && printf '[Service]\\nDelegate=cpu memory pids\\n' | sudo tee \
         /etc/systemd/system/user@.service.d/delegate.conf && sudo systemctl daemon-reload, then log in again",
    )
}

/// Finds the cgroup for this process's sandboxes, and moves this process out of the way into one below it. Where systemd's
/// user manager has to make it, this process becomes the program anew, in it.
pub(super) fn enter(remembered: Option<&Path>) -> Result<PathBuf, Lack> {
    let trouble = |error: io::Error| Lack {
        what: format!("a cgroup of this user's own: {error}"),
        how: "see `systemctl --user status`, or run this in a service with User= and Delegate=yes".to_owned(),
    };
    if manager().is_some() && std::env::var_os(IN_SCOPE).is_none() {
        return Err(trouble(start_anew()));
    }
    if let Some(file) = remembered
        && let Ok(before) = fs::read_to_string(file)
        && delegated::join(&absolute(Path::new(&before))).is_ok()
    {
        return Ok(PathBuf::from(before));
    }
    let own = own().ok_or_else(|| trouble(io::Error::other("/proc/self/cgroup names none")))?;
    delegated::join(&absolute(&own)).map_err(trouble)?;
    if let (Some(file), Some(text)) = (remembered, own.to_str()) {
        let made = file.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| write_atomically(file, text.as_bytes())).map_err(trouble)?;
    }
    Ok(own)
}

/// The cgroup of systemd's user manager, if that can be asked for a scope.
fn manager() -> Option<PathBuf> {
    let user = rustix::process::getuid().as_raw();
    let dir = Path::new(cgroup::ROOT).join(format!("user.slice/user-{user}.slice/user@{user}.service"));
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from)?;
    (runtime.join("systemd/private").exists() && dir.is_dir()).then_some(dir)
}

/// Replaces this process by `systemd-run`, which asks for the scope and then becomes the program. Returns only what failed.
fn start_anew() -> io::Error {
    let program = match this_program() {
        Ok(program) => program,
        Err(error) => return error,
    };
    // Limits of all sandboxes together are nobody's wish, and systemd has a default of them.
    let properties = ["--property=Delegate=yes", "--property=TasksMax=infinity"];
    let error = Command::new("systemd-run")
        .args(["--user", "--scope", "--quiet", "--collect", "--description=Playhouse's sandboxes"])
        .args(properties)
        .arg("--")
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(IN_SCOPE, "1")
        .exec();
    io::Error::new(error.kind(), format!("systemd-run: {error}"))
}

/// The cgroup of this process, relative to the root of the hierarchy.
fn own() -> Option<PathBuf> {
    parse(&fs::read_to_string("/proc/self/cgroup").ok()?)
}

fn parse(text: &str) -> Option<PathBuf> {
    text.lines().find_map(|line| line.strip_prefix("0::/")).map(PathBuf::from)
}

fn absolute(cgroup: &Path) -> PathBuf {
    Path::new(cgroup::ROOT).join(cgroup)
}

fn is_ours(cgroup: &Path) -> bool {
    let dir = absolute(cgroup);
    let writable = |path: &Path| rustix::fs::access(path, Access::WRITE_OK).is_ok();
    writable(&dir) && writable(&dir.join("cgroup.procs")) && writable(&dir.join("cgroup.subtree_control"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unified_hierarchys_line_is_found() {
        let text = "12:pids:/x\n1:name=systemd:/y\n0::/user.slice/a.scope\n";
        assert_eq!(parse(text), Some("user.slice/a.scope".into()));
        assert_eq!(parse("0::/\n"), Some(PathBuf::new()));
        assert_eq!(parse("12:pids:/x\n"), None);
    }
}
