//! Close codes.

use playhouse_blackbox::{Closed, Model, Options, Stream, Workspace, on_own, on_shared, shape, stream, wait};
use serde_json::json;
use uuid::Uuid;

/// Opens a socket that is to be refused, and says how it closed.
async fn refused(ws: &Workspace, sandbox: Uuid, token: &str) -> Closed {
    let opened = Stream::connect(&ws.client, sandbox, token, Options::default(), Model::new(sandbox)).await;
    let mut stream = opened.expect("refusals come after the upgrade");
    match stream.next().await {
        Ok(frame) => panic!("{frame:?} instead of a close"),
        Err(closed) => closed,
    }
}

#[test]
fn an_invalid_token_closes_with_4401() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let sandbox = shape::id(&ws.sandbox().await, "id");
        let good = stream::token(&ws.client, sandbox).await;
        for bad in ["", "x", "v4.public.AAAA", &good[..good.len() - 4], &format!("{good}A")] {
            assert_eq!(refused(&ws, sandbox, bad).await.code, 4401, "{bad:?}");
        }
    });
}

#[test]
fn a_token_for_another_sandbox_closes_with_4401() {
    on_shared(async |arena| {
        let user = arena.user("u").await;
        let (one, two) = (arena.workspace_of(&user, "blank").await, arena.workspace_of(&user, "blank").await);
        let (a, b) = (shape::id(&one.sandbox().await, "id"), shape::id(&two.sandbox().await, "id"));
        let token = stream::token(&user, a).await;
        assert_eq!(refused(&one, b, &token).await.code, 4401);
    });
}

#[test]
fn a_bearer_token_is_no_stream_token() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let sandbox = shape::id(&ws.sandbox().await, "id");
        let data = arena.server().data().to_string_lossy().into_owned();
        let made =
            playhouse_blackbox::cli::run(&["token", "create", "--user", &ws.client.name, "--data-dir", &data]).await;
        assert_eq!(refused(&ws, sandbox, made.expect(0).line()).await.code, 4401);
        // And the other way round.
        let token = stream::token(&ws.client, sandbox).await;
        let client = ws.client.with(playhouse_blackbox::client::Identity::Bearer(token));
        client.get("/api/me").await.problem_of_status(401);
    });
}

#[test]
fn a_token_lives_60_seconds_and_need_not_be_valid_later() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("cat").await;
        let mut stream =
            ws.stream(run.sandbox_id, Options { token: Some(run.stream_token.clone()), ..Options::default() }).await;
        wait::within(std::time::Duration::from_secs(90), "the token to expire", async || {
            let model = Model::new(run.sandbox_id);
            let opened =
                Stream::connect(&ws.client, run.sandbox_id, &run.stream_token, Options::default(), model).await;
            // What comes meanwhile on the first socket (pings) must be answered.
            let _ = stream.next_within(std::time::Duration::from_secs(2)).await;
            match opened.expect("the upgrade").next().await {
                Err(closed) if closed.code == 4401 => Some(()),
                Err(closed) => panic!("{closed:?}"),
                Ok(_) => None,
            }
        })
        .await;
        stream.input(run.process_id, "still open\n", 1).await;
        stream.shows(run.process_id, "still open").await;
        ws.cancel(run.process_id).await;
    });
}

#[test]
fn the_server_pings_a_silent_socket_and_keeps_it_while_it_answers() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("cat").await;
        let mut stream = ws.stream(run.sandbox_id, Options::default()).await;
        // Every 20 s by contract: three of them reach beyond the 60 s after which a silent client is closed.
        wait::within(std::time::Duration::from_secs(120), "four pings", async || {
            if let Some(Err(closed)) = stream.next_within(std::time::Duration::from_secs(5)).await {
                panic!("{closed:?} although every ping was answered");
            }
            (stream.pings >= 4).then_some(())
        })
        .await;
        stream.input(run.process_id, "still open\n", 1).await;
        stream.shows(run.process_id, "still open").await;
        ws.cancel(run.process_id).await;
    });
}

#[test]
fn a_sandbox_that_never_was_closes_with_4404_or_4401() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let sandbox = shape::id(&ws.sandbox().await, "id");
        let token = stream::token(&ws.client, sandbox).await;
        // No token can be had for it, so which of the two is told first is free.
        let closed = refused(&ws, Uuid::new_v4(), &token).await;
        assert!([4401, 4404].contains(&closed.code), "{closed:?}");
    });
}

#[test]
fn a_deleted_workspaces_sandbox_closes_with_4404() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let sandbox = shape::id(&ws.sandbox().await, "id");
        let token = stream::token(&ws.client, sandbox).await;
        let _ = ws.client.delete(&ws.path("")).await.expect(204);
        assert_eq!(refused(&ws, sandbox, &token).await.code, 4404);
    });
}

/// Ends by a DELETE of this path, which is that of the workspace or of its sandbox, while one watches: all that was
/// printed and the last statuses come, then 4410. Answers the sandbox, the process that had ended and the one that ran.
async fn ends_in_order(ws: &Workspace, path: impl FnOnce(Uuid) -> String) -> (Uuid, Uuid, Uuid) {
    let done = ws.run("seq 1 3000").await;
    ws.ended(done.process_id).await;
    let run = ws.run("echo before the end; sleep 1000").await;
    let mut stream = ws.stream(run.sandbox_id, Options::default()).await;
    stream.shows(run.process_id, "before the end").await;
    let _ = ws.client.delete(&path(run.sandbox_id)).await.expect(204);
    assert_eq!(stream.closed().await.code, 4410);
    let end = stream.model.tape(run.process_id).end.clone().expect("its status came before the close");
    assert!(end.is_end(), "{end:?}");
    assert!(stream.model.tape(done.process_id).end.is_some());
    (run.sandbox_id, done.process_id, run.process_id)
}

#[test]
fn a_deleted_workspaces_sockets_get_the_output_and_the_last_statuses_then_4410() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        ends_in_order(&ws, |_| ws.path("")).await;
    });
}

#[test]
fn a_terminated_sandbox_sends_all_its_output_and_statuses_then_4410() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let (sandbox, done, run) = ends_in_order(&ws, |sandbox| format!("/api/sandboxes/{sandbox}")).await;
        // A later socket gets hello, replay, then 4410.
        let mut later = ws.stream(sandbox, Options::default()).await;
        assert_eq!(later.closed().await.code, 4410);
        let expected: String = (1..=3000).map(|n| format!("{n}\n")).collect();
        assert!(later.model.tape(done).text() == expected);
        assert_eq!(later.model.tape(run).text(), "before the end\n");
        assert!(later.model.tape(run).end.is_some());
    });
}

#[test]
fn a_draining_node_closes_with_1012() {
    on_own(&["--keep-host"], async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("echo up; while :; do echo on; sleep 0.1; done").await;
        let mut stream = ws.stream(run.sandbox_id, Options::default()).await;
        stream.shows(run.process_id, "up").await;
        arena.server().signal(libc::SIGTERM);
        let closed = stream.closed().await;
        assert_eq!(closed.code, 1012, "{closed:?}");
        assert_eq!(arena.server().exited(), Some(0));
        arena.server().start_again();
        let token = wait::until("a token", async || {
            let path = format!("/api/sandboxes/{}/token", run.sandbox_id);
            let answer = ws.client.try_send(ws.client.request(reqwest::Method::POST, &path)).await.ok()?;
            (answer.status == 200).then(|| shape::text(&answer.json(), "stream_token"))
        })
        .await;
        let before = stream.model.tape(run.process_id).events;
        let resumed = Stream::resume(&ws.client, run.sandbox_id, &token, Options::default(), stream.break_off()).await;
        let mut stream = resumed.map_err(|(_, error)| error).expect("it resumes");
        stream.until("output after the restart", |_, model| model.tape(run.process_id).events > before + 5).await;
        stream.send(json!({"type": "cancel", "process_id": run.process_id})).await;
        stream.end_of(run.process_id).await;
    });
}
