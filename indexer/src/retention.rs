//! The end of a shard's life: hidden in the catalogue as soon as its retention is over, or when a merge replaces it; its
//! file removed after a grace period that is longer than any search, and, where it was merged away, when no snapshot of
//! the catalogue needs it ([`snapshots::held_since`]).

use crate::{GROUP, Settings, parts::Parts, settings::Streams, snapshots};
use millrace_catalogue::HiddenShard;
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

/// An upload that has not finished after so long never will: its leftover goes.
const ABANDONED: Duration = Duration::from_hours(1);

/// Looks at retention until `shutdown`. A failure is said, counted and tried again.
pub async fn run(parts: Arc<Parts>, settings: Settings, shutdown: CancellationToken) {
    let grace = settings.expired_grace;
    loop {
        if let Err(error) = once(&parts, &settings.streams, grace).await {
            tracing::warn!(error = format!("{error:#}"), "retention could not be applied");
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(grace.clamp(LEAST, EVERY)) => {}
        }
    }
}

/// One pass: expires what is over, deletes what has been expired or replaced for `grace`. Returns (expired, deleted).
pub async fn once(parts: &Parts, streams: &Streams, grace: Duration) -> anyhow::Result<(usize, usize)> {
    let now = parts.clock.now();
    let mut expired = 0;
    for stream in parts.catalogue.streams(GROUP).await? {
        let shards = parts.catalogue.expire(GROUP, &stream, now.minus(streams.retention(&stream))).await?;
        for shard in &shards {
            tracing::info!(stream.name = %stream, shard.id = %shard.id, records = shard.records, "a shard expired");
        }
        parts.metrics.expired.inc_by(shards.len() as u64);
        expired += shards.len();
    }
    let over = parts.catalogue.hidden(now.minus(grace)).await?;
    let held = match snapshots::held_since(parts).await? {
        Some(since) => {
            let free = parts.catalogue.hidden(since).await?;
            let free: HashSet<_> = free.iter().map(|hidden| hidden.shard.id).collect();
            let held = over.iter().filter(|hidden| hidden.replaced && !free.contains(&hidden.shard.id));
            held.map(|hidden| hidden.shard.id).collect()
        }
        None => HashSet::new(),
    };
    let mut gone = Vec::with_capacity(over.len());
    for HiddenShard { shard, .. } in over.into_iter().filter(|hidden| !held.contains(&hidden.shard.id)) {
        parts.bundles.delete(&shard.key).await?;
        gone.push(shard.id);
    }
    parts.catalogue.forget(&gone).await?;
    let abandoned = now.minus(ABANDONED).0;
    parts
        .bundles
        .sweep(SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(abandoned).unwrap_or(0)))
        .await?;
    Ok((expired, gone.len()))
}
