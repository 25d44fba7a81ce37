//! A sealed shard is a tantivy index: what is unpacked from a bundle by the format's own description opens with stock
//! tantivy, without any code of ours, and any word or attribute value finds its records.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_model::{
    Attributes, LogRecord, OffsetRange, Partition, RecordId, Row, ShardId, SourceId, StreamName, Timestamp,
    Value, wire,
};
use millrace_store::{HotRow, SealInput, seal};
use std::{collections::BTreeSet, fs, path::Path, sync::Arc};
use tantivy::{
    Index, TantivyDocument, Term,
    collector::DocSetCollector,
    query::TermQuery,
    schema::{IndexRecordOption, Value as _},
};

fn row(number: i64, body: &str, host: &str, status: i64) -> HotRow {
    let mut resource = Attributes::new();
    resource.set("host.name", host);
    let mut record = LogRecord {
        timestamp: Some(Timestamp(1_000 + number)),
        body: Value::from(body),
        resource: Arc::new(resource),
        ..LogRecord::default()
    };
    record.attributes.set("http.status", status);
    record.attributes.set("user", "Alice");
    let id = RecordId { source: SourceId(1), position: number as u64, index: 0 };
    let row = Row { id, stream: StreamName::default(), time: record.time(), record };
    HotRow { partition: Partition(0), offset: number, row }
}

/// Takes a bundle apart as `bundle.rs` describes it.
fn unpack(bundle: &Path, folder: &Path) {
    let bytes = fs::read(bundle).unwrap();
    let (rest, trailer) = bytes.split_at(bytes.len() - 20);
    assert_eq!(&trailer[12..], b"millrshd");
    let length = u32::from_le_bytes(trailer[..4].try_into().unwrap()) as usize;
    let footer: serde_json::Value = serde_json::from_slice(&rest[rest.len() - length..]).unwrap();
    for file in footer["files"].as_array().unwrap() {
        let place = |name: &str| usize::try_from(file[name].as_u64().unwrap()).unwrap();
        fs::write(folder.join(file["name"].as_str().unwrap()), &rest[place("from")..place("to")]).unwrap();
    }
}

/// The bodies of the records that hold a term.
fn find(index: &Index, term: Term) -> BTreeSet<String> {
    let searcher = index.reader().unwrap().searcher();
    let record = index.schema().get_field("record").unwrap();
    let found = searcher.search(&TermQuery::new(term, IndexRecordOption::Basic), &DocSetCollector).unwrap();
    let body = |document: TantivyDocument| {
        let bytes = document.get_first(record).unwrap().as_bytes().unwrap().to_vec();
        wire::decode_record(&bytes).unwrap().body.to_string()
    };
    found.into_iter().map(|address| body(searcher.doc(address).unwrap())).collect()
}

#[test]
fn stock_tantivy_finds_words_and_values() {
    let long = "x".repeat(300);
    let rows = [
        row(0, "Connection reset by peer", "web1", 500),
        row(1, "Größe: 5 bytes, connection kept", "WEB2", 200),
        row(2, &format!("{long} accepted"), "web1", 200),
    ];
    let folder = tempfile::tempdir().unwrap();
    let offsets =
        vec![OffsetRange { topic: "t".to_owned(), topic_id: None, partition: Partition(0), from: 0, to: 3 }];
    let input = SealInput {
        id: ShardId(9),
        stream: StreamName::default(),
        rows: vec![rows.iter().cloned().collect()],
        offsets,
        created: Timestamp(0),
    };
    let sealed = seal(&input, folder.path()).unwrap();
    let unpacked = folder.path().join("unpacked");
    fs::create_dir(&unpacked).unwrap();
    unpack(&sealed.path, &unpacked);

    let index = Index::open_in_dir(&unpacked).unwrap();
    let bodies: Vec<String> = rows.iter().map(|hot| hot.row.record.body.to_string()).collect();
    let field = |name: &str| index.schema().get_field(name).unwrap();
    let check = |term: Term, expected: &[usize]| {
        let expected: BTreeSet<String> = expected.iter().map(|n| bodies[*n].clone()).collect();
        assert_eq!(find(&index, term.clone()), expected, "{term:?}");
    };
    let word = |text: &str| Term::from_field_text(field("body"), text);
    check(word("connection"), &[0, 1]);
    check(word("größe"), &[1]);
    check(word("5"), &[1]);
    check(word(&long[..128]), &[2]);
    check(word("absent"), &[]);
    let value = |text: &str| Term::from_field_bytes(field("terms"), text.as_bytes());
    check(value("resource.host.name\0sweb1"), &[0, 2]);
    check(value("resource.host.name\0fweb2"), &[1]);
    check(value("attributes.http.status\0i500"), &[0]);
    check(value("attributes.user\0falice"), &[0, 1, 2]);
    check(value("attributes.user"), &[0, 1, 2]);
    check(value("attributes.host.name"), &[]);
}
