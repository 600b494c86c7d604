//! `Idempotency-Key`.

use playhouse_blackbox::{Answer, Client, Options, Stream, on_shared, shape};
use reqwest::Method;
use serde_json::{Value, json};

async fn keyed(client: &Client, path: &str, key: &str, body: &Value) -> Answer {
    client.send(client.request(Method::POST, path).header("idempotency-key", key).json(body)).await
}

#[test]
fn a_retried_create_answers_the_same_workspace_and_makes_one() {
    on_shared(async |arena| {
        let user = arena.user("u").await;
        let body = json!({"name": "once"});
        let first = keyed(&user, "/api/workspaces", "k1", &body).await.expect(201).json();
        let second = keyed(&user, "/api/workspaces", "k1", &body).await.expect(201).json();
        assert_eq!(first, second);
        assert_eq!(user.all("/api/workspaces", 100).await.len(), 1);
        keyed(&user, "/api/workspaces", "k2", &body).await.expect(201).json();
        assert_eq!(user.all("/api/workspaces", 100).await.len(), 2, "another key is another workspace");
    });
}

#[test]
fn the_same_key_with_another_body_is_422_idempotency_key_reused() {
    on_shared(async |arena| {
        let user = arena.user("u").await;
        keyed(&user, "/api/workspaces", "k", &json!({"name": "a"})).await.expect(201).json();
        keyed(&user, "/api/workspaces", "k", &json!({"name": "b"})).await.problem(422, "idempotency_key_reused");
    });
}

#[test]
fn two_users_may_use_the_same_key() {
    on_shared(async |arena| {
        let (one, two) = (arena.user("one").await, arena.user("two").await);
        let body = json!({"name": "same"});
        let first = keyed(&one, "/api/workspaces", "k", &body).await.expect(201).json();
        let second = keyed(&two, "/api/workspaces", "k", &body).await.expect(201).json();
        assert_ne!(first["id"], second["id"]);
        assert_ne!(first["owner_id"], second["owner_id"]);
    });
}

#[test]
fn calls_with_the_same_key_at_once_do_the_work_once() {
    on_shared(async |arena| {
        let user = arena.user("u").await;
        let body = json!({"name": "raced"});
        let calls = (0..8).map(|_| keyed(&user, "/api/workspaces", "race", &body));
        let answers: Vec<Value> =
            futures::future::join_all(calls).await.into_iter().map(|a| a.expect(201).json()).collect();
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
        assert_eq!(user.all("/api/workspaces", 100).await.len(), 1);
    });
}

#[test]
fn a_retried_run_starts_one_process_and_its_stream_token_is_fresh() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let body = json!({"command": "echo once >> log"});
        let first = keyed(&ws.client, &ws.path("/run"), "r", &body).await.expect(202).json();
        let second = keyed(&ws.client, &ws.path("/run"), "r", &body).await.expect(202).json();
        assert_eq!(first["process_id"], second["process_id"]);
        assert_eq!(first["sandbox_id"], second["sandbox_id"]);
        ws.ended(shape::id(&first, "process_id")).await;
        let token = shape::text(&second, "stream_token");
        let options = Options { token: Some(token), ..Options::default() };
        let stream = Stream::open(&ws.client, shape::id(&first, "sandbox_id"), options).await;
        assert_eq!(stream.model.hello.len(), 1, "one process ran");
        assert_eq!(ws.sh("cat log").await.good(), "once\n");
    });
}

#[test]
fn a_retried_file_create_answers_the_same_file_and_not_a_conflict() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let body = json!({"path": "/a.txt", "content": "a"});
        let first = keyed(&ws.client, &ws.path("/files"), "f", &body).await.expect(201).json();
        let second = keyed(&ws.client, &ws.path("/files"), "f", &body).await.expect(201).json();
        assert_eq!(first, second);
        keyed(&ws.client, &ws.path("/files"), "g", &body).await.problem(409, "path_exists");
    });
}

#[test]
fn a_key_longer_than_128_is_refused() {
    on_shared(async |arena| {
        let user = arena.user("u").await;
        keyed(&user, "/api/workspaces", &"k".repeat(128), &json!({"name": "a"})).await.expect(201).json();
        keyed(&user, "/api/workspaces", &"k".repeat(129), &json!({"name": "a"})).await.refused_as_malformed();
    });
}

async fn bare(client: &Client, path: &str, key: &str) -> Answer {
    client.send(client.request(Method::POST, path).header("idempotency-key", key)).await
}

async fn status(ws: &playhouse_blackbox::Workspace, sandbox: uuid::Uuid, wanted: &[&str]) {
    playhouse_blackbox::wait::until(&format!("one of {wanted:?}"), async || {
        wanted.contains(&&*ws.sandbox_status(sandbox).await).then_some(())
    })
    .await;
}

#[test]
fn a_retried_suspend_does_not_suspend_a_sandbox_that_was_resumed_since() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("echo up; sleep 1000").await;
        ws.printed(run.process_id, "up").await;
        let path = format!("/api/sandboxes/{}", run.sandbox_id);
        let _ = bare(&ws.client, &format!("{path}/suspend"), "s").await.expect(202);
        status(&ws, run.sandbox_id, &["suspended"]).await;
        let _ = bare(&ws.client, &format!("{path}/resume"), "r").await.expect(202);
        status(&ws, run.sandbox_id, &["running", "idle"]).await;
        let _ = bare(&ws.client, &format!("{path}/suspend"), "s").await.expect(202);
        assert!(["running", "idle"].contains(&&*ws.sandbox_status(run.sandbox_id).await), "it was done once");
        // The same key for something else on it.
        bare(&ws.client, &format!("{path}/resume"), "s").await.problem(422, "idempotency_key_reused");
        bare(&ws.client, &format!("{path}/token"), "s").await.problem(422, "idempotency_key_reused");
        ws.cancel(run.process_id).await;
    });
}

#[test]
fn a_retried_stream_token_is_made_afresh() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let sandbox = shape::id(&ws.sandbox().await, "id");
        let path = format!("/api/sandboxes/{sandbox}/token");
        let first = bare(&ws.client, &path, "k").await.expect(200).json();
        let second = bare(&ws.client, &path, "k").await.expect(200).json();
        assert_ne!(shape::text(&first, "stream_token"), shape::text(&second, "stream_token"));
        let request = ws.client.request(Method::POST, &path).header("idempotency-key", "k");
        ws.client.send(request.json(&json!({}))).await.problem(422, "idempotency_key_reused");
    });
}

#[test]
fn a_retried_acceptance_of_a_link_gets_its_answer_again() {
    on_shared(async |arena| {
        let (ws, guest) = (arena.workspace().await, arena.user("guest").await);
        let made = ws.client.post(&ws.path("/links"), json!({"role": "view"})).await.success().json();
        let url = shape::text(&made, "url");
        let first = bare(&guest, &url, "k").await.expect(200).json();
        let _ = ws.client.put(&ws.path(""), json!({"name": "renamed since"})).await.expect(200);
        assert_eq!(bare(&guest, &url, "k").await.expect(200).json(), first, "the first answer again");
        let request = guest.request(Method::POST, &url).header("idempotency-key", "k");
        guest.send(request.body("other")).await.problem(422, "idempotency_key_reused");
        let other = ws.client.post(&ws.path("/links"), json!({"role": "edit"})).await.success().json();
        bare(&guest, &shape::text(&other, "url"), "k").await.problem(422, "idempotency_key_reused");
    });
}

#[test]
fn a_key_on_another_method_says_nothing() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        for name in ["one", "two"] {
            let request = ws.client.request(Method::PUT, &ws.path("")).header("idempotency-key", "k".repeat(200));
            let answer = ws.client.send(request.json(&json!({"name": name}))).await.expect(200).json();
            assert_eq!(answer["name"], name);
        }
    });
}
