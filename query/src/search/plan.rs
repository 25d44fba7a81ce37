//! What to ask: one look at the catalogue, *before* any leaf is asked, so that what is published between the two is
//! found in the hot rows, which stay a while after publishing.

use crate::{INDEXER_GROUP, SearchRequest};
use millrace_catalogue::{Catalogue, Snapshot};
use millrace_store::{HotRequest, LeafRequest, Published};

/// A search, planned.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What the catalogue showed: shards pruned by stream and time, partitions, live nodes.
    pub snapshot: Snapshot,
    /// What every sealed shard is asked.
    pub sealed: LeafRequest,
    /// What every holder of hot rows is asked.
    pub hot: HotRequest,
}

/// Plans a search.
pub async fn plan(catalogue: &Catalogue, request: &SearchRequest) -> Result<Plan, millrace_catalogue::Error> {
    let seen = request.sight.grant.within(request.streams.as_deref());
    let mut snapshot = catalogue.snapshot(INDEXER_GROUP, request.range, seen.as_deref()).await?;
    snapshot.shards.retain(|shard| request.sight.grant.shows(request.streams.as_deref(), &shard.stream));
    let sealed = leaf_request(request);
    let published = snapshot
        .partitions
        .iter()
        .filter_map(|row| {
            Some(Published {
                topic: row.topic.clone(),
                topic_id: row.topic_id,
                partition: row.partition,
                next_offset: row.next_offset?,
            })
        })
        .collect();
    let hot = HotRequest {
        request: sealed.clone(),
        streams: request.streams.clone(),
        grant: request.sight.grant.clone(),
        published,
        publish: false,
    };
    Ok(Plan { snapshot, sealed, hot })
}

/// What every holder of rows is asked.
pub fn leaf_request(request: &SearchRequest) -> LeafRequest {
    LeafRequest {
        filter: request.filter.clone(),
        range: request.range,
        limit: request.limit,
        order: request.order,
        after: request.after,
        histogram: request.histogram.map(|interval| u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX)),
        fragments: request.gather.clone(),
    }
}
