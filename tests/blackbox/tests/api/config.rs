//! Where settings come from: defaults, file, environment, flags.

use std::fs;

use playhouse_blackbox::{cli, on_own};

fn block_on<T>(body: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(body)
}

/// The line of `playhouse config` about a setting.
fn line<'a>(text: &'a str, key: &str) -> &'a str {
    text.lines()
        .find(|line| line.trim_start_matches([' ', '#', '"']).starts_with(key))
        .unwrap_or_else(|| panic!("{key} in:\n{text}"))
}

#[test]
fn config_prints_every_value_with_where_it_came_from() {
    block_on(async {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("playhouse.toml");
        fs::write(&file, "rate_limit = 77\nlisten = \"127.0.0.1:1111\"\nadmin_listen = \"127.0.0.1:2222\"\n")
            .expect("written");
        let file = file.to_string_lossy().into_owned();
        let environment = [("PLAYHOUSE_LISTEN", "127.0.0.1:3333"), ("PLAYHOUSE_MAX_SOCKETS", "55")];
        let done = cli::run_with(&["config", "--config", &file], &environment).await.expect(0);
        let text = &done.stdout;
        for (key, value) in [
            ("listen", "127.0.0.1:3333"),
            ("admin_listen", "127.0.0.1:2222"),
            ("rate_limit", "77"),
            ("max_sockets", "55"),
        ] {
            assert!(line(text, key).contains(value), "{key} is {value} in:\n{text}");
        }
        let source = |key: &str| line(text, key).to_lowercase();
        assert!(
            source("listen").contains("env") || source("listen").contains("playhouse_listen"),
            "{}",
            source("listen")
        );
        assert!(
            source("rate_limit").contains("toml") || source("rate_limit").contains("file"),
            "{}",
            source("rate_limit")
        );
        assert!(source("retention_bytes").contains("default"), "{}", source("retention_bytes"));
    });
}

#[test]
fn config_stands_before_or_after_the_command() {
    block_on(async {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("p.toml");
        fs::write(&file, "max_sockets = 321\n").expect("written");
        let file = file.to_string_lossy().into_owned();
        for arguments in [["--config", &file, "config"], ["config", "--config", &file]] {
            let done = cli::run(&arguments).await.expect(0);
            assert!(line(&done.stdout, "max_sockets").contains("321"), "{}", done.stdout);
        }
    });
}

#[test]
fn secrets_are_masked() {
    block_on(async {
        let environment = [("PLAYHOUSE_REPLAY", "redis://user:hunter2@127.0.0.1:6379/0")];
        for arguments in [&["config"][..], &["config", "--output", "json"]] {
            let done = cli::run_with(arguments, &environment).await;
            // A store that isn't built in exits 3 and is named; then too its password is nobody's business.
            assert!(matches!(done.code, Some(0 | 3)), "{:?}: {}", done.code, done.stderr);
            let all = format!("{}{}", done.stdout, done.stderr);
            assert!(all.contains("127.0.0.1:6379") && !all.contains("hunter2"), "{all}");
        }
    });
}

#[test]
fn an_unknown_key_or_a_missing_file_exits_2() {
    block_on(async {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("p.toml");
        let name = file.to_string_lossy().into_owned();
        assert_eq!(cli::run(&["config", "--config", &name]).await.code, Some(2), "a missing file");
        for text in ["colour = \"red\"\n", "this is no TOML"] {
            fs::write(&file, text).expect("written");
            for command in ["config", "serve"] {
                let done = cli::run(&[command, "--config", &name]).await;
                assert_eq!(done.code, Some(2), "{command} with {text:?}: {}", done.stderr);
            }
        }
        fs::write(&file, "colour = \"red\"\n").expect("written");
        assert!(cli::run(&["config", "--config", &name]).await.stderr.contains("colour"), "the key is named");
    });
}

#[test]
fn config_as_json_is_json() {
    block_on(async {
        let done = cli::run(&["config", "--output", "json"]).await.expect(0);
        let value: serde_json::Value = serde_json::from_str(&done.stdout).expect("JSON");
        assert!(done.stdout.contains("listen") && (value.is_object() || value.is_array()), "{value}");
    });
}

#[test]
fn a_server_takes_its_limits_from_a_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("p.toml");
    fs::write(&file, "max_upload = 1000000\nlog_format = \"json\"\n").expect("written");
    on_own(&["--config", &file.to_string_lossy()], async |arena| {
        let ws = arena.workspace().await;
        let file = ws.create("/a", "a").await;
        let path = format!("/api/files/{}", playhouse_blackbox::shape::text(&file, "id"));
        let request = ws.client.request(reqwest::Method::PUT, &path).header("content-type", "application/octet-stream");
        ws.client.send(request.body(vec![0u8; 2_000_000])).await.problem(413, "too_large");
        let log = arena.server().log_tail(0, 1000);
        for line in log.lines() {
            serde_json::from_str::<serde_json::Value>(line)
                .unwrap_or_else(|error| panic!("{error} in log line {line}"));
        }
    });
}
