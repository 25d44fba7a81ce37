//! What an agent counts. At every moment, in bytes as in records:
//! `read = shipped + dropped (over all reasons) + in flight + to be read again (after a reload)`. Of pushed input, what is read is what was
//! received before: it lies in the spool in between, or is counted as lost.

use millrace_model::wire::SkipReason;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use std::collections::BTreeMap;

/// The kind of a source.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Kind {
    pub(crate) kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Reason {
    pub(crate) reason: &'static str,
}

/// A source, by its name in the settings.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct SourceName {
    pub(crate) source: String,
}

/// A step of a source: its number and what it does.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Step {
    pub(crate) source: String,
    pub(crate) step: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Outcome {
    pub(crate) outcome: &'static str,
}

/// What became of pushed records, by the kind of their source.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Pushed {
    pub(crate) kind: &'static str,
    pub(crate) reason: &'static str,
}

/// What found something to take out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Rule {
    pub(crate) rule: String,
}

/// The counters of one agent. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    pub(crate) read_bytes: Family<Kind, Counter>,
    pub(crate) read_records: Family<Kind, Counter>,
    pub(crate) shipped_bytes: Counter,
    pub(crate) shipped_records: Counter,
    pub(crate) dropped_bytes: Family<Reason, Counter>,
    pub(crate) dropped_records: Family<Reason, Counter>,
    pub(crate) in_flight_bytes: Gauge,
    pub(crate) in_flight_records: Gauge,
    pub(crate) truncated_records: Counter,
    pub(crate) redactions: Family<Rule, Counter>,
    pub(crate) processed_out: Family<Step, Counter>,
    pub(crate) lost_entries: Counter,
    pub(crate) deleted_bytes: Gauge,
    pub(crate) released_files: Counter,
    pub(crate) sources: Family<Kind, Gauge>,
    pub(crate) closed_sources: Family<Reason, Counter>,
    pub(crate) source_errors: Family<Reason, Counter>,
    pub(crate) received_records: Family<Kind, Counter>,
    pub(crate) refused_records: Family<Pushed, Counter>,
    pub(crate) pushed_dropped: Family<Pushed, Counter>,
    pub(crate) rejected_requests: Family<Pushed, Counter>,
    pub(crate) connections: Family<Kind, Gauge>,
    pub(crate) spool_bytes: Family<SourceName, Gauge>,
    pub(crate) spool_cut_bytes: Counter,
    pub(crate) spool_damage: Counter,
    pub(crate) rejected_messages: Counter,
    pub(crate) checkpoints: Counter,
    pub(crate) checkpoint_errors: Counter,
    pub(crate) reread_bytes: Counter,
    pub(crate) reread_records: Counter,
    pub(crate) reloads: Family<Outcome, Counter>,
    pub(crate) lag_bytes: Family<SourceName, Gauge>,
    pub(crate) lag_seconds: Family<SourceName, Gauge>,
}

impl Metrics {
    /// Makes them and puts them into the registry.
    pub fn register(registry: &mut Registry) -> Self {
        let m = Self::default();
        let mut add = |name: &str, help: &str, metric: &dyn Register| metric.register(registry, name, help);
        add("read_bytes", "Bytes whose fate is decided, by kind of source", &m.read_bytes);
        add("read_records", "Records made of what was read, by kind of source", &m.read_records);
        add("shipped_bytes", "Bytes of records that the topic has acknowledged", &m.shipped_bytes);
        add("shipped_records", "Records that the topic has acknowledged", &m.shipped_records);
        add("dropped_bytes", "Bytes that became no record, by reason", &m.dropped_bytes);
        add("dropped_records", "Records that were not shipped, by reason", &m.dropped_records);
        add("in_flight_bytes", "Bytes of records that are not acknowledged yet", &m.in_flight_bytes);
        add("in_flight_records", "Records that are not acknowledged yet", &m.in_flight_records);
        add("truncated_records", "Records whose body or attributes were cut", &m.truncated_records);
        add("redactions", "What was taken out of records, by the rule that found it", &m.redactions);
        add("processed_out", "Records that were dropped by a step of their source", &m.processed_out);
        add("lost_entries", "Numbers of journals and spools whose entries never came", &m.lost_entries);
        add(
            "deleted_bytes",
            "Bytes of deleted files that are kept on the disk until they are read",
            &m.deleted_bytes,
        );
        add(
            "released_files",
            "Deleted files that were let go of before they were read to their end",
            &m.released_files,
        );
        add("sources", "Open sources, by kind", &m.sources);
        add("closed_sources", "Sources that ended, by reason", &m.closed_sources);
        add("source_errors", "Trouble with files and journals, by what it was", &m.source_errors);
        add(
            "received_records",
            "Pushed records that are on the disk, by kind of source",
            &m.received_records,
        );
        add(
            "refused_records",
            "Pushed records whose senders were told to wait, by kind and reason",
            &m.refused_records,
        );
        add(
            "pushed_dropped_records",
            "Pushed records that were dropped, by kind and reason",
            &m.pushed_dropped,
        );
        add(
            "rejected_requests",
            "Requests and connections that were turned away, by kind and reason",
            &m.rejected_requests,
        );
        add("connections", "Open connections of senders, by kind of source", &m.connections);
        add("spool_bytes", "Bytes on disk that wait to be shipped, by source", &m.spool_bytes);
        add("spool_cut_bytes", "Bytes at the end of spools that were no whole record", &m.spool_cut_bytes);
        add("spool_damage", "Places in spools that could not be read", &m.spool_damage);
        add("rejected_messages", "Messages that the topic refused", &m.rejected_messages);
        add("checkpoints", "Checkpoints written", &m.checkpoints);
        add(
            "reread_bytes",
            "Bytes of records that were under way at a reload, and are read again",
            &m.reread_bytes,
        );
        add(
            "reread_records",
            "Records that were under way at a reload, and are read again",
            &m.reread_records,
        );
        add("reloads", "How often settings were read again, by what came of it", &m.reloads);
        add("lag_bytes", "Bytes that lie there and are not read yet, by source", &m.lag_bytes);
        add("lag_seconds", "For how long something has lain there unread, by source", &m.lag_seconds);
        add("checkpoint_errors", "Checkpoints that could not be written", &m.checkpoint_errors);
        m
    }

    pub(crate) fn dropped(&self, reason: SkipReason, bytes: u64) {
        self.dropped_bytes.get_or_create(&Reason { reason: reason.name() }).inc_by(bytes);
    }

    /// Settings were read again: are they in use now?
    pub fn reloaded(&self, used: bool) {
        self.reloads.get_or_create(&Outcome { outcome: if used { "used" } else { "refused" } }).inc();
    }

    /// The agent has ended; what was under way is read again by the next.
    pub(crate) fn ended(&self) {
        self.reread_bytes.inc_by(self.in_flight_bytes.set(0).max(0) as u64);
        self.reread_records.inc_by(self.in_flight_records.set(0).max(0) as u64);
        self.deleted_bytes.set(0);
        self.sources.clear();
        self.lag_bytes.clear();
        self.lag_seconds.clear();
    }

    /// How many sources of these settings' kinds are open, by kind.
    pub(crate) fn open_sources(&self, settings: &[(String, &'static str)]) -> BTreeMap<String, u64> {
        let open = settings.iter().filter_map(|&(_, kind)| {
            let count = self.sources.get(&Kind { kind })?.get();
            (count > 0).then(|| (kind.to_owned(), count as u64))
        });
        open.collect()
    }

    /// What lies there and is not read or shipped yet, of the sources of these settings.
    pub(crate) fn backlog(&self, settings: &[(String, &'static str)]) -> Backlog {
        let mut backlog = Backlog::default();
        for (name, _) in settings {
            let source = SourceName { source: name.clone() };
            let of = |family: &Family<SourceName, Gauge>| {
                family.get(&source).map_or(0, |gauge| gauge.get().max(0) as u64)
            };
            backlog.bytes += of(&self.lag_bytes) + of(&self.spool_bytes);
            backlog.seconds = backlog.seconds.max(of(&self.lag_seconds));
        }
        backlog
    }

    pub(crate) fn source_error(&self, reason: &'static str) {
        self.source_errors.get_or_create(&Reason { reason }).inc();
    }
}

/// What lies there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Backlog {
    pub(crate) bytes: u64,
    /// For how long some of it has lain there unread.
    pub(crate) seconds: u64,
}

/// What can be registered under a name of this room.
trait Register {
    fn register(&self, registry: &mut Registry, name: &str, help: &str);
}

impl<M: prometheus_client::registry::Metric + Clone> Register for M {
    fn register(&self, registry: &mut Registry, name: &str, help: &str) {
        registry.register(format!("millrace_agent_{name}"), help, self.clone());
    }
}
