//! What a verification compares: partitions, live shards and the heads of all chains, at one instant. It reads; whether
//! things fit together is told by [`TrailCheck`](crate::TrailCheck) and whoever has the bundles.
//!
//! **Invariant:** an [`Account`] is one instant. Links are only ever added, so a chain that is read up to a head of the
//! account later is the chain of that instant.

use crate::{
    Catalogue, Error, OffsetHole, PartitionRow,
    query::Query,
    shards::{COLUMNS, Stored},
};
use millrace_model::{Partition, ShardMeta};
use sqlx::FromRow;
use std::collections::HashSet;

/// Where a chain ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChainEnd {
    /// The topic.
    pub(crate) topic: String,
    /// The partition.
    pub(crate) partition: Partition,
    /// The last link's number.
    pub(crate) sequence: u64,
}

/// One instant of a group, for its verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// Where every partition stands.
    pub(crate) partitions: Vec<PartitionRow>,
    /// The shards that are neither expired nor replaced.
    pub(crate) shards: Vec<ShardMeta>,
    /// Rows of live shards that cannot be understood: which, and why.
    pub(crate) unreadable: Vec<(String, String)>,
    /// Every chain that has a link.
    pub(crate) chains: Vec<ChainEnd>,
    /// What the topic lost.
    pub(crate) holes: Vec<OffsetHole>,
}

#[derive(FromRow)]
struct StoredEnd {
    topic: String,
    partition: i32,
    sequence: i64,
}

impl Catalogue {
    /// What a group's catalogue says at this moment.
    pub(crate) async fn account(&self, group: &str) -> Result<Account, Error> {
        let mut transaction = self.begin_read("read an account").await?;
        let mut query = Query::new(format!("SELECT {COLUMNS} FROM shards WHERE consumer_group = "));
        query.bind(group).push(" AND expired_ns IS NULL ORDER BY id");
        let rows: Vec<Stored> =
            query.build_as().fetch_all(&mut *transaction).await.map_err(self.failed("read shards"))?;
        let (mut shards, mut unreadable) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in rows {
            let id = row.id.clone();
            match self.meta(row) {
                Ok(shard) => shards.push(shard),
                Err(Error::Stored { what, problem, .. }) => {
                    unreadable.push((id, format!("{what}: {problem}")));
                }
                Err(error) => return Err(error),
            }
        }
        let ends: Vec<StoredEnd> = sqlx::query_as(
            "SELECT topic, partition, MAX(sequence) AS sequence FROM trail WHERE consumer_group = $1 \
             GROUP BY topic, partition ORDER BY topic, partition",
        )
        .bind(group)
        .fetch_all(&mut *transaction)
        .await
        .map_err(self.failed("read the trail"))?;
        let chains = ends
            .into_iter()
            .map(|StoredEnd { topic, partition, sequence }| ChainEnd {
                topic,
                partition: Partition(partition),
                sequence: sequence as u64,
            })
            .collect();
        Ok(Account {
            partitions: self.partition_rows(&mut transaction, group).await?,
            shards,
            unreadable,
            chains,
            holes: self.holes_in(&mut transaction, group).await?,
        })
    }

    /// Has nothing ever been done with it? Then no partition has had an owner, no shard was published, nothing was written down.
    pub async fn is_new(&self) -> Result<bool, Error> {
        let used: i64 = sqlx::query_scalar(
            "SELECT (SELECT COUNT(*) FROM partitions) + (SELECT COUNT(*) FROM shards) + (SELECT COUNT(*) FROM documents) \
             + (SELECT COUNT(*) FROM collections)",
        )
        .fetch_one(&self.readers)
        .await
        .map_err(self.failed("look whether it is new"))?;
        Ok(used == 0)
    }

    /// The keys of all bundles that the catalogue has rows for, hidden ones and those of all groups included.
    pub async fn bundle_keys(&self) -> Result<HashSet<String>, Error> {
        let keys: Vec<String> = sqlx::query_scalar("SELECT bundle_key FROM shards")
            .fetch_all(&self.readers)
            .await
            .map_err(self.failed("read the keys of bundles"))?;
        Ok(keys.into_iter().collect())
    }
}
