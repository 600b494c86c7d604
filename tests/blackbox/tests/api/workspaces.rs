//! The workspace rows, and who sees what.

use playhouse_blackbox::{on_shared, shape, wait};
use serde_json::json;
use uuid::Uuid;

#[test]
fn post_workspaces_makes_one_owned_and_private() {
    on_shared(async |arena| {
        let user = arena.user("u").await;
        let ws = arena.workspace_of(&user, "python").await;
        let seen = ws.get().await;
        assert_eq!(seen["template"], "python");
        assert_eq!(seen["sharing_mode"], "private");
        assert_eq!(seen["role"], "owner");
        assert_eq!(seen["owner_id"], user.get("/api/me").await.expect(200).json()["id"]);
        assert!(seen["sandbox"].is_null(), "no sandbox yet: {seen}");
    });
}

#[test]
fn the_template_may_be_left_out_and_an_unknown_one_is_refused() {
    on_shared(async |arena| {
        let user = arena.user("u").await;
        let made = user.post("/api/workspaces", json!({"name": "plain"})).await.expect(201).json();
        assert!(made["template"].is_string(), "{made}");
        user.post("/api/workspaces", json!({"name": "x", "template": "cobol"})).await.refused_as_malformed();
    });
}

#[test]
fn get_workspaces_lists_own_and_shared_ones() {
    on_shared(async |arena| {
        let (owner, other) = (arena.user("owner").await, arena.user("other").await);
        let ws = arena.workspace_of(&owner, "blank").await;
        let own = arena.workspace_of(&other, "blank").await;
        let ids = async || -> Vec<Uuid> {
            let list = other.all("/api/workspaces", 1000).await;
            list.iter().for_each(shape::workspace);
            list.iter().map(|w| shape::id(w, "id")).collect()
        };
        assert_eq!(ids().await, [own.id]);
        let _ = owner.put(&ws.path(&format!("/members/{}", other.name)), json!({"role": "view"})).await.success();
        let now = ids().await;
        assert!(now.contains(&ws.id) && now.contains(&own.id), "{now:?}");
    });
}

#[test]
fn get_workspace_answers_the_whole_tree_without_contents() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        ws.create("/src/main.py", "print(1)").await;
        let seen = ws.get().await;
        let files = seen["files"].as_array().expect("files");
        files.iter().for_each(shape::file);
        let paths: Vec<_> = files.iter().map(|file| shape::text(file, "path")).collect();
        assert_eq!(paths, ["/src", "/src/main.py"]);
        assert!(files.iter().all(|file| file.get("content").is_none()), "{seen}");
    });
}

#[test]
fn put_workspace_changes_name_and_sharing_mode() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let path = ws.path("");
        let named = ws.client.put(&path, json!({"name": "new name"})).await.expect(200).json();
        shape::workspace(&named);
        assert_eq!((&named["name"], &named["sharing_mode"]), (&json!("new name"), &json!("private")));
        let shared = ws.client.put(&path, json!({"sharing_mode": "view"})).await.expect(200).json();
        assert_eq!((&shared["name"], &shared["sharing_mode"]), (&json!("new name"), &json!("view")));
        assert_eq!(ws.get().await["sharing_mode"], "view");
        ws.client.put(&path, json!({"sharing_mode": "public"})).await.refused_as_malformed();
    });
}

#[test]
fn an_empty_or_endless_name_is_refused() {
    on_shared(async |arena| {
        let user = arena.user("u").await;
        user.post("/api/workspaces", json!({"name": ""})).await.refused_as_malformed();
        user.post("/api/workspaces", json!({"name": "x".repeat(100_000)})).await.refused_as_malformed();
    });
}

#[test]
fn delete_workspace_ends_its_sandbox_and_takes_its_files() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let file = ws.create("/a", "a").await;
        let run = ws.run(json!(["sleep", "1000"])).await;
        let _ = ws.client.delete(&ws.path("")).await.expect(204);
        ws.client.get(&ws.path("")).await.problem(404, "workspace_not_found");
        ws.client.get(&format!("/api/files/{}", shape::id(&file, "id"))).await.problem_of_status(404);
        wait::until("the sandbox to be gone", async || {
            let answer = ws.client.get(&format!("/api/sandboxes/{}/status", run.sandbox_id)).await;
            (answer.status == 404 || answer.json()["status"] == "terminated").then_some(())
        })
        .await;
        assert!(ws.client.all("/api/workspaces", 100).await.is_empty());
    });
}

#[test]
fn a_stranger_gets_404_for_everything_of_a_private_workspace() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let file = ws.create("/secret", "s").await;
        let run = ws.run(json!(["sleep", "1000"])).await;
        let stranger = arena.user("stranger").await;
        let other = ws.seen_by(&stranger);
        stranger.get(&ws.path("")).await.problem(404, "workspace_not_found");
        for path in ["/files", "/members", "/links", "/processes", "/archive"] {
            stranger.get(&ws.path(path)).await.problem_of_status(404);
        }
        other.post_run(json!({"command": "true"})).await.problem_of_status(404);
        other.post_file("/x", "x").await.problem_of_status(404);
        stranger.put(&ws.path(""), json!({"name": "taken"})).await.problem_of_status(404);
        stranger.delete(&ws.path("")).await.problem_of_status(404);
        let file = format!("/api/files/{}", shape::id(&file, "id"));
        stranger.get(&file).await.problem_of_status(404);
        stranger.get(&format!("{file}/raw")).await.problem_of_status(404);
        stranger.put(&file, json!({"content": "x"})).await.problem_of_status(404);
        stranger.delete(&file).await.problem_of_status(404);
        let process = format!("/api/processes/{}", run.process_id);
        stranger.get(&process).await.problem_of_status(404);
        stranger.get(&format!("{process}/output")).await.problem_of_status(404);
        stranger.post_empty(&format!("{process}/cancel")).await.problem_of_status(404);
        stranger.post(&format!("{process}/input"), json!({"data": "x"})).await.problem_of_status(404);
        let sandbox = format!("/api/sandboxes/{}", run.sandbox_id);
        stranger.get(&format!("{sandbox}/status")).await.problem_of_status(404);
        stranger.post_empty(&format!("{sandbox}/token")).await.problem_of_status(404);
        stranger.delete(&sandbox).await.problem_of_status(404);
        wait::until("it to run, unharmed", async || {
            (ws.process(run.process_id).await["status"] == "running").then_some(())
        })
        .await;
    });
}

#[test]
fn sharing_mode_opens_a_workspace_to_the_same_org_with_that_role() {
    on_shared(async |arena| {
        let org = format!("org-{:08x}", rand::random::<u32>());
        let owner = arena.user("owner").await;
        let (colleague, foreigner) =
            (arena.user("colleague").await, arena.user_with("foreigner", &["--org", &org]).await);
        let ws = arena.workspace_of(&owner, "blank").await;
        ws.create("/a", "a").await;
        let theirs = ws.seen_by(&colleague);
        for (mode, writes) in [("view", 403), ("edit", 201)] {
            let _ = owner.put(&ws.path(""), json!({"sharing_mode": mode})).await.expect(200);
            assert_eq!(theirs.get().await["role"], mode);
            assert_eq!(theirs.read("/a").await.as_deref(), Some(&b"a"[..]));
            assert_eq!(theirs.post_file(&format!("/by-{mode}"), "x").await.status, writes);
            foreigner.get(&ws.path("")).await.problem(404, "workspace_not_found");
        }
        let _ = owner.put(&ws.path(""), json!({"sharing_mode": "private"})).await.expect(200);
        colleague.get(&ws.path("")).await.problem(404, "workspace_not_found");
    });
}

#[test]
fn a_view_role_reads_and_watches_and_every_write_is_403() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let file = ws.create("/a.txt", "a").await;
        let run = ws.run("echo seen; sleep 1000").await;
        ws.printed(run.process_id, "seen").await;
        let viewer = arena.user("viewer").await;
        let _ = ws.client.put(&ws.path(&format!("/members/{}", viewer.name)), json!({"role": "view"})).await.success();
        let theirs = ws.seen_by(&viewer);

        assert_eq!(theirs.get().await["role"], "view");
        assert_eq!(theirs.paths().await, ["/a.txt"]);
        assert_eq!(theirs.output(run.process_id).await, b"seen\n");
        assert_eq!(theirs.process(run.process_id).await["status"], "running");
        assert!(["running", "idle"].contains(&&*theirs.sandbox_status(run.sandbox_id).await));
        let _ = viewer.post_empty(&format!("/api/sandboxes/{}/token", run.sandbox_id)).await.expect(200);
        let _ = viewer.get(&ws.path("/archive")).await.expect(200);

        let file = format!("/api/files/{}", shape::id(&file, "id"));
        let process = format!("/api/processes/{}", run.process_id);
        let sandbox = format!("/api/sandboxes/{}", run.sandbox_id);
        theirs.post_run(json!({"command": "true"})).await.problem(403, "not_permitted");
        theirs.post_file("/x", "x").await.problem(403, "not_permitted");
        viewer.put(&file, json!({"content": "x"})).await.problem(403, "not_permitted");
        viewer.post(&format!("{file}/move"), json!({"path": "/b"})).await.problem(403, "not_permitted");
        viewer.delete(&file).await.problem(403, "not_permitted");
        viewer.post(&format!("{process}/input"), json!({"data": "x"})).await.problem(403, "not_permitted");
        viewer.post(&format!("{process}/signal"), json!({"signal": "INT"})).await.problem(403, "not_permitted");
        viewer.post(&format!("{process}/resize"), json!({"cols": 9, "rows": 9})).await.problem(403, "not_permitted");
        viewer.post_empty(&format!("{process}/cancel")).await.problem(403, "not_permitted");
        viewer.post(&ws.path("/sandbox"), json!({})).await.problem(403, "not_permitted");
        viewer.post_empty(&format!("{sandbox}/suspend")).await.problem(403, "not_permitted");
        viewer.post_empty(&format!("{sandbox}/resume")).await.problem(403, "not_permitted");
        viewer.delete(&sandbox).await.problem(403, "not_permitted");
        viewer.put(&ws.path(""), json!({"name": "x"})).await.problem(403, "not_permitted");
        viewer.delete(&ws.path("")).await.problem(403, "not_permitted");
        assert_eq!(ws.process(run.process_id).await["status"], "running");
    });
}
