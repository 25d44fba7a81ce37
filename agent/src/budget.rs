//! How many bytes may be between the readers and the topic's acknowledgement. A reader that finds no room waits: that
//! is how backpressure reaches the files.
//!
//! Readers of files keep an eye on their files while they wait. So they look for room before they read, and some is kept for what
//! one of them reads at once.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// How often a waiting reader looks whether it should stop.
const LOOK: Duration = Duration::from_millis(100);
/// What one reader of files may add before it looks for room again.
const TURN: usize = 4 << 20;

/// The agent is stopping: what was in hand will be read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stopped;

#[derive(Debug)]
pub(crate) struct Budget {
    state: Mutex<State>,
    freed: Condvar,
    limit: usize,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    /// How many readers look for room before they read.
    lookers: usize,
}

/// A part of the budget; given back when dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    budget: Arc<Budget>,
    bytes: usize,
}

/// A reader's way to the budget.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    looks: bool,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), freed: Condvar::new(), limit })
    }

    /// Of a reader that waits wherever it is.
    pub(crate) fn share(self: &Arc<Self>) -> Share {
        Share { budget: Arc::clone(self), looks: false }
    }

    pub(crate) fn used(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).used
    }

    /// What is kept for those that have looked.
    fn kept(&self, state: &State) -> usize {
        state.lookers.saturating_mul(TURN).min(self.limit / 2)
    }
}

impl Share {
    /// From now on its reader looks for room before it reads.
    pub(crate) fn look_first(&mut self) {
        if !std::mem::replace(&mut self.looks, true) {
            self.budget.state.lock().unwrap_or_else(PoisonError::into_inner).lookers += 1;
        }
    }

    /// Waits until there is room for a turn, `within` at most. Blocks.
    pub(crate) fn wait_for_room(&self, within: Duration) -> bool {
        let budget = &*self.budget;
        let full = |state: &mut State| state.used > 0 && state.used + budget.kept(state) > budget.limit;
        let state = budget.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = budget.freed.wait_timeout_while(state, within, full);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Waits for room. What is larger than the whole budget goes alone. Blocks.
    pub(crate) fn take(&self, bytes: usize, stop: &CancellationToken) -> Result<Hold, Stopped> {
        let budget = &*self.budget;
        let mut state = budget.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let limit = if self.looks { budget.limit } else { budget.limit - budget.kept(&state) };
            if state.used == 0 || state.used + bytes <= limit {
                break;
            }
            if stop.is_cancelled() {
                return Err(Stopped);
            }
            state = budget.freed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.used += bytes;
        Ok(Hold { budget: Arc::clone(&self.budget), bytes })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.looks {
            self.budget.state.lock().unwrap_or_else(PoisonError::into_inner).lookers -= 1;
            self.budget.freed.notify_all();
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.budget.state.lock().unwrap_or_else(PoisonError::into_inner).used -= self.bytes;
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
        let first = budget.share().take(250, &stop).unwrap();
        let waiter = {
            let (share, stop) = (budget.share(), stop.clone());
            std::thread::spawn(move || share.take(60, &stop).map(drop))
        };
        drop(first);
        assert_eq!(waiter.join().unwrap(), Ok(()));
        let _held = budget.share().take(60, &stop).unwrap();
        stop.cancel();
        assert_eq!(budget.share().take(60, &stop).map(drop), Err(Stopped));
        assert_eq!(budget.used(), 60);
    }

    #[test]
    fn room_is_kept_for_those_that_look_first() {
        let (budget, stop) = (Budget::new(20 * TURN), CancellationToken::new());
        let mut looker = budget.share();
        looker.look_first();
        let _most = budget.share().take(18 * TURN, &stop).unwrap();
        assert!(looker.wait_for_room(Duration::ZERO));
        let _more = looker.take(3 * TURN / 2, &stop).unwrap();
        assert!(!looker.wait_for_room(Duration::ZERO));
        stop.cancel();
        assert_eq!(budget.share().take(1, &stop).map(drop), Err(Stopped), "what is left is kept");
        assert!(looker.take(TURN / 2, &stop).is_ok());
        drop(looker);
        assert!(budget.share().take(1, &stop).is_ok());
    }
}
