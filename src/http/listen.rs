//! The HTTP server: connections with a bound on how many there are and how long a request's head may take, and an end
//! that lets answers finish.

use std::{io, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1::Builder;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long a client has for a request's head; an idle connection ends then too.
const HEAD_WITHIN: Duration = Duration::from_secs(75);
/// Descriptors that clients can't have: the stores, the agents and the host need theirs.
const OWN_DESCRIPTORS: u64 = 1024;
/// How long answers may take to finish once the server stops.
const FINISH_WITHIN: Duration = Duration::from_secs(5);
/// What is waited after the system had no descriptor for a connection.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// A client's socket takes more only while the kernel has less than this that it could not send yet, in bytes. Without it
/// a slow client has megabytes of a flood on the way to it before anything newer: the answer to its Ctrl-C above all. What
/// is sent and not yet acknowledged does not count. Two batches of a session, so that a fast client seldom waits for one.
const UNSENT_BYTES: u32 = 128 * 1024;

/// Serves until `stop`, then lets the answers that are on their way finish. Sockets that were upgraded are their
/// sessions' concern.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    serve_heads_within(HEAD_WITHIN, listener, router, stop).await;
}

async fn serve_heads_within(within: Duration, listener: TcpListener, router: Router, stop: CancellationToken) {
    // Not the builder that looks for the version first: its look has no time limit.
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(within);
    let connections = TaskTracker::new();
    let room = Arc::new(Semaphore::new(most_connections()));
    loop {
        // Further ones wait in the kernel's queue until one has ended.
        let permit = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            permit = Arc::clone(&room).acquire_owned() => permit,
        };
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                if !of_the_connection(&error) {
                    tracing::error!(%error, "no connection can be accepted for now");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
                continue;
            }
        };
        tune(&stream);
        let service = TowerToHyperService::new(router.clone());
        let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let stop = stop.clone();
        connections.spawn(async move {
            let _permit = permit;
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(FINISH_WITHIN, connections.wait()).await.is_err() {
        tracing::warn!("some answers were not finished in time");
    }
}

/// How many connections the limit of open files leaves room for.
fn most_connections() -> usize {
    let open_files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let most =
        open_files.map_or(Semaphore::MAX_PERMITS as u64, |files| files.saturating_sub(OWN_DESCRIPTORS).max(files / 2));
    usize::try_from(most).unwrap_or(usize::MAX).clamp(1, Semaphore::MAX_PERMITS)
}

/// Sets a client's socket up. One that can't be set is served as it is.
fn tune(stream: &TcpStream) {
    // A keystroke's echo must not wait for more to send.
    let tuned = stream.set_nodelay(true).and_then(|()| SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES));
    if let Err(error) = tuned {
        tracing::debug!(%error, "a client's socket is not tuned");
    }
}

/// Whether only this one connection failed.
fn of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_client_that_sends_no_whole_head_is_not_kept() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let stop = CancellationToken::new();
        let short = Duration::from_millis(200);
        let serving = tokio::spawn(serve_heads_within(short, listener, Router::new(), stop.clone()));
        for begun in ["", "P", "PRI * HTT", "GET / HT"] {
            let mut client = TcpStream::connect(address).await.expect("a connection");
            client.write_all(begun.as_bytes()).await.expect("written");
            let ended = tokio::time::timeout(Duration::from_secs(20), client.read_to_end(&mut Vec::new())).await;
            assert!(ended.is_ok(), "{begun:?} is still open");
        }
        stop.cancel();
        serving.await.expect("it ends");
    }
}
