//! The Tenant's actor: a thin shell that commits what [`super::state`] decides.

use std::time::Duration;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    Tenant, TenantMessage,
    state::{Change, State},
};
use crate::{
    actors::{Node, Refused},
    clock,
    cluster::{Entity, StartError},
    store::metadata::{ActivateError, Commit, CommitError, Guard, Kind, Partition},
};

/// How often it looks for what need not be remembered any more.
const TICK: Duration = Duration::from_secs(30);
/// One that nobody has asked anything for so long goes passive.
const PASSIVE_AFTER: Duration = Duration::from_secs(300);

impl Entity for Tenant {
    type Message = TenantMessage;
    type Node = Node;
    const KIND: &'static str = "tenant";

    async fn start(id: Uuid, node: Node, region: ActorCell) -> Result<ActorRef<TenantMessage>, StartError> {
        let partition = Partition::new(Kind::Tenant, id);
        let activated = node.store.metadata.activate(partition, node.epoch).await.map_err(|error| match error {
            ActivateError::Fenced => StartError::Fenced,
            ActivateError::Store(error) => StartError::Failed(error.to_string()),
        })?;
        let state = State::load(id, &activated.rows).map_err(|error| StartError::Failed(error.to_string()))?;
        let shell = Shell { node, state, guard: activated.guard, asked_at: Instant::now(), broken: false };
        let (actor, _) = Actor::spawn_linked(None, TenantActor, shell, region)
            .await
            .map_err(|error| StartError::Failed(error.to_string()))?;
        Ok(actor)
    }
}

#[derive(Debug)]
struct Shell {
    node: Node,
    state: State,
    guard: Guard,
    asked_at: Instant,
    broken: bool,
}

fn answer<T>(reply: RpcReplyPort<T>, answer: T) {
    // Who asked may have gone.
    let _ = reply.send(answer);
}

impl Shell {
    async fn commit(&mut self, commit: Commit) -> Result<(), Refused> {
        let partition = Partition::new(Kind::Tenant, self.state.id);
        match self.node.store.metadata.commit(partition, self.guard, commit).await {
            Ok(guard) => {
                self.guard = guard;
                Ok(())
            }
            Err(CommitError::Failed(error)) => Err(Refused::retry(format!("the store: {error}"))),
            Err(error @ (CommitError::Fenced | CommitError::Unknown)) => {
                self.broken = true;
                Err(Refused::retry(format!("the store: {error}")))
            }
        }
    }

    async fn land(&mut self, change: Option<Change>) -> Result<(), Refused> {
        let Some(change) = change else { return Ok(()) };
        self.commit(self.state.commit(&change)).await?;
        self.state.apply(&change);
        Ok(())
    }

    async fn take(&mut self, message: TenantMessage) {
        self.asked_at = Instant::now();
        match message {
            TenantMessage::EnsureUser { org, name, tier, reply } => {
                let ensured = match self.state.ensure_user(&org, &name, tier.as_deref()) {
                    Ok((caller, change)) => self.land(change).await.map(|()| caller),
                    Err(refused) => Err(refused),
                };
                answer(reply, ensured);
            }
            TenantMessage::FindUser { user, reply } => answer(reply, Ok(self.state.find_user(&user).cloned())),
            TenantMessage::Workspaces { caller, page, reply } => answer(reply, self.state.workspaces(&caller, &page)),
            TenantMessage::RoomForWorkspace { caller, reply } => answer(reply, self.state.room_for_workspace(&caller)),
            TenantMessage::RoomForSandbox { owner, sandbox_id, reply } => {
                answer(reply, self.state.room_for_sandbox(&owner, sandbox_id));
            }
            TenantMessage::Sandbox { owner_id, sandbox_id, there } => self.state.sandbox(owner_id, sandbox_id, there),
            TenantMessage::Project { row, reply } => {
                let change = self.state.project(row, clock::now());
                let landed = self.land(change).await;
                answer(reply, landed);
            }
            TenantMessage::UseOnce { nonce, expires_at, reply } => {
                let used = match self.state.use_once(&nonce, expires_at, clock::now()) {
                    Ok(change) => {
                        let first = change.is_some();
                        self.land(change).await.map(|()| first)
                    }
                    Err(refused) => Err(refused),
                };
                answer(reply, used);
            }
            TenantMessage::Tick => {}
        }
    }

    async fn tick(&mut self, myself: &ActorRef<TenantMessage>) {
        let rows = self.state.prune(clock::now());
        if !rows.is_empty() {
            let commit = Commit { deletes: rows, ..Commit::default() };
            if let Err(error) = self.commit(commit).await {
                tracing::warn!(%error, "an organisation's old rows stay until it is loaded again");
            }
        }
        if self.asked_at.elapsed() >= PASSIVE_AFTER && !self.state.has_sandboxes() {
            self.node.region.passivate::<Tenant>(self.state.id, myself.get_cell());
        }
    }
}

#[derive(Debug)]
struct TenantActor;

impl Actor for TenantActor {
    type Msg = TenantMessage;
    type State = Shell;
    type Arguments = Shell;

    async fn pre_start(&self, myself: ActorRef<TenantMessage>, shell: Shell) -> Result<Shell, ActorProcessingErr> {
        myself.send_interval(TICK, || TenantMessage::Tick);
        Ok(shell)
    }

    async fn handle(
        &self,
        myself: ActorRef<TenantMessage>,
        message: TenantMessage,
        shell: &mut Shell,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            TenantMessage::Tick => shell.tick(&myself).await,
            message => shell.take(message).await,
        }
        if shell.broken { Err("a commit was fenced, or its outcome is unknown".into()) } else { Ok(()) }
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<TenantMessage>,
        _: SupervisionEvent,
        _: &mut Shell,
    ) -> Result<(), ActorProcessingErr> {
        // It supervises nobody.
        Ok(())
    }
}
