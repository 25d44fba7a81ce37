//! What a query node counts.

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

/// How an attempt to tell a receiver ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Delivery {
    /// Its name.
    pub receiver: String,
    /// `delivered`; `failed`: it is tried again; `refused`, `given_up`: it is not; `superseded`: a later one says the same.
    pub outcome: &'static str,
}

/// How a run of a scheduled rule ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RunOutcome {
    /// `done`; `failed`: it is tried again; `missed`: a later one was due before it could be carried out.
    pub outcome: &'static str,
}

/// Why an indexer gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LeafFailure {
    /// `unreachable`, `disbelieved` (it does not know this node's secret) or `refused`.
    pub reason: &'static str,
}

/// All counters of a query node; cloning shares them.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Searches answered.
    pub searches: Counter,
    /// Searches whose answer was partial.
    pub partial: Counter,
    /// Indexers that gave no answer when they were asked for hot rows.
    pub leaf_failures: Family<LeafFailure, Counter>,
    /// How long searches took, in seconds.
    pub seconds: Histogram,
    /// Answers of sealed shards that were there from a search before.
    pub kept_results: Counter,
    /// Memory that such answers take, in bytes.
    pub kept_result_bytes: Gauge,
    /// Records that rules looked at.
    pub evaluated: Counter,
    /// Findings of rules.
    pub findings: Counter,
    /// Messages that detection had seen before.
    pub duplicates: Counter,
    /// Attempts to tell receivers, by receiver and outcome.
    pub notifications: Family<Delivery, Counter>,
    /// Documents of clients that went because their index had no room.
    pub documents_let_go: Counter,
    /// Runs of scheduled rules, by outcome.
    pub scheduled_runs: Family<RunOutcome, Counter>,
    /// Rules in use.
    pub rules: Gauge,
    /// Rules that could not be loaded.
    pub broken_rules: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            searches: Counter::default(),
            partial: Counter::default(),
            leaf_failures: Family::default(),
            seconds: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            kept_results: Counter::default(),
            kept_result_bytes: Gauge::default(),
            evaluated: Counter::default(),
            findings: Counter::default(),
            duplicates: Counter::default(),
            notifications: Family::default(),
            documents_let_go: Counter::default(),
            scheduled_runs: Family::default(),
            rules: Gauge::default(),
            broken_rules: Gauge::default(),
        }
    }
}

impl Metrics {
    /// Registers all of them as `millrace_query_*`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("millrace_query");
        registry.register("searches", "Searches answered", self.searches.clone());
        registry.register("partial_searches", "Searches whose answer was partial", self.partial.clone());
        registry.register(
            "leaf_failures",
            "Indexers that gave no answer when they were asked for hot rows, by reason",
            self.leaf_failures.clone(),
        );
        registry.register("search_seconds", "How long searches took", self.seconds.clone());
        registry.register(
            "kept_results",
            "Answers of sealed shards that were there from a search before",
            self.kept_results.clone(),
        );
        registry.register(
            "kept_result_bytes",
            "Memory that answers of sealed shards take which are kept",
            self.kept_result_bytes.clone(),
        );
        registry.register("evaluated_records", "Records that rules looked at", self.evaluated.clone());
        registry.register("findings", "Findings of rules", self.findings.clone());
        registry.register(
            "duplicate_messages",
            "Messages that detection had seen before",
            self.duplicates.clone(),
        );
        registry.register(
            "notifications",
            "Attempts to tell receivers, by receiver and outcome",
            self.notifications.clone(),
        );
        registry.register(
            "documents_let_go",
            "Documents that clients had written and that made room for others in a full index",
            self.documents_let_go.clone(),
        );
        registry.register(
            "scheduled_runs",
            "Runs of scheduled rules, by outcome",
            self.scheduled_runs.clone(),
        );
        registry.register("rules", "Rules in use", self.rules.clone());
        registry.register("broken_rules", "Rules that could not be loaded", self.broken_rules.clone());
    }
}
