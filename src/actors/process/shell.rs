//! The Process actor: it owns the pure parts and runs their effects. Its handler never waits for a store or an actor.

use std::{collections::BTreeMap, time::Duration};

use playhouse_protocol::{
    EventId,
    agent::{Exit, NodeFrame},
    client::ServerMessage,
};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    Done, From, Own, Process, ProcessInfo, ProcessMessage, ResumeInvalid,
    inputs::Inputs,
    pace::Pace,
    rows::{self, Kept, Rows},
    state::Life,
    tail::Tail,
    typing::Typist,
    viewers::{Effect, Viewers},
};
use crate::{
    actors::{
        Node,
        agent_link::LinkRef,
        session::{SessionMessage, SessionRef},
    },
    clock,
    cluster::{Entity, StartError},
    store::{
        metadata::{Kind, Partition},
        replay::LogKey,
    },
};

/// How often it looks at its clock while an agent waits for credit.
const FAST_TICK: Duration = Duration::from_millis(20);
/// How often it does while something else waits for time to pass.
const SLOW_TICK: Duration = Duration::from_millis(500);
/// How often it asks itself whether it is needed.
const MINUTE: Duration = Duration::from_secs(60);
/// It goes passive after so many minutes without a message.
const QUIET_MINUTES: u32 = 5;

impl Entity for Process {
    type Message = ProcessMessage;
    type Node = Node;
    const KIND: &'static str = "process";

    async fn start(id: Uuid, node: Node, region: ActorCell) -> Result<ActorRef<ProcessMessage>, StartError> {
        let failed = |error: &dyn std::fmt::Display| StartError::Failed(error.to_string());
        let partition = Partition { kind: Kind::Process, id };
        // Anyone may ask for any id: one that is no process must leave nothing behind, not even a fence.
        let row = node.store.metadata.row(partition, rows::LIFE).await.map_err(|e| failed(&e))?;
        let loaded = if row.is_some() { Some(load(partition, &node).await?) } else { None };
        let (actor, _) = Actor::spawn_linked(None, ProcessActor, Arguments { id, node, loaded }, region)
            .await
            .map_err(|error| failed(&error))?;
        Ok(actor)
    }
}

async fn load(partition: Partition, node: &Node) -> Result<Loaded, StartError> {
    let failed = |error: &dyn std::fmt::Display| StartError::Failed(error.to_string());
    let activated = node.store.metadata.activate(partition, node.epoch).await?;
    let rows = Rows::new(node.store.metadata.clone(), partition, activated.guard);
    let (mut life, mut kept) = (None, BTreeMap::new());
    for (key, bytes) in activated.rows {
        let bad = |error: serde_json::Error| StartError::Failed(format!("row {key}: {error}"));
        if key == rows::LIFE {
            life = Some(serde_json::from_slice::<Life>(&bytes).map_err(bad)?);
        } else if key.starts_with(rows::KEPT) {
            let answer = serde_json::from_slice::<Kept>(&bytes).map_err(bad)?;
            kept.insert(key, answer);
        }
    }
    let Some(life) = life else { return Ok(Loaded { life: None, rows, kept, end: EventId::ZERO, unfinished: false }) };
    let log = LogKey { workspace: life.record.workspace_id, process: partition.id };
    let bounds = node.store.replay.bounds(log).await.map_err(|error| failed(&error))?;
    let stored = bounds.map_or(EventId::ZERO, |bounds| bounds.last);
    let end = life.outcome().map_or(stored, |outcome| outcome.last);
    let unfinished = life.outcome().is_some() && bounds.is_some_and(|bounds| !bounds.finished);
    Ok(Loaded { life: Some(life), rows, kept, end, unfinished })
}

struct Loaded {
    life: Option<Life>,
    rows: Rows,
    kept: BTreeMap<String, Kept>,
    end: EventId,
    /// It has ended, and its log was not told.
    unfinished: bool,
}

struct Arguments {
    id: Uuid,
    node: Node,
    loaded: Option<Loaded>,
}

#[derive(Debug)]
struct ProcessActor;

/// A process that ends its actor: another owner has its partition, or it is not known what is in it.
#[derive(Debug, thiserror::Error)]
#[error("process {id} must be loaded anew: {why}")]
pub(super) struct Reload {
    pub(super) id: Uuid,
    pub(super) why: String,
}

/// A session that watches.
#[derive(Debug)]
pub(super) struct Subscriber {
    session: SessionRef,
    subscription: u64,
}

/// Everything the actor knows.
pub(super) struct Shell {
    pub(super) id: Uuid,
    pub(super) node: Node,
    pub(super) myself: ActorRef<ProcessMessage>,
    born: Instant,
    pub(super) life: Option<Life>,
    pub(super) rows: Option<Rows>,
    pub(super) kept: BTreeMap<String, Kept>,
    /// Keys whose first request is under way, what they were asked, and who asked again.
    pub(super) asking: BTreeMap<String, super::asked::Asking>,
    pub(super) tail: Tail,
    pub(super) viewers: Viewers,
    pub(super) sessions: BTreeMap<u64, Subscriber>,
    pub(super) inputs: Inputs<Typist>,
    /// Signals and sizes for a program whose agent is away or has not started it.
    pub(super) held: Vec<NodeFrame>,
    pub(super) link: Option<LinkRef>,
    /// The agent on this link has the process.
    pub(super) on_link: bool,
    pub(super) pace: Option<Pace>,
    /// The agent has told how far its numbers go, in this activation.
    pub(super) heard: bool,
    /// The furthest number known to exist.
    pub(super) reached: u64,
    pub(super) appending: bool,
    pub(super) append_failures: u32,
    /// Up to here the agent no longer has what the log lacks.
    pub(super) lose_to: Option<u64>,
    /// The agent was asked to fill a gap at this time.
    pub(super) gap_since: Option<u64>,
    /// How the agent says it ended.
    pub(super) exit: Option<Exit>,
    /// The sandbox was asked whether it ran out of memory.
    pub(super) memory: super::ending::Memory,
    pub(super) committing_end: bool,
    pub(super) waiting_end: Vec<RpcReplyPort<()>>,
    ticking: bool,
    quiet: u32,
}

impl Shell {
    fn new(arguments: Arguments, myself: ActorRef<ProcessMessage>) -> Self {
        let Arguments { id, node, loaded } = arguments;
        let (life, rows, kept, end) = match loaded {
            Some(loaded) => (loaded.life, Some(loaded.rows), loaded.kept, loaded.end),
            None => (None, None, BTreeMap::new(), EventId::ZERO),
        };
        let mut viewers = Viewers::default();
        if life.as_ref().is_some_and(|life| life.outcome().is_some()) {
            viewers.end();
        }
        Self {
            id,
            node,
            myself,
            born: Instant::now(),
            inputs: Inputs::new(rows.as_ref().map_or((0, 0), |rows| (rows.guard().epoch, rows.guard().version))),
            life,
            rows,
            kept,
            asking: BTreeMap::new(),
            tail: Tail::new(end),
            viewers,
            sessions: BTreeMap::new(),
            held: Vec::new(),
            link: None,
            on_link: false,
            pace: None,
            heard: false,
            reached: end.sequence,
            appending: false,
            append_failures: 0,
            lose_to: None,
            gap_since: None,
            exit: None,
            memory: super::ending::Memory::NotAsked,
            committing_end: false,
            waiting_end: Vec::new(),
            ticking: false,
            quiet: 0,
        }
    }

    /// Milliseconds since the actor started.
    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Its log.
    pub(super) fn log(&self) -> Option<LogKey> {
        self.life.as_ref().map(|life| LogKey { workspace: life.record.workspace_id, process: self.id })
    }

    /// Sends itself the result of background work.
    pub(super) fn background(&self, work: impl Future<Output = Done> + Send + 'static) {
        let myself = self.myself.clone();
        tokio::spawn(async move {
            let done = work.await;
            // An actor that is gone needs no results: its successor begins from what is stored.
            let _ = myself.send_message(ProcessMessage::Own(Own(done)));
        });
    }

    /// Its status as viewers are told.
    pub(super) fn status(&self) -> Option<ServerMessage> {
        let view = self.life.as_ref()?.view();
        Some(ServerMessage::Status {
            process_id: self.id,
            status: view.status.as_str(),
            exit_code: view.exit_code,
            signal: view.signal,
            reason: view.reason,
        })
    }

    /// Tells a viewer something. One that is gone is a viewer no longer.
    fn tell(&mut self, viewer: u64, message: impl FnOnce(u64) -> SessionMessage) {
        let gone = self
            .sessions
            .get(&viewer)
            .is_none_or(|to| to.session.actor.send_message(message(to.subscription)).is_err());
        if gone {
            self.sessions.remove(&viewer);
            self.viewers.remove(viewer);
        }
    }

    /// Tells a viewer something of the process.
    pub(super) fn say(&mut self, viewer: u64, message: ServerMessage, ended: bool) {
        let process_id = self.id;
        self.tell(viewer, |subscription| SessionMessage::OfProcess { process_id, subscription, message, ended });
    }

    /// Tells a viewer that the number it waits for was never reached. It is a viewer no longer.
    pub(super) fn never_reached(&mut self, viewer: u64) {
        let process_id = self.id;
        self.tell(viewer, |subscription| SessionMessage::ResumeInvalid { process_id, subscription });
        self.viewers.remove(viewer);
        self.sessions.remove(&viewer);
    }

    /// Runs what the viewers need.
    pub(super) fn run(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Output { viewer, generation, chunks } => {
                    let process_id = self.id;
                    self.tell(viewer, |subscription| SessionMessage::Output {
                        process_id,
                        subscription,
                        generation,
                        chunks,
                    });
                }
                Effect::Truncated { viewer, lost } => {
                    let said = ServerMessage::Truncated {
                        process_id: self.id,
                        from_id: lost.from,
                        to_id: lost.to,
                        bytes: lost.bytes,
                        reason: lost.reason.as_str(),
                    };
                    self.say(viewer, said, false);
                }
                Effect::Read { viewer, token, after, max_bytes } => {
                    let Some(log) = self.log() else { continue };
                    let replay = self.node.store.replay.clone();
                    self.background(async move {
                        let read = replay.read(log, after, max_bytes).await;
                        let page = read.inspect_err(|error| tracing::warn!(%error, ?log, "a log is not read")).ok();
                        Done::Page { viewer, token, page }
                    });
                }
                Effect::Ended { viewer } => {
                    if let Some(status) = self.status() {
                        self.say(viewer, status, true);
                    }
                    self.sessions.remove(&viewer);
                }
            }
        }
    }

    /// Serves all viewers.
    pub(super) fn serve_all(&mut self) {
        let mut effects = Vec::new();
        let now = self.now_ms();
        self.viewers.serve_all(&self.tail, now, &mut effects);
        self.run(effects);
    }

    fn serve(&mut self, viewer: u64) {
        let mut effects = Vec::new();
        let now = self.now_ms();
        self.viewers.serve(viewer, &self.tail, now, &mut effects);
        self.run(effects);
    }

    fn subscribe(&mut self, to: Subscriber, from: From, may_type: bool, credit: u64) -> Result<EventId, ResumeInvalid> {
        let life = self.life.as_ref().ok_or(ResumeInvalid)?;
        let end = self.tail.received();
        let ended = life.outcome().is_some();
        let cursor = match from {
            From::Earliest => EventId::ZERO,
            From::Live => end,
            From::After(id) => {
                // Numbers may exist that only the agent has: until it is back, one beyond the log is waited for.
                let known = ended || self.heard;
                let beyond = id.generation == end.generation && id.sequence > self.reached.max(end.sequence) && known;
                if id.generation > end.generation || beyond || (id.sequence == 0 && id.generation > 0) {
                    return Err(ResumeInvalid);
                }
                id
            }
        };
        let viewer = to.session.id;
        self.sessions.insert(viewer, to);
        if !ended && let Some(status) = self.status() {
            self.say(viewer, status, false);
        }
        self.viewers.add(viewer, cursor, may_type, credit);
        Ok(cursor)
    }

    /// Answers what `hello` says of it; the log is asked in the background.
    fn inform(&self, writer: &str, reply: RpcReplyPort<Option<ProcessInfo>>) {
        // Whoever asked may have gone, here and below.
        let (Some(life), Some(log)) = (&self.life, self.log()) else {
            let _ = reply.send(None);
            return;
        };
        let end = self.tail.received();
        let info = ProcessInfo {
            status: life.status().as_str(),
            first_id: self.tail.first().or((end.sequence > 0).then(|| EventId::new(end.generation, end.sequence + 1))),
            last_id: (end.sequence > 0).then_some(end),
            input_seq: self.inputs.last(writer),
        };
        let ended = life.outcome().is_some();
        let replay = self.node.store.replay.clone();
        tokio::spawn(async move {
            let bounds = match replay.bounds(log).await {
                Ok(bounds) => bounds,
                Err(error) => {
                    tracing::warn!(%error, ?log, "a log's bounds are not read");
                    None
                }
            };
            let retained = bounds.filter(|bounds| bounds.last.sequence > 0);
            let expired = ended && info.last_id.is_some() && retained.is_none();
            let first_id = retained.map(|bounds| bounds.first).or(info.first_id).filter(|_| info.last_id.is_some());
            let _ = reply.send((!expired).then_some(ProcessInfo { first_id, ..info }));
        });
    }

    async fn take(&mut self, message: ProcessMessage) -> Result<(), Reload> {
        if !matches!(message, ProcessMessage::Own(_) | ProcessMessage::Tick) {
            self.quiet = 0;
        }
        match message {
            ProcessMessage::Init { record, reply } => self.init(record, reply).await?,
            ProcessMessage::Command { caller, role, command, idempotency, reply } => {
                self.command(&caller, role, command, idempotency, reply);
            }
            ProcessMessage::Record { reply } => {
                // Whoever asked may have gone.
                let _ = reply.send(self.life.as_ref().map(|life| life.record.clone()));
            }
            ProcessMessage::Info { writer, reply } => self.inform(&writer, reply),
            ProcessMessage::Subscribe { session, subscription, from, may_type, credit, reply } => {
                let viewer = session.id;
                let taken = self.subscribe(Subscriber { session, subscription }, from, may_type, credit);
                // The session begins before its first event comes; one that is gone takes none.
                let _ = reply.send(taken);
                self.serve(viewer);
            }
            ProcessMessage::Unsubscribe { session_id } => {
                self.viewers.remove(session_id);
                self.sessions.remove(&session_id);
            }
            ProcessMessage::SessionCredit { session_id, bytes, may_type } => {
                let now = self.now_ms();
                self.viewers.credit(session_id, bytes, may_type, now);
                self.serve(session_id);
            }
            ProcessMessage::SessionInput { session, writer, seq, bytes } => {
                self.session_input(session, writer, seq, bytes);
            }
            ProcessMessage::LinkUp { link, state } => self.link_up(link, state),
            ProcessMessage::LinkDown { link } => self.link_down(link),
            ProcessMessage::FromAgent { link, event } => self.from_agent(link, event),
            ProcessMessage::SandboxEnded { reason, reply } => self.sandbox_ended(reason, reply),
            ProcessMessage::Remove { reply } => self.remove(reply),
            ProcessMessage::Tick => self.tick(),
            ProcessMessage::Own(Own(done)) => self.done(done)?,
        }
        self.settle();
        self.credit();
        self.wake_later();
        Ok(())
    }

    fn done(&mut self, done: Done) -> Result<(), Reload> {
        match done {
            Done::Committed(result, after) => self.committed(result, after)?,
            Done::Appended { result, lost } => self.appended(result, lost)?,
            Done::AppendAgain => {
                self.appending = false;
                self.append();
            }
            Done::Page { viewer, token, page } => {
                let mut effects = Vec::new();
                let now = self.now_ms();
                self.viewers.page(viewer, token, page, &self.tail, now, &mut effects);
                self.run(effects);
            }
            Done::OomKills { at_end, kills } => self.oom_kills(at_end, kills),
            Done::CommitEndAgain => self.committing_end = false,
            Done::Minute => self.minute(),
        }
        Ok(())
    }

    fn tick(&mut self) {
        self.ticking = false;
        if self.viewers.waits() {
            self.serve_all();
        }
        self.expire_inputs();
    }

    /// Arranges to be told that time has passed, if anything waits for that.
    fn wake_later(&mut self) {
        if self.ticking {
            return;
        }
        let fast = self.link.is_some() && self.pace.as_ref().is_some_and(|pace| pace.waits(self.tail.position()));
        let ending = self.life.as_ref().is_some_and(|life| life.is_over() && life.outcome().is_none());
        if fast || ending || self.viewers.waits() || !self.inputs.is_empty() {
            self.ticking = true;
            self.myself.send_after(if fast { FAST_TICK } else { SLOW_TICK }, || ProcessMessage::Tick);
        }
    }

    fn minute(&mut self) {
        let now = clock::now_ms();
        self.kept.retain(|_, kept| !kept.is_over(now));
        self.quiet += 1;
        let linked_and_running = self.link.is_some() && self.life.as_ref().is_some_and(|life| life.outcome().is_none());
        let busy = linked_and_running
            || self.appending
            || self.tail.stored() != self.tail.received()
            || self.rows.as_ref().is_some_and(Rows::busy)
            || !self.viewers.is_empty()
            || !self.inputs.is_empty()
            || !self.held.is_empty()
            || !self.asking.is_empty()
            || !self.waiting_end.is_empty();
        if !busy && (self.life.is_none() || self.quiet >= QUIET_MINUTES) {
            self.node.region.passivate::<Process>(self.id, self.myself.get_cell());
        }
    }
}

impl Actor for ProcessActor {
    type Msg = ProcessMessage;
    type State = Shell;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<ProcessMessage>,
        arguments: Arguments,
    ) -> Result<Shell, ActorProcessingErr> {
        myself.send_interval(MINUTE, || ProcessMessage::Own(Own(Done::Minute)));
        let unfinished = arguments.loaded.as_ref().is_some_and(|loaded| loaded.unfinished);
        let shell = Shell::new(arguments, myself);
        if unfinished {
            shell.finish();
        }
        Ok(shell)
    }

    async fn handle(
        &self,
        _: ActorRef<ProcessMessage>,
        message: ProcessMessage,
        shell: &mut Shell,
    ) -> Result<(), ActorProcessingErr> {
        Ok(shell.take(message).await?)
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<ProcessMessage>,
        _: SupervisionEvent,
        _: &mut Shell,
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}
