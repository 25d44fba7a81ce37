//! Bundles that nobody knows: a process was killed between storing one and committing to it, or could not delete what was
//! refused. They go a day after they were stored. What is stored and not published by then never will be: the catalogue takes
//! no shard that was sealed more than [`PUBLISH_WITHIN`] ago, however long its process stood still.
//!
//! **Invariant:** a bundle goes only where all that it can hold was published otherwise. A catalogue that was put back from a
//! backup does not know the bundles that were published since, and while the topic has not been read again as far, or where it
//! does not have their messages any more, they are all that there is.

use crate::{GROUP, merge::Stored, parts::Parts};
use millrace_catalogue::{PUBLISH_WITHIN, Reached};
use millrace_model::{OffsetRange, ShardId, TimeRange};
use millrace_storage::Reach;
use millrace_store::SealedShard;
use std::{
    collections::HashSet,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// How long after it was stored a bundle may be unknown: far more than a publish may take, clocks that differ included.
const KEPT: Duration = PUBLISH_WITHIN.saturating_mul(2);

/// Deletes them, and returns how many there were. `now` is the time that the storage goes by.
pub(crate) async fn sweep(parts: &Parts, now: SystemTime) -> anyhow::Result<usize> {
    let Some(before) = now.checked_sub(KEPT) else { return Ok(0) };
    let unknown = unknown(parts, before).await?;
    let mut swept = 0;
    if !unknown.is_empty() && is_whole(parts).await? {
        let reached = parts.catalogue.reached(GROUP).await?;
        for (id, key) in &unknown {
            if !is_superseded(parts, &reached, key).await? {
                continue;
            }
            parts.bundles.delete(key).await?;
            parts.metrics.orphans.inc();
            tracing::warn!(shard.id = %id, key, "a bundle that was never published is deleted");
            swept += 1;
        }
    }
    parts.metrics.kept_orphans.set((unknown.len() - swept) as i64);
    Ok(swept)
}

/// The bundles that were stored before then, and that the catalogue does not know.
async fn unknown(parts: &Parts, before: SystemTime) -> anyhow::Result<Vec<(ShardId, String)>> {
    let old = parts.bundles.list_older("", before).await?;
    // What has another name is none of a shard's.
    let shard_of = |key: &str| key.rsplit('/').next()?.strip_suffix(".shard")?.parse::<ShardId>().ok();
    let mut old: Vec<(ShardId, String)> =
        old.into_iter().filter_map(|key| Some((shard_of(&key)?, key))).collect();
    let ids: Vec<ShardId> = old.iter().map(|(id, _)| *id).collect();
    // Asked after they were listed: what was published meanwhile is known.
    let known = parts.catalogue.known_shards(&ids).await?;
    old.retain(|(id, _)| !known.contains(id));
    Ok(old)
}

/// Does every live shard have its bundle? If not, catalogue and storage are not of one time: what is missing may have been
/// merged into what nobody knows.
async fn is_whole(parts: &Parts) -> anyhow::Result<bool> {
    let live = parts.catalogue.snapshot(GROUP, TimeRange::ALL, None).await?.shards;
    let there = parts.bundles.list("").await?;
    let there: HashSet<&str> = there.iter().map(|(key, _)| key.as_str()).collect();
    let gone = live.iter().filter(|shard| !there.contains(shard.key.as_str())).count();
    if gone > 0 {
        tracing::warn!(
            shards = gone,
            "live shards have no bundle: until they have, no bundle is deleted that nobody knows"
        );
    }
    Ok(gone == 0)
}

/// Was all that the bundle holds published otherwise? Not where it cannot be read: then nobody knows what it holds.
async fn is_superseded(parts: &Parts, reached: &Reached, key: &str) -> anyhow::Result<bool> {
    let offsets = match offsets(parts, key).await? {
        Ok(offsets) => offsets,
        Err(error) => {
            tracing::warn!(key, %error, "a bundle that nobody knows cannot be read, and stays");
            return Ok(false);
        }
    };
    let lacking = offsets.iter().find(|range| !range.is_empty() && !reached.covers(range));
    if let Some(range) = lacking {
        tracing::warn!(
            key,
            kafka.partition = range.partition.0,
            from = range.from,
            to = range.to,
            "a bundle that nobody knows stays: not all that it may hold was published otherwise"
        );
    }
    Ok(lacking.is_none())
}

/// What a bundle says of itself. The inner error is the bundle's.
async fn offsets(
    parts: &Parts,
    key: &str,
) -> anyhow::Result<Result<Vec<OffsetRange>, millrace_store::Error>> {
    let reader = parts.bundles.reader(key, None, Reach::Parts).await?;
    let stored = Stored { key: key.to_owned(), reader };
    let open = move || {
        let name = stored.key.clone();
        SealedShard::open_from(Path::new(&name), Arc::new(stored)).map(|shard| shard.meta().offsets.clone())
    };
    Ok(tokio::task::spawn_blocking(open).await?)
}
