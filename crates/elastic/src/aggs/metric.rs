//! Metrics: which aggregates of pipes they need, and what is answered of these.

use super::{
    keys::{float, numbers, values},
    needs::{call, int},
    spec::{Metric, MetricKind},
};
use crate::{
    Error, Zone,
    date::Format,
    fields::{Kind, Mapping},
    json::float_text,
};
use millrace_model::Value;
use millrace_pipes::{Aggregate, AggregateKind, Expr, Function, Named};
use serde_json::{Map, Value as Json, json};

const MILLISECOND: f64 = 1e6;

/// A metric that is carried out.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Measured {
    kind: MetricKind,
    /// The names of its columns.
    columns: Vec<String>,
    /// Of a time: how many milliseconds one is, and how it is written.
    time: Option<(f64, Format)>,
}

impl Measured {
    /// `prefix` begins the names of its columns.
    pub(super) fn new(
        metric: &Metric,
        mapping: &Mapping,
        prefix: &str,
    ) -> Result<(Self, Vec<Named<Aggregate>>), Error> {
        let field = mapping.field(&metric.source.field);
        let missing = metric.source.missing.as_ref();
        let numbers = numbers(&field, missing)?;
        let own = match &field.kind {
            Kind::Date { stored, format } => Some((stored.unit() as f64 / MILLISECOND, format.clone())),
            _ => None,
        };
        let format = metric.format.as_deref().filter(|_| own.is_some()).map(Format::new).transpose()?;
        let time = own.map(|(unit, own)| (unit, format.unwrap_or(own)));
        let of = |kind, of: &Expr| Aggregate { kind, of: Some(of.clone()) };
        let square = || call(Function::Multiply, vec![numbers.clone(), numbers.clone()]);
        let basics = || {
            use AggregateKind::{Avg, Count, Max, Min, Sum};
            [Count, Min, Max, Avg, Sum].map(|kind| of(kind, &numbers)).to_vec()
        };
        let aggregates = match &metric.kind {
            MetricKind::Count => vec![of(AggregateKind::Count, &values(&field, missing)?)],
            MetricKind::Cardinality => vec![of(AggregateKind::CountDistinct, &values(&field, missing)?)],
            MetricKind::Sum => vec![of(AggregateKind::Sum, &numbers)],
            MetricKind::Min => vec![of(AggregateKind::Min, &numbers)],
            MetricKind::Max => vec![of(AggregateKind::Max, &numbers)],
            MetricKind::Avg => vec![of(AggregateKind::Avg, &numbers)],
            MetricKind::Stats => basics(),
            MetricKind::ExtendedStats { .. } => {
                let mut all = basics();
                // Squares are made of fractions: those of whole numbers would soon be too large.
                let fraction = call(Function::Divide, vec![square(), int(1)]);
                all.extend([of(AggregateKind::Sum, &fraction), of(AggregateKind::StdDev, &numbers)]);
                all
            }
            MetricKind::Percentiles { percents, .. } => percents
                .iter()
                .map(|percent| of(AggregateKind::Percentile(percent / 100.0), &numbers))
                .collect(),
            MetricKind::Ranks { values, .. } => {
                let below = |value: &f64| {
                    let value = Expr::Constant(Value::Double(*value));
                    of(AggregateKind::CountIf, &call(Function::LessOrEqual, vec![numbers.clone(), value]))
                };
                let mut all: Vec<Aggregate> = values.iter().map(below).collect();
                all.push(of(AggregateKind::Count, &numbers));
                all
            }
            MetricKind::WeightedAvg { weight } => {
                let weights = super::keys::numbers(&mapping.field(&weight.field), weight.missing.as_ref())?;
                let there = call(Function::Exists, vec![numbers.clone()]);
                let counted = call(Function::If, vec![there, weights.clone(), Expr::Constant(Value::Null)]);
                let product = call(Function::Multiply, vec![numbers.clone(), weights]);
                vec![of(AggregateKind::Sum, &product), of(AggregateKind::Sum, &counted)]
            }
        };
        let columns: Vec<String> = (0..aggregates.len()).map(|at| format!("{prefix}_{at}")).collect();
        let named =
            columns.iter().cloned().zip(aggregates).map(|(name, what)| Named { name, what }).collect();
        Ok((Self { kind: metric.kind.clone(), columns, time }, named))
    }

    /// The answer; `cell` gives the value of a column.
    pub(super) fn respond<'t>(&self, cell: impl Fn(&str) -> Option<&'t Value>) -> Json {
        let at = |at: usize| self.columns.get(at).and_then(|name| cell(name)).and_then(float);
        let count = |place: usize| at(place).unwrap_or(0.0);
        match &self.kind {
            MetricKind::Count | MetricKind::Cardinality => json!({ "value": count(0) as u64 }),
            // Nothing sums up to 0.
            MetricKind::Sum => self.single(Some(count(0))),
            MetricKind::Min | MetricKind::Max | MetricKind::Avg => self.single(at(0)),
            MetricKind::Stats => Json::Object(self.stats(&at)),
            MetricKind::ExtendedStats { sigma } => {
                let mut stats = self.stats(&at);
                extend(&mut stats, count(0), at(3), count(5), at(6), *sigma);
                Json::Object(stats)
            }
            MetricKind::Percentiles { percents, keyed } => {
                let pairs: Vec<(f64, Option<f64>)> =
                    percents.iter().enumerate().map(|(place, percent)| (*percent, at(place))).collect();
                self.points(&pairs, *keyed)
            }
            MetricKind::Ranks { values, keyed } => {
                let all = count(values.len());
                let rank =
                    |(place, value): (usize, &f64)| (*value, (all > 0.0).then(|| count(place) / all * 100.0));
                self.points(&values.iter().enumerate().map(rank).collect::<Vec<_>>(), *keyed)
            }
            MetricKind::WeightedAvg { .. } => {
                let weight = count(1);
                json!({ "value": (weight != 0.0).then(|| count(0) / weight) })
            }
        }
    }

    fn number(&self, value: Option<f64>) -> Json {
        match (value, &self.time) {
            (None, _) => Json::Null,
            (Some(value), Some((unit, _))) => json!(value * unit),
            (Some(value), None) => json!(value),
        }
    }

    fn text(&self, value: Option<f64>) -> Option<String> {
        let (unit, format) = self.time.as_ref()?;
        Some(format.write((value? * unit * MILLISECOND) as i64, Zone::UTC))
    }

    fn single(&self, value: Option<f64>) -> Json {
        let mut shown = json!({ "value": self.number(value) });
        if let Some(text) = self.text(value) {
            shown["value_as_string"] = json!(text);
        }
        shown
    }

    fn stats(&self, at: &impl Fn(usize) -> Option<f64>) -> Map<String, Json> {
        let mut stats = Map::new();
        stats.insert("count".to_owned(), json!(at(0).unwrap_or(0.0) as u64));
        for (place, name) in [(1, "min"), (2, "max"), (3, "avg")] {
            stats.insert(name.to_owned(), self.number(at(place)));
            if let Some(text) = self.text(at(place)) {
                stats.insert(format!("{name}_as_string"), json!(text));
            }
        }
        stats.insert("sum".to_owned(), self.number(Some(at(4).unwrap_or(0.0))));
        stats
    }

    fn points(&self, pairs: &[(f64, Option<f64>)], keyed: bool) -> Json {
        let is_rank = matches!(self.kind, MetricKind::Ranks { .. });
        let value = |value: Option<f64>| if is_rank { json!(value) } else { self.number(value) };
        points(&pairs.iter().map(|(key, of)| (*key, value(*of))).collect::<Vec<_>>(), keyed)
    }
}

/// Values by what they are of.
pub(super) fn points(pairs: &[(f64, Json)], keyed: bool) -> Json {
    if keyed {
        let values: Map<String, Json> =
            pairs.iter().map(|(key, value)| (float_text(*key), value.clone())).collect();
        json!({ "values": values })
    } else {
        let values: Vec<Json> =
            pairs.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
        json!({ "values": values })
    }
}

/// What extended statistics say besides.
pub(super) fn extend(
    stats: &mut Map<String, Json>,
    count: f64,
    mean: Option<f64>,
    squares: f64,
    deviation: Option<f64>,
    sigma: f64,
) {
    let population = deviation.filter(|_| count > 0.0);
    let sampling =
        population.filter(|_| count > 1.0).map(|deviation| deviation * (count / (count - 1.0)).sqrt());
    let mut put = |name: &str, value: Json| stats.insert(name.to_owned(), value);
    put("sum_of_squares", json!((count > 0.0).then_some(squares)));
    let variance = |deviation: Option<f64>| json!(deviation.map(|deviation| deviation * deviation));
    put("variance", variance(population));
    put("variance_population", variance(population));
    put("variance_sampling", variance(sampling));
    put("std_deviation", json!(population));
    put("std_deviation_population", json!(population));
    put("std_deviation_sampling", json!(sampling));
    let bound = |sign: f64, deviation: Option<f64>| {
        json!(mean.zip(deviation).map(|(mean, deviation)| mean + sign * sigma * deviation))
    };
    put(
        "std_deviation_bounds",
        json!({
            "upper": bound(1.0, population),
            "lower": bound(-1.0, population),
            "upper_population": bound(1.0, population),
            "lower_population": bound(-1.0, population),
            "upper_sampling": bound(1.0, sampling),
            "lower_sampling": bound(-1.0, sampling),
        }),
    );
}
