//! Mappings and documents.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use millrace_model::{Attributes, LogRecord, RecordId, Row, SourceId, Timestamp, Value, declared::FieldType};
use serde_json::{Value as Json, json};
use std::sync::Arc;

fn mapping() -> Mapping {
    Mapping::parse(&json!({ "properties": {
        "title": { "type": "text", "fields": { "raw": { "type": "keyword" } } },
        "n": { "type": "integer" },
        "ok": { "type": "boolean" },
        "at": { "type": "date", "format": "yyyy/MM/dd" },
        "ip": { "type": "ip" },
        "actor": { "properties": { "id": { "type": "long" } } },
        "payload": { "type": "object" },
    } }))
    .unwrap()
}

#[test]
fn a_mapping_is_printed_as_it_was_given() {
    let given = json!({ "properties": {
        "a": { "properties": { "b": { "type": "keyword", "ignore_above": 10 } } },
        "t": { "type": "text", "fields": { "k": { "type": "keyword" } } },
    } });
    let mut mapping = Mapping::parse(&given).unwrap();
    assert_eq!(mapping.printed(), given);
    mapping.see("s", Kind::Dynamic);
    assert_eq!(mapping.printed()["properties"]["s"]["fields"]["keyword"]["type"], "keyword");
    assert_eq!(
        mapping.merge(&json!({ "properties": { "t": { "type": "long" } } })).unwrap_err().kind,
        "illegal_argument_exception"
    );
    let declared: Vec<_> =
        mapping.declarations().iter().map(|(path, kind)| (path.to_owned(), kind)).collect();
    assert_eq!(declared, [("a.b".to_owned(), FieldType::Keyword), ("t".to_owned(), FieldType::Text)]);
    for wrong in [
        json!([]),
        json!({ "nope": 1 }),
        json!({ "properties": { "a": { "type": "nope" } } }),
        json!({ "properties": { "a": 1 } }),
        json!({ "properties": { "a": { "type": "date", "format": "yyyybb" } } }),
    ] {
        assert!(Mapping::parse(&wrong).is_err(), "{wrong}");
    }
}

#[test]
fn names_find_what_they_mean() {
    let (documents, records) = (mapping(), Mapping::default());
    let of = |mapping: &Mapping, name: &str| {
        let found = mapping.field(name);
        (found.path, found.kind.name())
    };
    for (name, path, kind) in [
        ("title", "attributes.title", "text"),
        ("title.raw", "attributes.title", "keyword"),
        ("title.keyword", "attributes.title", "keyword"),
        ("actor.id", "attributes.actor.id", "long"),
        ("actor", "attributes.actor", "object"),
        ("other", "attributes.other", "text"),
        ("other.keyword", "attributes.other", "keyword"),
        ("@timestamp", "@timestamp", "date"),
        ("_id", "_id", "_id"),
    ] {
        assert_eq!(of(&documents, name), (path.to_owned(), kind), "{name}");
    }
    for (name, path, kind) in [
        ("message", "body", "text"),
        ("log.level", "log.level", "keyword"),
        ("@timestamp", "@timestamp", "date"),
        ("host.name.keyword", "host.name", "keyword"),
        ("trace.id", "trace.id", "keyword"),
        ("_index", "_stream", "_index"),
    ] {
        assert_eq!(of(&records, name), (path.to_owned(), kind), "{name}");
    }
}

#[test]
fn documents_become_attributes() {
    let document = json!({ "@timestamp": "2024-01-01T00:00:00Z", "title": 7, "n": "12", "ok": "true", "at": "2024/01/02", "ip": "::ffff:10.0.0.1",
        "level": "WARN", "none": null, "payload": {}, "commits": [{ "m": "a", "x": [1, 2] }, { "m": "b", "x": 3 }] });
    let record = record_of(&mapping(), "line", &document).unwrap();
    assert_eq!(record.timestamp.unwrap().to_string(), "2024-01-01T00:00:00.000000000Z");
    assert_eq!(record.severity.class(), "warn");
    let at = |path: &str| record.attributes.at(path).map(ToString::to_string);
    assert_eq!(at("title").as_deref(), Some("7"));
    assert_eq!(at("at").as_deref(), Some("1704153600000"));
    assert_eq!(at("ip").as_deref(), Some("10.0.0.1"));
    assert_eq!(at("commits.m").as_deref(), Some(r#"["a","b"]"#));
    assert_eq!(at("commits.x").as_deref(), Some("[1,2,3]"));
    assert_eq!((at("none"), at("payload")), (None, None));
    for (wrong, path) in [
        (json!({ "n": "x" }), "n"),
        (json!({ "at": "x" }), "at"),
        (json!({ "ip": 1 }), "ip"),
        (json!({ "ok": "perhaps" }), "ok"),
        (json!({ "title": { "a": 1 } }), "title"),
    ] {
        let error = record_of(&mapping(), "line", &wrong).unwrap_err();
        assert!(
            error.kind == "document_parsing_exception" && error.reason.contains(&format!("[{path}]")),
            "{wrong}"
        );
    }
}

fn row(record: LogRecord) -> Row {
    Row {
        id: RecordId { source: SourceId(1), position: 2, index: 0 },
        stream: "app".parse().unwrap(),
        time: Timestamp(0),
        record,
    }
}

#[test]
fn records_become_documents() {
    let sent = row(LogRecord { body: Value::from(r#"{"b":1,"a":{"c":2}}"#), ..LogRecord::default() });
    assert_eq!(source_of(&sent, true), json!({ "a": { "c": 2 }, "b": 1 }));
    assert_eq!(source_of(&sent, false)["@timestamp"], "1970-01-01T00:00:00.000Z");
    let mut resource = Attributes::new();
    resource.set("host.name", "web1");
    resource.set("host", "x");
    let mut record = LogRecord {
        body: Value::from("hello"),
        severity_text: "WARN".to_owned(),
        resource: Arc::new(resource),
        ..LogRecord::default()
    };
    record.attributes.set("user", "ann");
    let shown = source_of(&row(record), false);
    assert_eq!(
        shown,
        json!({ "@timestamp": "1970-01-01T00:00:00.000Z", "message": "hello", "log": { "level": "WARN" }, "user": "ann", "host": { "name": "web1" } })
    );
}

#[test]
fn sources_are_shown_in_part() {
    let document =
        json!({ "actor": { "id": 1, "login": "x" }, "id": 2, "list": [{ "a": 1, "b": 2 }], "e": {} });
    let of = |given: Json| SourceFilter::parse(&given).unwrap().apply(document.clone());
    assert_eq!(of(json!(false)), None);
    assert_eq!(of(json!(true)), Some(document.clone()));
    assert_eq!(of(json!("actor.id")), Some(json!({ "actor": { "id": 1 } })));
    assert_eq!(of(json!(["actor", "e"])), Some(json!({ "actor": { "id": 1, "login": "x" }, "e": {} })));
    assert_eq!(
        of(json!({ "includes": ["*"], "excludes": ["*.login", "list"] })),
        Some(json!({ "actor": { "id": 1 }, "id": 2, "e": {} }))
    );
    assert_eq!(of(json!({ "excludes": "list.a" })).unwrap()["list"], json!([{ "b": 2 }]));
    assert_eq!(of(json!(["nope"])), Some(json!({})));
    assert!(SourceFilter::parse(&json!(1)).is_err());
    assert_eq!(values_at(&document, "list.b"), [&json!(2)]);
    assert_eq!(leaves(&document), ["actor.id", "actor.login", "id", "list.a", "list.b"]);
}
