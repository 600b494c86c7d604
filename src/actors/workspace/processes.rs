//! The processes of its sandbox: made, listed, started by the link's pusher, ended, and crowded out of the listing.

use time::OffsetDateTime;
use tokio::sync::watch;
use uuid::Uuid;

use super::{
    RunRequest, WorkspaceAnswer,
    actor::Shell,
    land::Asked,
    own::TaskResult,
    pusher::Item,
    rows::{self, ProcessRow},
    runs,
    state::Decision,
};
use crate::{
    actors::{
        Caller, Code, Refused,
        process::{ProcessMessage, ProcessRecord},
        sandbox::SandboxMessage,
        session::SessionMessage,
    },
    clock,
    store::metadata::Commit,
};

/// A process that is being made.
#[derive(Debug)]
pub(super) struct PendingRun {
    asked: Asked,
    request: Box<RunRequest>,
    sandbox_id: Uuid,
}

impl Shell {
    /// Makes a process for a run.
    pub(super) fn make_process(&mut self, asked: Asked, request: Box<RunRequest>, sandbox_id: Uuid) {
        let Some(process_id) = self.state.as_ref().map(|state| state.fresh_id()) else { return };
        let record = ProcessRecord {
            id: process_id,
            workspace_id: self.id,
            sandbox_id,
            user_id: asked.caller.user_id,
            command: request.command.clone(),
            pty: request.pty.is_some(),
            created_at: clock::now(),
        };
        self.runs.insert(process_id, PendingRun { asked, request, sandbox_id });
        // An idle sandbox hears of it at once, and does not end under it; one that is or will be suspended goes on.
        self.tell_busy(false);
        let sandbox = self.node.sandbox(sandbox_id);
        self.spawn(async move {
            if let Err(error) = sandbox.cast(SandboxMessage::Wake).await {
                tracing::warn!(%error, ?sandbox, "a sandbox can't be told that it is wanted");
            }
            TaskResult::Done
        });
        let process = self.node.process(process_id);
        self.spawn(async move {
            let made = process.call(|reply| ProcessMessage::Init { record, reply }).await;
            TaskResult::ProcessMade { process_id, made: made.unwrap_or_else(|error| Err(error.into())) }
        });
    }

    /// A process was made, or could not be.
    pub(super) async fn process_made(&mut self, process_id: Uuid, made: Result<(), Refused>) {
        let Some(PendingRun { asked, request, sandbox_id }) = self.runs.remove(&process_id) else { return };
        let listed = match made {
            Err(refused) => Err(refused),
            Ok(()) => self.list_process(process_id, &asked, &request, sandbox_id).await,
        };
        if listed.is_err() {
            self.remove_processes(vec![process_id]);
        }
        let started = listed.is_ok();
        self.answer(asked, listed).await;
        if started {
            for watcher in self.watchers.values().filter(|watcher| watcher.sandbox_id == sandbox_id) {
                watcher.session.tell(SessionMessage::NewProcess { process_id });
            }
            if let Some(linked) = self.link.as_ref().filter(|linked| linked.link.sandbox_id == sandbox_id) {
                linked.pusher.push(Item::Start { start: runs::start(process_id, &request), ask: None });
            }
        }
        self.tell_busy(false);
    }

    async fn list_process(
        &mut self,
        process_id: Uuid,
        asked: &Asked,
        request: &RunRequest,
        sandbox_id: Uuid,
    ) -> Result<WorkspaceAnswer, Refused> {
        let state = self.state.as_ref().filter(|state| !state.meta.deleting).ok_or(Code::WorkspaceNotFound)?;
        if state.active().is_none_or(|(active, _)| active != sandbox_id) {
            return Err(Refused::new(Code::SandboxUnavailable, "the sandbox has ended meanwhile"));
        }
        let row = ProcessRow { sandbox_id, run: Some(request.clone()), ended_at: None };
        let crowded = state.crowded_out();
        let mut decision = Decision::answer(WorkspaceAnswer::Ran { process_id, sandbox_id });
        decision.commit.deletes.extend(crowded.iter().map(|id| rows::process(*id)));
        decision.commit.put_json(rows::process(process_id), &row);
        let answer = self.land(decision, Some(asked)).await?;
        if let Some(state) = self.state.as_mut() {
            state.processes.insert(process_id, row);
            for id in &crowded {
                state.processes.remove(id);
            }
        }
        self.remove_processes(crowded);
        Ok(answer)
    }

    fn remove_processes(&mut self, ids: Vec<Uuid>) {
        if ids.is_empty() {
            return;
        }
        let processes: Vec<_> = ids.into_iter().map(|id| self.node.process(id)).collect();
        self.spawn(async move {
            for process in processes {
                if let Err(error) = process.call(|reply| ProcessMessage::Remove { reply }).await {
                    tracing::warn!(%error, ?process, "a process is left over");
                }
            }
            TaskResult::Done
        });
    }

    /// A process has ended.
    pub(super) async fn process_ended(&mut self, process_id: Uuid) {
        let Some(row) = self.state.as_mut().and_then(|state| state.processes.get_mut(&process_id)) else { return };
        if row.ended_at.is_some() {
            return;
        }
        end_row(row, clock::now());
        let mut commit = Commit::default();
        commit.put_json(rows::process(process_id), row);
        // A row that says that it runs is put right when its process is asked at the next link.
        let _ = self.commit(commit).await;
        self.tell_busy(false);
    }

    /// Tells the sandbox whether anything runs, when that has changed or it may not have heard.
    pub(super) fn tell_busy(&mut self, again: bool) {
        let Some(state) = self.state.as_ref() else { return };
        let Some((sandbox_id, _)) = state.active() else { return };
        let running = state.processes.values().any(|row| row.sandbox_id == sandbox_id && row.ended_at.is_none());
        let busy = running || self.runs.values().any(|run| run.sandbox_id == sandbox_id);
        if let Some((id, told)) = &self.busy
            && *id == sandbox_id
        {
            told.send_if_modified(|told| std::mem::replace(told, busy) != busy || again);
            return;
        }
        let (told, mut news) = watch::channel(busy);
        self.busy = Some((sandbox_id, told));
        let sandbox = self.node.sandbox(sandbox_id);
        // One task, so that what is told last is what holds.
        tokio::spawn(async move {
            loop {
                let busy = *news.borrow_and_update();
                if let Err(error) = sandbox.cast(SandboxMessage::Busy(busy)).await {
                    tracing::warn!(%error, ?sandbox, "a sandbox can't be told whether anything runs");
                }
                if news.changed().await.is_err() {
                    return;
                }
            }
        });
    }

    /// The programs that its agent may not have started yet, to be asked first.
    pub(super) fn unstarted(&self, sandbox_id: Uuid) -> Vec<Item> {
        let Some(state) = self.state.as_ref() else { return Vec::new() };
        let asks: Caller = state.meta.owner.clone();
        let running = state.processes.iter().filter(|(_, row)| row.sandbox_id == sandbox_id && row.ended_at.is_none());
        running
            .filter_map(|(id, row)| {
                let start = runs::start(*id, row.run.as_ref()?);
                Some(Item::Start { start, ask: Some(asks.clone()) })
            })
            .collect()
    }
}

/// A process is over: what it was started with is not needed any more.
pub(super) fn end_row(row: &mut ProcessRow, now: OffsetDateTime) {
    row.ended_at = Some(now);
    row.run = None;
}
