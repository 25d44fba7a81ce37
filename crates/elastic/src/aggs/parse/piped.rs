//! Aggregations of other aggregations' buckets.

use super::{content, floats, order};
use crate::{
    Error,
    aggs::{
        pipeline::Moving,
        script::Script,
        spec::{OrderKey, Piped, PipedKind, Sibling},
    },
    date,
    json::{Object, scalar},
};
use serde_json::Value as Json;

/// The widest window.
const MAX_WINDOW: usize = 10_000;

/// `None`: it is of another kind.
pub(super) fn read(kind: &str, options: &Json) -> Result<Option<Piped>, Error> {
    let known = [
        "derivative",
        "cumulative_sum",
        "serial_diff",
        "moving_fn",
        "moving_avg",
        "bucket_script",
        "bucket_selector",
        "bucket_sort",
        "avg_bucket",
        "sum_bucket",
        "min_bucket",
        "max_bucket",
        "stats_bucket",
        "extended_stats_bucket",
        "percentiles_bucket",
    ];
    if !known.contains(&kind) {
        return Ok(None);
    }
    let mut object = content(options, kind)?;
    let paths = paths(object.value("buckets_path"))?;
    if paths.is_empty() && kind != "bucket_sort" {
        return Err(Error::argument(format!("[buckets_path] must be set for [{kind}]")));
    }
    let zeros = match object.text("gap_policy")?.map(|text| text.to_ascii_lowercase()).as_deref() {
        None | Some("skip" | "keep_values") => false,
        Some("insert_zeros") => true,
        Some(other) => {
            return Err(Error::argument(format!(
                "Invalid gap policy: [{other}], accepted values: [insert_zeros, skip, keep_values]"
            )));
        }
    };
    let format = object.text("format")?;
    let kind = self::kind(kind, &mut object)?;
    object.finish()?;
    Ok(Some(Piped { kind, paths, zeros, format }))
}

fn paths(given: Option<&Json>) -> Result<Vec<(String, String)>, Error> {
    match given {
        None => Some(Vec::new()),
        Some(Json::String(path)) => Some(vec![("_value0".to_owned(), path.clone())]),
        Some(Json::Array(paths)) => {
            let one = |(at, path): (usize, &Json)| Some((format!("_value{at}"), scalar(path)?));
            paths.iter().enumerate().map(one).collect::<Option<_>>()
        }
        Some(Json::Object(named)) => {
            named.iter().map(|(name, path)| Some((name.clone(), scalar(path)?))).collect::<Option<_>>()
        }
        Some(_) => None,
    }
    .ok_or_else(|| Error::argument("[buckets_path] is a path, or paths by names"))
}

fn kind(kind: &str, object: &mut Object<'_>) -> Result<PipedKind, Error> {
    Ok(match kind {
        "derivative" => {
            let unit = object.text("unit")?.map(|text| {
                date::length(&text)
                    .or_else(|| named(&text))
                    .filter(|unit| *unit > 0)
                    .ok_or_else(|| Error::argument(format!("unknown unit [{text}]")))
            });
            PipedKind::Derivative { unit: unit.transpose()? }
        }
        "cumulative_sum" => PipedKind::CumulativeSum,
        "serial_diff" => {
            let lag = object.size("lag")?.unwrap_or(1);
            if lag == 0 {
                return Err(Error::argument(
                    "Lag must be a positive, non-zero integer. Value supplied was 0",
                ));
            }
            PipedKind::SerialDiff { lag }
        }
        "moving_fn" => {
            let window = window(object)?.ok_or_else(|| object.lacks("window"))?;
            let shift = object.integer("shift")?.unwrap_or(0).clamp(-(MAX_WINDOW as i64), MAX_WINDOW as i64);
            let script = script_text(object)?;
            PipedKind::MovingFn { window, shift, function: Moving::parse(&script)? }
        }
        "moving_avg" => {
            object.ignore(&["minimize", "predict", "settings"]);
            let window = window(object)?.unwrap_or(5);
            let function = match object.text("model")?.as_deref() {
                None | Some("simple") => Moving::Average,
                Some("linear") => Moving::Linear,
                Some("ewma") => Moving::Ewma(0.3),
                Some(other) => {
                    return Err(Error::argument(format!(
                        "[moving_avg] model [{other}] is not supported here"
                    )));
                }
            };
            PipedKind::MovingFn { window, shift: 1, function }
        }
        "bucket_script" => PipedKind::Script(Script::parse(&script_text(object)?)?),
        "bucket_selector" => PipedKind::Selector(Script::parse(&script_text(object)?)?),
        "bucket_sort" => PipedKind::Sort {
            keys: sort(object.value("sort"))?,
            from: object.size("from")?.unwrap_or(0),
            size: object.size("size")?,
        },
        sibling => PipedKind::Sibling(match sibling {
            "avg_bucket" => Sibling::Avg,
            "sum_bucket" => Sibling::Sum,
            "min_bucket" => Sibling::Min,
            "max_bucket" => Sibling::Max,
            "stats_bucket" => Sibling::Stats,
            "extended_stats_bucket" => {
                Sibling::ExtendedStats { sigma: object.float("sigma")?.unwrap_or(2.0) }
            }
            _ => Sibling::Percentiles {
                percents: floats(object.value("percents"), "percents", 100)?
                    .unwrap_or_else(|| vec![1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0]),
                keyed: object.flag("keyed")?.unwrap_or(true),
            },
        }),
    })
}

fn named(text: &str) -> Option<i64> {
    let unit = match text {
        "second" => "1s",
        "minute" => "1m",
        "hour" => "1h",
        "day" => "1d",
        "week" => "1w",
        _ => return None,
    };
    date::length(unit)
}

fn window(object: &mut Object<'_>) -> Result<Option<usize>, Error> {
    let window = object.size("window")?;
    if window.is_some_and(|window| window == 0 || window > MAX_WINDOW) {
        return Err(Error::argument(format!("[window] must be 1 to {MAX_WINDOW}")));
    }
    Ok(window)
}

/// A script, which may be said by itself.
fn script_text(object: &mut Object<'_>) -> Result<String, Error> {
    match object.value("script") {
        Some(Json::String(text)) => Ok(text.clone()),
        Some(given @ Json::Object(_)) => {
            let mut inner = content(given, "script")?;
            inner.ignore(&["params"]);
            if let Some(language) = inner.text("lang")?
                && !matches!(language.as_str(), "painless" | "expression")
            {
                return Err(Error::argument(format!("script_lang not supported [{language}]")));
            }
            let text = match inner.text("source")? {
                None => inner.text("inline")?,
                given => {
                    inner.ignore(&["inline"]);
                    given
                }
            };
            inner.finish()?;
            text.ok_or_else(|| object.lacks("script"))
        }
        _ => Err(object.lacks("script")),
    }
}

fn sort(given: Option<&Json>) -> Result<Vec<OrderKey>, Error> {
    let one = |given: &Json| match given {
        Json::String(path) => Ok(vec![OrderKey { path: path.clone(), descending: false }]),
        Json::Object(map) => {
            let key = |(path, options): (&String, &Json)| {
                let direction = options.get("order").unwrap_or(options);
                let text = direction.as_str().unwrap_or("asc");
                order(Some(&serde_json::json!({ (path.as_str()): text })))
            };
            Ok(map.iter().map(key).collect::<Result<Vec<_>, _>>()?.concat())
        }
        _ => Err(Error::parsing("[bucket_sort] expected what to sort by")),
    };
    match given {
        None => Ok(Vec::new()),
        Some(Json::Array(all)) => Ok(all.iter().map(one).collect::<Result<Vec<_>, _>>()?.concat()),
        Some(given) => one(given),
    }
}
