//! Whatever the rows, the filter and the fields: a scan of hot rows, of a shard and of merged shards gives what each
//! record says, and group counts are those of the scan.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::{GroupCounts, cell_of};
use crate::{
    HotRow, HotRows, LeafRequest, LeafResponse, MergeInput, Order, SealedShard, merge, sample,
    sealed::tests::sealed_of,
};
use millrace_filter::Filter;
use millrace_model::{FieldRef, Fields, Row, ShardId, TimeRange, Timestamp, Value};
use millrace_pipes::{ABSENT, Answer, Cells, Context, Partials, Plan, Rows};
use millrace_template::Miner;
use proptest::prelude::*;
use std::{collections::BTreeMap, convert::Infallible, fmt::Debug};

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
        "_attribute_names",
        "_resource_names",
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

/// What some rows say; also where only some of them are asked. The last of so many fields is the id.
fn gather<R: Rows<Error: Debug>>(found: &mut Found, rows: &R, fields: usize) {
    for half in 0..2u32 {
        let some: Vec<u32> = (0..rows.count() as u32).filter(|row| row % 2 == half).collect();
        let columns: Vec<Cells> = (0..fields).map(|column| rows.cells(column, &some).unwrap()).collect();
        let (ids, fields) = columns.split_last().unwrap();
        for row in 0..some.len() {
            let Some(Value::String(id)) = ids.get(row) else { panic!("a row without an id") };
            let values: Vec<Option<Value>> = fields.iter().map(|cells| cells.get(row).cloned()).collect();
            assert!(found.insert(id.clone(), format!("{values:?}")).is_none(), "{id} comes twice");
        }
    }
    let all: Vec<u32> = (0..rows.count() as u32).collect();
    for column in 0..fields {
        let cells = rows.cells(column, &all).unwrap();
        let even: Vec<u32> = all.iter().copied().step_by(2).collect();
        let some = rows.cells(column, &even).unwrap();
        let same = |row: usize| format!("{:?}", some.get(row)) == format!("{:?}", cells.get(2 * row));
        assert!((0..even.len()).all(same), "column {column}");
    }
}

fn text(counts: &GroupCounts) -> String {
    format!("{:?} {} {}", counts.top(usize::MAX), counts.distinct(), counts.absent())
}

proptest! {
    #[test]
    fn a_scan_says_what_records_say(
        rows in sample::rows(40), filter in sample::filter(), mut fields in fields(), times in any::<[prop::sample::Index; 2]>(),
        whole in any::<bool>(), cut in 0usize..40,
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
            plainly.add(&Cells::uniform(cells(row, &fields[..1])[0].clone(), 1));
        }
        fields.push(FieldRef::Id);
        let (first, count) = (&fields[0], fields.len());

        let hot: HotRows = rows.iter().cloned().collect();
        let mut found = Found::new();
        hot.scan(&filter, range, &fields, i64::MIN, None, &mut |rows| gather(&mut found, rows, count)).unwrap();
        prop_assert_eq!(&found, &expected, "in memory");
        prop_assert_eq!(text(&hot.group_counts(&filter, range, first, i64::MIN).unwrap()), text(&plainly));

        let parts: Vec<&[HotRow]> = [&rows[..cut.min(rows.len())], &rows[cut.min(rows.len())..]]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect();
        let (folders, shards): (Vec<_>, Vec<_>) = parts.iter().map(|part| sealed_of(part, rows.len())).unzip();
        let mut joined = GroupCounts::default();
        for shard in &shards {
            joined.merge(&shard.group_counts(&filter, range, first).unwrap());
        }
        prop_assert_eq!(text(&joined), text(&plainly), "of parts");

        let folder = tempfile::tempdir().unwrap();
        let input = MergeInput { id: ShardId(8), shards: &shards, deletions: &[], passed: 0, created: Timestamp(9) };
        let merged = SealedShard::open(&merge(&input, folder.path()).unwrap().path).unwrap();
        let mut found = Found::new();
        merged.scan(&filter, range, &fields, None, &mut |rows| {
            gather(&mut found, rows, count);
            Ok(true)
        }).unwrap();
        prop_assert_eq!(&found, &expected, "merged");
        prop_assert_eq!(text(&merged.group_counts(&filter, range, first).unwrap()), text(&plainly));

        drop(folders);
    }
}

/// What records say, without a store.
struct Plainly<'a> {
    rows: &'a [&'a Row],
    fields: Vec<FieldRef>,
}

impl Rows for Plainly<'_> {
    type Error = Infallible;
    fn count(&self) -> usize {
        self.rows.len()
    }
    fn cells(&self, column: usize, rows: &[u32]) -> Result<Cells, Infallible> {
        let field = &self.fields[column];
        let of = |row: &u32| self.rows[*row as usize].placed().field(field).and_then(|value| cell_of(&value));
        Ok(rows.iter().map(of).collect())
    }
}

/// Queries over any two fields.
fn pipes() -> impl Strategy<Value = String> {
    let field = || {
        let reserved = &["level", "timestamp", "body", "_source", "_stream", "severity_number"][..];
        prop_oneof![1 => prop::sample::select(reserved), 3 => prop::sample::select(sample::PATHS)]
            .prop_map(|name| format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`")))
    };
    let query = &[
        "stats count() by A",
        "stats count()",
        "stats count(), count(B), min(B), max(B), sum(B), count_distinct(B) by A",
        "stats first(A), last(B), p50(A)",
        "timechart 1s count() by A as a",
        "timechart 1s count()",
        "transaction 1s by A",
        "session 2h count() as n, sum(B), count_distinct(B), first(B), min(B) by A as a",
        "limit 3 | fields A, B",
        "top 3 A, B",
        "rare A",
        "sort -A, B | limit 5 | fields A, B, timestamp, body",
        "dedup A | fields A, B",
        "limit 4 | stats count() by B",
        "where A > B or exists(B) | fields A, _id",
        "eval x = concat(A, \"-\", B) | top x",
        "extract \"<x> <y>\" | stats count() by x",
        "fields body, A, B",
        "patterns",
    ][..];
    (prop::sample::select(query), field(), field())
        .prop_filter("two columns", |(_, a, b)| a != b)
        .prop_map(|(query, a, b)| query.replace('A', &a).replace('B', &b))
}

/// What plans make of what was gathered for them.
fn told(plans: &[Plan], gathered: Option<Partials>) -> Vec<String> {
    Plan::finish_all(plans, gathered, &Miner::new()).unwrap().iter().map(shown).collect()
}

/// Sums of fractions depend on their order in the last bits.
fn shown(answer: &Answer) -> String {
    let round = |value: Value| match value {
        Value::Double(number) => Value::from(format!("{number:.9e}")),
        other => other,
    };
    let columns = answer.table.columns.iter().map(|column| {
        let cells: Vec<Value> = (0..answer.table.rows).map(|row| round(column.shown(row))).collect();
        format!("{}: {cells:?}\n", column.name)
    });
    format!("{} rows\n{}", answer.rows, columns.collect::<String>())
}

proptest! {
    #[test]
    fn pipes_make_the_same_of_records_wherever_they_are(
        rows in sample::rows(40), filter in sample::filter(), queries in prop::collection::vec(pipes(), 1..4),
        cut in 0usize..40, whole in any::<bool>(),
    ) {
        prop_assume!(!rows.is_empty());
        let filter = if whole { Filter::ALL } else { filter };
        let context = Context { now: Timestamp(0), range: TimeRange::ALL, limit: 30, memory: 1 << 24 };
        let plan = |query: &String| {
            let query = millrace_pipes::parse(&format!("* | {query}")).unwrap();
            Plan::new(&query.pipes, &context).unwrap()
        };
        let plans: Vec<Plan> = queries.iter().map(plan).collect();
        let request = LeafRequest {
            filter: filter.clone(),
            range: TimeRange::ALL,
            limit: 0,
            order: Order::NewestFirst,
            after: None,
            histogram: None,
            fragments: Some(Plan::leaf_of(&plans)),
        };
        let matching: Vec<&Row> = rows.iter().map(|hot| &hot.row).filter(|row| filter.matches(&row.placed())).collect();
        // What each would be by itself, they are together.
        let alone = |plan: &Plan| {
            let leaf = plan.leaf();
            let mut plainly = leaf.begin();
            leaf.add(&mut plainly, &Plainly { rows: &matching, fields: leaf.fields() }).unwrap();
            shown(&plan.finish(Some(plainly), &Miner::new()).unwrap())
        };
        let expected: Vec<String> = plans.iter().map(alone).collect();

        let hot: HotRows = rows.iter().cloned().collect();
        let answer = hot.search(&request, i64::MIN, None).unwrap();
        prop_assert_eq!(answer.total, matching.len() as u64);
        prop_assert_eq!(told(&plans, answer.gathered), &expected[..], "in memory");
        // And hits and a histogram beside them are what they are by themselves.
        let beside = LeafRequest { limit: 5, histogram: Some(1_000), ..request.clone() };
        let hits = LeafRequest { fragments: None, ..beside.clone() };
        let found = |answer: &LeafResponse| format!("{:?} {} {:?}", answer.hits, answer.total, answer.histogram);
        let (both, alone) = (hot.search(&beside, i64::MIN, None).unwrap(), hot.search(&hits, i64::MIN, None).unwrap());
        prop_assert_eq!(found(&both), found(&alone), "in memory");
        prop_assert_eq!(told(&plans, both.gathered), &expected[..], "in memory, beside hits");

        let cut = cut.min(rows.len());
        let parts = [&rows[..cut], &rows[cut..]].into_iter().filter(|part| !part.is_empty());
        let (folders, shards): (Vec<_>, Vec<_>) = parts.map(|part| sealed_of(part, rows.len())).unzip();
        let answers = shards.iter().map(|shard| shard.search(&request).unwrap());
        let joined = answers.reduce(|all, one| all.merge(one, &request)).unwrap();
        prop_assert_eq!(joined.total, matching.len() as u64);
        prop_assert_eq!(told(&plans, joined.gathered), &expected[..], "of parts");
        let both = shards.iter().map(|shard| shard.search(&beside).unwrap()).reduce(|all, one| all.merge(one, &beside));
        let both = both.unwrap();
        prop_assert_eq!(found(&both), found(&alone), "of parts");
        prop_assert_eq!(told(&plans, both.gathered), &expected[..], "of parts, beside hits");

        let folder = tempfile::tempdir().unwrap();
        let input = MergeInput { id: ShardId(8), shards: &shards, deletions: &[], passed: 0, created: Timestamp(9) };
        let merged = SealedShard::open(&merge(&input, folder.path()).unwrap().path).unwrap();
        prop_assert_eq!(told(&plans, merged.search(&request).unwrap().gathered), &expected[..], "merged");
        drop(folders);
    }
}

#[test]
fn the_values_that_occur_most_come_first() {
    let mut counts = GroupCounts::default();
    let values = ["b", "a", "c"].map(Value::from).to_vec();
    counts.add(&Cells { values, codes: vec![0, 1, 1, 2, 0, ABSENT] });
    counts.add(&Cells::uniform(Some(Value::from("b")), 1));
    assert_eq!(counts.top(2), [(&Value::from("b"), 3), (&Value::from("a"), 2)]);
    assert_eq!((counts.distinct(), counts.absent(), counts.top(0).len()), (3, 1, 0));
}
