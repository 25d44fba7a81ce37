//! A sealed shard is a tantivy index: what is unpacked from a bundle by the format's own description opens with stock
//! tantivy, without any code of ours, and any word or attribute value finds exactly the chunks that hold it, but for
//! those of a single chunk that stand in a filter.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::FieldName;
use crate::{
    HotRow, SealInput, SealedShard,
    bits::Bits,
    seal,
    terms::{Scope, key, term},
};
use millrace_intake::Parsers;
use millrace_model::{
    Attributes, OffsetRange, Partition, RecordId, Row, ShardId, SourceId, StreamName, Timestamp, text,
};
use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
};
use tantivy::{Index, Term, collector::DocSetCollector, query::TermQuery, schema::IndexRecordOption};

/// Lines of a few kinds; each kind is more than one chunk.
fn lines() -> impl Iterator<Item = String> {
    (0u64..20_000).map(|n| {
        let id = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        match n % 4 {
            0 => {
                format!("Received block blk_{} of size {} from /10.0.{}.{}", id >> 4, n % 700, n % 7, n % 250)
            }
            1 => format!(
                r#"{{"host":"web-{:03}","level":"{}","message":"user {} logged in","status":{},"ok":{}}}"#,
                n % 40,
                ["info", "WARN"][n as usize / 4 % 2],
                ["root", "Größe", "alice"][n as usize % 3],
                200 + n % 300,
                n % 8 == 1,
            ),
            2 => format!("Größe {n} session opened (uid={})", n % 11),
            _ => format!("GET /api/v1/items/{} took {}.{} ms", id >> 40, n % 90, n % 10),
        }
    })
}

fn rows() -> Vec<HotRow> {
    let mut resource = Attributes::new();
    resource.set("host.name", "H1");
    let resource = Arc::new(resource);
    let row = |(n, line): (usize, String)| {
        let record = Parsers::default().parse(line.as_bytes(), Timestamp(1 + n as i64), &resource);
        let id = RecordId { source: SourceId(1), position: n as u64, index: 0 };
        let row = Row { id, stream: StreamName::default(), time: record.time(), record };
        HotRow { partition: Partition(0), offset: n as i64, row }
    };
    lines().enumerate().map(row).collect()
}

fn sealed(folder: &Path) -> SealedShard {
    let rows = rows();
    let range = OffsetRange {
        topic: "t".to_owned(),
        topic_id: None,
        partition: Partition(0),
        from: 0,
        to: rows.len() as i64,
    };
    let input = SealInput {
        id: ShardId(9),
        stream: StreamName::default(),
        rows: vec![rows.into_iter().collect()],
        offsets: vec![range],
        created: Timestamp(0),
        rewrites: 0,
        bucket: None,
    };
    SealedShard::open(&seal(&input, folder).unwrap().path).unwrap()
}

/// Takes a bundle apart as `bundle.rs` describes it.
fn unpack(bundle: &Path, folder: &Path) -> Index {
    fs::create_dir(folder).unwrap();
    let bytes = fs::read(bundle).unwrap();
    let (rest, trailer) = bytes.split_at(bytes.len() - 20);
    assert_eq!(&trailer[12..], b"millrshd");
    let length = u32::from_le_bytes(trailer[..4].try_into().unwrap()) as usize;
    let footer: serde_json::Value = serde_json::from_slice(&rest[rest.len() - length..]).unwrap();
    for file in footer["files"].as_array().unwrap() {
        let place = |name: &str| usize::try_from(file[name].as_u64().unwrap()).unwrap();
        fs::write(folder.join(file["name"].as_str().unwrap()), &rest[place("from")..place("to")]).unwrap();
    }
    Index::open_in_dir(folder).unwrap()
}

/// What each chunk holds, by reading its rows: words of bodies and terms of some attributes, with the chunks of each.
fn held(shard: &SealedShard) -> [BTreeMap<Vec<u8>, BTreeSet<u32>>; 2] {
    let [mut words, mut terms] = [BTreeMap::new(), BTreeMap::new()];
    shard.each_row_with_chunk(&mut |chunk, row| {
        for word in text::tokens(&row.record.body.to_string()) {
            let word = text::indexed_form(&word).as_bytes().to_vec();
            words.entry(word).or_insert_with(BTreeSet::new).insert(chunk);
        }
        for (path, kind) in [("host", b's'), ("status", b'i'), ("ok", b'b')] {
            if let Some(value) = row.record.attributes.get(path) {
                let term = term(&key(Scope::Attributes, path).unwrap(), kind, &value.to_string());
                terms.entry(term).or_insert_with(BTreeSet::new).insert(chunk);
            }
        }
        let host = term(&key(Scope::Resource, "host.name").unwrap(), b'f', "h1");
        terms.entry(host).or_insert_with(BTreeSet::new).insert(chunk);
    });
    [words, terms]
}

#[test]
fn stock_tantivy_finds_the_chunks_of_words_and_values() {
    let folder = tempfile::tempdir().unwrap();
    let shard = sealed(folder.path());
    let index = unpack(&folder.path().join(format!("{}.shard", ShardId(9))), &folder.path().join("unpacked"));
    let searcher = index.reader().unwrap().searcher();
    let find = |term: &Term| -> BTreeSet<u32> {
        let query = TermQuery::new(term.clone(), IndexRecordOption::Basic);
        let found = searcher.search(&query, &DocSetCollector).unwrap();
        found.into_iter().map(|address| address.doc_id).collect()
    };
    let field = |name: &str| index.schema().get_field(name).unwrap();
    let [words, terms] = held(&shard);
    assert!(words.len() > 10_000 && terms.len() > 80, "{} {}", words.len(), terms.len());
    let (mut asked, mut alone) = (0, 0);
    let every_tenth = words.into_iter().enumerate().filter(|(n, _)| n % 10 == 0).map(|(_, word)| word);
    let all = every_tenth.map(|(word, chunks)| (FieldName::Body, word, chunks));
    for (name, bytes, chunks) in
        all.chain(terms.into_iter().map(|(term, chunks)| (FieldName::Terms, term, chunks)))
    {
        let term = match name {
            FieldName::Body => Term::from_field_text(field("body"), std::str::from_utf8(&bytes).unwrap()),
            FieldName::Terms => Term::from_field_bytes(field("terms"), &bytes),
        };
        let found = find(&term);
        if chunks.len() > 1 {
            assert_eq!(found, chunks, "{term:?}");
        } else {
            assert!(found.is_empty() || found == chunks, "{term:?}");
            alone += usize::from(found.is_empty());
        }
        // With the filters nothing is missed.
        let may: Bits = shard.chunk_index().look_up(Path::new(""), name, &bytes, &Cell::new(0)).unwrap();
        assert!(chunks.iter().all(|chunk| may.contains(*chunk)), "{term:?}");
        asked += 1;
    }
    assert!(asked > 1_000 && alone > 100, "{asked} {alone}");
    assert_eq!(find(&Term::from_field_text(field("body"), "absent")), BTreeSet::new());
}
