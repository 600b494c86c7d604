//! What a sandbox wrote outlives it, however it ends.

use std::time::Duration;

use playhouse_blackbox::{Run, Workspace, on_own, os, shape, wait};
use serde_json::{Value, json};
use uuid::Uuid;

/// A silent agent is looked at after 15 s, and its sandbox's disk is read then.
const ENDS_WITHIN: Duration = Duration::from_secs(90);

/// Runs a script that ends by waiting, and finds its sandbox's agent once it has said `go`.
async fn occupy(ws: &Workspace, script: &str) -> (Run, u32) {
    let marker = format!("lives-{:016x}", rand::random::<u64>());
    let run = ws.run(json!(["sh", "-c", format!("{script}; echo go; sleep 1000; :"), marker.clone()])).await;
    let pid = wait::until("the program on the host", async || os::with_argument(&marker).first().copied()).await;
    (run, os::parent(pid).expect("the agent is its parent"))
}

async fn over(ws: &Workspace, sandbox: Uuid) -> Value {
    wait::within(ENDS_WITHIN, "the sandbox to end", async || {
        let request = ws.client.request(reqwest::Method::GET, &format!("/api/sandboxes/{sandbox}/status"));
        let answer = ws.client.try_send(request).await.ok()?;
        let status = (answer.status == 200).then(|| answer.json())?;
        ["terminated", "failed"].contains(&&*shape::text(&status, "status")).then_some(status)
    })
    .await
}

#[test]
fn what_was_written_just_before_the_agent_was_killed_is_in_the_tree() {
    on_own(&[], async |arena| {
        let ws = arena.workspace().await;
        let _ = ws.sh("mkdir -p d node_modules; echo old > d/changed; echo mod > node_modules/m").await.good();
        let script = "echo home > ~/kept; for i in $(seq 100); do echo $i > d/late-$i; done; echo new > d/changed";
        let (run, agent) = occupy(&ws, script).await;
        ws.printed(run.process_id, "go").await;
        assert!(os::kill(agent, libc::SIGKILL));
        let sandbox = over(&ws, run.sandbox_id).await;
        assert_eq!((&sandbox["status"], &sandbox["reason"]), (&json!("failed"), &json!("sandbox_lost")));
        let process = ws.ended(run.process_id).await;
        assert_eq!(process["reason"], "sandbox_lost");
        assert_eq!(ws.read("/d/late-100").await.as_deref(), Some(&b"100\n"[..]));
        let next = ws.sh("cat d/changed node_modules/m ~/kept; ls d | wc -l").await;
        assert_eq!(next.good(), "new\nmod\nhome\n101\n");
    });
}

#[test]
fn a_lost_sandbox_does_not_undo_what_the_api_did_since() {
    on_own(&[], async |arena| {
        let ws = arena.workspace().await;
        let _ = ws.sh("echo old > changed; echo old > removed; echo old > kept").await.good();
        let (run, agent) = occupy(&ws, "true").await;
        let changed = wait::until("/changed", async || ws.find("/changed").await).await;
        let removed = wait::until("/removed", async || ws.find("/removed").await).await;
        ws.comes_to_hold(wait::PATIENCE, "/kept", b"old\n").await;
        // It stands still, so that neither reaches its disk.
        assert!(os::kill(agent, libc::SIGSTOP));
        let path = |file: &Value| format!("/api/files/{}", shape::id(file, "id"));
        let _ = ws.client.put(&path(&changed), json!({"content": "by the API"})).await.expect(200);
        let _ = ws.client.delete(&path(&removed)).await.expect(204);
        assert!(os::kill(agent, libc::SIGKILL));
        over(&ws, run.sandbox_id).await;
        assert_eq!(ws.read("/changed").await.as_deref(), Some(&b"by the API"[..]));
        assert_eq!(ws.paths().await, ["/changed", "/kept"]);
    });
}

#[test]
fn an_agent_that_answers_nothing_is_looked_at_and_ended_with_that_cause() {
    on_own(&[], async |arena| {
        let ws = arena.workspace().await;
        let (run, agent) = occupy(&ws, "echo kept > kept").await;
        ws.printed(run.process_id, "go").await;
        assert!(os::kill(agent, libc::SIGSTOP));
        let sandbox = over(&ws, run.sandbox_id).await;
        assert_eq!((&sandbox["status"], &sandbox["reason"]), (&json!("failed"), &json!("agent_silent")));
        assert_eq!(ws.ended(run.process_id).await["reason"], "agent_silent");
        assert_eq!(ws.sh("cat kept").await.good(), "kept\n");
    });
}

#[test]
fn a_suspended_sandbox_is_saved_before_it_stands_still() {
    on_own(&[], async |arena| {
        let server = arena.server();
        let ws = arena.workspace().await;
        let script = "mkdir node_modules; echo mod > node_modules/m; echo home > ~/h; echo file > f";
        let (run, agent) = occupy(&ws, script).await;
        ws.printed(run.process_id, "go").await;
        let _ = ws.client.post_empty(&format!("/api/sandboxes/{}/suspend", run.sandbox_id)).await.expect(202);
        wait::until("it to be suspended", async || {
            (ws.sandbox_status(run.sandbox_id).await == "suspended").then_some(())
        })
        .await;
        assert_eq!(ws.process(run.process_id).await["status"], "running", "its programs only stand still");
        // The machine dies with its disk.
        server.kill_serve();
        server.kill_host().await;
        assert!(os::kill(agent, libc::SIGKILL));
        let disk = server.data().join(format!("host/sandboxes/{}", run.sandbox_id));
        assert!(os::as_root("rm").arg("-r").arg(disk).status().expect("rm starts").success(), "it was there");
        server.start_again();
        let sandbox = over(&ws, run.sandbox_id).await;
        assert_eq!(sandbox["reason"], "sandbox_lost");
        assert_eq!(ws.sh("cat f node_modules/m ~/h").await.good(), "file\nmod\nhome\n");
    });
}

#[test]
fn what_was_written_just_before_everything_died_is_there_when_it_is_back() {
    on_own(&[], async |arena| {
        let server = arena.server();
        let ws = arena.workspace().await;
        let (run, agent) = occupy(&ws, "for i in $(seq 100); do echo $i > late-$i; done").await;
        ws.printed(run.process_id, "go").await;
        server.kill_serve();
        server.kill_host().await;
        assert!(os::kill(agent, libc::SIGKILL));
        server.start_again();
        over(&ws, run.sandbox_id).await;
        assert_eq!(ws.sh("ls | wc -l; cat late-100").await.good(), "100\n100\n");
        assert_eq!(server.stop(), Some(0));
        assert!(os::loop_devices(server.data()).is_empty(), "no disk of it is left");
        server.start_again();
    });
}

#[test]
fn a_lost_sandbox_whose_user_ids_another_host_has_taken_is_harvested_all_the_same() {
    on_own(&[], async |arena| {
        let server = arena.server();
        let ws = arena.workspace().await;
        let (run, agent) =
            occupy(&ws, "mkdir -p d node_modules; echo late > d/f; ln -s d/f link; echo m > node_modules/m").await;
        ws.printed(run.process_id, "go").await;
        let cgroup = os::cgroups(agent).pop_first().expect("a cgroup");
        let number = cgroup.file_name().expect("a number").to_owned();
        server.kill_serve();
        server.kill_host().await;
        assert!(os::kill(agent, libc::SIGKILL));
        // As after a start of the machine on which another host was first.
        let range = std::path::Path::new("/run/playhouse/ranges").join(number);
        let other = json!({"host_id": "another", "sandbox_id": Uuid::nil(), "state": "/", "init": null});
        os::write_as_root(&range, &other.to_string());
        server.start_again();
        over(&ws, run.sandbox_id).await;
        os::write_as_root(&range, "");
        assert_eq!(ws.read("/d/f").await.as_deref(), Some(&b"late\n"[..]));
        assert_eq!(ws.sh("cat link node_modules/m").await.good(), "late\nm\n");
    });
}

#[test]
fn a_sandbox_that_is_ended_while_its_agent_is_away_is_saved_all_the_same() {
    on_own(&[], async |arena| {
        let server = arena.server();
        let ws = arena.workspace().await;
        let (run, _) = occupy(&ws, "echo go; read _; echo during > during").await;
        ws.printed(run.process_id, "go").await;
        let _ = ws.input(run.process_id, json!({"data": "\n"})).await.expect(202);
        server.kill_serve();
        server.start_again();
        // At once, before its agent has dialled.
        let _ = ws.client.delete(&format!("/api/sandboxes/{}", run.sandbox_id)).await.expect(204);
        let sandbox = over(&ws, run.sandbox_id).await;
        assert_eq!((&sandbox["status"], &sandbox["reason"]), (&json!("terminated"), &json!("ended")));
        assert_eq!(ws.read("/during").await.as_deref(), Some(&b"during\n"[..]));
    });
}
