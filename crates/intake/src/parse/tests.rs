#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use millrace_model::{FieldRef, Fields, Severity, ValueRef};
use proptest::prelude::*;

const NOW: Timestamp = Timestamp(1_700_000_000_000_000_000);

fn parse(parsers: &[Parser], line: &[u8]) -> LogRecord {
    parsers.iter().cloned().collect::<Parsers>().parse(line, NOW, &Arc::new(Attributes::new()))
}

fn json(line: &str) -> LogRecord {
    let record = parse(&[Parser::Json], line.as_bytes());
    assert_eq!(record.body, Value::from(line), "the body is the line");
    record
}

#[test]
fn fields_become_attributes_and_the_line_stays_the_body() {
    let record = json(
        r#"{"message":"hello","n":7,"big":18446744073709551615,"f":1.5,"ok":true,"none":null,"list":[1,"a"],"map":{"x":1}}"#,
    );
    assert_eq!(record.attributes.get("message"), Some(&Value::from("hello")));
    assert_eq!(record.attributes.get("n"), Some(&Value::Int(7)));
    assert_eq!(record.attributes.get("big"), Some(&Value::Double(18_446_744_073_709_551_615.0)));
    assert_eq!(record.attributes.get("list"), Some(&Value::Array(vec![Value::Int(1), Value::from("a")])));
    assert_eq!(record.attributes.at("map.x"), Some(&Value::Int(1)));
    assert_eq!(record.attributes.get("none"), Some(&Value::Null));
    assert_eq!(record.timestamp, None);
    assert_eq!(record.observed_timestamp, NOW);
}

#[test]
fn times_levels_and_ids_move_to_their_place() {
    let record = json(
        r#"{"@timestamp":"2024-05-01T12:00:00.5+02:00","time":12,"log":{"level":"WARN","logger":"a"},"trace":{"id":"0102030405060708090a0b0c0d0e0f10"},"span_id":"0102030405060708"}"#,
    );
    assert_eq!(record.timestamp, Some("2024-05-01T10:00:00.5Z".parse().unwrap()));
    assert_eq!((record.severity_text.as_str(), record.severity), ("WARN", Severity::WARN));
    assert_eq!(record.trace_id.unwrap()[15], 0x10);
    assert_eq!(record.span_id.unwrap(), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(record.attributes.at("log.logger"), Some(&Value::from("a")));
    assert_eq!(record.attributes.get("time"), Some(&Value::Int(12)), "a duration is no time");
    assert_eq!(record.attributes.get("trace"), None);
    assert!(matches!(record.field(&FieldRef::resolve("level")), Some(ValueRef::Level { text: "WARN", .. })));
}

#[test]
fn the_unit_of_a_number_is_told_by_its_size() {
    let expected = Some(Timestamp(1_714_557_600_123_456_789));
    let micros = Some(Timestamp(1_714_557_600_123_456_000));
    let millis = Some(Timestamp(1_714_557_600_123_000_000));
    for (text, time) in [
        ("1714557600", Some(Timestamp(1_714_557_600_000_000_000))),
        ("1714557600123", millis),
        ("1714557600123456", micros),
        ("1714557600123456789", expected),
        ("1714557600.123456", micros),
        ("1714557600.123", millis),
        ("12", None),
        ("-1714557600", None),
        ("1e300", None),
    ] {
        assert_eq!(json(&format!(r#"{{"ts":{text}}}"#)).timestamp, time, "{text}");
        assert_eq!(json(&format!(r#"{{"ts":"{text}"}}"#)).timestamp, time, "{text} as text");
    }
    assert_eq!(
        json(r#"{"time":"2024-05-01 10:00:00,123Z"}"#).timestamp,
        json(r#"{"ts":1714557600123}"#).timestamp
    );
    assert_eq!(json(r#"{"time":"2024-05-01 10:00:00"}"#).timestamp, None, "no zone: no guess");
}

#[test]
fn levels_of_many_loggers() {
    for (line, text, severity) in [
        (r#"{"level":"error"}"#, "error", 17),
        (r#"{"level":30}"#, "info", 9),
        (r#"{"level":60}"#, "fatal", 21),
        (r#"{"severity":"NOTICE"}"#, "NOTICE", 10),
        (r#"{"level":"chatty"}"#, "chatty", 0),
        (r#"{"severityText":"Warn","severityNumber":14}"#, "Warn", 14),
        (r#"{"level":7}"#, "", 0),
    ] {
        let record = json(line);
        assert_eq!((record.severity_text.as_str(), record.severity.number()), (text, severity), "{line}");
    }
    assert_eq!(json(r#"{"level":7}"#).attributes.get("level"), Some(&Value::Int(7)));
}

#[test]
fn what_cannot_be_read_stays_whole_with_its_reason() {
    for (line, reason) in [
        (&b"{\"a\":1"[..], "json: ends too early"),
        (b"[1]", "json: not an object"),
        (b"{\"a\":1} x", "json: not JSON"),
        (b"plain", "json: not JSON"),
        (b"{\"a\":1e999}", "json: not JSON"),
        (b"\xff{}", "json: invalid UTF-8 after byte 0"),
    ] {
        let record = parse(&[Parser::Json], line);
        let found = record.attributes.get(PARSE_ERROR).and_then(Value::as_str).unwrap();
        assert!(found.starts_with(reason), "{found}");
        assert_eq!(record.attributes.len(), 1);
    }
    assert_eq!(parse(&[Parser::Json], b"\xff").body, Value::Bytes(vec![0xff]));
    assert!(parse(&[Parser::Json, Parser::Plain], b"x").attributes.is_empty(), "the second parser took it");
    assert!(parse(&[Parser::Auto], b"{not json").attributes.is_empty(), "a wrong guess is no error");
    assert_eq!(parse(&[Parser::Auto], b" {\"a\":1}").attributes.len(), 1);
}

#[test]
fn the_last_of_repeated_keys_counts() {
    assert_eq!(json(r#"{"a":1,"b":2,"a":3}"#).attributes.get("a"), Some(&Value::Int(3)));
    assert_eq!(json(r#"{"a":1,"b":2,"a":3}"#).attributes.len(), 2);
}

#[test]
fn depth_and_number_of_values_are_bounded_and_the_message_stays_readable() {
    let deep = format!("{{\"d\":{}1{}}}", "{\"k\":[".repeat(3000), "]}".repeat(3000));
    let wide =
        format!("{{{}}}", (0..5000).map(|n| format!("\"k{n}\":[{n},{n}]")).collect::<Vec<_>>().join(","));
    for line in [deep.as_str(), wide.as_str()] {
        let record = json(line);
        assert_eq!(record.attributes.get(PARSE_ERROR), None);
        let bytes = millrace_model::wire::encode_record(&record);
        assert_eq!(millrace_model::wire::decode_record(&bytes).unwrap(), record);
    }
    let record = json(&wide);
    assert!(record.attributes.len() <= json::MAX_VALUES);
    assert!(
        matches!(record.attributes.get(DROPPED_ATTRIBUTES), Some(Value::Int(dropped)) if *dropped > 4000)
    );
    let shallow =
        format!("{{\"d\":{}1{}}}", "[".repeat(json::MAX_DEPTH - 1), "]".repeat(json::MAX_DEPTH - 1));
    assert!(!json(&shallow).attributes.get("d").unwrap().to_string().contains('"'), "kept as values");
}

#[test]
fn an_obvious_level_leads_a_plain_line() {
    for (line, level) in [
        ("ERROR disk full", "ERROR"),
        ("[warn] careful", "warn"),
        ("error: no such file", "error"),
        ("2024-05-01 12:00:00,123 INFO started", "INFO"),
        ("[2024-05-01T12:00:00Z] [ERROR] x", "ERROR"),
        ("2024-05-01T12:00:00Z WARNING: x", "WARNING"),
        ("Error handling is good", ""),
        ("12 errors", ""),
        ("error", ""),
        ("I am here", ""),
        ("the ERROR is late", ""),
        ("", ""),
        ("2024-05-01", ""),
    ] {
        assert_eq!(parse(&[Parser::Plain], line.as_bytes()).severity_text, level, "{line}");
    }
}

proptest! {
    #[test]
    fn any_bytes_give_a_record_that_holds_them_and_survives_the_wire(line in prop::collection::vec(any::<u8>(), 0..300), json in any::<bool>()) {
        let record = parse(&[if json { Parser::Json } else { Parser::Auto }], &line);
        let body = match &record.body {
            Value::String(text) => text.as_bytes(),
            Value::Bytes(bytes) => bytes,
            other => panic!("{other:?}"),
        };
        prop_assert_eq!(body, &line[..]);
        let bytes = millrace_model::wire::encode_record(&record);
        prop_assert_eq!(millrace_model::wire::decode_record(&bytes).unwrap(), record);
    }

    #[test]
    fn any_json_object_becomes_the_same_attributes(keys in prop::collection::hash_map("[a-f]{2,8}", any::<i64>(), 0..40)) {
        let keys: std::collections::HashMap<_, _> = keys.into_iter().map(|(key, n)| (format!("x{key}"), n)).collect();
        let line = serde_json::to_string(&keys).unwrap();
        let record = json(&line);
        prop_assert_eq!(record.attributes.len(), keys.len());
        for (key, number) in &keys {
            prop_assert_eq!(record.attributes.get(key), Some(&Value::Int(*number)));
        }
    }
}

mod formats;
