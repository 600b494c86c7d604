//! The sandbox rows.

use std::{collections::BTreeSet, time::Duration};

use playhouse_blackbox::{Options, Stream, cli, frame::Frame, on_own, on_shared, os, shape, stream, wait};
use serde_json::json;

#[test]
fn post_sandbox_is_201_then_200_with_a_stream_token() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let first = ws.client.post(&ws.path("/sandbox"), json!({})).await.expect(201).json();
        shape::sandbox(&first);
        assert_eq!(shape::id(&first, "workspace_id"), ws.id);
        assert_eq!(first["instance_type"], "cpu-small", "the default");
        assert!(first["ip_address"].is_null(), "a sandbox has no network: {first}");
        assert_eq!(first["user_id"], ws.client.get("/api/me").await.expect(200).json()["id"]);
        let second = ws.client.post(&ws.path("/sandbox"), json!({})).await.expect(200).json();
        assert_eq!(first["id"], second["id"]);
        let options = Options { token: Some(shape::text(&second, "stream_token")), ..Options::default() };
        let stream = Stream::open(&ws.client, shape::id(&first, "id"), options).await;
        assert!(stream.model.hello.is_empty());
    });
}

#[test]
fn post_sandbox_takes_no_body_too_and_refuses_an_unknown_instance_type() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        ws.client.post(&ws.path("/sandbox"), json!({"instance_type": "mainframe"})).await.refused_as_malformed();
        assert!(ws.get().await["sandbox"].is_null(), "nothing was made");
        let _ = ws.client.post_empty(&ws.path("/sandbox")).await.expect(201);
        let other = arena.workspace().await;
        let large =
            other.client.post(&other.path("/sandbox"), json!({"instance_type": "cpu-large"})).await.expect(201).json();
        assert_eq!(large["instance_type"], "cpu-large");
    });
}

#[test]
fn a_sandbox_that_waited_for_its_host_says_what_isolates_it() {
    on_own(&["--no-host"], async |arena| {
        let ws = arena.workspace().await;
        let sandbox = ws.client.post(&ws.path("/sandbox"), json!({})).await.expect(201).json();
        let data = arena.server().data().to_string_lossy().into_owned();
        let mut host = std::process::Command::new(cli::binary())
            .args(["host", "--insecure-no-sandbox", "--data-dir", &data])
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("a host");
        let status = format!("/api/sandboxes/{}/status", shape::id(&sandbox, "id"));
        wait::until("the sandbox to know its isolation", async || {
            (ws.client.get(&status).await.expect(200).json()["isolation"] == "none").then_some(())
        })
        .await;
        assert!(os::kill(host.id(), libc::SIGTERM));
        host.wait().expect("a host that left");
    });
}

#[test]
fn without_isolation_programs_run_in_the_workspace_and_files_go_both_ways() {
    on_own(&["--insecure-no-sandbox"], async |arena| {
        let ws = arena.workspace().await;
        ws.create("/src/given.txt", "given\n").await;
        let run = json!({"command": "cat given.txt; basename $PWD; echo made > made.txt", "cwd": "/workspace/src"});
        assert_eq!(ws.run_to_end(run).await.good(), "given\nsrc\n");
        ws.comes_to_hold(Duration::from_secs(5), "/src/made.txt", b"made\n").await;
        assert_eq!(ws.sh("basename $PWD; cat src/made.txt").await.good(), "workspace\nmade\n");
        // What tools install is found, and lies in the workspace's own home.
        let installed = "mkdir -p ~/.local/bin; printf '#!/bin/sh\necho mine' > ~/.local/bin/tool; chmod +x ~/.local/bin/tool; tool; \
                         test \"$GOPATH\" = ~/go && cargo --version | cut -d' ' -f1";
        assert_eq!(ws.sh(installed).await.good(), "mine\ncargo\n");
    });
}

#[test]
fn racing_requests_get_the_same_sandbox() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let calls = (0..8).map(|n| {
            let ws = ws.clone();
            async move {
                if n % 2 == 0 {
                    shape::id(&ws.client.post(&ws.path("/sandbox"), json!({})).await.success().json(), "id")
                } else {
                    ws.run("true").await.sandbox_id
                }
            }
        });
        let ids: BTreeSet<_> = futures::future::join_all(calls).await.into_iter().collect();
        assert_eq!(ids.len(), 1, "{ids:?}");
    });
}

#[test]
fn racing_requests_make_it_once() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let path = ws.path("/sandbox");
        let (a, b) = tokio::join!(ws.client.post(&path, json!({})), ws.client.post(&path, json!({})));
        let mut statuses = [a.status, b.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 201]);
        assert_eq!(a.json()["id"], b.json()["id"]);
    });
}

#[test]
fn sandboxes_made_one_after_the_other_and_at_once_each_have_a_sound_disk_of_their_own() {
    // A fresh server has nothing prepared, so that preparing and using overlap.
    on_own(&[], async |arena| {
        let user = arena.user("u").await;
        let lanes = (0..4).map(|lane| {
            let user = user.clone();
            async move {
                for n in 0..8 {
                    let ws = arena.workspace_of(&user, "blank").await;
                    let name = format!("{lane}-{n}");
                    let done = ws
                        .sh(&format!(
                            "for i in $(seq 50); do echo {name} > ~/own-$i; done; sync; cat ~/own-* | sort | uniq -c"
                        ))
                        .await;
                    assert_eq!(done.good().split_whitespace().collect::<Vec<_>>(), ["50", &name]);
                    let _ = ws.client.delete(&ws.path("")).await.expect(204);
                }
            }
        });
        futures::future::join_all(lanes).await;
    });
}

#[test]
fn the_token_call_never_makes_a_sandbox() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let made = ws.sandbox().await;
        let id = shape::id(&made, "id");
        let token = stream::token(&ws.client, id).await;
        assert!(!token.is_empty());
        ws.end_sandbox(id).await;
        let _ = ws.client.post_empty(&format!("/api/sandboxes/{id}/token")).await.success();
        assert_eq!(ws.sandbox_status(id).await, "terminated");
    });
}

#[test]
fn status_shows_what_it_uses() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("dd if=/dev/zero of=/workspace/target-file bs=1M count=8 2>/dev/null; i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo done; sleep 1000").await;
        ws.printed(run.process_id, "done").await;
        wait::until("usage above nothing", async || {
            let sandbox = ws.client.get(&format!("/api/sandboxes/{}/status", run.sandbox_id)).await.expect(200).json();
            shape::sandbox(&sandbox);
            assert!(["running", "idle"].contains(&&*shape::text(&sandbox, "status")), "{sandbox}");
            let usage = &sandbox["usage"];
            let above = |key: &str, least: f64| usage[key].as_f64().is_some_and(|value| value > least);
            (above("cpu_seconds", 0.0) && above("memory_bytes", 100_000.0) && above("disk_bytes", 8_000_000.0))
                .then_some(())
        })
        .await;
        ws.cancel(run.process_id).await;
    });
}

#[test]
fn suspend_freezes_programs_and_resume_thaws_them() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done").await;
        ws.printed(run.process_id, "5\n").await;
        let path = format!("/api/sandboxes/{}", run.sandbox_id);
        let _ = ws.client.post_empty(&format!("{path}/suspend")).await.expect(202);
        wait::until("it to be suspended", async || {
            (ws.sandbox_status(run.sandbox_id).await == "suspended").then_some(())
        })
        .await;
        let frozen = ws.output(run.process_id).await.len();
        let _ = ws.client.post_empty(&format!("{path}/resume")).await.expect(202);
        wait::until("it to go on", async || (ws.output(run.process_id).await.len() > frozen + 10).then_some(())).await;
        assert!(["running", "idle"].contains(&&*ws.sandbox_status(run.sandbox_id).await));
        ws.cancel(run.process_id).await;
        let text = String::from_utf8(ws.output(run.process_id).await).expect("UTF-8");
        for (n, line) in text.lines().enumerate() {
            assert_eq!(line, (n + 1).to_string(), "counts on without a gap");
        }
    });
}

#[test]
fn delete_ends_it_is_idempotent_and_the_next_has_a_new_id() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let marker = format!("98765.{}", rand::random::<u32>());
        let run = ws.run(json!(["sleep", marker])).await;
        let pid = wait::until("the program on the host", async || os::with_argument(&marker).first().copied()).await;
        let cgroups = os::cgroups(pid);
        assert!(!cgroups.is_empty(), "a sandbox has a cgroup");
        let path = format!("/api/sandboxes/{}", run.sandbox_id);
        let _ = ws.client.delete(&path).await.expect(204);
        let _ = ws.client.delete(&path).await.expect(204);
        wait::until("it to be terminated", async || {
            (ws.sandbox_status(run.sandbox_id).await == "terminated").then_some(())
        })
        .await;
        wait::until("its program to be gone", async || (!os::alive(pid)).then_some(())).await;
        wait::until("its cgroups to be gone", async || cgroups.iter().all(|c| !c.exists()).then_some(())).await;
        let _ = ws.client.delete(&path).await.expect(204);
        let process = ws.ended(run.process_id).await;
        assert!(["failed", "cancelled"].contains(&&*shape::text(&process, "status")), "{process}");
        assert!(ws.get().await["sandbox"].is_null() || ws.get().await["sandbox"]["status"] == "terminated");
        assert_ne!(ws.run("true").await.sandbox_id, run.sandbox_id, "the next life has a new id");
    });
}

#[test]
fn the_stream_tells_the_sandboxs_status() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let id = shape::id(&ws.sandbox().await, "id");
        let mut stream = ws.stream(id, Options::default()).await;
        let _ = ws.client.post_empty(&format!("/api/sandboxes/{id}/suspend")).await.expect(202);
        stream.until("suspended", |frame, _| matches!(frame, Frame::Sandbox(status) if status == "suspended")).await;
        let _ = ws.client.post_empty(&format!("/api/sandboxes/{id}/resume")).await.expect(202);
        stream
            .until("running again", |frame, _| matches!(frame, Frame::Sandbox(s) if s == "running" || s == "idle"))
            .await;
    });
}

#[test]
fn a_run_in_a_suspended_sandbox_resumes_it() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let id = shape::id(&ws.sandbox().await, "id");
        let _ = ws.client.post_empty(&format!("/api/sandboxes/{id}/suspend")).await.expect(202);
        wait::until("it to be suspended", async || (ws.sandbox_status(id).await == "suspended").then_some(())).await;
        assert_eq!(ws.sh("echo awake").await.good(), "awake\n");
    });
}

#[test]
fn what_is_typed_and_a_cancel_in_a_suspended_sandbox_resume_it() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("while read line; do echo \"<$line>\"; done").await;
        let id = run.sandbox_id;
        let _ = ws.input(run.process_id, json!({"data": "one\n"})).await.expect(202);
        ws.printed(run.process_id, "<one>").await;
        let suspend = async || {
            let _ = ws.client.post_empty(&format!("/api/sandboxes/{id}/suspend")).await.expect(202);
            wait::until("it to be suspended", async || (ws.sandbox_status(id).await == "suspended").then_some(()))
                .await;
        };
        suspend().await;
        let _ = ws.input(run.process_id, json!({"data": "two\n"})).await.expect(202);
        ws.printed(run.process_id, "<two>").await;
        suspend().await;
        ws.cancel(run.process_id).await;
        assert_eq!(ws.ended(run.process_id).await["status"], "cancelled");
    });
}

#[test]
fn another_run_beside_a_running_program_is_activity() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("sleep 1000").await;
        let active =
            async || ws.client.get(&format!("/api/sandboxes/{}/status", run.sandbox_id)).await.expect(200).json();
        let before = shape::text(&active().await, "last_activity_at").to_owned();
        ws.sh("true").await;
        assert_ne!(shape::text(&active().await, "last_activity_at"), before);
        ws.cancel(run.process_id).await;
    });
}
