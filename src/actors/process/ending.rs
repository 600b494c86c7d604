//! The end: held until the log has everything, then committed, then told.

use playhouse_protocol::{
    EventId,
    agent::{Exit, NodeFrame},
};
use ractor::RpcReplyPort;

use super::{
    Done, Process,
    output::MAX_SEQUENCE,
    rows::After,
    shell::{Reload, Shell},
    state::{Outcome, outcome_of},
    viewers::Viewers,
};
use crate::{
    actors::{
        Refused,
        sandbox::{Fate, SandboxMessage},
        workspace::WorkspaceMessage,
    },
    check, clock,
    invariant::Inv,
    store::metadata::{Commit, CommitError, Guard},
};

/// After a commit of the end that failed the next one waits so long.
const COMMIT_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);
/// How long an end waits for what the sandbox says of it. The memory of a program that ran out of it is freed for seconds
/// on a busy machine, and its host answers only then; a reason that was left out can't be told later.
const FATE_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

/// Whether the sandbox was asked if it ended the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// Not yet, or there is no need.
    NotAsked,
    /// It has not answered.
    Asked,
    /// It has, or will not.
    Known,
}

impl Shell {
    /// The agent says that it has ended.
    pub(super) fn exited(&mut self, exit: Exit) {
        self.started();
        if self.life.as_ref().is_some_and(|life| !life.is_over()) {
            // No program has printed so much: what an agent makes up is not waited for.
            let last_sequence = if exit.last_sequence > MAX_SEQUENCE { 0 } else { exit.last_sequence };
            self.exit = Some(Exit { last_sequence, ..exit });
        }
    }

    /// Goes on towards the end, if there is one and nothing is in its way.
    pub(super) fn settle(&mut self) {
        let end = self.tail.received();
        let bytes = self.tail.bytes_up_to(end);
        let Some(life) = &mut self.life else { return };
        if let Some(exit) = &self.exit
            && self.lose_to.is_none()
            && !life.is_over()
        {
            if exit.last_sequence > end.sequence {
                // It says that it has sent everything: what is not here did not get through.
                let expected = end.sequence + 1;
                let found = exit.last_sequence + 1;
                self.exit = None;
                return self.gap(expected, found);
            }
            life.end(outcome_of(exit, end, bytes, clock::now()));
            let answered = self.inputs.end();
            self.answer_inputs(answered);
        }
        let Some(life) = &self.life else { return };
        let stored = !self.appending && self.tail.stored() == end && self.lose_to.is_none();
        let Some(ended) = life.ended().filter(|_| stored && !self.committing_end) else { return };
        match self.blame {
            Blame::NotAsked if life.suspects_sandbox() => {
                self.blame = Blame::Asked;
                self.ask_fate(true);
            }
            Blame::Asked => {}
            Blame::NotAsked | Blame::Known => {
                if let Some(rows) = &mut self.rows {
                    self.committing_end = true;
                    rows.keep(&ended, Some(After::Ended), &self.myself);
                }
            }
        }
    }

    /// Asks the sandbox what may end its programs: how often it ran out of memory, and whether it is being ended.
    pub(super) fn ask_fate(&self, at_end: bool) {
        let Some(life) = &self.life else { return };
        let sandbox = self.node.sandbox(life.record.sandbox_id);
        self.background(async move {
            let asked = sandbox.call(|reply| SandboxMessage::Fate { now: at_end, reply });
            let fate = tokio::time::timeout(FATE_WITHIN, asked).await;
            Done::Fate { at_end, fate: fate.ok().and_then(Result::ok) }
        });
    }

    /// The sandbox has answered.
    pub(super) fn fate(&mut self, at_end: bool, fate: Option<Fate>) {
        let (Some(life), Some(rows)) = (&mut self.life, &mut self.rows) else { return };
        if at_end {
            self.blame = Blame::Known;
            if let Some(fate) = fate {
                life.blame(fate);
            }
        } else {
            life.oom_kills = life.oom_kills.or(fate.map(|fate| fate.oom_kills));
            if !life.is_over() {
                rows.keep(life, Some(After::Started), &self.myself);
            }
        }
    }

    /// Its sandbox is over, and it with it.
    pub(super) fn sandbox_ended(&mut self, reason: String, reply: RpcReplyPort<()>) {
        let over = self.life.as_ref().is_none_or(|life| life.outcome().is_some());
        if over {
            // Whoever asked may have gone.
            let _ = reply.send(());
            return;
        }
        self.waiting_end.push(reply);
        (self.link, self.pace, self.on_link, self.lose_to) = (None, None, false, None);
        let last = self.tail.received();
        let bytes = self.tail.bytes_up_to(last);
        let Some(life) = &mut self.life else { return };
        // An exit that was told and could not be reached, for a gap, counts for nothing: nobody can fill it now.
        let (reason, finished_at) = (Some(reason), clock::now());
        if life.end(Outcome { exit_code: None, signal: None, reason, finished_at, last, bytes: Some(bytes) }) {
            self.exit = None;
            let answered = self.inputs.end();
            self.answer_inputs(answered);
        }
    }

    /// A commit has ended.
    pub(super) fn committed(
        &mut self,
        result: Result<Guard, CommitError>,
        after: Option<Box<After>>,
    ) -> Result<(), Reload> {
        let Some(rows) = &mut self.rows else { return Ok(()) };
        let done = match rows.committed(result, &self.myself) {
            Ok(done) => done,
            Err(error) => return Err(Reload { id: self.id, why: error.to_string() }),
        };
        match after.map(|after| *after) {
            None => {}
            Some(After::Made(reply)) => {
                if done.is_err() {
                    self.life = None;
                }
                // Whoever asked may have gone.
                let _ = reply.send(done);
            }
            Some(After::Started) => {
                if let Err(error) = done {
                    // It is also known from its log, and its end is committed with the start.
                    tracing::warn!(process = %self.id, %error, "a start is not kept");
                }
            }
            Some(After::Cancelled(asked)) => self.cancelled(asked, done),
            Some(After::Answered(asked, answer)) => {
                if let Err(error) = done {
                    tracing::warn!(process = %self.id, %error, "an answer is not kept");
                }
                self.give(asked, answer);
            }
            Some(After::Ended) => self.ended(done),
            Some(After::Removed(reply)) => self.removed(reply, done),
        }
        Ok(())
    }

    fn ended(&mut self, done: Result<(), Refused>) {
        if let Err(error) = done {
            tracing::error!(process = %self.id, %error, "an end is not committed; it is tried again");
            self.background(async {
                tokio::time::sleep(COMMIT_AGAIN).await;
                Done::CommitEndAgain
            });
            return;
        }
        self.committing_end = false;
        let (stored, received) = (self.tail.stored(), self.tail.received());
        check!(Inv::StatusLast, stored == received, "{stored} is stored of {received} at the end of {}", self.id);
        self.life = self.life.as_ref().and_then(|life| life.ended());
        self.viewers.end();
        self.serve_all();
        self.finish();
        self.held.clear();
        self.send_agent(NodeFrame::Forget { process_id: self.id });
        (self.link, self.pace, self.on_link) = (None, None, false);
        for reply in self.waiting_end.drain(..) {
            // Whoever asked may have gone.
            let _ = reply.send(());
        }
    }

    /// It has ended: its log's time begins to run, and its workspace is told.
    pub(super) fn finish(&self) {
        let (Some(life), Some(log)) = (&self.life, self.log()) else { return };
        let workspace = self.node.workspace(life.record.workspace_id);
        let (replay, process_id) = (self.node.store.replay.clone(), self.id);
        tokio::spawn(async move {
            if let Err(error) = replay.finish(log).await {
                // The next activation tells it again.
                tracing::warn!(%error, ?log, "a log is not told that its process is over");
            }
            if let Err(error) = workspace.cast(WorkspaceMessage::ProcessEnded { process_id }).await {
                tracing::warn!(%error, process = %process_id, "a workspace is not told that its process is over");
            }
        });
    }

    /// Its workspace is deleted.
    pub(super) fn remove(&mut self, reply: RpcReplyPort<()>) {
        let (Some(rows), Some(_)) = (&mut self.rows, &self.life) else {
            // Whoever asked may have gone.
            let _ = reply.send(());
            return;
        };
        let commit = Commit { drop_partition: true, ..Commit::default() };
        rows.commit(commit, Some(After::Removed(reply)), &self.myself);
    }

    fn removed(&mut self, reply: RpcReplyPort<()>, done: Result<(), Refused>) {
        if let Err(error) = done {
            // Without an answer it is asked for again.
            tracing::error!(process = %self.id, %error, "a process is not removed");
            return;
        }
        let log = self.log();
        let answered = self.inputs.end();
        self.answer_inputs(answered);
        self.send_agent(NodeFrame::Forget { process_id: self.id });
        (self.life, self.link, self.pace, self.on_link, self.exit) = (None, None, None, false, None);
        (self.viewers, self.tail) = (Viewers::default(), super::tail::Tail::new(EventId::ZERO));
        self.sessions.clear();
        self.kept.clear();
        let replay = self.node.store.replay.clone();
        tokio::spawn(async move {
            if let Some(log) = log
                && let Err(error) = replay.remove(log).await
            {
                tracing::error!(%error, ?log, "a log is not removed");
            }
            // Whoever asked may have gone.
            let _ = reply.send(());
        });
        // What is asked of it from now on starts it anew, as one that never was.
        self.node.region.passivate::<Process>(self.id, self.myself.get_cell());
    }
}
