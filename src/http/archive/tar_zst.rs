//! The tree as a tar file, compressed with Zstandard.

use std::io;

use async_compression::tokio::write::ZstdEncoder;
use futures::StreamExt as _;
use tar::{Builder, EntryType, Header};
use time::OffsetDateTime;
use tokio::io::{AsyncWrite, AsyncWriteExt as _, DuplexStream};

use super::{Entry, Tree, mode, relative};

/// Tar files are made of blocks of so many bytes.
const BLOCK: usize = 512;

pub(super) async fn pack(mut tree: Tree, to: DuplexStream) -> io::Result<()> {
    let mut to = ZstdEncoder::new(to);
    for file in std::mem::take(&mut tree.files) {
        match tree.entry(file).await? {
            None => {}
            Some(Entry::Directory(file)) => {
                to.write_all(&head(relative(&file.path), EntryType::Directory, 0o755, 0, file.updated_at, None)?)
                    .await?;
            }
            Some(Entry::Link(file, target)) => {
                let head = head(relative(&file.path), EntryType::Symlink, 0o777, 0, file.updated_at, Some(&target))?;
                to.write_all(&head).await?;
            }
            Some(Entry::File(file, blob)) => {
                let path = relative(&file.path);
                let head = head(path, EntryType::Regular, mode(&file).into(), blob.size, file.updated_at, None)?;
                to.write_all(&head).await?;
                let mut content =
                    tree.blobs.read(tree.workspace.id(), &blob, 0..blob.size).await.map_err(io::Error::other)?;
                let mut left = blob.size;
                while let Some(bytes) = content.next().await {
                    let bytes = bytes.map_err(io::Error::other)?;
                    left = left
                        .checked_sub(bytes.len() as u64)
                        .ok_or_else(|| io::Error::other("more than the size says"))?;
                    to.write_all(&bytes).await?;
                }
                if left > 0 {
                    return Err(io::Error::other("less than the size says"));
                }
                pad(&mut to, blob.size).await?;
            }
        }
    }
    to.write_all(&[0; 2 * BLOCK]).await?;
    to.shutdown().await
}

async fn pad(to: &mut (impl AsyncWrite + Unpin), size: u64) -> io::Result<()> {
    let over = (size % BLOCK as u64) as usize;
    if over > 0 { to.write_all(&[0; BLOCK][over..]).await } else { Ok(()) }
}

/// The blocks before an entry's content; several where its name or its target is long.
fn head(
    path: &str,
    kind: EntryType,
    mode: u32,
    size: u64,
    at: OffsetDateTime,
    target: Option<&str>,
) -> io::Result<Vec<u8>> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(u64::try_from(at.unix_timestamp()).unwrap_or(0));
    header.set_uid(1000);
    header.set_gid(1000);
    let mut blocks = Builder::new(Vec::new());
    match target {
        Some(target) => blocks.append_link(&mut header, path, target)?,
        // The content follows from elsewhere: what is appended here is the head alone.
        None => blocks.append_data(&mut header, path, io::empty())?,
    }
    let mut bytes = blocks.into_inner()?;
    // Less the two empty blocks that end a whole file.
    bytes.truncate(bytes.len() - 2 * BLOCK);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn heads_and_contents_make_a_tar_file() {
        let at = OffsetDateTime::UNIX_EPOCH;
        let long = format!("{}/file.txt", "directory".repeat(20));
        let mut bytes = head("d", EntryType::Directory, 0o755, 0, at, None).expect("a head");
        bytes.extend(head(&long, EntryType::Regular, 0o755, 5, at, None).expect("a head"));
        bytes.extend(b"hello");
        bytes.extend([0; BLOCK - 5]);
        bytes.extend(head("l", EntryType::Symlink, 0o777, 0, at, Some("../x")).expect("a head"));
        bytes.extend([0; 2 * BLOCK]);
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut entries = archive.entries().expect("entries");
        let entry = entries.next().expect("one").expect("whole");
        assert!(entry.header().entry_type().is_dir());
        let mut entry = entries.next().expect("two").expect("whole");
        assert_eq!(entry.path().expect("a path").to_str(), Some(long.as_str()));
        assert_eq!(entry.header().mode().expect("a mode"), 0o755);
        let mut content = String::new();
        entry.read_to_string(&mut content).expect("read");
        assert_eq!(content, "hello");
        let entry = entries.next().expect("three").expect("whole");
        assert_eq!(entry.link_name().expect("a name").expect("a target").to_str(), Some("../x"));
        assert!(entries.next().is_none());
    }
}
