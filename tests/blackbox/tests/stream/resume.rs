//! `?from=resume`: the singular form, the plural form, and what is no cursor.

use std::time::Duration;

use playhouse_blackbox::{EventId, Frame, Options, Stream, Workspace, on_shared, shape};
use serde_json::json;
use uuid::Uuid;

/// Long enough for anything that is wrongly sent to arrive.
const SILENCE: Duration = Duration::from_millis(700);

/// A sandbox with a process that has printed `count` events and waits.
async fn talkative(ws: &Workspace, count: u64) -> (Uuid, Uuid) {
    let run = ws.run("while read line; do echo \"$line\"; done").await;
    for n in 1..=count {
        let _ = ws.input(run.process_id, json!({"data": format!("{n}\n")})).await.expect(202);
        ws.printed(run.process_id, &format!("{n}\n")).await;
    }
    (run.sandbox_id, run.process_id)
}

async fn resuming(ws: &Workspace, sandbox: Uuid) -> Stream {
    ws.stream(sandbox, Options { from: Some("resume"), ..Options::default() }).await
}

/// Checks that nothing of these processes comes unasked.
async fn stays_silent(stream: &mut Stream, about: &[Uuid]) {
    let start = tokio::time::Instant::now();
    while start.elapsed() < SILENCE {
        match stream.next_within(SILENCE).await {
            Some(Ok(Frame::Output(output))) => assert!(!about.contains(&output.process), "{output:?} comes unasked"),
            Some(Ok(_)) | None => {}
            Some(Err(closed)) => panic!("{closed:?}"),
        }
    }
}

#[test]
fn only_hello_comes_until_a_resume_says_where_to_go_on() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let (sandbox, process) = talkative(&ws, 3).await;
        let mut stream = resuming(&ws, sandbox).await;
        assert!(stream.model.hello.contains_key(&process));
        stays_silent(&mut stream, &[process]).await;
        stream.send(json!({"type": "resume", "process_id": process, "last_seen_id": "0-0"})).await;
        stream.shows(process, "3\n").await;
        assert!(stream.model.tape(process).is_whole());
    });
}

#[test]
fn news_of_files_wait_for_the_resume_too() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let (sandbox, process) = talkative(&ws, 1).await;
        let mut stream = resuming(&ws, sandbox).await;
        ws.create("/new.txt", "new").await;
        if let Some(early) = stream.next_within(SILENCE).await {
            panic!("{early:?} comes unasked");
        }
        stream.send(json!({"type": "resume", "processes": {process.to_string(): "0-1"}})).await;
        let is_news =
            |frame: &Frame| matches!(frame, Frame::Files { changed, .. } if changed.contains(&"/new.txt".to_owned()));
        stream.until("the file's news", |frame, _| is_news(frame)).await;
    });
}

#[test]
fn exactly_the_events_after_last_seen_come() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let (sandbox, process) = talkative(&ws, 6).await;
        let mut whole = ws.stream(sandbox, Options::default()).await;
        whole.shows(process, "6\n").await;
        let last = whole.model.tape(process).cursor.expect("events").sequence;
        for seen in 0..=last {
            let mut stream = resuming(&ws, sandbox).await;
            stream.send(json!({"type": "resume", "process_id": process, "last_seen_id": format!("0-{seen}")})).await;
            if seen < last {
                stream.shows(process, "6\n").await;
                assert_eq!(stream.model.tape(process).first, Some(EventId { generation: 0, sequence: seen + 1 }));
            } else {
                stays_silent(&mut stream, &[process]).await;
            }
        }
    });
}

#[test]
fn the_singular_form_concerns_its_process_alone() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let (sandbox, one) = talkative(&ws, 2).await;
        let (_, two) = talkative(&ws, 2).await;
        let mut stream = resuming(&ws, sandbox).await;
        stream.send(json!({"type": "resume", "process_id": one, "last_seen_id": "0-0"})).await;
        stream.shows(one, "2\n").await;
        stays_silent(&mut stream, &[two]).await;
        stream.send(json!({"type": "resume", "process_id": two, "last_seen_id": "0-1"})).await;
        stream.shows(two, "2\n").await;
        assert_eq!(stream.model.tape(two).first.map(|id| id.sequence), Some(2));
    });
}

#[test]
fn the_plural_form_settles_all_and_one_left_out_starts_at_its_first_event() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let (sandbox, one) = talkative(&ws, 3).await;
        let (_, two) = talkative(&ws, 3).await;
        let mut stream = resuming(&ws, sandbox).await;
        stream.send(json!({"type": "resume", "processes": {one.to_string(): "0-2"}})).await;
        stream.shows(one, "3\n").await;
        stream.shows(two, "3\n").await;
        assert_eq!(stream.model.tape(one).text(), "3\n");
        assert_eq!(stream.model.tape(two).text(), "1\n2\n3\n");
    });
}

#[test]
fn a_process_started_after_the_socket_opened_is_live_without_a_resume() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let (sandbox, old) = talkative(&ws, 1).await;
        let mut stream = resuming(&ws, sandbox).await;
        let run = ws.run("echo later").await;
        stream.end_of(run.process_id).await;
        assert_eq!(stream.model.tape(run.process_id).text(), "later\n");
        assert!(stream.model.tape(run.process_id).is_whole());
        stays_silent(&mut stream, &[old]).await;
    });
}

#[test]
fn a_resume_after_the_end_answers_the_status_again() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let done = ws.sh("echo a; exit 9").await.process;
        let (process, sandbox) = (shape::id(&done, "id"), shape::id(&done, "sandbox_id"));
        let mut stream = resuming(&ws, sandbox).await;
        let last = stream.model.hello[&process].last.expect("it printed");
        stream.send(json!({"type": "resume", "processes": {process.to_string(): last.to_string()}})).await;
        assert_eq!(stream.end_of(process).await.exit_code, Some(9));
        assert_eq!(stream.model.tape(process).events, 0, "nothing is sent again");
    });
}

#[test]
fn a_malformed_id_an_unknown_process_or_an_unreached_number_is_resume_invalid() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let (sandbox, process) = talkative(&ws, 2).await;
        for bad in ["", "1", "x-y", "0-", "-1", "0-1-2", "0-01", "0-18446744073709551616", "0- 1"] {
            let mut stream = resuming(&ws, sandbox).await;
            stream.send(json!({"type": "resume", "process_id": process, "last_seen_id": bad})).await;
            assert_eq!(stream.error().await.0, "resume_invalid", "{bad:?}");
        }
        let mut stream = resuming(&ws, sandbox).await;
        stream.send(json!({"type": "resume", "process_id": Uuid::new_v4(), "last_seen_id": "0-0"})).await;
        assert_eq!(stream.error().await.0, "resume_invalid");
        let mut stream = resuming(&ws, sandbox).await;
        stream.send(json!({"type": "resume", "process_id": process, "last_seen_id": "0-999999"})).await;
        assert_eq!(stream.error().await.0, "resume_invalid", "a number that was never reached");
        // The socket is still good.
        stream.send(json!({"type": "resume", "process_id": process, "last_seen_id": "0-0"})).await;
        stream.shows(process, "2\n").await;
    });
}

#[test]
fn a_plural_resume_refuses_what_is_wrong_in_it_and_settles_all_others() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let (sandbox, process) = talkative(&ws, 3).await;
        let stranger = Uuid::new_v4().to_string();
        for (key, cursor) in [("nope", "0-1"), (stranger.as_str(), "0-1"), ("", "")] {
            // The process is left out, or named beside what is wrong.
            for named in [false, true] {
                let mut processes = json!({ key: cursor });
                if named {
                    processes[process.to_string()] = json!("0-0");
                }
                let mut stream = resuming(&ws, sandbox).await;
                stream.send(json!({"type": "resume", "processes": processes})).await;
                assert_eq!(stream.error().await.0, "resume_invalid", "{key:?}");
                stream.shows(process, "3\n").await;
            }
        }
    });
}

#[test]
fn a_resume_outside_from_resume_is_resume_unexpected() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let (sandbox, process) = talkative(&ws, 1).await;
        for from in [None, Some("earliest"), Some("live")] {
            let mut stream = ws.stream(sandbox, Options { from, ..Options::default() }).await;
            stream.send(json!({"type": "resume", "process_id": process, "last_seen_id": "0-0"})).await;
            assert_eq!(stream.error().await.0, "resume_unexpected", "{from:?}");
        }
    });
}

#[test]
fn an_unknown_from_is_refused() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let sandbox = shape::id(&ws.sandbox().await, "id");
        let token = playhouse_blackbox::stream::token(&ws.client, sandbox).await;
        let options = Options { from: Some("tomorrow"), ..Options::default() };
        let opened =
            Stream::connect(&ws.client, sandbox, &token, options, playhouse_blackbox::Model::new(sandbox)).await;
        match opened {
            Err(refused) => assert!(matches!(refused.status, 400 | 422), "{refused:?}"),
            Ok(mut stream) => {
                let first = stream.next().await;
                assert!(matches!(first, Err(_) | Ok(Frame::Error { .. })), "{first:?}");
            }
        }
    });
}

#[test]
fn a_process_that_printed_meanwhile_goes_on_live_after_the_resume() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("i=0; while [ $i -lt 400 ]; do i=$((i+1)); echo $i; sleep 0.01; done").await;
        let mut stream = ws.stream(run.sandbox_id, Options::default()).await;
        stream.shows(run.process_id, "20\n").await;
        let model = stream.break_off();
        ws.printed(run.process_id, "120\n").await;
        let token = playhouse_blackbox::stream::token(&ws.client, run.sandbox_id).await;
        let resumed = Stream::resume(&ws.client, run.sandbox_id, &token, Options::default(), model).await;
        let mut stream = resumed.map_err(|(_, error)| error).expect("it resumes");
        stream.end_of(run.process_id).await;
        let expected: String = (1..=400).map(|n| format!("{n}\n")).collect();
        assert_eq!(stream.model.tape(run.process_id).text(), expected);
    });
}
