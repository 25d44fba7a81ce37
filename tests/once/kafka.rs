//! Over a real Kafka, whose topics are changed behind our back.

use super::{BINARY, DEADLINE, holes, next_offsets};
use millrace_test_support::{Cluster, Plan, Site, foreign::foreign, kafka, process::Outcome, wait};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// So many numbered lines.
fn lines(what: &str, count: usize) -> String {
    let lines: Vec<String> = (0..count).map(|number| format!("{what} line {number}\n")).collect();
    lines.concat()
}

fn audit(site: &Site, cluster: &Cluster<'_>) -> Outcome {
    site.run(&["audit", "--verify", "--server", &cluster.server.url()])
}

/// The ends of all partitions.
fn ends(broker: &str, topic: &str) -> Vec<i64> {
    foreign(broker, &["ends", topic], "").iter().map(|one| one["end"].as_i64().unwrap()).collect()
}

fn catalogue(cluster: &Cluster<'_>) -> Value {
    cluster.server.get("/api/v1/catalogue")
}

#[test]
fn what_the_topic_removed_unread_is_in_the_audit() {
    let broker = &kafka::shared().bootstrap;
    let site = Site::new(BINARY);
    let mut cluster = Cluster::new(&site, Plan { indexers: 1, ..Plan::new(broker, "removed") });
    cluster.start();
    site.append("app.log", lines("before", 100));
    cluster.server.wait_for_total("line", 100, DEADLINE);
    cluster.assert_audit_is_complete(100);
    cluster.indexers[0].stop();
    let stood = next_offsets(&catalogue(&cluster));
    site.append("app.log", lines("meanwhile", 50));
    wait::until_true("it is in the topic", DEADLINE, || {
        cluster.agent.metric("millrace_agent_shipped_records_total") >= 150.0
    });
    let end = ends(broker, "removed");
    let partition = (0..4).find(|nth| end[*nth] > stood[*nth]).unwrap();
    let (from, to) = (stood[partition], end[partition]);
    foreign(broker, &["remove", "removed", &partition.to_string(), &to.to_string()], "");
    cluster.indexers[0].start();
    site.append("app.log", lines("after", 10));
    // What is there is found, and is no partial answer.
    cluster.server.wait_for_total("line", 110, DEADLINE);
    assert_eq!(cluster.server.whole_total("meanwhile"), Some(0));
    let removed = cluster.indexers[0].metric("millrace_indexer_removed_messages_total");
    assert_eq!(removed as i64, to - from);
    let told = |cluster: &Cluster<'_>| {
        let answer = wait::until("all that is left is published", DEADLINE, || {
            Some(cluster.server.get("/api/v1/audit")).filter(|answer| answer["records"] == json!(110))
        });
        assert_eq!(answer["complete"], json!(false));
        assert_eq!(holes(&answer), [("removed", partition as i64, from, to)]);
        let outcome = audit(&site, cluster);
        assert_eq!(outcome.code, Some(1), "{}{}", outcome.stdout, outcome.stderr);
        let line = format!(
            "removed          partition {partition} of removed: offsets {from} to {to}, {} messages",
            to - from
        );
        assert!(outcome.stdout.contains(&line), "{line} in {}", outcome.stdout);
        assert!(outcome.stderr.contains("NOT complete"), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("\nverified: "), "the trail has it too: {}", outcome.stderr);
        // What of the agent's file is not there is told as well.
        assert!(outcome.stdout.contains("    missing "), "{}", outcome.stdout);
    };
    told(&cluster);
    // It stays, whoever reads on.
    cluster.indexers[0].stop();
    cluster.indexers[0].start();
    cluster.wait_until_ready();
    cluster.server.wait_for_total("line", 110, DEADLINE);
    told(&cluster);
}

/// The partitions that an answer names as missing.
fn missing(cluster: &Cluster<'_>) -> BTreeSet<i64> {
    let answer = cluster.server.search(&json!({ "q": "*", "limit": 0 }));
    let missing = answer["missing"].as_array().unwrap();
    missing.iter().filter_map(|one| one["partition"].as_i64()).collect()
}

#[test]
fn partitions_that_are_added_are_read_and_known_and_move_nothing() {
    let broker = &kafka::shared().bootstrap;
    let site = Site::new(BINARY);
    let mut cluster = Cluster::new(&site, Plan::new(broker, "raised"));
    cluster.start();
    site.append("app.log", lines("before", 100));
    cluster.server.wait_for_total("line", 100, DEADLINE);
    cluster.assert_audit_is_complete(100);
    let places = || {
        let answer = cluster.server.get("/api/v1/audit");
        let sources = answer["sources"].as_array().unwrap().clone();
        sources.iter().map(|source| source["partition"].as_i64().unwrap()).collect::<BTreeSet<_>>()
    };
    let place = places();

    // While everybody reads and writes.
    foreign(broker, &["extend", "raised", "6"], "");
    for partition in ["4", "5"] {
        let line = json!({ "body": "by another maker", "resource": { "host.name": "elsewhere" } });
        foreign(broker, &["produce", "raised", partition], &format!("{line}\n"));
    }
    site.append("app.log", lines("after", 100));
    cluster.server.wait_for_total("maker", 2, DEADLINE);
    cluster.server.wait_for_total("line", 200, DEADLINE);
    cluster.assert_audit_is_complete(200);
    assert_eq!(places(), place, "a source keeps its partition");
    assert_eq!(next_offsets(&catalogue(&cluster))[4..], [1, 1]);
    assert_eq!(missing(&cluster), BTreeSet::new());

    // While nobody reads: answers name a partition that nobody has ever had.
    for indexer in &mut cluster.indexers {
        indexer.stop();
    }
    foreign(broker, &["extend", "raised", "7"], "");
    foreign(broker, &["produce", "raised", "6"], "{\"body\": \"by another maker\"}\n");
    wait::until_true("the new partition is missed", DEADLINE, || missing(&cluster).contains(&6));
    for indexer in &mut cluster.indexers {
        indexer.start();
    }
    cluster.server.wait_for_total("maker", 3, DEADLINE);
    assert_eq!(missing(&cluster), BTreeSet::new());
}

#[test]
fn a_topic_made_anew_goes_on_and_loses_nothing_that_was_published() {
    let broker = &kafka::shared().bootstrap;
    let site = Site::new(BINARY);
    let mut cluster = Cluster::new(&site, Plan::new(broker, "anew"));
    cluster.start();
    for round in 0..5 {
        site.append("app.log", lines("before", 20));
        cluster.server.wait_for_total("before", (round + 1) * 20, DEADLINE);
    }
    cluster.assert_audit_is_complete(100);
    cluster.agent.stop();
    foreign(broker, &["delete", "anew"], "");
    // Whoever comes first makes it again; the indexers have been reading all the time.
    cluster.agent.start();
    site.append("app.log", lines("after", 50));
    cluster.server.wait_for_total("line", 150, DEADLINE);
    cluster.assert_audit_is_complete(150);
    let answer = cluster.server.get("/api/v1/audit");
    assert_eq!(holes(&answer), [], "all of the old topic had been read");
    let next = next_offsets(&catalogue(&cluster));
    assert_eq!(next, ends(broker, "anew"), "offsets are those of the new one");
    for indexer in &mut cluster.indexers {
        indexer.kill();
        indexer.start();
    }
    cluster.server.wait_for_total("line", 150, DEADLINE);
    cluster.assert_audit_is_complete(150);
}
