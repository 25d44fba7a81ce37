//! Prometheus' Alertmanager, by its API v2. It forgets an alert whose end is past, so it is told again of those that fire, each
//! time with an end a little later.

use super::{super::told::AlertTold, template::Text};
use millrace_model::Timestamp;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// It is told again so often of an alert that fires.
pub(super) const REFRESH: Duration = Duration::from_mins(1);
/// For so long it takes an alert to fire that it hears nothing of.
const HOLDS: Duration = Duration::from_mins(4);

/// As its API takes them.
pub(super) fn alerts<'a>(alerts: impl Iterator<Item = &'a AlertTold>, text: &Text, now: Timestamp) -> Value {
    let one = |told: &AlertTold| {
        let alert = &told.alert;
        let ends = match alert.resolved_at {
            Some(at) if told.is_over() => at,
            _ => now.plus(HOLDS),
        };
        let mut annotations =
            json!({ "summary": alert.title, "description": text.body, "count": alert.count.to_string() });
        if let Some(demoted) = &told.marks.demoted {
            annotations["demoted_to"] = json!(demoted.to);
        }
        json!({ "labels": labels(told), "annotations": annotations, "startsAt": alert.first, "endsAt": ends.max(alert.first) })
    };
    Value::Array(alerts.map(one).collect())
}

/// What it knows an alert by: the same for as long as it lives.
fn labels(told: &AlertTold) -> Map<String, Value> {
    let alert = &told.alert;
    let mut labels = Map::new();
    for (name, value) in &alert.group {
        labels.insert(label(name), json!(value));
    }
    let level = told.marks.demoted.as_ref().map_or(&alert.level, |demoted| &demoted.from);
    for (name, value) in [
        ("alertname", &alert.title),
        ("severity", level),
        ("rule_id", &alert.rule_id),
        ("alert_id", &alert.id),
    ] {
        labels.insert(name.to_owned(), json!(value));
    }
    labels
}

/// A name as labels may have it.
fn label(name: &str) -> String {
    let mut label: String =
        name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect();
    if label.starts_with(|first: char| first.is_ascii_digit()) || label.is_empty() {
        label.insert(0, '_');
    }
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_what_they_may_be() {
        for (name, expected) in [
            ("source_ip", "source_ip"),
            ("host.name", "host_name"),
            ("4xx", "_4xx"),
            ("größe", "gr__e"),
            ("", "_"),
        ] {
            assert_eq!(label(name), expected);
        }
    }
}
