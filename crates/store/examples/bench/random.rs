//! Random records with awkward values, shard by shard: appended, searched while hot, sealed in parts, these merged and
//! merged again, read back before and after, and compared with the bytes that they had.

mod lines;
mod records;
mod values;

use crate::{
    ask, exact,
    ingest::{merged, seal_input},
    meter::{self, Outcome},
    table::{self, fact, megabytes, rate, ratio, thousands},
};
use millrace_model::{Partition, RecordId, Row, Timestamp, wire};
use millrace_store::{FieldRules, HotRow, HotShard, Order, Shaper, seal};
use records::Maker;

/// Rows of a shard.
const SHARD: u64 = 200_000;
/// Rows of a part.
const PART: u64 = 50_000;
/// Rows of an append.
const BATCH: u64 = 500;
/// One row of a shard of so many is read by its id as well.
const BY_ID: usize = 500;
/// Progress is told after so many shards.
const TELL: u128 = 10;

/// What a row must come back as.
struct Kept {
    id: RecordId,
    time: Timestamp,
    record: Vec<u8>,
}

impl Kept {
    fn is(&self, row: &Row) -> bool {
        (self.id, self.time) == (row.id, row.time) && wire::encode_record(&row.record) == self.record
    }
}

#[derive(Default)]
struct Sums {
    rows: u64,
    exact_rows: u64,
    by_id: u64,
    hot: u64,
    bytes: u64,
    stored: u64,
    appending: f64,
    sealing: f64,
    merging: f64,
    reading: f64,
    peak: u64,
}

/// Says whether every record came back as it was.
pub(crate) fn measure(records: u64, seed: u64) -> Outcome<bool> {
    let load = meter::load()?;
    let mut maker = Maker::new(seed);
    let mut sums = Sums::default();
    let mut shards = 0;
    let mut first = 0;
    while first < records {
        let rows = SHARD.min(records - first);
        shards += 1;
        one_shard(&mut maker, first, rows, shards, &mut sums)?;
        first += rows;
        if shards % TELL == 0 {
            eprintln!("bench: {} of {} records", thousands(first), thousands(records));
        }
    }
    let exact = sums.exact_rows == records && sums.hot == records;
    println!("### Shards: {} random records, seed {seed}\n", thousands(records));
    table::head(&["", ""]);
    fact("shards", &format!("{shards} of at most {}", thousands(SHARD)));
    let verdict = if exact { "exact" } else { "**NOT EXACT**" };
    fact(
        "rows of shards that are exact, sealed and merged; also read by id",
        &format!("{verdict}: {}, {}", thousands(sums.exact_rows), thousands(sums.by_id)),
    );
    fact("rows equal while hot", &thousands(sums.hot));
    fact(
        "as OTLP, stored",
        &format!(
            "{}, {} = {}",
            megabytes(sums.bytes),
            megabytes(sums.stored),
            ratio(sums.bytes, sums.stored)
        ),
    );
    fact("append, lines a CPU-second", &rate(sums.rows, sums.appending));
    fact("seal, lines a CPU-second", &rate(sums.rows, sums.sealing));
    fact("merge twice, lines a CPU-second", &rate(sums.rows, sums.merging));
    fact("all read back, lines a CPU-second", &rate(sums.rows, sums.reading));
    fact("memory at most, what is kept to compare included", &megabytes(sums.peak));
    fact("load average", &format!("{load} before, {} after", meter::load()?));
    fact("machine", &meter::machine()?);
    Ok(exact)
}

fn one_shard(maker: &mut Maker, first: u64, rows: u64, shard: u128, sums: &mut Sums) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let shaper = Shaper::new();
    let mut kept = Vec::with_capacity(rows as usize);
    let mut parts = Vec::new();
    for (number, start) in (0..rows).step_by(PART as usize).enumerate() {
        let hot = HotShard::new(&shaper, &FieldRules::default());
        let end = rows.min(start + PART);
        for start in (start..end).step_by(BATCH as usize) {
            let batch: Vec<HotRow> = (start..end.min(start + BATCH))
                .map(|number| {
                    let row = maker.row(first + number)?;
                    kept.push(Kept {
                        id: row.id,
                        time: row.time,
                        record: wire::encode_record(&row.record).to_vec(),
                    });
                    Ok(HotRow { partition: Partition(0), offset: (first + number) as i64, row })
                })
                .collect::<Outcome<_>>()?;
            sums.appending += meter::cpu(|| hot.append(batch))?.0;
        }
        sums.hot += hot_rows(&hot, &|row| is_known(&kept, first, row))?;
        let input = seal_input(number as u128, &hot, (first + start) as i64..(first + end) as i64);
        let (spent, sealed) = meter::cpu(|| seal(&input, folder.path()))?;
        let sealed = sealed.map_err(|error| format!("shard {shard}, records from {first}: {error}"))?;
        sums.sealing += spent;
        parts.push(sealed.path);
    }
    let known = |row: &Row| is_known(&kept, first, row);
    let before = exact::check(&parts, BY_ID, &known)?;
    let merged = merged(&parts, folder.path())?;
    let after = exact::check(&[merged.shard], BY_ID, &known)?;
    if before.holds(rows) && after.holds(rows) {
        sums.exact_rows += rows;
    } else {
        let (before, after) = (before.summary(rows), after.summary(rows));
        eprintln!("bench: shard {shard}, records from {first}: {before}; merged: {after}");
    }
    sums.rows += rows;
    sums.by_id += (before.sample.len() + after.sample.len()) as u64;
    sums.bytes += kept.iter().map(|kept| kept.record.len() as u64).sum::<u64>();
    sums.stored += merged.stored;
    sums.merging += merged.once + merged.again;
    sums.reading += after.spent;
    sums.peak = sums.peak.max(meter::peak()?);
    Ok(())
}

fn is_known(kept: &[Kept], first: u64, row: &Row) -> bool {
    let number = records::number(row.id).and_then(|number| number.checked_sub(first));
    number.and_then(|number| kept.get(number as usize)).is_some_and(|kept| kept.is(row))
}

/// How many distinct rows a search of the hot ones finds as they went in.
fn hot_rows(hot: &HotShard, known: &dyn Fn(&Row) -> bool) -> Outcome<u64> {
    let request = ask::request("*", usize::MAX, Order::OldestFirst, None)?;
    let mut rows = hot.snapshot().search(&request, i64::MIN, None)?.hits;
    rows.dedup_by_key(|row| row.order());
    Ok(rows.iter().filter(|row| known(row)).count() as u64)
}
