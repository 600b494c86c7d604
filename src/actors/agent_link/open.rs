//! From an agent's descriptor to a proven link: challenge, proof, WebSocket, the agent's state, and then the pump.

use std::{
    os::fd::OwnedFd,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use playhouse_protocol::{
    agent::{AgentFrame, ProcessState},
    codec,
    handshake::{self, Challenge, HANDSHAKE_BYTES, Hello, Proof, TokenHash},
};
use playhouse_quiet::QuietStream;
use ractor::ActorRef;
use rand::RngCore;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::mpsc,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{Role, WebSocketConfig},
    },
};
use uuid::Uuid;

use super::{LinkRef, ORDERED_FRAMES, pump};
use crate::{
    actors::{Node, sandbox::SandboxMessage, workspace::WorkspaceMessage},
    seldom::SharedSeldom,
};

/// How long an agent may take to prove itself and to tell its state.
const OPEN_WITHIN: Duration = Duration::from_secs(5);
/// More processes than an agent may have.
const MAX_PROCESSES: usize = 4096;

static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// What a link is opened with.
#[derive(Debug)]
pub struct Opening {
    /// The node.
    pub node: Node,
    /// The sandbox's actor.
    pub sandbox: ActorRef<SandboxMessage>,
    /// Its id.
    pub sandbox_id: Uuid,
    /// Its workspace.
    pub workspace_id: Uuid,
    /// What its agent proves itself by.
    pub key: TokenHash,
    /// What the agent has said.
    pub hello: Hello,
    /// Its stream.
    pub stream: OwnedFd,
    /// It only brings in what a lost agent left.
    pub harvest: bool,
    /// The sandbox's refusals: any program in it can dial and break off as often as it likes.
    pub refusals: SharedSeldom,
}

/// Why a link did not come about.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("the stream broke: {0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Codec(#[from] codec::CodecError),
    #[error("the WebSocket broke: {0}")]
    WebSocket(#[from] tokio_tungstenite::tungstenite::Error),
    #[error("the proof is wrong")]
    Proof,
    #[error("the agent does not tell its state first")]
    NoState,
    #[error("it took too long")]
    Timeout,
}

/// The stream of a proven agent.
pub(super) type AgentStream = WebSocketStream<QuietStream>;

/// What an agent has when a link begins.
#[derive(Debug, Default)]
struct AgentState {
    processes: Vec<ProcessState>,
    tree_version: u64,
    ready: bool,
}

/// Opens a link in the background; its end is told to everyone who was told of it.
pub fn open(opening: Opening) {
    tokio::spawn(serve(opening));
}

async fn serve(opening: Opening) {
    let opened = tokio::time::timeout(OPEN_WITHIN, prove(&opening)).await.unwrap_or(Err(OpenError::Timeout));
    match opened {
        Ok((stream, state)) => run(opening, stream, state).await,
        Err(error) => {
            if let Some(untold) = opening.refusals.happens(Instant::now()) {
                tracing::warn!(sandbox = %opening.sandbox_id, %error, untold, "an agent's stream was refused");
            }
        }
    }
}

async fn prove(opening: &Opening) -> Result<(AgentStream, AgentState), OpenError> {
    let stream = std::os::unix::net::UnixStream::from(opening.stream.try_clone()?);
    stream.set_nonblocking(true)?;
    let mut stream = UnixStream::from_std(stream)?;
    let epoch = opening.node.epoch;
    let mut nonce = [0_u8; 32];
    rand::rng().fill_bytes(&mut nonce);
    let mac = handshake::owner_mac(&opening.key, &opening.hello, epoch, &nonce);
    stream.write_all(&codec::encode_prefixed(&Challenge { epoch, nonce, mac })?).await?;
    let mut prefix = [0_u8; 4];
    stream.read_exact(&mut prefix).await?;
    let mut body = vec![0_u8; codec::prefixed_length(prefix, HANDSHAKE_BYTES)?];
    stream.read_exact(&mut body).await?;
    let proof: Proof = codec::decode(&body)?;
    if !handshake::same_mac(&proof.mac, &handshake::agent_mac(&opening.key, &opening.hello, epoch, &nonce)) {
        return Err(OpenError::Proof);
    }
    let config = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .write_buffer_size(0)
        .max_message_size(Some(codec::FRAME_BYTES))
        .max_frame_size(Some(codec::FRAME_BYTES));
    let stream = QuietStream::new(stream)?;
    let mut stream = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    let mut state = AgentState::default();
    loop {
        let frame = match futures::StreamExt::next(&mut stream).await {
            Some(Ok(Message::Binary(bytes))) => codec::decode::<AgentFrame>(&bytes)?,
            Some(Ok(_)) => continue,
            Some(Err(error)) => return Err(error.into()),
            None => return Err(OpenError::NoState),
        };
        match frame {
            AgentFrame::State { processes, tree_version, ready, last } => {
                if state.processes.len() + processes.len() > MAX_PROCESSES {
                    return Err(OpenError::NoState);
                }
                state.processes.extend(processes);
                state.tree_version = tree_version;
                state.ready = ready;
                if last {
                    return Ok((stream, state));
                }
            }
            AgentFrame::Beat => {}
            _ => return Err(OpenError::NoState),
        }
    }
}

async fn run(opening: Opening, stream: AgentStream, state: AgentState) {
    let Opening { node, sandbox, sandbox_id, workspace_id, key, hello, harvest, .. } = opening;
    let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
    let (at_once, at_once_frames) = mpsc::unbounded_channel();
    let (ordered, ordered_frames) = mpsc::channel(ORDERED_FRAMES);
    let link = LinkRef::new(number, sandbox_id, at_once, ordered);
    tracing::debug!(sandbox = %sandbox_id, link = number, attempt = hello.attempt, "an agent is linked");
    let workspace = node.workspace(workspace_id);
    let up = WorkspaceMessage::LinkUp {
        sandbox_id,
        link: link.clone(),
        ready: state.ready,
        tree_version: state.tree_version,
        harvest,
    };
    if let Err(error) = workspace.cast(up).await {
        tracing::warn!(%error, sandbox = %sandbox_id, "a workspace can't take its agent's link");
        return;
    }
    let told = SandboxMessage::LinkUp { link: link.clone(), key, instance: hello.instance, attempt: hello.attempt };
    if sandbox.send_message(told).is_err() {
        return;
    }
    let mut router = pump::Router::new(node, link.clone(), workspace.clone());
    for process in state.processes {
        router.announce(process).await;
    }
    let why = tokio::select! {
        why = pump::run(stream, &mut router, at_once_frames, ordered_frames) => why,
        () = link.closed.cancelled() => "it was closed here",
    };
    tracing::debug!(sandbox = %sandbox_id, link = number, why, "an agent's link is gone");
    router.down();
    // A sandbox that went passive is over.
    let _ = sandbox.send_message(SandboxMessage::LinkDown { link: number, silent: why == pump::SILENT });
    if let Err(error) = workspace.cast(WorkspaceMessage::LinkDown { link: number }).await {
        tracing::debug!(%error, "a workspace that can't start has no link to lose");
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use ractor::{Actor, ActorProcessingErr};

    use super::*;
    use crate::actors::process::tests::node;

    /// A sandbox that is told nothing here.
    struct Silent;

    impl Actor for Silent {
        type Msg = SandboxMessage;
        type State = ();
        type Arguments = ();

        async fn pre_start(&self, _: ActorRef<SandboxMessage>, (): ()) -> Result<(), ActorProcessingErr> {
            Ok(())
        }
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("whole").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_program_that_breaks_off_without_end_does_not_fill_the_log() {
        let dir = tempfile::tempdir().expect("a directory");
        let node = node(dir.path()).await;
        let (sandbox, _) = Actor::spawn(None, Silent, ()).await.expect("started");
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        // Of this thread only, on which all of this test runs.
        let _subscriber = tracing::subscriber::set_default(subscriber);
        let refusals = SharedSeldom::default();
        for attempt in 0..100 {
            let (agent, stream) = std::os::unix::net::UnixStream::pair().expect("a pair");
            drop(agent);
            serve(Opening {
                node: node.clone(),
                sandbox: sandbox.clone(),
                sandbox_id: Uuid::from_u128(1),
                workspace_id: Uuid::from_u128(2),
                key: [0; 32],
                hello: Hello { sandbox_id: Uuid::from_u128(1), instance: [1; 16], attempt, nonce: [2; 32] },
                stream: stream.into(),
                harvest: false,
                refusals: refusals.clone(),
            })
            .await;
        }
        let log = String::from_utf8(log.0.lock().expect("whole").clone()).expect("text");
        assert_eq!(log.matches("an agent's stream was refused").count(), 1, "{log}");
        assert_eq!(refusals.happens(Instant::now() + Duration::from_secs(60)), Some(99));
    }
}
