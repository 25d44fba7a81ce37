//! The long fault tests, run by `make chaos`: millions of numbered lines in files that are rotated while they are written,
//! and processes, servers and disks that fail at random moments. In the end each number is found once, and each attack is one alert.
//!
//! `MILLRACE_CHAOS_SEED` has chance repeat itself, as far as a busy machine does. `MILLRACE_CHAOS_LINES`,
//! `MILLRACE_CHAOS_KILLS` (of each process in the two smaller tests, of all in those of detection), `MILLRACE_CHAOS_EPISODES` (attacks) and
//! `MILLRACE_CHAOS_FAULTS` (in the large one) say how much.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

#[path = "chaos/detection.rs"]
mod detection;
#[path = "chaos/faults.rs"]
mod faults;
#[path = "chaos/many.rs"]
mod many;
#[path = "chaos/pushed.rs"]
mod pushed;
#[path = "chaos/random.rs"]
mod random;
#[path = "chaos/searcher.rs"]
mod searcher;
#[path = "chaos/storm.rs"]
mod storm;

use millrace_test_support::{
    Cluster, Plan, Server, Site,
    disk::SmallDisk,
    kafka,
    numbers::{self, Writer},
    wait,
};
use random::{Random, number};
use serde_json::json;
use std::{
    fs,
    io::ErrorKind,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
/// From the last fault until everything is found.
const DEADLINE: Duration = Duration::from_mins(10);
const FILES: usize = 20;
/// Lines of a file until it is rotated.
const ROTATE_AFTER: u64 = 5000;

/// How much is written, and how often each process is killed.
fn lines_and_kills() -> (u64, usize) {
    let lines = number("MILLRACE_CHAOS_LINES").unwrap_or(1_000_000);
    let kills = number("MILLRACE_CHAOS_KILLS").unwrap_or(10) as usize;
    println!("{lines} lines, {kills} kills of each process");
    (lines, kills)
}

/// Waits for a random time: only here does a test wait for time to pass, because time is what it varies.
fn wait_at_most(random: &mut Random, time: Duration) {
    thread::sleep(random.time(Duration::ZERO, time));
}

/// Writes all lines, evenly over `during`, and tells how many there are already.
fn write(mut writer: Writer, lines: u64, during: Duration, written: &AtomicU64) {
    let begun = Instant::now();
    while writer.written() < lines {
        let due = begun.elapsed().as_secs_f64() / during.as_secs_f64() * lines as f64;
        let due = (due as u64).clamp(writer.written(), lines);
        // Told before: whoever looks has never found more than that.
        written.store(due, Ordering::SeqCst);
        writer.write_until(due);
        thread::sleep(Duration::from_millis(20));
    }
}

/// Everything is there, each number once, and the audit says so.
fn prove(site: &Site, server: &Server, lines: u64) {
    let begun = Instant::now();
    server.wait_for_total(numbers::QUERY, lines, DEADLINE);
    println!("all {lines} found {:?} after the last fault", begun.elapsed());
    numbers::assert_each_once(server, lines);
    wait::until_true("everything is published", DEADLINE, || {
        server.get("/api/v1/audit")["records"] == json!(lines)
    });
    let verified = site.run(&["audit", "--verify", "--server", &server.url()]);
    assert_eq!(verified.code, Some(0), "{}{}", verified.stdout, verified.stderr);
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
    let mut random = Random::from_environment();
    let (lines, kills) = lines_and_kills();
    let site = Site::new(BINARY);
    let plan = Plan { seal_age: "2s", ..Plan::new(&kafka::shared().bootstrap, "chaos") };
    let mut cluster = Cluster::new(&site, plan);
    cluster.start();
    // Each equally often, in random order.
    let mut victims: Vec<usize> = (0..3).flat_map(|victim| vec![victim; kills]).collect();
    random.shuffle(&mut victims);
    let during = Duration::from_secs(3) * victims.len() as u32;
    let writer = Writer::new(&site.path("logs"), FILES, ROTATE_AFTER);
    let writing = thread::spawn(move || write(writer, lines, during, &AtomicU64::new(0)));
    for victim in victims {
        wait_at_most(&mut random, Duration::from_secs(4));
        let role = match victim {
            0 => &mut cluster.agent,
            nth => &mut cluster.indexers[nth - 1],
        };
        role.kill();
        wait_at_most(&mut random, Duration::from_secs(1));
        role.start();
    }
    writing.join().unwrap();
    prove(&site, &cluster.server, lines);
}

#[test]
#[ignore = "takes minutes: make chaos"]
fn a_million_lines_through_up_while_it_is_killed() {
    let mut random = Random::from_environment();
    let (lines, kills) = lines_and_kills();
    let site = Site::new(BINARY);
    let settings = format!(
        "[agent.sources.all]\ntype = \"file\"\ninclude = [\"{}/*\"]\n[indexer]\nseal_age = \"2s\"\n",
        site.path("logs").display()
    );
    let mut up = site.up(&settings).started();
    let during = Duration::from_secs(3) * kills as u32;
    let writer = Writer::new(&site.path("logs"), FILES, ROTATE_AFTER);
    let writing = thread::spawn(move || write(writer, lines, during, &AtomicU64::new(0)));
    for _ in 0..kills {
        wait_at_most(&mut random, Duration::from_secs(5));
        up.kill();
        wait_at_most(&mut random, Duration::from_secs(1));
        let begun = Instant::now();
        up.start();
        println!("answers {:?} after its start", begun.elapsed());
    }
    writing.join().unwrap();
    prove(&site, &up.server, lines);
}

#[test]
#[ignore = "mounts a disk: make chaos"]
fn a_small_disk_is_full_for_a_while_then_has_room_and_is_gone_at_last() {
    let folder = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(&folder.path().join("small"), 1 << 20);
    let file = |nth: u32| disk.path().join(format!("file-{nth}"));
    let mut files = 0;
    thread::scope(|scope| {
        scope.spawn(|| disk.fill(Duration::from_secs(1)));
        // None of them goes, so there is never room for another one.
        wait::until_true("it is full", Duration::from_secs(30), || {
            files += 1;
            fs::write(file(files), [0; 1024]).is_err_and(|error| error.kind() == ErrorKind::StorageFull)
        });
    });
    fs::write(file(0), [0; 1024]).unwrap();
    let written = file(0);
    drop(disk);
    assert!(!written.exists());
}
