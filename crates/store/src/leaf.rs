//! What is asked of leaves and what they answer, as plain values that also travel as JSON. Records cross as OTLP
//! bytes in hexadecimal, so an answer over HTTP equals one in process, byte for byte.

mod instead;
mod proof;
mod rows_as_otlp;
#[cfg(test)]
mod tests;

pub(crate) use instead::{gathered, instead};
pub use proof::{CLOCKS_WITHIN, ClusterKey, Disbelief};
pub(crate) use rows_as_otlp::unhex;

use millrace_filter::Filter;
use millrace_model::{Grant, Partition, RecordId, Row, StreamName, TimeRange, Timestamp, TopicId};
use millrace_pipes::{Fragments, Partials};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, future::Future};

/// Where a row stands among all rows: by time, then by id.
pub type Place = (Timestamp, RecordId);

/// Which end of time comes first. Ties are broken by id, in the same direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The latest first.
    #[default]
    NewestFirst,
    /// The earliest first.
    OldestFirst,
}

impl Order {
    /// How two places compare: `Less` comes first.
    pub fn compare(self, a: &Place, b: &Place) -> std::cmp::Ordering {
        match self {
            Self::NewestFirst => b.cmp(a),
            Self::OldestFirst => a.cmp(b),
        }
    }
}

/// A search of one leaf.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeafRequest {
    /// Which records.
    pub filter: Filter,
    /// When.
    pub range: TimeRange,
    /// How many hits at most; 0 counts only.
    pub limit: usize,
    /// Which hits first.
    pub order: Order,
    /// Only hits that come after this place, in the given order. Totals and histograms are of all matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Place>,
    /// The width of the histogram's buckets in nanoseconds. `None` or 0: no histogram.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub histogram: Option<u64>,
    /// What is to be made of all that match, beside hits and a histogram where these are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fragments: Option<Fragments>,
}

impl LeafRequest {
    /// The search beside what is made of all that match; `None`: nothing else is asked for.
    pub(crate) fn beside(&self) -> Option<Self> {
        let wanted = self.limit > 0 || self.histogram.is_some_and(|interval| interval > 0);
        wanted.then(|| Self { fragments: None, ..self.clone() })
    }
}

/// What a leaf found.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LeafResponse {
    /// The first matches after the cursor, in order; as many as the limit allows.
    #[serde(with = "rows_as_otlp")]
    pub hits: Vec<Row>,
    /// How many records match, exactly.
    pub total: u64,
    /// How many match in each bucket, by the bucket's first nanosecond (a multiple of the interval since the epoch).
    /// Empty buckets are left out.
    pub histogram: BTreeMap<i64, u64>,
    /// What the search had to look at: bodies of hot rows tested; for sealed shards the posting lists read and the
    /// stored records decoded, both before compression. Columns are not counted.
    pub scanned_bytes: u64,
    /// What was made of all that match, where that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gathered: Option<Partials>,
}

impl LeafResponse {
    /// Puts beside what was made of all that match what a search of the same rows has found.
    #[must_use]
    pub(crate) fn with(self, found: Self) -> Self {
        Self { gathered: self.gathered, scanned_bytes: self.scanned_bytes + found.scanned_bytes, ..found }
    }

    /// Joins the answers of two leaves to the same request. The answer to all of their rows comes out, whichever way
    /// any number of answers is joined, provided that no row is in two of them.
    #[must_use]
    pub fn merge(mut self, mut other: Self, request: &LeafRequest) -> Self {
        let LeafRequest { order, limit, .. } = *request;
        if self.histogram.len() < other.histogram.len() {
            std::mem::swap(&mut self.histogram, &mut other.histogram);
        }
        for (bucket, count) in other.histogram {
            *self.histogram.entry(bucket).or_insert(0) += count;
        }
        if self.hits.is_empty() {
            self.hits = other.hits;
        } else if !other.hits.is_empty() {
            self.hits.extend(other.hits);
            self.hits.sort_by(|a, b| order.compare(&a.order(), &b.order()));
        }
        self.hits.truncate(limit);
        self.total += other.total;
        self.scanned_bytes += other.scanned_bytes;
        match (&mut self.gathered, other.gathered, &request.fragments) {
            (Some(all), Some(more), Some(fragments)) => fragments.merge(all, more),
            (none @ None, more, _) => *none = more,
            _ => {}
        }
        self
    }
}

impl LeafResponse {
    /// About how many bytes of memory it takes.
    pub fn weight(&self) -> usize {
        let hits: usize = self.hits.iter().map(Row::weight).sum();
        size_of::<Self>()
            + hits
            + 40 * self.histogram.len()
            + self.gathered.as_ref().map_or(0, Partials::weight)
    }

    /// A copy to be kept for longer than the query that it was an answer to.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self {
            hits: self.hits.clone(),
            histogram: self.histogram.clone(),
            gathered: self.gathered.as_ref().map(Partials::apart),
            ..*self
        }
    }

    /// That copy as an answer to this request, which asks the same.
    #[must_use]
    pub fn adopted(self, request: &LeafRequest) -> Self {
        let gathered = match (self.gathered, &request.fragments) {
            (Some(gathered), Some(fragments)) => Some(fragments.adopt(gathered)),
            (gathered, _) => gathered,
        };
        Self { gathered, ..self }
    }
}

/// The start of the histogram bucket that `time` lies in.
pub(crate) fn bucket(time: Timestamp, interval: u64) -> i64 {
    let interval = i128::from(interval);
    let start = i128::from(time.0).div_euclid(interval) * interval;
    // The first bucket of time begins before what can be said.
    i64::try_from(start).unwrap_or(i64::MIN)
}

/// How far a partition is published: the seam between sealed shards and hot rows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Published {
    /// The topic's name.
    pub topic: String,
    /// Which incarnation of it, where that is known.
    pub topic_id: Option<TopicId>,
    /// The partition.
    pub partition: Partition,
    /// The first offset that no published shard covers.
    pub next_offset: i64,
}

/// A search of an indexer's hot rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HotRequest {
    /// What is asked.
    pub request: LeafRequest,
    /// In which streams; `None`: in all.
    pub streams: Option<Vec<StreamName>>,
    /// What whoever asks may see of them. There is no default: a request that does not say it is not understood.
    pub grant: Grant,
    /// What the catalogue's snapshot already covers. Rows below are left out; a partition that is not listed has
    /// nothing published.
    pub published: Vec<Published>,
    /// The asker wants to see what is held published soon: an audit rests on what is published.
    #[serde(default)]
    pub publish: bool,
}

/// What an indexer holds of one partition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HotPart {
    /// The topic's name.
    pub topic: String,
    /// Which incarnation of it, where that is known.
    #[serde(default)]
    pub topic_id: Option<TopicId>,
    /// The partition.
    pub partition: Partition,
    /// The owner's epoch: of two that hold an offset, the higher one is right.
    pub epoch: u64,
    /// The first offset whose rows are held.
    pub held_from: i64,
    /// The first offset whose rows are not held yet.
    pub held_to: i64,
    /// The partition's end as the owner last saw it.
    pub end: i64,
    /// For how long the oldest message has waited that is not held yet, in milliseconds, as the owner last estimated it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_ms: Option<u64>,
    /// The answer of the rows in `[max(held_from, next_offset), held_to)`.
    pub response: LeafResponse,
}

/// What an indexer found.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct HotResponse {
    /// One for each partition that it owns or lately owned.
    pub parts: Vec<HotPart>,
}

/// Why a leaf gave no answer. The search goes on without it and says that it is partial.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LeafError {
    /// Nobody answers there, or not in time.
    #[error("leaf {address} cannot be reached: {problem}")]
    Unreachable {
        /// Where it should be.
        address: String,
        /// What happened.
        problem: String,
    },
    /// It does not believe that the request comes from its cluster.
    #[error("leaf {address} does not believe this node: {problem}")]
    Disbelieved {
        /// Which leaf.
        address: String,
        /// In its words.
        problem: String,
    },
    /// It answered that it will not or cannot.
    #[error("leaf {address} refused: {problem}")]
    Refused {
        /// Which leaf.
        address: String,
        /// In its words.
        problem: String,
    },
}

/// Searches the hot rows of one indexer, in this process or over HTTP.
pub trait Leaf: Send + Sync {
    /// Answers for every partition that the indexer holds rows of.
    fn search(&self, request: &HotRequest) -> impl Future<Output = Result<HotResponse, LeafError>> + Send;
}
