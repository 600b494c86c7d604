//! The link to the host on this machine: its control socket, and the socket over which it hands agents over.

use std::{
    collections::HashMap,
    io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use playhouse_protocol::{
    codec,
    host::{AGENTS_SOCKET, Arrived, CONTROL_SOCKET, FromHost, LOCK, ToHost, run_dirs, said_run_dir},
};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, unix::AsyncFd},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    time::Instant,
};
use uuid::Uuid;

use super::{
    entity::{HostMessage, HostRef},
    trust,
};
use crate::actors::Node;

/// How long after a failed attempt the host is looked for again.
const RETRY: Duration = Duration::from_millis(50);
/// A host that says nothing for so long is taken for gone; it beats every second.
const SILENCE: Duration = Duration::from_secs(10);
/// The longest hand-over message, in bytes.
const ARRIVED_BYTES: usize = 2048;

/// What isolates the host's sandboxes, or what it lacks.
type Isolation = Result<String, Vec<String>>;

/// Whether a host is here.
#[derive(Debug)]
enum Presence {
    Away {
        since: Instant,
        /// What is there and is not taken for the host.
        refused: Option<String>,
    },
    Here(Isolation),
}

/// How this node's actors send to the host beside it. What is sent while the host is away is dropped: when it comes
/// back, every sandbox is told by `HostUp` and sends what it still needs.
#[derive(Debug, Clone)]
pub struct HostLink {
    frames: mpsc::UnboundedSender<ToHost>,
    presence: Arc<Mutex<Presence>>,
    /// Whose command is whose, until the host has done it.
    commands: Arc<Mutex<HashMap<Uuid, Uuid>>>,
}

impl HostLink {
    /// A handle on this queue.
    #[must_use]
    pub fn new(frames: mpsc::UnboundedSender<ToHost>) -> Self {
        let presence = Arc::new(Mutex::new(Presence::Away { since: Instant::now(), refused: None }));
        Self { frames, presence, commands: Arc::default() }
    }

    /// Sends a command.
    pub fn send(&self, frame: ToHost) {
        if let Some((command, sandbox)) = command(&frame) {
            self.commands.lock().unwrap_or_else(PoisonError::into_inner).insert(command, sandbox);
        }
        // As said above: a host that is away is told again when it is back.
        let _ = self.frames.send(frame);
    }

    /// What isolates the host's sandboxes, or what it lacks; `None` while no host is here.
    #[must_use]
    pub fn isolation(&self) -> Option<Isolation> {
        match &*self.presence() {
            Presence::Away { .. } => None,
            Presence::Here(isolation) => Some(isolation.clone()),
        }
    }

    /// How long no host has been here, and what is there in its place; `None` while one is here.
    #[must_use]
    pub fn away(&self) -> Option<(Duration, Option<String>)> {
        match &*self.presence() {
            Presence::Away { since, refused } => Some((since.elapsed(), refused.clone())),
            Presence::Here(_) => None,
        }
    }

    fn not_found(&self, error: &io::Error) {
        if let Presence::Away { refused, .. } = &mut *self.presence() {
            *refused = (error.kind() == io::ErrorKind::PermissionDenied).then(|| error.to_string());
        }
    }

    fn presence(&self) -> MutexGuard<'_, Presence> {
        self.presence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose command this was, once.
    pub(super) fn settle(&self, command: Uuid) -> Option<Uuid> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).remove(&command)
    }

    /// Drops what was meant for the host while it was away: those who are told that it is up say it again.
    fn discard(&self, frames: &mut mpsc::UnboundedReceiver<ToHost>) {
        while let Ok(frame) = frames.try_recv() {
            if let Some((command, _)) = command(&frame) {
                self.settle(command);
            }
        }
    }

    fn gone(&self) {
        *self.presence() = Presence::Away { since: Instant::now(), refused: None };
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn here(&self, isolation: Isolation) {
        *self.presence() = Presence::Here(isolation);
    }
}

/// A command's id, and whose it is.
fn command(frame: &ToHost) -> Option<(Uuid, Uuid)> {
    match frame {
        ToHost::Create { command_id, spec, .. } | ToHost::Recover { command_id, spec, .. } => {
            Some((*command_id, spec.sandbox_id))
        }
        ToHost::End { command_id, sandbox_id, .. } | ToHost::Freeze { command_id, sandbox_id, .. } => {
            Some((*command_id, *sandbox_id))
        }
        ToHost::Hello { .. } | ToHost::AskUsage { .. } | ToHost::Look { .. } | ToHost::Leave => None,
    }
}

/// Keeps the link to the host up, for as long as the node lives.
pub async fn connect(node: Node, mut frames: mpsc::UnboundedReceiver<ToHost>) {
    let host = node.host_entity();
    let mut complained = false;
    loop {
        match attach(&node).await {
            Ok((control, agents)) => {
                complained = false;
                let error = serve(&node, &host, &mut frames, control, agents).await;
                tracing::warn!(%error, "the link to the host is gone; looking for it again");
                node.host.gone();
                if let Err(error) = host.cast(HostMessage::Down).await {
                    tracing::warn!(%error, "the host's actor can't be reached");
                }
            }
            Err(error) => {
                if !complained && error.kind() == io::ErrorKind::PermissionDenied {
                    tracing::warn!(%error, "what is there is not taken for the host");
                } else if !complained {
                    tracing::info!(%error, "no host yet");
                }
                complained = true;
                node.host.not_found(&error);
            }
        }
        node.host.discard(&mut frames);
        tokio::time::sleep(RETRY).await;
    }
}

async fn attach(node: &Node) -> io::Result<(UnixStream, AsyncFd<OwnedFd>)> {
    let user = rustix::process::getuid().as_raw();
    let data_dir = &node.settings.data_dir;
    let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
    // Where it says that it is, if it does.
    let said = std::fs::read(data_dir.join(LOCK)).ok().and_then(|text| said_run_dir(data_dir, &text));
    let mut why = io::Error::from(io::ErrorKind::NotFound);
    for dir in said.into_iter().chain(run_dirs(data_dir, user, runtime_dir.as_deref())) {
        match attach_in(&dir, user).await {
            Ok(sockets) => return Ok(sockets),
            // That there is nothing in one place says less than why another one was refused.
            Err(error) if error.kind() != io::ErrorKind::NotFound && why.kind() == io::ErrorKind::NotFound => {
                why = error
            }
            Err(_) => {}
        }
    }
    Err(why)
}

async fn attach_in(dir: &Path, user: u32) -> io::Result<(UnixStream, AsyncFd<OwnedFd>)> {
    trust::directory(dir, user)?;
    let (control, agents) = (dir.join(CONTROL_SOCKET), dir.join(AGENTS_SOCKET));
    let control = UnixStream::connect(&control).await.map_err(|error| trust::beside(&error, &control))?;
    trust::peer(&control, user)?;
    let agents = connect_agents(&agents).map_err(|error| trust::beside(&error, &agents))?;
    trust::peer(agents.get_ref(), user)?;
    Ok((control, agents))
}

fn connect_agents(path: &Path) -> io::Result<AsyncFd<OwnedFd>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    #[allow(unsafe_code, reason = "tokio's only registration that is not deprecated")]
    // SAFETY: an `OwnedFd` is open, stays the same, and is closed only with the `AsyncFd` that owns it now.
    let registered = unsafe { AsyncFd::register(socket) };
    registered.map_err(Into::into)
}

async fn serve(
    node: &Node,
    host: &HostRef,
    frames: &mut mpsc::UnboundedReceiver<ToHost>,
    control: UnixStream,
    agents: AsyncFd<OwnedFd>,
) -> io::Error {
    let (reader, mut writer) = control.into_split();
    node.host.discard(frames);
    let hello = ToHost::Hello { node: node.name.clone(), incarnation: node.incarnation };
    if let Err(error) = send(&mut writer, &hello).await {
        return error;
    }
    tokio::select! {
        error = receive(node, host, reader) => error,
        error = forward(frames, &mut writer) => error,
        error = take_agents(node, agents) => error,
    }
}

async fn send(writer: &mut OwnedWriteHalf, frame: &ToHost) -> io::Result<()> {
    writer.write_all(&codec::encode_prefixed(frame).map_err(io::Error::other)?).await
}

async fn forward(frames: &mut mpsc::UnboundedReceiver<ToHost>, writer: &mut OwnedWriteHalf) -> io::Error {
    while let Some(frame) = frames.recv().await {
        if let Err(error) = send(writer, &frame).await {
            return error;
        }
    }
    io::ErrorKind::BrokenPipe.into()
}

async fn receive(node: &Node, host: &HostRef, mut reader: OwnedReadHalf) -> io::Error {
    loop {
        let frame = match tokio::time::timeout(SILENCE, read_frame(&mut reader)).await {
            Ok(Ok(frame)) => frame,
            Ok(Err(error)) => return error,
            Err(_) => return io::ErrorKind::TimedOut.into(),
        };
        if let FromHost::Welcome { isolation, .. } = &frame {
            node.host.here(isolation.clone());
        }
        if let Err(error) = host.cast(HostMessage::Frame(frame)).await {
            return io::Error::other(error);
        }
    }
}

async fn read_frame(reader: &mut OwnedReadHalf) -> io::Result<FromHost> {
    let mut prefix = [0_u8; 4];
    reader.read_exact(&mut prefix).await?;
    let length = codec::prefixed_length(prefix, codec::FRAME_BYTES).map_err(io::Error::other)?;
    let mut body = vec![0_u8; length];
    reader.read_exact(&mut body).await?;
    codec::decode(&body).map_err(io::Error::other)
}

/// Takes agents' descriptors, and brings each to its sandbox.
async fn take_agents(node: &Node, agents: AsyncFd<OwnedFd>) -> io::Error {
    loop {
        let received = match agents.readable().await {
            Ok(mut ready) => match ready.try_io(|socket| receive_agent(socket.get_ref())) {
                Ok(received) => received,
                Err(_would_block) => continue,
            },
            Err(error) => return error,
        };
        match received {
            Ok(Some((arrived, stream))) => {
                let sandbox = node.sandbox(arrived.hello.sandbox_id);
                tokio::spawn(async move {
                    let arrived = crate::actors::sandbox::SandboxMessage::AgentArrived { hello: arrived.hello, stream };
                    if let Err(error) = sandbox.cast(arrived).await {
                        tracing::warn!(%error, "a sandbox can't take its agent; the agent dials again");
                    }
                });
            }
            Ok(None) => return io::ErrorKind::UnexpectedEof.into(),
            // This process may be out of descriptors for a moment; that agent dials again.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                tracing::warn!(%error, "an agent could not be taken over");
            }
            Err(error) => return error,
        }
    }
}

fn receive_agent(socket: &OwnedFd) -> io::Result<Option<(Arrived, OwnedFd)>> {
    let mut bytes = [0_u8; ARRIVED_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let length = {
        let mut parts = [io::IoSliceMut::new(&mut bytes)];
        rustix::net::recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?.bytes
    };
    let descriptor = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    if length == 0 {
        return Ok(None);
    }
    let arrived = codec::decode::<Arrived>(&bytes[..length]).map_err(invalid)?;
    let stream = descriptor.ok_or_else(|| invalid("a hand-over without a descriptor"))?;
    Ok(Some((arrived, stream)))
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_is_not_sent_is_forgotten() {
        let (sender, mut frames) = mpsc::unbounded_channel();
        let link = HostLink::new(sender);
        let (command_id, sandbox_id) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let end = ToHost::End { command_id, epoch: 1, sandbox_id };
        link.send(end.clone());
        assert_eq!(link.settle(command_id), Some(sandbox_id));
        link.send(end);
        link.discard(&mut frames);
        assert_eq!(link.settle(command_id), None);
        assert!(frames.try_recv().is_err());
    }
}
