//! A user namespace for this process: the user is its root, and their subordinate ids are its users from 1 on.

use std::{
    io::{self, Write as _},
    process::{Command, Stdio},
};

use nix::sched::{CloneFlags, unshare};
use rustix::process::DumpableBehavior;

use super::{super::probe::Lack, subids::SubIds};

/// Maps the ids of the process `$1`, once it has left the namespace that this one stays in.
const MAP: &str = r#"read -r _ && "$2" "$1" 0 "$3" 1 1 "$4" "$6" && "$7" "$1" 0 "$8" 1 1 "$5" "$6""#;

/// Enters it. This process must have one thread.
pub(super) fn enter(ids: &SubIds) -> Result<(), Lack> {
    map(ids).map_err(|error| Lack {
        what: format!("a user namespace for this user: {error}"),
        how: "see the kernel's log, and whether a container or AppArmor forbids it".to_owned(),
    })
}

fn map(ids: &SubIds) -> io::Result<()> {
    let (user, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    // The programs that map run as root by their set-user-id bit, which counts only outside of the new namespace: so one
    // process stays outside and waits for a word.
    let mut outside = Command::new("/bin/sh")
        .args(["-c", MAP, "sh", &std::process::id().to_string()])
        .arg(&ids.newuidmap)
        .args([user, ids.users.first, ids.groups.first, ids.count()].map(|number| number.to_string()))
        .arg(&ids.newgidmap)
        .arg(group.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    unshare(CloneFlags::CLONE_NEWUSER)?;
    // They refuse a process whose directory in /proc is not the user's, and the namespace has made it root's.
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)?;
    if let Some(mut stdin) = outside.stdin.take() {
        stdin.write_all(b"go\n")?;
    }
    let output = outside.wait_with_output()?;
    if output.status.success() {
        Ok(())
    } else {
        Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}
