use std::{fs, path::PathBuf, time::Duration};

use playhouse_protocol::Stream;

use super::*;

mod model;

const SMALL: Retention =
    Retention { process_bytes: 64 * 1024, workspace_bytes: 1024 * 1024, ttl: Duration::from_secs(3600) };

fn key(process: u128) -> LogKey {
    LogKey { workspace: Uuid::from_u128(1), process: Uuid::from_u128(process) }
}

fn chunk(sequence: u64, len: usize) -> Arc<Chunk> {
    let bytes = (0..len).map(|n| (sequence as usize * 31 + n) as u8).collect();
    Arc::new(Chunk { sequence, stream: Stream::Stdout, at_ms: sequence, carry: vec![0xe2], bytes, last: false })
}

fn chunks(sequences: std::ops::RangeInclusive<u64>, len: usize) -> Vec<Arc<Chunk>> {
    sequences.map(|sequence| chunk(sequence, len)).collect()
}

/// Everything after an id, read in pages.
async fn read_all(replay: &Replay, key: LogKey, after: EventId, max_bytes: usize) -> (Vec<Item>, EventId) {
    let (mut items, mut next) = (Vec::new(), after);
    loop {
        let page = replay.read(key, next, max_bytes).await.unwrap();
        assert!(page.end || page.next > next, "a page that leads nowhere");
        next = page.next;
        items.extend(page.items);
        if page.end {
            return (items, next);
        }
    }
}

fn events(items: &[Item]) -> Vec<(u64, u64)> {
    let event = |item: &Item| match item {
        Item::Chunk { generation, chunk } => Some((*generation, chunk.sequence)),
        Item::Lost(_) => None,
    };
    items.iter().filter_map(event).collect()
}

fn losses(items: &[Item]) -> Vec<Lost> {
    let loss = |item: &Item| match item {
        Item::Lost(lost) => Some(lost.clone()),
        Item::Chunk { .. } => None,
    };
    items.iter().filter_map(loss).collect()
}

fn segments(dir: &Path, key: LogKey) -> Vec<PathBuf> {
    let dir = dir.join(key.workspace.to_string()).join(key.process.to_string());
    let mut paths = workspace::entries(&dir).unwrap();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.sort();
    paths
}

#[tokio::test]
async fn what_was_appended_is_read_again_also_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let replay = Replay::open(dir.path(), SMALL).await.unwrap();
    assert_eq!(replay.bounds(key(1)).await.unwrap(), None);
    assert!(replay.read(key(1), EventId::ZERO, 1).await.unwrap().end);
    assert_eq!(replay.append(key(1), 1, chunks(1..=3, 20)).await.unwrap(), EventId::new(0, 3));
    // Some again, some new.
    assert_eq!(replay.append(key(1), 1, chunks(2..=5, 20)).await.unwrap(), EventId::new(0, 5));
    assert!(matches!(replay.append(key(1), 1, chunks(7..=7, 20)).await, Err(AppendError::Gap { expected: 6 })));
    assert!(matches!(replay.append(key(2), 1, chunks(2..=2, 20)).await, Err(AppendError::Gap { expected: 1 })));
    let torn = vec![chunk(6, 1), chunk(8, 1)];
    assert!(matches!(replay.append(key(1), 1, torn).await, Err(AppendError::Gap { expected: 7 })));
    replay.finish(key(1)).await.unwrap();
    drop(replay);

    let replay = Replay::open(dir.path(), SMALL).await.unwrap();
    let bounds = replay.bounds(key(1)).await.unwrap().unwrap();
    let expected =
        Bounds { first: EventId::new(0, 1), last: EventId::new(0, 5), retained_bytes: 100, bytes: 100, finished: true };
    assert_eq!(bounds, expected);
    let (items, next) = read_all(&replay, key(1), EventId::new(0, 2), 1).await;
    assert_eq!(events(&items), [(0, 3), (0, 4), (0, 5)]);
    assert_eq!(next, EventId::new(0, 5));
    match &items[0] {
        Item::Chunk { chunk: read, .. } => assert_eq!(*read, chunk(3, 20)),
        Item::Lost(lost) => panic!("{lost:?}"),
    }
}

#[tokio::test]
async fn an_older_epoch_is_fenced_also_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let replay = Replay::open(dir.path(), SMALL).await.unwrap();
    replay.append(key(1), 2, chunks(1..=1, 5)).await.unwrap();
    replay.append(key(1), 4, vec![]).await.unwrap();
    assert!(matches!(replay.append(key(1), 3, chunks(2..=2, 5)).await, Err(AppendError::Fenced)));
    drop(replay);
    let replay = Replay::open(dir.path(), SMALL).await.unwrap();
    assert!(matches!(replay.append(key(1), 3, chunks(2..=2, 5)).await, Err(AppendError::Fenced)));
    assert!(matches!(replay.lose(key(1), 3, 9, 5).await, Err(AppendError::Fenced)));
    replay.append(key(1), 4, chunks(2..=2, 5)).await.unwrap();
}

#[tokio::test]
async fn numbering_goes_on_in_the_next_generation_after_a_loss() {
    let dir = tempfile::tempdir().unwrap();
    let replay = Replay::open(dir.path(), SMALL).await.unwrap();
    replay.append(key(1), 1, chunks(1..=3, 10)).await.unwrap();
    assert_eq!(replay.lose(key(1), 1, 13, 100).await.unwrap(), EventId::new(1, 13));
    assert_eq!(replay.lose(key(1), 1, 13, 100).await.unwrap(), EventId::new(1, 13));
    assert_eq!(replay.bounds(key(1)).await.unwrap().unwrap().last, EventId::new(1, 13));
    assert_eq!(replay.lose(key(1), 1, 23, 100).await.unwrap(), EventId::new(2, 23));
    replay.append(key(1), 1, chunks(24..=25, 10)).await.unwrap();
    for _ in 0..2 {
        let replay = Replay::open(dir.path(), SMALL).await.unwrap();
        let (items, next) = read_all(&replay, key(1), EventId::ZERO, 1000).await;
        assert_eq!(events(&items), [(0, 1), (0, 2), (0, 3), (2, 24), (2, 25)]);
        let hole = |from, bytes| {
            vec![Lost { from: EventId::new(0, from), to: EventId::new(2, 23), bytes, reason: LossReason::StoreLost }]
        };
        assert_eq!(losses(&items), hole(4, 200));
        assert_eq!(next, EventId::new(2, 25));
        // A reader in the midst of the hole, and one of the older generation beyond it.
        let (items, _) = read_all(&replay, key(1), EventId::new(0, 13), 1000).await;
        assert_eq!(losses(&items), hole(14, 100));
        let (items, _) = read_all(&replay, key(1), EventId::new(0, 24), 1000).await;
        assert_eq!(losses(&items), []);
        assert_eq!(events(&items), [(2, 24), (2, 25)]);
    }
}

#[tokio::test]
async fn a_log_may_begin_with_a_loss() {
    let dir = tempfile::tempdir().unwrap();
    let replay = Replay::open(dir.path(), SMALL).await.unwrap();
    assert_eq!(replay.lose(key(1), 1, 9, 70).await.unwrap(), EventId::new(1, 9));
    assert_eq!(replay.bounds(key(1)).await.unwrap().unwrap().first, EventId::new(1, 10));
    replay.append(key(1), 1, chunks(10..=10, 10)).await.unwrap();
    let (items, _) = read_all(&replay, key(1), EventId::ZERO, 1000).await;
    let lost = Lost { from: EventId::new(0, 1), to: EventId::new(1, 9), bytes: 70, reason: LossReason::StoreLost };
    assert_eq!(losses(&items), [lost]);
    assert_eq!(events(&items), [(1, 10)]);
}

#[tokio::test]
async fn retention_drops_old_segments_and_says_how_much() {
    let dir = tempfile::tempdir().unwrap();
    let replay = Replay::open(dir.path(), SMALL).await.unwrap();
    for first in (1..=1000).step_by(10) {
        replay.append(key(1), 1, chunks(first..=first + 9, 1000)).await.unwrap();
    }
    let bounds = replay.bounds(key(1)).await.unwrap().unwrap();
    assert!((64 * 1024..=80 * 1024).contains(&bounds.retained_bytes), "{bounds:?}");
    let last_lost = bounds.first.sequence - 1;
    for after in [0, 1, 500, last_lost - 1] {
        let (items, _) = read_all(&replay, key(1), EventId::new(0, after), 10_000).await;
        let lost = losses(&items);
        assert_eq!(lost.len(), 1);
        assert_eq!(lost[0].from, EventId::new(0, after + 1));
        assert_eq!(lost[0].to, EventId::new(0, last_lost));
        assert_eq!(lost[0].bytes, (last_lost - after) * 1000);
        assert_eq!(lost[0].reason, LossReason::Retention);
        assert_eq!(events(&items).len() as u64, 1000 - last_lost);
    }
    let (items, _) = read_all(&replay, key(1), EventId::new(0, last_lost), 10_000).await;
    assert_eq!(losses(&items), []);
}

#[tokio::test]
async fn one_byte_events_do_not_fill_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let replay = Replay::open(dir.path(), SMALL).await.unwrap();
    for first in (1..=60_000).step_by(1000) {
        replay.append(key(1), 1, chunks(first..=first + 999, 1)).await.unwrap();
    }
    let disk: u64 = segments(dir.path(), key(1)).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(disk <= 5 * SMALL.process_bytes, "{disk}");
}

#[tokio::test]
async fn the_cap_of_a_workspace_takes_the_oldest_finished_log_first_then_from_the_biggest() {
    let dir = tempfile::tempdir().unwrap();
    let cap = Retention { workspace_bytes: 100 * 1024, ..SMALL };
    let replay = Replay::open(dir.path(), cap.clone()).await.unwrap();
    replay.append(key(1), 1, chunks(1..=40, 1000)).await.unwrap();
    replay.finish(key(1)).await.unwrap();
    replay.append(key(2), 1, chunks(1..=50, 1000)).await.unwrap();
    // Also when nothing was loaded yet.
    drop(replay);
    let replay = Replay::open(dir.path(), cap).await.unwrap();
    replay.append(key(3), 1, chunks(1..=30, 1000)).await.unwrap();
    let first = replay.bounds(key(1)).await.unwrap().unwrap();
    // No more than that: the cap, and less than a segment below it.
    assert!((100 * 1024 - 9_000..=100 * 1024).contains(&(first.retained_bytes + 80_000)), "{first:?}");
    let (items, _) = read_all(&replay, key(1), EventId::ZERO, 1000).await;
    assert_eq!(losses(&items)[0].bytes, 40_000 - first.retained_bytes);
    assert_eq!(replay.bounds(key(2)).await.unwrap().unwrap().retained_bytes, 50_000);

    replay.append(key(3), 1, chunks(31..=60, 1000)).await.unwrap();
    let first = replay.bounds(key(1)).await.unwrap().unwrap();
    let expected = Bounds {
        first: EventId::new(0, 41),
        last: EventId::new(0, 40),
        retained_bytes: 0,
        bytes: 40_000,
        finished: true,
    };
    assert_eq!(first, expected);
    let (two, three) = (replay.bounds(key(2)).await.unwrap().unwrap(), replay.bounds(key(3)).await.unwrap().unwrap());
    assert!(two.retained_bytes + three.retained_bytes <= 100 * 1024, "{two:?} {three:?}");
    assert_eq!(two.retained_bytes, 50_000);
    assert!(three.retained_bytes > 30_000, "{three:?}");
}

#[tokio::test]
async fn many_small_running_logs_stay_under_the_cap() {
    let dir = tempfile::tempdir().unwrap();
    let cap = Retention { workspace_bytes: 20_000, ..SMALL };
    let replay = Replay::open(dir.path(), cap).await.unwrap();
    let mut retained = 0;
    for n in 1..=30 {
        replay.append(key(n), 1, chunks(1..=1, 1000)).await.unwrap();
    }
    for n in 1..=30 {
        retained += replay.bounds(key(n)).await.unwrap().unwrap().retained_bytes;
    }
    assert!((15_000..=20_000).contains(&retained), "{retained}");
}

#[tokio::test]
async fn a_finished_log_expires_and_a_running_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let replay = Replay::open(dir.path(), Retention { ttl: Duration::ZERO, ..SMALL }).await.unwrap();
    replay.append(key(1), 1, chunks(1..=1, 5)).await.unwrap();
    replay.append(key(2), 1, chunks(1..=1, 5)).await.unwrap();
    replay.finish(key(1)).await.unwrap();
    replay.finish(key(3)).await.unwrap();
    assert_eq!(replay.bounds(key(1)).await.unwrap(), None);
    assert!(segments(dir.path(), key(1)).is_empty());
    assert!(replay.bounds(key(2)).await.unwrap().is_some());
    assert_eq!(replay.bounds(key(3)).await.unwrap(), None);
    assert!(matches!(replay.append(key(1), 1, chunks(2..=2, 5)).await, Err(AppendError::Gap { expected: 1 })));
}

#[tokio::test]
async fn the_sweep_finds_expired_logs_that_nobody_uses_and_rests_idle_ones() {
    let dir = tempfile::tempdir().unwrap();
    let replay = Replay::open(dir.path(), SMALL).await.unwrap();
    replay.append(key(1), 1, chunks(1..=1, 5)).await.unwrap();
    replay.append(key(2), 1, chunks(1..=1, 5)).await.unwrap();
    replay.finish(key(1)).await.unwrap();
    drop(replay);
    let replay = Replay::open(dir.path(), Retention { ttl: Duration::ZERO, ..SMALL }).await.unwrap();
    replay.0.sweep().unwrap();
    assert!(segments(dir.path(), key(1)).is_empty());
    assert_eq!(segments(dir.path(), key(2)).len(), 1);
    replay.append(key(2), 1, chunks(2..=2, 5)).await.unwrap();
    replay.0.sweep().unwrap();
    replay.0.sweep().unwrap();
    assert!(replay.0.workspaces().is_empty());
    assert_eq!(replay.append(key(2), 1, chunks(3..=3, 5)).await.unwrap(), EventId::new(0, 3));
}

#[tokio::test]
async fn removed_logs_are_gone_and_may_begin_again() {
    let dir = tempfile::tempdir().unwrap();
    let replay = Replay::open(dir.path(), SMALL).await.unwrap();
    for n in 1..=3 {
        replay.append(key(n), 1, chunks(1..=2, 5)).await.unwrap();
    }
    replay.remove(key(1)).await.unwrap();
    replay.remove(key(1)).await.unwrap();
    assert_eq!(replay.bounds(key(1)).await.unwrap(), None);
    assert_eq!(replay.append(key(1), 1, chunks(1..=1, 5)).await.unwrap(), EventId::new(0, 1));
    replay.remove_workspace(key(1).workspace).await.unwrap();
    assert!(workspace::entries(dir.path()).unwrap().is_empty());
    assert_eq!(replay.bounds(key(2)).await.unwrap(), None);
    assert_eq!(replay.append(key(2), 1, chunks(1..=1, 5)).await.unwrap(), EventId::new(0, 1));
}

#[tokio::test]
async fn damage_inside_a_closed_segment_is_one_hole() {
    let dir = tempfile::tempdir().unwrap();
    let replay = Replay::open(dir.path(), SMALL).await.unwrap();
    for n in 1..=40 {
        replay.append(key(1), 1, chunks(n..=n, 1000)).await.unwrap();
    }
    drop(replay);
    let paths = segments(dir.path(), key(1));
    let mut bytes = fs::read(&paths[1]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&paths[1], bytes).unwrap();
    let replay = Replay::open(dir.path(), SMALL).await.unwrap();
    let (items, _) = read_all(&replay, key(1), EventId::ZERO, 3000).await;
    let lost = losses(&items);
    assert_eq!(lost.len(), 1);
    assert_eq!(lost[0].reason, LossReason::StoreLost);
    assert_eq!(lost[0].bytes, (lost[0].to.sequence - lost[0].from.sequence + 1) * 1000);
    assert_eq!(events(&items).len() as u64, 40 - lost[0].bytes / 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_and_a_writer_get_along() {
    let dir = tempfile::tempdir().unwrap();
    let replay = Replay::open(dir.path(), SMALL).await.unwrap();
    let last = EventId::new(0, 2000);
    let writer = {
        let replay = replay.clone();
        tokio::spawn(async move {
            for n in 1..=last.sequence {
                replay.append(key(1), 1, chunks(n..=n, 700)).await.unwrap();
                tokio::task::yield_now().await;
            }
        })
    };
    let reader = tokio::spawn(async move {
        let mut next = EventId::ZERO;
        while next < last {
            let page = replay.read(key(1), next, 20_000).await.unwrap();
            for item in page.items {
                let (from, to) = match item {
                    Item::Chunk { generation, chunk } => {
                        let id = EventId::new(generation, chunk.sequence);
                        (id, id)
                    }
                    Item::Lost(lost) => (lost.from, lost.to),
                };
                assert_eq!(from.sequence, next.sequence + 1);
                next = to;
            }
            assert_eq!(page.next, next);
            tokio::task::yield_now().await;
        }
    });
    writer.await.unwrap();
    reader.await.unwrap();
}

#[tokio::test]
async fn a_segment_that_was_only_just_made_is_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let replay = Replay::open(dir.path(), SMALL).await.unwrap();
    replay.append(key(1), 1, chunks(1..=20, 1000)).await.unwrap();
    drop(replay);
    let log = dir.path().join(key(1).workspace.to_string()).join(key(1).process.to_string());
    for head in [&b""[..], &b"PLAYLOG1"[..]] {
        fs::write(log.join(format!("{:020}.seg", 21)), head).unwrap();
        let replay = Replay::open(dir.path(), SMALL).await.unwrap();
        assert_eq!(replay.bounds(key(1)).await.unwrap().unwrap().last, EventId::new(0, 20));
    }
    // A directory without a segment is no log.
    for path in segments(dir.path(), key(1)) {
        fs::remove_file(path).unwrap();
    }
    let replay = Replay::open(dir.path(), SMALL).await.unwrap();
    assert_eq!(replay.bounds(key(1)).await.unwrap(), None);
    assert_eq!(replay.append(key(1), 1, chunks(1..=1, 1)).await.unwrap(), EventId::new(0, 1));
}

#[tokio::test]
async fn damage_at_the_end_of_an_open_log_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let replay = Replay::open(dir.path(), SMALL).await.unwrap();
    replay.append(key(1), 1, chunks(1..=5, 100)).await.unwrap();
    let path = segments(dir.path(), key(1)).remove(0);
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let (items, _) = read_all(&replay, key(1), EventId::ZERO, 1000).await;
    assert_eq!(events(&items), [(0, 1), (0, 2), (0, 3), (0, 4)]);
    assert_eq!(replay.append(key(1), 1, chunks(5..=6, 100)).await.unwrap(), EventId::new(0, 6));
    let (items, _) = read_all(&replay, key(1), EventId::new(0, 4), 1000).await;
    assert_eq!(events(&items), [(0, 5), (0, 6)]);
}
