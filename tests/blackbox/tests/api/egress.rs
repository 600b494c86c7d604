//! The one way out of a sandbox: a proxy that allows names.

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
};

use playhouse_blackbox::{on_own, on_shared};
use serde_json::json;

/// Asks the proxy for a tunnel, and prints the status line and what comes through.
const CONNECT: &str = r#"
import socket, sys
def connect(target):
    s = socket.create_connection(('127.0.0.1', 3128), timeout=20)
    s.sendall(f'CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n'.encode())
    head = b''
    while b'\r\n\r\n' not in head:
        more = s.recv(1)
        if not more: break
        head += more
    status = head.split(b' ')[1].decode() if b' ' in head else 'closed'
    body = b''
    if status == '200':
        s.sendall(b'ping')
        body = s.recv(100)
    print(target, status, body.decode(), flush=True)
for target in sys.argv[1:]: connect(target)
"#;

#[test]
fn an_allowed_name_is_tunnelled_and_others_are_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut ping = [0; 4];
            if stream.read_exact(&mut ping).is_ok() {
                // The reader notices what is missing.
                let _ = stream.write_all(b"pong");
            }
        }
    });
    on_own(&["--egress-allow", &format!("allowed.test={address}")], async |arena| {
        let ws = arena.workspace().await;
        let port = address.port();
        let targets = [
            "allowed.test:443".to_owned(),
            "other.test:443".into(),
            format!("127.0.0.1:{port}"),
            "allowed.test:22".into(),
        ];
        let mut command = vec!["python3".to_owned(), "-c".into(), CONNECT.into()];
        command.extend(targets.iter().cloned());
        let text = ws.run_to_end(json!({"command": command})).await.good();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "allowed.test:443 200 pong", "{text}");
        for line in &lines[1..] {
            assert!(!line.contains(" 200 "), "{line}");
        }
        assert_eq!(lines.len(), 4, "{text}");
    });
}

#[test]
fn plain_http_reaches_an_allowed_name_and_no_other() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read_exact(&mut byte).is_err() {
                    break;
                }
                head.push(byte[0]);
            }
            let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
            // The reader notices what is missing.
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{line}", line.len());
        }
    });
    on_own(&["--egress-allow", &format!("index.test={address}")], async |arena| {
        let ws = arena.workspace().await;
        let get = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=20).read().decode())";
        let ask = async |url: String| ws.run_to_end(json!({"command": ["python3", "-c", get, url]})).await;
        for url in ["http://index.test/simple/x/".to_owned(), format!("http://index.test:{}/simple/x/", address.port())]
        {
            assert_eq!(ask(url).await.good(), "GET /simple/x/ HTTP/1.1\n");
        }
        for url in ["http://index.test:22/".to_owned(), format!("http://127.0.0.1:{}/", address.port() + 1)] {
            assert_eq!(ask(url).await.process["status"], "failed");
        }
    });
}

#[test]
fn private_and_metadata_addresses_are_refused() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let targets = [
            "169.254.169.254:443",
            "169.254.169.254:80",
            "127.0.0.1:443",
            "localhost:443",
            "10.0.0.1:443",
            "[::1]:443",
            "[fd00:ec2::254]:443",
            "1.1.1.1:443",
            "0.0.0.0:443",
            "pypi.org:80",
            "pypi.org:22",
            "metadata.google.internal:443",
        ];
        let mut command = vec!["python3", "-c", CONNECT];
        command.extend(targets);
        let text = ws.run_to_end(json!({"command": command})).await.good();
        assert_eq!(text.lines().count(), targets.len(), "{text}");
        assert!(!text.contains(" 200 "), "{text}");
    });
}
