//! Reprocessing: shards are made again of what the topic says. One is numbered when it is asked for, and names the shards that are
//! live then; its number is the epoch of what is made. Making them is the indexer's ([`reprocessable`](Catalogue::reprocessable),
//! [`replace`](Catalogue::replace), [`refuse_reprocessing`](Catalogue::refuse_reprocessing)); a shard that merges or purges
//! replace meanwhile hands its place to what it became. The receipt stays.

use crate::{
    Catalogue, Error, IDS_A_STATEMENT, Replacement, Transaction,
    database::Lock,
    query::Query,
    shards::{COLUMNS, Stored as StoredShard},
};
use millrace_model::{ShardId, ShardMeta, StreamName, TimeRange, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use std::collections::BTreeSet;

/// The most refusals that one receipt names; it counts all of them.
const NAMED: i64 = 100;

/// Shards that are to be made again: all that are live and fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReprocessingRequest {
    /// The consumer group whose shards are meant.
    pub group: String,
    /// Only of this stream.
    pub stream: Option<StreamName>,
    /// Only those that hold records of this time.
    pub range: TimeRange,
    /// Only these; none: any.
    pub shards: Vec<ShardId>,
}

/// A reprocessing, and how far it has come: its receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reprocessing {
    /// Its number; later ones have higher ones.
    pub number: u64,
    /// Of which stream alone.
    pub stream: Option<StreamName>,
    /// Of which time.
    pub range: TimeRange,
    /// How many shards were meant.
    pub asked: u64,
    /// How many were made again so far.
    pub shards: u64,
    /// How many records those hold.
    pub records: u64,
    /// How many shards wait.
    pub waiting: u64,
    /// How many stayed as they were, because it could not be proved that the topic gives their records.
    pub refused: u64,
    /// Some of those, by their ids.
    pub refusals: Vec<Refusal>,
    /// When it was asked for.
    pub requested: Timestamp,
    /// Since when no shard waits.
    pub finished: Option<Timestamp>,
}

/// A shard that stayed as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Which.
    pub shard: ShardId,
    /// Why.
    pub problem: String,
}

#[derive(FromRow)]
struct Stored {
    number: i64,
    stream: Option<String>,
    from_ns: i64,
    to_ns: i64,
    asked: i64,
    shards: i64,
    records: i64,
    waiting: i64,
    refused: i64,
    requested_ns: i64,
    finished_ns: Option<i64>,
}

#[derive(FromRow)]
struct Waiting {
    number: i64,
    #[sqlx(flatten)]
    shard: StoredShard,
}

impl Catalogue {
    /// Asks for a reprocessing of the shards that are live now. `None`: there is none that fits.
    pub async fn request_reprocessing(
        &self,
        request: &ReprocessingRequest,
    ) -> Result<Option<Reprocessing>, Error> {
        let now = self.clock.now();
        let failed = self.failed("ask for a reprocessing");
        let ReprocessingRequest { group, stream, range, .. } = request;
        let mut transaction = self.begin("ask for a reprocessing").await?;
        self.lock(&mut transaction, Lock::Endings).await?;
        let last: Option<i64> = sqlx::query_scalar("SELECT MAX(number) FROM reprocessings")
            .fetch_one(&mut *transaction)
            .await
            .map_err(&failed)?;
        let number = last.unwrap_or(0) + 1;
        let asked = self.name_shards(&mut transaction, request, number).await?;
        if asked == 0 {
            return Ok(None);
        }
        sqlx::query(
            "INSERT INTO reprocessings (number, consumer_group, stream, from_ns, to_ns, asked, shards, records, \
             requested_ns) VALUES ($1, $2, $3, $4, $5, $6, 0, 0, $7)",
        )
        .bind(number)
        .bind(group)
        .bind(stream.as_ref().map(|stream| stream.as_str().to_owned()))
        .bind(range.from.0)
        .bind(range.to.0)
        .bind(asked as i64)
        .bind(now.0)
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
        let receipt =
            self.read_reprocessings(&mut transaction, group, Some(number)).await?.into_iter().next();
        transaction.commit().await.map_err(&failed)?;
        receipt.map(Some).ok_or_else(|| self.unreadable("a reprocessing")("it is not there"))
    }

    /// Notes the shards that are meant; returns how many.
    async fn name_shards(
        &self,
        transaction: &mut Transaction,
        request: &ReprocessingRequest,
        number: i64,
    ) -> Result<u64, Error> {
        let ReprocessingRequest { group, stream, range, shards } = request;
        // Without ids one statement says it all; with many there are several.
        let ids: Vec<Option<&[ShardId]>> =
            if shards.is_empty() { vec![None] } else { shards.chunks(IDS_A_STATEMENT).map(Some).collect() };
        let mut named = 0;
        for some in ids {
            let mut query = Query::new("INSERT INTO reprocessing_shards (number, shard) SELECT ");
            query.push("CAST(").bind(number).push(" AS BIGINT), id FROM shards WHERE expired_ns IS NULL");
            query.push(" AND consumer_group = ").bind(group.as_str());
            if let Some(stream) = stream {
                query.push(" AND stream = ").bind(stream.as_str());
            }
            query.push(" AND last_ns >= ").bind(range.from.0);
            if range.to != Timestamp::MAX {
                query.push(" AND first_ns < ").bind(range.to.0);
            }
            if let Some(some) = some {
                query.push_in(" AND id", some.iter().map(ShardId::to_string));
            }
            query.push(" ON CONFLICT DO NOTHING");
            let done = query.build().execute(&mut **transaction).await;
            named += done.map_err(self.failed("name shards to be made again"))?.rows_affected();
        }
        Ok(named)
    }

    /// All reprocessings of a group, the latest first.
    pub async fn reprocessings(&self, group: &str) -> Result<Vec<Reprocessing>, Error> {
        let mut transaction = self.begin_read("read reprocessings").await?;
        self.read_reprocessings(&mut transaction, group, None).await
    }

    /// The shards that wait to be made again, each with the number of the reprocessing, the oldest of that first; at most
    /// `limit`.
    pub async fn reprocessable(&self, group: &str, limit: u32) -> Result<Vec<(u64, ShardMeta)>, Error> {
        let mut query = Query::new(format!(
            "SELECT number, {COLUMNS} FROM reprocessing_shards JOIN shards ON id = shard \
             WHERE problem IS NULL AND expired_ns IS NULL AND consumer_group = "
        ));
        query.bind(group).push(" ORDER BY number, last_ns, id LIMIT ").bind(i64::from(limit));
        let rows: Vec<Waiting> =
            query.build_as().fetch_all(&self.readers).await.map_err(self.failed("read waiting shards"))?;
        rows.into_iter().map(|row| Ok((row.number as u64, self.meta(row.shard)?))).collect()
    }

    /// Says why a shard that waits stays as it is. Where it does not wait any more nothing is changed.
    pub async fn refuse_reprocessing(&self, number: u64, shard: ShardId, problem: &str) -> Result<(), Error> {
        let failed = self.failed("refuse a shard");
        let mut transaction = self.begin("refuse a shard").await?;
        sqlx::query(
            "UPDATE reprocessing_shards SET problem = $1 WHERE number = $2 AND shard = $3 AND problem IS NULL",
        )
        .bind(problem)
        .bind(number as i64)
        .bind(shard.to_string())
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
        transaction.commit().await.map_err(failed)
    }

    /// Ends the reprocessings of which no shard waits, and returns them. A shard that has expired does not wait any more.
    pub async fn finish_reprocessings(&self, group: &str) -> Result<Vec<Reprocessing>, Error> {
        let failed = self.failed("end reprocessings");
        let open: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM reprocessings WHERE finished_ns IS NULL AND consumer_group = $1",
        )
        .bind(group)
        .fetch_one(&self.readers)
        .await
        .map_err(&failed)?;
        if open == 0 {
            return Ok(Vec::new());
        }
        let now = self.clock.now();
        let mut transaction = self.begin("end reprocessings").await?;
        self.lock(&mut transaction, Lock::Endings).await?;
        let gone = "DELETE FROM reprocessing_shards WHERE problem IS NULL \
            AND NOT EXISTS (SELECT id FROM shards WHERE id = shard AND expired_ns IS NULL)";
        sqlx::query(gone).execute(&mut *transaction).await.map_err(&failed)?;
        let mut query = Query::new("UPDATE reprocessings SET finished_ns = ");
        query.bind(now.0).push(" WHERE finished_ns IS NULL AND consumer_group = ").bind(group);
        query
            .push(" AND NOT EXISTS (SELECT shard FROM reprocessing_shards AS waiting WHERE problem IS NULL ");
        query.push("AND waiting.number = reprocessings.number) RETURNING number");
        let ended: Vec<(i64,)> = query.build_as().fetch_all(&mut *transaction).await.map_err(&failed)?;
        let mut finished = Vec::with_capacity(ended.len());
        for (number,) in ended {
            finished.extend(self.read_reprocessings(&mut transaction, group, Some(number)).await?);
        }
        transaction.commit().await.map_err(failed)?;
        Ok(finished)
    }

    /// What a replacement means for shards that wait: those that were made again are counted, the others wait as what they became.
    pub(crate) async fn carry_reprocessings(
        &self,
        transaction: &mut Transaction,
        replacement: &Replacement,
        removed: &[ShardMeta],
    ) -> Result<(), Error> {
        let failed = self.failed("carry reprocessings over");
        let mut numbers = BTreeSet::new();
        for some in removed.chunks(IDS_A_STATEMENT) {
            let mut query = Query::new("DELETE FROM reprocessing_shards WHERE problem IS NULL");
            query.push_in(" AND shard", some.iter().map(|shard| shard.id.to_string()));
            query.push(" RETURNING number");
            let waited: Vec<(i64,)> =
                query.build_as().fetch_all(&mut **transaction).await.map_err(&failed)?;
            numbers.extend(waited.into_iter().map(|(number,)| number));
        }
        if let Some(own) = replacement.reprocessing {
            numbers.remove(&(own as i64));
            let records: u64 = removed.iter().map(|shard| shard.records).sum();
            sqlx::query(
                "UPDATE reprocessings SET shards = shards + $1, records = records + $2 WHERE number = $3",
            )
            .bind(removed.len() as i64)
            .bind(records as i64)
            .bind(own as i64)
            .execute(&mut **transaction)
            .await
            .map_err(&failed)?;
        }
        for number in numbers {
            for added in &replacement.added {
                sqlx::query("INSERT INTO reprocessing_shards (number, shard) VALUES ($1, $2)")
                    .bind(number)
                    .bind(added.id.to_string())
                    .execute(&mut **transaction)
                    .await
                    .map_err(&failed)?;
            }
        }
        Ok(())
    }

    async fn read_reprocessings(
        &self,
        transaction: &mut Transaction,
        group: &str,
        number: Option<i64>,
    ) -> Result<Vec<Reprocessing>, Error> {
        let count = |which: &str| {
            format!(
                "(SELECT COUNT(*) FROM reprocessing_shards AS counted \
                 WHERE counted.number = reprocessings.number AND problem IS {which})"
            )
        };
        let mut query = Query::new(format!(
            "SELECT number, stream, from_ns, to_ns, asked, shards, records, requested_ns, finished_ns, {} AS waiting, \
             {} AS refused FROM reprocessings WHERE consumer_group = ",
            count("NULL"),
            count("NOT NULL")
        ));
        query.bind(group);
        if let Some(number) = number {
            query.push(" AND number = ").bind(number);
        }
        query.push(" ORDER BY number DESC");
        let rows: Vec<Stored> = query
            .build_as()
            .fetch_all(&mut **transaction)
            .await
            .map_err(self.failed("read reprocessings"))?;
        let mut all = Vec::with_capacity(rows.len());
        for row in rows {
            let stream = row.stream.map(|stream| stream.parse()).transpose();
            let refusals =
                if row.refused > 0 { self.read_refusals(transaction, row.number).await? } else { Vec::new() };
            all.push(Reprocessing {
                number: row.number as u64,
                stream: stream.map_err(self.unreadable("a reprocessing's stream"))?,
                range: TimeRange { from: Timestamp(row.from_ns), to: Timestamp(row.to_ns) },
                asked: row.asked as u64,
                shards: row.shards as u64,
                records: row.records as u64,
                waiting: row.waiting as u64,
                refused: row.refused as u64,
                refusals,
                requested: Timestamp(row.requested_ns),
                finished: row.finished_ns.map(Timestamp),
            });
        }
        Ok(all)
    }

    async fn read_refusals(&self, transaction: &mut Transaction, number: i64) -> Result<Vec<Refusal>, Error> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT shard, problem FROM reprocessing_shards WHERE number = $1 AND problem IS NOT NULL \
             ORDER BY shard LIMIT $2",
        )
        .bind(number)
        .bind(NAMED)
        .fetch_all(&mut **transaction)
        .await
        .map_err(self.failed("read refusals"))?;
        rows.into_iter()
            .map(|(shard, problem)| {
                Ok(Refusal { shard: shard.parse().map_err(self.unreadable("a shard's id"))?, problem })
            })
            .collect()
    }
}
