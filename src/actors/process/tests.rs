//! The Process actor with real stores and an agent made of frames.

use std::{path::Path, sync::Arc, time::Duration};

use playhouse_protocol::{
    Chunk, EventId, Shard, Stream,
    agent::{Exit, InputOutcome, NodeFrame, ProcessState, Signal},
    client::ServerMessage,
};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::*;
use crate::{
    actors::{
        Caller, Code, Idempotency, Node, Role,
        agent_link::LinkRef,
        host::HostLink,
        node::{Parts, Settings},
        session::{SessionMessage, SessionRef, Sessions},
        views::{ProcessStatus, RunCommand},
    },
    cluster::Region,
    store::{Retention, Store},
};

const SOON: Duration = Duration::from_secs(10);

pub(in crate::actors) async fn node(dir: &Path) -> Node {
    let store = Store::open(dir, Retention::default()).await.expect("stores");
    let claim = store.metadata.claim("test").await.expect("claim");
    let (frames, _) = mpsc::unbounded_channel();
    Node::new(Parts {
        name: "test".to_owned(),
        incarnation: claim.incarnation,
        epoch: claim.epoch,
        store,
        settings: Settings {
            max_upload: 1 << 20,
            public_url: String::new(),
            egress: Vec::new(),
            instance_types: Vec::new(),
            idle_after: SOON,
            isolation: "hardened-container",
            data_dir: dir.to_owned(),
        },
        region: Region::start().await.expect("region"),
        host: HostLink::new(frames),
        sessions: Sessions::default(),
    })
}

pub(in crate::actors) fn record(pty: bool) -> ProcessRecord {
    let shard = Shard::new(7).expect("a shard");
    ProcessRecord {
        id: shard.fresh_id(),
        workspace_id: shard.fresh_id(),
        sandbox_id: shard.fresh_id(),
        user_id: Uuid::from_u128(1),
        command: RunCommand::Line("test".to_owned()),
        pty,
        created_at: crate::clock::now(),
    }
}

pub(in crate::actors) fn caller() -> Caller {
    Caller {
        user_id: Uuid::from_u128(1),
        name: "u".to_owned(),
        org_id: Uuid::from_u128(2),
        org: "o".to_owned(),
        tier: "free".to_owned(),
    }
}

pub(in crate::actors) async fn init(node: &Node, record: &ProcessRecord) -> ProcessRef {
    let process = node.process(record.id);
    let made = process.call(|reply| ProcessMessage::Init { record: record.clone(), reply }).await;
    made.expect("an answer").expect("made");
    process
}

/// The agent's end of a link.
pub(in crate::actors) struct Agent {
    pub(in crate::actors) link: LinkRef,
    frames: mpsc::UnboundedReceiver<NodeFrame>,
}

impl Agent {
    pub(in crate::actors) fn new(number: u64, sandbox_id: Uuid) -> Self {
        let (at_once, frames) = mpsc::unbounded_channel();
        let (ordered, _) = mpsc::channel(8);
        Self { link: LinkRef::new(number, sandbox_id, at_once, ordered), frames }
    }

    /// The next frame for which this gives something.
    pub(in crate::actors) async fn wait<T>(&mut self, mut pick: impl FnMut(NodeFrame) -> Option<T>) -> T {
        let found = async {
            loop {
                if let Some(found) = pick(self.frames.recv().await.expect("the process holds the link")) {
                    return found;
                }
            }
        };
        tokio::time::timeout(SOON, found).await.expect("a frame in time")
    }

    pub(in crate::actors) async fn up(&self, process: &ProcessRef, state: Option<ProcessState>) {
        process.cast(ProcessMessage::LinkUp { link: self.link.clone(), state }).await.expect("cast");
    }

    pub(in crate::actors) async fn say(&self, process: &ProcessRef, event: FromAgent) {
        process.cast(ProcessMessage::FromAgent { link: self.link.number, event }).await.expect("cast");
    }

    async fn stored(&mut self, up_to: u64) {
        self.wait(|frame| matches!(frame, NodeFrame::Stored { sequence, .. } if sequence >= up_to).then_some(())).await;
    }
}

pub(in crate::actors) fn chunk(sequence: u64, text: &str) -> Arc<Chunk> {
    let bytes = text.as_bytes().to_vec();
    Arc::new(Chunk { sequence, stream: Stream::Stdout, at_ms: 1, carry: Vec::new(), bytes, last: false })
}

pub(in crate::actors) fn exit(last_sequence: u64, code: i32) -> Exit {
    Exit { last_sequence, code: Some(code), signal: None, reason: None, at_ms: 1000 }
}

fn state(id: Uuid, first: u64, next: u64, writers: &[(&str, u64)]) -> ProcessState {
    let writers = writers.iter().map(|(writer, seq)| ((*writer).to_owned(), *seq)).collect();
    ProcessState { process_id: id, first_sequence: first, next_sequence: next, exit: None, writers }
}

struct Ear;

impl Actor for Ear {
    type Msg = SessionMessage;
    type State = mpsc::UnboundedSender<SessionMessage>;
    type Arguments = mpsc::UnboundedSender<SessionMessage>;

    async fn pre_start(
        &self,
        _: ActorRef<SessionMessage>,
        out: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(out)
    }

    async fn handle(
        &self,
        _: ActorRef<SessionMessage>,
        message: SessionMessage,
        out: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        Ok(out.send(message)?)
    }
}

/// A session that only listens, and checks that events come once and in order.
struct Listener {
    session: SessionRef,
    messages: mpsc::UnboundedReceiver<SessionMessage>,
    text: String,
    last: EventId,
    said: Vec<String>,
    acks: Vec<u64>,
    refused: Vec<Code>,
}

impl Listener {
    async fn new(id: u64) -> Self {
        let (out, messages) = mpsc::unbounded_channel();
        let (actor, _) = Actor::spawn(None, Ear, out).await.expect("spawn");
        let session = SessionRef { id, actor };
        let (text, said, acks, refused) = (String::new(), Vec::new(), Vec::new(), Vec::new());
        Self { session, messages, text, last: EventId::ZERO, said, acks, refused }
    }

    async fn subscribe(&mut self, process: &ProcessRef, from: From) -> Result<EventId, ResumeInvalid> {
        let session = self.session.clone();
        let credit = 64 * 1024;
        let taken = process
            .call(|reply| ProcessMessage::Subscribe {
                session,
                subscription: 1,
                from,
                may_type: true,
                allowance: Allowance { credit, owed: 0, counted: Counted::Raw },
                reply,
            })
            .await
            .expect("an answer");
        if let Ok(after) = taken {
            self.last = after;
        }
        taken
    }

    async fn until(&mut self, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            let message = tokio::time::timeout(SOON, self.messages.recv()).await;
            match message.unwrap_or_else(|_| panic!("heard {:?} {:?}", self.text, self.said)).expect("a message") {
                SessionMessage::Output { generation, chunks, .. } => {
                    for chunk in chunks {
                        assert_eq!(chunk.sequence, self.last.sequence + 1, "once and in order");
                        self.last = EventId::new(generation, chunk.sequence);
                        self.text += std::str::from_utf8(&chunk.bytes).expect("text");
                    }
                }
                SessionMessage::OfProcess { message: ServerMessage::Status { status, reason, .. }, .. } => {
                    self.said.push(reason.map_or_else(|| status.to_owned(), |reason| format!("{status}:{reason}")));
                }
                SessionMessage::OfProcess {
                    message: ServerMessage::Truncated { from_id, to_id, reason, .. }, ..
                } => {
                    assert_eq!(from_id.sequence, self.last.sequence + 1);
                    self.last = to_id;
                    self.said.push(format!("{reason} {from_id}..{to_id}"));
                }
                SessionMessage::InputAck { seq, .. } => self.acks.push(seq),
                SessionMessage::Refused { refused, .. } => self.refused.push(refused.code),
                SessionMessage::ResumeInvalid { .. } => self.said.push("resume_invalid".to_owned()),
                other => panic!("{other:?}"),
            }
        }
    }
}

async fn get(process: &ProcessRef) -> crate::actors::views::ProcessView {
    match command(process, ProcessCommand::Get, None).await {
        Ok(ProcessAnswer::Process(view)) => view,
        other => panic!("{other:?}"),
    }
}

async fn command(
    process: &ProcessRef,
    command: ProcessCommand,
    key: Option<(&str, &str)>,
) -> Result<ProcessAnswer, crate::actors::Refused> {
    let idempotency = key.map(|(key, print)| Idempotency { key: key.to_owned(), fingerprint: print.to_owned() });
    let make = |reply| ProcessMessage::Command { caller: caller(), role: Role::Edit, command, idempotency, reply };
    process.call(make).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_from_its_start_to_its_end() {
    let dir = tempfile::tempdir().expect("dir");
    let node = node(dir.path()).await;
    let record = record(false);
    let process = init(&node, &record).await;
    let mut agent = Agent::new(1, record.sandbox_id);
    let mut live = Listener::new(1).await;
    assert_eq!(live.subscribe(&process, From::Earliest).await, Ok(EventId::ZERO));
    agent.up(&process, None).await;
    agent.say(&process, FromAgent::Started).await;
    agent.say(&process, FromAgent::Output(vec![chunk(1, "a"), chunk(2, "b")])).await;
    agent.say(&process, FromAgent::Output(vec![chunk(2, "b"), chunk(3, "c")])).await;
    live.until(|live| live.text == "abc").await;
    assert_eq!(live.said, ["pending", "running"]);
    agent.stored(3).await;
    assert_eq!(get(&process).await.status, ProcessStatus::Running);
    agent.say(&process, FromAgent::Exited(exit(3, 0))).await;
    live.until(|live| live.said.len() == 3).await;
    assert_eq!(live.said[2], "completed");
    agent.wait(|frame| matches!(frame, NodeFrame::Forget { .. }).then_some(())).await;
    let view = get(&process).await;
    assert_eq!((view.status, view.exit_code), (ProcessStatus::Completed, Some(0)));
    assert!(view.started_at.is_some() && view.finished_at.is_some());
    // Later viewers get it from the log, from anywhere, and then its end.
    let mut late = Listener::new(2).await;
    late.subscribe(&process, From::Earliest).await.expect("taken");
    late.until(|late| late.said.len() == 1).await;
    assert_eq!((late.text.as_str(), late.said[0].as_str()), ("abc", "completed"));
    let mut later = Listener::new(3).await;
    later.subscribe(&process, From::After(EventId::new(0, 2))).await.expect("taken");
    later.until(|later| later.said.len() == 1).await;
    assert_eq!(later.text, "c");
    assert_eq!(later.subscribe(&process, From::After(EventId::new(0, 4))).await, Err(ResumeInvalid));
    // And so do they after the node has started anew.
    let region = node.region.clone();
    drop((process, node));
    let node = reopened(dir.path(), &region).await;
    let process = node.process(record.id);
    assert_eq!(get(&process).await, view);
    let mut again = Listener::new(4).await;
    again.subscribe(&process, From::Earliest).await.expect("taken");
    again.until(|again| again.said.len() == 1).await;
    assert_eq!(again.text, "abc");
}

/// The store's lock is free once every actor and task of the old node has let go of it.
async fn reopened(dir: &Path, old: &Region) -> Node {
    let opened = async {
        loop {
            old.drain().await;
            match Store::open(dir, Retention::default()).await {
                Ok(store) => drop(store),
                Err(_) => continue,
            }
            return node(dir).await;
        }
    };
    tokio::time::timeout(SOON, opened).await.expect("reopened")
}

#[tokio::test(flavor = "multi_thread")]
async fn links_are_lost_and_nothing_else_is() {
    let dir = tempfile::tempdir().expect("dir");
    let node = node(dir.path()).await;
    let record = record(true);
    let process = init(&node, &record).await;
    let mut live = Listener::new(1).await;
    live.subscribe(&process, From::Earliest).await.expect("taken");
    let mut agent = Agent::new(1, record.sandbox_id);
    agent.up(&process, None).await;
    agent.say(&process, FromAgent::Started).await;
    agent.say(&process, FromAgent::Output(vec![chunk(1, "a"), chunk(2, "b")])).await;
    agent.stored(2).await;
    // A gap is asked for on the same link.
    agent.say(&process, FromAgent::Output(vec![chunk(4, "d")])).await;
    let asked =
        agent.wait(|frame| if let NodeFrame::Resume { sequence, .. } = frame { Some(sequence) } else { None }).await;
    assert_eq!(asked, 3);
    agent.say(&process, FromAgent::Output(vec![chunk(3, "c"), chunk(4, "d")])).await;
    live.until(|live| live.text == "abcd").await;
    // A new link goes on behind what is here; what the old one still says counts for nothing.
    let mut newer = Agent::new(2, record.sandbox_id);
    newer.up(&process, Some(state(record.id, 1, 7, &[]))).await;
    let asked =
        newer.wait(|frame| if let NodeFrame::Resume { sequence, .. } = frame { Some(sequence) } else { None }).await;
    assert_eq!(asked, 5);
    agent.say(&process, FromAgent::Output(vec![chunk(5, "X")])).await;
    newer.say(&process, FromAgent::Output(vec![chunk(5, "e"), chunk(6, "f")])).await;
    live.until(|live| live.text == "abcdef").await;
    newer.stored(6).await;
    // What the agent no longer has is named as lost, and numbering goes on in the next generation.
    let mut third = Agent::new(3, record.sandbox_id);
    third.up(&process, Some(state(record.id, 9, 10, &[]))).await;
    let asked =
        third.wait(|frame| if let NodeFrame::Resume { sequence, .. } = frame { Some(sequence) } else { None }).await;
    assert_eq!(asked, 9);
    third.say(&process, FromAgent::Output(vec![chunk(9, "i")])).await;
    live.until(|live| live.text == "abcdefi").await;
    assert_eq!(live.last, EventId::new(1, 9));
    assert!(live.said[2].starts_with("store_lost "), "{:?}", live.said);
    let mut late = Listener::new(2).await;
    late.subscribe(&process, From::After(EventId::new(0, 6))).await.expect("taken");
    late.until(|late| late.text == "i").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_beyond_the_log_waits_for_the_agent() {
    let dir = tempfile::tempdir().expect("dir");
    let record = record(true);
    let region = {
        let node = node(dir.path()).await;
        let process = init(&node, &record).await;
        let mut agent = Agent::new(1, record.sandbox_id);
        agent.up(&process, None).await;
        agent.say(&process, FromAgent::Started).await;
        agent.say(&process, FromAgent::Output(vec![chunk(1, "a"), chunk(2, "b")])).await;
        agent.stored(2).await;
        node.region.clone()
    };
    let node = reopened(dir.path(), &region).await;
    let process = node.process(record.id);
    let mut waits = Listener::new(1).await;
    waits.subscribe(&process, From::After(EventId::new(0, 4))).await.expect("taken");
    let mut never = Listener::new(2).await;
    never.subscribe(&process, From::After(EventId::new(0, 99))).await.expect("taken for now");
    let mut agent = Agent::new(1, record.sandbox_id);
    agent.up(&process, Some(state(record.id, 1, 7, &[("w", 16)]))).await;
    let asked =
        agent.wait(|frame| if let NodeFrame::Resume { sequence, .. } = frame { Some(sequence) } else { None }).await;
    assert_eq!(asked, 3);
    never.until(|never| never.said.iter().any(|said| said == "resume_invalid")).await;
    let chunks = vec![chunk(3, "c"), chunk(4, "d"), chunk(5, "e"), chunk(6, "f")];
    agent.say(&process, FromAgent::Output(chunks)).await;
    waits.until(|waits| waits.text == "ef").await;
    assert_eq!(never.subscribe(&process, From::After(EventId::new(0, 99))).await, Err(ResumeInvalid));
    let info = process.call(|reply| ProcessMessage::Info { writer: "w".to_owned(), reply }).await.expect("an answer");
    let info = info.expect("retained");
    assert_eq!((info.first_id, info.last_id), (Some(EventId::new(0, 1)), Some(EventId::new(0, 6))));
    assert_eq!((info.input_seq, info.status), (16, "running"));
}

#[tokio::test(flavor = "multi_thread")]
async fn input_is_acknowledged_when_the_agent_has_it_and_sent_again_when_a_link_breaks() {
    let dir = tempfile::tempdir().expect("dir");
    let node = node(dir.path()).await;
    let record = record(true);
    let process = init(&node, &record).await;
    let mut typist = Listener::new(1).await;
    let session = typist.session.clone();
    let input = |seq: Option<u64>, text: &str| ProcessMessage::SessionInput {
        session: session.clone(),
        writer: "w".to_owned(),
        seq,
        bytes: text.as_bytes().to_vec(),
    };
    // Typed before it starts: held.
    process.cast(input(Some(1), "one")).await.expect("cast");
    let mut agent = Agent::new(1, record.sandbox_id);
    agent.up(&process, None).await;
    agent.say(&process, FromAgent::Started).await;
    let pick = |frame: NodeFrame| match frame {
        NodeFrame::Input { writer, seq, bytes, tag, .. } => Some((writer, seq, bytes, tag)),
        _ => None,
    };
    let (writer, seq, bytes, tag) = agent.wait(pick).await;
    assert_eq!((writer.as_str(), seq, &bytes[..]), ("w", 1, &b"one"[..]));
    let taken =
        |writer: &str, seq, tag, outcome| FromAgent::InputTaken { writer: writer.to_owned(), seq, tag, outcome };
    agent.say(&process, taken("w", 1, tag, InputOutcome::Taken)).await;
    typist.until(|typist| typist.acks == [1]).await;
    process.cast(input(Some(1), "one")).await.expect("cast");
    typist.until(|typist| typist.acks.len() == 2).await;
    // The link breaks with one on its way: the agent has it, so it is not sent again; the next one is.
    process.cast(input(Some(2), "two")).await.expect("cast");
    process.cast(input(None, "three")).await.expect("cast");
    agent.wait(pick).await;
    process.cast(ProcessMessage::LinkDown { link: 1 }).await.expect("cast");
    let mut newer = Agent::new(2, record.sandbox_id);
    newer.up(&process, Some(state(record.id, 1, 1, &[("w", 2)]))).await;
    typist.until(|typist| typist.acks.len() == 3).await;
    let (writer, seq, bytes, tag) = newer.wait(pick).await;
    assert_eq!((&bytes[..], writer.chars().count()), (&b"three"[..], 65));
    newer.say(&process, taken(&writer, seq, tag, InputOutcome::Full)).await;
    typist.until(|typist| typist.refused == [Code::InputFull]).await;
    // A request waits for the agent, and does it once under its key.
    let typing = || ProcessCommand::Input { bytes: b"four".to_vec(), eof: false, seq: None, writer: None };
    let (first, second) = tokio::join!(command(&process, typing(), Some(("k", "f"))), async {
        let (writer, seq, _, tag) = newer.wait(pick).await;
        newer.say(&process, taken(&writer, seq, tag, InputOutcome::Taken)).await;
        command(&process, typing(), Some(("k", "f"))).await
    });
    assert_eq!((first, second), (Ok(ProcessAnswer::Done), Ok(ProcessAnswer::Done)));
    let reused = command(&process, ProcessCommand::Signal(Signal::Int), Some(("k", "g"))).await;
    assert_eq!(reused.map_err(|refused| refused.code), Err(Code::IdempotencyKeyReused));
    command(&process, ProcessCommand::Signal(Signal::Int), None).await.expect("done");
    newer.wait(|frame| matches!(frame, NodeFrame::Signal { signal: Signal::Int, .. }).then_some(())).await;
    newer.say(&process, FromAgent::Exited(exit(0, 1))).await;
    let mut viewer = Listener::new(2).await;
    viewer.subscribe(&process, From::Live).await.expect("taken");
    viewer.until(|viewer| viewer.said.last().is_some_and(|said| said == "failed")).await;
    let late = command(&process, typing(), None).await;
    assert_eq!(late.map_err(|refused| refused.code), Err(Code::ProcessEnded));
    assert_eq!(command(&process, typing(), Some(("k", "f"))).await, Ok(ProcessAnswer::Done), "the first answer again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_makes_it_cancelled_and_a_lost_sandbox_ends_it() {
    let dir = tempfile::tempdir().expect("dir");
    let node = node(dir.path()).await;
    let record_of = |pty| record(pty);
    let record = record_of(false);
    let process = init(&node, &record).await;
    let mut viewer = Listener::new(1).await;
    viewer.subscribe(&process, From::Earliest).await.expect("taken");
    let size = ProcessCommand::Resize(playhouse_protocol::agent::PtySize { cols: 80, rows: 24 });
    assert_eq!(command(&process, size, None).await.map_err(|refused| refused.code), Err(Code::NoPty));
    // Cancelled before it started: it is told as soon as it has.
    command(&process, ProcessCommand::Cancel, None).await.expect("done");
    command(&process, ProcessCommand::Cancel, None).await.expect("again");
    let mut agent = Agent::new(1, record.sandbox_id);
    agent.up(&process, None).await;
    agent.say(&process, FromAgent::Started).await;
    agent.wait(|frame| matches!(frame, NodeFrame::Cancel { .. }).then_some(())).await;
    agent.say(&process, FromAgent::Output(vec![chunk(1, "bye")])).await;
    agent.say(&process, FromAgent::Exited(Exit { signal: Some(15), code: None, ..exit(1, 0) })).await;
    viewer.until(|viewer| viewer.said.last().is_some_and(|said| said == "cancelled")).await;
    assert_eq!(viewer.text, "bye");
    assert_eq!(get(&process).await.signal.as_deref(), Some("TERM"));

    let record = record_of(false);
    let process = init(&node, &record).await;
    let mut viewer = Listener::new(2).await;
    viewer.subscribe(&process, From::Earliest).await.expect("taken");
    let agent = Agent::new(1, record.sandbox_id);
    agent.up(&process, None).await;
    agent.say(&process, FromAgent::Started).await;
    agent.say(&process, FromAgent::Output(vec![chunk(1, "x")])).await;
    process
        .call(|reply| ProcessMessage::SandboxEnded { reason: "sandbox_lost".to_owned(), reply })
        .await
        .expect("answered");
    viewer.until(|viewer| viewer.said.last().is_some_and(|said| said == "failed:sandbox_lost")).await;
    assert_eq!(viewer.text, "x");
    process.call(|reply| ProcessMessage::Remove { reply }).await.expect("answered");
    let gone = process.call(|reply| ProcessMessage::Record { reply }).await.expect("answered");
    assert_eq!(gone, None);
}

/// An agent that floods within its credit, with viewers that come, go, and take in jumps.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_reaches_every_viewer_whole_and_stays_within_credit() {
    const CHUNKS: u64 = 400;
    let text = |number: u64| format!("{number:07}\n").repeat(1000 + usize::try_from(number % 7).expect("small") * 400);
    let dir = tempfile::tempdir().expect("dir");
    let node = node(dir.path()).await;
    let record = record(true);
    let process = init(&node, &record).await;
    let mut agent = Agent::new(1, record.sandbox_id);
    agent.up(&process, None).await;
    agent.say(&process, FromAgent::Started).await;
    let flood = {
        let process = process.clone();
        tokio::spawn(async move {
            let (mut sent, mut credit) = (0, playhouse_protocol::agent::OUTPUT_WINDOW_BYTES);
            for number in 1..=CHUNKS {
                let chunk = chunk(number, &text(number));
                sent += chunk.bytes.len() as u64;
                while sent > credit {
                    credit = agent
                        .wait(|frame| if let NodeFrame::Credit { bytes, .. } = frame { Some(bytes) } else { None })
                        .await;
                }
                agent.say(&process, FromAgent::Output(vec![chunk])).await;
            }
            agent.say(&process, FromAgent::Exited(exit(CHUNKS, 0))).await;
        })
    };
    let mut viewers = Vec::new();
    for id in 1..=3 {
        let process = process.clone();
        viewers.push(tokio::spawn(async move {
            let mut viewer = Listener::new(id).await;
            viewer.subscribe(&process, From::Earliest).await.expect("taken");
            let (mut taken, mut credit) = (0, 64 * 1024);
            while !viewer.said.iter().any(|said| said == "completed") {
                let before = (viewer.text.len(), viewer.said.len());
                viewer.until(|viewer| (viewer.text.len(), viewer.said.len()) != before).await;
                assert!(viewer.text.len() as u64 <= credit, "within its credit");
                let got = viewer.text.len() as u64;
                if got - taken >= 8 * 1024 * id {
                    (taken, credit) = (got, got + 64 * 1024);
                    let message = ProcessMessage::SessionCredit { session_id: id, bytes: credit, may_type: id != 2 };
                    process.cast(message).await.expect("cast");
                }
            }
            viewer.text
        }));
    }
    flood.await.expect("flooded");
    let whole: String = (1..=CHUNKS).map(text).collect();
    for viewer in viewers {
        assert!(viewer.await.expect("watched") == whole);
    }
}
