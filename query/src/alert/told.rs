//! How an alert is told: as JSON, in answers and notifications, and as a record, which is what matchers are asked of and
//! what lies in the stream [`STREAM`].

use millrace_catalogue::{Alert, AlertState, KeptAlert, Marks, Triage, Verdict};
use millrace_model::{LogRecord, Severity, StreamName, Timestamp, Value};
use serde::{Deserialize, Serialize};

/// The stream in which the history of alerts lies.
pub const STREAM: &str = StreamName::ALERTS;

/// An alert as it is told: what its rule says, with the level and the state that it has now, what was found out, and what people
/// did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertTold {
    /// The alert.
    #[serde(flatten)]
    pub alert: Alert,
    /// What was found out about it.
    #[serde(flatten)]
    pub marks: Marks,
    /// What people did with it.
    #[serde(flatten)]
    pub triage: Triage,
}

impl From<&KeptAlert> for AlertTold {
    fn from(kept: &KeptAlert) -> Self {
        let alert = Alert {
            level: kept.level().to_owned(),
            state: kept.state(),
            resolved_at: kept.ended(),
            ..kept.alert.clone()
        };
        Self { alert, marks: kept.marks.clone(), triage: kept.triage.clone() }
    }
}

impl AlertTold {
    /// Is it over?
    pub fn is_over(&self) -> bool {
        self.alert.state == AlertState::Resolved
    }

    /// Its group in words: `host=web1, user=ann`.
    pub fn group_in_words(&self) -> String {
        let words: Vec<String> =
            self.alert.group.iter().map(|(name, value)| format!("{name}={value}")).collect();
        words.join(", ")
    }
}

/// The levels of rules among those of records, so that each can be compared: `level:>=error` is high and critical.
pub fn severity(level: &str) -> Severity {
    match level {
        "critical" => Severity::FATAL,
        "high" => Severity::ERROR,
        "medium" => Severity::from_number(14),
        "low" => Severity::WARN,
        _ => Severity::INFO,
    }
}

/// An alert as a record: the values of its group under their own names, the rest under `rule.` and `alert.`.
pub fn record(kept: &KeptAlert, verdict: Option<&Verdict>, now: Timestamp) -> LogRecord {
    let told = AlertTold::from(kept);
    let group = told.group_in_words();
    let place = if group.is_empty() { String::new() } else { format!(" ({group})") };
    let AlertTold { alert, marks, triage } = told;
    let mut record = LogRecord {
        timestamp: Some(now),
        observed_timestamp: now,
        severity: severity(&alert.level),
        severity_text: alert.level,
        body: Value::String(format!("{}: {}{place}", alert.state, alert.title)),
        ..LogRecord::default()
    };
    let attributes = &mut record.attributes;
    for (name, value) in &alert.group {
        attributes.set(name, value.as_str());
    }
    let texts = [
        ("rule.id", Some(alert.rule_id)),
        ("rule.title", Some(alert.title)),
        ("alert.id", Some(alert.id)),
        ("alert.fingerprint", Some(alert.fingerprint)),
        ("alert.state", Some(alert.state.to_string())),
        ("alert.first", Some(alert.first.to_string())),
        ("alert.last", Some(alert.last.to_string())),
        ("alert.resolved_at", alert.resolved_at.map(|at| at.to_string())),
        ("alert.hushed", marks.hushed.map(|hushed| hushed.name().to_owned())),
        ("alert.inhibited_by", marks.inhibited_by),
        ("alert.suppressed_by", marks.suppressed_by),
        ("alert.demoted_from", marks.demoted.as_ref().map(|demoted| demoted.from.clone())),
        ("alert.similar_to", marks.demoted.map(|demoted| demoted.similar_to)),
        ("alert.acknowledged_by", triage.acknowledged.map(|act| act.by)),
        ("alert.assignee", triage.assignee),
        ("alert.closed_by", triage.closed.map(|act| act.by)),
        ("alert.verdict", verdict.map(|verdict| verdict.verdict.name().to_owned())),
        ("alert.verdict_reason", verdict.map(|verdict| verdict.reason.clone())),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            attributes.set(name, text);
        }
    }
    attributes.set("alert.count", i64::try_from(alert.count).unwrap_or(i64::MAX));
    attributes.set("alert.revision", i64::try_from(kept.revision).unwrap_or(i64::MAX));
    for (name, ids) in [
        ("alert.silences", marks.silences),
        ("alert.evidence", alert.evidence.iter().map(ToString::to_string).collect()),
    ] {
        if !ids.is_empty() {
            attributes.set(name, Value::Array(ids.into_iter().map(Value::String).collect()));
        }
    }
    record
}
