//! How many bytes the events had that retention dropped: what a reader who was in the midst of them is told. Pure.

/// Points that are remembered; above, every second one is forgotten.
const POINTS: usize = 64;

/// Known points `(sequence, bytes of all events up to it)`, ascending. Empty after a restart.
#[derive(Debug, Default)]
pub(super) struct Dropped(Vec<(u64, u64)>);

impl Dropped {
    /// Remembers the end of a dropped segment.
    pub(super) fn add(&mut self, sequence: u64, bytes: u64) {
        self.0.push((sequence, bytes));
        if self.0.len() > POINTS {
            let mut nth = 0;
            self.0.retain(|_| {
                nth += 1;
                nth % 2 == 0
            });
        }
    }

    /// The bytes of the events in `(from, to]`, where all up to `to` had `bytes`: exact at the known points, and in
    /// proportion between them.
    pub(super) fn between(&self, from: u64, to: u64, bytes: u64) -> u64 {
        let known = self.0.partition_point(|(sequence, _)| *sequence <= from);
        let (low, low_bytes) = known.checked_sub(1).map_or((0, 0), |n| self.0[n]);
        let (high, high_bytes) =
            self.0.get(known).copied().filter(|(sequence, _)| *sequence <= to).unwrap_or((to, bytes));
        let before =
            low_bytes + share(high_bytes.saturating_sub(low_bytes), from.saturating_sub(low), high - low.min(high));
        bytes.saturating_sub(before)
    }
}

/// `part / whole` of `bytes`.
pub(super) fn share(bytes: u64, part: u64, whole: u64) -> u64 {
    if whole == 0 {
        return 0;
    }
    let share = u128::from(bytes) * u128::from(part.min(whole)) / u128::from(whole);
    u64::try_from(share).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_points_are_exact_and_the_rest_is_in_proportion() {
        let mut dropped = Dropped::default();
        assert_eq!(dropped.between(0, 100, 5000), 5000);
        assert_eq!(dropped.between(50, 100, 5000), 2500);
        dropped.add(10, 4000);
        dropped.add(100, 5000);
        assert_eq!(dropped.between(10, 100, 5000), 1000);
        assert_eq!(dropped.between(5, 100, 5000), 3000);
        assert_eq!(dropped.between(55, 100, 5000), 500);
        assert_eq!(dropped.between(100, 100, 5000), 0);
        for n in 2..1000 {
            dropped.add(n * 100, n * 5000);
        }
        assert!(dropped.0.len() <= POINTS);
        assert_eq!(dropped.between(0, 99_900, 999 * 5000), 999 * 5000);
    }
}
