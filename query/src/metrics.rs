//! What a query node counts.

use millrace_detect::{Rule, RuleStats};
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
use serde::Serialize;
use std::{sync::atomic::AtomicU64, time::Duration};
use utoipa::ToSchema;

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

/// A rule. One that has nothing to tell has no series: of thousands of Sigma's rules only those have some that match.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfRule {
    /// Its id.
    pub rule: String,
}

/// One of the topic's partitions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfPartition {
    /// Its number.
    pub partition: i32,
}

/// What a rule did on this node since the node started.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, ToSchema)]
pub struct RuleActivity {
    /// Records that its query or detection matched.
    pub matches: u64,
    /// Times that it fired.
    pub findings: u64,
    /// Groups, records and values that it forgot for want of room.
    pub evicted: u64,
    /// How long it took in all, in seconds: an estimate. Absent: of Sigma's rules, which are tried all at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub seconds: Option<f64>,
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
    /// Matches that partitions have handed on to slices.
    pub handed_on: Counter,
    /// Of these, those of rules that whoever got them did not have.
    pub unknown_matches: Counter,
    /// Messages between them that could not be read.
    pub unreadable_matches: Counter,
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
    /// Records that a rule's query or detection matched.
    pub rule_matches: Family<OfRule, Counter>,
    /// Times that a rule fired.
    pub rule_findings: Family<OfRule, Counter>,
    /// Groups, records and values that a rule forgot for want of room.
    pub rule_evicted: Family<OfRule, Counter>,
    /// How long a rule of our own took, in seconds: an estimate.
    pub rule_seconds: Family<OfRule, Counter<f64, AtomicU64>>,
    /// Groups that rules remember.
    pub rule_groups: Gauge,
    /// Records, values and counts that they remember.
    pub rule_values: Gauge,
    /// Messages that rules have not seen yet.
    pub rules_lag_messages: Family<OfPartition, Gauge>,
    /// How long the oldest of them waits.
    pub rules_lag_seconds: Family<OfPartition, Gauge<f64, AtomicU64>>,
}

impl From<&Rule> for OfRule {
    fn from(rule: &Rule) -> Self {
        Self { rule: rule.id.clone() }
    }
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
            handed_on: Counter::default(),
            unknown_matches: Counter::default(),
            unreadable_matches: Counter::default(),
            notifications: Family::default(),
            documents_let_go: Counter::default(),
            scheduled_runs: Family::default(),
            rules: Gauge::default(),
            broken_rules: Gauge::default(),
            rule_matches: Family::default(),
            rule_findings: Family::default(),
            rule_evicted: Family::default(),
            rule_seconds: Family::default(),
            rule_groups: Gauge::default(),
            rule_values: Gauge::default(),
            rules_lag_messages: Family::default(),
            rules_lag_seconds: Family::default(),
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
            "handed_on_matches",
            "Matches of rules whose groups span partitions, handed on to where they come together",
            self.handed_on.clone(),
        );
        registry.register(
            "unknown_matches",
            "Matches that were handed on of rules that this node does not have, or not like that",
            self.unknown_matches.clone(),
        );
        registry.register(
            "unreadable_matches",
            "Messages of handed on matches that cannot be read",
            self.unreadable_matches.clone(),
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
        registry.register("rule_matches", "Records that a rule matched", self.rule_matches.clone());
        registry.register("rule_findings", "Times that a rule fired", self.rule_findings.clone());
        registry.register(
            "rule_evicted",
            "Groups, records and values that a rule forgot for want of room",
            self.rule_evicted.clone(),
        );
        registry.register(
            "rule_seconds",
            "How long a rule took that is none of Sigma's, as one record of 256 tells",
            self.rule_seconds.clone(),
        );
        registry.register("rule_groups", "Groups that rules remember", self.rule_groups.clone());
        registry.register(
            "rule_values",
            "Records, values and counts that rules remember",
            self.rule_values.clone(),
        );
        registry.register(
            "rules_lag_messages",
            "Messages that rules have not seen yet, by partition",
            self.rules_lag_messages.clone(),
        );
        registry.register(
            "rules_lag_seconds",
            "How long the oldest message waits that rules have not seen yet, by partition",
            self.rules_lag_seconds.clone(),
        );
    }

    /// A rule did something.
    pub(crate) fn rule_did(&self, rule: &Rule, did: RuleStats) {
        let of = OfRule::from(rule);
        let told = [
            (&self.rule_matches, did.matches),
            (&self.rule_findings, did.fired),
            (&self.rule_evicted, did.evicted),
        ];
        for (family, count) in told.into_iter().filter(|(_, count)| *count > 0) {
            family.get_or_create(&of).inc_by(count);
        }
    }

    /// A rule took so long, by estimate.
    pub(crate) fn rule_took(&self, rule: &Rule, took: Duration) {
        self.rule_seconds.get_or_create(&rule.into()).inc_by(took.as_secs_f64());
    }

    /// What a rule did since the start.
    pub(crate) fn activity(&self, rule: &Rule) -> RuleActivity {
        let of = OfRule::from(rule);
        let count = |family: &Family<OfRule, Counter>| {
            family.get(&of).map(|counter| counter.get()).unwrap_or_default()
        };
        RuleActivity {
            matches: count(&self.rule_matches),
            findings: count(&self.rule_findings),
            evicted: count(&self.rule_evicted),
            seconds: self.rule_seconds.get(&of).map(|counter| counter.get()),
        }
    }

    /// A rule is gone.
    pub(crate) fn forget_rule(&self, rule: &Rule) {
        let of = OfRule::from(rule);
        for family in [&self.rule_matches, &self.rule_findings, &self.rule_evicted] {
            family.remove(&of);
        }
        self.rule_seconds.remove(&of);
    }

    /// How far behind the rules of a partition are.
    pub(crate) fn rules_lag(&self, partition: Partition, messages: i64, waits: Duration) {
        let of = OfPartition { partition: partition.0 };
        self.rules_lag_messages.get_or_create(&of).set(messages);
        self.rules_lag_seconds.get_or_create(&of).set(waits.as_secs_f64());
    }

    /// Partitions that are not owned any more have no lag.
    pub(crate) fn forget_rules_lag(&self, partitions: &[Partition]) {
        for partition in partitions {
            let of = OfPartition { partition: partition.0 };
            self.rules_lag_messages.remove(&of);
            self.rules_lag_seconds.remove(&of);
        }
    }
}
