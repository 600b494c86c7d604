//! What a sandbox has answered under idempotency keys: rows beside its own.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use crate::{
    actors::{
        Refused,
        idempotency::{Answers, Kept, Key, ROWS},
        quota,
    },
    cluster::StartError,
    store::metadata::Commit,
};

/// Kept answers, and the one that the next commit keeps.
#[derive(Debug, Default)]
pub(super) struct Once {
    answers: Answers<(), { quota::SANDBOX_ANSWERS }>,
    next: Option<(Key, Kept<()>)>,
}

impl Once {
    /// The answers among a sandbox's rows.
    pub(super) fn load(rows: &BTreeMap<String, Vec<u8>>) -> Result<Self, StartError> {
        let broken = |row: &str| StartError::Failed(format!("row {row} can't be read"));
        let kept = rows.iter().filter(|(row, _)| row.starts_with(ROWS)).map(|(row, bytes)| {
            let key = Key::of_row(row).ok_or_else(|| broken(row))?;
            Ok((key, serde_json::from_slice(bytes).map_err(|_| broken(row))?))
        });
        Ok(Self { answers: Answers::load(kept.collect::<Result<_, StartError>>()?), next: None })
    }

    /// What was answered before, or that the key was used for something else.
    pub(super) fn find(&self, key: &Key, fingerprint: &str, now: OffsetDateTime) -> Option<Result<(), Refused>> {
        self.answers.find(key, fingerprint, now).map_or_else(|reused| Some(Err(reused)), |before| before.cloned())
    }

    /// The next commit keeps this answer.
    pub(super) fn keep(&mut self, key: Key, fingerprint: String, answer: &Result<(), Refused>, now: OffsetDateTime) {
        self.next = Some((key, Kept { fingerprint, answer: answer.clone(), at: now }));
    }

    /// Whether an answer waits for a commit.
    pub(super) const fn waits(&self) -> bool {
        self.next.is_some()
    }

    /// Adds what waits to a commit, and what need not be kept any more.
    pub(super) fn add_to(&mut self, commit: &mut Commit, now: OffsetDateTime) {
        let Some((key, kept)) = &self.next else { return };
        commit.deletes.extend(self.answers.prune(now).iter().map(Key::row));
        commit.put_json(key.row(), kept);
    }

    /// That commit has landed. One that fails ends the actor.
    pub(super) fn landed(&mut self) {
        if let Some((key, kept)) = self.next.take() {
            self.answers.keep(key, kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::{Code, Idempotency};

    #[test]
    fn an_answer_is_kept_by_the_commit_it_goes_into() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let key = Key::of(uuid::Uuid::nil(), &Idempotency { key: "k".into(), fingerprint: "f".into() });
        let mut once = Once::default();
        let refused = Err(Refused::from(Code::SandboxEnded));
        once.keep(key.clone(), "f".into(), &refused, now);
        assert!(once.waits() && once.find(&key, "f", now).is_none());
        let mut commit = Commit::default();
        once.add_to(&mut commit, now);
        once.landed();
        assert!(!once.waits());
        assert_eq!(once.find(&key, "f", now), Some(refused.clone()));
        assert_eq!(once.find(&key, "g", now), Some(Err(Code::IdempotencyKeyReused.into())));
        let again = Once::load(&commit.puts.into_iter().collect()).expect("its rows");
        assert_eq!(again.find(&key, "f", now), Some(refused));
    }
}
