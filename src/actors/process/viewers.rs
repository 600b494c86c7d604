//! Who watches a process, and what each gets next.
//!
//! Pure. A viewer is *live* while its cursor lies in the [`Tail`] (or at its end), and is served from there as far as
//! its credit goes. Otherwise it is *behind* and reads the log, one page at a time, only with credit, until it meets
//! the tail.
//!
//! Invariant `StreamGapFree`: each viewer gets every event after its cursor once and in order, or a `truncated` that
//! names it; and the end after the last of them.

use std::{collections::BTreeMap, sync::Arc};

use playhouse_protocol::{Chunk, EventId, stream::CHUNK_BYTES};

use super::{Allowance, Counted, pace::WINDOW, tail::Tail};
use crate::store::replay::{Item, Lost, Page, share};

/// The most that one read of the log asks for, in bytes.
const PAGE_BYTES: u64 = 256 * 1024;
/// A viewer that took nothing for so long paces nobody, in milliseconds.
const STUCK_MS: u64 = 1000;
/// After a read that failed the next one waits so long, in milliseconds.
const RETRY_MS: u64 = 500;

/// What is to be done for a viewer, in order.
#[derive(Debug)]
pub enum Effect {
    /// Send it these events.
    Output {
        /// Whom.
        viewer: u64,
        /// The events' generation.
        generation: u64,
        /// The events.
        chunks: Vec<Arc<Chunk>>,
    },
    /// Tell it that these are gone.
    Truncated {
        /// Whom.
        viewer: u64,
        /// Which.
        lost: Lost,
    },
    /// Read the log for it, and answer by [`Viewers::page`].
    Read {
        /// Whom for.
        viewer: u64,
        /// Echoed.
        token: u64,
        /// Events after this one.
        after: EventId,
        /// About so many bytes.
        max_bytes: usize,
    },
    /// It has everything: tell it the end. It is a viewer no longer.
    Ended {
        /// Whom.
        viewer: u64,
    },
}

/// Where a viewer stands.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// It has everything up to here.
    pub cursor: EventId,
    /// The bytes of all events up to there, if that is known.
    pub bytes: Option<u64>,
}

#[derive(Debug)]
struct Viewer {
    may_type: bool,
    cursor: EventId,
    /// As in [`Place`].
    bytes: Option<u64>,
    sent: u64,
    credit: u64,
    /// The credit it began with: its window.
    window: u64,
    counted: Counted,
    /// A read of the log under way.
    reading: Option<u64>,
    /// The credit left that the next step of a catch-up needs.
    needs: u64,
    not_before_ms: u64,
    /// More than half of its window is not taken, since it last took something.
    strained_ms: Option<u64>,
}

impl Viewer {
    /// Whether it has room for this event; then it is sent.
    fn takes(&mut self, event: EventId, chunk: &Chunk) -> Result<(), u64> {
        let counts = self.counted.of(chunk);
        if counts > self.room() {
            return Err(counts);
        }
        self.cursor = event;
        self.sent += counts;
        self.misses(chunk.bytes.len() as u64);
        Ok(())
    }

    fn misses(&mut self, bytes: u64) {
        self.bytes = self.bytes.map(|before| before + bytes);
    }

    const fn room(&self) -> u64 {
        self.credit.saturating_sub(self.sent)
    }

    const fn outstanding(&self) -> u64 {
        // What it has taken is the credit it gave beyond its window.
        self.sent.saturating_sub(self.credit.saturating_sub(self.window))
    }

    fn strain(&mut self, now_ms: u64, took: bool) {
        if self.outstanding() * 2 < self.window {
            self.strained_ms = None;
        } else if took || self.strained_ms.is_none() {
            self.strained_ms = Some(now_ms);
        }
    }

    fn step_bytes(&self) -> u64 {
        self.window.min(CHUNK_BYTES as u64)
    }
}

/// All viewers of a process.
#[derive(Debug, Default)]
pub struct Viewers {
    viewers: BTreeMap<u64, Viewer>,
    tokens: u64,
    /// The process is over, and the log and the rows have everything.
    ended: bool,
}

impl Viewers {
    /// Adds a viewer, or replaces it: it gets what follows its place, as much as it takes.
    pub fn add(&mut self, id: u64, place: Place, may_type: bool, allowance: Allowance) {
        let Place { cursor, bytes } = place;
        let Allowance { credit, owed, counted } = allowance;
        let viewer = Viewer {
            may_type,
            cursor,
            bytes,
            sent: owed,
            credit,
            window: credit,
            counted,
            reading: None,
            needs: 0,
            not_before_ms: 0,
            strained_ms: None,
        };
        self.viewers.insert(id, viewer);
    }

    /// Removes a viewer.
    pub fn remove(&mut self, id: u64) {
        self.viewers.remove(&id);
    }

    /// The viewers' ids.
    pub fn ids(&self) -> impl Iterator<Item = u64> {
        self.viewers.keys().copied()
    }

    /// Whether nobody watches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.viewers.is_empty()
    }

    /// Viewers that wait for an event that was never reached, now that the last one is known.
    #[must_use]
    pub fn beyond(&self, last: EventId) -> Vec<u64> {
        self.viewers.iter().filter(|(_, viewer)| viewer.cursor > last).map(|(id, _)| *id).collect()
    }

    /// A viewer takes `credit` bytes in all; less than before is ignored.
    pub fn credit(&mut self, id: u64, credit: u64, may_type: bool, now_ms: u64) {
        if let Some(viewer) = self.viewers.get_mut(&id) {
            viewer.may_type = may_type;
            if credit > viewer.credit {
                viewer.credit = credit;
                viewer.strain(now_ms, true);
            }
        }
    }

    /// The process is over; what is in the tail is all that will be.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// The oldest event that a live viewer still waits behind: the tail keeps what follows it, within reason.
    #[must_use]
    pub fn needed(&self, tail: &Tail) -> Option<EventId> {
        let live = self.viewers.values().map(|viewer| viewer.cursor).filter(|cursor| *cursor >= tail.start());
        live.min()
    }

    /// How far the furthest pacing viewer has taken: one that may type, is live, and takes.
    #[must_use]
    pub fn taken(&self, tail: &Tail, now_ms: u64) -> Option<u64> {
        let paces = |viewer: &&Viewer| {
            viewer.may_type
                && viewer.cursor >= tail.start()
                && viewer.strained_ms.is_none_or(|since| now_ms < since + STUCK_MS)
        };
        let taken = |viewer: &Viewer| tail.position_at(viewer.cursor).saturating_sub(viewer.outstanding());
        self.viewers.values().filter(paces).map(taken).max()
    }

    /// Whether a viewer waits for time to pass.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.viewers.values().any(|viewer| viewer.reading.is_none() && viewer.not_before_ms > 0)
    }

    /// Serves everyone.
    pub fn serve_all(&mut self, tail: &Tail, now_ms: u64, effects: &mut Vec<Effect>) {
        let ended = self.ended;
        let tokens = &mut self.tokens;
        self.viewers.retain(|&id, viewer| !serve(id, viewer, tail, now_ms, ended, tokens, effects));
    }

    /// Serves one viewer.
    pub fn serve(&mut self, id: u64, tail: &Tail, now_ms: u64, effects: &mut Vec<Effect>) {
        if let Some(viewer) = self.viewers.get_mut(&id)
            && serve(id, viewer, tail, now_ms, self.ended, &mut self.tokens, effects)
        {
            self.viewers.remove(&id);
        }
    }

    /// A page of the log has come, or could not be read.
    pub fn page(
        &mut self,
        id: u64,
        token: u64,
        page: Option<Page>,
        tail: &Tail,
        now_ms: u64,
        effects: &mut Vec<Effect>,
    ) {
        // An answer to what was asked before the viewer subscribed anew is none of its business.
        let Some(viewer) = self.viewers.get_mut(&id).filter(|viewer| viewer.reading == Some(token)) else { return };
        viewer.reading = None;
        match page {
            Some(page) => give(id, viewer, page, tail, now_ms, effects),
            None => viewer.not_before_ms = now_ms + RETRY_MS,
        }
        self.serve(id, tail, now_ms, effects);
    }
}

/// Gives a viewer what it may have of a page.
fn give(id: u64, viewer: &mut Viewer, page: Page, tail: &Tail, now_ms: u64, effects: &mut Vec<Effect>) {
    let before = viewer.cursor;
    let mut run: (u64, Vec<Arc<Chunk>>) = (0, Vec::new());
    let send = |run: &mut (u64, Vec<Arc<Chunk>>), effects: &mut Vec<Effect>| {
        if !run.1.is_empty() {
            effects.push(Effect::Output { viewer: id, generation: run.0, chunks: std::mem::take(&mut run.1) });
        }
    };
    let mut all = true;
    for item in page.items {
        match item {
            Item::Lost(lost) => {
                send(&mut run, effects);
                viewer.cursor = viewer.cursor.max(lost.to);
                viewer.misses(lost.bytes);
                effects.push(Effect::Truncated { viewer: id, lost });
            }
            Item::Chunk { generation, chunk } => {
                let event = EventId::new(generation, chunk.sequence);
                if event <= viewer.cursor {
                    continue;
                }
                if let Err(counts) = viewer.takes(event, &chunk) {
                    viewer.needs = counts;
                    all = false;
                    break;
                }
                if run.0 != generation {
                    send(&mut run, effects);
                    run.0 = generation;
                }
                run.1.push(chunk);
            }
        }
    }
    send(&mut run, effects);
    viewer.strain(now_ms, false);
    if !all {
        return;
    }
    viewer.cursor = viewer.cursor.max(page.next);
    if page.end && viewer.cursor == before && viewer.cursor < tail.start() {
        // The log has expired, or lost its end: what was in it is named, never passed over.
        let (from, to) = (EventId::new(viewer.cursor.generation, viewer.cursor.sequence + 1), tail.start());
        let all = tail.bytes_up_to(to);
        // Without the log nobody knows what each event had.
        let before = viewer.bytes.unwrap_or_else(|| share(all, viewer.cursor.sequence, to.sequence));
        let lost = Lost { from, to, bytes: all.saturating_sub(before), reason: page.missing };
        (viewer.cursor, viewer.bytes) = (to, Some(all));
        effects.push(Effect::Truncated { viewer: id, lost });
    }
}

/// Does what can be done for a viewer now; true when it has had everything.
fn serve(
    id: u64,
    viewer: &mut Viewer,
    tail: &Tail,
    now_ms: u64,
    ended: bool,
    tokens: &mut u64,
    effects: &mut Vec<Effect>,
) -> bool {
    if viewer.reading.is_some() {
        return false;
    }
    if viewer.cursor >= tail.start() {
        let generation = tail.received().generation;
        let mut chunks = Vec::new();
        for chunk in tail.after(viewer.cursor) {
            if viewer.takes(EventId::new(generation, chunk.sequence), chunk).is_err() {
                break;
            }
            chunks.push(Arc::clone(chunk));
        }
        if !chunks.is_empty() {
            viewer.strain(now_ms, false);
            effects.push(Effect::Output { viewer: id, generation, chunks });
        }
        if ended && viewer.cursor >= tail.received() {
            effects.push(Effect::Ended { viewer: id });
            return true;
        }
        return false;
    }
    let needs = viewer.needs.max(viewer.step_bytes());
    if viewer.room() < needs || now_ms < viewer.not_before_ms {
        return false;
    }
    (viewer.needs, viewer.not_before_ms) = (0, 0);
    *tokens += 1;
    viewer.reading = Some(*tokens);
    let max_bytes = usize::try_from(viewer.room().min(PAGE_BYTES)).unwrap_or(usize::MAX);
    effects.push(Effect::Read { viewer: id, token: *tokens, after: viewer.cursor, max_bytes });
    false
}

// A viewer within its window never holds the agent back: the pace stands a whole window beyond what it has taken.
const _: () = assert!(WINDOW >= PAGE_BYTES);

#[cfg(test)]
#[path = "viewers_tests.rs"]
mod tests;
