//! The agent's link: what is asked when it comes up, and what it says.

use playhouse_protocol::{
    EventId,
    agent::{NodeFrame, ProcessState},
};

use super::{FromAgent, output::MAX_SEQUENCE, pace::Pace, shell::Shell, state::Phase};
use crate::{actors::agent_link::LinkRef, clock};

/// How many signals wait for a program to start or its agent to come back; what exceeds them is refused.
pub(super) const HELD_FRAMES: usize = 32;

impl Shell {
    /// The agent is connected.
    pub(super) fn link_up(&mut self, link: LinkRef, state: Option<ProcessState>) {
        let known = self
            .link
            .as_ref()
            .is_some_and(|known| known.number > link.number || (known.number == link.number && state.is_none()));
        let Some(life) = &self.life else { return };
        if known {
            return;
        }
        if life.outcome().is_some() {
            link.now(NodeFrame::Forget { process_id: self.id });
            return;
        }
        let pending = life.phase == Phase::Pending;
        (self.link, self.pace, self.gap_since, self.stored_told) = (Some(link), None, None, (0, 0));
        self.on_link = state.is_some();
        let Some(state) = state else {
            if pending && self.tail.received().sequence == 0 {
                // It is not started yet; then its flow begins by itself, and its numbers are all known here.
                self.heard = true;
                self.pace = Some(Pace::begin(self.now_ms(), self.tail.position()));
                let answered = self.inputs.linked(Vec::new());
                self.answer_inputs(answered);
            } else {
                // This actor began while the link was up.
                self.on_link = true;
                let answered = self.inputs.linked(Vec::new());
                self.answer_inputs(answered);
                self.resume();
                self.flush_to_agent();
            }
            return;
        };
        self.heard = true;
        let (first, next) = (state.first_sequence.min(MAX_SEQUENCE), state.next_sequence.min(MAX_SEQUENCE));
        self.reached = self.reached.max(next.saturating_sub(1));
        self.started();
        let answered = self.inputs.linked(state.writers);
        self.answer_inputs(answered);
        if first > self.tail.received().sequence + 1 {
            self.lose(first - 1);
        } else {
            self.resume();
        }
        let reached = EventId::new(self.tail.received().generation, self.reached);
        for viewer in self.viewers.beyond(reached) {
            self.never_reached(viewer);
        }
        if state.exit.is_none() && self.life.as_ref().is_some_and(|life| life.cancelled) {
            self.send_agent(NodeFrame::Cancel { process_id: self.id });
        }
        self.flush_to_agent();
    }

    /// The link with this number is gone.
    pub(super) fn link_down(&mut self, number: u64) {
        if self.link.as_ref().is_some_and(|link| link.number == number) {
            (self.link, self.pace, self.on_link) = (None, None, false);
        }
    }

    /// The agent says something.
    pub(super) fn heard_agent(&mut self, number: u64, event: FromAgent) {
        if self.link.as_ref().is_none_or(|link| link.number != number) {
            return;
        }
        match event {
            FromAgent::Started => {
                self.on_link = true;
                self.started();
                if self.life.as_ref().is_some_and(|life| life.cancelled && !life.is_over()) {
                    self.send_agent(NodeFrame::Cancel { process_id: self.id });
                }
                self.flush_to_agent();
            }
            FromAgent::Output(chunks) => {
                if !std::mem::replace(&mut self.on_link, true) {
                    // Its start was told to an actor before this one.
                    self.flush_to_agent();
                }
                self.output(chunks);
            }
            FromAgent::Exited(exit) => self.exited(exit),
            FromAgent::InputTaken { tag, outcome, .. } => {
                let answered = self.inputs.answer(tag, outcome, self.now_ms());
                self.answer_inputs(answered);
                self.flush_to_agent();
            }
        }
    }

    /// It runs: that is told at once and committed by and by.
    pub(super) fn started(&mut self) {
        let Some(life) = &mut self.life else { return };
        if !life.start(clock::now()) {
            return;
        }
        if let Some(status) = self.status() {
            for viewer in self.viewers.ids().collect::<Vec<_>>() {
                self.say(viewer, status.clone(), false);
            }
        }
        self.ask_fate(false);
    }

    /// Sends something to the agent, if it is there.
    pub(super) fn send_agent(&self, frame: NodeFrame) {
        if let Some(link) = &self.link {
            link.now(frame);
        }
    }

    /// Sends or holds a frame for the running program. False when too many are held.
    pub(super) fn send_program(&mut self, frame: NodeFrame) -> bool {
        if self.link.is_some() && self.on_link {
            self.send_agent(frame);
            return true;
        }
        if matches!(frame, NodeFrame::Resize { .. }) {
            // Only the last size counts.
            self.held.retain(|held| !matches!(held, NodeFrame::Resize { .. }));
        }
        let fits = self.held.len() < HELD_FRAMES;
        if fits {
            self.held.push(frame);
        }
        fits
    }

    /// The agent has the process: what was held for it goes out, signals and sizes first.
    pub(super) fn flush_to_agent(&mut self) {
        let Some(link) = self.link.as_ref().filter(|_| self.on_link) else { return };
        for frame in self.held.drain(..) {
            link.now(frame);
        }
        if let Some(frame) = self.inputs.to_send(self.id) {
            link.now(frame);
        }
    }
}
