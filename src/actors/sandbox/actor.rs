//! The Sandbox actor: what it is told, and whom that concerns. What follows is decided in [`super::state`] and done by
//! the [`super::shell`].

use std::{collections::BTreeMap, time::Duration};

use playhouse_protocol::host::ToHost;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    Fate, Sandbox, SandboxCommand, SandboxMessage,
    once::Once,
    record::{NO_TOKEN, Phase, Record},
    shell::{NewestLink, ROW, Shell},
    state::{AGENT_SILENT, Event},
};
use crate::{
    actors::{Code, Node, Refused, agent_link, idempotency::Key, views::SandboxView, workspace::SaveOutcome},
    clock,
    cluster::{Entity, StartError},
    seldom::{Seldom, SharedSeldom},
    store::metadata::{Kind, Partition},
};

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
        let row = node.store.metadata.row(partition, ROW).await;
        // Anyone may ask for any id: one that is no sandbox must leave nothing behind, not even a fence.
        let (guard, rows) = if row.map_err(|error| StartError::Failed(error.to_string()))?.is_some() {
            let activated = node.store.metadata.activate(partition, node.epoch).await?;
            (Some(activated.guard), activated.rows)
        } else {
            (None, BTreeMap::new())
        };
        let record = match rows.get(ROW) {
            Some(bytes) => {
                Some(serde_json::from_slice(bytes).map_err(|e| StartError::Failed(format!("row {ROW}: {e}")))?)
            }
            None => None,
        };
        let state = Shell {
            id,
            node,
            guard,
            record,
            link: None,
            newest_link: None,
            away_since: Instant::now(),
            usage: None,
            once: Once::load(&rows)?,
            making: None,
            command_id: None,
            freeze_id: None,
            saving: 0,
            waiting_end: Vec::new(),
            waiting_fate: Vec::new(),
            quiet_ticks: 0,
            impostors: Seldom::default(),
            refusals: SharedSeldom::default(),
        };
        let (actor, _) = Actor::spawn_linked(None, SandboxActor, state, region)
            .await
            .map_err(|error| StartError::Failed(error.to_string()))?;
        Ok(actor)
    }
}

#[derive(Debug)]
struct SandboxActor;

impl Actor for SandboxActor {
    type Msg = SandboxMessage;
    type State = Shell;
    type Arguments = Shell;

    async fn pre_start(&self, myself: ActorRef<SandboxMessage>, state: Shell) -> Result<Shell, ActorProcessingErr> {
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
        state: &mut Shell,
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
                    token_hash: NO_TOKEN,
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
            // It was proven with a token that another one has replaced since: that agent is being ended.
            SandboxMessage::LinkUp { link, key, .. } if state.record.as_ref().is_some_and(|r| r.token_hash != key) => {
                link.close();
            }
            SandboxMessage::LinkUp { link, instance, attempt, .. } => {
                state.making = None;
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
                    if result.is_err() {
                        state.making = None;
                    }
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
        _: &mut Shell,
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

impl SandboxActor {
    /// Does a command for the first time under its key; the answer is kept in the commit of its effect.
    async fn once(
        &self,
        state: &mut Shell,
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
        state: &mut Shell,
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
