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
    /// The bucket of all of its rows; `None`: several share it.
    pub bucket: Option<Timestamp>,
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
        for (nth, (bucket, rows)) in buckets.into_iter().enumerate() {
            if late > 0 && nth <= late {
                together.extend(rows);
            } else {
                parts.push(Part { stream: stream.clone(), bucket: Some(bucket), rows });
            }
        }
        if !together.is_empty() {
            parts.push(Part { stream, bucket: None, rows: together });
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
            rewrites: 0,
            bucket: part.bucket,
        },
        directory,
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::shards::{Owned, Shards};
    use millrace_model::{LogRecord, Partition, RecordId, Row, SourceId};
    use millrace_store::HotRow;

    /// Rows of two partitions in the buckets 0, 1, … of one stream.
    fn frozen(buckets: i64) -> Frozen {
        let shards = Shards::new("t");
        for partition in [Partition(0), Partition(1)] {
            let owned = Owned { topic_id: None, epoch: 1, published: None, held_from: 0, next: 0, end: 0 };
            shards.own(partition, owned);
            let rows = (0..buckets).map(|bucket| {
                let id =
                    RecordId { source: SourceId(partition.0 as u128), position: bucket as u64, index: 0 };
                let stream = StreamName::default();
                let (time, record) = (Timestamp(bucket * 100 + 5), LogRecord::default());
                let row = Row { id, stream: stream.clone(), time, record };
                (stream, Timestamp(bucket * 100), HotRow { partition, offset: bucket, row })
            });
            shards.append(partition, rows.collect(), buckets, None);
        }
        shards.freeze().unwrap()
    }

    #[test]
    fn a_shard_says_the_bucket_of_all_of_its_rows() {
        let frozen = frozen(3);
        let parts = parts(&frozen);
        let buckets: Vec<_> = parts.iter().map(|part| part.bucket).collect();
        assert_eq!(buckets, [0, 100, 200].map(|bucket| Some(Timestamp(bucket))));
        let offsets: Vec<OffsetRange> = frozen.moves.iter().map(|m| m.range.clone()).collect();
        let folder = tempfile::tempdir().unwrap();
        let meta = seal(&parts[1], &offsets, folder.path(), Timestamp(9)).unwrap().meta;
        assert_eq!((meta.records, meta.bucket, meta.rewrites), (2, Some(Timestamp(100)), 0));
    }

    #[test]
    fn of_too_many_buckets_the_oldest_share_a_shard_that_names_none() {
        let parts = parts(&frozen(MAX_BUCKETS as i64 + 2));
        assert_eq!(parts.len(), MAX_BUCKETS);
        let shared: Vec<_> = parts.iter().filter(|part| part.bucket.is_none()).collect();
        assert_eq!(shared.len(), 1);
        assert_eq!(shared[0].rows.iter().map(HotRows::len).sum::<usize>(), 6);
    }
}
