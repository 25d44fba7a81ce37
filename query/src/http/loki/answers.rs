//! Answers in Loki's shapes.

use crate::{Missing, loki::Logs};
use axum::Json;
use millrace_logql::{Entry, Labels, Series, Value, units};
use serde_json::{Value as Json_, json};
use std::collections::BTreeMap;

/// The version of Loki whose API this is: clients ask for it to know what they may ask for.
const VERSION: &str = "3.5.0";

pub(super) async fn build_info() -> Json<Json_> {
    Json(
        json!({ "version": VERSION, "revision": "millrace", "branch": "", "buildUser": "", "buildDate": "", "goVersion": "" }),
    )
}

/// An answer with its data, and what it may lack.
#[expect(clippy::needless_pass_by_value, reason = "it is all of the answer")]
pub(super) fn success(data: Json_, missing: &[Missing]) -> Json<Json_> {
    let mut answer = json!({ "status": "success", "data": data });
    if !missing.is_empty() {
        answer["warnings"] = missing.iter().map(|one| format!("partial answer: {}", one.reason)).collect();
    }
    Json(answer)
}

/// Lines by their streams, each stream in the order of its lines.
pub(super) fn streams(logs: &Logs, categorize: bool) -> Json_ {
    let mut streams: Vec<(Labels, Vec<Json_>)> = Vec::new();
    let mut places: BTreeMap<Labels, usize> = BTreeMap::new();
    for entry in &logs.entries {
        let labels = if categorize { entry.stream_labels() } else { entry.labels() };
        let place = *places.entry(labels.clone()).or_insert_with(|| {
            streams.push((labels, Vec::new()));
            streams.len() - 1
        });
        streams[place].1.push(line(entry, categorize));
    }
    let result: Vec<Json_> =
        streams.into_iter().map(|(stream, values)| json!({ "stream": stream, "values": values })).collect();
    let mut data = json!({ "resultType": "streams", "result": result, "stats": {} });
    if categorize {
        data["encodingFlags"] = json!(["categorize-labels"]);
    }
    data
}

fn line(entry: &Entry, categorize: bool) -> Json_ {
    let time = entry.timestamp.to_string();
    if !categorize {
        return json!([time, entry.line]);
    }
    let mut own = json!({});
    for (name, labels) in [("structuredMetadata", entry.metadata_labels()), ("parsed", entry.parsed_labels())]
    {
        if !labels.is_empty() {
            own[name] = json!(labels);
        }
    }
    json!([time, entry.line, own])
}

/// A metric over some steps; `at`: the milliseconds at which a number is told that has no time.
pub(super) fn matrix(value: &Value, steps: &[i64]) -> Json_ {
    let result: Vec<Json_> = match value {
        Value::Scalar(number) => {
            let points: Vec<Json_> = steps.iter().map(|time| point(*time, *number)).collect();
            vec![json!({ "metric": {}, "values": points })]
        }
        Value::Series(series) => series
            .iter()
            .map(|Series { labels, points }| {
                let points: Vec<Json_> = points.iter().map(|(time, value)| point(*time, *value)).collect();
                json!({ "metric": labels, "values": points })
            })
            .collect(),
    };
    json!({ "resultType": "matrix", "result": result, "stats": {} })
}

/// A metric at one time.
pub(super) fn vector(value: &Value, time: i64) -> Json_ {
    match value {
        Value::Scalar(number) => {
            json!({ "resultType": "scalar", "result": point(time, *number), "stats": {} })
        }
        Value::Series(series) => {
            let last = |one: &Series| {
                let (_, value) = *one.points.last()?;
                Some(json!({ "metric": one.labels, "value": point(time, value) }))
            };
            let result: Vec<Json_> = series.iter().filter_map(last).collect();
            json!({ "resultType": "vector", "result": result, "stats": {} })
        }
    }
}

/// Seconds, and the number as Go writes it.
fn point(millis: i64, value: f64) -> Json_ {
    let time = if millis % 1000 == 0 { json!(millis / 1000) } else { json!(millis as f64 / 1e3) };
    json!([time, units::number(value)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_clients_read_them() {
        assert_eq!(point(1500, 0.5), json!([1.5, "0.5"]));
        assert_eq!(point(2000, 3.0), json!([2, "3"]));
        assert_eq!(
            matrix(&Value::Scalar(2.0), &[1000, 2000])["result"][0]["values"],
            json!([[1, "2"], [2, "2"]])
        );
    }
}
