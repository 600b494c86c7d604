//! The Session actor: what other actors tell it, and what its client asks for.

use std::{collections::BTreeMap, sync::Arc, task::Waker, time::Duration};

use playhouse_protocol::{EventId, client::ServerMessage};
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    Own, SessionMessage, SessionRef, StreamFrom, StreamParams, close,
    opening::{self, Opened, Way},
    outbox::{Item, Outbox},
    reaching::Owner,
    registry::Place,
    socket::{Knock, Wire},
    subs::Subs,
};
use crate::{
    actors::{
        Code, Node, Role,
        process::{Counted, From, ProcessMessage, ResumeInvalid},
        workspace::{WorkspaceMessage, WorkspaceRef},
    },
    cluster::CallError,
};

/// A subscription that did not come about is made again after so long.
const AGAIN: Duration = Duration::from_secs(1);
/// So many news wait for a client's first `resume`. One that lets more come has no use for silence.
const HELD: usize = 1024;

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

/// Everything the actor knows.
#[derive(Debug)]
pub(super) struct Shell {
    node: Node,
    pub(super) myself: ActorRef<SessionMessage>,
    pub(super) place: Place,
    pub(super) params: StreamParams,
    pub(super) wire: Box<dyn Wire>,
    knock: Arc<Knock>,
    pub(super) waker: Waker,
    workspace: Option<WorkspaceRef>,
    pub(super) role: Role,
    /// What came before `hello`; `None` after it.
    early: Option<Vec<SessionMessage>>,
    /// News that wait for the client's first `resume`; `None` when nothing is waited for.
    held: Option<Vec<ServerMessage>>,
    pub(super) subs: Subs,
    pub(super) owners: BTreeMap<Uuid, Owner>,
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

    /// Tells itself the result of this work.
    pub(super) fn background(&self, work: impl Future<Output = Done> + Send + 'static) {
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
    pub(super) fn refuse(&mut self, code: Code, detail: impl Into<String>, process_id: Option<Uuid>) {
        self.say(ServerMessage::Error { code: code.as_str(), detail: detail.into(), process_id });
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
        self.held = self.subs.awaits_resume().then(Vec::new);
        for message in self.early.take().unwrap_or_default() {
            self.told(message);
        }
    }

    /// Says what nobody asked for: nothing of that comes between `hello` and the client's first `resume`.
    fn tell(&mut self, news: ServerMessage) {
        match &mut self.held {
            Some(held) if held.len() < HELD => held.push(news),
            Some(_) => {
                self.release();
                self.say(news);
            }
            None => self.say(news),
        }
    }

    /// The client has said where to go on.
    pub(super) fn release(&mut self) {
        for news in self.held.take().into_iter().flatten() {
            self.say(news);
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
            SessionMessage::Say(message) => self.tell(message),
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
                self.say(ServerMessage::InputAck { process_id, seq });
            }
            SessionMessage::Refused { process_id, refused } => {
                self.refuse(refused.code, refused.detail, process_id);
            }
            SessionMessage::SandboxEnded => {
                self.sandbox_ended.get_or_insert_with(Instant::now);
            }
            SessionMessage::WorkspaceDeleted => self.close(close::SANDBOX_ENDED, "the workspace was deleted"),
            SessionMessage::NodeStops => self.close(close::RESTART, "the node restarts"),
            SessionMessage::Own(Own(done)) => self.done(done),
        }
    }

    /// Says that a cursor is none.
    pub(super) fn resume_invalid(&mut self, process_id: Option<Uuid>) {
        self.refuse(
            Code::ResumeInvalid,
            "no such process, or an id that is malformed or was never reached",
            process_id,
        );
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
        // Without acknowledgements the socket's own bytes count, which text makes at most three times as many.
        let counted = if params.flow_ack && !params.binary { Counted::Text } else { Counted::Raw };
        let shell = Shell {
            myself,
            place,
            wire,
            waker: Waker::from(Arc::clone(&knock)),
            knock,
            workspace: None,
            role: Role::View,
            early: Some(Vec::new()),
            held: None,
            subs: Subs::new(params.flow_ack, counted, params.from == StreamFrom::Resume),
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
