//! Loki's API from outside: what Grafana and others ask, over records in memory and in shards.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_test_support::{Site, Up, http};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const DEADLINE: Duration = Duration::from_mins(1);

/// In nanoseconds.
const SECOND: i64 = 1_000_000_000;

/// Text in a query string.
fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

struct Asked<'s> {
    up: Up<'s>,
    /// When the first line was written, in nanoseconds.
    start: i64,
}

impl Asked<'_> {
    #[track_caller]
    fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let answer = self.ask(path, parameters);
        assert_eq!(answer.status, 200, "{path} {parameters:?}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }

    fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> http::Answer {
        let (start, end) = (self.start.to_string(), (self.start + 100 * SECOND).to_string());
        let times = [("start", start.as_str()), ("end", end.as_str())];
        let given = times.iter().filter(|(name, _)| !parameters.iter().any(|(given, _)| given == name));
        let pairs: Vec<String> =
            given.chain(parameters).map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        http::get(&self.up.server.address, &format!("/loki/api/v1/{path}?{}", pairs.join("&"))).unwrap()
    }

    /// The lines that a query gives, in order.
    #[track_caller]
    fn lines(&self, query: &str, more: &[(&str, &str)]) -> Vec<String> {
        let parameters: Vec<_> = [("query", query)].iter().chain(more).copied().collect();
        let answer = self.get("query_range", &parameters);
        assert_eq!(
            (&answer["status"], &answer["data"]["resultType"]),
            (&json!("success"), &json!("streams"))
        );
        let streams = answer["data"]["result"].as_array().unwrap();
        let values = streams.iter().flat_map(|stream| stream["values"].as_array().unwrap());
        values.map(|value| value[1].as_str().unwrap().to_owned()).collect()
    }

    /// Series by their labels, each with its values.
    #[track_caller]
    fn matrix(&self, query: &str, step: &str) -> BTreeMap<String, Vec<(i64, String)>> {
        let answer = self.get("query_range", &[("query", query), ("step", step)]);
        assert_eq!(answer["data"]["resultType"], "matrix", "{answer}");
        let point = |point: &Value| (point[0].as_i64().unwrap(), point[1].as_str().unwrap().to_owned());
        let series = |one: &Value| {
            (one["metric"].to_string(), one["values"].as_array().unwrap().iter().map(point).collect())
        };
        answer["data"]["result"].as_array().unwrap().iter().map(series).collect()
    }
}

/// A hundred seconds with ten lines each, every third an error; the first half in a shard.
fn filled(site: &Site) -> Asked<'_> {
    let up = site.up("[indexer]\nseal_age = \"2s\"\n").started();
    let push = |start: i64, seconds: std::ops::Range<i64>| {
        let line = |n: i64| {
            let (level, status) = if n % 3 == 0 { ("error", 500) } else { ("info", 200) };
            let time = (start + n / 10 * SECOND + n % 10 * 1000).to_string();
            let line = format!("{{\"n\":{n},\"status\":{status},\"msg\":\"Line {n} took {}ms\"}}", n % 50);
            json!({ "stream": { "app": if n % 2 == 0 { "even" } else { "odd" }, "level": level, "k8s_pod": format!("p{}", n % 5) },
                    "values": [[time, line]] })
        };
        let streams: Vec<Value> = (seconds.start * 10..seconds.end * 10).map(line).collect();
        let answer =
            http::post(&up.server.address, "/loki/api/v1/push", &json!({ "streams": streams }).to_string());
        assert_eq!(answer.unwrap().status, 204);
    };
    // What time it is there, in seconds: a metric tells of the time that it is asked for.
    http::post(&up.server.address, "/api/v1/ingest?format=raw", "a marker\n").unwrap();
    up.server.wait_for_total("marker", 1, DEADLINE);
    let time = up.server.hits("marker")[0]["timestamp"].as_str().unwrap().to_owned();
    let seconds =
        http::get(&up.server.address, &format!("/loki/api/v1/query?query=vector(1)&time={}", escaped(&time)));
    let seconds: Value = serde_json::from_slice(&seconds.unwrap().body).unwrap();
    let now = seconds["data"]["result"][0]["value"][0].as_f64().unwrap() as i64;
    let start = (now - 200) * SECOND;
    push(start, 0..50);
    up.server.wait_for_total("n:*", 500, DEADLINE);
    up.server.wait_for_a_shard(DEADLINE);
    push(start, 50..100);
    up.server.wait_for_total("n:*", 1000, DEADLINE);
    Asked { up, start }
}

#[test]
fn lines_are_found_as_loki_finds_them() {
    let site = Site::new(BINARY);
    let asked = filled(&site);
    let all = asked.lines(r#"{app=~".+"}"#, &[("limit", "5000"), ("direction", "forward")]);
    assert_eq!(all.len(), 1000);
    let newest = asked.lines(r#"{app="odd"} |= "Line""#, &[("limit", "3")]);
    assert!(newest[0].contains("\"n\":999") && newest.len() == 3, "{newest:?}");
    let oldest = asked.lines(r#"{app="odd"}"#, &[("limit", "2"), ("direction", "forward")]);
    assert!(oldest[0].contains("\"n\":1,") && oldest[1].contains("\"n\":3,"), "{oldest:?}");
    for (query, count) in [
        (r#"{app="even"}"#, 500),
        (r#"{app="EVEN"}"#, 0),
        (r#"{level=~".+", app!="even"}"#, 500),
        (r#"{app=~"even|odd", level="error"}"#, 334),
        (r#"{level="error"} |= "line""#, 0),
        (r#"{level="error"} |~ "(?i)line 9""#, 39),
        (r#"{app=~".+"} != "Line""#, 0),
        (r#"{app=~".+"} | json | status >= 500"#, 334),
        (r#"{app=~".+"} | json | msg=~"Line 1.*" | n < 100"#, 11),
        (r#"{app=~".+"} | status=500 | n<10"#, 4),
        (r#"{k8s_pod="p3"} | pattern `{"n":<num>,<_>` | num="13""#, 1),
        (r#"{stream="logs"}"#, 1000),
        (r#"{nothing="here"}"#, 0),
    ] {
        assert_eq!(asked.lines(query, &[("limit", "5000")]).len(), count, "{query}");
    }
    let formatted = asked.lines(r#"{app="odd"} | json | n="7" | line_format "{{.app}} {{.n}}""#, &[]);
    assert_eq!(formatted, ["odd 7"]);
    let answer = asked.get("query_range", &[("query", r#"{app="odd"} | json | n="7""#)]);
    let stream = &answer["data"]["result"][0]["stream"];
    assert_eq!(
        (&stream["app"], &stream["k8s_pod"], &stream["status"]),
        (&json!("odd"), &json!("p2"), &json!("200"))
    );
}

#[test]
fn metrics_are_what_loki_computes() {
    let site = Site::new(BINARY);
    let asked = filled(&site);
    // Counted where records lie, and line by line: the same.
    for (counted, line_by_line) in [
        (
            r#"sum by (app) (count_over_time({app=~".+"}[10s]))"#,
            r#"sum by (app) (count_over_time({app=~".+"} | label_format x="{{.app}}" [10s]))"#,
        ),
        (
            r#"sum(rate({app="odd"} |= "Line 1" [20s]))"#,
            r#"sum(rate({app="odd"} |= "Line 1" | label_format x="{{.app}}" [20s]))"#,
        ),
        (
            r#"sum by (level, k8s_pod) (count_over_time({level=~".+", app!="odd"} != "took 7ms" | level=~"err.*" [15s] offset 5s))"#,
            r#"sum by (level, k8s_pod) (count_over_time({level=~".+", app!="odd"} != "took 7ms" | level=~"err.*" | label_format x="{{.app}}" [15s] offset 5s))"#,
        ),
        (
            r#"sum by (detected_level) (count_over_time({stream="logs"}[7s]))"#,
            r#"sum by (detected_level) (count_over_time({stream="logs"} | label_format x="{{.app}}" [7s]))"#,
        ),
    ] {
        for step in ["10", "3s", "30"] {
            let (one, other) = (asked.matrix(counted, step), asked.matrix(line_by_line, step));
            assert!(!one.is_empty(), "{counted}");
            assert_eq!(one, other, "{counted} by {step}");
        }
    }
    let counts = asked.matrix(r#"sum by (level) (count_over_time({app=~".+"}[10s]))"#, "10");
    let of_errors: i64 = counts[r#"{"level":"error"}"#].iter().map(|(_, n)| n.parse::<i64>().unwrap()).sum();
    // The last window ends before the last lines: these are of the second that begins with it.
    assert_eq!(of_errors, 334);
    let slow = asked.matrix(
        r#"max(max_over_time({app=~".+"} | json | regexp "took (?P<ms>\\d+)ms" | unwrap ms [100s]))"#,
        "100",
    );
    assert_eq!(slow.values().next().unwrap().last().unwrap().1, "49");
    let bytes = asked.matrix(r#"sum(bytes_over_time({app="even"}[100s]))"#, "100");
    assert!(bytes["{}"].last().unwrap().1.parse::<u64>().unwrap() > 20_000);

    let instant = asked.get("query", &[("query", "vector(1)+vector(1)")]);
    assert_eq!(instant["data"]["result"][0]["value"][1], "2", "Grafana's health check");
    let end = (asked.start / SECOND + 100).to_string();
    let top = r#"topk(2, sum by (k8s_pod) (count_over_time({level="error"}[100s])))"#;
    let answer = asked.get("query", &[("query", top), ("time", &end)]);
    assert_eq!(answer["data"]["resultType"], "vector");
    assert_eq!(answer["data"]["result"].as_array().unwrap().len(), 2, "{answer}");
}

#[test]
fn lines_are_followed_over_a_web_socket() {
    let site = Site::new(BINARY);
    let asked = filled(&site);
    let query = escaped(r#"{app="odd"} |= "Line 9""#);
    let address = &asked.up.server.address;
    let path = format!("ws://{address}/loki/api/v1/tail?query={query}&start={}&limit=3", asked.start);
    let (mut socket, _) = tungstenite::connect(path).unwrap();
    let mut lines = Vec::new();
    let mut until = |count: usize| {
        while lines.len() < count {
            let tungstenite::Message::Text(text) = socket.read().unwrap() else { continue };
            let message: Value = serde_json::from_str(&text).unwrap();
            for stream in message["streams"].as_array().unwrap() {
                assert_eq!(stream["stream"]["app"], "odd");
                lines.push(stream["values"][0][1].as_str().unwrap().to_owned());
            }
        }
        lines.clone()
    };
    let before = until(3);
    assert!(
        before[0].contains("Line 995") && before[2].contains("Line 999"),
        "the latest, in order: {before:?}"
    );
    let time = (asked.start + 150 * SECOND).to_string();
    let pushed = json!({ "streams": [
        { "stream": { "app": "odd" }, "values": [[time, "Line 9001"], [time, "Line 8"]] },
        { "stream": { "app": "even" }, "values": [[time, "Line 9002"]] },
        { "stream": { "app": "odd" }, "values": [[time, "Line 9003"]] },
    ] });
    assert_eq!(http::post(address, "/loki/api/v1/push", &pushed.to_string()).unwrap().status, 204);
    assert_eq!(until(5)[3..], ["Line 9001", "Line 9003"]);
    let answer = asked.ask("tail", &[("query", r#"{app="odd"}"#)]);
    assert_eq!(answer.status, 400, "who asks without a WebSocket is told: {}", answer.text());
}

#[test]
fn what_there_is_can_be_asked() {
    let site = Site::new(BINARY);
    let asked = filled(&site);
    let labels = asked.get("labels", &[])["data"].clone();
    for label in ["app", "k8s_pod", "level", "stream"] {
        assert!(labels.as_array().unwrap().contains(&json!(label)), "{labels}");
    }
    assert_eq!(asked.get("label/app/values", &[])["data"], json!(["even", "odd"]));
    assert_eq!(
        asked.get("label/level/values", &[("query", r#"{app="odd"}"#)])["data"],
        json!(["error", "info"])
    );
    assert_eq!(asked.get("label/k8s_pod/values", &[("query", r#"{app="none"}"#)])["data"], json!([]));
    let series = asked.get("series", &[("match[]", r#"{app="odd", level="error"}"#)])["data"].clone();
    assert_eq!(series.as_array().unwrap().len(), 5, "{series}");
    let stats = asked.get("index/stats", &[("query", r#"{app="odd"}"#)]);
    assert_eq!((&stats["entries"], &stats["streams"]), (&json!(500), &json!(10)));
    let volume = asked.get("index/volume", &[("query", r#"{app=~".+"}"#), ("targetLabels", "app")]);
    assert_eq!(volume["data"]["result"].as_array().unwrap().len(), 2, "{volume}");
    let detected = asked.get("detected_labels", &[("query", r#"{app=~".+"}"#)]);
    let pods =
        detected["detectedLabels"].as_array().unwrap().iter().find(|one| one["label"] == "k8s_pod").cloned();
    assert_eq!(pods.unwrap()["cardinality"], 5);
    let fields = asked.get("detected_fields", &[("query", r#"{app=~".+"}"#)]);
    let status = fields["fields"].as_array().unwrap().iter().find(|one| one["label"] == "status").cloned();
    assert_eq!(
        status.as_ref().map(|one| (&one["type"], &one["cardinality"])),
        Some((&json!("int"), &json!(2)))
    );
    let patterns = asked.get("patterns", &[("query", r#"{app=~".+"}"#)]);
    let total: i64 =
        patterns["data"].as_array().unwrap().iter().map(|one| one["samples"][0][1].as_i64().unwrap()).sum();
    assert_eq!(total, 1000, "{patterns}");
    assert!(asked.get("status/buildinfo", &[])["version"].is_string());

    for (path, parameters) in [
        ("query_range", &[("query", "{app=")][..]),
        ("query_range", &[("query", r#"{app="a"} | nonsense"#)]),
        ("query_range", &[]),
        ("query_range", &[("query", r#"{app="a"}"#), ("start", "tomorrow")]),
        ("query_range", &[("query", r#"{app="a"}"#), ("limit", "100000")]),
        ("query_range", &[("query", r#"sum(rate({app="a"}[1m]))"#), ("step", "0")]),
        ("query_range", &[("query", r#"sum(rate({app="a"}[1m]))"#), ("step", "1ms")]),
        ("query", &[("query", r#"{app="a"}"#)]),
        ("series", &[("match[]", "{")]),
    ] {
        let answer = asked.ask(path, parameters);
        assert_eq!(answer.status, 400, "{path} {parameters:?}: {}", answer.text());
        assert!(!answer.text().is_empty());
    }
    let answer = asked.ask("query_range", &[("query", r#"{app="a"} |= x"#)]);
    assert!(answer.text().starts_with("parse error at line 1, col "), "{}", answer.text());
}
