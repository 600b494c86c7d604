//! Files and metadata across deaths.

use playhouse_blackbox::{on_own, shape, wait};
use serde_json::json;

#[test]
fn every_write_that_was_answered_is_there_after_a_kill() {
    on_own(&[], async |arena| {
        let server = arena.server();
        let ws = arena.workspace().await;
        for round in 0..5 {
            for n in 0..20 {
                ws.create(&format!("/r{round}/f{n}"), &format!("{round} {n}")).await;
            }
            server.kill_serve();
            server.start_again();
            let seen = wait::until("the workspace", async || {
                let answer = ws.client.try_send(ws.client.request(reqwest::Method::GET, &ws.path(""))).await.ok()?;
                (answer.status == 200).then(|| answer.json())
            })
            .await;
            assert_eq!(seen["files"].as_array().map(Vec::len), Some((round + 1) * 21), "round {round}");
        }
        for round in 0..5 {
            for n in [0, 7, 19] {
                let content = ws.read(&format!("/r{round}/f{n}")).await.expect("the file");
                assert_eq!(String::from_utf8_lossy(&content), format!("{round} {n}"));
            }
        }
    });
}

#[test]
fn what_a_program_wrote_while_the_server_was_dead_comes_to_the_tree() {
    on_own(&[], async |arena| {
        let server = arena.server();
        let ws = arena.workspace().await;
        ws.create("/before", "b").await;
        let written = format!("98761.{}", rand::random::<u32>());
        let script = format!(
            "echo begin; read _; echo read; sleep 2; echo during > during; mkdir d; echo deep > d/deep; rm before; exec sleep {written}"
        );
        let run = ws.run(script).await;
        ws.printed(run.process_id, "begin").await;
        let _ = ws.input(run.process_id, json!({"data": "\n"})).await.expect(202);
        ws.printed(run.process_id, "read").await;
        server.kill_serve();
        wait::until("the program to have written", async || {
            (!playhouse_blackbox::os::with_argument(&written).is_empty()).then_some(())
        })
        .await;
        server.start_again();
        wait::until("the workspace", async || {
            let answer = ws.client.try_send(ws.client.request(reqwest::Method::GET, &ws.path(""))).await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
        ws.comes_to_hold(wait::PATIENCE, "/during", b"during\n").await;
        ws.comes_to_hold(wait::PATIENCE, "/d/deep", b"deep\n").await;
        wait::until("/before to be gone", async || ws.find("/before").await.is_none().then_some(())).await;
    });
}

#[test]
fn what_the_api_wrote_just_before_a_kill_comes_to_the_sandbox() {
    on_own(&[], async |arena| {
        let server = arena.server();
        let ws = arena.workspace().await;
        let run = ws.run("while [ ! -e late ]; do sleep 0.1; done; cat late; sleep 1000").await;
        ws.create("/late", "came through\n").await;
        server.kill_serve();
        server.start_again();
        wait::until("the file in the sandbox", async || {
            let path = format!("/api/processes/{}/output", run.process_id);
            let answer = ws.client.try_send(ws.client.request(reqwest::Method::GET, &path)).await.ok()?;
            (answer.status == 200 && &answer.body[..] == b"came through\n").then_some(())
        })
        .await;
    });
}

#[test]
fn workspaces_members_links_and_tokens_outlive_a_kill() {
    on_own(&[], async |arena| {
        let server = arena.server();
        let ws = arena.workspace().await;
        let (member, guest) = (arena.user("member").await, arena.user("guest").await);
        let _ = ws.client.put(&ws.path(&format!("/members/{}", member.name)), json!({"role": "edit"})).await.success();
        let _ = ws.client.put(&ws.path(""), json!({"name": "renamed"})).await.expect(200);
        let link = ws.client.post(&ws.path("/links"), json!({"role": "view"})).await.success().json();
        let done = ws.sh("echo kept; exit 3").await.process;
        let before = (ws.get().await, ws.client.all(&ws.path("/members"), 100).await);
        server.kill_serve();
        server.kill_host().await;
        server.start_again();
        let now = wait::until("the workspace", async || {
            let answer = ws.client.try_send(ws.client.request(reqwest::Method::GET, &ws.path(""))).await.ok()?;
            (answer.status == 200).then(|| answer.json())
        })
        .await;
        for key in ["id", "owner_id", "name", "template", "sharing_mode", "role", "created_at", "files"] {
            assert_eq!(now[key], before.0[key], "{key}");
        }
        assert_eq!(ws.client.all(&ws.path("/members"), 100).await, before.1);
        assert_eq!(ws.seen_by(&member).get().await["role"], "edit");
        // The port is another now, so only the path of the link is followed.
        let url = shape::text(&link, "url");
        let path = url.strip_prefix("http://").and_then(|rest| rest.find('/').map(|at| &rest[at..])).unwrap_or(&url);
        let _ = guest.post_empty(path).await.success();
        assert_eq!(ws.process(shape::id(&done, "id")).await, done);
        assert_eq!(ws.output(shape::id(&done, "id")).await, b"kept\n");
    });
}
