//! Hello, replay, live output, order.

use playhouse_blackbox::{EventId, Frame, Options, Stream, on_shared, shape, stream};
use serde_json::json;

#[test]
fn the_runs_own_token_opens_the_stream_and_everything_comes_from_the_first_event() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("for i in 1 2 3; do echo line $i; sleep 0.1; done").await;
        let options = Options { token: Some(run.stream_token.clone()), ..Options::default() };
        let mut stream = Stream::open(&ws.client, run.sandbox_id, options).await;
        let end = stream.end_of(run.process_id).await;
        assert_eq!((&*end.status, end.exit_code, end.signal, end.reason), ("completed", Some(0), None, None));
        let tape = stream.model.tape(run.process_id);
        assert_eq!(tape.text(), "line 1\nline 2\nline 3\n");
        assert!(tape.is_whole(), "{tape:?}");
    });
}

#[test]
fn hello_lists_running_and_retained_processes() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let done = ws.sh("echo a").await.process;
        let silent = ws.run(json!(["sleep", "1000"])).await;
        let running = ws.run("echo b; sleep 1000").await;
        ws.printed(running.process_id, "b").await;
        let stream = ws.stream(running.sandbox_id, Options::default()).await;
        assert!(["owner", "edit"].contains(&&*stream.model.role), "{}", stream.model.role);
        let hello = &stream.model.hello;
        assert_eq!(hello.len(), 3, "{hello:?}");
        let listed = &hello[&shape::id(&done, "id")];
        assert_eq!(
            (&*listed.status, listed.first, listed.last),
            ("completed", Some(EventId::FIRST), Some(EventId::FIRST))
        );
        let listed = &hello[&silent.process_id];
        assert_eq!((listed.first, listed.last, listed.input_seq), (None, None, 0), "null before any output");
        assert_eq!(hello[&running.process_id].status, "running");
    });
}

#[test]
fn a_new_process_is_announced_by_a_status_before_its_output() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let sandbox = shape::id(&ws.sandbox().await, "id");
        let mut stream = ws.stream(sandbox, Options::default()).await;
        assert!(stream.model.hello.is_empty());
        for n in 0..5 {
            let run = ws.run(format!("echo {n}")).await;
            // The model fails on output of a process that neither hello nor a status announced.
            let end = stream.end_of(run.process_id).await;
            assert_eq!(end.status, "completed");
            let tape = stream.model.tape(run.process_id);
            assert_eq!(tape.text(), format!("{n}\n"));
            assert!(tape.is_whole());
            assert!(tape.statuses.len() > 1, "announced, then ended: {:?}", tape.statuses);
        }
    });
}

#[test]
fn a_finished_process_is_replayed_whole_and_its_status_comes_last() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let done = ws.sh("seq 1 5000; echo err >&2; exit 4").await.process;
        let (id, sandbox) = (shape::id(&done, "id"), shape::id(&done, "sandbox_id"));
        let mut stream = ws.stream(sandbox, Options::default()).await;
        let end = stream.end_of(id).await;
        assert_eq!((&*end.status, end.exit_code), ("failed", Some(4)));
        let expected: String = (1..=5000).map(|n| format!("{n}\n")).collect();
        let tape = stream.model.tape(id);
        assert!(tape.text() == expected && tape.kept_stderr == b"err\n", "{} bytes", tape.bytes);
        assert!(tape.is_whole());
    });
}

#[test]
fn from_live_skips_the_past() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("echo past; while read line; do echo \"got $line\"; done").await;
        ws.printed(run.process_id, "past").await;
        let mut stream = ws.stream(run.sandbox_id, Options { from: Some("live"), ..Options::default() }).await;
        let last = stream.model.hello[&run.process_id].last.expect("it printed");
        let _ = ws.input(run.process_id, json!({"data": "now\n"})).await.expect(202);
        stream.shows(run.process_id, "got now\n").await;
        let tape = stream.model.tape(run.process_id);
        assert!(!tape.text().contains("past"), "{}", tape.text());
        assert_eq!(tape.first, Some(last.next()));
        ws.cancel(run.process_id).await;
    });
}

#[test]
fn stdout_and_stderr_are_told_apart_and_a_pty_is_stdout() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("echo out; echo err >&2").await;
        let mut stream = ws.stream(run.sandbox_id, Options::default()).await;
        stream.end_of(run.process_id).await;
        let tape = stream.model.tape(run.process_id);
        assert_eq!((&*tape.kept, &*tape.kept_stderr), (&b"out\n"[..], &b"err\n"[..]));
        let run = ws.run_pty("echo out; echo err >&2").await;
        stream.end_of(run.process_id).await;
        let tape = stream.model.tape(run.process_id);
        assert_eq!((&*tape.kept, &*tape.kept_stderr), (&b"out\r\nerr\r\n"[..], &b""[..]));
    });
}

#[test]
fn one_socket_carries_all_processes_each_gap_free() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let mut runs = Vec::new();
        for n in 0..6 {
            runs.push(ws.run(format!("for i in $(seq 300); do echo {n} $i; done")).await);
        }
        let mut stream = ws.stream(runs[0].sandbox_id, Options::default()).await;
        for (n, run) in runs.iter().enumerate() {
            stream.end_of(run.process_id).await;
            let expected: String = (1..=300).map(|i| format!("{n} {i}\n")).collect();
            let tape = stream.model.tape(run.process_id);
            assert_eq!(tape.text(), expected);
            assert!(tape.is_whole());
        }
    });
}

#[test]
fn every_viewer_sees_the_same_events_under_the_same_ids() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("for i in $(seq 1 400); do echo \"line $i\"; sleep 0.002; done").await;
        let watch = async |from: Option<&'static str>, binary: bool| {
            let mut stream = ws.stream(run.sandbox_id, Options { from, binary, ..Options::default() }).await;
            let mut events = Vec::new();
            loop {
                match stream.next().await.expect("it stays open") {
                    Frame::Output(output) if output.process == run.process_id => events.push((output.id, output.bytes)),
                    Frame::Status(of, status) if of == run.process_id && status.is_end() => return events,
                    _ => {}
                }
            }
        };
        let (one, two, three) = tokio::join!(watch(None, false), watch(Some("earliest"), false), watch(None, true));
        assert!(!one.is_empty());
        assert_eq!(one, two);
        assert_eq!(one, three, "ASCII is the same as text and as bytes");
        let again = watch(None, false).await;
        assert_eq!(one, again, "replayed later, boundaries are where they were");
    });
}

#[test]
fn a_lone_line_comes_at_once() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run_pty("cat").await;
        let mut stream = ws.stream(run.sandbox_id, Options::default()).await;
        for n in 1..=20u64 {
            let start = tokio::time::Instant::now();
            stream.input(run.process_id, &format!("key{n}\n"), n).await;
            stream.shows(run.process_id, &format!("key{n}\r\nkey{n}\r\n")).await;
            assert!(start.elapsed() < playhouse_blackbox::wait::A_SECOND, "{:?}", start.elapsed());
        }
        ws.cancel(run.process_id).await;
    });
}

#[test]
fn a_socket_opened_before_anything_ran_needs_only_a_token() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let sandbox = shape::id(&ws.sandbox().await, "id");
        let token = stream::token(&ws.client, sandbox).await;
        let mut stream = Stream::open(&ws.client, sandbox, Options { token: Some(token), ..Options::default() }).await;
        let run = ws.run("echo first").await;
        stream.shows(run.process_id, "first").await;
    });
}
