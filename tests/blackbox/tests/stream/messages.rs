//! What a client may not send.

use playhouse_blackbox::{Options, on_shared, wait};
use serde_json::json;
use uuid::Uuid;

#[test]
fn an_unknown_or_malformed_message_is_message_invalid_and_not_the_end() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("cat").await;
        let mut stream = ws.stream(run.sandbox_id, Options::default()).await;
        let id = run.process_id;
        for bad in [
            "{\"type\":\"dance\"}".to_owned(),
            "not json".into(),
            "{}".into(),
            "[]".into(),
            "null".into(),
            String::new(),
            "{\"type\":\"input\"}".into(),
            format!("{{\"type\":\"input\",\"process_id\":\"{id}\",\"data\":7}}"),
            format!("{{\"type\":\"input\",\"process_id\":\"{id}\",\"data\":\"x\",\"extra\":1}}"),
            format!("{{\"type\":\"resize\",\"process_id\":\"{id}\",\"cols\":-1,\"rows\":2}}"),
            format!("{{\"type\":\"ack\",\"process_id\":\"{id}\",\"id\":\"x\"}}"),
            "[".repeat(10_000),
            format!("[\"cancel\",\"{id}\"]"),
            format!("[\"input\",\"{id}\",\"x\",1]"),
        ] {
            stream.send_text(&bad).await;
            assert_eq!(stream.error().await.0, "message_invalid", "{}", &bad[..bad.len().min(80)]);
        }
        stream.input(id, "still here\n", 1).await;
        stream.shows(id, "still here\n").await;
        ws.cancel(id).await;
    });
}

#[test]
fn a_process_of_another_workspace_is_unknown_here() {
    on_shared(async |arena| {
        let (ws, other) = (arena.workspace().await, arena.workspace().await);
        let (run, theirs) = (ws.run("cat").await, other.run("cat").await);
        let mut stream = ws.stream(run.sandbox_id, Options::default()).await;
        for process in [theirs.process_id, Uuid::new_v4()] {
            stream.send(json!({"type": "input", "process_id": process, "data": "x\n", "seq": 1})).await;
            assert!(!stream.error().await.0.is_empty());
            stream.send(json!({"type": "cancel", "process_id": process})).await;
            assert!(!stream.error().await.0.is_empty());
            stream.send(json!({"type": "resize", "process_id": process, "cols": 9, "rows": 9})).await;
            assert!(!stream.error().await.0.is_empty());
        }
        wait::until("theirs to run, unharmed", async || {
            (other.process(theirs.process_id).await["status"] == "running").then_some(())
        })
        .await;
        assert!(other.output(theirs.process_id).await.is_empty(), "nothing arrived there");
    });
}

#[test]
fn a_message_above_1_mib_closes_with_1009() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("cat").await;
        for binary in [false, true] {
            let mut stream = ws.stream(run.sandbox_id, Options { binary, ..Options::default() }).await;
            stream.send_bytes(vec![0x02; (1 << 20) + 1]).await;
            let closed = stream.closed().await;
            assert_eq!(closed.code, 1009, "{closed:?}");
        }
        wait::until("the program to run, unharmed", async || {
            (ws.process(run.process_id).await["status"] == "running").then_some(())
        })
        .await;
    });
}
