//! Elasticsearch's API from outside, with its own clients, and over records that came another way.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_test_support::{
    Site, Up, http,
    process::{self},
};
use serde_json::{Value, json};
use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const DEADLINE: Duration = Duration::from_mins(2);

#[test]
fn its_own_clients_notice_nothing() {
    let site = Site::new(BINARY);
    // Its documents are of a time that is long past.
    let kept = ["docs8", "docs9"].map(|name| format!("[streams.{name}]\nretention = \"36500d\"\n"));
    let up = site.up(&format!("{}[indexer]\nseal_age = \"2s\"\n", kept.concat())).started();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (version, environment) in [("8", "venv"), ("9", "venv-9")] {
        let python = root.join("target").join(environment).join("bin/python");
        assert!(python.exists(), "no {}: run `make test`, which makes it", python.display());
        let mut client = Command::new(&python);
        client
            .arg(root.join("tests/elastic_client.py"))
            .args([version, &format!("{}/elastic", up.server.url())]);
        let outcome = process::run(client.stdin(Stdio::null()), DEADLINE);
        assert_eq!(outcome.code, Some(0), "version {version}: {}{}", outcome.stdout, outcome.stderr);
    }
}

#[track_caller]
fn ask(up: &Up<'_>, path: &str, body: &Value) -> (u16, Value) {
    let answer = http::post(&up.server.address, &format!("/elastic/{path}"), &body.to_string()).unwrap();
    assert_eq!(answer.header("x-elastic-product"), Some("Elasticsearch"));
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
}

#[test]
fn records_that_came_another_way_are_documents_too() {
    let site = Site::new(BINARY);
    let logs = site.path("logs").display().to_string();
    let source = format!(
        "[agent.sources.a]\ntype = \"file\"\ninclude = [\"{logs}/*\"]\nparse = [\"json\"]\nstream = \"app\"\n"
    );
    let up = site.up(&format!("{source}[indexer]\nseal_age = \"2s\"\n")).started();
    let line = |n: u64| {
        format!(
            "{{\"n\":{n},\"message\":\"Line {n}\",\"level\":\"{}\",\"user\":{{\"name\":\"u{}\"}}}}\n",
            if n.is_multiple_of(5) { "error" } else { "info" },
            n % 4
        )
    };
    let lines: Vec<String> = (0..400).map(line).collect();
    site.append("a.log", lines[..300].concat());
    up.server.wait_for_total("n:*", 300, DEADLINE);
    up.server.wait_for_a_shard(DEADLINE);
    site.append("a.log", lines[300..].concat());
    up.server.wait_for_total("n:*", 400, DEADLINE);

    let (status, answer) = ask(
        &up,
        "app/_search",
        &json!({
            "query": { "bool": { "must": [{ "query_string": { "query": "level:error AND user.name:u0" } }] } },
            "sort": [{ "n": "asc" }], "size": 2, "track_total_hits": true,
            "aggs": { "users": { "terms": { "field": "user.name" } } },
        }),
    );
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["hits"]["total"], json!({ "value": 20, "relation": "eq" }));
    let shown: Vec<&Value> =
        answer["hits"]["hits"].as_array().unwrap().iter().map(|hit| &hit["_source"]["n"]).collect();
    assert_eq!(shown, [&json!(0), &json!(20)]);
    assert_eq!(answer["aggregations"]["users"]["buckets"], json!([{ "key": "u0", "doc_count": 20 }]));

    // As Grafana asks.
    let grafana = "{\"index\":[\"app\"],\"ignore_unavailable\":true,\"search_type\":\"query_then_fetch\"}\n\
        {\"size\":0,\"query\":{\"bool\":{\"filter\":[{\"range\":{\"@timestamp\":{\"gte\":\"now-1h\",\"lte\":\"now\",\"format\":\"strict_date_optional_time\"}}},{\"query_string\":{\"analyze_wildcard\":true,\"query\":\"*\"}}]}},\
        \"aggs\":{\"2\":{\"date_histogram\":{\"interval\":\"30s\",\"field\":\"@timestamp\",\"min_doc_count\":0},\"aggs\":{\"1\":{\"terms\":{\"field\":\"level\"}}}}}}\n";
    let answer = http::post(&up.server.address, "/elastic/_msearch", grafana).unwrap();
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    let buckets = answer["responses"][0]["aggregations"]["2"]["buckets"].as_array().unwrap().clone();
    let total: u64 = buckets.iter().map(|one| one["doc_count"].as_u64().unwrap()).sum();
    assert_eq!(total, 400, "{answer}");

    let index =
        http::get(&up.server.address, "/elastic/_cat/indices?h=index,docs.count&format=json").unwrap();
    let index: Value = serde_json::from_slice(&index.body).unwrap();
    assert_eq!(index, json!([{ "index": "app", "docs.count": "400" }]));
    for (path, body, status, kind) in [
        ("app/_search", json!({ "query": { "regexp": { "message": "(a*)*(".to_owned() } } }), 400, None),
        ("app/_search", json!({ "size": 2_147_483_647 }), 400, Some("illegal_argument_exception")),
        ("app/_search", json!({ "nonsense": 1 }), 400, Some("parsing_exception")),
        ("absent/_search", json!({}), 404, Some("index_not_found_exception")),
        ("_search/scroll", json!({ "scroll_id": "x" }), 404, Some("search_context_missing_exception")),
        ("app/_search", json!({ "aggs": { "a": { "terms": {} } } }), 400, None),
        ("app/_nonsense", json!({}), 400, None),
    ] {
        let (found, answer) = ask(&up, path, &body);
        assert_eq!(found, status, "{path} {body}: {answer}");
        if let Some(kind) = kind {
            assert_eq!(answer["error"]["type"], kind, "{answer}");
        }
    }
    // Deep and large bodies end in an error, not in a fall.
    let deep = format!("{{\"query\":{}{{}}{}}}", "{\"bool\":{\"must\":".repeat(5000), "}}".repeat(5000));
    let answer = http::post(&up.server.address, "/elastic/app/_search", &deep).unwrap();
    assert_eq!(answer.status, 400, "{}", answer.text());
    let many: Vec<String> = (0..70_000).map(|n| format!("w{n}")).collect();
    let (status, answer) = ask(&up, "app/_search", &json!({ "query": { "terms": { "user.name": many } } }));
    assert_eq!(status, 400, "{answer}");
    let some: Vec<String> = (0..5000).map(|n| format!("u{n}")).collect();
    let (status, answer) =
        ask(&up, "app/_search", &json!({ "query": { "terms": { "user.name": some } }, "size": 0 }));
    assert_eq!((status, &answer["hits"]["total"]["value"]), (200, &json!(400)), "{answer}");
}
