//! The end of a shard's life: hidden in the catalogue as soon as its retention is over or its stream takes more room than it
//! may (a publish sees to that itself), or when a merge replaces it; its file removed after a grace period that is longer
//! than any search, and, where it was merged away, when no snapshot of the catalogue needs it
//! ([`snapshots::held_since`]).

use crate::{
    GROUP, Settings, orphans,
    parts::Parts,
    settings::{Keep, Streams},
    snapshots,
};
use millrace_catalogue::HiddenShard;
use millrace_model::{ShardId, ShardMeta, Timestamp};
use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio_util::sync::CancellationToken;

/// How often retention is looked at, at least.
const EVERY: Duration = Duration::from_secs(10);
/// … and at most.
const LEAST: Duration = Duration::from_millis(100);

/// How often bundles that nobody knows are looked for: it takes a listing of all there are.
const ORPHANS_EVERY: Duration = Duration::from_hours(1);

/// An upload that has not finished after so long never will: its leftover goes.
const ABANDONED: Duration = Duration::from_hours(1);

/// Looks at retention until `shutdown`. A failure is said, counted and tried again.
pub async fn run(parts: Arc<Parts>, settings: Settings, shutdown: CancellationToken) {
    let grace = settings.expired_grace;
    let mut orphans_at: Option<Timestamp> = None;
    loop {
        let now = parts.clock.now();
        if orphans_at.is_none_or(|last| last.plus(ORPHANS_EVERY) <= now) {
            orphans_at = Some(now);
            if let Err(error) = orphans::sweep(&parts, time_of(now)).await {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "bundles that nobody knows could not be looked for"
                );
            }
            if let Err(error) = parts.catalogue.forget_traffic(GROUP).await {
                tracing::warn!(%error, "what was brought long ago could not be forgotten");
            }
        }
        if let Err(error) = once(&parts, &settings.streams, grace).await {
            tracing::warn!(error = format!("{error:#}"), "retention could not be applied");
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(grace.clamp(LEAST, EVERY)) => {}
        }
    }
}

/// One pass: expires what is over or has no room, deletes what has been expired or replaced for `grace`, ends deletions
/// for which nothing is left to do. Returns (expired, deleted).
pub async fn once(parts: &Parts, streams: &Streams, grace: Duration) -> anyhow::Result<(usize, usize)> {
    let now = parts.clock.now();
    let mut expired = 0;
    for stream in parts.catalogue.streams(GROUP).await? {
        let Keep { age, bytes } = streams.keep(&stream);
        let old = parts.catalogue.expire(GROUP, &stream, now.minus(age)).await?;
        tell(parts, &old, "its retention is over");
        expired += old.len();
        if let Some(bytes) = bytes {
            let outgrown = parts.catalogue.expire_beyond(GROUP, &stream, bytes).await?;
            tell(parts, &outgrown, "its stream takes more room than it may");
            expired += outgrown.len();
        }
    }
    let over = parts.catalogue.hidden(now.minus(grace)).await?;
    let held = held(parts, &over).await?;
    let mut gone = Vec::with_capacity(over.len());
    for HiddenShard { shard, .. } in over.into_iter().filter(|hidden| !held.contains(&hidden.shard.id)) {
        parts.bundles.delete(&shard.key).await?;
        gone.push(shard.id);
    }
    if !gone.is_empty() {
        parts.catalogue.forget(&gone).await?;
    }
    // What other nodes have deleted, this one may still have copies of.
    if parts.bundles.folder().is_none() {
        parts.bundles.keep_copies_of(&parts.catalogue.bundle_keys().await?).await?;
    }
    for deletion in parts.catalogue.finish_deletions(GROUP).await? {
        tracing::info!(
            number = deletion.number, stream.name = %deletion.stream, records = deletion.records,
            "a deletion is done: no shard holds such a record any more"
        );
    }
    parts.bundles.sweep(time_of(now.minus(ABANDONED))).await?;
    Ok((expired, gone.len()))
}

/// The shards whose bundles the newest snapshot of the catalogue may need. Where a deletion waits for one of them, there is a
/// newer snapshot soon.
async fn held(parts: &Parts, over: &[HiddenShard]) -> anyhow::Result<HashSet<ShardId>> {
    let Some(since) = snapshots::held_since(parts).await? else { return Ok(HashSet::new()) };
    let free = parts.catalogue.hidden(since).await?;
    let free: HashSet<ShardId> = free.iter().map(|hidden| hidden.shard.id).collect();
    let held = || over.iter().filter(|hidden| hidden.replaced && !free.contains(&hidden.shard.id));
    if held().next().is_some() {
        let deletions = parts.catalogue.deletions(GROUP).await?;
        let concerns = |shard: &ShardMeta| deletions.iter().any(|deletion| deletion.concerns(shard));
        if held().any(|hidden| concerns(&hidden.shard)) {
            snapshots::if_due(parts, snapshots::LATE).await?;
        }
    }
    Ok(held().map(|hidden| hidden.shard.id).collect())
}

fn time_of(time: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(time.0).unwrap_or(0))
}

/// Says and counts that shards have expired.
pub(crate) fn tell(parts: &Parts, expired: &[ShardMeta], because: &str) {
    for shard in expired {
        tracing::info!(
            stream.name = %shard.stream, shard.id = %shard.id, records = shard.records, because, "a shard expired"
        );
    }
    parts.metrics.expired.inc_by(expired.len() as u64);
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
