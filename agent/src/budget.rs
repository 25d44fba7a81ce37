//! How many bytes may be between the readers and the topic's acknowledgement. A reader that finds no room waits: that
//! is how backpressure reaches the files.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// How often a waiting reader looks whether it should stop.
const LOOK: Duration = Duration::from_millis(100);

/// The agent is stopping: what was in hand will be read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stopped;

#[derive(Debug)]
pub(crate) struct Budget {
    used: Mutex<usize>,
    freed: Condvar,
    limit: usize,
}

/// A part of the budget; given back when dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { used: Mutex::new(0), freed: Condvar::new(), limit })
    }

    /// Waits for room. What is larger than the whole budget goes alone. Blocks.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize, stop: &CancellationToken) -> Result<Hold, Stopped> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        while *used > 0 && *used + bytes > self.limit {
            if stop.is_cancelled() {
                return Err(Stopped);
            }
            used = self.freed.wait_timeout(used, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        *used += bytes;
        Ok(Hold { budget: Arc::clone(self), bytes })
    }

    pub(crate) fn used(&self) -> usize {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        *self.budget.used.lock().unwrap_or_else(PoisonError::into_inner) -= self.bytes;
        self.budget.freed.notify_all();
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_reader_waits_for_room_and_for_the_stop() {
        let (budget, stop) = (Budget::new(100), CancellationToken::new());
        let first = budget.take(250, &stop).unwrap();
        let waiter = {
            let (budget, stop) = (Arc::clone(&budget), stop.clone());
            std::thread::spawn(move || budget.take(60, &stop).map(drop))
        };
        drop(first);
        assert_eq!(waiter.join().unwrap(), Ok(()));
        let _held = budget.take(60, &stop).unwrap();
        stop.cancel();
        assert_eq!(budget.take(60, &stop).map(drop), Err(Stopped));
        assert_eq!(budget.used(), 60);
    }
}
