//! Whether what poses as the host is it: whoever gets a node's commands gets the tokens of its sandboxes.
//!
//! A host is root's, or it runs as the node's own user. Its run directory may lie where any user can make one first.

use std::{
    fs, io,
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::Path,
};

/// Refuses a run directory in which another user may have made the sockets.
pub(super) fn directory(dir: &Path, user: u32) -> io::Result<()> {
    for dir in dir.parent().into_iter().chain([dir]) {
        let found = fs::symlink_metadata(dir).map_err(|error| beside(&error, dir))?;
        if !found.is_dir() || !may_be_host(found.uid(), user) || found.mode() & 0o022 != 0 {
            return Err(refused(format!(
                "{} is no directory of root's or of user {user} that nobody else can write: remove it, or find out whose it \
                 is",
                dir.display()
            )));
        }
    }
    Ok(())
}

/// The error, and what it happened at.
pub(super) fn beside(error: &io::Error, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Refuses a listener that is another user's.
pub(super) fn peer(socket: impl AsFd, user: u32) -> io::Result<()> {
    let listener = rustix::net::sockopt::socket_peercred(socket)?.uid.as_raw();
    if may_be_host(listener, user) {
        Ok(())
    } else {
        Err(refused(format!(
            "user {listener} listens on the host's socket, who is neither root nor user {user}: end it"
        )))
    }
}

/// Whether the host of this user's node may be that one's.
fn may_be_host(host: u32, user: u32) -> bool {
    host == 0 || host == user
}

fn refused(words: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, words)
}

#[cfg(test)]
mod tests {
    use std::os::unix::{
        fs::{PermissionsExt, symlink},
        net::UnixStream,
    };

    use super::*;

    #[test]
    fn a_directory_that_others_could_have_made_is_refused() {
        let outer = tempfile::tempdir().expect("a directory");
        let me = rustix::process::getuid().as_raw();
        let (parent, dir) = (outer.path().join("playhouse"), outer.path().join("playhouse/h"));
        assert_eq!(directory(&dir, me).expect_err("nothing").kind(), io::ErrorKind::NotFound);
        fs::create_dir_all(&dir).expect("made");
        let set = |dir: &Path, mode| fs::set_permissions(dir, fs::Permissions::from_mode(mode)).expect("set");
        set(&parent, 0o711);
        set(&dir, 0o711);
        directory(&dir, me).expect("mine");
        for open in [&parent, &dir] {
            set(open, 0o777);
            let error = directory(&dir, me).expect_err("anybody's");
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            set(open, 0o711);
        }
        symlink(&dir, parent.join("link")).expect("linked");
        assert!(directory(&parent.join("link"), me).is_err());
    }

    #[test]
    fn root_and_the_nodes_own_user_may_be_the_host() {
        assert!(may_be_host(0, 1000) && may_be_host(1000, 1000) && may_be_host(0, 0));
        assert!(!may_be_host(1001, 1000) && !may_be_host(1000, 0));
        let (one, _other) = UnixStream::pair().expect("a pair");
        peer(&one, rustix::process::getuid().as_raw()).expect("mine");
    }
}
