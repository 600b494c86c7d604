//! Links out of /workspace, through the file API.

use std::path::Path;

use playhouse_blackbox::{on_shared, shape, wait};
use serde_json::json;

#[test]
fn a_link_out_of_the_workspace_is_never_followed_by_the_api() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws
            .run(
                "ln -s /etc/passwd file; ln -s / root; ln -s /tmp tmp; ln -s ../../../../etc up; echo done; sleep 1000",
            )
            .await;
        ws.printed(run.process_id, "done").await;
        for path in ["/file", "/root", "/tmp", "/up"] {
            let link = wait::until("the link", async || ws.find(path).await).await;
            assert!(link["symlink_target"].is_string(), "{link}");
            let api = format!("/api/files/{}", shape::text(&link, "id"));
            for answer in [ws.client.get(&api).await, ws.client.get(&format!("{api}/raw")).await] {
                assert!(!answer.start().contains("root:"), "{path}: {}", answer.start());
                assert!(answer.status < 500, "{path}: {}", answer.status);
            }
        }
        let listed = ws.paths().await;
        assert!(listed.iter().all(|path| path.matches('/').count() == 1), "nothing below a link is listed: {listed:?}");
        ws.cancel(run.process_id).await;
    });
}

#[test]
fn writing_below_or_through_a_link_reaches_nothing_outside() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let name = format!("escaped-{:08x}", rand::random::<u32>());
        let run = ws.run("mkdir /tmp/out; echo inside > /tmp/out/victim; ln -s /tmp/out dir; ln -s /tmp/out/victim file; ln -s /tmp host; echo done; sleep 1000").await;
        ws.printed(run.process_id, "done").await;
        for path in ["/dir", "/file", "/host"] {
            wait::until("the link", async || ws.find(path).await).await;
        }
        for path in [format!("/dir/{name}"), format!("/host/{name}"), "/file/x".into()] {
            let answer = ws.post_file(&path, "escaped").await;
            assert!((400..500).contains(&answer.status), "{path}: {} {}", answer.status, answer.start());
        }
        // Writing the link's own entry replaces it or is refused; it is not followed.
        let link = ws.find("/file").await.expect("/file");
        let answer =
            ws.client.put(&format!("/api/files/{}", shape::text(&link, "id")), json!({"content": "overwritten"})).await;
        assert!(answer.status < 500, "{}", answer.status);
        assert_eq!(
            ws.sh(&format!("cat /tmp/out/victim; ls /tmp/out; ls /tmp/{name} 2>&1 | grep -c 'No such'")).await.good(),
            "inside\nvictim\n1\n"
        );
        assert!(!Path::new("/tmp").join(&name).exists(), "nothing on the host");
        ws.cancel(run.process_id).await;
    });
}

#[test]
fn a_directory_swapped_for_a_link_between_two_writes_does_not_divert_the_second() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        ws.create("/d/a", "1").await;
        let run = ws.run("mkdir /tmp/trap; echo up; while :; do mv d e 2>/dev/null && ln -s /tmp/trap d; rm -f d; mv e d 2>/dev/null; done").await;
        ws.printed(run.process_id, "up").await;
        for n in 0..30 {
            // Either way is right while the directory comes and goes; what is not is a file in /tmp/trap.
            let answer = ws.post_file(&format!("/d/{n}"), "x").await;
            assert!(answer.status < 500, "{}", answer.start());
        }
        ws.cancel(run.process_id).await;
        ws.ended(run.process_id).await;
        assert_eq!(ws.sh("ls /tmp/trap").await.good(), "");
    });
}

#[test]
fn an_archive_holds_links_and_not_what_they_name() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("ln -s /etc/passwd link; echo done; sleep 1000").await;
        ws.printed(run.process_id, "done").await;
        wait::until("the link", async || ws.find("/link").await).await;
        let archive = ws.client.get(&ws.path("/archive?format=tar.zst")).await.expect(200);
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("a.tar.zst");
        std::fs::write(&file, &archive.body).expect("written");
        let listed = std::process::Command::new("tar").args(["--zstd", "-tvf"]).arg(&file).output().expect("tar");
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        assert!(text.contains("link -> /etc/passwd"), "{text}");
        ws.cancel(run.process_id).await;
    });
}
