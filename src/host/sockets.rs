//! Unix sockets with a file that only its user may dial.

use std::{
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{PermissionsExt, chown},
    },
    path::Path,
};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// How many dials may wait to be accepted.
const BACKLOG: i32 = 128;

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) user: u32,
    pub(super) pid: i32,
}

/// Who dialled.
pub(super) fn peer(socket: impl AsFd) -> io::Result<Peer> {
    let credentials = rustix::net::sockopt::socket_peercred(socket)?;
    Ok(Peer { user: credentials.uid.as_raw(), pid: credentials.pid.as_raw_nonzero().get() })
}

/// Listens at `path`, in place of whoever listened there before; only `owner` (and root) may dial.
pub(super) fn listen(path: &Path, kind: SocketType, owner: Option<u32>) -> io::Result<OwnedFd> {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    // Bound under another name and moved, so that the path never names a socket that nobody listens on.
    let fresh = path.with_extension("new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    rustix::net::bind(&socket, &SocketAddrUnix::new(&fresh)?)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600))?;
    if let Some(owner) = owner.filter(|owner| *owner != rustix::process::geteuid().as_raw()) {
        chown(&fresh, Some(owner), None)?;
    }
    rustix::net::listen(&socket, BACKLOG)?;
    fs::rename(&fresh, path)?;
    Ok(socket)
}

/// Listens for streams at `path`.
pub(super) fn listen_stream(path: &Path, owner: Option<u32>) -> io::Result<tokio::net::UnixListener> {
    let socket = listen(path, SocketType::STREAM, owner)?;
    tokio::net::UnixListener::from_std(socket.into())
}

/// Whether a user may command this host: root, its own user, or who called sudo.
pub(super) fn may_command(user: u32, owner: Option<u32>) -> bool {
    user == 0 || user == rustix::process::geteuid().as_raw() || Some(user) == owner
}
