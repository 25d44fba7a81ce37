//! Real text of several kinds: what it takes here, in one frame of zstd, and in a plain tantivy index.

use crate::{
    ask, child,
    corpus::{Feed, Truth},
    exact::{self, Exactness},
    meter::{self, Outcome},
    plain,
    table::{self, megabytes, milliseconds, rate, ratio, thousands},
};
use millrace_store::{LeafRequest, Order, SealedShard};
use std::path::PathBuf;

/// One row of a shard of so many is read by its id as well.
const BY_ID: usize = 100;

/// Files of one kind.
#[derive(Default)]
pub(crate) struct Text {
    pub(crate) name: String,
    pub(crate) files: Vec<PathBuf>,
    /// Queries to count over them.
    pub(crate) asks: Vec<String>,
}

/// Prints a row for each, then what queries over them cost. Says whether everything was right.
pub(crate) fn measure(texts: &[Text]) -> Outcome<bool> {
    let load = meter::load()?;
    println!("### Shards: real text, one shard each\n");
    table::head(&[
        "text",
        "lines",
        "raw",
        "`zstd -3`",
        "tantivy",
        "stored",
        "of raw: zstd",
        "tantivy",
        "stored",
        "lines a CPU-second: tantivy",
        "append",
        "seal",
        "both",
        "memory at most",
        "read back",
        "of cuts, merged twice",
    ]);
    let mut all_right = true;
    let mut answers = Vec::new();
    for text in texts {
        let folder = tempfile::tempdir()?;
        let of = child::ingested(&text.files, usize::MAX, None, folder.path())?;
        let truth = Truth::new(&text.files, usize::MAX)?;
        let found = exact::check(&of.shards, BY_ID, &|row| truth.knows(row))?;
        all_right &= found.holds(of.lines);
        let other = tempfile::tempdir()?;
        let cuts = child::ingested(&text.files, usize::MAX, Some(of.raw / 3 + 1), other.path())?;
        let merged = child::merged_of(&cuts.shards, other.path())?;
        let merged = exact::check(&[merged.shard], BY_ID, &|row| truth.knows(row))?;
        all_right &= merged.holds(of.lines);
        let frame = plain::zstd(&text.files, of.raw)?;
        let index = plain::tantivy(&mut Feed::new(&text.files, usize::MAX))?;
        table::row(&[
            text.name.clone(),
            thousands(of.lines),
            megabytes(of.raw),
            megabytes(frame.bytes),
            megabytes(index.bytes),
            megabytes(of.stored),
            ratio(of.raw, frame.bytes),
            ratio(of.raw, index.bytes),
            ratio(of.raw, of.stored),
            rate(of.lines, index.spent),
            rate(of.lines, of.appending),
            rate(of.lines, of.sealing),
            rate(of.lines, of.appending + of.sealing),
            megabytes(of.peak),
            said(&found, of.lines),
            said(&merged, of.lines),
        ]);
        all_right &= answer(text, &of.shards, &mut answers)?;
    }
    println!();
    if !answers.is_empty() {
        table::head(&["text", "query", "hits", "CPU ms of a count", "as a test of each row"]);
        for answer in &answers {
            table::row(answer);
        }
        println!();
    }
    println!("Load average {load} before, {} after; {}.", meter::load()?, meter::machine()?);
    Ok(all_right)
}

fn said(found: &Exactness, rows: u64) -> String {
    if found.holds(rows) { "exact".to_owned() } else { found.summary(rows) }
}

/// Adds a row for each query of a text. Says whether as many rows were found as the query language's own test lets pass.
fn answer(text: &Text, shards: &[PathBuf], answers: &mut Vec<Vec<String>>) -> Outcome<bool> {
    if text.asks.is_empty() {
        return Ok(true);
    }
    let requests: Vec<LeafRequest> = text
        .asks
        .iter()
        .map(|query| ask::request(query, 0, Order::NewestFirst, None))
        .collect::<Outcome<_>>()?;
    let mut expected = vec![0; requests.len()];
    let mut feed = Feed::new(&text.files, usize::MAX);
    while let Some(arrival) = feed.next()? {
        for hot in &arrival.rows {
            for (request, count) in requests.iter().zip(&mut expected) {
                *count += u64::from(millrace_filter::matches(&request.filter, &hot.row.placed()));
            }
        }
    }
    let mut all_right = true;
    for path in shards {
        let shard = SealedShard::open(path)?;
        for ((query, request), expected) in text.asks.iter().zip(&requests).zip(&expected) {
            let found = shard.search(request)?.total;
            let spent = meter::median_cpu(|| shard.search(request).map(drop))?;
            all_right &= found == *expected;
            answers.push(vec![
                text.name.clone(),
                format!("`{query}`"),
                thousands(found),
                milliseconds(spent),
                table::verdict(found == *expected, *expected),
            ]);
        }
    }
    Ok(all_right)
}
