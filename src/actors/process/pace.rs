//! How fast a program may print: what its agent is allowed to send, as a function of time, storing and viewers.
//!
//! Pure. Everything is a position: bytes of output since the actor started. Small output is never delayed, since
//! [`WINDOW`] beyond what is stored and taken always stands.

/// How far the agent may be ahead of what is stored and taken, in bytes.
pub const WINDOW: u64 = playhouse_protocol::agent::OUTPUT_WINDOW_BYTES;
/// A viewer that paces never slows a program below this, in bytes per second.
const FLOOR_RATE: u64 = 1024 * 1024;
/// What a program may print when nobody paces it, in bytes per second.
const FREE_RATE: u64 = 8 * 1024 * 1024;
/// Credit is told in steps of this many bytes, and in smaller ones only when the agent may be waiting.
const STEP: u64 = 64 * 1024;
/// Unstored output may cost so much memory before no more is allowed; only many tiny events come near it.
const COST_BYTES: usize = 2 * 1024 * 1024;

/// A position that rises with time, at most [`WINDOW`] beyond what was received.
#[derive(Debug)]
struct Bucket {
    rate: u64,
    position: u64,
}

impl Bucket {
    fn advance(&mut self, elapsed_ms: u64, received: u64) {
        let gained = self.rate.saturating_mul(elapsed_ms) / 1000;
        self.position = (self.position.max(received) + gained).min(received + WINDOW);
    }
}

/// What an agent may send of one process's output.
#[derive(Debug)]
pub struct Pace {
    floor: Bucket,
    free: Bucket,
    at_ms: u64,
    /// Where the agent's count begins.
    base: u64,
    told: u64,
}

/// What the pace depends on.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Milliseconds since the actor started.
    pub ms: u64,
    /// The position received.
    pub received: u64,
    /// The position stored.
    pub stored: u64,
    /// The memory that unstored output costs, in bytes.
    pub unstored_cost: usize,
    /// The furthest position that a pacing viewer has taken; `None` without one.
    pub taken: Option<u64>,
}

impl Pace {
    /// The agent's flow begins at `received`: it may send [`WINDOW`] at once.
    #[must_use]
    pub const fn begin(ms: u64, received: u64) -> Self {
        let full = received + WINDOW;
        Self {
            floor: Bucket { rate: FLOOR_RATE, position: full },
            free: Bucket { rate: FREE_RATE, position: full },
            at_ms: ms,
            base: received,
            told: full,
        }
    }

    /// The credit to tell the agent, if it is to be told.
    pub fn credit(&mut self, now: Now) -> Option<u64> {
        let elapsed = now.ms.saturating_sub(self.at_ms);
        self.at_ms = self.at_ms.max(now.ms);
        self.floor.advance(elapsed, now.received);
        self.free.advance(elapsed, now.received);
        let paced = match now.taken {
            Some(taken) => self.floor.position.max(taken + WINDOW),
            None => self.free.position,
        };
        let kept = if now.unstored_cost > COST_BYTES { now.received } else { now.stored + WINDOW };
        let allowed = paced.min(kept);
        let waiting = self.told < now.received + STEP;
        if allowed >= self.told + STEP || (waiting && allowed > self.told) {
            self.told = allowed;
            return Some(allowed - self.base);
        }
        None
    }

    /// Whether time alone may bring more credit.
    #[must_use]
    pub const fn waits(&self, received: u64) -> bool {
        self.told + STEP <= received + WINDOW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// An agent that always has output, for `seconds`, with a viewer that takes `taking` bytes a second if there is one.
    fn printed(seconds: u64, taking: Option<u64>) -> u64 {
        let mut pace = Pace::begin(0, 0);
        let (mut received, mut credit) = (0, WINDOW);
        for ms in 0..seconds * 1000 {
            received = credit;
            let taken = taking.map(|rate| (rate * ms / 1000).min(received));
            let now = Now { ms, received, stored: received, unstored_cost: 0, taken };
            credit = pace.credit(now).unwrap_or(credit);
        }
        received
    }

    #[test]
    fn nobody_watching_is_eight_mebibytes_a_second() {
        let rate = printed(10, None) / 10;
        assert!((8 * MIB - MIB / 2..8 * MIB + MIB / 2).contains(&rate), "{rate}");
    }

    #[test]
    fn a_viewer_paces_and_never_below_a_mebibyte_a_second() {
        let slow = printed(10, Some(10 * 1024)) / 10;
        assert!((MIB - MIB / 8..MIB + MIB / 8).contains(&slow), "{slow}");
        let fast = printed(10, Some(40 * MIB)) / 10;
        assert!((39 * MIB..41 * MIB).contains(&fast), "{fast}");
    }

    #[test]
    fn what_is_not_stored_bounds_everything() {
        let mut pace = Pace::begin(0, 0);
        let now = Now { ms: 60_000, received: WINDOW, stored: 0, unstored_cost: 0, taken: None };
        assert_eq!(pace.credit(now), None);
        assert_eq!(pace.credit(Now { stored: WINDOW, ..now }), Some(2 * WINDOW));
        assert_eq!(pace.credit(Now { stored: WINDOW, ..now }), None);
    }

    #[test]
    fn small_output_always_has_room_and_costs_no_credit_frames() {
        let mut pace = Pace::begin(0, 1000);
        for line in 1..=100 {
            let received = 1000 + line * 80;
            let now = Now { ms: line, received, stored: received, unstored_cost: 0, taken: Some(received) };
            assert_eq!(pace.credit(now), None);
            assert!(pace.told - received > STEP);
        }
    }
}
