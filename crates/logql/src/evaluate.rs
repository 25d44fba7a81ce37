//! What a metric query says, computed of the series of its ranges.

use crate::{
    aggregate::aggregate,
    ast::{LabelReplace, MetricExpr, RangeAggregation, RangeFunction, TextTest},
    binary::binary,
    entry::Labels,
    range::Range,
    series::{Bounds, EvaluateError, Series, Steps, shown},
};
use std::collections::BTreeMap;

/// How many places of vectors, one for each series and step, a query may have for each state that a range may have.
const PLACES: usize = 4;

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// The same number at every step.
    Scalar(f64),
    /// Series, each with at least one point; of a single step in the order that the query asks for.
    Series(Vec<Series>),
}

/// Gives the series of a range, by its number in [`MetricExpr::ranges`]: what [`crate::RangeAccumulator::finish`] gives.
pub type Samples<'s> = dyn FnMut(usize, &Range) -> Result<Vec<Series>, EvaluateError> + 's;

/// A series with a place for each step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) labels: Labels,
    pub(crate) values: Vec<Option<f64>>,
}

impl Row {
    pub(crate) fn at(&self, step: usize) -> Option<f64> {
        self.values.get(step).copied().flatten()
    }

    pub(crate) fn clear(&mut self, step: usize) {
        if let Some(value) = self.values.get_mut(step) {
            *value = None;
        }
    }

    /// Takes from another what this one has not. Was there anything that both have?
    pub(crate) fn fill(&mut self, other: &Self) -> bool {
        let mut both = false;
        for (value, other) in self.values.iter_mut().zip(&other.values) {
            both |= value.is_some() && other.is_some();
            *value = value.or(*other);
        }
        both
    }
}

pub(crate) enum Computed {
    Scalar(f64),
    Rows(Vec<Row>),
}

/// Computes a query. `samples` is asked for the series of each range, once each.
///
/// # Errors
/// Those of `samples`; too many series or steps; series that belong to several others.
pub fn evaluate(
    expr: &MetricExpr,
    steps: &Steps,
    bounds: &Bounds,
    samples: &mut Samples<'_>,
) -> Result<Value, EvaluateError> {
    if steps.count() > bounds.points {
        return Err(EvaluateError::TooManyPoints(bounds.points));
    }
    let ranges = expr.ranges();
    let mut evaluation = Evaluation { steps, bounds, ranges: &ranges, next: 0, places: 0, samples };
    match evaluation.expr(expr)? {
        Computed::Scalar(value) => Ok(Value::Scalar(value)),
        Computed::Rows(rows) => {
            let series: Vec<Series> = rows.into_iter().filter_map(|row| evaluation.series(row)).collect();
            if series.len() > bounds.series {
                return Err(EvaluateError::TooManySeries(bounds.series));
            }
            Ok(Value::Series(series))
        }
    }
}

struct Evaluation<'e> {
    steps: &'e Steps,
    bounds: &'e Bounds,
    ranges: &'e [Range],
    /// The number of the range that is met next.
    next: usize,
    /// Of all vectors so far, one for each series and step.
    places: usize,
    samples: &'e mut Samples<'e>,
}

impl Evaluation<'_> {
    fn expr(&mut self, expr: &MetricExpr) -> Result<Computed, EvaluateError> {
        let steps = self.steps.count();
        Ok(match expr {
            MetricExpr::Literal(value) => Computed::Scalar(*value),
            MetricExpr::Vector(value) => {
                self.hold(1)?;
                Computed::Rows(vec![Row { labels: Labels::new(), values: vec![Some(*value); steps] }])
            }
            MetricExpr::Range(aggregation) => Computed::Rows(self.range(aggregation)?),
            MetricExpr::Aggregate(inner) => {
                let rows = self.rows(&inner.inner)?;
                Computed::Rows(aggregate(inner, rows, steps))
            }
            MetricExpr::Negate(inner) => match self.expr(inner)? {
                Computed::Scalar(value) => Computed::Scalar(-value),
                Computed::Rows(mut rows) => {
                    for value in rows.iter_mut().flat_map(|row| &mut row.values).flatten() {
                        *value = -*value;
                    }
                    Computed::Rows(rows)
                }
            },
            MetricExpr::Binary(inner) => {
                let left = self.expr(&inner.left)?;
                let right = self.expr(&inner.right)?;
                binary(inner, left, right, steps)?
            }
            MetricExpr::LabelReplace(replace) => {
                let rows = self.rows(&replace.inner)?;
                Computed::Rows(label_replace(replace, rows)?)
            }
        })
    }

    /// Of an expression that the parser knows to be a vector.
    fn rows(&mut self, expr: &MetricExpr) -> Result<Vec<Row>, EvaluateError> {
        Ok(match self.expr(expr)? {
            Computed::Rows(rows) => rows,
            Computed::Scalar(value) => {
                vec![Row { labels: Labels::new(), values: vec![Some(value); self.steps.count()] }]
            }
        })
    }

    /// Counts what a vector takes, before it is made.
    fn hold(&mut self, series: usize) -> Result<(), EvaluateError> {
        self.places = self.places.saturating_add(series.saturating_mul(self.steps.count()));
        let most = self.bounds.states.saturating_mul(PLACES);
        if self.places > most { Err(EvaluateError::TooManyValues(most)) } else { Ok(()) }
    }

    fn range(&mut self, aggregation: &RangeAggregation) -> Result<Vec<Row>, EvaluateError> {
        let number = self.next;
        self.next += 1;
        let Some(range) = self.ranges.get(number) else { return Ok(Vec::new()) };
        let series = (self.samples)(number, range)?;
        self.hold(series.len().max(1))?;
        let rows: Vec<Row> = series.into_iter().map(|series| self.row(series)).collect();
        if aggregation.function != RangeFunction::AbsentOverTime {
            return Ok(rows);
        }
        let absent = |step: usize| rows.iter().all(|row| row.at(step).is_none()).then_some(1.0);
        let values = (0..self.steps.count()).map(absent).collect();
        Ok(vec![Row { labels: absent_labels(aggregation), values }])
    }

    fn row(&self, series: Series) -> Row {
        let mut values = vec![None; self.steps.count()];
        let mut points = series.points.into_iter().peekable();
        for (nth, value) in values.iter_mut().enumerate() {
            let at = self.steps.millis(nth);
            while points.next_if(|(time, _)| *time < at).is_some() {}
            *value = points.next_if(|(time, _)| *time == at).map(|(_, value)| value);
        }
        Row { labels: series.labels, values }
    }

    fn series(&self, row: Row) -> Option<Series> {
        let values = row.values.into_iter().enumerate();
        let points: Vec<(i64, f64)> =
            values.filter_map(|(nth, value)| Some((self.steps.millis(nth), value?))).collect();
        (!points.is_empty()).then_some(Series { labels: row.labels, points })
    }
}

/// What the selector says that the labels are, as far as it says one thing.
fn absent_labels(aggregation: &RangeAggregation) -> Labels {
    let selector = &aggregation.pipeline.selector;
    let once = |label: &str| selector.iter().filter(|matcher| matcher.label == label).count() == 1;
    let known = selector.iter().filter_map(|matcher| match &matcher.test {
        TextTest::Equal(value) if !value.is_empty() && once(&matcher.label) => {
            Some((matcher.label.clone(), value.clone()))
        }
        _ => None,
    });
    known.collect()
}

fn label_replace(replace: &LabelReplace, rows: Vec<Row>) -> Result<Vec<Row>, EvaluateError> {
    let mut replaced: BTreeMap<Labels, usize> = BTreeMap::new();
    let mut all: Vec<Row> = Vec::with_capacity(rows.len());
    for mut row in rows {
        let source = row.labels.get(&replace.source).map_or("", String::as_str);
        let value = replace.expression.regex().captures(source).map(|found| {
            let mut value = String::new();
            found.expand(&replace.replacement, &mut value);
            value
        });
        match value {
            Some(value) if value.is_empty() => {
                row.labels.remove(&replace.label);
            }
            Some(value) => {
                row.labels.insert(replace.label.clone(), value);
            }
            None => {}
        }
        if let Some(at) = replaced.get(&row.labels) {
            if all[*at].fill(&row) {
                return Err(EvaluateError::SameLabels(shown(&row.labels)));
            }
        } else {
            replaced.insert(row.labels.clone(), all.len());
            all.push(row);
        }
    }
    Ok(all)
}
