//! What is too much, and how that is said.

use playhouse_blackbox::{Client, Model, Options, Stream, on_own, on_shared, shape, stream};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

async fn raw_put(client: &Client, file: &Value, bytes: usize) -> playhouse_blackbox::Answer {
    let path = format!("/api/files/{}", shape::text(file, "id"));
    let request = client.request(Method::PUT, &path).header("content-type", "application/octet-stream");
    client.send(request.body(vec![b'x'; bytes])).await
}

#[test]
fn a_json_body_above_1_mib_is_413_too_large() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let long = "x".repeat((1 << 20) + 1);
        ws.client.post("/api/workspaces", json!({"name": long})).await.problem(413, "too_large");
        ws.post_run(json!({"command": long})).await.problem(413, "too_large");
    });
}

#[test]
fn a_body_with_a_files_content_may_be_16_mib() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let file = ws.create("/ok", &"x".repeat(15 << 20)).await;
        assert_eq!(file["size"], 15 << 20);
        ws.post_file("/no", &"x".repeat(17 << 20)).await.problem(413, "too_large");
        let path = format!("/api/files/{}", shape::text(&file, "id"));
        ws.client.put(&path, json!({"content": "x".repeat(17 << 20)})).await.problem(413, "too_large");
        assert!(ws.find("/no").await.is_none());
    });
}

#[test]
fn an_upload_above_max_upload_is_413_and_nothing_is_written() {
    on_own(&["--max-upload", "1048576"], async |arena| {
        let ws = arena.workspace().await;
        let file = ws.create("/a", "a").await;
        assert_eq!(raw_put(&ws.client, &file, 1 << 20).await.expect(200).json()["size"], 1 << 20);
        raw_put(&ws.client, &file, (1 << 20) + 1).await.problem(413, "too_large");
        assert_eq!(ws.find("/a").await.expect("/a")["size"], 1 << 20);
        let part = reqwest::multipart::Part::bytes(vec![0u8; 2 << 20]).file_name("big");
        let form = reqwest::multipart::Form::new().part("file", part);
        let request = ws.client.request(Method::POST, &ws.path("/files")).multipart(form);
        ws.client.send(request).await.problem(413, "too_large");
        assert!(ws.find("/big").await.is_none());
    });
}

#[test]
fn a_file_over_the_limit_made_in_the_sandbox_is_left_out() {
    on_own(&["--max-upload", "1048576"], async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("head -c 2000000 /dev/zero > big; printf z > last; sleep 1000").await;
        ws.comes_to_hold(playhouse_blackbox::wait::PATIENCE, "/last", b"z").await;
        assert!(ws.find("/big").await.is_none());
        ws.cancel(run.process_id).await;
    });
}

#[test]
fn too_many_requests_are_429_with_retry_after_for_that_user_alone() {
    on_own(&["--rate-limit", "5"], async |arena| {
        let (busy, calm) = (arena.user("busy").await, arena.user("calm").await);
        let mut limited = None;
        for _ in 0..2000 {
            let answer = busy.get("/api/me").await;
            if answer.status != 200 {
                limited = Some(answer);
                break;
            }
        }
        let limited = limited.expect("the burst is used up");
        limited.problem(429, "rate_limited");
        let wait: u64 = limited.header("retry-after").parse().expect("seconds");
        assert!(wait <= 60, "{wait}");
        let _ = calm.get("/api/me").await.expect(200);
        playhouse_blackbox::wait::until("the limit to pass", async || {
            (busy.get("/api/me").await.status == 200).then_some(())
        })
        .await;
    });
}

#[test]
fn a_full_node_takes_no_more_sockets_until_one_goes() {
    on_own(&["--max-sockets", "2"], async |arena| {
        let ws = arena.workspace().await;
        let sandbox = shape::id(&ws.sandbox().await, "id");
        let first = ws.stream(sandbox, Options::default()).await;
        let _second = ws.stream(sandbox, Options::default()).await;
        let open = async || -> Result<Stream, String> {
            let token = stream::token(&ws.client, sandbox).await;
            let opened = Stream::connect(&ws.client, sandbox, &token, Options::default(), Model::new(sandbox)).await;
            let mut opened = opened.map_err(|refused| format!("{}", refused.status))?;
            opened.hello().await.map_err(|closed| format!("closed {}", closed.code))?;
            Ok(opened)
        };
        let refused = open().await.expect_err("the third is refused");
        assert!(refused == "503" || refused.starts_with("closed "), "{refused}");
        drop(first);
        playhouse_blackbox::wait::until("room for another", async || open().await.ok()).await;
    });
}

#[test]
fn sockets_that_come_at_once_are_no_more_than_the_node_takes() {
    on_own(&["--max-sockets", "3"], async |arena| {
        let ws = arena.workspace().await;
        let sandbox = shape::id(&ws.sandbox().await, "id");
        let token = stream::token(&ws.client, sandbox).await;
        let address = ws.client.server().url().replacen("http://", "", 1);
        let ask = format!(
            "GET /api/stream/{sandbox}?token={token} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r"
        );
        let mut sockets = Vec::new();
        for _ in 0..64 {
            let mut socket = TcpStream::connect(&address).await.expect("connected");
            socket.write_all(ask.as_bytes()).await.expect("written");
            sockets.push(socket);
        }
        // The last byte of each, so that the server has all of them at once.
        futures::future::join_all(sockets.iter_mut().map(|socket| socket.write_all(b"\n"))).await;
        let answers = sockets.iter_mut().map(async |socket| {
            let mut status = [0; 12];
            socket.read_exact(&mut status).await.expect("an answer");
            String::from_utf8_lossy(&status).into_owned()
        });
        let answers = futures::future::join_all(answers).await;
        let let_in = answers.iter().filter(|status| *status == "HTTP/1.1 101").count();
        let refused = answers.iter().filter(|status| *status == "HTTP/1.1 503").count();
        assert_eq!((let_in, refused), (3, 61), "{answers:?}");
    });
}

#[test]
fn many_requests_at_once_are_all_answered() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let writes = (0..200).map(|n| {
            let ws = ws.clone();
            async move { ws.create(&format!("/d{}/f{n}", n % 10), &n.to_string()).await }
        });
        let made = futures::future::join_all(writes).await;
        assert_eq!(made.len(), 200);
        assert_eq!(ws.files().await.len(), 210);
    });
}
