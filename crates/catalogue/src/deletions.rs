//! Deletions by query. A deletion is numbered when it is asked for; from then on no search shows what it matches, among the
//! records that were published before: each shard knows the last number that it has been through. Rewriting shards without
//! those records is the indexer's ([`purgeable`](Catalogue::purgeable), [`replace`](Catalogue::replace)); once no shard is
//! left, hidden ones included, that could hold such a record, the filter itself is forgotten, and the receipt stays.
//!
//! What a filter means is not known here: it is a text.

use crate::{
    Catalogue, Error, TrailEvent, Transaction,
    database::Lock,
    partitions::Place,
    query::Query,
    shards::{COLUMNS, Stored as StoredShard},
};
use millrace_model::{ShardId, ShardMeta, StreamName, TimeRange, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;

/// Records of a stream that are to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletionRequest {
    /// The consumer group whose shards are meant.
    pub group: String,
    /// The stream.
    pub stream: StreamName,
    /// Which of its records: a query.
    pub filter: String,
    /// The SHA-256 of the filter, for the receipt.
    pub filter_sha256: String,
    /// Of which time.
    pub range: TimeRange,
    /// Why, for the receipt.
    pub reason: String,
}

/// A deletion, and how far it has come: its receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// Its number; later ones have higher ones.
    pub number: u64,
    /// The stream.
    pub stream: StreamName,
    /// Which of its records; `None` once nothing is left that it could match.
    pub filter: Option<String>,
    /// The SHA-256 of the filter.
    pub filter_sha256: String,
    /// Of which time.
    pub range: TimeRange,
    /// Why.
    pub reason: String,
    /// When it was asked for: since then no search shows what it matches.
    pub requested: Timestamp,
    /// How many records were removed so far.
    pub records: u64,
    /// How many shards may still hold some, hidden ones included.
    pub shards_left: u64,
    /// Since when nothing is left in shards.
    pub purged: Option<Timestamp>,
}

impl Deletion {
    /// May a shard hold records that it has yet to remove?
    pub fn concerns(&self, shard: &ShardMeta) -> bool {
        self.purged.is_none()
            && self.number > shard.deletions
            && self.stream == shard.stream
            && self.range.overlaps_closed(shard.first, shard.last)
    }
}

#[derive(FromRow)]
struct Stored {
    number: i64,
    stream: String,
    filter: Option<String>,
    filter_sha256: String,
    from_ns: i64,
    to_ns: i64,
    reason: String,
    requested_ns: i64,
    records: i64,
    shards_left: i64,
    purged_ns: Option<i64>,
}

/// Holds of a row of `shards` and one of `deletions` if the one may hold records that the other deletes.
const CONCERNS: &str = "deletions.consumer_group = shards.consumer_group AND deletions.stream = shards.stream \
    AND deletions.number > shards.deletions AND deletions.from_ns <= shards.last_ns \
    AND (deletions.to_ns > shards.first_ns OR deletions.to_ns = 9223372036854775807)";

/// What one row of `shards` must not have for it to be merged with others.
pub(crate) fn awaits_purge() -> String {
    format!("EXISTS (SELECT number FROM deletions WHERE purged_ns IS NULL AND {CONCERNS})")
}

impl Catalogue {
    /// Asks for a deletion. From here on it is in every snapshot; what is published later is not touched by it.
    ///
    /// # Errors
    /// [`Error::Held`] where the stream is on hold.
    pub async fn request_deletion(&self, request: &DeletionRequest) -> Result<Deletion, Error> {
        let now = self.clock.now();
        let failed = self.failed("ask for a deletion");
        let DeletionRequest { group, stream, filter, filter_sha256, range, reason } = request;
        let mut transaction = self.begin("ask for a deletion").await?;
        self.lock(&mut transaction, Lock::Endings).await?;
        if self.is_held(&mut transaction, group, stream).await? {
            return Err(Error::Held { stream: stream.to_string() });
        }
        let last: Option<i64> = sqlx::query_scalar("SELECT MAX(number) FROM deletions")
            .fetch_one(&mut *transaction)
            .await
            .map_err(&failed)?;
        let number = last.unwrap_or(0) + 1;
        sqlx::query(
            "INSERT INTO deletions (number, consumer_group, stream, filter, filter_sha256, from_ns, to_ns, reason, \
             requested_ns, records) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0)",
        )
        .bind(number)
        .bind(group)
        .bind(stream.as_str())
        .bind(filter)
        .bind(filter_sha256)
        .bind(range.from.0)
        .bind(range.to.0)
        .bind(reason)
        .bind(now.0)
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
        for row in self.partition_rows(&mut transaction, group).await? {
            let event = TrailEvent::DeletionRequested {
                number: number as u64,
                stream: stream.clone(),
                filter_sha256: filter_sha256.clone(),
                range: *range,
            };
            let place = Place { group, topic: &row.topic, partition: row.partition };
            self.append(&mut transaction, place, now, event).await?;
        }
        let asked = self.read_deletions(&mut transaction, group, Some(number)).await?.into_iter().next();
        transaction.commit().await.map_err(&failed)?;
        asked.ok_or_else(|| self.unreadable("a deletion")("it is not there"))
    }

    /// All deletions of a group, the latest first.
    pub async fn deletions(&self, group: &str) -> Result<Vec<Deletion>, Error> {
        let mut transaction = self.begin_read("read deletions").await?;
        self.read_deletions(&mut transaction, group, None).await
    }

    /// The shards that may hold records which a deletion matches, oldest first, at most `limit`.
    pub async fn purgeable(&self, group: &str, limit: u32) -> Result<Vec<ShardMeta>, Error> {
        let mut query = Query::new(format!(
            "SELECT {COLUMNS} FROM shards WHERE expired_ns IS NULL AND consumer_group = "
        ));
        query.bind(group).push(" AND ").push(&awaits_purge());
        query.push(" ORDER BY last_ns, id LIMIT ").bind(i64::from(limit));
        let rows: Vec<StoredShard> =
            query.build_as().fetch_all(&self.readers).await.map_err(self.failed("read shards"))?;
        self.metas(rows)
    }

    /// Says that none of a shard's records match the deletions up to `number`. A shard that has ended stays as it is.
    pub async fn pass_deletions(&self, shard: ShardId, number: u64) -> Result<(), Error> {
        let failed = self.failed("pass a deletion");
        let mut transaction = self.begin("pass a deletion").await?;
        sqlx::query(
            "UPDATE shards SET deletions = $1 WHERE id = $2 AND deletions < $1 AND expired_ns IS NULL \
             AND $1 <= (SELECT MAX(number) FROM deletions)",
        )
        .bind(number as i64)
        .bind(shard.to_string())
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
        transaction.commit().await.map_err(failed)
    }

    /// Ends the deletions for which nothing is left to do: forgets their filters, and returns them.
    pub async fn finish_deletions(&self, group: &str) -> Result<Vec<Deletion>, Error> {
        let failed = self.failed("end deletions");
        let now = self.clock.now();
        let mut transaction = self.begin("end deletions").await?;
        self.lock(&mut transaction, Lock::Endings).await?;
        let mut query = Query::new("UPDATE deletions SET filter = NULL, purged_ns = ");
        query.bind(now.0).push(" WHERE purged_ns IS NULL AND consumer_group = ").bind(group);
        query.push(&format!(" AND NOT EXISTS (SELECT id FROM shards WHERE {CONCERNS}) RETURNING number"));
        let ended: Vec<(i64,)> = query.build_as().fetch_all(&mut *transaction).await.map_err(&failed)?;
        let mut deletions = Vec::with_capacity(ended.len());
        for (number,) in ended {
            deletions.extend(self.read_deletions(&mut transaction, group, Some(number)).await?);
        }
        transaction.commit().await.map_err(failed)?;
        Ok(deletions)
    }

    /// Counts records that a rewrite left out.
    pub(crate) async fn count_deleted(
        &self,
        transaction: &mut Transaction,
        deleted: &[(u64, u64)],
    ) -> Result<(), Error> {
        for (number, records) in deleted {
            sqlx::query("UPDATE deletions SET records = records + $1 WHERE number = $2")
                .bind(*records as i64)
                .bind(*number as i64)
                .execute(&mut **transaction)
                .await
                .map_err(self.failed("count deleted records"))?;
        }
        Ok(())
    }

    /// The number of the last deletion of a stream; 0: there was none.
    pub(crate) async fn last_deletion(
        &self,
        transaction: &mut Transaction,
        group: &str,
        stream: &StreamName,
    ) -> Result<u64, Error> {
        let last: Option<i64> =
            sqlx::query_scalar("SELECT MAX(number) FROM deletions WHERE consumer_group = $1 AND stream = $2")
                .bind(group)
                .bind(stream.as_str())
                .fetch_one(&mut **transaction)
                .await
                .map_err(self.failed("read deletions"))?;
        Ok(last.unwrap_or(0) as u64)
    }

    /// Those that are not ended yet, in the order in which they were asked for.
    pub(crate) async fn pending_deletions(
        &self,
        transaction: &mut Transaction,
        group: &str,
    ) -> Result<Vec<Deletion>, Error> {
        let mut pending = self.read_deletions(transaction, group, None).await?;
        pending.retain(|deletion| deletion.purged.is_none());
        pending.reverse();
        Ok(pending)
    }

    async fn read_deletions(
        &self,
        transaction: &mut Transaction,
        group: &str,
        number: Option<i64>,
    ) -> Result<Vec<Deletion>, Error> {
        let mut query = Query::new(format!(
            "SELECT number, stream, filter, filter_sha256, from_ns, to_ns, reason, requested_ns, records, purged_ns, \
             (SELECT COUNT(*) FROM shards WHERE {CONCERNS}) AS shards_left FROM deletions WHERE consumer_group = "
        ));
        query.bind(group);
        if let Some(number) = number {
            query.push(" AND number = ").bind(number);
        }
        query.push(" ORDER BY number DESC");
        let rows: Vec<Stored> =
            query.build_as().fetch_all(&mut **transaction).await.map_err(self.failed("read deletions"))?;
        rows.into_iter()
            .map(|row| {
                Ok(Deletion {
                    number: row.number as u64,
                    stream: row.stream.parse().map_err(self.unreadable("a deletion's stream"))?,
                    filter: row.filter,
                    filter_sha256: row.filter_sha256,
                    range: TimeRange { from: Timestamp(row.from_ns), to: Timestamp(row.to_ns) },
                    reason: row.reason,
                    requested: Timestamp(row.requested_ns),
                    records: row.records as u64,
                    shards_left: row.shards_left as u64,
                    purged: row.purged_ns.map(Timestamp),
                })
            })
            .collect()
    }
}
