//! What one user and one request may take. The defaults are the contract's; the operator sets others.

use std::{num::NonZeroU32, sync::Arc};

use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
    state::keyed::DashMapStateStore,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::problem::Problem;
use crate::actors::Code;

/// A JSON body, in bytes.
pub const JSON_BYTES: usize = 1024 * 1024;
/// A JSON body that carries a file's content, in bytes.
pub const CONTENT_JSON_BYTES: usize = 16 * 1024 * 1024;
/// A file's content in a JSON answer, in bytes: above that the answer names where the bytes are.
pub const CONTENT_ANSWER_BYTES: u64 = 1024 * 1024;
/// Files in one upload.
pub const UPLOAD_FILES: usize = 10_000;
/// How often the rate fits into the burst.
const BURST_SECONDS: u32 = 5;
/// Users known to the limiter before it forgets those that are idle.
const LIMITER_USERS: usize = 10_000;

/// What the operator allows.
#[derive(Debug)]
pub struct Limits {
    /// Room for client sockets on this node.
    sockets: Arc<Semaphore>,
    rate: RateLimiter<Uuid, DashMapStateStore<Uuid>, DefaultClock>,
}

impl Limits {
    /// So many sockets, and requests per second and user.
    #[must_use]
    pub fn new(max_sockets: usize, requests_per_second: NonZeroU32) -> Self {
        let burst = requests_per_second.saturating_mul(NonZeroU32::MIN.saturating_add(BURST_SECONDS - 1));
        let quota = Quota::per_second(requests_per_second).allow_burst(burst);
        let sockets = Arc::new(Semaphore::new(max_sockets.min(Semaphore::MAX_PERMITS)));
        Self { sockets, rate: RateLimiter::keyed(quota) }
    }

    /// Takes the place of one client's socket, for as long as what is returned lives.
    ///
    /// # Errors
    /// `overloaded`: all are taken.
    pub fn socket(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.sockets)
            .try_acquire_owned()
            .map_err(|_| Problem::new(Code::Overloaded, "the node has as many sockets as it may"))
    }

    /// Counts a user's request.
    ///
    /// # Errors
    /// `rate_limited`, with the time after which it would be taken.
    pub fn count(&self, user: Uuid) -> Result<(), Problem> {
        if self.rate.len() > LIMITER_USERS {
            self.rate.retain_recent();
        }
        self.rate.check_key(&user).map_err(|until| {
            let wait = until.wait_time_from(DefaultClock::default().now());
            Problem::from(Code::RateLimited).retry_after(wait.as_secs() + 1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_taken_and_then_refused_for_that_user_alone() {
        let limits = Limits::new(1, NonZeroU32::new(10).expect("not zero"));
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        for _ in 0..50 {
            assert!(limits.count(one).is_ok());
        }
        // The bucket may have refilled a little meanwhile, never by as much as this.
        let refused = (0..50).rev().find_map(|_| limits.count(one).err()).expect("refused");
        assert_eq!(refused.code(), Code::RateLimited);
        assert!(limits.count(other).is_ok());
    }

    #[test]
    fn a_socket_has_its_place_from_the_moment_it_is_let_in() {
        let limits = Limits::new(2, NonZeroU32::MIN);
        let (first, _second) = (limits.socket().expect("a place"), limits.socket().expect("a place"));
        assert_eq!(limits.socket().expect_err("full").code(), Code::Overloaded);
        drop(first);
        assert!(limits.socket().is_ok());
        assert!(Limits::new(usize::MAX, NonZeroU32::MIN).socket().is_ok(), "no limit is one, too");
    }
}
