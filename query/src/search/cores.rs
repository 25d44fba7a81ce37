//! The cores that sealed shards are searched on: as many threads as can run, however many searches there are.

use millrace_store::Threads;
use std::{sync::Arc, thread};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How many searches that mostly wait for a network may run beside: they need a core now and then.
const WAITING: usize = 16;

/// One permit a core. A shard waits for one; where it has much to read it takes those that nobody has.
#[derive(Debug, Clone)]
pub struct Cores {
    free: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// Once it is cancelled, searches on these end.
    stop: CancellationToken,
}

impl Default for Cores {
    /// Those of this machine.
    fn default() -> Self {
        Self::of(thread::available_parallelism().map_or(2, usize::from))
    }
}

impl Cores {
    fn of(count: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(count)),
            waiting: Arc::new(Semaphore::new(WAITING)),
            stop: CancellationToken::new(),
        }
    }

    /// The same cores for one search, which ends when what is given with them is dropped.
    pub fn of_search(&self) -> (Self, DropGuard) {
        let stop = CancellationToken::new();
        (Self { stop: stop.clone(), ..self.clone() }, stop.drop_guard())
    }

    /// Waits for a core.
    pub async fn acquire(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.free).acquire_owned().await.ok()
    }

    /// Waits for a place among those who need a core seldom.
    pub async fn acquire_to_wait(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.waiting).acquire_owned().await.ok()
    }
}

impl Threads for Cores {
    fn run(&self, most: usize, work: &(dyn Fn() + Sync)) {
        thread::scope(|scope| {
            for _ in 1..most {
                let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() else { break };
                let helper = thread::Builder::new().name("search".to_owned());
                let started = helper.spawn_scoped(scope, move || {
                    let _permit = permit;
                    work();
                });
                if let Err(error) = started {
                    tracing::debug!(%error, "a search goes on with fewer threads");
                    break;
                }
            }
            work();
        });
    }

    fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    };

    #[test]
    fn no_more_cores_are_lent_than_are_free() {
        let cores = Cores::of(2);
        let (barrier, ran) = (Barrier::new(3), AtomicUsize::new(0));
        cores.run(9, &|| {
            // Passes only if the caller and two others are here at once.
            barrier.wait();
            ran.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(ran.into_inner(), 3);
        let ran = AtomicUsize::new(0);
        cores.run(1, &|| {
            ran.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(ran.into_inner(), 1);
        assert_eq!(cores.free.available_permits(), 2, "all of them came back");
    }

    #[test]
    fn a_search_is_stopped_when_its_guard_goes_and_others_are_not() {
        let cores = Cores::of(2);
        let ((one, guard), (other, _other_guard)) = (cores.of_search(), cores.of_search());
        assert!(!one.is_stopped());
        drop(guard);
        assert!(one.is_stopped() && !other.is_stopped() && !cores.is_stopped());
    }
}
