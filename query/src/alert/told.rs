//! How an alert is told: as JSON, in answers and notifications, and as a record, which is what matchers are asked of and
//! what lies in the stream [`STREAM`].

use millrace_catalogue::{Act, AlertState, Demoted, Hushed, KeptAlert, Verdict};
use millrace_model::{LogRecord, RecordId, Severity, StreamName, Timestamp, Value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The stream in which the history of alerts lies.
pub const STREAM: &str = StreamName::ALERTS;

/// An alert as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertTold {
    /// Its id.
    pub id: String,
    /// What makes two findings one alert.
    pub fingerprint: String,
    /// The rule.
    pub rule_id: String,
    /// The rule's title.
    pub title: String,
    /// The level that it has now.
    pub level: String,
    /// Where it is in its life.
    pub state: AlertState,
    /// The values that the rule groups by.
    pub group: BTreeMap<String, String>,
    /// The first finding's time.
    pub first: Timestamp,
    /// The latest finding's time.
    pub last: Timestamp,
    /// How many findings.
    pub count: u64,
    /// Some of the records that it rests on.
    pub evidence: Vec<RecordId>,
    /// When it ended, if it has.
    pub resolved_at: Option<Timestamp>,
    /// Why nobody is told now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hushed: Option<Hushed>,
    /// The silences that have covered it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silences: Vec<String>,
    /// The alert that inhibits it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inhibited_by: Option<String>,
    /// The alert whose verdict suppresses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppressed_by: Option<String>,
    /// It has a lower level than its rule gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub demoted: Option<Demoted>,
    /// Who has seen it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Act>,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<String>,
    /// Who said that it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Act>,
}

impl From<&KeptAlert> for AlertTold {
    fn from(kept: &KeptAlert) -> Self {
        let KeptAlert { alert, marks, triage, .. } = kept;
        Self {
            id: alert.id.clone(),
            fingerprint: alert.fingerprint.clone(),
            rule_id: alert.rule_id.clone(),
            title: alert.title.clone(),
            level: kept.level().to_owned(),
            state: kept.state(),
            group: alert.group.clone(),
            first: alert.first,
            last: alert.last,
            count: alert.count,
            evidence: alert.evidence.clone(),
            resolved_at: kept.ended(),
            hushed: marks.hushed,
            silences: marks.silences.clone(),
            inhibited_by: marks.inhibited_by.clone(),
            suppressed_by: marks.suppressed_by.clone(),
            demoted: marks.demoted.clone(),
            acknowledged: triage.acknowledged.clone(),
            assignee: triage.assignee.clone(),
            closed: triage.closed.clone(),
        }
    }
}

impl AlertTold {
    /// Is it over?
    pub fn is_over(&self) -> bool {
        self.state == AlertState::Resolved
    }

    /// Its group in words: `host=web1, user=ann`.
    pub fn group_in_words(&self) -> String {
        let words: Vec<String> = self.group.iter().map(|(name, value)| format!("{name}={value}")).collect();
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
    let mut record = LogRecord {
        timestamp: Some(now),
        observed_timestamp: now,
        severity: severity(&told.level),
        severity_text: told.level.clone(),
        body: Value::String(format!("{}: {}{place}", told.state, told.title)),
        ..LogRecord::default()
    };
    let attributes = &mut record.attributes;
    for (name, value) in &told.group {
        attributes.set(name, value.as_str());
    }
    let texts = [
        ("rule.id", Some(told.rule_id)),
        ("rule.title", Some(told.title)),
        ("alert.id", Some(told.id)),
        ("alert.fingerprint", Some(told.fingerprint)),
        ("alert.state", Some(told.state.to_string())),
        ("alert.first", Some(told.first.to_string())),
        ("alert.last", Some(told.last.to_string())),
        ("alert.resolved_at", told.resolved_at.map(|at| at.to_string())),
        ("alert.hushed", told.hushed.map(|hushed| hushed_name(hushed).to_owned())),
        ("alert.inhibited_by", told.inhibited_by),
        ("alert.suppressed_by", told.suppressed_by),
        ("alert.demoted_from", told.demoted.as_ref().map(|demoted| demoted.from.clone())),
        ("alert.similar_to", told.demoted.map(|demoted| demoted.similar_to)),
        ("alert.acknowledged_by", told.acknowledged.map(|act| act.by)),
        ("alert.assignee", told.assignee),
        ("alert.closed_by", told.closed.map(|act| act.by)),
        ("alert.verdict", verdict.map(|verdict| verdict.verdict.name().to_owned())),
        ("alert.verdict_reason", verdict.map(|verdict| verdict.reason.clone())),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            attributes.set(name, text);
        }
    }
    attributes.set("alert.count", i64::try_from(told.count).unwrap_or(i64::MAX));
    attributes.set("alert.revision", i64::try_from(kept.revision).unwrap_or(i64::MAX));
    for (name, ids) in [
        ("alert.silences", told.silences),
        ("alert.evidence", told.evidence.iter().map(ToString::to_string).collect()),
    ] {
        if !ids.is_empty() {
            attributes.set(name, Value::Array(ids.into_iter().map(Value::String).collect()));
        }
    }
    record
}

/// As it stands in history.
pub fn hushed_name(hushed: Hushed) -> &'static str {
    match hushed {
        Hushed::Silenced => "silenced",
        Hushed::Inhibited => "inhibited",
        Hushed::Suppressed => "suppressed",
    }
}
