//! Log lines and notices that a program in a sandbox can cause as often as it likes, told only now and then.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long after one that is told the next one is.
const PAUSE: Duration = Duration::from_secs(60);

/// Of what happens, the first is told, then one a minute at most; the others are counted.
#[derive(Debug, Default)]
pub struct Seldom {
    told: Option<Instant>,
    untold: u64,
}

impl Seldom {
    /// It happens. When it is to be told: how often it has happened untold since the last time.
    pub fn happens(&mut self, now: Instant) -> Option<u64> {
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < PAUSE) {
            self.untold = self.untold.saturating_add(1);
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

/// The same for what happens in tasks beside each other. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct SharedSeldom(Arc<Mutex<Seldom>>);

impl SharedSeldom {
    /// As [`Seldom::happens`].
    pub fn happens(&self, now: Instant) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).happens(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_then_one_a_minute_with_a_count() {
        let mut seldom = Seldom::default();
        let begin = Instant::now();
        let told: Vec<_> = (0..180_000).filter_map(|ms| seldom.happens(begin + Duration::from_millis(ms))).collect();
        assert_eq!(told, [0, 59_999, 59_999]);
        assert_eq!(seldom.happens(begin + Duration::from_secs(600)), Some(59_999));
        assert_eq!(seldom.happens(begin), None, "a clock that goes back tells nothing twice");
    }

    #[test]
    fn clones_count_together() {
        let (one, now) = (SharedSeldom::default(), Instant::now());
        let other = one.clone();
        assert_eq!((one.happens(now), other.happens(now), one.happens(now + PAUSE)), (Some(0), None, Some(1)));
    }
}
