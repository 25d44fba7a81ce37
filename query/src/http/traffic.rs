//! `/api/v1/traffic`: who brings how much, and what of it was beyond a quota.

use super::{Api, ApiError, described::Time, parameters::wrong};
use crate::INDEXER_GROUP;
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use millrace_catalogue::{Amount, Day, TRAFFIC_DAYS, Traffic};
use millrace_model::{StreamName, Timestamp};
use millrace_store::Leaf;
use serde::{Deserialize, Serialize};
use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};
use utoipa::{IntoParams, ToSchema};

/// What may be asked.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Parameters {
    /// So many days, today among them.
    #[param(default = 7, minimum = 1, maximum = 400)]
    days: Option<i64>,
    /// Added up by what.
    #[serde(default)]
    #[param(default = "host", required = false)]
    by: By,
}

/// What is added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = TrafficBy)]
pub enum By {
    /// A row for each stream and host.
    #[default]
    Host,
    /// A row for each stream.
    Stream,
    /// A row for each day and stream.
    Day,
}

/// Who brings how much.
#[derive(Serialize, ToSchema)]
#[schema(as = Traffic)]
pub(super) struct TrafficTold {
    /// The beginning of the first day.
    #[schema(value_type = Time)]
    since: Timestamp,
    /// Of all together.
    bytes: u64,
    /// The largest first; days in order.
    traffic: Vec<TrafficRow>,
}

/// Some of it.
#[derive(Serialize, ToSchema)]
struct TrafficRow {
    /// `2026-01-15`, where it is added up by days.
    #[schema(required)]
    day: Option<String>,
    #[schema(value_type = String)]
    stream: StreamName,
    /// Where it is added up by hosts.
    #[schema(required)]
    host: Option<String>,
    records: u64,
    bytes: u64,
    /// What part of all bytes that is, up to 1.
    share: f64,
    /// What of it went beyond a quota, and was kept aside.
    held_bytes: u64,
}

type Key = (Option<Day>, StreamName, Option<String>);

/// Who brings how much, and what of it was beyond a quota: the largest first; days in order.
#[utoipa::path(
    get,
    path = "/api/v1/traffic",
    tag = "state",
    operation_id = "traffic",
    params(Parameters),
    responses((status = 200, description = "The traffic", body = TrafficTold))
)]
pub(super) async fn list<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<TrafficTold>, ApiError> {
    let Query(Parameters { days, by }) = parameters.map_err(|e| wrong("query string", e.body_text()))?;
    let days = days.unwrap_or(7);
    if !(1..=TRAFFIC_DAYS).contains(&days) {
        return Err(wrong("days", format!("1 to {TRAFFIC_DAYS} expected, found {days}")));
    }
    let since = Day(Day::of(api.searcher.now()).0 - days + 1);
    let traffic = api.searcher.catalogue().traffic(INDEXER_GROUP, since).await?;
    let all: u64 = traffic.iter().map(|one| one.amount.bytes).sum();
    let rows = added_up(traffic, by).into_iter().map(|row| describe(row, all)).collect();
    Ok(Json(TrafficTold { since: since.start(), bytes: all, traffic: rows }))
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

fn describe(((day, stream, host), amount): (Key, Amount), all: u64) -> TrafficRow {
    TrafficRow {
        day: day.map(|day| day.start().to_string().chars().take(10).collect()),
        stream,
        host,
        records: amount.records,
        bytes: amount.bytes,
        share: if all == 0 { 0.0 } else { amount.bytes as f64 / all as f64 },
        held_bytes: amount.held_bytes,
    }
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
                    (describe((key, amount), 85).stream.to_string(), amount.records, amount.bytes)
                })
                .collect()
        };
        let row = |stream: &str, records, bytes| (stream.to_owned(), records, bytes);
        assert_eq!(rows(By::Host), [row("app", 1, 40), row("web", 1, 30), row("web", 2, 15)]);
        assert_eq!(rows(By::Stream), [row("web", 3, 45), row("app", 1, 40)]);
        assert_eq!(rows(By::Day), [row("web", 2, 40), row("app", 1, 40), row("web", 1, 5)]);
        let first = describe(added_up(all(), By::Day).remove(0), 85);
        assert_eq!((first.day.as_deref(), first.host.is_none()), (Some("1970-01-02"), true));
    }
}
