//! `millrace doctor`: what is well is told to be, what is not is named with what to do about it, and looking changes nothing.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_test_support::{Cluster, Plan, Site, kafka, ports, process::Outcome};
use serde_json::Value;
use std::{fs, time::Duration};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const DEADLINE: Duration = Duration::from_mins(2);

fn checks(outcome: &Outcome) -> Vec<Value> {
    let lines = outcome.stdout.lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The verdicts on something, and all that was found of it.
fn about(checks: &[Value], what: &str) -> (Vec<String>, String) {
    let of = checks.iter().filter(|check| check["check"] == what);
    let (verdicts, found): (Vec<String>, Vec<String>) =
        of.map(|check| (check["verdict"].as_str().unwrap().to_owned(), check["found"].to_string())).unzip();
    (verdicts, found.join("\n"))
}

#[test]
fn a_host_that_runs_is_well() {
    let site = Site::new(BINARY);
    let logs = site.path("logs").display().to_string();
    let up = site.up(&format!("[agent.sources.a]\ntype = \"file\"\ninclude = [\"{logs}/*\"]\n")).started();
    site.append("a.log", "one line\n");
    up.server.wait_for_total("line", 1, DEADLINE);
    let (data, config, url) = (site.path("data"), site.path("up.toml"), up.server.url());
    let (data, config) = (data.display().to_string(), config.display().to_string());
    let outcome =
        site.run(&["doctor", "--data", &data, "--config", &config, "--server", &url, "--output", "ndjson"]);
    let found = checks(&outcome);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stdout);
    assert!(outcome.stderr.contains("0 problems"), "{}", outcome.stderr);
    for (what, words) in [
        ("configuration", "nothing is wrong"),
        ("disk", "free"),
        ("permissions", "can be written to"),
        ("files", "a: 1 files, in 1 folders"),
        ("topic", "partitions"),
        ("catalogue", "schema "),
        ("storage", "a folder"),
        ("server", "ready"),
        ("agents", "1 hosts ship"),
        ("lag", ", topic 0 messages"),
        ("dead letters", "none waits"),
        ("versions", env!("CARGO_PKG_VERSION")),
    ] {
        let (verdicts, text) = about(&found, what);
        assert!(
            !verdicts.is_empty() && verdicts.iter().all(|verdict| verdict == "ok"),
            "{what}: {verdicts:?} {text}"
        );
        assert!(text.contains(words), "{what}: {text}");
    }
    // For people the same, with what was found beside it.
    let outcome = site.run(&["doctor", "--server", &url]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stdout);
    let line = outcome.stdout.lines().find(|line| line.contains("dead letters")).unwrap();
    assert!(line.starts_with("ok       dead letters") && line.ends_with("none waits"), "{line:?}");
}

#[test]
fn what_is_wrong_is_named_with_what_to_do() {
    let site = Site::new(BINARY);
    let nobody = ports::free();
    // A file where a folder should be: nobody can write below it, whoever they are.
    let file = site.write("file", "");
    let config = site.write(
        "broken.toml",
        &format!(
            "[agent]\nstate_dir = \"{file}/agent\"\n\
             [agent.sources.a]\ntype = \"file\"\ninclude = [\"/nowhere/*.log\"]\n\
             [agent.sources.j]\ntype = \"journald\"\njournalctl = \"/nowhere/journalctl\"\n\
             [indexer]\nmin_free = \"9999TiB\"\n\
             [topic]\ntype = \"kafka\"\nbrokers = [\"127.0.0.1:{nobody}\"]\n\
             [catalogue]\nurl = \"postgres://user:hunter2@127.0.0.1:{nobody}/db\"\n\
             [storage]\nurl = \"s3://bucket\"\nendpoint = \"http://127.0.0.1:{nobody}\"\naccess_key_id = \"a\"\n\
             secret_access_key = \"hunter3\"\ntimeout = \"1s\"\n"
        ),
    );
    let server = format!("http://127.0.0.1:{nobody}");
    let outcome = site.run(&["doctor", "--config", &config, "--server", &server, "--output", "ndjson"]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    let found = checks(&outcome);
    for (what, verdict, words) in [
        ("permissions", "problem", "cannot be written to"),
        ("disk", "problem", "free"),
        ("files", "warning", "names no file now"),
        ("journal", "problem", "cannot be run"),
        ("topic", "problem", "does not answer"),
        ("catalogue", "problem", "127.0.0.1"),
        ("storage", "problem", "s3://bucket"),
        ("server", "problem", "cannot be reached"),
    ] {
        let (verdicts, text) = about(&found, what);
        assert!(verdicts.iter().any(|found| found == verdict), "{what}: {verdicts:?} {text}");
        assert!(text.contains(words), "{what}: {text}");
    }
    for check in &found {
        let needs_one = check["verdict"] == "problem" || check["verdict"] == "warning";
        assert_eq!(needs_one, check["repair"].is_string(), "{check}");
    }
    assert!(!outcome.stdout.contains("hunter"), "{}", outcome.stdout);
    let outcome = site.run(&["doctor", "--config", "/nowhere.toml"]);
    assert_eq!(outcome.code, Some(3), "{}", outcome.stderr);
}

#[test]
fn a_topic_is_looked_at_and_not_made() {
    let broker = kafka::shared();
    let site = Site::new(BINARY);
    let mut cluster = Cluster::new(&site, Plan { indexers: 1, ..Plan::new(&broker.bootstrap, "doctor") });
    let config = |site: &Site| {
        fs::read_dir(site.path(""))
            .unwrap()
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with("query.toml")))
            .unwrap()
            .display()
            .to_string()
    };
    let config = config(&site);
    let look = || {
        let outcome = site.run(&["doctor", "--config", &config, "--output", "ndjson"]);
        about(&checks(&outcome), "topic")
    };
    for _ in 0..2 {
        let (verdicts, text) = look();
        assert_eq!(verdicts, ["ok"], "{text}");
        assert!(text.contains("is not there yet"), "{text}");
    }
    cluster.start();
    let (verdicts, text) = look();
    assert_eq!(verdicts, ["ok"], "{text}");
    assert!(text.contains("4 partitions") && text.contains("1 brokers"), "{text}");
}
