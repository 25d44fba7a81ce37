//! Why a search read what it read: which shards there are, which of them were ruled out and by what, what each of the others
//! said; which leaves were asked, and who answered for which offsets.
//!
//! **Invariant:** nothing of a stream that the request does not grant is in here, not even how much there is of it. What no
//! grant covers is not considered; offsets count the messages of all streams, so only who may see all streams sees them.

use super::{SearchRequest, merge::PartitionKey, plan::Plan};
use crate::{
    INDEXER_GROUP,
    http::described::{self, Time},
    leaves::LeafAnswer,
};
use millrace_catalogue::{Catalogue, Error, PartitionRow};
use millrace_model::{Grant, Partition, ShardMeta, StreamName, Timestamp};
use millrace_store::{ChunksTold, HotPart};
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};
use utoipa::ToSchema;

/// So many shards are told one by one; of the others there are counts.
const SHARDS: usize = 100;

/// See the module.
#[derive(Debug, Clone, PartialEq, Default, Serialize, ToSchema)]
pub struct Explanation {
    /// Published shards.
    pub shards: ShardsTold,
    /// Who was asked for what is not published yet.
    pub leaves: Vec<LeafTold>,
    /// Who answered for which offsets, where the request may see all streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub offsets: Option<Vec<OffsetsTold>>,
}

/// Of the shards of streams that may be seen.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct ShardsTold {
    /// How many there are.
    pub considered: u64,
    /// How many were searched.
    pub searched: u64,
    /// How many could not be searched, and are in `missing`.
    pub failed: u64,
    /// How many were not searched, or found to hold no match before a column was read, by why.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub pruned: BTreeMap<&'static str, u64>,
    /// Those that the catalogue did not rule out, the latest first.
    pub each: Vec<ShardTold>,
    /// How many more of these there are.
    pub left_off: u64,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ShardTold {
    /// Which.
    pub id: String,
    /// Of which stream.
    #[schema(value_type = String)]
    pub stream: StreamName,
    /// When its first record was.
    #[schema(value_type = Time)]
    pub first: Timestamp,
    /// And its last.
    #[schema(value_type = Time)]
    pub last: Timestamp,
    /// How many records it holds, those that are deleted and not purged yet among them.
    pub records: u64,
    /// How large its bundle is.
    pub bytes: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// How many of its records match.
    pub matched: u64,
    /// What had to be read of it, as `scanned_bytes` counts.
    pub scanned_bytes: u64,
    /// How its chunks were dealt with, where it was opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = described::ChunksTold, required = false)]
    pub chunks: Option<ChunksTold>,
    /// From when it was its turn to its answer.
    pub took_ms: u64,
}

/// What became of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was searched.
    Searched,
    /// It was ruled out, by this.
    Pruned(&'static str),
    /// It could not be searched.
    Failed,
}

/// An indexer that was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LeafTold {
    /// Its node.
    pub node: String,
    /// How many of its records match that the answer has.
    pub matched: u64,
    /// What had to be read, as `scanned_bytes` counts.
    pub scanned_bytes: u64,
    /// Why it gave no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub problem: Option<String>,
    /// How long its answer was waited for.
    pub took_ms: u64,
}

/// A partition, and who answered for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct OffsetsTold {
    /// The topic.
    pub topic: String,
    /// The partition.
    #[schema(value_type = i32)]
    pub partition: Partition,
    /// Shards answer for what lies below.
    #[schema(required)]
    pub published: Option<i64>,
    /// Who answered for what lies behind, if anybody did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub held: Option<HeldTold>,
}

/// Offsets of a partition that an indexer answered for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct HeldTold {
    /// Its node.
    pub node: String,
    /// Its epoch.
    pub epoch: u64,
    /// The first that it answered for.
    pub from: i64,
    /// The first behind.
    pub to: i64,
    /// The partition's end as it last saw it.
    pub end: i64,
}

impl ShardTold {
    /// Of a shard that has not been asked.
    pub(super) fn of(meta: &ShardMeta, outcome: Outcome) -> Self {
        Self {
            id: meta.id.to_string(),
            stream: meta.stream.clone(),
            first: meta.first,
            last: meta.last,
            records: meta.records,
            bytes: meta.bytes,
            outcome,
            matched: 0,
            scanned_bytes: 0,
            chunks: None,
            took_ms: 0,
        }
    }

    /// Of one that has answered.
    pub(super) fn answered(
        meta: &ShardMeta,
        (matched, scanned_bytes): (u64, u64),
        chunks: Option<ChunksTold>,
        took: Duration,
    ) -> Self {
        let ruled_out = chunks.and_then(|chunks| chunks.ruled_out());
        let outcome = ruled_out.map_or(Outcome::Searched, Outcome::Pruned);
        let took_ms = took.as_millis() as u64;
        Self { matched, scanned_bytes, chunks, took_ms, ..Self::of(meta, outcome) }
    }
}

/// How many shards there are in the streams that are searched, and in others that could be.
async fn shards_there_are(catalogue: &Catalogue, request: &SearchRequest) -> Result<(u64, u64), Error> {
    let mut counts = (0, 0);
    for usage in catalogue.stream_usage(INDEXER_GROUP).await? {
        if request.sight.grant.shows(request.streams.as_deref(), &usage.stream) {
            counts.0 += usage.shards;
        } else if request.sight.grant.covers(&usage.stream) {
            counts.1 += usage.shards;
        }
    }
    Ok(counts)
}

/// Puts together what was seen on the way of a search. The counts of what the catalogue ruled out are as of now.
///
/// # Errors
/// The catalogue cannot be read.
pub(super) async fn explanation(
    catalogue: &Catalogue,
    request: &SearchRequest,
    plan: &Plan,
    mut each: Vec<ShardTold>,
    hot: &[LeafAnswer],
) -> Result<Explanation, Error> {
    let (searched, others) = shards_there_are(catalogue, request).await?;
    let planned = plan.snapshot.shards.len() as u64;
    let in_other_times = searched.saturating_sub(planned);
    let mut shards = ShardsTold { considered: planned + in_other_times + others, ..ShardsTold::default() };
    let mut prune = |reason, count| {
        if count > 0 {
            *shards.pruned.entry(reason).or_insert(0) += count;
        }
    };
    prune("stream", others);
    prune("time", in_other_times);
    for shard in &each {
        match shard.outcome {
            Outcome::Pruned(reason) => prune(reason, 1),
            Outcome::Searched => shards.searched += 1,
            Outcome::Failed => shards.failed += 1,
        }
    }
    each.sort_by(|a, b| b.last.cmp(&a.last).then_with(|| a.id.cmp(&b.id)));
    shards.left_off = each.len().saturating_sub(SHARDS) as u64;
    each.truncate(SHARDS);
    shards.each = each;
    let offsets = (request.sight.grant == Grant::All).then(|| offsets(plan, hot));
    Ok(Explanation { shards, leaves: leaves(hot), offsets })
}

/// Which node's answer counts for each partition: as [`super::merge`] takes it, that of the highest epoch, the first of equals.
fn holders(hot: &[LeafAnswer]) -> BTreeMap<PartitionKey, (&str, &HotPart)> {
    let mut holders: BTreeMap<PartitionKey, (&str, &HotPart)> = BTreeMap::new();
    for LeafAnswer { node, answer, .. } in hot {
        for part in answer.iter().flat_map(|response| &response.parts) {
            let key = (part.topic.clone(), part.topic_id, part.partition);
            if holders.get(&key).is_none_or(|(_, known)| known.epoch < part.epoch) {
                holders.insert(key, (node, part));
            }
        }
    }
    holders
}

fn leaves(hot: &[LeafAnswer]) -> Vec<LeafTold> {
    let holders = holders(hot);
    let told = |LeafAnswer { node, answer, took }: &LeafAnswer| {
        let parts = holders.values().filter(|(holder, _)| holder == node).map(|(_, part)| &part.response);
        let (matched, scanned_bytes) = parts.fold((0, 0), |(matched, bytes), response| {
            (matched + response.total, bytes + response.scanned_bytes)
        });
        let problem = answer.as_ref().err().map(ToString::to_string);
        LeafTold { node: node.clone(), matched, scanned_bytes, problem, took_ms: took.as_millis() as u64 }
    };
    hot.iter().map(told).collect()
}

fn offsets(plan: &Plan, hot: &[LeafAnswer]) -> Vec<OffsetsTold> {
    let holders = holders(hot);
    let told = |row: &PartitionRow| {
        let held =
            holders.get(&(row.topic.clone(), row.topic_id, row.partition)).map(|(node, part)| HeldTold {
                node: (*node).to_owned(),
                epoch: part.epoch,
                from: part.held_from.max(row.next_offset.unwrap_or(part.held_from)),
                to: part.held_to,
                end: part.end,
            });
        OffsetsTold { topic: row.topic.clone(), partition: row.partition, published: row.next_offset, held }
    };
    plan.snapshot.partitions.iter().map(told).collect()
}
