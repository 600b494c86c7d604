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
