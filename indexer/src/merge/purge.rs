//! Deletions by query, carried out: a shard that may hold matching records is searched, and if there are any, rewritten
//! without them. Searches leave them out since the deletion was asked for; this takes them off the disk. One deletion of one
//! shard at a time, the oldest first, between merges and by their rules: whoever has the stream's lease does it, and the
//! catalogue takes the outcome whole or not at all.

use super::{Aside, Ended, Merger, Pass, Stored};
use crate::{GROUP, publish};
use anyhow::Context;
use millrace_catalogue::Replacement;
use millrace_filter::Filter;
use millrace_model::{ShardId, ShardMeta, TimeRange, Timestamp};
use millrace_storage::Reach;
use millrace_store::{Deletion, Error, LeafRequest, MergeInput, Order, SealedBundle, SealedShard, merge};
use std::{path::Path, sync::Arc};

/// How many shards are looked at for one that can be purged now.
const SOME: u32 = 256;

/// What became of a shard.
enum Purged {
    /// It holds nothing that matches.
    Clean,
    /// It was rewritten without so many records.
    Rewritten(Box<SealedBundle>, u64),
    /// All of its records match.
    Empty,
}

impl Merger {
    /// Takes the first shard that awaits a deletion and can be worked on, through the oldest of its deletions.
    pub(super) async fn purge_one(&mut self) -> anyhow::Result<Pass> {
        let now = self.parts.clock.now();
        let waits = |aside: Option<&Aside>| aside.is_some_and(|aside| aside.until > now);
        for shard in self.parts.catalogue.purgeable(GROUP, SOME).await? {
            if !waits(self.aside.get(&shard.id)) && self.lease(&shard.stream).await? {
                let done = self.purge(&shard).await;
                self.release(&shard.stream).await;
                done?;
                return Ok(Pass::Worked);
            }
        }
        Ok(Pass::Idle)
    }

    async fn purge(&mut self, shard: &ShardMeta) -> anyhow::Result<()> {
        let mut pending = self.parts.catalogue.deletions(GROUP).await?;
        pending.retain(|deletion| deletion.concerns(shard));
        // The latest comes first. None: another has come before.
        let Some(deletion) = pending.pop() else { return Ok(()) };
        let filter = deletion.filter.unwrap_or_default();
        let outcome = match millrace_filter::parse_kept(&filter) {
            Ok(filter) => self.rewrite(shard, deletion.number, filter, deletion.range).await,
            Err(error) => {
                Err(anyhow::anyhow!("deletion {} cannot be read: {}", deletion.number, error.message))
            }
        };
        let purged = match outcome {
            Ok(purged) => purged,
            // Retention may have come first: then the file is gone rightly.
            Err(error) => {
                if self.parts.catalogue.purgeable(GROUP, SOME).await?.iter().any(|other| other.id == shard.id)
                {
                    self.set_aside(std::slice::from_ref(shard), &error).await?;
                }
                return Ok(());
            }
        };
        self.parts.metrics.purged_shards.inc();
        let (added, records) = match purged {
            Purged::Clean => {
                return Ok(self.parts.catalogue.pass_deletions(shard.id, deletion.number).await?);
            }
            Purged::Empty => (Vec::new(), shard.records),
            Purged::Rewritten(bundle, records) => {
                publish::store(&self.parts, &bundle).await?;
                (vec![bundle.meta], records)
            }
        };
        let replacement = Replacement {
            group: GROUP.to_owned(),
            removed: vec![shard.id],
            added,
            deleted: vec![(deletion.number, records)],
            ..Replacement::default()
        };
        match self.replace(&replacement).await? {
            Ended::Merged => {
                self.parts.metrics.deleted_records.inc_by(records);
                tracing::info!(number = deletion.number, shard.id = %shard.id, records, "records were deleted");
            }
            Ended::Late => publish::discard(&self.parts, &replacement.added).await,
            Ended::Wrong(error) => {
                publish::discard(&self.parts, &replacement.added).await;
                self.set_aside(std::slice::from_ref(shard), &error).await?;
            }
        }
        Ok(())
    }

    async fn rewrite(
        &self,
        shard: &ShardMeta,
        number: u64,
        filter: Filter,
        range: TimeRange,
    ) -> anyhow::Result<Purged> {
        let reader = self.parts.bundles.reader(&shard.key, Some(shard.bytes), Reach::Whole).await?;
        let bundle = Stored { key: shard.key.clone(), reader };
        let (directory, created) = (self.parts.work_directory.clone(), self.parts.clock.now());
        let deletion = Deletion { filter, range };
        let work =
            tokio::task::spawn_blocking(move || purge_bundle(bundle, deletion, number, &directory, created));
        Ok(work.await.context("purging panicked")??)
    }
}

/// Searches a bundle, and writes it anew without what matches. Blocks, and uses a core.
fn purge_bundle(
    bundle: Stored,
    deletion: Deletion,
    number: u64,
    directory: &Path,
    created: Timestamp,
) -> Result<Purged, Error> {
    let key = bundle.key.clone();
    let shard = SealedShard::open_from(Path::new(&key), Arc::new(bundle))?;
    let request = LeafRequest {
        filter: deletion.filter.clone(),
        range: deletion.range,
        limit: 0,
        order: Order::default(),
        after: None,
        histogram: None,
        fragments: None,
    };
    let matching = shard.search(&request)?.total;
    if matching == 0 {
        return Ok(Purged::Clean);
    }
    let shards = [shard];
    let id = ShardId::random();
    let input = MergeInput { id, shards: &shards, deletions: &[deletion], passed: number, created };
    match merge(&input, directory) {
        Ok(bundle) => {
            let left_out = bundle.left_out;
            Ok(Purged::Rewritten(Box::new(bundle), left_out))
        }
        Err(Error::Empty(_)) => Ok(Purged::Empty),
        Err(error) => Err(error),
    }
}
