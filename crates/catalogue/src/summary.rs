//! What is in a catalogue, in a few numbers.

use crate::{Catalogue, Error, NODE_TTL, Node, PartitionRow};
use millrace_model::{StreamName, Timestamp};
use serde::Serialize;
use sqlx::FromRow;

/// The live shards of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamSummary {
    /// Its name.
    pub name: StreamName,
    /// How many shards.
    pub shards: u64,
    /// Their records.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The time of the earliest record.
    pub oldest: Timestamp,
    /// The time of the latest record.
    pub newest: Timestamp,
}

/// What a group's catalogue holds at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The schema's version.
    pub schema_version: u64,
    /// Where every partition stands, and whose it is.
    pub partitions: Vec<PartitionRow>,
    /// The streams that have live shards, by name.
    pub streams: Vec<StreamSummary>,
    /// Shards that have expired or were replaced, and whose bundles are still there.
    pub hidden_shards: u64,
    /// Sources in the ledger.
    pub sources: u64,
    /// Links of all trails.
    pub trail_links: u64,
    /// Nodes that are alive.
    pub nodes: Vec<Node>,
}

#[derive(FromRow)]
struct Stored {
    stream: String,
    shards: i64,
    records: i64,
    bytes: i64,
    first_ns: i64,
    last_ns: i64,
}

impl Catalogue {
    /// A group's summary.
    pub async fn summary(&self, group: &str) -> Result<Summary, Error> {
        let live_since = self.clock.now().minus(NODE_TTL);
        let mut transaction = self.begin_read("read a summary").await?;
        let rows: Vec<Stored> = sqlx::query_as(
            "SELECT stream, COUNT(*) AS shards, CAST(SUM(records) AS BIGINT) AS records, \
             CAST(SUM(bytes) AS BIGINT) AS bytes, MIN(first_ns) AS first_ns, MAX(last_ns) AS last_ns \
             FROM shards WHERE consumer_group = $1 AND expired_ns IS NULL GROUP BY stream",
        )
        .bind(group)
        .fetch_all(&mut *transaction)
        .await
        .map_err(self.failed("count shards"))?;
        let mut streams = Vec::with_capacity(rows.len());
        for row in rows {
            streams.push(StreamSummary {
                name: row.stream.parse().map_err(self.unreadable("a shard's stream"))?,
                shards: row.shards as u64,
                records: row.records as u64,
                bytes: row.bytes as u64,
                oldest: Timestamp(row.first_ns),
                newest: Timestamp(row.last_ns),
            });
        }
        streams.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let mut counts = [0u64; 3];
        let counted = [
            "SELECT COUNT(*) FROM shards WHERE consumer_group = $1 AND expired_ns IS NOT NULL",
            "SELECT COUNT(*) FROM sources WHERE consumer_group = $1",
            "SELECT COUNT(*) FROM trail WHERE consumer_group = $1",
        ];
        for (count, text) in counts.iter_mut().zip(counted) {
            let found: i64 = sqlx::query_scalar(text)
                .bind(group)
                .fetch_one(&mut *transaction)
                .await
                .map_err(self.failed("count rows"))?;
            *count = found as u64;
        }
        let [hidden_shards, sources, trail_links] = counts;
        Ok(Summary {
            schema_version: self.schema_version(&mut transaction).await?,
            partitions: self.partition_rows(&mut transaction, group).await?,
            streams,
            hidden_shards,
            sources,
            trail_links,
            nodes: self.live_nodes(&mut transaction, live_since).await?,
        })
    }
}
