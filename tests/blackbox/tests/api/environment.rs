//! What outlives a sandbox: the tree, and the environment.

use playhouse_blackbox::{on_shared, wait};

#[test]
fn ending_a_sandbox_loses_nothing_written_just_before() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run =
            ws.run("for i in $(seq 200); do printf \"content $i\" > late-$i; done; echo written; sleep 1000").await;
        ws.printed(run.process_id, "written").await;
        ws.end_sandbox(run.sandbox_id).await;
        let names = ws.paths().await;
        assert_eq!(names.len(), 200, "{names:?}");
        assert_eq!(ws.read("/late-200").await.as_deref(), Some(&b"content 200"[..]));
        assert_eq!(ws.sh("cat late-7; ls | wc -l").await.good(), "content 7200\n", "the next sandbox has them");
    });
}

#[test]
fn home_and_generated_folders_come_back_in_the_next_sandbox() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let script = "mkdir -p node_modules/left-pad sub/.venv/bin ~/.local/bin; echo mod > node_modules/left-pad/index.js; \
            printf '#!/bin/sh\\necho tool\\n' > ~/.local/bin/tool; chmod +x ~/.local/bin/tool; ln -s index.js node_modules/left-pad/link; \
            echo env > sub/.venv/bin/x; echo rc > ~/.hidden; echo written";
        let first = ws.sh(script).await;
        assert_eq!(first.good(), "written\n");
        let sandbox = playhouse_blackbox::shape::id(&first.process, "sandbox_id");
        ws.end_sandbox(sandbox).await;
        let check = "cat node_modules/left-pad/index.js node_modules/left-pad/link sub/.venv/bin/x ~/.hidden; ~/.local/bin/tool";
        assert_eq!(ws.sh(check).await.good(), "mod\nmod\nenv\nrc\ntool\n");
    });
}

#[test]
fn what_lies_elsewhere_does_not_come_back() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let first = ws.sh("echo x > /tmp/passing; echo y > /workspace/kept").await;
        let _ = first.good();
        let sandbox = playhouse_blackbox::shape::id(&first.process, "sandbox_id");
        ws.end_sandbox(sandbox).await;
        assert_eq!(ws.sh("cat /workspace/kept; ls /tmp").await.good(), "y\n");
    });
}

#[test]
fn files_written_while_no_sandbox_runs_are_there_in_the_next() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let first = ws.sh("echo old > a; mkdir d; echo gone > d/b").await;
        let _ = first.good();
        let sandbox = playhouse_blackbox::shape::id(&first.process, "sandbox_id");
        ws.end_sandbox(sandbox).await;
        let file = wait::until("/a", async || ws.find("/a").await).await;
        let path = format!("/api/files/{}", playhouse_blackbox::shape::text(&file, "id"));
        let _ = ws.client.put(&path, serde_json::json!({"content": "new\n"})).await.expect(200);
        let directory = ws.find("/d").await.expect("/d");
        let _ = ws
            .client
            .delete(&format!("/api/files/{}", playhouse_blackbox::shape::text(&directory, "id")))
            .await
            .expect(204);
        ws.create("/between", "b\n").await;
        assert_eq!(ws.sh("cat a between; ls").await.good(), "new\nb\na\nbetween\n");
    });
}
