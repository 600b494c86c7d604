//! `playhouse.v1.bin`: raw bytes both ways.

use playhouse_blackbox::{Options, frame, on_shared};
use serde_json::json;
use uuid::Uuid;

fn binary() -> Options {
    Options { binary: true, ..Options::default() }
}

#[test]
fn binary_output_is_byte_for_byte_what_the_program_wrote() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let script = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 2000)";
        let run = ws.run(json!(["python3", "-c", script])).await;
        let mut stream = ws.stream(run.sandbox_id, binary()).await;
        stream.end_of(run.process_id).await;
        let expected: Vec<u8> = (0..=255u8).cycle().take(256 * 2000).collect();
        let tape = stream.model.tape(run.process_id);
        assert!(tape.kept == expected && tape.is_whole(), "{} bytes", tape.bytes);
    });
}

#[test]
fn cut_characters_are_not_held_back_in_binary() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("printf '\\303'; sleep 0.3; printf '\\251'; sleep 0.3; printf '\\342\\202'").await;
        let mut stream = ws.stream(run.sandbox_id, binary()).await;
        stream.end_of(run.process_id).await;
        assert_eq!(stream.model.tape(run.process_id).kept, b"\xc3\xa9\xe2\x82", "the rest's event is empty in binary");
        let mut text = ws.stream(run.sandbox_id, Options::default()).await;
        text.end_of(run.process_id).await;
        assert_eq!(text.model.tape(run.process_id).text(), "é\u{fffd}");
        assert_eq!(text.model.tape(run.process_id).cursor, stream.model.tape(run.process_id).cursor, "the same ids");
    });
}

#[test]
fn binary_input_frames_reach_the_program_and_are_acknowledged() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("cat").await;
        let mut stream = ws.stream(run.sandbox_id, binary()).await;
        stream.send_bytes(frame::input_frame(run.process_id, 1, b"\x00\xff")).await;
        stream.input_taken(run.process_id, 1).await;
        stream.send_bytes(frame::input_frame(run.process_id, 1, b"again")).await;
        stream.send_bytes(frame::input_frame(run.process_id, 0, b"unnumbered")).await;
        stream.send_bytes(frame::input_frame(run.process_id, 2, b"end\n")).await;
        stream.input_taken(run.process_id, 2).await;
        stream.shows(run.process_id, "end\n").await;
        assert_eq!(stream.model.tape(run.process_id).kept, b"\x00\xffunnumberedend\n");
        ws.cancel(run.process_id).await;
    });
}

#[test]
fn all_but_output_stays_json_and_json_input_is_taken_too() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("cat").await;
        let mut stream = ws.stream(run.sandbox_id, binary()).await;
        stream.send(json!({"type": "input", "process_id": run.process_id, "data": "typed\n", "seq": 1})).await;
        stream.shows(run.process_id, "typed\n").await;
        stream.send(json!({"type": "cancel", "process_id": run.process_id})).await;
        assert_eq!(stream.end_of(run.process_id).await.status, "cancelled");
    });
}

#[test]
fn a_malformed_binary_frame_is_an_error_and_not_the_end() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("cat").await;
        let mut stream = ws.stream(run.sandbox_id, binary()).await;
        for bad in [vec![], vec![0x02], vec![0x02; 24], vec![0x07; 40]] {
            stream.send_bytes(bad).await;
            assert_eq!(stream.error().await.0, "message_invalid");
        }
        stream.send_bytes(frame::input_frame(Uuid::new_v4(), 1, b"x")).await;
        let (code, _) = stream.error().await;
        assert!(!code.is_empty());
        stream.input(run.process_id, "fine\n", 1).await;
        stream.shows(run.process_id, "fine\n").await;
        ws.cancel(run.process_id).await;
    });
}

#[test]
fn binary_replay_resumes_anywhere() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("for i in $(seq 500); do printf 'é%d\\n' $i; done").await;
        let mut whole = ws.stream(run.sandbox_id, binary()).await;
        whole.end_of(run.process_id).await;
        let expected = whole.model.tape(run.process_id).kept.clone();
        let last = whole.model.tape(run.process_id).cursor.expect("events").sequence;
        for seen in [0, 1, last / 2, last - 1] {
            let mut head = ws.stream(run.sandbox_id, binary()).await;
            let mut before = Vec::new();
            while head.model.tapes.get(&run.process_id).and_then(|tape| tape.cursor).map_or(0, |id| id.sequence) < seen
            {
                let _ = head.next().await.expect("it stays open");
                before = head.model.tapes.get(&run.process_id).map(|tape| tape.kept.clone()).unwrap_or_default();
            }
            let mut tail = ws.stream(run.sandbox_id, Options { from: Some("resume"), ..binary() }).await;
            tail.send(json!({"type": "resume", "processes": {run.process_id.to_string(): format!("0-{seen}")}})).await;
            tail.end_of(run.process_id).await;
            before.extend_from_slice(&tail.model.tape(run.process_id).kept);
            assert!(before == expected, "cut after 0-{seen}");
        }
    });
}
