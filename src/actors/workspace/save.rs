//! Saving a sandbox, as a pure state machine: first what has changed, then the environment.
//!
//! | phase | on | becomes | and |
//! |---|---|---|---|
//! | Flushing | `Flushed` | Packing | `Pack` |
//! | Flushing | 10 s passed | over | failed |
//! | Packing | a piece came | Packing | its clock starts anew |
//! | Packing | the environment is stored | over | saved |
//! | Packing | `PackFailed`, 30 s without a piece | over | failed |
//! | Flushing, Packing | the link is gone | Unlinked | |
//! | Unlinked | a link is here | Flushing | `Flush` |
//! | Unlinked | 10 s passed | over | failed |

use std::time::Duration;

use playhouse_protocol::agent::NodeFrame;
use tokio::time::Instant;
use uuid::Uuid;

use super::SaveOutcome;

/// How long the agent may take to report what has changed.
pub const FLUSH_WITHIN: Duration = Duration::from_secs(10);
/// How long no piece of the environment may come.
pub const PIECE_WITHIN: Duration = Duration::from_secs(30);
/// How long the agent may be away.
pub const LINK_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Flushing { until: Instant },
    Packing { until: Instant },
    Unlinked { until: Instant },
}

/// A saving under way.
#[derive(Debug)]
pub struct Save {
    /// Of which sandbox.
    pub sandbox_id: Uuid,
    tag: u64,
    phase: Phase,
}

/// What happens to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SaveEvent {
    /// The agent has reported what had changed.
    Flushed {
        /// As asked.
        tag: u64,
    },
    /// A piece of the environment has come.
    Piece {
        /// As asked.
        tag: u64,
    },
    /// The environment is stored, and its pointer committed; or it could not be.
    Stored {
        /// As asked.
        tag: u64,
        /// How it went.
        result: Result<(), String>,
    },
    /// The agent could not pack it.
    PackFailed {
        /// As asked.
        tag: u64,
        /// Why.
        detail: String,
    },
    /// The agent is linked anew.
    LinkUp,
    /// Its link is gone.
    LinkDown,
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SaveStep {
    /// Nothing.
    Wait,
    /// Send this to the agent.
    Send(NodeFrame),
    /// It is over.
    Over(SaveOutcome),
}

impl Save {
    /// Begins; send the frame. Tags are unique on a link when `tag` rises from one saving to the next.
    #[must_use]
    pub fn begin(sandbox_id: Uuid, tag: u64, now: Instant) -> (Self, NodeFrame) {
        (Self { sandbox_id, tag, phase: Phase::Flushing { until: now + FLUSH_WITHIN } }, NodeFrame::Flush { tag })
    }

    /// Whether the environment's pieces with this tag are awaited.
    #[must_use]
    pub fn packing(&self, tag: u64) -> bool {
        tag == self.tag && matches!(self.phase, Phase::Packing { .. })
    }

    /// Takes an event.
    pub fn step(&mut self, event: SaveEvent, now: Instant) -> SaveStep {
        let failed = |detail: &str| SaveStep::Over(SaveOutcome::Failed(detail.to_owned()));
        match (event, self.phase) {
            (SaveEvent::Flushed { tag }, Phase::Flushing { .. }) if tag == self.tag => {
                self.phase = Phase::Packing { until: now + PIECE_WITHIN };
                SaveStep::Send(NodeFrame::Pack { tag })
            }
            (SaveEvent::Piece { tag }, Phase::Packing { .. }) if tag == self.tag => {
                self.phase = Phase::Packing { until: now + PIECE_WITHIN };
                SaveStep::Wait
            }
            (SaveEvent::Stored { tag, result }, Phase::Packing { .. }) if tag == self.tag => match result {
                Ok(()) => SaveStep::Over(SaveOutcome::Saved),
                Err(detail) => failed(&format!("the environment could not be stored: {detail}")),
            },
            (SaveEvent::PackFailed { tag, detail }, Phase::Packing { .. }) if tag == self.tag => {
                failed(&format!("the environment could not be packed: {detail}"))
            }
            (SaveEvent::LinkUp, _) => {
                self.tag += 1;
                self.phase = Phase::Flushing { until: now + FLUSH_WITHIN };
                SaveStep::Send(NodeFrame::Flush { tag: self.tag })
            }
            (SaveEvent::LinkDown, Phase::Flushing { .. } | Phase::Packing { .. }) => {
                self.phase = Phase::Unlinked { until: now + LINK_WITHIN };
                SaveStep::Wait
            }
            (SaveEvent::Tick, Phase::Flushing { until }) if now >= until => failed("the agent did not report in time"),
            (SaveEvent::Tick, Phase::Packing { until }) if now >= until => failed("the agent packs nothing any more"),
            (SaveEvent::Tick, Phase::Unlinked { until }) if now >= until => failed("the agent is away"),
            (
                SaveEvent::Flushed { .. }
                | SaveEvent::Piece { .. }
                | SaveEvent::Stored { .. }
                | SaveEvent::PackFailed { .. }
                | SaveEvent::LinkDown
                | SaveEvent::Tick,
                Phase::Flushing { .. } | Phase::Packing { .. } | Phase::Unlinked { .. },
            ) => SaveStep::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(step: &SaveStep) -> bool {
        matches!(step, SaveStep::Over(SaveOutcome::Failed(_)))
    }

    #[test]
    fn it_flushes_then_packs() {
        let now = Instant::now();
        let (mut save, frame) = Save::begin(Uuid::nil(), 1, now);
        assert_eq!(frame, NodeFrame::Flush { tag: 1 });
        assert_eq!(save.step(SaveEvent::Flushed { tag: 0 }, now), SaveStep::Wait);
        assert_eq!(save.step(SaveEvent::Flushed { tag: 1 }, now), SaveStep::Send(NodeFrame::Pack { tag: 1 }));
        assert!(save.packing(1) && !save.packing(2));
        assert_eq!(save.step(SaveEvent::Piece { tag: 1 }, now + PIECE_WITHIN), SaveStep::Wait);
        assert_eq!(save.step(SaveEvent::Tick, now + PIECE_WITHIN), SaveStep::Wait, "its clock started anew");
        let stored = SaveEvent::Stored { tag: 1, result: Ok(()) };
        assert_eq!(save.step(stored, now), SaveStep::Over(SaveOutcome::Saved));
    }

    #[test]
    fn it_begins_again_on_a_new_link() {
        let now = Instant::now();
        let (mut save, _) = Save::begin(Uuid::nil(), 1, now);
        save.step(SaveEvent::Flushed { tag: 1 }, now);
        assert_eq!(save.step(SaveEvent::LinkDown, now), SaveStep::Wait);
        assert_eq!(save.step(SaveEvent::LinkUp, now), SaveStep::Send(NodeFrame::Flush { tag: 2 }));
        assert_eq!(save.step(SaveEvent::Flushed { tag: 1 }, now), SaveStep::Wait, "the old link's answer");
    }

    #[test]
    fn it_gives_up() {
        let now = Instant::now();
        let (mut save, _) = Save::begin(Uuid::nil(), 1, now);
        assert!(over(&save.step(SaveEvent::Tick, now + FLUSH_WITHIN)));
        let (mut save, _) = Save::begin(Uuid::nil(), 1, now);
        save.step(SaveEvent::Flushed { tag: 1 }, now);
        assert!(over(&save.step(SaveEvent::Tick, now + PIECE_WITHIN)));
        let (mut save, _) = Save::begin(Uuid::nil(), 1, now);
        save.step(SaveEvent::LinkDown, now);
        assert!(over(&save.step(SaveEvent::Tick, now + LINK_WITHIN)));
        let (mut save, _) = Save::begin(Uuid::nil(), 1, now);
        save.step(SaveEvent::Flushed { tag: 1 }, now);
        assert!(over(&save.step(SaveEvent::PackFailed { tag: 1, detail: "disk".into() }, now)));
    }
}
