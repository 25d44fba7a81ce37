//! What each host has brought to each stream, by the day on which it was taken in: what quotas go by, and who costs what.

use crate::{Catalogue, Cut, Error, ROWS_A_STATEMENT, Transaction, database::storable, query::Query};
use millrace_model::{Partition, StreamName, Timestamp};
use sqlx::FromRow;
use std::ops::AddAssign;

/// How many days are kept.
pub const TRAFFIC_DAYS: i64 = 400;
const DAY_NS: i64 = 86_400_000_000_000;

/// What was brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// Records that were taken in.
    pub records: u64,
    /// The bytes of their messages, before compression.
    pub bytes: u64,
    /// The bytes of messages beyond a quota: kept aside as dead letters.
    pub held_bytes: u64,
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.held_bytes += other.held_bytes;
    }
}

/// A day, in UTC: days since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i64);

impl Day {
    /// The day of an instant.
    pub const fn of(time: Timestamp) -> Self {
        Self(time.0.div_euclid(DAY_NS))
    }

    /// Its first instant.
    pub const fn start(self) -> Timestamp {
        Timestamp(self.0.saturating_mul(DAY_NS))
    }
}

/// Who brought something, and when.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Brought {
    /// On which day it was taken in.
    pub day: Day,
    /// Through which partition.
    pub partition: Partition,
    /// To which stream.
    pub stream: StreamName,
    /// The host, as its records say; empty: they do not say.
    pub host: String,
}

/// What a host brought to a stream on a day, through all partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traffic {
    /// The day.
    pub day: Day,
    /// The stream.
    pub stream: StreamName,
    /// The host.
    pub host: String,
    /// How much.
    pub amount: Amount,
}

#[derive(FromRow)]
struct Stored {
    day: i64,
    stream: String,
    host: String,
    records: i64,
    bytes: i64,
    held_bytes: i64,
}

impl Catalogue {
    /// What was brought since a day, by day, stream and host.
    pub async fn traffic(&self, group: &str, since: Day) -> Result<Vec<Traffic>, Error> {
        let rows: Vec<Stored> = sqlx::query_as(
            "SELECT day, stream, host, CAST(SUM(records) AS BIGINT) AS records, CAST(SUM(bytes) AS BIGINT) AS bytes, \
             CAST(SUM(held_bytes) AS BIGINT) AS held_bytes FROM traffic \
             WHERE consumer_group = $1 AND day >= $2 GROUP BY day, stream, host",
        )
        .bind(group)
        .bind(since.0)
        .fetch_all(&self.readers)
        .await
        .map_err(self.failed("read what was brought"))?;
        let read = |row: Stored| {
            Ok(Traffic {
                day: Day(row.day),
                stream: row.stream.parse().map_err(self.unreadable("a stream's name"))?,
                host: row.host,
                amount: Amount {
                    records: row.records as u64,
                    bytes: row.bytes as u64,
                    held_bytes: row.held_bytes as u64,
                },
            })
        };
        let mut traffic = rows.into_iter().map(read).collect::<Result<Vec<_>, Error>>()?;
        traffic.sort_unstable_by(|a, b| (a.day, &a.stream, &a.host).cmp(&(b.day, &b.stream, &b.host)));
        Ok(traffic)
    }

    /// Forgets what was brought more than [`TRAFFIC_DAYS`] ago. Returns how many rows that were.
    pub async fn forget_traffic(&self, group: &str) -> Result<u64, Error> {
        let failed = self.failed("forget what was brought long ago");
        let mut transaction = self.begin("forget what was brought long ago").await?;
        let gone = sqlx::query("DELETE FROM traffic WHERE consumer_group = $1 AND day < $2")
            .bind(group)
            .bind(Day::of(self.clock.now()).0 - TRAFFIC_DAYS)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(gone.rows_affected())
    }

    /// Adds what a cut has brought to what was brought before.
    pub(crate) async fn add_traffic(&self, transaction: &mut Transaction, cut: &Cut) -> Result<(), Error> {
        let rows: Vec<(&Brought, &Amount)> = cut.traffic.iter().collect();
        for some in rows.chunks(ROWS_A_STATEMENT) {
            let mut query = Query::new(
                "INSERT INTO traffic (consumer_group, day, topic, partition, stream, host, records, bytes, held_bytes) \
                 VALUES ",
            );
            for (at, (brought, amount)) in some.iter().enumerate() {
                query.push(if at == 0 { "" } else { ", " });
                query.push_row([
                    cut.group.as_str().into(),
                    brought.day.0.into(),
                    cut.topic.as_str().into(),
                    i64::from(brought.partition.0).into(),
                    brought.stream.as_str().into(),
                    storable(&brought.host).into(),
                    (amount.records as i64).into(),
                    (amount.bytes as i64).into(),
                    (amount.held_bytes as i64).into(),
                ]);
            }
            query.push(
                " ON CONFLICT (consumer_group, day, topic, partition, stream, host) DO UPDATE SET \
                 records = traffic.records + excluded.records, bytes = traffic.bytes + excluded.bytes, \
                 held_bytes = traffic.held_bytes + excluded.held_bytes",
            );
            query.build().execute(&mut **transaction).await.map_err(self.failed("add what was brought"))?;
        }
        Ok(())
    }
}
