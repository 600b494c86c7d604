//! Deleting a workspace: first nobody sees it any more, then what it has elsewhere goes, last its rows. A crash between
//! leaves a mark by which the next activation goes on.

use futures::future::join_all;

use super::{
    WorkspaceAnswer,
    actor::Shell,
    land::Asked,
    own::TaskResult,
    rows::{self, Gone, Meta},
    state::Decision,
};
use crate::{
    actors::{process::ProcessMessage, sandbox::SandboxMessage},
    store::metadata::Commit,
};

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
            self.tear_down();
        }
    }

    /// Removes all that it has beside its rows.
    pub(super) fn tear_down(&mut self) {
        let Some(state) = self.state.as_ref() else { return };
        self.tearing = true;
        let living: Vec<_> =
            state.sandboxes.iter().filter(|(_, row)| row.over_at.is_none()).map(|(id, _)| *id).collect();
        let sandboxes: Vec<_> = state.sandboxes.keys().map(|id| self.node.sandbox(*id)).collect();
        let processes: Vec<_> = state.processes.keys().map(|id| self.node.process(*id)).collect();
        let (store, id) = (self.node.store.clone(), self.id);
        for sandbox in living {
            self.tell_owner(sandbox, false);
        }
        self.spawn(async move {
            let removed = async {
                for sandbox in sandboxes {
                    let reason = "workspace_deleted".to_owned();
                    let ended = sandbox.call(|reply| SandboxMessage::EndFor { reason, save: false, reply }).await;
                    ended.map_err(|error| format!("{sandbox:?}: {error}"))?;
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
        self.tearing = false;
        match result {
            Ok(()) => {
                self.torn = true;
                self.finish_removal().await;
            }
            Err(error) => tracing::warn!(error, workspace = %self.id, "a deleted workspace can't be removed yet"),
        }
    }

    /// Removes its rows, when nothing else is left of it.
    pub(super) async fn finish_removal(&mut self) {
        let Some(state) = self.state.as_ref().filter(|state| self.torn && state.intents.is_empty()) else { return };
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
            // The next tick tears down what is no more, and is here again.
            Err(_) => self.torn = false,
        }
    }
}
