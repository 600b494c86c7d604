//! A sandbox's shell: what it holds beside its record, and the effects that [`super::state`] decides.

use std::time::Duration;

use playhouse_protocol::{
    handshake,
    host::{Limits, SandboxSpec, ToHost, Usage},
};
use ractor::{ActorProcessingErr, ActorRef, RpcReplyPort};
use rand::RngCore;
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    Fate, SandboxMessage,
    once::Once,
    record::Record,
    state::{Effect, Event},
};
use crate::{
    actors::{
        Code, Node, Refused,
        agent_link::{self, LinkRef},
        views::{SandboxView, UsageView},
        workspace::WorkspaceMessage,
    },
    clock,
    seldom::{Seldom, SharedSeldom},
    store::metadata::{Commit, Guard, Kind, Partition},
};

/// A host that is started again, or with its node, is back within this time: who asks meanwhile is made to wait.
const HOST_BACK_WITHIN: Duration = Duration::from_secs(10);

/// Its row.
pub(super) const ROW: &str = "sandbox";

/// The agent's stream that counts: a higher attempt of the same instance replaces it.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewestLink {
    pub(super) instance: [u8; 16],
    pub(super) attempt: u64,
}

/// What the host was told to make, or to start anew.
#[derive(Debug, Clone)]
pub(super) struct Making {
    command_id: Uuid,
    spec: SandboxSpec,
    recover: bool,
}

pub(super) struct Shell {
    pub(super) id: Uuid,
    pub(super) node: Node,
    /// `None` until there is such a sandbox.
    pub(super) guard: Option<Guard>,
    pub(super) record: Option<Record>,
    pub(super) link: Option<LinkRef>,
    pub(super) newest_link: Option<NewestLink>,
    /// Since when its agent could have linked and has not.
    pub(super) away_since: Instant,
    /// What it was last known to have used; of one that is new that is nothing.
    pub(super) usage: Option<Usage>,
    pub(super) once: Once,
    /// Until its agent is proven, or the host could not: whenever the host comes back meanwhile it is told the same again,
    /// since it may be doing it.
    pub(super) making: Option<Making>,
    pub(super) command_id: Option<Uuid>,
    pub(super) freeze_id: Option<Uuid>,
    /// The newest saving's number.
    pub(super) saving: u64,
    pub(super) waiting_end: Vec<RpcReplyPort<()>>,
    pub(super) waiting_fate: Vec<RpcReplyPort<Fate>>,
    pub(super) quiet_ticks: u32,
    /// Refused agents: any program in the sandbox can dial as often as it likes.
    pub(super) impostors: Seldom,
    /// Agents whose streams came to nothing, likewise.
    pub(super) refusals: SharedSeldom,
}

impl Shell {
    pub(super) fn oom_kills(&self) -> u64 {
        self.usage.map_or(0, |usage| usage.oom_kills)
    }

    pub(super) fn view(&self) -> Option<SandboxView> {
        let used = self.usage.unwrap_or_default();
        let usage = UsageView {
            #[allow(clippy::cast_precision_loss, reason = "seconds for people")]
            cpu_seconds: used.cpu_micros as f64 / 1e6,
            memory_bytes: used.memory_bytes,
            disk_bytes: used.disk_bytes,
        };
        self.record.as_ref().map(|record| record.view(usage, self.node.settings.idle_after))
    }

    pub(super) async fn take(&mut self, event: Event) -> Result<(), ActorProcessingErr> {
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

    pub(super) async fn run(&mut self, effect: Effect) -> Result<(), ActorProcessingErr> {
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

    pub(super) fn end_at_host(&mut self) {
        let command_id = Uuid::now_v7();
        self.making = None;
        self.command_id = Some(command_id);
        self.node.host.send(ToHost::End { command_id, epoch: self.node.epoch, sandbox_id: self.id });
    }

    /// What the next commit is guarded by. The partition of a sandbox that is being made is fenced only now.
    async fn fence(&mut self, partition: Partition) -> Result<Guard, ActorProcessingErr> {
        if let Some(guard) = self.guard {
            return Ok(guard);
        }
        let activated = self.node.store.metadata.activate(partition, self.node.epoch).await?;
        if !activated.rows.is_empty() {
            return Err("the sandbox was made meanwhile".into());
        }
        self.guard = Some(activated.guard);
        Ok(activated.guard)
    }

    pub(super) async fn commit(&mut self) -> Result<(), ActorProcessingErr> {
        let mut commit = Commit::default();
        if let Some(record) = &self.record {
            commit.put_json(ROW, record);
        }
        self.once.add_to(&mut commit, clock::now());
        let partition = Partition { kind: Kind::Sandbox, id: self.id };
        let guard = self.fence(partition).await?;
        self.guard = Some(self.node.store.metadata.commit(partition, guard, commit).await?);
        self.once.landed();
        Ok(())
    }

    pub(super) async fn remove(&mut self) -> Result<(), ActorProcessingErr> {
        let partition = Partition { kind: Kind::Sandbox, id: self.id };
        let commit = Commit { drop_partition: true, ..Commit::default() };
        let guard = self.fence(partition).await?;
        self.guard = Some(self.node.store.metadata.commit(partition, guard, commit).await?);
        self.record = None;
        self.once = Once::default();
        self.node.host_entity().forget(self.id).await;
        Ok(())
    }

    pub(super) async fn tell(&self) {
        if let (Some(record), Some(view)) = (&self.record, self.view()) {
            let workspace = self.node.workspace(record.workspace_id);
            tokio::spawn(async move {
                if let Err(error) = workspace.cast(WorkspaceMessage::SandboxChanged(view)).await {
                    tracing::warn!(%error, "a workspace was not told of its sandbox; it asks when it starts");
                }
            });
        }
    }

    /// Has the host make the sandbox, or start it anew on its disk.
    pub(super) async fn make_at_host(&mut self, recover: bool) -> Result<(), ActorProcessingErr> {
        let told = self.making.clone().filter(|making| making.recover == recover);
        let Some(making) = (match told {
            Some(making) => Some(making),
            None => self.draw(recover).await?,
        }) else {
            return Ok(());
        };
        let Making { command_id, spec, .. } = making.clone();
        self.making = Some(making);
        self.command_id = Some(command_id);
        // Before the command, so that a host which goes and comes back after it is known to have been told.
        self.node.host_entity().register(self.id, true).await;
        let epoch = self.node.epoch;
        self.node.host.send(if recover {
            ToHost::Recover { command_id, epoch, spec }
        } else {
            ToHost::Create { command_id, epoch, spec }
        });
        Ok(())
    }

    /// Draws a token and commits its hash.
    async fn draw(&mut self, recover: bool) -> Result<Option<Making>, ActorProcessingErr> {
        let mut token = [0_u8; 32];
        rand::rng().fill_bytes(&mut token);
        let Some(record) = &mut self.record else { return Ok(None) };
        record.token_hash = handshake::token_hash(&token);
        // One that was asked for before the host was here could not know.
        if let Some(Ok(isolation)) = self.node.host.isolation() {
            record.isolation = isolation;
        }
        let instance = self.node.settings.instance_types.iter().find(|instance| instance.name == record.instance_type);
        let Some(instance) = instance.or_else(|| self.node.settings.instance_types.first()) else { return Ok(None) };
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
        Ok(Some(Making { command_id: Uuid::now_v7(), spec, recover }))
    }

    pub(super) async fn make(&mut self, record: Record) -> Result<SandboxView, Refused> {
        if let Some(view) = self.view() {
            return Ok(view);
        }
        if let Some((_, refused)) = self.node.host.away().filter(|(away, _)| *away > HOST_BACK_WITHIN) {
            let start = "start `playhouse host` on this machine with the same --data-dir".to_owned();
            let detail = format!("no host is here: {}", refused.unwrap_or(start));
            return Err(Refused::new(Code::SandboxUnavailable, detail));
        }
        let isolation = match self.node.host.isolation() {
            Some(Err(missing)) => {
                let detail = format!("this host can't isolate programs: {}", missing.join("; "));
                return Err(Refused::new(Code::SandboxUnavailable, detail));
            }
            Some(Ok(isolation)) => isolation,
            None => self.node.settings.isolation.to_owned(),
        };
        self.record = Some(Record { isolation, ..record });
        // The host is told at once when it is here; else `HostUp` tells that it must be.
        let here = self.node.host.isolation().is_some();
        let made = if here { self.make_at_host(false).await } else { self.commit().await };
        if let Err(error) = made {
            self.record = None;
            return Err(Refused::retry(error.to_string()));
        }
        if !here {
            self.node.host_entity().register(self.id, false).await;
        }
        self.view().ok_or_else(|| Code::Internal.into())
    }

    pub(super) async fn arrived(
        &mut self,
        myself: &ActorRef<SandboxMessage>,
        hello: handshake::Hello,
        stream: std::os::fd::OwnedFd,
    ) {
        let Some(record) = self.record.as_ref().filter(|record| record.takes_agent()) else { return };
        if let Some(newest) = &self.newest_link {
            if newest.instance != hello.instance && self.link.is_some() {
                let Some(untold) = self.impostors.happens(std::time::Instant::now()) else { return };
                tracing::warn!(sandbox = %self.id, untold, "a second agent beside a living one was refused");
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
            refusals: self.refusals.clone(),
        });
    }
}
