//! Which shards to merge. Pure: what is live goes in, tasks come out.
//!
//! Each stream's time bucket is planned for itself, in two steps, so that no record is rewritten more than
//! [`MAX_REWRITES`] times however many cuts there are:
//! 1. While the bucket fills, each [`fan_in`](Limits::fan_in) fresh shards, neighbours in time, become a *middle* one.
//!    What fills a shard without being that many is merged at once, and done: [`is_large`](Limits::is_large) shards are
//!    left alone for ever, so that where there is much, a record is rewritten once or never.
//! 2. Once the bucket is over and nothing has come for it in a while, what is left, fresh and middle, becomes one shard,
//!    or as few as the bounds allow. What comes later still begins at step 1.
//!
//! The oldest buckets come first: their work is bounded, so that none waits for ever as long as merging keeps up at all.

use crate::{route, settings::Streams};
use millrace_model::{OffsetRange, ShardMeta, StreamName, Timestamp};
use std::{collections::BTreeMap, time::Duration};

/// How often a record is rewritten at most.
pub const MAX_REWRITES: u32 = 2;

/// The bounds of merges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most records of one merge.
    pub records: u64,
    /// The most bytes of one merge: of the bundles that go in.
    pub bytes: u64,
    /// The most shards of one merge: each is an open file.
    pub inputs: usize,
    /// How many fresh shards are worth a merge while their bucket fills.
    pub fan_in: usize,
    /// A bucket is taken for complete when it has been over for so long and nothing was sealed for it in as long.
    pub lateness: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            records: 2_000_000,
            bytes: 256 << 20,
            inputs: 256,
            fan_in: 30,
            lateness: Duration::from_mins(10),
        }
    }
}

impl Limits {
    /// Is the shard as large as half of what a merge may take in? Then it is left alone. Of shards that are not, any two
    /// go together, and a merge that the next one would burst is itself large enough.
    pub fn is_large(&self, shard: &ShardMeta) -> bool {
        shard.records.saturating_mul(2) >= self.records || shard.bytes.saturating_mul(2) >= self.bytes
    }
}

/// Shards that are to become one: two or more, of one stream, bucket and layout, by time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeTask {
    /// Which.
    pub shards: Vec<ShardMeta>,
}

impl MergeTask {
    /// The offsets of what comes out.
    pub fn offsets(&self) -> Vec<OffsetRange> {
        OffsetRange::union(self.shards.iter().flat_map(|shard| &shard.offsets))
    }

    /// How often the records of what comes out were rewritten.
    pub fn rewrites(&self) -> u32 {
        self.shards.iter().map(|shard| shard.rewrites).max().unwrap_or(0) + 1
    }

    /// The number of the last deletion that all of them have been through.
    pub fn passed(&self) -> u64 {
        self.shards.iter().map(|shard| shard.deletions).min().unwrap_or(0)
    }

    /// How many records it rewrites.
    pub fn records(&self) -> u64 {
        self.shards.iter().map(|shard| shard.records).sum()
    }
}

/// What is to be merged by `now`, most urgent first. No shard is in two tasks, and any of them may be done without the
/// others. `shards` are all that are live, in any order; those without a bucket, and those that were rewritten often enough,
/// are passed by.
pub fn plan(shards: &[ShardMeta], limits: &Limits, streams: &Streams, now: Timestamp) -> Vec<MergeTask> {
    let mut buckets: BTreeMap<(Timestamp, &StreamName, u32), Vec<&ShardMeta>> = BTreeMap::new();
    for shard in shards {
        if let Some(bucket) = shard.bucket
            && shard.rewrites < MAX_REWRITES
            && !limits.is_large(shard)
        {
            buckets.entry((bucket, &shard.stream, shard.schema_version)).or_default().push(shard);
        }
    }
    let mut tasks = Vec::new();
    for ((bucket, stream, _), mut small) in buckets {
        small.sort_by_key(|shard| (shard.first, shard.last, shard.id));
        let over = bucket.plus(route::bucket_width(streams.retention(stream)));
        plan_bucket(&small, limits, over.plus(limits.lateness) <= now, now, &mut tasks);
    }
    tasks
}

/// Plans the small shards of one bucket, given by time.
fn plan_bucket(
    small: &[&ShardMeta],
    limits: &Limits,
    over: bool,
    now: Timestamp,
    tasks: &mut Vec<MergeTask>,
) {
    let (fresh, middle): (Vec<&ShardMeta>, Vec<&ShardMeta>) =
        small.iter().partition(|shard| shard.rewrites == 0);
    // Where none is fresh, the last that were came no later than the middle shard that they went into.
    let newest = if fresh.is_empty() { &middle } else { &fresh };
    let quiet = newest.iter().all(|shard| shard.created.plus(limits.lateness) <= now);
    if !(over && quiet) {
        gather(&fresh, limits, limits.fan_in, false, tasks);
        gather(&middle, limits, limits.inputs, false, tasks);
    } else if small.len() > limits.inputs && fresh.len() >= limits.fan_in {
        // More than one merge can take, as after a long pause: then there are two steps after all.
        gather(&fresh, limits, limits.inputs, true, tasks);
    } else {
        gather(small, limits, limits.inputs, true, tasks);
    }
}

/// Makes tasks of neighbours: each as many as the bounds and `most` allow. What is left at the end, where more could be
/// added, is a task only if it is the `last` word.
fn gather(shards: &[&ShardMeta], limits: &Limits, most: usize, last: bool, tasks: &mut Vec<MergeTask>) {
    let mut group: Vec<&ShardMeta> = Vec::new();
    let (mut records, mut bytes) = (0u64, 0u64);
    let mut close = |group: &mut Vec<&ShardMeta>| {
        if group.len() > 1 {
            tasks.push(MergeTask { shards: group.iter().map(|&shard| shard.clone()).collect() });
        }
        group.clear();
    };
    for shard in shards {
        let fits = records + shard.records <= limits.records && bytes + shard.bytes <= limits.bytes;
        if !fits {
            close(&mut group);
            (records, bytes) = (0, 0);
        }
        group.push(shard);
        (records, bytes) = (records + shard.records, bytes + shard.bytes);
        if group.len() >= most {
            close(&mut group);
            (records, bytes) = (0, 0);
        }
    }
    if last {
        close(&mut group);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
