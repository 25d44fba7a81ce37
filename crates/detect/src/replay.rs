//! Rules over history: records that are read from somewhere and not from the stream.

use crate::{
    detector::{Detector, DetectorSettings},
    finding::{Finding, FindingKind},
    rule::Rule,
    set::RuleSet,
};
use millrace_model::{Row, Timestamp};
use std::{sync::Arc, time::Duration};

/// The very engine that watches the stream, over records in the order of their times. Their own times are taken as they stand,
/// and the time between two of them passes.
///
/// Of rules that count it tells each time that they fire; of a Sigma rule, and of others that single records satisfy, every
/// record that does. Records without a time of their own happen when they were observed.
pub struct Replay {
    detector: Detector,
    now: Timestamp,
    found: Vec<Finding>,
}

impl Replay {
    /// Nothing has happened yet.
    pub fn new(rules: Arc<RuleSet>) -> Self {
        let detector = Detector::new(rules, DetectorSettings::history());
        Self { detector, now: Timestamp::MIN, found: Vec::new() }
    }

    /// The next record; what the rules say is appended.
    pub fn observe(&mut self, row: &Row, out: &mut Vec<Finding>) {
        self.now = self.now.max(row.record.time());
        self.detector.observe(row, self.now, &mut self.found);
        self.tell(out);
    }

    /// So much time passes in which nothing happens.
    pub fn wait(&mut self, time: Duration, out: &mut Vec<Finding>) {
        if self.now > Timestamp::MIN && !time.is_zero() {
            self.now = self.now.plus(time);
            self.detector.tick(self.now, &mut self.found);
            self.found.retain(|finding| finding.kind == FindingKind::Fired);
            self.tell(out);
        }
    }

    /// Nothing happens until then.
    pub fn wait_until(&mut self, time: Timestamp, out: &mut Vec<Finding>) {
        self.wait(time.since(self.now), out);
    }

    fn tell(&mut self, out: &mut Vec<Finding>) {
        let rules = Arc::clone(self.detector.rules());
        let is_told = |finding: &Finding| match finding.kind {
            FindingKind::Fired => true,
            FindingKind::Updated => rules.get(&finding.rule_id).is_some_and(Rule::is_single),
            FindingKind::Resolved => false,
        };
        out.extend(self.found.drain(..).filter(is_told));
    }
}

/// What the rules say of all these records, each with the number that its record was given. Blocks for as long as the rows take
/// to read and test.
pub fn findings_over(
    rules: &Arc<RuleSet>,
    rows: impl Iterator<Item = (usize, Row)>,
) -> Vec<(usize, Finding)> {
    replayed(rules, rows, Duration::ZERO)
}

/// The same, and so much time after the last row. What silence has made fire is told with the record that ends it, or the last.
pub(crate) fn replayed(
    rules: &Arc<RuleSet>,
    rows: impl Iterator<Item = (usize, Row)>,
    quiet: Duration,
) -> Vec<(usize, Finding)> {
    let mut replay = Replay::new(Arc::clone(rules));
    let (mut all, mut found, mut last) = (Vec::new(), Vec::new(), 0);
    for (number, row) in rows {
        last = number;
        replay.observe(&row, &mut found);
        all.extend(found.drain(..).map(|finding| (number, finding)));
    }
    replay.wait(quiet, &mut found);
    all.extend(found.into_iter().map(|finding| (last, finding)));
    all
}
