//! What follows from verdicts, from outside: how the rule should be turned, and copies for others in a topic.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_model::{Partition, SystemClock};
use millrace_test_support::{Cluster, Plan, Site, http, kafka, wait};
use millrace_transport::{KafkaSettings, Metrics, Topic, TopicSettings};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const DEADLINE: Duration = Duration::from_mins(2);

const RULE: &str = "title: Guessing\nid: guessing\nkind: threshold\nlevel: high\nquery: '\"failed for\"'\n\
                    extract: 'from (?P<ip>\\S+)'\nthreshold:\n  window: 2m\n  count: 5\n  group_by: [ip]\n";

#[test]
fn a_rule_is_turned_as_little_as_silences_what_was_false() {
    let site = Site::new(BINARY);
    let path = site.write("rule.yml", RULE);
    let settings = format!(
        "[agent.sources.app]\ntype = \"file\"\ninclude = [\"{}/*\"]\n[query.alerts]\nstarter = false\nrules = [\"{path}\"]\n",
        site.path("logs").display()
    );
    let mut up = site.up(&settings).started();
    let burst = |ip: &str, lines: u32| {
        let line = |number| format!("web1 sshd[{number}]: failed for ann from {ip}\n");
        (0..lines).map(line).collect::<String>()
    };
    site.append("auth.log", burst("10.0.0.1", 9) + &burst("203.0.113.9", 30) + &burst("10.0.0.2", 7));
    let alerts = wait::until("three alerts, of all lines", DEADLINE, || {
        let alerts = up.server.alerts();
        let counted: u64 = alerts.iter().map(|alert| alert["count"].as_u64().unwrap()).sum();
        (alerts.len() == 3 && counted == 46).then_some(alerts)
    });
    up.server.wait_for_total("failed", 46, DEADLINE);
    let none = up.server.get("/api/v1/rules/guessing/proposals?from=1h");
    assert_eq!(
        (&none["false_positives"], &none["proposals"][0]["proposal"]),
        (&json!(0), &Value::Null),
        "{none}"
    );
    for alert in &alerts {
        let is_true = alert["group"]["ip"] == "203.0.113.9";
        let verdict = if is_true { "true_positive" } else { "false_positive" };
        let path = format!("/api/v1/alerts/{}/verdict", alert["id"].as_str().unwrap());
        let answer =
            http::post(&up.server.address, &path, &json!({ "verdict": verdict }).to_string()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let told = up.server.get("/api/v1/rules/guessing/proposals?from=1h");
    let one = &told["proposals"][0];
    assert_eq!(
        (&one["key"], &one["file"], &one["line"]),
        (&json!("threshold.count"), &json!(path), &json!(9)),
        "{told}"
    );
    let proposal = &one["proposal"];
    assert_eq!((&proposal["from"], &proposal["to"]), (&json!("5"), &json!("10")), "{told}");
    assert_eq!((&proposal["findings_before"], &proposal["findings_after"]), (&json!(3), &json!(1)));
    assert_eq!(proposal["silenced"].as_array().unwrap().len(), 2);
    let precision = |which: &str| proposal[which]["precision"].as_f64().unwrap();
    assert!(precision("precision_after") > precision("precision_before"), "{told}");
    assert_eq!((&told["partial"], &told["true_positives"]), (&json!(false), &json!(1)));
    assert_eq!(up.server.get("/api/v1/rules")["rules"][0]["count"], json!(5), "nothing is changed by itself");

    site.write("rule.yml", &RULE.replace("count: 5", "count: 10"));
    wait::until_true("the file is read again", DEADLINE, || {
        up.server.get("/api/v1/rules")["rules"][0]["count"] == json!(10)
    });
    let tried = up.server.get("/api/v1/rules/guessing/backtest?from=1h");
    assert_eq!((&tried["findings"], &tried["samples"][0]["group"]["ip"]), (&json!(1), &json!("203.0.113.9")));
    up.stop();
}

#[test]
fn a_verdict_is_copied_to_its_topic_and_its_end_as_well() {
    let broker = kafka::shared();
    let site = Site::new(BINARY);
    let mut cluster = Cluster::new(&site, Plan { indexers: 1, ..Plan::new(&broker.bootstrap, "marked") });
    cluster.start();
    let line = |number| {
        format!(
            "Nov 23 10:00:00 web1 sshd[{number}]: Failed password for root from 203.0.113.9 port {number} ssh2\n"
        )
    };
    site.append("auth.log", (0..20).map(line).collect::<String>());
    let alert = wait::until("an alert", DEADLINE, || cluster.server.alerts().pop());
    let id = alert["id"].as_str().unwrap();
    let path = format!("/api/v1/alerts/{id}/verdict");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let messages = || {
        runtime.block_on(async {
            let settings = KafkaSettings::new(vec![broker.bootstrap.clone()], "marked");
            let clock = Arc::new(SystemClock);
            let topic =
                Topic::open(&TopicSettings::Kafka(settings), clock, &Metrics::default()).await.unwrap();
            let verdicts = topic.verdicts().await.unwrap().unwrap();
            let page = verdicts.page(Partition(0), 0, 100).await.unwrap();
            page.messages.into_iter().filter(|message| !message.key.is_empty()).collect::<Vec<_>>()
        })
    };
    let given =
        http::post(&cluster.server.address, &path, r#"{"verdict":"benign","reason":"a drill"}"#).unwrap();
    assert_eq!(given.status, 200, "{}", given.text());
    let one = wait::until("the copy", DEADLINE, || messages().pop());
    assert_eq!(one.key, id.as_bytes());
    let told: Value = serde_json::from_slice(&one.value).unwrap();
    assert_eq!((&told["verdict"], &told["reason"]), (&json!("benign"), &json!("a drill")), "{told}");

    let taken = http::send(&cluster.server.address, "DELETE", &path, &[], "").unwrap();
    assert_eq!(taken.status, 200, "{}", taken.text());
    let both = wait::until("its end", DEADLINE, || Some(messages()).filter(|messages| messages.len() == 2));
    assert!(both[1].value.is_empty() && both[1].key == one.key);
    cluster.query.stop();
}
