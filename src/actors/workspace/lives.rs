//! The lives of its sandbox, one at a time, and the processes in them.
//!
//! Invariant: at most one sandbox is not over. Its row is committed before it is made, so that a crash between leaves
//! no sandbox that nobody knows of.

use std::time::Duration;

use futures::future::join_all;
use playhouse_protocol::client::ServerMessage;
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    RunRequest, WorkspaceAnswer,
    actor::Shell,
    land::Asked,
    own::TaskResult,
    processes::end_row,
    rows::{self, SandboxRow},
    state::Decision,
};
use crate::{
    actors::{
        Caller, Code, Refused, Role,
        process::ProcessMessage,
        quota,
        sandbox::{SandboxCommand, SandboxMessage},
        session::SessionMessage,
        tenant::TenantMessage,
        views::SandboxView,
    },
    check, clock,
    invariant::Inv,
    store::metadata::Commit,
};

/// How long a request waits for a sandbox that is being made or ended.
const WAIT: Duration = Duration::from_secs(45);

/// What somebody wants a sandbox for.
#[derive(Debug)]
pub(super) enum Wish {
    /// To run a program in it.
    Run(Box<RunRequest>),
    /// To have it, of this instance type.
    Sandbox(Option<String>),
}

/// Somebody who waits for a sandbox.
#[derive(Debug)]
pub(super) struct Waiter {
    asked: Asked,
    wish: Wish,
    until: Instant,
    /// It was made for this one.
    made: bool,
}

impl Shell {
    /// Takes a wish for a sandbox.
    pub(super) async fn wish(&mut self, asked: Asked, wish: Wish) {
        if matches!(wish, Wish::Run(_)) {
            let running = self.state.as_ref().map_or(0, |state| state.running());
            let wished = self.waiters.iter().filter(|waiter| matches!(waiter.wish, Wish::Run(_))).count();
            if running + self.runs.len() + wished >= quota::RUNNING {
                let why = format!("at most {} programs run in a workspace at once", quota::RUNNING);
                return self.answer(asked, Err(Refused::new(Code::QuotaExceeded, why))).await;
            }
        }
        self.in_flight(&asked);
        self.waiters.push(Waiter { asked, wish, until: Instant::now() + WAIT, made: false });
        self.advance().await;
    }

    /// Serves those who wait for a sandbox, if there is one or one can be made.
    async fn advance(&mut self) {
        let Some(state) = self.state.as_ref().filter(|_| !self.waiters.is_empty()) else { return };
        match state.active() {
            None => self.make_sandbox().await,
            Some((id, row)) => match &row.view {
                // It is being made; or it is ending, and the next one is made when it is over.
                None => {}
                Some(view) if view.ends() => {}
                Some(view) => {
                    let view = view.clone();
                    self.serve(id, &view).await;
                }
            },
        }
    }

    async fn serve(&mut self, sandbox_id: Uuid, view: &SandboxView) {
        for Waiter { asked, wish, made, .. } in std::mem::take(&mut self.waiters) {
            match wish {
                Wish::Sandbox(_) => {
                    let answer = WorkspaceAnswer::Sandbox { sandbox: view.clone(), created: made };
                    let answer = self.land(Decision::answer(answer), Some(&asked)).await;
                    self.answer(asked, answer).await;
                }
                Wish::Run(request) => self.make_process(asked, request, sandbox_id),
            }
        }
    }

    async fn make_sandbox(&mut self) {
        let Some(state) = self.state.as_ref() else { return };
        let Some(first) = self.waiters.first_mut() else { return };
        let sandbox_id = state.fresh_id();
        let settings = &self.node.settings;
        let default = settings.instance_types.first().map(|instance| instance.name.clone());
        let wished = if let Wish::Sandbox(wished) = &first.wish { wished.clone() } else { None };
        let Some(instance_type) = wished.or(default) else {
            return self.refuse_waiters(&Code::SandboxUnavailable.into()).await;
        };
        let tier = state.tier(&first.asked.caller).to_owned();
        let owner = Caller { tier, ..state.meta.owner.clone() };
        if let Err(refused) = self.node.tenant(owner.org_id).room_for_sandbox(&owner, sandbox_id).await {
            return self.refuse_waiters(&refused).await;
        }
        first.made = true;
        let message_for = (self.id, first.asked.caller.clone(), state.template().name.to_owned(), instance_type);
        let row = SandboxRow { view: None, over_at: None, settled: false };
        let mut commit = Commit::default();
        commit.put_json(rows::sandbox(sandbox_id), &row);
        if let Err(refused) = self.commit(commit).await {
            self.tell_owner(sandbox_id, false);
            return self.refuse_waiters(&refused).await;
        }
        if let Some(state) = self.state.as_mut() {
            let active = state.active().map(|(id, _)| id);
            check!(Inv::OneSandbox, active.is_none(), "{sandbox_id} is made beside {active:?}");
            state.sandboxes.insert(sandbox_id, row);
        }
        let sandbox = self.node.sandbox(sandbox_id);
        self.spawn(async move {
            let (workspace_id, caller, template, instance_type) = message_for;
            let made = sandbox
                .call(|reply| SandboxMessage::Create { workspace_id, caller, template, instance_type, reply })
                .await
                .unwrap_or_else(|error| Err(error.into()));
            TaskResult::SandboxMade { sandbox_id, made }
        });
    }

    /// Tells the owner's organisation, which counts, whether a sandbox is there.
    pub(super) fn tell_owner(&mut self, sandbox_id: Uuid, there: bool) {
        let Some(owner) = self.state.as_ref().map(|state| &state.meta.owner) else { return };
        let (tenant, owner_id) = (self.node.tenant(owner.org_id), owner.user_id);
        self.spawn(async move {
            if let Err(error) = tenant.cast(TenantMessage::Sandbox { owner_id, sandbox_id, there }).await {
                tracing::warn!(%error, sandbox = %sandbox_id, "an owner's count of sandboxes is wrong until a restart");
            }
            TaskResult::Done
        });
    }

    async fn refuse_waiters(&mut self, refused: &Refused) {
        for waiter in std::mem::take(&mut self.waiters) {
            self.answer(waiter.asked, Err(refused.clone())).await;
        }
    }

    /// Those who have waited too long are refused.
    pub(super) async fn give_up_waiting(&mut self, now: Instant) {
        let late: Vec<Waiter> = self.waiters.extract_if(.., |waiter| waiter.until <= now).collect();
        for waiter in late {
            let why = "the sandbox is not there in time";
            self.answer(waiter.asked, Err(Refused::new(Code::SandboxUnavailable, why))).await;
        }
    }

    /// Nobody may wait for a sandbox any more: the workspace is gone.
    pub(super) async fn drop_waiters(&mut self) {
        self.refuse_waiters(&Code::WorkspaceNotFound.into()).await;
    }

    /// A sandbox was made, or could not be.
    pub(super) async fn sandbox_made(&mut self, sandbox_id: Uuid, made: Result<SandboxView, Refused>) {
        match made {
            Ok(view) => {
                let row = self.state.as_mut().and_then(|state| state.sandboxes.get_mut(&sandbox_id));
                // What it has told since then is newer.
                if let Some(row) = row.filter(|row| row.view.is_none()) {
                    row.view = Some(view);
                }
                self.advance().await;
            }
            Err(refused) => {
                // It may be there after all, when no answer came.
                let sandbox = self.node.sandbox(sandbox_id);
                self.spawn(async move {
                    let reason = "start_failed".to_owned();
                    // One that can't be asked now is asked by its host, which holds what no row here knows of.
                    let _ = sandbox.call(|reply| SandboxMessage::EndFor { reason, save: false, reply }).await;
                    TaskResult::Done
                });
                self.sandbox_over(sandbox_id, None).await;
                self.refuse_waiters(&refused).await;
            }
        }
    }

    /// Asks the sandboxes that may have changed unheard how they are.
    pub(super) fn look_at_sandboxes(&mut self) {
        for sandbox_id in std::mem::take(&mut self.unseen) {
            let sandbox = self.node.sandbox(sandbox_id);
            self.spawn(async move {
                let seen = sandbox
                    .call(|reply| SandboxMessage::Command { role: Role::Owner, command: SandboxCommand::Status, reply })
                    .await
                    .unwrap_or_else(|error| Err(error.into()));
                TaskResult::SandboxSeen { sandbox_id, seen }
            });
        }
    }

    /// A sandbox was asked how it is.
    pub(super) async fn sandbox_seen(&mut self, sandbox_id: Uuid, seen: Result<SandboxView, Refused>) {
        match seen {
            Ok(view) => self.sandbox_changed(view).await,
            // A crash came between its row here and its making.
            Err(refused) if refused.code == Code::SandboxNotFound => {
                self.sandbox_over(sandbox_id, None).await;
                self.advance().await;
            }
            Err(refused) => {
                tracing::warn!(%refused, sandbox = %sandbox_id, "a sandbox can't be asked how it is yet");
                self.unseen.insert(sandbox_id);
            }
        }
    }

    /// A sandbox tells how it is.
    pub(super) async fn sandbox_changed(&mut self, view: SandboxView) {
        let sandbox_id = view.id;
        let Some(row) = self.state.as_mut().and_then(|state| state.sandboxes.get_mut(&sandbox_id)) else { return };
        if row.over_at.is_some() {
            return;
        }
        let before = row.view.as_ref().map(|view| (view.status, view.reason.clone()));
        let changed = before != Some((view.status, view.reason.clone()));
        let ended = view.status.ended();
        if changed {
            let message = ServerMessage::Sandbox { status: view.status.as_str(), reason: view.reason.clone() };
            let watching = self.watchers.values().filter(|watcher| watcher.sandbox_id == sandbox_id);
            for watcher in watching {
                watcher.session.tell(SessionMessage::Say(message.clone()));
            }
        }
        if ended {
            self.sandbox_over(sandbox_id, Some(view)).await;
        } else if changed {
            row.view = Some(view);
            let row = row.clone();
            let mut commit = Commit::default();
            commit.put_json(rows::sandbox(sandbox_id), &row);
            // An activation asks it anyway.
            let _ = self.commit(commit).await;
        } else {
            row.view = Some(view);
        }
        self.advance().await;
    }

    async fn sandbox_over(&mut self, sandbox_id: Uuid, view: Option<SandboxView>) {
        let Some(row) = self.state.as_mut().and_then(|state| state.sandboxes.get_mut(&sandbox_id)) else { return };
        if let Some(view) = view {
            row.view = Some(view);
        }
        row.over_at = Some(clock::now());
        let row = row.clone();
        self.tell_owner(sandbox_id, false);
        let mut commit = Commit::default();
        commit.put_json(rows::sandbox(sandbox_id), &row);
        commit.delete(rows::batch(sandbox_id));
        // An activation that doesn't find this asks the sandbox, and is here again.
        let _ = self.commit(commit).await;
        if let Some(state) = self.state.as_mut() {
            state.batches.remove(&sandbox_id);
        }
        if self.link.as_ref().is_some_and(|linked| linked.link.sandbox_id == sandbox_id) {
            self.link = None;
        }
        if self.save.as_ref().is_some_and(|save| save.sandbox_id == sandbox_id) {
            self.save = None;
        }
        self.left_out.clear();
        self.settle(sandbox_id);
    }

    /// Tells all processes of a sandbox that it is over.
    pub(super) fn settle(&mut self, sandbox_id: Uuid) {
        let Some(state) = self.state.as_ref() else { return };
        let Some(row) = state.sandboxes.get(&sandbox_id) else { return };
        let reason =
            row.view.as_ref().and_then(|view| view.reason.clone()).unwrap_or_else(|| "sandbox_lost".to_owned());
        let running = state.processes.iter().filter(|(_, row)| row.sandbox_id == sandbox_id && row.ended_at.is_none());
        let processes: Vec<_> = running.map(|(id, _)| self.node.process(*id)).collect();
        self.spawn(async move {
            join_all(processes.iter().map(async |process| {
                for _ in 0..3 {
                    let reason = reason.clone();
                    match process.call(|reply| ProcessMessage::SandboxEnded { reason, reply }).await {
                        Ok(()) => return,
                        Err(error) => {
                            tracing::warn!(%error, ?process, "a process can't be told that its sandbox is over")
                        }
                    }
                }
            }))
            .await;
            TaskResult::Settled { sandbox_id }
        });
    }

    /// All processes of a sandbox know that it is over: now its sessions may end.
    pub(super) async fn settled(&mut self, sandbox_id: Uuid) {
        let Some(state) = self.state.as_mut() else { return };
        let mut commit = Commit::default();
        let now = clock::now();
        for (id, row) in &mut state.processes {
            if row.sandbox_id == sandbox_id && row.ended_at.is_none() {
                end_row(row, now);
                commit.put_json(rows::process(*id), row);
            }
        }
        if let Some(row) = state.sandboxes.get_mut(&sandbox_id) {
            row.settled = true;
            commit.put_json(rows::sandbox(sandbox_id), row);
        }
        // An activation that doesn't find this settles it again, which changes nothing.
        let _ = self.commit(commit).await;
        for watcher in self.watchers.values().filter(|watcher| watcher.sandbox_id == sandbox_id) {
            watcher.session.tell(SessionMessage::SandboxEnded);
        }
        self.advance().await;
    }

    /// Whether a sandbox is over and all its processes know.
    pub(super) fn is_settled(&self, sandbox_id: Uuid) -> bool {
        let row = self.state.as_ref().and_then(|state| state.sandboxes.get(&sandbox_id));
        row.is_some_and(|row| row.settled)
    }

    /// Sandboxes that ended long ago, and of whose processes nothing is listed, are forgotten.
    pub(super) async fn forget_sandboxes(&mut self) {
        let Some(state) = self.state.as_mut() else { return };
        let forgotten = state.forgettable_sandboxes(clock::now());
        if forgotten.is_empty() {
            // A task for nothing would look like work, and one that works never goes passive.
            return;
        }
        for id in &forgotten {
            state.sandboxes.remove(id);
            self.stale.push(rows::sandbox(*id));
        }
        let sandboxes: Vec<_> = forgotten.into_iter().map(|id| self.node.sandbox(id)).collect();
        self.spawn(async move {
            for sandbox in sandboxes {
                // One that can't be asked leaves a row of some hundred bytes.
                let _ = sandbox.call(|reply| SandboxMessage::Remove { reply }).await;
            }
            TaskResult::Done
        });
    }
}
