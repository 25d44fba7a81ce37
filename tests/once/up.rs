//! `millrace up` whose folders are lost, or put back as they were yesterday.

use super::{BINARY, DEADLINE, holes, next_offsets};
use millrace_test_support::{
    Site, Up,
    numbers::{self, Writer},
    wait,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Reads everything in the site's folder of logs; never forgets on its own.
fn up(site: &Site) -> Up<'_> {
    let logs = site.path("logs");
    site.up(&format!(
        "[agent.sources.app]\ntype = \"file\"\ninclude = [\"{}/*\"]\n[indexer]\nseal_age = \"200ms\"\n",
        logs.display()
    ))
}

/// Copies a file, or a folder with all that is in it.
fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::copy(from, to).unwrap();
    }
}

/// Puts a folder back as it was.
fn put_back(from: &Path, to: &Path) {
    fs::remove_dir_all(to).unwrap();
    copy(from, to);
}

/// The audit once so many records are published.
fn audit(up: &Up<'_>, records: u64) -> Value {
    wait::until("all is published", DEADLINE, || {
        Some(up.server.get("/api/v1/audit")).filter(|answer| answer["records"] == json!(records))
    })
}

/// All bundles.
fn bundles(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let all = entries.flat_map(|path| if path.is_dir() { bundles(&path) } else { vec![path] });
    all.filter(|path| path.extension().is_some_and(|ending| ending == "shard")).collect()
}

#[test]
fn a_lost_folder_for_work_costs_nothing() {
    let site = Site::new(BINARY);
    let mut up = up(&site).started();
    let mut writer = Writer::new(&site.path("logs"), 2, 700);
    for round in 1..=3 {
        writer.write_until(round * 1000);
        // In the middle of sealing and publishing, wherever that is.
        up.server.wait_for_total(numbers::QUERY, round * 1000, DEADLINE);
        up.kill();
        fs::remove_dir_all(site.path("data/shards/.work")).unwrap();
        writer.write_until(round * 1000 + 500);
        up.start();
    }
    up.server.wait_for_total(numbers::QUERY, 3500, DEADLINE);
    numbers::assert_each_once(&up.server, 3500);
    up.assert_audit_is_complete(3500);
}

#[test]
fn an_agent_that_lost_its_state_is_another_one_and_the_audit_says_so() {
    let site = Site::new(BINARY);
    let mut up = up(&site).started();
    site.append("app.log", "first line\nsecond line\n");
    up.assert_audit_is_complete(2);
    up.stop();
    fs::remove_dir_all(site.path("data/agent")).unwrap();
    site.append("app.log", "third line\n");
    up.start();
    // It reads from the start, as somebody else: nothing is lost, and what it cannot know was read before comes again.
    up.server.wait_for_total("line", 5, DEADLINE);
    assert_eq!(up.server.whole_total("third"), Some(1));
    let answer = audit(&up, 5);
    let sources = answer["sources"].as_array().unwrap();
    let distinct =
        |name: &str| sources.iter().map(|source| source[name].to_string()).collect::<BTreeSet<_>>();
    assert_eq!((sources.len(), distinct("source").len(), distinct("agent").len()), (2, 2, 2), "{answer}");
    let records: BTreeSet<u64> = sources.iter().map(|source| source["records"].as_u64().unwrap()).collect();
    assert_eq!(records, [2, 3].into());
    let notices: Vec<&str> = sources.iter().filter_map(|source| source["notice"].as_str()).collect();
    assert_eq!(notices.len(), 1, "{answer}");
    assert!(notices[0].contains("another agent has read this file before"), "{notices:?}");
    let told = up.run(&["audit"]);
    assert!(told.code == Some(0) && told.stdout.contains(notices[0]), "{}{}", told.stdout, told.stderr);
}

#[test]
fn a_database_from_yesterday_reads_again_what_came_since() {
    let site = Site::new(BINARY);
    let mut up = up(&site).started();
    let mut writer = Writer::new(&site.path("logs"), 2, 700);
    writer.write_until(2000);
    up.server.wait_for_total(numbers::QUERY, 2000, DEADLINE);
    up.assert_audit_is_complete(2000);
    up.stop();
    let (database, yesterday) = (site.path("data/catalogue.db"), site.path("yesterday.db"));
    copy(&database, &yesterday);
    up.start();
    writer.write_until(5000);
    up.server.wait_for_total(numbers::QUERY, 5000, DEADLINE);
    up.assert_audit_is_complete(5000);
    up.stop();
    copy(&yesterday, &database);
    let stored = bundles(&site.path("data/shards")).len();
    up.start();
    writer.write_until(5500);
    up.server.wait_for_total(numbers::QUERY, 5500, DEADLINE);
    numbers::assert_each_once(&up.server, 5500);
    up.assert_audit_is_complete(5500);
    let verified = up.run(&["audit", "--verify"]);
    assert_eq!(verified.code, Some(0), "{}{}", verified.stdout, verified.stderr);
    assert!(verified.stderr.contains("bundles that no row knows"), "{}", verified.stderr);
    assert!(bundles(&site.path("data/shards")).len() > stored, "what was published since is not thrown away");
}

#[test]
fn a_database_from_yesterday_tells_what_the_topic_has_no_more() {
    let site = Site::new(BINARY);
    let mut up = up(&site).started();
    let mut writer = Writer::new(&site.path("logs"), 2, 700);
    writer.write_until(2000);
    up.server.wait_for_total(numbers::QUERY, 2000, DEADLINE);
    up.assert_audit_is_complete(2000);
    let before = next_offsets(&up.server.get("/api/v1/catalogue"));
    up.stop();
    let (database, yesterday) = (site.path("data/catalogue.db"), site.path("yesterday.db"));
    copy(&database, &yesterday);
    up.start();
    writer.write_until(3000);
    up.server.wait_for_total(numbers::QUERY, 3000, DEADLINE);
    up.assert_audit_is_complete(3000);
    let after = next_offsets(&up.server.get("/api/v1/catalogue"));
    up.stop();

    // The topic's retention has deleted the files in which that lay.
    let partition = (0..4).find(|nth| after[*nth] > before[*nth]).unwrap();
    let (from, to) = (before[partition], after[partition]);
    let folder = site.path(&format!("data/topic/millrace.logs/{partition}"));
    fs::remove_file(folder.join(format!("{:020}.log", 0))).unwrap();
    fs::write(folder.join(format!("{to:020}.log")), "").unwrap();
    copy(&yesterday, &database);
    let stored: BTreeSet<PathBuf> = bundles(&site.path("data/shards")).into_iter().collect();
    up.start();
    writer.write_until(3500);
    up.server.wait_for_total(numbers::QUERY, 2500, DEADLINE);
    let answer = audit(&up, 2500);
    assert_eq!(answer["complete"], json!(false));
    assert_eq!(holes(&answer), [("removed", partition as i64, from, to)]);
    let told = up.run(&["audit", "--verify"]);
    assert_eq!(told.code, Some(1), "{}{}", told.stdout, told.stderr);
    assert!(told.stdout.contains(&format!("offsets {from} to {to}")), "{}", told.stdout);
    assert!(told.stderr.contains("\nverified: "), "{}", told.stderr);
    // What was published since lies there still, and is named.
    let left: BTreeSet<PathBuf> = bundles(&site.path("data/shards")).into_iter().collect();
    assert!(left.is_superset(&stored) && told.stderr.contains("no row knows bundle"), "{}", told.stderr);
}

#[test]
fn a_topic_from_yesterday_hides_nothing_that_comes_later() {
    let site = Site::new(BINARY);
    let mut up = up(&site).started();
    let mut writer = Writer::new(&site.path("logs"), 2, 700);
    writer.write_until(2000);
    up.server.wait_for_total(numbers::QUERY, 2000, DEADLINE);
    up.assert_audit_is_complete(2000);
    let before = next_offsets(&up.server.get("/api/v1/catalogue"));
    up.stop();
    copy(&site.path("data/topic"), &site.path("yesterday"));
    up.start();
    writer.write_until(3000);
    up.server.wait_for_total(numbers::QUERY, 3000, DEADLINE);
    up.assert_audit_is_complete(3000);
    let after = next_offsets(&up.server.get("/api/v1/catalogue"));
    up.stop();
    put_back(&site.path("yesterday"), &site.path("data/topic"));
    up.start();
    let partition = (0..4).find(|nth| after[*nth] > before[*nth]).unwrap();
    wait::until_true("it is noticed", DEADLINE, || {
        up.server.metric("millrace_indexer_stepped_back_partitions_total") == Some(1.0)
    });
    writer.write_until(3100);
    // Fewer than the topic lost: they have offsets that others had before.
    up.server.wait_for_total(numbers::QUERY, 3100, DEADLINE);
    numbers::assert_each_once(&up.server, 3100);
    let answer = audit(&up, 3100);
    assert_eq!(answer["complete"], json!(false), "what else was in it nobody can say");
    assert_eq!(holes(&answer), [("stepped_back", partition as i64, before[partition], after[partition])]);
    assert!(next_offsets(&up.server.get("/api/v1/catalogue"))[partition] < after[partition]);
    // It is told once, and the rest goes on as ever.
    up.stop();
    up.start();
    writer.write_until(4000);
    up.server.wait_for_total(numbers::QUERY, 4000, DEADLINE);
    numbers::assert_each_once(&up.server, 4000);
    assert_eq!(holes(&audit(&up, 4000)).len(), 1);
    let told = up.run(&["audit", "--verify"]);
    assert_eq!(told.code, Some(1), "{}{}", told.stdout, told.stderr);
    assert!(told.stdout.contains("stepped_back     partition "), "{}", told.stdout);
    assert!(told.stderr.contains("\nverified: "), "{}", told.stderr);
}
