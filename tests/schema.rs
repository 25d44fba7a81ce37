//! Declared fields, from outside, over `millrace up`: coerced, counted, searched alike in memory and in shards, under the
//! declarations that held when a record was taken in.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_test_support::{Site, Up, wait};
use serde_json::{Value, json};
use std::time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const DEADLINE: Duration = Duration::from_mins(1);
const TYPES: &str = "status = \"number\"\nclient_ip = \"ip\"\nuser = \"keyword\"\nnote = \"text\"\n";

fn settings(site: &Site, seal_age: &str, stream: &str) -> String {
    let logs = site.path("logs");
    format!(
        "[agent.sources.app]\ntype = \"file\"\ninclude = [\"{}/*.log\"]\nstream = \"web\"\n\
         [indexer]\nseal_age = \"{seal_age}\"\nmerge = false\n[streams.web]\n{stream}\n",
        logs.display()
    )
}

fn typed(site: &Site, seal_age: &str) -> String {
    settings(site, seal_age, &format!("[streams.web.fields]\n{TYPES}"))
}

/// Three records, each of other types than the other two.
const LINES: [&str; 3] = [
    r#"{"n":1,"status":"503","client_ip":"::ffff:10.1.2.3","user":42,"note":"Gateway timeout after 3 tries"}"#,
    r#"{"n":2,"status":200,"client_ip":"2001:0DB8:0:0::1","user":"Ann","note":"ok"}"#,
    r#"{"n":3,"status":"n/a","client_ip":"-","user":true,"note":7,"other":"200"}"#,
];

/// Which of them a query finds.
const ANSWERS: &[(&str, &[u64])] = &[
    ("status:>=500", &[1]),
    ("status:503.0", &[1]),
    ("status:[100 TO 300]", &[2]),
    ("status:\"n/a\"", &[3]),
    ("status:*", &[1, 2, 3]),
    ("client_ip:10.0.0.0/8", &[1]),
    ("client_ip:10.1.2.3", &[1]),
    ("client_ip:\"2001:db8::1\"", &[2]),
    ("client_ip:\"2001:0db8::0001\"", &[2]),
    ("client_ip:\"-\"", &[3]),
    ("user:42", &[1]),
    ("user:42.0", &[]),
    ("user:ann", &[2]),
    ("user:true", &[3]),
    ("note:timeout", &[1]),
    ("note:\"gateway timeout\"", &[1]),
    ("note:\"timeout gateway\"", &[]),
    ("note:gate", &[]),
    ("note:gate*", &[1]),
    ("note:7", &[3]),
    ("NOT note:timeout", &[2, 3]),
    ("other:200", &[3]),
    ("other:200.0", &[]),
    ("timeout", &[1]),
];

fn found(up: &Up<'_>, query: &str) -> Vec<u64> {
    let mut found: Vec<u64> =
        up.server.hits(query).iter().map(|hit| hit["attributes"]["n"].as_u64().unwrap()).collect();
    found.sort_unstable();
    found
}

#[track_caller]
fn assert_answers(up: &Up<'_>, answers: &[(&str, &[u64])]) {
    for (query, expected) in answers {
        assert_eq!(found(up, query), *expected, "{query}");
    }
}

fn append(site: &Site, lines: &[&str]) {
    site.append("app.log", format!("{}\n", lines.join("\n")));
}

/// What is said of the fields of the stream, once so many records are published.
fn fields(up: &Up<'_>, records: u64) -> Value {
    wait::until("it is published", DEADLINE, || {
        let streams = up.server.get("/api/v1/streams");
        let web = streams["streams"].as_array()?.iter().find(|stream| stream["name"] == "web")?.clone();
        (web["records"] == json!(records)).then(|| web["fields"].clone())
    })
}

#[test]
fn declared_fields_are_coerced_and_counted_and_searched_alike_in_memory_and_in_shards() {
    let site = Site::new(BINARY);
    let mut up = site.up(&typed(&site, "1h")).started();
    append(&site, &LINES);
    up.server.wait_for_total("*", 3, DEADLINE);
    assert_answers(&up, ANSWERS);
    let hits = up.server.hits("status:503");
    assert_eq!(hits[0]["body"], LINES[0], "the line stays as it came");
    let attributes = &hits[0]["attributes"];
    let expected = json!({ "n": 1, "status": 503, "client_ip": "10.1.2.3", "user": "42", "note": "Gateway timeout after 3 tries" });
    assert_eq!(attributes, &expected);
    assert_eq!(up.server.metric("millrace_indexer_type_conflicts_total"), Some(2.0));
    let ids: Vec<Value> = up.server.hits("*").into_iter().map(|hit| hit["_id"].clone()).collect();

    // Ending publishes: the same records lie in a shard from here on.
    up.stop();
    up.start();
    assert_eq!(up.server.metric("millrace_indexer_hot_rows"), Some(0.0));
    assert_answers(&up, ANSWERS);
    assert_eq!(&up.server.hits("status:503")[0]["attributes"], &expected);
    let same: Vec<Value> = up.server.hits("*").into_iter().map(|hit| hit["_id"].clone()).collect();
    assert_eq!(same, ids);
    let fields = fields(&up, 3);
    assert_eq!(fields["conflicts"], json!({ "status": 1, "client_ip": 1 }));
    assert_eq!(fields["declared"][0]["types"]["client_ip"], "ip");
    let listed = up.run(&["streams", "list"]);
    assert!(listed.stdout.contains("client_ip 1, status 1"), "{}", listed.stdout);
    up.stop();
}

#[test]
fn a_change_of_declarations_acts_on_new_records_alone() {
    let site = Site::new(BINARY);
    let mut up = site.up(&settings(&site, "200ms", "")).started();
    append(&site, &[r#"{"n":1,"status":"503","client_ip":"::ffff:10.1.2.3","note":"gateway timeout"}"#]);
    let before = fields(&up, 1);
    assert_eq!(
        before["declared"],
        json!([{ "version": before["declared"][0]["version"], "types": {}, "shards": 1 }])
    );
    up.stop();

    let mut up = site.up(&typed(&site, "200ms")).started();
    append(&site, &[r#"{"n":2,"status":"503","client_ip":"::ffff:10.1.2.3","note":"gateway timeout"}"#]);
    let after = fields(&up, 2);
    let versions: Vec<(&Value, &Value)> = after["declared"]
        .as_array()
        .unwrap()
        .iter()
        .map(|declared| (&declared["shards"], &declared["types"]["note"]))
        .collect();
    assert_eq!(versions, [(&json!(1), &Value::Null), (&json!(1), &json!("text"))]);
    assert_eq!(after["declared"][0]["version"], before["declared"][0]["version"]);
    assert_answers(
        &up,
        &[
            ("status:>=500", &[1, 2]),
            ("status:503.0", &[2]),
            ("client_ip:10.0.0.0/8", &[2]),
            ("client_ip:\"::ffff:10.1.2.3\"", &[1, 2]),
            ("note:timeout", &[2]),
            ("note:\"gateway timeout\"", &[1, 2]),
            ("NOT note:timeout", &[1]),
        ],
    );
    up.stop();
}

#[test]
fn rules_see_a_record_as_searches_do() {
    let site = Site::new(BINARY);
    let rule = "title: Slow gateway\nkind: threshold\nlevel: high\n\
                query: 'status:503.0 client_ip:10.0.0.0/8 note:timeout'\nthreshold: { count: 1, window: 1m }\n";
    let rules = site.write("gateway.yml", rule);
    let settings = format!("{}[query.alerts]\nrules = [\"{rules}\"]\n", typed(&site, "1h"));
    let mut up = site.up(&settings).started();
    append(&site, &LINES);
    let alert = wait::until("an alert", DEADLINE, || up.server.alerts().into_iter().next());
    assert_eq!((&alert["title"], &alert["count"]), (&json!("Slow gateway"), &json!(1)));
    assert_eq!(alert["evidence"], json!([up.server.hits("status:503")[0]["_id"]]));
    up.stop();
}

#[test]
fn names_of_fields_beyond_the_cap_are_found_and_counted() {
    let site = Site::new(BINARY);
    let mut up = site.up(&settings(&site, "1h", "max_fields = 10")).started();
    let lines: Vec<String> = (0..100).map(|n| format!(r#"{{"n":{n},"k{n}":"v{n}"}}"#)).collect();
    append(&site, &lines.iter().map(String::as_str).collect::<Vec<_>>());
    for restarted in [false, true] {
        if restarted {
            up.stop();
            up.start();
            let fields = fields(&up, 100);
            // One name is in all of them.
            assert_eq!(fields["beyond_max_fields"], 91);
        }
        up.server.wait_for_total("n:*", 100, DEADLINE);
        assert_answers(
            &up,
            &[("k7:v7", &[7]), ("k77:v77", &[77]), ("k77:*", &[77]), ("v99", &[99]), ("n:>98", &[99])],
        );
        assert_eq!(up.server.hits("k77:v77")[0]["attributes"], json!({ "n": 77, "k77": "v77" }));
        if !restarted {
            assert_eq!(up.server.metric("millrace_indexer_beyond_max_fields_records_total"), Some(91.0));
        }
    }
    up.stop();
}

#[test]
fn a_type_that_does_not_exist_is_said_where_it_stands() {
    let site = Site::new(BINARY);
    let config = site.write("typo.toml", "[streams.web.fields]\nstatus = \"nubmer\"\nhost = 5\n");
    let outcome = site.run(&["config", "check", "--config", &config]);
    assert_eq!(outcome.code, Some(3), "{}", outcome.stdout);
    for part in [
        "typo.toml:2:10",
        "streams.web.fields.status: \"nubmer\" is not known here; did you mean \"number\"?",
        "one of \"ip\", \"keyword\", \"number\", \"text\"",
        "typo.toml:3:8",
    ] {
        assert!(outcome.stderr.contains(part), "{part} in {}", outcome.stderr);
    }
}
