//! Landing decisions: the commit, and then everything that follows from it: answers, events, pushes, roles, the
//! organisations' indexes.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use playhouse_protocol::client::ServerMessage;
use ractor::RpcReplyPort;
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    WorkspaceAnswer,
    actor::{Shell, store_error},
    own::TaskResult,
    pusher::Item,
    rows,
    state::{Decision, Push},
};
use crate::{
    actors::{
        Caller, Code, Idempotency, Refused,
        idempotency::{self, Kept},
        session::SessionMessage,
    },
    clock,
    store::{
        blobs::BlobRef,
        metadata::{ActivateError, Commit, CommitError, Guard, Kind, Partition},
    },
};

/// How long content that the tree no longer names is kept: reads and archives that began before go on.
const GRACE: Duration = Duration::from_secs(60);
/// How many paths of one commit are remembered as vacated.
const VACATED: usize = 1000;
/// The pause between tries to reach an organisation's index, growing to this.
const PROJECT_PAUSE: Duration = Duration::from_secs(5);

/// An answer.
pub(super) type Answer = Result<WorkspaceAnswer, Refused>;

/// A request that is to be answered.
#[derive(Debug)]
pub struct Asked {
    /// Who asks.
    pub caller: Caller,
    /// Under which key.
    pub idempotency: Option<Idempotency>,
    /// The answer.
    pub reply: RpcReplyPort<Result<WorkspaceAnswer, Refused>>,
}

impl Asked {
    fn key(&self) -> Option<idempotency::Key> {
        self.idempotency.as_ref().map(|idempotency| idempotency::Key::of(self.caller.user_id, idempotency))
    }
}

/// Retries that wait for the first one's answer.
#[derive(Debug)]
pub(super) struct Waiting {
    fingerprint: String,
    replies: Vec<RpcReplyPort<Result<WorkspaceAnswer, Refused>>>,
}

impl Shell {
    /// Commits to the workspace's partition.
    pub(super) async fn commit(&mut self, mut commit: Commit) -> Result<(), Refused> {
        let guard = self.fence().await?;
        // A key that is put again here stays: deletes come before puts.
        let stale = std::mem::take(&mut self.stale);
        commit.deletes.extend(stale.iter().cloned());
        let partition = Partition::new(Kind::Workspace, self.id);
        match self.node.store.metadata.commit(partition, guard, commit).await {
            Ok(guard) => {
                self.guard = Some(guard);
                Ok(())
            }
            Err(CommitError::Failed(error)) => {
                tracing::error!(%error, workspace = %self.id, "nothing was committed");
                self.stale = stale;
                Err(store_error(error))
            }
            Err(error @ (CommitError::Fenced | CommitError::Unknown)) => {
                self.broken = true;
                Err(store_error(error))
            }
        }
    }

    /// What the next commit is guarded by. The partition of a workspace that is being made is fenced only now.
    async fn fence(&mut self) -> Result<Guard, Refused> {
        if let Some(guard) = self.guard {
            return Ok(guard);
        }
        let partition = Partition::new(Kind::Workspace, self.id);
        match self.node.store.metadata.activate(partition, self.node.epoch).await {
            Ok(activated) if activated.rows.is_empty() => {
                self.guard = Some(activated.guard);
                Ok(activated.guard)
            }
            Ok(_) => {
                self.broken = true;
                Err(Refused::retry("the workspace was made meanwhile"))
            }
            Err(ActivateError::Store(error)) => Err(store_error(error)),
            Err(error @ ActivateError::Fenced) => {
                self.broken = true;
                Err(store_error(error))
            }
        }
    }

    /// Commits a decision, with its answer under the request's idempotency key, and does what follows from it.
    pub(super) async fn land(&mut self, mut decision: Decision, asked: Option<&Asked>) -> Answer {
        let now = clock::now();
        let next = self.fence().await?.version + 1;
        let Some(state) = self.state.as_mut() else { return Err(Code::WorkspaceNotFound.into()) };
        let deleted = decision.meta.as_ref().unwrap_or(&state.meta).deleting;
        let mut projections = BTreeMap::new();
        if let Some(access) = &decision.access {
            projections = state.projections(access, deleted, next, now);
            for (org, row) in &projections {
                decision.commit.put_json(rows::intent(*org), row);
            }
        }
        let mut keep = None;
        if let Some((key, idempotency)) = asked.and_then(|asked| asked.key().zip(asked.idempotency.as_ref())) {
            let fingerprint = idempotency.fingerprint.clone();
            let kept = Kept { fingerprint, answer: Ok(decision.answer.clone()), at: now };
            decision.commit.put_json(key.row(), &kept);
            keep = Some((key, kept));
        }
        if decision.commit.is_empty() {
            return Ok(decision.answer);
        }
        let landed = self.commit(std::mem::take(&mut decision.commit)).await;
        let Some(state) = self.state.as_mut() else { return Err(Code::WorkspaceNotFound.into()) };
        if let Err(refused) = landed {
            state.refuse();
            return Err(refused);
        }
        if let Some((key, kept)) = keep {
            state.answers.keep(key, kept);
        }
        let accepted = state.accept(&decision);
        let orgs: Vec<Uuid> = projections.keys().copied().collect();
        state.intents.extend(projections);
        if !decision.pushes.is_empty() {
            let now = Instant::now();
            let vacated = decision.pushes.iter().filter_map(Push::vacated);
            self.vacated.extend(vacated.take(VACATED).map(|path| (path.to_owned(), now)));
            // Without a link nothing is lost: the next one begins with the tree as it stands.
            if let (Some(version), Some(linked)) = (accepted.version, self.pushes_to()) {
                linked.pusher.push(Item::Push { version, changes: decision.pushes });
            }
        }
        for event in accepted.events {
            self.say(&event);
        }
        self.bury(accepted.freed);
        if accepted.access {
            self.tell_roles();
        }
        for org in orgs {
            self.project(org);
        }
        Ok(decision.answer)
    }

    /// Whether a request was answered before, or is being answered; if so it is seen to.
    pub(super) fn answered_before(&mut self, asked: Asked) -> Option<Asked> {
        let Some((key, idempotency)) = asked.key().zip(asked.idempotency.as_ref()) else { return Some(asked) };
        let Some(state) = self.state.as_ref() else { return Some(asked) };
        let before = match state.answers.find(&key, &idempotency.fingerprint, clock::now()) {
            Err(reused) => Some(Err(reused)),
            Ok(before) => before.cloned(),
        };
        if let Some(before) = before {
            self.reply(asked, before, true);
            return None;
        }
        if let Some(waiting) = self.in_flight.get_mut(&key) {
            if waiting.fingerprint == idempotency.fingerprint {
                waiting.replies.push(asked.reply);
            } else {
                self.reply(asked, Err(Code::IdempotencyKeyReused.into()), false);
            }
            return None;
        }
        Some(asked)
    }

    /// From now on retries of this request wait for its answer.
    pub(super) fn in_flight(&mut self, asked: &Asked) {
        if let Some((key, idempotency)) = asked.key().zip(asked.idempotency.as_ref()) {
            let waiting = Waiting { fingerprint: idempotency.fingerprint.clone(), replies: Vec::new() };
            self.in_flight.entry(key).or_insert(waiting);
        }
    }

    /// Answers a request, and the retries that wait for it. A refusal that a retry can't change is kept.
    pub(super) async fn answer(&mut self, asked: Asked, answer: Answer) {
        let key = asked.key();
        if let (Some(key), Some(idempotency), Err(refused), Some(state)) =
            (&key, &asked.idempotency, &answer, self.state.as_mut())
            && refused.is_final()
            && refused.code != Code::IdempotencyKeyReused
            // Strangers leave nothing here.
            && state.role(&asked.caller, clock::now()).is_some()
        {
            let fingerprint = idempotency.fingerprint.clone();
            let kept = Kept { fingerprint, answer: answer.clone(), at: clock::now() };
            let mut commit = Commit::default();
            commit.put_json(key.row(), &kept);
            state.answers.keep(key.clone(), kept);
            // A refusal that could not be kept is decided anew by a retry.
            let _ = self.commit(commit).await;
        }
        let waiting = key.and_then(|key| self.in_flight.remove(&key));
        for reply in waiting.into_iter().flat_map(|waiting| waiting.replies) {
            let retry = Asked { caller: asked.caller.clone(), idempotency: None, reply };
            self.reply(retry, answer.clone(), true);
        }
        self.reply(asked, answer, true);
    }

    /// Sends an answer, once the organisations' indexes are as new as it is if it is to.
    pub(super) fn reply(&mut self, asked: Asked, answer: Answer, in_step: bool) {
        let behind = self.state.as_ref().is_some_and(|state| !state.intents.is_empty());
        if in_step && behind && answer.is_ok() {
            self.projecting.push((asked, answer));
        } else {
            // Who asked may have gone.
            let _ = asked.reply.send(answer);
        }
    }

    /// Brings an organisation's index up to the row it may lack.
    pub(super) fn project(&mut self, org: Uuid) {
        let Some(row) = self.state.as_ref().and_then(|state| state.intents.get(&org)).cloned() else { return };
        let tenant = self.node.tenant(org);
        self.spawn(async move {
            let version = row.version;
            let mut pause = Duration::from_millis(50);
            while let Err(error) = tenant.project(row.clone()).await {
                tracing::warn!(%error, workspace = %row.id, %org, "an organisation's index can't be reached yet");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PROJECT_PAUSE);
            }
            TaskResult::Projected { org, version }
        });
    }

    /// An organisation's index has this version.
    pub(super) async fn projected(&mut self, org: Uuid, version: u64) {
        let Some(state) = self.state.as_mut() else { return };
        if state.intents.get(&org).is_some_and(|row| row.version <= version) {
            state.intents.remove(&org);
            self.stale.push(rows::intent(org));
        }
        if state.intents.is_empty() {
            for (asked, answer) in std::mem::take(&mut self.projecting) {
                // As in `reply`.
                let _ = asked.reply.send(answer);
            }
            self.finish_removal().await;
        }
    }

    /// Tells every session.
    pub(super) fn say(&self, message: &ServerMessage) {
        for watcher in self.watchers.values() {
            watcher.session.tell(SessionMessage::Say(message.clone()));
        }
    }

    /// Tells the sessions whose role has changed; one without a role watches no longer.
    pub(super) fn tell_roles(&mut self) {
        let Some(state) = self.state.as_ref() else { return };
        if state.meta.deleting {
            // Whoever watches sees it end.
            return;
        }
        let now = clock::now();
        self.watchers.retain(|_, watcher| {
            let role = state.role(&watcher.caller, now);
            if role != Some(watcher.role) {
                watcher.session.tell(SessionMessage::Role(role));
            }
            watcher.role = role.unwrap_or(watcher.role);
            role.is_some()
        });
    }

    /// Content that is not named any more goes after a while.
    pub(super) fn bury(&mut self, blobs: Vec<BlobRef>) {
        let due = Instant::now() + GRACE;
        self.graveyard.extend(blobs.into_iter().map(|blob| (due, blob)));
    }

    /// Deletes what was buried long enough ago and is not named again.
    pub(super) fn delete_buried(&mut self, now: Instant) {
        let due: Vec<BlobRef> = self.graveyard.extract_if(.., |(due, _)| *due <= now).map(|(_, blob)| blob).collect();
        if due.is_empty() {
            return;
        }
        let keys: HashSet<&str> = due.iter().map(|blob| blob.key.as_str()).collect();
        let named: HashSet<String> = self
            .state
            .iter()
            .flat_map(|state| {
                let files = state.tree.iter().filter_map(|(_, entry)| entry.row.node.blob());
                files.chain(state.environment.iter().map(|row| &row.blob))
            })
            .filter(|blob| keys.contains(blob.key.as_str()))
            .map(|blob| blob.key.clone())
            .collect();
        let dead: Vec<BlobRef> = due.into_iter().filter(|blob| !named.contains(&blob.key)).collect();
        let (blobs, id) = (self.node.store.blobs.clone(), self.id);
        self.spawn(async move {
            blobs.delete(id, dead).await;
            TaskResult::Done
        });
    }

    /// Ends links whose time has come, and forgets kept answers that are old.
    pub(super) async fn expire(&mut self) {
        let now = clock::now();
        let Some(state) = self.state.as_mut().filter(|state| !state.meta.deleting) else { return };
        let old = state.answers.prune(now);
        self.stale.extend(old.iter().map(idempotency::Key::row));
        let ended = state.access.ended(now);
        if !ended.is_empty()
            && let Some(decision) = state.remove_links(&ended)
        {
            // What can't be committed now is tried again at the next tick; the roles have ended all the same.
            let _ = self.land(decision, None).await;
            self.tell_roles();
        }
        // Rows that no commit comes along to remove: enough of them are worth one.
        if self.stale.len() > 500 {
            // As above.
            let _ = self.commit(Commit::default()).await;
        }
    }
}
