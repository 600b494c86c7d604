//! The tree as a zip file.

use std::io;

use async_zip::{Compression, ZipDateTime, ZipDateTimeBuilder, ZipEntryBuilder, base::write::ZipFileWriter};
use futures::{AsyncWriteExt as _, StreamExt as _};
use time::OffsetDateTime;
use tokio::io::{AsyncWriteExt as _, DuplexStream};
use tokio_util::compat::TokioAsyncWriteCompatExt as _;

use super::{Entry, Tree, mode, relative};

/// A file up to this size is packed in one go, with its lengths before it. In bytes.
const WHOLE_BYTES: u64 = 1024 * 1024;
/// More entries than this need the format's larger tables.
const SMALL_TABLE_ENTRIES: usize = 65_000;

// The type bits of a Unix mode.
const DIRECTORY: u16 = 0o040_000;
const FILE: u16 = 0o100_000;
const LINK: u16 = 0o120_000;

pub(super) async fn pack(mut tree: Tree, to: DuplexStream) -> io::Result<()> {
    let files = std::mem::take(&mut tree.files);
    let mut zip = ZipFileWriter::new(to.compat_write());
    if files.len() > SMALL_TABLE_ENTRIES {
        zip = zip.force_zip64();
    }
    for file in files {
        let Some(entry) = tree.entry(file).await? else { continue };
        let (name, at, unix, compression) = match &entry {
            Entry::Directory(file) => {
                (format!("{}/", relative(&file.path)), file.updated_at, DIRECTORY | 0o755, Compression::Stored)
            }
            Entry::Link(file, _) => {
                (relative(&file.path).to_owned(), file.updated_at, LINK | 0o777, Compression::Stored)
            }
            Entry::File(file, _) => {
                (relative(&file.path).to_owned(), file.updated_at, FILE | mode(file), Compression::Deflate)
            }
        };
        let head =
            ZipEntryBuilder::new(name.into(), compression).unix_permissions(unix).last_modification_date(dos(at));
        match entry {
            Entry::Directory(_) => zip.write_entry_whole(head, &[]).await.map_err(io::Error::other)?,
            Entry::Link(_, target) => {
                zip.write_entry_whole(head, target.as_bytes()).await.map_err(io::Error::other)?;
            }
            Entry::File(_, blob) if blob.size <= WHOLE_BYTES => {
                let content =
                    tree.blobs.read_all(tree.workspace.id(), &blob, WHOLE_BYTES).await.map_err(io::Error::other)?;
                zip.write_entry_whole(head, &content).await.map_err(io::Error::other)?;
            }
            Entry::File(_, blob) => {
                let mut content =
                    tree.blobs.read(tree.workspace.id(), &blob, 0..blob.size).await.map_err(io::Error::other)?;
                let mut entry = zip.write_entry_stream(head).await.map_err(io::Error::other)?;
                while let Some(bytes) = content.next().await {
                    entry.write_all(&bytes.map_err(io::Error::other)?).await?;
                }
                entry.close().await.map_err(io::Error::other)?;
            }
        }
    }
    let mut to = zip.close().await.map_err(io::Error::other)?.into_inner();
    to.shutdown().await
}

/// A time as zip files keep it: from 1980 on, in steps of two seconds.
fn dos(at: OffsetDateTime) -> ZipDateTime {
    if !(1980..=2107).contains(&at.year()) {
        return ZipDateTime::default();
    }
    ZipDateTimeBuilder::new()
        .year(at.year())
        .month(u32::from(u8::from(at.month())))
        .day(at.day().into())
        .hour(at.hour().into())
        .minute(at.minute().into())
        .second(at.second().into())
        .build()
}
