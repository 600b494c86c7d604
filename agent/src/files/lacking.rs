//! Paths that the disk could not be given as the tree has them: the node is asked to push them again, ever less often.
//!
//! Pure. Times are counted from any fixed moment.

use std::{collections::BTreeMap, time::Duration};

/// The pause before the first try.
const FIRST: Duration = Duration::from_secs(2);
/// The longest pause.
const LAST: Duration = Duration::from_secs(60);
/// Those that would be due so soon after another are asked for with it: the node answers one question at a time.
const TOGETHER: Duration = Duration::from_secs(1);
/// The most paths that are remembered; beyond them the next manifest tries again.
const MOST: usize = 10_000;

/// What to do about a path whose time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// It is what it is in the tree.
    Settled,
    /// To ask is in vain now.
    Vain,
    /// The node is asked.
    Asked,
}

#[derive(Debug, Clone, Copy)]
struct Try {
    /// When the node is to be asked; `None` until the pause is begun.
    at: Option<Duration>,
    pause: Duration,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Lacking {
    paths: BTreeMap<String, Try>,
}

impl Lacking {
    /// `path` could not be made what it is in the tree. False if that was known.
    pub fn add(&mut self, path: &str) -> bool {
        if let Some(again) = self.paths.get_mut(path) {
            again.at = None;
            return false;
        }
        if self.paths.len() < MOST {
            self.paths.insert(path.to_owned(), Try { at: None, pause: FIRST });
        }
        true
    }

    /// `path` is what it is in the tree.
    pub fn settle(&mut self, path: &str) {
        if !self.paths.is_empty() {
            self.paths.remove(path);
        }
    }

    /// What was lacking at `from` is so at `to`.
    pub fn moved(&mut self, from: &str, to: &str) {
        if let Some(again) = self.paths.remove(from) {
            self.paths.insert(to.to_owned(), again);
        }
    }

    /// Takes at most `most` of the paths whose time has come, to ask the node for. One that is not heard of again is
    /// asked for again; one of which `look` says that it is settled is forgotten, and one that would be in vain waits on.
    pub fn due(&mut self, most: usize, now: Duration, look: impl Fn(&str) -> Look) -> Vec<String> {
        self.paths.retain(|path, _| look(path) != Look::Settled);
        let mut due = Vec::new();
        for again in self.paths.values_mut() {
            again.at.get_or_insert(now + again.pause);
        }
        if self.next().is_none_or(|next| next > now) {
            return due;
        }
        for (path, again) in &mut self.paths {
            if again.at.is_some_and(|at| at <= now + TOGETHER) && due.len() < most {
                again.pause = (again.pause * 2).min(LAST);
                again.at = Some(now + again.pause);
                if look(path) == Look::Asked {
                    due.push(path.clone());
                }
            }
        }
        due
    }

    /// When a path is due, or its pause is to be begun.
    #[must_use]
    pub fn next(&self) -> Option<Duration> {
        self.paths.values().map(|again| again.at.unwrap_or_default()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn what_fails_again_is_asked_for_ever_less_often() {
        let mut lacking = Lacking::default();
        assert!(lacking.add("/a"));
        let (mut now, mut pauses) = (s(0), Vec::new());
        while pauses.len() < 7 {
            assert!(lacking.due(10, now, |_| Look::Asked).is_empty());
            let at = lacking.next().expect("it waits");
            pauses.push((at - now).as_secs());
            now = at;
            assert_eq!(lacking.due(10, now, |_| Look::Asked), ["/a"]);
            assert!(!lacking.add("/a"));
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn what_is_settled_is_not_asked_for_and_what_is_not_answered_is_asked_for_again() {
        let mut lacking = Lacking::default();
        for path in ["/a", "/b", "/c"] {
            lacking.add(path);
        }
        lacking.settle("/a");
        assert!(lacking.due(10, s(0), |path| if path == "/b" { Look::Settled } else { Look::Asked }).is_empty());
        assert_eq!(lacking.due(10, s(2), |_| Look::Asked), ["/c"]);
        assert!(lacking.due(10, s(5), |_| Look::Asked).is_empty());
        assert_eq!(lacking.due(10, s(6), |_| Look::Asked), ["/c"]);
        lacking.settle("/c");
        assert_eq!(lacking.next(), None);
    }

    #[test]
    fn what_is_in_vain_is_not_asked_for_and_tried_later() {
        let mut lacking = Lacking::default();
        lacking.add("/a");
        lacking.due(10, s(0), |_| Look::Vain);
        assert!(lacking.due(10, s(2), |_| Look::Vain).is_empty());
        assert_eq!(lacking.next(), Some(s(6)));
        assert_eq!(lacking.due(10, s(6), |_| Look::Asked), ["/a"]);
    }

    #[test]
    fn many_take_turns() {
        let mut lacking = Lacking::default();
        for n in 0..5 {
            lacking.add(&format!("/{n}"));
        }
        lacking.due(2, s(0), |_| Look::Asked);
        assert_eq!(lacking.due(2, s(2), |_| Look::Asked), ["/0", "/1"]);
        assert_eq!(lacking.due(2, s(2), |_| Look::Asked), ["/2", "/3"]);
        assert_eq!(lacking.next(), Some(s(2)));
    }
}
