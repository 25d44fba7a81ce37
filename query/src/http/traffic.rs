//! `/api/v1/traffic`: who brings how much, and what of it was beyond a quota.

use super::{Api, ApiError, parameters::wrong};
use crate::INDEXER_GROUP;
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use millrace_catalogue::{Amount, Day, TRAFFIC_DAYS, Traffic};
use millrace_model::StreamName;
use millrace_store::Leaf;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

/// What may be asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// So many days, today among them. Default 7.
    days: Option<i64>,
    /// Added up by what. Default `host`.
    #[serde(default)]
    by: By,
}

/// What is added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// A row for each stream and host.
    #[default]
    Host,
    /// A row for each stream.
    Stream,
    /// A row for each day and stream.
    Day,
}

type Key = (Option<Day>, StreamName, Option<String>);

/// The largest first; days in order.
pub async fn list<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<Value>, ApiError> {
    let Query(Parameters { days, by }) = parameters.map_err(|e| wrong("query string", e.body_text()))?;
    let days = days.unwrap_or(7);
    if !(1..=TRAFFIC_DAYS).contains(&days) {
        return Err(wrong("days", format!("1 to {TRAFFIC_DAYS} expected, found {days}")));
    }
    let since = Day(Day::of(api.searcher.now()).0 - days + 1);
    let traffic = api.searcher.catalogue().traffic(INDEXER_GROUP, since).await?;
    let all: u64 = traffic.iter().map(|one| one.amount.bytes).sum();
    let rows: Vec<Value> = added_up(traffic, by).into_iter().map(|row| describe(row, all)).collect();
    Ok(Json(json!({ "since": since.start(), "bytes": all, "traffic": rows })))
}

fn added_up(traffic: Vec<Traffic>, by: By) -> Vec<(Key, Amount)> {
    let mut sums: BTreeMap<Key, Amount> = BTreeMap::new();
    for Traffic { day, stream, host, amount } in traffic {
        let key = ((by == By::Day).then_some(day), stream, (by == By::Host).then_some(host));
        *sums.entry(key).or_default() += amount;
    }
    let mut rows: Vec<(Key, Amount)> = sums.into_iter().collect();
    rows.sort_by_key(|((day, ..), amount)| (*day, Reverse(amount.bytes)));
    rows
}

fn describe(((day, stream, host), amount): (Key, Amount), all: u64) -> Value {
    json!({
        "day": day.map(|day| day.start().to_string().chars().take(10).collect::<String>()),
        "stream": stream,
        "host": host,
        "records": amount.records,
        "bytes": amount.bytes,
        "share": if all == 0 { 0.0 } else { amount.bytes as f64 / all as f64 },
        "held_bytes": amount.held_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(day: i64, stream: &str, host: &str, bytes: u64) -> Traffic {
        let stream = stream.parse().unwrap_or_default();
        let amount = Amount { records: 1, bytes, held_bytes: 0 };
        Traffic { day: Day(day), stream, host: host.to_owned(), amount }
    }

    #[test]
    fn rows_are_added_up_the_largest_first() {
        let all = || {
            vec![
                traffic(1, "web", "a", 10),
                traffic(1, "web", "b", 30),
                traffic(2, "web", "a", 5),
                traffic(2, "app", "a", 40),
            ]
        };
        let rows = |by| -> Vec<(String, u64, u64)> {
            added_up(all(), by)
                .into_iter()
                .map(|(key, amount)| {
                    (describe((key, amount), 85)["stream"].to_string(), amount.records, amount.bytes)
                })
                .collect()
        };
        let row = |stream: &str, records, bytes| (format!("{stream:?}"), records, bytes);
        assert_eq!(rows(By::Host), [row("app", 1, 40), row("web", 1, 30), row("web", 2, 15)]);
        assert_eq!(rows(By::Stream), [row("web", 3, 45), row("app", 1, 40)]);
        assert_eq!(rows(By::Day), [row("web", 2, 40), row("app", 1, 40), row("web", 1, 5)]);
        let first = describe(added_up(all(), By::Day).remove(0), 85);
        assert_eq!((first["day"].as_str(), first["host"].is_null()), (Some("1970-01-02"), true));
    }
}
