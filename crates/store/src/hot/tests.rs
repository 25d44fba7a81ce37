#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use crate::{LeafRequest, Order, Threads, sample};
use millrace_filter::Filter;
use millrace_model::LogRecord;
use millrace_pipes::{Context, Plan};
use proptest::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};

fn row(offset: i64, time: i64) -> HotRow {
    let id = RecordId { source: SourceId(1), position: offset as u64, index: 0 };
    let record = LogRecord { body: format!("line {offset}").into(), ..LogRecord::default() };
    HotRow {
        partition: Partition(0),
        offset,
        row: Row { id, stream: StreamName::default(), time: Timestamp(time), record },
    }
}

fn positions(rows: &HotRows, from: i64, to: i64) -> Vec<u64> {
    let request = LeafRequest {
        filter: Filter::ALL,
        range: TimeRange { from: Timestamp(from), to: Timestamp(to) },
        limit: usize::MAX,
        order: Order::OldestFirst,
        after: None,
        histogram: None,
        fragments: None,
    };
    rows.search(&request, i64::MIN, None).unwrap().hits.iter().map(|row| row.id.position).collect()
}

#[test]
fn a_snapshot_does_not_see_later_rows_and_the_shard_does() {
    let shard = HotShard::default();
    shard.append(vec![row(0, 10), row(1, 20)]);
    let before = shard.snapshot();
    shard.append(vec![row(2, 30)]);
    shard.append(Vec::new());
    assert_eq!((before.len(), shard.len(), shard.snapshot().len()), (2, 3, 3));
    assert_eq!(positions(&before, 0, 100), [0, 1]);
    assert_eq!(positions(&shard.snapshot(), 0, 100), [0, 1, 2]);
    assert!(shard.weight() > 0 && shard.weight() < 3 * row(0, 0).row.weight());
    assert!(HotShard::default().is_empty() && HotShard::default().snapshot().is_empty());
}

/// Lets go on so often.
struct Stops(AtomicUsize);

impl Threads for Stops {
    fn go_on(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

#[test]
fn what_nobody_waits_for_ends_within_a_block() {
    let shard = HotShard::default();
    for n in 0..3 * BLOCK_ROWS as i64 {
        shard.append(vec![row(n, n)]);
    }
    let rows = shard.snapshot();
    let blocks = rows.blocks().len();
    let search = |pipes: &str, asked: usize| {
        let query = millrace_pipes::parse(&format!("* | {pipes}")).unwrap();
        let context = Context { now: Timestamp(0), range: TimeRange::ALL, limit: 30, memory: 1 << 24 };
        let plan = Plan::new(&query.pipes, &context).unwrap();
        let request = LeafRequest {
            filter: Filter::ALL,
            range: TimeRange::ALL,
            limit: 0,
            order: Order::OldestFirst,
            after: None,
            histogram: None,
            fragments: Some(Plan::leaf_of(&[plan])),
        };
        rows.search(&request, i64::MIN, Some(&Stops(AtomicUsize::new(asked))))
    };
    for pipes in ["stats count()", "stats count_distinct(body)"] {
        assert!(search(pipes, blocks).is_ok(), "{pipes}");
        assert!(matches!(search(pipes, blocks - 1), Err(crate::Error::Stopped)), "{pipes}");
    }
}

#[test]
fn small_appends_share_a_block_until_somebody_looks() {
    let shard = HotShard::default();
    for n in 0..10 {
        shard.append(vec![row(n, n)]);
    }
    assert_eq!(shard.lock().blocks.len(), 1);
    let snapshot = shard.snapshot();
    shard.append(vec![row(10, 10)]);
    assert_eq!(shard.lock().blocks.len(), 2);
    drop(snapshot);
    for n in 0..2 * BLOCK_ROWS as i64 {
        shard.append(vec![row(n, n)]);
    }
    assert_eq!(shard.lock().blocks.len(), 4);
}

#[test]
fn rows_below_an_offset_and_outside_a_range_are_passed_over() {
    let shard = HotShard::default();
    shard.append((0..BLOCK_ROWS as i64).map(|n| row(n, n)).collect());
    shard.append(vec![row(7, 1_000_000)]);
    let rows = shard.snapshot();
    assert_eq!(positions(&rows, 500_000, 2_000_000), [7]);
    assert_eq!(positions(&rows, 3, 5), [3, 4]);
    assert_eq!(positions(&rows, 5_000, 1_000_000), [0u64; 0]);
    let request = LeafRequest {
        filter: millrace_filter::parse("line").unwrap(),
        range: TimeRange::ALL,
        limit: 0,
        order: Order::NewestFirst,
        after: None,
        histogram: None,
        fragments: None,
    };
    assert_eq!(rows.search(&request, BLOCK_ROWS as i64 - 3, None).unwrap().total, 3);
}

proptest! {
    #[test]
    fn every_row_comes_back_as_it_was(rows in sample::rows(20)) {
        let hot: HotRows = rows.iter().cloned().collect();
        let back: Vec<String> = hot.rows().map(|row| format!("{row:?}")).collect();
        let given: Vec<String> = rows.iter().map(|hot| format!("{:?}", hot.row)).collect();
        prop_assert_eq!(back, given);
    }
}
