//! Who owns a partition, and where it stands. Owning is an epoch: it rises with every assignment, and whoever holds an
//! older one can publish nothing.

use crate::{Catalogue, Error, TrailEvent, Transaction};
use millrace_model::{Partition, Timestamp, TopicId};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;

/// What an owner is given with a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ownership {
    /// The partition.
    pub partition: Partition,
    /// The owner's epoch: to be shown with every publish.
    pub epoch: u64,
    /// The first offset that is not published; `None`: nothing was ever published, begin at the earliest.
    pub next_offset: Option<i64>,
    /// The topic was deleted and created again since the last owner.
    pub recreated: bool,
}

/// Where a partition stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionRow {
    /// The topic.
    pub topic: String,
    /// Which incarnation of it, where that is known.
    pub topic_id: Option<TopicId>,
    /// The partition.
    pub partition: Partition,
    /// The first offset that is not published.
    pub next_offset: Option<i64>,
    /// The present owner's epoch.
    pub owner_epoch: u64,
    /// The present owner.
    pub owner: String,
}

#[derive(FromRow)]
struct Raised {
    topic_id: Option<String>,
    next_offset: Option<i64>,
    owner_epoch: i64,
}

#[derive(FromRow)]
struct Stored {
    topic: String,
    topic_id: Option<String>,
    partition: i32,
    next_offset: Option<i64>,
    owner_epoch: i64,
    owner: String,
}

/// A partition by all its names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) group: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) partition: Partition,
}

impl Catalogue {
    /// Makes `owner` the owner of `partitions`: raises their epochs and reads their next offsets, in one transaction.
    /// From here on every earlier owner's publish is fenced.
    ///
    /// A topic id is what the topic itself says it is, where that is known. If the row knows another one, the topic was
    /// deleted and created again: the partition begins anew, and what its row said is kept as history.
    pub async fn acquire(
        &self,
        group: &str,
        topic: &str,
        partitions: &[(Partition, Option<TopicId>)],
        owner: &str,
    ) -> Result<Vec<Ownership>, Error> {
        let now = self.clock.now();
        let mut transaction = self.begin("acquire partitions").await?;
        let mut owned = Vec::with_capacity(partitions.len());
        let mut partitions = partitions.to_vec();
        partitions.sort_unstable_by_key(|(partition, _)| *partition);
        for (partition, topic_id) in &partitions {
            let place = Place { group, topic, partition: *partition };
            owned.push(self.acquire_one(&mut transaction, place, *topic_id, owner, now).await?);
        }
        transaction.commit().await.map_err(self.failed("acquire partitions"))?;
        Ok(owned)
    }

    async fn acquire_one(
        &self,
        transaction: &mut Transaction,
        place: Place<'_>,
        topic_id: Option<TopicId>,
        owner: &str,
        now: Timestamp,
    ) -> Result<Ownership, Error> {
        let failed = self.failed("acquire a partition");
        // Insert or raise first: on a database with row locks, that takes the row's before anything is read from it.
        let row: Raised = sqlx::query_as(
            "INSERT INTO partitions (consumer_group, topic, partition, owner_epoch, owner, acquired_ns) \
             VALUES ($1, $2, $3, 1, $4, $5) \
             ON CONFLICT (consumer_group, topic, partition) DO UPDATE SET \
             owner_epoch = partitions.owner_epoch + 1, owner = excluded.owner, acquired_ns = excluded.acquired_ns \
             RETURNING topic_id, next_offset, owner_epoch",
        )
        .bind(place.group)
        .bind(place.topic)
        .bind(place.partition.0)
        .bind(owner)
        .bind(now.0)
        .fetch_one(&mut **transaction)
        .await
        .map_err(&failed)?;
        let known = self.topic_id(row.topic_id.as_deref())?;
        let epoch = row.owner_epoch as u64;
        let mut next_offset = row.next_offset;
        let mut recreated = false;
        match (known, topic_id) {
            (Some(previous), Some(topic_id)) if previous != topic_id => {
                self.retire(transaction, place, previous, &row, now).await?;
                let event = TrailEvent::Recreated { topic_id, previous, next_offset };
                self.append(transaction, place, now, event).await?;
                self.set_topic_id(transaction, place, topic_id, None).await?;
                next_offset = None;
                recreated = true;
            }
            (None, Some(topic_id)) => self.set_topic_id(transaction, place, topic_id, next_offset).await?,
            _ => {}
        }
        Ok(Ownership { partition: place.partition, epoch, next_offset, recreated })
    }

    async fn retire(
        &self,
        transaction: &mut Transaction,
        place: Place<'_>,
        previous: TopicId,
        row: &Raised,
        now: Timestamp,
    ) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO partition_history \
             (consumer_group, topic, partition, topic_id, next_offset, owner_epoch, retired_ns) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(place.group)
        .bind(place.topic)
        .bind(place.partition.0)
        .bind(previous.to_string())
        .bind(row.next_offset)
        .bind(row.owner_epoch)
        .bind(now.0)
        .execute(&mut **transaction)
        .await
        .map_err(self.failed("retire a recreated topic's partition"))?;
        Ok(())
    }

    async fn set_topic_id(
        &self,
        transaction: &mut Transaction,
        place: Place<'_>,
        topic_id: TopicId,
        next_offset: Option<i64>,
    ) -> Result<(), Error> {
        sqlx::query(
            "UPDATE partitions SET topic_id = $1, next_offset = $2 \
             WHERE consumer_group = $3 AND topic = $4 AND partition = $5",
        )
        .bind(topic_id.to_string())
        .bind(next_offset)
        .bind(place.group)
        .bind(place.topic)
        .bind(place.partition.0)
        .execute(&mut **transaction)
        .await
        .map_err(self.failed("store a topic's id"))?;
        Ok(())
    }

    /// The partitions of a group, as one transaction sees them.
    pub(crate) async fn partition_rows(
        &self,
        transaction: &mut Transaction,
        group: &str,
    ) -> Result<Vec<PartitionRow>, Error> {
        let rows: Vec<Stored> = sqlx::query_as(
            "SELECT topic, topic_id, partition, next_offset, owner_epoch, owner FROM partitions \
             WHERE consumer_group = $1",
        )
        .bind(group)
        .fetch_all(&mut **transaction)
        .await
        .map_err(self.failed("read partitions"))?;
        let mut partitions = rows
            .into_iter()
            .map(|row| {
                Ok(PartitionRow {
                    topic_id: self.topic_id(row.topic_id.as_deref())?,
                    topic: row.topic,
                    partition: Partition(row.partition),
                    next_offset: row.next_offset,
                    owner_epoch: row.owner_epoch as u64,
                    owner: row.owner,
                })
            })
            .collect::<Result<Vec<_>, Error>>()?;
        partitions.sort_unstable_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        Ok(partitions)
    }

    fn topic_id(&self, text: Option<&str>) -> Result<Option<TopicId>, Error> {
        text.map(str::parse).transpose().map_err(self.unreadable("a topic's id"))
    }
}
