//! Who owns a partition, and where it stands. Owning is an epoch: it rises with every assignment, and whoever holds an
//! older one can publish nothing.

use crate::{Catalogue, Error, TrailEvent, Transaction};
use millrace_model::{Partition, Timestamp, TopicId};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;

/// A partition to be owned, as the topic has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acquisition {
    /// Which.
    pub partition: Partition,
    /// What the topic itself says it is, where that is known.
    pub topic_id: Option<TopicId>,
    /// The first offset that is still there.
    pub low: i64,
}

/// What an owner is given with a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ownership {
    /// The partition.
    pub partition: Partition,
    /// The owner's epoch: to be shown with every publish.
    pub epoch: u64,
    /// Under which id its offsets count: the topic's, or the one that it has since it stepped back.
    pub topic_id: Option<TopicId>,
    /// The first offset that is not published; `None`: nothing was ever published, begin at the earliest.
    pub next_offset: Option<i64>,
    /// The topic was deleted and created again since the last owner.
    pub recreated: bool,
    /// How many messages the partition just moved over: the topic removed them before they were read.
    pub removed: u64,
    /// The topic says the id that it said before: it is no other one.
    confirmed: bool,
}

impl Ownership {
    /// What becomes of the partition if its topic, *looked at after it was acquired* (a former owner may have read on until
    /// then), begins at `low` and ends at `end`. `None`: nothing, for it does not end before where the partition stands.
    ///
    /// Of a topic that is the same as before all that is left was read, so reading goes on at its end. Where its first
    /// message is there and does not say so it may be another one, of which nothing was read.
    pub fn step_back(&self, low: i64, end: i64) -> Option<StepBack> {
        let from = self.next_offset.filter(|next| *next > end)?;
        let to = if self.confirmed || low > 0 { end } else { low };
        Some(StepBack { partition: self.partition, epoch: self.epoch, from, end, to })
    }

    /// Says what `step` has made true, of which `topic_id` came.
    pub fn stepped(&mut self, step: &StepBack, topic_id: TopicId) {
        self.next_offset = Some(step.to);
        self.topic_id = Some(topic_id);
    }
}

/// A partition whose topic ends before where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepBack {
    /// The partition.
    pub partition: Partition,
    /// The owner's epoch.
    pub epoch: u64,
    /// Where it stands.
    pub from: i64,
    /// Where the topic ends.
    pub end: i64,
    /// Where it is to stand.
    pub to: i64,
}

/// Where a partition stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionRow {
    /// The topic.
    pub topic: String,
    /// Which incarnation of it, where that is known: under which id its offsets count.
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
    incarnation: Option<String>,
    next_offset: Option<i64>,
    first_offset: Option<i64>,
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
    /// If the row knows another id than the topic says, the topic was deleted and created again: the partition begins anew,
    /// and what its row said is kept as history. If the topic begins behind where the partition stands, its messages were
    /// removed unread: the partition moves over them, and they are kept as a [hole](crate::OffsetHole).
    pub async fn acquire(
        &self,
        group: &str,
        topic: &str,
        partitions: &[Acquisition],
        owner: &str,
    ) -> Result<Vec<Ownership>, Error> {
        let now = self.clock.now();
        let mut transaction = self.begin("acquire partitions").await?;
        let mut owned = Vec::with_capacity(partitions.len());
        let mut partitions = partitions.to_vec();
        partitions.sort_unstable_by_key(|wanted| wanted.partition);
        for wanted in &partitions {
            let place = Place { group, topic, partition: wanted.partition };
            owned.push(self.acquire_one(&mut transaction, place, wanted, owner, now).await?);
        }
        transaction.commit().await.map_err(self.failed("acquire partitions"))?;
        Ok(owned)
    }

    async fn acquire_one(
        &self,
        transaction: &mut Transaction,
        place: Place<'_>,
        wanted: &Acquisition,
        owner: &str,
        now: Timestamp,
    ) -> Result<Ownership, Error> {
        let row = self.raise(transaction, place, wanted.low, owner, now).await?;
        let known = self.topic_id(row.topic_id.as_deref())?;
        let incarnation = self.topic_id(row.incarnation.as_deref())?;
        let mut owned = Ownership {
            partition: place.partition,
            epoch: row.owner_epoch as u64,
            topic_id: incarnation.or(known).or(wanted.topic_id),
            next_offset: row.next_offset,
            recreated: false,
            removed: 0,
            confirmed: known.is_some() && known == wanted.topic_id,
        };
        let mut first = row.first_offset;
        match (known, wanted.topic_id) {
            (Some(known), Some(topic_id)) if known != topic_id => {
                let previous = incarnation.unwrap_or(known);
                self.retire(transaction, place, previous, &row, now).await?;
                let event = TrailEvent::Recreated { topic_id, previous, next_offset: row.next_offset };
                self.append(transaction, place, now, event).await?;
                self.begin_anew(transaction, place, topic_id, wanted.low).await?;
                owned = Ownership { topic_id: Some(topic_id), next_offset: None, recreated: true, ..owned };
                first = None;
            }
            (None, Some(topic_id)) => self.set_topic_id(transaction, place, topic_id).await?,
            _ => {}
        }
        if let Some(from) = owned.next_offset.or(first).filter(|stands| *stands < wanted.low) {
            let event = TrailEvent::Removed { epoch: owned.epoch, from, to: wanted.low };
            self.move_over(transaction, place, wanted.low).await?;
            self.add_hole(transaction, place, owned.topic_id, event, now).await?;
            owned.removed = wanted.low.abs_diff(from);
            owned.next_offset = Some(wanted.low);
        }
        Ok(owned)
    }

    /// Raises a partition's epoch; the row is made if there is none. What it says besides is as it was.
    async fn raise(
        &self,
        transaction: &mut Transaction,
        place: Place<'_>,
        low: i64,
        owner: &str,
        now: Timestamp,
    ) -> Result<Raised, Error> {
        // Insert or raise first: on a database with row locks, that takes the row's before anything is read from it.
        sqlx::query_as(
            "INSERT INTO partitions (consumer_group, topic, partition, owner_epoch, owner, acquired_ns, first_offset) \
             VALUES ($1, $2, $3, 1, $4, $5, $6) \
             ON CONFLICT (consumer_group, topic, partition) DO UPDATE SET \
             owner_epoch = partitions.owner_epoch + 1, owner = excluded.owner, acquired_ns = excluded.acquired_ns, \
             first_offset = COALESCE(partitions.first_offset, excluded.first_offset) \
             RETURNING topic_id, incarnation, next_offset, first_offset, owner_epoch",
        )
        .bind(place.group)
        .bind(place.topic)
        .bind(place.partition.0)
        .bind(owner)
        .bind(now.0)
        .bind(low)
        .fetch_one(&mut **transaction)
        .await
        .map_err(self.failed("acquire a partition"))
    }

    /// Takes a partition back to where its topic ends, or to where it begins; its offsets count under a new id from here on,
    /// which is returned. `None`: the partition has another owner by now, or stands elsewhere.
    pub async fn step_back(
        &self,
        group: &str,
        topic: &str,
        step: &StepBack,
    ) -> Result<Option<TopicId>, Error> {
        let now = self.clock.now();
        let mut transaction = self.begin("step back").await?;
        let topic_id = TopicId::random();
        let before: Option<(Option<String>, Option<String>)> = sqlx::query_as(
            "UPDATE partitions SET next_offset = $1 WHERE consumer_group = $2 AND topic = $3 AND partition = $4 \
             AND next_offset = $5 AND owner_epoch = $6 RETURNING topic_id, incarnation",
        )
        .bind(step.to)
        .bind(group)
        .bind(topic)
        .bind(step.partition.0)
        .bind(step.from)
        .bind(step.epoch as i64)
        .fetch_optional(&mut *transaction)
        .await
        .map_err(self.failed("step back"))?;
        let Some((known, incarnation)) = before else { return Ok(None) };
        let place = Place { group, topic, partition: step.partition };
        sqlx::query(
            "UPDATE partitions SET incarnation = $1 WHERE consumer_group = $2 AND topic = $3 AND partition = $4",
        )
        .bind(topic_id.to_string())
        .bind(group)
        .bind(topic)
        .bind(step.partition.0)
        .execute(&mut *transaction)
        .await
        .map_err(self.failed("step back"))?;
        let StepBack { epoch, from, end, to, .. } = *step;
        let event = TrailEvent::SteppedBack { epoch, from, end, to, topic_id };
        let previous = self.topic_id(incarnation.or(known).as_deref())?;
        self.add_hole(&mut transaction, place, previous, event, now).await?;
        transaction.commit().await.map_err(self.failed("step back"))?;
        Ok(Some(topic_id))
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

    /// A topic's partition that was created again: nothing of it is published.
    async fn begin_anew(
        &self,
        transaction: &mut Transaction,
        place: Place<'_>,
        topic_id: TopicId,
        low: i64,
    ) -> Result<(), Error> {
        sqlx::query(
            "UPDATE partitions SET topic_id = $1, incarnation = NULL, next_offset = NULL, first_offset = $2 \
             WHERE consumer_group = $3 AND topic = $4 AND partition = $5",
        )
        .bind(topic_id.to_string())
        .bind(low)
        .bind(place.group)
        .bind(place.topic)
        .bind(place.partition.0)
        .execute(&mut **transaction)
        .await
        .map_err(self.failed("begin a recreated topic's partition anew"))?;
        Ok(())
    }

    async fn set_topic_id(
        &self,
        transaction: &mut Transaction,
        place: Place<'_>,
        topic_id: TopicId,
    ) -> Result<(), Error> {
        sqlx::query(
            "UPDATE partitions SET topic_id = $1 WHERE consumer_group = $2 AND topic = $3 AND partition = $4",
        )
        .bind(topic_id.to_string())
        .bind(place.group)
        .bind(place.topic)
        .bind(place.partition.0)
        .execute(&mut **transaction)
        .await
        .map_err(self.failed("store a topic's id"))?;
        Ok(())
    }

    /// Moves a partition of ours to where its topic begins.
    async fn move_over(
        &self,
        transaction: &mut Transaction,
        place: Place<'_>,
        low: i64,
    ) -> Result<(), Error> {
        sqlx::query(
            "UPDATE partitions SET next_offset = $1 WHERE consumer_group = $2 AND topic = $3 AND partition = $4",
        )
        .bind(low)
        .bind(place.group)
        .bind(place.topic)
        .bind(place.partition.0)
        .execute(&mut **transaction)
        .await
        .map_err(self.failed("move over what was removed"))?;
        Ok(())
    }

    /// The partitions of a group, as one transaction sees them.
    pub(crate) async fn partition_rows(
        &self,
        transaction: &mut Transaction,
        group: &str,
    ) -> Result<Vec<PartitionRow>, Error> {
        let rows: Vec<Stored> = sqlx::query_as(
            "SELECT topic, COALESCE(incarnation, topic_id) AS topic_id, partition, next_offset, owner_epoch, owner \
             FROM partitions WHERE consumer_group = $1",
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

    pub(crate) fn topic_id(&self, text: Option<&str>) -> Result<Option<TopicId>, Error> {
        text.map(str::parse).transpose().map_err(self.unreadable("a topic's id"))
    }
}
