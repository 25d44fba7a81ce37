//! The large corpus: what it costs to write, what it costs to ask.

use crate::{
    ask, child,
    corpus::{Feed, Truth},
    exact,
    ingest::{Ingested, Merged},
    meter::{self, Outcome},
    naive::{self, Answer},
    parts, plain,
    questions::{Ask, QUERIES, Query},
    reading,
    table::{self, megabytes, milliseconds, rate, ratio, thousands},
};
use millrace_model::{FieldRef, RecordId, Row, SourceId, TimeRange, Timestamp};
use millrace_store::{LeafRequest, Order, SealedShard};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// A cut falls due after so many bytes of lines.
const CUT: u64 = 64 << 20;
/// How many values of a field are asked for.
const TOP: usize = 20;
/// One row of so many is read by its id as well.
const BY_ID: usize = 500;

/// Writes it in cuts, merges these twice, asks what came of it. Says whether everything was right.
pub(crate) fn measure(file: &Path, lines: usize) -> Outcome<bool> {
    let files = [file.to_owned()];
    let folder = tempfile::tempdir()?;
    let load = meter::load()?;

    let cuts = child::ingested(&files, lines, Some(CUT), folder.path())?;
    let one = child::merged_of(&cuts.shards, folder.path())?;
    let truth = Truth::new(&files, lines)?;
    let known = |row: &Row| truth.knows(row);
    let cuts_exact = exact::check(&cuts.shards, BY_ID, &known)?;
    let one_exact = exact::check(std::slice::from_ref(&one.shard), BY_ID, &known)?;

    println!("### Shards: {} JSON lines\n\n#### Writing\n", thousands(cuts.lines));
    table::head(&["", &format!("cuts of {} MiB: {}", CUT >> 20, cuts.shards.len()), "merged twice", "aim"]);
    written(&cuts, &one);
    let exactness = [cuts_exact.summary(cuts.lines), one_exact.summary(cuts.lines), String::new()];
    table::row(&[vec!["read back".to_owned()], exactness.to_vec()].concat());
    println!();
    elsewhere(&files, lines, (cuts.lines, cuts.raw))?;
    println!();
    stored(&cuts.shards, &one.shard)?;
    println!();
    let answered = asked(&one.shard, file, lines, &truth)?;
    println!();
    reading::measure(&one.shard, &one_exact)?;
    let load = format!("{load} before, {} after", meter::load()?);
    for (what, value) in [("load average", load), ("machine", meter::machine()?)] {
        table::row(&[what.to_owned(), value, String::new()]);
    }
    Ok(answered && cuts_exact.holds(cuts.lines) && one_exact.holds(cuts.lines))
}

fn written(cuts: &Ingested, one: &Merged) {
    let row = |what: &str, cuts: String, one: String, aim: &str| {
        table::row(&[what.to_owned(), cuts, one, aim.to_owned()]);
    };
    let none = || "–".to_owned();
    let lines = cuts.lines;
    row("raw", megabytes(cuts.raw), megabytes(cuts.raw), "");
    row("stored", megabytes(cuts.stored), megabytes(one.stored), "");
    row("stored of raw", ratio(cuts.raw, cuts.stored), ratio(cuts.raw, one.stored), "≤ 1/18, at best 1/22");
    let a_line = |bytes: u64| format!("{:.2}", bytes as f64 / lines as f64);
    row(&format!("bytes a line, of {} raw", a_line(cuts.raw)), a_line(cuts.stored), a_line(one.stored), "");
    row("messages decoded, lines a CPU-second", rate(lines, cuts.decoding), none(), "");
    row("append, lines a CPU-second", rate(lines, cuts.appending), none(), "");
    row("seal, lines a CPU-second", rate(lines, cuts.sealing), none(), "");
    row("merge once, lines a CPU-second", none(), rate(lines, one.once), "");
    row("merge again, lines a CPU-second", none(), rate(lines, one.again), "");
    let sealed = cuts.decoding + cuts.appending + cuts.sealing;
    row(
        "from message to sealed; to merged once",
        rate(lines, sealed),
        rate(lines, sealed + one.once),
        "≥ 400,000, at best 700,000",
    );
    row("memory at most", megabytes(cuts.peak), megabytes(one.peak), "");
    let a_row = |bytes: u64| bytes.checked_div(cuts.hot.rows).unwrap_or_default();
    let hot = format!("{} B, {} B", a_row(cuts.hot.resident), a_row(cuts.hot.weight));
    row("memory a hot row, of that as its weight", hot, none(), "");
}

/// The same lines elsewhere. What zstd does in a second also says how fast the machine is at the moment.
fn elsewhere(files: &[PathBuf], lines: usize, (indexed, raw): (u64, u64)) -> Outcome<()> {
    let frame = plain::zstd(files, raw)?;
    let index = plain::tantivy(&mut Feed::new(files, lines))?;
    table::head(&["the same lines in this run", "stored", "of raw", "a CPU-second"]);
    let speed = format!("{:.0} MB", raw as f64 / 1e6 / frame.spent);
    let row = |what: &str, bytes: u64, speed: String| {
        table::row(&[what.to_owned(), megabytes(bytes), ratio(raw, bytes), speed]);
    };
    row("`zstd -3`, one frame", frame.bytes, speed);
    row("plain tantivy, one segment", index.bytes, format!("{} lines", rate(indexed, index.spent)));
    Ok(())
}

fn stored(cuts: &[PathBuf], one: &PathBuf) -> Outcome<()> {
    let sums = |shards: &[PathBuf]| -> Outcome<BTreeMap<String, u64>> {
        let mut sums = BTreeMap::new();
        shards.iter().try_for_each(|shard| parts::add(shard, &mut sums))?;
        Ok(sums)
    };
    let (cuts, one) = (sums(cuts)?, sums(std::slice::from_ref(one))?);
    let mut names: Vec<&String> =
        one.keys().chain(cuts.keys().filter(|name| !one.contains_key(*name))).collect();
    names.sort_by_key(|name| std::cmp::Reverse(one.get(*name)));
    table::head(&["bytes by file of the bundle", "cuts", "merged twice"]);
    for name in names {
        let bytes =
            |sums: &BTreeMap<String, u64>| sums.get(name).map_or("–".to_owned(), |bytes| thousands(*bytes));
        table::row(&[format!("`{name}`"), bytes(&cuts), bytes(&one)]);
    }
    Ok(())
}

/// The table of queries. Says whether every answer was the naive one.
fn asked(path: &Path, file: &Path, lines: usize, truth: &Truth) -> Outcome<bool> {
    let shard = SealedShard::open(path)?;
    let answers = naive::answers(file, lines, QUERIES)?;
    let midnight = naive::midnight(shard.meta().first);
    println!(
        "#### Queries over {} lines, warm, median of {} runs, of {} where one takes over a second\n",
        thousands(shard.meta().records),
        meter::RUNS,
        meter::SLOW_RUNS
    );
    table::head(&["query", "asked", "hits", "CPU ms", "aim", "best peer", "as a naive search"]);
    let mut all_right = true;
    for (query, answer) in QUERIES.iter().zip(&answers) {
        for (how, aim, peer) in query.asks {
            let request = request(query, *how, midnight)?;
            let found = shard.search(&request)?;
            let right = found.total == answer.count
                && match how {
                    Ask::Count => true,
                    Ask::Histogram => found.histogram == answer.buckets,
                    Ask::Latest => are_latest(&found.hits, answer, truth),
                };
            all_right &= right;
            let spent = meter::median_cpu(|| shard.search(&request).map(drop))?;
            let hours = query.hours.map(|(from, to)| format!(", {from} to {to} h")).unwrap_or_default();
            let say = |limit: &Option<f64>, sign: &str| {
                limit.map(|limit| format!("{sign}{limit}")).unwrap_or_default()
            };
            table::row(&[
                format!("`{}`{hours}", query.text),
                how.name().to_owned(),
                thousands(found.total),
                milliseconds(spent),
                say(aim, "≤ "),
                say(peer, ""),
                table::verdict(right, answer.count),
            ]);
        }
    }
    for (field, aim, peer) in [("host", "≤ 2", "0.8"), ("service", "", ""), ("level", "", "")] {
        all_right &= top(&shard, file, lines, (field, aim, peer))?;
    }
    Ok(all_right)
}

/// The most frequent values of a field: the same as counted in the lines themselves?
fn top(
    shard: &SealedShard,
    file: &Path,
    lines: usize,
    (field, aim, peer): (&str, &str, &str),
) -> Outcome<bool> {
    let Query { text, .. } = &QUERIES[0];
    let filter = ask::request(text, 0, Order::NewestFirst, None)?.filter;
    let fields = FieldRef::resolve(field);
    let groups = || shard.group_counts(&filter, TimeRange::ALL, &fields);
    let found: BTreeMap<String, u64> =
        groups()?.top(TOP).into_iter().map(|(value, count)| (value.to_string(), count)).collect();
    let spent = meter::median_cpu(|| groups().map(|groups| drop(groups.top(TOP))))?;
    let counts = naive::values(file, lines, field)?;
    let least = found.values().min().copied().unwrap_or_default();
    let above = counts.iter().filter(|(_, count)| **count > least).count();
    let right = found.iter().all(|(value, count)| counts.get(value) == Some(count))
        && found.len() == counts.len().min(TOP)
        && above <= TOP;
    table::row(&[
        format!("top {TOP} of `{field}`"),
        "groups".to_owned(),
        thousands(found.values().sum()),
        milliseconds(spent),
        aim.to_owned(),
        peer.to_owned(),
        table::verdict(right, counts.values().sum()),
    ]);
    Ok(right)
}

fn request(query: &Query, how: Ask, midnight: Timestamp) -> Outcome<LeafRequest> {
    let limit = if how == Ask::Latest { naive::LATEST } else { 0 };
    let mut request = ask::request(query.text, limit, Order::NewestFirst, None)?;
    request.histogram = (how == Ask::Histogram).then_some(naive::BUCKET as u64);
    if let Some(of) = query.hours {
        let times = naive::hours(midnight, of);
        request.range = TimeRange { from: times.start, to: times.end };
    }
    Ok(request)
}

/// Are these whole rows the latest ones, in order?
fn are_latest(hits: &[Row], answer: &Answer, truth: &Truth) -> bool {
    let source: Option<SourceId> = hits.first().map(|row| row.id.source);
    hits.len() == answer.latest.len()
        && hits.iter().zip(&answer.latest).all(|(row, position)| {
            let id = source.map(|source| RecordId { source, position: *position, index: 0 });
            id == Some(row.id) && truth.knows(row)
        })
}
