//! Waiting for a state: bounded, and loud about what did not come.

use std::time::Duration;

use tokio::time::Instant;

/// How long anything may take unless the contract says less: the machine is shared and slow.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What the contract calls "within one second", with the slack that a shared machine needs.
pub const A_SECOND: Duration = Duration::from_secs(5);

/// How often a state is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Looks until `look` finds something.
///
/// # Panics
/// When it finds nothing within `limit`.
pub async fn within<T>(limit: Duration, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(start.elapsed() < limit, "waited {:?} in vain for: {what}", start.elapsed());
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Looks until `look` finds something, for [`PATIENCE`].
///
/// # Panics
/// When it finds nothing.
pub async fn until<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look).await
}
