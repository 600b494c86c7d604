//! The Workspace's actor: loads the rows, and gives each message to the part it concerns.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::{sync::watch, time::Instant};
use uuid::Uuid;

use super::{
    AttachRefused, Attached, Own, Workspace, WorkspaceMessage,
    land::{Answer, Asked, Waiting},
    link::Linked,
    lives::Waiter,
    own::TaskResult,
    processes::PendingRun,
    remove::Removal,
    rows::{self, Gone, Loaded},
    save::{Save, SaveEvent},
    state::State,
};
use crate::{
    actors::{
        Caller, Node, Refused, Role,
        idempotency::Key,
        session::{SessionMessage, SessionRef},
        views::SandboxStatus,
    },
    clock,
    cluster::{Entity, StartError},
    store::{
        blobs::BlobRef,
        metadata::{Guard, Kind, Partition},
    },
};

/// How often timers are looked at.
const TICK: Duration = Duration::from_secs(1);
/// One that nobody has asked anything for so long goes passive.
const PASSIVE_AFTER: Duration = Duration::from_secs(300);
/// One that isn't there goes sooner: anybody may ask for any id.
const ABSENT_AFTER: Duration = Duration::from_secs(5);
/// Content that no transaction has named for so long is left over from a crash.
const SWEEP_OLDER: Duration = Duration::from_secs(3600);

impl Entity for Workspace {
    type Message = WorkspaceMessage;
    type Node = Node;
    const KIND: &'static str = "workspace";

    async fn start(id: Uuid, node: Node, region: ActorCell) -> Result<ActorRef<WorkspaceMessage>, StartError> {
        let failed = |error: &dyn std::fmt::Display| StartError::Failed(error.to_string());
        let partition = Partition::new(Kind::Workspace, id);
        // Anyone may ask for any id: one that is no workspace must leave nothing behind, not even a fence.
        let mut there = false;
        for key in [rows::META, rows::GONE] {
            there = there || node.store.metadata.row(partition, key).await.map_err(|e| failed(&e))?.is_some();
        }
        let (guard, loaded) = if there {
            let activated = node.store.metadata.activate(partition, node.epoch).await?;
            (Some(activated.guard), rows::load(id, &activated.rows).map_err(|e| failed(&e))?)
        } else {
            (None, Loaded::Absent)
        };
        let args = (id, node, guard, loaded);
        let (actor, _) =
            Actor::spawn_linked(None, WorkspaceActor, args, region).await.map_err(|error| failed(&error))?;
        Ok(actor)
    }
}

/// A session that wants events.
pub(super) struct Watcher {
    pub(super) session: SessionRef,
    pub(super) caller: Caller,
    pub(super) sandbox_id: Uuid,
    pub(super) role: Role,
}

/// The actor's state: the workspace, and everything that is about it on this node alone.
pub(super) struct Shell {
    pub(super) id: Uuid,
    pub(super) node: Node,
    pub(super) myself: ActorRef<WorkspaceMessage>,
    /// `None` until there is such a workspace.
    pub(super) guard: Option<Guard>,
    /// `None`: there is no such workspace.
    pub(super) state: Option<Box<State>>,
    pub(super) gone: Option<Gone>,
    pub(super) watchers: BTreeMap<u64, Watcher>,
    /// The sandbox's link, and the number of the newest there was.
    pub(super) link: Option<Linked>,
    pub(super) newest_link: u64,
    /// Paths that were removed or moved away lately: an agent that has been lost since may not have heard of it.
    pub(super) vacated: BTreeMap<String, Instant>,
    pub(super) save: Option<Save>,
    pub(super) save_tag: u64,
    /// What the agent left out of the tree, for sessions to come.
    pub(super) left_out: BTreeMap<String, String>,
    /// Requests under an idempotency key that are not answered yet.
    pub(super) in_flight: HashMap<Key, Waiting>,
    /// Answers that wait for the organisations' indexes.
    pub(super) projecting: Vec<(Asked, Answer)>,
    /// Rows that the next commit removes.
    pub(super) stale: Vec<String>,
    /// Content to delete, and when.
    pub(super) graveyard: Vec<(Instant, BlobRef)>,
    /// Who waits for a sandbox.
    pub(super) waiters: Vec<Waiter>,
    pub(super) runs: HashMap<Uuid, PendingRun>,
    /// Sandboxes to be asked how they are.
    pub(super) unseen: BTreeSet<Uuid>,
    pub(super) busy: Option<(Uuid, watch::Sender<bool>)>,
    /// Tasks whose results are awaited.
    pub(super) tasks: usize,
    /// How far it is removed, once it is deleted.
    pub(super) removal: Removal,
    pub(super) asked_at: Instant,
    /// A commit's outcome is unknown: it ends, and its next message loads what has landed.
    pub(super) broken: bool,
}

impl std::fmt::Debug for Shell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shell").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Shell {
    /// What an activation has to pick up again.
    fn resume(&mut self) {
        let Some(state) = &self.state else { return };
        let orgs: Vec<Uuid> = state.intents.keys().copied().collect();
        let unsettled: Vec<Uuid> = state
            .sandboxes
            .iter()
            .filter(|(_, row)| row.over_at.is_some() && !row.settled)
            .map(|(id, _)| *id)
            .collect();
        self.unseen = state.sandboxes.iter().filter(|(_, row)| row.over_at.is_none()).map(|(id, _)| *id).collect();
        let blobs = state.tree.iter().filter_map(|(_, entry)| entry.row.node.blob());
        let keep: BTreeSet<String> =
            blobs.chain(state.environment.iter().map(|row| &row.blob)).map(|blob| blob.key.clone()).collect();
        if state.meta.deleting {
            self.end_for_good();
        } else {
            let (blobs, id) = (self.node.store.blobs.clone(), self.id);
            self.spawn(async move {
                match blobs.sweep(id, &keep, SWEEP_OLDER).await {
                    Ok(0) => {}
                    Ok(count) => tracing::info!(workspace = %id, count, "left-over content was removed"),
                    Err(error) => tracing::warn!(%error, workspace = %id, "left-over content can't be looked for"),
                }
                TaskResult::Done
            });
        }
        for org in orgs {
            self.project(org);
        }
        for sandbox in unsettled {
            self.settle(sandbox);
        }
        for sandbox in self.unseen.clone() {
            self.tell_owner(sandbox, true);
        }
        self.look_at_sandboxes();
    }

    /// Runs a task whose result is awaited.
    pub(super) fn spawn(&mut self, task: impl Future<Output = TaskResult> + Send + 'static) {
        self.tasks += 1;
        let myself = self.myself.clone();
        tokio::spawn(async move {
            let result = task.await;
            // One that has ended awaits nothing any more: its successor begins from the rows.
            let _ = myself.send_message(WorkspaceMessage::Own(Own::Task(result)));
        });
    }

    async fn take(&mut self, message: WorkspaceMessage) {
        if !matches!(message, WorkspaceMessage::Tick) {
            self.asked_at = Instant::now();
        }
        match message {
            WorkspaceMessage::Command { caller, command, idempotency, reply } => {
                self.command(Asked { caller, idempotency, reply }, command).await;
            }
            WorkspaceMessage::Role { caller, reply } => {
                let role = self.state.as_ref().and_then(|state| state.role(&caller, clock::now()));
                // Who asked may have gone.
                let _ = reply.send(role);
            }
            WorkspaceMessage::Attach { session, caller, sandbox_id, reply } => {
                let attached = self.attach(session.clone(), caller, sandbox_id);
                let over = attached.is_ok() && self.is_settled(sandbox_id);
                // As above.
                let _ = reply.send(attached);
                for (path, why) in &self.left_out {
                    session.tell(SessionMessage::Say(super::link::left_out_notice(path, why)));
                }
                if over {
                    session.tell(SessionMessage::SandboxEnded);
                }
            }
            WorkspaceMessage::Detach { session_id } => {
                self.watchers.remove(&session_id);
                self.go_on_removing();
            }
            WorkspaceMessage::SandboxChanged(view) => self.sandbox_changed(view).await,
            WorkspaceMessage::LinkUp { sandbox_id, link, ready, tree_version, harvest } => {
                tracing::debug!(workspace = %self.id, link = link.number, ready, tree_version, "the sandbox is linked");
                self.link_up(sandbox_id, link, ready, harvest);
            }
            WorkspaceMessage::LinkDown { link } => self.link_down(link),
            WorkspaceMessage::FromAgent { link, frame } => self.agent_says(link, frame, None),
            WorkspaceMessage::Bulk { link, frame, permit } => self.agent_says(link, frame, Some(permit)),
            WorkspaceMessage::Save { sandbox_id, number, programs } => self.begin_save(sandbox_id, number, programs),
            WorkspaceMessage::ProcessEnded { process_id } => self.process_ended(process_id).await,
            WorkspaceMessage::Tick => self.tick().await,
            WorkspaceMessage::Own(Own::Task(result)) => {
                self.tasks = self.tasks.saturating_sub(1);
                self.task_done(result).await;
            }
            WorkspaceMessage::Own(Own::Intake { link, taken }) => self.taken(link, taken).await,
        }
    }

    async fn task_done(&mut self, result: TaskResult) {
        match result {
            TaskResult::UserFound { asked, role, user } => self.user_found(asked, role, user).await,
            TaskResult::SandboxMade { sandbox_id, made } => self.sandbox_made(sandbox_id, made).await,
            TaskResult::SandboxSeen { sandbox_id, seen } => self.sandbox_seen(sandbox_id, seen).await,
            TaskResult::ProcessMade { process_id, made } => self.process_made(process_id, made).await,
            TaskResult::Settled { sandbox_id } => self.settled(sandbox_id).await,
            TaskResult::Projected { org, version } => self.projected(org, version).await,
            TaskResult::EndedForGood(result) => self.ended_for_good(result),
            TaskResult::TornDown(result) => self.torn_down(result).await,
            TaskResult::Done => {}
        }
    }

    fn attach(&mut self, session: SessionRef, caller: Caller, sandbox_id: Uuid) -> Result<Attached, AttachRefused> {
        let state = self.state.as_ref().filter(|state| !state.meta.deleting).ok_or(AttachRefused::NoSandbox)?;
        let role = state.role(&caller, clock::now()).ok_or(AttachRefused::NotPermitted)?;
        let row = state.sandboxes.get(&sandbox_id).ok_or(AttachRefused::NoSandbox)?;
        let processes = state.processes.iter().filter(|(_, row)| row.sandbox_id == sandbox_id).map(|(id, _)| *id);
        let attached = Attached {
            role,
            processes: processes.collect(),
            status: row.view.as_ref().map_or(SandboxStatus::Provisioning, |view| view.status),
            reason: row.view.as_ref().and_then(|view| view.reason.clone()),
        };
        self.watchers.insert(session.id, Watcher { session, caller, sandbox_id, role });
        Ok(attached)
    }

    async fn tick(&mut self) {
        let now = Instant::now();
        self.watchers.retain(|_, watcher| watcher.session.actor.get_status() <= ractor::ActorStatus::Upgrading);
        self.expire().await;
        self.delete_buried(now);
        self.look_at_sandboxes();
        self.give_up_waiting(now).await;
        self.forget_sandboxes().await;
        self.forget_vacated(now);
        self.step_save(SaveEvent::Tick);
        self.go_on_removing();
        if self.removal == Removal::No && self.state.as_ref().is_some_and(|state| state.meta.deleting) {
            self.end_for_good();
        }
        let patience = if self.state.is_some() { PASSIVE_AFTER } else { ABSENT_AFTER };
        if now - self.asked_at >= patience && self.idle() {
            self.node.region.passivate::<Workspace>(self.id, self.myself.get_cell());
        }
    }

    fn idle(&self) -> bool {
        self.watchers.is_empty()
            && self.link.is_none()
            && self.save.is_none()
            && self.in_flight.is_empty()
            && self.projecting.is_empty()
            && self.graveyard.is_empty()
            && self.waiters.is_empty()
            && self.runs.is_empty()
            && self.tasks == 0
    }
}

#[derive(Debug)]
struct WorkspaceActor;

impl Actor for WorkspaceActor {
    type Msg = WorkspaceMessage;
    type State = Shell;
    type Arguments = (Uuid, Node, Option<Guard>, Loaded);

    async fn pre_start(
        &self,
        myself: ActorRef<WorkspaceMessage>,
        (id, node, guard, loaded): Self::Arguments,
    ) -> Result<Shell, ActorProcessingErr> {
        myself.send_interval(TICK, || WorkspaceMessage::Tick);
        let (state, gone) = match loaded {
            Loaded::Absent => (None, None),
            Loaded::Gone(gone) => (None, Some(*gone)),
            Loaded::Here(state) => (Some(state), None),
        };
        let mut shell = Shell {
            id,
            node,
            myself,
            guard,
            state,
            gone,
            watchers: BTreeMap::new(),
            link: None,
            newest_link: 0,
            vacated: BTreeMap::new(),
            save: None,
            save_tag: 0,
            left_out: BTreeMap::new(),
            in_flight: HashMap::new(),
            projecting: Vec::new(),
            stale: Vec::new(),
            graveyard: Vec::new(),
            waiters: Vec::new(),
            runs: HashMap::new(),
            unseen: BTreeSet::new(),
            busy: None,
            tasks: 0,
            removal: Removal::No,
            asked_at: Instant::now(),
            broken: false,
        };
        shell.resume();
        Ok(shell)
    }

    async fn handle(
        &self,
        _: ActorRef<WorkspaceMessage>,
        message: WorkspaceMessage,
        shell: &mut Shell,
    ) -> Result<(), ActorProcessingErr> {
        shell.take(message).await;
        if shell.broken {
            // Its sessions reconnect and resume: by then its successor knows what has landed.
            for watcher in shell.watchers.values() {
                watcher.session.tell(SessionMessage::NodeStops);
            }
            return Err("a commit was fenced, or its outcome is unknown".into());
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<WorkspaceMessage>,
        _: SupervisionEvent,
        _: &mut Shell,
    ) -> Result<(), ActorProcessingErr> {
        // It supervises nobody; its tasks report by message.
        Ok(())
    }
}

/// An error that only a store gives.
pub(super) fn store_error(error: impl std::fmt::Display) -> Refused {
    Refused::retry(format!("the store: {error}"))
}
