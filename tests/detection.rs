//! Detection from outside: lines into a watched file, an alert out, at the API and at a webhook, once; rules that change
//! while it runs; and rules tried on the command line.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use millrace_model::{Clock, SystemClock};
use millrace_test_support::{Site, Up, http::Webhook, wait};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const DEADLINE: Duration = Duration::from_mins(1);
/// Longer than anything that would send a second notification takes to do so.
const QUIET: Duration = Duration::from_secs(3);

fn settings(site: &Site, webhook: &Webhook) -> String {
    let logs = site.path("logs");
    format!(
        "[agent.sources.app]\ntype = \"file\"\ninclude = [\"{}/*\"]\n[indexer]\nseal_age = \"1s\"\n\
         [query.alerts.receivers.ops]\ntype = \"webhook\"\nurl = \"{}\"\n",
        logs.display(),
        webhook.url()
    )
}

/// The lines of somebody who tries passwords.
fn failures(numbers: std::ops::Range<u32>) -> String {
    let line = |number| {
        format!(
            "Nov 23 10:00:00 web1 sshd[{number}]: Failed password for root from 203.0.113.9 port {number} ssh2\n"
        )
    };
    numbers.map(line).collect::<Vec<_>>().concat()
}

/// Waits until the only alert has counted so far, and returns it.
#[track_caller]
fn counted(up: &Up<'_>, count: u64) -> Value {
    wait::until(&format!("one alert of {count}"), DEADLINE, || {
        let mut alerts = up.server.alerts();
        assert!(alerts.len() <= 1, "{alerts:?}");
        let alert = alerts.pop()?;
        assert!(alert["count"].as_u64().unwrap() <= count, "{alert}");
        (alert["count"] == json!(count)).then_some(alert)
    })
}

#[test]
fn forty_failures_are_one_alert_and_one_post() {
    let site = Site::new(BINARY);
    let webhook = Webhook::start();
    let mut up = site.up(&settings(&site, &webhook)).started();
    site.append(
        "auth.log",
        "Nov 23 09:59:59 web1 sshd[1]: Accepted publickey for ann from 192.0.2.1 port 1 ssh2\n",
    );
    up.server.wait_for_total("Accepted", 1, DEADLINE);

    let written = Instant::now();
    site.append("auth.log", failures(0..40));
    let post = wait::until("a post at the webhook", DEADLINE, || webhook.posts().into_iter().next());
    println!("forty failures written to the webhook's post: {:?}", post.at.duration_since(written));
    let body: Value = serde_json::from_str(&post.body).unwrap();
    assert_eq!(body["status"], "firing");
    assert_eq!(body["receiver"], "ops");
    assert_eq!(body["alert"]["title"], "SSH brute force");
    assert_eq!(body["alert"]["group"], json!({ "source_ip": "203.0.113.9" }));

    let alert = counted(&up, 40);
    assert_eq!((&alert["state"], &alert["level"]), (&json!("firing"), &json!("high")));
    assert_eq!((&alert["id"], &alert["rule_id"]), (&body["alert"]["id"], &body["alert"]["rule_id"]));
    assert!(alert["first"].as_str().unwrap() <= alert["last"].as_str().unwrap());
    // Each piece of evidence is a record that can be looked at.
    let evidence = alert["evidence"].as_array().unwrap();
    assert!(!evidence.is_empty());
    for id in evidence {
        let record = up.server.get(&format!("/api/v1/records/{}", id.as_str().unwrap()));
        assert!(record["body"].as_str().unwrap().contains("Failed password"), "{record}");
    }
    wait::stays("one post and one alert", QUIET, || {
        webhook.posts().len() == 1 && up.server.alerts().len() == 1
    });
    up.stop();
}

#[test]
fn what_was_counted_survives_kill_9() {
    let site = Site::new(BINARY);
    let webhook = Webhook::start();
    let mut up = site.up(&settings(&site, &webhook)).started();
    // Below the threshold of eight: only what rules have counted can tell.
    site.append("auth.log", failures(0..5));
    up.server.wait_for_total("Failed", 5, DEADLINE);
    up.kill();
    up.start();
    assert_eq!(up.server.alerts(), [json!(null); 0]);
    site.append("auth.log", failures(5..20));
    let alert = counted(&up, 20);
    wait::until_true("a post at the webhook", DEADLINE, || webhook.posts().len() == 1);
    up.kill();
    site.append("auth.log", failures(20..40));
    up.start();
    assert_eq!(counted(&up, 40)["id"], alert["id"]);
    wait::stays("one alert of forty", QUIET, || {
        let alerts = up.server.alerts();
        alerts.len() == 1 && alerts[0]["count"] == json!(40)
    });
    // A post whose success could not be noted before the kill may come again: under the same key.
    let keys: BTreeSet<_> =
        webhook.posts().into_iter().map(|post| header(&post.headers, "idempotency-key")).collect();
    assert_eq!(keys.len(), 1, "{keys:?}");
}

fn header(headers: &[(String, String)], name: &str) -> String {
    headers.iter().find(|(key, _)| key == name).unwrap().1.clone()
}

/// A rule that fires on a word.
fn rule(title: &str, id: u32, word: &str) -> String {
    format!(
        "title: {title}\nid: 00000000-0000-4000-8000-{id:012}\nkind: threshold\nlevel: low\nquery: '{word}'\n\
         threshold:\n  count: 1\n  window: 10m\ntests:\n  positive: ['it says {word}']\n  negative: ['it says nothing']\n"
    )
}

#[test]
fn rules_change_while_it_runs_and_a_broken_one_changes_nothing() {
    let site = Site::new(BINARY);
    let webhook = Webhook::start();
    fs::create_dir(site.path("rules")).unwrap();
    site.write("rules/own.yml", &rule("Alpha", 1, "alpha"));
    let settings = settings(&site, &webhook)
        + &format!("[query.alerts]\nrules = [\"{}\"]\n", site.path("rules").display());
    let up = site.up(&settings).started();
    let count = |title: &str| {
        let alerts = up.server.alerts();
        alerts
            .iter()
            .find(|alert| alert["title"] == json!(title))
            .map(|alert| alert["count"].as_u64().unwrap())
    };
    site.append("app.log", "alpha\n");
    wait::until_true("the rule fires", DEADLINE, || count("Alpha") == Some(1));

    site.write("rules/own.yml", "title: Broken\nkind: threshold\nquery: '(('\n");
    wait::until_true("the mistake is told", DEADLINE, || {
        let told = up.server.get("/api/v1/rules");
        told["errors"].as_array().unwrap().iter().any(|error| error.as_str().unwrap().contains("own.yml"))
    });
    assert!(up.server.metric("millrace_query_broken_rules").is_some_and(|broken| broken >= 1.0));
    site.append("app.log", "alpha again\n");
    wait::until_true("the rule as it was last good counts on", DEADLINE, || count("Alpha") == Some(2));

    site.write("rules/own.yml", &rule("Beta", 2, "beta"));
    wait::until_true("the new rule is in use", DEADLINE, || {
        let told = up.server.get("/api/v1/rules");
        assert!(told["rules"].as_array().unwrap().len() >= 3);
        told["errors"] == json!([]) && told["rules"].to_string().contains("Beta")
    });
    site.append("app.log", "alpha and beta\n");
    wait::until_true("the new rule fires", DEADLINE, || count("Beta") == Some(1));
    assert_eq!(count("Alpha"), Some(2), "the old rule is gone");
}

#[test]
fn rules_that_cannot_be_used_are_named_and_a_hostile_pattern_holds_nobody_up() {
    let site = Site::new(BINARY);
    let webhook = Webhook::start();
    fs::create_dir(site.path("rules")).unwrap();
    let taking_out = |title: &str, id: u32, pattern: &str| {
        rule(title, id, "long").replace("threshold:\n", &format!("extract: '{pattern}'\nthreshold:\n"))
    };
    let sigma = "title: Back\nlogsource: {}\ndetection:\n  s:\n    message|re: '(a+)\\1'\n  condition: s\n";
    let refused = [
        ("no-yaml.yml", "title: [\n".to_owned()),
        ("unknown-key.yml", rule("Unknown", 1, "alpha").replace("level: low", "levle: low")),
        ("looks-ahead.yml", taking_out("Ahead", 2, "(?P<x>a(?=b))")),
        ("too-large.yml", taking_out("Large", 3, "(?P<x>(?:\\w{1,900}){1,900})")),
        ("back-reference.yml", sigma.to_owned()),
    ];
    for (file, text) in &refused {
        site.write(&format!("rules/{file}"), text);
    }
    // Where a pattern is tried in all ways, this one takes longer than anybody waits.
    let slow = taking_out("Slow", 4, "(?P<x>(?:a+)+)(?:a|a?)+$")
        .replace("window: 10m", "window: 10m\n  group_by: [x]");
    site.write("rules/slow.yml", &slow);
    site.write("rules/good.yml", &rule("Good", 5, "alpha"));
    let settings = settings(&site, &webhook)
        + &format!("[query.alerts]\nstarter = false\nrules = [\"{}\"]\n", site.path("rules").display());
    let up = site.up(&settings).started();

    let told = up.server.get("/api/v1/rules");
    let errors: Vec<&str> =
        told["errors"].as_array().unwrap().iter().map(|error| error.as_str().unwrap()).collect();
    for (file, _) in &refused {
        assert_eq!(errors.iter().filter(|error| error.contains(file)).count(), 1, "{file}: {errors:#?}");
    }
    assert_eq!(errors.len(), refused.len(), "{errors:#?}");
    assert_eq!(up.server.metric("millrace_query_broken_rules"), Some(refused.len() as f64));
    let titles: BTreeSet<&str> =
        told["rules"].as_array().unwrap().iter().map(|rule| rule["title"].as_str().unwrap()).collect();
    assert_eq!(titles, BTreeSet::from(["Good", "Slow"]));

    let hostile = format!("long {}!\n", "a".repeat(50_000)).repeat(20);
    site.append("app.log", hostile + "alpha\n");
    wait::until_true("both fire", DEADLINE, || up.server.alerts().len() == 2);
    wait::until_true("both are told", DEADLINE, || webhook.posts().len() == 2);
}

#[test]
fn an_alert_that_is_over_is_resolved_and_told_once() {
    let site = Site::new(BINARY);
    let webhook = Webhook::start();
    let text = rule("Gamma", 4, "gamma").replace("window: 10m", "window: 1s") + "resolve_after: 2s\n";
    let path = site.write("gamma.yml", &text);
    let settings = settings(&site, &webhook) + &format!("[query.alerts]\nrules = [\"{path}\"]\n");
    let up = site.up(&settings).started();
    site.append("app.log", "gamma\n");
    let told = || {
        let posts = webhook.posts().into_iter();
        posts
            .map(|post| {
                let body: Value = serde_json::from_str(&post.body).unwrap();
                (body["status"].as_str().unwrap().to_owned(), body["alert"]["id"].clone())
            })
            .collect::<Vec<_>>()
    };
    wait::until_true("both posts", DEADLINE, || told().len() >= 2);
    let both = told();
    assert_eq!((both[0].0.as_str(), both[1].0.as_str()), ("firing", "resolved"));
    assert_eq!(both[0].1, both[1].1);
    assert_eq!(up.server.get("/api/v1/alerts?state=firing")["alerts"], json!([]));
    assert_eq!(up.server.get("/api/v1/alerts?state=resolved")["alerts"][0]["id"], both[0].1);
    // What comes later is another alert.
    site.append("app.log", "gamma again\n");
    wait::until_true("the second alert", DEADLINE, || told().len() >= 3);
    assert_eq!(told()[2].0, "firing");
    assert_ne!(told()[2].1, both[0].1);
}

#[test]
fn rules_are_checked_on_the_command_line() {
    let site = Site::new(BINARY);
    let starter = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules").display().to_string();
    let outcome = site.run(&["rules", "check", &starter]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), ""), "{}", outcome.stderr);
    let outcome = site.run(&["rules", "test", &starter]);
    assert_eq!(outcome.code, Some(0), "{}{}", outcome.stdout, outcome.stderr);
    assert!(
        outcome.stdout.lines().count() > 10 && outcome.stdout.lines().all(|line| line.starts_with("ok "))
    );

    let good = site.write("good.yml", &rule("Alpha", 1, "alpha"));
    let broken = site.write("broken.yml", &rule("Broken", 2, "((").replace("level: low", "levle: low"));
    let outcome = site.run(&["rules", "check", &good, &broken]);
    assert_eq!(outcome.code, Some(3), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("broken.yml") && !outcome.stderr.contains("good.yml"),
        "{}",
        outcome.stderr
    );
    assert_eq!(site.run(&["rules", "check", "/nowhere.yml"]).code, Some(3));
    assert_eq!(site.run(&["rules", "check"]).code, Some(2));

    let wrong =
        site.write("wrong.yml", &rule("Wrong", 3, "alpha").replace("it says alpha", "it says otherwise"));
    let outcome = site.run(&["rules", "test", &wrong]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(outcome.stdout.contains("FAILED"), "{}", outcome.stdout);
}

#[test]
fn rules_are_tried_on_records() {
    let site = Site::new(BINARY);
    let rule = site.write("alpha.yml", &rule("Alpha", 1, "alpha"));
    fs::create_dir(site.path("events")).unwrap();
    let events = site.write("events/one.log", "nothing\n{\"message\":\"an alpha\"}\n\nbeta\n");
    let outcome = site.run(&["rules", "test", &rule, "--events", &events, "--output", "ndjson"]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    let findings: Vec<Value> =
        outcome.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let id = "00000000-0000-4000-8000-000000000001";
    let expected = json!({ "file": events, "line": 2, "rule_id": id, "rule_title": "Alpha", "level": "low" });
    assert_eq!(findings, [expected]);

    let folder = site.path("events").display().to_string();
    assert_eq!(site.run(&["rules", "test", &rule, "--events", &folder]).code, Some(1));
    site.write("events/one.log", "nothing\n");
    let outcome = site.run(&["rules", "test", &rule, "--events", &folder, "--output", "ndjson"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), ""), "{}", outcome.stderr);
    assert_eq!(site.run(&["rules", "test", &rule, "--events", "/nowhere"]).code, Some(2));

    // With a group: the starter rules on lines of a real attack.
    let starter = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules").display().to_string();
    let events = site.write("auth.log", &failures(0..8));
    let outcome = site.run(&["rules", "test", &starter, "--events", &events, "--output", "ndjson"]);
    let findings: Vec<Value> =
        outcome.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(findings.len(), 1, "{}", outcome.stdout);
    assert_eq!(
        (&findings[0]["line"], &findings[0]["group"]),
        (&json!(8), &json!({ "source_ip": "203.0.113.9" }))
    );
}

#[test]
fn a_rule_is_tried_over_what_is_kept() {
    let site = Site::new(BINARY);
    let webhook = Webhook::start();
    let mut up = site.up(&settings(&site, &webhook)).started();
    site.append("auth.log", failures(0..40));
    site.append("auth.log", "web1 shop[1]: nothing happened here\n");
    up.server.wait_for_total("Failed", 40, DEADLINE);
    let alert = counted(&up, 40);
    let id = alert["rule_id"].as_str().unwrap();
    // The lines are of a November that may be long ago.
    let path = format!("/api/v1/rules/{id}/backtest?from=2000-01-01T00:00:00Z&interval=1d");
    let told = up.server.get(&path);
    assert_eq!((&told["records"], &told["findings"]), (&json!(40), &json!(1)), "{told}");
    assert_eq!(told["buckets"].as_array().unwrap().len(), 1);
    assert_eq!(told["samples"][0]["group"], alert["group"]);
    assert_eq!(
        (&told["samples"][0]["count"], &told["partial"]),
        (&json!(8), &json!(false)),
        "it fires at the eighth"
    );
    let ask = |arguments: &[&str]| {
        let url = up.server.url();
        let arguments = [&["rules", "backtest", "--server", url.as_str()], arguments].concat();
        site.run(&arguments)
    };
    let outcome = ask(&[id, "--from", "2000-01-01T00:00:00Z"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.stdout.contains("source_ip=203.0.113.9"), "{}", outcome.stdout);
    assert!(outcome.stderr.contains("1 findings over 40 records"), "{}", outcome.stderr);
    let outcome = ask(&["no such rule"]);
    assert!(outcome.code != Some(0) && outcome.stderr.contains("no rule"), "{}", outcome.stderr);
    let coverage = up.server.get("/api/v1/coverage");
    let techniques = coverage["techniques"].as_array().unwrap();
    assert!(techniques.iter().any(|technique| technique["id"] == "T1110.001"), "{coverage}");
    up.stop();
}

#[test]
fn a_host_that_falls_silent_is_an_alert_that_ends_when_it_speaks_again() {
    let site = Site::new(BINARY);
    let webhook = Webhook::start();
    fs::create_dir(site.path("rules")).unwrap();
    site.write(
        "rules/quiet.yml",
        "title: Quiet\nid: quiet\nkind: flatline\nquery: beat\nflatline: { window: 3s, group_by: [host] }\n",
    );
    let settings = settings(&site, &webhook)
        + &format!("[query.alerts]\nstarter = false\nrules = [\"{}\"]\n", site.path("rules").display());
    let mut up = site.up(&settings).started();
    site.append("app.log", "beat 1\n");
    let state = |state: &str| {
        wait::until(&format!("an alert that is {state}"), DEADLINE, || {
            up.server.alerts().into_iter().find(|alert| alert["state"] == state)
        })
    };
    let alert = state("firing");
    assert_eq!((&alert["rule_id"], alert["group"].as_object().unwrap().len()), (&json!("quiet"), 1));
    site.append("app.log", "beat 2\n");
    assert_eq!(state("resolved")["id"], alert["id"]);
    up.stop();
}

#[test]
fn rules_are_explained_and_their_tests_told_as_junit() {
    let site = Site::new(BINARY);
    let starter = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules").display().to_string();
    let outcome = site.run(&["rules", "explain", &starter]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.stdout.contains("8 or more of them happen within less than 2m"), "{}", outcome.stdout);
    let report = site.path("report.xml").display().to_string();
    let outcome = site.run(&["rules", "test", &starter, "--junit", &report]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let text = fs::read_to_string(&report).unwrap();
    let cases = text.matches("<testcase").count();
    assert!(cases > 50 && text.contains("failures=\"0\"") && text.ends_with("</testsuites>\n"), "{cases}");
}

/// A line of somebody who logs in, so long ago.
fn log_in(user: &str, ago: Duration) -> String {
    let time = SystemClock.now().minus(ago).to_string();
    let line = json!({ "@timestamp": time, "message": "logs in", "user": user });
    format!("{line}\n")
}

/// What is told of a rule; `None`: it is not in use.
fn told(up: &Up<'_>, id: &str) -> Option<Value> {
    let mut told = up.server.get("/api/v1/rules");
    assert_eq!(told["errors"], json!([]));
    let rules = told["rules"].as_array_mut().unwrap();
    rules.iter_mut().find(|rule| rule["id"] == id).map(Value::take)
}

#[track_caller]
fn wait_until_handed(up: &Up<'_>, id: &str) {
    wait::until_true("the rule is handed what was there before", DEADLINE, || {
        told(up, id).is_some_and(|rule| rule["past"] == json!({ "state": "handed" }))
    });
}

/// The groups of the alerts of a rule.
fn groups(up: &Up<'_>, id: &str) -> Vec<Value> {
    let of_rule = |alert: &Value| alert["rule_id"] == id;
    up.server.alerts().into_iter().filter(of_rule).map(|mut alert| alert["group"].take()).collect()
}

#[test]
fn a_new_rule_knows_what_was_there_before_it() {
    let site = Site::new(BINARY);
    let webhook = Webhook::start();
    fs::create_dir(site.path("rules")).unwrap();
    let settings = settings(&site, &webhook)
        + &format!("[query.alerts]\nrules = [\"{}\"]\n", site.path("rules").display());
    let mut up = site.up(&settings).started();
    let days = |days: u64| Duration::from_hours(days * 24);
    site.append("app.log", log_in("ann", days(3)) + &log_in("bob", days(2)) + &log_in("old", days(9)));
    up.server.wait_for_total("logs in", 3, DEADLINE);

    let rule = "title: New user\nid: new_user\nkind: new_term\nquery: 'logs in'\n\
                new_term: { fields: [user], history: 7d }\n";
    site.write("rules/new.yml", rule);
    wait_until_handed(&up, "new_user");
    let handed = |up: &mut Up<'_>| {
        let log = up.process().log();
        log.lines().filter(|line| line.contains("is handed its history") && line.contains("new_user")).count()
    };
    assert_eq!(handed(&mut up), 1);
    // What happens in a moment is told in the order in which it is written: after that of the last, there is none of the first.
    site.append("app.log", log_in("ann", Duration::ZERO) + &log_in("bob", Duration::ZERO));
    site.append("app.log", log_in("eve", Duration::ZERO) + &log_in("old", Duration::ZERO));
    let found = wait::until("two alerts", DEADLINE, || {
        let found = groups(&up, "new_user");
        (found.len() >= 2).then(|| found.iter().map(Value::to_string).collect::<BTreeSet<_>>())
    });
    assert_eq!(found, [r#"{"user":"eve"}"#, r#"{"user":"old"}"#].map(str::to_owned).into());

    // What it did is counted; of rules that nothing matches there is no series.
    wait::until_true("it is counted", DEADLINE, || {
        let activity = told(&up, "new_user").unwrap()["activity"].take();
        activity["matches"] == 4 && activity["findings"] == 2 && activity["evicted"] == 0
    });
    let of = |id: &str| up.server.metric(&format!("millrace_query_rule_matches_total{{rule=\"{id}\"}}"));
    assert_eq!((of("new_user"), of("609d4bce-799b-4177-ac64-cef1f195ceaf")), (Some(4.0), None));
    for lag in ["millrace_query_rules_lag_messages", "millrace_query_rules_lag_seconds"] {
        wait::until_true("rules have seen all", DEADLINE, || up.server.metric(lag) == Some(0.0));
    }

    // It is handed over once: that is durable.
    up.kill();
    up.start();
    wait_until_handed(&up, "new_user");
    site.append("app.log", log_in("bob", Duration::ZERO) + &log_in("joe", Duration::ZERO));
    wait::until_true("one more alert", DEADLINE, || groups(&up, "new_user").len() == 3);
    assert!(groups(&up, "new_user").contains(&json!({ "user": "joe" })));
    assert!(handed(&mut up) <= 1, "{}", up.process().log());
    up.stop();
}

#[test]
fn a_new_baseline_knows_what_is_usual() {
    let site = Site::new(BINARY);
    let webhook = Webhook::start();
    fs::create_dir(site.path("rules")).unwrap();
    let settings = settings(&site, &webhook)
        + &format!("[query.alerts]\nstarter = false\nrules = [\"{}\"]\n", site.path("rules").display());
    let mut up = site.up(&settings).started();
    // Four or five lines in every five seconds of ten minutes.
    let ago = |number: u64| Duration::from_millis(600_000 - number * 1_100);
    let usual: String = (0..545).map(|number| log_in("ann", ago(number))).collect();
    site.append("app.log", usual);
    up.server.wait_for_total("logs in", 545, DEADLINE);
    let rule = |id: &str, more: &str| {
        format!(
            "title: {id}\nid: {id}\nkind: baseline\nquery: 'logs in'\n{more}\
             baseline: {{ interval: 5s, direction: up, group_by: [user] }}\n"
        )
    };
    // One counts where the records lie; the other has to look into each.
    let patterns = "extract: '(?P<what>logs)'\n";
    site.write("rules/counted.yml", &rule("counted", ""));
    site.write("rules/walked.yml", &rule("walked", patterns));
    for id in ["counted", "walked"] {
        wait_until_handed(&up, id);
    }
    site.append("app.log", log_in("ann", Duration::ZERO).repeat(300));
    for id in ["counted", "walked"] {
        wait::until_true("an alert", DEADLINE, || groups(&up, id) == [json!({ "user": "ann" })]);
    }
    let value = |id: &str| {
        let alerts = up.server.alerts();
        let alert = alerts.iter().find(|alert| alert["rule_id"] == id).unwrap();
        (alert["value"].clone(), alert["count"].clone())
    };
    assert_eq!(value("counted"), value("walked"), "both were handed the same");
    // Records that nobody has yet timed have no time; of these some have.
    wait::until_true("what it took is told", DEADLINE, || {
        told(&up, "counted").unwrap()["activity"]["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0)
    });
    up.stop();
}
