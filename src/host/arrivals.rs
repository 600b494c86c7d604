//! A sandbox's `node.sock`: its agent dials and says one hello, exactly; then it waits for its owner's challenge.

use std::{
    fmt, io,
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use playhouse_protocol::{
    codec,
    handshake::{HANDSHAKE_BYTES, Hello},
};
use tokio::{
    io::AsyncReadExt,
    net::{UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};
use uuid::Uuid;

use super::{service::Event, sockets};
use crate::seldom::SharedSeldom;

/// How long a hello may take.
const HELLO_LIMIT: Duration = Duration::from_secs(2);
/// How many may be on their way per sandbox.
const PENDING: usize = 8;
/// The shortest time between two of one sandbox: a program that dials without end must not keep the node from the others.
/// An agent that is turned away dials again no sooner.
const PACE: Duration = Duration::from_millis(10);

/// A sandbox's turn to have a hello handed over, held until the service is done with it: one at a time.
#[derive(Debug)]
pub(super) struct Turn {
    _permit: OwnedSemaphorePermit,
}

/// Takes a sandbox's hellos for ever.
pub(super) async fn accept(listener: UnixListener, sandbox_id: Uuid, users: Range<u32>, events: mpsc::Sender<Event>) {
    let pending = Arc::new(Semaphore::new(PENDING));
    let turns = Arc::new(Semaphore::new(1));
    let refusals = SharedSeldom::default();
    loop {
        let Ok(permit) = Arc::clone(&pending).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                refuse(&refusals, sandbox_id, &error);
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (users, events) = (users.clone(), events.clone());
        let (turns, refusals) = (Arc::clone(&turns), refusals.clone());
        tokio::spawn(async move {
            let _permit = permit;
            match timeout(HELLO_LIMIT, read_hello(stream, sandbox_id, users)).await {
                Ok(Ok((hello, stream))) => {
                    let Ok(permit) = turns.acquire_owned().await else { return };
                    // The service is gone when the host ends; the agent dials again then.
                    let _ = events.send(Event::Arrived { hello, stream, turn: Turn { _permit: permit } }).await;
                }
                Ok(Err(error)) => refuse(&refusals, sandbox_id, &error),
                Err(_) => refuse(&refusals, sandbox_id, &"it said no hello in time"),
            }
        });
        tokio::time::sleep(PACE).await;
    }
}

/// Logs a refusal, but only now and then: whoever is refused may be a program that wants the log to grow.
fn refuse(refusals: &SharedSeldom, sandbox_id: Uuid, error: &dyn fmt::Display) {
    if let Some(untold) = refusals.happens(Instant::now()) {
        tracing::warn!(%sandbox_id, %error, untold, "refused an agent's connection");
    }
}

async fn read_hello(mut stream: UnixStream, sandbox_id: Uuid, users: Range<u32>) -> io::Result<(Hello, UnixStream)> {
    let peer = sockets::peer(&stream)?;
    if !users.contains(&peer.user) {
        return Err(io::Error::other(format!("user {} is not the sandbox's", peer.user)));
    }
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).await?;
    let length = codec::prefixed_length(prefix, HANDSHAKE_BYTES).map_err(io::Error::other)?;
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).await?;
    let hello: Hello = codec::decode(&frame).map_err(io::Error::other)?;
    if hello.sandbox_id == sandbox_id {
        Ok((hello, stream))
    } else {
        Err(io::Error::other(format!("it says that it is of sandbox {}", hello.sandbox_id)))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    fn hello(id: u128) -> Hello {
        Hello { sandbox_id: Uuid::from_u128(id), instance: [1; 16], attempt: 1, nonce: [2; 32] }
    }

    async fn say(bytes: &[u8]) -> io::Result<(Hello, UnixStream)> {
        let (mut agent, host) = UnixStream::pair().expect("a pair");
        agent.write_all(bytes).await.expect("written");
        drop(agent);
        let me = rustix::process::geteuid().as_raw();
        read_hello(host, Uuid::from_u128(1), me..me + 1).await
    }

    #[tokio::test]
    async fn a_hello_is_read_exactly_and_nothing_after_it() {
        let mut bytes = codec::encode_prefixed(&hello(1)).expect("encoded");
        bytes.extend_from_slice(b"rest");
        let (said, mut stream) = say(&bytes).await.expect("taken");
        assert_eq!(said, hello(1));
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.expect("read");
        assert_eq!(rest, b"rest");
    }

    #[tokio::test]
    async fn forged_long_and_cut_hellos_are_refused() {
        assert!(say(&codec::encode_prefixed(&hello(2)).expect("encoded")).await.is_err(), "another sandbox's");
        assert!(say(&u32::MAX.to_be_bytes()).await.is_err(), "too long");
        assert!(say(&[0, 0, 0, 9, 1, 2]).await.is_err(), "cut");
        assert!(say(&[0, 0, 0, 2, 1, 2]).await.is_err(), "no hello");
        let (_agent, host) = UnixStream::pair().expect("a pair");
        assert!(read_hello(host, Uuid::nil(), 1..1).await.is_err(), "another user");
    }

    #[tokio::test(start_paused = true)]
    async fn one_hello_at_a_time_is_handed_over() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("node.sock");
        let (events, mut arriving) = mpsc::channel(64);
        let me = rustix::process::geteuid().as_raw();
        let listener = UnixListener::bind(&path).expect("bound");
        let accepting = tokio::spawn(accept(listener, Uuid::from_u128(1), me..me + 1, events));
        let mut dialled = Vec::new();
        for _ in 0..2 * PENDING {
            let mut stream = UnixStream::connect(&path).await.expect("dialled");
            stream.write_all(&codec::encode_prefixed(&hello(1)).expect("encoded")).await.expect("written");
            dialled.push(stream);
        }
        for _ in 0..2 * PENDING {
            let begin = tokio::time::Instant::now();
            let Some(Event::Arrived { turn, .. }) = arriving.recv().await else { panic!("no hello") };
            let next = timeout(Duration::from_secs(1), arriving.recv()).await;
            assert!(next.is_err(), "another one before this one was handed over");
            assert!(begin.elapsed() >= PACE);
            drop(turn);
        }
        accepting.abort();
    }
}
