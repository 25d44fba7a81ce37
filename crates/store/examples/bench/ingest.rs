//! Rows become shards, as in an indexer: appended as they come, sealed at each cut, merged and merged again. Says what
//! that cost.

use crate::{
    corpus::Feed,
    meter::{self, Outcome},
};
use millrace_model::{OffsetRange, Partition, ShardId, StreamName, Timestamp};
use millrace_store::{
    FieldRules, HotShard, MergeInput, SealInput, SealedBundle, SealedShard, Shaper, merge, seal,
};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What came of it. Times are CPU seconds.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Ingested {
    pub(crate) shards: Vec<PathBuf>,
    pub(crate) lines: u64,
    /// Bytes of the lines, line ends included.
    pub(crate) raw: u64,
    /// Bytes of the shards.
    pub(crate) stored: u64,
    pub(crate) decoding: f64,
    pub(crate) appending: f64,
    pub(crate) sealing: f64,
    /// The most memory meanwhile, above what there was before.
    pub(crate) peak: u64,
    /// Memory that came with the rows of the first cut, and what they say that they weigh.
    pub(crate) hot: Hot,
}

/// Memory of hot rows.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Hot {
    pub(crate) rows: u64,
    pub(crate) resident: u64,
    pub(crate) weight: u64,
}

/// Seals what `feed` gives into `folder`, at each `cut` bytes of lines; all in one shard where there is none.
pub(crate) fn ingest(feed: &mut Feed, cut: Option<u64>, folder: &Path) -> Outcome<Ingested> {
    let mut done = Ingested::default();
    meter::reset_peak()?;
    let before = meter::resident()?;
    // As the indexer does: what shapes records have is remembered from cut to cut.
    let shaper = Shaper::new();
    let (mut hot, mut rows, mut raw, mut from) =
        (HotShard::new(&shaper, &FieldRules::default()), 0u64, 0u64, feed.next_offset());
    loop {
        let arrival = feed.next()?;
        let ended = arrival.is_none();
        if let Some(arrival) = arrival {
            rows += arrival.rows.len() as u64;
            raw += arrival.raw;
            done.decoding += arrival.decoding;
            done.appending += meter::cpu(|| hot.append(arrival.rows))?.0;
        }
        if rows > 0 && (ended || cut.is_some_and(|cut| raw >= cut)) {
            if done.shards.is_empty() {
                let resident = meter::resident()?.saturating_sub(before);
                done.hot = Hot { rows, resident, weight: hot.weight() as u64 };
            }
            let input = seal_input(done.shards.len() as u128 + 1, &hot, from..feed.next_offset());
            let (spent, sealed) = meter::cpu(|| seal(&input, folder))?;
            done.take(&sealed?, spent, rows, raw)?;
            (hot, rows, raw, from) =
                (HotShard::new(&shaper, &FieldRules::default()), 0, 0, feed.next_offset());
        }
        if ended {
            break;
        }
    }
    done.peak = meter::peak()?.saturating_sub(before);
    Ok(done)
}

impl Ingested {
    fn take(&mut self, sealed: &SealedBundle, spent: f64, rows: u64, raw: u64) -> Outcome<()> {
        if sealed.left_out > 0 || sealed.meta.records != rows {
            return Err(format!("{rows} rows given, {} sealed", sealed.meta.records).into());
        }
        self.sealing += spent;
        self.lines += rows;
        self.raw += raw;
        self.stored += std::fs::metadata(&sealed.path)?.len();
        self.shards.push(sealed.path.clone());
        Ok(())
    }
}

/// Shards that became one, by two merges of each row. Times are CPU seconds.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Merged {
    pub(crate) shard: PathBuf,
    /// Bytes of it.
    pub(crate) stored: u64,
    /// What the first merges cost, and the second one.
    pub(crate) once: f64,
    pub(crate) again: f64,
    /// The most memory meanwhile, above what there was before.
    pub(crate) peak: u64,
}

/// Merges each half of the shards, then both.
pub(crate) fn merged(shards: &[PathBuf], folder: &Path) -> Outcome<Merged> {
    meter::reset_peak()?;
    let before = meter::resident()?;
    let mut done = Merged::default();
    let mut halves = Vec::new();
    for (number, half) in shards.chunks(shards.len().div_ceil(2).max(1)).enumerate() {
        let (spent, bundle) = one_of(half, 1_000_000 + number as u128, folder)?;
        done.once += spent;
        halves.push(bundle.path);
    }
    let (spent, bundle) = one_of(&halves, 2_000_000, folder)?;
    (done.again, done.stored) = (spent, std::fs::metadata(&bundle.path)?.len());
    done.shard = bundle.path;
    done.peak = meter::peak()?.saturating_sub(before);
    Ok(done)
}

fn one_of(shards: &[PathBuf], id: u128, folder: &Path) -> Outcome<(f64, SealedBundle)> {
    let shards: Vec<SealedShard> =
        shards.iter().map(|path| SealedShard::open(path)).collect::<Result<_, _>>()?;
    let input =
        MergeInput { id: ShardId(id), shards: &shards, deletions: &[], passed: 0, created: Timestamp(0) };
    let (spent, bundle) = meter::cpu(|| merge(&input, folder))?;
    let bundle = bundle?;
    if bundle.left_out > 0 {
        return Err(format!("a merge left {} rows out", bundle.left_out).into());
    }
    Ok((spent, bundle))
}

/// Everything that a hot shard holds.
pub(crate) fn seal_input(id: u128, hot: &HotShard, offsets: std::ops::Range<i64>) -> SealInput {
    let offsets = OffsetRange {
        topic: "logs".to_owned(),
        topic_id: None,
        partition: Partition(0),
        from: offsets.start,
        to: offsets.end,
    };
    SealInput {
        id: ShardId(id),
        stream: StreamName::default(),
        rows: vec![hot.snapshot()],
        offsets: vec![offsets],
        created: Timestamp(0),
        rewrites: 0,
        bucket: None,
    }
}
