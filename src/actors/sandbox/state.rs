//! The sandbox's lifecycle, as a pure state machine.
//!
//! | phase | on | becomes | and |
//! |---|---|---|---|
//! | Provisioning | host made it, agent linked | Running | tell the workspace |
//! | Provisioning | suspend, then as above | Suspending | save, programs go on |
//! | Provisioning | host failed, first time | Provisioning | create again |
//! | Provisioning | host failed again, or 60 s passed | Failed | host: end |
//! | Running | nothing busy | Idle | the idle clock starts |
//! | Idle | busy | Running | |
//! | Idle | idle for too long | Ending | save |
//! | Running, Idle | suspend | Suspending | save, programs go on |
//! | Suspending | resume | Running | |
//! | Suspending | saved, or could not, or 30 s passed | Suspended | close the link, host: freeze |
//! | Suspended | resume | Running | host: thaw |
//! | Suspended | host could not freeze it | Running | |
//! | any living | end | Ending | save, as soon as the agent is linked |
//! | Suspended | end | Ending | host: thaw; save once the agent is linked |
//! | Ending | saved, or could not | Ending | host: end |
//! | Ending | host ended it | Terminated | tell the workspace |
//! | Ending | host did not for 30 s | Terminated | host: end, once it can |
//! | Provisioning, and no host told | end | Terminated | |
//! | Running, Idle, Suspending | its agent is silent for 15 s | as before | ask the host whether it lives |
//! | any filled | ended by itself, or its agent lives and is silent | Harvesting | host: start its agent anew on its disk |
//! | any other | ended by itself | Failed | host: end |
//! | Harvesting | the agent knows the tree | Harvesting | save |
//! | Harvesting | saved, or could not, or 40 s passed | Ending | host: end; then it has Failed |
//! | any living | not held | Failed | host: end |
//!
//! Every change of phase is committed before it is told. Nothing that was written in a sandbox is lost with it as long as
//! its disk is there: an end waits for the agent, and what ended by itself is harvested first.

use std::time::Duration;

use playhouse_protocol::host::{EndCause, HostError, Look};
use time::OffsetDateTime;

use super::record::{NO_TOKEN, Phase, Record};
use crate::actors::workspace::Programs;

/// How long a start may take in all before it counts as failed.
pub const START_WITHIN: Duration = Duration::from_secs(60);
/// How long saving may take: the workspace's own limits lie within it.
pub const SAVE_WITHIN: Duration = Duration::from_secs(120);
/// How long an agent that is away may take to dial when it is to be saved.
pub const AGENT_WITHIN: Duration = Duration::from_secs(15);
/// How long saving may hold up a suspension.
pub const SUSPEND_WITHIN: Duration = Duration::from_secs(30);
/// How long an agent may be away before the host is asked whether it lives.
pub const AGENT_SILENT: Duration = Duration::from_secs(15);
/// How long bringing in what a lost sandbox left may take: the next one waits for it.
pub const HARVEST_WITHIN: Duration = Duration::from_secs(40);
/// How long the host may take to end one: after that it is over here, and the host ends it when it can.
pub const END_WITHIN: Duration = Duration::from_secs(30);
/// How often a start is tried.
pub const STARTS: u32 = 2;

/// What happens to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The host did, or could not do, what it was told to make or end.
    HostDone(Result<(), HostError>),
    /// The host holds it (and how it ended there), or doesn't.
    HostUp(Option<Option<EndCause>>),
    /// It ended by itself.
    HostEnded(EndCause),
    /// Its agent is linked.
    Linked,
    /// Something runs, or nothing does.
    Busy(bool),
    /// Somebody wants it suspended.
    Suspend,
    /// Somebody wants it to go on.
    Resume,
    /// Somebody wants it ended.
    End {
        /// Why.
        reason: String,
        /// Save it first.
        save: bool,
    },
    /// The workspace has saved it, or could not.
    Saved,
    /// Its agent knows the tree.
    Filled,
    /// Its agent could have linked for [`AGENT_SILENT`] and has not.
    Silent,
    /// How the host sees it.
    Looked(Look),
    /// The host could not freeze it.
    NotFrozen,
    /// Time has passed.
    Tick,
}

/// What is to be done, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Keep the record.
    Commit,
    /// Tell the workspace.
    Tell,
    /// Have the host make it, with a fresh token, or with the one that it was told already.
    Create,
    /// Have the host freeze or thaw it.
    Freeze(bool),
    /// Have the workspace save it.
    Save(Programs),
    /// Have the host start its agent anew on its disk, with a token as above.
    Recover,
    /// Have the host look whether it lives.
    Look,
    /// Have the host end it.
    EndAtHost,
}

impl Record {
    /// Takes an event. `linked` says whether its agent can be reached now, `idle_after` when an idle one is ended.
    pub fn step(&mut self, event: Event, now: OffsetDateTime, linked: bool, idle_after: Duration) -> Vec<Effect> {
        match (event, self.phase.clone()) {
            (Event::HostDone(Ok(())) | Event::Linked, Phase::Provisioning { suspend: false, .. }) if linked => {
                self.begin(now)
            }
            (Event::HostDone(Ok(())) | Event::Linked, Phase::Provisioning { suspend: true, .. }) if linked => {
                self.suspend(linked, now)
            }
            (Event::Suspend, Phase::Provisioning { attempt, .. }) => {
                self.phase = Phase::Provisioning { attempt, suspend: true };
                vec![Effect::Commit]
            }
            (Event::Busy(true) | Event::Resume, Phase::Provisioning { attempt, suspend: true }) => {
                self.phase = Phase::Provisioning { attempt, suspend: false };
                vec![Effect::Commit]
            }
            (Event::HostDone(Err(error)), Phase::Provisioning { attempt, suspend }) => match error {
                HostError::Failed { .. } if attempt < STARTS => {
                    self.phase = Phase::Provisioning { attempt: attempt + 1, suspend };
                    vec![Effect::Create]
                }
                HostError::CannotIsolate { .. } => self.fail("host_cannot_isolate"),
                HostError::Failed { .. } | HostError::Unknown | HostError::Fenced { .. } => self.fail("start_failed"),
            },
            // The same again, if it was told before; a host that holds it with another token starts it anew.
            (Event::HostUp(None | Some(None)), Phase::Provisioning { .. }) => vec![Effect::Create],
            (Event::Tick, Phase::Provisioning { .. }) if now - self.created_at > START_WITHIN => {
                self.fail("start_timeout")
            }

            (Event::Busy(false), Phase::Running) => {
                self.phase = Phase::Idle { since: now };
                self.last_activity_at = now;
                vec![Effect::Commit, Effect::Tell]
            }
            (Event::Busy(true), Phase::Idle { .. }) | (Event::Resume, Phase::Suspending { .. }) => self.begin(now),
            (Event::Resume, Phase::Running | Phase::Idle { .. }) => {
                self.last_activity_at = now;
                Vec::new()
            }
            (Event::Busy(true) | Event::Resume, Phase::Suspended) => {
                let mut effects = vec![Effect::Freeze(false)];
                effects.extend(self.begin(now));
                effects
            }
            (Event::Tick, Phase::Idle { since }) if now - since > idle_after => self.end("idle", true, linked, now),
            (Event::Suspend, Phase::Running | Phase::Idle { .. }) => self.suspend(linked, now),
            (Event::Linked, Phase::Suspending { .. }) => vec![Effect::Save(Programs::GoOn)],
            (Event::Saved, Phase::Suspending { .. }) => self.freeze(now),
            (Event::Tick, Phase::Suspending { since })
                if now - since > if linked { SUSPEND_WITHIN } else { AGENT_WITHIN } =>
            {
                self.freeze(now)
            }
            // It goes on as it did, and so does its agent, which dials again.
            (Event::NotFrozen, Phase::Suspended) => {
                let mut effects = vec![Effect::Freeze(false)];
                effects.extend(self.begin(now));
                effects
            }

            (Event::End { reason, save }, Phase::Suspended) => {
                // Its agent dials again once it goes on; then it can be saved.
                self.phase = Phase::Ending { reason, saving: save, failed: false, since: now };
                let mut effects = vec![Effect::Freeze(false), Effect::Commit, Effect::Tell];
                effects.extend((!save).then_some(Effect::EndAtHost));
                effects
            }
            (
                Event::End { reason, save },
                Phase::Provisioning { .. } | Phase::Running | Phase::Idle { .. } | Phase::Suspending { .. },
            ) => self.end(&reason, save, linked, now),
            // Who ends it without saving doesn't wait for a saving that is under way.
            (Event::End { save: false, .. } | Event::Saved, Phase::Ending { reason, saving: true, failed, .. }) => {
                self.end_at_host(reason, failed, now)
            }
            (Event::Tick, Phase::Ending { reason, saving: true, failed, since })
                if now - since > if linked { SAVE_WITHIN } else { AGENT_WITHIN } =>
            {
                if !linked && self.filled {
                    return self.harvest(reason, failed, now);
                }
                self.end_at_host(reason, failed, now)
            }
            // After a restart nobody remembers that it was being saved: save again when its agent is back.
            (Event::Linked, Phase::Ending { saving: true, .. }) => vec![Effect::Save(Programs::Stop)],
            (
                Event::HostEnded(_) | Event::HostUp(Some(Some(_))),
                Phase::Ending { reason, saving: true, failed, .. },
            ) if self.filled => self.harvest(reason, failed, now),
            (Event::HostDone(_), Phase::Ending { reason, saving: false, failed, .. })
            | (Event::HostUp(None) | Event::HostEnded(_), Phase::Ending { reason, failed, .. }) => {
                self.phase = Phase::Over { reason, failed };
                vec![Effect::Commit, Effect::Tell, Effect::EndAtHost]
            }
            (Event::Tick, Phase::Ending { reason, saving: false, failed, since }) if now - since > END_WITHIN => {
                self.phase = Phase::Over { reason, failed };
                vec![Effect::Commit, Effect::Tell, Effect::EndAtHost]
            }
            (Event::HostUp(Some(_)), Phase::Ending { saving: false, .. }) => vec![Effect::EndAtHost],
            (Event::HostUp(Some(Some(_))), Phase::Ending { reason, saving: true, failed, .. }) => {
                self.end_at_host(reason, failed, now)
            }

            (Event::HostUp(None) | Event::Looked(Look::Unknown), Phase::Running | Phase::Idle { .. })
            | (Event::HostUp(None) | Event::Looked(Look::Unknown), Phase::Suspending { .. })
            | (Event::HostUp(None), Phase::Suspended) => self.fail("sandbox_lost"),
            (
                Event::HostUp(Some(Some(cause))) | Event::HostEnded(cause) | Event::Looked(Look::Ended(cause)),
                Phase::Provisioning { .. }
                | Phase::Running
                | Phase::Idle { .. }
                | Phase::Suspending { .. }
                | Phase::Suspended,
            ) => self.lost(
                match cause {
                    EndCause::OutOfMemory => "out_of_memory",
                    EndCause::AgentExited { .. } => "sandbox_lost",
                },
                now,
            ),
            (Event::Silent, Phase::Running | Phase::Idle { .. } | Phase::Suspending { .. }) => vec![Effect::Look],
            (Event::Looked(Look::Runs), Phase::Running | Phase::Idle { .. } | Phase::Suspending { .. }) if !linked => {
                self.lost("agent_silent", now)
            }
            // A host that died may have been told to freeze or to thaw it, and not have done it.
            (Event::HostUp(Some(None)), Phase::Suspended) => vec![Effect::Freeze(true)],
            (
                Event::HostUp(Some(None)) | Event::Looked(Look::Frozen),
                Phase::Running | Phase::Idle { .. } | Phase::Suspending { .. } | Phase::Ending { saving: true, .. },
            ) if !linked => vec![Effect::Freeze(false)],

            (Event::Filled, Phase::Harvesting { .. }) => vec![Effect::Save(Programs::Stop)],
            (Event::Filled, _) if !self.filled && !self.over() => {
                self.filled = true;
                vec![Effect::Commit]
            }
            (
                Event::Saved | Event::End { save: false, .. } | Event::HostDone(Err(_)) | Event::HostEnded(_),
                Phase::Harvesting { reason, failed, .. },
            ) => self.harvested(reason, failed, now),
            (Event::Tick, Phase::Harvesting { reason, failed, since })
                if now - since > if linked { HARVEST_WITHIN } else { AGENT_WITHIN } =>
            {
                self.harvested(reason, failed, now)
            }
            // What was being done at the host when it, or this node, died is done again.
            (Event::HostUp(Some(_)), Phase::Harvesting { .. }) if !linked => vec![Effect::Recover],
            (Event::HostUp(None), Phase::Harvesting { reason, failed, .. }) => {
                self.phase = Phase::Over { reason, failed };
                vec![Effect::Commit, Effect::Tell, Effect::EndAtHost]
            }
            // What is over here must not run there.
            (Event::HostUp(Some(_)), Phase::Over { .. }) => vec![Effect::EndAtHost],

            (
                Event::HostDone(_)
                | Event::HostUp(_)
                | Event::HostEnded(_)
                | Event::Linked
                | Event::Busy(_)
                | Event::Suspend
                | Event::Resume
                | Event::End { .. }
                | Event::Saved
                | Event::Filled
                | Event::Silent
                | Event::Looked(_)
                | Event::NotFrozen
                | Event::Tick,
                _,
            ) => Vec::new(),
        }
    }

    fn begin(&mut self, now: OffsetDateTime) -> Vec<Effect> {
        self.phase = Phase::Running;
        self.last_activity_at = now;
        vec![Effect::Commit, Effect::Tell]
    }

    fn suspend(&mut self, linked: bool, now: OffsetDateTime) -> Vec<Effect> {
        self.phase = Phase::Suspending { since: now };
        self.last_activity_at = now;
        let mut effects = vec![Effect::Commit, Effect::Tell];
        effects.extend(linked.then_some(Effect::Save(Programs::GoOn)));
        effects
    }

    fn freeze(&mut self, now: OffsetDateTime) -> Vec<Effect> {
        self.phase = Phase::Suspended;
        self.last_activity_at = now;
        vec![Effect::Freeze(true), Effect::Commit, Effect::Tell]
    }

    /// What is to be kept of it is kept, or can't be.
    fn end_at_host(&mut self, reason: String, failed: bool, now: OffsetDateTime) -> Vec<Effect> {
        self.phase = Phase::Ending { reason, saving: false, failed, since: now };
        vec![Effect::EndAtHost]
    }

    fn end(&mut self, reason: &str, save: bool, linked: bool, now: OffsetDateTime) -> Vec<Effect> {
        if self.token_hash == NO_TOKEN {
            self.phase = Phase::Over { reason: reason.to_owned(), failed: false };
            return vec![Effect::Commit, Effect::Tell];
        }
        // One whose agent is away for a moment has what it wrote all the same.
        let saving = save && (linked || self.filled);
        self.phase = Phase::Ending { reason: reason.to_owned(), saving, failed: false, since: now };
        let mut effects = vec![Effect::Commit, Effect::Tell];
        match (saving, linked) {
            (true, true) => effects.push(Effect::Save(Programs::Stop)),
            (true, false) => {}
            (false, _) => effects.push(Effect::EndAtHost),
        }
        effects
    }

    fn fail(&mut self, reason: &str) -> Vec<Effect> {
        self.phase = Phase::Over { reason: reason.to_owned(), failed: true };
        vec![Effect::Commit, Effect::Tell, Effect::EndAtHost]
    }

    fn lost(&mut self, reason: &str, now: OffsetDateTime) -> Vec<Effect> {
        if self.filled { self.harvest(reason.to_owned(), true, now) } else { self.fail(reason) }
    }

    fn harvest(&mut self, reason: String, failed: bool, now: OffsetDateTime) -> Vec<Effect> {
        self.phase = Phase::Harvesting { reason, failed, since: now };
        vec![Effect::Commit, Effect::Tell, Effect::Recover]
    }

    fn harvested(&mut self, reason: String, failed: bool, now: OffsetDateTime) -> Vec<Effect> {
        self.phase = Phase::Ending { reason, saving: false, failed, since: now };
        vec![Effect::Commit, Effect::EndAtHost]
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
