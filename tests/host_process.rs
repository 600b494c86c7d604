//! A whole host against a node that speaks its protocol, with a small script as the agent. Needs root and what
//! `playhouse doctor` asks for.

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

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_lives_freezes_and_ends() {
    let Some(world) = World::new(false) else { return };
    let host = world.host();
    let mut node = world.node(1).await;
    let run_dir = world.run_dir();
    blocking(move || {
        let FromHost::Welcome { isolation, .. } = &node.welcome else { panic!("{:?}", node.welcome) };
        assert_eq!(isolation, &Ok("hardened-container".to_owned()));
        let spec = spec();
        let id = spec.sandbox_id;
        let begin = Instant::now();
        node.create(&spec, 1).expect("made");
        eprintln!("made in {:?}", begin.elapsed());
        let (hello, mut agent) = node.agent();
        eprintln!("an agent after {:?}", begin.elapsed());
        assert_eq!((hello.sandbox_id, hello.attempt), (id, 1));
        assert_eq!(agent.ask("token"), "ab".repeat(32));
        assert_eq!(agent.ask("sh id -u; pwd; python3 -c 'print(6*7)'"), "1000\n/workspace\n42\n");
        assert_eq!(agent.ask("sh dd if=/dev/zero of=/workspace/x bs=1M count=10 2>/dev/null; sync"), "");
        node.send(&ToHost::AskUsage { sandbox_id: id });
        let usage = node.wait(|frame| match frame {
            FromHost::Usage { sandbox_id, usage } if sandbox_id == id && usage.disk_bytes > 10 * MIB => Some(usage),
            _ => None,
        });
        assert!(usage.memory_bytes > MIB && usage.cpu_micros > 1000 && usage.oom_kills == 0, "{usage:?}");

        node.freeze(id, true).expect("frozen");
        agent.tell("token");
        agent.stream.set_read_timeout(Some(Duration::from_millis(300))).expect("set");
        assert!(agent.hear().is_err(), "a frozen program says nothing");
        agent.stream.set_read_timeout(Some(LIMIT)).expect("set");
        node.freeze(id, false).expect("thawed");
        assert_eq!(agent.hear().expect("an answer"), "ab".repeat(32));

        node.freeze(id, true).expect("frozen again");
        let begin = Instant::now();
        node.end(id, 1).expect("ended, though frozen");
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
        node.end(id, 1).expect("ended before");
        assert!(matches!(node.create(&spec, 2), Err(HostError::Failed { .. })), "one life");
        assert_eq!(node.freeze(id, true), Err(HostError::Unknown));
        node.send(&ToHost::Leave);
    })
    .await;
    host.await.expect("the task").expect("left");
    assert!(!run_dir.exists(), "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_dies_leaves_its_sandboxes_to_the_next() {
    let Some(world) = World::new(false) else { return };
    let host = world.host();
    let mut node = world.node(1).await;
    let spec = spec();
    let id = spec.sandbox_id;
    let (mut node, agent) = blocking(move || {
        node.create(&spec, 7).expect("made");
        let (_, agent) = node.agent();
        (node, agent)
    })
    .await;
    // As hard as a process can die from within itself: no line of the host's own runs any more.
    host.abort();
    assert!(host.await.expect_err("aborted").is_cancelled());
    let mut agent = blocking(move || {
        assert!(node.try_receive().is_err() || node.try_receive().is_err() || node.try_receive().is_err());
        let mut agent = agent;
        assert_eq!(agent.ask("sh echo alive"), "alive\n", "the descriptor was handed over and needs no host");
        agent
    })
    .await;

    let host = world.host();
    let node = world.node(1).await;
    assert_eq!(node.held(), [Held { sandbox_id: id, epoch: 7, ended: None }]);
    blocking(move || {
        let mut node = node;
        assert_eq!(node.end(id, 6), Err(HostError::Fenced { seen: 7 }));
        assert_eq!(agent.ask("sh ls /run/playhouse"), "egress.sock\nnode.sock\n");
        drop(agent);
        let (hello, mut agent) = node.agent();
        assert_eq!((hello.sandbox_id, hello.attempt), (id, 2), "it dialled the new host's socket");
        agent.tell("exit 7");
        assert_eq!(node.ended(id), EndCause::AgentExited { status: 7 });
        drop(node);
    })
    .await;
    let node = world.node(2).await;
    let ended = Some(EndCause::AgentExited { status: 7 });
    assert_eq!(node.held(), [Held { sandbox_id: id, epoch: 7, ended }], "held until it is ended");
    blocking(move || {
        let mut node = node;
        node.end(id, 8).expect("ended");
        node.send(&ToHost::Leave);
    })
    .await;
    host.await.expect("the task").expect("left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_whose_record_cannot_be_read_is_left_to_a_host_that_can() {
    let Some(world) = World::new(false) else { return };
    let host = world.host();
    let mut node = world.node(1).await;
    let spec = spec();
    let id = spec.sandbox_id;
    let mut agent = blocking(move || {
        node.create(&spec, 1).expect("made");
        let (_, agent) = node.agent();
        node.send(&ToHost::Leave);
        agent
    })
    .await;
    host.await.expect("the task").expect("left");
    let record = world.data.path().join("host/sandboxes").join(id.to_string()).join("state.json");
    let whole = fs::read(&record).expect("a record");
    fs::write(&record, b"{").expect("written");

    let host = world.host();
    let mut node = world.node(2).await;
    assert_eq!(node.held(), []);
    let mut agent = blocking(move || {
        assert_eq!(agent.ask("sh echo alive"), "alive\n", "it goes on");
        let other = SandboxSpec { sandbox_id: Uuid::now_v7(), ..self::spec() };
        node.create(&other, 1).expect("made");
        let (_, mut another) = node.agent();
        let users = "sh cat /proc/self/uid_map";
        assert_ne!(agent.ask(users), another.ask(users), "its users are no other's");
        assert!(node.create(&SandboxSpec { sandbox_id: id, ..other.clone() }, 2).is_err(), "not made twice");
        node.end(other.sandbox_id, 1).expect("ended");
        node.send(&ToHost::Leave);
        agent
    })
    .await;
    host.await.expect("the task").expect("left");

    fs::write(&record, whole).expect("written");
    let host = world.host();
    let mut node = world.node(3).await;
    assert_eq!(node.held(), [Held { sandbox_id: id, epoch: 1, ended: None }]);
    blocking(move || {
        assert_eq!(agent.ask("sh echo alive"), "alive\n");
        node.end(id, 1).expect("ended");
        node.send(&ToHost::Leave);
    })
    .await;
    host.await.expect("the task").expect("left");
    assert!(!world.run_dir().exists(), "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hog_is_killed_alone_and_an_agent_that_hogs_ends_its_sandbox() {
    let Some(world) = World::new(false) else { return };
    let host = world.host();
    let mut node = world.node(1).await;
    blocking(move || {
        let spec = spec();
        let id = spec.sandbox_id;
        node.create(&spec, 1).expect("made");
        let (_, mut agent) = node.agent();
        let said = agent.ask("sh python3 -c 'x=[b\"x\"*(1<<20) for _ in range(1000)]' 2>&1; echo status $?");
        assert!(said.contains("status 137"), "{said}");
        node.send(&ToHost::AskUsage { sandbox_id: id });
        node.wait(|frame| match frame {
            FromHost::Usage { usage, .. } if usage.oom_kills > 0 => Some(()),
            _ => None,
        });
        agent.tell("hog");
        assert_eq!(node.ended(id), EndCause::OutOfMemory);
        node.end(id, 1).expect("ended");
        node.send(&ToHost::Leave);
    })
    .await;
    host.await.expect("the task").expect("left");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_out_leads_to_listed_names_alone() {
    let Some(world) = World::new(false) else { return };
    let host = world.host();
    let mut node = world.node(1).await;
    blocking(move || {
        let server = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = server.local_addr().expect("an address").to_string();
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().expect("accepted");
            stream.write_all(b"from the registry").expect("written");
        });
        let mut spec = spec();
        spec.egress = vec![EgressRule { name: "registry.test".into(), address: Some(address) }];
        node.create(&spec, 1).expect("made");
        let (_, mut agent) = node.agent();
        let connect = |name: &str| {
            format!(
                "sh python3 -c 'import socket; s=socket.socket(socket.AF_UNIX); s.connect(\"/run/playhouse/egress.sock\"); \
                 s.sendall(b\"CONNECT {name} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n\"); print(b\"\".join(iter(lambda: s.recv(4096), b\"\")))'"
            )
        };
        let said = agent.ask(&connect("registry.test:443"));
        assert!(said.contains("200 OK") && said.contains("from the registry"), "{said}");
        assert!(agent.ask(&connect("other.test:443")).contains("403"), "not listed");
        assert!(agent.ask("sh cat /proc/net/route | wc -l").trim() == "1", "no route out");
        serving.join().expect("the server");
        node.end(spec.sandbox_id, 1).expect("ended");
        node.send(&ToHost::Leave);
    })
    .await;
    host.await.expect("the task").expect("left");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_node_replaces_the_others_and_a_hello_waits_for_it() {
    let Some(world) = World::new(false) else { return };
    let host = world.host();
    let second = run_with(world.config.clone(), env!("CARGO_BIN_EXE_playhouse").into());
    let mut first = world.node(5).await;
    assert!(matches!(second.await, Err(HostFailure::Taken(_))));
    let spec = spec();
    let id = spec.sandbox_id;
    let mut first = blocking(move || {
        first.create(&spec, 1).expect("made");
        drop(first.agent());
        first
    })
    .await;
    let next = world.node(5).await;
    blocking(move || {
        let begin = Instant::now();
        while first.try_receive().is_ok() {
            assert!(begin.elapsed() < LIMIT, "the older connection ends");
        }
        drop(first);
        let run_dir = next.control.peer_addr().expect("an address");
        let run_dir = run_dir.as_pathname().and_then(Path::parent).expect("a path").to_owned();
        let mut older = UnixStream::connect(run_dir.join(CONTROL_SOCKET)).expect("connected");
        let hello = ToHost::Hello { node: "n".into(), incarnation: 4 };
        older.write_all(&codec::encode_prefixed(&hello).expect("encoded")).expect("written");
        assert_eq!(older.read(&mut [0; 1]).expect("read"), 0, "one of a lower incarnation is turned away");
        let mut next = next;
        let (hello, agent) = next.agent();
        assert_eq!(hello.sandbox_id, id);
        drop(agent);
        next.end(id, 1).expect("ended");
        next.send(&ToHost::Leave);
    })
    .await;
    host.await.expect("the task").expect("left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_back_while_a_sandbox_is_made_has_one_with_the_token_that_it_knows() {
    let Some(world) = World::new(false) else { return };
    let host = world.host();
    let mut node = world.node(1).await;
    let spec = spec();
    let id = spec.sandbox_id;
    let command_id = Uuid::now_v7();
    let create = ToHost::Create { command_id, epoch: 1, spec: spec.clone() };
    let mut node = {
        let create = create.clone();
        blocking(move || {
            node.send(&create);
            // What is behind it is answered when the host has begun.
            node.send(&ToHost::Look { sandbox_id: id });
            node.wait(|frame| matches!(frame, FromHost::Looked { .. }).then_some(()));
            node
        })
        .await;
        world.node(2).await
    };
    assert_eq!(node.held(), [Held { sandbox_id: id, epoch: 1, ended: None }], "one that is being made is held");
    blocking(move || {
        node.send(&create);
        assert_eq!(node.done(command_id), Ok(()), "the same command is answered here");
        let (_, mut agent) = node.agent();
        assert_eq!(agent.ask("token"), "ab".repeat(32));
        // A node that died with the token.
        let other = SandboxSpec { token: [0xcd; 32], ..spec };
        node.create(&other, 1).expect("started anew");
        while agent.hear().is_ok() {}
        let (_, mut agent) = node.agent();
        assert_eq!(agent.ask("token"), "cd".repeat(32));
        node.create(&other, 1).expect("it is there");
        assert_eq!(agent.ask("sh echo alive"), "alive\n");
        node.end(id, 1).expect("ended");
        node.send(&ToHost::Leave);
    })
    .await;
    host.await.expect("the task").expect("left");
}

/// Dials as an agent does, again and again, until one of the dials is closed.
const FLOOD: &str = r#"
import os, select, socket
sandbox = bytes.fromhex(os.environ["PLAYHOUSE_SANDBOX_ID"].replace("-", ""))
dialled = []
closed = []
while not closed:
    stream = socket.socket(socket.AF_UNIX)
    stream.connect("/run/playhouse/node.sock")
    hello = bytes([1, 16]) + sandbox + os.urandom(16) + bytes([1]) + os.urandom(32)
    stream.sendall(len(hello).to_bytes(4, "big") + hello)
    dialled.append(stream)
    closed = select.select(dialled[:1000], [], [], 0)[0]
print("closed")
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_dials_without_end_takes_the_host_from_nobody() {
    let Some(world) = World::new(false) else { return };
    let host = world.host();
    let mut node = world.node(1).await;
    blocking(move || {
        let flooding = spec();
        node.create(&flooding, 1).expect("made");
        let (_, mut agent) = node.agent();
        agent.ask(&format!("sh echo {} | base64 -d > flood.py", STANDARD.encode(FLOOD)));
        // Nobody reads from the agents' socket meanwhile.
        assert_eq!(agent.ask("sh python3 flood.py"), "closed\n", "the socket is full");
        let other = spec();
        node.create(&other, 1).expect("made");
        let begin = Instant::now();
        while node.agent().0.sandbox_id != other.sandbox_id {
            assert!(begin.elapsed() < LIMIT, "the other one's agent is not handed over");
        }
        for id in [flooding.sandbox_id, other.sandbox_id] {
            node.end(id, 1).expect("ended on the same connection");
        }
        node.send(&ToHost::Leave);
    })
    .await;
    host.await.expect("the task").expect("left");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_isolation_the_agent_is_a_plain_child() {
    let Some(world) = World::new(true) else { return };
    let host = world.host();
    let mut node = world.node(1).await;
    let data = world.data.path().to_owned();
    blocking(move || {
        let FromHost::Welcome { isolation, .. } = &node.welcome else { panic!("{:?}", node.welcome) };
        assert_eq!(isolation, &Ok("none".to_owned()));
        let spec = spec();
        let id = spec.sandbox_id;
        node.create(&spec, 1).expect("made");
        let (_, mut agent) = node.agent();
        assert_eq!(agent.ask("token"), "ab".repeat(32));
        let workspace = data.join("host/sandboxes").join(id.to_string()).join("workspace");
        assert_eq!(agent.ask("sh pwd").trim(), workspace.to_str().expect("UTF-8"));
        agent.ask("sh sleep 1000 >/dev/null 2>&1 & echo $! > pid");
        let pid = fs::read_to_string(workspace.join("pid")).expect("read").trim().to_owned();
        node.wait(|frame| match frame {
            FromHost::Usage { usage, .. } if usage.memory_bytes > MIB => Some(()),
            _ => None,
        });
        node.end(id, 1).expect("ended");
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "what it started is dead too: {stat}");
        assert!(!workspace.exists());
        node.send(&ToHost::Leave);
    })
    .await;
    host.await.expect("the task").expect("left");
}

/// With the real agent: `PLAYHOUSE_TEST_AGENT=target/debug/playhouse-agent`.
#[tokio::test(flavor = "multi_thread")]
async fn the_real_agent_proves_itself_in_time() {
    let Some(agent) = std::env::var_os("PLAYHOUSE_TEST_AGENT") else {
        eprintln!("skipped: PLAYHOUSE_TEST_AGENT names no agent");
        return;
    };
    let Some(mut world) = World::new(false) else { return };
    world.config.agent = agent.into();
    let host = world.host();
    let mut node = world.node(1).await;
    blocking(move || {
        for _ in 0..5 {
            let spec = spec();
            let begin = Instant::now();
            node.create(&spec, 1).expect("made");
            let made = begin.elapsed();
            let (hello, mut agent) = node.agent();
            let dialled = begin.elapsed();
            let key = handshake::token_hash(&spec.token);
            let nonce = [3; 32];
            let challenge = Challenge { epoch: 1, nonce, mac: handshake::owner_mac(&key, &hello, 1, &nonce) };
            agent.stream.write_all(&codec::encode_prefixed(&challenge).expect("encoded")).expect("written");
            let mut prefix = [0; 4];
            agent.stream.read_exact(&mut prefix).expect("an answer");
            let mut frame = vec![0; codec::prefixed_length(prefix, HANDSHAKE_BYTES).expect("a length")];
            agent.stream.read_exact(&mut frame).expect("a proof");
            let proof: Proof = codec::decode(&frame).expect("a proof");
            assert_eq!(proof.mac, handshake::agent_mac(&key, &hello, 1, &nonce));
            eprintln!("made in {made:?}, dialled after {dialled:?}, proven after {:?}", begin.elapsed());
            node.end(spec.sandbox_id, 1).expect("ended");
        }
        node.send(&ToHost::Leave);
    })
    .await;
    host.await.expect("the task").expect("left");
}
