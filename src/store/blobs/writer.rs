//! An upload of unknown length.

use std::fmt;

use bytes::{Bytes, BytesMut};
use opendal::Writer;
use uuid::Uuid;

use super::{BlobError, BlobRef, Blobs, key::Key, off_the_runtime, path};

/// An upload that stays below is kept in memory and stored like any other small content.
const MEMORY_BYTES: usize = 256 * 1024;
/// How much is given to the storage at once.
const WRITE_BYTES: usize = 1024 * 1024;

/// An upload. Dropped unfinished it leaves nothing under a final name.
pub struct BlobWriter {
    blobs: Blobs,
    workspace: Uuid,
    hasher: blake3::Hasher,
    size: u64,
    memory: BytesMut,
    /// Once it is too long for memory.
    object: Option<(Key, Writer)>,
}

impl fmt::Debug for BlobWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobWriter")
            .field("workspace", &self.workspace)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl BlobWriter {
    pub(super) fn new(blobs: Blobs, workspace: Uuid) -> Self {
        let (hasher, memory) = (blake3::Hasher::new(), BytesMut::new());
        Self { blobs, workspace, hasher, size: 0, memory, object: None }
    }

    /// How much was written so far, in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Writes on.
    ///
    /// # Errors
    /// When the storage fails; the upload is then good for nothing but [`Self::abort`].
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), BlobError> {
        self.size += bytes.len() as u64;
        self.hasher.update(&bytes);
        if let Some((_, writer)) = &mut self.object {
            return Ok(writer.write(bytes).await?);
        }
        self.memory.extend_from_slice(&bytes);
        if self.memory.len() > MEMORY_BYTES {
            let key = Key::stream();
            let path = path(self.workspace, &key.object);
            let mut writer = self.blobs.0.operator.writer_with(&path).chunk(WRITE_BYTES).await?;
            writer.write(self.memory.split().freeze()).await?;
            self.object = Some((key, writer));
        }
        Ok(())
    }

    /// Stores it durably.
    ///
    /// # Errors
    /// When it is not.
    pub async fn finish(mut self) -> Result<BlobRef, BlobError> {
        let Some((key, mut writer)) = self.object.take() else {
            return self.blobs.put(self.workspace, self.memory.split().freeze()).await;
        };
        let (writer, closed) = off_the_runtime(async move {
            let closed = writer.close().await;
            Ok((writer, closed))
        })
        .await?;
        if let Err(error) = closed {
            self.object = Some((key, writer));
            self.abort().await;
            return Err(error.into());
        }
        self.blobs.sync(self.workspace).await?;
        Ok(BlobRef { hash: *self.hasher.finalize().as_bytes(), key: key.to_string(), size: self.size })
    }

    /// Gives it up.
    pub async fn abort(mut self) {
        if let Some((_, writer)) = self.object.take() {
            abort(writer).await;
        }
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if let Some((_, writer)) = self.object.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(abort(writer));
        }
    }
}

async fn abort(mut writer: Writer) {
    if let Err(error) = writer.abort().await {
        // The next start removes what is left.
        tracing::warn!(%error, "an unfinished upload is left");
    }
}
