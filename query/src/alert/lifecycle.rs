//! From findings to alerts: one alert a fingerprint at a time, from firing to resolved. Pure. Who is told of it is decided
//! elsewhere.
//!
//! **Invariant:** of a fingerprint one alert fires at most.

use millrace_catalogue::{Alert, AlertState};
use millrace_detect::{Finding, FindingKind, MAX_EVIDENCE, add_evidence};
use millrace_model::{Partition, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// The alerts that are firing.
#[derive(Debug, Default)]
pub struct Lifecycle {
    firing: BTreeMap<String, Alert>,
    /// The partitions whose rules say that it goes on, by fingerprint.
    held_by: BTreeMap<String, BTreeSet<Partition>>,
    changed: BTreeMap<String, Alert>,
}

impl Lifecycle {
    /// With those that were firing when the last process ended.
    pub fn new(firing: Vec<Alert>) -> Self {
        let firing = firing.into_iter().map(|alert| (alert.fingerprint.clone(), alert)).collect();
        Self { firing, ..Self::default() }
    }

    /// Takes in a finding of the rules of one partition. An alert that several hold is over when none does any more.
    pub fn take(&mut self, partition: Partition, finding: Finding, now: Timestamp) {
        let holders = self.held_by.entry(finding.fingerprint.clone()).or_default();
        if finding.kind == FindingKind::Resolved {
            holders.remove(&partition);
            if !holders.is_empty() {
                return;
            }
            self.held_by.remove(&finding.fingerprint);
        } else {
            holders.insert(partition);
        }
        let active = self.firing.get_mut(&finding.fingerprint);
        match (finding.kind, active) {
            (FindingKind::Fired, None) => {
                let alert = fired(finding);
                self.firing.insert(alert.fingerprint.clone(), alert.clone());
                self.changed.insert(alert.id.clone(), alert);
            }
            (FindingKind::Fired | FindingKind::Updated, Some(alert)) => {
                alert.first = alert.first.min(finding.first);
                alert.last = alert.last.max(finding.last);
                alert.count = alert.count.max(finding.count);
                add_evidence(&mut alert.evidence, finding.evidence);
                self.changed.insert(alert.id.clone(), alert.clone());
            }
            (FindingKind::Resolved, Some(_)) => {
                let Some(mut alert) = self.firing.remove(&finding.fingerprint) else { return };
                alert.state = AlertState::Resolved;
                alert.last = alert.last.max(finding.last);
                alert.count = alert.count.max(finding.count);
                alert.resolved_at = Some(now);
                self.changed.insert(alert.id.clone(), alert);
            }
            // It was resolved before this process knew of it.
            (FindingKind::Updated | FindingKind::Resolved, None) => {}
        }
    }

    /// The alerts that have changed, and must be stored now.
    pub fn changes(&mut self) -> Vec<Alert> {
        std::mem::take(&mut self.changed).into_values().collect()
    }
}

fn fired(finding: Finding) -> Alert {
    Alert {
        // The same finding, replayed after a crash, is the same alert.
        id: format!("{}-{:x}", finding.fingerprint, finding.first.0),
        fingerprint: finding.fingerprint,
        rule_id: finding.rule_id,
        title: finding.rule_title,
        level: finding.level.to_string(),
        state: AlertState::Firing,
        group: finding.group,
        first: finding.first,
        last: finding.last,
        count: finding.count,
        evidence: finding.evidence.into_iter().take(MAX_EVIDENCE).collect(),
        resolved_at: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_detect::Level;
    use proptest::{collection::vec, prelude::*};

    const P0: Partition = Partition(0);
    const P1: Partition = Partition(1);

    fn finding(kind: FindingKind, count: u64) -> Finding {
        Finding {
            rule_id: "r".into(),
            rule_title: "R".into(),
            level: Level::High,
            kind,
            group: BTreeMap::new(),
            fingerprint: "f".into(),
            first: Timestamp(10),
            last: Timestamp(10 + count as i64),
            count,
            evidence: Vec::new(),
            value: None,
        }
    }

    #[test]
    fn an_alert_fires_once_and_resolves_once() {
        let mut lifecycle = Lifecycle::new(Vec::new());
        for count in 8..12 {
            let kind = if count == 8 { FindingKind::Fired } else { FindingKind::Updated };
            lifecycle.take(P0, finding(kind, count), Timestamp(100));
        }
        let first = lifecycle.changes();
        assert_eq!((first.len(), first[0].count), (1, 11));
        assert_eq!(lifecycle.changes(), []);

        // A new process goes on with what was stored.
        let mut lifecycle = Lifecycle::new(first.clone());
        lifecycle.take(P0, finding(FindingKind::Updated, 12), Timestamp(140));
        lifecycle.take(P1, finding(FindingKind::Fired, 12), Timestamp(150));
        lifecycle.take(P0, finding(FindingKind::Resolved, 12), Timestamp(160));
        assert_eq!(lifecycle.changes()[0].state, AlertState::Firing);
        lifecycle.take(P1, finding(FindingKind::Resolved, 12), Timestamp(200));
        lifecycle.take(P1, finding(FindingKind::Resolved, 12), Timestamp(300));
        let last = lifecycle.changes();
        assert_eq!((last[0].id.as_str(), last[0].state), (first[0].id.as_str(), AlertState::Resolved));
        assert_eq!(last[0].resolved_at, Some(Timestamp(200)));
    }

    proptest! {
        #[test]
        fn of_a_fingerprint_one_alert_fires_at_most(
            steps in vec((0..3usize, 0..2u8, 0..3i32, 0..4i64, any::<bool>()), 0..60),
        ) {
            let mut lifecycle = Lifecycle::new(Vec::new());
            let mut stored: BTreeMap<String, Alert> = BTreeMap::new();
            for (now, (kind, fingerprint, partition, first, restarts)) in (100i64..).zip(steps) {
                let kind = [FindingKind::Fired, FindingKind::Updated, FindingKind::Resolved][kind];
                let fingerprint = format!("f{fingerprint}");
                let finding = Finding { fingerprint, first: Timestamp(first * 10), ..finding(kind, 1) };
                lifecycle.take(Partition(partition), finding, Timestamp(now));
                for alert in lifecycle.changes() {
                    stored.insert(alert.id.clone(), alert);
                }
                let firing = || stored.values().filter(|alert| alert.state == AlertState::Firing);
                let fingerprints: BTreeSet<&str> = firing().map(|alert| alert.fingerprint.as_str()).collect();
                prop_assert_eq!(fingerprints.len(), firing().count());
                for alert in stored.values() {
                    prop_assert_eq!(alert.state == AlertState::Resolved, alert.resolved_at.is_some());
                }
                if restarts {
                    lifecycle = Lifecycle::new(firing().cloned().collect());
                }
            }
        }
    }
}
