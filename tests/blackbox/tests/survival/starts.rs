//! A sandbox that is being made while what makes it dies.

use std::time::Duration;

use playhouse_blackbox::{on_own, os, shape, wait};

/// Well below the 60 s after which a start has failed.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

#[test]
fn a_sandbox_that_was_being_made_when_the_server_was_killed_runs_soon() {
    on_own(&[], async |arena| {
        let server = arena.server();
        for _ in 0..4 {
            let ws = arena.workspace().await;
            let sandbox = shape::id(&ws.sandbox().await, "id");
            // As soon as the host makes it: the node that comes next does not know with which token.
            let record = server.data().join("host/sandboxes").join(sandbox.to_string());
            wait::until("the host to begin", async || record.exists().then_some(())).await;
            server.kill_serve();
            server.start_again();
            wait::within(STARTS_WITHIN, "the sandbox to run", async || {
                let request = ws.client.request(reqwest::Method::GET, &format!("/api/sandboxes/{sandbox}/status"));
                let answer = ws.client.try_send(request).await.ok()?;
                let status = (answer.status == 200).then(|| shape::text(&answer.json(), "status"))?;
                assert_ne!(status, "failed", "{}", server.log_tail(0, 40));
                ["running", "idle"].contains(&status.as_str()).then_some(())
            })
            .await;
            assert_eq!(ws.sh("echo alive").await.good(), "alive\n");
        }
        assert!(os::of_data_dir(server.data(), "host").len() == 1, "one host all the while");
    });
}
