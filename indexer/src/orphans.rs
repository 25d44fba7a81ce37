//! Bundles that nobody knows: a process was killed between storing one and committing to it, or could not delete what was
//! refused. They go a day after they were stored. What is stored and not published by then never will be: the catalogue takes
//! no shard that was sealed more than [`PUBLISH_WITHIN`] ago, however long its process stood still.

use crate::parts::Parts;
use millrace_catalogue::PUBLISH_WITHIN;
use millrace_model::ShardId;
use std::time::{Duration, SystemTime};

/// How long after it was stored a bundle may be unknown: far more than a publish may take, clocks that differ included.
const KEPT: Duration = PUBLISH_WITHIN.saturating_mul(2);

/// Deletes them, and returns how many there were. `now` is the time that the storage goes by.
pub(crate) async fn sweep(parts: &Parts, now: SystemTime) -> anyhow::Result<usize> {
    let Some(before) = now.checked_sub(KEPT) else { return Ok(0) };
    let old = parts.bundles.list_older("", before).await?;
    // What has another name is none of a shard's.
    let shard_of = |key: &str| key.rsplit('/').next()?.strip_suffix(".shard")?.parse::<ShardId>().ok();
    let old: Vec<(ShardId, String)> =
        old.into_iter().filter_map(|key| Some((shard_of(&key)?, key))).collect();
    let ids: Vec<ShardId> = old.iter().map(|(id, _)| *id).collect();
    // Asked after they were listed: what was published meanwhile is known.
    let known = parts.catalogue.known_shards(&ids).await?;
    let mut swept = 0;
    for (id, key) in old.iter().filter(|(id, _)| !known.contains(id)) {
        parts.bundles.delete(key).await?;
        parts.metrics.orphans.inc();
        tracing::warn!(shard.id = %id, key, "a bundle that was never published is deleted");
        swept += 1;
    }
    Ok(swept)
}
