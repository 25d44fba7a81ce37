//! How long records live, from outside: bounds of size, holds, and a person's records that are deleted.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_test_support::{Server, Site, Up, wait};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs, path::Path, time::Duration};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const DEADLINE: Duration = Duration::from_mins(1);

fn settings(site: &Site, more: &str) -> String {
    let logs = site.path("logs");
    format!(
        "[agent.sources.app]\ntype = \"file\"\ninclude = [\"{}/*.log\"]\n\
         [indexer]\nseal_age = \"200ms\"\nexpired_grace = \"200ms\"\n\
         [catalogue]\nsnapshot_every = \"0s\"\n{more}",
        logs.display()
    )
}

fn streams(server: &Server) -> Value {
    let answer = server.get("/api/v1/streams");
    answer["streams"]
        .as_array()
        .unwrap()
        .iter()
        .find(|stream| stream["name"] == "logs")
        .cloned()
        .unwrap_or_default()
}

fn total(up: &Up<'_>, query: &str) -> u64 {
    wait::until("an answer that is whole", DEADLINE, || up.server.whole_total(query))
}

/// Every file below a folder whose bytes hold this text.
fn naming(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if fs::read(&path)
                .is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
            {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

/// Every line of a dump of all that is stored that names this: decoded records and terms, rows, messages, stray bytes.
fn dumped(site: &Site, text: &str) -> Vec<Value> {
    let (data, config) =
        (site.path("data").display().to_string(), site.path("up.toml").display().to_string());
    // A file of the topic may go while it is being read.
    let dump = wait::until("everything is dumped", DEADLINE, || {
        let dump = site.run(&["catalogue", "dump", "--data", &data, "--config", &config]);
        (dump.code == Some(0)).then_some(dump)
    });
    let naming = dump.stdout.lines().filter(|line| line.contains(text));
    naming.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_person_is_hidden_at_once_and_gone_soon() {
    let site = Site::new(BINARY);
    // What the topic holds goes soon, too, when all have read it.
    let topic = "[topic]\ntype = \"embedded\"\nretention = \"4s\"\n";
    let mut up = site.up(&settings(&site, topic)).started();
    let line = |at: u32, user: &str| format!("session {at} opened for {user} by uid=0\n");
    let lines: Vec<String> =
        (0..300).map(|at| line(at, ["ann", "bob", "zacharias"][at as usize % 3])).collect();
    site.append("app.log", lines.concat());
    up.server.wait_for_total("session", 300, DEADLINE);

    let kinds: BTreeSet<String> =
        dumped(&site, "zacharias").iter().map(|line| line["kind"].as_str().unwrap().to_owned()).collect();
    assert!(kinds.contains("message"), "before, it is found where it lies: {kinds:?}");

    let refused = up.run(&["streams", "delete", "logs", "user:(("]);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains('^'), "the error points: {}", refused.stderr);
    let refused = up.run(&["streams", "delete", "No Stream", "*"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("stream name"), "{}", refused.stderr);

    let asked = up.run(&[
        "streams",
        "delete",
        "logs",
        "zacharias",
        "--reason",
        "asked by the person",
        "--output",
        "json",
    ]);
    assert_eq!(asked.code, Some(0), "{}", asked.stderr);
    assert_eq!(total(&up, "zacharias"), 0, "hidden at once");
    assert_eq!(total(&up, "session"), 200);
    // Whoever comes later is not meant.
    site.append("app.log", line(300, "zacharias"));
    up.server.wait_for_total("zacharias", 1, DEADLINE);

    let purged = wait::until("the records are removed", DEADLINE, || {
        let receipts = up.run(&["streams", "deletions", "logs", "--output", "ndjson"]);
        let receipt: Value = serde_json::from_str(receipts.stdout.lines().next()?).unwrap();
        (receipt["state"] == "purged").then_some(receipt)
    });
    assert_eq!(
        (&purged["records"], &purged["q"], &purged["shards_left"]),
        (&json!(100), &Value::Null, &json!(0))
    );
    assert!(purged["topic_copy_expires"].as_str().unwrap() > purged["requested"].as_str().unwrap());
    assert_eq!((total(&up, "zacharias"), total(&up, "session")), (1, 201));
    let audit = up.run(&["audit"]);
    assert_eq!(audit.code, Some(0), "the ledger is as it was: {}", audit.stderr);
    let text = up.run(&["streams", "deletions", "logs"]);
    assert!(text.stdout.contains("purged") && text.stdout.contains("sha256:"), "{}", text.stdout);

    // Nothing that is stored, decoded, tells of the person but the record that came later, and its own bundle's terms.
    let later = line(300, "zacharias");
    let is_later = |line: &Value| line["record"]["body"] == later.trim_end();
    let left = wait::until("the person is nowhere else", DEADLINE, || {
        let left = dumped(&site, "zacharias");
        let shard = left.iter().find(|line| is_later(line))?["shard"].clone();
        let of_it = |line: &Value| is_later(line) || (line["kind"] == "term" && line["shard"] == shard);
        left.iter().all(of_it).then_some(left)
    });
    assert_eq!(left.iter().filter(|line| is_later(line)).count(), 1, "{left:?}");
    let deleted = up.run(&["streams", "delete", "logs", "zacharias", "--wait"]);
    assert_eq!(deleted.code, Some(0), "{}", deleted.stderr);
    wait::until_true("the person is nowhere", DEADLINE, || dumped(&site, "zacharias").is_empty());
    up.stop();
    assert_eq!(naming(&site.path("data"), "zacharias"), [""; 0], "no file has it in clear");
    assert!(!dumped(&site, "bob").is_empty(), "others are there");
}

#[test]
fn a_stream_stays_within_its_bound_unless_it_is_on_hold() {
    let site = Site::new(BINARY);
    let bound = 200_000;
    let mut up =
        site.up(&settings(&site, &format!("[streams.logs]\nretention_bytes = \"{bound}\"\n"))).started();
    let mut state = 7_u64;
    let mut noise = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        format!("{:016x}{:016x}", state, state.rotate_left(17).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    };
    let mut most = 0;
    let mut write = |up: &Up<'_>| {
        let lines: Vec<String> = (0..500).map(|_| format!("noise {}\n", noise())).collect();
        site.append("app.log", lines.concat());
        std::thread::sleep(Duration::from_millis(20));
        let bytes = streams(&up.server)["bytes"].as_u64().unwrap_or(0);
        most = bytes.max(most);
        bytes
    };
    for _ in 0..60 {
        assert!(write(&up) <= bound, "the bound is passed");
    }
    wait::until_true("something has expired", DEADLINE, || {
        total(&up, "noise") < 60 * 500 && streams(&up.server)["bytes"].as_u64().unwrap() > bound / 4
    });
    let held = up.run(&["streams", "hold", "logs", "--reason", "case 17"]);
    assert_eq!(held.code, Some(0), "{}", held.stderr);
    let refused = up.run(&["streams", "delete", "logs", "*"]);
    assert!(refused.stderr.contains("on hold"), "{}", refused.stderr);
    wait::until_true("the stream grows on hold", DEADLINE, || write(&up) > bound);
    let list = up.run(&["streams", "list"]);
    assert!(list.stdout.contains("case 17") && list.stdout.contains("200000 bytes"), "{}", list.stdout);
    assert_eq!(up.run(&["streams", "release", "logs"]).code, Some(0));
    assert_eq!(up.run(&["streams", "release", "logs"]).code, Some(2), "there is no hold to end");
    wait::until_true("it is within its bound again", DEADLINE, || {
        streams(&up.server)["bytes"].as_u64().unwrap() <= bound
    });
    up.stop();
}
