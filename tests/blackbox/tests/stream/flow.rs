//! Back-pressure: slow clients cost nothing and slow nobody.

use std::time::Duration;

use playhouse_blackbox::{Frame, Options, Workspace, on_shared, wait};
use serde_json::json;

/// What may be sent beyond the last ack, by contract, in bytes.
const WINDOW: u64 = 100 * 1024;
/// Prints numbered lines, about 4 MB of them.
const LINES: &str = "i=0; while [ $i -lt 40 ]; do i=$((i+1)); seq -f \"$i-%06.0f..........................................................................................\" 1000; done";

fn acking() -> Options {
    Options { flow_ack: true, hold_acks: true, ..Options::default() }
}

async fn expected(ws: &Workspace) -> String {
    ws.sh(&format!("({LINES}) | sha256sum; ({LINES}) | wc -c")).await.good()
}

/// Acknowledges what this program prints only once nothing more comes, `rounds` times: each time at least so much comes,
/// and no more than the window.
fn stays_within_the_window(program: &str, rounds: u32, least: u64) {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run(program).await;
        let mut stream = ws.stream(run.sandbox_id, acking()).await;
        let mut acked = 0;
        for _ in 0..rounds {
            while let Some(next) = stream.next_within(Duration::from_millis(1500)).await {
                let _ = next.expect("it stays open");
            }
            let tape = stream.model.tape(run.process_id);
            let beyond = tape.bytes - acked;
            assert!((least..=WINDOW).contains(&beyond), "{beyond} bytes beyond the last ack");
            acked = tape.bytes;
            let id = tape.cursor.expect("events").to_string();
            stream.send(json!({"type": "ack", "process_id": run.process_id, "id": id})).await;
        }
        ws.cancel(run.process_id).await;
    });
}

#[test]
fn with_flow_ack_at_most_100_kib_come_beyond_the_last_ack() {
    stays_within_the_window(LINES, 8, WINDOW / 3);
}

#[test]
fn with_flow_ack_what_is_no_text_counts_as_the_text_it_becomes() {
    stays_within_the_window("head -c 400000 /dev/zero | tr '\\0' '\\377'; sleep 1000", 4, 1);
}

#[test]
fn an_acking_client_gets_everything_and_the_last_status() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let total: u64 = expected(&ws).await.lines().nth(1).expect("a count").trim().parse().expect("a number");
        let run = ws.run(LINES).await;
        let mut stream = ws.stream(run.sandbox_id, Options { flow_ack: true, ..Options::default() }).await;
        assert_eq!(stream.end_of(run.process_id).await.status, "completed");
        assert_eq!(stream.model.tape(run.process_id).bytes, total);
    });
}

#[test]
fn a_client_that_never_acks_slows_nobody_and_catches_up() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run(LINES).await;
        let mut stuck = ws.stream(run.sandbox_id, acking()).await;
        let mut quick = ws.stream(run.sandbox_id, Options::default()).await;
        assert_eq!(quick.end_of(run.process_id).await.status, "completed");
        // Now it wakes up, and misses nothing.
        loop {
            match stuck.next().await.expect("it stays open") {
                Frame::Output(output) if output.process == run.process_id => {
                    let id = output.id.to_string();
                    stuck.send(json!({"type": "ack", "process_id": run.process_id, "id": id})).await;
                }
                Frame::Status(of, status) if of == run.process_id && status.is_end() => break,
                _ => {}
            }
        }
        let (slow, fast) = (stuck.model.tape(run.process_id), quick.model.tape(run.process_id));
        assert_eq!((slow.hash(), slow.bytes), (fast.hash(), fast.bytes));
    });
}

#[test]
fn a_client_that_stops_reading_slows_nobody_and_catches_up() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run(LINES).await;
        // It is read no more after its hello.
        let mut stuck = ws.stream(run.sandbox_id, Options::default()).await;
        let mut quick = ws.stream(run.sandbox_id, Options::default()).await;
        assert_eq!(quick.end_of(run.process_id).await.status, "completed");
        let other = ws.run("echo another process").await;
        quick.shows(other.process_id, "another process").await;
        assert_eq!(stuck.end_of(run.process_id).await.status, "completed");
        let (slow, fast) = (stuck.model.tape(run.process_id), quick.model.tape(run.process_id));
        assert_eq!((slow.hash(), slow.bytes), (fast.hash(), fast.bytes));
    });
}

#[test]
fn a_program_waits_at_most_a_second_for_a_stuck_viewer() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let alone = tokio::time::Instant::now();
        let _ = ws.sh(LINES).await.good();
        let alone = alone.elapsed();
        let run = ws.run(LINES).await;
        let _stuck = ws.stream(run.sandbox_id, acking()).await;
        let start = tokio::time::Instant::now();
        assert_eq!(ws.ended(run.process_id).await["status"], "completed");
        assert!(start.elapsed() < alone * 3 + wait::A_SECOND, "{:?} beside {alone:?} alone", start.elapsed());
    });
}

#[test]
fn a_flood_stops_soon_after_ctrl_c_and_its_size_stays_bounded() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run_pty("yes; echo over").await;
        let mut stream = ws.stream(run.sandbox_id, Options { flow_ack: true, ..Options::default() }).await;
        stream
            .until("a flood", |_, model| model.tapes.get(&run.process_id).is_some_and(|tape| tape.bytes > 2_000_000))
            .await;
        let start = tokio::time::Instant::now();
        stream.input(run.process_id, "\u{3}", 1).await;
        stream.end_of(run.process_id).await;
        let took = start.elapsed();
        assert!(took < wait::A_SECOND, "Ctrl-C on a flood works at once: {took:?}");
    });
}

#[test]
fn a_flood_leaves_other_processes_and_the_api_responsive() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let flood = ws.run("yes").await;
        let echo = ws.run_pty("cat").await;
        let mut stream = ws.stream(echo.sandbox_id, Options::default()).await;
        for n in 1..=5u64 {
            let start = tokio::time::Instant::now();
            stream.input(echo.process_id, &format!("k{n}\r"), n).await;
            stream.shows(echo.process_id, &format!("k{n}\r\nk{n}\r\n")).await;
            assert!(start.elapsed() < wait::A_SECOND, "{:?}", start.elapsed());
            let start = tokio::time::Instant::now();
            let _ = ws.get().await;
            assert!(start.elapsed() < wait::A_SECOND, "{:?}", start.elapsed());
        }
        ws.cancel(flood.process_id).await;
        ws.cancel(echo.process_id).await;
    });
}

#[test]
fn an_ack_of_something_never_sent_is_harmless() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run(LINES).await;
        let mut stream = ws.stream(run.sandbox_id, acking()).await;
        stream.send(json!({"type": "ack", "process_id": run.process_id, "id": "0-99999999"})).await;
        stream.send(json!({"type": "ack", "process_id": run.process_id, "id": "7-1"})).await;
        stream.send(json!({"type": "ack", "process_id": uuid::Uuid::new_v4(), "id": "0-1"})).await;
        while let Some(next) = stream.next_within(Duration::from_millis(1500)).await {
            let _ = next.expect("it stays open");
        }
        let bytes = stream.model.tape(run.process_id).bytes;
        assert!(bytes <= WINDOW, "{bytes} bytes by a claimed ack");
        ws.cancel(run.process_id).await;
    });
}
