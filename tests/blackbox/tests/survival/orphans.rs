//! What a death leaves lying about is cleaned up.

use std::{collections::BTreeSet, path::PathBuf};

use playhouse_blackbox::{Workspace, on_own, os, shape, wait};
use serde_json::json;
use uuid::Uuid;

/// A sandbox with a program in it, its process id on the host and its cgroups.
async fn occupied(ws: &Workspace) -> (Uuid, u32, BTreeSet<PathBuf>) {
    let marker = format!("98760.{}", rand::random::<u32>());
    let run = ws.run(json!(["sleep", marker])).await;
    let pid = wait::until("the program on the host", async || os::with_argument(&marker).first().copied()).await;
    (run.sandbox_id, pid, os::cgroups(pid))
}

async fn is_gone(pid: u32, cgroups: &BTreeSet<PathBuf>) {
    wait::until("the program to be gone", async || (!os::alive(pid)).then_some(())).await;
    wait::until("the cgroups to be gone", async || cgroups.iter().all(|cgroup| !cgroup.exists()).then_some(())).await;
}

#[test]
fn a_sandbox_deleted_after_its_host_was_replaced_leaves_nothing() {
    on_own(&[], async |arena| {
        let server = arena.server();
        let ws = arena.workspace().await;
        let (sandbox, pid, cgroups) = occupied(&ws).await;
        let loops = os::loop_devices(server.data()).len();
        server.kill_host().await;
        server.host_pid().await;
        assert!(os::alive(pid), "it goes on");
        wait::until("the deletion", async || {
            let request = ws.client.request(reqwest::Method::DELETE, &format!("/api/sandboxes/{sandbox}"));
            (ws.client.try_send(request).await.ok()?.status == 204).then_some(())
        })
        .await;
        is_gone(pid, &cgroups).await;
        wait::until("its loop device to be gone", async || {
            (loops == 0 || os::loop_devices(server.data()).len() < loops).then_some(())
        })
        .await;
    });
}

#[test]
fn a_workspace_deleted_while_the_host_is_dead_has_its_sandbox_ended_when_it_comes_back() {
    on_own(&[], async |arena| {
        let server = arena.server();
        let ws = arena.workspace().await;
        let (_, pid, cgroups) = occupied(&ws).await;
        server.kill_host().await;
        let _ = ws.client.delete(&ws.path("")).await.expect(204);
        is_gone(pid, &cgroups).await;
        wait::until("no loop device", async || os::loop_devices(server.data()).is_empty().then_some(())).await;
    });
}

#[test]
fn a_stop_right_after_a_start_ends_what_the_node_before_has_left_running() {
    on_own(&[], async |arena| {
        let server = arena.server();
        let (_, pid, cgroups) = occupied(&arena.workspace().await).await;
        let host = server.host_pid().await;
        server.kill_serve();
        // So that it says what it holds only when the next node is stopping already.
        assert!(os::kill(host, libc::SIGSTOP));
        let before = server.log_length();
        server.start_again();
        server.signal(libc::SIGTERM);
        wait::until("the stop to begin", async || server.log_tail(before, 50).contains("stopping").then_some(())).await;
        assert!(os::kill(host, libc::SIGCONT));
        assert_eq!(server.exited(), Some(0));
        is_gone(pid, &cgroups).await;
    });
}

#[test]
fn after_kills_and_an_orderly_end_nothing_is_left_of_any_sandbox() {
    on_own(&[], async |arena| {
        let server = arena.server();
        let (one, two) = (arena.workspace().await, arena.workspace().await);
        let mut left = vec![occupied(&one).await, occupied(&two).await];
        server.kill_serve();
        server.kill_host().await;
        server.start_again();
        let three = arena.workspace().await;
        left.push(occupied(&three).await);
        server.kill_serve();
        server.start_again();
        wait::until("the first sandbox to be known", async || {
            let path = format!("/api/sandboxes/{}/status", left[0].0);
            let answer = one.client.try_send(one.client.request(reqwest::Method::GET, &path)).await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
        assert_eq!(server.stop(), Some(0));
        for (_, pid, cgroups) in &left {
            is_gone(*pid, cgroups).await;
        }
        wait::until("no loop device", async || os::loop_devices(server.data()).is_empty().then_some(())).await;
        wait::until("no mount", async || os::mounts(server.data()).is_empty().then_some(())).await;
        wait::until("no host", async || os::of_data_dir(server.data(), "host").is_empty().then_some(())).await;
        server.start_again();
        for (sandbox, ..) in left {
            let status = one.client.get(&format!("/api/sandboxes/{sandbox}/status")).await;
            assert!(matches!(status.status, 200 | 404), "{}", status.status);
        }
        assert_eq!(one.sh("echo well").await.good(), "well\n");
    });
}

#[test]
fn a_sandbox_whose_agent_was_killed_from_outside_ends_with_that_cause_and_its_files_are_safe() {
    on_own(&[], async |arena| {
        let ws = arena.workspace().await;
        let done = ws.sh("echo precious > file; sleep 0.2").await;
        let _ = done.good();
        ws.comes_to_hold(wait::PATIENCE, "/file", b"precious\n").await;
        let (sandbox, pid, cgroups) = occupied(&ws).await;
        let agent = os::parent(pid).expect("the agent is its parent");
        assert!(os::kill(agent, libc::SIGKILL));
        wait::within(std::time::Duration::from_secs(60), "the sandbox to end", async || {
            let sandbox = ws.client.get(&format!("/api/sandboxes/{sandbox}/status")).await.expect(200).json();
            ["terminated", "failed"].contains(&&*shape::text(&sandbox, "status")).then_some(())
        })
        .await;
        is_gone(pid, &cgroups).await;
        // Its processes are told of its end right after it.
        let list = wait::within(wait::PATIENCE, "its processes to end", async || {
            let list = ws.client.all(&ws.path("/processes"), 100).await;
            list.iter().all(|process| process["status"] != "running").then_some(list)
        })
        .await;
        assert!(list.iter().any(|process| process["reason"] == "sandbox_lost"), "{list:?}");
        assert_eq!(ws.sh("cat file").await.good(), "precious\n");
    });
}
