//! The cores that searches share: as many threads as can run, however many searches there are, and each search has its turn.
//!
//! A search is cut into pieces: a sealed shard, the hot rows of an indexer, what is left to do at the end. Few pieces of a
//! search queue at a time, so a search of one piece waits for some of each other search and not for all of the largest; and a
//! piece that has had a core for a while lets whoever waits have it and queues again. What is asked for is thus had after a
//! time that depends on how many search, not on what the others ask for.

use millrace_store::Threads;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How many pieces that mostly wait for a network may run beside: they need a core now and then.
const FAR: usize = 16;
/// How many pieces may have begun, most of them waiting until they have a core again: each keeps a thread.
const BEGUN: usize = 64;
/// How long a piece has a core while others wait for one.
const SLICE: Duration = Duration::from_millis(5);

/// How a piece spends its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// On a core.
    Near,
    /// Mostly waiting for a network.
    Far,
}

/// The cores of a process. Clones are the same cores.
#[derive(Debug, Clone)]
pub struct Cores {
    /// One permit a core. First come, first served.
    near: Arc<Semaphore>,
    begun: Arc<Semaphore>,
    far: Arc<Semaphore>,
    count: usize,
}

impl Default for Cores {
    /// Those of this machine.
    fn default() -> Self {
        Self::of(thread::available_parallelism().map_or(2, usize::from))
    }
}

impl Cores {
    fn of(count: usize) -> Self {
        let [near, begun, far] =
            [count, BEGUN.max(count), FAR].map(|places| Arc::new(Semaphore::new(places)));
        Self { near, begun, far, count }
    }

    /// A search on these, which ends when what is given with it is dropped.
    pub fn search(&self) -> (Search, DropGuard) {
        let stop = CancellationToken::new();
        let places = |count| Arc::new(Semaphore::new(count));
        let search =
            Search { cores: self.clone(), near: places(self.count), far: places(FAR), stop: stop.clone() };
        (search, stop.drop_guard())
    }
}

/// One search, on cores that it shares.
#[derive(Debug, Clone)]
pub struct Search {
    cores: Cores,
    /// A permit for each of its pieces that may queue or run at a time.
    near: Arc<Semaphore>,
    far: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Search {
    /// Waits for a core. To be called where there is a tokio runtime.
    pub async fn turn(&self, piece: Piece) -> Turn {
        let places = match piece {
            Piece::Near => vec![&self.near, &self.cores.begun, &self.cores.near],
            Piece::Far => vec![&self.far, &self.cores.far],
        };
        let mut permits = Vec::with_capacity(places.len());
        for place in places {
            // None of them is ever closed.
            permits.extend(Arc::clone(place).acquire_owned().await.ok());
        }
        Turn {
            piece,
            began: Instant::now(),
            slice_began: AtomicU64::new(0),
            runtime: Handle::current(),
            search: self.clone(),
            _permits: permits,
        }
    }
}

/// A core that is had until this is dropped.
#[derive(Debug)]
pub struct Turn {
    piece: Piece,
    began: Instant,
    /// In nanoseconds since then.
    slice_began: AtomicU64,
    runtime: Handle,
    search: Search,
    _permits: Vec<OwnedSemaphorePermit>,
}

impl Turn {
    /// Lets others have the core for a moment, if it was had long enough. Blocks for as long as they have it.
    fn share(&self) {
        let now = self.began.elapsed().as_nanos() as u64;
        if now - self.slice_began.load(Ordering::Relaxed) < SLICE.as_nanos() as u64 {
            return;
        }
        let near = &self.search.cores.near;
        near.add_permits(1);
        if let Ok(permit) = self.runtime.block_on(near.acquire()) {
            permit.forget();
        }
        self.slice_began.store(self.began.elapsed().as_nanos() as u64, Ordering::Relaxed);
    }
}

impl Threads for Turn {
    fn run(&self, most: usize, work: &(dyn Fn() + Sync)) {
        thread::scope(|scope| {
            for _ in 1..most {
                let Ok(permit) = Arc::clone(&self.search.cores.near).try_acquire_owned() else { break };
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

    fn go_on(&self) -> bool {
        if self.piece == Piece::Near && !self.search.stop.is_cancelled() {
            self.share();
        }
        !self.search.stop.is_cancelled()
    }
}

#[cfg(test)]
mod tests;
