//! What is bounded so that no client grows the server without end: `quota_exceeded`.

use playhouse_blackbox::{on_own, shape};
use serde_json::json;

#[test]
fn a_workspace_has_so_many_links_and_no_more() {
    on_own(&["--rate-limit", "100000"], async |arena| {
        let ws = arena.workspace().await;
        let mut last = None;
        for _ in 0..1000 {
            last = Some(ws.client.post(&ws.path("/links"), json!({"role": "view"})).await.success().json());
        }
        let refused = || async {
            let request = ws.client.request(reqwest::Method::POST, &ws.path("/links")).header("idempotency-key", "one");
            ws.client.send(request.json(&json!({"role": "view"}))).await
        };
        refused().await.problem(403, "quota_exceeded");
        let id = shape::text(&last.expect("links"), "id");
        let _ = ws.client.delete(&ws.path(&format!("/links/{id}"))).await.expect(204);
        // A refusal for want of room is no answer that a key keeps.
        let _ = refused().await.success();
    });
}

#[test]
fn a_workspace_runs_so_many_programs_at_once_and_no_more() {
    on_own(&["--rate-limit", "100000"], async |arena| {
        let ws = arena.workspace().await;
        let mut runs = Vec::new();
        for _ in 0..256 {
            runs.push(ws.run(json!(["sleep", "1000"])).await);
        }
        ws.post_run(json!({"command": "true"})).await.problem(403, "quota_exceeded");
        let first = runs[0].process_id;
        ws.cancel(first).await;
        ws.ended(first).await;
        assert_eq!(ws.sh("echo room").await.good(), "room\n");
        ws.end_sandbox(runs[0].sandbox_id).await;
    });
}
