//! Merges: small shards of one stream and bucket become larger ones, so that a search opens few.
//!
//! [`plan()`] says which; what happens to one task is here: read, write, store, and replace in the catalogue, which takes it
//! whole or refuses it ([`Catalogue::replace`](millrace_catalogue::Catalogue::replace)). That refusal alone is what keeps
//! answers right; the lease of a stream only keeps several indexers from doing the same work. A process that is killed at
//! any moment leaves what was live before or what is live after, and at worst a bundle that nobody knows.
//!
//! Purges (`purge`) and reprocessings (`reprocess`) replace shards by the same rules, and come first.
//!
//! Does not know how shards are merged: that is a function which it is given ([`merge_bundles`], but in tests).

mod plan;
mod purge;
mod reprocess;

pub use plan::{Limits, MAX_REWRITES, MergeTask, plan};

use crate::{GROUP, Settings, parts::Parts, publish, room::Room};
use anyhow::Context;
use millrace_catalogue::{ReplaceError, Replacement};
use millrace_model::{OffsetRange, ShardId, ShardMeta, StreamName, Timestamp};
use millrace_storage::{Reach, Reader};
use millrace_store::{ByteRanges, MergeInput, SealedBundle, SealedShard};
use std::{
    collections::{BTreeSet, HashMap},
    io,
    ops::Range,
    path::Path,
    sync::Arc,
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// How often work is looked for when there is none.
const EVERY: Duration = Duration::from_secs(10);
/// How long a stream is one indexer's: longer than any merge. If it is not, work is done twice.
const LEASE: Duration = Duration::from_mins(10);
/// How often a replacement is tried that fails for the catalogue's sake, with pauses from `FIRST_PAUSE` on, doubled each time.
const ATTEMPTS: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// How long shards that could not be merged are left alone at first, and at most.
const ASIDE: Duration = Duration::from_mins(1);
const ASIDE_AT_MOST: Duration = Duration::from_hours(1);

/// What is said beforehand of the shard that comes out of a merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeOutput {
    /// Its id.
    pub id: ShardId,
    /// The stream of all that goes in.
    pub stream: StreamName,
    /// The bucket of all that goes in.
    pub bucket: Option<Timestamp>,
    /// How often its records were rewritten, this time included.
    pub rewrites: u32,
    /// The number of the last deletion that all that goes in has been through.
    pub passed: u64,
    /// The offsets of all that goes in.
    pub offsets: Vec<OffsetRange>,
    /// Now.
    pub created: Timestamp,
}

/// Writes the shard that holds all records of the given bundles into the folder, and syncs it. Blocks, and uses a core.
pub(crate) type MergeShards = Arc<
    dyn Fn(Vec<Stored>, &MergeOutput, &Path) -> Result<SealedBundle, millrace_store::Error> + Send + Sync,
>;

/// A stored bundle.
#[derive(Debug)]
pub struct Stored {
    pub(crate) key: String,
    pub(crate) reader: Reader,
}

impl ByteRanges for Stored {
    fn size(&self) -> u64 {
        self.reader.size()
    }

    fn read(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        self.reader.read(range)
    }
}

/// Opens the bundles and merges them.
pub(crate) fn merge_bundles(
    bundles: Vec<Stored>,
    output: &MergeOutput,
    directory: &Path,
) -> Result<SealedBundle, millrace_store::Error> {
    let open = |bundle: Stored| {
        let key = bundle.key.clone();
        SealedShard::open_from(Path::new(&key), Arc::new(bundle))
    };
    let shards: Vec<SealedShard> = bundles.into_iter().map(open).collect::<Result<_, _>>()?;
    let input = MergeInput {
        id: output.id,
        shards: &shards,
        deletions: &[],
        passed: output.passed,
        created: output.created,
    };
    millrace_store::merge(&input, directory)
}

/// Merges until `shutdown`, one task at a time. A failure is said, counted and tried again.
pub(crate) async fn run(
    parts: Arc<Parts>,
    settings: Settings,
    room: Arc<Room>,
    merge_shards: MergeShards,
    shutdown: CancellationToken,
) {
    let mut merger = Merger::new(parts, settings, room, merge_shards, shutdown.clone());
    while !shutdown.is_cancelled() {
        let pass = merger.once().await.unwrap_or_else(|error| {
            merger.parts.metrics.failed_merges.inc();
            tracing::warn!(error = format!("{error:#}"), "shards could not be merged");
            Pass::Idle
        });
        if pass == Pass::Idle {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }
}

/// What a pass came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// There was nothing to do, or others are at it.
    Idle,
    /// A task was done, or another had done it.
    Worked,
}

/// How the replacement of one task ended.
#[derive(Debug)]
enum Ended {
    /// The merged shard is live, or was.
    Merged,
    /// A shard is not live any more: nothing was changed.
    Late,
    /// What came out is not what went in, or the catalogue cannot take it.
    Wrong(anyhow::Error),
}

/// Shards that could not be merged.
#[derive(Debug, Clone, Copy)]
struct Aside {
    until: Timestamp,
    failures: u32,
}

/// See the module.
pub struct Merger {
    parts: Arc<Parts>,
    settings: Settings,
    room: Arc<Room>,
    merge_shards: MergeShards,
    shutdown: CancellationToken,
    limits: Limits,
    aside: HashMap<ShardId, Aside>,
    /// Shards that cannot be made again now, as something that it takes cannot be reached, and until when they are left alone.
    reprocess_later: HashMap<ShardId, Timestamp>,
}

impl Merger {
    /// Out of its parts.
    pub fn new(
        parts: Arc<Parts>,
        settings: Settings,
        room: Arc<Room>,
        merge_shards: MergeShards,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            parts,
            settings,
            room,
            merge_shards,
            shutdown,
            limits: Limits::default(),
            aside: HashMap::new(),
            reprocess_later: HashMap::new(),
        }
    }

    /// One pass: purges a shard of what is to be deleted, if there is one; else makes one again that is to be, and plans and does
    /// the first task whose stream no other indexer is at: a long reprocessing does not hold up merges.
    pub async fn once(&mut self) -> anyhow::Result<Pass> {
        if self.purge_one().await? == Pass::Worked {
            return Ok(Pass::Worked);
        }
        // A merge takes room until its grace period is over; a purge gives some back in the end.
        if self.room.is_short() {
            return Ok(Pass::Idle);
        }
        let reprocessed = self.reprocess_one().await?;
        let tasks = self.tasks().await?;
        self.parts.metrics.waiting_merges.set(tasks.len() as i64);
        let mut tried = BTreeSet::new();
        for task in tasks {
            let stream = &task.shards[0].stream;
            if !tried.insert(stream.clone()) {
                continue;
            }
            if self.lease(stream).await? {
                let done = self.attempt(&task).await;
                self.release(stream).await;
                done?;
                return Ok(Pass::Worked);
            }
        }
        Ok(reprocessed)
    }

    /// Is the stream's work this indexer's now? Then it begins.
    async fn lease(&self, stream: &StreamName) -> anyhow::Result<bool> {
        let leased = self.parts.catalogue.lease(&format!("merge/{stream}"), &self.parts.node, LEASE).await?;
        self.parts.metrics.running_merges.set(i64::from(leased));
        Ok(leased)
    }

    /// The work is over.
    async fn release(&self, stream: &StreamName) {
        self.parts.metrics.running_merges.set(0);
        // If it cannot be given back it ends by itself.
        if let Err(error) = self.parts.catalogue.release(&format!("merge/{stream}"), &self.parts.node).await {
            tracing::warn!(%error, stream.name = %stream, "a lease could not be given back");
        }
    }

    /// What there is to do. Shards of merges that failed are planned apart from the others, in ever smaller groups, so that
    /// one that cannot be read holds up few.
    async fn tasks(&mut self) -> anyhow::Result<Vec<MergeTask>> {
        let now = self.parts.clock.now();
        let shards = self.parts.catalogue.mergeable(GROUP, MAX_REWRITES).await?;
        let live: BTreeSet<ShardId> = shards.iter().map(|shard| shard.id).collect();
        self.aside.retain(|id, aside| live.contains(id) || aside.until > now);
        let mut by_failures: HashMap<u32, Vec<ShardMeta>> = HashMap::new();
        for shard in shards {
            match self.aside.get(&shard.id) {
                Some(aside) if aside.until > now => {}
                aside => by_failures.entry(aside.map_or(0, |aside| aside.failures)).or_default().push(shard),
            }
        }
        let mut by_failures: Vec<_> = by_failures.into_iter().collect();
        by_failures.sort_by_key(|(failures, _)| *failures);
        Ok(by_failures
            .into_iter()
            .flat_map(|(failures, shards)| {
                let inputs = self.limits.inputs.checked_shr(2 * failures).unwrap_or(0).max(2);
                let limits = Limits { inputs, fan_in: self.limits.fan_in.min(inputs), ..self.limits };
                plan(&shards, &limits, &self.settings.streams, now)
            })
            .collect())
    }

    /// Does one task. An error is one of the surroundings: the shards themselves are not to blame.
    async fn attempt(&mut self, task: &MergeTask) -> anyhow::Result<()> {
        // Whoever had the lease before may have done this very task since it was planned.
        if !self.all_live(task).await? {
            return Ok(());
        }
        let bundle = match self.merge(task).await {
            Ok(bundle) => bundle,
            // Retention or another indexer may have come first: then the files are gone rightly.
            Err(_) if !self.all_live(task).await? => return Ok(()),
            Err(error) => {
                self.set_aside(&task.shards, &error).await?;
                return Ok(());
            }
        };
        if self.shutdown.is_cancelled() {
            publish::remove_work_file(&bundle).await;
            return Ok(());
        }
        publish::store(&self.parts, &bundle).await?;
        let metrics = &self.parts.metrics;
        let replacement = Replacement {
            group: GROUP.to_owned(),
            removed: task.shards.iter().map(|shard| shard.id).collect(),
            added: vec![bundle.meta.clone()],
            ..Replacement::default()
        };
        match self.replace(&replacement).await? {
            Ended::Merged => {
                metrics.merges.inc();
                metrics.merged_shards.inc_by(task.shards.len() as u64);
                metrics.merged_records.inc_by(bundle.meta.records);
                metrics.merged_bytes.inc_by(bundle.meta.bytes);
                tracing::debug!(
                    shard.id = %bundle.meta.id, shards = task.shards.len(), records = bundle.meta.records, "merged"
                );
            }
            Ended::Late => {
                metrics.refused_merges.inc();
                publish::discard(&self.parts, &[bundle.meta]).await;
            }
            Ended::Wrong(error) => {
                publish::discard(&self.parts, &[bundle.meta]).await;
                self.set_aside(&task.shards, &error).await?;
            }
        }
        Ok(())
    }

    async fn all_live(&self, task: &MergeTask) -> anyhow::Result<bool> {
        let live = self.parts.catalogue.mergeable(GROUP, MAX_REWRITES).await?;
        let live: BTreeSet<ShardId> = live.iter().map(|shard| shard.id).collect();
        Ok(task.shards.iter().all(|shard| live.contains(&shard.id)))
    }

    /// Makes the merged bundle, in the folder for work.
    async fn merge(&self, task: &MergeTask) -> anyhow::Result<SealedBundle> {
        let mut inputs = Vec::with_capacity(task.shards.len());
        for ShardMeta { key, bytes, .. } in &task.shards {
            let reader = self.parts.bundles.reader(key, Some(*bytes), Reach::Whole).await?;
            inputs.push(Stored { key: key.clone(), reader });
        }
        let output = MergeOutput {
            id: ShardId::random(),
            stream: task.shards[0].stream.clone(),
            bucket: task.shards[0].bucket,
            rewrites: task.rewrites(),
            passed: task.passed(),
            offsets: task.offsets(),
            created: self.parts.clock.now(),
        };
        let id = output.id;
        let (merge_shards, directory) = (Arc::clone(&self.merge_shards), self.parts.work_directory.clone());
        let merging = tokio::task::spawn_blocking(move || merge_shards(inputs, &output, &directory));
        let bundle = merging.await.context("merging panicked")??;
        // Under any other name it could be stored over a bundle that is in use.
        if bundle.meta.id != id || !bundle.meta.key.contains(&id.to_string()) {
            publish::remove_work_file(&bundle).await;
            anyhow::bail!("a merge into shard {id} made shard {} for {:?}", bundle.meta.id, bundle.meta.key);
        }
        Ok(bundle)
    }

    /// Replaces shards. As long as it is not known whether that has happened the bundle must stay: then this is an error.
    async fn replace(&self, replacement: &Replacement) -> anyhow::Result<Ended> {
        let mut pause = FIRST_PAUSE;
        let mut attempt = 1;
        loop {
            let error = match self.parts.catalogue.replace(replacement).await {
                // A commit whose answer was lost had happened: this is its echo.
                Ok(()) | Err(ReplaceError::Duplicate { .. }) => return Ok(Ended::Merged),
                Err(ReplaceError::Gone { .. }) => return Ok(Ended::Late),
                Err(ReplaceError::Failed(error)) => error,
                Err(error) => return Ok(Ended::Wrong(error.into())),
            };
            if attempt == ATTEMPTS || self.shutdown.is_cancelled() {
                let keys: Vec<&str> = replacement.added.iter().map(|shard| shard.key.as_str()).collect();
                let problem = format!("nobody knows whether bundle {} is in use: it stays", keys.join(", "));
                return Err(anyhow::Error::new(error).context(problem));
            }
            tracing::warn!(error = %error, retry_ms = pause.as_millis() as u64, "replacing shards failed");
            tokio::select! {
                () = self.shutdown.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
            (pause, attempt) = (pause * 2, attempt + 1);
        }
    }

    /// Leaves shards alone for a while.
    async fn set_aside(&mut self, shards: &[ShardMeta], error: &anyhow::Error) -> anyhow::Result<()> {
        self.parts.metrics.failed_merges.inc();
        let now = self.parts.clock.now();
        let failures = shards.iter().filter_map(|shard| self.aside.get(&shard.id)).map(|a| a.failures);
        let failures = failures.max().unwrap_or(0) + 1;
        let pause = ASIDE.saturating_mul(1 << (failures - 1).min(16)).min(ASIDE_AT_MOST);
        tracing::error!(
            error = format!("{error:#}"), shards = shards.len(), shard.id = %shards[0].id,
            stream.name = %shards[0].stream, retry_s = pause.as_secs(), "these shards could not be rewritten"
        );
        for shard in shards {
            self.aside.insert(shard.id, Aside { until: now.plus(pause), failures });
            // A copy may be damaged; what it is a copy of is then fetched at the next try.
            self.parts.bundles.distrust(&shard.key).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
