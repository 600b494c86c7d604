//! A whole host against a node that speaks its protocol, with a small script as the agent. Needs root and what
//! `playhouse doctor` asks for.

mod lives;
mod reached;

use std::{
    fs,
    io::{IoSliceMut, Read, Write},
    os::{
        fd::OwnedFd,
        unix::{fs::PermissionsExt, net::UnixStream},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use playhouse::{
    host::{HostConfig, HostFailure, run_with},
    sandbox::{probe, rights::Rights},
};
use playhouse_protocol::{
    codec,
    handshake::{self, Challenge, HANDSHAKE_BYTES, Hello, Proof},
    host::{
        AGENTS_SOCKET, Arrived, CONTROL_SOCKET, EgressRule, EndCause, FromHost, Held, HostError, Limits, SandboxSpec,
        ToHost, host_id,
    },
};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketAddrUnix, SocketFlags, SocketType,
    sockopt::Timeout,
};
use uuid::Uuid;

/// Dials like an agent, then does what it is told, line by line; every answer ends with a NUL.
const AGENT: &str = r#"#!/usr/bin/python3
import os, signal, socket, subprocess
token = os.read(3, 64)
os.close(3)
sockets = os.environ.get("PLAYHOUSE_SOCKETS", "/run/playhouse")
sandbox = bytes.fromhex(os.environ["PLAYHOUSE_SANDBOX_ID"].replace("-", ""))
instance = os.urandom(16)
attempt = 0
while True:
    attempt += 1
    stream = socket.socket(socket.AF_UNIX)
    try:
        stream.connect(sockets + "/node.sock")
    except OSError:
        continue
    hello = bytes([1, 16]) + sandbox + instance + bytes([attempt]) + os.urandom(32)
    stream.sendall(len(hello).to_bytes(4, "big") + hello)
    for line in stream.makefile():
        word, _, rest = line.strip().partition(" ")
        if word == "token":
            answer = token.hex()
        elif word == "exit":
            os._exit(int(rest))
        elif word == "hog":
            held = []
            while True:
                held.append(b"x" * (1 << 20))
        else:
            answer = subprocess.run(rest, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
        stream.sendall(answer.encode() + b"\0")
"#;

const MIB: u64 = 1 << 20;
const LIMIT: Duration = Duration::from_secs(30);

struct World {
    data: tempfile::TempDir,
    config: HostConfig,
}

impl World {
    fn new(insecure: bool) -> Option<Self> {
        if let Err(missing) = probe::isolation() {
            eprintln!("skipped, this machine lacks: {}", missing.join("; "));
            return None;
        }
        let data = tempfile::tempdir().expect("a data directory");
        let agent = data.path().join("agent");
        fs::write(&agent, AGENT).expect("written");
        fs::set_permissions(&agent, fs::Permissions::from_mode(0o755)).expect("set");
        let config = HostConfig {
            data_dir: data.path().to_owned(),
            name: "here".into(),
            insecure,
            rights: Rights::Root,
            runtime: "auto".into(),
            owner_uid: None,
            agent,
        };
        Some(Self { data, config })
    }

    fn run_dir(&self) -> PathBuf {
        Path::new("/run/playhouse").join(host_id(self.data.path()))
    }

    fn host(&self) -> tokio::task::JoinHandle<Result<(), HostFailure>> {
        tokio::spawn(run_with(self.config.clone(), env!("CARGO_BIN_EXE_playhouse").into()))
    }

    async fn node(&self, incarnation: u64) -> Node {
        let run_dir = self.run_dir();
        tokio::task::spawn_blocking(move || Node::connect(&run_dir, incarnation)).await.expect("a node")
    }
}

struct Node {
    control: UnixStream,
    agents: OwnedFd,
    welcome: FromHost,
}

impl Node {
    fn connect(run_dir: &Path, incarnation: u64) -> Self {
        let begin = Instant::now();
        let control = loop {
            match UnixStream::connect(run_dir.join(CONTROL_SOCKET)) {
                Ok(stream) => break stream,
                Err(error) => assert!(begin.elapsed() < LIMIT, "{error}"),
            }
            std::thread::yield_now();
        };
        control.set_read_timeout(Some(LIMIT)).expect("set");
        let agents = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
        let agents = agents.expect("a socket");
        rustix::net::connect(&agents, &SocketAddrUnix::new(run_dir.join(AGENTS_SOCKET)).expect("an address"))
            .expect("connected");
        rustix::net::sockopt::set_socket_timeout(&agents, Timeout::Recv, Some(LIMIT)).expect("set");
        let mut node = Self { control, agents, welcome: FromHost::Beat };
        node.send(&ToHost::Hello { node: "n".into(), incarnation });
        node.welcome = node.receive();
        node
    }

    fn held(&self) -> Vec<Held> {
        match &self.welcome {
            FromHost::Welcome { held, .. } => held.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn send(&mut self, frame: &ToHost) {
        self.control.write_all(&codec::encode_prefixed(frame).expect("encoded")).expect("written");
    }

    fn try_receive(&mut self) -> std::io::Result<FromHost> {
        let mut prefix = [0; 4];
        self.control.read_exact(&mut prefix)?;
        let mut bytes = vec![0; codec::prefixed_length(prefix, codec::FRAME_BYTES).expect("a length")];
        self.control.read_exact(&mut bytes)?;
        Ok(codec::decode(&bytes).expect("a frame"))
    }

    fn receive(&mut self) -> FromHost {
        self.try_receive().expect("a frame")
    }

    /// The next frame of a kind, past all others.
    fn wait<T>(&mut self, pick: impl Fn(FromHost) -> Option<T>) -> T {
        let begin = Instant::now();
        loop {
            if let Some(picked) = pick(self.receive()) {
                return picked;
            }
            assert!(begin.elapsed() < LIMIT, "waited too long");
        }
    }

    fn done(&mut self, command: Uuid) -> Result<(), HostError> {
        self.wait(|frame| match frame {
            FromHost::Done { command_id, result } if command_id == command => Some(result),
            _ => None,
        })
    }

    fn create(&mut self, spec: &SandboxSpec, epoch: u64) -> Result<(), HostError> {
        let command_id = Uuid::now_v7();
        self.send(&ToHost::Create { command_id, epoch, spec: spec.clone() });
        self.done(command_id)
    }

    fn end(&mut self, sandbox_id: Uuid, epoch: u64) -> Result<(), HostError> {
        let command_id = Uuid::now_v7();
        self.send(&ToHost::End { command_id, epoch, sandbox_id });
        self.done(command_id)
    }

    fn freeze(&mut self, sandbox_id: Uuid, frozen: bool) -> Result<(), HostError> {
        let command_id = Uuid::now_v7();
        self.send(&ToHost::Freeze { command_id, epoch: 1, sandbox_id, frozen });
        self.done(command_id)
    }

    fn ended(&mut self, id: Uuid) -> EndCause {
        self.wait(|frame| match frame {
            FromHost::Ended { sandbox_id, cause } if sandbox_id == id => Some(cause),
            _ => None,
        })
    }

    fn agent(&self) -> (Hello, Agent) {
        let mut bytes = [0; 4096];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let read = rustix::net::recvmsg(
            &self.agents,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )
        .expect("an agent")
        .bytes;
        let Arrived { hello } = codec::decode(&bytes[..read]).expect("a frame");
        let descriptor = ancillary
            .drain()
            .find_map(|message| match message {
                RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
                _ => None,
            })
            .expect("a descriptor");
        let stream = UnixStream::from(descriptor);
        stream.set_nonblocking(false).expect("set");
        stream.set_read_timeout(Some(LIMIT)).expect("set");
        (hello, Agent { stream })
    }
}

struct Agent {
    stream: UnixStream,
}

impl Agent {
    fn tell(&mut self, line: &str) {
        self.stream.write_all(format!("{line}\n").as_bytes()).expect("written");
    }

    fn hear(&mut self) -> std::io::Result<String> {
        let mut said = Vec::new();
        loop {
            let mut byte = [0; 1];
            self.stream.read_exact(&mut byte)?;
            if byte[0] == 0 {
                return Ok(String::from_utf8(said).expect("UTF-8"));
            }
            said.push(byte[0]);
        }
    }

    fn ask(&mut self, line: &str) -> String {
        self.tell(line);
        self.hear().expect("an answer")
    }
}

fn spec() -> SandboxSpec {
    SandboxSpec {
        sandbox_id: Uuid::now_v7(),
        template: "python".into(),
        limits: Limits { cpu_millis: 1000, memory_bytes: 128 * MIB, disk_bytes: 64 * MIB, pids: 64 },
        token: [0xab; 32],
        egress: Vec::new(),
    }
}

/// Everything below runs on threads that may block, beside the host's runtime.
async fn blocking<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(test).await.expect("the test's own thread")
}
