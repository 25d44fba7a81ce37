//! From findings to alerts: one alert a fingerprint at a time, from firing to resolved, and what is to be sent about it.
//! Pure.

use millrace_catalogue::{Alert, AlertState, Notification};
use millrace_detect::{Finding, FindingKind};
use millrace_model::{Partition, RecordId, Timestamp};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// How many records an alert keeps as evidence.
const EVIDENCE: usize = 10;

/// What changed since it was last stored.
#[derive(Debug, Default, PartialEq)]
pub struct Changes {
    /// Alerts, new or changed.
    pub alerts: Vec<Alert>,
    /// What is to be sent.
    pub notifications: Vec<Notification>,
}

/// The alerts that are firing.
#[derive(Debug, Default)]
pub struct Lifecycle {
    receivers: Vec<String>,
    firing: BTreeMap<String, Alert>,
    /// The partitions whose rules say that it goes on, by fingerprint.
    held_by: BTreeMap<String, BTreeSet<Partition>>,
    changed: BTreeMap<String, Alert>,
    outbox: Vec<Notification>,
}

impl Lifecycle {
    /// With those that were firing when the last process ended; `receivers` are told of all.
    pub fn new(receivers: Vec<String>, firing: Vec<Alert>) -> Self {
        let firing = firing.into_iter().map(|alert| (alert.fingerprint.clone(), alert)).collect();
        Self { receivers, firing, ..Self::default() }
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
                self.tell(&alert, now);
                self.firing.insert(alert.fingerprint.clone(), alert.clone());
                self.changed.insert(alert.id.clone(), alert);
            }
            (FindingKind::Fired | FindingKind::Updated, Some(alert)) => {
                alert.first = alert.first.min(finding.first);
                alert.last = alert.last.max(finding.last);
                alert.count = alert.count.max(finding.count);
                add_evidence(alert, &finding.evidence);
                self.changed.insert(alert.id.clone(), alert.clone());
            }
            (FindingKind::Resolved, Some(_)) => {
                let Some(mut alert) = self.firing.remove(&finding.fingerprint) else { return };
                alert.state = AlertState::Resolved;
                alert.last = alert.last.max(finding.last);
                alert.count = alert.count.max(finding.count);
                alert.resolved_at = Some(now);
                self.tell(&alert, now);
                self.changed.insert(alert.id.clone(), alert);
            }
            // It was resolved before this process knew of it.
            (FindingKind::Updated | FindingKind::Resolved, None) => {}
        }
    }

    /// What must be stored now.
    pub fn changes(&mut self) -> Changes {
        Changes {
            alerts: std::mem::take(&mut self.changed).into_values().collect(),
            notifications: std::mem::take(&mut self.outbox),
        }
    }

    fn tell(&mut self, alert: &Alert, now: Timestamp) {
        for receiver in &self.receivers {
            let body = json!({ "version": "1", "status": alert.state, "receiver": receiver, "alert": alert });
            self.outbox.push(Notification {
                id: format!("{}/{receiver}/{}", alert.id, alert.state),
                alert_id: alert.id.clone(),
                receiver: receiver.clone(),
                body: body.to_string(),
                created: now,
            });
        }
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
        evidence: finding.evidence.into_iter().take(EVIDENCE).collect(),
        resolved_at: None,
    }
}

fn add_evidence(alert: &mut Alert, records: &[RecordId]) {
    for record in records {
        if alert.evidence.len() < EVIDENCE && !alert.evidence.contains(record) {
            alert.evidence.push(*record);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_detect::Level;

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
        let mut lifecycle = Lifecycle::new(vec!["ops".into()], Vec::new());
        for count in 8..12 {
            let kind = if count == 8 { FindingKind::Fired } else { FindingKind::Updated };
            lifecycle.take(P0, finding(kind, count), Timestamp(100));
        }
        let first = lifecycle.changes();
        assert_eq!((first.alerts.len(), first.alerts[0].count, first.notifications.len()), (1, 11, 1));
        assert_eq!(lifecycle.changes(), Changes::default());

        // A new process goes on with what was stored.
        let mut lifecycle = Lifecycle::new(vec!["ops".into()], first.alerts.clone());
        lifecycle.take(P0, finding(FindingKind::Updated, 12), Timestamp(140));
        lifecycle.take(P1, finding(FindingKind::Fired, 12), Timestamp(150));
        lifecycle.take(P0, finding(FindingKind::Resolved, 12), Timestamp(160));
        assert_eq!(lifecycle.changes().alerts[0].state, AlertState::Firing);
        lifecycle.take(P1, finding(FindingKind::Resolved, 12), Timestamp(200));
        lifecycle.take(P1, finding(FindingKind::Resolved, 12), Timestamp(300));
        let last = lifecycle.changes();
        assert_eq!(
            (last.alerts[0].id.as_str(), last.alerts[0].state),
            (first.alerts[0].id.as_str(), AlertState::Resolved)
        );
        assert_eq!(last.alerts[0].resolved_at, Some(Timestamp(200)));
        assert_eq!(last.notifications.len(), 1);
        assert_ne!(last.notifications[0].id, first.notifications[0].id);
    }
}
