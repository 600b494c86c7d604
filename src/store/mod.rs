//! What outlives the node: metadata (redb), replay logs (files) and blobs (opendal). Only this module names redb and opendal.

use std::path::Path;

mod blocking;

pub mod blobs;
pub mod metadata;
pub mod replay;

pub use blobs::{BlobRef, Blobs};
pub use metadata::{Commit, Guard, Kind, Metadata, Partition};
pub use replay::{LogKey, Replay, Retention};

/// The three stores of a node. Clones share them.
#[derive(Debug, Clone)]
pub struct Store {
    /// Rows, fences and the index of ids.
    pub metadata: Metadata,
    /// Output logs of processes.
    pub replay: Replay,
    /// Contents of files.
    pub blobs: Blobs,
}

/// Why the stores do not open.
#[derive(Debug, thiserror::Error)]
pub enum StoreOpenError {
    /// The metadata store.
    #[error("the metadata store: {0}")]
    Metadata(#[from] metadata::OpenError),
    /// The replay logs.
    #[error("the replay logs: {0}")]
    Replay(#[from] std::io::Error),
    /// The blobs.
    #[error("the blobs: {0}")]
    Blobs(#[from] blobs::BlobError),
}

impl Store {
    /// Opens `metadata/`, `replay/` and `blobs/` below `dir`, metadata first: its file lock guards the other two.
    ///
    /// # Errors
    /// The first store that does not open.
    pub async fn open(dir: &Path, retention: Retention) -> Result<Self, StoreOpenError> {
        let metadata = Metadata::open(&dir.join("metadata")).await?;
        let replay = Replay::open(&dir.join("replay"), retention).await?;
        let blobs = Blobs::open(&dir.join("blobs")).await?;
        Ok(Self { metadata, replay, blobs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_store_is_opened_by_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Retention::default()).await.unwrap();
        let second = Store::open(dir.path(), Retention::default()).await;
        assert!(matches!(second, Err(StoreOpenError::Metadata(metadata::OpenError::Locked))));
        drop(store);
        Store::open(dir.path(), Retention::default()).await.unwrap();
    }
}
