//! Answers kept under idempotency keys: a retry within 24 hours gets the first answer again and does nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{Code, Idempotency, Refused};

/// How long an answer is kept.
pub const KEEP: Duration = Duration::hours(24);
/// Who asked, and the hash of under which key: `idem/<user>/<hash>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    user: Uuid,
    hash: String,
}

impl Key {
    /// The key of this request.
    #[must_use]
    pub fn of(user: Uuid, idempotency: &Idempotency) -> Self {
        Self { user, hash: blake3::hash(idempotency.key.as_bytes()).to_hex().as_str()[..32].to_owned() }
    }

    /// The row it is kept in.
    #[must_use]
    pub fn row(&self) -> String {
        format!("{ROWS}{}/{}", self.user, self.hash)
    }

    /// The key of a row.
    #[must_use]
    pub fn of_row(row: &str) -> Option<Self> {
        let (user, hash) = row.strip_prefix(ROWS)?.split_once('/')?;
        Some(Self { user: user.parse().ok()?, hash: hash.to_owned() })
    }
}

/// Where the rows of kept answers begin.
pub const ROWS: &str = "idem/";

/// A kept answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept<A> {
    /// Of the request it answers.
    pub fingerprint: String,
    /// The answer.
    pub answer: Result<A, Refused>,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

/// All kept answers of an entity, at most `MOST`: past that the oldest go first.
#[derive(Debug)]
pub struct Answers<A, const MOST: usize> {
    kept: HashMap<Key, Kept<A>>,
    ages: BTreeSet<(OffsetDateTime, Key)>,
}

impl<A, const MOST: usize> Default for Answers<A, MOST> {
    fn default() -> Self {
        Self { kept: HashMap::new(), ages: BTreeSet::new() }
    }
}

impl<A, const MOST: usize> Answers<A, MOST> {
    /// The answers of these rows.
    #[must_use]
    pub fn load(rows: BTreeMap<Key, Kept<A>>) -> Self {
        let mut answers = Self::default();
        for (key, kept) in rows {
            answers.keep(key, kept);
        }
        answers
    }

    /// The answer to give again, if there is one.
    ///
    /// # Errors
    /// `idempotency_key_reused` when the key answered another request.
    pub fn find(
        &self,
        key: &Key,
        fingerprint: &str,
        now: OffsetDateTime,
    ) -> Result<Option<&Result<A, Refused>>, Refused> {
        match self.kept.get(key).filter(|kept| now - kept.at < KEEP) {
            None => Ok(None),
            Some(kept) if kept.fingerprint == fingerprint => Ok(Some(&kept.answer)),
            Some(_) => Err(Code::IdempotencyKeyReused.into()),
        }
    }

    /// Keeps an answer.
    pub fn keep(&mut self, key: Key, kept: Kept<A>) {
        if let Some(old) = self.kept.remove(&key) {
            self.ages.remove(&(old.at, key.clone()));
        }
        self.ages.insert((kept.at, key.clone()));
        self.kept.insert(key, kept);
    }

    /// Forgets what is too old or too much, at most a thousand at once; says which.
    pub fn prune(&mut self, now: OffsetDateTime) -> Vec<Key> {
        let mut gone = Vec::new();
        while gone.len() < 1000
            && let Some((at, _)) = self.ages.first()
            && (now - *at >= KEEP || self.kept.len() > MOST)
            && let Some((_, key)) = self.ages.pop_first()
        {
            self.kept.remove(&key);
            gone.push(key);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    #[test]
    fn an_answer_is_given_again_for_a_day_and_only_to_the_same_request() {
        let idempotency = Idempotency { key: "k".into(), fingerprint: "f".into() };
        let key = Key::of(Uuid::from_u128(7), &idempotency);
        assert_eq!(Key::of_row(&key.row()), Some(key.clone()));
        let mut answers = Answers::<(), 10>::default();
        assert_eq!(answers.find(&key, "f", T0), Ok(None));
        answers.keep(key.clone(), Kept { fingerprint: "f".into(), answer: Ok(()), at: T0 });
        assert_eq!(answers.find(&key, "f", T0), Ok(Some(&Ok(()))));
        assert_eq!(answers.find(&key, "g", T0).unwrap_err().code, Code::IdempotencyKeyReused);
        assert_eq!(answers.find(&key, "g", T0 + KEEP), Ok(None));
        assert_eq!(answers.prune(T0), []);
        assert_eq!(answers.prune(T0 + KEEP), [key]);
    }

    #[test]
    fn the_oldest_answers_make_room() {
        let mut answers = Answers::<(), 2>::default();
        let key = |n: u8| Key::of(Uuid::nil(), &Idempotency { key: n.to_string(), fingerprint: String::new() });
        for n in 0..3 {
            let at = T0 + Duration::seconds(i64::from(n));
            answers.keep(key(n), Kept { fingerprint: String::new(), answer: Ok(()), at });
        }
        assert_eq!(answers.prune(T0), [key(0)]);
        assert_eq!(answers.prune(T0), []);
    }
}
