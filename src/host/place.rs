//! The places a host claims for itself: the lock on its data directory, and its run directory.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use playhouse_protocol::host::run_dirs;
use rustix::fs::FlockOperation;

use super::HostFailure;

/// Holds the data directory until it is dropped or the process ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: fs::File,
}

/// Takes the data directory.
pub(super) fn lock(data_dir: &Path) -> Result<Lock, HostFailure> {
    fs::create_dir_all(data_dir).map_err(HostFailure::at("make the data directory"))?;
    let path = data_dir.join("host.lock");
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(HostFailure::at("open the host's lock"))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Lock { _file: file }),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(HostFailure::Taken(data_dir.to_owned())),
        Err(error) => Err(HostFailure::at("lock the data directory")(error.into())),
    }
}

/// Makes the run directory: the first of the usual ones that this user can use. Others may walk through it, which the
/// users inside sandboxes need, and not list it.
/// `user` is who that is for everybody else; in a user namespace it is root here.
pub(super) fn run_dir(data_dir: &Path, user: u32) -> Result<PathBuf, HostFailure> {
    let owner = rustix::process::geteuid().as_raw();
    let xdg = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let mut last = io::Error::other("there is none");
    for dir in run_dirs(data_dir, user, xdg.as_deref()) {
        match make(&dir, owner) {
            Ok(()) => return Ok(dir),
            Err(error) => last = error,
        }
    }
    Err(HostFailure::at("make a run directory")(last))
}

fn make(dir: &Path, user: u32) -> io::Result<()> {
    if let Some(parent) = dir.parent() {
        match fs::DirBuilder::new().mode(0o711).create(parent) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        owned(parent, user)?;
    }
    match fs::DirBuilder::new().mode(0o711).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    owned(dir, user)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o711))
}

/// In /tmp anybody may have made the directory first.
fn owned(dir: &Path, user: u32) -> io::Result<()> {
    let found = fs::symlink_metadata(dir)?;
    if !found.is_dir() || found.uid() != user || found.mode() & 0o022 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{} is no directory of this user alone", dir.display()),
        ));
    }
    Ok(())
}

/// The home directory of whoever called sudo, where toolchains may be.
pub(super) fn home_of(user: u32) -> Option<PathBuf> {
    nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(user)).ok().flatten().map(|user| user.dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_host_on_a_data_directory_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let lock_held = lock(dir.path()).expect("free");
        let failure = lock(dir.path()).expect_err("taken");
        assert!(matches!(failure, HostFailure::Taken(_)));
        assert_eq!(failure.exit_code(), 1);
        drop(lock_held);
        lock(dir.path()).expect("free again");
    }

    #[test]
    fn a_directory_that_others_can_write_is_not_used() {
        let dir = tempfile::tempdir().expect("a directory");
        let user = rustix::process::geteuid().as_raw();
        let inner = dir.path().join("playhouse/h");
        make(&inner, user).expect("made");
        make(&inner, user).expect("made before");
        fs::set_permissions(dir.path().join("playhouse"), fs::Permissions::from_mode(0o777)).expect("set");
        assert!(make(&inner, user).is_err());
    }
}
