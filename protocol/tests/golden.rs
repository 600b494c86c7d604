//! Frames as version 1 writes them, which every later version reads for ever.
//!
//! A new variant gets a new line at the end; an old line is never changed. `PLAYHOUSE_WRITE_GOLDEN=1` appends what is
//! missing.

use std::{fmt::Debug, fs};

use bincode::{Decode, Encode};
use playhouse_protocol::{
    agent::{
        AgentFrame, Change, Content, Entry, Exit, InputOutcome, Known, Node, NodeFrame, ProcessState, PtySize,
        Settings, Signal, Start,
    },
    codec,
    handshake::{Challenge, Hello, Proof},
    host::{Arrived, EgressRule, EndCause, FromHost, Held, HostError, Limits, Look, SandboxSpec, ToHost, Usage},
    stream::{Chunk, Stream},
};
use uuid::Uuid;

const ID: Uuid = Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);

fn check<T: Encode + Decode<()> + PartialEq + Debug>(name: &str, frames: &[T]) {
    let path = format!("{}/tests/golden/{name}.hex", env!("CARGO_MANIFEST_DIR"));
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let mut lines: Vec<String> = kept.lines().map(str::to_owned).collect();
    if std::env::var_os("PLAYHOUSE_WRITE_GOLDEN").is_some() {
        for frame in &frames[lines.len()..] {
            let bytes = codec::encode(frame).expect("it fits");
            lines.push(hex::encode(bytes));
        }
        fs::create_dir_all(format!("{}/tests/golden", env!("CARGO_MANIFEST_DIR"))).expect("made");
        fs::write(&path, lines.join("\n") + "\n").expect("written");
    }
    assert_eq!(lines.len(), frames.len(), "{name}: one line a frame");
    for (line, frame) in lines.iter().zip(frames) {
        let bytes = hex::decode(line).expect("hex");
        assert_eq!(&codec::decode::<T>(&bytes).expect("an old frame decodes"), frame, "{name}");
        assert_eq!(codec::encode(frame).expect("it fits"), bytes, "{name}: it is still written so");
    }
}

fn file() -> Node {
    Node::File { hash: [7; 32], size: 300, executable: true }
}

fn exit() -> Exit {
    Exit { last_sequence: 9, code: None, signal: Some(9), reason: Some("disk_full".into()), at_ms: 1_700_000_000_000 }
}

#[test]
fn agent_frames() {
    let chunk = Chunk {
        sequence: 413,
        stream: Stream::Stderr,
        at_ms: 1_699_999_999_999,
        carry: vec![0xe2, 0x82],
        bytes: b"\xac".to_vec(),
        last: false,
    };
    let state = ProcessState {
        process_id: ID,
        first_sequence: 1,
        next_sequence: 10,
        exit: Some(exit()),
        writers: vec![("w".into(), 17)],
    };
    let changes = vec![
        Change::Put { path: "/a".into(), node: file(), content: Some(Content::Inline(b"x".to_vec())) },
        Change::Put { path: "/l".into(), node: Node::Symlink { target: "a".into() }, content: None },
        Change::Put { path: "/b".into(), node: file(), content: Some(Content::Transfer(5)) },
        Change::Remove { path: "/c".into() },
    ];
    check(
        "agent",
        &[
            AgentFrame::Beat,
            AgentFrame::State { processes: vec![state], tree_version: 3, ready: true, last: true },
            AgentFrame::Ready { notes: vec!["n".into()] },
            AgentFrame::Want { hashes: vec![[1; 32]] },
            AgentFrame::Started { process_id: ID },
            AgentFrame::Output { process_id: ID, chunks: vec![chunk] },
            AgentFrame::Exited { process_id: ID, exit: exit() },
            AgentFrame::InputTaken { process_id: ID, writer: "w".into(), seq: 17, tag: 2, outcome: InputOutcome::Full },
            AgentFrame::Upload { transfer: 5, bytes: b"abc".to_vec() },
            AgentFrame::UploadVoid { transfer: 5 },
            AgentFrame::Report { batch: 4, changes, left_out: vec![("/f".into(), "fifo".into())] },
            AgentFrame::Flushed { tag: 1 },
            AgentFrame::Environment { tag: 1, offset: 8, bytes: vec![1], last: true, left_out: Vec::new() },
            AgentFrame::PackFailed { tag: 1, detail: "d".into() },
            AgentFrame::Notice { code: "c".into(), detail: "d".into() },
            AgentFrame::Lacking { paths: vec!["/a".into()] },
        ],
    );
}

#[test]
fn node_frames() {
    let size = PtySize { cols: 120, rows: 40 };
    let start = Start {
        process_id: ID,
        argv: vec!["sh".into()],
        env: vec![("A".into(), "b".into())],
        cwd: "/workspace".into(),
        pty: Some(size),
    };
    let settings =
        Settings { generated_folders: vec!["target".into()], max_file_bytes: 1, max_environment_bytes: 2, fresh: true };
    let entries = vec![Entry { path: "/d".into(), node: Node::Directory }];
    check(
        "node",
        &[
            NodeFrame::Beat,
            NodeFrame::Settings(settings),
            NodeFrame::Environment { offset: 0, bytes: Vec::new(), last: true },
            NodeFrame::Manifest { version: 3, entries, last: true },
            NodeFrame::Wanted { hash: [1; 32], offset: 0, bytes: vec![2], last: true, failed: false },
            NodeFrame::Content { transfer: 1, bytes: vec![3] },
            NodeFrame::Push { version: 4, changes: vec![Change::Move { from: "/a".into(), to: "/b".into() }] },
            NodeFrame::Start(start),
            NodeFrame::Input { process_id: ID, writer: "w".into(), seq: 1, bytes: vec![4], eof: false, tag: 9 },
            NodeFrame::Resize { process_id: ID, size },
            NodeFrame::Signal { process_id: ID, signal: Signal::Usr2 },
            NodeFrame::Cancel { process_id: ID },
            NodeFrame::Stored { process_id: ID, sequence: 5 },
            NodeFrame::Resume { process_id: ID, sequence: 6, credit: 7 },
            NodeFrame::Credit { process_id: ID, bytes: 8 },
            NodeFrame::Forget { process_id: ID },
            NodeFrame::Reported { batch: 4, version: 5, refused: vec![("/x".into(), "y".into())] },
            NodeFrame::Flush { tag: 1 },
            NodeFrame::Pack { tag: 2 },
            NodeFrame::Harvest { entries: vec![Known { path: "/a".into(), node: file(), since: 9 }], last: true },
            NodeFrame::Copy { tag: 3 },
        ],
    );
}

#[test]
fn handshakes() {
    let hello = Hello { sandbox_id: ID, instance: [1; 16], attempt: 2, nonce: [3; 32] };
    check("hello", std::slice::from_ref(&hello));
    check("challenge", &[Challenge { epoch: 1, nonce: [2; 32], mac: [3; 32] }]);
    check("proof", &[Proof { mac: [4; 32] }]);
    check("arrived", &[Arrived { hello }]);
}

#[test]
fn host_frames() {
    let spec = SandboxSpec {
        sandbox_id: ID,
        template: "python".into(),
        limits: Limits { cpu_millis: 2000, memory_bytes: 4 << 30, disk_bytes: 8 << 30, pids: 1024 },
        token: [5; 32],
        egress: vec![EgressRule { name: "pypi.org".into(), address: Some("127.0.0.1:443".into()) }],
    };
    check(
        "to_host",
        &[
            ToHost::Hello { node: "n".into(), incarnation: 1 },
            ToHost::Create { command_id: ID, epoch: 1, spec: spec.clone() },
            ToHost::End { command_id: ID, epoch: 1, sandbox_id: ID },
            ToHost::Freeze { command_id: ID, epoch: 1, sandbox_id: ID, frozen: true },
            ToHost::AskUsage { sandbox_id: ID },
            ToHost::Leave,
            ToHost::Recover { command_id: ID, epoch: 1, spec },
            ToHost::Look { sandbox_id: ID },
        ],
    );
    let held = vec![Held { sandbox_id: ID, epoch: 1, ended: Some(EndCause::AgentExited { status: 137 }) }];
    check(
        "from_host",
        &[
            FromHost::Welcome { name: "h".into(), isolation: Err(vec!["root".into()]), held },
            FromHost::Done { command_id: ID, result: Err(HostError::Fenced { seen: 3 }) },
            FromHost::Done {
                command_id: ID,
                result: Err(HostError::Failed { step: "mount".into(), detail: "busy".into() }),
            },
            FromHost::Ended { sandbox_id: ID, cause: EndCause::OutOfMemory },
            FromHost::Usage {
                sandbox_id: ID,
                usage: Usage { cpu_micros: 1, memory_bytes: 2, disk_bytes: 3, oom_kills: 4 },
            },
            FromHost::Beat,
            FromHost::Looked { sandbox_id: ID, state: Look::Ended(EndCause::OutOfMemory) },
        ],
    );
}
