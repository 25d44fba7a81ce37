//! A catalogue that was lost, made again out of its newest snapshot: `millrace catalogue rebuild`.
//!
//! Offsets, shards and ledger all go back to the snapshot's instant, together; what came after is read again from the topic,
//! which is the write-ahead log that it always was. So every record is there once, with no rule for what else lies in
//! storage: bundles that were published later are left alone, and their records come again by their offsets
//! (`docs/decisions/0010`). This says what is not there any more; it guesses nothing.
//!
//! **Invariant:** nothing is deleted, and nothing is changed but the catalogue, whole or not at all.

use crate::{
    GROUP,
    settings::Streams,
    snapshots::{ENDING, FOLDER, is_snapshot},
};
use anyhow::Context;
use millrace_catalogue::{Catalogue, PartitionRow, RestoreError, Restored};
use millrace_model::{Clock, ShardId, ShardMeta, TimeRange, Timestamp};
use millrace_storage::Bundles;
use std::{collections::HashSet, path::Path};

/// How the keys of bundles end.
const BUNDLE: &str = ".shard";

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// This snapshot and no other; `None`: the newest that can be read.
    pub snapshot: Option<String>,
    /// What the catalogue holds may go, where no node is alive.
    pub replace: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Rebuilt {
    /// The snapshot's key.
    pub key: String,
    /// When it was taken, and how many rows it had.
    pub restored: Restored,
    /// Newer snapshots that could not be read, and why.
    pub passed_over: Vec<(String, String)>,
    /// Where every partition stands: the topic is read again from there.
    pub partitions: Vec<PartitionRow>,
    /// Live shards whose bundles are there.
    pub shards: u64,
    /// Live shards whose bundles are gone because their time is over: retention will end them.
    pub over: u64,
    /// Live shards whose bundles are gone: searches will name them and be partial.
    pub lost: Vec<ShardMeta>,
    /// Bundles that the snapshot does not know: what was published or merged after it, or never was. They stay, and nobody
    /// reads them.
    pub unknown: Vec<String>,
}

/// Restores `catalogue`, and looks at what is in storage. A snapshot is copied into the folder `scratch` to be read.
///
/// # Errors
/// There is no snapshot that can be read; the catalogue is not empty or in use; it or the storage fails. Then nothing is
/// changed.
pub async fn rebuild(
    catalogue: &Catalogue,
    bundles: &Bundles,
    streams: &Streams,
    clock: &dyn Clock,
    request: &Request,
    scratch: &Path,
) -> anyhow::Result<Rebuilt> {
    let listed = bundles.list("").await.context("listing what is in storage")?;
    let (key, restored, passed_over) = restore(catalogue, bundles, &listed, request, scratch).await?;
    let there: HashSet<&str> = listed.iter().map(|(key, _)| key.as_str()).collect();
    let snapshot = catalogue.snapshot(GROUP, TimeRange::ALL, None).await?;
    let (present, gone): (Vec<ShardMeta>, Vec<ShardMeta>) =
        snapshot.shards.into_iter().partition(|shard| there.contains(shard.key.as_str()));
    let now = clock.now();
    let is_over = |shard: &ShardMeta| shard.last < now.minus(streams.retention(&shard.stream));
    let (over, lost): (Vec<ShardMeta>, Vec<ShardMeta>) = gone.into_iter().partition(is_over);
    let known = catalogue.bundle_keys().await?;
    let is_bundle = |key: &str| key.ends_with(BUNDLE) && !key.starts_with('.');
    let unknown = listed
        .iter()
        .map(|(key, _)| key)
        .filter(|key| is_bundle(key) && !known.contains(*key))
        .cloned()
        .collect();
    Ok(Rebuilt {
        key,
        restored,
        passed_over,
        partitions: snapshot.partitions,
        shards: present.len() as u64,
        over: over.len() as u64,
        lost,
        unknown,
    })
}

type PassedOver = Vec<(String, String)>;

/// Restores the newest snapshot that can be read.
async fn restore(
    catalogue: &Catalogue,
    bundles: &Bundles,
    listed: &[(String, u64)],
    request: &Request,
    scratch: &Path,
) -> anyhow::Result<(String, Restored, PassedOver)> {
    let mut keys: Vec<String> = match &request.snapshot {
        Some(key) => vec![key.clone()],
        None => listed.iter().map(|(key, _)| key).filter(|key| is_snapshot(key)).cloned().collect(),
    };
    // Their names begin with their times.
    keys.sort_unstable();
    let mut passed_over = Vec::new();
    let file = scratch.join(format!("{}{ENDING}", ShardId::random()));
    while let Some(key) = keys.pop() {
        let problem = match bundles.copy_to(&key, &file).await {
            Ok(_) => {
                let restored = catalogue.restore(&file, request.replace).await;
                tokio::fs::remove_file(&file)
                    .await
                    .with_context(|| format!("removing {}", file.display()))?;
                match restored {
                    Ok(restored) => return Ok((key, restored, passed_over)),
                    Err(RestoreError::Snapshot(error)) => anyhow::Error::from(error),
                    Err(error) => return Err(error).with_context(|| format!("restoring {key}")),
                }
            }
            Err(error @ millrace_storage::Error::Missing { .. }) => error.into(),
            Err(error) => return Err(error).with_context(|| format!("reading {key}")),
        };
        passed_over.push((key, format!("{problem:#}")));
    }
    if passed_over.is_empty() {
        anyhow::bail!("there is no snapshot under {FOLDER}/ in storage");
    }
    let told: Vec<String> = passed_over.iter().map(|(key, problem)| format!("{key}: {problem}")).collect();
    anyhow::bail!("no snapshot can be read: {}", told.join("; "))
}

/// Refuses to begin with a new catalogue where there is something in storage already: then it is not new but lost, and all
/// that was published would be missing from every answer, and go as what nobody knows.
///
/// # Errors
/// So it is, and what can be done; the catalogue or the storage cannot be read.
pub async fn refuse_lost(catalogue: &Catalogue, bundles: &Bundles) -> anyhow::Result<()> {
    if !catalogue.is_new().await? {
        return Ok(());
    }
    let listed = bundles.list("").await.context("listing what is in storage")?;
    // Another node may have begun meanwhile.
    let stored = listed.iter().filter(|(key, _)| !key.starts_with('.')).count();
    if stored == 0 || !catalogue.is_new().await? {
        return Ok(());
    }
    let ways = if listed.iter().any(|(key, _)| is_snapshot(key)) {
        "`millrace catalogue rebuild` makes it again"
    } else {
        "restore it from a backup (there is no snapshot to make it again from), or move what is in storage away to begin anew"
    };
    anyhow::bail!("{catalogue} is empty, but there are {stored} objects in storage: it was lost; {ways}")
}

/// How much of the topic is read again from where a partition stands, for people.
pub fn describe(row: &PartitionRow, taken: Timestamp) -> String {
    let from = row.next_offset.map_or_else(|| "the earliest offset".to_owned(), |at| format!("offset {at}"));
    format!("partition {} of {}: what came after {taken} is read again from {from}", row.partition, row.topic)
}
