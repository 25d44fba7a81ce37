//! The two evaluators held against each other at length: thousands of filters over hundreds of thousands of records,
//! random ones and, where there is a file of them, real ones; in memory, sealed, merged, and some of each. Takes two
//! cores three quarters of an hour, so it is run by hand:
//!
//! ```text
//! MILLRACE_LINES=FILE.jsonl cargo test --release -p millrace-store --lib equality -- --ignored --nocapture
//! ```
#![expect(clippy::unwrap_used, reason = "tests")]

use super::tests::{Two, sealed_of};
use crate::{
    GroupCounts, HotRow, HotRows, HotShard, LeafRequest, LeafResponse, MergeInput, Order, SealedShard,
    leaf::bucket, merge, sample, scan::cell_of,
};
use millrace_filter::Filter;
use millrace_intake::{Parser, Parsers};
use millrace_model::{
    Attributes, FieldRef, Fields, Partition, RecordId, Row, ShardId, SourceId, StreamName, TimeRange,
    Timestamp, Value, text, wire,
};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use std::{
    io::BufRead,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tempfile::TempDir;

const PARTS: usize = 4;
const HITS: usize = 20;
const INTERVAL: u64 = 60_000_000_000;
const GROUPED: &[&str] = &["host", "service", "level", "body", "k", "status"];

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

/// A generator of random things that begins the same each time.
struct Chance(TestRunner);

impl Chance {
    fn new() -> Self {
        let random =
            proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha);
        Self(TestRunner::new_with_rng(Config::default(), random))
    }

    fn draw<T: std::fmt::Debug>(&mut self, strategy: &impl Strategy<Value = T>) -> T {
        strategy.new_tree(&mut self.0).unwrap().current()
    }

    fn below(&mut self, bound: usize) -> usize {
        self.draw(&(0..bound.max(1)))
    }
}

/// The rows: random records, one in thirty where lines of a file are given: of them each has a shape of its own.
fn rows(chance: &mut Chance, count: usize) -> Vec<HotRow> {
    let mut records = Vec::with_capacity(count);
    if let Ok(path) = std::env::var("MILLRACE_LINES") {
        let parsers: Parsers = [Parser::Auto].into_iter().collect();
        let resource = Arc::new(Attributes::new());
        let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
        for line in file.lines().take(count / 30 * 29) {
            records.push(parsers.parse(line.unwrap().as_bytes(), Timestamp(1), &resource));
        }
    }
    let batches = sample::rows(500);
    while records.len() < count {
        records.extend(chance.draw(&batches).into_iter().map(|hot| hot.row.record));
    }
    let mut rows: Vec<HotRow> = Vec::with_capacity(count);
    for (number, record) in records.into_iter().enumerate() {
        let record = wire::decode_record(&wire::encode_record(&record)).unwrap();
        let id = RecordId { source: SourceId(number as u128 % 7), position: number as u64 * 100, index: 0 };
        let row = Row { id, stream: StreamName::default(), time: record.time(), record };
        rows.push(HotRow { partition: Partition(0), offset: number as i64, row });
    }
    // Each part has some of every kind.
    for last in (1..rows.len()).rev() {
        rows.swap(last, chance.below(last + 1));
    }
    rows
}

/// A query about something that is in a row.
fn of_a_row(chance: &mut Chance, row: &Row) -> String {
    let body = row.record.body.as_str().unwrap_or_default();
    let words: Vec<&str> = text::token_ranges(body).map(|range| &body[range]).collect();
    let mut leaves = Vec::new();
    row.record.attributes.each_leaf(&mut |path, value| leaves.push((path.to_owned(), value.to_string())));
    let at = chance.below(words.len());
    let word = words.get(at).copied().unwrap_or("nothing");
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let leaf = leaves.get(chance.below(leaves.len())).cloned().unwrap_or(("host".to_owned(), "x".to_owned()));
    let start: String = word.chars().take(3).collect();
    let middle: String = word.chars().skip(1).take(5).collect();
    match chance.below(12) {
        0 | 1 => word.to_owned(),
        2 => format!("{start}*"),
        3 => format!("*{middle}*"),
        4 => quoted(&words[at.min(words.len())..].iter().take(3).copied().collect::<Vec<_>>().join(" ")),
        5 => format!("{}:{}", leaf.0, quoted(&leaf.1)),
        6 => format!("{}:>={}", leaf.0, quoted(&leaf.1)),
        7 => format!("NOT {}:*", leaf.0),
        8 => format!("/{middle}[0-9a-z]/"),
        9 => format!("{word} AND {}:{}", leaf.0, quoted(&leaf.1)),
        10 => format!("{word} OR level:error"),
        _ => format!("NOT {word} AND {start}*"),
    }
}

fn filters(chance: &mut Chance, rows: &[HotRow], count: usize) -> Vec<Filter> {
    let random = sample::filter();
    let mut filters = Vec::with_capacity(count);
    while filters.len() < count {
        if filters.len() % 2 == 0 {
            filters.push(chance.draw(&random));
        } else {
            let row = &rows[chance.below(rows.len())].row;
            filters.extend(millrace_filter::parse(&of_a_row(chance, row)));
        }
    }
    filters
}

fn hot(rows: &[HotRow]) -> HotRows {
    let shard = HotShard::default();
    for rows in rows.chunks(500) {
        shard.append(rows.to_vec());
    }
    shard.snapshot()
}

fn merged(shards: &[SealedShard], folder: &TempDir, id: u128) -> SealedShard {
    let input = MergeInput { id: ShardId(id), shards, deletions: &[], passed: 0, created: Timestamp(9) };
    SealedShard::open(&merge(&input, folder.path()).unwrap().path).unwrap()
}

/// Where rows are.
#[derive(Default)]
struct Places<'a> {
    hot: Vec<&'a HotRows>,
    sealed: Vec<&'a SealedShard>,
}

impl Places<'_> {
    fn ask(&self, request: &LeafRequest) -> LeafResponse {
        let hot = self.hot.iter().map(|rows| rows.search(request, i64::MIN, None).unwrap());
        let sealed = self.sealed.iter().map(|shard| shard.search_on(request, Some(&Two)).unwrap());
        let all = hot.chain(sealed).reduce(|sum, more| sum.merge(more, request));
        all.unwrap_or_default()
    }

    fn groups(&self, request: &LeafRequest, field: &FieldRef) -> GroupCounts {
        let LeafRequest { filter, range, .. } = request;
        let mut groups = GroupCounts::default();
        let hot = self.hot.iter().map(|rows| rows.group_counts(filter, *range, field, i64::MIN).unwrap());
        let sealed = self.sealed.iter().map(|shard| shard.group_counts(filter, *range, field).unwrap());
        hot.chain(sealed).for_each(|counts| groups.merge(&counts));
        groups
    }
}

/// What the language means, row by row.
fn plainly(rows: &[HotRow], request: &LeafRequest, field: &FieldRef) -> (LeafResponse, GroupCounts) {
    let (mut sum, mut groups) = (LeafResponse::default(), GroupCounts::default());
    let mut all: Vec<&Row> = rows.iter().map(|hot| &hot.row).collect();
    all.retain(|row| request.filter.matches(&row.placed()));
    sum.total = all.len() as u64;
    for row in &all {
        if let Some(interval) = request.histogram {
            *sum.histogram.entry(bucket(row.time, interval)).or_default() += 1;
        }
        let value: Option<Value> = row.placed().field(field).and_then(|value| cell_of(&value));
        groups.add(&millrace_pipes::Cells::uniform(value, 1));
    }
    all.sort_by(|a, b| request.order.compare(&a.order(), &b.order()));
    sum.hits = all.into_iter().take(request.limit).cloned().collect();
    (sum, groups)
}

fn said(response: &LeafResponse) -> String {
    let LeafResponse { total, hits, histogram, .. } = response;
    format!("{total}\n{histogram:?}\n{hits:?}")
}

fn counted(groups: &GroupCounts) -> String {
    format!("{} {} {:?}", groups.distinct(), groups.absent(), groups.top(50))
}

/// Is a row found as it should be where it is the only one? Tells of what is wrong, where all are too many to look at.
fn is_equal_alone(row: &HotRow, request: &LeafRequest, field: &FieldRef) -> bool {
    let rows = std::slice::from_ref(row);
    let (hot, (_folder, sealed)) = (hot(rows), sealed_of(rows, row.offset as usize + 1));
    let (found, groups) = plainly(rows, request, field);
    [Places { hot: vec![&hot], sealed: Vec::new() }, Places { hot: Vec::new(), sealed: vec![&sealed] }]
        .iter()
        .all(|place| {
            said(&place.ask(request)) == said(&found)
                && counted(&place.groups(request, field)) == counted(&groups)
        })
}

#[test]
#[ignore = "takes three quarters of an hour"]
#[expect(clippy::print_stdout, reason = "says how far it is")]
fn equality_of_many_filters_over_many_records() {
    let mut chance = Chance::new();
    let rows = rows(&mut chance, setting("MILLRACE_ROWS", 300_000));
    let filters = filters(&mut chance, &rows, setting("MILLRACE_FILTERS", 5_000));
    let parts: Vec<&[HotRow]> = rows.chunks(rows.len().div_ceil(PARTS)).collect();
    let all_hot = hot(&rows);
    let part_hot = hot(parts[0]);
    let (_folders, sealed): (Vec<TempDir>, Vec<SealedShard>) =
        parts.iter().map(|part| sealed_of(part, rows.len())).unzip();
    let folder = tempfile::tempdir().unwrap();
    let half = merged(&sealed[2..], &folder, 20);
    let whole = merged(&[merged(&sealed[..2], &folder, 21), merged(&sealed[2..], &folder, 22)], &folder, 23);
    let places = [
        ("hot", Places { hot: vec![&all_hot], sealed: Vec::new() }),
        ("sealed", Places { hot: Vec::new(), sealed: sealed.iter().collect() }),
        ("merged twice", Places { hot: Vec::new(), sealed: vec![&whole] }),
        ("mixed", Places { hot: vec![&part_hot], sealed: vec![&sealed[1], &half] }),
    ];
    let places_count = places.len();
    println!("{} rows, {} filters", rows.len(), filters.len());
    let (next, matched) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(filter) = filters.get(number) else { break };
                    let order = if number % 3 == 0 { Order::OldestFirst } else { Order::NewestFirst };
                    let request = LeafRequest {
                        filter: filter.clone(),
                        range: TimeRange::ALL,
                        limit: HITS,
                        order,
                        after: None,
                        // Without one nothing is read where counts say enough.
                        histogram: (number % 2 == 0).then_some(INTERVAL),
                        fragments: None,
                    };
                    let field = FieldRef::resolve(GROUPED[number % GROUPED.len()]);
                    let (expected, groups) = plainly(&rows, &request, &field);
                    matched.fetch_add(usize::from(expected.total > 0), Ordering::Relaxed);
                    let alone = || rows.iter().find(|row| !is_equal_alone(row, &request, &field));
                    let check = |name: &str, found: String, expected: String| {
                        assert!(
                            found == expected,
                            "{name}, {filter}:\n{found}\ninstead of\n{expected}\nwrong alone: {:?}",
                            alone()
                        );
                    };
                    for (turn, (name, places)) in places.iter().enumerate() {
                        check(name, said(&places.ask(&request)), said(&expected));
                        // Groups of one place in turn: they cost as much as all else.
                        if number / 2 % places_count == turn {
                            check(name, counted(&places.groups(&request, &field)), counted(&groups));
                        }
                    }
                    if number % 100 == 0 {
                        println!("{number} filters");
                    }
                }
            });
        }
    });
    println!("all equal; {} of the filters match something", matched.into_inner());
}
