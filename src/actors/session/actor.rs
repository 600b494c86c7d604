//! The Session actor: what other actors tell it, and what its client asks for.

use std::{collections::BTreeMap, sync::Arc, task::Waker, time::Duration};

use playhouse_protocol::{EventId, client::ServerMessage};
use ractor::{Actor, ActorProcessingErr, ActorRef, ActorStatus, SupervisionEvent, concurrency::oneshot};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    Own, SessionMessage, SessionRef, StreamFrom, StreamParams, close,
    opening::{self, Opened, Way},
    outbox::{Item, Outbox},
    registry::Place,
    socket::{Knock, Wire},
    subs::{Subs, Subscribe},
};
use crate::{
    actors::{
        Node, Refused, Role,
        process::{From, ProcessCommand, ProcessMessage, ProcessRef, ResumeInvalid},
        workspace::{WorkspaceMessage, WorkspaceRef},
    },
    cluster::CallError,
};

/// A subscription that did not come about is made again after so long.
const AGAIN: Duration = Duration::from_secs(1);

/// Results of background work, and the socket's knocks.
#[derive(Debug)]
pub(super) enum Done {
    /// The socket may be ready, or a timer is due.
    Knock,
    /// What the session begins with, or the code to close with.
    Opened(Result<Opened, (u16, &'static str)>),
    /// A process has answered a subscription.
    Subscribed {
        process_id: Uuid,
        subscription: u64,
        owner: Option<ActorRef<ProcessMessage>>,
        result: Result<Result<EventId, ResumeInvalid>, CallError>,
    },
    /// A subscription may be made again.
    SubscribeAgain { process_id: Uuid, subscription: u64 },
}

#[derive(Debug)]
pub(super) struct Arguments {
    pub(super) node: Node,
    pub(super) wire: Box<dyn Wire>,
    pub(super) params: StreamParams,
    pub(super) way: Way,
}

#[derive(Debug)]
pub(super) struct SessionActor;

/// How far the socket's end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It is open.
    No,
    /// The close frame waits or was sent; the client's answer is waited for until then.
    Closing(Instant),
    /// It is over.
    Over,
}

/// A process as the session reaches it.
#[derive(Debug)]
struct Owner {
    process: ProcessRef,
    actor: Option<ActorRef<ProcessMessage>>,
}

/// Everything the actor knows.
#[derive(Debug)]
pub(super) struct Shell {
    node: Node,
    pub(super) myself: ActorRef<SessionMessage>,
    place: Place,
    pub(super) params: StreamParams,
    pub(super) wire: Box<dyn Wire>,
    knock: Arc<Knock>,
    pub(super) waker: Waker,
    workspace: Option<WorkspaceRef>,
    pub(super) role: Role,
    /// What came before `hello`; `None` after it.
    early: Option<Vec<SessionMessage>>,
    pub(super) subs: Subs,
    owners: BTreeMap<Uuid, Owner>,
    pub(super) outbox: Outbox,
    pub(super) clock: super::pump::Clock,
    pub(super) sandbox_ended: Option<Instant>,
    pub(super) ending: Ending,
    /// Messages for processes, in the order the client asked.
    pub(super) asked: Vec<(Uuid, ProcessMessage)>,
}

impl Shell {
    pub(super) fn me(&self) -> SessionRef {
        SessionRef { id: self.place.id, actor: self.myself.clone() }
    }

    /// Whether `hello` was said.
    pub(super) const fn is_open(&self) -> bool {
        self.early.is_none()
    }

    /// Whether the caller may type.
    pub(super) fn may_type(&self) -> bool {
        self.role >= Role::Edit
    }

    fn background(&self, work: impl Future<Output = Done> + Send + 'static) {
        let myself = self.myself.clone();
        tokio::spawn(async move {
            let done = work.await;
            // A session that is gone needs no results.
            let _ = myself.send_message(SessionMessage::Own(Own(done)));
        });
    }

    /// Says something to the client.
    pub(super) fn say(&mut self, message: ServerMessage) {
        self.outbox.push(Item::Message(message));
    }

    /// Says that something could not be done.
    pub(super) fn refuse(&mut self, code: &'static str, detail: impl Into<String>, process_id: Option<Uuid>) {
        self.say(ServerMessage::Error { code, detail: detail.into(), process_id });
    }

    /// Asks a process for something on the caller's behalf; only a refusal is told.
    pub(super) fn command(&mut self, process_id: Uuid, command: ProcessCommand) {
        let (reply, answered) = oneshot();
        let (caller, role) = (self.params.caller.clone(), self.role);
        let message = ProcessMessage::Command { caller, role, command, idempotency: None, reply: reply.into() };
        self.asked.push((process_id, message));
        let me = self.me();
        tokio::spawn(async move {
            let refused = match answered.await {
                Ok(Ok(_)) => return,
                Ok(Err(refused)) => refused,
                Err(_) => Refused::retry("no answer came"),
            };
            me.tell(SessionMessage::Refused { process_id: Some(process_id), refused });
        });
    }

    /// Makes the subscriptions that are due.
    pub(super) fn subscribe(&mut self) {
        for Subscribe { process_id, subscription, from, credit } in self.subs.next() {
            let Some(owner) = self.owners.get(&process_id) else { continue };
            let (process, session, may_type) = (owner.process.clone(), self.me(), self.may_type());
            self.background(async move {
                let make = |reply| ProcessMessage::Subscribe { session, subscription, from, may_type, credit, reply };
                let result = process.call(make).await;
                let owner = process.resolve().await.ok();
                Done::Subscribed { process_id, subscription, owner, result }
            });
        }
    }

    /// Sends to a process what needs no order with what starts it.
    pub(super) fn tell_process(&self, process_id: Uuid, message: ProcessMessage) {
        if let Some(actor) = self.owners.get(&process_id).and_then(|owner| owner.actor.as_ref()) {
            // One that is gone is subscribed to again when that is noticed.
            let _ = actor.send_message(message);
        }
    }

    /// Sends what the client asked for, in its order. A process that is passive is started by it.
    async fn send_asked(&mut self) {
        for (process_id, message) in std::mem::take(&mut self.asked) {
            let Some(owner) = self.owners.get(&process_id) else { continue };
            if let Err(error) = owner.process.cast(message).await {
                self.refuse("retry", error.to_string(), Some(process_id));
            }
        }
    }

    /// The socket takes nothing: what waits for it is dropped, and comes again from the log.
    pub(super) fn stall(&mut self) {
        self.outbox.drop_output(None);
        let session_id = self.place.id;
        for process_id in self.subs.stall() {
            self.tell_process(process_id, ProcessMessage::Unsubscribe { session_id });
        }
    }

    /// Tells a process what the socket took, if that is worth a message.
    pub(super) fn credit(&mut self, process_id: Uuid) {
        if self.subs.get(process_id).is_some_and(|sub| sub.window.credit()) {
            self.tell_credit(process_id);
        }
    }

    fn tell_credit(&mut self, process_id: Uuid) {
        let Some(bytes) = self.subs.get(process_id).map(|sub| sub.window.told()) else { return };
        let message = ProcessMessage::SessionCredit { session_id: self.place.id, bytes, may_type: self.may_type() };
        self.tell_process(process_id, message);
    }

    /// Subscribes anew to processes whose actors have ended.
    pub(super) fn look_after_owners(&mut self) {
        let live: Vec<(Uuid, u64)> = self.subs.live().collect();
        for (process_id, subscription) in live {
            let Some(owner) = self.owners.get_mut(&process_id) else { continue };
            if owner.actor.as_ref().is_some_and(|actor| actor.get_status() > ActorStatus::Upgrading) {
                owner.actor = None;
                self.outbox.drop_output(Some(process_id));
                self.subs.again(process_id, subscription);
            }
        }
    }

    fn opened(&mut self, opened: Result<Opened, (u16, &'static str)>) {
        let opened = match opened {
            Ok(opened) => opened,
            Err((code, why)) => return self.close(code, why),
        };
        self.say(opened.hello(self.params.sandbox_id));
        if opened.ended {
            self.sandbox_ended = Some(Instant::now());
        }
        (self.role, self.workspace) = (opened.role, opened.workspace);
        let from = if self.params.from == StreamFrom::Live { From::Live } else { From::Earliest };
        for (process, info) in opened.processes {
            match info {
                Some(info) => self.subs.add(process.id(), ended(info.status), from),
                None => self.subs.add_expired(process.id()),
            }
            self.owners.insert(process.id(), Owner { process, actor: None });
        }
        for message in self.early.take().unwrap_or_default() {
            self.told(message);
        }
    }

    fn told(&mut self, message: SessionMessage) {
        if let Some(early) = &mut self.early
            && !matches!(message, SessionMessage::Own(_) | SessionMessage::NodeStops)
        {
            early.push(message);
            return;
        }
        match message {
            SessionMessage::Output { process_id, subscription, generation, chunks } => {
                if self.subs.current(process_id, subscription).is_some() {
                    for chunk in chunks {
                        self.outbox.push(Item::Event { process_id, generation, chunk });
                    }
                }
            }
            SessionMessage::OfProcess { process_id, subscription, message, ended } => {
                if self.subs.current(process_id, subscription).is_some() {
                    self.outbox.push(Item::OfProcess { process_id, message, ended });
                }
            }
            SessionMessage::ResumeInvalid { process_id, subscription } => {
                if self.subs.refused(process_id, subscription) {
                    self.resume_invalid(Some(process_id));
                }
            }
            SessionMessage::Say(message) => self.say(message),
            SessionMessage::NewProcess { process_id } => {
                if self.subs.add_new(process_id) {
                    let process = self.node.process(process_id);
                    self.owners.insert(process_id, Owner { process, actor: None });
                }
            }
            SessionMessage::Role(None) => self.close(close::REVOKED, "access was revoked"),
            SessionMessage::Role(Some(role)) => {
                self.role = role;
                let live: Vec<(Uuid, u64)> = self.subs.live().collect();
                for (process_id, _) in live {
                    self.tell_credit(process_id);
                }
            }
            SessionMessage::InputAck { process_id, seq } => {
                if let Some(seq) = seq {
                    self.say(ServerMessage::InputAck { process_id, seq });
                }
            }
            SessionMessage::Refused { process_id, refused } => {
                self.refuse(refused.code.as_str(), refused.detail, process_id);
            }
            SessionMessage::SandboxEnded => {
                self.sandbox_ended.get_or_insert_with(Instant::now);
            }
            SessionMessage::NodeStops => self.close(close::RESTART, "the node restarts"),
            SessionMessage::Own(Own(done)) => self.done(done),
        }
    }

    /// Says that a cursor is none.
    pub(super) fn resume_invalid(&mut self, process_id: Option<Uuid>) {
        self.refuse("resume_invalid", "no such process, or an id that is malformed or was never reached", process_id);
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Knock => self.knock.heard(),
            Done::Opened(opened) => self.opened(opened),
            Done::Subscribed { process_id, subscription, owner, result } => {
                if let Some(known) = self.owners.get_mut(&process_id) {
                    known.actor = owner;
                }
                match result {
                    Ok(Ok(after)) => {
                        self.subs.began(process_id, subscription, after);
                        // What was to be told before its actor was known.
                        self.tell_credit(process_id);
                    }
                    Ok(Err(ResumeInvalid)) => {
                        if self.subs.refused(process_id, subscription) {
                            self.resume_invalid(Some(process_id));
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, process = %process_id, "a process is not subscribed to; it is tried again");
                        self.background(async move {
                            tokio::time::sleep(AGAIN).await;
                            Done::SubscribeAgain { process_id, subscription }
                        });
                    }
                }
            }
            Done::SubscribeAgain { process_id, subscription } => {
                if self.subs.current(process_id, subscription).is_some() {
                    self.outbox.drop_output(Some(process_id));
                    self.subs.again(process_id, subscription);
                }
            }
        }
    }
}

/// Whether this is the word for a status that is the last.
fn ended(status: &str) -> bool {
    matches!(status, "completed" | "failed" | "cancelled")
}

impl Actor for SessionActor {
    type Msg = SessionMessage;
    type State = Shell;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<SessionMessage>,
        arguments: Arguments,
    ) -> Result<Shell, ActorProcessingErr> {
        let Arguments { node, wire, params, way } = arguments;
        let place = node.sessions.enter(myself.clone());
        let knock = Knock::new(myself.clone());
        let shell = Shell {
            myself,
            place,
            wire,
            waker: Waker::from(Arc::clone(&knock)),
            knock,
            workspace: None,
            role: Role::View,
            early: Some(Vec::new()),
            subs: Subs::new(params.flow_ack, params.from == StreamFrom::Resume),
            owners: BTreeMap::new(),
            outbox: Outbox::default(),
            clock: super::pump::Clock::new(),
            sandbox_ended: None,
            ending: Ending::No,
            asked: Vec::new(),
            node,
            params,
        };
        let (node, me, params) = (shell.node.clone(), shell.me(), shell.params.clone());
        shell.background(async move { Done::Opened(opening::open(node, me, &params, way).await) });
        Ok(shell)
    }

    async fn handle(
        &self,
        _: ActorRef<SessionMessage>,
        message: SessionMessage,
        shell: &mut Shell,
    ) -> Result<(), ActorProcessingErr> {
        shell.told(message);
        shell.pump();
        shell.send_asked().await;
        if shell.ending == Ending::Over {
            shell.myself.stop(None);
        }
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<SessionMessage>, shell: &mut Shell) -> Result<(), ActorProcessingErr> {
        let session_id = shell.place.id;
        let live: Vec<Uuid> = shell.subs.live().map(|(process_id, _)| process_id).collect();
        for process_id in live {
            shell.tell_process(process_id, ProcessMessage::Unsubscribe { session_id });
        }
        if let Some(workspace) = shell.workspace.take()
            && let Err(error) = workspace.cast(WorkspaceMessage::Detach { session_id }).await
        {
            tracing::debug!(%error, "a workspace that can't start has no session to forget");
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<SessionMessage>,
        _: SupervisionEvent,
        _: &mut Shell,
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}
