#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use crate::{
    Deletion, HotRow, HotRows, MergeInput, Order, Place, SealInput, leaf::bucket, merge, sample, seal,
};
use millrace_filter::{Expr, Filter, Glob, GlobPart, Text};
use millrace_model::{
    Attributes, LogRecord, OffsetRange, Partition, ShardId, SourceId, StreamName, TimeRange, Timestamp, Value,
};
use proptest::{prelude::*, strategy::ValueTree};
use std::sync::Mutex;
use tempfile::TempDir;

fn input(rows: &[HotRow]) -> SealInput {
    let offsets = (0..2).map(|partition| OffsetRange {
        topic: "t".to_owned(),
        topic_id: None,
        partition: Partition(partition),
        from: 0,
        to: rows.len() as i64,
    });
    SealInput {
        id: ShardId(1),
        stream: StreamName::default(),
        rows: vec![rows.iter().cloned().collect()],
        offsets: offsets.collect(),
        created: Timestamp(7),
        rewrites: 0,
        bucket: None,
    }
}

fn sealed(rows: &[HotRow]) -> (TempDir, SealedShard) {
    sealed_of(rows, rows.len())
}

pub(crate) fn sealed_of(rows: &[HotRow], offsets: usize) -> (TempDir, SealedShard) {
    let folder = tempfile::tempdir().unwrap();
    let mut input = input(rows);
    input.offsets.iter_mut().for_each(|range| range.to = offsets as i64);
    let bundle = seal(&input, folder.path()).unwrap();
    assert_eq!(bundle.left_out, 0);
    let shard = SealedShard::open(&bundle.path).unwrap();
    assert_eq!(shard.meta(), &bundle.meta);
    (folder, shard)
}

fn request(filter: Filter, limit: usize) -> LeafRequest {
    let histogram = Some(1_000);
    LeafRequest {
        filter,
        range: TimeRange::ALL,
        limit,
        order: Order::NewestFirst,
        after: None,
        histogram,
        fragments: None,
    }
}

fn row(number: u64, record: LogRecord) -> HotRow {
    let id = RecordId { source: SourceId(3), position: number, index: 0 };
    let row = Row { id, stream: StreamName::default(), time: record.time(), record };
    HotRow { partition: Partition(0), offset: number as i64, row }
}

/// What the language means, written as plainly as can be.
fn plainly(rows: &[HotRow], request: &LeafRequest) -> LeafResponse {
    let mut all: Vec<&Row> = rows.iter().map(|hot| &hot.row).collect();
    all.retain(|row| request.range.contains(row.time) && request.filter.matches(&row.placed()));
    all.sort_by(|a, b| request.order.compare(&a.order(), &b.order()));
    let mut response = LeafResponse { total: all.len() as u64, ..LeafResponse::default() };
    for (row, interval) in all.iter().filter_map(|row| Some((row, request.histogram?))) {
        *response.histogram.entry(bucket(row.time, interval)).or_default() += 1;
    }
    all.retain(|row| request.after.is_none_or(|after| request.order.compare(&row.order(), &after).is_gt()));
    response.hits = all.into_iter().take(request.limit).cloned().collect();
    response
}

/// Threads of which there are always two.
pub(crate) struct Two;

impl Threads for Two {
    fn run(&self, _: usize, work: &(dyn Fn() + Sync)) {
        std::thread::scope(|scope| {
            scope.spawn(work);
            work();
        });
    }

    fn go_on(&self) -> bool {
        true
    }
}

/// Threads of a search that nobody waits for.
struct Nobody;

impl Threads for Nobody {
    fn go_on(&self) -> bool {
        false
    }
}

#[test]
fn a_search_that_nobody_waits_for_ends() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let rows = sample::rows(40).new_tree(&mut runner).unwrap().current();
    assert!(rows.len() > 1);
    let (_folder, shard) = sealed_of(&rows, rows.len());
    let query = millrace_pipes::parse("* | sort body").unwrap();
    let context =
        millrace_pipes::Context { now: Timestamp(0), range: TimeRange::ALL, limit: 5, memory: 1 << 20 };
    let plan = millrace_pipes::Plan::new(&query.pipes, &context).unwrap();
    let plain = LeafRequest { histogram: None, ..request(millrace_filter::parse("*a*").unwrap(), 5) };
    let piped = LeafRequest { fragments: Some(plan.leaf()), ..plain.clone() };
    for request in [plain, piped] {
        assert!(shard.search_on(&request, Some(&Two)).is_ok());
        let given_up = shard.search_on(&request, Some(&Nobody));
        assert!(matches!(given_up, Err(Error::Stopped)), "{given_up:?}");
    }
}

/// Doubles that are no numbers do not equal themselves, their text does; what was read differs by nature.
fn text(mut response: LeafResponse) -> String {
    response.scanned_bytes = 0;
    format!("{response:#?}")
}

fn requests() -> impl Strategy<Value = LeafRequest> {
    let time = || prop::sample::select(sample::TIMES).prop_map(Timestamp);
    let range = (time(), time()).prop_map(|(a, b)| TimeRange { from: a.min(b), to: a.max(b) });
    let range = prop_oneof![3 => Just(TimeRange::ALL), 1 => range];
    let id = (0u128..3, 990u64..1_001, 0u32..2).prop_map(|(source, position, index)| RecordId {
        source: SourceId(source << 70 | 5),
        position,
        index,
    });
    let after = prop::option::weighted(0.3, (time(), id));
    let interval = prop::sample::select(&[1, 7, 1_000, 3_600_000_000_000, u64::MAX][..]);
    let interval = prop::option::weighted(0.7, interval);
    (sample::filter(), range, 0usize..30, any::<bool>(), after, interval).prop_map(
        |(filter, range, limit, newest, after, interval)| {
            let order = if newest { Order::NewestFirst } else { Order::OldestFirst };
            LeafRequest { filter, range, limit, order, after, histogram: interval, fragments: None }
        },
    )
}

proptest! {
    /// The two evaluators are one: whatever the rows and the filter, in memory and sealed, the same records match.
    #[test]
    fn both_searches_give_the_same_answer(rows in sample::rows(30), requests in prop::collection::vec(requests(), 1..25)) {
        prop_assume!(!rows.is_empty());
        let (_folder, shard) = sealed(&rows);
        let hot: HotRows = rows.iter().cloned().collect();
        for request in requests {
            let expected = text(plainly(&rows, &request));
            let found = text(hot.search(&request, i64::MIN, None).unwrap());
            prop_assert_eq!(&found, &expected, "in memory: {}", request.filter);
            let found = text(shard.search(&request).unwrap());
            prop_assert_eq!(&found, &expected, "sealed: {}", request.filter);
            let found = text(shard.search_on(&request, Some(&Two)).unwrap());
            prop_assert_eq!(&found, &expected, "sealed, on two threads: {}", request.filter);
        }
        for hot in &rows {
            let found = shard.record(hot.row.id).unwrap();
            prop_assert_eq!(format!("{:?}", found), format!("{:?}", Some(&hot.row)));
        }
    }

    /// Merged shards answer as one sealed of all rows would, and what is deleted is gone; merging again changes nothing.
    #[test]
    fn merged_shards_are_one_shard(
        rows in sample::rows(30), cuts in (0usize..30, 0usize..30), deleted in prop::option::weighted(0.5, sample::filter()),
        requests in prop::collection::vec(requests(), 1..12),
    ) {
        let cuts = [cuts.0.min(cuts.1).min(rows.len()), cuts.0.max(cuts.1).min(rows.len())];
        let parts = [&rows[..cuts[0]], &rows[cuts[0]..cuts[1]], &rows[cuts[1]..]];
        let sealed: Vec<(TempDir, SealedShard)> =
            parts.into_iter().filter(|part| !part.is_empty()).map(|part| sealed_of(part, rows.len())).collect();
        let (folders, shards): (Vec<_>, Vec<_>) = sealed.into_iter().unzip();
        let deletions: Vec<Deletion> =
            deleted.into_iter().map(|filter| Deletion { filter, range: TimeRange::ALL }).collect();
        let is_left = |hot: &&HotRow| deletions.iter().all(|deletion| !deletion.filter.matches(&hot.row.placed()));
        let left: Vec<HotRow> = rows.iter().filter(is_left).cloned().collect();
        let folder = tempfile::tempdir().unwrap();
        let input = MergeInput { id: ShardId(8), shards: &shards, deletions: &deletions, passed: 0, created: Timestamp(9) };
        let merged = match merge(&input, folder.path()) {
            Err(Error::Empty(ShardId(8))) => {
                prop_assert!(left.is_empty());
                return Ok(());
            }
            merged => merged.unwrap(),
        };
        prop_assert_eq!((merged.meta.records, merged.left_out), (left.len() as u64, (rows.len() - left.len()) as u64));
        let once = SealedShard::open(&merged.path).unwrap();
        let input = MergeInput { id: ShardId(9), shards: std::slice::from_ref(&once), deletions: &[], passed: 0, created: Timestamp(9) };
        let twice = SealedShard::open(&merge(&input, folder.path()).unwrap().path).unwrap();
        for request in requests {
            let expected = text(plainly(&left, &request));
            for shard in [&once, &twice] {
                prop_assert_eq!(&text(shard.search(&request).unwrap()), &expected, "{}", request.filter);
            }
        }
        drop(folders);
    }

    /// A part of a line is found wherever it was cut out, across whatever seams, and in any case.
    #[test]
    fn parts_of_lines_are_found_across_seams(
        rows in sample::rows(30), cuts in prop::collection::vec((any::<[prop::sample::Index; 2]>(), 1usize..24, any::<bool>()), 1..20),
    ) {
        prop_assume!(!rows.is_empty());
        let (_folder, shard) = sealed(&rows);
        for ([row, start], length, upper) in cuts {
            let Value::String(body) = &rows[row.index(rows.len())].row.record.body else { continue };
            let characters: Vec<char> = body.chars().collect();
            if characters.is_empty() {
                continue;
            }
            let part: String = characters[start.index(characters.len())..].iter().take(length).collect();
            let part = if upper { part.to_uppercase() } else { part };
            let glob = Glob::new(vec![GlobPart::Any, GlobPart::Literal(part), GlobPart::Any]);
            let request = request(Filter::new(Expr::Text(Text::glob(glob))), 30);
            prop_assert_eq!(text(shard.search(&request).unwrap()), text(plainly(&rows, &request)), "{}", request.filter);
        }
    }

    /// One flipped bit anywhere: an error or the same answer, never a panic, never another answer.
    #[test]
    fn damage_is_an_error(at in any::<prop::sample::Index>(), bit in 0u8..8, filter in sample::filter()) {
        let rows: Vec<HotRow> = (0..50).map(|n| row(n, LogRecord { body: format!("line {n}").into(), ..LogRecord::default() })).collect();
        let (folder, shard) = sealed(&rows);
        let request = request(filter, 10);
        let expected = text(shard.search(&request).unwrap());
        let path = folder.path().join("damaged.shard");
        let mut bytes = std::fs::read(shard.bundle.path()).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        std::fs::write(&path, bytes).unwrap();
        match SealedShard::open(&path).and_then(|shard| shard.search(&request)) {
            Ok(found) => prop_assert_eq!(text(found), expected),
            Err(error) => prop_assert!(error.to_string().contains("damaged.shard"), "{}", error),
        }
    }
}

#[test]
fn pages_follow_one_another_without_gap_or_overlap() {
    let rows: Vec<HotRow> = (0..40)
        .map(|n| {
            row(n, LogRecord { observed_timestamp: Timestamp(n as i64 / 7 + 1), ..LogRecord::default() })
        })
        .collect();
    let (_folder, shard) = sealed(&rows);
    for order in [Order::NewestFirst, Order::OldestFirst] {
        let mut expected: Vec<Place> = rows.iter().map(|hot| hot.row.order()).collect();
        expected.sort_by(|a, b| order.compare(a, b));
        let (mut found, mut page) = (Vec::new(), LeafRequest { order, ..request(Filter::ALL, 6) });
        loop {
            let response = shard.search(&page).unwrap();
            assert_eq!(response.total, 40);
            found.extend(response.hits.iter().map(Row::order));
            if response.hits.is_empty() {
                break;
            }
            page.after = found.last().copied();
        }
        assert_eq!(found, expected);
    }
}

/// Every awkward value meets every awkward question: what random tests hit too rarely.
#[test]
fn awkward_values_are_told_apart_as_in_memory() {
    let two_to_53 = 9_007_199_254_740_992_i64;
    let mut values: Vec<Value> =
        [0, 1, -5, 500, two_to_53, two_to_53 + 1, i64::MAX, i64::MIN].map(Value::Int).to_vec();
    values.extend(
        [0.0, -0.0, 0.5, 500.0, 1e300, -1e300, f64::NAN, f64::INFINITY, 9.007_199_254_740_992e15]
            .map(Value::Double),
    );
    values.extend([true, false].map(Value::Bool));
    values.extend(
        ["", "0", "-0", "500", "500.0", "5e2", "true", "NaN", "inf", "Größe", "K", "\u{212a}"]
            .map(Value::from),
    );
    values.extend([255, 256, 257, 300].map(|length| Value::from("x".repeat(length))));
    values.extend([Value::Null, Value::Bytes(b"K\xff".to_vec()), Value::Bytes(b"True".to_vec())]);
    let arrays: Vec<Value> = values.iter().map(|value| Value::Array(vec![value.clone()])).collect();
    let nested = Value::Array(vec![Value::Null, Value::Array(vec![Value::Int(500), Value::from("Größe")])]);
    values.extend(arrays.into_iter().chain([nested, Value::Array(Vec::new())]));
    let with = |(n, value): (usize, &Value)| {
        let mut record = LogRecord::default();
        record.attributes.set("k", value.clone());
        row(n as u64, record)
    };
    let rows: Vec<HotRow> = values.iter().enumerate().map(with).collect();
    let long = [255, 256, 257, 300].map(|length| "X".repeat(length));
    let literals = [
        "0",
        "-0",
        "0.0",
        "-0.0",
        ".5",
        "500",
        "500.0",
        "5e2",
        "true",
        "NaN",
        "inf",
        "größe",
        "k",
        "9007199254740992",
        "9007199254740993",
        "9007199254740992.0",
        "9007199254740994.0",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "1e300",
        "-1e300",
        "",
    ];
    let literals = literals.into_iter().chain(long.iter().map(String::as_str));
    let filters = literals.flat_map(|literal| {
        let quoted = format!("\"{literal}\"");
        [
            format!("k:{quoted}"),
            format!("k:>={quoted}"),
            format!("-k:<{quoted}"),
            "k:*".to_owned(),
            "k:/^x+$/".to_owned(),
        ]
    });
    same_answers(&rows, filters);
}

/// A record without a value that others of its kind have, where that value has a place for values of any kind.
#[test]
fn nothing_among_values_of_any_kind_does_not_exist() {
    let list = || Value::Array(vec![Value::Int(1)]);
    let with = |(n, value): (usize, &Value)| {
        let mut record = LogRecord { body: value.clone(), ..LogRecord::default() };
        record.attributes.set("k", value.clone());
        row(n as u64, record)
    };
    let values = [list(), Value::Null, list(), Value::Int(7), Value::Null];
    let rows: Vec<HotRow> = values.iter().enumerate().map(with).collect();
    same_answers(
        &rows,
        ["body:*", "k:*", "NOT body:*", "NOT k:*", "k:7", "7"].into_iter().map(str::to_owned),
    );
    let hot: HotRows = rows.iter().cloned().collect();
    let filter = millrace_filter::parse("body:* k:*").unwrap();
    assert_eq!(hot.search(&request(filter, 9), i64::MIN, None).unwrap().total, 3);
}

#[test]
fn awkward_patterns_find_the_same_bodies_as_in_memory() {
    let words = [
        "10.0.0.1",
        "x10.0.5",
        "110.0",
        "foo-bar",
        "xfoo-bary",
        "o-b",
        "größe/x",
        "GRÖSSE-x",
        "İ-i",
        "\u{212a}-k",
        "a_b",
    ];
    let long =
        [124, 125, 127, 128, 129].map(|length| format!("{}1 {}", "y".repeat(length), "é".repeat(length / 2)));
    let bodies = words.iter().map(|word| (*word).to_owned()).chain(long.clone());
    let with =
        |(n, body): (usize, String)| row(n as u64, LogRecord { body: body.into(), ..LogRecord::default() });
    let rows: Vec<HotRow> = bodies.enumerate().map(with).collect();
    let patterns = [
        "10.0*",
        "0.0.?",
        "*0.5",
        "o-b*",
        "o-b?r",
        "-b*",
        "*o-",
        "größe/*",
        "*ße/x",
        "i*-i",
        "k-*",
        "?-k",
        "f*",
        "*y",
        "a_*",
        "*o-b*r*",
        "???",
        "yy*",
        "é*",
        "/foo-b/",
        "/0\\.0/",
        "/(foo|größe).+[xy]/",
        "/(?i)FOO-BAR/",
        "/(x?foo)+-bar$/",
        "/^110|-bary?/",
        "/(abc)*o-b/",
        "/\u{212a}-k/",
        "/ße\\/x/",
        "/SSE-/",
        "/sse-/",
        "/yyy1 é/",
        "/(abc){0}/",
    ];
    let cut =
        long.iter().flat_map(|body| body.split(' ').map(|word| word.to_owned() + "*").collect::<Vec<_>>());
    let whole = long.iter().flat_map(|body| body.split(' ').map(str::to_owned).collect::<Vec<_>>());
    same_answers(&rows, patterns.into_iter().map(str::to_owned).chain(cut).chain(whole));
}

fn same_answers(rows: &[HotRow], queries: impl Iterator<Item = String>) {
    let (_folder, shard) = sealed(rows);
    for query in queries {
        let request = request(millrace_filter::parse(&query).unwrap(), rows.len());
        assert_eq!(text(shard.search(&request).unwrap()), text(plainly(rows, &request)), "{query}");
    }
}

#[test]
fn only_rows_of_the_cut_are_sealed_and_the_rest_is_counted() {
    let rows: Vec<HotRow> = (0..10).map(|n| row(n, LogRecord::default())).collect();
    let folder = tempfile::tempdir().unwrap();
    let mut input = input(&rows);
    input.offsets[0].to = 4;
    let bundle = seal(&input, folder.path()).unwrap();
    assert_eq!((bundle.meta.records, bundle.left_out), (4, 6));
    input.offsets.clear();
    assert!(matches!(seal(&input, folder.path()), Err(Error::Empty(ShardId(1)))));
    let elsewhere = folder.path().join("no such folder");
    let error = seal(&self::input(&rows), &elsewhere).unwrap_err();
    assert!(error.to_string().contains("no such folder"), "{error}");
}

#[test]
fn a_path_too_long_for_terms_is_decided_by_the_record() {
    let path = "p".repeat(crate::terms::MAX_PATH + 1);
    let mut record = LogRecord::default();
    record.attributes.set(path.as_str(), "v");
    let (_folder, shard) = sealed(&[row(0, record), row(1, LogRecord::default())]);
    for (query, total) in [(format!("{path}:v"), 1), (format!("NOT {path}:v"), 1), (format!("{path}:w"), 0)] {
        let request = request(millrace_filter::parse(&query).unwrap(), 5);
        assert_eq!(shard.search(&request).unwrap().total, total);
    }
}

/// `İ` folds to two characters, of which one is no part of a word.
#[test]
fn words_that_grow_when_folded_are_found_in_phrases() {
    let bodies = ["at İstanbul 7 up", "at İstanbul 8 up", "istanbul 7", "from i\u{307}stanbul 7"];
    let with = |n: usize| row(n as u64, LogRecord { body: bodies[n].into(), ..LogRecord::default() });
    let rows: Vec<HotRow> = (0..bodies.len()).map(with).collect();
    let queries =
        ["İstanbul", "\"İstanbul 7\"", "\"at İSTANBUL\"", "\"i\u{307}stanbul 7\"", "İsta*", "*stanbul"];
    same_answers(&rows, queries.into_iter().map(str::to_owned));
    // Alone, all that varies is a constant of its chunk.
    for mut alone in rows {
        alone.offset = 0;
        same_answers(&[alone], queries.into_iter().map(str::to_owned));
    }
}

/// A shard's bytes elsewhere, and every read of them.
#[derive(Debug)]
struct Elsewhere {
    bytes: Vec<u8>,
    reads: Mutex<Vec<Range<u64>>>,
}

impl ByteRanges for Elsewhere {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&self, range: Range<u64>) -> std::io::Result<Vec<u8>> {
        self.reads.lock().unwrap().push(range.clone());
        let bytes = self.bytes.get(range.start as usize..range.end as usize);
        bytes.map(<[u8]>::to_vec).ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
    }
}

#[test]
fn a_shard_elsewhere_is_opened_and_asked_by_few_reads() {
    let with = |n: u64| {
        let line = format!("request {n} of user{} took {} ms", n % 700, n * 7919 % 10_000);
        row(n, LogRecord { body: line.into(), ..LogRecord::default() })
    };
    let rows: Vec<HotRow> = (0..20_000).map(with).collect();
    let (_folder, local) = sealed(&rows);
    let bytes = std::fs::read(local.bundle.path()).unwrap();
    let source = Arc::new(Elsewhere { bytes, reads: Mutex::default() });
    let reads = || std::mem::take(&mut *source.reads.lock().unwrap());
    let shard = SealedShard::open_from(Path::new("s3://logs/1.shard"), Arc::clone(&source) as _).unwrap();
    assert_eq!(reads().len(), 2);
    for (query, most) in [("user17", 12), ("took", 8), ("19999", 6), ("nothing", 2)] {
        let request = request(millrace_filter::parse(query).unwrap(), 3);
        assert_eq!(text(shard.search(&request).unwrap()), text(local.search(&request).unwrap()));
        let reads = reads();
        assert!(reads.len() <= most, "{query}: {reads:?}");
    }
    // What comes damaged from there is refused, and named.
    let mut bytes = source.bytes.clone();
    bytes[9] ^= 1;
    let source = Arc::new(Elsewhere { bytes, reads: Mutex::default() });
    let shard = SealedShard::open_from(Path::new("s3://logs/1.shard"), source).unwrap();
    let error = shard.search(&request(millrace_filter::parse("*99*").unwrap(), 20_000)).unwrap_err();
    assert!(error.to_string().contains("s3://logs/1.shard"), "{error}");
    let short = Arc::new(Elsewhere { bytes: vec![7; 9], reads: Mutex::default() });
    assert!(matches!(SealedShard::open_from(Path::new("x"), short), Err(Error::Corrupt { .. })));
}

#[test]
fn a_map_is_looked_into_where_others_have_an_array() {
    let record = |value: Value| LogRecord {
        body: Value::Map(Attributes::new()),
        attributes: [("host".to_owned(), value)].into_iter().collect(),
        ..LogRecord::default()
    };
    let inner = [("name".to_owned(), Value::from("web1"))].into_iter().collect();
    let values = [Value::Array(vec![Value::from("a")]), Value::Map(inner), Value::Array(Vec::new())];
    let row = |(number, value): (usize, &Value)| HotRow {
        partition: Partition(0),
        offset: number as i64,
        row: Row {
            id: RecordId { source: SourceId(1), position: number as u64, index: 0 },
            stream: StreamName::default(),
            time: Timestamp(number as i64),
            record: record(value.clone()),
        },
    };
    let rows: Vec<HotRow> = values.iter().enumerate().map(row).collect();
    let hot: HotRows = rows.iter().cloned().collect();
    let (_folder, shard) = sealed_of(&rows, rows.len());
    for (query, total) in
        [("host.name:*", 1), ("host.name:web1", 1), ("NOT host.name:*", 2), ("host.name:>=a", 1)]
    {
        let filter = millrace_filter::parse(query).unwrap();
        let request = LeafRequest {
            filter,
            range: TimeRange::ALL,
            limit: 10,
            order: Order::NewestFirst,
            after: None,
            histogram: None,
            fragments: None,
        };
        assert_eq!(hot.search(&request, i64::MIN, None).unwrap().total, total, "{query}, in memory");
        assert_eq!(shard.search(&request).unwrap().total, total, "{query}, sealed");
    }
}
