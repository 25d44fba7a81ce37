//! Publishing a cut: the only way in which records become durable.
//!
//! One transaction, in this order: shards, offsets (where a zombie is found out), sources, alerts and their outbox,
//! documents, traffic, trail, the end of shards for which there is no room any more, aliases. Any refusal drops the transaction,
//! which rolls all of it back.

use crate::{
    Catalogue, Cut, Move, PublishError, TrailEvent, TrailShard, Transaction, database::Lock,
    partitions::Place,
};
use millrace_model::{ShardMeta, StreamName, Timestamp};
use std::collections::BTreeMap;

impl Catalogue {
    /// Publishes `cut`, whole or not at all. When this returns, it survives `kill -9` and power loss. Returns the shards
    /// that ended because their stream took more room than it may.
    ///
    /// A future that is dropped before it is done leaves the outcome unknown, as a failed commit does; publishing the
    /// same cut again then says [`PublishError::Duplicate`] (or, if it held no shard, `Fenced`) where it had happened.
    pub async fn publish(&self, cut: &Cut) -> Result<Vec<ShardMeta>, PublishError> {
        cut.check()?;
        let now = self.clock.now();
        let mut transaction = self.begin("publish a cut").await?;
        if !cut.bounds.is_empty() {
            self.lock(&mut transaction, Lock::Endings).await?;
        }
        let mut passed: BTreeMap<&StreamName, u64> = BTreeMap::new();
        for shard in &cut.shards {
            if !passed.contains_key(&shard.stream) {
                let last = self.last_deletion(&mut transaction, &cut.group, &shard.stream).await?;
                passed.insert(&shard.stream, last);
            }
            let deletions = passed[&shard.stream];
            let shard = &ShardMeta { deletions, ..shard.clone() };
            if !self.insert_shard(&mut transaction, &cut.group, shard, now).await? {
                return Err(PublishError::Duplicate { shard: shard.id });
            }
        }
        let mut moves: Vec<&Move> = cut.moves.iter().collect();
        moves.sort_unstable_by_key(|step| step.partition);
        for step in moves {
            if !self.move_offset(&mut transaction, cut, step).await? {
                return Err(PublishError::Fenced { partition: step.partition });
            }
        }
        if let Some(source_id) = self.write_sources(&mut transaction, cut, now).await? {
            return Err(PublishError::Conflict { source_id });
        }
        self.write_alerts(&mut transaction, &cut.alerts).await?;
        self.add_notifications(&mut transaction, &cut.notifications, now).await?;
        for document in &cut.documents {
            self.write_document(&mut transaction, document, now).await?;
        }
        self.add_traffic(&mut transaction, cut).await?;
        self.append_moves(&mut transaction, cut, now).await?;
        let mut outgrown = Vec::new();
        for (stream, bytes) in &cut.bounds {
            outgrown.extend(self.keep_within(&mut transaction, &cut.group, stream, *bytes).await?);
        }
        let refused = self.add_aliases(&mut transaction, &cut.aliases, now).await?;
        transaction.commit().await.map_err(self.failed("commit a cut"))?;
        self.count_refused_aliases(refused);
        Ok(outgrown)
    }

    /// Moves a partition if the caller still owns it and it still stands where the caller believes. `false`: neither.
    async fn move_offset(
        &self,
        transaction: &mut Transaction,
        cut: &Cut,
        step: &Move,
    ) -> Result<bool, crate::Error> {
        let moved = sqlx::query(
            "UPDATE partitions SET next_offset = $1 \
             WHERE consumer_group = $2 AND topic = $3 AND partition = $4 \
             AND next_offset IS NOT DISTINCT FROM $5 AND owner_epoch = $6",
        )
        .bind(step.to)
        .bind(&cut.group)
        .bind(&cut.topic)
        .bind(step.partition.0)
        .bind(step.from)
        .bind(step.epoch as i64)
        .execute(&mut **transaction)
        .await
        .map_err(self.failed("move an offset"))?;
        Ok(moved.rows_affected() == 1)
    }

    /// One link for each partition that really moved, naming the shards that hold rows of it.
    async fn append_moves(
        &self,
        transaction: &mut Transaction,
        cut: &Cut,
        now: Timestamp,
    ) -> Result<(), crate::Error> {
        for Move { partition, epoch, from, to } in cut.moves.iter().filter(|step| step.from != Some(step.to))
        {
            let place = Place { group: &cut.group, topic: &cut.topic, partition: *partition };
            let holds_rows = |shard: &&ShardMeta| {
                shard.offsets.iter().any(|range| range.partition == *partition && !range.is_empty())
            };
            let shards = cut.shards.iter().filter(holds_rows).map(TrailShard::from).collect();
            let event = TrailEvent::Published { epoch: *epoch, from: *from, to: *to, shards };
            self.append(transaction, place, now, event).await?;
        }
        Ok(())
    }
}
