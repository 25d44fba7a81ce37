//! Everything at once: three brokers, three agents, three indexers, `PostgreSQL`, a bucket, and everything that can fail does,
//! while lines are written and searches asked. Whole answers are right, and in the end each line is found once.

use crate::{
    BINARY, DEADLINE,
    faults::{self, Fault, Pool, World},
    prove,
    random::{Random, number},
    searcher::{Asked, Searcher},
    write,
};
use millrace_test_support::{
    Plan, Role, Server, Site,
    disk::SmallDisk,
    kafka::Brokers,
    numbers::{self, Writer},
    postgres::Postgres,
    s3::S3Server,
};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant},
};

/// Two of each agent.
const FILES: usize = 6;
/// Lines of a file until it is rotated.
const ROTATE_AFTER: u64 = 100_000;
/// How long a start may take on a busy machine.
const START: Duration = Duration::from_mins(2);
/// Between two faults, on average.
const EVERY: Duration = Duration::from_secs(6);
/// The disk of one indexer, and how much of it copies of bundles may take.
const SMALL: u64 = 64 << 20;
const COPIES: &str = "cache_bytes = \"24MiB\"\n";
/// How many ask.
const SEARCHERS: usize = 2;

#[test]
#[ignore = "takes minutes, and mounts a disk: make chaos"]
fn millions_of_lines_while_everything_fails() {
    let mut random = Random::from_environment();
    let lines = number("MILLRACE_CHAOS_LINES").unwrap_or(5_000_000);
    let count = number("MILLRACE_CHAOS_FAULTS").unwrap_or(60) as usize;
    let plan = faults::draw(count, &mut random);
    println!("{lines} lines, {count} faults: {:?}", by_kind(&plan));

    let site = Site::new(BINARY);
    let disk = SmallDisk::mount(&site.path("small"), SMALL);
    let (brokers, postgres, bucket) = (Brokers::start(3), Postgres::start(), S3Server::start());
    let (world, server) = start(&site, &disk, &brokers, &postgres, &bucket);
    let (written, over) = (&AtomicU64::new(0), AtomicBool::new(false));
    let asked: Vec<Asked> = thread::scope(|scope| {
        // However this ends, those who ask end with it.
        let _over = Over { flag: &over, site: &site, server: &server };
        let searchers: Vec<_> = (0..SEARCHERS)
            .map(|_| Searcher::new(&server, written, random.split()))
            .map(|searcher| scope.spawn(|| searcher.ask_until(&over)))
            .collect();
        let writer = Writer::new(&site.path("logs"), FILES, ROTATE_AFTER);
        let during = EVERY * count as u32;
        let writing = scope.spawn(move || write(writer, lines, during, written));
        thread::scope(|faults| {
            for fault in plan {
                thread::sleep(random.time(Duration::ZERO, EVERY * 2));
                let wrong = searchers.iter().any(ScopedJoinHandle::is_finished);
                assert!(!wrong, "a searcher has ended: what it says is above");
                world.suffer(faults, fault, &mut random);
            }
        });
        world.tell("all is well again");
        let well = Instant::now();
        writing.join().unwrap();
        server.wait_for_total(numbers::QUERY, lines, DEADLINE);
        println!("all {lines} found {:?} after the last fault", well.elapsed());
        over.store(true, Ordering::SeqCst);
        searchers.into_iter().map(|searcher| searcher.join().unwrap()).collect()
    });
    println!("{asked:?}; {:?} starts were too early", world.started_again);
    let roles = [world.agents, world.indexers, world.queries];
    let mut roles: Vec<Role<'_>> = roles.into_iter().flat_map(Pool::into_members).collect();
    roles.iter_mut().for_each(Role::assert_running);
    prove(&site, &server, lines);
}

/// Says that it is over when it is dropped, and, where that is a failure, what the audit says.
struct Over<'a> {
    flag: &'a AtomicBool,
    site: &'a Site,
    server: &'a Server,
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.flag.store(true, Ordering::SeqCst);
        if thread::panicking() {
            let audit = self.site.run(&["audit", "--server", &self.server.url()]);
            println!("{}{}", audit.stdout, audit.stderr);
        }
    }
}

/// Starts everything, and waits until it is ready.
fn start<'a>(
    site: &'a Site,
    disk: &'a SmallDisk,
    brokers: &'a Brokers,
    postgres: &'a Postgres,
    bucket: &'a S3Server,
) -> (World<'a>, Server) {
    let (storage, catalogue) = (bucket.settings("logs", &site.path("copies")), postgres.database());
    let small = format!("{}{COPIES}", bucket.settings("logs", &disk.path().join("copies")));
    let plan = Plan {
        brokers: &brokers.bootstrap,
        topic: "many",
        name: "data",
        indexers: 3,
        seal_age: "3s",
        storage: &storage,
        catalogue: &catalogue,
    };
    let indexer = |nth| {
        let plan = if nth == 1 { Plan { storage: &small, ..plan } } else { plan };
        Role::indexer(site, plan, &format!("indexer-{nth}"))
    };
    let agent = |nth| {
        let logs = format!("numbers-0[{}{}].log*", 2 * nth, 2 * nth + 1);
        Role::agent(site, plan, &format!("agent-{}", nth + 1), &logs)
    };
    let mut indexers: Vec<Role<'_>> = (1..=plan.indexers).map(indexer).collect();
    let mut agents: Vec<Role<'_>> = (0..FILES / 2).map(agent).collect();
    let mut query = Role::query(site, plan, "query", "");
    let server = query.server();
    for role in indexers.iter_mut().chain([&mut query]).chain(&mut agents) {
        role.start();
    }
    for role in indexers.iter().chain([&query]).chain(&agents) {
        role.server().wait_until_ready(START);
    }
    let world = World {
        agents: Pool::of(agents),
        indexers: Pool::of(indexers),
        queries: Pool::of([query]),
        brokers: Pool::of([brokers]),
        databases: Pool::of([postgres]),
        buckets: Pool::of([bucket]),
        disks: Pool::of([disk]),
        begun: Instant::now(),
        started_again: AtomicU32::new(0),
    };
    (world, server)
}

/// How many of each kind there are.
fn by_kind(faults: &[Fault]) -> BTreeMap<Fault, usize> {
    let mut kinds = BTreeMap::new();
    for fault in faults {
        *kinds.entry(*fault).or_default() += 1;
    }
    kinds
}
