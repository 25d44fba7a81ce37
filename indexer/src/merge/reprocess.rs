//! Reprocessing, carried out: one shard at a time is made again of what the topic says, and takes the old one's place where it
//! is proved ([`proof`]) to hold the same records; else it stays as it was, and the receipt says why. Between merges and by
//! their rules: whoever has the stream's lease does it, and the catalogue takes the outcome whole or not at all. What waits is in
//! the catalogue, so a process that is killed leaves nothing but a bundle that nobody knows.

mod from_topic;
mod making;
mod proof;

use super::{ASIDE, Ended, Merger, Pass};
use crate::{GROUP, publish};
use from_topic::Made;
use millrace_catalogue::Replacement;
use millrace_model::ShardMeta;
use millrace_store::SealedBundle;
use std::collections::BTreeSet;

/// How many shards are looked at for one that can be made again now.
const SOME: u32 = 256;

impl Merger {
    /// Makes the first shard again that waits for it and whose stream no other indexer is at.
    pub(super) async fn reprocess_one(&mut self) -> anyhow::Result<Pass> {
        let now = self.parts.clock.now();
        let waiting = self.parts.catalogue.reprocessable(GROUP, SOME).await?;
        if waiting.is_empty() {
            self.finish().await?;
            return Ok(Pass::Idle);
        }
        self.reprocess_later.retain(|_, until| *until > now);
        let mut tried = BTreeSet::new();
        for (number, shard) in waiting {
            if self.reprocess_later.contains_key(&shard.id) {
                continue;
            }
            if !tried.insert(shard.stream.clone()) || !self.lease(&shard.stream).await? {
                continue;
            }
            let done = self.reprocess(number, &shard).await;
            self.release(&shard.stream).await;
            if let Err(error) = done {
                // Something is away that others may not need.
                self.reprocess_later.insert(shard.id, now.plus(ASIDE));
                tracing::warn!(
                    error = format!("{error:#}"), number, shard.id = %shard.id, retry_s = ASIDE.as_secs(),
                    "a shard cannot be made again now"
                );
                return Ok(Pass::Idle);
            }
            self.finish().await?;
            return Ok(Pass::Worked);
        }
        Ok(Pass::Idle)
    }

    async fn finish(&self) -> anyhow::Result<()> {
        for done in self.parts.catalogue.finish_reprocessings(GROUP).await? {
            tracing::info!(
                number = done.number,
                shards = done.shards,
                records = done.records,
                refused = done.refused,
                "a reprocessing is done"
            );
        }
        Ok(())
    }

    /// An error is one of the surroundings: the shard waits on.
    async fn reprocess(&mut self, number: u64, shard: &ShardMeta) -> anyhow::Result<()> {
        let most = self.limits.records;
        match from_topic::make(&self.parts, &self.settings, shard, most, &self.shutdown).await? {
            Made::Stopped => Ok(()),
            Made::Refused(problem) => self.refuse(number, shard, &problem).await,
            Made::Bundle(bundle) if self.shutdown.is_cancelled() => {
                publish::remove_work_file(&bundle).await;
                Ok(())
            }
            Made::Bundle(bundle) => self.put_in_place(number, shard, *bundle).await,
        }
    }

    async fn put_in_place(&self, number: u64, shard: &ShardMeta, bundle: SealedBundle) -> anyhow::Result<()> {
        publish::store(&self.parts, &bundle).await?;
        let replacement = Replacement {
            group: GROUP.to_owned(),
            removed: vec![shard.id],
            added: vec![bundle.meta],
            reprocessing: Some(number),
            ..Replacement::default()
        };
        match self.replace(&replacement).await? {
            Ended::Merged => {
                self.parts.metrics.reprocessed_shards.inc();
                tracing::info!(
                    number, shard.id = %shard.id, stream.name = %shard.stream, records = shard.records,
                    "a shard was made again"
                );
                Ok(())
            }
            Ended::Late => {
                publish::discard(&self.parts, &replacement.added).await;
                Ok(())
            }
            Ended::Wrong(error) => {
                publish::discard(&self.parts, &replacement.added).await;
                self.refuse(number, shard, &format!("{error:#}")).await
            }
        }
    }

    async fn refuse(&self, number: u64, shard: &ShardMeta, problem: &str) -> anyhow::Result<()> {
        // Retention may have come first: then what it was made of is gone rightly.
        if self.parts.catalogue.live_shards(&[shard.id]).await?.is_empty() {
            return Ok(());
        }
        self.parts.metrics.refused_reprocessings.inc();
        tracing::warn!(
            number, shard.id = %shard.id, stream.name = %shard.stream, problem,
            "a shard stays as it is: it cannot be made again"
        );
        Ok(self.parts.catalogue.refuse_reprocessing(number, shard.id, problem).await?)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
