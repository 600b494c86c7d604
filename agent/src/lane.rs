//! What must be done in order, one after the other, and what the files do at once, beside the engine's own work.
//!
//! A program sees every write that was answered before it was started: so a start waits here for the file frames before
//! it. Files work on a runtime of their own; nothing they do delays a key.

use std::{
    collections::VecDeque,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use playhouse_protocol::agent::{NodeFrame, Start};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{
    files::{Files, Outbox},
    link::LinkError,
};

/// How many bytes of frames may wait in either lane; a node that sends more is dropped.
const LANE_BYTES: usize = 64 * 1024 * 1024;

/// How many frames may wait to be done at once.
const NOW_FRAMES: usize = 8192;

#[derive(Debug)]
enum Work {
    Up(Outbox, mpsc::Receiver<(NodeFrame, usize)>),
    Start(Start),
    File(NodeFrame),
}

/// What a stream has: the way to its `now` lane, and the sign that it is gone.
#[derive(Debug)]
struct Stream {
    now: mpsc::Sender<(NodeFrame, usize)>,
    waiting: Arc<AtomicUsize>,
    is_gone: Arc<AtomicBool>,
    task: Option<JoinHandle<()>>,
}

/// The lanes of the present stream.
#[derive(Debug)]
pub struct Lane {
    files: Files,
    runtime: Handle,
    queue: VecDeque<(Work, usize)>,
    bytes: usize,
    /// The ordered frame that is being done.
    current: Option<JoinHandle<()>>,
    /// The end of the stream before.
    closing: Option<JoinHandle<()>>,
    stream: Option<Stream>,
}

impl Lane {
    /// Lanes to these files, which work on `runtime`.
    #[must_use]
    pub fn new(files: Files, runtime: Handle) -> Self {
        Self { files, runtime, queue: VecDeque::new(), bytes: 0, current: None, closing: None, stream: None }
    }

    /// A stream begins; the files' frames go to `outbox`.
    pub fn open(&mut self, outbox: Outbox) {
        let (now, frames) = mpsc::channel(NOW_FRAMES);
        self.stream = Some(Stream { now, waiting: Arc::default(), is_gone: Arc::default(), task: None });
        self.queue.push_back((Work::Up(outbox, frames), 0));
    }

    /// The stream is gone: what waits is dropped, and the node sends it again. A frame that is being done is done.
    pub fn close(&mut self) {
        self.queue.clear();
        self.bytes = 0;
        let Some(stream) = self.stream.take() else { return };
        stream.is_gone.store(true, Ordering::Release);
        drop(stream.now);
        let Some(task) = stream.task else { return };
        let (files, before) = (self.files.clone(), self.closing.take());
        self.closing = Some(self.runtime.spawn(async move {
            if let Some(before) = before {
                let _ = before.await;
            }
            // A task that panicked has ended as well.
            let _ = tokio::join!(files.link_down(), task);
        }));
    }

    /// Queues an ordered frame of `size` bytes.
    ///
    /// # Errors
    /// Too much waits.
    pub fn push(&mut self, frame: NodeFrame, size: usize) -> Result<(), LinkError> {
        let work = match frame {
            NodeFrame::Start(start) => Work::Start(start),
            other => Work::File(other),
        };
        if self.bytes + size > LANE_BYTES {
            return Err(LinkError::Overrun("more ordered frames wait than may"));
        }
        self.bytes += size;
        self.queue.push_back((work, size));
        Ok(())
    }

    /// Passes a frame on to be done at once.
    ///
    /// # Errors
    /// Too much waits.
    pub fn now(&mut self, frame: NodeFrame, size: usize) -> Result<(), LinkError> {
        let Some(stream) = &self.stream else { return Ok(()) };
        let waiting = stream.waiting.fetch_add(size, Ordering::AcqRel) + size;
        if waiting > LANE_BYTES || stream.now.try_send((frame, size)).is_err() {
            return Err(LinkError::Overrun("more frames wait for the files than may"));
        }
        Ok(())
    }

    /// Does ordered frames until it is a start's turn. Nothing is lost when this is dropped.
    pub async fn turn(&mut self) -> Start {
        loop {
            for task in [&mut self.closing, &mut self.current] {
                if let Some(running) = task {
                    // One that panicked took its frame with it; those after it go on.
                    let _ = running.await;
                    *task = None;
                }
            }
            let Some((work, size)) = self.queue.pop_front() else { return pending().await };
            self.bytes -= size;
            let files = self.files.clone();
            match work {
                Work::Start(start) => return start,
                Work::File(frame) => {
                    self.current = Some(self.runtime.spawn(async move { files.ordered(frame).await }));
                }
                Work::Up(outbox, frames) => self.up(outbox, frames),
            }
        }
    }

    fn up(&mut self, outbox: Outbox, mut frames: mpsc::Receiver<(NodeFrame, usize)>) {
        let Some(stream) = &mut self.stream else { return };
        let (files, waiting, is_gone) = (self.files.clone(), Arc::clone(&stream.waiting), Arc::clone(&stream.is_gone));
        let (opened, opening) = oneshot::channel();
        stream.task = Some(self.runtime.spawn(async move {
            files.link_up(outbox).await;
            // Nobody waits any more if the stream is gone.
            let _ = opened.send(());
            while let Some((frame, size)) = frames.recv().await {
                if is_gone.load(Ordering::Acquire) {
                    break;
                }
                waiting.fetch_sub(size, Ordering::AcqRel);
                files.now(frame).await;
            }
        }));
        self.current = Some(self.runtime.spawn(async move {
            // Dropped unsent if it panicked.
            let _ = opening.await;
        }));
    }
}
