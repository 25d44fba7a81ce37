//! Pipeline aggregations: what is made of buckets once they are there. Those inside of buckets look along them, one after the other;
//! siblings look at all of them at once.

use super::{
    metric::{extend, points},
    order::{by_metric, number},
    script::Script,
    spec::{OrderKey, Piped, PipedKind, Sibling},
};
use crate::Error;
use serde_json::{Map, Value as Json, json};

type Bucket = Map<String, Json>;

/// What is made of the values of a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Moving {
    Max,
    Min,
    Sum,
    Average,
    StdDev,
    Linear,
    Ewma(f64),
    Holt(f64, f64),
}

impl Moving {
    /// From a call of one of `MovingFunctions`.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let shown: String = text.chars().take(100).collect();
        let wrong = || {
            let error =
                Error::argument(format!("compile error in [{shown}]: a call of MovingFunctions is expected"));
            Error { kind: "script_exception", ..error }
        };
        let call = text.trim().trim_start_matches("return ").trim_end_matches(';').trim();
        let (name, rest) =
            call.strip_prefix("MovingFunctions.").and_then(|call| call.split_once('(')).ok_or_else(wrong)?;
        let arguments = rest.strip_suffix(')').ok_or_else(wrong)?;
        let arguments: Vec<&str> = arguments.split(',').map(str::trim).collect();
        if arguments.first() != Some(&"values") {
            return Err(wrong());
        }
        let weight = |at: usize, otherwise: f64| match arguments.get(at) {
            None => Ok(otherwise),
            Some(text) => {
                text.parse::<f64>().ok().filter(|weight| (0.0..=1.0).contains(weight)).ok_or_else(wrong)
            }
        };
        Ok(match name {
            "max" => Self::Max,
            "min" => Self::Min,
            "sum" => Self::Sum,
            "unweightedAvg" => Self::Average,
            "stdDev" => Self::StdDev,
            "linearWeightedAvg" => Self::Linear,
            "ewma" => Self::Ewma(weight(1, 0.3)?),
            "holt" => Self::Holt(weight(1, 0.3)?, weight(2, 0.1)?),
            _ => return Err(wrong()),
        })
    }

    /// `None`: there is none, of no values.
    fn of(self, values: &[f64]) -> Option<f64> {
        let count = values.len() as f64;
        if self == Self::Sum {
            return Some(values.iter().sum());
        }
        let (first, rest) = values.split_first()?;
        let mean = values.iter().sum::<f64>() / count;
        Some(match self {
            Self::Max => rest.iter().copied().fold(*first, f64::max),
            Self::Min => rest.iter().copied().fold(*first, f64::min),
            Self::Sum | Self::Average => mean,
            Self::StdDev => (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt(),
            Self::Linear => {
                let weighted: f64 =
                    values.iter().enumerate().map(|(at, value)| value * (at + 1) as f64).sum();
                weighted / (count * (count + 1.0) / 2.0)
            }
            Self::Ewma(alpha) => {
                rest.iter().fold(*first, |so_far, value| value * alpha + so_far * (1.0 - alpha))
            }
            Self::Holt(alpha, beta) => {
                let (mut level, mut trend) = (*first, 0.0);
                for value in rest {
                    let before = level;
                    level = alpha * value + (1.0 - alpha) * (level + trend);
                    trend = beta * (level - before) + (1.0 - beta) * trend;
                }
                level
            }
        })
    }
}

/// Carries out those that stand inside of buckets, on all of the buckets.
pub(super) fn inside(all: &[(&str, &Piped)], buckets: &mut Vec<Bucket>) {
    for (name, piped) in in_turn(all) {
        if !piped.kind.is_sibling() {
            along(name, piped, buckets);
        }
    }
}

/// Carries out those that stand beside aggregations.
pub(super) fn beside(all: &[(&str, &Piped)], scope: &mut Map<String, Json>) {
    for (name, piped) in in_turn(all) {
        if let PipedKind::Sibling(kind) = &piped.kind {
            let value = sibling(kind, piped, scope);
            scope.insert(name.to_owned(), value);
        }
    }
}

/// Those that others read come before these.
fn in_turn<'p>(all: &[(&'p str, &'p Piped)]) -> Vec<(&'p str, &'p Piped)> {
    let (mut waiting, mut turn) = (all.to_vec(), Vec::new());
    while !waiting.is_empty() {
        let names: Vec<&str> = waiting.iter().map(|(name, _)| *name).collect();
        let reads = |name: &str, piped: &Piped| {
            piped.paths.iter().any(|(_, path)| {
                let first = path.split(['>', '.', '[']).next().unwrap_or_default();
                names.iter().any(|waiting| *waiting != name && (*waiting == first || *waiting == path))
            })
        };
        // Buckets are sorted and left out when all else is there.
        let is_last = |piped: &Piped| matches!(piped.kind, PipedKind::Sort { .. } | PipedKind::Selector(_));
        let ready = waiting.iter().position(|(name, piped)| !reads(name, piped) && !is_last(piped));
        let next = ready.or_else(|| waiting.iter().position(|(name, piped)| !reads(name, piped)));
        turn.push(waiting.remove(next.unwrap_or(0)));
    }
    turn
}

fn shown(value: Option<f64>) -> Json {
    json!({ "value": value })
}

fn along(name: &str, piped: &Piped, buckets: &mut Vec<Bucket>) {
    let path = piped.paths.first().map_or("", |(_, path)| path.as_str());
    let gap = |value: Option<f64>| value.or(piped.zeros.then_some(0.0));
    let values: Vec<Option<f64>> = buckets.iter().map(|bucket| gap(number(bucket, path))).collect();
    match &piped.kind {
        PipedKind::Derivative { unit } => derivative(name, *unit, &values, buckets),
        PipedKind::CumulativeSum => {
            let mut sum = 0.0;
            for (bucket, value) in buckets.iter_mut().zip(values) {
                sum += value.unwrap_or(0.0);
                bucket.insert(name.to_owned(), shown(Some(sum)));
            }
        }
        PipedKind::SerialDiff { lag } => {
            for (at, bucket) in buckets.iter_mut().enumerate() {
                let before = at.checked_sub(*lag).and_then(|before| values[before]);
                if let (Some(value), Some(before)) = (values[at], before) {
                    bucket.insert(name.to_owned(), shown(Some(value - before)));
                }
            }
        }
        PipedKind::MovingFn { window, shift, function } => {
            // Buckets without a value are in no window.
            let there: Vec<f64> = values.iter().copied().flatten().collect();
            let mut place = 0;
            for (bucket, value) in buckets.iter_mut().zip(&values) {
                if value.is_none() {
                    continue;
                }
                let clamp = |at: i64| at.clamp(0, there.len() as i64) as usize;
                let (from, to) = (clamp(place + shift - *window as i64), clamp(place + shift));
                let result = function.of(there.get(from..to).unwrap_or_default());
                bucket.insert(name.to_owned(), shown(result.filter(|result| result.is_finite())));
                place += 1;
            }
        }
        PipedKind::Script(script) => {
            for bucket in buckets.iter_mut() {
                if let Some(result) = scripted(script, piped, bucket) {
                    bucket.insert(name.to_owned(), shown(Some(result)));
                }
            }
        }
        PipedKind::Selector(script) => {
            buckets.retain(|bucket| scripted(script, piped, bucket).is_some_and(|result| result != 0.0));
        }
        PipedKind::Sort { keys, from, size } => sort(keys, *from, *size, buckets),
        PipedKind::Sibling(_) => {}
    }
}

/// What a script gives for a bucket; nothing, where a value is lacking.
fn scripted(script: &Script, piped: &Piped, bucket: &Bucket) -> Option<f64> {
    let value = |name: &str| {
        let (_, path) = piped.paths.iter().find(|(known, _)| known == name)?;
        number(bucket, path).or(piped.zeros.then_some(0.0))
    };
    if piped.paths.iter().any(|(name, _)| value(name).is_none()) {
        return None;
    }
    script.run(&value)
}

fn derivative(name: &str, unit: Option<i64>, values: &[Option<f64>], buckets: &mut [Bucket]) {
    let mut before: Option<(f64, Option<f64>)> = None;
    for (bucket, value) in buckets.iter_mut().zip(values) {
        let key = number(bucket, "_key");
        if let (Some(value), Some((last, last_key))) = (value, before) {
            let mut result = shown(Some(value - last));
            if let (Some(unit), Some(key), Some(last_key)) = (unit, key, last_key) {
                let units = (key - last_key) * 1e6 / unit as f64;
                result["normalized_value"] = json!((units != 0.0).then(|| (value - last) / units));
            }
            bucket.insert(name.to_owned(), result);
        }
        if let Some(value) = value {
            before = Some((*value, key));
        }
    }
}

fn sort(keys: &[OrderKey], from: usize, size: Option<usize>, buckets: &mut Vec<Bucket>) {
    buckets.sort_by(|a, b| {
        let order = keys.iter().map(|key| by_metric(key, a, b)).find(|order| order.is_ne());
        order.unwrap_or(std::cmp::Ordering::Equal)
    });
    buckets.drain(..from.min(buckets.len()));
    buckets.truncate(size.unwrap_or(usize::MAX));
}

fn sibling(kind: &Sibling, piped: &Piped, scope: &Map<String, Json>) -> Json {
    let path = piped.paths.first().map_or("", |(_, path)| path.as_str());
    let mut found: Vec<(String, f64)> = Vec::new();
    if let Some((outer, inner)) = path.split_once('>')
        && let Some(buckets) = scope.get(outer.trim()).and_then(|aggregation| aggregation.get("buckets"))
    {
        let mut take = |name: Option<String>, bucket: &Json| {
            let Some(bucket) = bucket.as_object() else { return };
            let value = number(bucket, inner.trim()).or(piped.zeros.then_some(0.0));
            let key = || bucket.get("key_as_string").or(bucket.get("key")).and_then(crate::json::scalar);
            found.extend(value.map(|value| (name.or_else(key).unwrap_or_default(), value)));
        };
        match buckets {
            Json::Array(all) => all.iter().for_each(|bucket| take(None, bucket)),
            Json::Object(all) => all.iter().for_each(|(name, bucket)| take(Some(name.clone()), bucket)),
            _ => {}
        }
    }
    let values: Vec<f64> = found.iter().map(|(_, value)| *value).collect();
    let (count, sum) = (values.len() as f64, values.iter().sum::<f64>());
    let mean = (count > 0.0).then(|| sum / count);
    let best = |wanted: std::cmp::Ordering| {
        values
            .iter()
            .copied()
            .reduce(|best, value| if value.total_cmp(&best) == wanted { value } else { best })
    };
    let (least, most) = (best(std::cmp::Ordering::Less), best(std::cmp::Ordering::Greater));
    let named = |value: Option<f64>| {
        let keys: Vec<&str> =
            found.iter().filter(|(_, other)| Some(*other) == value).map(|(name, _)| name.as_str()).collect();
        json!({ "value": value, "keys": keys })
    };
    let stats = || {
        let mut stats = Map::new();
        stats.insert("count".to_owned(), json!(values.len()));
        stats.insert("min".to_owned(), json!(least));
        stats.insert("max".to_owned(), json!(most));
        stats.insert("avg".to_owned(), json!(mean));
        stats.insert("sum".to_owned(), json!(sum));
        stats
    };
    match kind {
        Sibling::Avg => shown(mean),
        Sibling::Sum => shown(Some(sum)),
        Sibling::Min => named(least),
        Sibling::Max => named(most),
        Sibling::Stats => Json::Object(stats()),
        Sibling::ExtendedStats { sigma } => {
            let mut stats = stats();
            let squares = values.iter().map(|value| value * value).sum();
            extend(&mut stats, count, mean, squares, Moving::StdDev.of(&values), *sigma);
            Json::Object(stats)
        }
        Sibling::Percentiles { percents, keyed } => {
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let at = |percent: &f64| {
                let place = (percent / 100.0 * sorted.len() as f64).round() as usize;
                (*percent, json!(sorted.get(place.min(sorted.len().saturating_sub(1)))))
            };
            points(&percents.iter().map(at).collect::<Vec<_>>(), *keyed)
        }
    }
}
