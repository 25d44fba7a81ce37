//! `PagerDuty`, by its Events API v2: an event an alert, whose id keeps what is sent twice from being two incidents.

use super::super::told::AlertTold;
use serde_json::{Value, json};

/// Where events go, unless it is configured.
pub(super) const URL: &str = "https://events.pagerduty.com/v2/enqueue";
/// The longest summary, in characters.
const SUMMARY: usize = 1_024;

/// As its API takes it.
pub(super) fn event(told: &AlertTold, routing_key: &str) -> Value {
    let alert = &told.alert;
    let action = if told.is_over() { "resolve" } else { "trigger" };
    let mut event = json!({ "routing_key": routing_key, "event_action": action, "dedup_key": alert.id });
    if !told.is_over() {
        let group = told.group_in_words();
        let place = if group.is_empty() { String::new() } else { format!(": {group}") };
        let summary: String = format!("{}{place}", alert.title).chars().take(SUMMARY).collect();
        let source =
            ["host", "host.name", "source_ip", "service"].iter().find_map(|name| alert.group.get(*name));
        event["payload"] = json!({
            "summary": summary,
            "source": source.or_else(|| alert.group.values().next()).map_or("millrace", String::as_str),
            "severity": match alert.level.as_str() {
                "critical" => "critical",
                "high" => "error",
                "medium" => "warning",
                _ => "info",
            },
            "timestamp": alert.first,
            "class": alert.rule_id,
            "custom_details": told,
        });
    }
    event
}
