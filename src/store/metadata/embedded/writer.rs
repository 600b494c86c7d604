//! The one writer: whatever queued up while a transaction became durable shares the next one.
//!
//! A durable commit costs milliseconds, so a batch costs what one job would.

use redb::{Database, WriteTransaction};
use tokio::sync::{mpsc, oneshot};

use super::{
    super::{ActivateError, Claim, Commit, CommitError, Guard, Partition, StoreError},
    handle::{Breaks, Handle},
    tables,
};

/// A batch is closed when it holds this many jobs,
const BATCH_JOBS: usize = 512;
/// or this many bytes: a job must not wait for the whole queue's rows.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// What the writer does, and where it answers. A caller who no longer waits misses only the answer.
pub(super) enum Job {
    Claim { node: String, reply: oneshot::Sender<Result<Claim, StoreError>> },
    Fence { p: Partition, epoch: u64, reply: oneshot::Sender<Result<Guard, ActivateError>> },
    Commit { p: Partition, guard: Guard, commit: Commit, reply: oneshot::Sender<Result<Guard, CommitError>> },
}

/// What a job came to inside the transaction.
#[derive(Clone, Copy)]
enum Ran {
    Claimed(Claim),
    Guarded(Guard),
    Fenced,
}

/// Runs until every sender is gone and the queue is empty.
pub(super) fn run(handle: &Handle, mut queue: mpsc::Receiver<Job>) {
    while let Some(first) = queue.blocking_recv() {
        let mut bytes = first.bytes();
        let mut batch = vec![first];
        while batch.len() < BATCH_JOBS && bytes < BATCH_BYTES {
            let Ok(job) = queue.try_recv() else { break };
            bytes += job.bytes();
            batch.push(job);
        }
        settle(handle, batch);
    }
}

/// Why a batch was not written.
enum Failure {
    /// The transaction was dropped uncommitted, so none of it happened.
    Nothing(redb::Error),
    /// It may have happened.
    Unknown(redb::Error),
}

impl<E: Into<redb::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Nothing(error.into())
    }
}

impl Breaks for Failure {
    fn breaks(&self) -> bool {
        let (Self::Nothing(error) | Self::Unknown(error)) = self;
        error.breaks()
    }
}

/// One transaction for all of them, then their answers.
fn settle(handle: &Handle, batch: Vec<Job>) {
    match handle.with(|database| transact(database, &batch)) {
        Ok(ran) => batch.into_iter().zip(ran).for_each(|(job, ran)| job.done(ran)),
        Err(Failure::Nothing(error)) => {
            let error = StoreError::database(error);
            tracing::error!(%error, "a metadata transaction failed");
            batch.into_iter().for_each(|job| job.failed(&error));
        }
        Err(Failure::Unknown(error)) => {
            let error = StoreError::database(error);
            tracing::error!(%error, "a metadata transaction has an unknown outcome");
            batch.into_iter().for_each(|job| job.unknown(&error));
        }
    }
}

fn transact(database: &Database, batch: &[Job]) -> Result<Vec<Ran>, Failure> {
    let write = database.begin_write()?;
    let ran = batch.iter().map(|job| job.run(&write)).collect::<Result<Vec<_>, _>>()?;
    // Where nothing was written, dropping the transaction spares a sync.
    if !ran.iter().all(|ran| matches!(ran, Ran::Fenced)) {
        write.commit().map_err(|error| Failure::Unknown(error.into()))?;
    }
    Ok(ran)
}

impl Job {
    fn bytes(&self) -> usize {
        match self {
            Self::Claim { .. } | Self::Fence { .. } => 64,
            Self::Commit { commit, .. } => commit.bytes(),
        }
    }

    fn run(&self, write: &WriteTransaction) -> Result<Ran, redb::Error> {
        let guard = match self {
            Self::Claim { node, .. } => return tables::claim(write, node).map(Ran::Claimed),
            Self::Fence { p, epoch, .. } => tables::fence(write, *p, *epoch)?,
            Self::Commit { p, guard, commit, .. } => tables::apply(write, *p, *guard, commit)?,
        };
        Ok(guard.map_or(Ran::Fenced, Ran::Guarded))
    }

    // The callers of the sends below may have stopped waiting, which is theirs to do.

    fn done(self, ran: Ran) {
        let _ = match (self, ran) {
            (Self::Claim { reply, .. }, Ran::Claimed(claim)) => reply.send(Ok(claim)).is_ok(),
            (Self::Fence { reply, .. }, Ran::Guarded(guard)) => reply.send(Ok(guard)).is_ok(),
            (Self::Fence { reply, .. }, Ran::Fenced) => reply.send(Err(ActivateError::Fenced)).is_ok(),
            (Self::Commit { reply, .. }, Ran::Guarded(guard)) => reply.send(Ok(guard)).is_ok(),
            (Self::Commit { reply, .. }, Ran::Fenced) => reply.send(Err(CommitError::Fenced)).is_ok(),
            (Self::Claim { .. }, Ran::Guarded(_) | Ran::Fenced)
            | (Self::Fence { .. } | Self::Commit { .. }, Ran::Claimed(_)) => {
                unreachable!("a job is answered with what it ran to")
            }
        };
    }

    fn failed(self, error: &StoreError) {
        let error = error.clone();
        let _ = match self {
            Self::Claim { reply, .. } => reply.send(Err(error)).is_ok(),
            Self::Fence { reply, .. } => reply.send(Err(error.into())).is_ok(),
            Self::Commit { reply, .. } => reply.send(Err(error.into())).is_ok(),
        };
    }

    /// A claim or a fence is safe to do again, so for these an unknown outcome is like a failure.
    fn unknown(self, error: &StoreError) {
        match self {
            Self::Commit { reply, .. } => drop(reply.send(Err(CommitError::Unknown))),
            again @ (Self::Claim { .. } | Self::Fence { .. }) => again.failed(error),
        }
    }
}
