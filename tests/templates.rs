//! What hits say of the template of their line: the same on every site, however many indexers there are and whichever of
//! them learned it, and again when all of the topic is read anew.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_model::{LogRecord, Value};
use millrace_store::{TemplateId, Templates};
use millrace_test_support::{
    Cluster, Plan, Role, Server, Site,
    kafka::{self, Broker},
    wait,
};
use serde_json::json;
use std::{collections::BTreeMap, time::Duration};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
/// Everything takes moments, but on a busy machine.
const DEADLINE: Duration = Duration::from_mins(2);
/// Agents that are started until every indexer has rows: each one's go to one of four partitions.
const MAX_AGENTS: usize = 40;

const NAMES: [&str; 12] =
    ["ann", "bob", "cid", "dan", "eve", "fay", "gus", "hal", "ida", "joe", "kim", "lee"];

fn plan<'a>(broker: &'a Broker, topic: &'a str, indexers: usize) -> Plan<'a> {
    Plan { name: topic, indexers, seal_age: "500ms", ..Plan::new(&broker.bootstrap, topic) }
}

/// Lines whose masks become one, lines whose masks do not, one that is cut in lists and one that is not cut at all.
fn lines() -> Vec<String> {
    let mut lines = Vec::new();
    for (nth, name) in NAMES.iter().enumerate() {
        lines.push(format!("session opened for user {name} by uid=0"));
        lines.push(format!("{{\"event\":\"login\",\"user\":\"{name}\",\"attempt\":{nth}}}"));
        lines.push(format!("request {nth} took 17 ms"));
    }
    lines.push("the door was opened".to_owned());
    lines.push("the door was closed".to_owned());
    lines.push("a long line ".repeat(1000));
    lines.push("1 ".repeat(300));
    lines
}

/// The template of a line where no merge applies.
fn unmerged(line: &str) -> String {
    let record = LogRecord { body: Value::from(line), ..LogRecord::default() };
    Templates::new().namer().name(&record).unwrap().to_string()
}

/// Waits until all is published, then gives the template of each line, by what is shown of it.
fn templates(server: &Server, records: u64) -> BTreeMap<String, String> {
    server.wait_for_total("*", records, DEADLINE);
    wait::until_true("everything is published", DEADLINE, || {
        server.get("/api/v1/audit")["records"] == json!(records)
    });
    let mut templates = BTreeMap::new();
    server.each_hit("*", |hit| {
        let line = hit["body"].as_str().unwrap().to_owned();
        let template = hit["_template"].as_str().unwrap_or_else(|| panic!("no template in {hit}")).to_owned();
        let first = templates.entry(line).or_insert_with(|| template.clone());
        assert_eq!(*first, template, "{hit}");
    });
    templates
}

#[test]
fn a_line_has_one_template_whoever_took_it_in_and_how_often() {
    let broker = kafka::shared();
    let site = Site::new(BINARY);
    site.append("app.log", format!("{}\n", lines().join("\n")));
    let count = lines().len() as u64;

    let mut cluster = Cluster::new(&site, plan(broker, "one", 1));
    cluster.start();
    let of_one = templates(&cluster.server, count);
    assert_right(&cluster, &of_one);
    drop(cluster);

    let site = Site::new(BINARY);
    site.append("app.log", format!("{}\n", lines().join("\n")));
    let plan = plan(broker, "three", 3);
    let mut cluster = Cluster::new(&site, plan);
    cluster.start();
    let mut agents = Vec::new();
    let records = |agents: &Vec<_>| (agents.len() as u64 + 1) * count;
    cluster.server.wait_for_total("*", records(&agents), DEADLINE);
    while cluster.indexers.iter().any(|indexer| indexer.metric("millrace_indexer_records_total") == 0.0) {
        assert!(agents.len() < MAX_AGENTS, "an indexer has no rows");
        let mut agent = Role::agent(&site, plan, &format!("agent-{}", agents.len()), "*");
        agent.start();
        agents.push(agent);
        cluster.server.wait_for_total("*", records(&agents), DEADLINE);
    }
    let of_three = templates(&cluster.server, records(&agents));
    assert_eq!(of_one, of_three);
    let records = records(&agents);
    drop(agents);
    for indexer in &mut cluster.indexers {
        indexer.stop();
    }
    drop(cluster);

    // The same topic, read from its beginning by one that knows nothing.
    let mut replayed = Cluster::new(&site, Plan { name: "replayed", indexers: 1, ..plan });
    replayed.indexers[0].start();
    replayed.query.start();
    assert_eq!(of_one, templates(&replayed.server, records));
}

/// Checks templates against what the lines' masks say.
fn assert_right(cluster: &Cluster<'_>, templates: &BTreeMap<String, String>) {
    let merged = TemplateId::of(b"session opened for user \0 by uid=\0").to_string();
    for line in lines() {
        if let Some(template) = templates.get(&line) {
            if line.starts_with("session") {
                assert_eq!(*template, merged, "{line}");
            } else if !line.starts_with('{') {
                assert_eq!(*template, unmerged(&line), "{line}");
            }
        }
    }
    let logins = templates.iter().filter(|(line, _)| line.starts_with('{'));
    let logins: Vec<_> = logins.map(|(_, template)| template).collect();
    assert!(logins.len() == NAMES.len() && logins.iter().all(|login| **login == *logins[0]), "{logins:?}");

    // A list shows a part of it, and the template of all of it.
    let long = cluster.server.hits("\"a long line\"").remove(0);
    assert!(long["body_truncated_bytes"].as_u64() > Some(0), "{long}");
    assert_eq!(long["_template"], unmerged(&"a long line ".repeat(1000)));
    let whole = cluster.server.get(&format!("/api/v1/records/{}", long["_id"].as_str().unwrap()));
    assert_eq!(whole["_template"], long["_template"]);

    let whole = || cluster.indexers[0].metric("millrace_indexer_whole_records_total") as u64;
    wait::until_true("the line that is not cut is counted, and the long one", DEADLINE, || whole() >= 2);
    assert_eq!(whole(), 2);
}
