//! A blob in the pieces in which it goes over a link.

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use playhouse_protocol::agent::PIECE_BYTES;
use uuid::Uuid;

use crate::{
    actors::Node,
    store::blobs::{BlobError, BlobRef},
};

/// A piece.
pub(super) struct Piece {
    /// Where it is.
    pub(super) offset: u64,
    /// What it holds.
    pub(super) bytes: Vec<u8>,
    /// Nothing comes after it.
    pub(super) last: bool,
}

/// A blob in pieces of [`PIECE_BYTES`]; an empty one is one empty piece.
pub(super) struct Pieces<S> {
    stream: S,
    buffer: BytesMut,
    offset: u64,
    size: u64,
    over: bool,
}

impl Pieces<()> {
    /// Begins.
    pub(super) async fn open(
        node: &Node,
        workspace: Uuid,
        blob: &BlobRef,
    ) -> Result<Pieces<impl Stream<Item = Result<Bytes, BlobError>> + Send + Unpin + 'static>, BlobError> {
        let stream = node.store.blobs.read(workspace, blob, 0..blob.size).await?;
        Ok(Pieces { stream, buffer: BytesMut::new(), offset: 0, size: blob.size, over: false })
    }
}

impl<S: Stream<Item = Result<Bytes, BlobError>> + Unpin> Pieces<S> {
    /// The next one; none after an error.
    pub(super) async fn next(&mut self) -> Option<Result<Piece, BlobError>> {
        if self.over {
            return None;
        }
        while self.buffer.len() < PIECE_BYTES && self.offset + (self.buffer.len() as u64) < self.size {
            match self.stream.next().await {
                Some(Ok(bytes)) => self.buffer.extend_from_slice(&bytes),
                Some(Err(error)) => {
                    self.over = true;
                    return Some(Err(error));
                }
                None => break,
            }
        }
        let bytes = self.buffer.split_to(self.buffer.len().min(PIECE_BYTES)).to_vec();
        let offset = self.offset;
        self.offset += bytes.len() as u64;
        let last = self.offset >= self.size;
        self.over = last || bytes.is_empty();
        (last || !bytes.is_empty()).then_some(Ok(Piece { offset, bytes, last }))
    }
}
