//! What goes wrong, with whom, and for how long. Whoever suffers a fault is out of its pool until that is over, so that
//! several suffer at once, but nobody two things that exclude each other.

use crate::random::Random;
use millrace_test_support::{
    Role,
    disk::SmallDisk,
    kafka::Brokers,
    postgres::Postgres,
    s3::{Fault as S3Fault, Kind, S3Server},
};
use std::{
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread::{self, Scope},
    time::{Duration, Instant},
};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// An agent is killed.
    AgentKilled,
    /// An indexer is killed.
    IndexerKilled,
    /// The query node is killed.
    QueryKilled,
    /// An indexer stands still for so long that everybody takes it for dead, and wakes.
    IndexerFrozen,
    /// A broker is killed.
    BrokerKilled,
    /// The database is ended in order.
    DatabaseStopped,
    /// The database is killed.
    DatabaseKilled,
    /// The bucket's server refuses everything.
    BucketRefuses,
    /// The bucket's server takes its time, sometimes more than one has.
    BucketSlow,
    /// The bucket's server drops connections, before an answer or in the middle of it.
    BucketDrops,
    /// The disk of one indexer is full.
    DiskFull,
}

use Fault::{
    AgentKilled, BrokerKilled, BucketDrops, BucketRefuses, BucketSlow, DatabaseKilled, DatabaseStopped,
    DiskFull, IndexerFrozen, IndexerKilled, QueryKilled,
};

/// How often each comes in sixty.
const SIXTY: [(Fault, usize); 11] = [
    (AgentKilled, 8),
    (IndexerKilled, 13),
    (QueryKilled, 5),
    (IndexerFrozen, 3),
    (BrokerKilled, 10),
    (DatabaseStopped, 3),
    (DatabaseKilled, 4),
    (BucketRefuses, 4),
    (BucketSlow, 3),
    (BucketDrops, 3),
    (DiskFull, 4),
];

/// How long an indexer stands still.
const FROZEN: Duration = Duration::from_secs(90);
/// How long a victim is waited for.
const PATIENCE: Duration = Duration::from_mins(4);

/// So many faults, in random order; of each kind its share.
pub(crate) fn draw(count: usize, random: &mut Random) -> Vec<Fault> {
    let mut faults = Vec::new();
    while faults.len() < count {
        let mut sixty: Vec<Fault> = SIXTY.iter().flat_map(|(fault, times)| vec![*fault; *times]).collect();
        random.shuffle(&mut sixty);
        faults.extend(sixty);
    }
    faults.truncate(count);
    faults
}

/// Those that are well.
#[derive(Debug)]
pub(crate) struct Pool<T> {
    well: Mutex<Vec<T>>,
    back: Condvar,
}

impl<T> Pool<T> {
    pub(crate) fn of(members: impl IntoIterator<Item = T>) -> Self {
        Self { well: Mutex::new(members.into_iter().collect()), back: Condvar::new() }
    }

    /// Takes any one out; waits until one is well.
    fn take(&self, random: &mut Random) -> T {
        let well = self.well.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.back.wait_timeout_while(well, PATIENCE, |well| well.is_empty());
        let (mut well, _) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!well.is_empty(), "nobody is well again after {PATIENCE:?}");
        let nth = random.below(well.len() as u64) as usize;
        well.swap_remove(nth)
    }

    fn give_back(&self, member: T) {
        self.well.lock().unwrap_or_else(PoisonError::into_inner).push(member);
        self.back.notify_all();
    }

    /// All of them, when all are well.
    pub(crate) fn into_members(self) -> Vec<T> {
        self.well.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All that can suffer.
#[derive(Debug)]
pub(crate) struct World<'a> {
    pub(crate) agents: Pool<Role<'a>>,
    pub(crate) indexers: Pool<Role<'a>>,
    pub(crate) queries: Pool<Role<'a>>,
    pub(crate) brokers: Pool<&'a Brokers>,
    pub(crate) databases: Pool<&'a Postgres>,
    pub(crate) buckets: Pool<&'a S3Server>,
    pub(crate) disks: Pool<&'a SmallDisk>,
    pub(crate) begun: Instant,
    /// How often a process ended instead of starting, because what it needs was not there.
    pub(crate) started_again: AtomicU32,
}

impl<'a> World<'a> {
    /// Has it happen, and goes on: a thread of the scope makes it good after a while.
    pub(crate) fn suffer<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        fault: Fault,
        random: &mut Random,
    ) {
        let seconds = Duration::from_secs;
        match fault {
            AgentKilled => self.kill(scope, &self.agents, random),
            IndexerKilled => self.kill(scope, &self.indexers, random),
            QueryKilled => self.kill(scope, &self.queries, random),
            IndexerFrozen => self.with(scope, &self.indexers, random, move |world, indexer| {
                world.tell(&format!("{} stands still", indexer.name()));
                indexer.process().signal("STOP");
                thread::sleep(FROZEN);
                indexer.process().signal("CONT");
                world.tell(&format!("{} wakes", indexer.name()));
            }),
            BrokerKilled => {
                let (nth, away) = (random.below(3), random.time(seconds(1), seconds(10)));
                self.with(scope, &self.brokers, random, move |world, brokers| {
                    world.tell(&format!("broker {nth} is killed for {away:?}"));
                    let broker = brokers.nth(nth as usize % brokers.count());
                    broker.kill();
                    thread::sleep(away);
                    broker.restart();
                    world.tell(&format!("broker {nth} is back"));
                });
            }
            DatabaseStopped | DatabaseKilled => {
                let away = random.time(seconds(1), seconds(6));
                self.with(scope, &self.databases, random, move |world, database| {
                    world.tell(&format!("{fault:?} for {away:?}"));
                    if fault == DatabaseKilled {
                        database.kill();
                    } else {
                        database.stop();
                    }
                    thread::sleep(away);
                    database.restart();
                });
            }
            BucketRefuses | BucketSlow | BucketDrops => {
                let slow = random.time(Duration::from_millis(300), seconds(4));
                let during = random.time(seconds(5), seconds(15));
                self.with(scope, &self.buckets, random, move |world, bucket| {
                    world.tell(&format!("{fault:?} for {during:?}, if slow, {slow:?}"));
                    match fault {
                        BucketRefuses => bucket.fail(&[], S3Fault::Status(503), usize::MAX),
                        BucketSlow => bucket.fail(&[], S3Fault::Slow(slow), usize::MAX),
                        _ => {
                            bucket.fail(&[], S3Fault::Drop, 20);
                            bucket.fail(&[Kind::Get], S3Fault::Cut, 20);
                        }
                    }
                    thread::sleep(during);
                    bucket.heal();
                });
            }
            DiskFull => {
                let during = random.time(seconds(5), seconds(15));
                self.with(scope, &self.disks, random, move |world, disk| {
                    world.tell(&format!("the disk is full for {during:?}"));
                    disk.fill(during);
                });
            }
        }
    }

    fn kill<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        pool: &'scope Pool<Role<'a>>,
        random: &mut Random,
    ) {
        let away = random.time(Duration::ZERO, Duration::from_secs(4));
        self.with(scope, pool, random, move |world, role| {
            world.tell(&format!("{} is killed for {away:?}", role.name()));
            role.assert_running();
            role.kill();
            thread::sleep(away);
            world.started_again.fetch_add(role.start_supervised(), Ordering::SeqCst);
        });
    }

    /// Does something with one of a pool, beside everything else.
    fn with<'scope, T: Send + 'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        pool: &'scope Pool<T>,
        random: &mut Random,
        fault: impl FnOnce(&Self, &mut T) + Send + 'scope,
    ) {
        let mut victim = pool.take(random);
        scope.spawn(move || {
            fault(self, &mut victim);
            pool.give_back(victim);
        });
    }

    pub(crate) fn tell(&self, what: &str) {
        println!("{:7.1} s  {what}", self.begun.elapsed().as_secs_f64());
    }
}
