//! The measuring client: one WebSocket, to the bridge or to Playhouse, that sends input and takes output.

use anyhow::{Context, bail};
use futures::{SinkExt, StreamExt};
use playhouse_protocol::client::{BINARY_SUBPROTOCOL, OUTPUT_HEAD_BYTES};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue, protocol::WebSocketConfig},
};
use uuid::Uuid;

/// What a client reads at once, in bytes: a flood comes in few reads.
const READ_BYTES: usize = 64 * 1024;
/// The same for one of many that get little. The library clears all of it before every read, and with 64 KiB that was
/// three quarters of what 200 clients cost the machine they share with the server.
const LITTLE_BYTES: usize = 4 * 1024;

/// A terminal at the other end of a WebSocket.
#[derive(Debug)]
pub(super) struct Terminal {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// The process whose output counts; the bridge has no ids.
    process: Option<Uuid>,
}

impl Terminal {
    /// A terminal at the bridge.
    pub(super) async fn at_bridge(port: u16, command: &str) -> anyhow::Result<Self> {
        let command: String = url_encode(command);
        let socket = connect(format!("ws://127.0.0.1:{port}/?command={command}"), None, READ_BYTES).await?;
        Ok(Self { socket, process: None })
    }

    /// The output of one process at Playhouse.
    pub(super) async fn at_playhouse(url: String, process: Uuid) -> anyhow::Result<Self> {
        let socket = connect(url, Some(BINARY_SUBPROTOCOL), READ_BYTES).await?;
        Ok(Self { socket, process: Some(process) })
    }

    /// The output of one process at Playhouse, for one of many who watch and get little.
    pub(super) async fn watching(url: String, process: Uuid) -> anyhow::Result<Self> {
        let socket = connect(url, Some(BINARY_SUBPROTOCOL), LITTLE_BYTES).await?;
        Ok(Self { socket, process: Some(process) })
    }

    /// Sends input.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let frame = match self.process {
            None => bytes.to_vec(),
            Some(process) => {
                let mut frame = vec![0x02];
                frame.extend_from_slice(process.as_bytes());
                frame.extend_from_slice(&0_u64.to_be_bytes());
                frame.extend_from_slice(bytes);
                frame
            }
        };
        self.socket.send(Message::Binary(frame.into())).await.context("the terminal's socket broke")
    }

    /// The next output; `None` when the socket or the process has ended.
    pub(super) async fn output(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        loop {
            match self.socket.next().await {
                None | Some(Ok(Message::Close(_))) => return Ok(None),
                Some(Err(error)) if self.process.is_none() => {
                    tracing::debug!(%error, "the bridge closes without a handshake");
                    return Ok(None);
                }
                Some(Err(error)) => bail!("the terminal's socket broke: {error}"),
                Some(Ok(Message::Binary(bytes))) => match self.process {
                    None => return Ok(Some(bytes.to_vec())),
                    Some(process) if bytes.get(2..18) == Some(process.as_bytes().as_slice()) => {
                        return Ok(Some(bytes[OUTPUT_HEAD_BYTES..].to_vec()));
                    }
                    Some(_) => {}
                },
                Some(Ok(Message::Text(text))) => {
                    let value: serde_json::Value = serde_json::from_str(&text)?;
                    let ended = matches!(value["status"].as_str(), Some("completed" | "failed" | "cancelled"));
                    let mine = self.process.is_some_and(|process| value["process_id"] == process.to_string());
                    if value["type"] == "status" && mine && ended {
                        return Ok(None);
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            }
        }
    }

    /// Takes output until `text` has come.
    pub(super) async fn until(&mut self, text: &str) -> anyhow::Result<()> {
        let mut seen = Vec::new();
        while let Some(bytes) = self.output().await? {
            seen.extend_from_slice(&bytes);
            if String::from_utf8_lossy(&seen).contains(text) {
                return Ok(());
            }
        }
        bail!("the output ended before {text:?} came: {:?}", String::from_utf8_lossy(&seen))
    }

    /// Takes one byte of echo.
    pub(super) async fn echo(&mut self, byte: u8) -> anyhow::Result<()> {
        self.send(&[byte]).await?;
        while let Some(bytes) = self.output().await? {
            if bytes.contains(&byte) {
                return Ok(());
            }
        }
        bail!("the output ended before the echo came")
    }
}

async fn connect(
    url: String,
    subprotocol: Option<&'static str>,
    read_bytes: usize,
) -> anyhow::Result<WebSocketStream<MaybeTlsStream<TcpStream>>> {
    let mut request = url.into_client_request()?;
    if let Some(name) = subprotocol {
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(name));
    }
    let config = WebSocketConfig::default().read_buffer_size(read_bytes).write_buffer_size(0);
    let (socket, _) = connect_async_with_config(request, Some(config), true).await?;
    Ok(socket)
}

fn url_encode(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}
