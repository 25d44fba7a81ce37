//! Sealed shards: what is published, what a query sees of it at one instant, and how it goes away again.
//!
//! A shard's end has three steps, so that no query loses a file under its hands: expired, or replaced by others (at once
//! in no snapshot), its bundle deleted by the caller after a grace, forgotten here. `expired_ns` says since when it is
//! hidden, whichever it was; `replaced` tells the two apart.

use crate::{
    Catalogue, Deletion, Error, IDS_A_STATEMENT, NODE_TTL, Node, PartitionRow, TrailEvent, Transaction,
    database::Lock, deletions::awaits_purge, partitions::Place, query::Query,
};
use millrace_model::{Partition, ShardFields, ShardId, ShardMeta, StreamName, TimeRange, Timestamp};
use sqlx::FromRow;
use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

pub(crate) const COLUMNS: &str = "id, stream, schema_version, first_ns, last_ns, records, bytes, sha256, \
    bundle_key, offsets, created_ns, rewrites, bucket_ns, deletions, fields, CASE WHEN replaced THEN 1 ELSE 0 END AS replaced";

/// How long after it was sealed a shard may be published: whose process stood still for longer must seal it anew, as its
/// bundle may have been taken for one that nobody wants.
pub const PUBLISH_WITHIN: Duration = Duration::from_hours(12);

/// One instant of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The shards asked for that are neither expired, replaced nor forgotten, by their latest time, oldest first.
    pub shards: Vec<ShardMeta>,
    /// Where every partition of the group stands: rows below `next_offset` are in shards, the rest is with the owners.
    pub partitions: Vec<PartitionRow>,
    /// Nodes alive by now, of every role.
    pub nodes: Vec<Node>,
    /// Deletions that not all shards have been through, in the order in which they were asked for. Each applies to the
    /// shards whose own number is lower.
    pub deletions: Vec<Deletion>,
}

/// A shard that is in no snapshot any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HiddenShard {
    /// Which.
    pub shard: ShardMeta,
    /// Others took its place and hold its records; else it has expired, and its records with it.
    pub replaced: bool,
}

#[derive(FromRow)]
pub(crate) struct Stored {
    pub(crate) id: String,
    stream: String,
    schema_version: i64,
    first_ns: i64,
    last_ns: i64,
    records: i64,
    bytes: i64,
    sha256: String,
    bundle_key: String,
    offsets: String,
    created_ns: i64,
    rewrites: i64,
    bucket_ns: Option<i64>,
    deletions: i64,
    fields: Option<String>,
    // Read as a number: the databases have no truth value in common.
    replaced: i64,
}

impl Catalogue {
    /// What a query of `range` over `streams` (`None`: all) must look at.
    pub async fn snapshot(
        &self,
        group: &str,
        range: TimeRange,
        streams: Option<&[StreamName]>,
    ) -> Result<Snapshot, Error> {
        let live_since = self.clock.now().minus(NODE_TTL);
        let mut transaction = self.begin_read("read a snapshot").await?;
        let mut query = Query::new(format!("SELECT {COLUMNS} FROM shards WHERE consumer_group = "));
        query.bind(group).push(" AND expired_ns IS NULL AND last_ns >= ").bind(range.from.0);
        if range.to != Timestamp::MAX {
            query.push(" AND first_ns < ").bind(range.to.0);
        }
        if let Some(streams) = streams {
            query.push_in(" AND stream", streams.iter().map(StreamName::as_str));
        }
        query.push(" ORDER BY last_ns, id");
        let rows = query.build_as().fetch_all(&mut *transaction).await.map_err(self.failed("read shards"))?;
        Ok(Snapshot {
            shards: self.metas(rows)?,
            partitions: self.partition_rows(&mut transaction, group).await?,
            nodes: self.live_nodes(&mut transaction, live_since).await?,
            deletions: self.pending_deletions(&mut transaction, group).await?,
        })
    }

    /// The streams that have shards, by name: expired and replaced ones do not count.
    pub async fn streams(&self, group: &str) -> Result<Vec<StreamName>, Error> {
        let names: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT stream FROM shards WHERE consumer_group = $1 AND expired_ns IS NULL",
        )
        .bind(group)
        .fetch_all(&self.readers)
        .await
        .map_err(self.failed("read streams"))?;
        let streams = names.iter().map(|name| name.parse().map_err(self.unreadable("a shard's stream")));
        let mut streams: Vec<StreamName> = streams.collect::<Result<_, _>>()?;
        streams.sort_unstable();
        Ok(streams)
    }

    /// Expires the shards of a stream whose latest record is older than `older_than`: from here on no snapshot has
    /// them. Returns them, oldest first; none where the stream is on hold.
    pub async fn expire(
        &self,
        group: &str,
        stream: &StreamName,
        older_than: Timestamp,
    ) -> Result<Vec<ShardMeta>, Error> {
        let mut transaction = self.begin("expire shards").await?;
        self.lock(&mut transaction, Lock::Endings).await?;
        let mut which = Query::new("last_ns < ");
        which.bind(older_than.0);
        let event = |shards| TrailEvent::Expired { stream: stream.clone(), older_than, shards };
        let shards = self.end_live(&mut transaction, group, stream, which, &event).await?;
        transaction.commit().await.map_err(self.failed("expire shards"))?;
        Ok(shards)
    }

    /// Expires the oldest shards of a stream until those that stay take no more than `bytes`. Returns them, oldest first;
    /// none where the stream is on hold.
    pub async fn expire_beyond(
        &self,
        group: &str,
        stream: &StreamName,
        bytes: u64,
    ) -> Result<Vec<ShardMeta>, Error> {
        let mut transaction = self.begin("expire shards").await?;
        self.lock(&mut transaction, Lock::Endings).await?;
        let shards = self.keep_within(&mut transaction, group, stream, bytes).await?;
        transaction.commit().await.map_err(self.failed("expire shards"))?;
        Ok(shards)
    }

    /// See [`expire_beyond`](Self::expire_beyond). The caller has [`Lock::Endings`].
    pub(crate) async fn keep_within(
        &self,
        transaction: &mut Transaction,
        group: &str,
        stream: &StreamName,
        bytes: u64,
    ) -> Result<Vec<ShardMeta>, Error> {
        let mut which = Query::new(
            "id IN (SELECT id FROM (SELECT id, SUM(bytes) OVER (ORDER BY last_ns DESC, id DESC) AS newer FROM shards \
             WHERE expired_ns IS NULL AND consumer_group = ",
        );
        which.bind(group).push(" AND stream = ").bind(stream.as_str());
        which.push(") AS ranked WHERE newer > ").bind(i64::try_from(bytes).unwrap_or(i64::MAX)).push(")");
        let event = |shards| TrailEvent::Outgrown { stream: stream.clone(), bytes, shards };
        self.end_live(transaction, group, stream, which, &event).await
    }

    /// Hides those live shards of a stream for which a condition holds, and says so in the trails of their partitions.
    async fn end_live(
        &self,
        transaction: &mut Transaction,
        group: &str,
        stream: &StreamName,
        which: Query,
        event: &(dyn Fn(Vec<ShardId>) -> TrailEvent + Sync),
    ) -> Result<Vec<ShardMeta>, Error> {
        if self.is_held(transaction, group, stream).await? {
            return Ok(Vec::new());
        }
        let now = self.clock.now();
        let mut query = Query::new("UPDATE shards SET expired_ns = ");
        query.bind(now.0).push(" WHERE expired_ns IS NULL AND consumer_group = ").bind(group);
        query.push(" AND stream = ").bind(stream.as_str()).push(" AND ").append(which);
        query.push(" RETURNING ").push(COLUMNS);
        let rows =
            query.build_as().fetch_all(&mut **transaction).await.map_err(self.failed("expire shards"))?;
        let mut shards = self.metas(rows)?;
        shards.sort_by_key(|shard| (shard.last, shard.id));
        for ((topic, partition), ids) in by_partition(&shards) {
            self.append(transaction, Place { group, topic, partition }, now, event(ids)).await?;
        }
        Ok(shards)
    }

    /// The shards that may be merged with others: all of one bucket, rewritten less than `rewrites` times, in no order.
    /// Those that a deletion has yet to go through are not among them: it must not reach what it is merged with.
    pub async fn mergeable(&self, group: &str, rewrites: u32) -> Result<Vec<ShardMeta>, Error> {
        let mut query = Query::new(format!(
            "SELECT {COLUMNS} FROM shards WHERE expired_ns IS NULL AND bucket_ns IS NOT NULL AND consumer_group = "
        ));
        query.bind(group).push(" AND rewrites < ").bind(i64::from(rewrites));
        query.push(" AND NOT ").push(&awaits_purge());
        let rows = query.build_as().fetch_all(&self.readers).await.map_err(self.failed("read shards"))?;
        self.metas(rows)
    }

    /// The shards of all groups that expired or were replaced before `before`: their bundles may be deleted.
    pub async fn hidden(&self, before: Timestamp) -> Result<Vec<HiddenShard>, Error> {
        let mut query = Query::new(format!("SELECT {COLUMNS} FROM shards WHERE expired_ns < "));
        query.bind(before.0).push(" ORDER BY expired_ns, id");
        let rows: Vec<Stored> =
            query.build_as().fetch_all(&self.readers).await.map_err(self.failed("read hidden shards"))?;
        rows.into_iter()
            .map(|row| Ok(HiddenShard { replaced: row.replaced != 0, shard: self.meta(row)? }))
            .collect()
    }

    /// Removes the rows of hidden shards whose bundles are gone. A shard that is live stays.
    pub async fn forget(&self, ids: &[ShardId]) -> Result<(), Error> {
        let mut transaction = self.begin("forget shards").await?;
        self.lock(&mut transaction, Lock::Endings).await?;
        for some in ids.chunks(IDS_A_STATEMENT) {
            let mut query = Query::new("DELETE FROM shards WHERE expired_ns IS NOT NULL");
            query.push_in(" AND id", some.iter().map(ShardId::to_string));
            query.build().execute(&mut *transaction).await.map_err(self.failed("forget shards"))?;
        }
        transaction.commit().await.map_err(self.failed("forget shards"))
    }

    /// Which of `ids` the catalogue knows, hidden ones included. A bundle whose shard is not known belongs to a publish
    /// that has not happened.
    pub async fn known_shards(&self, ids: &[ShardId]) -> Result<HashSet<ShardId>, Error> {
        self.shards_where("TRUE", ids).await
    }

    /// Which of `ids` are live at this moment: neither expired, replaced nor forgotten.
    pub async fn live_shards(&self, ids: &[ShardId]) -> Result<HashSet<ShardId>, Error> {
        self.shards_where("expired_ns IS NULL", ids).await
    }

    /// Which of `ids` there are for which a condition holds.
    async fn shards_where(&self, condition: &str, ids: &[ShardId]) -> Result<HashSet<ShardId>, Error> {
        let mut known = HashSet::new();
        for some in ids.chunks(IDS_A_STATEMENT) {
            let mut query = Query::new(format!("SELECT id FROM shards WHERE {condition}"));
            query.push_in(" AND id", some.iter().map(ShardId::to_string));
            let rows: Vec<(String,)> =
                query.build_as().fetch_all(&self.readers).await.map_err(self.failed("look for shards"))?;
            for (id,) in rows {
                known.insert(id.parse().map_err(self.unreadable("a shard's id"))?);
            }
        }
        Ok(known)
    }

    /// `false`: there is a shard of this id already.
    pub(crate) async fn insert_shard(
        &self,
        transaction: &mut Transaction,
        group: &str,
        shard: &ShardMeta,
        now: Timestamp,
    ) -> Result<bool, Error> {
        if shard.created.plus(PUBLISH_WITHIN) < now {
            return Err(Error::Stale { shard: shard.id });
        }
        let offsets = serde_json::to_string(&shard.offsets).map_err(self.unreadable("a shard's offsets"))?;
        let fields = (!shard.fields.is_empty()).then(|| serde_json::to_string(&shard.fields));
        let fields = fields.transpose().map_err(self.unreadable("a shard's fields"))?;
        let inserted = sqlx::query(
            "INSERT INTO shards (id, consumer_group, stream, schema_version, first_ns, last_ns, records, bytes, \
             sha256, bundle_key, offsets, created_ns, published_ns, rewrites, bucket_ns, deletions, fields) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) \
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(shard.id.to_string())
        .bind(group)
        .bind(shard.stream.as_str())
        .bind(i64::from(shard.schema_version))
        .bind(shard.first.0)
        .bind(shard.last.0)
        .bind(shard.records as i64)
        .bind(shard.bytes as i64)
        .bind(&shard.sha256)
        .bind(&shard.key)
        .bind(offsets)
        .bind(shard.created.0)
        .bind(now.0)
        .bind(i64::from(shard.rewrites))
        .bind(shard.bucket.map(|bucket| bucket.0))
        .bind(shard.deletions as i64)
        .bind(fields)
        .execute(&mut **transaction)
        .await
        .map_err(self.failed("insert a shard"))?;
        Ok(inserted.rows_affected() == 1)
    }

    pub(crate) fn metas(&self, rows: Vec<Stored>) -> Result<Vec<ShardMeta>, Error> {
        rows.into_iter().map(|row| self.meta(row)).collect()
    }

    pub(crate) fn meta(&self, row: Stored) -> Result<ShardMeta, Error> {
        Ok(ShardMeta {
            id: row.id.parse().map_err(self.unreadable("a shard's id"))?,
            schema_version: row.schema_version as u32,
            stream: row.stream.parse().map_err(self.unreadable("a shard's stream"))?,
            first: Timestamp(row.first_ns),
            last: Timestamp(row.last_ns),
            records: row.records as u64,
            bytes: row.bytes as u64,
            sha256: row.sha256,
            key: row.bundle_key,
            offsets: serde_json::from_str(&row.offsets).map_err(self.unreadable("a shard's offsets"))?,
            created: Timestamp(row.created_ns),
            rewrites: row.rewrites as u32,
            bucket: row.bucket_ns.map(Timestamp),
            deletions: row.deletions as u64,
            fields: self.fields(row.fields.as_deref())?,
        })
    }

    pub(crate) fn fields(&self, stored: Option<&str>) -> Result<ShardFields, Error> {
        let read = stored.map_or(Ok(ShardFields::default()), serde_json::from_str);
        read.map_err(self.unreadable("a shard's fields"))
    }
}

/// The shards that hold rows of each partition.
pub(crate) fn by_partition(shards: &[ShardMeta]) -> BTreeMap<(&str, Partition), Vec<ShardId>> {
    let mut places: BTreeMap<(&str, Partition), Vec<ShardId>> = BTreeMap::new();
    for shard in shards {
        for range in shard.offsets.iter().filter(|range| !range.is_empty()) {
            let ids = places.entry((&range.topic, range.partition)).or_default();
            if ids.last() != Some(&shard.id) {
                ids.push(shard.id);
            }
        }
    }
    places
}
