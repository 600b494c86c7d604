//! The open database, and opening it again.
//!
//! After an error of its file redb refuses everything, reads too, until it is opened anew
//! (`StorageError::PreviousIo`): a disk that was full for a moment would otherwise end the node.

use std::{
    path::PathBuf,
    sync::{PoisonError, RwLock},
};

use redb::Database;

use super::{super::OpenError, CACHE_BYTES, with_opening_lock};

/// Whether an error leaves the database unusable until it is opened again.
pub(super) trait Breaks {
    fn breaks(&self) -> bool;
}

impl Breaks for redb::Error {
    fn breaks(&self) -> bool {
        matches!(self, Self::Io(_) | Self::PreviousIo | Self::DatabaseClosed)
    }
}

pub(super) struct Handle {
    path: PathBuf,
    open: RwLock<Open>,
}

struct Open {
    /// None after it broke.
    database: Option<Database>,
    /// How often it was opened: who sees it break closes this one, not the next.
    opened: u64,
}

impl Handle {
    pub(super) fn new(path: PathBuf, database: Database) -> Self {
        Self { path, open: RwLock::new(Open { database: Some(database), opened: 1 }) }
    }

    /// Runs something on the database, which is opened first if it is not. One that breaks on the way is closed, for the
    /// next to open it.
    pub(super) fn with<T, E: Breaks + From<redb::Error>>(
        &self,
        run: impl FnOnce(&Database) -> Result<T, E>,
    ) -> Result<T, E> {
        loop {
            let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
            let Some(database) = &open.database else {
                drop(open);
                self.reopen()?;
                continue;
            };
            let (result, opened) = (run(database), open.opened);
            drop(open);
            if result.as_ref().is_err_and(Breaks::breaks) {
                self.close(opened);
            }
            return result;
        }
    }

    fn close(&self, opened: u64) {
        // Whoever still reads ends first.
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if open.opened == opened && open.database.take().is_some() {
            tracing::error!(path = %self.path.display(), "the metadata store's file failed; it is opened again");
        }
    }

    fn reopen(&self) -> Result<(), redb::Error> {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if open.database.is_none() {
            let dir = self.path.parent().unwrap_or(&self.path);
            // Not made anew: a file that is gone is no empty store.
            let open_it = || Ok(Database::builder().set_cache_size(CACHE_BYTES).open(&self.path)?);
            let database = with_opening_lock(dir, open_it).map_err(|error| match error {
                OpenError::Database(error) => error,
                OpenError::Io(error) => redb::Error::Io(error),
                other => redb::Error::Io(std::io::Error::other(other)),
            })?;
            tracing::info!(path = %self.path.display(), "the metadata store is open again");
            (open.database, open.opened) = (Some(database), open.opened + 1);
        }
        Ok(())
    }
}
