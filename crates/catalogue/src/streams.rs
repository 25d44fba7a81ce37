//! Streams as a whole: what lies in them, and which are on hold. While a stream is on hold none of its shards expires, by
//! age or by size, and nothing in it is deleted; merging goes on.

use crate::{Catalogue, Error, Transaction, database::Lock};
use millrace_model::{Declarations, ShardFields, StreamName, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use std::collections::BTreeMap;

/// What lies in a stream, in live shards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamUsage {
    /// The stream.
    #[serde(rename = "name")]
    pub stream: StreamName,
    /// How many shards.
    pub shards: u64,
    /// How many records.
    pub records: u64,
    /// The bytes of their bundles.
    pub bytes: u64,
    /// The earliest record's time.
    pub first: Timestamp,
    /// The latest record's time.
    pub last: Timestamp,
}

/// What is said of the fields of a stream, in live shards. Counts are of the records as they were taken in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamFields {
    /// The declarations under which records were taken in, and in how many shards there are such.
    pub declared: BTreeMap<Declarations, u64>,
    /// How many records have a value of another type than was declared, by field.
    pub conflicts: BTreeMap<String, u64>,
    /// How many records were kept whole because the stream had brought as many fields as it may.
    pub beyond: u64,
}

/// What lies in a stream as it was sealed, or as merges made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamTier {
    /// The stream.
    pub stream: StreamName,
    /// Did a merge make these shards?
    pub merged: bool,
    /// How many live shards.
    pub shards: u64,
    /// The bytes of their bundles.
    pub bytes: u64,
}

/// A stream of which nothing may end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The stream.
    pub stream: StreamName,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

#[derive(FromRow)]
struct StoredUsage {
    stream: String,
    shards: i64,
    records: i64,
    bytes: i64,
    first_ns: i64,
    last_ns: i64,
}

#[derive(FromRow)]
struct StoredTier {
    stream: String,
    merged: i64,
    shards: i64,
    bytes: i64,
}

#[derive(FromRow)]
struct StoredFields {
    stream: String,
    fields: Option<String>,
    shards: i64,
}

#[derive(FromRow)]
struct StoredHold {
    stream: String,
    reason: String,
    since_ns: i64,
}

impl StreamFields {
    /// Adds what is said, in the same words, by so many shards.
    fn add(&mut self, fields: ShardFields, shards: u64) {
        let declared =
            if fields.declared.is_empty() { vec![Declarations::default()] } else { fields.declared };
        for declarations in declared {
            *self.declared.entry(declarations).or_default() += shards;
        }
        for (field, records) in fields.conflicts {
            *self.conflicts.entry(field).or_default() += records * shards;
        }
        self.beyond += fields.beyond * shards;
    }
}

impl Catalogue {
    /// What lies in each stream that has live shards, by name.
    pub async fn stream_usage(&self, group: &str) -> Result<Vec<StreamUsage>, Error> {
        let mut transaction = self.begin_read("read what lies in streams").await?;
        self.usage_of(&mut transaction, group).await
    }

    pub(crate) async fn usage_of(
        &self,
        transaction: &mut Transaction,
        group: &str,
    ) -> Result<Vec<StreamUsage>, Error> {
        let rows: Vec<StoredUsage> = sqlx::query_as(
            "SELECT stream, COUNT(*) AS shards, CAST(SUM(records) AS BIGINT) AS records, \
             CAST(SUM(bytes) AS BIGINT) AS bytes, MIN(first_ns) AS first_ns, MAX(last_ns) AS last_ns FROM shards \
             WHERE consumer_group = $1 AND expired_ns IS NULL GROUP BY stream",
        )
        .bind(group)
        .fetch_all(&mut **transaction)
        .await
        .map_err(self.failed("read what lies in streams"))?;
        let mut usage = rows
            .into_iter()
            .map(|row| {
                Ok(StreamUsage {
                    stream: row.stream.parse().map_err(self.unreadable("a shard's stream"))?,
                    shards: row.shards as u64,
                    records: row.records as u64,
                    bytes: row.bytes as u64,
                    first: Timestamp(row.first_ns),
                    last: Timestamp(row.last_ns),
                })
            })
            .collect::<Result<Vec<_>, Error>>()?;
        usage.sort_unstable_by(|a, b| a.stream.cmp(&b.stream));
        Ok(usage)
    }

    /// The same apart: what is as it was sealed, and what merges made. In no particular order.
    pub async fn stream_tiers(&self, group: &str) -> Result<Vec<StreamTier>, Error> {
        let rows: Vec<StoredTier> = sqlx::query_as(
            "SELECT stream, merged, COUNT(*) AS shards, CAST(SUM(bytes) AS BIGINT) AS bytes FROM \
             (SELECT stream, bytes, CASE WHEN rewrites > 0 THEN CAST(1 AS BIGINT) ELSE CAST(0 AS BIGINT) END AS merged \
             FROM shards WHERE consumer_group = $1 AND expired_ns IS NULL) AS live GROUP BY stream, merged",
        )
        .bind(group)
        .fetch_all(&self.readers)
        .await
        .map_err(self.failed("read what lies in streams"))?;
        rows.into_iter()
            .map(|row| {
                Ok(StreamTier {
                    stream: row.stream.parse().map_err(self.unreadable("a shard's stream"))?,
                    merged: row.merged != 0,
                    shards: row.shards as u64,
                    bytes: row.bytes as u64,
                })
            })
            .collect()
    }

    /// What is said of the fields of each stream that has live shards.
    pub async fn stream_fields(&self, group: &str) -> Result<BTreeMap<StreamName, StreamFields>, Error> {
        let rows: Vec<StoredFields> = sqlx::query_as(
            "SELECT stream, fields, COUNT(*) AS shards FROM shards WHERE consumer_group = $1 AND expired_ns IS NULL \
             GROUP BY stream, fields",
        )
        .bind(group)
        .fetch_all(&self.readers)
        .await
        .map_err(self.failed("read what was declared of streams"))?;
        let mut streams: BTreeMap<StreamName, StreamFields> = BTreeMap::new();
        for StoredFields { stream, fields, shards } in rows {
            let stream = stream.parse().map_err(self.unreadable("a shard's stream"))?;
            streams.entry(stream).or_default().add(self.fields(fields.as_deref())?, shards as u64);
        }
        Ok(streams)
    }

    /// Puts a stream on hold, whether or not there is anything in it yet. One that is on hold already stays so, for the
    /// first reason.
    pub async fn hold(&self, group: &str, stream: &StreamName, reason: &str) -> Result<(), Error> {
        let failed = self.failed("put a stream on hold");
        let mut transaction = self.begin("put a stream on hold").await?;
        self.lock(&mut transaction, Lock::Endings).await?;
        sqlx::query(
            "INSERT INTO holds (consumer_group, stream, reason, since_ns) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (consumer_group, stream) DO NOTHING",
        )
        .bind(group)
        .bind(stream.as_str())
        .bind(reason)
        .bind(self.clock.now().0)
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
        transaction.commit().await.map_err(failed)
    }

    /// Ends a hold. `false`: there was none.
    pub async fn end_hold(&self, group: &str, stream: &StreamName) -> Result<bool, Error> {
        let failed = self.failed("end a hold");
        let mut transaction = self.begin("end a hold").await?;
        let ended = sqlx::query("DELETE FROM holds WHERE consumer_group = $1 AND stream = $2")
            .bind(group)
            .bind(stream.as_str())
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(ended.rows_affected() == 1)
    }

    /// The streams that are on hold, by name.
    pub async fn holds(&self, group: &str) -> Result<Vec<Hold>, Error> {
        let rows: Vec<StoredHold> =
            sqlx::query_as("SELECT stream, reason, since_ns FROM holds WHERE consumer_group = $1")
                .bind(group)
                .fetch_all(&self.readers)
                .await
                .map_err(self.failed("read holds"))?;
        let mut holds = rows
            .into_iter()
            .map(|StoredHold { stream, reason, since_ns }| {
                let stream = stream.parse().map_err(self.unreadable("a hold's stream"))?;
                Ok(Hold { stream, reason, since: Timestamp(since_ns) })
            })
            .collect::<Result<Vec<_>, Error>>()?;
        holds.sort_unstable_by(|a, b| a.stream.cmp(&b.stream));
        Ok(holds)
    }

    pub(crate) async fn is_held(
        &self,
        transaction: &mut Transaction,
        group: &str,
        stream: &StreamName,
    ) -> Result<bool, Error> {
        let held: Option<(i64,)> =
            sqlx::query_as("SELECT since_ns FROM holds WHERE consumer_group = $1 AND stream = $2")
                .bind(group)
                .bind(stream.as_str())
                .fetch_optional(&mut **transaction)
                .await
                .map_err(self.failed("read holds"))?;
        Ok(held.is_some())
    }
}
