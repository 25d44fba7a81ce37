//! Is what comes out what went in, byte for byte? Every row of every shard is read back and compared.

use crate::meter::{self, Outcome};
use millrace_model::{LogRecord, RecordId, Row, wire};
use millrace_store::{Order, SealedShard};
use std::path::PathBuf;

/// Rows of a page.
const PAGE: usize = 10_000;
/// How many differing rows are shown.
const SHOWN: usize = 3;

/// What was found.
#[derive(Default)]
pub(crate) struct Exactness {
    /// Rows read by pages of a search for everything.
    pub(crate) read: u64,
    /// Of those, how many are what went in.
    pub(crate) equal: u64,
    /// Distinct ids among them.
    pub(crate) distinct: u64,
    /// Rows that were read by their ids too, and how many of those are what went in.
    pub(crate) sample: Vec<RecordId>,
    pub(crate) sample_equal: u64,
    /// CPU seconds of the pages.
    pub(crate) spent: f64,
    /// Bytes of their bodies.
    pub(crate) bytes: u64,
}

impl Exactness {
    /// Did exactly `rows` rows come back, each as it went in?
    pub(crate) fn holds(&self, rows: u64) -> bool {
        [self.read, self.equal, self.distinct].iter().all(|count| *count == rows)
            && self.sample.len() as u64 == self.sample_equal
    }

    /// In words.
    pub(crate) fn summary(&self, rows: u64) -> String {
        let verdict = if self.holds(rows) { "exact" } else { "**NOT EXACT**" };
        let [read, equal, distinct, rows] =
            [self.read, self.equal, self.distinct, rows].map(crate::table::thousands);
        let [sample, sample_equal] =
            [self.sample.len() as u64, self.sample_equal].map(crate::table::thousands);
        format!(
            "{verdict}: of {rows} rows {read} read back, {distinct} of them distinct, {equal} equal; by id {sample_equal} of {sample} equal"
        )
    }
}

/// Reads all rows back, and each `nth` by its id too. `known` says whether a row is one that went in.
pub(crate) fn check(shards: &[PathBuf], nth: usize, known: &dyn Fn(&Row) -> bool) -> Outcome<Exactness> {
    let mut found = Exactness::default();
    let mut ids: Vec<RecordId> = Vec::new();
    let mut shown = 0;
    let mut judge = |row: &Row| {
        let equal = known(row);
        if !equal && shown < SHOWN {
            shown += 1;
            eprintln!("bench: not what went in: {row:?}");
        }
        u64::from(equal)
    };
    for path in shards {
        let shard = SealedShard::open(path)?;
        let mut after = None;
        loop {
            let request = crate::ask::request("*", PAGE, Order::OldestFirst, after)?;
            let (spent, page) = meter::cpu(|| shard.search(&request))?;
            let hits = page?.hits;
            found.spent += spent;
            for (number, row) in hits.iter().enumerate() {
                if after.is_some_and(|after| row.order() <= after) {
                    return Err(format!("{} comes again, or too late", row.id).into());
                }
                after = Some(row.order());
                found.read += 1;
                found.equal += judge(row);
                found.bytes += row.record.body.as_str().map_or(0, str::len) as u64;
                ids.push(row.id);
                if number % nth == 0 {
                    found.sample.push(row.id);
                    let again = shard.record(row.id)?.filter(|again| again.id == row.id);
                    found.sample_equal += again.as_ref().map_or(0, &mut judge);
                }
            }
            if hits.len() < PAGE {
                break;
            }
        }
    }
    ids.sort_unstable();
    ids.dedup();
    found.distinct = ids.len() as u64;
    Ok(found)
}

/// Are they one and the same? Records are compared by their bytes, in which a number that is none equals itself.
pub(crate) fn same(a: &Row, b: &Row) -> bool {
    (a.id, &a.stream, a.time) == (b.id, &b.stream, b.time) && bytes(&a.record) == bytes(&b.record)
}

fn bytes(record: &LogRecord) -> impl PartialEq {
    wire::encode_record(record)
}
