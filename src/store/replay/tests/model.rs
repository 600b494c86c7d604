//! Random appends, losses, cuts and reads against a list in memory.

use proptest::prelude::*;

use super::*;

/// What a log ought to hold.
#[derive(Debug, Default)]
struct Model {
    end: Option<EventId>,
    events: Vec<(EventId, Arc<Chunk>)>,
    holes: Vec<(EventId, u64)>,
}

impl Model {
    fn end(&self) -> EventId {
        self.end.unwrap_or(EventId::ZERO)
    }

    fn cut(&mut self, end: EventId) {
        self.events.retain(|(id, _)| *id <= end);
        self.holes.retain(|(to, _)| *to <= end);
        self.end = Some(end);
    }

    fn check(&self, after: EventId, items: &[Item], next: EventId) {
        let mut at = after;
        let mut last_reason = None;
        for item in items {
            match item {
                Item::Lost(lost) => {
                    assert_eq!(lost.from.sequence, at.sequence + 1);
                    assert!(lost.to.sequence >= lost.from.sequence);
                    if lost.reason == LossReason::Retention {
                        assert_eq!(at, after, "retention takes only the oldest");
                    } else {
                        assert!(
                            self.events.iter().all(|(id, _)| *id <= at || *id > lost.to),
                            "{lost:?} lost what is there"
                        );
                    }
                    // In the midst of what the store lost nobody knows.
                    let known = at == EventId::ZERO
                        || self.events.iter().any(|(id, _)| *id == at)
                        || self.holes.iter().any(|(to, _)| *to == at);
                    if lost.reason == LossReason::Retention && known {
                        let within = |id: &EventId| *id > at && *id <= lost.to;
                        let events = self.events.iter().filter(|(id, _)| within(id));
                        let events = events.map(|(_, chunk)| chunk.bytes.len() as u64);
                        let holes = self.holes.iter().filter(|(to, _)| within(to)).map(|(_, bytes)| *bytes);
                        assert_eq!(lost.bytes, events.chain(holes).sum::<u64>(), "{lost:?}");
                    }
                    last_reason = Some(lost.reason);
                    at = lost.to;
                }
                Item::Chunk { generation, chunk } => {
                    let id = EventId::new(*generation, chunk.sequence);
                    let expected = &self.events[self.events.partition_point(|(id, _)| *id <= at)];
                    assert_eq!((expected.0, &expected.1), (id, chunk), "after {at}, {last_reason:?}");
                    at = id;
                }
            }
        }
        assert_eq!(next, self.end().max(after));
        let rest = self.events.iter().filter(|(id, _)| *id > at).count();
        assert_eq!(rest, 0, "events are missing");
    }
}

#[derive(Debug, Clone)]
enum Op {
    Append { again: u64, count: u64, len: usize },
    Gap,
    Lose { count: u64, bytes: u64 },
    Reopen,
    Cut { bytes: u64, flip: bool },
    Read { after: prop::sample::Index, max: usize },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..4_u64, 0..20_u64, 0..3000_usize).prop_map(|(again, count, len)| Op::Append { again, count, len }),
        1 => Just(Op::Gap),
        1 => (1..20_u64, 0..9999_u64).prop_map(|(count, bytes)| Op::Lose { count, bytes }),
        1 => Just(Op::Reopen),
        2 => (0..5000_u64, any::<bool>()).prop_map(|(bytes, flip)| Op::Cut { bytes, flip }),
        3 => (any::<prop::sample::Index>(), 1..100_000_usize).prop_map(|(after, max)| Op::Read { after, max }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_retained_event_is_read_once_in_order(ops in prop::collection::vec(op(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run_model(ops));
    }
}

async fn run_model(ops: Vec<Op>) {
    let dir = tempfile::tempdir().unwrap();
    let mut replay = Replay::open(dir.path(), SMALL).await.unwrap();
    let mut model = Model::default();
    for op in ops {
        let end = model.end();
        match op {
            Op::Append { again, count, len } => {
                let first = end.sequence.saturating_sub(again) + 1;
                let known = model.events.iter().filter(|(id, _)| id.sequence >= first).map(|(_, chunk)| chunk.clone());
                // What was lost can't be sent again; the store skips whatever has its number.
                let mut batch: Vec<_> = known.collect();
                for sequence in end.sequence + 1..=end.sequence + count {
                    let chunk = chunk(sequence, len);
                    model.events.push((EventId::new(end.generation, sequence), Arc::clone(&chunk)));
                    batch.push(chunk);
                }
                let now = EventId::new(end.generation, end.sequence + count);
                model.end = Some(now);
                assert_eq!(replay.append(key(1), 1, batch).await.unwrap(), now);
            }
            Op::Gap => {
                let refused = replay.append(key(1), 1, chunks(end.sequence + 2..=end.sequence + 3, 9)).await;
                assert!(matches!(refused, Err(AppendError::Gap { expected }) if expected == end.sequence + 1));
            }
            Op::Lose { count, bytes } => {
                let to = EventId::new(end.generation + 1, end.sequence + count);
                assert_eq!(replay.lose(key(1), 1, to.sequence, bytes).await.unwrap(), to);
                model.holes.push((to, bytes));
                model.end = Some(to);
            }
            Op::Reopen => {
                drop(replay);
                replay = Replay::open(dir.path(), SMALL).await.unwrap();
            }
            Op::Cut { bytes, flip } => {
                drop(replay);
                if let Some(path) = segments(dir.path(), key(1)).last() {
                    let mut content = fs::read(path).unwrap();
                    let keep = content.len().saturating_sub(bytes as usize);
                    if flip && keep < content.len() {
                        content[keep] ^= 1;
                    } else {
                        content.truncate(keep);
                    }
                    fs::write(path, content).unwrap();
                }
                replay = Replay::open(dir.path(), SMALL).await.unwrap();
                // Without any head there is no log any more.
                let last = replay.bounds(key(1)).await.unwrap().map_or(EventId::ZERO, |bounds| bounds.last);
                assert!(last <= end);
                model.cut(last);
            }
            Op::Read { after, max } => {
                let sequence = after.index(end.sequence as usize + 1) as u64;
                // An id of the generation that this sequence had, or would have had.
                let generation =
                    model.events.iter().rfind(|(id, _)| id.sequence <= sequence).map_or(0, |(id, _)| id.generation);
                let after = EventId::new(generation, sequence);
                let (items, next) = read_all(&replay, key(1), after, max).await;
                model.check(after, &items, next);
            }
        }
        let (items, next) = read_all(&replay, key(1), EventId::ZERO, 50_000).await;
        model.check(EventId::ZERO, &items, next);
        if let Some(bounds) = replay.bounds(key(1)).await.unwrap() {
            assert_eq!(bounds.last, model.end());
        }
    }
}
