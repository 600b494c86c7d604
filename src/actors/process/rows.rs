//! A process's partition: one row for its life, one for each answer kept under an idempotency key; and the queue of
//! commits, one in flight at a time, so that the handler never waits for the store.

use std::collections::{BTreeMap, VecDeque};

use ractor::{ActorRef, RpcReplyPort};
use serde::{Deserialize, Serialize};

use super::{Done, Own, ProcessAnswer, ProcessMessage, state::Life};
use crate::{
    actors::{Caller, Idempotency, Refused},
    store::metadata::{Commit, CommitError, Guard, Metadata, Partition},
};

/// The row of its life.
pub const LIFE: &str = "process";
/// The rows of kept answers.
pub const KEPT: &str = "idem/";
/// How long an answer is kept, in milliseconds.
const KEPT_MS: u64 = 24 * 60 * 60 * 1000;

/// What follows a commit.
#[derive(Debug)]
pub enum After {
    /// The process is there: answer.
    Made(RpcReplyPort<Result<(), Refused>>),
    /// It is marked as running.
    Started,
    /// Its cancel is accepted: do it, and answer.
    Cancelled(Asked),
    /// An answer is kept: give it.
    Answered(Asked, Result<ProcessAnswer, Refused>),
    /// Its end is kept: tell everyone.
    Ended,
    /// Everything is removed: answer.
    Removed(RpcReplyPort<()>),
}

/// Who waits for a command's answer.
#[derive(Debug)]
pub struct Asked {
    /// Whom to answer.
    pub reply: RpcReplyPort<Result<ProcessAnswer, Refused>>,
    /// The row that keeps the answer, and what it was asked.
    pub kept: Option<(String, String)>,
}

/// An answer that is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kept {
    /// Of what was asked.
    pub fingerprint: String,
    /// What was answered.
    pub answer: Result<ProcessAnswer, Refused>,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}

impl Kept {
    /// Whether it is kept no longer.
    #[must_use]
    pub const fn is_over(&self, now_ms: u64) -> bool {
        now_ms >= self.at_ms.saturating_add(KEPT_MS)
    }
}

/// The keys of answers that are kept no longer: those whose time is over, and the oldest of more than `most`.
#[must_use]
pub fn stale(kept: &BTreeMap<String, Kept>, now_ms: u64, most: usize) -> Vec<String> {
    let mut ages: Vec<_> = kept.iter().map(|(key, kept)| (kept.at_ms, key)).collect();
    ages.sort_unstable();
    let many = kept.len().saturating_sub(most);
    let old = |key: &str| kept.get(key).is_some_and(|kept| kept.is_over(now_ms));
    let stale = ages.into_iter().enumerate().filter(|(index, (_, key))| *index < many || old(key));
    stale.map(|(_, (_, key))| key.clone()).collect()
}

/// The row of an idempotency key.
#[must_use]
pub fn kept_key(caller: &Caller, idempotency: &Idempotency) -> String {
    format!("{KEPT}{}/{}", caller.user_id.simple(), blake3::hash(idempotency.key.as_bytes()).to_hex())
}

/// Whether a retry shall get this answer again, or have another try.
#[must_use]
pub fn is_kept(answer: &Result<ProcessAnswer, Refused>) -> bool {
    answer.as_ref().err().is_none_or(Refused::is_final)
}

/// The commits of one process.
#[derive(Debug)]
pub struct Rows {
    metadata: Metadata,
    partition: Partition,
    guard: Guard,
    in_flight: bool,
    queue: VecDeque<(Commit, Option<Box<After>>)>,
}

impl Rows {
    /// The commits of this partition, activated under this guard.
    #[must_use]
    pub const fn new(metadata: Metadata, partition: Partition, guard: Guard) -> Self {
        Self { metadata, partition, guard, in_flight: false, queue: VecDeque::new() }
    }

    /// The guard, unique to each activation and commit.
    #[must_use]
    pub const fn guard(&self) -> Guard {
        self.guard
    }

    /// Whether a commit waits or is under way.
    #[must_use]
    pub fn busy(&self) -> bool {
        self.in_flight || !self.queue.is_empty()
    }

    /// Commits, and then does what follows.
    pub fn commit(&mut self, commit: Commit, after: Option<After>, myself: &ActorRef<ProcessMessage>) {
        self.queue.push_back((commit, after.map(Box::new)));
        self.next(myself);
    }

    /// Commits the row of its life.
    pub fn keep(&mut self, life: &Life, after: Option<After>, myself: &ActorRef<ProcessMessage>) {
        let mut commit = Commit::default();
        commit.put_json(LIFE, life);
        self.commit(commit, after, myself);
    }

    fn next(&mut self, myself: &ActorRef<ProcessMessage>) {
        if self.in_flight {
            return;
        }
        let Some((commit, after)) = self.queue.pop_front() else { return };
        self.in_flight = true;
        let (metadata, partition, guard, myself) = (self.metadata.clone(), self.partition, self.guard, myself.clone());
        tokio::spawn(async move {
            let result = metadata.commit(partition, guard, commit).await;
            // A process that has ended its actor waits for no commit: its successor reads what became of it.
            let _ = myself.send_message(ProcessMessage::Own(Own(Done::Committed(result, after))));
        });
    }

    /// A commit has ended. `Err` when another owner has the partition, or when it is not known what is in it.
    ///
    /// # Errors
    /// Then the actor must end.
    pub fn committed(
        &mut self,
        result: Result<Guard, CommitError>,
        myself: &ActorRef<ProcessMessage>,
    ) -> Result<Result<(), Refused>, CommitError> {
        self.in_flight = false;
        let done = match result {
            Ok(guard) => {
                self.guard = guard;
                Ok(())
            }
            Err(CommitError::Failed(error)) => Err(Refused::retry(error.to_string())),
            Err(error @ (CommitError::Fenced | CommitError::Unknown)) => return Err(error),
        };
        self.next(myself);
        Ok(done)
    }
}
