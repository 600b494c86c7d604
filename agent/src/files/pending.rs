//! What has changed on the disk and is not yet reported: when each path's turn comes.
//!
//! A path is due once it has been quiet for [`QUIET`], or after [`PATIENCE`] where it is not. One that went up before
//! waits for `max(1 s, 20 × its last upload)` from the start of that upload, so that a log never fills the link; unless
//! it has come to rest, for what has come to rest must be seen: a small file within a second, a large one once it has
//! been quiet for some times as long as its last upload took. Which of them it is, a look tells: another file may have
//! taken the place of the one that went up.
//!
//! Times are counted from any fixed moment.

use std::{collections::BTreeMap, time::Duration};

/// How long a path must have been quiet.
pub const QUIET: Duration = Duration::from_millis(60);
/// How long a path that is never quiet waits.
pub const PATIENCE: Duration = Duration::from_millis(300);
/// The least time between two uploads of a file that keeps changing.
pub const PACE: Duration = Duration::from_secs(1);
/// How many times an upload's own duration lies between two.
pub const PACE_FACTOR: u32 = 20;
/// A small file that has been quiet for this long does not wait for its pace.
pub const REST: Duration = Duration::from_millis(600);
/// A large file that has been quiet for so many times its last upload's duration, and for [`REST`], does neither.
pub const REST_FACTOR: u32 = 4;
/// What a small file is, in bytes.
pub const SMALL: u64 = 1024 * 1024;
/// After an attempt that failed because the file changed meanwhile.
const RETRY: Duration = Duration::from_millis(100);

/// A path whose turn has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Which.
    pub path: String,
    /// Report it even if it looks like what the tree has.
    pub forced: bool,
    /// It was written to, so a racy stamp proves nothing.
    pub wrote: bool,
    /// A flush waits for it.
    pub urgent: bool,
    /// How many attempts have failed because it changed meanwhile.
    pub tries: u8,
    /// When anything was last heard of it.
    pub last: Duration,
}

#[derive(Debug)]
struct Item {
    first: Duration,
    last: Duration,
    not_before: Duration,
    forced: bool,
    wrote: bool,
    urgent: bool,
    tries: u8,
}

#[derive(Debug)]
struct Pace {
    next: Duration,
    rest: Duration,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Pending {
    items: BTreeMap<String, Item>,
    paces: BTreeMap<String, Pace>,
}

impl Item {
    fn due(&self, pace: Option<&Pace>) -> Duration {
        if self.urgent {
            return self.not_before;
        }
        let quiet = (self.last + QUIET).min(self.first + PATIENCE).max(self.not_before);
        match pace {
            None => quiet,
            Some(pace) => quiet.max(pace.next.min(self.last + REST)),
        }
    }
}

impl Pending {
    fn item(&mut self, path: &str, now: Duration) -> &mut Item {
        if !self.items.contains_key(path) {
            self.items.insert(
                path.to_owned(),
                Item {
                    first: now,
                    last: now,
                    not_before: Duration::ZERO,
                    forced: false,
                    wrote: false,
                    urgent: false,
                    tries: 0,
                },
            );
        }
        self.items.get_mut(path).expect("it is there or was just put there")
    }

    /// Something happened to `path`.
    pub fn mark(&mut self, path: &str, wrote: bool, now: Duration) {
        let item = self.item(path, now);
        item.last = item.last.max(now);
        item.wrote |= wrote;
    }

    /// `path` must be reported whatever it looks like.
    pub fn force(&mut self, path: &str, now: Duration) {
        self.item(path, now).forced = true;
    }

    /// Everything that is pending now is due now.
    pub fn urge(&mut self) {
        for item in self.items.values_mut() {
            item.urgent = true;
        }
    }

    /// Whether anything urgent is left.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        self.items.values().any(|item| item.urgent)
    }

    /// Takes at most `most` paths that are due, in byte order; only urgent ones while there are any that are due.
    pub fn take(&mut self, most: usize, now: Duration) -> Vec<Due> {
        self.paces.retain(|_, pace| pace.next > now);
        let due = |(path, item): &(&String, &Item)| item.due(self.paces.get(path.as_str())) <= now;
        let urgent = self.items.iter().filter(due).any(|(_, item)| item.urgent);
        let paths: Vec<String> = self
            .items
            .iter()
            .filter(due)
            .filter(|(_, item)| item.urgent || !urgent)
            .take(most)
            .map(|(path, _)| path.clone())
            .collect();
        paths
            .into_iter()
            .filter_map(|path| {
                let Item { forced, wrote, urgent, tries, last, .. } = self.items.remove(&path)?;
                Some(Due { path, forced, wrote, urgent, tries, last })
            })
            .collect()
    }

    /// Whether a file of this size that was taken is to go up now; else it is given back until its pace or its rest
    /// allows it.
    pub fn may_upload(&mut self, due: Due, bytes: u64, now: Duration) -> Option<Due> {
        if due.urgent || bytes <= SMALL {
            return Some(due);
        }
        let allowed = self.paces.get(&due.path).map(|pace| pace.next.min(due.last + pace.rest));
        let Some(at) = allowed.filter(|at| *at > now) else { return Some(due) };
        let (path, last) = (due.path.clone(), due.last);
        let heard_since = self.items.contains_key(&path);
        self.give_back(due, now);
        let item = self.item(&path, now);
        item.not_before = item.not_before.max(at);
        if !heard_since {
            item.last = last;
        }
        None
    }

    /// Gives back what was taken and not reported, as it was.
    pub fn give_back(&mut self, due: Due, now: Duration) {
        let item = self.item(&due.path, now);
        item.forced |= due.forced;
        item.wrote |= due.wrote;
        item.urgent |= due.urgent;
        item.tries = item.tries.max(due.tries);
    }

    /// Gives back what changed while it was read, for another attempt a little later.
    pub fn retry(&mut self, due: Due, now: Duration) {
        let tries = due.tries.saturating_add(1);
        let path = due.path.clone();
        self.give_back(due, now);
        let item = self.item(&path, now);
        item.tries = tries;
        item.wrote = true;
        item.last = now;
        item.not_before = now + RETRY;
    }

    /// `path` went up between these moments.
    pub fn uploaded(&mut self, path: &str, started: Duration, ended: Duration) {
        let took = ended.saturating_sub(started);
        let pace = Pace { next: started + PACE.max(took * PACE_FACTOR), rest: REST.max(took * REST_FACTOR) };
        self.paces.insert(path.to_owned(), pace);
    }

    /// When the next path is due.
    #[must_use]
    pub fn next(&self) -> Option<Duration> {
        self.items.iter().map(|(path, item)| item.due(self.paces.get(path))).min()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_file_at_rest_is_due_soon_and_a_busy_one_at_its_pace() {
        let mut pending = Pending::default();
        pending.mark("/a", true, ms(0));
        assert!(pending.take(10, ms(59)).is_empty());
        assert_eq!(pending.take(10, ms(60)).len(), 1);
        pending.uploaded("/a", ms(60), ms(65));
        // It changes every 20 ms from now on: once a second and no oftener.
        let mut uploads = 0;
        for step in 4..504 {
            let now = ms(step * 20);
            pending.mark("/a", true, now);
            if !pending.take(10, now).is_empty() {
                uploads += 1;
                pending.uploaded("/a", now, now + ms(5));
            }
        }
        assert!((9..=10).contains(&uploads), "{uploads}");
    }

    #[test]
    fn a_slow_upload_is_followed_by_a_long_pause_while_the_file_changes() {
        let mut pending = Pending::default();
        pending.uploaded("/big", ms(0), ms(500));
        let mut now = ms(600);
        while now < ms(11_000) {
            pending.mark("/big", true, now);
            for due in pending.take(10, now) {
                if pending.may_upload(due, SMALL + 1, now).is_some() {
                    assert_eq!(now, ms(10_000));
                    return;
                }
            }
            now += ms(100);
        }
        panic!("it never went up");
    }

    #[test]
    fn a_large_file_that_has_come_to_rest_does_not_wait_for_its_pace() {
        let mut pending = Pending::default();
        pending.uploaded("/big", ms(0), ms(500));
        pending.mark("/big", true, ms(600));
        let mut now = ms(600);
        loop {
            now = pending.next().expect("it is pending").max(now);
            let due = pending.take(10, now).remove(0);
            if pending.may_upload(due, SMALL + 1, now).is_some() {
                break;
            }
        }
        assert_eq!(now, ms(2_600), "four times its last upload after its last change");
    }

    #[test]
    fn a_flush_does_not_wait_for_a_pace() {
        let mut pending = Pending::default();
        pending.uploaded("/big", ms(0), ms(500));
        pending.mark("/big", true, ms(600));
        pending.urge();
        let due = pending.take(10, ms(600)).remove(0);
        assert!(pending.may_upload(due, SMALL + 1, ms(600)).is_some());
    }

    #[test]
    fn a_small_file_in_the_place_of_a_large_one_is_due_within_a_second() {
        let mut pending = Pending::default();
        pending.uploaded("/a", ms(0), ms(5_000));
        pending.mark("/a", true, ms(6_000));
        let due = pending.take(10, ms(6_600)).remove(0);
        assert!(pending.may_upload(due, SMALL, ms(6_600)).is_some());
    }

    #[test]
    fn urgent_ones_come_first_and_a_failed_attempt_waits() {
        let mut pending = Pending::default();
        pending.mark("/z", false, ms(0));
        pending.urge();
        pending.mark("/a", false, ms(0));
        let mut taken = pending.take(10, ms(500));
        assert_eq!(taken.len(), 1);
        pending.retry(taken.remove(0), ms(500));
        assert!(pending.is_urgent());
        assert_eq!(pending.take(10, ms(500)).remove(0).path, "/a");
        let again = pending.take(10, ms(600)).remove(0);
        assert_eq!((again.path.as_str(), again.tries, again.wrote), ("/z", 1, true));
        assert!(!pending.is_urgent() && pending.next().is_none());
    }

    #[derive(Debug, Clone)]
    enum Op {
        Mark(u8),
        Force(u8),
        Take(usize),
        Wait(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            (0..6u8).prop_map(Op::Mark),
            (0..6u8).prop_map(Op::Force),
            (1..4usize).prop_map(Op::Take),
            (0..400u64).prop_map(Op::Wait),
        ]
    }

    proptest! {
        #[test]
        fn nothing_marked_is_ever_lost_and_small_files_at_rest_go_within_a_second(ops in prop::collection::vec(op(), 0..80)) {
            let mut pending = Pending::default();
            let mut now = Duration::ZERO;
            let mut open = BTreeMap::new();
            let taken = |pending: &mut Pending, open: &mut BTreeMap<String, Duration>, most, now: Duration| {
                for due in pending.take(most, now) {
                    open.remove(&due.path);
                    pending.uploaded(&due.path, now, now + ms(3));
                }
            };
            for op in ops {
                match op {
                    Op::Mark(n) => {
                        let path = format!("/{n}");
                        pending.mark(&path, true, now);
                        open.insert(path, now);
                    }
                    Op::Force(n) => {
                        let path = format!("/{n}");
                        pending.force(&path, now);
                        open.entry(path).or_insert(now);
                    }
                    Op::Take(most) => taken(&mut pending, &mut open, most, now),
                    Op::Wait(n) => now += ms(n),
                }
                prop_assert_eq!(pending.items.len(), open.len());
            }
            now += ms(700);
            taken(&mut pending, &mut open, usize::MAX, now);
            prop_assert!(open.is_empty() && pending.next().is_none());
        }
    }
}
