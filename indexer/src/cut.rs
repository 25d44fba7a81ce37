//! From frozen rows to bundles: which rows share a shard, and sealing them.
//!
//! Does not publish ([`crate::publish`]) and knows nothing of offsets but to pass them on.

use crate::shards::{Frozen, Key};
use millrace_model::{OffsetRange, ShardId, StreamName, Timestamp};
use millrace_store::{HotRows, SealInput, SealedBundle};
use std::{collections::BTreeMap, path::Path};

/// More buckets than this of one stream in one cut: the oldest share one shard.
const MAX_BUCKETS: usize = 24;

/// The rows of one shard to be.
#[derive(Debug)]
pub struct Part {
    /// Its stream.
    pub stream: StreamName,
    /// Its rows, of any partition.
    pub rows: Vec<HotRows>,
}

/// Groups frozen rows into shards: one a stream and bucket, the oldest buckets together where there are too many.
pub fn parts(frozen: &Frozen) -> Vec<Part> {
    let mut streams: BTreeMap<StreamName, BTreeMap<Timestamp, Vec<HotRows>>> = BTreeMap::new();
    for (Key { stream, bucket, .. }, rows) in &frozen.rows {
        if !rows.is_empty() {
            streams.entry(stream.clone()).or_default().entry(*bucket).or_default().push(rows.clone());
        }
    }
    let mut parts = Vec::new();
    for (stream, buckets) in streams {
        let late = buckets.len().saturating_sub(MAX_BUCKETS);
        let mut together = Vec::new();
        for (nth, (_, rows)) in buckets.into_iter().enumerate() {
            if late > 0 && nth <= late {
                together.extend(rows);
            } else {
                parts.push(Part { stream: stream.clone(), rows });
            }
        }
        if !together.is_empty() {
            parts.push(Part { stream, rows: together });
        }
    }
    parts
}

/// Seals one part into a bundle under `directory`. Blocks, and uses a core.
pub fn seal(
    part: &Part,
    offsets: &[OffsetRange],
    directory: &Path,
    now: Timestamp,
) -> Result<SealedBundle, millrace_store::Error> {
    millrace_store::seal(
        &SealInput {
            id: ShardId::random(),
            stream: part.stream.clone(),
            rows: part.rows.clone(),
            offsets: offsets.to_vec(),
            created: now,
        },
        directory,
    )
}
