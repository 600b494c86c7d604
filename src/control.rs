//! The control socket in the data directory: how `token create`, `login` and `migrate` ask the running server.
//!
//! One request and one answer, a line of JSON each. The socket is its owner's alone (mode 0600), and the server looks
//! at who asks once more: whoever may open it may make tokens for anyone.

use std::{
    fs, io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::PermissionsExt as _,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
};

use crate::{
    actors::{Node, Refused, tenant::org_id},
    http::{login::login_url, tokens::Keys},
    store::metadata::SCHEMA,
};

/// The socket's name.
const SOCKET: &str = "serve.sock";
/// The longest path of a unix socket, in bytes.
const SOCKET_PATH_BYTES: usize = 107;
/// The longest line either way, in bytes.
const LINE_BYTES: u64 = 64 * 1024;
/// How long one side waits for the other's line.
const LINE_WITHIN: Duration = Duration::from_secs(30);

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// A bearer token; the user is made on first sight.
    Token {
        /// The user's name.
        user: String,
        /// The organisation's name.
        org: String,
        /// The tier from now on.
        tier: Option<String>,
        /// How long it lives.
        ttl_seconds: u64,
    },
    /// A one-time login link; the user is made on first sight.
    Login {
        /// The user's name.
        user: String,
        /// The organisation's name.
        org: String,
    },
    /// Which schema the store has.
    Schema,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Reply {
    /// A token.
    Token {
        /// It.
        token: String,
    },
    /// A link.
    Login {
        /// It.
        login_url: String,
    },
    /// The schema.
    Schema {
        /// Its number.
        schema: u32,
    },
    /// It can't be done.
    Refused {
        /// Why.
        refused: Refused,
    },
}

/// Does what is asked.
pub async fn answer(node: &Node, keys: &Keys, request: Request) -> Reply {
    let answered = match request {
        Request::Token { user, org, tier, ttl_seconds } => {
            let caller = node.tenant(org_id(&org)).ensure_user(&org, &user, tier).await;
            caller.map(|caller| Reply::Token { token: keys.access(caller, Duration::from_secs(ttl_seconds)) })
        }
        Request::Login { user, org } => {
            let caller = node.tenant(org_id(&org)).ensure_user(&org, &user, None).await;
            caller.map(|caller| Reply::Login { login_url: login_url(&node.settings.public_url, keys, caller) })
        }
        // A server that runs has the schema it knows, or it would not have started.
        Request::Schema => Ok(Reply::Schema { schema: SCHEMA }),
    };
    answered.unwrap_or_else(|refused| Reply::Refused { refused })
}

/// The socket's path, short enough for the system. A long directory is named through its descriptor, which must stay
/// open as long as the path is used.
fn reachable(data_dir: &Path, name: &str) -> io::Result<(PathBuf, Option<OwnedFd>)> {
    let path = data_dir.join(name);
    if path.as_os_str().len() <= SOCKET_PATH_BYTES {
        return Ok((path, None));
    }
    let dir = rustix::fs::open(data_dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name);
    Ok((short, Some(dir)))
}

/// Makes the socket. Only the process that holds the store may: one that is there was left by a dead server.
///
/// # Errors
/// When it can't be made.
pub fn listen(data_dir: &Path) -> io::Result<UnixListener> {
    let fresh = format!("{SOCKET}.{}", std::process::id());
    let (path, _dir) = reachable(data_dir, &fresh)?;
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path)?;
    // It gets its name only once nobody else can open it.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    fs::rename(&path, data_dir.join(SOCKET))?;
    Ok(listener)
}

/// Removes the socket.
pub fn remove(data_dir: &Path) {
    // One that is gone already is what is wanted.
    let _ = fs::remove_file(data_dir.join(SOCKET));
}

/// Answers on the socket for as long as it is polled.
pub async fn serve(listener: UnixListener, node: Node, keys: std::sync::Arc<Keys>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (node, keys) = (node.clone(), keys.clone());
                tokio::spawn(async move {
                    if let Err(error) = converse(stream, &node, &keys).await {
                        tracing::info!(%error, "a request on the control socket failed");
                    }
                });
            }
            Err(error) => {
                tracing::error!(%error, "the control socket takes nobody for now");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(mut stream: UnixStream, node: &Node, keys: &Keys) -> io::Result<()> {
    let asking = stream.peer_cred()?.uid();
    if asking != 0 && asking != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("user {asking} may not ask")));
    }
    let request: Request = receive(&mut stream).await?;
    let reply = answer(node, keys, request).await;
    send(&mut stream, &reply).await
}

/// Asks the server of this data directory; `None` when none runs.
///
/// # Errors
/// When it runs and does not answer.
pub async fn ask(data_dir: &Path, request: &Request) -> io::Result<Option<Reply>> {
    let Ok((path, _dir)) = reachable(data_dir, SOCKET) else { return Ok(None) };
    let mut stream = match UnixStream::connect(&path).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    send(&mut stream, request).await?;
    receive(&mut stream).await.map(Some)
}

async fn send(stream: &mut UnixStream, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line).await
}

async fn receive<T: DeserializeOwned>(stream: &mut UnixStream) -> io::Result<T> {
    let mut line = Vec::new();
    let mut reader = BufReader::new(stream).take(LINE_BYTES);
    tokio::time::timeout(LINE_WITHIN, reader.read_until(b'\n', &mut line)).await??;
    if line.last() != Some(&b'\n') {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the line is cut or too long"));
    }
    Ok(serde_json::from_slice(&line)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo_schema(listener: UnixListener) {
        let (mut stream, _) = listener.accept().await.expect("someone asks");
        let request: Request = receive(&mut stream).await.expect("a line");
        assert_eq!(request, Request::Schema);
        send(&mut stream, &Reply::Schema { schema: 7 }).await.expect("sent");
    }

    #[tokio::test]
    async fn a_question_is_answered_however_long_the_directory_is() {
        let dir = tempfile::tempdir().expect("a directory");
        for data_dir in [dir.path().to_owned(), dir.path().join("d".repeat(120))] {
            fs::create_dir_all(&data_dir).expect("made");
            assert_eq!(ask(&data_dir, &Request::Schema).await.expect("no server"), None);
            let listener = listen(&data_dir).expect("listens");
            let mode = fs::metadata(data_dir.join(SOCKET)).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            let server = tokio::spawn(echo_schema(listener));
            assert_eq!(ask(&data_dir, &Request::Schema).await.expect("asked"), Some(Reply::Schema { schema: 7 }));
            server.await.expect("served");
            // What a dead server left counts as none, and the next one takes its place.
            assert_eq!(ask(&data_dir, &Request::Schema).await.expect("no server"), None);
            drop(listen(&data_dir).expect("listens again"));
            remove(&data_dir);
        }
    }

    #[tokio::test]
    async fn a_cut_line_is_refused() {
        let (mut one, mut other) = UnixStream::pair().expect("a pair");
        one.write_all(b"{\"ask\":").await.expect("sent");
        drop(one);
        assert!(receive::<Request>(&mut other).await.is_err());
    }
}
