//! What is stored, from outside: the catalogue shown, dumped, lost and made again, and taken back to an earlier version.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_test_support::{
    Site, Up,
    database::sqlite,
    numbers::{self, Writer},
    process::Outcome,
    wait,
};
use serde_json::{Value, json};
use std::{fs, time::Duration};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const DEADLINE: Duration = Duration::from_mins(1);

fn settings(site: &Site, snapshot_every: &str) -> String {
    let logs = site.path("logs");
    format!(
        "[agent.sources.app]\ntype = \"file\"\ninclude = [\"{}/*\"]\n[indexer]\nseal_age = \"200ms\"\n\
         [catalogue]\nsnapshot_every = \"{snapshot_every}\"\n",
        logs.display()
    )
}

/// A command about what the site has stored.
fn stored(site: &Site, command: &str, more: &[&str]) -> Outcome {
    let (data, config) =
        (site.path("data").display().to_string(), site.path("up.toml").display().to_string());
    site.run(&[&["catalogue", command, "--data", &data, "--config", &config], more].concat())
}

/// Waits for a snapshot that is begun after this.
fn wait_for_snapshot(up: &Up<'_>) {
    let newest = || up.server.get("/api/v1/catalogue")["newest_snapshot"]["key"].clone();
    for _ in 0..2 {
        let before = newest();
        wait::until_true("there is a newer snapshot", DEADLINE, || newest() != before);
    }
}

/// Takes the catalogue away.
fn lose_the_catalogue(site: &Site) {
    fs::remove_file(site.path("data/catalogue.db")).unwrap();
    for log in ["data/catalogue.db-wal", "data/catalogue.db-shm"] {
        if site.path(log).exists() {
            fs::remove_file(site.path(log)).unwrap();
        }
    }
}

#[test]
fn a_lost_catalogue_is_made_again_and_every_line_is_there_once() {
    let site = Site::new(BINARY);
    let mut writer = Writer::new(&site.path("logs"), 4, 700);
    let mut up = site.up(&settings(&site, "300ms")).started();
    writer.write_until(3000);
    up.server.wait_for_total(numbers::QUERY, 3000, DEADLINE);
    up.assert_audit_is_complete(3000);
    wait_for_snapshot(&up);
    up.stop();

    // More comes, and is published, after the last snapshot; some of it is only in the topic when the end comes.
    site.write("up.toml", &settings(&site, "0s"));
    up.start();
    writer.write_until(5000);
    up.server.wait_for_total(numbers::QUERY, 5000, DEADLINE);
    up.assert_audit_is_complete(5000);
    writer.write_until(5500);
    up.server.wait_for_total(numbers::QUERY, 5500, DEADLINE);
    let refused = stored(&site, "rebuild", &[]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("is not empty"), "{}", refused.stderr);
    let refused = stored(&site, "rebuild", &["--replace-catalogue"]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("is alive"), "{}", refused.stderr);
    up.kill();
    lose_the_catalogue(&site);

    let rebuilt = stored(&site, "rebuild", &[]);
    assert_eq!(rebuilt.code, Some(0), "{}{}", rebuilt.stdout, rebuilt.stderr);
    assert!(rebuilt.stdout.contains("restored from catalogue/"), "{}", rebuilt.stdout);
    assert!(rebuilt.stdout.contains("bundles in storage are of no shard"), "{}", rebuilt.stdout);
    up.start();
    writer.write_until(6000);
    up.server.wait_for_total(numbers::QUERY, 6000, DEADLINE);
    numbers::assert_each_once(&up.server, 6000);
    up.assert_audit_is_complete(6000);
    let verified = up.run(&["audit", "--verify"]);
    assert_eq!(verified.code, Some(0), "{}{}", verified.stdout, verified.stderr);
    // And once more after a restart, when nothing is hot.
    up.stop();
    up.start();
    numbers::assert_each_once(&up.server, 6000);
    up.stop();

    // What cannot come back is said: here a shard whose bundle is gone with the catalogue.
    let catalogue = site.path("data/catalogue.db");
    let key = sqlite(
        &catalogue,
        "SELECT bundle_key FROM shards WHERE expired_ns IS NULL ORDER BY created_ns LIMIT 1",
    );
    let key = key.trim().trim_matches(|c| "[]\"".contains(c));
    fs::remove_file(site.path("data/shards").join(key)).unwrap();
    // A node that has ended may count as alive for a while.
    let rebuilt = wait::until("it is not alive any more", DEADLINE, || {
        let again = stored(&site, "rebuild", &["--replace-catalogue"]);
        (!again.stderr.contains("is alive")).then_some(again)
    });
    assert_eq!(rebuilt.code, Some(1), "{}{}", rebuilt.stdout, rebuilt.stderr);
    assert!(rebuilt.stderr.contains("LOST: ") && rebuilt.stderr.contains(key), "{}", rebuilt.stderr);
}

#[test]
fn without_a_snapshot_nothing_is_restored_and_without_a_catalogue_nothing_is_shown() {
    let site = Site::new(BINARY);
    let mut up = site.up(&settings(&site, "0s")).started();
    site.append("app.log", "one line\n");
    up.assert_audit_is_complete(1);
    up.stop();
    lose_the_catalogue(&site);
    let refused = stored(&site, "rebuild", &[]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("there is no snapshot"), "{}", refused.stderr);
    lose_the_catalogue(&site);
    let refused = stored(&site, "dump", &[]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("there is no catalogue"), "{}", refused.stderr);
    assert!(!site.path("data/catalogue.db").exists(), "a dump creates nothing");
    assert_eq!(up.run(&["catalogue", "show"]).code, Some(4));
    assert_eq!(site.run(&["catalogue", "dump"]).code, Some(2));
}

#[test]
fn a_dump_shows_everything_that_is_stored() {
    let site = Site::new(BINARY);
    let mut up = site.up(&settings(&site, "300ms")).started();
    for name in ["ann", "bob", "cid"] {
        site.append("app.log", format!("session opened for user {name}\n{{\"user\":\"{name}\",\"n\":1}}\n"));
        up.server.wait_for_total(name, 2, DEADLINE);
    }
    up.assert_audit_is_complete(6);
    wait_for_snapshot(&up);
    let shown = up.run(&["catalogue", "show"]);
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    assert!(
        shown.stdout.contains("stream     logs  ") && shown.stdout.contains("6 records"),
        "{}",
        shown.stdout
    );
    let shown = up.server.get("/api/v1/catalogue");
    assert_eq!((&shown["sources"], &shown["streams"][0]["records"]), (&json!(1), &json!(6)));
    up.stop();

    // One shard is hidden, and one bundle nobody knows.
    let bundles: Vec<_> =
        fs::read_dir(site.path("data/shards/logs")).unwrap().map(|e| e.unwrap().path()).collect();
    let copy = site.path("data/shards/logs/ffffffffffffffffffffffffffffffff.shard");
    fs::copy(&bundles[0], &copy).unwrap();
    fs::write(site.path("data/shards/logs/broken.shard"), "what ann has left behind").unwrap();
    let first = bundles[0].file_stem().unwrap().to_str().unwrap();
    sqlite(
        &site.path("data/catalogue.db"),
        &format!("UPDATE shards SET expired_ns = 9000000000000000000 WHERE id = '{first}'"),
    );
    let dumped = stored(&site, "dump", &[]);
    assert_eq!(dumped.code, Some(1), "one object is no bundle: {}", dumped.stderr);
    let lines: Vec<Value> = dumped.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_kind = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).collect::<Vec<_>>();
    let tables: Vec<&str> = of_kind("row").iter().filter_map(|row| row["table"].as_str()).collect();
    for table in ["shards", "sources", "trail", "partitions", "documents", "_sqlx_migrations"] {
        assert!(tables.contains(&table), "{table}");
    }
    assert!(of_kind("snapshot_row").iter().any(|row| row["table"] == "sources"));
    let in_state = |state: &str| {
        of_kind("record").into_iter().filter(|line| line["state"] == state).cloned().collect::<Vec<_>>()
    };
    let (live, hidden, unknown) = (in_state("live"), in_state("hidden"), in_state("unknown"));
    assert_eq!(live.len() + hidden.len(), 6);
    assert!(!hidden.is_empty() && hidden.len() == unknown.len());
    assert!(hidden.iter().zip(&unknown).all(|(a, b)| a["record"] == b["record"]));
    for name in ["ann", "bob", "cid"] {
        let body = format!("session opened for user {name}");
        let of_it = of_kind("record").into_iter().filter(|line| line["state"] != "unknown");
        assert_eq!(of_it.filter(|line| line["record"]["body"] == body.as_str()).count(), 1, "{name}");
        let messages = of_kind("message");
        let records = messages.iter().flat_map(|line| line["records"].as_array().into_iter().flatten());
        assert_eq!(records.filter(|record| record["body"] == body.as_str()).count(), 1, "{name}");
    }
    assert!(of_kind("term").iter().any(|line| line["place"] == "mask"));
    let broken = of_kind("bytes").into_iter().find(|line| line["key"] == "logs/broken.shard").unwrap();
    assert_eq!(broken["text"], "what ann has left behind");
    assert_eq!(of_kind("unreadable").len(), 1);
}

#[test]
fn the_way_back_to_an_earlier_version_and_up_again_loses_nothing() {
    let site = Site::new(BINARY);
    let mut writer = Writer::new(&site.path("logs"), 4, 700);
    let mut up = site.up(&settings(&site, "1h")).started();
    writer.write_until(3000);
    up.assert_audit_is_complete(3000);
    let refused = stored(&site, "downgrade", &["--to", "1"]);
    assert_ne!(refused.code, Some(0));
    assert!(refused.stderr.contains("nodes are running"), "{}", refused.stderr);
    up.stop();
    let refused = stored(&site, "downgrade", &["--to", "9999"]);
    assert!(refused.stderr.contains("it has version"), "{}", refused.stderr);

    let gone_back = stored(&site, "downgrade", &["--to", "1"]);
    assert_eq!(gone_back.code, Some(0), "{}", gone_back.stderr);
    assert!(gone_back.stderr.contains("has version 1 now"), "{}", gone_back.stderr);
    writer.write_until(4000);
    up.start();
    up.server.wait_for_total(numbers::QUERY, 4000, DEADLINE);
    numbers::assert_each_once(&up.server, 4000);
    up.assert_audit_is_complete(4000);
}
