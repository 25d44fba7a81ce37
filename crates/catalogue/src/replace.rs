//! Replacing shards by others that hold the same records: what a merge comes to, and a reprocessing. Offsets and the ledger stay
//! as they are.
//!
//! One transaction, in this order: the new shards, the end of the old ones (where a late merge is found out), trail, receipts,
//! aliases. Any refusal drops the transaction, which rolls all of it back.
//!
//! **No epoch fences a replacement, and none is needed.** An epoch says who may decide which records a partition's next
//! offsets come to; once published, records are nobody's. A shard never changes, so whoever has read all the removed ones
//! has read the truth, however long ago, and what makes a replacement wrong is only that one of them has ended meanwhile.
//! Just that is compared and set, shard by shard, under the write lock:
//! - Two indexers merge the same shards at once: the first commit ends them, the second finds one that has ended.
//! - A zombie comes late: either all of its shards are still live, and then its merge is as good as anybody's, or one is
//!   not. An ended shard is never live again: its row stays ended until it is forgotten, and ids are not used twice.
//! - Retention runs beside it: if it ends a removed shard first, the replacement is refused, and nothing that has expired
//!   comes back; if it comes second, it finds the new shard and expires that when its time has come.
//! - A publish runs beside it: it adds shards, and touches none.
//!
//! An epoch would even do harm: a merge holds rows of many partitions, of which an indexer may own some or none, and
//! every rebalance would waste the merges under way.

use crate::{
    Alias, Catalogue, Error, IDS_A_STATEMENT, ReplaceError, TrailEvent, TrailShard, Transaction, aliases,
    database::Lock,
    partitions::Place,
    query::Query,
    shards::{COLUMNS, by_partition},
};
use millrace_model::{OffsetRange, ShardId, ShardMeta, Timestamp};
use std::collections::{BTreeSet, HashMap};

/// Shards and what takes their place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replacement {
    /// The consumer group whose shards they are.
    pub group: String,
    /// The shards that end.
    pub removed: Vec<ShardId>,
    /// The shards that hold their records from here on. The offsets of each are the union of those of the removed.
    pub added: Vec<ShardMeta>,
    /// How many records of the removed shards are left out on purpose: of each deletion by its number, those that no
    /// earlier one had left out.
    pub deleted: Vec<(u64, u64)>,
    /// The reprocessing whose shards the removed ones were: the added ones were made of what the topic says. `None`: of the
    /// removed ones.
    pub reprocessing: Option<u64>,
    /// Aliases of templates. One that is there already is left as it is.
    pub aliases: Vec<Alias>,
}

impl Catalogue {
    /// Makes `replacement` true, whole or not at all: no snapshot has both the removed and the added shards, or neither.
    /// The bundles of the removed go as those of expired ones do ([`hidden`](Self::hidden)); nothing has expired.
    ///
    /// A future that is dropped before it is done leaves the outcome unknown, as a failed commit does; the same
    /// replacement again then says [`ReplaceError::Duplicate`] where it had happened and added something.
    pub async fn replace(&self, replacement: &Replacement) -> Result<(), ReplaceError> {
        replacement.check()?;
        let now = self.clock.now();
        let mut transaction = self.begin("replace shards").await?;
        self.lock(&mut transaction, Lock::Endings).await?;
        // First of all, so that who asks again after a lost answer does not hear that its shards have gone, which is a
        // reason to delete the new bundles.
        for shard in &replacement.added {
            if !self.insert_shard(&mut transaction, &replacement.group, shard, now).await? {
                return Err(ReplaceError::Duplicate { shard: shard.id });
            }
        }
        let removed = self.end_shards(&mut transaction, replacement, now).await?;
        replacement.check_against(&removed)?;
        self.append_replaced(&mut transaction, replacement, &removed, now).await?;
        self.count_deleted(&mut transaction, &replacement.deleted).await?;
        self.carry_reprocessings(&mut transaction, replacement, &removed).await?;
        let refused = self.add_aliases(&mut transaction, &replacement.aliases, now).await?;
        transaction.commit().await.map_err(self.failed("commit a replacement"))?;
        self.count_refused_aliases(refused);
        Ok(())
    }

    /// Ends the removed shards and returns what the catalogue knows of them. Refused if one is not live.
    async fn end_shards(
        &self,
        transaction: &mut Transaction,
        replacement: &Replacement,
        now: Timestamp,
    ) -> Result<Vec<ShardMeta>, ReplaceError> {
        let mut ended = Vec::with_capacity(replacement.removed.len());
        for some in replacement.removed.chunks(IDS_A_STATEMENT) {
            let mut query = Query::new("UPDATE shards SET replaced = TRUE, expired_ns = ");
            query.bind(now.0).push(" WHERE expired_ns IS NULL AND consumer_group = ");
            query.bind(replacement.group.as_str());
            query.push_in(" AND id", some.iter().map(ShardId::to_string));
            query.push(" RETURNING ").push(COLUMNS);
            let rows = query
                .build_as()
                .fetch_all(&mut **transaction)
                .await
                .map_err(self.failed("end replaced shards"))?;
            ended.extend(self.metas(rows)?);
        }
        let live: BTreeSet<ShardId> = ended.iter().map(|shard| shard.id).collect();
        if let Some(shard) = replacement.removed.iter().find(|id| !live.contains(*id)) {
            return Err(ReplaceError::Gone { shard: *shard });
        }
        ended.sort_by_key(|shard| (shard.last, shard.id));
        Ok(ended)
    }

    /// One link for each partition that the removed shards hold rows of.
    async fn append_replaced(
        &self,
        transaction: &mut Transaction,
        replacement: &Replacement,
        removed: &[ShardMeta],
        now: Timestamp,
    ) -> Result<(), Error> {
        let Some(stream) = removed.first().map(|shard| shard.stream.clone()) else { return Ok(()) };
        let trail_shards: HashMap<ShardId, TrailShard> =
            replacement.added.iter().map(|shard| (shard.id, TrailShard::from(shard))).collect();
        let mut added = by_partition(&replacement.added);
        for ((topic, partition), removed) in by_partition(removed) {
            let added = added.remove(&(topic, partition)).unwrap_or_default();
            let added = added.iter().filter_map(|id| trail_shards.get(id).cloned()).collect();
            let stream = stream.clone();
            let event = match replacement.reprocessing {
                Some(number) => TrailEvent::Reprocessed { number, stream, removed, added },
                None => TrailEvent::Merged { stream, removed, added, deleted: replacement.deleted() },
            };
            let place = Place { group: &replacement.group, topic, partition };
            self.append(transaction, place, now, event).await?;
        }
        Ok(())
    }
}

impl Replacement {
    /// How many records are left out, of all deletions.
    pub fn deleted(&self) -> u64 {
        self.deleted.iter().map(|(_, records)| records).fold(0, |sum, records| sum.saturating_add(*records))
    }

    /// Finds what no database is needed to refuse.
    fn check(&self) -> Result<(), ReplaceError> {
        if self.removed.is_empty() {
            return Err(contradiction("it removes no shard"));
        }
        let unique = self.removed.iter().collect::<BTreeSet<_>>().len() == self.removed.len();
        if !unique
            || self.added.iter().map(|shard| shard.id).collect::<BTreeSet<_>>().len() != self.added.len()
        {
            return Err(contradiction("it names a shard twice"));
        }
        if self.reprocessing.is_some() && !self.deleted.is_empty() {
            return Err(contradiction("a reprocessing leaves nothing out"));
        }
        aliases::check(&self.aliases).map_err(|problem| ReplaceError::Contradiction { problem })
    }

    /// Do the added shards stand for all that the removed ones stood for, and nothing else?
    fn check_against(&self, removed: &[ShardMeta]) -> Result<(), ReplaceError> {
        let Some(first) = removed.first() else { return Ok(()) };
        let other = |shard: &&ShardMeta| shard.stream != first.stream;
        if let Some(shard) = removed.iter().chain(&self.added).find(other) {
            return Err(ReplaceError::Stream { shard: shard.id });
        }
        // Wide enough that no sum wraps, whatever a caller says.
        let records =
            |shards: &[ShardMeta]| shards.iter().map(|shard| u128::from(shard.records)).sum::<u128>();
        let (before, after) = (records(removed), records(&self.added));
        if before != after + u128::from(self.deleted()) {
            return Err(ReplaceError::Records { removed: before, added: after, deleted: self.deleted() });
        }
        self.check_places(removed)
    }

    /// Offsets, times, bucket and the count of rewrites of each added shard.
    fn check_places(&self, removed: &[ShardMeta]) -> Result<(), ReplaceError> {
        let offsets = OffsetRange::union(removed.iter().flat_map(|shard| &shard.offsets));
        let times = |shards: &[ShardMeta]| {
            let first = shards.iter().map(|shard| shard.first).min();
            (first, shards.iter().map(|shard| shard.last).max())
        };
        let (first, last) = times(removed);
        let rewrites = removed.iter().map(|shard| shard.rewrites).max();
        for shard in &self.added {
            let wrong = |what: &str| contradiction(&format!("shard {} {what}", shard.id));
            if OffsetRange::union(&shard.offsets) != offsets {
                return Err(wrong("has other offsets than the removed ones together"));
            }
            if Some(shard.first) < first || Some(shard.last) > last {
                return Err(wrong("begins before or ends after all of the removed ones"));
            }
            if shard.bucket.is_some() && removed.iter().any(|removed| removed.bucket != shard.bucket) {
                return Err(wrong("names a bucket that not all of the removed ones lie in"));
            }
            if Some(shard.rewrites) <= rewrites {
                return Err(wrong("was rewritten no more often than what it was made of"));
            }
            // Whatever could have been left out by a later deletion is still to be.
            if self.deleted() == 0
                && Some(shard.deletions) > removed.iter().map(|shard| shard.deletions).min()
            {
                return Err(wrong("claims to have been through a deletion that left nothing out"));
            }
        }
        // Searches pass a shard by for its times: where nothing was left out, they are those of before.
        if self.deleted() == 0 && times(&self.added) != (first, last) {
            return Err(contradiction("the added shards leave out some of the removed ones' time"));
        }
        Ok(())
    }
}

fn contradiction(problem: &str) -> ReplaceError {
    ReplaceError::Contradiction { problem: problem.to_owned() }
}
