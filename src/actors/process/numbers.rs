//! Which of each writer's numbers were taken, and which were refused.
//!
//! Pure. A refused number is unused, and what had it is not delivered; but more of its writer may be under way already.
//! Were one of those taken, the refused one would look as if it had been seen, and its retry would be acknowledged and
//! lost. So no refused number is ever acknowledged, by this rule:
//!
//! | a number comes | it is |
//! |---|---|
//! | that was passed over | refused for good |
//! | up to the last one taken | known |
//! | after one that is refused, within [`HOLD_MS`] of that | held: refused as well, until the refused one comes again |
//! | after one that is refused, later | new: its writer has given that one up, and it is passed over with all between |
//! | else | new |
//!
//! A gap that a writer leaves of its own accord is none of a refusal, and needs no memory. What is refused is not
//! remembered beyond this actor's life: sockets end with it, and a client that connects anew begins after the last
//! number taken.

use std::{collections::BTreeMap, ops::Range};

use playhouse_protocol::client::WRITER_CHARS;

/// How many writers' numbers are remembered here; the agent knows more.
pub(super) const WRITERS: usize = 1024;
/// How long a refused number holds its writer's later ones, in milliseconds: longer than what was under way when it was
/// refused takes to come, so that whoever types on then knows of it.
pub const HOLD_MS: u64 = 10_000;
/// How many ranges of numbers are remembered of a writer, of those that are refused and of those passed over. Past that
/// two become one with what is between: that may be refused though it was taken, but is never acknowledged though it was
/// not.
const RANGES: usize = 64;

/// What a number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Taken before, or skipped by its writer.
    Known,
    /// Behind one that is refused.
    Held,
    /// Refused, and a later one was let through.
    Passed,
    /// Not seen yet.
    New,
}

/// A set of numbers, most of which follow each other.
#[derive(Debug, Default)]
struct Ranges(Vec<Range<u64>>);

impl Ranges {
    fn contains(&self, number: u64) -> bool {
        self.0.iter().any(|range| range.contains(&number))
    }

    fn first(&self) -> Option<u64> {
        self.0.first().map(|range| range.start)
    }

    fn insert(&mut self, numbers: Range<u64>) {
        if numbers.is_empty() {
            return;
        }
        self.0.push(numbers);
        self.0.sort_unstable_by_key(|range| range.start);
        self.0.dedup_by(|next, range| {
            let joins = next.start <= range.end;
            if joins {
                range.end = range.end.max(next.end);
            }
            joins
        });
    }

    /// Joins the range at this index and the next one, if there are too many.
    fn bound(&mut self, index: usize) {
        if self.0.len() > RANGES {
            let next = self.0.remove(index + 1);
            self.0[index].end = next.end;
        }
    }

    fn remove_up_to(&mut self, number: u64) {
        let next = number.saturating_add(1);
        self.0.retain(|range| range.end > next);
        if let Some(first) = self.0.first_mut() {
            first.start = first.start.max(next);
        }
    }
}

#[derive(Debug, Default)]
struct Known {
    last: u64,
    /// What is refused and has not come again.
    refused: Ranges,
    /// Since when the lowest of these holds the later ones, in milliseconds.
    since_ms: u64,
    passed: Ranges,
}

impl Known {
    /// What is refused before this number is given up.
    fn pass_over(&mut self, seq: u64) {
        if let Some(refused) = self.refused.first().filter(|refused| *refused < seq) {
            self.passed.insert(refused..seq);
            // The oldest first.
            self.passed.bound(0);
        }
    }
}

/// Every writer's numbers.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    writers: BTreeMap<String, Known>,
}

/// Whether a writer is a client's. Internal ones have longer names, are asked for by nobody and never retry.
pub(super) fn is_clients(writer: &str) -> bool {
    writer.chars().count() <= WRITER_CHARS
}

impl Numbers {
    /// The last number taken of a writer.
    pub(super) fn last(&self, writer: &str) -> u64 {
        self.writers.get(writer).map_or(0, |known| known.last)
    }

    /// What this number is that has come now. If it is new, it is to be taken or refused next.
    pub(super) fn standing(&mut self, writer: &str, seq: u64, now_ms: u64) -> Standing {
        let Some(known) = self.writers.get_mut(writer) else { return Standing::New };
        if known.passed.contains(seq) {
            return Standing::Passed;
        }
        if seq <= known.last {
            return Standing::Known;
        }
        if let Some(refused) = known.refused.first().filter(|refused| *refused <= seq) {
            if refused < seq && now_ms < known.since_ms.saturating_add(HOLD_MS) {
                return Standing::Held;
            }
            // It waits again, or does for the first time; should it be refused again, that is noted then.
            known.pass_over(seq);
            known.refused.remove_up_to(seq);
            known.since_ms = now_ms;
        }
        Standing::New
    }

    /// A client's number was refused.
    pub(super) fn refuse(&mut self, writer: &str, seq: u64, now_ms: u64) {
        let known = self.known(writer);
        if known.refused.first().is_none_or(|refused| seq < refused) {
            known.since_ms = now_ms;
        }
        // Nothing comes after the greatest number.
        known.refused.insert(seq..seq.saturating_add(1));
        // The latest first: what comes soon is known exactly.
        known.refused.bound(RANGES - 1);
    }

    /// A number was taken.
    pub(super) fn take(&mut self, writer: &str, seq: u64) {
        if !is_clients(writer) {
            return;
        }
        let known = self.known(writer);
        known.last = seq.max(known.last);
        known.pass_over(seq);
        known.refused.remove_up_to(seq);
    }

    fn known(&mut self, writer: &str) -> &mut Known {
        if self.writers.len() >= WRITERS && !self.writers.contains_key(writer) {
            // The agent knows what was taken; what was refused is known here alone.
            let plain = |known: &Known| known.refused.0.is_empty() && known.passed.0.is_empty();
            let first = self.writers.iter().find(|(_, known)| plain(known)).or_else(|| self.writers.first_key_value());
            if let Some(name) = first.map(|(name, _)| name.clone()) {
                self.writers.remove(&name);
            }
        }
        self.writers.entry(writer.to_owned()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_number_holds_the_later_ones_until_it_comes_again() {
        let mut numbers = Numbers::default();
        numbers.take("w", 65);
        assert_eq!(numbers.standing("w", 66, 0), Standing::New);
        numbers.refuse("w", 66, 0);
        assert_eq!(numbers.standing("w", 67, 5), Standing::Held);
        numbers.refuse("w", 67, 5);
        assert_eq!(numbers.standing("v", 67, 5), Standing::New, "writers count apart");
        assert_eq!(numbers.standing("w", 65, 5), Standing::Known);
        assert_eq!(numbers.standing("w", 66, 6), Standing::New);
        assert_eq!(numbers.standing("w", 68, 7), Standing::Held, "67 was refused too");
        assert_eq!(numbers.standing("w", 67, 7), Standing::New, "behind it");
        numbers.take("w", 66);
        numbers.take("w", 67);
        assert_eq!((numbers.standing("w", 66, 8), numbers.last("w")), (Standing::Known, 67));
    }

    #[test]
    fn a_number_that_was_given_up_is_passed_over_and_refused_for_good() {
        let mut numbers = Numbers::default();
        numbers.refuse("w", 66, 0);
        // A later refusal does not prolong the hold.
        assert_eq!(numbers.standing("w", 67, HOLD_MS - 1), Standing::Held);
        numbers.refuse("w", 67, HOLD_MS - 1);
        assert_eq!(numbers.standing("w", 69, HOLD_MS), Standing::New);
        for seq in 66..69 {
            assert_eq!(numbers.standing("w", seq, HOLD_MS), Standing::Passed);
        }
        numbers.take("w", 69);
        assert_eq!(numbers.standing("w", 66, HOLD_MS), Standing::Passed);
        assert_eq!(numbers.standing("w", 65, HOLD_MS), Standing::Known, "its writer skipped it");
    }

    #[test]
    fn memory_is_bounded_and_no_refusal_is_forgotten_for_it() {
        let mut numbers = Numbers::default();
        for round in 0..1000 {
            let (refused, taken) = (round * 2 + 1, round * 2 + 2);
            numbers.refuse("w", refused, round * HOLD_MS);
            assert_eq!(numbers.standing("w", taken, (round + 1) * HOLD_MS), Standing::New);
            numbers.take("w", taken);
        }
        assert_eq!(numbers.writers["w"].passed.0.len(), RANGES);
        for round in 0..1000 {
            assert_eq!(numbers.standing("w", round * 2 + 1, u64::MAX), Standing::Passed);
        }
        for number in 0..1000 {
            numbers.refuse("x", number * 2 + 1, 0);
        }
        assert_eq!(numbers.writers["x"].refused.0.len(), RANGES);
        for number in 0..2 * WRITERS {
            numbers.take(&format!("v{number}"), 1);
        }
        assert_eq!(numbers.writers.len(), WRITERS);
        assert_eq!(numbers.standing("w", 1, u64::MAX), Standing::Passed);
    }
}
