use proptest::prelude::*;

use super::*;

const WORKSPACE: Uuid = Uuid::from_u128(1);

async fn open() -> (tempfile::TempDir, Blobs) {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(dir.path()).await.unwrap();
    (dir, blobs)
}

fn content(n: usize, len: usize) -> Bytes {
    (0..len).map(|at| (n * 7 + at) as u8).collect::<Vec<_>>().into()
}

fn files(dir: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries.map(|entry| entry.unwrap().path()).map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

async fn part(blobs: &Blobs, blob: &BlobRef, range: Range<u64>) -> Vec<u8> {
    let parts: Vec<Bytes> = blobs.read(WORKSPACE, blob, range).await.unwrap().try_collect().await.unwrap();
    parts.concat()
}

#[tokio::test]
async fn what_was_put_is_read_whole_and_in_parts_also_after_reopening() {
    let (dir, blobs) = open().await;
    let bytes = content(1, 1_000_000);
    let blob = blobs.put(WORKSPACE, bytes.clone()).await.unwrap();
    let again = blobs.put(WORKSPACE, bytes.clone()).await.unwrap();
    let empty = blobs.put(WORKSPACE, Bytes::new()).await.unwrap();
    assert_eq!((blob.hash, blob.size), (*blake3::hash(&bytes).as_bytes(), 1_000_000));
    assert_eq!(again.hash, blob.hash);
    assert_ne!(again.key, blob.key);
    drop(blobs);
    let blobs = Blobs::open(dir.path()).await.unwrap();
    let json = serde_json::to_string(&blob).unwrap();
    let blob: BlobRef = serde_json::from_str(&json).unwrap();
    assert_eq!(blobs.read_all(WORKSPACE, &blob, 1_000_000).await.unwrap(), bytes);
    assert_eq!(part(&blobs, &blob, 300_000..700_001).await, bytes[300_000..700_001]);
    assert_eq!(part(&blobs, &blob, 5..5).await, b"");
    assert_eq!(blobs.read_all(WORKSPACE, &empty, 0).await.unwrap(), Bytes::new());
    assert!(matches!(blobs.read_all(WORKSPACE, &blob, 999_999).await, Err(BlobError::TooLarge { .. })));
    assert!(matches!(blobs.read(WORKSPACE, &blob, 0..1_000_001).await.err(), Some(BlobError::Range { .. })));
    #[allow(clippy::reversed_empty_ranges, reason = "it is what is refused")]
    let reversed = blobs.read(WORKSPACE, &blob, 5..4).await.err();
    assert!(matches!(reversed, Some(BlobError::Range { .. })));
    assert!(matches!(blobs.read(Uuid::from_u128(2), &blob, 0..1).await.err(), Some(BlobError::Missing)));
}

#[tokio::test]
async fn many_are_packed_and_answered_in_order() {
    let (dir, blobs) = open().await;
    let many: Vec<Bytes> = (0..200).map(|n| content(n, if n % 50 == 0 { 100_000 } else { n * 13 })).collect();
    let stored = blobs.put_many(WORKSPACE, many.clone()).await.unwrap();
    assert_eq!(files(dir.path()), 5);
    for (blob, bytes) in stored.iter().zip(&many) {
        assert_eq!(blobs.read_all(WORKSPACE, blob, u64::MAX).await.unwrap(), *bytes);
    }
    assert_eq!(part(&blobs, &stored[101], 10..20).await, many[101][10..20]);
    assert!(blobs.put_many(WORKSPACE, vec![]).await.unwrap().is_empty());
    let few = blobs.put_many(WORKSPACE, many[..3].to_vec()).await.unwrap();
    assert!(few.iter().all(|blob| !blob.key.contains('@')));
}

#[tokio::test]
async fn a_damaged_or_a_foreign_reference_is_noticed() {
    let (dir, blobs) = open().await;
    let bytes = content(1, 400_000);
    let blob = blobs.put(WORKSPACE, bytes.clone()).await.unwrap();
    let path = dir.path().join("objects").join(path(WORKSPACE, &blob.key));
    let mut damaged = bytes.to_vec();
    damaged[399_999] ^= 1;
    std::fs::write(&path, &damaged).unwrap();
    assert!(matches!(blobs.read_all(WORKSPACE, &blob, u64::MAX).await, Err(BlobError::Damaged)));
    std::fs::write(&path, &damaged[..399_999]).unwrap();
    assert!(matches!(blobs.read(WORKSPACE, &blob, 0..1).await.err(), Some(BlobError::Damaged)));
    let escaping = BlobRef { key: "../../../etc/passwd".to_owned(), ..blob };
    assert!(matches!(blobs.read(WORKSPACE, &escaping, 0..1).await.err(), Some(BlobError::Key)));
    let packed = blobs.put_many(WORKSPACE, vec![Bytes::from_static(b"12345"); 8]).await.unwrap().remove(7);
    let beyond = BlobRef { key: packed.key.replace("@35+5", "@36+5"), ..packed };
    assert!(matches!(blobs.read(WORKSPACE, &beyond, 0..5).await.err(), Some(BlobError::Damaged)));
}

#[tokio::test]
async fn an_upload_is_there_only_when_it_is_finished() {
    let (dir, blobs) = open().await;
    let (objects, unfinished) = (dir.path().join("objects"), dir.path().join("unfinished"));
    for len in [10, 3_000_000] {
        let bytes = content(3, len);
        let mut writer = blobs.writer(WORKSPACE).await.unwrap();
        for part in bytes.chunks(64 * 1024) {
            writer.write(Bytes::copy_from_slice(part)).await.unwrap();
        }
        assert_eq!(files(&objects.join(WORKSPACE.to_string())), 0);
        let blob = writer.finish().await.unwrap();
        assert_eq!((blob.hash, blob.size), (*blake3::hash(&bytes).as_bytes(), len as u64));
        assert_eq!(blobs.read_all(WORKSPACE, &blob, u64::MAX).await.unwrap(), bytes);
        blobs.delete(WORKSPACE, vec![blob.clone(), blob]).await;
        assert_eq!(files(dir.path()), 0);

        let mut aborted = blobs.writer(WORKSPACE).await.unwrap();
        aborted.write(bytes.clone()).await.unwrap();
        aborted.write(bytes.clone()).await.unwrap();
        aborted.abort().await;
        assert_eq!(files(dir.path()), 0);
    }
    let half = async || {
        let mut writer = blobs.writer(WORKSPACE).await.unwrap();
        writer.write(content(4, 2_000_000)).await.unwrap();
        writer.write(content(4, 2_000_000)).await.unwrap();
        assert_eq!(files(&unfinished), 1);
        writer
    };
    drop(half().await);
    let gone = async {
        while files(dir.path()) > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap();
    // As if the program had died.
    std::mem::forget(half().await);
    assert_eq!((files(&objects), files(&unfinished)), (0, 1));
    Blobs::open(dir.path()).await.unwrap();
    assert_eq!(files(dir.path()), 0);
}

#[tokio::test]
async fn a_sweep_keeps_what_is_referenced_and_what_is_young() {
    let (dir, blobs) = open().await;
    let single = blobs.put(WORKSPACE, content(1, 10)).await.unwrap();
    let loose = blobs.put(WORKSPACE, content(2, 10)).await.unwrap();
    let packed = blobs.put_many(WORKSPACE, (0..20).map(|n| content(n, 100)).collect()).await.unwrap();
    blobs.delete(WORKSPACE, packed[1..].to_vec()).await;
    let mut keep = BTreeSet::from([single.key.clone(), packed[0].key.clone()]);
    assert_eq!(blobs.sweep(WORKSPACE, &keep, Duration::from_secs(3600)).await.unwrap(), 0);
    assert_eq!(blobs.sweep(WORKSPACE, &keep, Duration::ZERO).await.unwrap(), 1);
    assert!(matches!(blobs.read_all(WORKSPACE, &loose, 100).await, Err(BlobError::Missing)));
    assert_eq!(blobs.read_all(WORKSPACE, &packed[0], 100).await.unwrap(), content(0, 100));
    keep.remove(&packed[0].key);
    assert_eq!(blobs.sweep(WORKSPACE, &keep, Duration::ZERO).await.unwrap(), 1);
    assert_eq!(files(dir.path()), 1);
    assert_eq!(blobs.sweep(Uuid::from_u128(9), &keep, Duration::ZERO).await.unwrap(), 0);
}

#[tokio::test]
async fn a_removed_workspace_leaves_nothing_and_may_begin_again() {
    let (dir, blobs) = open().await;
    blobs.put_many(WORKSPACE, (0..20).map(|n| content(n, 100)).collect()).await.unwrap();
    let other = blobs.put(Uuid::from_u128(2), content(1, 1)).await.unwrap();
    blobs.remove_workspace(WORKSPACE).await.unwrap();
    blobs.remove_workspace(WORKSPACE).await.unwrap();
    assert_eq!(files(dir.path()), 1);
    blobs.read_all(Uuid::from_u128(2), &other, 1).await.unwrap();
    blobs.put(WORKSPACE, content(1, 1)).await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn any_range_is_what_a_slice_says(sizes in prop::collection::vec(0..5000_usize, 9..20), picks in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (_dir, blobs) = open().await;
            let many: Vec<Bytes> = sizes.iter().enumerate().map(|(n, len)| content(n, *len)).collect();
            let stored = blobs.put_many(WORKSPACE, many.clone()).await.unwrap();
            for (which, a, b) in picks {
                let at = which.index(many.len());
                let (a, b) = (a.index(many[at].len() + 1), b.index(many[at].len() + 1));
                let range = a.min(b)..a.max(b);
                let read = part(&blobs, &stored[at], range.start as u64..range.end as u64).await;
                assert_eq!(read, many[at][range]);
            }
        });
    }
}
