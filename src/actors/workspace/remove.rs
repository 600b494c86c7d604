//! Deleting a workspace: first nobody sees it any more, then its sandboxes end, and whoever watches is shown the rest of
//! it; then what it has elsewhere goes, last its rows. A crash between leaves a mark by which the next activation goes on.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;

use super::{
    WorkspaceAnswer,
    actor::Shell,
    land::Asked,
    own::TaskResult,
    rows::{self, Gone, Meta},
    state::Decision,
};
use crate::{
    actors::{process::ProcessMessage, sandbox::SandboxMessage, session::SessionMessage},
    store::metadata::Commit,
};

/// How long its sessions may take for the last output and statuses.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);

/// How far the removal of a deleted workspace is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Removal {
    /// It is to be begun, or begun again.
    No,
    /// Its sandboxes are being ended.
    Ending,
    /// Its sessions take what is left for them, until then.
    Leaving(Instant),
    /// All that it has beside its rows is being removed.
    Removing,
    /// It has nothing left beside its rows.
    Torn,
}

impl Shell {
    /// Deletes the workspace. Answered when nobody sees it any more.
    pub(super) async fn remove(&mut self, asked: Asked) {
        let Some(state) = self.state.as_ref() else { return };
        let meta = Meta { deleting: true, ..state.meta.clone() };
        let mut decision = Decision::answer(WorkspaceAnswer::Done);
        decision.access = Some(state.access.clone());
        decision.commit.put_json(rows::META, &meta);
        decision.meta = Some(meta);
        let answer = self.land(decision, None).await;
        let done = answer.is_ok();
        self.answer(asked, answer).await;
        if done {
            self.link = None;
            self.save = None;
            self.drop_waiters().await;
            self.end_for_good();
        }
    }

    /// Ends its sandboxes.
    pub(super) fn end_for_good(&mut self) {
        let Some(state) = self.state.as_ref() else { return };
        self.removal = Removal::Ending;
        let living: Vec<_> =
            state.sandboxes.iter().filter(|(_, row)| row.over_at.is_none()).map(|(id, _)| *id).collect();
        let sandboxes: Vec<_> = state.sandboxes.keys().map(|id| self.node.sandbox(*id)).collect();
        for sandbox in living {
            self.tell_owner(sandbox, false);
        }
        self.spawn(async move {
            let ended = async {
                for sandbox in sandboxes {
                    let reason = "workspace_deleted".to_owned();
                    let ended = sandbox.call(|reply| SandboxMessage::EndFor { reason, save: false, reply }).await;
                    ended.map_err(|error| format!("{sandbox:?}: {error}"))?;
                }
                Ok(())
            };
            TaskResult::EndedForGood(ended.await)
        });
    }

    /// Its sandboxes are over, or are told again.
    pub(super) fn ended_for_good(&mut self, result: Result<(), String>) {
        match result {
            Ok(()) => {
                self.removal = Removal::Leaving(Instant::now() + LEAVE_WITHIN);
                self.go_on_removing();
            }
            Err(error) => self.not_removed(&error),
        }
    }

    /// Removes all that it has beside its rows once no session watches any more, or has had its time.
    pub(super) fn go_on_removing(&mut self) {
        let Removal::Leaving(until) = self.removal else { return };
        if !self.watchers.is_empty() && Instant::now() < until {
            return;
        }
        for watcher in std::mem::take(&mut self.watchers).into_values() {
            watcher.session.tell(SessionMessage::WorkspaceDeleted);
        }
        self.tear_down();
    }

    fn tear_down(&mut self) {
        let Some(state) = self.state.as_ref() else { return };
        self.removal = Removal::Removing;
        let sandboxes: Vec<_> = state.sandboxes.keys().map(|id| self.node.sandbox(*id)).collect();
        let processes: Vec<_> = state.processes.keys().map(|id| self.node.process(*id)).collect();
        let (store, id) = (self.node.store.clone(), self.id);
        self.spawn(async move {
            let removed = async {
                for sandbox in sandboxes {
                    let removed = sandbox.call(|reply| SandboxMessage::Remove { reply }).await;
                    removed.map_err(|error| format!("{sandbox:?}: {error}"))?;
                }
                let removed =
                    join_all(processes.iter().map(|process| process.call(|reply| ProcessMessage::Remove { reply })));
                for removed in removed.await {
                    removed.map_err(|error| format!("a process: {error}"))?;
                }
                store.replay.remove_workspace(id).await.map_err(|error| format!("its output: {error}"))?;
                store.blobs.remove_workspace(id).await.map_err(|error| format!("its files: {error}"))
            };
            TaskResult::TornDown(removed.await)
        });
    }

    /// What it had beside its rows is gone, or is tried again.
    pub(super) async fn torn_down(&mut self, result: Result<(), String>) {
        match result {
            Ok(()) => {
                self.removal = Removal::Torn;
                self.finish_removal().await;
            }
            Err(error) => self.not_removed(&error),
        }
    }

    fn not_removed(&mut self, error: &str) {
        tracing::warn!(error, workspace = %self.id, "a deleted workspace can't be removed yet");
        self.removal = Removal::No;
    }

    /// Removes its rows, when nothing else is left of it.
    pub(super) async fn finish_removal(&mut self) {
        let Some(state) = self.state.as_ref().filter(|state| self.removal == Removal::Torn && state.intents.is_empty())
        else {
            return;
        };
        let gone = Gone { owner_id: state.meta.owner.user_id, made_under: state.meta.made_under.clone() };
        let mut commit = Commit { drop_partition: true, ..Commit::default() };
        if gone.made_under.is_some() {
            commit.put_json(rows::GONE, &gone);
        }
        match self.commit(commit).await {
            Ok(()) => {
                self.state = None;
                self.gone = Some(gone).filter(|gone| gone.made_under.is_some());
                self.graveyard.clear();
            }
            // The next tick ends and removes what is no more, and is here again.
            Err(_) => self.removal = Removal::No,
        }
    }
}
