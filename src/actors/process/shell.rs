//! The Process actor: it owns the pure parts and runs their effects. Once it is made its handler waits for no store and no
//! actor.

use std::{collections::BTreeMap, time::Duration};

use playhouse_protocol::agent::{Exit, NodeFrame};
use ractor::{ActorRef, RpcReplyPort};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    Done, Own, Process, ProcessMessage,
    activation::Arguments,
    inputs::Inputs,
    pace::Pace,
    rows::{Kept, Rows},
    state::Life,
    tail::Tail,
    typing::Typist,
    viewers::Viewers,
    watching::Subscriber,
};
use crate::{
    actors::{Node, agent_link::LinkRef},
    clock,
    store::replay::{AppendError, LogKey, LossReason},
};

/// How often it looks at its clock while an agent waits for credit.
const FAST_TICK: Duration = Duration::from_millis(20);
/// How often it does while something else waits for time to pass.
const SLOW_TICK: Duration = Duration::from_millis(500);
/// It goes passive after so many minutes without a message.
const QUIET_MINUTES: u32 = 5;

/// A process that ends its actor: another owner has its partition, or it is not known what is in it.
#[derive(Debug, thiserror::Error)]
#[error("process {id} must be loaded anew: {why}")]
pub(super) struct Reload {
    pub(super) id: Uuid,
    pub(super) why: String,
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
    /// An append that ended at its first poll, to be taken at the end of the message.
    pub(super) appended_at_once: Option<(Result<playhouse_protocol::EventId, AppendError>, bool)>,
    /// The event and the position up to which the agent was told that its output is stored.
    pub(super) stored_told: (u64, u64),
    pub(super) append_failures: u32,
    /// Up to here the agent no longer has what the log lacks.
    pub(super) lose_to: Option<u64>,
    /// The agent was asked to fill a gap at this time.
    pub(super) gap_since: Option<u64>,
    /// How the agent says it ended.
    pub(super) exit: Option<Exit>,
    /// Whether the sandbox was asked if it ended the program.
    pub(super) blame: super::ending::Blame,
    pub(super) committing_end: bool,
    pub(super) waiting_end: Vec<RpcReplyPort<()>>,
    ticking: bool,
    quiet: u32,
}

impl Shell {
    pub(super) fn new(arguments: Arguments, myself: ActorRef<ProcessMessage>) -> Self {
        let Arguments { id, node, loaded } = arguments;
        let (life, rows, kept, end, bytes) = match loaded {
            Some(loaded) => (loaded.life, Some(loaded.rows), loaded.kept, loaded.end, loaded.bytes),
            None => (None, None, BTreeMap::new(), playhouse_protocol::EventId::ZERO, 0),
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
            tail: Tail::new(end).behind(bytes),
            viewers,
            sessions: BTreeMap::new(),
            held: Vec::new(),
            link: None,
            on_link: false,
            pace: None,
            heard: false,
            reached: end.sequence,
            appending: false,
            appended_at_once: None,
            stored_told: (0, 0),
            append_failures: 0,
            lose_to: None,
            gap_since: None,
            exit: None,
            blame: super::ending::Blame::NotAsked,
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

    /// Whether its log may be gone because it ended long ago.
    pub(super) fn may_have_expired(&self) -> bool {
        let outcome = self.life.as_ref().and_then(Life::outcome);
        outcome.is_some_and(|outcome| self.node.store.replay.may_have_expired(outcome.finished_at, clock::now()))
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

    /// Takes a message; `Err` ends the actor.
    pub(super) async fn take(&mut self, message: ProcessMessage) -> Result<(), Reload> {
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
            ProcessMessage::Subscribe { session, subscription, from, may_type, allowance, reply } => {
                let viewer = session.id;
                let taken = self.subscribe(Subscriber { session, subscription }, from, may_type, allowance);
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
            ProcessMessage::FromAgent { link, event } => self.heard_agent(link, event),
            ProcessMessage::SandboxEnded { reason, reply } => self.sandbox_ended(reason, reply),
            ProcessMessage::Remove { reply } => self.remove(reply),
            ProcessMessage::Tick => self.tick(),
            ProcessMessage::Own(Own(done)) => self.done(done)?,
        }
        while let Some((result, lost)) = self.appended_at_once.take() {
            self.appended(result, lost)?;
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
            Done::Page { viewer, token, mut page } => {
                if let Some(page) = &mut page
                    && !self.may_have_expired()
                {
                    page.missing = LossReason::StoreLost;
                }
                let mut effects = Vec::new();
                let now = self.now_ms();
                self.viewers.page(viewer, token, page, &self.tail, now, &mut effects);
                self.run(effects);
            }
            Done::Fate { at_end, fate } => self.fate(at_end, fate),
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
        self.tell_stored(true);
        self.expire_inputs();
        if !self.inputs.is_empty() {
            self.wake_sandbox();
        }
    }

    /// Arranges to be told that time has passed, if anything waits for that.
    fn wake_later(&mut self) {
        if self.ticking {
            return;
        }
        let fast = self.link.is_some() && self.pace.as_ref().is_some_and(|pace| pace.waits(self.tail.position()));
        let ending = self.life.as_ref().is_some_and(|life| life.is_over() && life.outcome().is_none());
        let untold = self.link.is_some() && self.stored_told.0 != self.tail.stored().sequence;
        if fast || ending || untold || self.viewers.waits() || !self.inputs.is_empty() {
            self.ticking = true;
            self.myself.send_after(if fast { FAST_TICK } else { SLOW_TICK }, || ProcessMessage::Tick);
        }
    }

    fn minute(&mut self) {
        self.prune_answers();
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
