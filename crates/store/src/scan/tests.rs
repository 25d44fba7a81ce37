//! Whatever the rows, the filter and the fields: a scan of hot rows, of a shard and of merged shards gives what each
//! record says, and group counts are those of the scan.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::{Batch, GroupCounts, ScanRequest, cell_of};
use crate::{HotRow, HotRows, MergeInput, SealedShard, merge, sample, sealed::tests::sealed_of};
use millrace_model::{FieldRef, Fields, Row, ShardId, TimeRange, Timestamp, Value};
use proptest::prelude::*;
use std::{collections::BTreeMap, ops::ControlFlow};

/// By id, the values of a record's fields.
type Found = BTreeMap<String, String>;

fn fields() -> impl Strategy<Value = Vec<FieldRef>> {
    let reserved = &[
        "body",
        "level",
        "severity_number",
        "timestamp",
        "observed_timestamp",
        "trace_id",
        "span_id",
        "_id",
        "_source",
        "_position",
        "_stream",
    ][..];
    let scope = prop::sample::select(&["", "", "attributes.", "resource."][..]);
    let path =
        (scope, prop::sample::select(sample::PATHS)).prop_map(|(scope, path)| format!("{scope}{path}"));
    let name = prop_oneof![2 => prop::sample::select(reserved).prop_map(str::to_owned), 3 => path];
    prop::collection::vec(name.prop_map(|name| FieldRef::resolve(&name)), 1..5)
}

fn cells(row: &Row, fields: &[FieldRef]) -> Vec<Option<Value>> {
    fields.iter().map(|field| row.placed().field(field).and_then(|value| cell_of(&value))).collect()
}

/// What all batches say. The last field is the id.
fn gather(found: &mut Found, batch: &Batch) {
    let (ids, fields) = batch.columns.split_last().unwrap();
    for row in 0..batch.rows {
        let Some(Value::String(id)) = ids.get(row) else { panic!("a row without an id") };
        let values: Vec<Option<Value>> = fields.iter().map(|cells| cells.get(row).cloned()).collect();
        assert!(found.insert(id.clone(), format!("{values:?}")).is_none(), "{id} comes twice");
    }
}

fn text(counts: &GroupCounts) -> String {
    format!("{:?} {} {}", counts.top(usize::MAX), counts.distinct(), counts.absent())
}

proptest! {
    #[test]
    fn a_scan_says_what_records_say(
        rows in sample::rows(40), filter in sample::filter(), mut fields in fields(), times in any::<[prop::sample::Index; 2]>(),
        whole in any::<bool>(), cut in 0usize..40, limit in 0usize..50,
    ) {
        prop_assume!(!rows.is_empty());
        let [from, to] = times.map(|at| Timestamp(sample::TIMES[at.index(sample::TIMES.len())]));
        let range = if whole { TimeRange::ALL } else { TimeRange { from: from.min(to), to: from.max(to) } };
        let matching: Vec<&Row> = rows
            .iter()
            .map(|hot| &hot.row)
            .filter(|row| range.contains(row.time) && filter.matches(&row.placed()))
            .collect();
        let expected: Found =
            matching.iter().map(|row| (row.id.to_string(), format!("{:?}", cells(row, &fields)))).collect();
        let mut plainly = GroupCounts::default();
        for row in &matching {
            let columns = vec![super::Cells::uniform(cells(row, &fields[..1])[0].clone(), 1)];
            plainly.add(&Batch { rows: 1, columns });
        }
        fields.push(FieldRef::Id);
        let request = ScanRequest { filter, range, fields, limit: usize::MAX };

        let hot: HotRows = rows.iter().cloned().collect();
        let mut found = Found::new();
        hot.scan(&request, i64::MIN, &mut |batch| {
            gather(&mut found, &batch);
            ControlFlow::Continue(())
        });
        prop_assert_eq!(&found, &expected, "in memory");
        prop_assert_eq!(text(&hot.group_counts(&request.filter, range, &request.fields[0], i64::MIN)), text(&plainly));

        let parts: Vec<&[HotRow]> = [&rows[..cut.min(rows.len())], &rows[cut.min(rows.len())..]]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect();
        let (folders, shards): (Vec<_>, Vec<_>) = parts.iter().map(|part| sealed_of(part, rows.len())).unzip();
        let mut joined = GroupCounts::default();
        for shard in &shards {
            joined.merge(&shard.group_counts(&request.filter, range, &request.fields[0]).unwrap());
        }
        prop_assert_eq!(text(&joined), text(&plainly), "of parts");

        let folder = tempfile::tempdir().unwrap();
        let input = MergeInput { id: ShardId(8), shards: &shards, deletions: &[], passed: 0, created: Timestamp(9) };
        let merged = SealedShard::open(&merge(&input, folder.path()).unwrap().path).unwrap();
        let mut found = Found::new();
        merged.scan(&request, &mut |batch| {
            gather(&mut found, &batch);
            ControlFlow::Continue(())
        }).unwrap();
        prop_assert_eq!(&found, &expected, "merged");
        prop_assert_eq!(text(&merged.group_counts(&request.filter, range, &request.fields[0]).unwrap()), text(&plainly));

        // No more than are asked for, and no more batches than are wanted.
        for (limit, batches) in [(limit, usize::MAX), (usize::MAX, 1)] {
            let request = ScanRequest { limit, ..request.clone() };
            let (mut seen, mut some) = (0, Found::new());
            let mut visit = |batch: Batch| {
                gather(&mut some, &batch);
                seen += 1;
                if seen == batches { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            merged.scan(&request, &mut visit).unwrap();
            prop_assert!(some.iter().all(|(id, values)| expected.get(id) == Some(values)));
            prop_assert!(seen <= batches);
            if batches > 1 {
                prop_assert_eq!(some.len(), expected.len().min(limit));
            }
        }
        drop(folders);
    }
}

#[test]
fn the_values_that_occur_most_come_first() {
    let mut counts = GroupCounts::default();
    let values = ["b", "a", "c"].map(Value::from).to_vec();
    counts.add(&Batch {
        rows: 6,
        columns: vec![super::Cells { values, codes: vec![0, 1, 1, 2, 0, super::ABSENT] }],
    });
    counts.add(&Batch { rows: 1, columns: vec![super::Cells::uniform(Some(Value::from("b")), 1)] });
    assert_eq!(counts.top(2), [(&Value::from("b"), 3), (&Value::from("a"), 2)]);
    assert_eq!((counts.distinct(), counts.absent(), counts.top(0).len()), (3, 1, 0));
}
