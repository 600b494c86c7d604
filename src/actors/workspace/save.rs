//! Saving a sandbox, as a pure state machine: first what has changed, then the environment. Where programs go on
//! meanwhile, what they changed while it was packed comes last.
//!
//! | phase | on | becomes | and |
//! |---|---|---|---|
//! | Flushing | `Flushed` | Packing | `Pack`, or `Copy` where programs go on |
//! | Flushing | 10 s passed | over | failed |
//! | Packing | a piece came | Packing | its clock starts anew |
//! | Packing | the environment is stored | over | saved |
//! | Packing, programs go on | the environment is stored, or could not be | Settling | `Flush` |
//! | Settling | `Flushed` | over | saved, or what failed before |
//! | Settling | 10 s passed | over | failed |
//! | Packing | `PackFailed`, 30 s without a piece | over | failed |
//! | Flushing, Packing, Settling | the link is gone | Unlinked | |
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

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Flushing { until: Instant },
    Packing { until: Instant },
    Settling { until: Instant, packed: Result<(), String> },
    Unlinked { until: Instant },
}

/// What becomes of the programs of a sandbox that is saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Programs {
    /// They are stopped before the environment is packed: the sandbox ends.
    Stop,
    /// They go on: it is only suspended.
    GoOn,
}

/// A saving under way.
#[derive(Debug)]
pub struct Save {
    /// Of which sandbox.
    pub sandbox_id: Uuid,
    /// Which saving of that sandbox.
    pub number: u64,
    programs: Programs,
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
    pub fn begin(sandbox_id: Uuid, number: u64, programs: Programs, tag: u64, now: Instant) -> (Self, NodeFrame) {
        let phase = Phase::Flushing { until: now + FLUSH_WITHIN };
        (Self { sandbox_id, number, programs, tag, phase }, NodeFrame::Flush { tag })
    }

    /// Whether the environment's pieces with this tag are awaited.
    #[must_use]
    pub fn packing(&self, tag: u64) -> bool {
        tag == self.tag && matches!(self.phase, Phase::Packing { .. })
    }

    /// Takes an event.
    pub fn step(&mut self, event: SaveEvent, now: Instant) -> SaveStep {
        let failed = |detail: &str| SaveStep::Over(SaveOutcome::Failed(detail.to_owned()));
        match (event, &self.phase) {
            (SaveEvent::Flushed { tag }, Phase::Flushing { .. }) if tag == self.tag => {
                self.phase = Phase::Packing { until: now + PIECE_WITHIN };
                SaveStep::Send(match self.programs {
                    Programs::Stop => NodeFrame::Pack { tag },
                    Programs::GoOn => NodeFrame::Copy { tag },
                })
            }
            (SaveEvent::Piece { tag }, Phase::Packing { .. }) if tag == self.tag => {
                self.phase = Phase::Packing { until: now + PIECE_WITHIN };
                SaveStep::Wait
            }
            (SaveEvent::Stored { tag, result }, Phase::Packing { .. }) if tag == self.tag => {
                let result = result.map_err(|detail| format!("the environment could not be stored: {detail}"));
                self.packed(result, now)
            }
            (SaveEvent::PackFailed { tag, detail }, Phase::Packing { .. }) if tag == self.tag => {
                self.packed(Err(format!("the environment could not be packed: {detail}")), now)
            }
            (SaveEvent::Flushed { tag }, Phase::Settling { packed, .. }) if tag == self.tag => {
                SaveStep::Over(packed.clone().map_or_else(SaveOutcome::Failed, |()| SaveOutcome::Saved))
            }
            (SaveEvent::LinkUp, _) => {
                self.tag += 1;
                self.phase = Phase::Flushing { until: now + FLUSH_WITHIN };
                SaveStep::Send(NodeFrame::Flush { tag: self.tag })
            }
            (SaveEvent::LinkDown, Phase::Flushing { .. } | Phase::Packing { .. } | Phase::Settling { .. }) => {
                self.phase = Phase::Unlinked { until: now + LINK_WITHIN };
                SaveStep::Wait
            }
            (SaveEvent::Tick, Phase::Flushing { until } | Phase::Settling { until, .. }) if now >= *until => {
                failed("the agent did not report in time")
            }
            (SaveEvent::Tick, Phase::Packing { until }) if now >= *until => failed("the agent packs nothing any more"),
            (SaveEvent::Tick, Phase::Unlinked { until }) if now >= *until => failed("the agent is away"),
            (
                SaveEvent::Flushed { .. }
                | SaveEvent::Piece { .. }
                | SaveEvent::Stored { .. }
                | SaveEvent::PackFailed { .. }
                | SaveEvent::LinkDown
                | SaveEvent::Tick,
                Phase::Flushing { .. } | Phase::Packing { .. } | Phase::Settling { .. } | Phase::Unlinked { .. },
            ) => SaveStep::Wait,
        }
    }

    fn packed(&mut self, packed: Result<(), String>, now: Instant) -> SaveStep {
        match (self.programs, packed) {
            (Programs::Stop, Ok(())) => SaveStep::Over(SaveOutcome::Saved),
            (Programs::Stop, Err(detail)) => SaveStep::Over(SaveOutcome::Failed(detail)),
            (Programs::GoOn, packed) => {
                self.tag += 1;
                self.phase = Phase::Settling { until: now + FLUSH_WITHIN, packed };
                SaveStep::Send(NodeFrame::Flush { tag: self.tag })
            }
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
        let (mut save, frame) = Save::begin(Uuid::nil(), 1, Programs::Stop, 1, now);
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
        let (mut save, _) = Save::begin(Uuid::nil(), 1, Programs::Stop, 1, now);
        save.step(SaveEvent::Flushed { tag: 1 }, now);
        assert_eq!(save.step(SaveEvent::LinkDown, now), SaveStep::Wait);
        assert_eq!(save.step(SaveEvent::LinkUp, now), SaveStep::Send(NodeFrame::Flush { tag: 2 }));
        assert_eq!(save.step(SaveEvent::Flushed { tag: 1 }, now), SaveStep::Wait, "the old link's answer");
    }

    #[test]
    fn it_gives_up() {
        let now = Instant::now();
        let (mut save, _) = Save::begin(Uuid::nil(), 1, Programs::Stop, 1, now);
        assert!(over(&save.step(SaveEvent::Tick, now + FLUSH_WITHIN)));
        let (mut save, _) = Save::begin(Uuid::nil(), 1, Programs::Stop, 1, now);
        save.step(SaveEvent::Flushed { tag: 1 }, now);
        assert!(over(&save.step(SaveEvent::Tick, now + PIECE_WITHIN)));
        let (mut save, _) = Save::begin(Uuid::nil(), 1, Programs::Stop, 1, now);
        save.step(SaveEvent::LinkDown, now);
        assert!(over(&save.step(SaveEvent::Tick, now + LINK_WITHIN)));
        let (mut save, _) = Save::begin(Uuid::nil(), 1, Programs::Stop, 1, now);
        save.step(SaveEvent::Flushed { tag: 1 }, now);
        assert!(over(&save.step(SaveEvent::PackFailed { tag: 1, detail: "disk".into() }, now)));
    }

    #[test]
    fn what_programs_write_while_the_environment_is_packed_comes_last() {
        let now = Instant::now();
        let (mut save, _) = Save::begin(Uuid::nil(), 1, Programs::GoOn, 1, now);
        assert_eq!(save.step(SaveEvent::Flushed { tag: 1 }, now), SaveStep::Send(NodeFrame::Copy { tag: 1 }));
        let stored = SaveEvent::Stored { tag: 1, result: Ok(()) };
        assert_eq!(save.step(stored, now), SaveStep::Send(NodeFrame::Flush { tag: 2 }));
        assert_eq!(save.step(SaveEvent::Flushed { tag: 1 }, now), SaveStep::Wait, "the first flush's answer");
        assert_eq!(save.step(SaveEvent::Flushed { tag: 2 }, now), SaveStep::Over(SaveOutcome::Saved));
        let (mut save, _) = Save::begin(Uuid::nil(), 1, Programs::GoOn, 1, now);
        save.step(SaveEvent::Flushed { tag: 1 }, now);
        save.step(SaveEvent::PackFailed { tag: 1, detail: "full".into() }, now);
        assert!(over(&save.step(SaveEvent::Flushed { tag: 2 }, now)), "its files are kept all the same");
    }
}
