//! The Session actor on a socket made of channels, with a real process behind it.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::{Sink, Stream, channel::mpsc, stream::StreamExt};
use playhouse_protocol::agent::{InputOutcome, NodeFrame};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{opening::Way, *};
use crate::actors::{
    Role,
    process::{
        FromAgent, ProcessMessage, ProcessRecord, ProcessRef,
        tests::{Agent, caller, chunk, exit, init, node, record},
    },
    views::SandboxStatus,
    workspace::Attached,
};

mod silence;

const SOON: Duration = Duration::from_secs(10);

/// The server's end of a socket that holds as many frames as its channel.
struct Channels {
    incoming: mpsc::UnboundedReceiver<Frame>,
    outgoing: mpsc::Sender<Frame>,
}

impl Stream for Channels {
    type Item = Result<Frame, Infallible>;
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.incoming).poll_next(context).map(|frame| frame.map(Ok))
    }
}

impl Sink<Frame> for Channels {
    type Error = Infallible;
    fn poll_ready(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // A client that has gone takes everything.
        Pin::new(&mut self.outgoing).poll_ready(context).map(|_| Ok(()))
    }
    fn start_send(mut self: Pin<&mut Self>, frame: Frame) -> Result<(), Infallible> {
        let _ = Pin::new(&mut self.outgoing).start_send(frame);
        Ok(())
    }
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.poll_ready(context)
    }
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
}

struct Client {
    out: mpsc::UnboundedSender<Frame>,
    frames: mpsc::Receiver<Frame>,
    served: tokio::task::JoinHandle<()>,
}

impl Client {
    fn open(
        node: &Node,
        room: usize,
        processes: Vec<Uuid>,
        status: SandboxStatus,
        params: StreamParams,
        role: Role,
    ) -> Self {
        let (out, incoming) = mpsc::unbounded();
        let (outgoing, frames) = mpsc::channel(room);
        let attached = Attached { role, processes, status, reason: None };
        let served = tokio::spawn(serve(node.clone(), Channels { incoming, outgoing }, params, Way::Told(attached)));
        Self { out, frames, served }
    }

    fn say(&self, message: Value) {
        self.out.unbounded_send(Frame::Text(message.to_string())).expect("open");
    }

    async fn frame(&mut self) -> Frame {
        tokio::time::timeout(SOON, self.frames.next()).await.expect("a frame in time").expect("open")
    }

    async fn next(&mut self) -> Value {
        match self.frame().await {
            Frame::Text(text) => serde_json::from_str(&text).expect("JSON"),
            other => panic!("{other:?}"),
        }
    }

    /// The next message of this type.
    async fn wait(&mut self, kind: &str) -> Value {
        loop {
            let message = self.next().await;
            if message["type"] == kind {
                return message;
            }
        }
    }

    async fn closed(mut self, code: u16) {
        loop {
            if let Frame::Close(with, _) = self.frame().await {
                assert_eq!(with, code);
                break;
            }
        }
        drop(self.out);
        tokio::time::timeout(SOON, self.served).await.expect("it ends").expect("without a panic");
    }
}

fn params(record: &ProcessRecord, from: StreamFrom) -> StreamParams {
    let writer = "w".to_owned();
    StreamParams { sandbox_id: record.sandbox_id, caller: caller(), from, flow_ack: false, writer, binary: false }
}

async fn running(node: &Node) -> (ProcessRecord, ProcessRef, Agent) {
    let record = record(true);
    let process = init(node, &record).await;
    let agent = Agent::new(1, record.sandbox_id);
    agent.up(&process, None).await;
    agent.say(&process, FromAgent::Started).await;
    (record, process, agent)
}

#[tokio::test(flavor = "multi_thread")]
async fn hello_replay_live_input_and_the_end() {
    let dir = tempfile::tempdir().expect("dir");
    let node = node(dir.path()).await;
    let (record, process, mut agent) = running(&node).await;
    agent.say(&process, FromAgent::Output(vec![chunk(1, "old")])).await;
    let mut client = Client::open(
        &node,
        64,
        vec![record.id],
        SandboxStatus::Running,
        params(&record, StreamFrom::Earliest),
        Role::Edit,
    );
    let hello = client.next().await;
    assert_eq!((&hello["type"], &hello["role"]), (&json!("hello"), &json!("edit")));
    let listed = &hello["processes"][0];
    assert_eq!(
        (&listed["status"], &listed["first_id"], &listed["last_id"]),
        (&json!("running"), &json!("0-1"), &json!("0-1"))
    );
    let status = client.next().await;
    assert_eq!((&status["type"], &status["status"]), (&json!("status"), &json!("running")));
    let output = client.next().await;
    assert_eq!((&output["id"], &output["data"], &output["stream"]), (&json!("0-1"), &json!("old"), &json!("stdout")));
    agent.say(&process, FromAgent::Output(vec![chunk(2, "new")])).await;
    assert_eq!(client.next().await["data"], "new");
    client.say(json!({"type": "input", "process_id": record.id, "data": "ls\n", "seq": 5}));
    let tag = agent.wait(|frame| if let NodeFrame::Input { tag, seq: 5, .. } = frame { Some(tag) } else { None }).await;
    agent
        .say(&process, FromAgent::InputTaken { writer: "w".to_owned(), seq: 5, tag, outcome: InputOutcome::Taken })
        .await;
    assert_eq!(client.next().await, json!({"type": "input_ack", "process_id": record.id, "seq": 5}));
    client.say(json!({"type": "resize", "process_id": record.id, "cols": 100, "rows": 30}));
    agent.wait(|frame| matches!(frame, NodeFrame::Resize { .. }).then_some(())).await;
    client.say(json!({"type": "nonsense"}));
    assert_eq!(client.next().await["code"], "message_invalid");
    client.say(json!({"type": "cancel", "process_id": Uuid::nil()}));
    assert_eq!(client.next().await["code"], "process_not_found");
    client.say(json!({"type": "resume", "process_id": record.id, "last_seen_id": "0-1"}));
    assert_eq!(client.next().await["code"], "resume_unexpected");
    agent.say(&process, FromAgent::Output(vec![chunk(3, "last")])).await;
    agent.say(&process, FromAgent::Exited(exit(3, 0))).await;
    assert_eq!(client.next().await["data"], "last");
    let status = client.next().await;
    assert_eq!((&status["status"], &status["exit_code"]), (&json!("completed"), &json!(0)));
    node.sessions.tell_one(SessionMessage::SandboxEnded);
    client.closed(close::SANDBOX_ENDED).await;
    assert_eq!(node.sessions.count(), 0);
    // A later socket of the ended sandbox: hello, replay, status, 4410.
    let mut late = Client::open(
        &node,
        64,
        vec![record.id],
        SandboxStatus::Terminated,
        params(&record, StreamFrom::Earliest),
        Role::View,
    );
    assert_eq!(late.next().await["processes"][0]["status"], "completed");
    for text in ["old", "new", "last"] {
        assert_eq!(late.next().await["data"], text);
    }
    assert_eq!(late.next().await["status"], "completed");
    late.closed(close::SANDBOX_ENDED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resume_says_where_to_go_on() {
    let dir = tempfile::tempdir().expect("dir");
    let node = node(dir.path()).await;
    let (record, process, agent) = running(&node).await;
    agent.say(&process, FromAgent::Output(vec![chunk(1, "a"), chunk(2, "b"), chunk(3, "c")])).await;
    let open = || {
        Client::open(
            &node,
            64,
            vec![record.id],
            SandboxStatus::Running,
            params(&record, StreamFrom::Resume),
            Role::Edit,
        )
    };
    let mut client = open();
    assert_eq!(client.next().await["type"], "hello");
    client.say(json!({"type": "resume", "process_id": record.id, "last_seen_id": "0-9"}));
    assert_eq!(client.next().await["code"], "resume_invalid");
    client.say(json!({"type": "resume", "process_id": record.id, "last_seen_id": "x"}));
    assert_eq!(client.next().await["code"], "resume_invalid");
    client.say(json!({"type": "resume", "process_id": record.id, "last_seen_id": "0-1"}));
    assert_eq!(client.wait("output").await["id"], "0-2");
    assert_eq!(client.next().await["id"], "0-3");
    let mut plural = open();
    plural.say(json!({"type": "resume", "processes": {record.id.to_string(): "0-2", Uuid::nil().to_string(): "0-1"}}));
    let (mut ids, mut codes) = (Vec::new(), Vec::new());
    while ids.is_empty() || codes.is_empty() {
        let message = plural.next().await;
        ids.extend(message["id"].as_str().map(str::to_owned));
        codes.extend(message["code"].as_str().map(str::to_owned));
    }
    assert_eq!((ids, codes), (vec!["0-3".to_owned()], vec!["resume_invalid".to_owned()]));
    node.sessions.stop().await;
    client.closed(close::RESTART).await;
    plural.closed(close::RESTART).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_may_watch_and_a_revoked_one_may_not() {
    let dir = tempfile::tempdir().expect("dir");
    let node = node(dir.path()).await;
    let (record, _process, _agent) = running(&node).await;
    let params = StreamParams { binary: true, ..params(&record, StreamFrom::Live) };
    let mut client = Client::open(&node, 64, vec![record.id], SandboxStatus::Running, params, Role::View);
    assert_eq!(client.wait("status").await["status"], "running");
    for message in ["input", "cancel", "resize"] {
        client.say(match message {
            "input" => json!({"type": "input", "process_id": record.id, "data": "x"}),
            "cancel" => json!({"type": "cancel", "process_id": record.id}),
            _ => json!({"type": "resize", "process_id": record.id, "cols": 1, "rows": 1}),
        });
        assert_eq!(client.next().await["code"], "not_permitted");
    }
    let mut frame = vec![2];
    frame.extend_from_slice(record.id.as_bytes());
    frame.extend_from_slice(&[0; 8]);
    client.out.unbounded_send(Frame::Binary(frame.into())).expect("open");
    assert_eq!(client.next().await["code"], "not_permitted");
    node.sessions.tell_one(SessionMessage::Role(None));
    client.closed(close::REVOKED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_bound_what_is_sent() {
    let dir = tempfile::tempdir().expect("dir");
    let node = node(dir.path()).await;
    let (record, process, agent) = running(&node).await;
    let params = StreamParams { flow_ack: true, binary: true, ..params(&record, StreamFrom::Earliest) };
    let mut client = Client::open(&node, 1024, vec![record.id], SandboxStatus::Running, params, Role::Edit);
    let piece = "x".repeat(10_000);
    let mut got = 0;
    for number in 1..=24 {
        agent.say(&process, FromAgent::Output(vec![chunk(number, &piece)])).await;
    }
    let mut last = 0;
    let mut acked = 0;
    while last < 24 {
        match client.frame().await {
            Frame::Binary(frame) => {
                assert_eq!((frame[0], frame[1], &frame[2..18]), (1, 1, &record.id.as_bytes()[..]));
                let sequence = u64::from_be_bytes(frame[26..34].try_into().expect("eight"));
                assert_eq!(sequence, last + 1);
                last = sequence;
                got += frame.len() as u64 - 42;
                assert!(got <= acked + 100 * 1024, "{got} beyond {acked}");
                if got == 100_000 || got == 200_000 {
                    // It is only now that more may come.
                    assert!(tokio::time::timeout(Duration::from_millis(50), client.frames.next()).await.is_err());
                    acked = got;
                    client.say(json!({"type": "ack", "process_id": record.id, "id": format!("0-{last}")}));
                }
            }
            Frame::Text(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_takes_nothing_costs_nothing_and_catches_up() {
    let dir = tempfile::tempdir().expect("dir");
    let node = node(dir.path()).await;
    let (record, process, mut agent) = running(&node).await;
    let mut client = Client::open(
        &node,
        1,
        vec![record.id],
        SandboxStatus::Running,
        params(&record, StreamFrom::Earliest),
        Role::Edit,
    );
    assert_eq!(client.next().await["type"], "hello");
    let piece = "0123456789abcde\n".repeat(1024);
    let (mut sent, mut credit) = (0, playhouse_protocol::agent::OUTPUT_WINDOW_BYTES);
    // The program waits at most a second for it: 4 MiB are through long before the client reads again.
    for number in 1..=256_u64 {
        sent += piece.len() as u64;
        while sent > credit {
            credit =
                agent.wait(|frame| if let NodeFrame::Credit { bytes, .. } = frame { Some(bytes) } else { None }).await;
        }
        agent.say(&process, FromAgent::Output(vec![chunk(number, &piece)])).await;
    }
    agent.say(&process, FromAgent::Exited(exit(256, 0))).await;
    agent.wait(|frame| matches!(frame, NodeFrame::Forget { .. }).then_some(())).await;
    let mut next = 1;
    loop {
        let message = client.next().await;
        if message["type"] == "output" {
            assert_eq!(message["id"], format!("0-{next}"));
            assert_eq!(message["data"].as_str().map(str::len), Some(piece.len()));
            next += 1;
        } else if message["status"] == "completed" {
            break;
        }
    }
    assert_eq!(next, 257);
    process.call(|reply| ProcessMessage::Record { reply }).await.expect("it lives");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_actor_ended_is_subscribed_to_anew() {
    let dir = tempfile::tempdir().expect("dir");
    let node = node(dir.path()).await;
    let (record, process, mut agent) = running(&node).await;
    let mut client = Client::open(
        &node,
        64,
        vec![record.id],
        SandboxStatus::Running,
        params(&record, StreamFrom::Earliest),
        Role::Edit,
    );
    agent.say(&process, FromAgent::Output(vec![chunk(1, "a")])).await;
    assert_eq!(client.wait("output").await["id"], "0-1");
    agent.wait(|frame| matches!(frame, NodeFrame::Stored { sequence: 1, .. }).then_some(())).await;
    let actor = process.resolve().await.expect("it lives");
    actor.stop_and_wait(None, Some(SOON)).await.expect("stopped");
    // The link finds its successor at the next frame, and asks on from what is stored.
    agent.up(&process, None).await;
    let asked = agent.wait(|frame| if let NodeFrame::Resume { sequence, .. } = frame { Some(sequence) } else { None });
    assert_eq!(asked.await, 2);
    agent.say(&process, FromAgent::Output(vec![chunk(2, "b")])).await;
    assert_eq!(client.wait("output").await["id"], "0-2");
    client.say(json!({"type": "input", "process_id": record.id, "data": "x"}));
    agent.wait(|frame| matches!(frame, NodeFrame::Input { .. }).then_some(())).await;
}
