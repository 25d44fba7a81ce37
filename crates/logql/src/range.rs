//! Range aggregations: entries go in, in any order; out come series with a point for each step whose window holds lines.
//!
//! The window of a step ends with it and begins after the step minus the range; an offset moves both. An entry belongs to a run
//! of windows, and entries of the same run share a state.

use crate::{
    ast::{Aggregate, AggregateOp, Grouping, MetricExpr, Pipeline, RangeAggregation, RangeFunction, Stage},
    entry::{ERROR, Entry, Labels},
    series::{Bounds, EvaluateError, Series, Steps, grouped, shown},
    state::{State, Window},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// A range whose lines are needed.
#[derive(Debug, Clone, PartialEq)]
pub struct Range {
    /// As written.
    pub aggregation: RangeAggregation,
    /// The groups that are made of its series anyway, so that it may make them itself.
    pub early: Option<Grouping>,
}

impl Range {
    /// Which lines.
    pub fn pipeline(&self) -> &Pipeline {
        &self.aggregation.pipeline
    }

    /// The times of the lines that any step needs, in nanoseconds: after the first, up to and with the second.
    pub fn times(&self, steps: &Steps) -> (i64, i64) {
        let (range, offset) = (self.aggregation.range.0, self.aggregation.offset.0);
        let last = steps.time(steps.count().saturating_sub(1));
        (steps.start.saturating_sub(offset).saturating_sub(range), last.saturating_sub(offset))
    }

    /// The labels of the series that an entry, as the pipeline has left it, belongs to.
    ///
    /// # Errors
    /// A stage did not understand the line, and nobody asked for such lines.
    pub fn series_of(&self, entry: &Entry) -> Result<Labels, EvaluateError> {
        let grouping = self.aggregation.grouping.as_ref().or(self.early.as_ref());
        if let Some(error) = entry.error() {
            let asked =
                grouping.is_some_and(|by| !by.without && by.labels.iter().any(|label| label == ERROR));
            if !asked {
                let labels = shown(&entry.labels());
                return Err(EvaluateError::Pipeline { error: error.to_owned(), labels });
            }
        }
        let unwrapped = self.pipeline().stages.iter().find_map(|stage| match stage {
            Stage::Unwrap(unwrap) => Some(unwrap.label.as_str()),
            _ => None,
        });
        let mut labels = match grouping {
            Some(by) if !by.without => {
                let named =
                    by.labels.iter().filter_map(|name| Some((name.clone(), entry.label(name)?.to_owned())));
                named.collect()
            }
            Some(without) => grouped(&entry.labels(), without),
            None => entry.labels(),
        };
        // Series are not told apart by their values, unless they are asked to be.
        let asked = self.aggregation.grouping.as_ref().is_some_and(|grouping| !grouping.without);
        if let Some(label) = unwrapped.filter(|_| !asked) {
            labels.remove(label);
        }
        labels.retain(|_, value| !value.is_empty());
        Ok(labels)
    }
}

impl MetricExpr {
    /// The ranges whose lines are needed, in the order in which they are written.
    pub fn ranges(&self) -> Vec<Range> {
        let mut ranges = Vec::new();
        self.each_range(None, &mut ranges);
        ranges
    }

    fn each_range(&self, around: Option<&Aggregate>, ranges: &mut Vec<Range>) {
        match self {
            Self::Literal(_) | Self::Vector(_) => {}
            Self::Range(aggregation) => {
                let early = around.map_or_else(|| absent(aggregation), |around| early(around, aggregation));
                ranges.push(Range { aggregation: (**aggregation).clone(), early });
            }
            Self::Aggregate(aggregate) => aggregate.inner.each_range(Some(aggregate), ranges),
            Self::Negate(inner) => inner.each_range(None, ranges),
            Self::LabelReplace(replace) => replace.inner.each_range(None, ranges),
            Self::Binary(binary) => {
                binary.left.each_range(None, ranges);
                binary.right.each_range(None, ranges);
            }
        }
    }
}

/// Of what is absent no labels are known.
fn absent(aggregation: &RangeAggregation) -> Option<Grouping> {
    (aggregation.function == RangeFunction::AbsentOverTime).then(Grouping::default)
}

fn early(around: &Aggregate, aggregation: &RangeAggregation) -> Option<Grouping> {
    let same = match aggregation.function {
        RangeFunction::CountOverTime
        | RangeFunction::Rate
        | RangeFunction::BytesOverTime
        | RangeFunction::BytesRate
        | RangeFunction::SumOverTime => around.op == AggregateOp::Sum,
        RangeFunction::MinOverTime => around.op == AggregateOp::Min,
        RangeFunction::MaxOverTime => around.op == AggregateOp::Max,
        _ => false,
    };
    if same && aggregation.grouping.is_none() {
        return Some(around.grouping.clone().unwrap_or_default());
    }
    absent(aggregation)
}

/// The first and the last window that hold an entry.
type Run = (u32, u32);

/// Gathers the entries of a range.
#[derive(Debug, Clone)]
pub struct RangeAccumulator {
    range: Range,
    steps: Steps,
    bounds: Bounds,
    series: HashMap<Labels, BTreeMap<Run, State>>,
    states: usize,
    values: usize,
    /// In how many windows the values that are kept are looked at.
    looks: usize,
}

/// What was gathered, to travel to where it is merged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Partial {
    series: Vec<(Labels, Vec<(Run, State)>)>,
}

impl RangeAccumulator {
    /// For the steps of a query.
    ///
    /// # Errors
    /// There are too many steps.
    pub fn new(range: &Range, steps: &Steps, bounds: Bounds) -> Result<Self, EvaluateError> {
        if steps.count() > bounds.points {
            return Err(EvaluateError::TooManyPoints(bounds.points));
        }
        Ok(Self {
            range: range.clone(),
            steps: *steps,
            bounds,
            series: HashMap::new(),
            states: 0,
            values: 0,
            looks: 0,
        })
    }

    /// Adds an entry that the range's pipeline has kept.
    pub fn add(&mut self, entry: &Entry) -> Result<(), EvaluateError> {
        let Some(run) = self.windows(entry.timestamp) else { return Ok(()) };
        let function = self.range.aggregation.function;
        let value = match function {
            RangeFunction::CountOverTime | RangeFunction::AbsentOverTime => 1.0,
            RangeFunction::BytesOverTime | RangeFunction::BytesRate => entry.line.len() as f64,
            _ => entry.sample().unwrap_or(1.0),
        };
        let labels = self.range.series_of(entry)?;
        self.add_state(labels, run, State::new(function, entry.timestamp, value))
    }

    /// The run of windows that hold a time.
    fn windows(&self, timestamp: i64) -> Option<Run> {
        let (range, offset) = (self.range.aggregation.range.0, self.range.aggregation.offset.0);
        let since = i128::from(timestamp) + i128::from(offset) - i128::from(self.steps.start);
        let last = self.steps.count() as i128 - 1;
        let until = since + i128::from(range);
        let step = i128::from(self.steps.step);
        // Windows whose end is not before it, and whose start is.
        let (from, to) = if last == 0 || step <= 0 {
            (i128::from(since > 0), if until > 0 { 0 } else { -1 })
        } else {
            ((since + step - 1).div_euclid(step), (until - 1).div_euclid(step))
        };
        let (from, to) = (from.max(0), to.min(last));
        (from <= to).then_some((from as u32, to as u32))
    }

    fn add_state(&mut self, labels: Labels, run: Run, state: State) -> Result<(), EvaluateError> {
        let kept = state.kept();
        self.values = self.values.saturating_add(kept);
        self.looks = self.looks.saturating_add(kept.saturating_mul((run.1 - run.0) as usize + 1));
        if self.values > self.bounds.values || self.looks > self.bounds.values.saturating_mul(64) {
            return Err(EvaluateError::TooManyValues(self.bounds.values));
        }
        if self.series.len() >= self.bounds.series && !self.series.contains_key(&labels) {
            return Err(EvaluateError::TooManySeries(self.bounds.series));
        }
        let runs = self.series.entry(labels).or_default();
        if let Some(found) = runs.get_mut(&run) {
            return if found.merge(&state) { Ok(()) } else { Err(EvaluateError::Foreign) };
        }
        self.states += 1;
        if self.states > self.bounds.states {
            return Err(EvaluateError::TooManyValues(self.bounds.states));
        }
        runs.insert(run, state);
        Ok(())
    }

    /// Adds what another one of the same range and steps has gathered.
    pub fn merge(&mut self, other: Self) -> Result<(), EvaluateError> {
        self.merge_partial(other.into_partial())
    }

    /// What was gathered, to travel.
    pub fn into_partial(self) -> Partial {
        let series = self.series.into_iter().map(|(labels, runs)| (labels, runs.into_iter().collect()));
        Partial { series: series.collect() }
    }

    /// Adds what has travelled.
    pub fn merge_partial(&mut self, partial: Partial) -> Result<(), EvaluateError> {
        let function = self.range.aggregation.function;
        let last = self.steps.count() as u32 - 1;
        for (labels, runs) in partial.series {
            for (run, state) in runs {
                let like = State::new(function, 0, 0.0);
                let fits = std::mem::discriminant(&like) == std::mem::discriminant(&state);
                if !fits || run.0 > run.1 || run.1 > last {
                    return Err(EvaluateError::Foreign);
                }
                self.add_state(labels.clone(), run, state)?;
            }
        }
        Ok(())
    }

    /// The series, by their labels.
    pub fn finish(self) -> Vec<Series> {
        let Self { range, steps, mut series, .. } = self;
        let mut all: Vec<(Labels, BTreeMap<Run, State>)> = series.drain().collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        let finished =
            all.into_iter().map(|(labels, runs)| Series { labels, points: points(&range, &steps, runs) });
        finished.filter(|series| !series.points.is_empty()).collect()
    }
}

fn points(range: &Range, steps: &Steps, runs: BTreeMap<Run, State>) -> Vec<(i64, f64)> {
    let aggregation = &range.aggregation;
    let mut points = Vec::new();
    let mut sliding = Sliding::default();
    let mut listed = VecDeque::new();
    let keeps_values = runs.values().next().is_some_and(|state| state.kept() > 0);
    let mut runs = runs.into_iter().peekable();
    for nth in 0..steps.count() {
        let at = nth as u32;
        while let Some((run, state)) = runs.next_if(|(run, _)| run.0 <= at) {
            if keeps_values {
                listed.push_back((run.1, state));
            } else {
                sliding.push(run.1, state);
            }
        }
        let state = if keeps_values { all_listed(&mut listed, at) } else { sliding.all(at) };
        let end = i128::from(steps.time(nth)) - i128::from(aggregation.offset.0);
        let window = Window {
            start: end - i128::from(aggregation.range.0),
            end,
            parameter: aggregation.parameter.unwrap_or(0.0),
        };
        let value = state.and_then(|state| state.result(aggregation.function, &window));
        points.extend(value.map(|value| (steps.millis(nth), value)));
    }
    points
}

/// Of states that would grow when they are merged: anew for each window.
fn all_listed(listed: &mut VecDeque<(u32, State)>, window: u32) -> Option<State> {
    while listed.front().is_some_and(|(last, _)| *last < window) {
        listed.pop_front();
    }
    let mut states = listed.iter().map(|(_, state)| state);
    let mut all = states.next()?.clone();
    states.for_each(|state| {
        all.merge(state);
    });
    Some(all)
}

/// The states of a window that moves on, merged: those that came since the window was last emptied are merged as they come,
/// those before them as seen from the newest of them, so that each is merged twice at most.
#[derive(Default)]
struct Sliding {
    /// Each with the last window that holds it, merged with all newer ones of these; the oldest is last.
    old: Vec<(u32, State)>,
    new: Vec<(u32, State)>,
    all_new: Option<State>,
}

impl Sliding {
    fn push(&mut self, last: u32, state: State) {
        match &mut self.all_new {
            Some(all) => {
                all.merge(&state);
            }
            None => self.all_new = Some(state.clone()),
        }
        self.new.push((last, state));
    }

    /// Forgets what ends before a window.
    fn leave(&mut self, window: u32) {
        loop {
            if self.old.is_empty() {
                self.turn_over(window);
            }
            match self.old.last() {
                Some((last, _)) if *last < window => self.old.pop(),
                _ => return,
            };
        }
    }

    /// Makes the new ones old, once the oldest of them is to leave.
    fn turn_over(&mut self, window: u32) {
        if self.new.first().is_none_or(|(last, _)| *last >= window) {
            return;
        }
        self.all_new = None;
        while let Some((last, mut state)) = self.new.pop() {
            if last < window {
                // All before it leave as well.
                self.new.clear();
                break;
            }
            if let Some((_, newer)) = self.old.last() {
                state.merge(newer);
            }
            self.old.push((last, state));
        }
    }

    /// Of a window, which is not before the one that was asked for last.
    fn all(&mut self, window: u32) -> Option<State> {
        self.leave(window);
        let mut all = self.old.last().map(|(_, state)| state.clone());
        match (&mut all, &self.all_new) {
            (Some(all), Some(new)) => {
                all.merge(new);
            }
            (None, Some(new)) => all = Some(new.clone()),
            _ => {}
        }
        all
    }
}
