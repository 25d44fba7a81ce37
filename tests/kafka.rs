//! The roles as processes of their own over a real Kafka: exact whoever is killed, and open to readers and writers that
//! are not ours.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_test_support::{
    Cluster, Plan, Role, Server, Site,
    foreign::foreign,
    http,
    kafka::{self, Broker},
    numbers::{self, Writer},
    postgres::Postgres,
    s3::{self, Fault, Kind, S3Server},
    wait,
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs, path::Path, thread, time::Duration};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
/// A member that was killed is missed after six seconds; everything else takes moments, but on a busy machine.
const DEADLINE: Duration = Duration::from_mins(2);

fn plan<'a>(broker: &'a Broker, topic: &'a str) -> Plan<'a> {
    Plan::new(&broker.bootstrap, topic)
}

#[test]
fn every_line_is_found_once_whoever_is_killed() {
    let broker = kafka::shared();
    let site = Site::new(BINARY);
    let mut cluster = Cluster::new(&site, plan(broker, "whoever"));
    cluster.start();
    let mut writer = Writer::new(&site.path("logs"), 6, 900);
    writer.write_until(4000);
    cluster.server.wait_for_total(numbers::QUERY, 4000, DEADLINE);
    // In the middle of reading and shipping.
    writer.write_until(8000);
    cluster.agent.kill();
    writer.write_until(9000);
    cluster.agent.start();
    // In the middle of taking in, sealing and publishing.
    for end in [12_000, 15_000] {
        writer.write_until(end);
        let busy = cluster.busiest();
        cluster.indexers[busy].kill();
        writer.write_until(end + 1000);
        cluster.indexers[busy].start();
    }
    cluster.query.kill();
    writer.write_until(18_000);
    cluster.query.start();
    cluster.agent.stop();
    writer.write_until(20_000);
    cluster.agent.start();
    cluster.server.wait_for_total(numbers::QUERY, 20_000, DEADLINE);
    numbers::assert_each_once(&cluster.server, 20_000);
    cluster.assert_audit_is_complete(20_000);
}

#[test]
fn a_zombie_that_wakes_after_its_successor_published_changes_nothing() {
    let broker = kafka::shared();
    let site = Site::new(BINARY);
    let mut cluster = Cluster::new(&site, plan(broker, "zombie"));
    cluster.start();
    let mut writer = Writer::new(&site.path("logs"), 3, 900);
    writer.write_until(3000);
    cluster.server.wait_for_total(numbers::QUERY, 3000, DEADLINE);
    // With rows in hand that are not published.
    writer.write_until(4000);
    cluster.server.wait_for_total(numbers::QUERY, 4000, DEADLINE);
    let zombie = cluster.busiest();
    let (successor, published) = (1 - zombie, "millrace_indexer_shards_total");
    cluster.indexers[zombie].process().signal("STOP");
    writer.write_until(6000);
    wait::until_true("the successor has published", DEADLINE, || {
        cluster.indexers[successor].metric(published) >= 1.0
    });
    cluster.indexers[zombie].process().signal("CONT");
    writer.write_until(7000);
    cluster.server.wait_for_total(numbers::QUERY, 7000, DEADLINE);
    cluster.assert_audit_is_complete(7000);
    cluster.server.wait_for_total(numbers::QUERY, 7000, DEADLINE);
    numbers::assert_each_once(&cluster.server, 7000);
    // No bundle of the zombie's stays, published or not.
    let known = cluster.indexers.iter().map(|indexer| indexer.metric(published)).sum::<f64>();
    wait::until_true("only what was published lies there", DEADLINE, || {
        bundles(&site.path("data/shards")) == known as usize
    });
}

/// How many bundles lie in a folder and below, what is being worked on aside.
fn bundles(folder: &Path) -> usize {
    let paths = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.ends_with(".work"));
    let is_bundle = |path: &Path| path.extension().is_some_and(|ending| ending == "shard");
    paths.map(|path| if path.is_dir() { bundles(&path) } else { usize::from(is_bundle(&path)) }).sum()
}

#[test]
fn a_broker_that_is_away_is_waited_for() {
    let broker = Broker::start();
    let site = Site::new(BINARY);
    let mut cluster = Cluster::new(&site, Plan { indexers: 1, ..plan(&broker, "away") });
    cluster.start();
    site.append("app.log", "before it went\n");
    cluster.server.wait_for_total("before", 1, DEADLINE);
    broker.kill();
    site.append("app.log", "while it was away\n");
    let agent = Server { address: cluster.agent.address.clone() };
    for server in [&agent, &cluster.server] {
        wait::until_true("it says that it is not ready", DEADLINE, || {
            let answer = http::get(&server.address, "/readyz").unwrap();
            answer.status == 503 && answer.text().contains("topic")
        });
    }
    // What is there is still found, and a start waits, too.
    assert_eq!(cluster.server.search(&json!({ "q": "before", "limit": 0 }))["total"], 1);
    cluster.agent.kill();
    cluster.agent.start();
    broker.restart();
    cluster.wait_until_ready();
    cluster.server.wait_for_total("before OR away", 2, DEADLINE);
    cluster.assert_audit_is_complete(2);
}

/// An answer while the storage fails: never too many, and what was found whole before only where it does not say that
/// something may be missing.
fn assert_partial_or_right(cluster: &Cluster<'_>, settled: u64, written: u64) {
    let answer = cluster.server.search(&json!({ "q": numbers::QUERY, "limit": 0 }));
    let (total, partial) = (answer["total"].as_u64().unwrap(), answer["partial"] == true);
    assert!(total <= written && (partial || total >= settled), "{answer}");
}

#[test]
fn nothing_is_lost_where_the_bucket_and_the_database_fail() {
    let broker = kafka::shared();
    let site = Site::new(BINARY);
    let server = S3Server::start();
    let storage = server.settings("logs", &site.path("copies"));
    let postgres = Postgres::start();
    let catalogue = postgres.database();
    let mut cluster =
        Cluster::new(&site, Plan { storage: &storage, catalogue: &catalogue, ..plan(broker, "bucket") });
    cluster.start();
    let mut writer = Writer::new(&site.path("logs"), 4, 900);
    writer.write_until(4000);
    cluster.server.wait_for_total(numbers::QUERY, 4000, DEADLINE);
    cluster.assert_audit_is_complete(4000);
    assert!(server.requests(Kind::Put) > 0);

    // It refuses everything while lines come in: they are found in memory, and the indexers say what they wait for.
    server.fail(&[], Fault::Status(503), usize::MAX);
    writer.write_until(7000);
    wait::until_true("an indexer says that it is not ready", DEADLINE, || {
        assert_partial_or_right(&cluster, 4000, 7000);
        cluster.indexers.iter().any(|indexer| {
            let answer = http::get(&indexer.address, "/readyz").unwrap();
            answer.status == 503 && answer.text().contains("s3://millrace-test/logs")
        })
    });
    // One that is killed with what it could not store, and a query node that has forgotten what it had open.
    let busy = cluster.busiest();
    cluster.indexers[busy].kill();
    cluster.indexers[busy].start();
    cluster.query.kill();
    cluster.query.start();
    writer.write_until(8000);
    assert_partial_or_right(&cluster, 4000, 8000);

    // It comes back slowly, and drops what it is in the middle of.
    server.heal();
    server.fail(&[], Fault::Drop, 6);
    server.fail(&[Kind::Get], Fault::Cut, 6);
    server.fail(&[], Fault::Slow(Duration::from_millis(300)), 60);
    writer.write_until(9000);
    // So does the database: once in order, once not.
    postgres.stop();
    writer.write_until(9500);
    postgres.restart();
    cluster.server.wait_for_total(numbers::QUERY, 9500, DEADLINE);
    postgres.kill();
    writer.write_until(10_000);
    postgres.restart();
    cluster.server.wait_for_total(numbers::QUERY, 10_000, DEADLINE);
    server.heal();
    numbers::assert_each_once(&cluster.server, 10_000);
    cluster.assert_audit_is_complete(10_000);

    // All of it lies in the bucket: other nodes, with copies of nothing, find it there.
    for indexer in &mut cluster.indexers {
        indexer.stop();
    }
    cluster.query.stop();
    fs::remove_dir_all(site.path("copies")).unwrap();
    server.forget();
    for indexer in &mut cluster.indexers {
        indexer.start();
    }
    cluster.query.start();
    cluster.wait_until_ready();
    cluster.server.wait_for_total(numbers::QUERY, 10_000, DEADLINE);
    numbers::assert_each_once(&cluster.server, 10_000);
    assert!(server.requests(Kind::Get) > 0);
    let log = fs::read_to_string(site.path("data-indexer-1.log")).unwrap();
    assert!(!log.contains(s3::SECRET_ACCESS_KEY), "a secret in the log");
}

#[test]
fn an_answer_that_may_lack_something_says_so() {
    let broker = kafka::shared();
    let site = Site::new(BINARY);
    let mut cluster = Cluster::new(&site, Plan { indexers: 1, seal_age: "1h", ..plan(broker, "partial") });
    cluster.start();
    site.append("app.log", "in memory only\n");
    cluster.server.wait_for_total("memory", 1, DEADLINE);
    let search = |cluster: &Cluster<'_>| site.run(&["search", "memory", "--server", &cluster.server.url()]);
    assert_eq!(search(&cluster).code, Some(0));
    let table = |cluster: &Cluster<'_>| {
        let answer = cluster.server.search(&json!({ "q": "* | stats count(), last(body) by _stream" }));
        (answer["table"]["rows"].clone(), answer["partial"].clone())
    };
    assert_eq!(table(&cluster), (json!([["logs", 1, "in memory only"]]), json!(false)));
    cluster.indexers[0].kill();
    assert_eq!(table(&cluster), (json!([]), json!(true)));
    let outcome = search(&cluster);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(5), ""), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("partial: "), "{}", outcome.stderr);
    let answer = cluster.server.search(&json!({ "q": "*" }));
    assert_eq!(answer["partial"], true);
    assert!(!answer["missing"].as_array().unwrap().is_empty());
    // It was never published: the topic still has it. An orderly end publishes it.
    cluster.indexers[0].start();
    cluster.server.wait_for_total("memory", 1, DEADLINE);
    cluster.indexers[0].stop();
    let answer = cluster.server.search(&json!({ "q": "memory" }));
    assert_eq!((&answer["total"], &answer["partial"]), (&json!(1), &json!(true)), "{answer}");
    assert_eq!(cluster.server.get("/api/v1/audit")["records"], 1);
}

#[test]
fn a_node_that_is_killed_in_the_middle_of_a_search_is_named() {
    let broker = kafka::shared();
    let site = Site::new(BINARY);
    let mut cluster = Cluster::new(&site, Plan { seal_age: "1h", ..plan(broker, "middle") });
    cluster.start();
    let mut writer = Writer::new(&site.path("logs"), 3, 900);
    writer.write_until(1000);
    cluster.server.wait_for_total(numbers::QUERY, 1000, DEADLINE);
    let victim = cluster.busiest();
    let address = cluster.indexers[victim].address.clone();
    // It has the search, and does not come to answer it.
    cluster.indexers[victim].process().signal("STOP");
    let server = cluster.server.clone();
    let searching = thread::spawn(move || server.search(&json!({ "q": "* | stats count()" })));
    thread::sleep(Duration::from_millis(500));
    assert!(!searching.is_finished());
    cluster.indexers[victim].kill();
    let answer = searching.join().unwrap();
    let reasons = answer["missing"].to_string();
    assert!(answer["partial"] == true && reasons.contains(&address), "{answer}");
    // What the other one holds is in it, and all of it once more when somebody has taken over.
    let counted = answer["table"]["rows"][0][0].as_u64().unwrap();
    assert!(counted < 1000 && answer["total"] == counted, "{answer}");
    cluster.indexers[victim].start();
    cluster.server.wait_for_total(numbers::QUERY, 1000, DEADLINE);
    numbers::assert_each_once(&cluster.server, 1000);
}

#[test]
fn readers_and_writers_of_other_makers_are_understood() {
    let broker = kafka::shared();
    let site = Site::new(BINARY);
    let mut cluster = Cluster::new(&site, plan(broker, "foreign"));
    cluster.start();
    let json_line = "{\"level\":\"warn\",\"message\":\"ümläut\",\"status\":503,\"user\":{\"name\":\"ann\"}}";
    site.append("app.log", format!("a plain line\n{json_line}\n"));
    cluster.server.wait_for_total("plain OR status:503", 2, DEADLINE);

    // What we wrote, read without a line of our code.
    let messages = foreign(&broker.bootstrap, &["consume", "foreign"], "");
    let records = messages.iter().flat_map(|message| message["records"].as_array().unwrap());
    let records: Vec<&Value> = records.collect();
    assert_eq!(records.len(), 2, "{messages:?}");
    assert_eq!((&records[0]["body"], &records[1]["body"]), (&json!("a plain line"), &json!(json_line)));
    assert_eq!(records[1]["attributes"]["status"], 503);
    assert_eq!(records[1]["attributes"]["user"], json!({ "name": "ann" }));
    assert_eq!((&records[1]["severity_number"], &records[1]["severity_text"]), (&json!(13), &json!("warn")));
    assert_eq!(records[0]["resource"]["log.file.path"], site.log("app.log").display().to_string());
    assert!(records[0]["observed"].as_u64().unwrap() > 0);

    // What somebody else wrote, found.
    let line = json!({
        "body": "written by a collector", "severity": 17, "attributes": { "answer": 42 },
        "resource": { "service.name": "collector", "host.name": "elsewhere" },
    });
    foreign(&broker.bootstrap, &["produce", "foreign"], &format!("{line}\n"));
    cluster.server.wait_for_total(
        "collector answer:42 level:error service:collector host:elsewhere",
        1,
        DEADLINE,
    );
    let hit = cluster.server.hits("collector").remove(0);
    assert_eq!((&hit["body"], &hit["attributes"]["answer"]), (&line["body"], &json!(42)));

    // What nobody can read is kept, and holds up nothing.
    for partition in 0..4 {
        foreign(&broker.bootstrap, &["raw", "foreign", &partition.to_string(), "this is no OTLP"], "");
    }
    site.append("app.log", "a line behind it\n");
    cluster.server.wait_for_total("behind", 1, DEADLINE);
    let dead = wait::until("the dead letters", DEADLINE, || {
        let dead_topic =
            cluster.indexers.iter().map(|i| i.metric("millrace_indexer_dead_letters_total")).sum::<f64>();
        let dead = if dead_topic >= 4.0 {
            foreign(&broker.bootstrap, &["consume", "foreign.dead"], "")
        } else {
            Vec::new()
        };
        let letters: Vec<Value> =
            dead.into_iter().filter(|message| message["headers"]["from"].is_string()).collect();
        (letters.len() >= 4).then_some(letters)
    });
    assert_eq!(dead.len(), 4);
    for letter in &dead {
        let header = |name: &str| {
            base64(letter["headers"][name].as_str().unwrap_or_else(|| panic!("{name} in {letter}")))
        };
        assert_eq!(base64(letter["value"].as_str().unwrap()), "this is no OTLP");
        assert_eq!(
            (header("from").as_str(), header("millrace.dead.topic").as_str()),
            ("somewhere", "foreign")
        );
        assert!(header("millrace.dead.reason").contains("OTLP"), "{}", header("millrace.dead.reason"));
        assert!(header("millrace.dead.offset").parse::<i64>().unwrap() >= 0);
    }
    let partitions: BTreeSet<String> = dead
        .iter()
        .map(|letter| base64(letter["headers"]["millrace.dead.partition"].as_str().unwrap()))
        .collect();
    assert_eq!(partitions.len(), 4);

    // They were lines: mended, they are found, once, under the time and place of the first try.
    let server = ["--server", &cluster.server.address];
    let run = |arguments: &[&str]| site.run(&[arguments, &server].concat());
    let refused = run(&["dead-letters", "replay", "--all"]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("cannot be read as it is"), "{}", refused.stderr);
    for sent in ["4 sent", "0 sent"] {
        let mended = run(&["dead-letters", "replay", "--all", "--parse", "none", "--stream", "mended"]);
        assert!(mended.code == Some(0) && mended.stderr.starts_with(sent), "{}", mended.stderr);
        cluster.server.wait_for_total("_stream:mended \"no otlp\"", 4, DEADLINE);
    }
    let list = run(&["dead-letters", "list"]);
    assert_eq!(list.stdout.matches("settled").count(), 4, "{}", list.stdout);
}

#[test]
fn a_message_that_is_missing_is_a_hole_with_a_name() {
    let broker = kafka::shared();
    let site = Site::new(BINARY);
    let mut cluster = Cluster::new(&site, plan(broker, "whole"));
    cluster.start();
    for chunk in 1..=5 {
        let lines: Vec<String> = (0..100).map(|line| format!("chunk{chunk} line {line}\n")).collect();
        site.append("app.log", lines.concat());
        cluster.server.wait_for_total("line", chunk * 100, DEADLINE);
    }
    cluster.assert_audit_is_complete(500);
    let messages = foreign(&broker.bootstrap, &["consume", "whole"], "");
    let missing = messages.iter().find(|message| message["records"].to_string().contains("chunk3")).unwrap();
    let records = missing["records"].as_array().unwrap().len() as u64;
    let range = base64(missing["headers"]["millrace.range"].as_str().unwrap());
    let (partition, offset) = (missing["partition"].to_string(), missing["offset"].to_string());
    foreign(&broker.bootstrap, &["copy", "whole", "holed", &partition, &offset], "");
    drop(cluster);

    let mut holed =
        Cluster::new(&site, Plan { topic: "holed", name: "holed", indexers: 1, ..plan(broker, "holed") });
    holed.indexers[0].start();
    holed.query.start();
    holed.server.wait_for_total("line", 500 - records, DEADLINE);
    wait::until_true("everything is published", DEADLINE, || {
        holed.server.get("/api/v1/audit")["records"] == json!(500 - records)
    });
    let outcome = site.run(&["audit", "--server", &holed.server.url()]);
    assert_eq!(outcome.code, Some(1), "{}{}", outcome.stdout, outcome.stderr);
    assert!(outcome.stdout.contains(&format!("missing {range}\n")), "{range} in {}", outcome.stdout);
    assert!(
        outcome.stdout.contains("app.log") && outcome.stderr.contains("NOT complete"),
        "{}",
        outcome.stdout
    );
    wait::until_true("metrics tell of it", DEADLINE, || {
        let metric = |name: &str| holed.indexers[0].metric(&format!("millrace_indexer_{name}"));
        (metric("missing_ranges"), metric("incomplete_sources")) == (1.0, 1.0)
            && metric("missing_positions") > 0.0
    });
    let other = site.run(&["audit", "--source", "*/other.log", "--server", &holed.server.url()]);
    assert_eq!(other.code, Some(0), "{}{}", other.stdout, other.stderr);
}

#[test]
fn a_copied_state_folder_loses_nothing_and_is_reported() {
    let broker = kafka::shared();
    let site = Site::new(BINARY);
    let plan = plan(broker, "clone");
    let mut cluster = Cluster::new(&site, plan);
    cluster.start();
    site.append("app.log", "before it was copied\n");
    cluster.server.wait_for_total("before", 1, DEADLINE);
    cluster.agent.stop();
    copy(&site.path("agent"), &site.path("clone"));
    copy(&site.path("agent"), &site.path("backup"));
    let mut clone = Role::agent(&site, plan, "clone", "*");
    clone.start();
    cluster.agent.start();
    site.append("app.log", "after it was copied\n");
    // Both read the file, and neither's lines are taken for the other's.
    cluster.server.wait_for_total("after", 2, DEADLINE);
    assert_eq!(cluster.server.whole_total("before"), Some(1));
    let outcome = wait::until("the audit reports it", DEADLINE, || {
        let outcome = site.run(&["audit", "--server", &cluster.server.url()]);
        outcome.stdout.contains("was copied").then_some(outcome)
    });
    assert_eq!(outcome.code, Some(1), "{}{}", outcome.stdout, outcome.stderr);

    // A state that comes back in its own folder, as a machine from its image does, is a clone that nothing else tells.
    clone.stop();
    cluster.agent.stop();
    copy(&site.path("backup"), &site.path("agent"));
    site.append("app.log", "after it was restored\n");
    cluster.agent.start();
    wait::until_true("the line is found", DEADLINE, || cluster.server.whole_total("restored") >= Some(1));
    let outcome = wait::until("the audit reports it", DEADLINE, || {
        let outcome = site.run(&["audit", "--server", &cluster.server.url()]);
        outcome.stdout.contains("two agents").then_some(outcome)
    });
    assert_eq!(outcome.code, Some(1), "{}{}", outcome.stdout, outcome.stderr);
}

/// Copies the files of a folder into another one, which may be there.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// The text that base64 stands for.
fn base64(text: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for digit in text.bytes().filter(|byte| *byte != b'=') {
        bits = bits << 6 | ALPHABET.iter().position(|letter| *letter == digit).unwrap() as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    String::from_utf8(bytes).unwrap()
}
