//! Output from the agent: to the viewers at once, and to the log as fast as the log takes it.

use std::{
    future::Future,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use playhouse_protocol::{Chunk, EventId, agent::NodeFrame};

use super::{
    Done,
    pace::{Now, Pace, WINDOW},
    shell::{Reload, Shell},
    tail::NotTaken,
};
use crate::store::replay::AppendError;

/// No process gets so far: a greater number is an agent's invention.
pub(super) const MAX_SEQUENCE: u64 = 1 << 53;
/// A gap that the agent does not fill within this time is a loss, in milliseconds.
const GAP_MS: u64 = 5000;
/// The agent hears of so many stored events at once, or of so many bytes: a small part of its ring of 1 MiB.
const STORED_EVENTS: u64 = 1024;
const STORED_BYTES: u64 = 64 * 1024;
/// The first wait after a failed append, and the longest.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

impl Shell {
    /// Numbered output has come.
    pub(super) fn output(&mut self, chunks: Vec<Arc<Chunk>>) {
        if self.lose_to.is_some() || self.life.as_ref().is_none_or(|life| life.is_over()) {
            // The agent is asked for what follows a loss when that is recorded, and for nothing after the end.
            return;
        }
        self.started();
        if chunks.iter().any(|chunk| chunk.sequence > MAX_SEQUENCE) {
            tracing::warn!(process = %self.id, "an agent's output has numbers that can't be");
            return;
        }
        let found = chunks.last().map_or(0, |chunk| chunk.sequence);
        let first_new =
            chunks.iter().map(|chunk| chunk.sequence).find(|number| *number > self.tail.received().sequence);
        let (taken, not_taken) = self.tail.take(chunks);
        if taken > 0 {
            self.reached = self.reached.max(self.tail.received().sequence);
            self.gap_since = None;
            self.serve_all();
            self.append();
        }
        match not_taken {
            None => {}
            Some(NotTaken::Gap { expected }) => self.gap(expected, first_new.unwrap_or(found)),
            Some(why @ (NotTaken::Malformed | NotTaken::TooMuch)) => {
                tracing::warn!(process = %self.id, ?why, "an agent's output is not taken");
            }
        }
    }

    pub(super) fn gap(&mut self, expected: u64, found: u64) {
        let now = self.now_ms();
        match self.gap_since {
            None => {
                tracing::warn!(process = %self.id, expected, found, "output has a gap; the agent is asked for it");
                self.gap_since = Some(now);
                self.resume();
            }
            // What was under way when it was asked still comes.
            Some(since) if now < since + GAP_MS => {}
            Some(_) => {
                self.gap_since = None;
                self.lose(found - 1);
            }
        }
    }

    /// Asks the agent for what follows the last event here.
    pub(super) fn resume(&mut self) {
        let Some(link) = &self.link else { return };
        self.pace = Some(Pace::begin(self.now_ms(), self.tail.position()));
        let sequence = self.tail.received().sequence + 1;
        link.now(NodeFrame::Resume { process_id: self.id, sequence, credit: WINDOW });
    }

    /// The agent no longer has what the log lacks up to here: that is recorded after everything before it is stored.
    pub(super) fn lose(&mut self, to: u64) {
        tracing::warn!(process = %self.id, from = self.tail.received().sequence + 1, to, "output is lost");
        self.lose_to = Some(to);
        self.append();
    }

    /// Appends what is not stored, one append at a time.
    pub(super) fn append(&mut self) {
        let Some(log) = self.log().filter(|_| !self.appending) else { return };
        let replay = self.node.store.replay.clone();
        let epoch = self.node.epoch;
        let chunks = self.tail.unstored();
        if !chunks.is_empty() {
            self.appending = true;
            let mut append =
                Box::pin(
                    async move { Done::Appended { result: replay.append(log, epoch, chunks).await, lost: false } },
                );
            // A log in files takes a chunk in a few microseconds, at the first poll: less than a task costs, which would
            // also take the worker away from the viewers that were just told.
            match append.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Done::Appended { result, lost }) => self.appended_at_once = Some((result, lost)),
                Poll::Ready(_) | Poll::Pending => self.background(append),
            }
        } else if let Some(to) = self.lose_to {
            self.appending = true;
            self.background(async move { Done::Appended { result: replay.lose(log, epoch, to, 0).await, lost: true } });
        }
    }

    /// An append has ended.
    pub(super) fn appended(&mut self, result: Result<EventId, AppendError>, lost: bool) -> Result<(), Reload> {
        match result {
            Ok(end) => {
                self.appending = false;
                self.append_failures = 0;
                if lost {
                    self.lose_to = None;
                    self.tail.restart(end);
                    self.reached = self.reached.max(end.sequence);
                    self.resume();
                } else {
                    self.tail.store(end);
                }
                self.trim();
                self.tell_stored(lost);
                if lost {
                    self.serve_all();
                }
                self.append();
            }
            Err(AppendError::Gap { expected }) => {
                tracing::error!(process = %self.id, expected, "the log has lost its end");
                self.appending = false;
                if self.tail.rewind(expected) {
                    self.append();
                } else {
                    self.resume();
                }
            }
            Err(AppendError::Fenced) => {
                return Err(Reload { id: self.id, why: "a newer owner writes its log".to_owned() });
            }
            Err(AppendError::Io(error)) => {
                let wait = AGAIN.0.saturating_mul(1 << self.append_failures.min(6)).min(AGAIN.1);
                self.append_failures += 1;
                tracing::error!(process = %self.id, %error, "output is not stored; it is tried again");
                self.background(async move {
                    tokio::time::sleep(wait).await;
                    Done::AppendAgain
                });
            }
        }
        Ok(())
    }

    /// Tells the agent how far its output is stored, if that is much news or it is `due`: it keeps more than this anyway,
    /// and a frame for every keystroke would cost the node and the agent a wake-up each.
    pub(super) fn tell_stored(&mut self, due: bool) {
        let Some(link) = &self.link else { return };
        let stored = (self.tail.stored().sequence, self.tail.stored_position());
        let (sequence, position) = self.stored_told;
        let much = stored.0 >= sequence + STORED_EVENTS || stored.1 >= position + STORED_BYTES;
        if stored != self.stored_told && (due || much) {
            self.stored_told = stored;
            link.now(NodeFrame::Stored { process_id: self.id, sequence: stored.0 });
        }
    }

    /// Lets go of what is stored and nobody near the live edge waits for.
    fn trim(&mut self) {
        let needed = self.viewers.needed(&self.tail);
        self.tail.trim(needed);
    }

    /// Tells the agent how much more it may send, if that is news.
    pub(super) fn credit(&mut self) {
        let now = Now {
            ms: self.now_ms(),
            received: self.tail.position(),
            stored: self.tail.stored_position(),
            unstored_cost: self.tail.unstored_cost(),
            taken: self.viewers.taken(&self.tail, self.now_ms()),
        };
        if let (Some(link), Some(pace)) = (&self.link, &mut self.pace)
            && let Some(bytes) = pace.credit(now)
        {
            link.now(NodeFrame::Credit { process_id: self.id, bytes });
        }
    }
}
