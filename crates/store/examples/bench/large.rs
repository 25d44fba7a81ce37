//! The large corpus: what it costs to write, what it costs to ask.

use crate::{
    ask, child,
    corpus::{Feed, Truth},
    exact,
    ingest::Ingested,
    meter::{self, Outcome},
    naive::{self, Answer},
    parts, plain,
    questions::{Ask, QUERIES, Query},
    reading,
    table::{self, megabytes, milliseconds, rate, ratio, thousands},
};
use millrace_model::{RecordId, Row, SourceId, TimeRange, Timestamp};
use millrace_store::{LeafRequest, Order, SealedShard};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// A cut falls due after so many bytes of lines.
const CUT: u64 = 64 << 20;
/// One row of so many is read by its id as well.
const BY_ID: usize = 500;

/// Writes it in cuts and whole, asks the whole. Says whether everything was right.
pub(crate) fn measure(file: &Path, lines: usize) -> Outcome<bool> {
    let files = [file.to_owned()];
    let folder = tempfile::tempdir()?;
    let (in_cuts, whole) = (folder.path().join("cuts"), folder.path().join("whole"));
    std::fs::create_dir(&in_cuts)?;
    std::fs::create_dir(&whole)?;
    let load = meter::load()?;

    let cuts = child::ingested(&files, lines, Some(CUT), &in_cuts)?;
    // A merge of `cuts.shards` is measured here as soon as the store has one.
    let one = child::ingested(&files, lines, None, &whole)?;
    let truth = Truth::new(&files, lines)?;
    let known = |row: &Row| truth.knows(row);
    let cuts_exact = exact::check(&cuts.shards, BY_ID, &known)?;
    let one_exact = exact::check(&one.shards, BY_ID, &known)?;

    println!("### Shards: {} JSON lines\n\n#### Writing\n", thousands(one.lines));
    table::head(&["", &format!("cuts of {} MiB: {}", CUT >> 20, cuts.shards.len()), "one shard", "aim"]);
    written(&cuts, &one);
    let exactness = [cuts_exact.summary(cuts.lines), one_exact.summary(one.lines), String::new()];
    table::row(&[vec!["read back".to_owned()], exactness.to_vec()].concat());
    println!();
    elsewhere(&files, lines, &one)?;
    println!();
    stored(&cuts, &one)?;
    println!();
    let [path] = one.shards.as_slice() else { return Err("not one shard".into()) };
    let answered = asked(path, file, lines, &truth)?;
    println!();
    reading::measure(path, &one_exact)?;
    let load = format!("{load} before, {} after", meter::load()?);
    for (what, value) in [("load average", load), ("machine", meter::machine()?)] {
        table::row(&[what.to_owned(), value, String::new()]);
    }
    Ok(answered && cuts_exact.holds(cuts.lines) && one_exact.holds(one.lines))
}

/// What is said of each way of writing.
type Says<'a> = &'a dyn Fn(&Ingested) -> String;

fn written(cuts: &Ingested, one: &Ingested) {
    let rows: [(&str, Says<'_>, &str); 11] = [
        ("raw", &|of| megabytes(of.raw), ""),
        ("stored", &|of| megabytes(of.stored), ""),
        ("stored of raw", &|of| ratio(of.raw, of.stored), "≤ 1/18, at best 1/22"),
        (
            "bytes a line, raw and stored",
            &|of| {
                format!("{:.1}, {:.2}", of.raw as f64 / of.lines as f64, of.stored as f64 / of.lines as f64)
            },
            "",
        ),
        ("append, lines a CPU-second", &|of| rate(of.lines, of.appending), ""),
        ("seal, lines a CPU-second", &|of| rate(of.lines, of.sealing), ""),
        ("merge, lines a CPU-second", &|_| "–".to_owned(), ""),
        (
            "append and seal, lines a CPU-second",
            &|of| rate(of.lines, of.appending + of.sealing),
            "≥ 400,000, at best 700,000",
        ),
        ("messages decoded before that, lines a CPU-second", &|of| rate(of.lines, of.decoding), ""),
        ("memory at most", &|of| megabytes(of.peak), ""),
        (
            "memory a hot row, of that as its weight",
            &|of| {
                let a_row = |bytes: u64| bytes.checked_div(of.hot.rows).unwrap_or_default();
                format!("{} B, {} B", a_row(of.hot.resident), a_row(of.hot.weight))
            },
            "",
        ),
    ];
    for (what, says, aim) in rows {
        table::row(&[what.to_owned(), says(cuts), says(one), aim.to_owned()]);
    }
}

/// The same lines elsewhere. What zstd does in a second also says how fast the machine is at the moment.
fn elsewhere(files: &[PathBuf], lines: usize, one: &Ingested) -> Outcome<()> {
    let frame = plain::zstd(files, one.raw)?;
    let index = plain::tantivy(&mut Feed::new(files, lines))?;
    table::head(&["the same lines in this run", "stored", "of raw", "a CPU-second"]);
    let speed = format!("{:.0} MB", one.raw as f64 / 1e6 / frame.spent);
    let row = |what: &str, bytes: u64, speed: String| {
        table::row(&[what.to_owned(), megabytes(bytes), ratio(one.raw, bytes), speed]);
    };
    row("`zstd -3`, one frame", frame.bytes, speed);
    row("plain tantivy, one segment", index.bytes, format!("{} lines", rate(one.lines, index.spent)));
    Ok(())
}

fn stored(cuts: &Ingested, one: &Ingested) -> Outcome<()> {
    let sums = |shards: &[PathBuf]| -> Outcome<BTreeMap<String, u64>> {
        let mut sums = BTreeMap::new();
        shards.iter().try_for_each(|shard| parts::add(shard, &mut sums))?;
        Ok(sums)
    };
    let (cuts, one) = (sums(&cuts.shards)?, sums(&one.shards)?);
    let mut names: Vec<&String> =
        one.keys().chain(cuts.keys().filter(|name| !one.contains_key(*name))).collect();
    names.sort_by_key(|name| std::cmp::Reverse(one.get(*name)));
    table::head(&["bytes by file of the bundle", "cuts", "one shard"]);
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
    // The top 20 hosts (aim ≤ 2, best peer 0.8) follow here as soon as the store counts groups.
    table::row(&["top 20 hosts", "groups", "–", "–", "≤ 2", "0.8", "–"].map(str::to_owned));
    Ok(all_right)
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
