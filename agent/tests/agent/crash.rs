//! The agent ends without a word, at any moment, while files are written and rotated.

use crate::support::{Host, Shipped, append, until};
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// How often a writer has rotated its file, and how often it may.
#[derive(Default)]
struct Pace {
    done: AtomicUsize,
    allowed: AtomicUsize,
}

/// Writes numbered lines into a file and renames it now and then, as a logging program and logrotate do. A line may
/// come in two pieces.
fn write_and_rotate(folder: &Path, name: &str, lines: usize, pace: &Pace) -> Vec<String> {
    let mut written = Vec::new();
    let mut generation = 0usize;
    for number in 0..lines {
        let line = format!("{name}:{generation}:{number:06} {}", "x".repeat(number % 90));
        let path = folder.join(format!("{name}.log"));
        let bytes = format!("{line}\n").into_bytes();
        let (first, rest) = bytes.split_at(number % bytes.len());
        append(&path, first);
        append(&path, rest);
        written.push(line);
        if number % 1500 == 1499 {
            while pace.allowed.load(Ordering::SeqCst) <= generation {
                thread::sleep(Duration::from_micros(100));
            }
            for old in (1..=generation).rev() {
                let from = folder.join(format!("{name}.log.{old}"));
                if from.exists() {
                    fs::rename(&from, folder.join(format!("{name}.log.{}", old + 1))).unwrap();
                }
            }
            fs::rename(&path, folder.join(format!("{name}.log.1"))).unwrap();
            generation += 1;
            pace.done.store(generation, Ordering::SeqCst);
        }
    }
    written
}

async fn killed_again_and_again(matching_rotated: bool) {
    let mut host = Host::new();
    if matching_rotated {
        host.watch("app", &["*.log*"]);
    }
    let folder = host.path("");
    let paces: Vec<_> = (0..3).map(|_| Arc::new(Pace::default())).collect();
    let writers: Vec<_> = paces
        .iter()
        .enumerate()
        .map(|(number, pace)| {
            let (folder, pace) = (folder.clone(), Arc::clone(pace));
            thread::spawn(move || write_and_rotate(&folder, &format!("f{number}"), 24_000, &pace))
        })
        .collect();

    let mut life = 0;
    while writers.iter().any(|writer| !writer.is_finished()) {
        // Each life is ended at another moment, some with messages that are taken but not acknowledged. The writers
        // rotate once a life, before or after the agent has looked at what was there.
        if life % 3 > 0 {
            host.topic.hold_after(life * 7 % 23);
        }
        host.start();
        sleep(Duration::from_millis(life as u64 * 13 % 60)).await;
        let done: Vec<usize> = paces.iter().map(|pace| pace.done.load(Ordering::SeqCst)).collect();
        if !matching_rotated {
            // A file that is renamed before any agent has seen it is nobody's.
            until("the agent knows the files", || {
                let written = writers.iter().enumerate().filter(|(_, writer)| !writer.is_finished());
                host.knows(&written.map(|(number, _)| format!("f{number}.log")).collect::<Vec<_>>())
            })
            .await;
        }
        for (pace, done) in paces.iter().zip(done) {
            pace.allowed.store(done + 1, Ordering::SeqCst);
        }
        sleep(Duration::from_millis(life as u64 * 29 % 130)).await;
        host.kill().await;
        life += 1;
    }
    assert!(life >= 16, "the test kills the agent many times, not {life}");
    let expected: BTreeSet<String> = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();

    host.start();
    let began = Instant::now();
    let shipped = loop {
        let shipped = host.topic.read();
        let bodies = shipped.bodies();
        let distinct: BTreeSet<String> = bodies.iter().cloned().collect();
        assert!(distinct.is_subset(&expected), "no line is made up");
        if distinct.len() < bodies.len()
            || (distinct.len() < expected.len() && began.elapsed().as_secs() > 20)
        {
            explain(&shipped, &expected);
            panic!("{} lines, {} distinct, {} expected", bodies.len(), distinct.len(), expected.len());
        }
        if distinct.len() == expected.len() {
            break shipped;
        }
        sleep(Duration::from_millis(20)).await;
    };
    host.stop().await;
    for source in shipped.sources.values() {
        assert_eq!(source.start(), source.open().start);
        source.end();
        assert!(source.close().is_none_or(|close| close.lost_at_least.is_none()));
    }
}

/// What is told of each source, for whoever reads the failure.
fn explain(shipped: &Shipped, expected: &BTreeSet<String>) {
    let mut missing = expected.clone();
    for (id, source) in &shipped.sources {
        let bodies = source.bodies();
        let short = |line: Option<&String>| line.map(|line| line.chars().take(12).collect::<String>());
        eprintln!(
            "{id}: {}..{} {:?}..{:?} open {:?} close {:?}",
            source.start(),
            source.end(),
            short(bodies.first()),
            short(bodies.last()),
            source.open(),
            source.close()
        );
        missing.retain(|line| !bodies.contains(line));
    }
    eprintln!("missing: {:?}..{:?}", missing.first(), missing.last());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_while_files_are_rotated_away() {
    killed_again_and_again(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_while_files_are_rotated_within_the_glob() {
    killed_again_and_again(true).await;
}

#[tokio::test]
async fn b6_what_was_not_acknowledged_is_sent_again_under_the_same_positions() {
    let mut host = Host::new();
    host.topic.hold();
    host.append("a.log", "one\ntwo\n");
    host.start();
    let topic = host.topic.clone();
    until("the first message is taken", || topic.held() > 0).await;
    host.kill().await;
    host.append("a.log", "three\n");
    host.start();
    let shipped = host.shipped_bodies(&["one", "two", "three"]).await;
    let source = shipped.only();
    assert!(source.envelopes.len() >= 2, "the first message came twice");
    assert!(source.envelopes.iter().filter(|envelope| envelope.open.is_some()).count() >= 2);
    source.check_sums(b"one\ntwo\nthree\n");
    host.stop().await;
}

#[tokio::test]
async fn an_end_that_was_decided_is_kept_although_the_file_grows() {
    let mut host = Host::new();
    host.append("a.log", "one\n");
    host.start();
    host.shipped_bodies(&["one"]).await;
    // The last line without its newline is sent as the file ends, but never acknowledged.
    host.topic.hold();
    fs::rename(host.path("a.log"), host.path("a.log.1")).unwrap();
    host.append("a.log.1", "two");
    let topic = host.topic.clone();
    until("the end is taken", || topic.held() > 0).await;
    host.kill().await;
    host.append("a.log.1", " and more\n");
    host.start();
    let shipped = host.shipped_bodies(&["one", "two", " and more"]).await;
    let closed = shipped.find(|open| open.because.is_none());
    assert_eq!((closed.end(), closed.close().unwrap().end), (7, 7));
    host.stop().await;
}
