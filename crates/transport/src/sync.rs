//! Small things between threads: locks that outlive a panic elsewhere, and a bell that many can wait for.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Locks. A thread that panicked while it held the lock does not take the others with it: what these locks guard is
/// changed in one step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A bell: rung when something changed, waited for by threads that looked and found nothing to do. A ring between the
/// look and the wait is not missed.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rings: Mutex<u64>,
    rung: Condvar,
}

impl Bell {
    /// How often it rang. Ask before looking for work.
    pub(crate) fn rings(&self) -> u64 {
        *lock(&self.rings)
    }

    /// Wakes everybody who waits.
    pub(crate) fn ring(&self) {
        *lock(&self.rings) += 1;
        self.rung.notify_all();
    }

    /// Waits until it rang more often than `seen`, `at_most` so long.
    pub(crate) fn wait(&self, seen: u64, at_most: Duration) {
        let rings = lock(&self.rings);
        drop(
            self.rung
                .wait_timeout_while(rings, at_most, |rings| *rings == seen)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}
