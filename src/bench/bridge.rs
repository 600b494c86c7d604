//! The yardsticks: a *bridge*, one axum WebSocket to one PTY and nothing else, and a *relay*, the same in two processes
//! with a Unix socket between them.
//!
//! Whoever keeps programs apart from the node pays for the second process; the relay says how much of an echo's time
//! that is before a byte is numbered, stored or checked.

use std::os::fd::{AsFd, OwnedFd};

use axum::{
    Router,
    extract::{
        Query, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    response::Response,
    routing::get,
};
use futures::{SinkExt, StreamExt};
use playhouse_quiet::QuietStream;
use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::UnixStream,
    process::{Child, Command},
};

#[derive(Debug, Deserialize)]
struct Ask {
    command: String,
}

/// Serves the bridge, or the relay, on a free port of the loopback, prints it, and runs until it is killed.
///
/// # Errors
/// When it can't listen.
pub async fn serve(relayed: bool) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    #[allow(clippy::print_stdout, reason = "the port is this program's result")]
    {
        println!("{}", listener.local_addr()?.port());
    }
    let app = Router::new().route("/", get(move |ask, socket| upgrade(ask, socket, relayed)));
    axum::serve(tokio_nodelay(listener), app).await?;
    Ok(())
}

fn tokio_nodelay(
    listener: tokio::net::TcpListener,
) -> impl axum::serve::Listener<Addr = std::net::SocketAddr, Io = tokio::net::TcpStream> {
    use axum::serve::ListenerExt as _;
    listener.tap_io(|stream| {
        // Without it the figures are those of Nagle's algorithm.
        let _ = stream.set_nodelay(true);
    })
}

async fn upgrade(Query(ask): Query<Ask>, upgrade: WebSocketUpgrade, relayed: bool) -> Response {
    upgrade.on_upgrade(move |socket| async move {
        let carried = if relayed { relay(socket, &ask.command).await } else { bridge(socket, &ask.command).await };
        if let Err(error) = carried {
            tracing::debug!(%error, "bridge");
        }
    })
}

/// A shell behind a terminal of its own.
fn start(command: &str) -> anyhow::Result<(pty_process::Pty, Child)> {
    let (pty, pts) = pty_process::open()?;
    pty.resize(pty_process::Size::new(24, 80))?;
    let child = pty_process::Command::new("/bin/bash").args(["-c", command]).kill_on_drop(true).spawn(pts)?;
    Ok((pty, child))
}

async fn bridge(socket: WebSocket, command: &str) -> anyhow::Result<()> {
    let (pty, mut child) = start(command)?;
    let (reader, writer) = pty.into_split();
    carry(socket, reader, writer).await?;
    child.kill().await?;
    Ok(())
}

async fn relay(socket: WebSocket, command: &str) -> anyhow::Result<()> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["relay-end", command])
        .stdin(OwnedFd::from(theirs.into_std()?))
        .kill_on_drop(true)
        .spawn()?;
    let (reader, writer) = tokio::io::split(QuietStream::new(ours)?);
    carry(socket, reader, writer).await?;
    child.kill().await?;
    Ok(())
}

/// The relay's other process: one terminal to the socket that is its standard input, on one thread as the agent is.
///
/// # Errors
/// When the terminal can't be had.
pub fn end(command: &str) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let command = command.to_owned();
    // As a task: each wake of what `block_on` itself runs costs a write to the reactor's event descriptor.
    runtime.block_on(async { tokio::spawn(async move { pass(&command).await }).await? })
}

async fn pass(command: &str) -> anyhow::Result<()> {
    let socket = std::os::unix::net::UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let (mut from_relay, mut to_relay) = tokio::io::split(QuietStream::new(UnixStream::from_std(socket)?)?);
    let (pty, mut child) = start(command)?;
    let (mut reader, mut writer) = pty.into_split();
    tokio::select! {
        result = tokio::io::copy(&mut reader, &mut to_relay) => result,
        result = tokio::io::copy(&mut from_relay, &mut writer) => result,
    }?;
    child.kill().await?;
    Ok(())
}

/// Carries bytes both ways until one side ends.
async fn carry(
    socket: WebSocket,
    mut reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
) -> anyhow::Result<()> {
    let (mut sink, mut source) = socket.split();
    let out = async {
        let mut buffer = vec![0_u8; 32 * 1024];
        loop {
            match reader.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(length) => sink.send(Message::Binary(buffer[..length].to_vec().into())).await?,
            }
        }
        sink.close().await?;
        anyhow::Ok(())
    };
    let input = async {
        while let Some(Ok(message)) = source.next().await {
            if let Message::Binary(bytes) = message {
                writer.write_all(&bytes).await?;
            }
        }
        anyhow::Ok(())
    };
    tokio::select! {
        result = out => result,
        result = input => result,
    }
}
