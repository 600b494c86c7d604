//! Who may type, who may only watch, and what revoking does to open sockets.

use playhouse_blackbox::{Client, Options, Workspace, on_shared, wait};
use serde_json::json;

async fn give(ws: &Workspace, to: &Client, role: &str) {
    let _ = ws.client.put(&ws.path(&format!("/members/{}", to.name)), json!({"role": role})).await.success();
}

#[test]
fn a_viewer_sees_everything_and_its_input_is_refused() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("echo up; cat").await;
        let viewer = arena.user("viewer").await;
        give(&ws, &viewer, "view").await;
        let mut stream = ws.seen_by(&viewer).stream(run.sandbox_id, Options::default()).await;
        assert_eq!(stream.model.role, "view");
        stream.shows(run.process_id, "up").await;
        let id = run.process_id;
        for message in [
            json!({"type": "input", "process_id": id, "data": "x\n", "seq": 1}),
            json!({"type": "resize", "process_id": id, "cols": 10, "rows": 10}),
            json!({"type": "cancel", "process_id": id}),
        ] {
            stream.send(message).await;
            assert_eq!(stream.error().await.0, "not_permitted");
        }
        let _ = ws.input(id, json!({"data": "from the owner\n"})).await.expect(202);
        stream.shows(id, "from the owner").await;
        assert!(!stream.model.tape(id).text().contains('x'));
        ws.cancel(id).await;
    });
}

#[test]
fn revoking_closes_open_sockets_with_4403_within_a_second() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("echo up; sleep 1000").await;
        for role in ["view", "edit"] {
            let member = arena.user("member").await;
            give(&ws, &member, role).await;
            let mut stream = ws.seen_by(&member).stream(run.sandbox_id, Options::default()).await;
            stream.shows(run.process_id, "up").await;
            let _ = ws.client.delete(&ws.path(&format!("/members/{}", member.name))).await.success();
            let start = tokio::time::Instant::now();
            assert_eq!(stream.closed().await.code, 4403);
            assert!(start.elapsed() < wait::A_SECOND, "{:?}", start.elapsed());
        }
        ws.cancel(run.process_id).await;
    });
}

#[test]
fn making_it_private_closes_the_sockets_of_the_org() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("echo up; sleep 1000").await;
        let colleague = arena.user("colleague").await;
        let _ = ws.client.put(&ws.path(""), json!({"sharing_mode": "view"})).await.expect(200);
        let mut theirs = ws.seen_by(&colleague).stream(run.sandbox_id, Options::default()).await;
        let mut own = ws.stream(run.sandbox_id, Options::default()).await;
        theirs.shows(run.process_id, "up").await;
        own.shows(run.process_id, "up").await;
        let _ = ws.client.put(&ws.path(""), json!({"sharing_mode": "private"})).await.expect(200);
        assert_eq!(theirs.closed().await.code, 4403);
        own.send(json!({"type": "cancel", "process_id": run.process_id})).await;
        assert_eq!(own.end_of(run.process_id).await.status, "cancelled", "the owner's socket stays");
    });
}

#[test]
fn lowering_an_editor_to_a_viewer_takes_effect_on_the_open_socket() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("echo up; cat").await;
        let member = arena.user("member").await;
        give(&ws, &member, "edit").await;
        let mut stream = ws.seen_by(&member).stream(run.sandbox_id, Options::default()).await;
        stream.input(run.process_id, "as editor\n", 1).await;
        stream.shows(run.process_id, "as editor").await;
        give(&ws, &member, "view").await;
        wait::within(wait::A_SECOND, "input to be refused", async || {
            stream.try_send(json!({"type": "input", "process_id": run.process_id, "data": ""})).await.ok()?;
            match stream.next_within(std::time::Duration::from_millis(300)).await {
                Some(Ok(playhouse_blackbox::Frame::Error { code, .. })) => (code == "not_permitted").then_some(()),
                // A close is a way of taking effect too: the client comes back as what it is now.
                Some(Err(closed)) => (closed.code == 4403).then_some(()),
                _ => None,
            }
        })
        .await;
        ws.cancel(run.process_id).await;
    });
}

#[test]
fn deleting_the_workspace_closes_its_sockets() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("echo up; sleep 1000").await;
        let mut stream = ws.stream(run.sandbox_id, Options::default()).await;
        stream.shows(run.process_id, "up").await;
        let _ = ws.client.delete(&ws.path("")).await.expect(204);
        let closed = stream.closed().await;
        // Nobody's access was revoked: the sandbox is over, and with it all that could be told of it.
        assert_eq!(closed.code, 4410, "{closed:?}");
    });
}
