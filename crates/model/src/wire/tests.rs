#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use crate::{Severity, Timestamp, Value};
use proptest::prelude::*;
use std::sync::Arc;

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (-1e300..1e300f64).prop_map(Value::Double),
        ".{0,20}".prop_map(Value::String),
        prop::collection::vec(any::<u8>(), 0..10).prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(2, 10, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec(("[a-z.]{1,6}", inner), 0..4)
                .prop_map(|v| Value::Map(v.into_iter().collect())),
        ]
    })
}

prop_compose! {
    fn record()(
        time in proptest::option::of(1i64..), observed in 1i64.., severity in 1i64..=24, text in "[A-Z]{0,5}",
        body in value(), resource in prop::collection::vec(("[a-z]{1,5}", value()), 0..3),
        attributes in prop::collection::vec(("[a-z]{1,5}", value()), 0..3),
        trace in proptest::option::of(prop::array::uniform16(1u8..)), span in proptest::option::of(prop::array::uniform8(1u8..)),
    ) -> LogRecord {
        LogRecord {
            timestamp: time.map(Timestamp), observed_timestamp: Timestamp(observed), severity: Severity::from_number(severity),
            severity_text: text, body, resource: Arc::new(resource.into_iter().collect()),
            attributes: attributes.into_iter().collect(), trace_id: trace, span_id: span,
        }
    }
}

fn envelope(records: usize) -> Envelope {
    let mut runs: Vec<Run> =
        (0..records).map(|i| Run { length: i as u64 * 1000 + 1, kind: RunKind::Record }).collect();
    runs.push(Run { length: u64::from(u32::MAX), kind: RunKind::Skipped(SkipReason::OverLong) });
    let length: u64 = runs.iter().map(|run| run.length).sum();
    Envelope {
        stream: "app".parse().unwrap(),
        sender: Sender {
            agent: AgentId::random(),
            instance: InstanceId::random(),
            epoch: 3,
            boot: BootId::random(),
        },
        source: SourceId::random(),
        extent: Extent { start: 10, end: 10 + length, crc32c: 0xdead_beef, runs },
        open: Some(SourceOpen {
            kind: "file".into(),
            path: "/var/log/größe.log".into(),
            host: "web1".into(),
            start: 10,
            continues: None,
            because: None,
        }),
        close: Some(SourceClose { end: 99, reason: "deleted".into(), lost_at_least: Some(7) }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_encoded_is_decoded(records in prop::collection::vec(record(), 0..5)) {
        let envelope = envelope(records.len());
        let payload = encode(&envelope, &records);
        prop_assert_eq!(decode(&payload.headers, &payload.value).unwrap(), Decoded::Batch(Box::new(envelope), records));
    }

    /// Whatever prost's own types can read is read as they read it, but for groups; and nothing makes it panic.
    #[test]
    fn damaged_values_are_read_as_the_reference_reads_them(
        records in prop::collection::vec(record(), 1..4), twice in any::<bool>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut value = otlp::encode(&records).to_vec();
        if twice {
            value.extend_from_within(..);
        }
        for (at, byte) in damage {
            let at = at.index(value.len());
            value[at] = byte;
        }
        value.truncate(cut.map_or(value.len(), |cut| cut.index(value.len())));
        let ours = otlp::decode(&value);
        if let Some(expected) = reference::decode(&value) {
            match ours {
                Ok(records) => prop_assert_eq!(format!("{records:?}"), format!("{expected:?}")),
                Err(problem) => prop_assert!(problem.to_string().contains("known kind of field"), "{problem}"),
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(value in prop::collection::vec(any::<u8>(), 0..200), runs in prop::collection::vec(any::<u8>(), 0..40)) {
        let mut payload = encode(&envelope(0), &[]);
        for (name, header) in &mut payload.headers {
            if name == "millrace.runs" {
                *header = runs.clone().into();
            }
        }
        // Only that it returns: what it says is checked above.
        let _outcome = decode(&payload.headers, &value);
        let _outcome = decode(&[], &value);
    }
}

#[test]
fn headers_that_contradict_are_refused() {
    let payload = encode(&envelope(2), &[LogRecord::default()]);
    assert!(matches!(decode(&payload.headers, &payload.value), Err(DecodeError::Runs(_))));

    let change = |name: &str, with: &'static str| {
        let mut payload = encode(&envelope(0), &[]);
        for (key, value) in &mut payload.headers {
            if key == name {
                *value = Bytes::from_static(with.as_bytes());
            }
        }
        decode(&payload.headers, &payload.value).unwrap_err().to_string()
    };
    assert!(change("millrace.version", "2").contains("newer"));
    assert!(change("millrace.range", "5-4").contains("millrace.range"));
    assert!(change("millrace.range", "0-4").contains("tile"));
    assert!(change("millrace.source", "zz").contains("source id"));
}

#[test]
fn a_foreign_message_needs_no_headers() {
    let record = LogRecord { body: "hello".into(), observed_timestamp: Timestamp(5), ..LogRecord::default() };
    let value = encode_record(&record);
    assert_eq!(decode(&[], &value).unwrap(), Decoded::Foreign(None, vec![record]));
    let id = TopicId::random();
    let marker = topic_marker(id);
    assert_eq!(decode(&marker.headers, &marker.value).unwrap(), Decoded::TopicMarker(id));
}

/// The headers of a message of version 1, as the first release wrote them, with its batch.
fn first_format() -> (Vec<(String, Bytes)>, Envelope, Vec<LogRecord>) {
    let id =
        |first: u8| u128::from_be_bytes(std::array::from_fn(|at| if at == 0 { first } else { at as u8 }));
    let texts = [
        ("millrace.version", "1"),
        ("millrace.stream", "logs"),
        ("millrace.agent", "000102030405060708090a0b0c0d0e0f"),
        ("millrace.instance", "100102030405060708090a0b0c0d0e0f"),
        ("millrace.epoch", "7"),
        ("millrace.boot", "200102030405060708090a0b0c0d0e0f"),
        ("millrace.source", "300102030405060708090a0b0c0d0e0f"),
        ("millrace.range", "100-313"),
        ("millrace.crc32c", "0000abcd"),
    ];
    let mut headers: Vec<(String, Bytes)> = texts
        .into_iter()
        .map(|(name, value)| (name.to_owned(), Bytes::from_static(value.as_bytes())))
        .collect();
    headers.push(("millrace.runs".to_owned(), Bytes::from_static(&[12, 0x81 | 0x1e, 0x03, 1])));
    let envelope = Envelope {
        stream: "logs".parse().unwrap(),
        sender: Sender {
            agent: AgentId(id(0x00)),
            instance: InstanceId(id(0x10)),
            epoch: 7,
            boot: BootId(id(0x20)),
        },
        source: SourceId(id(0x30)),
        extent: Extent {
            start: 100,
            end: 313,
            crc32c: 0xabcd,
            runs: vec![
                Run { length: 6, kind: RunKind::Record },
                Run { length: 207, kind: RunKind::Skipped(SkipReason::Blank) },
            ],
        },
        open: None,
        close: None,
    };
    (headers, envelope, vec![LogRecord { body: "hello".into(), ..LogRecord::default() }])
}

/// It stays readable for ever: an old agent with a new indexer.
#[test]
fn the_first_format_stays_readable() {
    let (headers, envelope, records) = first_format();
    let read = decode(&headers, &encode_record(&records[0])).unwrap();
    assert_eq!(read, Decoded::Batch(Box::new(envelope), records));
}

/// A new agent with an old indexer: what the first release looks for is there, spelled as it was; and what it does not
/// know, in headers or in the value, does not keep it from reading the rest.
#[test]
fn the_first_release_reads_what_is_written_today() {
    let (headers, envelope, records) = first_format();
    let mut payload = encode(&envelope, &records);
    for header in &headers {
        assert!(payload.headers.contains(header), "{header:?} of {:?}", payload.headers);
    }
    payload.headers.push(("millrace.tomorrow".to_owned(), Bytes::from_static(b"?")));
    // Field 99, of a length of its own, and field 98, a number.
    let unknown = [0x9a, 0x06, 2, b'h', b'i', 0x90, 0x06, 5];
    let value = [&payload.value[..], &unknown].concat();
    let read = decode(&payload.headers, &value).unwrap();
    assert_eq!(read, Decoded::Batch(Box::new(envelope), records));
}
