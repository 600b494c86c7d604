//! The socket below its library: frames that are none, a client that never answers, and how much is under way to a slow
//! one.

use std::time::Duration;

use playhouse_blackbox::{Arena, Workspace, on_own, on_shared, stream, wait};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{Instant, interval, timeout},
};
use uuid::Uuid;

const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const FINAL: u8 = 0x80;

/// A client that does what it is told, and nothing by itself.
struct Raw {
    socket: TcpStream,
    buffer: Vec<u8>,
}

impl Raw {
    /// Opens a socket whose kernel holds little for it.
    async fn open(arena: &Arena, ws: &Workspace, sandbox: Uuid, query: &str) -> Self {
        let token = stream::token(&ws.client, sandbox).await;
        let address = arena.server().url().trim_start_matches("http://").parse().expect("an address");
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(32 * 1024).expect("a small buffer");
        let mut socket = socket.connect(address).await.expect("the server");
        let request = format!(
            "GET /api/stream/{sandbox}?token={token}{query} HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: \
             websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await.expect("sent");
        let mut raw = Self { socket, buffer: Vec::new() };
        let head = loop {
            assert!(raw.more().await > 0, "an answer");
            if let Some(at) = raw.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break raw.buffer.drain(..at + 4).collect::<Vec<u8>>();
            }
        };
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        raw.hello().await;
        raw
    }

    /// Reads once.
    async fn more(&mut self) -> usize {
        let read = timeout(wait::PATIENCE, self.socket.read_buf(&mut self.buffer));
        read.await.expect("something in time").unwrap_or(0)
    }

    async fn hello(&mut self) {
        let (opcode, payload) = self.frame().await.expect("a frame");
        let hello: Value = serde_json::from_slice(&payload).expect("JSON");
        assert_eq!((opcode, &hello["type"]), (TEXT, &json!("hello")));
    }

    /// The next frame's opcode and payload; none at the end.
    async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((opcode, payload, used)) = take(&self.buffer) {
                self.buffer.drain(..used);
                return Some((opcode, payload));
            }
            if self.more().await == 0 {
                return None;
            }
        }
    }

    /// The code of the close that comes, after whatever comes before it.
    async fn closed(&mut self) -> Option<u16> {
        loop {
            let (opcode, payload) = self.frame().await?;
            if opcode == CLOSE {
                return payload.first_chunk().map(|code| u16::from_be_bytes(*code));
            }
        }
    }
}

/// A frame at the front of some bytes, and how many of them it takes.
fn take(bytes: &[u8]) -> Option<(u8, Vec<u8>, usize)> {
    let (&[first, second], rest) = bytes.split_first_chunk()?;
    assert_eq!((first & 0xf0, second & 0x80), (FINAL, 0), "a server's frames are whole and not masked");
    let (length, head) = match second {
        126 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
        127 => (usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).expect("a length"), 10),
        short => (usize::from(short), 2),
    };
    let payload = bytes.get(head..head + length)?;
    Some((first & 0xf, payload.to_vec(), head + length))
}

/// A short frame as a client sends it. Its mask is all zeros, which is one.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("short");
    [&[first, 0x80 | length, 0, 0, 0, 0][..], payload].concat()
}

#[test]
fn what_is_no_frame_closes_with_1002_and_what_is_no_text_with_1007() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("cat").await;
        let cases: &[(&str, Vec<u8>, u16)] = &[
            ("not masked", vec![FINAL | TEXT, 2, b'h', b'i'], 1002),
            ("a reserved bit", masked(0xc0 | TEXT, b"x"), 1002),
            ("an unknown opcode", masked(FINAL | 0x3, b"x"), 1002),
            ("a continuation of nothing", masked(FINAL, b"x"), 1002),
            ("a ping in pieces", masked(PING, b"x"), 1002),
            ("two beginnings", [masked(TEXT, b"x"), masked(TEXT, b"y")].concat(), 1002),
            ("no UTF-8", masked(FINAL | TEXT, &[0xff, 0xfe]), 1007),
            ("endless", [&[FINAL | TEXT, 0xff, 0x7f][..], &[0xff; 7], &[0; 4]].concat(), 1009),
        ];
        for (what, bytes, code) in cases {
            let mut raw = Raw::open(arena, &ws, run.sandbox_id, "&from=live").await;
            raw.socket.write_all(bytes).await.expect("sent");
            assert_eq!(raw.closed().await, Some(*code), "{what}");
        }
        // A frame that ends in its midst is an end like any other.
        let mut raw = Raw::open(arena, &ws, run.sandbox_id, "&from=live").await;
        raw.socket.write_all(&masked(FINAL | TEXT, b"{}")[..5]).await.expect("sent");
        raw.socket.shutdown().await.expect("closed");
        while raw.frame().await.is_some() {}
        // Whatever it was, the program is unharmed.
        let _ = ws.input(run.process_id, json!({"data": "still here\n"})).await.expect(202);
        ws.printed(run.process_id, "still here").await;
        ws.cancel(run.process_id).await;
    });
}

#[test]
fn a_client_that_answers_no_ping_is_closed_with_4408_after_60_s() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let sandbox = playhouse_blackbox::shape::id(&ws.sandbox().await, "id");
        let start = Instant::now();
        let mut raw = Raw::open(arena, &ws, sandbox, "").await;
        let mut pings = Vec::new();
        let code = loop {
            // Between two pings nothing comes for 20 s.
            let frame = timeout(Duration::from_secs(40), raw.frame()).await.expect("a ping in time");
            let (opcode, payload) = frame.expect("a close before the end");
            match opcode {
                PING => pings.push(start.elapsed().as_secs()),
                CLOSE => break u16::from_be_bytes([payload[0], payload[1]]),
                _ => {}
            }
        };
        let after = start.elapsed();
        assert_eq!(code, 4408);
        assert!(after >= Duration::from_secs(58) && after < Duration::from_secs(75), "after {after:?}");
        assert!(matches!(pings[..], [19..30, 39..50] | [19..30, 39..50, _]), "pings after {pings:?} s");
        // The server does not wait for its answer for ever.
        timeout(Duration::from_secs(20), async { while raw.frame().await.is_some() {} }).await.expect("the end");
    });
}

/// The most that may still come to a slow client after a flood has stopped: what its kernel, ours and the session hold.
/// Without a bound on what our kernel holds unsent it is 4 MB and more.
const UNDER_WAY: u64 = 2 * 1024 * 1024;

#[test]
fn little_of_a_flood_is_under_way_to_a_slow_client_when_it_is_interrupted() {
    on_own(&[], async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run_pty("yes 0123456789abcdef0123456789abcdef0123456789abcdef").await;
        let mut raw = Raw::open(arena, &ws, run.sandbox_id, "&from=live").await;
        // About 4 MB/s: slower than it could be, faster than what any viewer is left behind at.
        let mut pace = interval(Duration::from_millis(10));
        let mut piece = vec![0; 40 * 1024];
        let mut read = 0_u64;
        let start = Instant::now();
        while read < 4_000_000 || start.elapsed() < Duration::from_secs(3) {
            pace.tick().await;
            read += raw.socket.read(&mut piece).await.expect("output") as u64;
        }
        let path = format!("/api/processes/{}/signal", run.process_id);
        let _ = ws.client.post(&path, json!({"signal": "INT"})).await.expect(202);
        assert_eq!(ws.ended(run.process_id).await["signal"], "INT");
        let (mut after, mut end) = (0_u64, Vec::new());
        while !String::from_utf8_lossy(&end).contains(r#""status":"failed""#) {
            let got = timeout(wait::PATIENCE, raw.socket.read(&mut piece)).await.expect("more").expect("output");
            assert!(got > 0, "its last status comes before the end");
            after += got as u64;
            end.extend_from_slice(&piece[..got]);
            end.drain(..end.len().saturating_sub(4096));
        }
        assert!(after < UNDER_WAY, "{after} bytes came after the flood had stopped");
    });
}
