//! The HTTP server: connections with a bound on how long a request's head may take, and an end that lets answers
//! finish.

use std::{io, pin::pin, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long a client has for a request's head; an idle connection ends then too.
const HEAD_WITHIN: Duration = Duration::from_secs(75);
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
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
    let connections = TaskTracker::new();
    loop {
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
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
        let stop = stop.clone();
        connections.spawn(async move {
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
