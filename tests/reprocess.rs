//! Shards that are made again of the topic, from outside: what was lost is whole again, and what the topic has forgotten is refused.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_test_support::{
    Site, Up,
    database::sqlite,
    process::Outcome,
    rounds::{self, LINES},
    wait,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, time::Duration};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const DEADLINE: Duration = Duration::from_mins(1);

/// A column of the live shards, by the time of their records.
fn column(site: &Site, name: &str) -> Vec<String> {
    let query = format!(
        "SELECT GROUP_CONCAT({name}, '|') FROM (SELECT {name} FROM shards WHERE expired_ns IS NULL ORDER BY last_ns)"
    );
    let told = sqlite(&site.path("data/catalogue.db"), &query);
    let told = told.trim().trim_matches(|c| "[]\"".contains(c));
    told.split('|').map(str::to_owned).collect()
}

fn lose(site: &Site, key: &str) {
    fs::remove_file(site.path("data/shards").join(key)).unwrap();
}

/// What every hit says, by its id.
fn hits(up: &Up<'_>) -> BTreeMap<String, Value> {
    let mut hits = BTreeMap::new();
    up.server.each_hit("shard", |hit| {
        hits.insert(hit["_id"].as_str().unwrap().to_owned(), hit.clone());
    });
    hits
}

fn reprocess(up: &Up<'_>, arguments: &[&str]) -> Outcome {
    up.run(&[&["catalogue", "reprocess"], arguments].concat())
}

fn assert_verified(up: &Up<'_>) {
    let outcome = up.run(&["audit", "--verify"]);
    assert_eq!(outcome.code, Some(0), "{}{}", outcome.stdout, outcome.stderr);
}

#[test]
fn a_lost_bundle_is_made_again_and_all_is_as_it_was() {
    let site = Site::new(BINARY);
    let mut up = site.up(&rounds::settings(&site, "")).started();
    (0..3).for_each(|number| rounds::publish(&site, &up, number));
    let before = hits(&up);
    assert_eq!(before.len() as u64, 3 * LINES);
    let (ids, keys) = (column(&site, "id"), column(&site, "bundle_key"));
    assert_eq!(ids.len(), 3);

    for (arguments, reason) in [
        (vec!["--shard", "7"], "expected"),
        (vec!["--shard", "000000000000000000000000000000ab"], "no live shard 0000"),
        (vec!["--stream", "another"], "no live shard fits"),
        (vec!["--from", "soon"], "a time as RFC 3339"),
    ] {
        let refused = reprocess(&up, &arguments);
        assert!(refused.code == Some(2) && refused.stderr.contains(reason), "{}", refused.stderr);
    }
    assert_eq!(up.server.get("/api/v1/catalogue/reprocess"), json!({ "reprocessings": [] }));

    up.stop();
    lose(&site, &keys[1]);
    up.start();
    let answer = up.server.search(&json!({ "q": "shard", "from": "0", "limit": 0 }));
    assert_eq!((&answer["partial"], &answer["total"]), (&json!(true), &json!(2 * LINES)));
    let done = reprocess(&up, &["--shard", &ids[1], "--wait", "--output", "json"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let receipt: Value = serde_json::from_str(&done.stdout).unwrap();
    let receipt = &receipt["reprocessings"][0];
    assert_eq!(
        (&receipt["state"], &receipt["shards"], &receipt["records"], &receipt["refused"]),
        (&json!("finished"), &json!(1), &json!(LINES), &json!(0))
    );
    assert_eq!(hits(&up), before);
    assert_verified(&up);

    // All of them, by a process that is killed as soon as it has been asked.
    let asked = reprocess(&up, &["--stream", "logs", "--from", "2h"]);
    assert_eq!(asked.code, Some(0), "{}", asked.stderr);
    up.kill();
    up.start();
    wait::until_true("the second reprocessing is finished", DEADLINE, || {
        let all = up.server.get("/api/v1/catalogue/reprocess");
        all["reprocessings"][0]["state"] == "finished"
    });
    let list = reprocess(&up, &["--list"]);
    assert!(list.stdout.contains("finished") && list.stdout.lines().count() == 3, "{}", list.stdout);
    assert!(column(&site, "id").iter().all(|id| !ids.contains(id)), "every shard is a new one");
    assert_eq!(hits(&up), before);
    assert_verified(&up);
    up.stop();
}

#[test]
fn what_the_topic_has_forgotten_is_refused_and_stays_as_it_is() {
    let site = Site::new(BINARY);
    let topic = "[topic]\ntype = \"embedded\"\nretention = \"4s\"\n";
    let mut up = site.up(&rounds::settings(&site, topic)).started();
    (0..2).for_each(|number| rounds::publish(&site, &up, number));
    let (ids, keys) = (column(&site, "id"), column(&site, "bundle_key"));
    let (data, config) =
        (site.path("data").display().to_string(), site.path("up.toml").display().to_string());
    wait::until_true("the topic has forgotten", DEADLINE, || {
        let dump = site.run(&["catalogue", "dump", "--data", &data, "--config", &config]);
        let is_line = |line: &&str| line.contains("\"kind\":\"message\"") && line.contains("shard number");
        dump.code == Some(0) && dump.stdout.lines().find(is_line).is_none()
    });
    up.stop();
    lose(&site, &keys[0]);
    up.start();
    let refused = reprocess(&up, &["--wait"]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert_eq!(refused.stderr.matches("the topic does not have offsets").count(), 2, "{}", refused.stderr);
    assert_eq!(column(&site, "id"), ids, "nothing was changed");
    let answer = up.server.search(&json!({ "q": "shard", "from": "0", "limit": 0 }));
    assert_eq!((&answer["partial"], &answer["total"]), (&json!(true), &json!(LINES)));
    up.stop();
}
