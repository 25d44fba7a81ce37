//! What the topic lost: offsets of a partition that its own retention removed before the group had read them, and a
//! partition that was found to end before where it stood. Each is a row here and a link of the partition's trail, written in
//! the transaction that moves the partition over it.

use crate::{Catalogue, Error, PartitionRow, TrailEvent, Transaction, partitions::Place};
use millrace_model::{OffsetRange, Partition, Timestamp, TopicId};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;

/// Why offsets are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoleKind {
    /// The topic removed them before the group had read them.
    Removed,
    /// They were published, and then the topic lost them, and with them perhaps what came behind: it ended at `from` where the
    /// partition stood at `to`.
    SteppedBack,
}

/// Offsets of a partition that its topic does not have any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OffsetHole {
    /// The topic.
    pub topic: String,
    /// The id under which the offsets count, where there is one.
    pub topic_id: Option<TopicId>,
    /// The partition.
    pub partition: Partition,
    /// The number of the link that tells of it in the partition's trail.
    pub sequence: u64,
    /// Why.
    pub kind: HoleKind,
    /// The first of them.
    pub from: i64,
    /// The first one behind them.
    pub to: i64,
    /// When it was found.
    pub noted: Timestamp,
}

#[derive(FromRow)]
struct Stored {
    topic: String,
    partition: i32,
    sequence: i64,
    kind: String,
    topic_id: Option<String>,
    from_offset: i64,
    to_offset: i64,
    noted_ns: i64,
}

#[derive(FromRow)]
struct Former {
    topic: String,
    partition: i32,
    topic_id: String,
    next_offset: Option<i64>,
}

/// How far a group has come in each partition of each incarnation of its topics, and what it will never read.
#[derive(Debug, Clone, Default)]
pub struct Reached {
    partitions: Vec<PartitionRow>,
    /// How far it had come where it begins anew since: topic, partition, the id then, the offset.
    former: Vec<(String, Partition, Option<TopicId>, i64)>,
    holes: Vec<OffsetHole>,
}

impl Reached {
    /// Has the group published all messages of these offsets? Not where it has not come so far, and not where a part of them was
    /// removed unread.
    pub fn covers(&self, range: &OffsetRange) -> bool {
        let present = |row: &PartitionRow| {
            row.topic == range.topic
                && row.partition == range.partition
                // An id is learned after the first offsets were published without one.
                && (row.topic_id == range.topic_id || range.topic_id.is_none())
                && row.next_offset >= Some(range.to)
        };
        let former = |(topic, partition, topic_id, next): &(String, Partition, Option<TopicId>, i64)| {
            *topic == range.topic
                && *partition == range.partition
                && *topic_id == range.topic_id
                && *next >= range.to
        };
        let lacks = |hole: &OffsetHole| {
            hole.kind == HoleKind::Removed
                && hole.topic == range.topic
                && hole.partition == range.partition
                && (hole.topic_id == range.topic_id || range.topic_id.is_none())
                && hole.from < range.to
                && range.from < hole.to
        };
        let reached = self.partitions.iter().any(present) || self.former.iter().any(former);
        reached && !self.holes.iter().any(lacks)
    }
}

impl Catalogue {
    /// What topics lost of a group's partitions, by topic, partition and the order in which it was found.
    pub async fn holes(&self, group: &str) -> Result<Vec<OffsetHole>, Error> {
        let mut transaction = self.begin_read("read holes").await?;
        self.holes_in(&mut transaction, group).await
    }

    pub(crate) async fn holes_in(
        &self,
        transaction: &mut Transaction,
        group: &str,
    ) -> Result<Vec<OffsetHole>, Error> {
        let rows: Vec<Stored> = sqlx::query_as(
            "SELECT topic, partition, sequence, kind, topic_id, from_offset, to_offset, noted_ns FROM holes \
             WHERE consumer_group = $1",
        )
        .bind(group)
        .fetch_all(&mut **transaction)
        .await
        .map_err(self.failed("read holes"))?;
        let mut holes = rows.into_iter().map(|row| self.hole(row)).collect::<Result<Vec<_>, _>>()?;
        holes.sort_unstable_by(|a, b| {
            (&a.topic, a.partition, a.sequence).cmp(&(&b.topic, b.partition, b.sequence))
        });
        Ok(holes)
    }

    fn hole(&self, row: Stored) -> Result<OffsetHole, Error> {
        let kind = serde_json::from_value(row.kind.into()).map_err(self.unreadable("a hole's kind"))?;
        Ok(OffsetHole {
            topic: row.topic,
            topic_id: self.topic_id(row.topic_id.as_deref())?,
            partition: Partition(row.partition),
            sequence: row.sequence as u64,
            kind,
            from: row.from_offset,
            to: row.to_offset,
            noted: Timestamp(row.noted_ns),
        })
    }

    /// How far a group has come, at one instant.
    pub async fn reached(&self, group: &str) -> Result<Reached, Error> {
        let mut transaction = self.begin_read("read how far a group has come").await?;
        let retired: Vec<Former> = sqlx::query_as(
            "SELECT topic, partition, topic_id, next_offset FROM partition_history WHERE consumer_group = $1",
        )
        .bind(group)
        .fetch_all(&mut *transaction)
        .await
        .map_err(self.failed("read former partitions"))?;
        let holes = self.holes_in(&mut transaction, group).await?;
        let mut former = Vec::new();
        for Former { topic, partition, topic_id, next_offset } in retired {
            let Some(next) = next_offset else { continue };
            former.push((topic, Partition(partition), self.topic_id(Some(&topic_id))?, next));
        }
        let stood = holes.iter().filter(|hole| hole.kind == HoleKind::SteppedBack);
        former.extend(stood.map(|hole| (hole.topic.clone(), hole.partition, hole.topic_id, hole.to)));
        Ok(Reached { partitions: self.partition_rows(&mut transaction, group).await?, former, holes })
    }

    /// Writes a hole down, with the link that tells of it.
    pub(crate) async fn add_hole(
        &self,
        transaction: &mut Transaction,
        place: Place<'_>,
        topic_id: Option<TopicId>,
        event: TrailEvent,
        now: Timestamp,
    ) -> Result<(), Error> {
        let Some((kind, from, to)) = event.hole() else { return Ok(()) };
        let sequence = self.append(transaction, place, now, event).await?;
        let kind = serde_json::to_value(kind).map_err(self.unreadable("a hole's kind"))?;
        sqlx::query(
            "INSERT INTO holes (consumer_group, topic, partition, sequence, kind, topic_id, from_offset, to_offset, noted_ns) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(place.group)
        .bind(place.topic)
        .bind(place.partition.0)
        .bind(sequence)
        .bind(kind.as_str().map(str::to_owned))
        .bind(topic_id.map(|id| id.to_string()))
        .bind(from)
        .bind(to)
        .bind(now.0)
        .execute(&mut **transaction)
        .await
        .map_err(self.failed("write a hole down"))?;
        Ok(())
    }
}
