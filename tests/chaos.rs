//! The long fault tests, run by `make chaos`: a million numbered lines in twenty files that are rotated while they are
//! written, and processes that are killed with `kill -9` at random moments. In the end each number is found once.
//!
//! `MILLRACE_CHAOS_LINES`, `MILLRACE_CHAOS_KILLS` (of each process) and `MILLRACE_CHAOS_SEED` change how much and when.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use millrace_test_support::{
    Cluster, Plan, Server, Site, kafka,
    numbers::{self, Writer},
    wait,
};
use serde_json::json;
use std::{
    hash::{BuildHasher, Hasher, RandomState},
    path::Path,
    thread,
    time::{Duration, Instant},
};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
/// From the last kill until everything is found.
const DEADLINE: Duration = Duration::from_mins(10);
const FILES: usize = 20;
/// Lines of a file until it is rotated.
const ROTATE_AFTER: u64 = 5000;

/// How much, and when.
struct Chaos {
    lines: u64,
    kills: usize,
    random: u64,
}

impl Chaos {
    fn from_environment() -> Self {
        let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
        let seed =
            number("MILLRACE_CHAOS_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish());
        let lines = number("MILLRACE_CHAOS_LINES").unwrap_or(1_000_000);
        let kills = number("MILLRACE_CHAOS_KILLS").unwrap_or(10) as usize;
        println!("{lines} lines, {kills} kills of each process, MILLRACE_CHAOS_SEED={seed}");
        Self { lines, kills, random: seed }
    }

    /// The next random number below `bound` (splitmix64).
    fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    /// A random moment: the one place where a test waits for time to pass, because time is what it varies.
    fn wait(&mut self, at_most: Duration) {
        thread::sleep(Duration::from_millis(self.below(at_most.as_millis() as u64)));
    }

    /// Who is killed when: each of `victims` equally often, in random order.
    fn schedule(&mut self, victims: usize) -> Vec<usize> {
        let mut schedule: Vec<usize> = (0..victims).flat_map(|victim| vec![victim; self.kills]).collect();
        for at in (1..schedule.len()).rev() {
            let other = self.below(at as u64 + 1) as usize;
            schedule.swap(at, other);
        }
        schedule
    }
}

/// Writes all lines, evenly over `during`.
fn write(folder: &Path, lines: u64, during: Duration) {
    let mut writer = Writer::new(folder, FILES, ROTATE_AFTER);
    let begun = Instant::now();
    while writer.written() < lines {
        let due = begun.elapsed().as_secs_f64() / during.as_secs_f64() * lines as f64;
        writer.write_until((due as u64).clamp(writer.written(), lines));
        thread::sleep(Duration::from_millis(20));
    }
}

/// Everything is there, each number once, and the audit says so.
fn prove(site: &Site, server: &Server, lines: u64) {
    let begun = Instant::now();
    server.wait_for_total(numbers::QUERY, lines, DEADLINE);
    println!("all {lines} found {:?} after the last kill", begun.elapsed());
    numbers::assert_each_once(server, lines);
    wait::until_true("everything is published", DEADLINE, || {
        server.get("/api/v1/audit")["records"] == json!(lines)
    });
    let outcome = site.run(&["audit", "--server", &server.url()]);
    assert_eq!(outcome.code, Some(0), "{}{}", outcome.stdout, outcome.stderr);
    server.wait_for_total(numbers::QUERY, lines, DEADLINE);
    let audit = server.get("/api/v1/audit");
    let again: u64 =
        audit["sources"].as_array().unwrap().iter().map(|s| s["duplicate_bytes"].as_u64().unwrap()).sum();
    println!("each number once; {} {again} bytes had come again", outcome.stderr.trim());
}

#[test]
#[ignore = "takes minutes: make chaos"]
fn a_million_lines_over_kafka_while_agent_and_indexers_are_killed() {
    let mut chaos = Chaos::from_environment();
    let site = Site::new(BINARY);
    let broker = &kafka::shared().bootstrap;
    let plan = Plan {
        broker,
        topic: "chaos",
        name: "data",
        indexers: 2,
        seal_age: "2s",
        storage: "",
        catalogue: "",
    };
    let mut cluster = Cluster::new(&site, plan);
    cluster.start();
    let schedule = chaos.schedule(3);
    let during = Duration::from_secs(3) * schedule.len() as u32;
    let (folder, lines) = (site.path("logs"), chaos.lines);
    let writing = thread::spawn(move || write(&folder, lines, during));
    for victim in schedule {
        chaos.wait(Duration::from_secs(4));
        let role = match victim {
            0 => &mut cluster.agent,
            nth => &mut cluster.indexers[nth - 1],
        };
        role.kill();
        chaos.wait(Duration::from_secs(1));
        role.start();
    }
    writing.join().unwrap();
    prove(&site, &cluster.server, lines);
}

#[test]
#[ignore = "takes minutes: make chaos"]
fn a_million_lines_through_up_while_it_is_killed() {
    let mut chaos = Chaos::from_environment();
    let site = Site::new(BINARY);
    let settings = format!(
        "[agent.sources.all]\ntype = \"file\"\ninclude = [\"{}/*\"]\n[indexer]\nseal_age = \"2s\"\n",
        site.path("logs").display()
    );
    let mut up = site.up(&settings).started();
    let during = Duration::from_secs(3) * chaos.kills as u32;
    let (folder, lines) = (site.path("logs"), chaos.lines);
    let writing = thread::spawn(move || write(&folder, lines, during));
    for _ in 0..chaos.kills {
        chaos.wait(Duration::from_secs(5));
        up.kill();
        chaos.wait(Duration::from_secs(1));
        let begun = Instant::now();
        up.start();
        println!("answers {:?} after its start", begun.elapsed());
    }
    writing.join().unwrap();
    prove(&site, &up.server, lines);
}
