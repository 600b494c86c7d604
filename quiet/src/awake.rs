//! Waiting awake for an answer that is about to come.
//!
//! A thread that sleeps on an idle core is woken within 7 µs by the same core and within 32 µs by another one, on a virtual
//! machine whose idle cores halt (kernel trace, `docs/PERFORMANCE.md`). The kernel wakes on another core whenever one is
//! idle, and everybody who takes part in an echo sleeps while the others work, so they move each other from core to core.
//! One who stays awake is woken by nobody, and leaves the others one core to stay on.
//!
//! An answer is waited for no longer than an echo takes, by one thread of the process at a time, and where there is a core
//! to spare. What is waited for in vain is limited to a small part of one core's time.

use std::{
    sync::{LazyLock, Mutex},
    thread,
    time::{Duration, Instant},
};

/// So long an answer is waited for: an echo through an agent takes 30 to 70 µs.
const WITHIN: Duration = Duration::from_micros(100);
/// So much may be waited in vain at once: who types never reaches it.
const MOST: Duration = Duration::from_millis(50);
/// That is given back in so many times the time.
const PART: u32 = 10;

/// Who holds it waits.
static BUDGET: Mutex<Budget> = Mutex::new(Budget::full());
/// Whether those who are waited for have a core left.
static CORE_TO_SPARE: LazyLock<bool> =
    LazyLock::new(|| thread::available_parallelism().is_ok_and(|cores| cores.get() > 1));

/// Tries until it succeeds, as long as that is worth while.
pub(crate) fn wait<T>(attempt: impl FnMut() -> Option<T>) -> Option<T> {
    if *CORE_TO_SPARE { wait_alone(&BUDGET, attempt) } else { None }
}

fn wait_alone<T>(budget: &Mutex<Budget>, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let mut budget = budget.try_lock().ok()?;
    let begun = Instant::now();
    if !budget.allows(begun) {
        return None;
    }
    loop {
        if let Some(came) = attempt() {
            return Some(came);
        }
        let waited = begun.elapsed();
        if waited > WITHIN {
            budget.spent += waited;
            return None;
        }
        // An attempt is a system call, which keeps the other end from its lock.
        (0..16).for_each(|_| std::hint::spin_loop());
    }
}

/// How much may still be waited in vain.
#[derive(Debug)]
struct Budget {
    spent: Duration,
    at: Option<Instant>,
}

impl Budget {
    const fn full() -> Self {
        Self { spent: Duration::ZERO, at: None }
    }

    fn allows(&mut self, now: Instant) -> bool {
        let passed = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.spent = self.spent.saturating_sub(passed / PART);
        self.at = Some(now);
        self.spent < MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_in_vain_takes_a_small_part_of_the_time() {
        let begun = Instant::now();
        let mut budget = Budget::full();
        // Input that is never answered, without end.
        let mut waited = Duration::ZERO;
        let mut now = begun;
        while now < begun + Duration::from_secs(10) {
            if budget.allows(now) {
                budget.spent += WITHIN;
                waited += WITHIN;
                now += WITHIN;
            }
            now += Duration::from_micros(20);
        }
        assert!(waited > Duration::from_millis(900) && waited < Duration::from_millis(1100), "{waited:?}");
        // A person who types.
        now += Duration::from_secs(1);
        for _ in 0..10_000 {
            now += Duration::from_millis(5);
            assert!(budget.allows(now));
            budget.spent += WITHIN;
        }
    }

    #[test]
    fn one_waits_at_a_time_and_not_for_long() {
        let budget = Mutex::new(Budget::full());
        let (mut tried, mut second_tried) = (0, false);
        let came = wait_alone(&budget, || {
            tried += 1;
            let second = wait_alone(&budget, || {
                second_tried = true;
                Some(())
            });
            assert_eq!(second, None);
            None::<()>
        });
        assert_eq!(came, None);
        assert!(tried > 0 && !second_tried);
        assert_eq!(wait_alone(&budget, || Some(7)), Some(7));
    }
}
