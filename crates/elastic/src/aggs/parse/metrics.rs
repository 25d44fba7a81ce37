//! Aggregations that make numbers.

use super::{content, floats, source};
use crate::{
    Error,
    aggs::spec::{Metric, MetricKind},
};
use serde_json::Value as Json;

const PERCENTS: [f64; 7] = [1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0];
/// The most percentiles or ranks of one aggregation.
const MAX_PERCENTS: usize = 100;

/// `None`: it is of another kind.
pub(super) fn read(kind: &str, options: &Json) -> Result<Option<Metric>, Error> {
    let known = [
        "value_count",
        "sum",
        "min",
        "max",
        "avg",
        "stats",
        "extended_stats",
        "cardinality",
        "percentiles",
        "percentile_ranks",
        "weighted_avg",
    ];
    if !known.contains(&kind) {
        return Ok(None);
    }
    let mut object = content(options, kind)?;
    object.ignore(&["value_type"]);
    let format = object.text("format")?;
    if kind == "weighted_avg" {
        let part = |given: Option<&Json>, name: &str| {
            let Some(given) = given else { return Err(Error::argument(format!("[{name}] is required"))) };
            let mut object = content(given, "weighted_avg")?;
            let source = source(&mut object)?;
            object.finish()?;
            Ok(source)
        };
        let (source, weight) =
            (part(object.value("value"), "value")?, part(object.value("weight"), "weight")?);
        object.finish()?;
        return Ok(Some(Metric { source, kind: MetricKind::WeightedAvg { weight }, format }));
    }
    let source = source(&mut object)?;
    let kind = match kind {
        "value_count" => MetricKind::Count,
        "sum" => MetricKind::Sum,
        "min" => MetricKind::Min,
        "max" => MetricKind::Max,
        "avg" => MetricKind::Avg,
        "stats" => MetricKind::Stats,
        "extended_stats" => {
            let sigma = object.float("sigma")?.unwrap_or(2.0);
            if sigma < 0.0 {
                return Err(Error::argument("[sigma] must be greater than or equal to 0"));
            }
            MetricKind::ExtendedStats { sigma }
        }
        "cardinality" => {
            object.ignore(&["precision_threshold", "rehash", "execution_hint"]);
            MetricKind::Cardinality
        }
        "percentiles" => {
            object.ignore(&["tdigest", "hdr", "compression"]);
            let percents = floats(object.value("percents"), "percents", MAX_PERCENTS)?;
            let percents = percents.unwrap_or_else(|| PERCENTS.to_vec());
            if percents.is_empty() || percents.iter().any(|percent| !(0.0..=100.0).contains(percent)) {
                return Err(Error::argument("percent must be in [0,100]"));
            }
            MetricKind::Percentiles { percents, keyed: object.flag("keyed")?.unwrap_or(true) }
        }
        _ => {
            object.ignore(&["tdigest", "hdr"]);
            let values = floats(object.value("values"), "values", MAX_PERCENTS)?;
            let values = values.filter(|values| !values.is_empty()).ok_or_else(|| object.lacks("values"))?;
            MetricKind::Ranks { values, keyed: object.flag("keyed")?.unwrap_or(true) }
        }
    };
    object.finish()?;
    Ok(Some(Metric { source, kind, format }))
}
