//! What metrics are made of: the steps at which they are computed, series, and why there is no answer.

use crate::{ast::Grouping, entry::Labels};
use serde::{Deserialize, Serialize};

/// The times at which a query is computed. All in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steps {
    /// The first.
    pub start: i64,
    /// The last is at this time, or before it.
    pub end: i64,
    /// From one to the next; 0: there is only the first.
    pub step: i64,
}

impl Steps {
    /// A single time.
    pub const fn instant(time: i64) -> Self {
        Self { start: time, end: time, step: 0 }
    }

    /// How many there are; at least one.
    pub fn count(&self) -> usize {
        if self.step <= 0 || self.end <= self.start {
            return 1;
        }
        let length = i128::from(self.end) - i128::from(self.start);
        usize::try_from(length / i128::from(self.step)).unwrap_or(usize::MAX).saturating_add(1)
    }

    /// The time of one of them.
    pub fn time(&self, nth: usize) -> i64 {
        self.start.saturating_add(self.step.saturating_mul(nth as i64))
    }

    /// The same in milliseconds since the epoch.
    pub fn millis(&self, nth: usize) -> i64 {
        self.time(nth).div_euclid(1_000_000)
    }
}

/// What an answer may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// The most series of a range, and of the answer.
    pub series: usize,
    /// The most steps.
    pub points: usize,
    /// The most states, one for each series and stretch of time with lines, that a range keeps.
    pub states: usize,
    /// The most values that are kept one by one, for quantiles and counters; and, times 64, the most that all windows together
    /// look at.
    pub values: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { series: 500, points: 11_000, states: 2_000_000, values: 1_000_000 }
    }
}

/// Values over time that have the same labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its labels; none is empty.
    pub labels: Labels,
    /// Milliseconds since the epoch and values, at most one a step, in order.
    pub points: Vec<(i64, f64)>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluateError {
    /// Too many different labels.
    #[error("maximum number of series ({0}) reached for a single query; group by fewer labels")]
    TooManySeries(usize),
    /// Too many steps.
    #[error(
        "exceeded maximum resolution of {0} points per timeseries. Try increasing the value of the step parameter"
    )]
    TooManyPoints(usize),
    /// Too many states or values are kept.
    #[error("the query needs to keep more than {0} values; ask for a shorter time or group by fewer labels")]
    TooManyValues(usize),
    /// A line that a stage did not understand.
    #[error(
        "pipeline error: '{error}' for series: '{labels}'. Use a label filter to intentionally skip this error. (e.g | __error__!=\"{error}\")"
    )]
    Pipeline {
        /// The value of `__error__`.
        error: String,
        /// The line's labels.
        labels: String,
    },
    /// Of two vectors several series on one side belong to one of the other, or to several.
    #[error(
        "multiple matches for labels {0}: many-to-one matching must be explicit (group_left/group_right)"
    )]
    ManyMatches(String),
    /// Two series have the same labels at the same time.
    #[error("two series have the same labels {0}")]
    SameLabels(String),
    /// A partial answer does not belong to the query.
    #[error("a part of the answer is of another query")]
    Foreign,
    /// What the source of the samples said.
    #[error("{0}")]
    Source(String),
}

/// Labels as people read them.
pub(crate) fn shown(labels: &Labels) -> String {
    let pairs: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}={}", crate::token::quoted(value))).collect();
    format!("{{{}}}", pairs.join(", "))
}

/// The labels that tell a group apart.
pub(crate) fn grouped(labels: &Labels, grouping: &Grouping) -> Labels {
    let kept = labels.iter().filter(|(name, _)| grouping.labels.contains(name) != grouping.without);
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}
