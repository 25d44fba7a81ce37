//! Scheduled queries as rules, from outside: rows of what lies in the index are alerts, and what has no row any more is over.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_test_support::{Site, wait};
use serde_json::{Value, json};
use std::time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const DEADLINE: Duration = Duration::from_mins(1);

/// Services with more than two errors within the range.
fn rule(range: &str) -> String {
    format!(
        "title: Many errors\nid: many-errors\nkind: scheduled\nlevel: high\n\
         query: 'failed | extract \"<service>: failed\" | stats count() as errors by service | where errors > 2'\n\
         scheduled: {{ every: 1s, range: {range}, delay: 1s }}\n"
    )
}

fn settings(site: &Site) -> String {
    format!(
        "[agent.sources.app]\ntype = \"file\"\ninclude = [\"{}/*\"]\n[query.alerts]\nstarter = false\nrules = [\"{}\"]\n",
        site.path("logs").display(),
        site.path("rules.yml").display()
    )
}

#[test]
fn rows_are_alerts_and_what_has_no_row_any_more_is_over() {
    let site = Site::new(BINARY);
    site.write("rules.yml", &rule("10s"));
    let mut up = site.up(&settings(&site)).started();
    site.append("app.log", "shop: failed 1\nshop: failed 2\nshop: failed 3\nmail: failed 1\nshop: well\n");
    let in_state = |state: &str| {
        wait::until(&format!("an alert that is {state}"), DEADLINE, || {
            let alerts = up.server.alerts();
            alerts.into_iter().find(|alert| alert["state"] == state)
        })
    };
    let alert = in_state("firing");
    assert_eq!((&alert["group"], &alert["rule_id"]), (&json!({ "service": "shop" }), &json!("many-errors")));
    // The lines have left the range.
    assert_eq!(in_state("resolved")["id"], alert["id"]);
    assert_eq!(up.server.alerts().len(), 1);
    let runs = up.server.get("/api/v1/rules")["rules"][0]["runs"].clone();
    assert_eq!(
        (&runs["last"]["rows"], &runs["last"]["cut_off"], &runs["failing"]),
        (&json!(0), &json!(false), &Value::Null),
        "{runs}"
    );
    let done = up.server.metric("millrace_query_scheduled_runs_total{outcome=\"done\"}");
    assert!(done.is_some_and(|done| done >= 2.0), "{done:?}");
    up.stop();
}

#[test]
fn what_fires_survives_kill_9_as_the_same_alert() {
    let site = Site::new(BINARY);
    site.write("rules.yml", &rule("1h"));
    let mut up = site.up(&settings(&site)).started();
    site.append("app.log", "shop: failed 1\nshop: failed 2\nshop: failed 3\n");
    let counted = |up: &millrace_test_support::Up<'_>, count: u64| {
        wait::until("an alert that was found again", DEADLINE, || {
            let mut alerts = up.server.alerts();
            assert!(alerts.len() <= 1, "{alerts:?}");
            alerts.pop().filter(|alert| alert["count"].as_u64().unwrap() >= count)
        })
    };
    let before = counted(&up, 2);
    up.kill();
    up.start();
    let after = counted(&up, before["count"].as_u64().unwrap() + 2);
    assert_eq!((&after["id"], &after["state"]), (&before["id"], &json!("firing")));
    up.stop();
}

#[test]
fn a_scheduled_rule_is_checked_explained_and_tried_over_what_is_kept() {
    let site = Site::new(BINARY);
    let path = site.write("rules.yml", &rule("1m"));
    assert_eq!(site.run(&["rules", "check", &path]).code, Some(0));
    let outcome = site.run(&["rules", "explain", &path]);
    assert!(
        outcome.stdout.contains("every 1s") && outcome.stdout.contains("each service"),
        "{}",
        outcome.stdout
    );
    for (from, to, words) in [
        ("every: 1s", "cron: '0 25 * * *'", "wrong.yml:6"),
        ("where errors > 2", "where errors >", "wrong.yml:5"),
        ("stats count()", "stats cuont()", "wrong.yml:5"),
    ] {
        let wrong = site.write("wrong.yml", &rule("1m").replace(from, to));
        let outcome = site.run(&["rules", "check", &wrong]);
        assert!(outcome.code == Some(3) && outcome.stderr.contains(words), "{to}: {}", outcome.stderr);
    }

    let mut up = site.up(&settings(&site)).started();
    site.append("app.log", "shop: failed 1\nshop: failed 2\nshop: failed 3\n");
    up.server.wait_for_total("failed", 3, DEADLINE);
    wait::until_true("the backtest finds it", DEADLINE, || {
        let told = up.server.get("/api/v1/rules/many-errors/backtest?from=30s");
        assert_eq!(told["partial"], json!(false), "{told}");
        told["findings"] == json!(1)
            && told["samples"][0]["group"] == json!({ "service": "shop" })
            && told["samples"][0]["value"] == json!(3.0)
    });
    let url = up.server.url();
    let outcome = site.run(&["rules", "backtest", "many-errors", "--from", "1d", "--server", &url]);
    assert!(outcome.code != Some(0) && outcome.stderr.contains("more than 1000 times"), "{}", outcome.stderr);
    up.stop();
}
