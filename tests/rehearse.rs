//! What a source would make of a file, without a topic; and the tests that a configuration brings along.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_test_support::Site;
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");

const SOURCE: &str = "type = \"file\"\ninclude = [\"LOGS/app*.log\"]\nstream = \"app\"\nmultiline = \"java\"\n\
    [[agent.sources.app.process]]\ndrop = 'level:debug'\n\
    [[agent.sources.app.process]]\nadd = { team = \"shop\" }\n\
    [agent.redact]\nkinds = [\"email\"]\n";

fn config(site: &Site, more: &str) -> String {
    let source = SOURCE.replace("LOGS", &site.path("logs").display().to_string());
    // Nobody answers there, and nobody is asked.
    let topic = "[topic]\ntype = \"kafka\"\nbrokers = [\"127.0.0.1:1\"]\n";
    let state = site.path("state").display().to_string();
    site.write(
        "agent.toml",
        &format!("{more}[agent]\nstate_dir = \"{state}\"\n[agent.sources.app]\n{source}{topic}"),
    )
}

#[test]
fn a_dry_run_shows_what_would_be_shipped_and_counts_the_rest() {
    let site = Site::new(BINARY);
    let config = config(&site, "");
    let log = site.log("app-1.log").display().to_string();
    site.append(
        "app-1.log",
        "{\"level\":\"info\",\"user\":\"ann@example.com\"}\n\n{\"level\":\"debug\"}\nERROR x\njava.lang.Exception: y\n\tat a.B.c(B.java:1)\n",
    );
    let outcome = site.run(&["agent", "--config", &config, "--dry-run", &log]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let records: Vec<Value> =
        outcome.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 2);
    assert_eq!(records[0]["attributes"], json!({ "user": "[redacted:email]", "team": "shop" }));
    assert_eq!((&records[0]["_stream"], &records[0]["_position"]), (&json!("app"), &json!(0)));
    assert_eq!(records[1]["body"], "ERROR x\njava.lang.Exception: y\n\tat a.B.c(B.java:1)");
    assert_eq!((&records[1]["severity_text"], &records[1]["_position"]), (&json!("ERROR"), &json!(61)));
    for said in ["2 records by the source app", "filtered by step 1 (drop)", "blank", "taken out: email"] {
        assert!(outcome.stderr.contains(said), "{said}: {}", outcome.stderr);
    }
    assert!(!site.path("state").exists(), "nothing is remembered");

    // Which source is meant is told by the path, or must be said.
    site.append("other.log", "ERROR z\n");
    let other = site.log("other.log").display().to_string();
    let outcome = site.run(&["agent", "--config", &config, "--dry-run", &other]);
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stderr.contains("there are: app; --source says which"), "{}", outcome.stderr);
    let outcome = site.run(&["agent", "--config", &config, "--dry-run", &other, "--source", "app"]);
    assert_eq!((outcome.code, outcome.stdout.lines().count()), (Some(0), 1));
}

#[test]
fn a_configuration_is_checked_with_its_own_tests() {
    let site = Site::new(BINARY);
    let check = |tests: &str| site.run(&["config", "check", "--config", &config(&site, tests)]);
    let passing = "[[test]]\nname = \"noise goes\"\nsource = \"app\"\n\
        input = ['{\"level\":\"debug\"}', '{\"level\":\"warn\",\"n\":7,\"time\":\"2026-01-02T03:04:05Z\"}']\n\
        expect = [{ level = \"warn\", n = 7, timestamp = \"2026-01-02T03:04:05Z\", attributes = { team = \"shop\" }, user = \"\" }]\n"
        .replace(", user = \"\"", "");
    let outcome = check(&passing);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("and its test passes"), "{}", outcome.stderr);

    let outcome = check(&passing.replace("n = 7", "n = 8"));
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("noise goes: record 1: n is 7, expected 8"), "{}", outcome.stderr);
    let outcome = check(&passing.replace("level\":\"debug\"", "level\":\"info\""));
    assert!(outcome.stderr.contains("level is \"info\", expected \"warn\""), "{}", outcome.stderr);
    let outcome = check("[[test]]\nsource = \"app\"\ninput = \"a\"\nexpect = []\n");
    assert!(outcome.stderr.contains("test 1: 1 records came, 0 were expected"), "{}", outcome.stderr);

    for (test, expected) in [
        (
            "[[test]]\nsource = \"ap\"\ninput = \"a\"\nexpect = []\n",
            "no source has the name ap; there are: app",
        ),
        ("[[test]]\nsource = \"app\"\nexpect = []\n", "a test needs input"),
        ("[[test]]\nsource = \"app\"\ninput = \"a\"\nexpct = []\n", "a test has no setting expct"),
    ] {
        let outcome = check(test);
        assert!(outcome.code != Some(0) && outcome.stderr.contains(expected), "{test}\n{}", outcome.stderr);
    }
}

#[test]
fn what_would_be_pushed_can_be_tried_as_well() {
    let site = Site::new(BINARY);
    let config = |tests: &str| {
        site.write(
            "agent.toml",
            &format!(
                "{tests}[agent]\nstate_dir = \"{}\"\nhost = \"web1\"\n\
                 [agent.sources.net]\ntype = \"syslog\"\nlisten = [\"udp://127.0.0.1:5514\"]\n\
                 [[agent.sources.net.process]]\ndrop = 'service:noise'\n\
                 [agent.sources.push]\ntype = \"http\"\nmax_line = 64\n\
                 [agent.sources.otel]\ntype = \"otlp\"\n\
                 [topic]\ntype = \"kafka\"\nbrokers = [\"127.0.0.1:1\"]\n",
                site.path("state").display()
            ),
        )
    };
    let messages = "<34>1 2026-10-11T22:14:15Z db1 su 7 ID47 - it failed\n<13>Oct 11 22:14:15 db1 noise: x\n\n21 <13>no time, no name!";
    let input = site.write("messages", messages);
    let dry_run =
        |source: &str| site.run(&["agent", "--config", &config(""), "--dry-run", &input, "--source", source]);
    let outcome = dry_run("net");
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let records: Vec<Value> =
        outcome.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 2, "{}", outcome.stdout);
    assert_eq!(
        (&records[0]["attributes"]["host.name"], &records[0]["_position"]),
        (&json!("db1"), &json!(0))
    );
    assert_eq!((&records[1]["resource"]["host.name"], &records[1]["_position"]), (&json!("web1"), &json!(2)));
    assert!(outcome.stderr.contains("filtered by step 1 (drop)"), "{}", outcome.stderr);
    assert_eq!(dry_run("otel").code, Some(1));
    assert!(dry_run("otel").stderr.contains("the source otel takes no lines"));

    let check = |test: &str| site.run(&["config", "check", "--config", &config(test)]);
    let long = "[[test]]\nsource = \"push\"\ninput = ['{\"level\":\"warn\",\"n\":1}', '{\"level\":\"error\",\"text\":\"longer than that, by far longer than sixty-four bytes\"}']\n\
                expect = [{ level = \"warn\", n = 1 }, { attributes = { \"log.truncated\" = true } }]\n";
    let outcome = check(long);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
}
