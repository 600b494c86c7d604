//! `control.sock`: nodes connect, say who they are, and command.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use playhouse_protocol::{
    codec::{self, FRAME_BYTES},
    host::{FromHost, ToHost},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    service::Event,
    sockets::{self, Peer},
};

/// How long a node may take to say who it is.
const HELLO_LIMIT: Duration = Duration::from_secs(5);
/// How long one frame may take to be written before the node counts as gone.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// Frames that may wait to be written; a node that lets more pile up is dropped and can connect again.
const OUTGOING: usize = 4096;

/// A node that said hello.
#[derive(Debug)]
pub(super) struct Node {
    /// Which connection it is; each has its own number.
    pub(super) connection: u64,
    pub(super) name: String,
    pub(super) incarnation: u64,
    pub(super) peer: Peer,
    pub(super) out: mpsc::Sender<FromHost>,
    /// Dropping it ends the connection.
    pub(super) _tasks: tokio::task::JoinSet<()>,
}

/// Accepts nodes for ever.
pub(super) async fn accept(listener: UnixListener, owner: Option<u32>, events: mpsc::Sender<Event>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a node could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        match sockets::peer(&stream) {
            Ok(peer) if sockets::may_command(peer.user, owner) => {
                let events = events.clone();
                tokio::spawn(async move {
                    if let Err(error) = greet(stream, peer, events).await {
                        tracing::warn!(%error, "a connection to the control socket said no hello");
                    }
                });
            }
            Ok(peer) => tracing::warn!(user = peer.user, "refused a connection to the control socket"),
            Err(error) => tracing::warn!(%error, "refused a connection to the control socket"),
        }
    }
}

async fn greet(stream: UnixStream, peer: Peer, events: mpsc::Sender<Event>) -> std::io::Result<()> {
    static CONNECTIONS: AtomicU64 = AtomicU64::new(1);
    let (mut read, write) = stream.into_split();
    let hello = timeout(HELLO_LIMIT, receive(&mut read)).await??;
    let ToHost::Hello { node: name, incarnation } = hello else {
        return Err(std::io::Error::other("its first frame is another"));
    };
    let connection = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
    let (out, outgoing) = mpsc::channel(OUTGOING);
    let mut tasks = tokio::task::JoinSet::new();
    let reader_events = events.clone();
    let (taken, is_taken) = oneshot::channel();
    tasks.spawn(async move {
        // The service drops commands of a node that it does not know yet. The other end is gone with this connection.
        if is_taken.await.is_err() {
            return;
        }
        let error = read_commands(read, connection, &reader_events).await;
        tracing::info!(connection, %error, "a node's connection ended");
        // The service is gone when the host ends, and then so is everything.
        let _ = reader_events.send(Event::NodeGone { connection }).await;
    });
    let writer_events = events.clone();
    tasks.spawn(async move {
        if let Err(error) = write_frames(write, outgoing).await {
            tracing::info!(connection, %error, "a node does not read");
            let _ = writer_events.send(Event::NodeGone { connection }).await;
        }
    });
    let node = Node { connection, name, incarnation, peer, out, _tasks: tasks };
    events.send(Event::Node(node)).await.map_err(std::io::Error::other)?;
    // A node that was turned away has no reader any more.
    let _ = taken.send(());
    Ok(())
}

async fn read_commands(mut read: OwnedReadHalf, connection: u64, events: &mpsc::Sender<Event>) -> std::io::Error {
    loop {
        match receive(&mut read).await {
            Ok(command) => {
                if events.send(Event::Command { connection, command }).await.is_err() {
                    return std::io::Error::other("the host ends");
                }
            }
            Err(error) => return error,
        }
    }
}

async fn receive(read: &mut OwnedReadHalf) -> std::io::Result<ToHost> {
    let mut prefix = [0; 4];
    read.read_exact(&mut prefix).await?;
    let length = codec::prefixed_length(prefix, FRAME_BYTES).map_err(std::io::Error::other)?;
    let mut frame = vec![0; length];
    read.read_exact(&mut frame).await?;
    codec::decode(&frame).map_err(std::io::Error::other)
}

async fn write_frames(mut write: OwnedWriteHalf, mut outgoing: mpsc::Receiver<FromHost>) -> std::io::Result<()> {
    while let Some(frame) = outgoing.recv().await {
        let bytes = codec::encode_prefixed(&frame).map_err(std::io::Error::other)?;
        timeout(WRITE_LIMIT, write.write_all(&bytes)).await??;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_command_right_behind_the_hello_comes_after_its_node() {
        let (mut node, host) = UnixStream::pair().expect("a pair");
        let peer = sockets::peer(&host).expect("a peer");
        for frame in [ToHost::Hello { node: "n".into(), incarnation: 1 }, ToHost::Leave] {
            node.write_all(&codec::encode_prefixed(&frame).expect("encoded")).await.expect("written");
        }
        // A service that is busy: there is no room for an event until the first one is taken.
        let (events, mut arriving) = mpsc::channel(1);
        events.try_send(Event::NodeGone { connection: 0 }).expect("room");
        let greeting = tokio::spawn(greet(host, peer, events));
        assert!(matches!(arriving.recv().await, Some(Event::NodeGone { connection: 0 })));
        let Some(Event::Node(_node)) = arriving.recv().await else { panic!("a command before its node") };
        assert!(matches!(arriving.recv().await, Some(Event::Command { command: ToHost::Leave, .. })));
        greeting.await.expect("no panic").expect("greeted");
    }
}
