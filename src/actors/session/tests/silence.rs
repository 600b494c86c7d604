//! Pings, and a client from which nothing comes, by a clock that runs only when nobody works.

use super::*;

/// A session that has no process, and a clock that runs only when nobody works.
async fn idle(dir: &std::path::Path) -> Client {
    let node = node(dir).await;
    tokio::time::pause();
    let params = params(&record(false), StreamFrom::Earliest);
    let mut client = Client::open(&node, 64, Vec::new(), SandboxStatus::Running, params, Role::Edit);
    let hello = client.frames.next().await.expect("hello");
    assert!(matches!(hello, Frame::Text(text) if text.contains("hello")));
    client
}

/// The next frame, and how many seconds after `start` it came.
async fn timed(client: &mut Client, start: tokio::time::Instant) -> (Frame, u64) {
    let frame = client.frames.next().await.expect("open");
    (frame, start.elapsed().as_secs())
}

#[tokio::test]
async fn a_client_from_which_nothing_comes_is_pinged_every_20_s_and_closed_after_60() {
    let dir = tempfile::tempdir().expect("dir");
    let mut client = idle(dir.path()).await;
    let start = tokio::time::Instant::now();
    assert_eq!(timed(&mut client, start).await, (Frame::Ping(bytes::Bytes::new()), 20));
    assert_eq!(timed(&mut client, start).await, (Frame::Ping(bytes::Bytes::new()), 40));
    let (frame, after) = timed(&mut client, start).await;
    assert!(matches!(frame, Frame::Close(4408, _)), "{frame:?}");
    assert_eq!(after, 60);
    // It does not answer the close either: its session ends all the same.
    client.served.await.expect("it ends");
    assert_eq!(start.elapsed().as_secs(), 62);
}

#[tokio::test]
async fn a_client_that_answers_or_says_anything_stays() {
    let dir = tempfile::tempdir().expect("dir");
    let mut client = idle(dir.path()).await;
    let start = tokio::time::Instant::now();
    for round in 1..=9 {
        assert_eq!(timed(&mut client, start).await, (Frame::Ping(bytes::Bytes::new()), round * 20));
        let sign = match round % 3 {
            0 => Frame::Pong(bytes::Bytes::new()),
            1 => Frame::Ping(bytes::Bytes::new()),
            _ => Frame::Text("no message at all".to_owned()),
        };
        client.out.unbounded_send(sign).expect("open");
        if round % 3 == 2 {
            let (frame, _) = timed(&mut client, start).await;
            assert!(matches!(frame, Frame::Text(text) if text.contains("message_invalid")));
        }
    }
    // Counted from the last sign.
    for ping in [200, 220] {
        assert_eq!(timed(&mut client, start).await, (Frame::Ping(bytes::Bytes::new()), ping));
    }
    let (frame, after) = timed(&mut client, start).await;
    assert!(matches!(frame, Frame::Close(4408, _)), "{frame:?}");
    assert_eq!(after, 240);
}
