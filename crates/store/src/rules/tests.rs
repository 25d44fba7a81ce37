//! That rules change how rows are kept and what declared fields hold, and nothing else.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::{
    HotRow, HotShard, LeafRequest, MergeInput, Order, SealInput, SealedBundle, SealedShard, Shaper, Unruly,
    merge, sample, seal,
};
use millrace_model::{
    Attributes, FieldType, LogRecord, OffsetRange, Partition, RecordId, Row, ShardId, SourceId, StreamName,
    TimeRange, Timestamp,
};
use proptest::prelude::*;
use std::path::Path;

fn declared(fields: &[(&str, FieldType)]) -> Arc<Declarations> {
    Arc::new(fields.iter().map(|(path, kind)| ((*path).to_owned(), *kind)).collect())
}

fn row(number: i64, attributes: &str) -> HotRow {
    let attributes: Attributes = serde_json::from_str(attributes).unwrap();
    let record = LogRecord { body: "a line".into(), attributes, ..LogRecord::default() };
    let id = RecordId { source: SourceId(1), position: number as u64, index: 0 };
    let row = Row { id, stream: StreamName::default(), time: Timestamp(number), record };
    HotRow { partition: Partition(0), offset: number, row }
}

fn sealed(hot: &HotShard, number: u128, folder: &Path) -> SealedBundle {
    let range = |partition| OffsetRange {
        topic: "t".to_owned(),
        topic_id: None,
        partition: Partition(partition),
        from: 0,
        to: 1_000,
    };
    let input = SealInput {
        id: ShardId(number),
        stream: StreamName::default(),
        rows: vec![hot.snapshot()],
        offsets: (0..2).map(range).collect(),
        created: Timestamp(7),
        rewrites: 0,
        bucket: None,
    };
    seal(&input, folder).unwrap()
}

fn request(filter: millrace_filter::Filter) -> LeafRequest {
    let (range, order) = (TimeRange::ALL, Order::OldestFirst);
    LeafRequest { filter, range, limit: 100, order, after: None, histogram: None, fragments: None }
}

/// The positions that a query finds.
fn found(shard: &SealedShard, query: &str) -> Vec<u64> {
    let response = shard.search(&request(millrace_filter::parse(query).unwrap())).unwrap();
    response.hits.iter().map(|row| row.id.position).collect()
}

#[test]
fn merged_shards_keep_the_declarations_of_each_and_answer_by_them() {
    let folder = tempfile::tempdir().unwrap();
    let (number, text) =
        (declared(&[("f", FieldType::Number)]), declared(&[("f", FieldType::Text), ("g", FieldType::Ip)]));
    let cut = |rules: FieldRules, first: i64| {
        let hot = HotShard::new(&Shaper::new(), &rules);
        let unruly =
            hot.append(vec![row(first, r#"{"f":"7.0"}"#), row(first + 1, r#"{"f":"n 7.0 x","g":"web1"}"#)]);
        let bundle = sealed(&hot, first as u128, folder.path());
        (unruly, SealedShard::open(&bundle.path).unwrap())
    };
    let (kept, plain) = cut(FieldRules::default(), 10);
    assert_eq!((kept, plain.meta().fields.is_empty()), (Unruly::default(), true));
    let (unruly, by_number) = cut(FieldRules::new(Arc::clone(&number), 100), 20);
    assert_eq!(unruly, Unruly { conflicts: 1, beyond: 0 });
    assert_eq!(by_number.meta().fields.declared, [(*number).clone()]);
    let (unruly, by_text) = cut(FieldRules::new(Arc::clone(&text), 100), 30);
    assert_eq!(unruly, Unruly { conflicts: 1, beyond: 0 });

    let shards = [plain, by_number, by_text];
    let input =
        MergeInput { id: ShardId(99), shards: &shards, deletions: &[], passed: 0, created: Timestamp(9) };
    let merged = SealedShard::open(&merge(&input, folder.path()).unwrap().path).unwrap();
    let fields = &merged.meta().fields;
    assert_eq!(fields.declared, [Declarations::default(), (*number).clone(), (*text).clone()]);
    assert_eq!(fields.conflicts, [("f".to_owned(), 1), ("g".to_owned(), 1)].into_iter().collect());
    for (query, positions) in [
        ("f:7", &[20, 30, 31][..]),
        ("f:\"7.0\"", &[10, 20, 30, 31]),
        ("f:x", &[31]),
        ("f:>6", &[10, 20, 30]),
        ("f:\"n 7.0 x\"", &[11, 21, 31]),
        ("g:web1", &[11, 21, 31]),
    ] {
        let apart: Vec<u64> = shards.iter().flat_map(|shard| found(shard, query)).collect();
        assert_eq!(apart, positions, "{query}");
        assert_eq!(found(&merged, query), positions, "{query}, merged");
    }
}

#[test]
fn fields_beyond_the_cap_have_no_columns_and_those_of_a_bucket_share_it() {
    let rules = FieldRules::new(Arc::default(), 3);
    let (one, other) = (HotShard::new(&Shaper::new(), &rules), HotShard::new(&Shaper::new(), &rules));
    assert_eq!(one.append(vec![row(1, r#"{"a":1,"b":{"c":2}}"#)]), Unruly::default());
    assert_eq!(other.append(vec![row(2, r#"{"d":1}"#)]), Unruly::default());
    let beyond = other.append(vec![
        row(3, r#"{"e":1}"#),
        row(4, r#"{"e":2}"#),
        row(5, r#"{"a":2,"d":3,"b":{"c":1}}"#),
    ]);
    assert_eq!(beyond, Unruly { conflicts: 0, beyond: 2 });
    assert_eq!(other.snapshot().fields().beyond, 2);
    let folder = tempfile::tempdir().unwrap();
    let shard = SealedShard::open(&sealed(&other, 9, folder.path()).path).unwrap();
    assert_eq!(shard.meta().fields.beyond, 2);
    assert_eq!(
        (found(&shard, "e:>=1"), found(&shard, "e:2"), found(&shard, "d:*")),
        (vec![3, 4], vec![4], vec![2, 5])
    );
}

proptest! {
    /// Whatever is declared and however few fields may have columns: in memory, sealed and merged the answers are those of
    /// the records with their declared fields coerced.
    #[test]
    fn rules_change_nothing_but_what_is_declared(
        rows in sample::rows(30), declared in sample::declarations(), most in 0usize..8,
        filters in prop::collection::vec(sample::filter(), 1..12),
    ) {
        prop_assume!(!rows.is_empty());
        let mut plain = rows.clone();
        let mut conflicts = 0;
        for hot in &mut plain {
            declared.coerce(&mut hot.row.record.attributes, |_| conflicts += 1);
        }
        let rules = FieldRules::new(Arc::new(declared), most);
        let hot = HotShard::new(&Shaper::new(), &rules);
        let mut counted = Unruly::default();
        for rows in rows.chunks(7) {
            let unruly = hot.append(rows.to_vec());
            counted = Unruly {
                conflicts: counted.conflicts + unruly.conflicts, beyond: counted.beyond + unruly.beyond,
            };
        }
        prop_assert_eq!(counted.conflicts, conflicts);
        let folder = tempfile::tempdir().unwrap();
        let bundle = sealed(&hot, 1, folder.path());
        let fields = &bundle.meta.fields;
        prop_assert_eq!((fields.conflicts.values().sum::<u64>(), fields.beyond), (conflicts, counted.beyond));
        let shard = SealedShard::open(&bundle.path).unwrap();
        for filter in filters {
            let mut expected: Vec<&Row> =
                plain.iter().map(|hot| &hot.row).filter(|row| filter.matches(&row.placed())).collect();
            expected.sort_by_key(|row| row.order());
            let expected = format!("{expected:?}");
            let request = request(filter);
            prop_assert_eq!(&format!("{:?}", hot.snapshot().search(&request, i64::MIN, None).unwrap().hits), &expected, "{}", request.filter);
            prop_assert_eq!(&format!("{:?}", shard.search(&request).unwrap().hits), &expected, "{}", request.filter);
        }
    }
}
