//! The commit: bundles go to the store of bundles, then one transaction makes them, the offsets and the ledger true
//! together. Whatever happens before the transaction changes nothing that anybody sees.

use crate::{
    GROUP, Metrics,
    cut::{self, Part},
    parts::{Parts, Status},
    retention,
    shards::Frozen,
    templates::Exchange,
};
use millrace_catalogue::{Amount, Brought, Cut, Move, PUBLISH_WITHIN, PublishError, SourceWrite};
use millrace_ledger::Change;
use millrace_model::{OffsetRange, Partition, ShardId, ShardMeta, SourceId, StreamName};
use millrace_store::SealedBundle;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// How a cut ended.
#[derive(Debug)]
pub enum Outcome {
    /// It is durable.
    Published,
    /// A partition has a new owner: nothing was changed.
    Fenced(Partition),
    /// A source was changed by somebody else: nothing was changed.
    Conflict(SourceId),
}

/// A cut under way.
pub struct Publication {
    /// The rows.
    pub frozen: Frozen,
    /// The sources that changed with them.
    pub changes: Vec<Change>,
    /// What their streams may take in shards, in bytes, where that is bounded.
    pub bounds: BTreeMap<StreamName, u64>,
    /// Who brought how much.
    pub traffic: BTreeMap<Brought, Amount>,
}

/// Seals, uploads and publishes; tries again, for ever, what another try can mend (a full disk, a busy or unreachable
/// catalogue), and says so in `status`. Merges of masks are exchanged on the way.
pub async fn publish(
    parts: Arc<Parts>,
    status: Arc<Status>,
    templates: Arc<Exchange>,
    publication: Arc<Publication>,
) -> Outcome {
    templates.take_over(&parts.catalogue).await;
    let mut wait = Duration::from_millis(100);
    let mut shards: Option<Vec<ShardMeta>> = None;
    loop {
        let error = match try_publish(&parts, &templates, &publication, &mut shards).await {
            Ok(outcome) => {
                status.publishing(None);
                let published = shards.unwrap_or_default();
                match outcome {
                    Outcome::Published => count(&parts.metrics, &published),
                    _ => discard(&parts, &published).await,
                }
                return outcome;
            }
            Err(error) => error,
        };
        if shards.as_ref().is_some_and(|shards| shards.iter().any(|shard| is_old(&parts, shard))) {
            // Sealed anew, while the old ones may still be taken: whether they were is not known, so they stay, and the
            // sweep finds them. If they were, the offsets have moved, and this cut is refused.
            shards = None;
        }
        parts.metrics.retries.inc();
        tracing::warn!(error = format!("{error:#}"), retry_ms = wait.as_millis() as u64, "publishing failed");
        status.publishing(Some(format!("{error:#}")));
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(10));
    }
}

/// Will the catalogue soon refuse it for its age?
fn is_old(parts: &Parts, shard: &ShardMeta) -> bool {
    shard.created.plus(PUBLISH_WITHIN / 2) < parts.clock.now()
}

fn count(metrics: &Metrics, shards: &[ShardMeta]) {
    metrics.cuts.inc();
    metrics.shards.inc_by(shards.len() as u64);
    metrics.shard_bytes.inc_by(shards.iter().map(|shard| shard.bytes).sum());
}

async fn try_publish(
    parts: &Arc<Parts>,
    templates: &Exchange,
    publication: &Arc<Publication>,
    shards: &mut Option<Vec<ShardMeta>>,
) -> anyhow::Result<Outcome> {
    if shards.is_none() {
        *shards = Some(upload(parts, publication).await?);
    }
    let cut = Cut {
        group: GROUP.to_owned(),
        topic: parts.topic.name().to_owned(),
        moves: publication
            .frozen
            .moves
            .iter()
            .map(|m| Move { partition: m.range.partition, epoch: m.epoch, from: m.published, to: m.range.to })
            .collect(),
        shards: shards.clone().unwrap_or_default(),
        sources: publication
            .changes
            .iter()
            .map(|change| SourceWrite {
                id: change.id,
                partition: change.partition,
                expected_version: change.expected_version,
                state: change.state.clone(),
            })
            .collect(),
        aliases: templates.due(),
        bounds: publication.bounds.clone(),
        traffic: publication.traffic.clone(),
        ..Cut::default()
    };
    match parts.catalogue.publish(&cut).await {
        Ok(outgrown) => {
            templates.told(&cut.aliases);
            retention::tell(parts, &outgrown, "its stream takes more room than it may");
            Ok(Outcome::Published)
        }
        // A commit whose answer was lost may have happened: then this is its echo. What aliases it had is not known.
        Err(_) if already_published(parts, &cut.shards).await? => Ok(Outcome::Published),
        Err(PublishError::Fenced { partition }) => Ok(Outcome::Fenced(partition)),
        Err(PublishError::Conflict { source_id }) => Ok(Outcome::Conflict(source_id)),
        Err(error) => Err(error.into()),
    }
}

/// Does the catalogue have the shards of this cut? A cut without shards has nothing that could be deleted wrongly.
async fn already_published(parts: &Parts, shards: &[ShardMeta]) -> anyhow::Result<bool> {
    let ids: Vec<ShardId> = shards.iter().map(|shard| shard.id).collect();
    Ok(!ids.is_empty() && !parts.catalogue.known_shards(&ids).await?.is_empty())
}

/// Seals every part and puts its bundle where bundles lie.
async fn upload(parts: &Arc<Parts>, publication: &Arc<Publication>) -> anyhow::Result<Vec<ShardMeta>> {
    let offsets: Vec<OffsetRange> = publication.frozen.moves.iter().map(|m| m.range.clone()).collect();
    let mut shards = Vec::new();
    for part in cut::parts(&publication.frozen) {
        match upload_part(parts, part, offsets.clone()).await {
            Ok(shard) => shards.push(shard),
            Err(error) => {
                // The next try seals all of it anew.
                discard(parts, &shards).await;
                return Err(error);
            }
        }
    }
    Ok(shards)
}

async fn upload_part(parts: &Arc<Parts>, part: Part, offsets: Vec<OffsetRange>) -> anyhow::Result<ShardMeta> {
    let directory = parts.work_directory.clone();
    let now = parts.clock.now();
    let bundle = tokio::task::spawn_blocking(move || cut::seal(&part, &offsets, &directory, now)).await??;
    store(parts, &bundle).await?;
    Ok(bundle.meta)
}

/// Puts a bundle where bundles lie, and removes its work file, whatever comes of that.
pub(crate) async fn store(parts: &Parts, bundle: &SealedBundle) -> Result<(), millrace_storage::Error> {
    let stored = parts.bundles.put(&bundle.meta.key, &bundle.path).await;
    remove_work_file(bundle).await;
    stored.map(drop)
}

/// Removes the file of a bundle that is stored by now, or is not wanted.
pub(crate) async fn remove_work_file(bundle: &SealedBundle) {
    if let Err(error) = tokio::fs::remove_file(&bundle.path).await {
        tracing::warn!(path = %bundle.path.display(), %error, "a sealed bundle's work file stays behind");
    }
}

/// Deletes the bundles of what was refused: nobody will ever see them.
pub(crate) async fn discard(parts: &Parts, shards: &[ShardMeta]) {
    for shard in shards {
        if let Err(error) = parts.bundles.delete(&shard.key).await {
            tracing::warn!(key = shard.key, %error, "an unpublished bundle stays behind");
        }
    }
}

#[cfg(test)]
mod tests;
