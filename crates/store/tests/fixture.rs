//! Bundles of each layout, sealed when the layout was new. Every later program must read them as these tests do: when the
//! layout changes, these files stay, and a fixture of the new layout comes beside them.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_model::{
    Attributes, Declarations, FieldType, LogRecord, OffsetRange, Partition, RecordId, Row, Severity,
    ShardFields, ShardId, SourceId, StreamName, TimeRange, Timestamp, TopicId, Value,
};
use millrace_store::{
    FieldRules, HotRow, HotShard, LeafRequest, Order, SealInput, SealedShard, Shaper, seal,
};
use std::{path::Path, sync::Arc};

fn path(layout: u32) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/v{layout}.shard"))
}

/// What was sealed in layout 2.
fn rows() -> Vec<HotRow> {
    let mut resource = Attributes::new();
    resource.set("host.name", "Web1");
    resource.set("log.file.path", "/var/log/größe.log");
    let resource = Arc::new(resource);
    let records = [
        ("Connection reset by peer", 17, "ERROR", 1_768_435_200_000_000_000),
        ("Größe: 5 bytes read", 9, "info", 1_768_435_201_000_000_001),
        ("", 0, "", 1_768_435_201_000_000_001),
        ("connection accepted", 9, "info", 1_768_435_260_000_000_000),
    ];
    let mut rows: Vec<HotRow> = records
        .into_iter()
        .enumerate()
        .map(|(number, (body, severity, severity_text, time))| {
            let mut record = LogRecord {
                timestamp: Some(Timestamp(time)),
                observed_timestamp: Timestamp(time + 1_500),
                severity: Severity::from_number(severity),
                severity_text: severity_text.to_owned(),
                body: Value::from(body),
                resource: Arc::clone(&resource),
                ..LogRecord::default()
            };
            record.attributes.set("status", 200 + 100 * number as i64);
            record.attributes.set("ratio", number as f64 / 2.0);
            let id = RecordId { source: SourceId(42), position: number as u64 * 100, index: 0 };
            let row = Row { id, stream: "app".parse().unwrap(), time: record.time(), record };
            HotRow { partition: Partition(2), offset: 70 + number as i64, row }
        })
        .collect();
    let last = &mut rows[3].row.record;
    last.timestamp = None;
    last.body = Value::Bytes(b"connection accepted \xff".to_vec());
    last.trace_id = Some([0xab; 16]);
    last.span_id = Some([0xcd; 8]);
    last.attributes.set("tags", Value::Array(vec!["red".into(), Value::Int(7), Value::Null]));
    last.attributes.set("http", Value::Map([("ok".to_owned(), Value::Bool(true))].into_iter().collect()));
    rows
}

fn offsets() -> Vec<OffsetRange> {
    vec![OffsetRange {
        topic: "millrace.logs".to_owned(),
        topic_id: Some(TopicId(5)),
        partition: Partition(2),
        from: 70,
        to: 74,
    }]
}

/// What layout 3 can say beside that: these are declared, and `note` is searched by its words.
fn declared() -> Declarations {
    [("note", FieldType::Text), ("code", FieldType::Number), ("peer", FieldType::Ip)]
        .map(|(path, kind)| (path.to_owned(), kind))
        .into_iter()
        .collect()
}

/// The rows of layout 3 as they came.
fn rows_3() -> Vec<HotRow> {
    let mut rows = rows();
    let notes = ["Gateway timeout", "größe ok", "", "none"];
    for (hot, note) in rows.iter_mut().zip(notes) {
        let attributes = &mut hot.row.record.attributes;
        attributes.set("note", note);
        attributes.set("code", if note.is_empty() { "n/a" } else { "0404" });
        attributes.set("peer", "::ffff:10.1.2.3");
    }
    let line = r#"{"code":"7","note":"disk \"full\" 17","peer":"10.9.9.9"}"#;
    let last = &mut rows[1].row.record;
    last.body = Value::from(line);
    last.attributes = serde_json::from_str(line).unwrap();
    rows[2].row.record.attributes.set("note", Value::Array(vec!["one two".into(), Value::Int(3)]));
    rows
}

fn request(query: &str) -> LeafRequest {
    LeafRequest {
        filter: millrace_filter::parse(query).unwrap(),
        range: TimeRange::ALL,
        limit: 10,
        order: Order::OldestFirst,
        after: None,
        histogram: Some(60_000_000_000),
        fragments: None,
    }
}

#[track_caller]
fn assert_found(shard: &SealedShard, answers: &[(&str, &[u64])]) {
    for (query, positions) in answers {
        let found: Vec<u64> =
            shard.search(&request(query)).unwrap().hits.iter().map(|row| row.id.position).collect();
        assert_eq!(found, *positions, "{query}");
    }
}

#[test]
fn layout_3_is_read_for_ever() {
    let shard = SealedShard::open(&path(3)).unwrap();
    let meta = shard.meta();
    assert_eq!((meta.schema_version, meta.records), (3, 4));
    let conflicts = [("code".to_owned(), 1)].into_iter().collect();
    assert_eq!(meta.fields, ShardFields { declared: vec![declared()], conflicts, beyond: 0 });
    let mut expected: Vec<Row> = rows_3().into_iter().map(|hot| hot.row).collect();
    for row in &mut expected {
        declared().coerce(&mut row.record.attributes, |_| {});
    }
    assert_eq!(shard.search(&request("*")).unwrap().hits, expected);
    assert_eq!(expected[0].record.attributes.get("note"), Some(&Value::Text("Gateway timeout".to_owned())));
    assert_found(
        &shard,
        &[
            ("note:timeout", &[0]),
            ("note:\"gateway timeout\"", &[0]),
            ("note:gate", &[]),
            ("note:gate*", &[0]),
            ("note:GRÖSSE", &[]),
            ("note:full", &[100]),
            ("note:17", &[100]),
            ("note:two", &[200]),
            ("note:3", &[200]),
            ("note:\"\"", &[0, 100, 200, 300]),
            ("code:404", &[0, 300]),
            ("code:7.0", &[100]),
            ("code:\"n/a\"", &[200]),
            ("peer:10.0.0.0/8", &[0, 100, 200, 300]),
            ("peer:10.1.2.3", &[0, 200, 300]),
        ],
    );
}

#[test]
fn layout_2_is_read_for_ever() {
    let shard = SealedShard::open(&path(2)).unwrap();
    let meta = shard.meta();
    assert_eq!((meta.id, meta.schema_version, meta.records), (ShardId(1), 2, 4));
    assert!(meta.fields.is_empty());
    assert_eq!((meta.first.0, meta.last.0), (1_768_435_200_000_000_000, 1_768_435_260_000_000_000));
    assert_eq!(
        (meta.stream.as_str(), meta.key.as_str()),
        ("app", "app/00000000000000000000000000000001.shard")
    );
    assert_eq!((meta.created, &meta.offsets), (Timestamp(99), &offsets()));
    assert_eq!(meta.bytes, std::fs::metadata(path(2)).unwrap().len());

    let all = shard.search(&request("*")).unwrap();
    let expected: Vec<Row> = rows().into_iter().map(|hot| hot.row).collect();
    assert_eq!(all.hits, expected);
    assert_eq!(
        all.histogram.into_iter().collect::<Vec<_>>(),
        [(1_768_435_200_000_000_000, 3), (1_768_435_260_000_000_000, 1)]
    );
    for row in &expected {
        assert_eq!(shard.record(row.id).unwrap().as_ref(), Some(row));
    }
    assert_eq!(shard.record(RecordId { index: 1, ..expected[0].id }).unwrap(), None);
    let answers = [
        ("connection", &[0, 300][..]),
        ("\"reset by\"", &[0]),
        ("größe", &[100]),
        ("/by|read/", &[0, 100]),
        ("host:web1", &[0, 100, 200, 300]),
        ("status:>=300 -status:400", &[100, 300]),
        ("status:500.0", &[300]),
        ("ratio:0.5", &[100]),
        ("level:info", &[100, 300]),
        ("NOT level:*", &[200]),
        ("tags:RED tags:7", &[300]),
        ("http.ok:true", &[300]),
        ("trace_id:abababababababababababababababab", &[300]),
        ("_position:100", &[100]),
        ("_stream:app", &[0, 100, 200, 300]),
        ("file:*größe*", &[0, 100, 200, 300]),
    ];
    assert_found(&shard, &answers);
}

/// Makes the fixture; run once when a layout is new, never to make a failing test pass.
#[test]
#[ignore = "writes the fixture that the other test reads"]
fn write_the_fixture() {
    let folder = tempfile::tempdir().unwrap();
    let stream: StreamName = "app".parse().unwrap();
    let hot = HotShard::new(&Shaper::new(), &FieldRules::new(Arc::new(declared()), 1_000));
    hot.append(rows_3());
    let rows = vec![hot.snapshot()];
    let input = SealInput {
        id: ShardId(1),
        stream,
        rows,
        offsets: offsets(),
        created: Timestamp(99),
        rewrites: 0,
        bucket: None,
    };
    let bundle = seal(&input, folder.path()).unwrap();
    std::fs::copy(bundle.path, path(3)).unwrap();
}
