//! What can go wrong with the metadata store, and how certain it is.

use std::{io, sync::Arc};

/// The store could not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Its writer has ended, which only follows from an earlier panic.
    #[error("the metadata store's writer has ended")]
    Closed,
    /// Something is bigger than the store takes.
    #[error("{what} of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// How big it is.
        bytes: usize,
        /// How big it may be.
        limit: usize,
    },
    /// The database failed. Shared, since one failed transaction answers many callers.
    #[error("the metadata database: {0}")]
    Database(#[source] Arc<redb::Error>),
}

impl StoreError {
    pub(super) fn database(error: impl Into<redb::Error>) -> Self {
        Self::Database(Arc::new(error.into()))
    }
}

/// Why a partition was not activated.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ActivateError {
    /// It was activated under a higher epoch: another node owns it.
    #[error("the partition belongs to a later epoch")]
    Fenced,
    /// The store failed. Activating anew is safe, whatever became of this one.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a commit was not answered with a new guard.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// The guard no longer stands: certainly nothing changed.
    #[error("the partition was fenced")]
    Fenced,
    /// Certainly nothing changed.
    #[error("nothing was committed: {0}")]
    Failed(#[from] StoreError),
    /// It may have happened.
    #[error("the commit may or may not have happened")]
    Unknown,
}

/// Why the store does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("another process has the metadata store open")]
    Locked,
    /// It is of another schema.
    #[error("the metadata store is of schema {found}, this program of {known}: {}", advice(*.found, *.known))]
    Schema {
        /// The schema it is of.
        found: u32,
        /// The schema this program knows.
        known: u32,
    },
    /// The directory or the file.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The file is no database, damaged, or unreadable.
    #[error("the metadata database: {0}")]
    Database(#[source] redb::Error),
}

const fn advice(found: u32, known: u32) -> &'static str {
    if found < known { "run `playhouse migrate`" } else { "a newer `playhouse` is needed" }
}

impl From<redb::DatabaseError> for OpenError {
    fn from(error: redb::DatabaseError) -> Self {
        match error {
            redb::DatabaseError::DatabaseAlreadyOpen | redb::DatabaseError::LockProtocolMismatch => Self::Locked,
            other => Self::database(other),
        }
    }
}

impl OpenError {
    pub(super) fn database(error: impl Into<redb::Error>) -> Self {
        match error.into() {
            redb::Error::Io(error) => Self::Io(error),
            other => Self::Database(other),
        }
    }
}
