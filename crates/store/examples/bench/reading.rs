//! What it costs to read records out of a shard: one by its id, and all of them.

use crate::{
    ask,
    chance::Chance,
    child,
    exact::Exactness,
    meter::{self, Outcome},
    table::{self, megabytes, thousands},
};
use millrace_model::{RecordId, Row};
use millrace_store::{Order, SealedShard};
use std::{path::Path, time::Instant};

/// Finds nothing, and only the text itself can say so: what it begins with stands in every line.
const SCAN: &str = "/\"level\":\"[a-z]*x\"/";
/// Records read one by one, and in how many rounds.
const READS: usize = 2_000;
const ROUNDS: usize = 3;

/// Prints the table, of three columns; the caller may add to it.
pub(crate) fn measure(path: &Path, exactness: &Exactness) -> Outcome<()> {
    println!("#### Reading, files in the page cache\n");
    table::head(&["", "", "aim"]);
    let opened = child::opened(path)?;
    let memory = megabytes(opened.resident);
    let times = format!("{:.1} ms, CPU {:.1} ms", opened.wall * 1e3, opened.spent * 1e3);
    row("opening a shard", &format!("{times}, {memory} of memory"), "");

    let shard = SealedShard::open(path)?;
    let request = ask::request(SCAN, 0, Order::NewestFirst, None)?;
    let (spent, found) = meter::cpu(|| shard.search(&request))?;
    let found = found?.total;
    let speed = |seconds: f64| format!("{:.0} MB a CPU-second", exactness.bytes as f64 / 1e6 / seconds);
    row(&format!("a scan of all text, `{SCAN}`, {found} hits"), &speed(spent), "≥ 400 MB");
    row("all rows with all fields, pages of 10,000", &speed(exactness.spent), "");
    drop(shard);

    let mut ids = exactness.sample.clone();
    Chance::new(7).shuffle(&mut ids);
    ids.truncate(READS);
    let what = format!("a record by its id, shard just opened, {} at random", thousands(ids.len() as u64));
    let by_wall = cold(path, &ids, |work| {
        let started = Instant::now();
        let result = work();
        Ok((started.elapsed().as_secs_f64(), result))
    })?;
    row(&format!("{what}: p50, p99, most"), &format!("{by_wall} µs of wall time"), "p99 ≤ 150 µs");
    let by_processor = cold(path, &ids, |work| meter::cpu(work))?;
    row("the same", &format!("{by_processor} µs of CPU"), "");
    Ok(())
}

fn row(what: &str, value: &str, aim: &str) {
    table::row(&[what.to_owned(), value.to_owned(), aim.to_owned()]);
}

type Found = Result<Option<Row>, millrace_store::Error>;

/// Median, 99th percentile and maximum of reading each, in microseconds: those of the round in the middle by its 99th
/// percentile. `timed` runs the work and says how many seconds it took.
fn cold(
    path: &Path,
    ids: &[RecordId],
    timed: impl Fn(&dyn Fn() -> Found) -> Outcome<(f64, Found)>,
) -> Outcome<String> {
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let shard = SealedShard::open(path)?;
        let mut times = Vec::with_capacity(ids.len());
        for id in ids {
            let (seconds, row) = timed(&|| shard.record(*id))?;
            if row?.is_none_or(|row| row.id != *id) {
                return Err(format!("{id} is not found").into());
            }
            times.push(seconds * 1e6);
        }
        times.sort_by(f64::total_cmp);
        let last = times.len().checked_sub(1).ok_or("no records to read")?;
        rounds.push([0.5, 0.99, 1.0].map(|part| times[((times.len() as f64 * part) as usize).min(last)]));
    }
    rounds.sort_by(|[_, a, _], [_, b, _]| a.total_cmp(b));
    Ok(rounds[ROUNDS / 2].map(|time| format!("{time:.0}")).join(", "))
}
