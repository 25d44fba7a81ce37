//! What is in a catalogue, in a few numbers.

use crate::{Catalogue, Error, NODE_TTL, Node, PartitionRow, StreamUsage};
use serde::Serialize;

/// What a group's catalogue holds at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The schema's version.
    pub schema_version: u64,
    /// Where every partition stands, and whose it is.
    pub partitions: Vec<PartitionRow>,
    /// What lies in each stream that has live shards, by name.
    pub streams: Vec<StreamUsage>,
    /// Shards that have expired or were replaced, and whose bundles are still there.
    pub hidden_shards: u64,
    /// Sources in the ledger.
    pub sources: u64,
    /// Links of all trails.
    pub trail_links: u64,
    /// Nodes that are alive.
    pub nodes: Vec<Node>,
}

impl Catalogue {
    /// A group's summary.
    pub async fn summary(&self, group: &str) -> Result<Summary, Error> {
        let live_since = self.clock.now().minus(NODE_TTL);
        let mut transaction = self.begin_read("read a summary").await?;
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
            streams: self.usage_of(&mut transaction, group).await?,
            hidden_shards,
            sources,
            trail_links,
            nodes: self.live_nodes(&mut transaction, live_since).await?,
        })
    }
}
