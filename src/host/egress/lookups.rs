//! Names' addresses. The system's resolver blocks a thread for as long as a name's servers keep it waiting, and these
//! threads are the ones that make and end sandboxes: so only so many wait at once, of one sandbox and of all.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit},
    time::timeout,
};

/// Look-ups that are under way for one sandbox at most.
const OF_ONE: usize = 8;
/// Look-ups that are under way in this process at most: an eighth of the threads that the runtime has for what blocks.
const OF_ALL: usize = 64;
const _: () = assert!(OF_ONE < OF_ALL);
/// How long a look-up waits for its turn, less than a connection has in all.
const TURN_LIMIT: Duration = Duration::from_secs(10);

/// The threads are the process's, and so is their limit.
static ALL: Semaphore = Semaphore::const_new(OF_ALL);

/// Too many look-ups are under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many names are being looked up: try again in a moment")]
pub(super) struct BusyError;

/// A sandbox's look-ups.
#[derive(Debug)]
pub(super) struct Lookups {
    of_all: &'static Semaphore,
    of_one: Arc<Semaphore>,
}

impl Default for Lookups {
    fn default() -> Self {
        Self::beside(&ALL)
    }
}

impl Lookups {
    fn beside(of_all: &'static Semaphore) -> Self {
        Self { of_all, of_one: Arc::new(Semaphore::new(OF_ONE)) }
    }

    /// Does a look-up in its turn. One that nobody waits for any longer keeps its place until its thread is free again.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        look_up: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, BusyError> {
        let turn = timeout(TURN_LIMIT, self.turn()).await.map_err(|_| BusyError)?.ok_or(BusyError)?;
        let looking_up = tokio::spawn(async move {
            let _turn = turn;
            look_up.await
        });
        // It only fails when the runtime ends.
        looking_up.await.map_err(|_| BusyError)
    }

    /// First among its own: a sandbox stands in the queue of all with as many as may be under way for it.
    async fn turn(&self) -> Option<(OwnedSemaphorePermit, SemaphorePermit<'static>)> {
        let of_one = Arc::clone(&self.of_one).acquire_owned().await.ok()?;
        Some((of_one, self.of_all.acquire().await.ok()?))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;
    use tokio::sync::watch;

    use super::*;

    /// Look-ups that go on until they are let go, counted.
    #[derive(Clone)]
    struct Slow {
        under_way: Arc<AtomicUsize>,
        go: watch::Receiver<bool>,
    }

    impl Slow {
        async fn look_up(self) {
            self.under_way.fetch_add(1, Ordering::Relaxed);
            let mut go = self.go.clone();
            go.wait_for(|go| *go).await.expect("the test lives");
            self.under_way.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn all(places: usize) -> &'static Semaphore {
        Box::leak(Box::new(Semaphore::new(places)))
    }

    #[tokio::test(start_paused = true)]
    async fn slow_names_take_no_more_threads_than_are_theirs() {
        let (let_go, go) = watch::channel(false);
        let slow = Slow { under_way: Arc::default(), go };
        let of_all = all(OF_ONE + 2);
        let (greedy, other) = (Lookups::beside(of_all), Lookups::beside(of_all));
        let many = || join_all((0..50).map(|_| greedy.run(slow.clone().look_up())));
        // Whoever asked has gone, but the threads wait on: nothing more begins.
        for _ in 0..3 {
            assert!(timeout(Duration::from_secs(5), many()).await.is_err());
            assert_eq!(slow.under_way.load(Ordering::Relaxed), OF_ONE);
        }
        assert_eq!(many().await, [Err(BusyError); 50]);
        assert_eq!(other.run(async { "an address" }).await, Ok("an address"), "another sandbox has its own");
        assert!(
            timeout(Duration::from_secs(5), join_all((0..5).map(|_| other.run(slow.clone().look_up())))).await.is_err()
        );
        assert_eq!(slow.under_way.load(Ordering::Relaxed), OF_ONE + 2);
        assert_eq!(Lookups::beside(of_all).run(async {}).await, Err(BusyError), "no more in all");
        let_go.send(true).expect("they wait");
        assert_eq!(greedy.run(async { "an address" }).await, Ok("an address"));
    }
}
