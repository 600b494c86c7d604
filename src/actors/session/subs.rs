//! A session's place in the output of each process: which it is subscribed to, from where, and what comes next.
//!
//! Pure. `Silent → Waiting → Asked → Live → Done`. `Silent` waits for the client's `resume`; `Waiting` for its turn, or
//! for the socket to take something again; `Done` is a process whose last word was handed to the socket. A buffer that
//! is dropped sends `Asked` and `Live` back to `Waiting`, after the last event that was handed to the socket.

use std::collections::BTreeMap;

use playhouse_protocol::{Chunk, EventId};
use uuid::Uuid;

use super::window::Window;
use crate::actors::process::{Allowance, Counted, From};

/// How many finished processes are replayed at once: the others wait, so that a socket's memory stays small.
const REPLAYS: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Silent,
    Waiting,
    Asked,
    Live,
    Done,
}

/// One process.
#[derive(Debug)]
pub struct Sub {
    phase: Phase,
    from: From,
    /// The last event handed to the socket, or where the subscription began.
    cursor: Option<EventId>,
    /// It had ended when it was last heard of: its replay takes one of the turns.
    finished: bool,
    /// It gave its turn away: what it sent is with the client, whose acknowledgement it needs for more.
    parked: bool,
    subscription: u64,
    /// Its window.
    pub window: Window,
}

/// A subscription to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscribe {
    /// To what.
    pub process_id: Uuid,
    /// Its number.
    pub subscription: u64,
    /// From where.
    pub from: From,
    /// How much may be sent.
    pub allowance: Allowance,
}

/// What becomes of a `resume`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumed {
    /// It is taken.
    Taken,
    /// `resume_unexpected`.
    Unexpected,
    /// `resume_invalid`: no such process, or a malformed id.
    Invalid,
}

/// All processes of a session.
#[derive(Debug)]
pub struct Subs {
    acks: bool,
    counted: Counted,
    resumes: bool,
    subs: BTreeMap<Uuid, Sub>,
    subscriptions: u64,
    /// The socket takes nothing: nobody is subscribed to.
    stalled: bool,
}

impl Subs {
    /// None yet. With `acks` the client acknowledges what is `counted`, with `resumes` it says where to begin.
    #[must_use]
    pub const fn new(acks: bool, counted: Counted, resumes: bool) -> Self {
        Self { acks, counted, resumes, subs: BTreeMap::new(), subscriptions: 0, stalled: false }
    }

    /// A process that `hello` lists.
    pub fn add(&mut self, id: Uuid, finished: bool, from: From) {
        let phase = if self.resumes { Phase::Silent } else { Phase::Waiting };
        self.insert(id, phase, finished, from);
    }

    /// A process that is retained no longer: only a `resume` that names it hears that.
    pub fn add_expired(&mut self, id: Uuid) {
        let phase = if self.resumes { Phase::Silent } else { Phase::Done };
        self.insert(id, phase, true, From::Live);
    }

    /// A process that was made after `hello`: it is live from its first event. False if it is known.
    pub fn add_new(&mut self, id: Uuid) -> bool {
        let new = !self.subs.contains_key(&id);
        if new {
            self.insert(id, Phase::Waiting, false, From::Earliest);
        }
        new
    }

    fn insert(&mut self, id: Uuid, phase: Phase, finished: bool, from: From) {
        let window = Window::new(self.acks);
        self.subs.insert(id, Sub { phase, from, cursor: None, finished, parked: false, subscription: 0, window });
    }

    /// Whether the session has this process.
    #[must_use]
    pub fn knows(&self, id: Uuid) -> bool {
        self.subs.contains_key(&id)
    }

    /// The process, if this is its present subscription.
    pub fn current(&mut self, id: Uuid, subscription: u64) -> Option<&mut Sub> {
        let on = |sub: &&mut Sub| matches!(sub.phase, Phase::Asked | Phase::Live) && sub.subscription == subscription;
        self.subs.get_mut(&id).filter(on)
    }

    /// The process.
    pub fn get(&mut self, id: Uuid) -> Option<&mut Sub> {
        self.subs.get_mut(&id)
    }

    /// The client says where to go on with one process.
    pub fn resume_one(&mut self, id: Uuid, after: Option<EventId>) -> Resumed {
        if !self.resumes {
            return Resumed::Unexpected;
        }
        let (Some(sub), Some(after)) = (self.subs.get_mut(&id), after) else { return Resumed::Invalid };
        if sub.phase != Phase::Silent {
            return Resumed::Unexpected;
        }
        (sub.phase, sub.from) = (Phase::Waiting, From::After(after));
        Resumed::Taken
    }

    /// The client says where to go on with all; what it leaves out begins at its first retained event. What was not
    /// taken is given back with its process, or without one when no process waits for a `resume`.
    pub fn resume_all(&mut self, all: Vec<(Uuid, Option<EventId>)>) -> Vec<(Option<Uuid>, Resumed)> {
        let silent: Vec<Uuid> =
            self.subs.iter().filter(|(_, sub)| sub.phase == Phase::Silent).map(|(id, _)| *id).collect();
        if !self.resumes || (silent.is_empty() && !self.subs.is_empty()) {
            return vec![(None, Resumed::Unexpected)];
        }
        let mut refused = Vec::new();
        let named: BTreeMap<Uuid, Option<EventId>> = all.into_iter().collect();
        for id in silent {
            let Some(sub) = self.subs.get_mut(&id).filter(|_| !named.contains_key(&id)) else { continue };
            // One that is retained no longer has no first event.
            sub.phase = if sub.from == From::Live && sub.finished { Phase::Done } else { Phase::Waiting };
            sub.from = From::Earliest;
        }
        for (id, after) in named {
            match self.resume_one(id, after) {
                // One that was made after `hello` is live, and what it printed was sent.
                Resumed::Taken | Resumed::Unexpected => {}
                Resumed::Invalid => refused.push((Some(id), Resumed::Invalid)),
            }
        }
        refused
    }

    /// The subscriptions to make now.
    pub fn due(&mut self) -> Vec<Subscribe> {
        if self.stalled {
            return Vec::new();
        }
        let under_way = |sub: &&Sub| sub.finished && !sub.parked && matches!(sub.phase, Phase::Asked | Phase::Live);
        let mut turns = REPLAYS.saturating_sub(self.subs.values().filter(under_way).count());
        let mut next = Vec::new();
        for (id, sub) in &mut self.subs {
            if sub.phase != Phase::Waiting || (sub.finished && turns == 0) {
                continue;
            }
            turns -= usize::from(sub.finished);
            self.subscriptions += 1;
            sub.subscription = self.subscriptions;
            sub.window = sub.window.again();
            (sub.phase, sub.parked) = (Phase::Asked, false);
            let from = sub.cursor.map_or(sub.from, From::After);
            let (credit, owed) = (sub.window.size(), sub.window.owed());
            let allowance = Allowance { credit, owed, counted: self.counted };
            next.push(Subscribe { process_id: *id, subscription: sub.subscription, from, allowance });
        }
        next
    }

    /// A subscription began after this event.
    pub fn began(&mut self, id: Uuid, subscription: u64, after: EventId) {
        if let Some(sub) = self.current(id, subscription) {
            sub.phase = Phase::Live;
            sub.cursor = sub.cursor.or(Some(after));
        }
    }

    /// A subscription was refused for its cursor: the client may say another. False if it is none of now.
    pub fn refused(&mut self, id: Uuid, subscription: u64) -> bool {
        let resumes = self.resumes;
        let Some(sub) = self.current(id, subscription) else { return false };
        sub.phase = if resumes { Phase::Silent } else { Phase::Done };
        sub.cursor = None;
        true
    }

    /// A subscription did not come about, or its process must be found anew: it waits to be made again. What was not
    /// handed to the socket is to be dropped.
    pub fn again(&mut self, id: Uuid, subscription: u64) {
        if let Some(sub) = self.current(id, subscription) {
            sub.phase = Phase::Waiting;
        }
    }

    /// An event was handed to the socket, or a loss that ends with it.
    pub fn handed(&mut self, id: Uuid, event: EventId, chunk: Option<&Chunk>) {
        if let Some(sub) = self.subs.get_mut(&id) {
            sub.cursor = Some(event);
            sub.window.send(event.sequence, chunk.map_or(0, |chunk| self.counted.of(chunk)));
        }
    }

    /// The last event that was handed to the socket.
    #[must_use]
    pub fn cursor(&self, id: Uuid) -> Option<EventId> {
        self.subs.get(&id).and_then(|sub| sub.cursor)
    }

    /// A process's last word was handed to the socket.
    pub fn done(&mut self, id: Uuid) {
        if let Some(sub) = self.subs.get_mut(&id) {
            (sub.phase, sub.finished) = (Phase::Done, true);
        }
    }

    /// The socket takes nothing, and what waited for it is dropped: the processes to unsubscribe from.
    pub fn stall(&mut self) -> Vec<Uuid> {
        self.stalled = true;
        let mut left = Vec::new();
        for (id, sub) in &mut self.subs {
            if matches!(sub.phase, Phase::Asked | Phase::Live) {
                sub.phase = Phase::Waiting;
                left.push(*id);
            }
        }
        left
    }

    /// The socket took everything of this process. With acknowledgements its replay may now be waiting for one, while
    /// others could begin.
    pub fn flushed(&mut self, id: Uuid) {
        let acks = self.acks;
        if let Some(sub) = self.subs.get_mut(&id) {
            sub.window.flushed();
            sub.parked = acks;
        }
    }

    /// The socket took everything it was handed.
    pub fn unstall(&mut self) -> bool {
        std::mem::take(&mut self.stalled)
    }

    /// Whether some process waits for the client's `resume`.
    #[must_use]
    pub fn awaits_resume(&self) -> bool {
        self.subs.values().any(|sub| sub.phase == Phase::Silent)
    }

    /// Whether every process said its last word.
    #[must_use]
    pub fn all_done(&self) -> bool {
        self.subs.values().all(|sub| sub.phase == Phase::Done)
    }

    /// Whether some process waits for the client's `resume`, and all others said their last word.
    #[must_use]
    pub fn only_silent(&self) -> bool {
        self.awaits_resume() && self.subs.values().all(|sub| matches!(sub.phase, Phase::Done | Phase::Silent))
    }

    /// The processes that are subscribed to, and the numbers of the subscriptions.
    pub fn live(&self) -> impl Iterator<Item = (Uuid, u64)> {
        let on = |sub: &Sub| matches!(sub.phase, Phase::Asked | Phase::Live);
        self.subs.iter().filter(move |(_, sub)| on(sub)).map(|(id, sub)| (*id, sub.subscription))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Uuid = Uuid::from_u128(1);
    const B: Uuid = Uuid::from_u128(2);

    fn froms(subs: &mut Subs) -> Vec<(Uuid, From)> {
        subs.due().into_iter().map(|next| (next.process_id, next.from)).collect()
    }

    #[test]
    fn the_plural_form_settles_all_and_the_singular_its_own() {
        let id = EventId::new(0, 7);
        let mut subs = Subs::new(false, Counted::Raw, true);
        subs.add(A, false, From::Earliest);
        subs.add(B, false, From::Earliest);
        assert_eq!(subs.due(), []);
        assert_eq!(subs.resume_one(A, Some(id)), Resumed::Taken);
        assert_eq!(subs.resume_one(A, Some(id)), Resumed::Unexpected);
        assert_eq!(subs.resume_one(Uuid::from_u128(3), Some(id)), Resumed::Invalid);
        assert_eq!(subs.resume_one(B, None), Resumed::Invalid);
        assert_eq!(froms(&mut subs), [(A, From::After(id))]);
        assert!(subs.add_new(Uuid::from_u128(4)) && !subs.add_new(A));
        assert_eq!(froms(&mut subs), [(Uuid::from_u128(4), From::Earliest)]);
        assert_eq!(
            subs.resume_all(vec![(Uuid::from_u128(9), Some(id))]),
            [(Some(Uuid::from_u128(9)), Resumed::Invalid)]
        );
        assert_eq!(froms(&mut subs), [(B, From::Earliest)]);
        assert_eq!(subs.resume_all(Vec::new()), [(None, Resumed::Unexpected)]);
    }

    #[test]
    fn without_resume_all_begin_at_once_and_a_resume_is_unexpected() {
        let mut subs = Subs::new(true, Counted::Text, false);
        subs.add(A, false, From::Live);
        assert_eq!(froms(&mut subs), [(A, From::Live)]);
        assert_eq!(subs.resume_one(A, Some(EventId::ZERO)), Resumed::Unexpected);
        assert_eq!(subs.resume_all(vec![(A, None)]), [(None, Resumed::Unexpected)]);
    }

    #[test]
    fn finished_processes_take_turns() {
        let mut subs = Subs::new(false, Counted::Raw, false);
        for number in 0..10 {
            subs.add(Uuid::from_u128(number), true, From::Earliest);
        }
        assert_eq!(subs.due().len(), REPLAYS);
        subs.flushed(Uuid::from_u128(0));
        assert!(subs.due().is_empty(), "without acknowledgements it goes on by itself");
        assert_eq!(subs.due().len(), 0);
        subs.done(Uuid::from_u128(0));
        assert_eq!(froms(&mut subs), [(Uuid::from_u128(4), From::Earliest)]);
        assert!(!subs.all_done());
    }

    #[test]
    fn replays_that_wait_for_acknowledgements_give_their_turns_away() {
        let mut subs = Subs::new(true, Counted::Text, false);
        for number in 0..10 {
            subs.add(Uuid::from_u128(number), true, From::Earliest);
        }
        for Subscribe { process_id, subscription, .. } in subs.due() {
            subs.began(process_id, subscription, EventId::ZERO);
            subs.handed(process_id, EventId::new(0, 1), None);
            subs.flushed(process_id);
        }
        assert_eq!(subs.due().len(), REPLAYS);
        assert!(subs.due().is_empty());
    }

    #[test]
    fn a_dropped_buffer_begins_again_after_what_was_handed_over() {
        let mut subs = Subs::new(false, Counted::Raw, false);
        subs.add(A, false, From::Live);
        let first = subs.due()[0].subscription;
        subs.began(A, first, EventId::new(0, 5));
        subs.handed(A, EventId::new(0, 6), None);
        assert_eq!(subs.stall(), [A]);
        assert!(subs.current(A, first).is_none() && subs.due().is_empty());
        assert!(subs.unstall());
        let again = subs.due();
        assert_eq!(again[0].from, From::After(EventId::new(0, 6)));
        assert!(again[0].subscription > first && subs.current(A, first).is_none());
        subs.done(A);
        assert!(subs.all_done());
    }
}
