//! The codec and the path rules against whatever a stranger sends.

use playhouse_protocol::{
    agent::{AgentFrame, Exit, NodeFrame, ProcessState},
    codec::{self, CodecError},
    path,
    stream::{Chunk, Stream},
};
use proptest::prelude::*;
use uuid::Uuid;

fn chunk() -> impl Strategy<Value = Chunk> {
    (
        any::<u64>(),
        any::<bool>(),
        any::<u64>(),
        prop::collection::vec(any::<u8>(), 0..3),
        prop::collection::vec(any::<u8>(), 0..500),
        any::<bool>(),
    )
        .prop_map(|(sequence, out, at_ms, carry, bytes, last)| Chunk {
            sequence,
            stream: if out { Stream::Stdout } else { Stream::Stderr },
            at_ms,
            carry,
            bytes,
            last,
        })
}

fn frame() -> impl Strategy<Value = AgentFrame> {
    let id = any::<u128>().prop_map(Uuid::from_u128);
    prop_oneof![
        Just(AgentFrame::Beat),
        (id.clone(), prop::collection::vec(chunk(), 1..5))
            .prop_map(|(process_id, chunks)| AgentFrame::Output { process_id, chunks }),
        (id.clone(), any::<u64>(), any::<Option<i32>>(), any::<Option<String>>()).prop_map(
            |(process_id, last_sequence, code, reason)| {
                AgentFrame::Exited { process_id, exit: Exit { last_sequence, code, signal: None, reason, at_ms: 1 } }
            }
        ),
        (id, any::<u64>(), any::<String>()).prop_map(|(process_id, first_sequence, writer)| AgentFrame::State {
            processes: vec![ProcessState {
                process_id,
                first_sequence,
                next_sequence: 9,
                exit: None,
                writers: vec![(writer, 3)]
            }],
            tree_version: 1,
            ready: true,
            last: true,
        }),
    ]
}

proptest! {
    #[test]
    fn frames_come_back_as_they_were(frame in frame()) {
        let bytes = codec::encode(&frame).expect("it fits");
        prop_assert_eq!(codec::decode::<AgentFrame>(&bytes).expect("it decodes"), frame);
    }

    #[test]
    fn what_is_cut_or_longer_is_refused(frame in frame(), cut in 1_usize..40) {
        let mut bytes = codec::encode(&frame).expect("it fits");
        let whole = bytes.len();
        bytes.truncate(whole.saturating_sub(cut));
        prop_assert!(codec::decode::<AgentFrame>(&bytes).is_err());
        let mut longer = codec::encode(&frame).expect("it fits");
        longer.push(0);
        prop_assert!(matches!(codec::decode::<AgentFrame>(&longer), Err(CodecError::LeftOver(1))));
    }

    #[test]
    fn any_bytes_are_a_frame_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = codec::decode::<AgentFrame>(&bytes);
        let _ = codec::decode::<NodeFrame>(&bytes);
    }

    #[test]
    fn a_path_that_passes_is_in_normal_form(path in "[/a.\\x00\u{e9}]{0,12}") {
        let normal = path.starts_with('/')
            && path.len() > 1
            && !path.contains('\0')
            && path[1..].split('/').all(|name| !matches!(name, "" | "." | ".."));
        prop_assert_eq!(path::check(&path).is_ok(), normal);
    }
}

#[test]
fn a_hostile_length_is_refused_without_allocating_it() {
    // An `Output` that claims 2^62 chunks.
    let mut bytes = vec![codec::VERSION, 5, 16];
    bytes.extend_from_slice(&[0; 16]);
    bytes.push(253);
    bytes.extend_from_slice(&(1_u64 << 62).to_le_bytes());
    assert!(codec::decode::<AgentFrame>(&bytes).is_err());
    assert!(matches!(codec::decode::<AgentFrame>(&[9, 0]), Err(CodecError::Version(9))));
    assert!(matches!(codec::decode::<AgentFrame>(&[]), Err(CodecError::Empty)));
    assert!(codec::prefixed_length([0xff; 4], 1024).is_err());
}

#[test]
fn long_paths_and_names_are_refused() {
    assert!(path::check(&format!("/{}", "a".repeat(255))).is_ok());
    assert!(path::check(&format!("/{}", "a".repeat(256))).is_err());
    assert!(path::check(&format!("/{}", "ab/".repeat(1400))).is_err());
    assert!(path::is_within("/src/main.py", "/src") && !path::is_within("/srcs", "/src") && path::is_within("/x", "/"));
}
