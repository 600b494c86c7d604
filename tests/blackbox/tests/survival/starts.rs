//! A sandbox that is being made while what makes it dies.

use std::time::Duration;

use playhouse_blackbox::{on_own, os, shape, wait};

/// Well below the 60 s after which a start has failed.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// So many at once that the last of them are still being made when the next server is there.
const SANDBOXES: usize = 8;

#[test]
fn sandboxes_that_were_being_made_when_the_server_was_killed_run_soon() {
    on_own(&[], async |arena| {
        let server = arena.server();
        let mut workspaces = Vec::new();
        for _ in 0..SANDBOXES {
            workspaces.push(arena.workspace().await);
        }
        let made = futures::future::join_all(workspaces.iter().map(async |ws| shape::id(&ws.sandbox().await, "id")));
        let sandboxes = made.await;
        // As soon as the host makes them: the node that comes next does not know with which tokens.
        let dir = server.data().join("host/sandboxes");
        wait::until("the host to begin", async || {
            sandboxes.iter().all(|id| dir.join(id.to_string()).exists()).then_some(())
        })
        .await;
        server.kill_serve();
        server.start_again();
        for (ws, sandbox) in workspaces.iter().zip(sandboxes) {
            wait::within(STARTS_WITHIN, "the sandbox to run", async || {
                let request = ws.client.request(reqwest::Method::GET, &format!("/api/sandboxes/{sandbox}/status"));
                let answer = ws.client.try_send(request).await.ok()?;
                let status = (answer.status == 200).then(|| shape::text(&answer.json(), "status"))?;
                assert_ne!(status, "failed");
                ["running", "idle"].contains(&status.as_str()).then_some(())
            })
            .await;
            assert_eq!(ws.sh("echo alive").await.good(), "alive\n");
        }
        assert_eq!(os::of_data_dir(server.data(), "host").len(), 1, "one host all the while");
    });
}
