//! Which of many descriptors are ready, in the order they became so, seen by one task.
//!
//! A descriptor that becomes ready rings its [`Bell`]; the task that polls [`Bells`] wakes and gets the bell's key. No
//! task per descriptor, no allocation per read, and the cost of a wake does not grow with the number of descriptors.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures::task::AtomicWaker;

#[derive(Debug)]
struct Shared<K> {
    rung: Mutex<VecDeque<K>>,
    listener: AtomicWaker,
}

/// The rung bells.
#[derive(Debug)]
pub struct Bells<K>(Arc<Shared<K>>);

impl<K: Copy + Send + Sync + 'static> Bells<K> {
    /// No bells yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Shared { rung: Mutex::new(VecDeque::new()), listener: AtomicWaker::new() }))
    }

    /// A bell that says `key`.
    #[must_use]
    pub fn bell(&self, key: K) -> Bell<K> {
        let clapper = Arc::new(Clapper { key, shared: Arc::clone(&self.0), is_rung: AtomicBool::new(true) });
        Bell { waker: Waker::from(Arc::clone(&clapper)), clapper }
    }

    /// The next key whose bell was rung. A key may come whose descriptor is not ready, or is gone.
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<K> {
        self.0.listener.register(context.waker());
        match self.0.rung.lock().unwrap_or_else(PoisonError::into_inner).pop_front() {
            Some(key) => Poll::Ready(key),
            None => Poll::Pending,
        }
    }
}

/// Rings once each time it is armed.
#[derive(Debug)]
pub struct Bell<K> {
    clapper: Arc<Clapper<K>>,
    waker: Waker,
}

impl<K: Copy + Send + Sync + 'static> Bell<K> {
    /// Arms it: `poll` gets a context that rings it, and it rings at once if `poll` says ready.
    pub fn arm<T>(&self, poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) {
        if !self.clapper.is_rung.swap(false, Ordering::AcqRel) {
            return;
        }
        if poll(&mut Context::from_waker(&self.waker)).is_ready() {
            self.waker.wake_by_ref();
        }
    }
}

#[derive(Debug)]
struct Clapper<K> {
    key: K,
    shared: Arc<Shared<K>>,
    is_rung: AtomicBool,
}

impl<K: Copy + Send + Sync + 'static> Wake for Clapper<K> {
    fn wake(self: Arc<Self>) {
        Self::wake_by_ref(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_rung.swap(true, Ordering::AcqRel) {
            self.shared.rung.lock().unwrap_or_else(PoisonError::into_inner).push_back(self.key);
            self.shared.listener.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::poll_fn};

    use super::*;

    #[tokio::test]
    async fn a_bell_rings_once_for_each_arming_in_order() {
        let bells = Bells::new();
        let (first, second) = (bells.bell(1), bells.bell(2));
        second.arm(|_| Poll::Ready(()));
        let kept = Cell::new(None);
        first.arm(|context| {
            kept.set(Some(context.waker().clone()));
            Poll::<()>::Pending
        });
        let waker = kept.take().unwrap();
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert_eq!(poll_fn(|context| bells.poll(context)).await, 2);
        assert_eq!(poll_fn(|context| bells.poll(context)).await, 1);
        assert!(futures::poll!(poll_fn(|context| bells.poll(context))).is_pending());
        waker.wake();
        assert!(futures::poll!(poll_fn(|context| bells.poll(context))).is_pending(), "it was not armed again");
    }
}
