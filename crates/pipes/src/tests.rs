//! Queries over rows in memory: what pipes give, and that it does not depend on how rows are spread.
#![expect(clippy::unwrap_used, reason = "tests")]

use crate::{Answer, Cells, Context, Fragments, Joined, Pipe, Plan, Query, Rows, parse};
use millrace_model::{TimeRange, Timestamp, Value};
use millrace_template::Miner;
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use std::{collections::BTreeMap, convert::Infallible};

/// A record: its fields.
type Record = BTreeMap<&'static str, Value>;

/// Records whose fields are read by name.
struct Records<'a> {
    records: &'a [Record],
    names: Vec<String>,
}

impl Rows for Records<'_> {
    type Error = Infallible;
    fn count(&self) -> usize {
        self.records.len()
    }
    fn cells(&self, column: usize, rows: &[u32]) -> Result<Cells, Infallible> {
        // As records resolve names.
        let name = if self.names[column] == "@timestamp" { "timestamp" } else { self.names[column].as_str() };
        Ok(rows.iter().map(|row| self.records[*row as usize].get(name).cloned()).collect())
    }
}

const CONTEXT: Context = Context {
    now: Timestamp(1_000_000_000_000),
    range: TimeRange { from: Timestamp(0), to: Timestamp(1_000_000_000_000) },
    limit: 1000,
    memory: 1 << 20,
};

/// What a query gives of records that lie on some leaves: its columns, its rows, and how many rows there are.
fn ask(
    query: &str,
    leaves: &[&[Record]],
    context: &Context,
) -> Result<(Vec<String>, Vec<Json>, u64), String> {
    let query = parse(query).map_err(|error| error.render(query))?;
    let answer = answer(&query, leaves, context)?;
    let names = answer.table.columns.iter().map(|column| column.name.clone()).collect();
    let row = |row: usize| answer.table.columns.iter().map(|column| json!(column.shown(row))).collect();
    Ok((names, (0..answer.table.rows).map(row).collect(), answer.rows))
}

/// The same as a table. What queries join is found first, as a query node does.
fn answer(query: &Query, leaves: &[&[Record]], context: &Context) -> Result<Answer, String> {
    let mut joined = Vec::new();
    for pipe in &query.pipes {
        if let Pipe::Join(join) = pipe {
            let right = answer(&join.right, leaves, &Context { limit: Joined::LIMIT, ..*context })?;
            joined.push(Joined::of(right, context.memory).map_err(|error| error.to_string())?);
        }
    }
    let plan = Plan::joining(&query.pipes, context, joined)?;
    let fragment = plan.leaf();
    let mut gathered = None;
    for records in leaves {
        let mut partial = fragment.begin();
        // As a shard gives them: some at a time.
        for records in records.chunks(3) {
            fragment.add(&mut partial, &Records { records, names: fragment.columns().to_vec() }).unwrap();
        }
        let text = serde_json::to_string(&partial).unwrap();
        let partial = serde_json::from_str(&text).unwrap();
        match &mut gathered {
            None => gathered = Some(partial),
            Some(all) => fragment.merge(all, partial),
        }
    }
    plan.finish(gathered, &Miner::new()).map_err(|error| error.to_string())
}

fn record(second: i64, fields: &[(&'static str, Json)]) -> Record {
    let mut record: Record =
        fields.iter().map(|(name, value)| (*name, serde_json::from_value(value.clone()).unwrap())).collect();
    record.insert("timestamp", Value::Int(second * 1_000_000_000));
    record.insert("_id", Value::String(format!("{second:020}")));
    record
}

fn some() -> Vec<Record> {
    let of = |second, host: &str, bytes: Json, body: &str| {
        let fields = [("host", json!(host)), ("bytes", bytes), ("body", json!(body))];
        record(second, &fields)
    };
    vec![
        of(1, "web1", json!(10), "user=ann took 5"),
        of(2, "web2", json!(20), "user=bob took 7"),
        of(3, "web1", json!("30"), "user=ann took 9"),
        of(61, "db1", json!(2.5), "started"),
        record(62, &[("body", json!("no host"))]),
    ]
}

/// The rows that a query gives of those records.
fn rows(query: &str) -> Json {
    let records = some();
    json!(ask(query, &[&records[..2], &records[2..]], &CONTEXT).unwrap().1)
}

#[test]
fn stats_group_and_what_lacks_a_value_is_a_group_of_its_own() {
    assert_eq!(rows("* | stats count()"), json!([[5]]));
    assert_eq!(rows("* | stats count() by host"), json!([["db1", 1], ["web1", 2], ["web2", 1], [null, 1]]));
    assert_eq!(
        rows("* | stats sum(bytes), avg(bytes), min(bytes), max(bytes), count(bytes) by host"),
        json!([
            ["db1", 2.5, 2.5, 2.5, 2.5, 1],
            ["web1", 40, 20.0, 10, "30", 2],
            ["web2", 20, 20.0, 20, 20, 1],
            [null, null, null, null, null, 0],
        ])
    );
    assert_eq!(rows("* | stats count_distinct(host), p50(bytes), stddev(bytes)")[0][0], json!(3));
    assert_eq!(rows("* | stats p50(bytes)"), json!([[15.0]]));
    assert_eq!(rows("* | stats first(host), last(host), count_if(bytes > 15)"), json!([["web1", "db1", 2]]));
    assert_eq!(rows("* | stats rate() as r | eval r = r * 1000"), json!([[5.0]]));
    assert_eq!(rows("* | stats max(timestamp) as t"), json!([["1970-01-01T00:01:02.000000000Z"]]));
    assert_eq!(rows("* | where host = \"none\" | stats count(), sum(bytes)"), json!([[0, null]]));
    assert_eq!(rows("* | where host = \"none\" | stats count() by host"), json!([]));
}

#[test]
fn a_timechart_is_in_the_order_of_time() {
    assert_eq!(
        rows("* | timechart 1m count()"),
        json!([["1970-01-01T00:00:00.000000000Z", 3], ["1970-01-01T00:01:00.000000000Z", 2]])
    );
    let by = rows("* | timechart 1m count() by host");
    assert_eq!(by[1], json!(["1970-01-01T00:00:00.000000000Z", "web2", 1]));
    assert_eq!(by.as_array().unwrap().len(), 4);
    // A thousand seconds, in about a hundred pieces at most.
    assert_eq!(rows("* | timechart count()").as_array().unwrap().len(), 2);
    assert_eq!(rows("* | timechart 1m rate() | where `rate()` < 0.04")[0][1], json!(2.0 / 60.0));
    let open = Context { range: TimeRange::ALL, ..CONTEXT };
    assert!(ask("* | timechart count()", &[], &open).unwrap_err().contains("5m"));
}

#[test]
fn a_transaction_is_a_run_of_records_without_a_wider_gap() {
    let time = |second: i64| json!(Timestamp(second * 1_000_000_000).to_string());
    let seconds = |seconds: i64| json!(seconds * 1_000_000_000);
    assert_eq!(
        rows("* | transaction 2s by host"),
        json!([
            ["db1", time(61), time(61), 0, 1],
            ["web1", time(1), time(3), seconds(2), 2],
            ["web2", time(2), time(2), 0, 1],
            [null, time(62), time(62), 0, 1],
        ])
    );
    assert_eq!(rows("* | transaction 1999ms by host").as_array().unwrap().len(), 5);
    assert_eq!(
        rows("* | session 1s count() as n, sum(bytes), rate(), first(host)"),
        json!([
            [time(1), time(3), seconds(2), 3, 60, 1.5, "web1"],
            [time(61), time(62), seconds(1), 2, 2.5, 2.0, "db1"],
        ])
    );
    assert_eq!(rows("* | transaction 1h | where duration > 1m and start < end | fields count"), json!([[5]]));
    assert_eq!(rows("* | where host = \"none\" | transaction 1h"), json!([]));
    // What lies at one instant is one run; nothing is a rate of no time.
    assert_eq!(rows("* | transaction 0s rate() | stats count(), count(`rate()`)"), json!([[5, 0]]));
    // Of whatever has a time.
    assert_eq!(
        rows("* | timechart 1s count() | transaction 5s sum(`count()`) as n | fields n"),
        json!([[3], [2]])
    );
    assert_eq!(
        rows("* | stats max(timestamp) as timestamp by host | transaction 5s by host | stats count()"),
        json!([[4]])
    );
    for query in [
        "* | eval timestamp = 5 | transaction 1s",
        "* | extract \"user=<timestamp>\" | transaction 1s",
        "* | stats count() as timestamp | transaction 1s",
    ] {
        let problem = ask(query, &[&some()], &CONTEXT).unwrap_err();
        assert!(problem.contains("timestamp is not the time"), "{query}: {problem}");
    }
}

#[test]
fn rows_without_a_time_are_in_no_transaction() {
    let query = "* | stats max(t) as t, min(timestamp) as first by host \
                 | eval timestamp = if(exists(t), first, first - 0 * t) | transaction 1h";
    assert_eq!(rows(query), json!([]));
}

#[test]
fn what_joins_two_runs_makes_them_one() {
    // Whatever comes last: each record of the middle closes a gap.
    let at = |seconds: &[i64]| -> Vec<Record> {
        seconds.iter().map(|second| record(*second, &[("x", json!(1))])).collect()
    };
    let leaves = [at(&[40, 0, 30, 10]), at(&[20, 5, 35]), at(&[15, 25, 100])];
    let orders = [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1]];
    for order in orders {
        let leaves: Vec<&[Record]> = order.iter().map(|at: &usize| leaves[*at].as_slice()).collect();
        let runs = |gap: &str| {
            let query = format!("* | transaction {gap} sum(x) as n, first(_id) as id | fields n, duration");
            json!(ask(&query, &leaves, &CONTEXT).unwrap().1)
        };
        let all = 9i64;
        assert_eq!(runs("5s"), json!([[all, 40_000_000_000i64], [1, 0]]));
        assert_eq!(runs("4s").as_array().unwrap().len(), 10);
        assert_eq!(runs("1m"), json!([[all + 1, 100_000_000_000i64]]));
    }
}

#[test]
fn top_and_rare_say_which_part_of_all_each_is() {
    assert_eq!(rows("* | top 1 host"), json!([["web1", 2, 40.0]]));
    assert_eq!(rows("* | rare 2 host"), json!([["db1", 1, 20.0], ["web2", 1, 20.0]]));
    assert_eq!(rows("* | top host | where percent > 30 | fields host"), json!([["web1"]]));
}

#[test]
fn rows_are_the_latest_first_unless_said_otherwise() {
    let bodies = |query: &str| -> Vec<String> {
        let rows = rows(query);
        rows.as_array().unwrap().iter().map(|row| row[0].as_str().unwrap_or("-").to_owned()).collect()
    };
    assert_eq!(bodies("* | fields host, body"), ["-", "db1", "web1", "web2", "web1"]);
    assert_eq!(bodies("* | limit 2 | fields host"), ["-", "db1"]);
    assert_eq!(bodies("* | sort -bytes | fields host"), ["web1", "web2", "web1", "db1", "-"]);
    assert_eq!(bodies("* | sort bytes | limit 1 | fields host"), ["db1"]);
    assert_eq!(bodies("* | sort host, -timestamp | fields host"), ["db1", "web1", "web1", "web2", "-"]);
    assert_eq!(bodies("* | dedup host | fields host, body"), ["-", "db1", "web1", "web2"]);
    assert_eq!(bodies("* | dedup host | stats count() as n | fields n").len(), 1);
    assert_eq!(rows("* | dedup host | stats count() as n"), json!([[4]]));
    assert_eq!(rows("* | limit 3 | stats count() by host"), json!([["db1", 1], ["web1", 1], [null, 1]]));
}

#[test]
fn what_is_shown_of_records_is_what_they_have_and_what_was_made() {
    let records = some();
    let names = |query: &str| ask(query, &[&records], &CONTEXT).unwrap().0;
    assert_eq!(names("* | limit 1"), ["timestamp", "level", "host", "service", "body"]);
    assert_eq!(
        names("* | sort -bytes | eval kb = bytes / 1024 | dedup user"),
        ["timestamp", "level", "host", "service", "bytes", "kb", "user", "body"]
    );
    assert_eq!(names("* | fields a | eval b = 1"), ["a", "b"]);
    assert_eq!(names("* | timechart 1m count() by host"), ["timestamp", "host", "count()"]);
}

#[test]
fn columns_are_computed_row_by_row() {
    let one = |expression: &str| -> Json {
        let rows = rows(&format!(
            "* | where timestamp = \"1970-01-01T00:00:01Z\" | eval x = {expression} | fields x"
        ));
        rows[0][0].clone()
    };
    for (expression, expected) in [
        ("1 + 2 * 3", json!(7)),
        ("7 / 2", json!(3.5)),
        ("7 % 4", json!(3)),
        ("bytes * 2", json!(20)),
        ("nothing * 2", json!(null)),
        ("1 / 0", json!(null)),
        ("9223372036854775807 + 1", json!(9_223_372_036_854_775_807i64 as f64)),
        ("coalesce(nothing, host)", json!("web1")),
        ("if(bytes > 5, \"big\", \"small\")", json!("big")),
        ("upper(host)", json!("WEB1")),
        ("concat(host, \"/\", bytes)", json!("web1/10")),
        ("length(host)", json!(4)),
        ("substr(host, 1, 2)", json!("eb")),
        ("replace(host, \"web\", \"db\")", json!("db1")),
        ("contains(body, \"ann\")", json!(true)),
        ("starts_with(body, \"took\")", json!(false)),
        ("ends_with(body, \"5\")", json!(true)),
        ("matches(body, /user=\\w+/)", json!(true)),
        ("in_network(\"10.1.2.3\", \"10.0.0.0/8\")", json!(true)),
        ("round(2.345, 2)", json!(2.35)),
        ("floor(2.9)", json!(2)),
        ("ceil(2.1)", json!(3)),
        ("abs(-3)", json!(3)),
        ("least(3, bytes, 7)", json!(3)),
        ("greatest(3, bytes, 7)", json!(10)),
        ("number(\" 12 \")", json!(12)),
        ("text(12)", json!("12")),
        ("sqrt(16)", json!(4.0)),
        ("pow(2, 10)", json!(1024.0)),
        ("exists(nothing)", json!(false)),
        ("not exists(nothing)", json!(true)),
        ("nothing > 5", json!(false)),
        ("not (nothing > 5)", json!(true)),
        ("nothing != 5", json!(false)),
        ("host != 5", json!(true)),
        ("trim(\"  a \")", json!("a")),
        ("bucket(17, 5)", json!(15)),
        ("bucket(timestamp, 1m)", json!("1970-01-01T00:00:00.000000000Z")),
        ("now() - timestamp > 10m", json!(true)),
        ("now()", json!("1970-01-01T00:16:40.000000000Z")),
    ] {
        assert_eq!(one(expression), expected, "{expression}");
    }
}

#[test]
fn parts_of_texts_are_columns() {
    assert_eq!(
        rows("* | extract \"user=<user> took <seconds>\" | stats sum(seconds) by user"),
        json!([["ann", 14], ["bob", 7], [null, null]])
    );
    assert_eq!(rows("* | extract /took (?P<n>\\d+)/ | where n > 6 | fields n"), json!([["9"], ["7"]]));
    assert_eq!(rows("* | extract \"b<n...>\" from host | top 1 n"), json!([["1", 3, 60.0]]));
}

#[test]
fn what_a_text_says_comes_before_what_was_there() {
    let bodies = [r#"{"level":"warn","a":{"b":7},"host":"inner"}"#, "level=error a.b=8", "prose"];
    let records: Vec<Record> = bodies
        .iter()
        .enumerate()
        .map(|(second, body)| record(second as i64, &[("body", json!(body)), ("host", json!("outer"))]))
        .collect();
    let rows = |query: &str| json!(ask(query, &[&records], &CONTEXT).unwrap().1);
    assert_eq!(
        rows("* | parse json | fields level, a.b, host"),
        json!([[null, null, "outer"], [null, null, "outer"], ["warn", 7, "inner"]])
    );
    assert_eq!(
        rows("* | parse auto | where a.b > 6 | stats sum(a.b) by level"),
        json!([["error", 8], ["warn", 7]])
    );
    assert_eq!(
        rows("* | eval x = \"k=1 l=2\" | parse logfmt from x | stats count() by k, l"),
        json!([[1, 2, 3]])
    );
}

#[test]
fn what_pipes_make_does_not_say_which_records_are_the_latest() {
    assert_eq!(
        rows("* | eval timestamp = 0 - timestamp, t = bytes | limit 2 | fields t"),
        json!([[null], [2.5]]),
        "the latest, not the least"
    );
    assert_eq!(rows("* | eval timestamp = 0 | stats last(host), first(host)"), json!([["db1", "web1"]]));
}

#[test]
fn values_that_read_alike_have_an_order() {
    let alike = [
        Value::Array(vec![Value::from("")]),
        Value::Array(vec![Value::Bytes(Vec::new())]),
        Value::Array(vec![Value::Array(vec![Value::from("\u{fffd}")])]),
        Value::Array(vec![Value::Array(vec![Value::Bytes(vec![0xff])])]),
        Value::Bytes(vec![0xfe]),
        Value::Bytes(vec![0xff]),
    ];
    for a in &alike {
        for b in &alike {
            let ordering = crate::expression::rank(a, b);
            assert_eq!(ordering.is_eq(), a == b, "{a:?} {b:?}");
            assert_eq!(ordering.reverse(), crate::expression::rank(b, a), "{a:?} {b:?}");
        }
    }
}

#[test]
fn the_deepest_expression_travels() {
    let (open, close) = ("abs(".repeat(30), ")".repeat(30));
    let deep = format!("{open}a{close}");
    assert!(parse(&format!("* | where abs(abs({deep})) > 1")).is_err());
    for query in [format!("* | where {deep} > 1"), format!("* | stats sum({deep}) by {deep} as d")] {
        let query = parse(&query).unwrap();
        let plan = Plan::new(&query.pipes, &CONTEXT).unwrap();
        // Inside of what a leaf is asked.
        let text = serde_json::to_string(&json!([[[[plan.leaf()]]]])).unwrap();
        let read: [[[[Fragments; 1]; 1]; 1]; 1] = serde_json::from_str(&text).unwrap();
        assert_eq!(read[0][0][0][0], plan.leaf());
    }
}

#[test]
fn what_leaves_are_asked_does_not_change_with_the_clock() {
    let query = parse("* | stats count(), rate() by host").unwrap();
    let leaf = |seconds: i64| {
        let context = Context { now: Timestamp(seconds * 1_000_000_000), ..CONTEXT };
        Plan::new(&query.pipes, &context).unwrap().leaf()
    };
    assert_eq!(leaf(10), leaf(20));
    let rate = |seconds: i64| {
        let context = Context { now: Timestamp(seconds * 1_000_000_000), ..CONTEXT };
        let one = record(0, &[("host", json!("a"))]);
        ask("* | stats rate() by host", &[&[one]], &context).unwrap().1
    };
    assert_eq!((rate(10), rate(20)), (vec![json!(["a", 0.1])], vec![json!(["a", 0.05])]));
}

#[test]
fn patterns_add_up_and_masks_that_are_merged_come_together() {
    let lines = ["user ann is 7", "user ann is 8", "user bob is 9", "disk full"];
    let records: Vec<Record> = lines
        .iter()
        .enumerate()
        .map(|(second, line)| record(second as i64, &[("body", json!(line))]))
        .collect();
    let query = parse("* | patterns").unwrap();
    let plan = Plan::new(&query.pipes, &CONTEXT).unwrap();
    let rows = |merges: &Miner| -> Vec<Json> {
        let mut partial = plan.leaf().begin();
        let names = plan.leaf().columns().to_vec();
        plan.leaf().add(&mut partial, &Records { records: &records, names }).unwrap();
        let table = plan.finish(Some(partial), merges).unwrap().table;
        let row = |row: usize| [0, 1, 3].map(|at: usize| json!(table.columns[at].shown(row))).to_vec();
        (0..table.rows).map(|at| json!(row(at))).collect()
    };
    let mut merges = Miner::new();
    let apart = [
        json!([2, 50.0, "user ann is <*>"]),
        json!([1, 25.0, "disk full"]),
        json!([1, 25.0, "user bob is <*>"]),
    ];
    let mut found = rows(&merges);
    found[1..].sort_by_key(Json::to_string);
    assert_eq!(found, apart);
    merges.absorb(b"user \0 is \0");
    assert_eq!(rows(&merges), [json!([3, 75.0, "user <*> is <*>"]), json!([1, 25.0, "disk full"])]);
}

#[test]
fn an_answer_says_how_many_rows_it_has() {
    let records: Vec<Record> = (0..50).map(|second| record(second, &[("x", json!(second % 7))])).collect();
    let few = Context { limit: 10, ..CONTEXT };
    for (query, shown, rows) in [
        ("* | fields x", 10, 50),
        ("* | sort x", 10, 50),
        ("* | sort x | eval y = x", 10, 50),
        ("* | limit 30", 10, 30),
        ("* | limit 5", 5, 5),
        ("* | stats count() by x", 7, 7),
        ("* | stats count() by timestamp", 10, 50),
        ("* | dedup x", 7, 7),
        ("* | sort x | where x > 3", 10, 21),
        ("* | sort x | limit 20 | where x = 0", 8, 8),
    ] {
        let (_, table, found) = ask(query, &[&records[..20], &records[20..]], &few).unwrap();
        assert_eq!((table.len(), found), (shown, rows), "{query}");
    }
}

#[test]
fn more_memory_than_there_may_be_is_an_error() {
    let records: Vec<Record> =
        (0..10_000).map(|second| record(second, &[("x", json!("y".repeat(100)))])).collect();
    let little = Context { memory: 400_000, ..CONTEXT };
    for query in [
        "* | stats count() by timestamp",
        "* | sort x | stats count()",
        "* | dedup timestamp",
        "* | transaction 500ms by x",
    ] {
        let problem = ask(query, &[&records], &little).map(|(_, rows, _)| rows.len());
        assert!(problem.clone().is_err_and(|problem| problem.contains("memory")), "{query}: {problem:?}");
        assert!(ask(query, &[&records[..100], &records[100..200]], &little).is_ok(), "{query}");
    }
}

#[test]
fn estimates_are_near_and_called_that() {
    let records: Vec<Record> = (1..=20_000).map(|n| record(n % 900, &[("x", json!(n))])).collect();
    let query = parse("* | stats count_distinct(x), p90(x), count()").unwrap();
    let plan = Plan::new(&query.pipes, &CONTEXT).unwrap();
    let names = plan.leaf().columns().to_vec();
    let mut halves = records.chunks(10_000).map(|records| {
        let mut partial = plan.leaf().begin();
        plan.leaf().add(&mut partial, &Records { records, names: names.clone() }).unwrap();
        partial
    });
    let mut all = halves.next().unwrap();
    plan.leaf().merge(&mut all, halves.next().unwrap());
    let table = plan.finish(Some(all), &Miner::new()).unwrap().table;
    let near = |column: usize, wanted: f64, within: f64| {
        let found = serde_json::to_value(table.columns[column].shown(0)).unwrap().as_f64().unwrap();
        assert!((found - wanted).abs() / wanted < within, "{found} for {wanted}");
    };
    near(0, 20_000.0, 0.05);
    near(1, 18_000.0, 0.011);
    let estimates: Vec<bool> = table.columns.iter().map(|column| column.is_estimate).collect();
    assert_eq!(estimates, [true, true, false]);
}

/// An estimate stays one behind other pipes, and so does what is computed of it; what has nothing to do with it is exact.
#[test]
fn an_estimate_stays_one_behind_other_pipes() {
    let many = |n: i64| record(n % 900, &[("x", json!(n)), ("h", json!(n % 3))]);
    let records: Vec<Record> = (1..=20_000).map(many).collect();
    let estimated = |query: &str, joined: Vec<Joined>| {
        let query = parse(query).unwrap();
        let plan = Plan::joining(&query.pipes, &CONTEXT, joined).unwrap();
        let names = plan.leaf().columns().to_vec();
        let mut all = plan.leaf().begin();
        plan.leaf().add(&mut all, &Records { records: &records, names }).unwrap();
        let answer = plan.finish(Some(all), &Miner::new()).unwrap();
        let marked = answer.table.columns.iter().filter(|column| column.is_estimate);
        let marked = marked.map(|column| column.name.clone()).collect::<Vec<_>>().join(" ");
        (marked, answer.table.chosen_by_estimate, answer)
    };
    let stats = "* | stats count_distinct(x) as d, count() as n by h";
    for (pipes, marked, chosen) in [
        ("", "d", false),
        ("| sort -d", "d", false),
        ("| sort -d | limit 2", "d", true),
        ("| sort -n | limit 2", "d", false),
        ("| fields h, n", "", false),
        ("| eval e = d * 2, f = n * 2", "d e", false),
        ("| eval d = n", "", false),
        ("| where d > 10", "d", true),
        ("| where d > 10 | fields h", "", true),
        ("| where n > 10", "d", false),
        ("| where d > 10 | stats count() as c", "c", false),
        ("| where d > 10 | stats max(n) as m by h", "m", true),
        ("| stats max(n) as m, max(d) as e", "e", false),
        ("| stats count() by d", "d count()", true),
        ("| top 2 d", "d count percent", true),
        ("| top 2 h", "", false),
        ("| dedup d", "d", true),
        (r#"| extract "<all>" from d | fields all, n"#, "all", false),
    ] {
        let query = format!("{stats} {pipes}");
        let (names, by_estimate, _) = estimated(&query, Vec::new());
        assert_eq!((names.as_str(), by_estimate), (marked, chosen), "{query}");
    }
    let joined = |pipes: &str| {
        let answer = estimated(&format!("{stats} {pipes}"), Vec::new()).2;
        Joined::of(answer, 1 << 20).unwrap()
    };
    let query = "* | stats count() as k by h | join by h (* | stats count() as d, count() as n by h)";
    for (pipes, marked, chosen) in [("", "d", false), ("| where d > 10", "d n", true)] {
        let (names, by_estimate, _) = estimated(query, vec![joined(pipes)]);
        assert_eq!((names.as_str(), by_estimate), (marked, chosen), "{pipes}");
    }
}

fn any_value() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        2 => Just(None),
        3 => (-3i64..4).prop_map(|number| Some(Value::Int(number))),
        2 => prop::sample::select(&["a", "b", "2", "-1.5", ""][..]).prop_map(|text| Some(Value::from(text))),
        1 => prop::sample::select(&[0.5, 2.0, -0.25][..]).prop_map(|number| Some(Value::Double(number))),
        1 => any::<bool>().prop_map(|flag| Some(Value::Bool(flag))),
        1 => prop::collection::vec(0i64..3, 0..3).prop_map(|all| Some(Value::Array(all.into_iter().map(Value::Int).collect()))),
    ]
}

/// A record a second, with these values.
fn of_values(values: &[[Option<Value>; 3]]) -> Vec<Record> {
    let of = |(second, values): (usize, &[Option<Value>; 3])| {
        let mut record = record(second as i64, &[]);
        for (name, value) in ["a", "b", "c"].iter().zip(values) {
            record.extend(value.clone().map(|value| (*name, value)));
        }
        record
    };
    values.iter().enumerate().map(of).collect()
}

proptest! {
    #[test]
    fn how_rows_are_spread_does_not_matter(
        values in prop::collection::vec([any_value(), any_value(), any_value()], 0..30),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..3), backwards in any::<bool>(),
        query in prop::sample::select(&[
            "* | stats count(), sum(a), avg(a), min(b), max(b), count_distinct(c), p75(a), stddev(a) by b",
            "* | stats first(a), last(b), count(c), count_if(a > b) by a, c",
            "* | timechart 3s count(), max(a) by b",
            "* | transaction 1s by b",
            "* | transaction 2s count(), sum(a), avg(a), stddev(a), p75(a), count_distinct(c), first(c), last(c), rate() by a, b",
            "* | session 0s min(b), max(b)",
            "* | transaction 3s by b | where duration > 2s | stats sum(count), max(end) by b",
            "* | timechart 2s count() by b | session 4s sum(count()) as n by b",
            "* | top 2 a, b",
            "* | rare 2 c",
            "* | sort -a, b | limit 4 | fields a, b, timestamp",
            "* | dedup a, b | fields a, b, c",
            "* | where a * 2 > c or b = \"a\" | eval d = concat(a, b) | stats count() by d",
            "* | limit 7 | stats sum(a) by b",
            "* | eval a = coalesce(a, b, 0) | sort a | dedup c | fields a, c",
            "* | expand a | stats count(), sum(a) by a, b",
            "* | where exists(b) | expand a | join by a (* | expand a | stats count() as n by a) | fields a, n, c",
            "* | join by b (* | stats count() as n, max(a) as most by b) | stats sum(n), first(most) by c",
            "* | join left by a (* | where b > 0 | fields a, b, _id | eval d = b, i = _id | fields a, d, i) | fields a, b, c, d, i",
            "* | join by a (* | join by c (* | stats count() as n by c) | stats sum(n) as n by a) | sort n, -b | limit 5 | fields a, b, n",
            "* | stats count() as n by a | join left by a (* | fields a, b) | dedup b | fields a, b, n",
            "* | join by c (* | eval d = a | fields c, d) | where d != b | top 3 d, b",
        ][..]),
    ) {
        let records = of_values(&values);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(records.len() + 1)).collect();
        cuts.extend([0, records.len()]);
        cuts.sort_unstable();
        let mut leaves: Vec<&[Record]> = cuts.windows(2).map(|ends| &records[ends[0]..ends[1]]).collect();
        if backwards {
            leaves.reverse();
        }
        let whole = ask(query, &[&records], &CONTEXT).unwrap();
        let spread = ask(query, &leaves, &CONTEXT).unwrap();
        prop_assert_eq!(rounded(whole), rounded(spread), "{}", query);
    }
}

proptest! {
    #[test]
    fn runs_are_those_of_records_in_their_order(
        records in prop::collection::vec((0i64..60, 0i64..3), 0..40), gap in 0i64..12,
        cut in any::<prop::sample::Index>(),
    ) {
        let rows: Vec<Record> = records.iter().map(|(second, key)| record(*second, &[("k", json!(key))])).collect();
        let cut = cut.index(rows.len() + 1);
        let query = format!("* | transaction {gap}s by k | fields k, start, duration, count");
        let found = ask(&query, &[&rows[..cut], &rows[cut..]], &CONTEXT).unwrap().1;
        let mut expected: Vec<(i64, i64, i64, u64)> = Vec::new();
        let mut ordered: Vec<(i64, i64)> = records.iter().map(|(second, key)| (*key, *second)).collect();
        ordered.sort_unstable();
        for (key, second) in ordered {
            match expected.last_mut() {
                Some((last, _, end, count)) if *last == key && second - *end <= gap => {
                    (*end, *count) = (second, *count + 1);
                }
                _ => expected.push((key, second, second, 1)),
            }
        }
        let shown = |(key, start, end, count): &(i64, i64, i64, u64)| {
            let begins = Timestamp(start * 1_000_000_000).to_string();
            json!([key, begins, (end - start) * 1_000_000_000, count])
        };
        prop_assert_eq!(found, expected.iter().map(shown).collect::<Vec<_>>());
    }
}

/// Without the last bits of sums of fractions.
fn rounded((names, rows, count): (Vec<String>, Vec<Json>, u64)) -> (Vec<String>, Vec<Json>, u64) {
    let round = |cell: &Json| match cell.as_f64() {
        Some(number) if !cell.is_i64() => json!((number * 1e9).round() / 1e9),
        _ => cell.clone(),
    };
    let rows = rows.iter().map(|row| row.as_array().unwrap().iter().map(round).collect()).collect();
    (names, rows, count)
}

/// Are two values the same key? As `stats by` has it: a number is the same with and without a fraction, what is lacking is none.
fn same_key(a: &Json, b: &Json) -> bool {
    !a.is_null() && if a.is_number() && b.is_number() { a.as_f64() == b.as_f64() } else { a == b }
}

proptest! {
    #[test]
    fn a_join_is_two_loops(
        values in prop::collection::vec([any_value(), any_value(), any_value()], 0..20),
        left in any::<bool>(), two in any::<bool>(), cut in any::<prop::sample::Index>(),
        first in prop::sample::select(&["fields a, b, c", "stats count() as c by a, b", "sort b | limit 7 | fields a, b, c"][..]),
    ) {
        let records = of_values(&values);
        let cut = cut.index(records.len() + 1);
        let leaves = [&records[..cut], &records[cut..]];
        let ask = |query: &str| ask(query, &leaves, &CONTEXT).unwrap().1;
        let (kind, keys) = (if left { "left " } else { "" }, if two { "a, b" } else { "a" });
        let right = format!("* | where a != 1 | eval d = c, e = timestamp | fields {keys}, d, e");
        let found = ask(&format!("* | {first} | join {kind}by {keys} ({right}) | fields a, b, c, d, e"));
        let (rows, others) = (ask(&format!("* | {first} | fields a, b, c")), ask(&right));
        let count = if two { 2 } else { 1 };
        let mut expected = Vec::new();
        for row in &rows {
            let beside = |other: &&Json| (0..count).all(|key| same_key(&row[key], &other[key]));
            let mut beside: Vec<Json> = others.iter().filter(beside).cloned().collect();
            if beside.is_empty() && left {
                beside.push(json!([null, null, null, null]));
            }
            expected.extend(beside.iter().map(|other| {
                json!([row[0], row[1], row[2], other[count], other[count + 1]])
            }));
        }
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn a_join_has_columns_of_both_sides_and_times_stay_times() {
    assert_eq!(
        rows(
            "* | stats count() as n by host | join by host (* | stats max(timestamp) as t, sum(bytes) by host)"
        ),
        json!([
            ["db1", 1, "1970-01-01T00:01:01.000000000Z", 2.5],
            ["web1", 2, "1970-01-01T00:00:03.000000000Z", 40],
            ["web2", 1, "1970-01-01T00:00:02.000000000Z", 20],
        ])
    );
    let records = some();
    let names = |query: &str| ask(query, &[&records], &CONTEXT).unwrap().0;
    assert_eq!(
        names("* | join left by host (* | stats count() as n by host)"),
        ["timestamp", "level", "host", "service", "n", "body"]
    );
    assert_eq!(
        rows("* | join left by host (nothing | where host = 1 | fields host, x) | stats count(), count(x)"),
        json!([[5, 0]])
    );
    assert_eq!(rows("* | join by host (* | where host = 1 | fields host, x) | stats count()"), json!([[0]]));
    // What is joined comes before what records have of that name.
    assert_eq!(
        rows("* | join by host (* | eval bytes = 1 | fields host, bytes) | stats sum(bytes)"),
        json!([[6]])
    );
}

#[test]
fn what_is_too_large_to_travel_is_joined_where_it_is_answered() {
    let records: Vec<Record> = (0..6000)
        .map(|n| {
            record(n % 900, &[("k", json!(n)), ("text", json!(format!("{n:0200}"))), ("g", json!(n % 3))])
        })
        .collect();
    let context = Context { memory: 64 << 20, ..CONTEXT };
    let leaves = [&records[..1000], &records[1000..]];
    let query =
        parse("* | where k < 10 | join by k (* | fields k, text) | stats count(), max(text) by g").unwrap();
    let answered = answer(&query, &leaves, &context).unwrap();
    let Pipe::Join(join) = &query.pipes[1] else { panic!() };
    let right = answer(&join.right, &leaves, &Context { limit: Joined::LIMIT, ..context }).unwrap();
    let joined = vec![Joined::of(right, context.memory).unwrap()];
    let told = Plan::joining(&query.pipes, &context, joined).unwrap().told();
    assert_eq!((told.len(), told[1].steps[0].as_str()), (2, "join inner by k, 6000 rows: text"), "{told:?}");
    let row = |row: usize| -> Json {
        answered.table.columns.iter().map(|column| json!(column.shown(row))).collect()
    };
    let most = |n: i64| json!(format!("{n:0200}"));
    assert_eq!(
        [row(0), row(1), row(2)],
        [json!([0, 4, most(9)]), json!([1, 3, most(7)]), json!([2, 3, most(8)])]
    );
}

#[test]
fn what_a_join_may_take_is_bounded() {
    let many: Vec<Record> =
        (0..50_001).map(|n| record(n % 900, &[("k", json!(n)), ("g", json!(n % 2))])).collect();
    let context = Context { memory: 256 << 20, ..CONTEXT };
    let ask = |query: &str, records: &[Record], context: &Context| {
        ask(query, &[records], context).map(|(_, rows, _)| rows)
    };
    let fine = ask("* | join by k (* | fields k, g) | stats count()", &many[..50_000], &context).unwrap();
    assert_eq!(fine, [json!([50_000])]);
    let problem = ask("* | join by k (* | fields k, g) | stats count()", &many, &context).unwrap_err();
    assert!(
        problem.contains("has 50001 rows, and may have 50000") && problem.contains("`stats`"),
        "{problem}"
    );
    // Each of many beside each of many: never a smaller answer.
    let problem = ask("* | join by g (* | fields g) | stats count()", &many[..20_000], &context).unwrap_err();
    assert!(problem.contains("10000000 rows") && problem.contains("more columns"), "{problem}");
    let both = ask("* | join by g (* | fields g) | stats count()", &many[..2000], &context).unwrap();
    assert_eq!(both, [json!([2_000_000])]);
    let little = Context { memory: 100_000, ..CONTEXT };
    let problem =
        ask("* | join by k (* | stats count() by k) | stats count()", &many[..3000], &little).unwrap_err();
    assert!(problem.contains("memory"), "{problem}");
    assert!(
        Plan::new(&parse("* | join by g (* | fields g)").unwrap().pipes, &CONTEXT).is_err(),
        "it is answered first"
    );
}

proptest! {
    #[test]
    fn an_expanded_array_is_a_row_an_element(values in prop::collection::vec([any_value(), any_value(), any_value()], 0..20), cut in any::<prop::sample::Index>()) {
        let records = of_values(&values);
        let cut = cut.index(records.len() + 1);
        let ask = |query: &str| ask(query, &[&records[..cut], &records[cut..]], &CONTEXT).unwrap().1;
        let mut expected = Vec::new();
        for row in ask("* | fields a, b, timestamp") {
            let elements = |cell: &Json| match cell {
                Json::Array(elements) if elements.is_empty() => vec![Json::Null],
                Json::Array(elements) => elements.clone(),
                other => vec![other.clone()],
            };
            for a in elements(&row[0]) {
                expected.extend(elements(&row[1]).iter().map(|b| json!([a, b, row[2]])));
            }
        }
        prop_assert_eq!(ask("* | expand a | expand b | fields a, b, timestamp"), expected);
    }
}

#[test]
fn elements_are_counted_and_arrays_that_multiply_are_bounded() {
    let tags = |all: Json| [("tags", all)];
    let records =
        [tags(json!(["a", "b", "a", null])), tags(json!([])), tags(json!("b")), tags(json!([["a"]]))];
    let records: Vec<Record> =
        records.iter().enumerate().map(|(second, fields)| record(second as i64, fields)).collect();
    let rows = |pipes: &[Pipe]| {
        let plan = Plan::new(pipes, &CONTEXT).unwrap();
        let mut partial = plan.leaf().begin();
        plan.leaf()
            .add(&mut partial, &Records { records: &records, names: plan.leaf().columns().to_vec() })
            .unwrap();
        let table = plan.finish(Some(partial), &Miner::new()).unwrap().table;
        (0..table.rows)
            .map(|row| json!([table.columns[0].shown(row), table.columns[1].shown(row)]))
            .collect::<Vec<_>>()
    };
    let mut pipes = parse("* | expand tags | stats count() by tags").unwrap().pipes;
    let all = [json!([["a"], 1]), json!(["a", 2]), json!(["b", 2]), json!([null, 2])];
    assert_eq!(rows(&pipes), all);
    pipes[0] = Pipe::Expand { of: "tags".to_owned(), different: true };
    let different = [json!([["a"], 1]), json!(["a", 1]), json!(["b", 2]), json!([null, 2])];
    assert_eq!(rows(&pipes), different);

    let many = json!((0..4000).collect::<Vec<_>>());
    let wide = [record(1, &[("a", many.clone()), ("b", many)])];
    let ask = |query: &str| ask(query, &[&wide], &CONTEXT).map(|(_, rows, _)| rows);
    assert_eq!(ask("* | expand a | stats count()"), Ok(vec![json!([4000])]));
    assert!(ask("* | expand a | expand b | stats count()").unwrap_err().contains("several arrays"));
}
