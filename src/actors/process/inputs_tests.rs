use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;

use super::{super::numbers::HOLD_MS, *};

fn numbered(writer: &str, seq: u64) -> Writer {
    Writer::Numbered(writer.to_owned(), seq)
}

/// The agent's rule: each writer's number once, in order, no more than fits.
#[derive(Debug, Default)]
struct Agent {
    seen: HashMap<String, u64>,
    text: Vec<u8>,
    room: usize,
}

impl Agent {
    fn take(&mut self, frame: NodeFrame) -> (u64, InputOutcome) {
        let NodeFrame::Input { writer, seq, bytes, tag, .. } = frame else { panic!("an input") };
        assert!(bytes.len() <= PIECE_BYTES && writer.len() <= 256 && seq > 0);
        let last = self.seen.entry(writer).or_insert(0);
        if seq <= *last {
            return (tag, InputOutcome::Taken);
        }
        if bytes.len() > self.room {
            return (tag, InputOutcome::Full);
        }
        *last = seq;
        self.room -= bytes.len();
        self.text.extend(bytes);
        (tag, InputOutcome::Taken)
    }

    fn writers(&self) -> Vec<(String, u64)> {
        self.seen.iter().map(|(writer, seq)| (writer.clone(), *seq)).collect()
    }
}

#[test]
fn a_number_seen_before_is_known_and_one_that_waits_is_answered_with_it() {
    let mut inputs = Inputs::new((1, 1));
    assert_eq!(inputs.offer(numbered("w", 3), b"x".to_vec(), false, 'a', 0), (Offered::Waits, None));
    assert_eq!(inputs.offer(numbered("w", 3), b"x".to_vec(), false, 'b', 0), (Offered::Waits, None));
    assert_eq!(inputs.offer(numbered("w", 2), b"x".to_vec(), false, 'c', 0), (Offered::Known, Some('c')));
    assert!(matches!(inputs.to_send(Uuid::nil()), Some(NodeFrame::Input { seq: 3, tag: 1, .. })));
    assert_eq!(inputs.answer(1, InputOutcome::Taken, 0).len(), 2);
    assert_eq!((inputs.last("w"), inputs.last("v")), (3, 0));
    assert_eq!(inputs.offer(numbered("w", 3), b"x".to_vec(), false, 'd', 0), (Offered::Known, Some('d')));
}

#[test]
fn more_than_a_mebibyte_is_full_and_the_number_unused() {
    let mut inputs = Inputs::new((1, 1));
    assert_eq!(inputs.offer(numbered("w", 1), vec![b'x'; INPUT_BYTES], false, (), 0).0, Offered::Waits);
    assert_eq!(inputs.offer(numbered("w", 2), vec![b'x'; 1], false, (), 0).0, Offered::Full);
    // Its four parts go one after the other, since none may go in without the one before it.
    for tag in 1..=4 {
        assert!(inputs.to_send(Uuid::nil()).is_some() && inputs.to_send(Uuid::nil()).is_none());
        assert_eq!(inputs.answer(tag, InputOutcome::Taken, 0).len(), usize::from(tag == 4));
    }
    assert_eq!(inputs.offer(numbered("w", 2), vec![b'x'; 1], false, (), 0).0, Offered::Waits);
}

#[test]
fn what_was_never_sent_expires_without_effect() {
    let mut inputs = Inputs::new((1, 1));
    inputs.offer(numbered("w", 1), b"x".to_vec(), false, 'a', 0);
    assert_eq!(inputs.expire(|_| true, 0), ['a']);
    assert!(inputs.is_empty() && inputs.to_send(Uuid::nil()).is_none());
    inputs.offer(numbered("w", 1), b"x".to_vec(), false, 'a', 0);
    inputs.to_send(Uuid::nil());
    assert_eq!(inputs.expire(|_| true, 0), ['a']);
    assert!(!inputs.is_empty(), "it may have been taken");
    assert_eq!(inputs.end(), []);
}

#[test]
fn what_waits_behind_a_refused_number_is_refused_with_it() {
    let mut inputs = Inputs::new((1, 1));
    inputs.offer(numbered("w", 66), b"x".to_vec(), false, 'a', 0);
    inputs.offer(numbered("w", 67), vec![b'x'; 2 * PIECE_BYTES], false, 'b', 0);
    inputs.offer(numbered("v", 1), b"x".to_vec(), false, 'c', 0);
    assert!(inputs.to_send(Uuid::nil()).is_some());
    let refused = inputs.answer(1, InputOutcome::Full, 0);
    assert_eq!(refused.iter().map(|answered| answered.to).collect::<String>(), "ab");
    // Another writer is not kept waiting; this one is, until it begins where it was refused.
    assert!(matches!(inputs.to_send(Uuid::nil()), Some(NodeFrame::Input { writer, .. }) if writer == "v"));
    assert_eq!(inputs.offer(numbered("w", 67), b"x".to_vec(), false, 'd', 0), (Offered::Full, Some('d')));
    assert_eq!(inputs.offer(numbered("w", 66), b"x".to_vec(), false, 'e', 0), (Offered::Waits, None));
    assert_eq!(inputs.offer(numbered("w", 67), b"x".to_vec(), false, 'f', 0), (Offered::Waits, None));
}

#[test]
fn a_writer_that_gives_a_refused_number_up_goes_on_and_is_never_told_that_it_was_taken() {
    let mut inputs = Inputs::new((1, 1));
    inputs.offer(numbered("w", 66), b"x".to_vec(), false, 'a', 0);
    inputs.to_send(Uuid::nil());
    inputs.answer(1, InputOutcome::Full, 0);
    assert_eq!(inputs.offer(numbered("w", 67), b"x".to_vec(), false, 'b', HOLD_MS - 1).0, Offered::Full);
    assert_eq!(inputs.offer(numbered("w", 68), b"x".to_vec(), false, 'c', HOLD_MS).0, Offered::Waits);
    for seq in [66, 67] {
        assert_eq!(inputs.offer(numbered("w", seq), b"x".to_vec(), false, 'd', HOLD_MS).0, Offered::Passed);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Type { numbered: bool, len: usize },
    Deliver(usize),
    Answer(usize),
    Relink,
    Read,
    Retry,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (any::<bool>(), prop_oneof![1..20_usize, 200_000..600_000_usize])
            .prop_map(|(numbered, len)| Step::Type { numbered, len }),
        6 => (1..4_usize).prop_map(Step::Deliver),
        6 => (1..4_usize).prop_map(Step::Answer),
        2 => Just(Step::Relink),
        2 => Just(Step::Read),
        1 => Just(Step::Retry),
    ]
}

#[derive(Debug, Clone)]
enum Move {
    Type { skip: u64, len: usize },
    Retry(prop::sample::Index),
    RetryLowest,
    Deliver,
    Relink,
    Read,
    Expire,
    Wait(u64),
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        6 => (0..2_u64, prop_oneof![1..20_usize, 200_000..600_000_usize])
            .prop_map(|(skip, len)| Move::Type { skip, len }),
        4 => any::<prop::sample::Index>().prop_map(Move::Retry),
        4 => Just(Move::RetryLowest),
        8 => Just(Move::Deliver),
        1 => Just(Move::Relink),
        2 => Just(Move::Read),
        1 => Just(Move::Expire),
        2 => (1..HOLD_MS).prop_map(Move::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]
    /// Links are lost with frames and answers under way; what was answered as taken is in the text once, in order.
    #[test]
    fn what_is_taken_is_taken_once_and_in_order(steps in prop::collection::vec(step(), 1..80)) {
        let mut inputs: Inputs<u64> = Inputs::new((1, 1));
        let mut agent = Agent { room: INPUT_BYTES, ..Agent::default() };
        let (mut frames, mut answers) = (VecDeque::new(), VecDeque::new());
        let mut typed: Vec<Vec<u8>> = Vec::new();
        let (mut taken, mut refused, mut seq) = (Vec::new(), Vec::new(), 0);
        let mut note = |answered: Vec<Answered<u64>>, refused: &mut Vec<u64>| for Answered { to, outcome } in answered {
            match outcome {
                InputOutcome::Taken => taken.push(to),
                InputOutcome::Full | InputOutcome::Ended => refused.push(to),
            }
        };
        for step in steps {
            match step {
                Step::Type { numbered: with_number, len } => {
                    let id = typed.len() as u64;
                    let mut text = format!("<{id}>").into_bytes();
                    text.resize(text.len().max(len), b'.');
                    let writer = if with_number { seq += 1; numbered("w", seq) } else { Writer::Unnumbered };
                    typed.push(text.clone());
                    if inputs.offer(writer, text, false, id, 0).0 == Offered::Full {
                        refused.push(id);
                    }
                }
                Step::Deliver(count) => {
                    frames.extend(inputs.to_send(Uuid::nil()));
                    for frame in frames.drain(..count.min(frames.len())) {
                        answers.push_back(agent.take(frame));
                    }
                }
                Step::Answer(count) => for (tag, outcome) in answers.drain(..count.min(answers.len())) {
                    note(inputs.answer(tag, outcome, 0), &mut refused);
                },
                Step::Relink => {
                    frames.clear();
                    answers.clear();
                    note(inputs.linked(agent.writers()), &mut refused);
                }
                Step::Read => agent.room = INPUT_BYTES,
                Step::Retry => if seq > 0 && inputs.last("w") >= seq {
                    prop_assert_eq!(inputs.offer(numbered("w", seq), b"again".to_vec(), false, 0, 0).0, Offered::Known);
                },
            }
        }
        let mut found: HashMap<u64, Vec<usize>> = HashMap::new();
        for (at, _) in agent.text.iter().enumerate().filter(|(_, byte)| **byte == b'<') {
            let number = agent.text[at + 1..].iter().take_while(|byte| **byte != b'>').copied().collect::<Vec<_>>();
            let id = String::from_utf8(number).expect("digits").parse().expect("a number");
            found.entry(id).or_default().push(at);
        }
        for id in taken {
            let Some([at]) = found.get(&id).map(|places| &places[..]) else { panic!("input {id} is not there once") };
            let text = &typed[usize::try_from(id).expect("small")];
            prop_assert!(agent.text[*at..*at + text.len()] == text[..], "input {} is not whole", id);
        }
    }
    /// Whatever a writer does about its refused numbers: what is acknowledged was delivered once and in order, and it is
    /// not kept waiting for ever.
    #[test]
    fn no_number_is_acknowledged_that_was_not_delivered(moves in prop::collection::vec(moves(), 1..120)) {
        let mut inputs: Inputs<u64> = Inputs::new((1, 1));
        let mut agent = Agent { room: INPUT_BYTES, ..Agent::default() };
        let (mut typed, mut acknowledged, mut refused) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        let (mut seq, mut now) = (0, 0);
        let room = std::iter::repeat_n([Move::Read, Move::Deliver], 200).flatten();
        for step in moves.into_iter().chain(room).chain([Move::Wait(HOLD_MS), Move::Type { skip: 0, len: 1 }]) {
            let again = |seq: u64, typed: &[(u64, usize)]| typed.iter().find(|(typed, _)| *typed == seq).copied();
            let offered = match step {
                Move::Type { skip, len } => {
                    seq += 1 + skip;
                    typed.push((seq, len));
                    Some((seq, len))
                }
                Move::Retry(index) if !typed.is_empty() => Some(*index.get(&typed)),
                Move::RetryLowest => refused.first().and_then(|lowest| again(*lowest, &typed)),
                Move::Deliver => {
                    if let Some(frame) = inputs.to_send(Uuid::nil()) {
                        let (tag, outcome) = agent.take(frame);
                        for Answered { to, outcome } in inputs.answer(tag, outcome, now) {
                            if outcome == InputOutcome::Taken { acknowledged.insert(to) } else { refused.insert(to) };
                        }
                    }
                    None
                }
                Move::Relink => {
                    acknowledged.extend(inputs.linked(agent.writers()).into_iter().map(|answered| answered.to));
                    None
                }
                Move::Read => {
                    agent.room = INPUT_BYTES;
                    None
                }
                Move::Expire => {
                    refused.extend(inputs.expire(|_| true, now));
                    None
                }
                Move::Wait(ms) => {
                    now += ms;
                    None
                }
                Move::Retry(_) => None,
            };
            if let Some((seq, len)) = offered {
                refused.remove(&seq);
                let mut text = format!("<{seq}>").into_bytes();
                text.resize(text.len().max(len), b'.');
                match inputs.offer(numbered("w", seq), text, false, seq, now).0 {
                    Offered::Known => drop(acknowledged.insert(seq)),
                    Offered::Full => drop(refused.insert(seq)),
                    Offered::Passed | Offered::Waits => {}
                }
            }
        }
        while let Some(frame) = inputs.to_send(Uuid::nil()) {
            agent.room = INPUT_BYTES;
            let (tag, outcome) = agent.take(frame);
            acknowledged.extend(inputs.answer(tag, outcome, now).into_iter().map(|answered| answered.to));
        }
        let text = String::from_utf8(agent.text).expect("text");
        let delivered: Vec<u64> =
            text.split('<').skip(1).map(|rest| rest.split('>').next().and_then(|seq| seq.parse().ok()).expect("a number")).collect();
        prop_assert!(acknowledged.contains(&seq), "{} goes on", seq);
        for acknowledged in &acknowledged {
            let times = delivered.iter().filter(|seq| *seq == acknowledged).count();
            prop_assert!(times == 1, "{acknowledged} is acknowledged and is there {times} times in {delivered:?}");
        }
    }
}
