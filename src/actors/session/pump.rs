//! The session's work at its socket: it reads, writes and looks at the clock, and never waits.

use std::{
    collections::BTreeSet,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use playhouse_protocol::{EventId, client::ServerMessage};
use tokio::time::{Instant, Sleep};
use uuid::Uuid;

use super::{
    actor::{Ending, Shell},
    close,
    incoming::{self, Incoming},
    outbox::Item,
    socket::{Broken, Frame},
    subs::Resumed,
};
use crate::{
    actors::{
        Code,
        process::{ProcessCommand, ProcessMessage},
    },
    check,
    invariant::Inv,
};

/// The client is pinged so often.
const PING: Duration = Duration::from_secs(20);
/// A client from which nothing came for so long is closed.
const SILENCE: Duration = Duration::from_secs(60);
/// A socket that took nothing for so long has what waits for it dropped.
const STALL: Duration = Duration::from_secs(1);
/// It looks at its processes' actors so often.
const LOOK: Duration = Duration::from_secs(2);
/// A client has so long to answer a close.
const CLOSING: Duration = Duration::from_secs(2);
/// Once its sandbox is over, a client has so long to say where to go on.
const RESUME_WITHIN: Duration = Duration::from_secs(10);
/// So much is handed to the socket before it is flushed, in bytes.
const BATCH_BYTES: usize = 64 * 1024;
/// So many messages are read before others have their turn.
const READS: usize = 64;

/// The session's times.
#[derive(Debug)]
pub(super) struct Clock {
    alarm: Pin<Box<Sleep>>,
    heard: Instant,
    pinged: Instant,
    looked: Instant,
    /// Something handed to the socket is not flushed, since then.
    unflushed: Option<Instant>,
    /// The processes whose output that is.
    touched: BTreeSet<Uuid>,
    /// What waited since then was dropped.
    dropped: bool,
    /// The client is not read from, since too much waits for it.
    paused: bool,
}

impl Clock {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            alarm: Box::pin(tokio::time::sleep(LOOK)),
            heard: now,
            pinged: now,
            looked: now,
            unflushed: None,
            touched: BTreeSet::new(),
            dropped: false,
            paused: false,
        }
    }
}

impl Shell {
    /// Does what can be done now; whatever becomes possible later knocks.
    pub(super) fn pump(&mut self) {
        let waker = self.waker.clone();
        let mut context = Context::from_waker(&waker);
        let worked = self.read(&mut context).and_then(|()| {
            self.look_at_clock();
            self.subscribe();
            self.write(&mut context)
        });
        if worked.is_err() {
            self.ending = Ending::Over;
        }
        if std::mem::take(&mut self.clock.paused) && !self.outbox.is_busy() {
            // What the client said meanwhile is read at the next knock.
            context.waker().wake_by_ref();
        }
        self.set_alarm(&mut context);
    }

    /// Begins to close: nothing but the close frame goes out any more.
    pub(super) fn close(&mut self, code: u16, why: &str) {
        if self.ending == Ending::No {
            self.stall();
            self.outbox.clear();
            self.outbox.push(Item::Frame(Frame::Close(code, why.to_owned())));
            self.ending = Ending::Closing(Instant::now() + CLOSING);
        }
    }

    fn read(&mut self, context: &mut Context<'_>) -> Result<(), Broken> {
        for _ in 0..READS {
            // Before `hello`, and while the client does not take its answers, what it says waits in the socket.
            let closing = matches!(self.ending, Ending::Closing(_));
            if !closing && !self.is_open() {
                return Ok(());
            }
            if !closing && self.outbox.is_busy() {
                self.clock.paused = true;
                return Ok(());
            }
            match self.wire.poll_read(context) {
                Poll::Pending => return Ok(()),
                Poll::Ready(None) => return Err(Broken),
                Poll::Ready(Some(frame)) => {
                    let frame = frame?;
                    self.clock.heard = Instant::now();
                    self.heard(incoming::read(frame, self.params.binary));
                }
            }
        }
        context.waker().wake_by_ref();
        Ok(())
    }

    fn heard(&mut self, incoming: Incoming) {
        if let Ending::Closing(_) = self.ending {
            return;
        }
        match incoming {
            Incoming::Nothing => {}
            Incoming::Close => {
                // The library answers it; what is left is to let the answer out.
                self.stall();
                self.outbox.clear();
                self.ending = Ending::Closing(Instant::now() + CLOSING);
            }
            Incoming::Unreadable(code, why) => self.close(code, why),
            Incoming::Invalid(why) => self.refuse(Code::MessageInvalid, why, None),
            Incoming::ResumeMalformed => self.resume_invalid(None),
            Incoming::ResumeOne(process_id, after) => {
                let resumed = self.subs.resume_one(process_id, after);
                self.resumed(Some(process_id), resumed);
                if resumed == Resumed::Taken {
                    self.release();
                }
            }
            Incoming::ResumeAll { named, malformed } => {
                let resumed = self.subs.resume_all(named);
                // It settles every process, whatever it says of one.
                self.release();
                if malformed && !matches!(resumed[..], [(None, _)]) {
                    self.resume_invalid(None);
                }
                for (process_id, resumed) in resumed {
                    self.resumed(process_id, resumed);
                }
            }
            Incoming::Ack(process_id, id) => {
                if !self.subs.knows(process_id) {
                    return self.unknown(process_id);
                }
                if self.params.flow_ack
                    && let Some(sub) = self.subs.get(process_id)
                {
                    sub.window.acknowledge(id.sequence);
                    self.credit(process_id);
                }
            }
            Incoming::Input { process_id, seq, bytes } => {
                if self.may_act(process_id) {
                    let (session, writer) = (self.me(), self.params.writer.clone());
                    self.asked.push((process_id, ProcessMessage::SessionInput { session, writer, seq, bytes }));
                }
            }
            Incoming::Resize(process_id, size) => {
                if self.may_act(process_id) {
                    self.command(process_id, ProcessCommand::Resize(size));
                }
            }
            Incoming::Cancel(process_id) => {
                if self.may_act(process_id) {
                    self.command(process_id, ProcessCommand::Cancel);
                }
            }
        }
    }

    fn unknown(&mut self, process_id: Uuid) {
        self.refuse(Code::ProcessNotFound, "no such process on this stream", Some(process_id));
    }

    fn may_act(&mut self, process_id: Uuid) -> bool {
        if !self.subs.knows(process_id) {
            self.unknown(process_id);
            return false;
        }
        if !self.may_type() {
            self.refuse(Code::NotPermitted, "this needs the role edit", Some(process_id));
            return false;
        }
        true
    }

    fn resumed(&mut self, process_id: Option<Uuid>, resumed: Resumed) {
        match resumed {
            Resumed::Taken => {}
            Resumed::Invalid => self.resume_invalid(process_id),
            Resumed::Unexpected => {
                self.refuse(
                    Code::ResumeUnexpected,
                    "a resume is for sockets opened with from=resume, once",
                    process_id,
                );
            }
        }
    }

    fn look_at_clock(&mut self) {
        let now = Instant::now();
        match self.ending {
            Ending::No => {}
            Ending::Closing(until) if now >= until => {
                self.ending = Ending::Over;
                return;
            }
            Ending::Closing(_) | Ending::Over => return,
        }
        if now >= self.clock.heard + SILENCE {
            return self.close(close::SILENT, "nothing was heard for 60 s");
        }
        if self.outbox.is_hopeless() {
            return self.close(close::SILENT, "too much waits for this socket");
        }
        if now >= self.clock.pinged + PING {
            self.clock.pinged = now;
            self.outbox.push(Item::Frame(Frame::Ping(bytes::Bytes::new())));
        }
        if now >= self.clock.looked + LOOK {
            self.clock.looked = now;
            self.look_after_owners();
        }
        let stuck = self.clock.unflushed.is_some_and(|since| now >= since + STALL || self.outbox.is_over());
        if stuck && !self.clock.dropped {
            self.clock.dropped = true;
            self.stall();
        }
        if let Some(since) = self.sandbox_ended
            && self.is_open()
            && self.outbox.is_empty()
            && self.clock.unflushed.is_none()
            && (self.subs.all_done() || (self.subs.only_silent() && now >= since + RESUME_WITHIN))
        {
            self.close(close::SANDBOX_ENDED, "the sandbox is over");
        }
    }

    fn write(&mut self, context: &mut Context<'_>) -> Result<(), Broken> {
        loop {
            let mut batch = 0;
            while batch < BATCH_BYTES && !self.outbox.is_empty() {
                if self.wire.poll_ready(context)?.is_pending() {
                    self.clock.unflushed.get_or_insert_with(Instant::now);
                    return Ok(());
                }
                let Some(item) = self.outbox.pop() else { break };
                let frame = item.encode(self.params.binary);
                batch += match &frame {
                    Frame::Text(text) => text.len(),
                    Frame::Binary(bytes) | Frame::Ping(bytes) | Frame::Pong(bytes) => bytes.len(),
                    Frame::Close(..) | Frame::Unreadable(..) => 0,
                };
                self.wire.write(frame)?;
                self.clock.unflushed.get_or_insert_with(Instant::now);
                self.handed(&item);
            }
            if self.clock.unflushed.is_none() && !matches!(self.ending, Ending::Closing(_)) {
                return Ok(());
            }
            if self.wire.poll_flush(context)?.is_pending() {
                return Ok(());
            }
            self.flushed();
            if self.outbox.is_empty() {
                // What could only be done once everything is out: its end, or beginning again.
                self.look_at_clock();
                self.subscribe();
                if self.outbox.is_empty() {
                    return Ok(());
                }
            }
        }
    }

    /// Something was handed to the socket.
    fn handed(&mut self, item: &Item) {
        match item {
            Item::Event { process_id, generation, chunk } => {
                let id = EventId::new(*generation, chunk.sequence);
                if let Some(cursor) = self.subs.cursor(*process_id) {
                    let next = id.generation > cursor.generation || id.sequence == cursor.sequence + 1;
                    check!(Inv::StreamGapFree, next, "{id} follows {cursor} of {process_id}");
                }
                self.subs.handed(*process_id, id, Some(chunk));
                self.clock.touched.insert(*process_id);
            }
            Item::OfProcess { process_id, ended: true, .. } => self.subs.done(*process_id),
            Item::OfProcess { process_id, message: ServerMessage::Truncated { to_id, .. }, .. } => {
                self.subs.handed(*process_id, *to_id, None);
            }
            Item::OfProcess { .. } | Item::Message(_) | Item::Frame(_) => {}
        }
    }

    /// The socket took everything it was handed.
    fn flushed(&mut self) {
        (self.clock.unflushed, self.clock.dropped) = (None, false);
        self.subs.unstall();
        for process_id in std::mem::take(&mut self.clock.touched) {
            self.subs.flushed(process_id);
            self.credit(process_id);
        }
    }

    /// Sets the alarm to the next time that matters.
    fn set_alarm(&mut self, context: &mut Context<'_>) {
        let mut next = match self.ending {
            Ending::Closing(until) => until,
            Ending::No => (self.clock.looked + LOOK).min(self.clock.pinged + PING).min(self.clock.heard + SILENCE),
            Ending::Over => return,
        };
        if let Some(since) = self.clock.unflushed.filter(|_| !self.clock.dropped) {
            next = next.min(since + STALL);
        }
        if self.clock.alarm.deadline() != next {
            self.clock.alarm.as_mut().reset(next);
        }
        if self.clock.alarm.as_mut().poll(context).is_ready() {
            context.waker().wake_by_ref();
        }
    }
}
