//! What commands say and exit with when something is wrong: a script can tell one trouble from another, and a person
//! what to do about it.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_test_support::{Site, http, ports};
use serde_json::Value;
use std::time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const DEADLINE: Duration = Duration::from_mins(1);

#[test]
fn a_query_that_does_not_parse_is_marked_where_it_breaks() {
    let site = Site::new(BINARY);
    let up = site.up("").started();
    let outcome = up.run(&["search", "level:error AND (timeout"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""));
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    let at = lines.iter().position(|line| line.contains("level:error AND (timeout")).unwrap();
    assert!(lines[at + 1].contains('^'), "{}", outcome.stderr);

    let answer = http::get(&up.server.address, "/api/v1/search?q=status:%3E%3D").unwrap();
    assert_eq!(answer.status, 400);
    let error: Value = serde_json::from_slice(&answer.body).unwrap();
    let span = &error["error"]["span"];
    assert!(span["start"].as_u64().unwrap() <= span["end"].as_u64().unwrap());
    assert!(!error["error"]["suggestion"].as_str().unwrap().is_empty());
    assert!(!error["error"]["message"].as_str().unwrap().is_empty());
    assert_eq!(error["error"]["code"], "query_invalid");

    for parameters in ["limit=-1", "from=yesterday", "sort=host", "cursor=x", "unknown=1"] {
        let answer = http::get(&up.server.address, &format!("/api/v1/search?{parameters}")).unwrap();
        assert_eq!(answer.status, 400, "{parameters}: {}", answer.text());
        let error: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(error["error"]["code"], "parameter_invalid", "{parameters}");
    }
    assert_eq!(up.run(&["search", "*", "--since", "yesterday"]).code, Some(2));
}

#[test]
fn outputs_are_for_people_and_for_programs() {
    let site = Site::new(BINARY);
    let logs = site.path("logs").display().to_string();
    let up = site.up(&format!("[agent.sources.a]\ntype = \"file\"\ninclude = [\"{logs}/*\"]\n")).started();
    let lines: Vec<String> = (0..1500).map(|n| format!("line {n} of the output\n")).collect();
    site.append("a.log", lines.concat());
    site.append("a.log", "an \x1b[31m escape\n");
    up.server.wait_for_total("line OR escape", 1501, DEADLINE);
    let text = up.run(&["search", "escape"]);
    assert!(text.stdout.contains("escape") && !text.stdout.contains('\x1b'), "{:?}", text.stdout);
    assert!(text.stderr.starts_with("1 records"), "{}", text.stderr);
    // More than one answer holds: pages are joined.
    let outcome = up.run(&["search", "line", "--limit", "1200", "--output", "ndjson"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let hits: Vec<Value> = outcome.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(hits.len(), 1200);
    let ids: std::collections::HashSet<_> = hits.iter().map(|hit| hit["_id"].to_string()).collect();
    assert_eq!(ids.len(), 1200);
    let outcome = up.run(&["search", "line", "--limit", "0", "--output", "json"]);
    let answer: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!((answer["total"].as_u64(), answer["hits"].as_array().unwrap().len()), (Some(1500), 0));
    let answer = up.server.search(&serde_json::json!({ "q": "\"line 7 of\"", "stream": "other" }));
    assert_eq!(answer["total"], 0);
}

#[test]
fn stats_show_when_records_came_and_what_is_frequent_in_them() {
    let site = Site::new(BINARY);
    let logs = site.path("logs").display().to_string();
    let up = site
        .up(&format!("[agent.sources.a]\ntype = \"file\"\ninclude = [\"{logs}/*\"]\nparse = [\"json\"]\n"));
    let up = up.started();
    let line = |n: usize| {
        let level = if n.is_multiple_of(10) { "error" } else { "info" };
        format!("{{\"level\":\"{level}\",\"user\":\"u{}\",\"message\":\"order {n} was sent\"}}\n", n % 3)
    };
    site.append("a.log", (0..1000).map(line).collect::<String>());
    up.server.wait_for_total("order", 1000, DEADLINE);
    let outcome = up.run(&["stats", "order", "--since", "1h", "--by", "user,level"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let text = outcome.stdout;
    assert!(text.starts_with("1,000 records, 100 errors, 0 warnings; a bar is 1 min\n"), "{text}");
    for part in [
        "1000 ┤",
        "└──",
        "\nuser\n",
        " 334  33.40 % ████████",
        " u0\n",
        "\nlevel\n",
        " 900  90.00 % ",
        "order <*> was sent",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    assert!(!text.contains('\x1b'));
    let outcome = up.run(&[
        "stats",
        "level:error",
        "--output",
        "json",
        "--top",
        "1",
        "--by",
        "user",
        "--interval",
        "10m",
    ]);
    let answer: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let buckets = answer["histogram"]["buckets"].as_array().unwrap();
    let sum = |name: &str| buckets.iter().map(|bucket| bucket[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("count"), sum("errors"), sum("warnings")), (100, 100, 0));
    assert!((6..=7).contains(&buckets.len()), "{}", buckets.len());
    assert_eq!(answer["fields"]["user"].as_array().unwrap().len(), 1);
    assert_eq!((&answer["total"], &answer["partial"]), (&Value::from(100), &Value::from(false)));
    let lines = up.run(&["stats", "order", "--output", "ndjson", "--by", "user"]);
    let values = lines.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert_eq!(
        values
            .filter(|line| line["field"] == "user")
            .map(|line| line["count"].as_u64().unwrap())
            .sum::<u64>(),
        1000
    );
    let outcome = up.run(&["stats", "level:error AND ("]);
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stderr.contains('^') && !outcome.stderr.contains("timechart"), "{}", outcome.stderr);
    assert_eq!(up.run(&["stats", "order | limit 1"]).code, Some(2));
    assert_eq!(up.run(&["stats", "order", "--since", "soon"]).code, Some(2));
}

#[test]
fn a_server_that_is_away_is_told_from_a_wrong_question() {
    let site = Site::new(BINARY);
    let url = format!("http://127.0.0.1:{}", ports::free());
    for command in [["search", "*"].as_slice(), &["audit"]] {
        let outcome = site.run(&[command, &["--server", &url]].concat());
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(4), ""), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(&url), "{}", outcome.stderr);
    }
    assert_eq!(site.run(&["search", "*", "--server", "ht tp://x"]).code, Some(2));
    assert_eq!(site.run(&["serach", "*"]).code, Some(2));
    assert_eq!(site.run(&["search", "--limit", "many"]).code, Some(2));
    assert_eq!(site.run(&["agent"]).code, Some(2));
    assert_eq!(site.run(&["--version"]).stdout, format!("millrace {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn all_mistakes_of_a_configuration_are_told_at_once_with_their_places() {
    let site = Site::new(BINARY);
    let file = site.write(
        "wrong.toml",
        "[agent]\nstate_dri = \"/tmp/x\"\n\n[agent.sources.app]\ntype = \"flie\"\ninclude = [\"/tmp/*.log\"]\n\n\
         [indexer]\nseal_age = \"soon\"\n\n[query]\nlisten = 7700\n",
    );
    for command in [["up", "--config"].as_slice(), &["config", "check", "--config"], &["agent", "--config"]] {
        let outcome = site.run(&[command, &[&file]].concat());
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(3), ""), "{command:?}: {}", outcome.stderr);
        for place in ["wrong.toml:2:1", "wrong.toml:5:8", "wrong.toml:9:12", "wrong.toml:12:10"] {
            assert!(outcome.stderr.contains(place), "{command:?}: no {place} in\n{}", outcome.stderr);
        }
        assert!(
            outcome.stderr.contains("state_dir") && outcome.stderr.contains("\"file\""),
            "{}",
            outcome.stderr
        );
    }
    let file = site.write(
        "addresses.toml",
        "[topic]\ntype = \"kafka\"\nbrokers = [\"127.0.0.1:1\"]\nlibrdkafka.no.such.key = 1\n\
         [catalogue]\nurl = \"mysql://u:hunter2@h\"\n[storage]\nurl = \"file://relative\"\n",
    );
    let outcome = site.run(&["indexer", "--config", &file]);
    assert_eq!(outcome.code, Some(3), "{}", outcome.stderr);
    for place in ["addresses.toml:6:7", "addresses.toml:8:7"] {
        assert!(outcome.stderr.contains(place), "no {place} in\n{}", outcome.stderr);
    }
    let good = site.write(
        "librdkafka.toml",
        "[topic]\ntype = \"kafka\"\nbrokers = [\"127.0.0.1:1\"]\nlibrdkafka.no.such.key = 1\n\
         [catalogue]\nurl = \"sqlite:///tmp/c.db\"\n[storage]\nurl = \"file:///tmp/s\"\n",
    );
    let outcome = site.run(&["indexer", "--config", &good]);
    assert_eq!(outcome.code, Some(3), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("no.such.key"), "{}", outcome.stderr);
    let file = site.write("torn.toml", "[agent\nstate_dir = 1\n");
    let outcome = site.run(&["config", "check", "--config", &file]);
    assert_eq!(outcome.code, Some(3));
    assert!(outcome.stderr.contains("torn.toml:1:"), "{}", outcome.stderr);
    let outcome = site.run(&["up", "--config", "/nowhere.toml"]);
    assert_eq!(outcome.code, Some(3));
    assert!(outcome.stderr.contains("/nowhere.toml"), "{}", outcome.stderr);
}

#[test]
fn the_shipped_configurations_are_right() {
    let site = Site::new(BINARY);
    for name in ["agent", "indexer", "query", "up"] {
        let file = format!("{}/config/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let outcome = site.run(&["config", "check", "--config", &file]);
        assert_eq!(outcome.code, Some(0), "{name}: {}", outcome.stderr);
    }
}

#[test]
fn other_addresses_than_loopback_are_refused_unless_it_is_said() {
    let site = Site::new(BINARY);
    let outcome = site.run(&["up", "--data", "data", "--listen", "0.0.0.0:0"]);
    assert_eq!(outcome.code, Some(3), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("allow_unauthenticated"), "{}", outcome.stderr);
    let check = |text: &str| {
        let file = site.write(
            "open.toml",
            &format!("[indexer]\nlisten = \"0.0.0.0:7702\"\n{text}[topic]\ntype = \"embedded\"\n"),
        );
        site.run(&["config", "check", "--config", &file])
    };
    let outcome = check("");
    assert_eq!(outcome.code, Some(3), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("open.toml:2:10") && outcome.stderr.contains("[cluster]"),
        "{}",
        outcome.stderr
    );
    assert_eq!(check("allow_unauthenticated = true\n").code, Some(0));
    assert_eq!(check("[cluster]\nsecret = \"long enough to be one\"\n").code, Some(0));
    let outcome = check("[cluster]\nsecret = \"too short\"\n");
    assert_eq!(outcome.code, Some(3), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("at least 16 characters"), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("too short"), "{}", outcome.stderr);
}
