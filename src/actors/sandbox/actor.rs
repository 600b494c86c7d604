//! The Sandbox actor: runs the effects that [`super::state`] decides.

use std::time::Duration;

use playhouse_protocol::{
    handshake,
    host::{Limits, SandboxSpec, ToHost, Usage},
};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use rand::RngCore;
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    Fate, Sandbox, SandboxCommand, SandboxMessage,
    once::Once,
    state::{AGENT_SILENT, Effect, Event, Phase, Record},
};
use crate::{
    actors::{
        Code, Node, Refused,
        agent_link::{self, LinkRef},
        idempotency::Key,
        views::{SandboxView, UsageView},
        workspace::{SaveOutcome, WorkspaceMessage},
    },
    clock,
    cluster::{Entity, StartError},
    store::metadata::{Commit, Guard, Kind, Partition},
};

const ROW: &str = "sandbox";
/// How often it looks at its clock.
const TICK: Duration = Duration::from_millis(500);
/// One that is over and not asked for anything goes passive after so many ticks.
const PASSIVE_TICKS: u32 = 120;

impl Entity for Sandbox {
    type Message = SandboxMessage;
    type Node = Node;
    const KIND: &'static str = "sandbox";

    async fn start(id: Uuid, node: Node, region: ActorCell) -> Result<ActorRef<SandboxMessage>, StartError> {
        let partition = Partition { kind: Kind::Sandbox, id };
        let activated = node.store.metadata.activate(partition, node.epoch).await?;
        let record = match activated.rows.get(ROW) {
            Some(bytes) => {
                Some(serde_json::from_slice(bytes).map_err(|e| StartError::Failed(format!("row {ROW}: {e}")))?)
            }
            None => None,
        };
        let state = State {
            id,
            node,
            guard: activated.guard,
            record,
            link: None,
            newest_link: None,
            away_since: Instant::now(),
            usage: None,
            once: Once::load(&activated.rows)?,
            command_id: None,
            freeze_id: None,
            saving: 0,
            waiting_end: Vec::new(),
            waiting_fate: Vec::new(),
            quiet_ticks: 0,
        };
        let (actor, _) = Actor::spawn_linked(None, SandboxActor, state, region)
            .await
            .map_err(|error| StartError::Failed(error.to_string()))?;
        Ok(actor)
    }
}

/// The agent's stream that counts: a higher attempt of the same instance replaces it.
#[derive(Debug, Clone, Copy)]
struct NewestLink {
    instance: [u8; 16],
    attempt: u64,
}

struct State {
    id: Uuid,
    node: Node,
    guard: Guard,
    record: Option<Record>,
    link: Option<LinkRef>,
    newest_link: Option<NewestLink>,
    /// Since when its agent could have linked and has not.
    away_since: Instant,
    /// What it was last known to have used; of one that is new that is nothing.
    usage: Option<Usage>,
    once: Once,
    command_id: Option<Uuid>,
    freeze_id: Option<Uuid>,
    /// The newest saving's number.
    saving: u64,
    waiting_end: Vec<RpcReplyPort<()>>,
    waiting_fate: Vec<RpcReplyPort<Fate>>,
    quiet_ticks: u32,
}

impl State {
    fn oom_kills(&self) -> u64 {
        self.usage.map_or(0, |usage| usage.oom_kills)
    }

    fn view(&self) -> Option<SandboxView> {
        let used = self.usage.unwrap_or_default();
        let usage = UsageView {
            #[allow(clippy::cast_precision_loss, reason = "seconds for people")]
            cpu_seconds: used.cpu_micros as f64 / 1e6,
            memory_bytes: used.memory_bytes,
            disk_bytes: used.disk_bytes,
        };
        self.record.as_ref().map(|record| record.view(usage, self.node.settings.idle_after))
    }

    async fn take(&mut self, event: Event) -> Result<(), ActorProcessingErr> {
        let linked = self.link.is_some();
        let idle_after = self.node.settings.idle_after;
        let Some(record) = &mut self.record else {
            // A host that holds what no row knows of holds an orphan.
            if matches!(event, Event::HostUp(Some(_)) | Event::HostEnded(_)) {
                self.end_at_host();
            }
            return Ok(());
        };
        let before = record.phase.clone();
        let effects = record.step(event, clock::now(), linked, idle_after);
        if before != record.phase {
            tracing::info!(sandbox = %self.id, from = ?before, to = ?record.phase, "sandbox");
        }
        for effect in effects {
            self.run(effect).await?;
        }
        if self.record.as_ref().is_some_and(Record::over) {
            for reply in self.waiting_end.drain(..) {
                // Who asked may have gone.
                let _ = reply.send(());
            }
        }
        Ok(())
    }

    async fn run(&mut self, effect: Effect) -> Result<(), ActorProcessingErr> {
        match effect {
            Effect::Commit => self.commit().await?,
            Effect::Tell => self.tell().await,
            Effect::Create => self.make_at_host(false).await?,
            Effect::Freeze(frozen) => {
                if let Some(link) = self.link.take_if(|_| frozen) {
                    link.close();
                }
                let (command_id, epoch) = (Uuid::now_v7(), self.node.epoch);
                self.freeze_id = frozen.then_some(command_id);
                self.node.host.send(ToHost::Freeze { command_id, epoch, sandbox_id: self.id, frozen });
            }
            Effect::Save(programs) => {
                if let Some(record) = &self.record {
                    let workspace = self.node.workspace(record.workspace_id);
                    self.saving += 1;
                    let save = WorkspaceMessage::Save { sandbox_id: self.id, number: self.saving, programs };
                    tokio::spawn(async move {
                        if let Err(error) = workspace.cast(save).await {
                            tracing::warn!(%error, "a workspace can't be asked to save; the sandbox's clock goes on without it");
                        }
                    });
                }
            }
            Effect::EndAtHost => self.end_at_host(),
            Effect::Recover => {
                if let Some(link) = self.link.take() {
                    link.close();
                }
                self.newest_link = None;
                self.away_since = Instant::now();
                self.make_at_host(true).await?;
            }
            Effect::Look => {
                self.away_since = Instant::now();
                self.node.host.send(ToHost::Look { sandbox_id: self.id });
            }
        }
        Ok(())
    }

    fn end_at_host(&mut self) {
        let command_id = Uuid::now_v7();
        self.command_id = Some(command_id);
        self.node.host.send(ToHost::End { command_id, epoch: self.node.epoch, sandbox_id: self.id });
    }

    async fn commit(&mut self) -> Result<(), ActorProcessingErr> {
        let mut commit = Commit::default();
        if let Some(record) = &self.record {
            commit.put_json(ROW, record);
        }
        self.once.add_to(&mut commit, clock::now());
        let partition = Partition { kind: Kind::Sandbox, id: self.id };
        self.guard = self.node.store.metadata.commit(partition, self.guard, commit).await?;
        self.once.landed();
        Ok(())
    }

    async fn remove(&mut self) -> Result<(), ActorProcessingErr> {
        let partition = Partition { kind: Kind::Sandbox, id: self.id };
        let commit = Commit { drop_partition: true, ..Commit::default() };
        self.guard = self.node.store.metadata.commit(partition, self.guard, commit).await?;
        self.record = None;
        self.once = Once::default();
        self.node.host_entity().forget(self.id).await;
        Ok(())
    }

    async fn tell(&self) {
        if let (Some(record), Some(view)) = (&self.record, self.view()) {
            let workspace = self.node.workspace(record.workspace_id);
            tokio::spawn(async move {
                if let Err(error) = workspace.cast(WorkspaceMessage::SandboxChanged(view)).await {
                    tracing::warn!(%error, "a workspace was not told of its sandbox; it asks when it starts");
                }
            });
        }
    }

    /// Commits a fresh token's hash, then has the host make the sandbox with it, or start it anew on its disk.
    async fn make_at_host(&mut self, recover: bool) -> Result<(), ActorProcessingErr> {
        let mut token = [0_u8; 32];
        rand::rng().fill_bytes(&mut token);
        let Some(record) = &mut self.record else { return Ok(()) };
        record.token_hash = handshake::token_hash(&token);
        // One that was asked for before the host was here could not know.
        if let Some(Ok(isolation)) = self.node.host.isolation() {
            record.isolation = isolation;
        }
        let instance = self.node.settings.instance_types.iter().find(|instance| instance.name == record.instance_type);
        let Some(instance) = instance.or_else(|| self.node.settings.instance_types.first()) else { return Ok(()) };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "thousandths of a few CPUs")]
        let limits = Limits {
            cpu_millis: (instance.cpu * 1000.0) as u64,
            memory_bytes: instance.memory_bytes,
            disk_bytes: instance.disk_bytes,
            pids: 1024,
        };
        let spec = SandboxSpec {
            sandbox_id: self.id,
            template: record.template.clone(),
            limits,
            token,
            egress: self.node.settings.egress.clone(),
        };
        self.commit().await?;
        let command_id = Uuid::now_v7();
        self.command_id = Some(command_id);
        let epoch = self.node.epoch;
        self.node.host.send(if recover {
            ToHost::Recover { command_id, epoch, spec }
        } else {
            ToHost::Create { command_id, epoch, spec }
        });
        Ok(())
    }

    async fn make(&mut self, record: Record) -> Result<SandboxView, Refused> {
        if let Some(view) = self.view() {
            return Ok(view);
        }
        let isolation = match self.node.host.isolation() {
            Some(Err(missing)) => {
                let detail = format!("this host can't isolate programs: {}", missing.join("; "));
                return Err(Refused::new(Code::SandboxUnavailable, detail));
            }
            Some(Ok(isolation)) => isolation,
            None => String::from("hardened-container"),
        };
        self.record = Some(Record { isolation, ..record });
        // The host is told at once when it is here; else `HostUp` tells that it must be.
        let here = self.node.host.isolation().is_some();
        let made = if here { self.make_at_host(false).await } else { self.commit().await };
        if let Err(error) = made {
            self.record = None;
            return Err(Refused::retry(error.to_string()));
        }
        self.node.host_entity().register(self.id, here).await;
        self.view().ok_or_else(|| Code::Internal.into())
    }

    async fn arrived(
        &mut self,
        myself: &ActorRef<SandboxMessage>,
        hello: handshake::Hello,
        stream: std::os::fd::OwnedFd,
    ) {
        let Some(record) = self.record.as_ref().filter(|record| record.takes_agent()) else { return };
        if let Some(newest) = &self.newest_link {
            if newest.instance != hello.instance && self.link.is_some() {
                tracing::warn!(sandbox = %self.id, "a second agent beside a living one was refused");
                let workspace = self.node.workspace(record.workspace_id);
                let notice = playhouse_protocol::agent::AgentFrame::Notice {
                    code: "agent_impostor".into(),
                    detail: "something in the sandbox posed as its agent and was refused".into(),
                };
                let link = self.link.as_ref().map_or(0, |link| link.number);
                tokio::spawn(async move {
                    // It only informs people.
                    let _ = workspace.cast(WorkspaceMessage::FromAgent { link, frame: notice }).await;
                });
                return;
            }
            if newest.instance == hello.instance && newest.attempt >= hello.attempt {
                return;
            }
        }
        agent_link::open(agent_link::Opening {
            node: self.node.clone(),
            sandbox: myself.clone(),
            sandbox_id: self.id,
            workspace_id: record.workspace_id,
            key: record.token_hash,
            hello,
            stream,
            harvest: record.harvests(),
        });
    }
}

#[derive(Debug)]
struct SandboxActor;

impl Actor for SandboxActor {
    type Msg = SandboxMessage;
    type State = State;
    type Arguments = State;

    async fn pre_start(&self, myself: ActorRef<SandboxMessage>, state: State) -> Result<State, ActorProcessingErr> {
        myself.send_interval(TICK, || SandboxMessage::Tick);
        if state.record.as_ref().is_some_and(|record| !record.over()) {
            let (host, id) = (state.node.host_entity(), state.id);
            tokio::spawn(async move { host.register(id, false).await });
        }
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<SandboxMessage>,
        message: SandboxMessage,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        if !matches!(message, SandboxMessage::Tick) {
            state.quiet_ticks = 0;
        }
        match message {
            SandboxMessage::Create { workspace_id, caller, template, instance_type, reply } => {
                let now = clock::now();
                let record = Record {
                    id: state.id,
                    workspace_id,
                    user_id: caller.user_id,
                    template,
                    instance_type,
                    isolation: String::new(),
                    token_hash: [0; 32],
                    created_at: now,
                    last_activity_at: now,
                    filled: false,
                    phase: Phase::Provisioning { attempt: 1, suspend: false },
                };
                state.usage.get_or_insert_default();
                let made = state.make(record).await;
                // Who asked may have gone.
                let _ = reply.send(made);
            }
            SandboxMessage::Command { command, reply, .. } => self.command(&myself, state, command, reply).await?,
            SandboxMessage::Once { user_id, command, idempotency, reply } => {
                let key = Key::of(user_id, &idempotency);
                let answer = match state.once.find(&key, &idempotency.fingerprint, clock::now()) {
                    Some(before) => before,
                    None => self.once(state, key, idempotency.fingerprint, command).await?,
                };
                // As above.
                let _ = reply.send(answer.and_then(|()| state.view().ok_or_else(|| Code::SandboxNotFound.into())));
            }
            SandboxMessage::Workspace { reply } => {
                // As above.
                let _ = reply.send(state.record.as_ref().map(|record| record.workspace_id));
            }
            SandboxMessage::EndFor { reason, save, reply } => {
                if state.record.as_ref().is_none_or(Record::over) {
                    // As above.
                    let _ = reply.send(());
                } else {
                    state.waiting_end.push(reply);
                    state.take(Event::End { reason, save }).await?;
                }
            }
            SandboxMessage::Remove { reply } => {
                if state.record.as_ref().is_some_and(Record::over) {
                    state.remove().await?;
                }
                // As above.
                let _ = reply.send(());
            }
            SandboxMessage::Saved { number, .. } if number != state.saving => {}
            SandboxMessage::Filled => state.take(Event::Filled).await?,
            SandboxMessage::Wake => state.take(Event::Resume).await?,
            SandboxMessage::Saved { outcome, .. } => {
                if let SaveOutcome::Failed(detail) = outcome {
                    tracing::warn!(sandbox = %state.id, detail, "the sandbox could not be saved whole");
                }
                state.take(Event::Saved).await?;
            }
            SandboxMessage::Busy(busy) => state.take(Event::Busy(busy)).await?,
            SandboxMessage::AgentArrived { hello, stream } => state.arrived(&myself, hello, stream).await,
            SandboxMessage::LinkUp { link, instance, attempt } => {
                state.newest_link = Some(NewestLink { instance, attempt });
                state.link = Some(link);
                state.take(Event::Linked).await?;
            }
            SandboxMessage::LinkDown { link, silent } => {
                if state.link.as_ref().is_some_and(|current| current.number == link) {
                    state.link = None;
                    let heard = if silent { agent_link::SILENCE } else { Duration::ZERO };
                    state.away_since = Instant::now().checked_sub(heard).unwrap_or_else(Instant::now);
                }
            }
            SandboxMessage::HostUp { held } => {
                // Only now can its agent dial.
                state.away_since = Instant::now();
                state.take(Event::HostUp(held)).await?;
            }
            SandboxMessage::HostLooked(look) => state.take(Event::Looked(look)).await?,
            SandboxMessage::HostDone { command_id, result } => {
                if state.command_id == Some(command_id) {
                    state.command_id = None;
                    state.take(Event::HostDone(result)).await?;
                } else if let Err(error) = result {
                    tracing::warn!(sandbox = %state.id, %error, "the host could not do what it was told");
                    if state.freeze_id.take() == Some(command_id) {
                        state.take(Event::NotFrozen).await?;
                    }
                }
            }
            SandboxMessage::HostEnded(cause) => {
                tracing::warn!(sandbox = %state.id, ?cause, "the sandbox ended by itself");
                state.take(Event::HostEnded(cause)).await?;
            }
            SandboxMessage::HostUsage(usage) => {
                state.usage = Some(usage);
                for reply in state.waiting_fate.drain(..) {
                    // As above.
                    let _ = reply.send(Fate { oom_kills: usage.oom_kills, ending: None });
                }
            }
            SandboxMessage::Fate { now, reply } => match state.record.as_ref().and_then(Record::ending) {
                None if !now && state.usage.is_some() => {
                    // As above.
                    let _ = reply.send(Fate { oom_kills: state.oom_kills(), ending: None });
                }
                Some(reason) => {
                    let ending = Some(reason.to_owned());
                    // As above.
                    let _ = reply.send(Fate { oom_kills: state.oom_kills(), ending });
                }
                None => {
                    state.waiting_fate.push(reply);
                    state.node.host.send(ToHost::AskUsage { sandbox_id: state.id });
                }
            },
            SandboxMessage::Tick => {
                let oom_kills = state.oom_kills();
                for reply in state.waiting_fate.drain(..).filter(|_| state.node.host.isolation().is_none()) {
                    // A host that is away doesn't answer: what was known last must do.
                    let _ = reply.send(Fate { oom_kills, ending: None });
                }
                state.take(Event::Tick).await?;
                if state.link.is_none()
                    && state.node.host.isolation().is_some()
                    && state.away_since.elapsed() > AGENT_SILENT
                {
                    state.take(Event::Silent).await?;
                }
                state.quiet_ticks += 1;
                if state.quiet_ticks > PASSIVE_TICKS && state.record.as_ref().is_none_or(Record::over) {
                    state.node.host_entity().forget(state.id).await;
                    state.node.region.passivate::<Sandbox>(state.id, myself.get_cell());
                }
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<SandboxMessage>,
        _: SupervisionEvent,
        _: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

impl SandboxActor {
    /// Does a command for the first time under its key; the answer is kept in the commit of its effect.
    async fn once(
        &self,
        state: &mut State,
        key: Key,
        fingerprint: String,
        command: SandboxCommand,
    ) -> Result<Result<(), Refused>, ActorProcessingErr> {
        let Some(record) = &state.record else { return Ok(Err(Code::SandboxNotFound.into())) };
        let (event, answer) = match command {
            SandboxCommand::Suspend | SandboxCommand::Resume if record.over() => (None, Err(Code::SandboxEnded.into())),
            SandboxCommand::Suspend => (Some(Event::Suspend), Ok(())),
            SandboxCommand::Resume => (Some(Event::Resume), Ok(())),
            SandboxCommand::End => (Some(Event::End { reason: "ended".into(), save: true }), Ok(())),
            SandboxCommand::Status | SandboxCommand::Token => (None, Ok(())),
        };
        state.once.keep(key, fingerprint, &answer, clock::now());
        if let Some(event) = event {
            state.take(event).await?;
        }
        if state.once.waits() {
            state.commit().await?;
        }
        Ok(answer)
    }

    async fn command(
        &self,
        myself: &ActorRef<SandboxMessage>,
        state: &mut State,
        command: SandboxCommand,
        reply: RpcReplyPort<Result<SandboxView, Refused>>,
    ) -> Result<(), ActorProcessingErr> {
        let Some(record) = &state.record else {
            // Who asked may have gone.
            let _ = reply.send(Err(Code::SandboxNotFound.into()));
            return Ok(());
        };
        let over = record.over();
        match command {
            SandboxCommand::Status | SandboxCommand::Token => {}
            SandboxCommand::End if over => {}
            SandboxCommand::End => {
                // Answered when it has ended, with what it is then.
                let (done, ended) = ractor::concurrency::oneshot();
                state.waiting_end.push(done.into());
                state.take(Event::End { reason: "ended".into(), save: true }).await?;
                let myself = myself.clone();
                tokio::spawn(async move {
                    // The actor's end is an end too.
                    let _ = ended.await;
                    let status = |reply| SandboxMessage::Command {
                        role: crate::actors::Role::Edit,
                        command: SandboxCommand::Status,
                        reply,
                    };
                    if let Err(error) = myself.send_message(status(reply)) {
                        tracing::debug!(%error, "the sandbox went passive before it could say that it ended");
                    }
                });
                return Ok(());
            }
            SandboxCommand::Suspend | SandboxCommand::Resume if over => {
                // Who asked may have gone.
                let _ = reply.send(Err(Code::SandboxEnded.into()));
                return Ok(());
            }
            SandboxCommand::Suspend => state.take(Event::Suspend).await?,
            SandboxCommand::Resume => state.take(Event::Resume).await?,
        }
        // Who asked may have gone.
        let _ = reply.send(state.view().ok_or_else(|| Code::SandboxNotFound.into()));
        Ok(())
    }
}
