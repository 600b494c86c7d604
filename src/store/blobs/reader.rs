//! Streaming a blob out of its object, checked as far as can be.

use std::ops::Range;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use opendal::{FuturesBytesStream, Operator};
use uuid::Uuid;

use super::{BlobError, BlobRef, key::Key, path};

/// How much is read at once.
const READ_BYTES: usize = 256 * 1024;

/// See [`super::Blobs::read`].
pub(super) async fn read(
    operator: &Operator,
    workspace: Uuid,
    blob: &BlobRef,
    range: Range<u64>,
) -> Result<impl Stream<Item = Result<Bytes, BlobError>> + Send + Unpin + use<>, BlobError> {
    if range.start > range.end || range.end > blob.size {
        return Err(BlobError::Range { range, size: blob.size });
    }
    let key = Key::parse(&blob.key).ok_or(BlobError::Key)?;
    let path = path(workspace, &key.object);
    let length = operator.stat(&path).await?.content_length();
    let offset = match key.place {
        Some((offset, size)) if size == blob.size && offset.checked_add(size).is_some_and(|end| end <= length) => {
            offset
        }
        None if length == blob.size => 0,
        Some(_) | None => return Err(BlobError::Damaged),
    };
    let whole = range == (0..blob.size);
    let left = range.end - range.start;
    let bytes = if left == 0 {
        None
    } else {
        let reader = operator.reader_with(&path).chunk(READ_BYTES).await?;
        Some(reader.into_bytes_stream(offset + range.start..offset + range.end).await?)
    };
    let check = whole.then(|| (blake3::Hasher::new(), blob.hash));
    let reading = Reading { bytes, left, check, over: false };
    Ok(stream::unfold(reading, |mut reading| async move { reading.next().await.map(|item| (item, reading)) }).boxed())
}

struct Reading {
    bytes: Option<FuturesBytesStream>,
    left: u64,
    /// The hash so far, and what it ought to become.
    check: Option<(blake3::Hasher, [u8; 32])>,
    over: bool,
}

impl Reading {
    async fn next(&mut self) -> Option<Result<Bytes, BlobError>> {
        if self.over {
            return None;
        }
        let next = match &mut self.bytes {
            Some(bytes) => bytes.next().await,
            None => None,
        };
        let result = match next {
            Some(Ok(bytes)) => {
                if let Some((hasher, _)) = &mut self.check {
                    hasher.update(&bytes);
                }
                match self.left.checked_sub(bytes.len() as u64) {
                    Some(left) => {
                        self.left = left;
                        return Some(Ok(bytes));
                    }
                    None => Err(BlobError::Damaged),
                }
            }
            Some(Err(error)) => Err(error.into()),
            None if self.left > 0 => Err(BlobError::Damaged),
            None => match &self.check {
                Some((hasher, hash)) if hasher.finalize() != *hash => Err(BlobError::Damaged),
                Some(_) | None => Ok(()),
            },
        };
        self.over = true;
        result.err().map(Err)
    }
}
