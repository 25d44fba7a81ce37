//! What an indexer counts. Conservation: records = indexed + dropped by reason.

use millrace_model::Partition;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use std::sync::atomic::AtomicU64;

/// Why something was refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    /// Of a record: `expired` (older than its stream's retention on arrival). Of a search: `missing`, `stale` or `wrong`, as
    /// its proof is. Of messages, for now: `memory` or `disk`, as there is no room.
    pub reason: &'static str,
}

/// One of the topic's partitions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfPartition {
    /// Its number.
    pub partition: i32,
}

/// A stream that rules were given for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfStream {
    /// Its name; of streams without rules of their own, all together.
    pub stream: String,
}

/// What lies where bundles lie.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct Stored {
    /// The stream; of small ones, all together.
    pub stream: String,
    /// `sealed` by a cut: small; or `merged`.
    pub tier: &'static str,
}

/// How long something took, in seconds: from 10 ms to five minutes.
#[derive(Debug, Clone)]
pub struct Seconds(pub Histogram);

impl Default for Seconds {
    fn default() -> Self {
        Self(Histogram::new(exponential_buckets(0.01, 2.0, 16)))
    }
}

/// All counters of an indexer; cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// Messages taken from the topic.
    pub messages: Counter,
    /// Records that became searchable.
    pub records: Counter,
    /// Records that did not.
    pub dropped: Family<Reason, Counter>,
    /// Searches of hot rows that did not come from this cluster.
    pub refused_requests: Family<Reason, Counter>,
    /// Messages that came again.
    pub duplicates: Counter,
    /// Messages that went to the dead-letter topic.
    pub dead_letters: Counter,
    /// Bytes of those that went beyond a quota.
    pub held_bytes: Counter,
    /// Sources derived because two senders claimed to be one.
    pub strays: Counter,
    /// Records whose own time could not be believed.
    pub adjusted: Counter,
    /// Values of another type than is declared, kept as they came.
    pub type_conflicts: Family<OfStream, Counter>,
    /// Records kept whole because their stream had brought as many fields as it may.
    pub beyond_max_fields: Family<OfStream, Counter>,
    /// Records kept whole: their lines as they are, not as template and variables.
    pub whole: Counter,
    /// Cuts published.
    pub cuts: Counter,
    /// Cuts refused because a partition had a new owner.
    pub fenced: Counter,
    /// Cuts that failed and were tried again.
    pub retries: Counter,
    /// Shards published.
    pub shards: Counter,
    /// Bytes of published bundles.
    pub shard_bytes: Counter,
    /// Shards whose retention ended, by age or by size.
    pub expired: Counter,
    /// Merges that took effect.
    pub merges: Counter,
    /// Shards that merges replaced.
    pub merged_shards: Counter,
    /// Records that merges rewrote.
    pub merged_records: Counter,
    /// Bytes of the shards that merges made.
    pub merged_bytes: Counter,
    /// Merges that came too late: a shard had expired, or another had merged it.
    pub refused_merges: Counter,
    /// Merges that failed.
    pub failed_merges: Counter,
    /// Bundles that were never published, deleted.
    pub orphans: Counter,
    /// Bundles that nobody knows, and that stay: what they hold may be nowhere else.
    pub kept_orphans: Gauge,
    /// Records that deletions removed.
    pub deleted_records: Counter,
    /// Shards that were looked through for a deletion, rewritten or not.
    pub purged_shards: Counter,
    /// Shards that were made again of what the topic says.
    pub reprocessed_shards: Counter,
    /// Shards that were to be, and stayed as they were.
    pub refused_reprocessings: Counter,
    /// Merges that are due.
    pub waiting_merges: Gauge,
    /// Merges, purges and reprocessings under way.
    pub running_merges: Gauge,
    /// Bytes of hot rows in memory.
    pub hot_bytes: Gauge,
    /// Hot rows in memory.
    pub hot_rows: Gauge,
    /// Hot shards in memory: one a partition, stream and time bucket of each cut.
    pub hot_shards: Gauge,
    /// 1 where the topic is paused for that reason.
    pub paused: Family<Reason, Gauge>,
    /// What is free on the disk where bundles are made or lie, where it is least.
    pub free_bytes: Gauge,
    /// Messages of owned partitions that were not taken in yet.
    pub lag_messages: Family<OfPartition, Gauge>,
    /// How long the oldest of them waits.
    pub lag_seconds: Family<OfPartition, Gauge<f64, AtomicU64>>,
    /// From a record's being observed to its being a hit: of each message with new records, the record that waited longest.
    pub freshness: Seconds,
    /// Live shards, of the whole group.
    pub stored_shards: Family<Stored, Gauge>,
    /// The bytes of their bundles.
    pub stored_bytes: Family<Stored, Gauge>,
    /// Sources of the whole group of which something is missing or was destroyed unread.
    pub incomplete_sources: Gauge,
    /// Ranges of sources that never came.
    pub missing_ranges: Gauge,
    /// The positions in them.
    pub missing_positions: Gauge,
    /// Positions that were destroyed unread.
    pub lost_positions: Gauge,
    /// Messages that the topic removed before they were read.
    pub removed: Counter,
    /// Partitions whose topic was found to end before what was indexed of them.
    pub stepped_back: Counter,
    /// Rows of unpublished data given up because a partition was taken away.
    pub abandoned: Counter,
}

impl Metrics {
    /// Registers all of them as `millrace_indexer_*`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("millrace_indexer");
        let mut counter =
            |name: &str, help: &str, metric: &Counter| registry.register(name, help, metric.clone());
        counter("messages", "Messages taken from the topic", &self.messages);
        counter("records", "Records that became searchable", &self.records);
        counter("duplicate_messages", "Messages that had come before, wholly or in part", &self.duplicates);
        counter("dead_letters", "Messages kept in the dead-letter topic", &self.dead_letters);
        counter("held_bytes", "Bytes of messages beyond a quota, kept as dead letters", &self.held_bytes);
        counter("stray_sources", "Sources derived because two senders claimed to be one", &self.strays);
        counter("adjusted_times", "Records sorted by when they were observed", &self.adjusted);
        counter("whole_records", "Records kept whole: no template gives their line back", &self.whole);
        counter("cuts", "Cuts published", &self.cuts);
        counter("fenced_cuts", "Cuts refused because a partition had a new owner", &self.fenced);
        counter("cut_retries", "Cuts that failed and were tried again", &self.retries);
        counter("shards", "Shards published", &self.shards);
        counter("shard_bytes", "Bytes of published shards", &self.shard_bytes);
        counter("expired_shards", "Shards whose retention ended, by age or by size", &self.expired);
        counter("abandoned_rows", "Unpublished rows left to a successor", &self.abandoned);
        counter("removed_messages", "Messages that the topic removed before they were read", &self.removed);
        counter(
            "stepped_back_partitions",
            "Partitions whose topic ended before what was indexed of it",
            &self.stepped_back,
        );
        counter("merges", "Merges of shards that took effect", &self.merges);
        counter("merged_shards", "Shards that merges replaced", &self.merged_shards);
        counter("merged_records", "Records that merges rewrote", &self.merged_records);
        counter("merged_bytes", "Bytes of the shards that merges made", &self.merged_bytes);
        counter("refused_merges", "Merges that came too late: a shard had ended", &self.refused_merges);
        counter("failed_merges", "Merges that failed, to be tried again", &self.failed_merges);
        counter("orphan_bundles", "Bundles that were never published, deleted", &self.orphans);
        counter("deleted_records", "Records that deletions by query removed", &self.deleted_records);
        counter("purged_shards", "Shards that were looked through for a deletion", &self.purged_shards);
        counter("reprocessed_shards", "Shards made again of what the topic says", &self.reprocessed_shards);
        counter(
            "refused_reprocessings",
            "Shards that could not be proved to be what the topic gives",
            &self.refused_reprocessings,
        );
        self.register_gauges(registry);
        registry.register(
            "type_conflicts",
            "Values of another type than is declared, kept as they came",
            self.type_conflicts.clone(),
        );
        registry.register(
            "beyond_max_fields_records",
            "Records kept whole because their stream had brought as many fields as it may",
            self.beyond_max_fields.clone(),
        );
        registry.register("dropped_records", "Records that did not become searchable", self.dropped.clone());
        registry.register(
            "refused_leaf_requests",
            "Searches of hot rows that did not prove that they come from this cluster",
            self.refused_requests.clone(),
        );
        registry.register(
            "freshness_seconds",
            "From a record's being observed to its being a hit: of each message, the record that waited longest",
            self.freshness.0.clone(),
        );
    }

    fn register_gauges(&self, registry: &mut Registry) {
        let mut gauge =
            |name: &str, help: &str, metric: &Gauge| registry.register(name, help, metric.clone());
        gauge("waiting_merges", "Merges that are due", &self.waiting_merges);
        gauge("running_merges", "Merges, purges and reprocessings under way", &self.running_merges);
        gauge(
            "kept_orphan_bundles",
            "Old bundles that no shard has, kept as what they hold may be nowhere else",
            &self.kept_orphans,
        );
        gauge("hot_bytes", "Bytes of hot rows in memory", &self.hot_bytes);
        gauge("free_bytes", "What is free where bundles are made or lie", &self.free_bytes);
        gauge("hot_rows", "Hot rows in memory, published or not", &self.hot_rows);
        gauge("hot_shards", "Hot shards in memory, published or not", &self.hot_shards);
        // What is stored and missing is the whole group's: to be taken from one indexer, not added up.
        gauge(
            "incomplete_sources",
            "Sources of the group of which something is missing or was lost",
            &self.incomplete_sources,
        );
        gauge("missing_ranges", "Ranges of the group's sources that never came", &self.missing_ranges);
        gauge(
            "missing_positions",
            "Positions in missing ranges: bytes of files, entries of journals",
            &self.missing_positions,
        );
        gauge("lost_positions", "Positions that sources destroyed unread, at least", &self.lost_positions);
        registry.register("paused", "1 while the topic is paused, by reason", self.paused.clone());
        registry.register("stored_shards", "Live shards of the group", self.stored_shards.clone());
        registry.register("stored_bytes", "Bytes of the group's live shards", self.stored_bytes.clone());
        registry.register(
            "lag_messages",
            "Messages of owned partitions that were not taken in yet",
            self.lag_messages.clone(),
        );
        registry.register(
            "lag_seconds",
            "How long the oldest message waits that was not taken in yet; 0: there is none",
            self.lag_seconds.clone(),
        );
    }

    /// Partitions that are not owned any more have no lag.
    pub(crate) fn forget_lag(&self, partitions: &[Partition]) {
        for partition in partitions {
            let of = OfPartition { partition: partition.0 };
            self.lag_messages.remove(&of);
            self.lag_seconds.remove(&of);
        }
    }
}
