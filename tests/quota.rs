//! What is beyond a quota is held back in sight, and comes when it is sent again: from outside, over `millrace up`.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_test_support::{Site, Up, wait};
use serde_json::{Value, json};
use std::time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const DEADLINE: Duration = Duration::from_mins(1);

fn settings(site: &Site, quota: &str) -> String {
    let logs = site.path("logs");
    format!(
        "[agent.sources.app]\ntype = \"file\"\ninclude = [\"{}/*.log\"]\nstream = \"web\"\n\
         [indexer]\nseal_age = \"200ms\"\n[streams.web]\n{quota}\n",
        logs.display()
    )
}

fn lines(from: usize, count: usize) -> String {
    let lines: Vec<String> =
        (from..from + count).map(|n| format!("request number {n} was answered\n")).collect();
    lines.concat()
}

fn letters(up: &Up<'_>) -> Vec<Value> {
    let outcome = up.run(&["dead-letters", "list", "--waiting", "--output", "ndjson"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    outcome.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What the audit says of the one source.
fn account(up: &Up<'_>) -> Value {
    up.server.get("/api/v1/audit")["sources"][0].clone()
}

#[test]
fn what_is_beyond_a_quota_is_held_back_and_comes_when_it_is_sent_again() {
    let site = Site::new(BINARY);
    let mut up = site.up(&settings(&site, "daily_quota = \"200KiB\"")).started();
    site.append("app.log", lines(0, 100));
    up.server.wait_for_total("request", 100, DEADLINE);
    // Written in pieces, so that they come in messages of their own.
    let mut written = 100;
    wait::until("something is held back", DEADLINE, || {
        site.append("app.log", lines(written, 100));
        written += 100;
        std::thread::sleep(Duration::from_millis(50));
        (!letters(&up).is_empty()).then_some(())
    });
    let all = written as u64;
    wait::until("every byte is accounted for", DEADLINE, || {
        (account(&up)["covered"].as_u64()? == lines(0, written).len() as u64).then_some(())
    });
    let taken = up.server.whole_total("request").unwrap();
    assert!(taken >= 100 && taken < all, "{taken} of {all}");
    let source = account(&up);
    assert_eq!(
        source["verdict"], "complete_so_far",
        "it is dropped on purpose, and can still come: {source}"
    );
    assert!(source["skipped"]["quota"].as_u64().unwrap() > 0, "{source}");
    assert_eq!(source["aside"], source["skipped"]["quota"], "{source}");

    let waiting = letters(&up);
    assert!(waiting[0]["reason"].as_str().unwrap().contains("204800 bytes a day"), "{}", waiting[0]);
    assert_eq!((&waiting[0]["stream"], &waiting[0]["state"]), (&json!("web"), &json!("waiting")));
    let traffic = up.run(&["traffic", "--by", "stream", "--output", "json"]);
    let traffic: Value = serde_json::from_str(&traffic.stdout).unwrap();
    let row = &traffic["traffic"][0];
    assert_eq!((&row["stream"], &row["records"]), (&json!("web"), &json!(taken)));
    assert!(row["bytes"].as_u64().unwrap() <= 200 << 10 && row["held_bytes"].as_u64().unwrap() > 0, "{row}");
    let shown = up.run(&["traffic"]);
    assert!(shown.stdout.contains("web") && shown.stdout.contains("100.0 %"), "{}", shown.stdout);

    // One, twice; then all, across a restart.
    let first = waiting[0]["number"].to_string();
    for _ in 0..2 {
        let replayed = up.run(&["dead-letters", "replay", &first]);
        assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
    }
    up.kill();
    up.start();
    let replayed = up.run(&["dead-letters", "replay", "--all"]);
    assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
    assert!(replayed.stderr.contains(", 0 refused"), "{}", replayed.stderr);
    up.server.wait_for_total("request", all, DEADLINE);
    wait::until("nothing waits any more", DEADLINE, || letters(&up).is_empty().then_some(()));
    let source = account(&up);
    assert_eq!(
        (&source["records"], &source["aside"], &source["skipped"]),
        (&json!(all), &json!(0), &json!({}))
    );
    assert_eq!(up.server.whole_total("request"), Some(all), "each once");
    up.stop();
}

#[test]
fn a_host_has_a_quota_of_its_own() {
    let site = Site::new(BINARY);
    let mut up = site.up(&settings(&site, "daily_quota_per_host = \"1KiB\"")).started();
    site.append("app.log", lines(0, 500));
    let letter = wait::until("it is held back", DEADLINE, || letters(&up).into_iter().next());
    assert!(letter["reason"].as_str().unwrap().contains("a host may bring 1024 bytes"), "{letter}");
    assert_eq!(up.server.whole_total("request"), Some(0), "not even the first message fits");
    let shown = up.run(&["dead-letters", "show", &letter["number"].to_string()]);
    assert!(shown.stdout.contains("millrace.range"), "{}", shown.stdout);
    let missing = up.run(&["dead-letters", "show", "999"]);
    assert!(missing.code != Some(0) && missing.stderr.contains("no dead letter 999"), "{}", missing.stderr);
    up.stop();
}
