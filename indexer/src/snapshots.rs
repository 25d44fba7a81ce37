//! Snapshots of the catalogue among the bundles: written on a schedule by whichever indexer has the lease, the newest
//! [`KEPT`] kept. What a snapshot is, is the catalogue's; how one is made use of, [`rebuild`](crate::rebuild)'s.
//!
//! **Invariant:** the bundle of each shard that was live in the newest snapshot stays until there is a newer one, merged
//! away or not ([`held_since`]), so that a catalogue that is rebuilt from it finds its records. It does not stay for ever:
//! where no snapshot succeeds for three times as long as there should be one (each failure is said), or none is wanted any
//! more, bundles go all the same.

use crate::parts::Parts;
use anyhow::Context;
use millrace_model::{ShardId, Timestamp};
use serde_json::{Value, json};
use std::{path::Path, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Where snapshots lie among the bundles.
pub const FOLDER: &str = "catalogue";
/// How their keys end.
pub const ENDING: &str = ".snapshot";
/// How many are kept.
pub const KEPT: usize = 24;

/// How often is looked whether one is due, at least and at most.
const LOOK: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// How long a snapshot may take before another node believes that its writer is gone.
const LEASE: Duration = Duration::from_mins(10);
/// How much later a replacement may be committed than it says: it waits for others, and clocks of nodes differ.
pub(crate) const LATE: Duration = Duration::from_mins(2);
/// After so many missed snapshots, bundles do not wait for one any more.
const MISSED: u32 = 3;

/// The document that tells of the newest snapshot.
const DOCUMENT: (&str, &str) = ("snapshot", "newest");

/// Is this the key of a snapshot, and not that of a bundle of a stream called `catalogue`?
pub fn is_snapshot(key: &str) -> bool {
    key.strip_prefix(FOLDER).is_some_and(|rest| rest.starts_with('/')) && key.ends_with(ENDING)
}

/// Takes snapshots until `shutdown`, each `every` after the one before. A failure is said and tried again.
pub async fn run(parts: Arc<Parts>, every: Duration, shutdown: CancellationToken) {
    if every.is_zero() {
        return;
    }
    loop {
        if let Err(error) = if_due(&parts, every).await {
            tracing::warn!(error = format!("{error:#}"), "no snapshot of the catalogue could be taken");
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep((every / 10).clamp(LOOK.0, LOOK.1)) => {}
        }
    }
}

/// Takes a snapshot if the newest is `every` old and no other node is at it. Returns its key.
///
/// Of a new catalogue none is taken: a node that begins just then would find it empty, something in storage, and take it for
/// lost ([`refuse_lost`](crate::rebuild::refuse_lost)).
pub async fn if_due(parts: &Parts, every: Duration) -> anyhow::Result<Option<String>> {
    let newest = newest(parts).await?;
    let since = parts.clock.now().minus(every);
    let is_early = match &newest {
        Some(newest) => newest.at > since,
        None => parts.catalogue.is_new().await?,
    };
    if is_early {
        return Ok(None);
    }
    if !parts.catalogue.lease("snapshot", &parts.node, LEASE).await? {
        return Ok(None);
    }
    let file = parts.work_directory.join(format!("{}{ENDING}", ShardId::random()));
    let taken = take(parts, &file, newest, every).await;
    if let Err(error) = tokio::fs::remove_file(&file).await
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %file.display(), %error, "a snapshot's work file stays behind");
    }
    parts.catalogue.release("snapshot", &parts.node).await?;
    taken.map(Some)
}

/// Writes a snapshot, stores it, tells of it, and deletes those that are too old to be kept.
async fn take(parts: &Parts, file: &Path, before: Option<Newest>, every: Duration) -> anyhow::Result<String> {
    let (head, rows) = parts.catalogue.write_snapshot(file).await.context("writing it")?;
    // To the nanosecond: keys are in the order of time also where two are taken in one second.
    let time: String = head.at.to_string().chars().filter(char::is_ascii_digit).collect();
    let key = format!("{FOLDER}/{time}-{}{ENDING}", ShardId::random());
    let bytes = parts.bundles.put(&key, file).await.context("storing it")?;
    let (kind, document) = DOCUMENT;
    let body = json!({ "key": key, "at": head.at, "every_ms": every.as_millis() as u64 }).to_string();
    let expected = before.map(|before| before.version);
    parts.catalogue.put_document(kind, document, expected, &body).await.context("telling of it")?;
    tracing::info!(key, rows, bytes, "a snapshot of the catalogue was taken");
    let mut kept = keys(parts).await?;
    kept.truncate(kept.len().saturating_sub(KEPT));
    for old in kept {
        parts.bundles.delete(&old).await.context("deleting an old one")?;
    }
    Ok(key)
}

/// The keys of all snapshots, the oldest first.
async fn keys(parts: &Parts) -> anyhow::Result<Vec<String>> {
    let listed = parts.bundles.list(FOLDER).await?;
    Ok(listed.into_iter().map(|(key, _)| key).filter(|key| is_snapshot(key)).collect())
}

struct Newest {
    version: u64,
    at: Timestamp,
    every: Duration,
}

async fn newest(parts: &Parts) -> anyhow::Result<Option<Newest>> {
    let Some((version, body)) = parts.catalogue.document(DOCUMENT.0, DOCUMENT.1).await? else {
        return Ok(None);
    };
    let body: Value = serde_json::from_str(&body).context("the document of the newest snapshot")?;
    let at = body["at"].as_str().unwrap_or_default().parse().context("the newest snapshot's time")?;
    let every = Duration::from_millis(body["every_ms"].as_u64().unwrap_or(0));
    Ok(Some(Newest { version, at, every }))
}

/// Since when bundles of replaced shards are held for the newest snapshot: what was replaced before may go. `None`: all
/// may go.
pub async fn held_since(parts: &Parts) -> anyhow::Result<Option<Timestamp>> {
    let Some(newest) = newest(parts).await? else { return Ok(None) };
    let bound = parts.clock.now().minus(newest.every * MISSED);
    Ok(Some(newest.at.max(bound).minus(LATE)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::{GROUP, rebuild::refuse_lost};
    use millrace_catalogue::Acquisition;
    use millrace_model::{Partition, SystemClock};

    #[tokio::test]
    async fn a_new_catalogue_is_not_taken_for_a_lost_one_for_its_snapshot() {
        let folder = tempfile::tempdir().unwrap();
        let parts = Parts::in_folder(folder.path(), "a", Arc::new(SystemClock)).await;
        let hour = Duration::from_hours(1);
        assert_eq!(if_due(&parts, hour).await.unwrap(), None);
        refuse_lost(&parts.catalogue, &parts.bundles).await.unwrap();
        let wanted = Acquisition { partition: Partition(0), topic_id: None, low: 0 };
        parts.catalogue.acquire(GROUP, "t", &[wanted], "a").await.unwrap();
        assert!(if_due(&parts, hour).await.unwrap().is_some());
        refuse_lost(&parts.catalogue, &parts.bundles).await.unwrap();
    }
}
