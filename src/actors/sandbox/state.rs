//! The sandbox's lifecycle, as a pure state machine.
//!
//! | phase | on | becomes | and |
//! |---|---|---|---|
//! | Provisioning | host made it, agent linked | Running | tell the workspace |
//! | Provisioning | suspend, then as above | Suspended | close the link, host: freeze |
//! | Provisioning | host failed, first time | Provisioning | create again |
//! | Provisioning | host failed again, or 60 s passed | Failed | host: end |
//! | Running | nothing busy | Idle | the idle clock starts |
//! | Idle | busy | Running | |
//! | Idle | idle for too long | Ending | save |
//! | Running, Idle | suspend | Suspended | close the link, host: freeze |
//! | Suspended | resume, or busy | Running | host: thaw |
//! | any living | end | Ending | save, if the agent is linked |
//! | Suspended | end | Ending | host: thaw; save once the agent is linked |
//! | Ending | saved, or could not | Ending | host: end |
//! | Ending | host ended it | Terminated | tell the workspace |
//! | any living | ended by itself, or not held | Failed | host: end |
//!
//! Every change of phase is committed before it is told.

use std::time::Duration;

use playhouse_protocol::{
    handshake::TokenHash,
    host::{EndCause, HostError},
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::actors::views::{SandboxStatus, SandboxView, UsageView};

/// How long a start may take in all before it counts as failed.
pub const START_WITHIN: Duration = Duration::from_secs(60);
/// How long saving may take: the workspace's own limits lie within it.
pub const SAVE_WITHIN: Duration = Duration::from_secs(120);
/// How long an agent that is away may take to dial when it is to be saved.
pub const AGENT_WITHIN: Duration = Duration::from_secs(15);
/// How often a start is tried.
pub const STARTS: u32 = 2;

/// Where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// The host makes it.
    Provisioning {
        /// Which try this is, from 1.
        attempt: u32,
        /// Somebody wants it suspended as soon as it is made.
        #[serde(default)]
        suspend: bool,
    },
    /// Programs run.
    Running,
    /// Nothing runs since then.
    Idle {
        /// Since then.
        #[serde(with = "time::serde::rfc3339")]
        since: OffsetDateTime,
    },
    /// Its programs stand still.
    Suspended,
    /// It is being ended.
    Ending {
        /// Why.
        reason: String,
        /// Its files and environment are being saved; then the host ends it.
        saving: bool,
        /// What it will be.
        failed: bool,
        /// Since when.
        #[serde(with = "time::serde::rfc3339")]
        since: OffsetDateTime,
    },
    /// It is over.
    Over {
        /// Why.
        reason: String,
        /// It failed or was lost.
        failed: bool,
    },
}

/// What is kept of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its id.
    pub id: Uuid,
    /// Its workspace.
    pub workspace_id: Uuid,
    /// For whom it was made.
    pub user_id: Uuid,
    /// The template's name.
    pub template: String,
    /// The instance type's name.
    pub instance_type: String,
    /// What isolates it.
    pub isolation: String,
    /// What its agent proves itself by.
    pub token_hash: TokenHash,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When something last began or ended in it.
    #[serde(with = "time::serde::rfc3339")]
    pub last_activity_at: OffsetDateTime,
    /// Where it is.
    pub phase: Phase,
}

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
    /// Have the host make it, with a fresh token.
    Create,
    /// Have the host freeze or thaw it.
    Freeze(bool),
    /// Have the workspace save it.
    Save,
    /// Have the host end it.
    EndAtHost,
}

impl Record {
    /// Whether it is over.
    #[must_use]
    pub const fn over(&self) -> bool {
        matches!(self.phase, Phase::Over { .. })
    }

    /// Why it is being ended, or was.
    #[must_use]
    pub fn ending(&self) -> Option<&str> {
        match &self.phase {
            Phase::Ending { reason, .. } | Phase::Over { reason, .. } => Some(reason),
            Phase::Provisioning { .. } | Phase::Running | Phase::Idle { .. } | Phase::Suspended => None,
        }
    }

    /// Whether an agent may link.
    #[must_use]
    pub const fn takes_agent(&self) -> bool {
        !matches!(self.phase, Phase::Over { .. })
    }

    /// Takes an event. `linked` says whether its agent can be reached now, `idle_after` when an idle one is ended.
    pub fn step(&mut self, event: Event, now: OffsetDateTime, linked: bool, idle_after: Duration) -> Vec<Effect> {
        match (event, self.phase.clone()) {
            (Event::HostDone(Ok(())) | Event::Linked, Phase::Provisioning { suspend: false, .. }) if linked => {
                self.begin(now)
            }
            (Event::HostDone(Ok(())) | Event::Linked, Phase::Provisioning { suspend: true, .. }) if linked => {
                self.suspend(now)
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
            (Event::HostUp(None), Phase::Provisioning { .. }) => vec![Effect::Create],
            (Event::Tick, Phase::Provisioning { .. }) if now - self.created_at > START_WITHIN => {
                self.fail("start_timeout")
            }

            (Event::Busy(false), Phase::Running) => {
                self.phase = Phase::Idle { since: now };
                self.last_activity_at = now;
                vec![Effect::Commit, Effect::Tell]
            }
            (Event::Busy(true), Phase::Idle { .. }) => self.begin(now),
            (Event::Busy(true) | Event::Resume, Phase::Suspended) => {
                let mut effects = vec![Effect::Freeze(false)];
                effects.extend(self.begin(now));
                effects
            }
            (Event::Tick, Phase::Idle { since }) if now - since > idle_after => self.end("idle", true, linked, now),
            (Event::Suspend, Phase::Running | Phase::Idle { .. }) => self.suspend(now),

            (Event::End { reason, save }, Phase::Suspended) => {
                // Its agent dials again once it goes on; then it can be saved.
                self.phase = Phase::Ending { reason, saving: save, failed: false, since: now };
                let mut effects = vec![Effect::Freeze(false), Effect::Commit, Effect::Tell];
                effects.extend((!save).then_some(Effect::EndAtHost));
                effects
            }
            (Event::End { reason, save }, Phase::Provisioning { .. } | Phase::Running | Phase::Idle { .. }) => {
                self.end(&reason, save, linked, now)
            }
            // Who ends it without saving doesn't wait for a saving that is under way.
            (Event::End { save: false, .. } | Event::Saved, Phase::Ending { reason, saving: true, failed, since }) => {
                self.phase = Phase::Ending { reason, saving: false, failed, since };
                vec![Effect::EndAtHost]
            }
            (Event::Tick, Phase::Ending { reason, saving: true, failed, since })
                if now - since > if linked { SAVE_WITHIN } else { AGENT_WITHIN } =>
            {
                self.phase = Phase::Ending { reason, saving: false, failed, since };
                vec![Effect::EndAtHost]
            }
            // After a restart nobody remembers that it was being saved: save again when its agent is back.
            (Event::Linked, Phase::Ending { saving: true, .. }) => vec![Effect::Save],
            (Event::HostDone(_), Phase::Ending { reason, saving: false, failed, .. })
            | (Event::HostUp(None) | Event::HostEnded(_), Phase::Ending { reason, failed, .. }) => {
                self.phase = Phase::Over { reason, failed };
                vec![Effect::Commit, Effect::Tell, Effect::EndAtHost]
            }
            (Event::HostUp(Some(_)), Phase::Ending { saving: false, .. }) => vec![Effect::EndAtHost],

            (Event::HostUp(None), Phase::Running | Phase::Idle { .. } | Phase::Suspended) => self.fail("sandbox_lost"),
            (
                Event::HostUp(Some(Some(cause))) | Event::HostEnded(cause),
                Phase::Provisioning { .. } | Phase::Running | Phase::Idle { .. } | Phase::Suspended,
            ) => match cause {
                EndCause::OutOfMemory => self.fail("out_of_memory"),
                EndCause::AgentExited { .. } => self.fail("sandbox_lost"),
            },
            (Event::HostUp(Some(Some(_))), Phase::Ending { reason, saving: true, failed, since }) => {
                self.phase = Phase::Ending { reason, saving: false, failed, since };
                vec![Effect::EndAtHost]
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

    fn suspend(&mut self, now: OffsetDateTime) -> Vec<Effect> {
        self.phase = Phase::Suspended;
        self.last_activity_at = now;
        vec![Effect::Freeze(true), Effect::Commit, Effect::Tell]
    }

    fn end(&mut self, reason: &str, save: bool, linked: bool, now: OffsetDateTime) -> Vec<Effect> {
        let saving = save && linked;
        self.phase = Phase::Ending { reason: reason.to_owned(), saving, failed: false, since: now };
        vec![Effect::Commit, Effect::Tell, if saving { Effect::Save } else { Effect::EndAtHost }]
    }

    fn fail(&mut self, reason: &str) -> Vec<Effect> {
        self.phase = Phase::Over { reason: reason.to_owned(), failed: true };
        vec![Effect::Commit, Effect::Tell, Effect::EndAtHost]
    }

    /// As the API shows it.
    #[must_use]
    pub fn view(&self, usage: UsageView, idle_after: Duration) -> SandboxView {
        let (status, reason) = match &self.phase {
            Phase::Provisioning { .. } => (SandboxStatus::Provisioning, None),
            Phase::Running => (SandboxStatus::Running, None),
            Phase::Idle { .. } => (SandboxStatus::Idle, None),
            Phase::Suspended => (SandboxStatus::Suspended, None),
            Phase::Ending { reason, .. } => (SandboxStatus::Suspending, Some(reason.clone())),
            Phase::Over { reason, failed: false } => (SandboxStatus::Terminated, Some(reason.clone())),
            Phase::Over { reason, failed: true } => (SandboxStatus::Failed, Some(reason.clone())),
        };
        let expires_at = if let Phase::Idle { since } = &self.phase { Some(*since + idle_after) } else { None };
        SandboxView {
            id: self.id,
            workspace_id: self.workspace_id,
            user_id: self.user_id,
            status,
            reason,
            instance_type: self.instance_type.clone(),
            isolation: self.isolation.clone(),
            ip_address: None,
            created_at: self.created_at,
            last_activity_at: self.last_activity_at,
            expires_at,
            usage,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(60);

    fn record() -> Record {
        let now = OffsetDateTime::UNIX_EPOCH;
        Record {
            id: Uuid::from_u128(1),
            workspace_id: Uuid::from_u128(2),
            user_id: Uuid::from_u128(3),
            template: "blank".into(),
            instance_type: "cpu-small".into(),
            isolation: "hardened-container".into(),
            token_hash: [0; 32],
            created_at: now,
            last_activity_at: now,
            phase: Phase::Provisioning { attempt: 1, suspend: false },
        }
    }

    fn at(seconds: u64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_table_is_walked() {
        let mut r = record();
        assert!(r.step(Event::HostDone(Ok(())), at(1), false, IDLE).is_empty());
        assert_eq!(r.step(Event::Linked, at(1), true, IDLE), [Effect::Commit, Effect::Tell]);
        assert_eq!(r.phase, Phase::Running);
        r.step(Event::Busy(false), at(2), true, IDLE);
        assert!(r.step(Event::Tick, at(62), true, IDLE).is_empty());
        assert_eq!(r.step(Event::Tick, at(63), true, IDLE), [Effect::Commit, Effect::Tell, Effect::Save]);
        assert_eq!(r.step(Event::Saved, at(64), true, IDLE), [Effect::EndAtHost]);
        r.step(Event::HostDone(Ok(())), at(65), false, IDLE);
        assert_eq!(r.phase, Phase::Over { reason: "idle".into(), failed: false });
        assert_eq!(r.step(Event::HostUp(Some(None)), at(66), false, IDLE), [Effect::EndAtHost]);
    }

    #[test]
    fn a_start_is_tried_twice_and_then_failed() {
        let failed = || Event::HostDone(Err(HostError::Failed { step: "mount".into(), detail: "busy".into() }));
        let mut r = record();
        assert_eq!(r.step(failed(), at(1), false, IDLE), [Effect::Create]);
        r.step(failed(), at(2), false, IDLE);
        assert_eq!(r.phase, Phase::Over { reason: "start_failed".into(), failed: true });
    }

    #[test]
    fn one_that_the_host_does_not_hold_is_lost() {
        let mut r = record();
        assert_eq!(r.step(Event::HostUp(None), at(1), false, IDLE), [Effect::Create]);
        r.step(Event::Linked, at(1), true, IDLE);
        r.step(Event::HostUp(None), at(2), false, IDLE);
        assert_eq!(r.phase, Phase::Over { reason: "sandbox_lost".into(), failed: true });
    }

    #[test]
    fn a_suspended_one_is_saved_once_its_agent_is_back() {
        let end = || Event::End { reason: "ended".into(), save: true };
        let mut r = record();
        r.step(Event::Linked, at(1), true, IDLE);
        r.step(Event::Suspend, at(2), true, IDLE);
        assert_eq!(r.step(end(), at(3), false, IDLE), [Effect::Freeze(false), Effect::Commit, Effect::Tell]);
        let mut away = r.clone();
        assert_eq!(r.step(Event::Linked, at(4), true, IDLE), [Effect::Save]);
        assert_eq!(r.step(Event::Saved, at(5), true, IDLE), [Effect::EndAtHost]);
        assert_eq!(away.step(Event::Tick, at(19), false, IDLE), [Effect::EndAtHost], "an agent that stays away");
    }

    #[test]
    fn suspend_and_resume() {
        let mut r = record();
        r.step(Event::Linked, at(1), true, IDLE);
        assert_eq!(r.step(Event::Suspend, at(2), true, IDLE)[0], Effect::Freeze(true));
        assert_eq!(r.step(Event::Busy(true), at(3), false, IDLE)[0], Effect::Freeze(false));
        assert_eq!(r.phase, Phase::Running);
    }

    #[test]
    fn one_that_is_suspended_while_it_is_made_is_suspended_when_it_is_made() {
        let mut r = record();
        r.step(Event::Suspend, at(1), false, IDLE);
        assert_eq!(r.step(Event::Linked, at(2), true, IDLE)[0], Effect::Freeze(true));
        assert_eq!(r.phase, Phase::Suspended);
        let mut r = record();
        r.step(Event::Suspend, at(1), false, IDLE);
        r.step(Event::Busy(true), at(1), false, IDLE);
        r.step(Event::Linked, at(2), true, IDLE);
        assert_eq!(r.phase, Phase::Running);
    }
}
