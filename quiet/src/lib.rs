//! Descriptors that are watched only for what is waited for.
//!
//! Whoever watches a socket or a terminal for room to write is woken each time the other end reads, whether there is
//! something to write or not, and tokio's own sockets are watched for both directions. On an echo's way through the agent
//! that was four wake-ups of a process, each in front of one that mattered, and on a virtual machine one across cores
//! costs the waking side some 12 µs (measured with `perf trace`). The two ends of an agent's stream use this, and so do
//! the terminals.

mod awake;

use std::{
    io,
    os::fd::OwnedFd,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf, unix::AsyncFd},
    net::UnixStream,
};

/// Watches a descriptor.
///
/// # Errors
/// It can't be watched.
pub fn watched(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned by what is returned, and nothing closes it before that is dropped.
    #[allow(unsafe_code, reason = "tokio can't know that a descriptor stays the same; an owned one does")]
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}

/// The writing side of a descriptor that does not block.
#[derive(Debug)]
pub struct Writer {
    fd: OwnedFd,
    /// A duplicate, while there is no room.
    room: Option<AsyncFd<OwnedFd>>,
}

impl Writer {
    /// Writes to this descriptor, which does not block.
    #[must_use]
    pub const fn new(fd: OwnedFd) -> Self {
        Self { fd, room: None }
    }

    /// The descriptor.
    #[must_use]
    pub const fn get_ref(&self) -> &OwnedFd {
        &self.fd
    }

    /// Writes some of `bytes`.
    ///
    /// # Errors
    /// `WouldBlock` when there is no room, whose return [`Writer::poll_room`] tells; others as the system says.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let written = match &self.room {
                None => rustix::io::write(&self.fd, bytes).map_err(io::Error::from),
                Some(room) => room.try_io(Interest::WRITABLE, |fd| Ok(rustix::io::write(fd, bytes)?)),
            };
            match written {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.room.is_none() {
                        self.room = Some(watched(self.fd.try_clone()?, Interest::WRITABLE)?);
                    }
                    return Err(error);
                }
                done => {
                    self.room = None;
                    return done;
                }
            }
        }
    }

    /// Whether a write is worth trying.
    pub fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        match &self.room {
            None => Poll::Ready(()),
            Some(room) => room.poll_write_ready(context).map(drop),
        }
    }
}

/// A connected stream: the other end's reads don't wake us.
#[derive(Debug)]
pub struct QuietStream {
    reader: AsyncFd<OwnedFd>,
    writer: Writer,
    expect: Expect,
}

/// Tells a stream that what was just written is about to be answered.
#[derive(Debug, Clone, Default)]
pub struct Expect(Arc<AtomicBool>);

impl Expect {
    /// The next read waits awake for it for a moment: see the module `awake`.
    pub fn soon(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl QuietStream {
    /// Takes over a connected stream.
    ///
    /// # Errors
    /// Too many descriptors are open.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        // It leaves tokio's watch, which is for both directions.
        let fd = OwnedFd::from(stream.into_std()?);
        let writer = Writer::new(fd.try_clone()?);
        let reader = watched(fd, Interest::READABLE)?;
        Ok(Self { reader, writer, expect: Expect::default() })
    }

    /// By which it is told of an answer to come.
    #[must_use]
    pub fn expect(&self) -> Expect {
        self.expect.clone()
    }

    /// What has come by now, or comes in a moment, in bytes. An end or an error is left to the next read.
    fn read_awake(&self, room: &mut [u8]) -> Option<usize> {
        let fd = self.reader.get_ref();
        awake::wait(|| rustix::io::read(fd, &mut *room).ok().filter(|count| *count > 0))
    }
}

impl AsyncRead for QuietStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.expect.0.swap(false, Ordering::Relaxed)
            && let Some(count) = self.read_awake(buffer.initialize_unfilled())
        {
            buffer.advance(count);
            return Poll::Ready(Ok(()));
        }
        loop {
            let mut guard = ready!(self.reader.poll_read_ready(context))?;
            let room = buffer.initialize_unfilled();
            match guard.try_io(|fd| Ok(rustix::io::read(fd, &mut *room)?)) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Ok(Ok(count)) => {
                    if count > 0 && count < room.len() {
                        // There was no more, and when there is it is told: that spares the read that finds nothing.
                        guard.clear_ready();
                    }
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for QuietStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.writer.poll_room(context));
            match self.writer.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(rustix::net::shutdown(self.writer.get_ref(), rustix::net::Shutdown::Write)?))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn more_than_fits_arrives_whole_and_the_room_is_watched_only_meanwhile() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut stream = QuietStream::new(ours).unwrap();
        let sent: Vec<u8> = (0..4_000_000_u32).map(|number| (number % 251) as u8).collect();
        let mut received = vec![0; sent.len()];
        let (written, read) = tokio::join!(stream.write_all(&sent), theirs.read_exact(&mut received));
        written.unwrap();
        read.unwrap();
        assert!(sent == received);
        assert!(stream.writer.room.is_none());

        theirs.write_all(b"back").await.unwrap();
        let mut back = [0; 4];
        stream.read_exact(&mut back).await.unwrap();
        theirs.write_all(b"more").await.unwrap();
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"more");
        drop(theirs);
        assert_eq!(stream.read(&mut back).await.unwrap(), 0);
        assert_eq!(stream.write_all(b"late").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn what_is_expected_is_read_awake_and_what_comes_later_is_not_missed() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut stream = QuietStream::new(ours).unwrap();
        let expect = stream.expect();
        let mut back = [0; 4];
        for _ in 0..100 {
            theirs.write_all(b"soon").await.unwrap();
            expect.soon();
            stream.read_exact(&mut back).await.unwrap();
            assert_eq!(&back, b"soon");
            // Nothing comes in time.
            expect.soon();
            let late = async {
                tokio::task::yield_now().await;
                theirs.write_all(b"late").await
            };
            let (read, written) = tokio::join!(stream.read_exact(&mut back), late);
            read.unwrap();
            written.unwrap();
            assert_eq!(&back, b"late");
        }
        drop(theirs);
        expect.soon();
        assert_eq!(stream.read(&mut back).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_full_pipe_says_so_and_tells_when_it_is_not() {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).unwrap();
        let mut writer = Writer::new(writer);
        while let Ok(count) = writer.write(&[7; 4096]) {
            assert!(count > 0);
        }
        let waits = std::future::poll_fn(|context| Poll::Ready(writer.poll_room(context).is_pending())).await;
        assert!(waits);
        rustix::io::read(&reader, &mut [0_u8; 65536][..]).unwrap();
        std::future::poll_fn(|context| writer.poll_room(context)).await;
        assert_eq!(writer.write(b"x").unwrap(), 1);
        assert!(writer.room.is_none());
    }
}
