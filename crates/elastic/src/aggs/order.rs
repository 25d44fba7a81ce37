//! By what buckets are ordered, and values that are found by a path: `_count`, `_key`, `a>b.avg`, `percentiles[95.0]`.

use super::spec::OrderKey;
use crate::{
    Error,
    json::{float, float_text},
};
use serde_json::{Map, Value as Json};
use std::cmp::Ordering;

/// The number that a path leads to within a bucket. `None`: there is none.
pub(super) fn number(bucket: &Map<String, Json>, path: &str) -> Option<f64> {
    match path {
        "_count" => return bucket.get("doc_count").and_then(Json::as_f64),
        "_key" => return bucket.get("key").and_then(float),
        _ => {}
    }
    if let Some((first, rest)) = path.split_once('>') {
        let (name, key) = bracket(first.trim());
        let inner = bucket.get(name)?.as_object()?;
        let inner = match key {
            None => inner,
            Some(key) => bucket_of(inner, key)?,
        };
        return number(inner, rest.trim());
    }
    if let Some(name) = path.strip_suffix("._bucket_count") {
        return Some(match bucket.get(name)?.get("buckets")? {
            Json::Array(all) => all.len() as f64,
            Json::Object(all) => all.len() as f64,
            _ => return None,
        });
    }
    if let Some(found) = bucket.get(path) {
        return value(found, None);
    }
    let (name, key) = bracket(path);
    if let (Some(found), Some(key)) = (bucket.get(name), key) {
        return value(found, Some(key));
    }
    // Names and what is meant of them may both have dots: the shortest name that there is.
    path.match_indices('.').find_map(|(dot, _)| value(bucket.get(&path[..dot])?, Some(&path[dot + 1..])))
}

/// `a[b]`, `a['b']`.
fn bracket(path: &str) -> (&str, Option<&str>) {
    match path.strip_suffix(']').and_then(|path| path.split_once('[')) {
        Some((name, key)) => (name, Some(key.trim_matches(['\'', '"']))),
        None => (path, None),
    }
}

fn bucket_of<'b>(inner: &'b Map<String, Json>, key: &str) -> Option<&'b Map<String, Json>> {
    match inner.get("buckets")? {
        Json::Object(all) => all.get(key)?.as_object(),
        Json::Array(all) => {
            let is = |bucket: &&Json| {
                let text = |name: &str| bucket.get(name).and_then(crate::json::scalar);
                text("key").as_deref() == Some(key) || text("key_as_string").as_deref() == Some(key)
            };
            all.iter().find(is)?.as_object()
        }
        _ => None,
    }
}

/// The number of a metric, or one of its numbers.
fn value(found: &Json, part: Option<&str>) -> Option<f64> {
    let Some(part) = part else {
        return match found.get("value") {
            Some(value) => value.as_f64(),
            // A bucket stands for its count.
            None => found.get("doc_count").and_then(Json::as_f64),
        };
    };
    if part == "_count" {
        return found.get("doc_count").and_then(Json::as_f64);
    }
    if let Some(value) = found.get(part).and_then(Json::as_f64) {
        return Some(value);
    }
    // `std_upper`, as some clients write it.
    let bounds = |part: &str| found.get("std_deviation_bounds")?.get(part)?.as_f64();
    if let Some(value) = part.strip_prefix("std_").and_then(bounds) {
        return Some(value);
    }
    let percent = part.parse::<f64>().ok()?;
    match found.get("values")? {
        Json::Object(values) => values.get(&float_text(percent))?.as_f64(),
        Json::Array(values) => {
            let is = |point: &&Json| point.get("key").and_then(Json::as_f64) == Some(percent);
            values.iter().find(is)?.get("value")?.as_f64()
        }
        _ => None,
    }
}

/// Does an order need what is inside of buckets?
pub(super) fn needs_inside(order: &[OrderKey]) -> bool {
    order.iter().any(|key| key.path != "_key" && key.path != "_count")
}

/// How two buckets come by their metrics; what has no value comes last.
pub(super) fn by_metric(key: &OrderKey, a: &Map<String, Json>, b: &Map<String, Json>) -> Ordering {
    match (number(a, &key.path), number(b, &key.path)) {
        (Some(a), Some(b)) if key.descending => b.total_cmp(&a),
        (Some(a), Some(b)) => a.total_cmp(&b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}

/// Is there such an aggregation inside?
pub(super) fn check(order: &[OrderKey], names: &[&str]) -> Result<(), Error> {
    for key in order {
        if matches!(key.path.as_str(), "_key" | "_count") {
            continue;
        }
        let first = key.path.split('>').next().unwrap_or_default();
        let is_known = names.iter().any(|name| {
            first == *name || first.strip_prefix(name).is_some_and(|rest| rest.starts_with(['.', '[']))
        });
        if !is_known {
            let shown: String = key.path.chars().take(100).collect();
            return Err(Error::argument(format!(
                "Invalid aggregator order path [{shown}]. The provided aggregation [{}] either does not exist, or is a pipeline aggregation and cannot be used to sort the buckets.",
                first.chars().take(100).collect::<String>()
            )));
        }
    }
    Ok(())
}
