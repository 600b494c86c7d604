//! The yardstick: one axum WebSocket to one PTY and nothing else.

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
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[derive(Debug, Deserialize)]
struct Ask {
    command: String,
}

/// Serves the bridge on a free port of the loopback, prints it, and runs until it is killed.
///
/// # Errors
/// When it can't listen.
pub async fn serve() -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    #[allow(clippy::print_stdout, reason = "the port is this program's result")]
    {
        println!("{}", listener.local_addr()?.port());
    }
    let app = Router::new().route("/", get(upgrade));
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

async fn upgrade(Query(ask): Query<Ask>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(move |socket| async move {
        if let Err(error) = bridge(socket, &ask.command).await {
            tracing::debug!(%error, "bridge");
        }
    })
}

/// Carries bytes both ways until one side ends.
async fn bridge(socket: WebSocket, command: &str) -> anyhow::Result<()> {
    let (pty, pts) = pty_process::open()?;
    pty.resize(pty_process::Size::new(24, 80))?;
    let mut child = pty_process::Command::new("/bin/bash").args(["-c", command]).kill_on_drop(true).spawn(pts)?;
    let (mut reader, mut writer) = pty.into_split();
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
    }?;
    child.kill().await?;
    Ok(())
}
