//! `agents.sock`: the descriptors of agents that dialled, handed over to the node. After that the host is out of the way.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use playhouse_protocol::{codec, host::Arrived};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags};
use tokio::{io::unix::AsyncFd, sync::mpsc};

use super::{
    ready,
    service::Event,
    sockets::{self, Peer},
};

/// A node's connection for descriptors.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) peer: Peer,
    socket: OwnedFd,
}

/// Accepts connections for ever.
pub(super) async fn accept(listener: OwnedFd, owner: Option<u32>, events: mpsc::Sender<Event>) {
    let listener = match ready::register(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "agents' descriptors can't be handed over");
            return;
        }
    };
    loop {
        match accept_one(&listener).await {
            Ok(receiver) if sockets::may_command(receiver.peer.user, owner) => {
                if events.send(Event::Receiver(receiver)).await.is_err() {
                    return;
                }
            }
            Ok(receiver) => tracing::warn!(user = receiver.peer.user, "refused a connection to the agents' socket"),
            Err(error) => {
                tracing::warn!(%error, "a connection to the agents' socket could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn accept_one(listener: &AsyncFd<OwnedFd>) -> io::Result<Receiver> {
    loop {
        let mut ready = listener.readable().await?;
        let accepted = ready.try_io(|inner| {
            Ok(rustix::net::accept_with(inner.get_ref(), SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?)
        });
        if let Ok(socket) = accepted {
            let socket = socket?;
            return Ok(Receiver { peer: sockets::peer(&socket)?, socket });
        }
    }
}

/// Whether there is no room for another descriptor just now: in the socket, or in what its user may have under way.
pub(super) fn is_full(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let full = [Errno::AGAIN, Errno::NOBUFS, Errno::NOMEM, Errno::TOOMANYREFS];
    Errno::from_io_error(error).is_some_and(|error| full.contains(&error))
}

impl Receiver {
    /// Hands an agent over. A socket that is full for now is an error that [`is_full`] knows.
    pub(super) fn hand_over(&self, arrived: &Arrived, agent: impl AsFd) -> io::Result<()> {
        let bytes = codec::encode(arrived).map_err(io::Error::other)?;
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = [agent.as_fd()];
        if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(io::Error::other("no room for a descriptor"));
        }
        let sent = rustix::net::sendmsg(
            &self.socket,
            &[io::IoSlice::new(&bytes)],
            &mut ancillary,
            SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
        )?;
        if sent == bytes.len() { Ok(()) } else { Err(io::Error::other("the message was cut")) }
    }

    /// Whether the node still holds its end.
    pub(super) fn is_open(&self) -> bool {
        let mut byte = [0; 1];
        match rustix::net::recv(&self.socket, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((_, length)) => length > 0,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => true,
            Err(_) => false,
        }
    }
}
