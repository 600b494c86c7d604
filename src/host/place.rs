//! The places a host claims for itself: the lock on its data directory, and its run directory.

use std::{
    fs,
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use playhouse_protocol::host::{LOCK, run_dirs, said_run_dir};
use rustix::fs::FlockOperation;

use super::HostFailure;

/// Holds the data directory until it is dropped or the process ends.
#[derive(Debug)]
pub(super) struct Lock {
    file: fs::File,
    /// Where the host before this one had its run directory: what runs in its sandboxes still looks there.
    before: Option<PathBuf>,
}

impl Lock {
    /// Says where the run directory is.
    pub(super) fn say(&mut self, run_dir: &Path) -> Result<(), HostFailure> {
        let mut write = || {
            self.file.set_len(0)?;
            self.file.rewind()?;
            self.file.write_all(run_dir.as_os_str().as_encoded_bytes())
        };
        write().map_err(HostFailure::at("write down the run directory"))
    }
}

/// Takes the data directory.
pub(super) fn lock(data_dir: &Path) -> Result<Lock, HostFailure> {
    fs::create_dir_all(data_dir).map_err(HostFailure::at("make the data directory"))?;
    let path = data_dir.join(LOCK);
    let mut file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .map_err(HostFailure::at("open the host's lock"))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            let mut text = Vec::new();
            (&mut file).take(4096).read_to_end(&mut text).map_err(HostFailure::at("read the host's lock"))?;
            Ok(Lock { before: said_run_dir(data_dir, &text), file })
        }
        Err(rustix::io::Errno::WOULDBLOCK) => Err(HostFailure::Taken(data_dir.to_owned())),
        Err(error) => Err(HostFailure::at("lock the data directory")(error.into())),
    }
}

/// Makes the run directory: the one of the host before, or the first of the usual ones that this user can use. Others may
/// walk through it, which the users inside sandboxes need, and not list it.
/// `user` is who that is for everybody else; in a user namespace it is root here.
pub(super) fn run_dir(data_dir: &Path, lock: &Lock, user: u32) -> Result<PathBuf, HostFailure> {
    let owner = rustix::process::geteuid().as_raw();
    let xdg = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let mut last = io::Error::other("there is none");
    for dir in lock.before.iter().cloned().chain(run_dirs(data_dir, user, xdg.as_deref())) {
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
        // One that was made under a strict umask.
        fs::set_permissions(parent, fs::Permissions::from_mode(0o711))?;
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
    fn a_host_is_where_the_one_before_it_was() {
        let (dir, runtime) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("another"));
        let user = rustix::process::geteuid().as_raw();
        let id = playhouse_protocol::host::host_id(dir.path());
        let unusual = runtime.path().join("playhouse").join(&id);
        let mut first = lock(dir.path()).expect("free");
        first.say(&runtime.path().join("a longer name/playhouse").join(&id)).expect("written");
        first.say(&unusual).expect("written");
        drop(first);
        let mut second = lock(dir.path()).expect("free");
        assert_eq!(run_dir(dir.path(), &second, user).expect("made"), unusual);
        for foreign in ["/etc/cron.d", "relative/playhouse/x", &format!("/run/other/{id}"), ""] {
            second.say(Path::new(foreign)).expect("written");
            drop(second);
            second = lock(dir.path()).expect("free");
            assert_eq!(second.before, None, "{foreign}");
        }
    }

    #[test]
    fn a_directory_that_others_can_write_is_not_used() {
        let dir = tempfile::tempdir().expect("a directory");
        let user = rustix::process::geteuid().as_raw();
        let inner = dir.path().join("playhouse/h");
        make(&inner, user).expect("made");
        fs::set_permissions(dir.path().join("playhouse"), fs::Permissions::from_mode(0o700)).expect("set");
        make(&inner, user).expect("made before");
        let mode = fs::metadata(dir.path().join("playhouse")).expect("there").mode();
        assert_eq!(mode & 0o777, 0o711, "others can walk through it again");
        fs::set_permissions(dir.path().join("playhouse"), fs::Permissions::from_mode(0o777)).expect("set");
        assert!(make(&inner, user).is_err());
    }
}
