//! The command line: tokens, links, migrate, doctor, exit codes, draining.

use std::{fs, os::unix::fs::FileTypeExt, os::unix::fs::PermissionsExt};

use playhouse_blackbox::{Client, Server, cli, client::Identity, on_own, on_shared, os, shape, wait};
use serde_json::json;

fn data_of(server: &Server) -> String {
    server.data().to_string_lossy().into_owned()
}

#[test]
fn token_create_prints_one_line_and_nothing_else() {
    on_shared(async |arena| {
        let done = cli::run(&["token", "create", "--user", "one-line", "--data-dir", &data_of(arena.server())])
            .await
            .expect(0);
        assert!(!done.line().contains(char::is_whitespace), "{:?}", done.stdout);
    });
}

#[test]
fn token_create_and_login_work_when_no_server_runs() {
    let directory = tempfile::Builder::new().prefix("ph-").tempdir().expect("a directory");
    let data = directory.path().to_string_lossy().into_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let first = cli::run(&["token", "create", "--user", "ada", "--data-dir", &data]).await.expect(0);
        let second = cli::run(&["token", "create", "--user", "ada", "--data-dir", &data]).await.expect(0);
        let _ = (first.line(), second.line());
        let link = cli::run(&["login", "--user", "ada", "--data-dir", &data]).await.expect(0);
        assert!(link.line().starts_with("http"), "{:?}", link.stdout);
    });
}

#[test]
fn a_token_made_before_the_server_ran_is_good_and_outlives_a_restart() {
    on_own(&[], async |arena| {
        let server = arena.server();
        assert_eq!(server.stop(), Some(0));
        let made = cli::run(&["token", "create", "--user", "early", "--data-dir", &data_of(server)]).await.expect(0);
        server.start_again();
        let client = Client::new(server, "early", Identity::Bearer(made.line().to_owned()));
        let me = client.get("/api/me").await.expect(200).json();
        assert_eq!(me["name"], "early");
        assert_eq!(server.stop(), Some(0));
        server.start_again();
        assert_eq!(client.get("/api/me").await.expect(200).json(), me);
    });
}

#[test]
fn output_json_makes_results_machine_readable() {
    on_shared(async |arena| {
        let data = data_of(arena.server());
        for command in [&["token", "create", "--user", "machine"][..], &["login", "--user", "machine"]] {
            let mut arguments = command.to_vec();
            arguments.extend_from_slice(&["--data-dir", &data, "--output", "json"]);
            let done = cli::run(&arguments).await.expect(0);
            let value: serde_json::Value = serde_json::from_str(&done.stdout).expect("JSON");
            assert!(value.is_object(), "{value}");
        }
    });
}

#[test]
fn cluster_certs_makes_a_private_ca_for_the_links() {
    let directory = tempfile::Builder::new().prefix("ph-").tempdir().expect("a directory");
    let out = directory.path().join("tls");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let out_text = out.to_string_lossy().into_owned();
    let done = runtime.block_on(cli::run(&["cluster", "certs", "--out", &out_text, "--node", "a", "--node", "b"]));
    if done.code == Some(3) {
        assert!(done.stderr.contains("built in yet"), "in words: {}", done.stderr);
        return;
    }
    let done = done.expect(0);
    let find = |name: &str| -> Vec<std::path::PathBuf> {
        let mut folders = vec![out.clone()];
        let mut found = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder").flatten() {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                } else if entry.file_name() == name {
                    found.push(entry.path());
                }
            }
        }
        found
    };
    let (authorities, nodes) = (find("ca.pem"), find("node.pem"));
    assert!(!authorities.is_empty() && nodes.len() == 2, "{authorities:?} {nodes:?} {}", done.stdout);
    for node in &nodes {
        let verified =
            std::process::Command::new("openssl").arg("verify").arg("-CAfile").arg(&authorities[0]).arg(node).output();
        assert!(verified.is_ok_and(|output| output.status.success()), "{node:?} is signed by the authority");
    }
    for key in find("node.key") {
        assert_eq!(fs::metadata(&key).expect("its metadata").permissions().mode() & 0o077, 0, "{key:?}");
    }
}

#[test]
fn the_control_socket_is_for_its_owner_alone() {
    on_shared(async |arena| {
        let mut sockets = 0;
        for entry in fs::read_dir(arena.server().data()).expect("the data directory").flatten() {
            let metadata = entry.metadata().expect("its metadata");
            if metadata.file_type().is_socket() {
                sockets += 1;
                assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
            }
        }
        assert!(sockets > 0, "a socket in the data directory");
    });
}

#[test]
fn migrate_is_safe_to_run_twice_and_at_once_and_beside_a_server() {
    let directory = tempfile::Builder::new().prefix("ph-").tempdir().expect("a directory");
    let data = directory.path().to_string_lossy().into_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let migrate = ["migrate", "--data-dir", &data];
        let _ = cli::run(&migrate).await.expect(0);
        let _ = cli::run(&migrate).await.expect(0);
        let (one, two) = tokio::join!(cli::run(&migrate), cli::run(&migrate));
        let _ = (one.expect(0), two.expect(0));
    });
    on_shared(async |arena| {
        let data = data_of(arena.server());
        let _ = cli::run(&["migrate", "--data-dir", &data]).await.expect(0);
        let _ = arena.nobody().get("/healthz").await.expect(200);
    });
}

#[test]
fn wrong_usage_exits_2() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        for wrong in [
            &["serve", "--no-such-flag"][..],
            &["no-such-command"],
            &["token", "create"],
            &["serve", "--listen", "not an address"],
            &["serve", "--retention-ttl", "soon"],
        ] {
            let done = cli::run(wrong).await;
            assert_eq!(done.code, Some(2), "{wrong:?}: {}{}", done.stdout, done.stderr);
            assert!(!done.stderr.trim().is_empty(), "{wrong:?} says why on stderr");
            assert!(done.stdout.is_empty(), "{wrong:?} prints no result: {}", done.stdout);
        }
    });
}

#[test]
fn what_is_not_built_in_yet_exits_3_in_words() {
    let directory = tempfile::Builder::new().prefix("ph-").tempdir().expect("a directory");
    let data = directory.path().to_string_lossy().into_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        for runtime in ["runsc", "runc"] {
            let done = cli::run(&[
                "serve",
                "--sandbox-runtime",
                runtime,
                "--data-dir",
                &data,
                "--listen",
                "127.0.0.1:0",
                "--admin-listen",
                "127.0.0.1:0",
            ])
            .await;
            assert_eq!(done.code, Some(3), "{runtime}: {}", done.stderr);
            assert!(done.stderr.contains(runtime), "in words: {}", done.stderr);
        }
    });
}

#[test]
fn doctor_says_what_the_host_can_do() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let done = cli::run_as_root(&["doctor"]).await;
        assert!(matches!(done.code, Some(0 | 3)), "{:?}: {}", done.code, done.stderr);
        let text = done.stdout.to_lowercase();
        for word in ["cgroup", "trusted mode"] {
            assert!(text.contains(word), "{word:?} in:\n{}", done.stdout);
        }
    });
}

#[test]
fn doctor_probe_tries_a_real_sandbox() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let done = cli::run_as_root(&["doctor", "--probe"]).await.expect(0);
        assert!(!done.stdout.is_empty());
    });
}

/// For root there is nothing to do without; on cgroup v1 there is no way for anybody.
#[test]
fn rootless_is_refused_in_words_where_it_can_not_be() {
    let directory = tempfile::Builder::new().prefix("ph-").tempdir().expect("a directory");
    let data = directory.path().to_string_lossy().into_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let serve =
            ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--rootless", "--data-dir", &data];
        for command in [&serve[..], &["host", "--rootless", "--data-dir", &data], &["doctor", "--rootless"]] {
            let done = cli::run_as_root(command).await.expect(3);
            let words = done.stdout + &done.stderr;
            assert!(words.contains("root") && words.contains("--rootless"), "{command:?}: {words}");
        }
    });
}

#[test]
fn help_names_every_command() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let done = cli::run(&["--help"]).await.expect(0);
        for command in ["serve", "host", "migrate", "token", "login", "cluster", "doctor", "config", "bench"] {
            assert!(done.stdout.contains(command), "{command} in:\n{}", done.stdout);
        }
        let _ = cli::run(&["serve", "--help"]).await.expect(0);
        let version = cli::run(&["--version"]).await.expect(0);
        assert!(version.line().contains("playhouse"));
    });
}

#[test]
fn a_second_serve_on_the_same_data_directory_fails_and_harms_nobody() {
    on_own(&[], async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("while :; do echo on; sleep 0.2; done").await;
        ws.printed(run.process_id, "on").await;
        let data = data_of(arena.server());
        let second =
            cli::run(&["serve", "--data-dir", &data, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]).await;
        assert!(matches!(second.code, Some(1 | 3)), "{:?}: {}", second.code, second.stderr);
        assert!(!second.stderr.trim().is_empty(), "it says why");
        let before = ws.output(run.process_id).await.len();
        wait::until("more output", async || (ws.output(run.process_id).await.len() > before).then_some(())).await;
        assert_eq!(ws.sh("echo unharmed").await.good(), "unharmed\n");
    });
}

#[test]
fn sigterm_drains_saves_ends_the_sandboxes_and_exits_0() {
    on_own(&[], async |arena| {
        let server = arena.server();
        let ws = arena.workspace().await;
        let run = ws.run("echo precious > /workspace/saved.txt; echo written; sleep 1000").await;
        ws.printed(run.process_id, "written").await;
        let host = server.host_pid().await;
        let start = tokio::time::Instant::now();
        assert_eq!(server.stop(), Some(0));
        assert!(start.elapsed().as_secs() < 30, "within 10 s (and slack): {:?}", start.elapsed());
        wait::until("the host to be gone", async || (!os::alive(host)).then_some(())).await;
        assert!(os::loop_devices(server.data()).is_empty(), "{:?}", os::loop_devices(server.data()));
        assert!(os::mounts(server.data()).is_empty(), "{:?}", os::mounts(server.data()));
        server.start_again();
        assert_eq!(ws.read("/saved.txt").await.as_deref(), Some(&b"precious\n"[..]), "its sandbox was saved");
        let sandbox = ws.client.get(&format!("/api/sandboxes/{}/status", run.sandbox_id)).await.expect(200).json();
        assert_eq!(
            (&sandbox["status"], &sandbox["reason"]),
            (&json!("terminated"), &json!("node_stopped")),
            "{sandbox}"
        );
        let process = ws.ended(run.process_id).await;
        assert!(process["reason"].is_string(), "the end was not the program's own: {process}");
    });
}

#[test]
fn a_stop_right_after_the_start_leaves_no_host() {
    on_own(&[], async |arena| {
        let server = arena.server();
        for _ in 0..5 {
            assert_eq!(server.stop(), Some(0));
            wait::until("the host to be gone", async || {
                os::of_data_dir(server.data(), "host").is_empty().then_some(())
            })
            .await;
            server.start_again();
        }
    });
}

#[test]
fn with_keep_host_a_stopped_serve_leaves_its_sandboxes_to_the_next() {
    on_own(&["--keep-host"], async |arena| {
        let server = arena.server();
        let ws = arena.workspace().await;
        let marker = format!("98764.{}", rand::random::<u32>());
        let run = ws.run(json!(["sleep", marker])).await;
        let pid = wait::until("the program on the host", async || os::with_argument(&marker).first().copied()).await;
        assert_eq!(server.stop(), Some(0));
        assert!(os::alive(pid), "it goes on");
        server.start_again();
        wait::until("it to be known as running", async || {
            (ws.process(run.process_id).await["status"] == "running").then_some(())
        })
        .await;
        assert!(os::alive(pid), "it goes on");
        assert_eq!(ws.run("true").await.sandbox_id, run.sandbox_id);
    });
}

#[test]
fn a_second_signal_exits_at_once() {
    on_own(&[], async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run(json!(["sleep", "1000"])).await;
        assert_eq!(shape::id(&ws.process(run.process_id).await, "id"), run.process_id);
        arena.server().signal(libc::SIGTERM);
        arena.server().signal(libc::SIGINT);
        let start = tokio::time::Instant::now();
        let _ = arena.server().exited();
        assert!(start.elapsed() < wait::A_SECOND, "{:?}", start.elapsed());
        // What it had no time to end is taken over, and ended in an orderly way.
        arena.server().start_again();
        wait::until("the program to be known again", async || {
            let status = shape::text(&ws.process(run.process_id).await, "status");
            ["running", "failed"].contains(&&*status).then_some(())
        })
        .await;
    });
}

#[test]
fn no_host_serves_the_api_and_refuses_sandboxes() {
    on_own(&["--no-host"], async |arena| {
        let ws = arena.workspace().await;
        ws.create("/a", "a").await;
        // It may still be on its way, until it is too late for that.
        let refused = wait::until("a sandbox to be refused", async || {
            let answer = ws.client.post(&ws.path("/sandbox"), json!({})).await;
            if answer.status != 201 {
                return Some(answer);
            }
            ws.end_sandbox(shape::id(&answer.json(), "id")).await;
            None
        });
        let refused = refused.await;
        refused.problem(503, "sandbox_unavailable");
        assert!(!refused.header("retry-after").is_empty(), "with Retry-After");
        let _ = ws.client.post(&ws.path("/run"), json!({"command": "true"})).await.problem(503, "sandbox_unavailable");
        assert!(os::of_data_dir(arena.server().data(), "host").is_empty(), "no host was started");
    });
}

#[test]
fn a_token_that_can_not_be_is_wrong_usage_and_the_server_stays_well() {
    on_shared(async |arena| {
        let data = data_of(arena.server());
        let create =
            async |flags: &[&str]| cli::run(&[&["token", "create", "--data-dir", &data][..], flags].concat()).await;
        for ttl in ["0s", "500ms", "99999999999h", "4000d"] {
            let _ = create(&["--user", "u", "--ttl", ttl]).await.expect(2);
        }
        for name in ["", " ", "a/b", "a\nb", &"x".repeat(65)] {
            let _ = create(&["--user", name]).await.expect(2);
            let _ = create(&["--user", "u", "--org", name]).await.expect(2);
        }
        let _ = create(&["--user", "u", "--ttl", "3650d"]).await.expect(0);
    });
}
