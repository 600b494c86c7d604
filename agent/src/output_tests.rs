//! The output of one process against a model of the node that receives it.

use proptest::prelude::*;

use super::*;

const RING: usize = 96 * 1024;

#[derive(Debug, Clone)]
enum Step {
    /// The program writes so many bytes; they are read if the output wants them.
    Write(Stream, usize),
    /// The link takes up to so many frames.
    Send(usize),
    /// The node grants so many bytes beyond what it has.
    Grant(u64),
    /// The node stores a share of what it has (in 1/8).
    Store(u64),
    /// The link is lost; frames on it too. The node resumes at what it has, or a little earlier, with this credit.
    Relink { back: u64, credit: u64 },
    /// The link is lost, and nothing resumes yet.
    Loss,
    /// A lower credit arrives late.
    StaleCredit(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let stream = prop_oneof![4 => Just(Stream::Stdout), 1 => Just(Stream::Stderr)];
    let step = prop_oneof![
        8 => (stream, prop_oneof![1..20_usize, 1..CHUNK_BYTES]).prop_map(|(to, length)| Step::Write(to, length)),
        5 => (1..4_usize).prop_map(Step::Send),
        3 => (0..200_000_u64).prop_map(Step::Grant),
        3 => (0..=8_u64).prop_map(Step::Store),
        1 => (0..5_u64, 0..300_000_u64).prop_map(|(back, credit)| Step::Relink { back, credit }),
        1 => Just(Step::Loss),
        1 => (0..1000_u64).prop_map(Step::StaleCredit),
    ];
    prop::collection::vec(step, 1..150)
}

/// What a node has: every number once, in order, with the bytes that were written.
#[derive(Default)]
struct Node {
    chunks: Vec<Chunk>,
    exits: usize,
    flowing: bool,
    credit: u64,
    taken: u64,
}

impl Node {
    fn take(&mut self, emission: Emission) {
        match emission {
            Emission::Chunks(chunks) => {
                assert!(!chunks.is_empty());
                for chunk in chunks {
                    self.taken += chunk.bytes.len() as u64;
                    assert!(self.taken <= self.credit, "never beyond credit");
                    assert!(chunk.bytes.len() <= CHUNK_BYTES);
                    match self.chunks.get(usize::try_from(chunk.sequence).unwrap() - 1) {
                        Some(known) => assert_eq!(known, &chunk, "a number is one event for ever"),
                        None => {
                            assert_eq!(chunk.sequence, self.chunks.len() as u64 + 1, "no gap");
                            self.chunks.push(chunk);
                        }
                    }
                }
            }
            Emission::Exit(exit) => {
                assert_eq!(exit.last_sequence, self.chunks.len() as u64, "the end comes after all output");
                self.exits += 1;
            }
        }
    }

    fn resume(&mut self, output: &mut Output, back: u64, credit: u64) {
        let from = (self.chunks.len() as u64 + 1).saturating_sub(back).max(1);
        output.resume(from, credit);
        (self.flowing, self.credit, self.taken, self.exits) = (true, credit, 0, 0);
    }
}

fn text(of: Stream, chunks: &[Chunk]) -> Vec<u8> {
    chunks.iter().filter(|chunk| chunk.stream == of).flat_map(|chunk| chunk.bytes.clone()).collect()
}

proptest! {
    #[test]
    fn each_event_arrives_once_in_order_within_credit(steps in steps()) {
        let mut output = Output::new(RING);
        let mut node = Node { flowing: true, credit: OUTPUT_WINDOW_BYTES, ..Node::default() };
        output.begin();
        let mut written = [Vec::new(), Vec::new()];
        let mut counter = 0_u8;
        for step in steps {
            match step {
                Step::Write(to, length) => {
                    if output.wants_read() {
                        let bytes: Vec<u8> = std::iter::repeat_with(|| { counter = counter.wrapping_add(1); counter })
                            .take(length).collect();
                        output.read(to, 1, &bytes);
                        written[usize::from(to.byte() - 1)].extend_from_slice(&bytes);
                    }
                }
                Step::Send(frames) => {
                    for _ in 0..frames {
                        match output.next(CHUNK_BYTES) {
                            Some(emission) => { prop_assert!(node.flowing); node.take(emission); }
                            None => break,
                        }
                    }
                }
                Step::Grant(more) => {
                    node.credit = node.credit.max(node.taken + more);
                    output.credit(node.credit);
                }
                Step::Store(eighths) => output.stored(node.chunks.len() as u64 * eighths / 8),
                Step::Relink { back, credit } => { output.detach(); node.resume(&mut output, back, credit); }
                Step::Loss => { output.detach(); node.flowing = false; }
                Step::StaleCredit(bytes) => output.credit(bytes.min(node.credit)),
            }
        }
        output.finish(Stream::Stdout, 2);
        output.finish(Stream::Stderr, 2);
        output.end(Exit { last_sequence: 0, code: Some(0), signal: None, reason: None, at_ms: 3 });
        node.resume(&mut output, 1, u64::MAX);
        while let Some(emission) = output.next(CHUNK_BYTES) {
            node.take(emission);
        }
        prop_assert_eq!(node.exits, 1);
        prop_assert_eq!(&text(Stream::Stdout, &node.chunks), &written[0]);
        prop_assert_eq!(&text(Stream::Stderr, &node.chunks), &written[1]);
        // A resume at the very end gets the exit again, and nothing else.
        node.resume(&mut output, 0, 0);
        node.take(output.next(CHUNK_BYTES).unwrap());
        prop_assert_eq!((node.exits, output.next(CHUNK_BYTES)), (1, None));
    }
}

#[test]
fn a_keystroke_is_a_chunk_at_once_and_waiting_output_is_coalesced() {
    let mut output = Output::default();
    output.begin();
    output.read(Stream::Stdout, 1, b"a");
    let Some(Emission::Chunks(chunks)) = output.next(CHUNK_BYTES) else { panic!("nothing to send") };
    assert_eq!((chunks.len(), chunks[0].sequence, chunks[0].bytes.as_slice()), (1, 1, &b"a"[..]));
    for _ in 0..100 {
        output.read(Stream::Stdout, 1, b"bc");
    }
    output.read(Stream::Stderr, 1, b"!");
    let Some(Emission::Chunks(chunks)) = output.next(CHUNK_BYTES) else { panic!("nothing to send") };
    assert_eq!(chunks.iter().map(|chunk| chunk.bytes.len()).collect::<Vec<_>>(), [200, 1]);
    assert_eq!(output.next(CHUNK_BYTES), None);
}

#[test]
fn reading_stops_early_with_a_node_and_at_a_full_ring_without() {
    let block = vec![b'x'; CHUNK_BYTES];
    let mut output = Output::default();
    output.resume(1, 0);
    let mut read = 0;
    while output.wants_read() {
        output.read(Stream::Stdout, 0, &block);
        read += block.len() as u64;
    }
    assert_eq!(read, READ_AHEAD_BYTES);
    output.detach();
    while output.wants_read() {
        output.read(Stream::Stdout, 0, &block);
        read += block.len() as u64;
    }
    assert!((RING_BYTES as u64..=(RING_BYTES + 2 * CHUNK_BYTES) as u64).contains(&read), "{read}");
    output.stored(output.next_sequence() - 1);
    assert!(output.wants_read());
}
