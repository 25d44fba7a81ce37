#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use crate::alert::{RuleBook, told::AlertTold};
use crate::http::described;
use crate::settings::AlertSettings;
use millrace_catalogue::{
    Act, Alert, AlertState, Demoted, HoleKind, Hushed, Marks, Node, OffsetHole, PartitionRow, StreamUsage,
    Summary, Triage, Verdict as AlertVerdict, VerdictKind, VerdictScope,
};
use millrace_ledger::{Span, Verdict};
use millrace_model::{
    Partition, RecordId, SourceId, StreamName, TimeRange, Timestamp, TopicId,
    wire::{SourceClose, SourceOpen},
};
use millrace_store::ChunksTold;
use serde::Serialize;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;

/// The paths of the router, with their methods, as they stand there.
fn routes() -> BTreeSet<(String, String)> {
    let source = include_str!("../router.rs");
    let mut routes = BTreeSet::new();
    for route in source.split(".route(\"").skip(1) {
        let (path, rest) = route.split_once('"').unwrap();
        let handlers = rest.split('\n').next().unwrap();
        for method in ["get", "post", "put", "delete"] {
            if handlers.contains(&format!("{method}(")) {
                routes.insert((path.to_owned(), method.to_owned()));
            }
        }
    }
    routes
}

#[test]
fn each_route_is_described_and_nothing_else() {
    let document = serde_json::to_value(document([])).unwrap();
    let described: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(move |method| (path.clone(), method.clone()))
        })
        .collect();
    let mut routes = routes();
    // A page for people.
    assert!(routes.remove(&("/".to_owned(), "get".to_owned())));
    assert!(routes.len() > 25, "{routes:?}");
    assert_eq!(described, routes);
}

#[test]
fn each_operation_has_a_name_of_its_own_and_says_what_may_go_wrong() {
    let document = serde_json::to_value(document([])).unwrap();
    let mut names = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let told = format!("{method} {path}: {operation:#}");
            assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()), "{told}");
            assert_eq!(operation["tags"].as_array().unwrap().len(), 1, "{told}");
            assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{told}");
            assert!(operation["responses"]["503"].is_object(), "{told}");
        }
    }
    // What is referred to is there.
    let text = document.to_string();
    for part in text.split("\"#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
}

/// What is wrong with a value, if it is held against a schema. Stricter than JSON Schema: what is not described must not be there.
fn wrong(value: &Value, schema: &Value, all: &Value, at: &str) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str() {
        return wrong(value, &all[name.rsplit('/').next().unwrap()], all, at);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let tried: Vec<_> = choices.iter().map(|choice| wrong(value, choice, all, at)).collect();
        return if tried.iter().any(Vec::is_empty) { Vec::new() } else { tried.concat() };
    }
    if let Some(values) = schema["enum"].as_array() {
        return if values.contains(value) {
            Vec::new()
        } else {
            vec![format!("{at}: {value} is none of {values:?}")]
        };
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let is_of = |wanted: &Value| *wanted == kind || (*wanted == "number" && kind == "integer");
    let is_right = match &schema["type"] {
        Value::Null => true,
        Value::Array(kinds) => kinds.iter().any(is_of),
        wanted => is_of(wanted),
    };
    if !is_right {
        return vec![format!("{at}: {value} is no {}", schema["type"])];
    }
    match value {
        Value::Array(values) => {
            values.iter().flat_map(|value| wrong(value, &schema["items"], all, &format!("{at}[]"))).collect()
        }
        Value::Object(entries) => {
            let required = schema["required"].as_array().into_iter().flatten();
            let lacks = required.filter(|name| !entries.contains_key(name.as_str().unwrap()));
            let mut found: Vec<String> = lacks.map(|name| format!("{at} lacks {name}")).collect();
            for (name, value) in entries {
                let known = schema["properties"].get(name).or_else(|| schema.get("additionalProperties"));
                match known {
                    Some(schema) => found.extend(wrong(value, schema, all, &format!("{at}.{name}"))),
                    None => found.push(format!("{at}.{name} is not described")),
                }
            }
            found
        }
        _ => Vec::new(),
    }
}

/// A value is as it is described.
#[track_caller]
fn is_as_described<T: ToSchema>(value: impl Serialize) {
    let mut named = Vec::new();
    T::schemas(&mut named);
    let all: serde_json::Map<String, Value> =
        named.into_iter().map(|(name, schema)| (name, serde_json::to_value(schema).unwrap())).collect();
    let value = serde_json::to_value(value).unwrap();
    let schema = serde_json::to_value(T::schema()).unwrap();
    let found = wrong(&value, &schema, &Value::Object(all), &T::name());
    assert!(found.is_empty(), "{found:#?}\n{value:#}\n{schema:#}");
    // And nothing is described that is not there; but for what may be left out.
    let required = schema["required"].as_array().into_iter().flatten();
    assert!(required.clone().all(|name| value.get(name.as_str().unwrap()).is_some()));
}

fn stream() -> StreamName {
    StreamName::default()
}

#[test]
fn what_rooms_below_say_is_as_it_is_described() {
    let now = Timestamp::from_millis(1_700_000_000_000);
    is_as_described::<described::Time>(now);
    is_as_described::<described::Range>(TimeRange::ALL);
    for expires in [None, Some(now)] {
        is_as_described::<described::AlertVerdict>(AlertVerdict {
            alert_id: "1".to_owned(),
            rule_id: "r".to_owned(),
            fingerprint: "f".to_owned(),
            group: [("host".to_owned(), "a".to_owned())].into(),
            verdict: VerdictKind::FalsePositive,
            reason: String::new(),
            scope: VerdictScope::Fingerprint,
            expires,
            given: now,
            given_by: String::new(),
        });
    }
    for (state, resolved_at) in [(AlertState::Pending, None), (AlertState::Resolved, Some(now))] {
        let by_ann = || Act { at: now, by: "ann".to_owned(), note: "seen".to_owned() };
        let alert = Alert {
            id: "1".to_owned(),
            fingerprint: "f".to_owned(),
            rule_id: "r".to_owned(),
            title: "t".to_owned(),
            level: "high".to_owned(),
            state,
            group: [("host".to_owned(), "a".to_owned())].into(),
            first: now,
            last: now,
            count: 1,
            evidence: vec![RecordId { source: SourceId(1), position: 0, index: 0 }],
            resolved_at,
        };
        let marks = Marks {
            hushed: Some(Hushed::Silenced),
            silences: vec!["s".to_owned()],
            inhibited_by: Some("2".to_owned()),
            suppressed_by: Some("3".to_owned()),
            demoted: Some(Demoted {
                from: "high".to_owned(),
                to: "medium".to_owned(),
                similar_to: "3".to_owned(),
            }),
        };
        let triage = Triage {
            acknowledged: Some(by_ann()),
            assignee: Some("ann".to_owned()),
            closed: Some(Act { note: String::new(), ..by_ann() }),
        };
        let full = AlertTold { alert, marks, triage };
        is_as_described::<described::Alert>(AlertTold {
            marks: Marks::default(),
            triage: Triage::default(),
            ..full.clone()
        });
        is_as_described::<described::Alert>(full);
    }
    let partition = |topic_id, next_offset| PartitionRow {
        topic: "t".to_owned(),
        topic_id,
        partition: Partition(0),
        next_offset,
        owner_epoch: 1,
        owner: "a".to_owned(),
    };
    let usage = StreamUsage { stream: stream(), shards: 1, records: 2, bytes: 3, first: now, last: now };
    let node = |address| Node {
        id: "a".to_owned(),
        role: "indexer".to_owned(),
        address,
        version: "1".to_owned(),
        seen: now,
    };
    let mut catalogue = json!(Summary {
        schema_version: 1,
        partitions: vec![partition(None, None), partition(Some(TopicId(1)), Some(5))],
        streams: vec![usage],
        hidden_shards: 0,
        sources: 1,
        trail_links: 2,
        nodes: vec![node(None), node(Some("127.0.0.1:1".to_owned()))],
    });
    for newest in [Value::Null, json!({ "key": "k", "at": now, "every_ms": 5 })] {
        catalogue["newest_snapshot"] = newest;
        is_as_described::<described::Catalogue>(&catalogue);
    }
    for verdict in
        [Verdict::Complete, Verdict::CompleteSoFar, Verdict::Holes, Verdict::Lost, Verdict::Unopened]
    {
        is_as_described::<described::Verdict>(verdict);
    }
    is_as_described::<described::Span>(Span { start: 1, end: 2 });
    for (continues, because, lost_at_least) in
        [(None, None, None), (Some(SourceId(1)), Some("instance".to_owned()), Some(7))]
    {
        is_as_described::<described::SourceOpen>(SourceOpen {
            kind: "file".to_owned(),
            path: "p".to_owned(),
            host: "h".to_owned(),
            start: 0,
            continues,
            because,
        });
        is_as_described::<described::SourceClose>(SourceClose {
            end: 1,
            reason: "deleted".to_owned(),
            lost_at_least,
        });
    }
    for (kind, topic_id) in [(HoleKind::Removed, None), (HoleKind::SteppedBack, Some(TopicId(1)))] {
        is_as_described::<described::OffsetHole>(OffsetHole {
            topic: "t".to_owned(),
            topic_id,
            partition: Partition(0),
            sequence: 1,
            kind,
            from: 1,
            to: 2,
            noted: now,
        });
    }
    is_as_described::<described::ChunksTold>(ChunksTold::default());
}

#[test]
fn plans_and_rules_are_as_they_are_described() {
    let context =
        millrace_pipes::Context { now: Timestamp(0), range: TimeRange::ALL, limit: 5, memory: 1 << 20 };
    for query in
        ["* | stats count() by host", "* | timechart 1m count()", "* | where a > 1 | sort b | limit 3"]
    {
        let query = millrace_pipes::parse(query).unwrap();
        for told in millrace_pipes::Plan::new(&query.pipes, &context).unwrap().told() {
            is_as_described::<described::FragmentTold>(told);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kinds.yml");
    std::fs::write(&file, KINDS).unwrap();
    let settings = AlertSettings { rules: vec![file], ..AlertSettings::default() };
    let book = RuleBook::open(&settings, crate::Metrics::default());
    for watched in [false, true] {
        if watched {
            book.set_pasts("detect", BTreeMap::new());
        }
        let described = book.describe();
        assert_eq!(described["errors"], json!([]));
        let rules = described["rules"].as_array().unwrap();
        let kinds: BTreeSet<&str> = rules.iter().map(|rule| rule["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds.len(), 11, "of each kind there is one");
        rules.iter().for_each(is_as_described::<described::Rule>);
    }
    // It notices what is not so.
    let all = json!({});
    let schema = serde_json::to_value(<described::Span as utoipa::PartialSchema>::schema()).unwrap();
    for value in
        [json!({ "start": 1 }), json!({ "start": "1", "end": 2 }), json!({ "start": 1, "end": 2, "x": 1 })]
    {
        assert_eq!(wrong(&value, &schema, &all, "").len(), 1, "{value}");
    }
}

/// Rules of all kinds, with all that they may say.
const KINDS: &str = "\
title: a
kind: flatline
query: x
flatline: { window: 1h, fewer_than: 2, group_by: [host] }
---
title: b
kind: spike
query: x
spike: { window: 1h, height: 2, direction: both, field: f, is: p95, min_reference: 1, min_current: 1, new_groups: true }
---
title: c
kind: percentage
query: x
percentage: { of: y, above: 5, below: 1, window: 1h, at_least: 3 }
---
title: d
kind: new_term
query: x
new_term: { fields: [a, [b, c]], history: 1d, learn: 1h, seen_at_most: 1, missing: true }
---
title: e
kind: change
query: x
change: { fields: [a], within: 1h, missing: true }
resolve_after: 1h
---
title: f
kind: list
query: x
list: { field: a, allow: [b], missing: true }
---
title: g
kind: sequence
sequence: { steps: [a, { query: b, count: 2 }, { not: c }], within: 1h }
---
title: l
kind: scheduled
query: 'x | stats count() by host'
scheduled: { cron: '*/5 * * * *', range: 1h }
---
title: m
kind: scheduled
query: 'x | stats count() by host'
scheduled: { every: 1m, range: 1h }
---
title: h
kind: baseline
query: x
baseline: { interval: 5m }
---
title: i
kind: cardinality
query: x
cardinality: { field: a, fewer_than: 2, window: 1h }
---
title: j
name: j
logsource: { product: linux }
detection: { k: [x], condition: k }
---
title: k
correlation: { type: value_avg, rules: [j], group-by: [a], timespan: 1h, condition: { gte: 5, field: f } }
";
