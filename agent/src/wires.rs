//! The descriptors between the agent and one program, and when each is worth trying.

use std::{io, os::fd::OwnedFd, sync::Arc};

use playhouse_protocol::{
    agent::PtySize,
    stream::{CHUNK_BYTES, Stream},
};
use playhouse_quiet::{Writer, watched};
use rustix::io::{Errno, ioctl_fionread};
use tokio::io::{Interest, unix::AsyncFd};
use uuid::Uuid;

use crate::{
    bells::{Bell, Bells},
    spawn::{self, Ends},
};

/// A read shorter than this is passed on at once; after a longer one more is looked for first. Far above what a key
/// makes a program print, far below what a flood fills: a terminal gives at most 4095 bytes at a time.
pub const SHORT_READ: usize = 2048;

/// What became ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// Whose.
    pub process_id: Uuid,
    /// Which descriptor.
    pub side: Side,
}

/// One direction of one descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// It can be read.
    Output(Stream),
    /// It can be written.
    Input,
}

/// What a read found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// So many bytes.
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// Nothing ever again.
    End,
}

/// One direction of one descriptor.
#[derive(Debug)]
struct Wire {
    fd: Arc<AsyncFd<OwnedFd>>,
    bell: Bell<Ready>,
}

/// What a program reads from.
#[derive(Debug)]
struct Input {
    writer: Writer,
    bell: Bell<Ready>,
}

/// All of one program's descriptors.
#[derive(Debug)]
pub struct Wires {
    outputs: [Option<Wire>; 2],
    input: Option<Input>,
    terminal: Option<Arc<AsyncFd<OwnedFd>>>,
}

const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

const fn index(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}

impl Wires {
    /// Watches our ends of a program's streams.
    ///
    /// # Errors
    /// A descriptor can't be watched.
    pub fn new(process_id: Uuid, ends: Ends, bells: &Bells<Ready>) -> io::Result<Self> {
        let wire = |fd: &Arc<AsyncFd<OwnedFd>>, side| Wire {
            fd: Arc::clone(fd),
            bell: bells.bell(Ready { process_id, side }),
        };
        let input = |fd| Input { writer: Writer::new(fd), bell: bells.bell(Ready { process_id, side: Side::Input }) };
        let [stdout, stderr] = STREAMS.map(Side::Output);
        match ends {
            Ends::Terminal(fd) => {
                let input = input(fd.try_clone()?);
                let fd = Arc::new(watched(fd, Interest::READABLE)?);
                Ok(Self { outputs: [Some(wire(&fd, stdout)), None], input: Some(input), terminal: Some(fd) })
            }
            Ends::Pipes { input: end, output, errors } => {
                let output = Arc::new(watched(output, Interest::READABLE)?);
                let errors = Arc::new(watched(errors, Interest::READABLE)?);
                Ok(Self {
                    outputs: [Some(wire(&output, stdout)), Some(wire(&errors, stderr))],
                    input: Some(input(end)),
                    terminal: None,
                })
            }
        }
    }

    /// The streams that have not ended.
    pub fn open_streams(&self) -> impl Iterator<Item = Stream> + use<> {
        let open = [self.outputs[0].is_some(), self.outputs[1].is_some()];
        STREAMS.into_iter().filter(move |stream| open[index(*stream)])
    }

    /// Reads what `stream` holds into `buffer`, at most [`CHUNK_BYTES`].
    pub fn read(&mut self, stream: Stream, buffer: &mut [u8; CHUNK_BYTES]) -> Found {
        let slot = &mut self.outputs[index(stream)];
        let Some(wire) = slot else { return Found::End };
        let mut filled = 0;
        let mut ended = false;
        while filled < buffer.len() {
            let read = wire.fd.try_io(Interest::READABLE, |fd| Ok(rustix::io::read(fd, &mut buffer[filled..])?));
            match read {
                Ok(0) => ended = true,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // A terminal that no program holds any more says EIO.
                Err(_) => ended = true,
            }
            if ended || filled < SHORT_READ {
                break;
            }
        }
        match filled {
            0 if ended => {
                *slot = None;
                Found::End
            }
            0 => Found::Nothing,
            // An end is found again by the next read.
            _ => Found::Bytes(filled),
        }
    }

    /// Gives up on `stream`.
    pub fn close_output(&mut self, stream: Stream) {
        self.outputs[index(stream)] = None;
    }

    /// Asks to be told when `stream` can be read.
    pub fn watch(&self, stream: Stream) {
        if let Some(wire) = &self.outputs[index(stream)] {
            wire.bell.arm(|context| wire.fd.poll_read_ready(context).map(drop));
        }
    }

    /// Writes some of `bytes`: how many were taken, 0 when none are taken now.
    ///
    /// # Errors
    /// The program reads no more.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let input = self.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        match input.writer.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            done => done,
        }
    }

    /// Asks to be told when input can be written.
    pub fn watch_input(&self) {
        if let Some(input) = &self.input {
            input.bell.arm(|context| input.writer.poll_room(context));
        }
    }

    /// Ends the program's input. A terminal has no such end: its output comes by the same descriptor.
    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// How much was written to the program's pipe and not read by it.
    #[must_use]
    pub fn unread_input(&self) -> usize {
        match &self.input {
            Some(input) if self.terminal.is_none() => {
                let unread: Result<u64, Errno> = ioctl_fionread(input.writer.get_ref());
                unread.ok().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0)
            }
            _ => 0,
        }
    }

    /// Tells the terminal its size, if there is one.
    pub fn resize(&self, size: PtySize) {
        if let Some(terminal) = &self.terminal {
            // A terminal whose program is gone needs no size.
            let _ = spawn::resize(terminal.get_ref(), size);
        }
    }
}
