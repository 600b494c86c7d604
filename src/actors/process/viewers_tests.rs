use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{super::tail::tests::chunk, *};
use crate::store::replay::LossReason;

const BEGINNING: Place = Place { cursor: EventId::ZERO, bytes: Some(0) };

fn takes(credit: u64) -> Allowance {
    Allowance { credit, owed: 0, counted: Counted::Raw }
}

/// The log as a reader sees it: events `first..=end`, and before that a hole.
#[derive(Debug, Default)]
struct Log {
    events: BTreeMap<u64, Arc<Chunk>>,
    first: u64,
}

impl Log {
    fn end(&self) -> u64 {
        self.events.keys().next_back().copied().unwrap_or(0)
    }

    fn read(&self, after: EventId, max_bytes: usize) -> Page {
        let (mut items, mut next) = (Vec::new(), after);
        if after.sequence + 1 < self.first {
            let (from, to) = (EventId::new(0, after.sequence + 1), EventId::new(0, self.first - 1));
            items.push(Item::Lost(Lost { from, to, bytes: 0, reason: LossReason::Retention }));
            next = to;
        }
        let mut bytes = 0;
        for chunk in self.events.range(next.sequence.max(self.first.saturating_sub(1)) + 1..).map(|(_, chunk)| chunk) {
            bytes += chunk.bytes.len();
            if bytes > max_bytes && !matches!(items.last(), None | Some(Item::Lost(_))) {
                break;
            }
            next = EventId::new(0, chunk.sequence);
            items.push(Item::Chunk { generation: 0, chunk: Arc::clone(chunk) });
        }
        Page { items, next, end: next.sequence >= self.end(), missing: LossReason::Retention }
    }
}

/// What a viewer has seen.
#[derive(Debug)]
struct Seen {
    next: u64,
    bytes: u64,
    credit: u64,
    window: u64,
    ended: bool,
}

#[derive(Debug, Default)]
struct World {
    log: Log,
    seen: BTreeMap<u64, Seen>,
    /// Reads under way, answered by what the log holds when the answer is made.
    reads: Vec<(u64, u64, Page)>,
    last: u64,
}

impl World {
    fn run(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Output { viewer, generation, chunks } => {
                    let seen = self.seen.get_mut(&viewer).expect("known");
                    assert!(generation == 0 && !seen.ended && !chunks.is_empty());
                    for chunk in chunks {
                        assert_eq!(chunk.sequence, seen.next, "once and in order");
                        seen.next += 1;
                        seen.bytes += chunk.bytes.len() as u64;
                        assert!(seen.bytes <= seen.credit, "within its credit");
                    }
                }
                Effect::Truncated { viewer, lost } => {
                    let seen = self.seen.get_mut(&viewer).expect("known");
                    assert_eq!(lost.from.sequence, seen.next);
                    assert!(!seen.ended && lost.to >= lost.from);
                    seen.next = lost.to.sequence + 1;
                }
                Effect::Read { viewer, token, after, max_bytes } => {
                    assert!(self.reads.iter().all(|(id, ..)| *id != viewer) || self.seen[&viewer].next > 0);
                    let page = self.log.read(after, max_bytes);
                    self.reads.push((viewer, token, page));
                }
                Effect::Ended { viewer } => {
                    let seen = self.seen.get_mut(&viewer).expect("known");
                    assert_eq!(seen.next, self.last + 1, "the end comes after the last event");
                    seen.ended = true;
                }
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Print(Vec<usize>),
    Store(usize),
    Join { viewer: u64, cursor: u64, credit: u64 },
    Leave(u64),
    Take { viewer: u64, share: u8 },
    Answer(usize),
    Retain(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(prop_oneof![1..200_usize, Just(CHUNK_BYTES)], 1..8).prop_map(Step::Print),
        5 => (1..12_usize).prop_map(Step::Store),
        3 => (0..4_u64, 0..60_u64, prop_oneof![Just(64 * 1024_u64), Just(100 * 1024)])
            .prop_map(|(viewer, cursor, credit)| Step::Join { viewer, cursor, credit }),
        1 => (0..4_u64).prop_map(Step::Leave),
        5 => (0..4_u64, any::<u8>()).prop_map(|(viewer, share)| Step::Take { viewer, share }),
        5 => (0..8_usize).prop_map(Step::Answer),
        1 => (0..20_u64).prop_map(Step::Retain),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn each_viewer_gets_each_event_once_in_order(steps in prop::collection::vec(step(), 1..150)) {
        let mut tail = Tail::new(EventId::ZERO);
        let mut viewers = Viewers::default();
        let mut world = World::default();
        let mut effects = Vec::new();
        for (now, step) in (0..).step_by(100).zip(steps) {
            match step {
                Step::Print(lengths) => {
                    let chunks = lengths.into_iter().zip(world.last + 1..).map(|(len, n)| chunk(n, len)).collect::<Vec<_>>();
                    world.last += chunks.len() as u64;
                    prop_assert_eq!(tail.take(chunks).1, None);
                    viewers.serve_all(&tail, now, &mut effects);
                }
                Step::Store(count) => {
                    for chunk in tail.unstored().into_iter().take(count) {
                        world.log.events.insert(chunk.sequence, chunk);
                    }
                    tail.store(EventId::new(0, world.log.end()));
                    tail.trim(viewers.needed(&tail));
                    viewers.serve_all(&tail, now, &mut effects);
                }
                Step::Join { viewer, cursor, credit } => {
                    let cursor = cursor.min(world.last);
                    viewers.add(viewer, Place { cursor: EventId::new(0, cursor), bytes: None }, true, takes(credit));
                    world.seen.insert(viewer, Seen { next: cursor + 1, bytes: 0, credit, window: credit, ended: false });
                    viewers.serve(viewer, &tail, now, &mut effects);
                }
                Step::Leave(viewer) => viewers.remove(viewer),
                Step::Take { viewer, share } => {
                    if let Some(seen) = world.seen.get_mut(&viewer) {
                        // It has taken a share of what it was sent and had not taken.
                        let outstanding = (seen.bytes + seen.window).saturating_sub(seen.credit);
                        seen.credit += outstanding * u64::from(share) / 255;
                        viewers.credit(viewer, seen.credit, true, now);
                        viewers.serve(viewer, &tail, now, &mut effects);
                    }
                }
                Step::Answer(index) => {
                    if !world.reads.is_empty() {
                        let (viewer, token, page) = world.reads.remove(index % world.reads.len());
                        viewers.page(viewer, token, Some(page), &tail, now, &mut effects);
                    }
                }
                Step::Retain(count) => {
                    let first = world.log.events.keys().next().copied().unwrap_or(1);
                    let gone = (first + count).min(tail.start().sequence);
                    world.log.events.retain(|sequence, _| *sequence > gone);
                    world.log.first = world.log.first.max(gone + 1);
                }
            }
            world.run(std::mem::take(&mut effects));
            prop_assert!(tail.start() <= tail.stored() && tail.stored() <= tail.received());
        }
        // It ends, everyone takes everything, and everyone is told the end.
        while !tail.unstored().is_empty() {
            for chunk in tail.unstored() {
                world.log.events.insert(chunk.sequence, chunk);
            }
            tail.store(EventId::new(0, world.log.end().max(world.last)));
        }
        viewers.end();
        let mut rounds = 0;
        while !viewers.is_empty() {
            for id in viewers.ids().collect::<Vec<_>>() {
                let seen = world.seen.get_mut(&id).expect("known");
                seen.credit = seen.bytes + seen.window;
                viewers.credit(id, seen.credit, true, 1_000_000);
            }
            viewers.serve_all(&tail, 1_000_000, &mut effects);
            for (viewer, token, page) in std::mem::take(&mut world.reads) {
                viewers.page(viewer, token, Some(page), &tail, 1_000_000, &mut effects);
            }
            tail.trim(viewers.needed(&tail));
            world.run(std::mem::take(&mut effects));
            rounds += 1;
            prop_assert!(rounds < 1000, "everyone gets to the end");
        }
    }
}

#[test]
fn only_a_typing_live_and_taking_viewer_paces() {
    let mut tail = Tail::new(EventId::ZERO);
    let (mut viewers, mut effects) = (Viewers::default(), Vec::new());
    viewers.add(1, BEGINNING, false, takes(64 * 1024));
    assert_eq!(viewers.taken(&tail, 0), None, "one that only watches");
    viewers.add(2, BEGINNING, true, takes(64 * 1024));
    tail.take(vec![chunk(1, CHUNK_BYTES), chunk(2, 100)]);
    viewers.serve_all(&tail, 0, &mut effects);
    assert_eq!(viewers.taken(&tail, 999), Some(0));
    assert_eq!(viewers.taken(&tail, 1000), None, "it took nothing for a second");
    viewers.credit(2, 64 * 1024 + 1000, true, 1500);
    assert_eq!(viewers.taken(&tail, 1600), Some(1000));
    viewers.credit(2, 64 * 1024 + 32 * 1024, true, 1700);
    assert_eq!(viewers.taken(&tail, 60_000), Some(32 * 1024), "little is outstanding");
}

#[test]
fn a_log_that_expired_is_named_with_its_bytes_and_then_the_end() {
    let tail = Tail::new(EventId::new(0, 7)).behind(700);
    let missed = |place: Place, seen: Vec<Item>, missing| {
        let (mut viewers, mut effects) = (Viewers::default(), Vec::new());
        viewers.end();
        viewers.add(1, place, true, takes(64 * 1024));
        viewers.serve(1, &tail, 0, &mut effects);
        let Some(Effect::Read { viewer: 1, token, after, .. }) = effects.pop() else { panic!("{effects:?}") };
        let next = EventId::new(0, after.sequence + seen.len() as u64);
        viewers.page(1, token, Some(Page { items: seen, next, end: true, missing }), &tail, 0, &mut effects);
        if let Some(Effect::Read { token, .. }) = effects.last() {
            let empty = Page { items: Vec::new(), next, end: true, missing };
            viewers.page(1, *token, Some(empty), &tail, 0, &mut effects);
        }
        let [.., Effect::Truncated { lost, .. }, Effect::Ended { viewer: 1 }] = &effects[..] else {
            panic!("{effects:?}")
        };
        assert_eq!((lost.to, lost.reason), (EventId::new(0, 7), missing));
        (lost.from.sequence, lost.bytes)
    };
    assert_eq!(missed(BEGINNING, Vec::new(), LossReason::Retention), (1, 700));
    // What it was given before counts, also what of that was lost.
    let lost = Lost { from: EventId::new(0, 1), to: EventId::new(0, 1), bytes: 33, reason: LossReason::Retention };
    let seen = vec![Item::Lost(lost), Item::Chunk { generation: 0, chunk: chunk(2, 60) }];
    assert_eq!(missed(BEGINNING, seen, LossReason::StoreLost), (3, 607));
    let known = Place { cursor: EventId::new(0, 3), bytes: Some(650) };
    assert_eq!(missed(known, Vec::new(), LossReason::Retention), (4, 50));
    // A reader from nobody knows where is told its share.
    assert_eq!(missed(Place { bytes: None, ..known }, Vec::new(), LossReason::Retention), (4, 400));
}
