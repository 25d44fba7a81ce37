//! Many nodes that share a topic: whom they believe, and how partitions pass from one to another.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use millrace_test_support::{
    Cluster, Plan, Role, SECRET_FILE, Site, http,
    kafka::{self, Broker},
    numbers::{self, Writer},
    wait,
};
use serde_json::{Value, json};
use std::{
    fs,
    io::Write,
    net::TcpStream,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
/// Far more than anything here takes, on a busy machine.
const DEADLINE: Duration = Duration::from_mins(2);

fn plan<'a>(broker: &'a Broker, topic: &'a str) -> Plan<'a> {
    Plan { seal_age: "1h", ..Plan::new(&broker.bootstrap, topic) }
}

/// The partitions that an answer names as missing.
fn partitions(answer: &Value) -> Vec<i64> {
    let missing = answer["missing"].as_array().unwrap();
    let mut partitions: Vec<i64> = missing.iter().filter_map(|one| one["partition"].as_i64()).collect();
    partitions.sort_unstable();
    partitions.dedup();
    partitions
}

#[test]
fn a_node_with_another_secret_is_shown_nothing_and_says_so() {
    let broker = kafka::shared();
    let site = Site::new(BINARY);
    let mut cluster = Cluster::new(&site, Plan { indexers: 1, ..plan(broker, "secret") });
    cluster.start();
    site.append("app.log", "in memory only\n");
    cluster.server.wait_for_total("memory", 1, DEADLINE);

    // Nobody is shown rows without a proof, whatever is asked.
    let indexer = cluster.indexers[0].address.clone();
    let refused = http::post(&indexer, "/leaf/search", "{}").unwrap();
    assert_eq!(refused.status, 401, "{}", refused.text());
    let missing = "millrace_indexer_refused_leaf_requests_total{reason=\"missing\"}";
    assert!(cluster.indexers[0].metric(missing) >= 1.0);

    let right = fs::read_to_string(site.path(SECRET_FILE)).unwrap();
    cluster.query.stop();
    site.write(SECRET_FILE, "the secret of another cluster\n");
    cluster.query.start();
    // Before anybody has searched.
    wait::until_true("the query node says that it is not believed", DEADLINE, || {
        let answer = http::get(&cluster.server.address, "/readyz").unwrap();
        answer.status == 503 && answer.text().contains("[cluster] secret")
    });
    let answer = cluster.server.search(&json!({ "q": "memory" }));
    assert_eq!((&answer["total"], &answer["partial"]), (&json!(0), &json!(true)), "{answer}");
    assert!(answer["missing"].to_string().contains("does not believe this node"), "{answer}");
    assert_eq!(partitions(&answer), [0, 1, 2, 3], "{answer}");
    let failures = "millrace_query_leaf_failures_total{reason=\"disbelieved\"}";
    assert!(cluster.query.metric(failures) >= 1.0);
    let wrong = "millrace_indexer_refused_leaf_requests_total{reason=\"wrong\"}";
    assert!(cluster.indexers[0].metric(wrong) >= 1.0);
    let told = |log: &str| fs::read_to_string(site.path(log)).unwrap().matches("is refused").count();
    assert_eq!(told("data-indexer-1.log"), 1, "strangers are told of now and then, not each time");

    cluster.query.stop();
    site.write(SECRET_FILE, &right);
    cluster.query.start();
    cluster.wait_until_ready();
    cluster.server.wait_for_total("memory", 1, DEADLINE);
    for log in ["data-indexer-1.log", "data-query.log"] {
        let log = fs::read_to_string(site.path(log)).unwrap();
        assert!(!log.contains(right.trim()) && !log.contains("of another cluster"), "a secret in the log");
    }
}

/// What searches say while something happens: each is checked against those before it.
struct Watcher<'a> {
    cluster: &'a Cluster<'a>,
    /// The most that an answer found which said that it was whole.
    found: u64,
    /// When the agent had how many records acknowledged.
    acknowledged: Vec<(Instant, u64)>,
    whole: u64,
    partial: u64,
}

impl<'a> Watcher<'a> {
    fn new(cluster: &'a Cluster<'a>) -> Self {
        Self { cluster, found: 0, acknowledged: Vec::new(), whole: 0, partial: 0 }
    }

    /// Searches once. A whole answer has what any before it had, and what was acknowledged a second ago. `written`: how many
    /// lines there are at most.
    fn look(&mut self, written: impl Fn() -> u64) -> bool {
        let shipped = self.cluster.agent.metric("millrace_agent_shipped_records_total") as u64;
        let settled = self.acknowledged.iter().rev().find(|(at, _)| at.elapsed() > Duration::from_secs(1));
        let settled = settled.map_or(0, |(_, records)| *records);
        self.acknowledged.push((Instant::now(), shipped));
        let answer = self.cluster.server.search(&json!({ "q": numbers::QUERY, "limit": 0 }));
        let total = answer["total"].as_u64().unwrap();
        assert!(total <= written(), "some came twice: {answer}");
        if answer["partial"] == true {
            assert!(!answer["missing"].as_array().unwrap().is_empty());
            self.partial += 1;
            return false;
        }
        assert!(total >= self.found.max(settled), "{} found, {settled} acknowledged: {answer}", self.found);
        self.found = total;
        self.whole += 1;
        true
    }
}

/// The partitions that an indexer owns, by its metrics.
fn owned(indexer: &Role<'_>) -> usize {
    let text = http::get(&indexer.address, "/metrics").map(|answer| answer.text()).unwrap_or_default();
    text.lines().filter(|line| line.starts_with("millrace_indexer_lag_messages{")).count()
}

#[test]
fn an_indexer_that_is_told_to_end_hands_its_partitions_over() {
    let broker = kafka::shared();
    let site = Site::new(BINARY);
    let mut cluster = Cluster::new(&site, Plan { seal_age: "1s", ..plan(broker, "handover") });
    cluster.start();
    wait::until_true("the partitions are shared", DEADLINE, || {
        cluster.indexers.iter().map(owned).collect::<Vec<_>>() == [2, 2]
    });
    // Eight hosts' worth of files; one agent is one partition, so the one that has it is the one that goes.
    let written = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let mut writer = Writer::new(&site.path("logs"), 8, 2000);
    writer.write_until(2000);
    written.store(2000, Ordering::SeqCst);
    cluster.server.wait_for_total(numbers::QUERY, 2000, DEADLINE);
    let leaving = cluster.busiest();
    let mut leaver = cluster.indexers.remove(leaving);
    let successor = cluster.indexers.remove(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                let next = writer.written() + 200;
                // Before they are there: no search may find more.
                written.store(next, Ordering::SeqCst);
                writer.write_until(next);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let mut watcher = Watcher::new(&cluster);
        let look = |watcher: &mut Watcher<'_>| watcher.look(|| written.load(Ordering::SeqCst));
        wait::until_true("answers are whole", DEADLINE, || look(&mut watcher) && watcher.whole >= 5);
        let told = Instant::now();
        leaver.process().signal("TERM");
        let (mut ended, mut handed_over) = (None, None);
        wait::until_true("the other one owns all, and answers are whole", DEADLINE, || {
            if ended.is_none() && leaver.process().ended().is_some() {
                ended = Some(told.elapsed());
            }
            if handed_over.is_none() && owned(&successor) == 4 {
                handed_over = Some(told.elapsed());
            }
            look(&mut watcher) && ended.is_some() && handed_over.is_some()
        });
        println!(
            "told to end; ended after {:.2?}, all partitions handed over after {:.2?}, whole answers again after {:.2?} ({} whole, {} partial)",
            ended.unwrap(),
            handed_over.unwrap(),
            told.elapsed(),
            watcher.whole,
            watcher.partial
        );
        stop.store(true, Ordering::SeqCst);
    });
    let log = fs::read_to_string(site.path(&format!("data-indexer-{}.log", leaving + 1))).unwrap();
    assert!(!log.contains("what was not published is read again"), "{log}");
    let total = written.into_inner();
    cluster.server.wait_for_total(numbers::QUERY, total, DEADLINE);
    numbers::assert_each_once(&cluster.server, total);
}

/// What an indexer does for a search over HTTP ends when whoever asked the query node has gone.
#[test]
fn a_search_that_nobody_waits_for_ends_at_the_indexer() {
    const LINES: u64 = 100_000;
    let broker = kafka::shared();
    let site = Site::new(BINARY);
    let mut cluster = Cluster::new(&site, Plan { indexers: 1, ..plan(broker, "gone") });
    cluster.start();
    let line = |n: u64| format!("request {n} of user u{} took {} ms\n", n % 997, n * 7919 % 100_003);
    site.append("app.log", (0..LINES).map(line).collect::<String>());
    cluster.server.wait_for_total("request", LINES, DEADLINE);
    let query = r#"request | extract "request <n> of user <u> took <ms> ms" | stats count_distinct(n), p99(ms), max(ms), min(n) by u"#;
    let body = json!({ "q": query, "limit": 1 });
    let mut indexer = cluster.indexers.remove(0);
    let mut used = |search: &mut dyn FnMut()| {
        let before = indexer.process().cores_used();
        for _ in 0..5 {
            search();
        }
        // All that it still does for them.
        std::thread::sleep(Duration::from_millis(500));
        indexer.process().cores_used() - before
    };
    let whole = used(&mut || {
        let answer = cluster.server.search(&body);
        assert_eq!(
            (&answer["total"], &answer["table"]["total_rows"]),
            (&json!(LINES), &json!(997)),
            "{answer}"
        );
    });
    let given_up = used(&mut || {
        let mut socket = TcpStream::connect(&cluster.server.address).unwrap();
        let text = body.to_string();
        let head = format!(
            "POST /api/v1/search HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            text.len()
        );
        socket.write_all((head + &text).as_bytes()).unwrap();
        // It is under way by then, and far from its end.
        std::thread::sleep(Duration::from_millis(20));
    });
    println!(
        "five searches used {whole} hundredths of a second of the indexer's cores; five that were given up {given_up}"
    );
    assert!(whole > 20 && given_up * 2 < whole, "{given_up} of {whole}");
}
