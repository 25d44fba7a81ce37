//! Ranges that only count lines: counted where records lie, by their labels and short stretches of time, without a look at a line.
//!
//! That goes where the filter decides all that is asked of lines, and all that is asked of labels can be asked of the groups. A
//! window is made of whole stretches.

use super::{
    LokiError, Names,
    entries::{label_value, level_of},
    run::{Loki, note},
};
use crate::{Missing, SearchRequest};
use millrace_logql::{
    Entry, Grouping, LabelFields, LabelFilter, Labels, LineTest, Pipeline, Range, RangeFunction, Series,
    Stage, Steps, label_field,
};
use millrace_model::{Severity, Value};
use millrace_pipes::{Aggregate, AggregateKind, Context, Expr, Function, Named, Pipe, Plan};
use millrace_store::{Leaf, Order};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// So many stretches of time are counted apart at most.
const STRETCHES: i64 = 50_000;
const CELL: &str = "cell";
const COUNT: &str = "count";

/// See the module.
#[derive(Debug)]
pub(super) struct Counts {
    /// What is asked of labels.
    labels_alone: Pipeline,
    by: Grouping,
    /// Labels that groups are made by, and the columns of these.
    columns: Vec<(String, String)>,
    steps: Steps,
    /// In nanoseconds.
    range: i64,
    offset: i64,
    stretch: i64,
    is_rate: bool,
}

impl Counts {
    /// How a range is counted, if it can be.
    pub(super) fn of(range: &Range, steps: &Steps, names: &Names) -> Option<Self> {
        let aggregation = &range.aggregation;
        let is_rate = match aggregation.function {
            RangeFunction::CountOverTime => false,
            RangeFunction::Rate if !aggregation.pipeline.stages.iter().any(is_unwrap) => true,
            _ => return None,
        };
        let by = range.early.as_ref().filter(|by| !by.without)?;
        let mut labels: BTreeSet<&str> = by.labels.iter().map(String::as_str).collect();
        labels.extend(aggregation.pipeline.selector.iter().map(|matcher| matcher.label.as_str()));
        let mut asked = Vec::new();
        for stage in &aggregation.pipeline.stages {
            match stage {
                Stage::Line(filter) if filter.any.iter().all(is_decided) => {}
                Stage::Label(filter) => {
                    texts(filter, &mut labels)?;
                    asked.push(stage.clone());
                }
                _ => return None,
            }
        }
        if labels.iter().any(|label| label.starts_with("__")) {
            return None;
        }
        let (length, offset) = (aggregation.range.0, aggregation.offset.0);
        let stretch = if steps.count() > 1 { common(length, steps.step) } else { length };
        let (after, until) = range.times(steps);
        if stretch <= 0 || until.checked_sub(after)? / stretch > STRETCHES {
            return None;
        }
        let column = |label: &str| match label {
            "level" | "detected_level" => "severity_number".to_owned(),
            _ => names.field_of(label).unwrap_or_else(|| label_field(label)),
        };
        Some(Self {
            labels_alone: Pipeline { selector: aggregation.pipeline.selector.clone(), stages: asked },
            by: by.clone(),
            columns: labels.iter().map(|label| ((*label).to_owned(), column(label))).collect(),
            steps: *steps,
            range: length,
            offset,
            stretch,
            is_rate,
        })
    }

    /// The series, of what a search finds.
    pub(super) async fn series<L: Leaf>(
        &self,
        loki: &Loki<'_, L>,
        request: &SearchRequest,
        missing: &mut Vec<Missing>,
    ) -> Result<Vec<Series>, LokiError> {
        let context = Context {
            now: loki.searcher.now(),
            range: request.range,
            limit: usize::MAX,
            memory: loki.memory,
        };
        // A pipe of columns and a stretch can always be planned.
        let Ok(plan) = Plan::new(&[self.pipe()], &context) else { return Ok(Vec::new()) };
        let request = SearchRequest {
            limit: 0,
            order: Order::NewestFirst,
            gather: Some(plan.leaf()),
            ..request.clone()
        };
        let found = loki.searcher.search(&request).await?;
        note(missing, found.missing);
        let table = loki.searcher.finish(plan, found.gathered).await?.table;
        let cells: Vec<_> = table.columns.iter().map(|column| (&column.name, &column.cells)).collect();
        let mut series: BTreeMap<Labels, BTreeMap<i64, u64>> = BTreeMap::new();
        for row in 0..table.rows {
            let value = |name: &str| cells.iter().find(|(known, _)| *known == name)?.1.get(row);
            let (Some(Value::Int(cell)), Some(Value::Int(count))) = (value(CELL), value(COUNT)) else {
                continue;
            };
            let label = |(label, _): &(String, String)| Some((label.clone(), label_of(label, value(label))?));
            let labels: Labels = self.columns.iter().filter_map(label).collect();
            let mut entry = Entry::new(0, "", Arc::new(labels), Labels::new());
            if !self.labels_alone.run(&mut entry) {
                continue;
            }
            let of_group = |name: &String| Some((name.clone(), entry.label(name)?.to_owned()));
            let group = self.by.labels.iter().filter_map(of_group).collect();
            *series.entry(group).or_default().entry(*cell).or_default() += *count as u64;
        }
        if series.len() > loki.bounds.series {
            return Err(millrace_logql::EvaluateError::TooManySeries(loki.bounds.series).into());
        }
        Ok(series.into_iter().map(|(labels, cells)| self.windows(labels, &cells)).collect())
    }

    /// The first time that no window has.
    fn origin(&self) -> i64 {
        self.steps.start.saturating_sub(self.offset).saturating_sub(self.range)
    }

    fn pipe(&self) -> Pipe {
        let named = |name: &str, what: Expr| Named { name: name.to_owned(), what };
        let constant = |number: i64| Expr::Constant(Value::Int(number));
        // A stretch has its end and not its beginning.
        let since = Expr::Call(
            Function::Subtract,
            vec![Expr::Column("timestamp".to_owned()), constant(self.origin().saturating_add(1))],
        );
        let cell = Expr::Call(Function::Bucket, vec![since, constant(self.stretch)]);
        let mut by = vec![named(CELL, cell)];
        by.extend(self.columns.iter().map(|(label, field)| named(label, Expr::Column(field.clone()))));
        let count = Aggregate { kind: AggregateKind::Count, of: None };
        Pipe::Stats { aggregates: vec![Named { name: COUNT.to_owned(), what: count }], by }
    }

    /// Counts of windows, of counts by the beginnings of stretches since the origin.
    fn windows(&self, labels: Labels, cells: &BTreeMap<i64, u64>) -> Series {
        let points = (0..self.steps.count()).filter_map(|nth| {
            let end = self.steps.time(nth) - self.offset - self.origin();
            let count: u64 = cells.range(end - self.range..end).map(|(_, count)| *count).sum();
            let value = if self.is_rate { count as f64 / (self.range as f64 / 1e9) } else { count as f64 };
            (count > 0).then(|| (self.steps.millis(nth), value))
        });
        Series { labels, points: points.collect() }
    }
}

fn is_unwrap(stage: &Stage) -> bool {
    matches!(stage, Stage::Unwrap(_))
}

/// Does the filter decide it, whatever the line?
fn is_decided(test: &LineTest) -> bool {
    match test {
        LineTest::Text(text) => text.chars().count() <= 400,
        LineTest::Regex(expression) => millrace_filter::Pattern::new(expression.translated()).is_ok(),
        LineTest::Pattern(_) | LineTest::Addresses(_) => false,
    }
}

/// The labels whose texts a filter tests; `None`: it asks for something else.
fn texts<'f>(filter: &'f LabelFilter, labels: &mut BTreeSet<&'f str>) -> Option<()> {
    match filter {
        LabelFilter::Text(matcher) => {
            labels.insert(&matcher.label);
            Some(())
        }
        LabelFilter::And(left, right) | LabelFilter::Or(left, right) => {
            texts(left, labels)?;
            texts(right, labels)
        }
        LabelFilter::Compare { .. } | LabelFilter::Addresses { .. } => None,
    }
}

/// A column's value as the label has it.
fn label_of(label: &str, value: Option<&Value>) -> Option<String> {
    let level = || match value {
        Some(Value::Int(number)) => level_of(Severity::from_number(*number)),
        _ => None,
    };
    match label {
        "level" => level().map(str::to_owned),
        "detected_level" => Some(level().unwrap_or("unknown").to_owned()),
        _ => label_value(value?),
    }
}

/// The greatest common divisor.
fn common(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { common(b, a % b) }
}
