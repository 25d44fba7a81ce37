//! What is known of a sealed shard without opening it: the row in the catalogue and the footer of its bundle.

use crate::{Partition, ShardId, StreamName, Timestamp, TopicId};
use serde::{Deserialize, Serialize};

/// `[from, to)` of one partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OffsetRange {
    /// The topic's name.
    pub topic: String,
    /// Which incarnation of it, where that is known.
    pub topic_id: Option<TopicId>,
    /// The partition.
    pub partition: Partition,
    /// The first offset inside.
    pub from: i64,
    /// The first offset after.
    pub to: i64,
}

/// A sealed shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardMeta {
    /// Its id.
    pub id: ShardId,
    /// The layout of the bundle.
    pub schema_version: u32,
    /// The stream whose records it holds.
    pub stream: StreamName,
    /// The earliest record's time.
    pub first: Timestamp,
    /// The latest record's time (inside).
    pub last: Timestamp,
    /// How many records.
    pub records: u64,
    /// The bundle's size in bytes.
    pub bytes: u64,
    /// SHA-256 of the bundle up to its footer, in hexadecimal.
    pub sha256: String,
    /// Where the bundle lies in the store of bundles.
    pub key: String,
    /// The offsets that its cut covered.
    pub offsets: Vec<OffsetRange>,
    /// When it was sealed.
    pub created: Timestamp,
}
