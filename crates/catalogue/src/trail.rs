//! The trail: what was published, merged, made again, expired, lost by the topic and begun anew, as one hash chain per (group, topic,
//! partition).
//!
//! A row's hash is SHA-256 over the hash of the row before (64 zeros before the first) and the entry's JSON, byte for
//! byte. The entry names its own place and number, so that no row can be changed, left out from the middle or moved
//! without [`TrailCheck`] noticing; what is cut off at the end shows against the partition's row. Besides, the events must
//! make sense: offsets follow on, and a shard ends once, after it began.

use crate::{Catalogue, Error, HoleKind, Transaction, partitions::Place};
use millrace_model::{Partition, ShardId, ShardMeta, StreamName, TimeRange, Timestamp, TopicId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::FromRow;
use std::{collections::BTreeMap, fmt::Write};

const BEFORE_THE_FIRST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What happened to a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TrailEvent {
    /// A cut moved it.
    Published {
        /// The owner's epoch.
        epoch: u64,
        /// Where it stood.
        from: Option<i64>,
        /// Where it stands from here on.
        to: i64,
        /// The shards that hold rows of it.
        shards: Vec<TrailShard>,
    },
    /// Shards with rows of it grew too old.
    Expired {
        /// The stream.
        stream: StreamName,
        /// Their latest records were older than this.
        older_than: Timestamp,
        /// Which shards.
        shards: Vec<ShardId>,
    },
    /// Its stream took more room than it may: the oldest shards with rows of the partition ended.
    Outgrown {
        /// The stream.
        stream: StreamName,
        /// What it may take, in bytes.
        bytes: u64,
        /// Which shards.
        shards: Vec<ShardId>,
    },
    /// Records of a stream are to be deleted; merges that leave out records carry it out.
    DeletionRequested {
        /// The deletion's number.
        number: u64,
        /// The stream.
        stream: StreamName,
        /// The SHA-256 of the filter.
        filter_sha256: String,
        /// Of which time.
        range: TimeRange,
    },
    /// Shards with rows of it were replaced by others that hold the same records.
    Merged {
        /// The stream.
        stream: StreamName,
        /// The shards with rows of this partition that ended.
        removed: Vec<ShardId>,
        /// The shards that hold these rows from here on.
        added: Vec<TrailShard>,
        /// How many records were left out on purpose, of all partitions.
        deleted: u64,
    },
    /// Shards with rows of it were replaced by others that were made of what the topic says, with the same records.
    Reprocessed {
        /// The reprocessing's number: the epoch of what was made.
        number: u64,
        /// The stream.
        stream: StreamName,
        /// The shards with rows of this partition that ended.
        removed: Vec<ShardId>,
        /// The shards that hold these rows from here on.
        added: Vec<TrailShard>,
    },
    /// The topic was found to have been deleted and created again.
    Recreated {
        /// The new topic.
        topic_id: TopicId,
        /// The old one.
        previous: TopicId,
        /// Where the old one stood.
        next_offset: Option<i64>,
    },
    /// The topic removed messages that were never read: the partition moved over them.
    Removed {
        /// The owner's epoch.
        epoch: u64,
        /// The first of them: where it stood, or where it once began.
        from: i64,
        /// Where it stands from here on.
        to: i64,
    },
    /// The topic was found to end before where the partition stood: it has lost its end, or is another one.
    SteppedBack {
        /// The owner's epoch.
        epoch: u64,
        /// Where it stood.
        from: i64,
        /// Where the topic ended.
        end: i64,
        /// Where it stands from here on.
        to: i64,
        /// The id under which its offsets count from here on.
        topic_id: TopicId,
    },
}

impl TrailEvent {
    /// Which offsets the topic does not have any more, if it tells of that: why, the first, the first behind them.
    pub(crate) fn hole(&self) -> Option<(HoleKind, i64, i64)> {
        match self {
            Self::Removed { from, to, .. } => Some((HoleKind::Removed, *from, *to)),
            Self::SteppedBack { from, end, .. } => Some((HoleKind::SteppedBack, *end, *from)),
            _ => None,
        }
    }
}

/// A shard as the trail remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrailShard {
    /// Its id.
    pub id: ShardId,
    /// The hash of its bundle.
    pub sha256: String,
    /// How many records it holds, of all partitions.
    pub records: u64,
}

impl From<&ShardMeta> for TrailShard {
    fn from(shard: &ShardMeta) -> Self {
        Self { id: shard.id, sha256: shard.sha256.clone(), records: shard.records }
    }
}

/// One link: an event, its place and its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrailEntry {
    /// The consumer group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: Partition,
    /// Counts from 1.
    pub sequence: u64,
    /// When it was written.
    pub at: Timestamp,
    /// What happened.
    pub event: TrailEvent,
}

/// A link as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrailRow {
    /// The consumer group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: Partition,
    /// Counts from 1.
    pub sequence: u64,
    /// JSON of a [`TrailEntry`]: the bytes that were hashed.
    pub entry: String,
    /// 64 hexadecimal digits.
    pub hash: String,
}

/// What a verified chain comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrailHead {
    /// The last link's number.
    pub sequence: u64,
    /// Its hash.
    pub hash: String,
    /// Where the partition must stand: compare it with the partition's row.
    pub next_offset: Option<i64>,
}

/// Where a chain breaks. The sequence is that of the first bad link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrailFault {
    /// A link is missing, or was put in.
    #[error("link {expected} expected, found link {found}")]
    Sequence {
        /// The number that comes next.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// A link was changed, or the one before it was.
    #[error("link {sequence}: its hash does not follow from its content and the link before")]
    Hash {
        /// Which.
        sequence: u64,
    },
    /// A link is not JSON of an entry.
    #[error("link {sequence} cannot be read: {problem}")]
    Unreadable {
        /// Which.
        sequence: u64,
        /// Why.
        problem: String,
    },
    /// A link belongs to another chain.
    #[error("link {sequence} was written for {found}")]
    Misplaced {
        /// Which.
        sequence: u64,
        /// The place that it names.
        found: String,
    },
    /// A partition is moved from elsewhere than where the link before left it.
    #[error("link {sequence} moves it on from {found:?}, the partition stood at {expected:?}")]
    Gap {
        /// Which.
        sequence: u64,
        /// Where the partition stood.
        expected: Option<i64>,
        /// Where the move begins.
        found: Option<i64>,
    },
    /// A shard ends that is not there: it never began, or it has ended before.
    #[error("link {sequence} ends shard {shard}, which is not there")]
    NotLive {
        /// Which.
        sequence: u64,
        /// The first such shard.
        shard: ShardId,
    },
    /// A shard begins that is there already.
    #[error("link {sequence} adds shard {shard}, which is there already")]
    AlreadyLive {
        /// Which.
        sequence: u64,
        /// The first such shard.
        shard: ShardId,
    },
}

/// Checks one chain link by link, so that a long one need not be held in memory: only what it says of live shards is.
#[derive(Debug, Clone, Default)]
pub struct TrailCheck {
    head: Option<TrailHead>,
    live: BTreeMap<ShardId, TrailShard>,
    holes: Vec<(u64, HoleKind, i64, i64)>,
}

impl TrailCheck {
    /// Checks the next link, and hands out what it says.
    pub fn accept(&mut self, row: &TrailRow) -> Result<TrailEntry, TrailFault> {
        let sequence = row.sequence;
        let expected = self.head.as_ref().map_or(1, |head| head.sequence + 1);
        if sequence != expected {
            return Err(TrailFault::Sequence { expected, found: sequence });
        }
        let previous = self.head.as_ref().map_or(BEFORE_THE_FIRST, |head| &head.hash);
        if link_hash(previous, &row.entry) != row.hash {
            return Err(TrailFault::Hash { sequence });
        }
        let entry: TrailEntry = serde_json::from_str(&row.entry)
            .map_err(|error| TrailFault::Unreadable { sequence, problem: error.to_string() })?;
        let placed = entry.group == row.group
            && entry.topic == row.topic
            && entry.partition == row.partition
            && entry.sequence == sequence;
        if !placed {
            let found =
                format!("{}/{}/{}, link {}", entry.group, entry.topic, entry.partition, entry.sequence);
            return Err(TrailFault::Misplaced { sequence, found });
        }
        let stood = self.head.as_ref().and_then(|head| head.next_offset);
        let next_offset = match &entry.event {
            TrailEvent::Published { from, .. } if *from != stood => {
                return Err(TrailFault::Gap { sequence, expected: stood, found: *from });
            }
            TrailEvent::Published { to, shards, .. } => {
                self.change(sequence, &[], shards)?;
                Some(*to)
            }
            TrailEvent::Expired { shards, .. } | TrailEvent::Outgrown { shards, .. } => {
                self.change(sequence, shards, &[])?;
                stood
            }
            TrailEvent::Merged { removed, added, .. } | TrailEvent::Reprocessed { removed, added, .. } => {
                self.change(sequence, removed, added)?;
                stood
            }
            TrailEvent::DeletionRequested { .. } => stood,
            TrailEvent::Recreated { .. } => None,
            // Before the first publish it stands nowhere, though it has begun somewhere.
            TrailEvent::Removed { from, to, .. } if stood.is_none_or(|stood| stood == *from) => Some(*to),
            TrailEvent::SteppedBack { from, to, .. } if stood == Some(*from) => Some(*to),
            TrailEvent::Removed { from, .. } | TrailEvent::SteppedBack { from, .. } => {
                return Err(TrailFault::Gap { sequence, expected: stood, found: Some(*from) });
            }
        };
        self.holes.extend(entry.event.hole().map(|(kind, from, to)| (sequence, kind, from, to)));
        self.head = Some(TrailHead { sequence, hash: row.hash.clone(), next_offset });
        Ok(entry)
    }

    /// The shards that end were live, those that begin were not.
    fn change(&mut self, sequence: u64, ended: &[ShardId], begun: &[TrailShard]) -> Result<(), TrailFault> {
        for shard in ended {
            if self.live.remove(shard).is_none() {
                return Err(TrailFault::NotLive { sequence, shard: *shard });
            }
        }
        for shard in begun {
            if self.live.insert(shard.id, shard.clone()).is_some() {
                return Err(TrailFault::AlreadyLive { sequence, shard: shard.id });
            }
        }
        Ok(())
    }

    /// The shards that hold rows of the partition after the last verified link, as the trail remembers them: compare
    /// them with the catalogue's.
    pub fn live(&self) -> &BTreeMap<ShardId, TrailShard> {
        &self.live
    }

    /// What the topic lost, as the trail has it: the link's number, why, the first offset, the first behind them.
    pub(crate) fn holes(&self) -> &[(u64, HoleKind, i64, i64)] {
        &self.holes
    }

    /// What has been verified so far; `None`: no link yet.
    pub fn head(&self) -> Option<&TrailHead> {
        self.head.as_ref()
    }
}

/// Checks a whole chain, from its first link.
pub fn verify_trail(rows: &[TrailRow]) -> Result<Option<TrailHead>, TrailFault> {
    let mut check = TrailCheck::default();
    for row in rows {
        check.accept(row)?;
    }
    Ok(check.head)
}

pub(crate) fn link_hash(previous: &str, entry: &str) -> String {
    let digest = Sha256::new().chain_update(previous).chain_update(entry).finalize();
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing into a string cannot fail.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

#[derive(FromRow)]
struct Stored {
    sequence: i64,
    entry: String,
    hash: String,
}

impl Catalogue {
    /// The links of one chain after `after` (0: from the first), in order, at most `limit`.
    pub async fn trail(
        &self,
        group: &str,
        topic: &str,
        partition: Partition,
        after: u64,
        limit: u32,
    ) -> Result<Vec<TrailRow>, Error> {
        let rows: Vec<Stored> = sqlx::query_as(
            "SELECT sequence, entry, hash FROM trail \
             WHERE consumer_group = $1 AND topic = $2 AND partition = $3 AND sequence > $4 \
             ORDER BY sequence LIMIT $5",
        )
        .bind(group)
        .bind(topic)
        .bind(partition.0)
        .bind(after as i64)
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await
        .map_err(self.failed("read the trail"))?;
        Ok(rows
            .into_iter()
            .map(|Stored { sequence, entry, hash }| TrailRow {
                group: group.to_owned(),
                topic: topic.to_owned(),
                partition,
                sequence: sequence as u64,
                entry,
                hash,
            })
            .collect())
    }

    /// Adds a link to a partition's chain, and returns its number.
    pub(crate) async fn append(
        &self,
        transaction: &mut Transaction,
        place: Place<'_>,
        at: Timestamp,
        event: TrailEvent,
    ) -> Result<i64, Error> {
        self.lock_partition(transaction, place).await?;
        let failed = self.failed("append to the trail");
        let last: Option<(i64, String)> = sqlx::query_as(
            "SELECT sequence, hash FROM trail WHERE consumer_group = $1 AND topic = $2 AND partition = $3 \
             ORDER BY sequence DESC LIMIT 1",
        )
        .bind(place.group)
        .bind(place.topic)
        .bind(place.partition.0)
        .fetch_optional(&mut **transaction)
        .await
        .map_err(&failed)?;
        let (last, previous) = last.unwrap_or((0, BEFORE_THE_FIRST.to_owned()));
        let sequence = last + 1;
        let entry = TrailEntry {
            group: place.group.to_owned(),
            topic: place.topic.to_owned(),
            partition: place.partition,
            sequence: sequence as u64,
            at,
            event,
        };
        let entry = serde_json::to_string(&entry).map_err(self.unreadable("a trail entry"))?;
        let hash = link_hash(&previous, &entry);
        sqlx::query(
            "INSERT INTO trail (consumer_group, topic, partition, sequence, entry, hash) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(place.group)
        .bind(place.topic)
        .bind(place.partition.0)
        .bind(sequence)
        .bind(entry)
        .bind(hash)
        .execute(&mut **transaction)
        .await
        .map_err(failed)?;
        Ok(sequence)
    }
}
