//! What is not a page of hits: records as they come in, the whole of an answer, and what stands around a record.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_test_support::{
    Site, Up, http,
    wait::{until, until_true},
};
use serde_json::Value;
use std::{collections::BTreeSet, time::Duration};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const DEADLINE: Duration = Duration::from_mins(1);

fn up<'a>(site: &'a Site, more: &str) -> Up<'a> {
    let logs = site.path("logs").display().to_string();
    let source =
        format!("[agent.sources.a]\ntype = \"file\"\ninclude = [\"{logs}/*\"]\nparse = [\"logfmt\"]\n");
    site.up(&format!("{source}{more}")).started()
}

fn lines(numbers: std::ops::Range<u64>) -> String {
    let line = |n: u64| format!("n={n} msg=\"line {n}\"\n");
    numbers.map(line).collect()
}

fn numbers(text: &str) -> Vec<u64> {
    let number = |line: &str| {
        let hit: Value = serde_json::from_str(line).ok()?;
        hit["attributes"]["n"].as_u64()
    };
    text.lines().filter_map(number).collect()
}

#[test]
fn a_tail_shows_each_record_once_also_through_a_restart_of_the_server() {
    let site = Site::new(BINARY);
    let mut up = up(&site, "");
    site.append("a.log", lines(0..10));
    up.server.wait_for_total("n:*", 10, DEADLINE);
    let server = up.server.url();
    let arguments = ["tail", "n:>=10", "--output", "ndjson", "--server", &server];
    let mut tail = site.start("tail", &arguments);
    // Until it watches: what is written before is not its matter.
    let mut written = 10;
    until("the first record", DEADLINE, || {
        site.append("a.log", lines(written..written + 1));
        written += 1;
        std::thread::sleep(Duration::from_millis(200));
        numbers(&tail.log()).first().copied()
    });
    let first = numbers(&tail.log())[0];
    site.append("a.log", lines(written..written + 500));
    written += 500;
    let until_seen = |last: u64| {
        let seen = || numbers(&tail.log()).last() == Some(&(last - 1));
        until_true("all that was written", DEADLINE, seen);
    };
    until_seen(written);
    up.kill();
    site.append("a.log", lines(written..written + 500));
    written += 500;
    up.start();
    until_seen(written);
    assert_eq!(numbers(&tail.log()), (first..written).collect::<Vec<_>>(), "each once, in order");
    tail.kill();
    // Whoever asks for pipes is told that there are none.
    let outcome = up.run(&["tail", "n:* | stats count()"]);
    assert_eq!(outcome.code, Some(2), "{}", outcome.stderr);
    assert!(outcome.stderr.contains('^'), "{}", outcome.stderr);
    let away = site.run(&["tail", "*", "--server", "127.0.0.1:1"]);
    assert_eq!(away.code, Some(4), "{}", away.stderr);
}

#[test]
fn an_export_is_everything_once_and_in_order() {
    let site = Site::new(BINARY);
    let up = up(&site, "[indexer]\nseal_age = \"2s\"\n");
    site.append("a.log", lines(0..12_000));
    up.server.wait_for_total("n:*", 12_000, DEADLINE);
    up.server.wait_for_a_shard(DEADLINE);
    site.append("a.log", lines(12_000..15_000));
    site.append("b.log", "a plain line with a \"quote\", and a comma\n");
    up.server.wait_for_total("*", 15_001, DEADLINE);

    let address = &up.server.address;
    let answer = http::get(address, "/api/v1/export?q=n:*&sort=timestamp").unwrap();
    assert_eq!((answer.status, answer.header("x-millrace-partial")), (200, None));
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let found = numbers(&answer.text());
    assert_eq!(found.len(), 15_000);
    assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 15_000);
    let times: Vec<String> = answer
        .text()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["timestamp"].to_string())
        .collect();
    assert!(times.is_sorted());

    let answer = http::get(address, "/api/v1/export?q=plain&format=csv").unwrap();
    let text = answer.text();
    assert!(text.starts_with("_id,timestamp,"), "{text}");
    assert!(text.contains("\"a plain line with a \"\"quote\"\", and a comma\""), "{text}");
    let answer = http::get(address, "/api/v1/export?q=n:*%7Cstats%20count()%20by%20n").unwrap();
    assert_eq!(answer.text().lines().count(), 15_000, "rows of a table are not bounded either");
    let answer = http::get(address, "/api/v1/export?q=nothing").unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    for wrong in ["format=xml", "limit=3", "from=yesterday"] {
        let answer = http::get(address, &format!("/api/v1/export?{wrong}")).unwrap();
        assert_eq!(answer.status, 400, "{wrong}: {}", answer.text());
    }

    // The command takes this way for more than can be asked for at once.
    let outcome = up.run(&["search", "n:*", "--limit", "14000", "--output", "ndjson"]);
    assert_eq!((outcome.code, numbers(&outcome.stdout).len()), (Some(0), 14_000), "{}", outcome.stderr);
    let outcome = up.run(&["search", "*", "--limit", "20000", "--output", "csv"]);
    assert_eq!((outcome.code, outcome.stdout.lines().count()), (Some(0), 15_002), "{}", outcome.stderr);
}

#[test]
fn around_a_record_stand_its_neighbours_whatever_their_times() {
    let site = Site::new(BINARY);
    let up = up(&site, "[indexer]\nseal_age = \"2s\"\n");
    // Other files get lines at the same time, and no line's time says where it stands.
    for round in 0..40_u64 {
        site.append("a.log", lines(round * 50..round * 50 + 50));
        site.append("b.log", "noise=1\n".repeat(50));
    }
    up.server.wait_for_total("n:*", 2000, DEADLINE);
    up.server.wait_for_a_shard(DEADLINE);
    site.append("a.log", lines(2000..2010));
    up.server.wait_for_total("n:*", 2010, DEADLINE);
    let context = |n: u64, before: u64, after: u64| {
        let hit = &up.server.hits(&format!("n:{n}"))[0];
        let id = hit["_id"].as_str().unwrap();
        let path = format!("/api/v1/context?id={id}&before={before}&after={after}");
        let answer = up.server.get(&path);
        let list = |name: &str| {
            let hits = answer[name].as_array().unwrap();
            hits.iter().map(|hit| hit["attributes"]["n"].as_u64().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(answer["hit"]["_id"], hit["_id"]);
        assert_eq!(answer["partial"], false);
        (list("before"), list("after"))
    };
    assert_eq!(context(1000, 3, 2), (vec![997, 998, 999], vec![1001, 1002]));
    assert_eq!(context(0, 5, 1), (vec![], vec![1]));
    assert_eq!(context(2009, 1, 5), (vec![2008], vec![]));
    assert_eq!(context(1999, 1, 3), (vec![1998], vec![2000, 2001, 2002]), "in a shard and in memory");
    assert_eq!(context(700, 600, 900).0, (100..700).collect::<Vec<_>>());
    assert_eq!(context(700, 0, 0), (vec![], vec![]));

    let address = &up.server.address;
    for (path, status) in [
        ("id=x", 400),
        ("id=00000000000000000000000000000001-0000000000000000-0", 404),
        ("id=00000000000000000000000000000001-0000000000000000-0&before=1001", 400),
        ("before=1", 400),
    ] {
        let answer = http::get(address, &format!("/api/v1/context?{path}")).unwrap();
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }

    let outcome = up.run(&["search", "n:100 OR n:102 OR n:500", "-C", "1"]);
    let shown: Vec<String> = outcome
        .stdout
        .lines()
        .map(|line| {
            let body = line.find("n=").map_or("", |at| line[at..].split(' ').next().unwrap_or(""));
            format!("{}{body}", &line[..1])
        })
        .collect();
    let expected = [" n=499", ">n=500", " n=501", "-", " n=101", ">n=102", " n=103", "-", " n=99", ">n=100"];
    assert_eq!(shown, expected, "{}", outcome.stdout);
    assert_eq!(up.run(&["search", "n:1", "-C", "1", "--output", "json"]).code, Some(2));
}
