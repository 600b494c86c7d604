//! The one task through which every key and every byte of output goes.
//!
//! From a readable terminal to the bytes in the node's socket there is no other task and no timer: the descriptor's bell
//! wakes this task, which reads, numbers and sends. What has no hurry (the files, the way out) works on another runtime.

use std::{
    collections::VecDeque,
    future::{pending, poll_fn},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use playhouse_protocol::agent::{AgentFrame, NodeFrame, ProcessState};
use playhouse_quiet::QuietStream;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{
    dial::{DialError, Dialler},
    files::Files,
    init,
    lane::Lane,
    link::{Link, LinkError},
    log,
    processes::Processes,
    wires::Ready,
};

/// An input that was taken is told after so long without output. Longer than an echo takes, shorter than anyone notices.
const TAKEN_WITHIN: Duration = Duration::from_millis(2);
/// How many answers may wait for a node that takes none.
const REPLIES: usize = 16 * 1024;

/// How many frames the files may have waiting: they are paced by this.
const OUTBOX_FRAMES: usize = 16;

/// About how much of the processes' states goes in one frame, in bytes.
const STATE_BYTES: usize = 384 * 1024;

/// After so many events the reactor is asked for new ones, so that a flood does not hide a key.
const EVENTS_A_ROUND: usize = 4;

/// How long programs have to end by themselves before the environment is packed.
const PACK_GRACE: Duration = Duration::from_secs(2);

/// How long after that the pack waits for those that can't be killed.
const PACK_PATIENCE: Duration = Duration::from_secs(4);

type Dialling = Pin<Box<dyn Future<Output = Result<(QuietStream, u64), DialError>> + Send>>;

enum Event {
    Quit,
    Children,
    Ready(Ready),
    Frame(Result<(NodeFrame, usize), LinkError>),
    Idle(Result<(), LinkError>),
    Outbox(AgentFrame),
    Start(playhouse_protocol::agent::Start),
    Dialled(Result<(QuietStream, u64), DialError>),
    Deadline,
}

/// A pack that waits for programs to end.
#[derive(Debug)]
struct Packing {
    frame: NodeFrame,
    size: usize,
    until: Instant,
}

/// Everything the agent is.
pub struct Engine {
    processes: Processes,
    files: Files,
    lane: Lane,
    dialler: Dialler,
    dialling: Option<Dialling>,
    link: Option<Link>,
    replies: VecDeque<AgentFrame>,
    /// Inputs that were taken, told behind the next output: an echo is then one wake-up of the node, not two.
    taken: VecDeque<AgentFrame>,
    /// When they are told at the latest.
    taken_due: Option<Instant>,
    outbox: Option<mpsc::Receiver<AgentFrame>>,
    /// A frame of the files that waits for its turn, which comes after everything else.
    last: Option<AgentFrame>,
    packing: Option<Packing>,
    why_none: String,
}

impl Engine {
    /// An engine that has yet to dial.
    #[must_use]
    pub fn new(processes: Processes, files: Files, lane: Lane, dialler: Dialler) -> Self {
        Self {
            processes,
            files,
            lane,
            dialler,
            dialling: None,
            link: None,
            replies: VecDeque::new(),
            taken: VecDeque::new(),
            taken_due: None,
            outbox: None,
            last: None,
            packing: None,
            why_none: String::new(),
        }
    }

    /// Runs until the sandbox ends.
    ///
    /// # Errors
    /// Signals can't be listened to.
    pub async fn run(mut self) -> std::io::Result<()> {
        // The kernel keeps signals without a handler from pid 1: a sandbox's programs can't end it, and its host kills it.
        let mut quit = if std::process::id() == 1 { None } else { Some(signal(SignalKind::terminate())?) };
        let mut children = signal(SignalKind::child())?;
        self.redial();
        let mut events = 0;
        loop {
            if let Err(error) = self.pump().await {
                self.lost(&error);
            }
            events += 1;
            if events % EVENTS_A_ROUND == 0 {
                tokio::task::yield_now().await;
            }
            let result = match self.event(&mut quit, &mut children).await {
                Event::Quit => {
                    self.quit();
                    return Ok(());
                }
                Event::Children => {
                    self.processes.reap();
                    self.pack_if_quiet()
                }
                Event::Ready(ready) => {
                    self.processes.ready(ready);
                    self.pack_if_quiet()
                }
                Event::Frame(Ok((frame, size))) => self.take(frame, size),
                Event::Frame(Err(error)) => Err(error),
                Event::Idle(result) => result,
                Event::Outbox(frame) => {
                    self.last = Some(frame);
                    Ok(())
                }
                Event::Start(start) => {
                    let reply = self.processes.start(start);
                    self.replies.push_back(reply);
                    Ok(())
                }
                Event::Dialled(Ok((stream, epoch))) => {
                    self.opened(stream, epoch).await;
                    Ok(())
                }
                Event::Dialled(Err(_)) if self.dialler.is_abandoned() => {
                    log::line(format_args!("the sandbox's directory is gone"));
                    self.quit();
                    return Ok(());
                }
                Event::Dialled(Err(error)) => {
                    self.not_opened(&error);
                    Ok(())
                }
                Event::Deadline => self.tick(),
            };
            if let Err(error) = result {
                self.lost(&error);
            }
        }
    }

    fn quit(&mut self) {
        self.processes.kill_all();
        init::kill_all();
    }

    async fn event(&mut self, quit: &mut Option<Signal>, children: &mut Signal) -> Event {
        let deadline = self.deadline();
        let (processes, link, lane) = (&self.processes, &mut self.link, &mut self.lane);
        let (outbox, dialling) = (&mut self.outbox, &mut self.dialling);
        let has_last = self.last.is_some();
        tokio::select! {
            () = asked_to_quit(quit) => Event::Quit,
            _ = children.recv() => Event::Children,
            ready = poll_fn(|context| processes.poll(context)) => Event::Ready(ready),
            event = on_link(link) => event,
            start = lane.turn() => Event::Start(start),
            Some(frame) = next_of(outbox), if !has_last => Event::Outbox(frame),
            dialled = or_pending(dialling) => Event::Dialled(dialled),
            () = sleep_until(deadline) => Event::Deadline,
        }
    }

    /// Sends what can be sent now: answers first, then output in turn, then what the files have.
    async fn pump(&mut self) -> Result<(), LinkError> {
        let Some(link) = &mut self.link else { return Ok(()) };
        loop {
            match poll_fn(|context| Poll::Ready(link.poll_room(context))).await {
                Poll::Ready(result) => result?,
                Poll::Pending => return Ok(()),
            }
            let output = if self.replies.is_empty() { self.processes.next_frame() } else { None };
            if output.is_some() || self.taken_due.is_some_and(|due| due <= Instant::now()) {
                self.taken_due = None;
                self.replies.append(&mut self.taken);
            }
            // What a program took before it ended is told before its end.
            let next = match output {
                Some(end @ AgentFrame::Exited { .. }) => {
                    self.replies.push_back(end);
                    self.replies.pop_front()
                }
                Some(output) => Some(output),
                None => self.replies.pop_front().or_else(|| self.last.take()),
            };
            match next {
                Some(frame) => link.send(&frame)?,
                None => break,
            }
        }
        // What the socket does not take now, it is asked about again while the engine waits.
        match poll_fn(|context| Poll::Ready(link.poll_flush(context))).await {
            Poll::Ready(result) => result,
            Poll::Pending => Ok(()),
        }
    }

    /// Carries out a frame of the node's, or queues it.
    fn take(&mut self, frame: NodeFrame, size: usize) -> Result<(), LinkError> {
        match frame {
            NodeFrame::Beat => {}
            NodeFrame::Start(start) => {
                self.processes.expect(&start);
                self.lane.push(NodeFrame::Start(start), size)?;
            }
            frame @ (NodeFrame::Settings(_)
            | NodeFrame::Environment { .. }
            | NodeFrame::Manifest { .. }
            | NodeFrame::Harvest { .. }
            | NodeFrame::Content { .. }
            | NodeFrame::Push { .. }) => self.lane.push(frame, size)?,
            frame @ (NodeFrame::Wanted { .. } | NodeFrame::Reported { .. } | NodeFrame::Flush { .. }) => {
                self.lane.now(frame, size)?;
            }
            frame @ NodeFrame::Pack { .. } => {
                self.processes.stop_all(PACK_GRACE);
                self.packing = Some(Packing { frame, size, until: Instant::now() + PACK_PATIENCE });
                self.pack_if_quiet()?;
            }
            NodeFrame::Copy { tag } => self.lane.now(NodeFrame::Pack { tag }, size)?,
            NodeFrame::Input { process_id, writer, seq, bytes, eof, tag } => {
                let outcome = self.processes.input(process_id, &writer, seq, &bytes, eof);
                self.taken.push_back(AgentFrame::InputTaken { process_id, writer, seq, tag, outcome });
                self.taken_due.get_or_insert_with(|| Instant::now() + TAKEN_WITHIN);
            }
            NodeFrame::Resize { process_id, size } => self.processes.resize(process_id, size),
            NodeFrame::Signal { process_id, signal } => self.processes.signal(process_id, signal),
            NodeFrame::Cancel { process_id } => self.processes.cancel(process_id),
            NodeFrame::Stored { process_id, sequence } => self.processes.stored(process_id, sequence),
            NodeFrame::Resume { process_id, sequence, credit } => self.processes.resume(process_id, sequence, credit),
            NodeFrame::Credit { process_id, bytes } => self.processes.credit(process_id, bytes),
            NodeFrame::Forget { process_id } => self.processes.forget(process_id),
        }
        if self.replies.len() + self.taken.len() > REPLIES {
            return Err(LinkError::Overrun("the node takes no answers"));
        }
        Ok(())
    }

    /// Passes a pack on once nothing runs any more that could change what is packed.
    fn pack_if_quiet(&mut self) -> Result<(), LinkError> {
        let is_due =
            self.packing.as_ref().is_some_and(|packing| self.processes.live() == 0 || Instant::now() >= packing.until);
        if is_due && let Some(Packing { frame, size, .. }) = self.packing.take() {
            // What programs left running in the background.
            init::kill_all();
            self.lane.now(frame, size)?;
        }
        Ok(())
    }

    fn tick(&mut self) -> Result<(), LinkError> {
        let now = Instant::now();
        self.processes.tick(now);
        self.pack_if_quiet()?;
        if let Some(link) = &mut self.link
            && link.tick(now)?
        {
            self.replies.push_back(AgentFrame::Beat);
        }
        Ok(())
    }

    fn deadline(&self) -> Instant {
        let link = self.link.as_ref().map(Link::deadline);
        let packing = self.packing.as_ref().map(|packing| packing.until);
        let taken = self.taken_due.filter(|_| self.link.is_some());
        let soonest = [link, packing, taken, self.processes.deadline()].into_iter().flatten().min();
        // With nothing due: any time will do.
        soonest.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600))
    }

    async fn opened(&mut self, stream: QuietStream, epoch: u64) {
        self.dialling = None;
        self.dialler.connected(epoch);
        self.why_none.clear();
        log::line(format_args!("a stream to the owner of epoch {epoch}"));
        self.link = Some(Link::new(stream).await);
        let (outbox, frames) = mpsc::channel(OUTBOX_FRAMES);
        self.outbox = Some(frames);
        self.lane.open(outbox);
        let (tree_version, ready) = (self.files.tree_version(), self.files.ready());
        let mut parts = parts(self.processes.states()).into_iter().peekable();
        while let Some(processes) = parts.next() {
            let last = parts.peek().is_none();
            self.replies.push_back(AgentFrame::State { processes, tree_version, ready, last });
        }
    }

    fn not_opened(&mut self, error: &DialError) {
        // The same cause again and again is one line.
        let why = error.to_string();
        if why != self.why_none {
            log::line(format_args!("no stream: {why}"));
            self.why_none = why;
        }
        self.redial();
    }

    /// The stream is gone. Programs run on; what they put out waits for the next one.
    fn lost(&mut self, error: &LinkError) {
        log::line(format_args!("the stream is lost: {error}"));
        self.link = None;
        self.outbox = None;
        self.last = None;
        self.packing = None;
        self.replies.clear();
        self.taken.clear();
        self.taken_due = None;
        self.processes.detach();
        self.lane.close();
        self.redial();
    }

    fn redial(&mut self) {
        self.dialling = Some(Box::pin(self.dialler.dial()));
    }
}

/// States in parts that each fit a frame; at least one part.
fn parts(states: Vec<ProcessState>) -> Vec<Vec<ProcessState>> {
    let mut parts = vec![Vec::new()];
    let mut size = 0;
    for state in states {
        let own: usize = 64 + state.writers.iter().map(|(writer, _)| writer.len() + 16).sum::<usize>();
        if size + own > STATE_BYTES && size > 0 {
            parts.push(Vec::new());
            size = 0;
        }
        size += own;
        if let Some(part) = parts.last_mut() {
            part.push(state);
        }
    }
    parts
}

/// What happens on the link: a frame comes, or those before are handed over.
async fn on_link(link: &mut Option<Link>) -> Event {
    let Some(link) = link else { return pending().await };
    // A link that is not idle here had a frame stopped by a full socket.
    let is_idle = poll_fn(|context| Poll::Ready(link.poll_flush(context).is_ready())).await;
    if is_idle {
        return Event::Frame(link.receive().await);
    }
    poll_fn(|context| {
        if let Poll::Ready(result) = link.poll_flush(context) {
            return Poll::Ready(Event::Idle(result));
        }
        let mut receiving = std::pin::pin!(link.receive());
        receiving.as_mut().poll(context).map(Event::Frame)
    })
    .await
}

async fn next_of(outbox: &mut Option<mpsc::Receiver<AgentFrame>>) -> Option<AgentFrame> {
    match outbox {
        Some(frames) => match frames.recv().await {
            Some(frame) => Some(frame),
            // The files are gone with their sender; there is nothing to wait for.
            None => pending().await,
        },
        None => pending().await,
    }
}

/// Waits until the agent is asked to end, which nobody asks of pid 1.
async fn asked_to_quit(quit: &mut Option<Signal>) {
    match quit {
        Some(quit) => {
            quit.recv().await;
        }
        None => std::future::pending().await,
    }
}

async fn or_pending(dialling: &mut Option<Dialling>) -> Result<(QuietStream, u64), DialError> {
    match dialling {
        Some(dialling) => dialling.await,
        None => pending().await,
    }
}
