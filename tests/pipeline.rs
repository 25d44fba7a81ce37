//! Where lines wait on their way: in one process with an embedded topic, and over Kafka while nobody takes anything in.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_test_support::{Cluster, Plan, Server, Site, kafka, wait};
use serde_json::{Value, json};
use std::time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const DEADLINE: Duration = Duration::from_mins(2);

fn lines(numbers: std::ops::Range<u32>) -> String {
    let line = |n: u32| format!("line {n}\n");
    numbers.map(line).collect()
}

fn hop(pipeline: &Value, name: &str) -> Value {
    let hops = pipeline["hops"].as_array().unwrap();
    hops.iter().find(|hop| hop["hop"] == name).unwrap().clone()
}

/// Waits until the pipeline is so.
#[track_caller]
fn until(server: &Server, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    wait::until(what, DEADLINE, || Some(server.get("/api/v1/pipeline")).filter(|pipeline| is(pipeline)))
}

fn sum(pipeline: &Value, place: &str, what: &str) -> u64 {
    let each = pipeline["partitions"].as_array().unwrap().iter();
    each.map(|partition| partition[place][what].as_u64().unwrap_or(0)).sum()
}

#[test]
fn what_is_a_hit_waits_in_memory_until_it_is_published() {
    let site = Site::new(BINARY);
    let logs = site.path("logs").display().to_string();
    let up = site
        .up(&format!(
            "[indexer]\nseal_age = \"10m\"\n[agent.sources.app]\ntype = \"file\"\ninclude = [\"{logs}/*.log\"]\n"
        ))
        .started();
    site.append("app.log", lines(0..700));
    up.server.wait_for_total("line", 700, DEADLINE);
    let waiting = until(&up.server, "all of it is taken in", |pipeline| {
        hop(pipeline, "memory")["records"] == 700 && pipeline["agents"]["up"] == 1
    });
    let names: Vec<&Value> = waiting["hops"].as_array().unwrap().iter().map(|hop| &hop["hop"]).collect();
    assert_eq!(names, ["agents", "topic", "memory", "detection"]);
    assert_eq!((&waiting["partial"], &waiting["missing"]), (&json!(false), &json!([])), "{waiting:#}");
    assert_eq!(
        hop(&waiting, "topic"),
        json!({
            "hop": "topic", "messages": 0, "records": null, "bytes": null, "seconds": 0.0
        })
    );
    let memory = hop(&waiting, "memory");
    assert_eq!(memory["messages"], sum(&waiting, "memory_waits", "messages"));
    assert_eq!(sum(&waiting, "memory_waits", "records"), 700);
    assert!(
        memory["messages"].as_u64().unwrap() > 0 && memory["seconds"].as_f64().unwrap() > 0.0,
        "{memory}"
    );
    assert_eq!(waiting["published"]["records"], 0);
    for partition in waiting["partitions"].as_array().unwrap() {
        assert_eq!(
            (&partition["held"], &partition["taken"]),
            (&json!(true), &partition["end"]),
            "{partition}"
        );
    }
    assert_eq!(waiting["agents"], json!({ "up": 1, "troubled": 0, "stopped": 0, "away": 0 }));
    assert_eq!(waiting["dead_letters"], json!({ "looked_at": 0, "waiting": 0, "reasons": {} }));

    // An audit has it published.
    up.server.get("/api/v1/audit");
    let published =
        until(&up.server, "all of it is published", |pipeline| hop(pipeline, "memory")["messages"] == 0);
    assert_eq!(hop(&published, "memory")["seconds"], 0.0);
    assert_eq!(published["published"]["records"], 700);
    assert_eq!(published["published"]["shards"].as_u64().map(|shards| shards > 0), Some(true));
    until(&up.server, "rules have been through it", |pipeline| hop(pipeline, "detection")["messages"] == 0);
}

#[test]
fn over_kafka_what_nobody_takes_in_waits_in_the_topic() {
    let broker = kafka::shared();
    let site = Site::new(BINARY);
    let mut cluster = Cluster::new(&site, Plan::new(&broker.bootstrap, "pipeline"));
    cluster.start();
    site.append("app.log", lines(0..300));
    cluster.server.wait_for_total("line", 300, DEADLINE);
    let calm = until(&cluster.server, "all of it is published", |pipeline| {
        let waiting = |name| hop(pipeline, name)["messages"] != 0;
        pipeline["published"]["records"] == 300
            && pipeline["partial"] == false
            && !waiting("topic")
            && !waiting("memory")
    });
    let owners = |pipeline: &Value| {
        let each = pipeline["partitions"].as_array().unwrap().iter();
        each.map(|partition| partition["owner"].as_str().unwrap().to_owned())
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(owners(&calm).len(), 2, "{calm:#}");

    for indexer in &mut cluster.indexers {
        indexer.kill();
    }
    site.append("app.log", lines(300..400));
    let behind = until(&cluster.server, "it waits in the topic", |pipeline| {
        hop(pipeline, "topic")["messages"].as_u64().is_some_and(|messages| messages > 0)
            && pipeline["partitions"].as_array().unwrap().iter().all(|partition| partition["held"] == false)
    });
    assert_eq!(behind["partial"], true);
    let missing = behind["missing"].to_string();
    assert!(missing.contains("waits in the topic") && missing.contains("\"partition\":0"), "{missing}");
    assert!(hop(&behind, "topic")["seconds"].as_f64().unwrap() > 0.0, "{behind:#}");
    assert_eq!(hop(&behind, "memory")["messages"], Value::Null, "nobody knows");

    for indexer in &mut cluster.indexers {
        indexer.start();
    }
    cluster.server.wait_for_total("line", 400, DEADLINE);
    let again = until(&cluster.server, "all of it is published", |pipeline| {
        pipeline["published"]["records"] == 400 && pipeline["partial"] == false
    });
    assert_eq!(hop(&again, "topic")["messages"], 0);
}
