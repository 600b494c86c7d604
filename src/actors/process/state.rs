//! A process's life, and the row it is kept in.
//!
//! Pure. `Pending → Running → Ending → Ended`; every state may go to `Ending`. In `Ending` it is known how it ended, but
//! the log may not have all its output yet; it is shown as running until the row that says otherwise is committed.
//!
//! Invariant: an accepted cancel makes it `cancelled`, whatever the exit.

use playhouse_protocol::{EventId, agent::Exit};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::command::ProcessRecord;
use crate::actors::{
    sandbox::Fate,
    views::{ProcessStatus, ProcessView},
};

/// The longest reason taken from an agent.
const REASON_BYTES: usize = 64;

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Its exit code.
    pub exit_code: Option<i32>,
    /// The signal that ended it, by name.
    pub signal: Option<String>,
    /// The cause where it is not the program's own.
    pub reason: Option<String>,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub finished_at: OffsetDateTime,
    /// Its last output event.
    pub last: EventId,
    /// The bytes of all its output; older rows don't say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

impl Outcome {
    /// Whether it was killed, or was a shell that says so of what it ran: shells exit with 128 and the signal's number.
    fn was_killed(&self) -> bool {
        self.signal.as_deref() == Some("KILL") || self.exit_code == Some(128 + 9)
    }
}

/// Where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// Accepted, not started.
    Pending,
    /// It runs.
    Running,
    /// It has ended; its end is not committed. Never in a row.
    #[serde(skip)]
    Ending(Outcome),
    /// It has ended.
    Ended(Outcome),
}

/// A process's life: what its row holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// What it was made from.
    pub record: ProcessRecord,
    /// Where it is.
    pub phase: Phase,
    /// When it started.
    #[serde(with = "time::serde::rfc3339::option")]
    pub started_at: Option<OffsetDateTime>,
    /// A cancel was accepted.
    pub cancelled: bool,
    /// How often its sandbox had run out of memory when it started.
    pub oom_kills: Option<u64>,
}

impl Life {
    /// A process that was just accepted.
    #[must_use]
    pub const fn new(record: ProcessRecord) -> Self {
        Self { record, phase: Phase::Pending, started_at: None, cancelled: false, oom_kills: None }
    }

    /// What is shown as its status.
    #[must_use]
    pub fn status(&self) -> ProcessStatus {
        match &self.phase {
            Phase::Pending => ProcessStatus::Pending,
            Phase::Running => ProcessStatus::Running,
            Phase::Ending(_) if self.started_at.is_none() => ProcessStatus::Pending,
            Phase::Ending(_) => ProcessStatus::Running,
            Phase::Ended(_) if self.cancelled => ProcessStatus::Cancelled,
            Phase::Ended(Outcome { exit_code: Some(0), reason: None, .. }) => ProcessStatus::Completed,
            Phase::Ended(_) => ProcessStatus::Failed,
        }
    }

    /// How it ended, if that is committed.
    #[must_use]
    pub const fn outcome(&self) -> Option<&Outcome> {
        match &self.phase {
            Phase::Ended(outcome) => Some(outcome),
            Phase::Pending | Phase::Running | Phase::Ending(_) => None,
        }
    }

    /// Whether it is known to have ended, committed or not.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ending(_) | Phase::Ended(_))
    }

    /// It runs now. False when that is no news.
    pub fn start(&mut self, now: OffsetDateTime) -> bool {
        if self.phase != Phase::Pending {
            return false;
        }
        self.phase = Phase::Running;
        self.started_at = Some(now);
        true
    }

    /// It has ended. False when that is no news.
    pub fn end(&mut self, mut outcome: Outcome) -> bool {
        if self.is_over() {
            return false;
        }
        // The agent dates the end in milliseconds, by when its host saw it; the start is dated by when it was heard of.
        outcome.finished_at = self.started_at.map_or(outcome.finished_at, |started| outcome.finished_at.max(started));
        self.phase = Phase::Ending(outcome);
        true
    }

    /// Whether its sandbox may have ended it: then the sandbox is asked before the end is committed.
    #[must_use]
    pub fn suspects_sandbox(&self) -> bool {
        matches!(&self.phase, Phase::Ending(outcome)
            if !self.cancelled && outcome.reason.is_none()
                && (outcome.was_killed() || matches!(outcome.signal.as_deref(), Some("TERM" | "HUP"))))
    }

    /// What the sandbox says may have ended it.
    pub fn blame(&mut self, fate: Fate) {
        if !self.suspects_sandbox() {
            return;
        }
        let ran_out = self.oom_kills.is_some_and(|before| fate.oom_kills > before);
        if let Phase::Ending(outcome) = &mut self.phase {
            outcome.reason = match fate.ending {
                Some(ending) => Some(ending),
                None if ran_out && outcome.was_killed() => Some("out_of_memory".to_owned()),
                None => None,
            };
        }
    }

    /// Its end, as it is to be committed.
    #[must_use]
    pub fn ended(&self) -> Option<Self> {
        match &self.phase {
            Phase::Ending(outcome) => Some(Self { phase: Phase::Ended(outcome.clone()), ..self.clone() }),
            Phase::Pending | Phase::Running | Phase::Ended(_) => None,
        }
    }

    /// As the API shows it.
    #[must_use]
    pub fn view(&self) -> ProcessView {
        let outcome = self.outcome();
        ProcessView {
            id: self.record.id,
            workspace_id: self.record.workspace_id,
            sandbox_id: self.record.sandbox_id,
            command: self.record.command.clone(),
            pty: self.record.pty,
            status: self.status(),
            exit_code: outcome.and_then(|outcome| outcome.exit_code),
            signal: outcome.and_then(|outcome| outcome.signal.clone()),
            reason: outcome.and_then(|outcome| outcome.reason.clone()),
            started_at: self.started_at,
            finished_at: outcome.map(|outcome| outcome.finished_at),
        }
    }
}

/// What an agent's word for the end comes to, once everything up to `last` is here.
#[must_use]
pub fn outcome_of(exit: &Exit, last: EventId, bytes: u64, now: OffsetDateTime) -> Outcome {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(exit.at_ms) * 1_000_000);
    let plain = |reason: &String| {
        let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        reason.len() <= REASON_BYTES && reason.bytes().all(word)
    };
    Outcome {
        exit_code: exit.code.filter(|_| exit.signal.is_none()),
        signal: exit.signal.map(signal_name),
        reason: exit.reason.clone().filter(plain),
        // An agent's clock is its host's; one that is ahead would show an end in the future.
        finished_at: at.map_or(now, |at| at.min(now)),
        last,
        bytes: Some(bytes),
    }
}

/// The name of a signal as the contract writes it.
#[must_use]
fn signal_name(signal: i32) -> String {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
        "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF",
        "WINCH", "IO", "PWR", "SYS",
    ];
    let index = usize::try_from(signal - 1).ok();
    index.and_then(|index| NAMES.get(index)).map_or_else(|| signal.to_string(), |name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::actors::views::RunCommand;

    fn life() -> Life {
        Life::new(ProcessRecord {
            id: Uuid::nil(),
            workspace_id: Uuid::nil(),
            sandbox_id: Uuid::nil(),
            user_id: Uuid::nil(),
            command: RunCommand::Line("true".to_owned()),
            pty: false,
            created_at: OffsetDateTime::UNIX_EPOCH,
        })
    }

    fn exit(code: Option<i32>, signal: Option<i32>) -> Exit {
        Exit { last_sequence: 0, code, signal, reason: None, at_ms: 1000 }
    }

    fn ended(mut life: Life, exit: &Exit) -> Life {
        let now = OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(5);
        assert!(life.end(outcome_of(exit, EventId::ZERO, 0, now)));
        assert!(!life.end(outcome_of(exit, EventId::ZERO, 0, now)));
        life.ended().expect("ending")
    }

    #[test]
    fn the_exit_decides_the_status_and_a_cancel_overrules_it() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let mut running = life();
        assert_eq!(running.status(), ProcessStatus::Pending);
        assert!(running.start(now) && !running.start(now));
        assert_eq!(running.status(), ProcessStatus::Running);
        assert_eq!(ended(running.clone(), &exit(Some(0), None)).status(), ProcessStatus::Completed);
        assert_eq!(ended(running.clone(), &exit(Some(3), None)).status(), ProcessStatus::Failed);
        let killed = ended(running.clone(), &exit(None, Some(9)));
        assert_eq!((killed.status(), killed.view().signal.as_deref()), (ProcessStatus::Failed, Some("KILL")));
        assert_eq!(killed.view().exit_code, None);
        running.cancelled = true;
        assert_eq!(ended(running.clone(), &exit(Some(0), None)).status(), ProcessStatus::Cancelled);
        let mut ending = running;
        ending.end(outcome_of(&exit(Some(0), None), EventId::ZERO, 0, now));
        assert_eq!(ending.status(), ProcessStatus::Running, "until it is committed");
    }

    #[test]
    fn the_sandbox_is_blamed_only_for_what_it_did() {
        let ended = |signal: i32, before: Option<u64>, fate: Fate| {
            let mut life = life();
            life.start(OffsetDateTime::UNIX_EPOCH);
            life.oom_kills = before;
            life.end(outcome_of(&exit(None, Some(signal)), EventId::ZERO, 0, OffsetDateTime::UNIX_EPOCH));
            life.blame(fate);
            life.ended().expect("ending").view().reason
        };
        let oom = |oom_kills| Fate { oom_kills, ending: None };
        assert_eq!(ended(9, Some(1), oom(2)).as_deref(), Some("out_of_memory"));
        assert_eq!(ended(9, Some(2), oom(2)), None);
        assert_eq!(ended(9, None, oom(2)), None);
        assert_eq!(ended(15, Some(1), oom(2)), None);
        let by_shell = |code: i32| {
            let mut life = life();
            life.start(OffsetDateTime::UNIX_EPOCH);
            life.oom_kills = Some(1);
            life.end(outcome_of(&exit(Some(code), None), EventId::ZERO, 0, OffsetDateTime::UNIX_EPOCH));
            life.blame(oom(2));
            life.ended().expect("ending").view().reason
        };
        assert_eq!(by_shell(137).as_deref(), Some("out_of_memory"));
        assert_eq!(by_shell(1), None);
        let stopped = || Fate { oom_kills: 0, ending: Some("node_stopped".to_owned()) };
        assert_eq!(ended(15, Some(0), stopped()).as_deref(), Some("node_stopped"));
        assert_eq!(ended(11, Some(0), stopped()), None, "its own fault");
    }

    #[test]
    fn rows_of_version_one_decode() {
        let row = r#"{"record":{"id":"00000000-0000-0000-0000-000000000000","workspace_id":"00000000-0000-0000-0000-000000000000","sandbox_id":"00000000-0000-0000-0000-000000000000","user_id":"00000000-0000-0000-0000-000000000000","command":"true","pty":false,"created_at":"1970-01-01T00:00:00Z"},"phase":{"phase":"ended","exit_code":0,"signal":null,"reason":null,"finished_at":"1970-01-01T00:00:01Z","last":"0-7"},"started_at":"1970-01-01T00:00:00Z","cancelled":false,"oom_kills":null}"#;
        let life: Life = serde_json::from_str(row).expect("a row");
        assert_eq!(
            (life.status(), life.outcome().map(|o| o.last)),
            (ProcessStatus::Completed, Some(EventId::new(0, 7)))
        );
        assert_eq!(serde_json::to_string(&life).expect("JSON"), row);
    }

    #[test]
    fn what_an_agent_says_is_bounded() {
        let odd = Exit { reason: Some("A <b>".to_owned()), at_ms: u64::MAX, ..exit(Some(1), Some(77)) };
        let outcome = outcome_of(&odd, EventId::ZERO, 0, OffsetDateTime::UNIX_EPOCH);
        assert_eq!((outcome.reason, outcome.exit_code, outcome.signal.as_deref()), (None, None, Some("77")));
        assert_eq!(outcome.finished_at, OffsetDateTime::UNIX_EPOCH);
    }
}
