//! `millrace audit --verify` from outside: what was changed behind the program's back is named, and the rest is served.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_catalogue::Catalogue;
use millrace_model::{ShardMeta, SystemClock, TimeRange};
use millrace_test_support::{
    Site, Up,
    database::sqlite,
    process::Outcome,
    rounds::{self, LINES},
};
use serde_json::{Value, json};
use std::{fs, path::PathBuf, sync::Arc, time::Duration};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const DEADLINE: Duration = Duration::from_mins(1);
const SHARDS: u64 = 6;

/// The live shards, by the time of their records.
fn shards(site: &Site) -> Vec<ShardMeta> {
    let url = format!("sqlite://{}", site.path("data/catalogue.db").display());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let catalogue = Catalogue::open(&url, Arc::new(SystemClock)).await.unwrap();
        let shards = catalogue.snapshot("indexer", TimeRange::ALL, None).await.unwrap().shards;
        catalogue.close().await;
        shards
    })
}

fn bundle(site: &Site, shard: &ShardMeta) -> PathBuf {
    site.path("data/shards").join(&shard.key)
}

fn verify(up: &Up<'_>) -> Outcome {
    up.run(&["audit", "--verify"])
}

/// The lines of `outcome` that are findings.
fn findings(outcome: &Outcome) -> Vec<&str> {
    outcome.stdout.lines().filter(|line| line.starts_with("FINDING")).collect()
}

#[track_caller]
fn assert_names(outcome: &Outcome, what: &[&str]) {
    let told = || format!("{}{}", outcome.stdout, outcome.stderr);
    assert_eq!(outcome.code, Some(1), "{}", told());
    let named = findings(outcome).iter().any(|line| what.iter().all(|part| line.contains(part)));
    assert!(named, "{what:?} in none of {}", told());
}

/// How many records are found, and whether that is all.
fn found(up: &Up<'_>) -> (u64, Value) {
    let answer = up.server.search(&json!({ "q": "shard", "from": "0", "limit": 0 }));
    (answer["total"].as_u64().unwrap(), answer["partial"].clone())
}

#[test]
fn what_was_tampered_with_is_named_and_the_rest_is_served() {
    let site = Site::new(BINARY);
    let mut up = site.up(&rounds::settings(&site, "")).started();
    (0..SHARDS).for_each(|number| rounds::publish(&site, &up, number));
    let clean = verify(&up);
    assert_eq!(clean.code, Some(0), "{}{}", clean.stdout, clean.stderr);
    assert!(clean.stderr.contains(&format!("{SHARDS} shards, ")), "{}", clean.stderr);
    let answer = up.server.get("/api/v1/audit?verify=true");
    assert_eq!(answer["verification"]["findings"], json!([]), "{answer}");
    assert_eq!(up.server.get("/api/v1/audit")["verification"], Value::Null, "only where it is asked for");

    let shards = shards(&site);
    assert_eq!(shards.len() as u64, SHARDS);
    up.stop();
    // One byte of the first, the second gone, the third and the fourth under each other's keys, a row of the fifth.
    let mut bytes = fs::read(bundle(&site, &shards[0])).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(bundle(&site, &shards[0]), bytes).unwrap();
    fs::remove_file(bundle(&site, &shards[1])).unwrap();
    let third = fs::read(bundle(&site, &shards[2])).unwrap();
    fs::rename(bundle(&site, &shards[3]), bundle(&site, &shards[2])).unwrap();
    fs::write(bundle(&site, &shards[3]), third).unwrap();
    let fifth = format!("UPDATE shards SET records = 41 WHERE id = '{}'", shards[4].id);
    sqlite(&site.path("data/catalogue.db"), &fifth);
    up.start();

    let told = verify(&up);
    assert_names(&told, &["bundle", &shards[0].key]);
    assert_names(&told, &["bundle", &shards[1].key, "it is not in storage"]);
    assert_names(&told, &[&shards[2].key, &format!("the bundle of shard {}", shards[3].id)]);
    assert_names(&told, &[&shards[3].key, &format!("the bundle of shard {}", shards[2].id)]);
    assert_names(&told, &[&format!("shard {}", shards[4].id), "its row has 41 records, its link 40"]);
    assert_names(&told, &[&shards[4].key, "its records: the row says 41, its footer 40"]);
    assert!(told.stderr.contains("NOT verified, 6 findings"), "{}{}", told.stdout, told.stderr);
    let answer = up.server.get("/api/v1/audit?verify=true");
    assert_eq!(answer["verification"]["findings_total"], 6);

    // What is sound is found, and that something is missing is said.
    let (total, partial) = found(&up);
    assert_eq!(partial, json!(true));
    assert!((2 * LINES..=3 * LINES).contains(&total), "{total}");
    assert_eq!(up.server.hits(&format!("number{}", SHARDS - 1)).len() as u64, LINES);
}

#[test]
fn a_changed_trail_is_named() {
    let site = Site::new(BINARY);
    let up = site.up(&rounds::settings(&site, "")).started();
    (0..3).for_each(|number| rounds::publish(&site, &up, number));
    let catalogue = site.path("data/catalogue.db");
    sqlite(
        &catalogue,
        "UPDATE trail SET entry = replace(entry, '\"epoch\":1', '\"epoch\":2') WHERE sequence = 2",
    );
    assert_names(&verify(&up), &["trail of partition", "link 2: its hash does not follow"]);
    sqlite(
        &catalogue,
        "UPDATE trail SET entry = replace(entry, '\"epoch\":2', '\"epoch\":1') WHERE sequence = 2",
    );
    assert_eq!(verify(&up).code, Some(0));
    sqlite(&catalogue, "DELETE FROM trail WHERE sequence = 3");
    assert_names(&verify(&up), &["partition", "links were cut off"]);
}

#[test]
fn a_busy_system_verifies_and_one_that_is_not_there_is_told() {
    let site = Site::new(BINARY);
    let busy = rounds::settings(&site, "").replace(
        "seal_age = \"1h\"",
        "seal_age = \"100ms\"\nexpired_grace = \"100ms\"\n[streams.logs]\nretention = \"1h\"",
    );
    let mut up = site.up(&busy).started();
    let mut written = 0;
    let mut verified = 0;
    while verified < 12 {
        let lines: Vec<String> = (0..200).map(|line| format!("busy line {}\n", written + line)).collect();
        site.append("app.log", lines.concat());
        written += 200;
        let outcome = verify(&up);
        assert_eq!(findings(&outcome), [""; 0], "{}", outcome.stderr);
        assert!(outcome.stderr.contains("\nverified: "), "{}", outcome.stderr);
        verified += 1;
    }
    up.server.wait_for_total("busy", written, DEADLINE);
    up.stop();
    let outcome = up.run(&["audit", "--verify"]);
    assert_eq!(outcome.code, Some(4), "{}", outcome.stderr);
}
