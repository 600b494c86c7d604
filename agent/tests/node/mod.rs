//! A node for one agent: it speaks the handshake and the frames, and keeps what it was told.

use std::{
    collections::{HashMap, VecDeque},
    io::Write,
    os::{fd::AsFd, unix::process::CommandExt},
    path::Path,
    process::{Child, Command},
    time::Duration,
};

use futures::{SinkExt, StreamExt};
use playhouse_protocol::{
    agent::{AgentFrame, Exit, InputOutcome, NodeFrame, OUTPUT_WINDOW_BYTES, ProcessState, PtySize, Settings, Start},
    codec,
    handshake::{Challenge, HANDSHAKE_BYTES, Hello, Proof, agent_mac, owner_mac, same_mac, token_hash},
    stream::Chunk,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    time::timeout,
};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message, tungstenite::protocol::Role};
use uuid::Uuid;

const TOKEN: [u8; 32] = [7; 32];

/// How long anything may take: far longer than it does.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How long a stretch of a process's output may take: it is bounded as a whole, since a flood never falls silent.
const STRETCH: Duration = Duration::from_secs(60);

/// An agent outside a sandbox, and the socket it dials.
pub struct Agent {
    pub child: Child,
    pub dir: TempDir,
    listener: UnixListener,
    sandbox_id: Uuid,
}

impl Agent {
    pub fn start() -> Self {
        Self::start_by(Command::new(env!("CARGO_BIN_EXE_playhouse-agent")))
    }

    /// As a shell starts it in the background, under `nohup`.
    pub fn start_deaf() -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' HUP INT QUIT; exec \"$0\"", env!("CARGO_BIN_EXE_playhouse-agent")]);
        Self::start_by(command)
    }

    /// As the first process of its own PID namespace, where the machine lets us make one.
    pub fn start_as_init() -> Option<Self> {
        let unshare = || {
            let mut command = Command::new("unshare");
            command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]);
            command
        };
        if !unshare().arg("true").status().is_ok_and(|status| status.success()) {
            return None;
        }
        let mut command = unshare();
        command.arg(env!("CARGO_BIN_EXE_playhouse-agent"));
        Some(Self::start_by(command))
    }

    fn start_by(mut command: Command) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["workspace", "home"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let listener = UnixListener::bind(dir.path().join("node.sock")).unwrap();
        let sandbox_id = Uuid::from_u128(42);
        let (token, mut giver) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map(|(read, write)| (read, std::fs::File::from(write)))
            .unwrap();
        giver.write_all(&TOKEN).unwrap();
        drop(giver);
        command
            .env("PLAYHOUSE_SANDBOX_ID", sandbox_id.to_string())
            .env("PLAYHOUSE_SOCKETS", dir.path())
            .env("PLAYHOUSE_WORKSPACE", dir.path().join("workspace"))
            .env("PLAYHOUSE_HOME", dir.path().join("home"))
            .env("PLAYHOUSE_EGRESS_PORT", "0");
        // SAFETY: only system calls between fork and exec.
        #[allow(unsafe_code, reason = "the agent expects its token in descriptor 3")]
        unsafe {
            command.pre_exec(move || {
                let mut third = std::mem::ManuallyDrop::new(std::os::fd::FromRawFd::from_raw_fd(3));
                if std::os::fd::AsRawFd::as_raw_fd(&token.as_fd()) == 3 {
                    rustix::io::fcntl_setfd(&token, rustix::io::FdFlags::empty())?;
                } else {
                    rustix::io::dup2(&token, &mut third)?;
                }
                Ok(())
            });
        }
        Self { child: command.spawn().unwrap(), dir, listener, sandbox_id }
    }

    pub fn workspace(&self) -> String {
        path(&self.dir.path().join("workspace"))
    }

    /// Takes the agent's next dial up to the challenge under this epoch; `None` when the agent refuses that.
    pub async fn accept(&self, epoch: u64, key: [u8; 32]) -> Option<(Node, Hello)> {
        let (mut stream, _) = timeout(PATIENCE, self.listener.accept()).await.expect("no dial").unwrap();
        let hello: Hello = codec::decode(&receive(&mut stream).await?).unwrap();
        assert_eq!(hello.sandbox_id, self.sandbox_id);
        let nonce = [9; 32];
        let mac = owner_mac(&key, &hello, epoch, &nonce);
        stream.write_all(&codec::encode_prefixed(&Challenge { epoch, nonce, mac }).unwrap()).await.unwrap();
        let proof: Proof = codec::decode(&receive(&mut stream).await?).unwrap();
        assert!(same_mac(&proof.mac, &agent_mac(&key, &hello, epoch, &nonce)));
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        Some((Node { socket, waiting: VecDeque::new(), states: HashMap::new(), is_ready: false }, hello))
    }

    /// A stream whose first frames were read.
    pub async fn node(&self, epoch: u64) -> Node {
        let (mut node, _) = self.accept(epoch, token_hash(&TOKEN)).await.expect("the agent refused");
        node.begin().await;
        node
    }

    /// A stream to a fresh sandbox that has its (empty) tree.
    pub async fn ready_node(&self) -> Node {
        let mut node = self.node(1).await;
        let settings = Settings {
            generated_folders: Vec::new(),
            max_file_bytes: 1 << 20,
            max_environment_bytes: 1 << 20,
            fresh: true,
        };
        node.send(NodeFrame::Settings(settings)).await;
        node.send(NodeFrame::Environment { offset: 0, bytes: Vec::new(), last: true }).await;
        node.send(NodeFrame::Manifest { version: 1, entries: Vec::new(), last: true }).await;
        node.find("Ready", |frame| matches!(frame, AgentFrame::Ready { .. }).then_some(())).await;
        node
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended in the test.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn path(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// The next handshake frame; `None` when the agent hangs up.
async fn receive(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut prefix = [0; 4];
    timeout(PATIENCE, stream.read_exact(&mut prefix)).await.expect("silence").ok()?;
    let mut body = vec![0; codec::prefixed_length(prefix, HANDSHAKE_BYTES).unwrap()];
    stream.read_exact(&mut body).await.ok()?;
    Some(body)
}

/// The node's end of one stream.
pub struct Node {
    socket: WebSocketStream<UnixStream>,
    waiting: VecDeque<AgentFrame>,
    pub states: HashMap<Uuid, ProcessState>,
    pub is_ready: bool,
}

impl Node {
    async fn begin(&mut self) {
        loop {
            match self.next().await {
                AgentFrame::State { processes, ready, last, .. } => {
                    self.states.extend(processes.into_iter().map(|state| (state.process_id, state)));
                    self.is_ready = ready;
                    if last {
                        return;
                    }
                }
                other => panic!("{other:?} before the state"),
            }
        }
    }

    pub async fn send(&mut self, frame: NodeFrame) {
        self.socket.send(Message::Binary(codec::encode(&frame).unwrap().into())).await.unwrap();
    }

    /// The next frame as it comes, beating meanwhile.
    pub async fn next(&mut self) -> AgentFrame {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            match timeout(Duration::from_secs(1), self.socket.next()).await {
                Ok(Some(Ok(Message::Binary(bytes)))) => return codec::decode(&bytes).unwrap(),
                Ok(other) => panic!("the stream ended: {other:?}"),
                Err(_) => {
                    assert!(tokio::time::Instant::now() < deadline, "nothing came");
                    self.send(NodeFrame::Beat).await;
                }
            }
        }
    }

    /// The first frame that `pick` takes, kept or yet to come. The others are kept.
    pub async fn find<T>(&mut self, what: &str, mut pick: impl FnMut(&AgentFrame) -> Option<T>) -> T {
        let mut kept = std::mem::take(&mut self.waiting);
        for place in 0..kept.len() {
            if let Some(found) = pick(&kept[place]) {
                kept.remove(place);
                self.waiting = kept;
                return found;
            }
        }
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            assert!(tokio::time::Instant::now() < deadline, "no {what} came");
            let frame = self.next().await;
            match pick(&frame) {
                Some(found) => {
                    self.waiting = kept;
                    return found;
                }
                None if frame == AgentFrame::Beat => self.send(NodeFrame::Beat).await,
                None => kept.push_back(frame),
            }
        }
    }

    pub async fn start(&mut self, start: &Start) {
        self.send(NodeFrame::Start(start.clone())).await;
        let id = start.process_id;
        self.find("Started", |frame| (*frame == AgentFrame::Started { process_id: id }).then_some(())).await;
    }

    pub async fn input(&mut self, id: Uuid, seq: u64, bytes: &[u8], eof: bool) -> InputOutcome {
        let bytes = bytes.to_vec();
        self.send(NodeFrame::Input { process_id: id, writer: "w".into(), seq, bytes, eof, tag: seq + 100 }).await;
        self.find("InputTaken", |frame| match frame {
            AgentFrame::InputTaken { process_id, seq: of, tag, outcome, .. } if *process_id == id && *of == seq => {
                assert_eq!(*tag, seq + 100);
                Some(*outcome)
            }
            _ => None,
        })
        .await
    }

    /// Takes output until `model` has what `until` wants, storing and crediting as it comes.
    pub async fn take(&mut self, id: Uuid, model: &mut Model, mut until: impl FnMut(&Model) -> bool) {
        let deadline = tokio::time::Instant::now() + STRETCH;
        while !until(model) {
            let (chunks, exit) = (model.chunks.len(), &model.exit);
            assert!(tokio::time::Instant::now() < deadline, "not all that was waited for: {chunks} chunks, {exit:?}");
            let frame = self
                .find("output", |frame| match frame {
                    AgentFrame::Output { process_id, .. } | AgentFrame::Exited { process_id, .. } => {
                        (*process_id == id).then(|| frame.clone())
                    }
                    _ => None,
                })
                .await;
            model.take(frame);
            let bytes = model.since_resume + OUTPUT_WINDOW_BYTES;
            self.send(NodeFrame::Stored { process_id: id, sequence: model.chunks.len() as u64 }).await;
            self.send(NodeFrame::Credit { process_id: id, bytes }).await;
        }
    }

    /// All of a process's output to its end.
    pub async fn finish(&mut self, id: Uuid, model: &mut Model) -> Exit {
        self.take(id, model, |model| model.exit.is_some()).await;
        model.exit.clone().unwrap()
    }

    pub async fn resume(&mut self, id: Uuid, model: &mut Model) {
        model.since_resume = 0;
        let sequence = model.chunks.len() as u64 + 1;
        self.send(NodeFrame::Resume { process_id: id, sequence, credit: OUTPUT_WINDOW_BYTES }).await;
    }
}

/// What a node has of a process: it insists on each number once, in order.
#[derive(Default)]
pub struct Model {
    pub chunks: Vec<Chunk>,
    pub exit: Option<Exit>,
    since_resume: u64,
}

impl Model {
    fn take(&mut self, frame: AgentFrame) {
        match frame {
            AgentFrame::Output { chunks, .. } => {
                for chunk in chunks {
                    assert!(self.exit.is_none(), "output after the end");
                    assert_eq!(chunk.sequence, self.chunks.len() as u64 + 1);
                    self.since_resume += chunk.bytes.len() as u64;
                    self.chunks.push(chunk);
                }
            }
            AgentFrame::Exited { exit, .. } => {
                assert_eq!(exit.last_sequence, self.chunks.len() as u64);
                self.exit = Some(exit);
            }
            other => panic!("{other:?}"),
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.chunks.iter().map(|chunk| chunk.bytes.as_slice()).collect::<Vec<_>>().concat()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.bytes()).unwrap()
    }
}

/// A shell command in the workspace.
pub fn shell(agent: &Agent, script: &str, pty: bool) -> Start {
    Start {
        process_id: Uuid::new_v4(),
        argv: ["sh", "-c", script].map(String::from).to_vec(),
        env: Vec::new(),
        cwd: agent.workspace(),
        pty: pty.then_some(PtySize { cols: 80, rows: 24 }),
    }
}
