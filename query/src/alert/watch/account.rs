//! What is told of watching: what each rule did and how long it took, what all of them hold, how far behind they are.

use super::{Input, Watch};
use crate::Metrics;
use millrace_detect::{Detector, Rule};
use millrace_model::{Partition, Row};
use millrace_transport::{Consumer as _, Lag};
use std::time::{Duration, Instant};

/// How long our rules take is measured on one record of so many: on each would take too long.
const TIMED: u64 = 256;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) lag: Lag,
    /// How many records were seen.
    seen: u64,
    /// Groups and values that were held when they were last counted.
    held: (i64, i64),
}

impl Account {
    /// A record comes to the rules.
    pub(super) fn look(&mut self, detector: &Detector, row: &Row, metrics: &Metrics) {
        self.seen += 1;
        if self.seen.is_multiple_of(TIMED) {
            let told = |rule: &Rule, took: Duration| metrics.rule_took(rule, took * TIMED as u32);
            detector.rules().time(row, Instant::now, told);
        }
    }
}

impl Watch {
    /// What rules did since the last time is counted.
    pub(super) fn account(&mut self) {
        let (mut groups, mut values) = (0, 0);
        for lane in self.lanes.values_mut() {
            for (rule, did) in lane.detector.take_rule_stats() {
                self.parts.metrics.rule_did(rule, did);
            }
            let stats = lane.detector.stats();
            groups += stats.groups as i64;
            values += stats.events as i64;
        }
        self.hold(groups, values);
    }

    /// Partitions and slices are watched beside each other: each tells what has changed with it.
    fn hold(&mut self, groups: i64, values: i64) {
        self.parts.metrics.rule_groups.inc_by(groups - self.account.held.0);
        self.parts.metrics.rule_values.inc_by(values - self.account.held.1);
        self.account.held = (groups, values);
    }

    /// How far behind the rules are in the topic.
    pub(super) fn measure_lag(&mut self) {
        if let Input::Matches { .. } = self.input {
            return;
        }
        let now = self.parts.clock.now();
        for (partition, lane) in &self.lanes {
            let end = self.consumer.end(*partition).unwrap_or(lane.high).max(lane.next);
            let messages = end - lane.next;
            let waits = self.account.lag.waits(*partition, messages, now);
            self.parts.metrics.rules_lag(*partition, messages, waits);
        }
    }

    /// Partitions that are not owned any more have no lag.
    pub(super) fn forget_lag(&mut self, partitions: &[Partition]) {
        self.account.lag.forget(partitions);
        if let Input::Records { .. } = self.input {
            self.parts.metrics.forget_rules_lag(partitions);
        }
    }

    /// Nothing is watched any more, for now.
    pub(super) fn let_go(&mut self) {
        self.hold(0, 0);
        let partitions: Vec<Partition> = self.lanes.keys().copied().collect();
        self.forget_lag(&partitions);
    }
}
