//! Many nodes that share a topic: whom they believe, and how partitions pass from one to another.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use millrace_test_support::{
    Cluster, Plan, SECRET_FILE, Site, http,
    kafka::{self, Broker},
    wait,
};
use serde_json::{Value, json};
use std::{fs, time::Duration};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
/// Far more than anything here takes, on a busy machine.
const DEADLINE: Duration = Duration::from_mins(2);

fn plan<'a>(broker: &'a Broker, topic: &'a str) -> Plan<'a> {
    Plan {
        broker: &broker.bootstrap,
        topic,
        name: "data",
        indexers: 2,
        seal_age: "1h",
        storage: "",
        catalogue: "",
    }
}

/// The partitions that an answer names as missing.
fn partitions(answer: &Value) -> Vec<i64> {
    let missing = answer["missing"].as_array().unwrap();
    let mut partitions: Vec<i64> = missing.iter().filter_map(|one| one["partition"].as_i64()).collect();
    partitions.sort_unstable();
    partitions.dedup();
    partitions
}

#[test]
fn a_node_with_another_secret_is_shown_nothing_and_says_so() {
    let broker = kafka::shared();
    let site = Site::new(BINARY);
    let mut cluster = Cluster::new(&site, Plan { indexers: 1, ..plan(broker, "secret") });
    cluster.start();
    site.append("app.log", "in memory only\n");
    cluster.server.wait_for_total("memory", 1, DEADLINE);

    // Nobody is shown rows without a proof, whatever is asked.
    let indexer = cluster.indexers[0].address.clone();
    let refused = http::post(&indexer, "/leaf/search", "{}").unwrap();
    assert_eq!(refused.status, 401, "{}", refused.text());
    assert_eq!(
        cluster.indexers[0].metric("millrace_indexer_refused_leaf_requests_total{reason=\"missing\"}"),
        1.0
    );

    let right = fs::read_to_string(site.path(SECRET_FILE)).unwrap();
    cluster.query.stop();
    site.write(SECRET_FILE, "the secret of another cluster\n");
    cluster.query.start();
    // Before anybody has searched.
    wait::until_true("the query node says that it is not believed", DEADLINE, || {
        let answer = http::get(&cluster.server.address, "/readyz").unwrap();
        answer.status == 503 && answer.text().contains("[cluster] secret")
    });
    let answer = cluster.server.search(&json!({ "q": "memory" }));
    assert_eq!((&answer["total"], &answer["partial"]), (&json!(0), &json!(true)), "{answer}");
    assert!(answer["missing"].to_string().contains("does not believe this node"), "{answer}");
    assert_eq!(partitions(&answer), [0, 1, 2, 3], "{answer}");
    let failures = "millrace_query_leaf_failures_total{reason=\"disbelieved\"}";
    assert!(cluster.query.metric(failures) >= 1.0);
    let wrong = "millrace_indexer_refused_leaf_requests_total{reason=\"wrong\"}";
    assert!(cluster.indexers[0].metric(wrong) >= 1.0);
    let told = |log: &str| fs::read_to_string(site.path(log)).unwrap().matches("is refused").count();
    assert_eq!(told("data-indexer-1.log"), 1, "strangers are told of now and then, not each time");

    cluster.query.stop();
    site.write(SECRET_FILE, &right);
    cluster.query.start();
    cluster.wait_until_ready();
    cluster.server.wait_for_total("memory", 1, DEADLINE);
    for log in ["data-indexer-1.log", "data-query.log"] {
        let log = fs::read_to_string(site.path(log)).unwrap();
        assert!(!log.contains(right.trim()) && !log.contains("of another cluster"), "a secret in the log");
    }
}
