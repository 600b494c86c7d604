//! Input over HTTP: numbers, the end, and what is too much.

use base64::{Engine, prelude::BASE64_STANDARD};
use playhouse_blackbox::on_shared;
use serde_json::json;

#[test]
fn input_reaches_the_program_and_eof_ends_it() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("cat; echo end").await;
        let _ = ws.input(run.process_id, json!({"data": "hé\n"})).await.expect(202);
        ws.printed(run.process_id, "hé\n").await;
        let bytes = BASE64_STANDARD.encode([0u8, 255, b'\n']);
        let _ = ws.input(run.process_id, json!({"data": bytes, "encoding": "base64"})).await.expect(202);
        let _ = ws.input(run.process_id, json!({"data": "last", "eof": true})).await.expect(202);
        let process = ws.ended(run.process_id).await;
        assert_eq!(process["status"], "completed");
        assert_eq!(ws.output(run.process_id).await, b"h\xc3\xa9\n\x00\xff\nlastend\n");
        ws.input(run.process_id, json!({"data": "x"})).await.problem(409, "process_ended");
    });
}

#[test]
fn a_number_seen_before_is_ignored_and_a_gap_is_accepted() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("cat").await;
        for (data, seq) in [("a", 1), ("a", 1), ("b", 2), ("a", 1), ("c", 10), ("x", 9), ("c", 10), ("d", 11)] {
            let _ = ws.input(run.process_id, json!({"data": data, "seq": seq})).await.expect(202);
        }
        let _ = ws.input(run.process_id, json!({"data": "\n", "eof": true})).await.expect(202);
        ws.ended(run.process_id).await;
        assert_eq!(ws.output(run.process_id).await, b"abcd\n");
    });
}

#[test]
fn numbers_count_per_writer() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("cat").await;
        let one = json!({"data": "1", "seq": 5, "writer": "tab-1"});
        let two = json!({"data": "2", "seq": 5, "writer": "tab-2"});
        let own = json!({"data": "3", "seq": 5});
        for body in [&one, &two, &own, &one, &two, &own] {
            let _ = ws.input(run.process_id, body.clone()).await.expect(202);
        }
        let _ = ws.input(run.process_id, json!({"data": "", "eof": true})).await.expect(202);
        ws.ended(run.process_id).await;
        assert_eq!(ws.output(run.process_id).await, b"123");
        let long = json!({"data": "x", "seq": 1, "writer": "w".repeat(65)});
        let run = ws.run("cat").await;
        ws.input(run.process_id, long).await.refused_as_malformed();
        ws.cancel(run.process_id).await;
    });
}

#[test]
fn above_1_mib_unread_input_is_429_input_full_and_the_number_is_unused() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        // It reads nothing until the file is there.
        let run = ws.run("while [ ! -e go ]; do sleep 0.1; done; wc -c").await;
        let piece = "x".repeat(256 * 1024);
        let mut taken = 0u64;
        let mut full = None;
        for seq in 1..=20u64 {
            let answer = ws.input(run.process_id, json!({"data": piece, "seq": seq})).await;
            if answer.status == 202 {
                taken += 1;
                continue;
            }
            answer.problem(429, "input_full");
            full = Some(seq);
            break;
        }
        let full = full.expect("it fills up");
        assert!((3..=6).contains(&taken), "about 1 MiB is kept (and a pipe's worth): {taken} pieces");
        ws.create("/go", "").await;
        playhouse_blackbox::wait::until("room again", async || {
            let answer = ws.input(run.process_id, json!({"data": piece, "seq": full})).await;
            (answer.status == 202).then_some(())
        })
        .await;
        let _ = ws.input(run.process_id, json!({"data": "", "eof": true})).await.expect(202);
        ws.ended(run.process_id).await;
        let total = (taken + 1) * piece.len() as u64;
        let printed = String::from_utf8_lossy(&ws.output(run.process_id).await).trim().to_owned();
        assert_eq!(printed, total.to_string(), "what was answered 202 arrived, each once");
    });
}

#[test]
fn a_ptys_ctrl_c_interrupts_and_ctrl_d_ends_its_input() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run_pty("trap 'echo interrupted' INT; echo ready; while :; do sleep 0.1; done").await;
        ws.printed(run.process_id, "ready").await;
        let _ = ws.input(run.process_id, json!({"data": "\u{3}"})).await.expect(202);
        ws.printed(run.process_id, "interrupted").await;
        ws.cancel(run.process_id).await;
        let run = ws.run_pty("cat; echo over").await;
        let _ = ws.input(run.process_id, json!({"data": "line\n\u{4}"})).await.expect(202);
        assert_eq!(ws.ended(run.process_id).await["status"], "completed");
        assert!(ws.printed(run.process_id, "over").await.contains("line"));
    });
}

#[test]
fn malformed_input_is_refused() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("cat").await;
        for body in [
            json!({}),
            json!({"data": 1}),
            json!({"data": "x", "seq": -1}),
            json!({"data": "x", "seq": "1"}),
            json!({"data": "%", "encoding": "base64"}),
            json!({"data": "x", "encoding": "hex"}),
            json!({"data": "x", "end": true}),
        ] {
            ws.input(run.process_id, body).await.refused_as_malformed();
        }
        ws.cancel(run.process_id).await;
        ws.ended(run.process_id).await;
        assert!(ws.output(run.process_id).await.is_empty());
    });
}
