//! What is kept of the values of a stretch of time, until the windows that it belongs to are known. States of neighbouring
//! stretches merge; of windows that overlap, each is made of few merges.

use crate::ast::RangeFunction;
use serde::{Deserialize, Serialize};

/// Of one stretch of one series. Numbers travel by their bits, so that all of them can.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum State {
    Sum(Bits),
    Min(Bits),
    Max(Bits),
    /// The time and the value.
    First(i64, Bits),
    Last(i64, Bits),
    /// How many, their mean, and the sum of the squares of their distances from it.
    Moments(u64, Bits, Bits),
    /// All of them, with their times.
    Values(Vec<(i64, Bits)>),
}

/// A number by its bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bits(u64);

impl Bits {
    pub(crate) fn of(value: f64) -> Self {
        Self(value.to_bits())
    }

    pub(crate) fn value(self) -> f64 {
        f64::from_bits(self.0)
    }
}

impl State {
    pub(crate) fn new(function: RangeFunction, time: i64, value: f64) -> Self {
        let bits = Bits::of(value);
        match function {
            RangeFunction::CountOverTime
            | RangeFunction::Rate
            | RangeFunction::BytesOverTime
            | RangeFunction::BytesRate
            | RangeFunction::AbsentOverTime
            | RangeFunction::SumOverTime => Self::Sum(bits),
            RangeFunction::MinOverTime => Self::Min(bits),
            RangeFunction::MaxOverTime => Self::Max(bits),
            RangeFunction::FirstOverTime => Self::First(time, bits),
            RangeFunction::LastOverTime => Self::Last(time, bits),
            RangeFunction::AvgOverTime | RangeFunction::StdvarOverTime | RangeFunction::StddevOverTime => {
                Self::Moments(1, bits, Bits::of(0.0))
            }
            RangeFunction::QuantileOverTime | RangeFunction::RateCounter => Self::Values(vec![(time, bits)]),
        }
    }

    /// How many values it keeps one by one.
    pub(crate) fn kept(&self) -> usize {
        if let Self::Values(values) = self { values.len() } else { 0 }
    }

    /// Adds what is kept of other values. `false`: it is of another function.
    pub(crate) fn merge(&mut self, other: &Self) -> bool {
        match (self, other) {
            (Self::Sum(a), Self::Sum(b)) => *a = Bits::of(a.value() + b.value()),
            (Self::Min(a), Self::Min(b)) => {
                if b.value() < a.value() || a.value().is_nan() {
                    *a = *b;
                }
            }
            (Self::Max(a), Self::Max(b)) => {
                if b.value() > a.value() || a.value().is_nan() {
                    *a = *b;
                }
            }
            (Self::First(at, value), Self::First(other_at, other)) => {
                if (*other_at, other.value()) < (*at, value.value()) {
                    (*at, *value) = (*other_at, *other);
                }
            }
            (Self::Last(at, value), Self::Last(other_at, other)) => {
                if (*other_at, other.value()) > (*at, value.value()) {
                    (*at, *value) = (*other_at, *other);
                }
            }
            (Self::Moments(count, mean, squares), Self::Moments(other_count, other_mean, other_squares)) => {
                let (here, there) = (*count as f64, *other_count as f64);
                let all = here + there;
                let apart = other_mean.value() - mean.value();
                let together = squares.value() + other_squares.value() + apart * apart * here * there / all;
                (*count, *squares) = (count.saturating_add(*other_count), Bits::of(together));
                *mean = Bits::of(mean.value() + apart * there / all);
            }
            (Self::Values(values), Self::Values(others)) => values.extend_from_slice(others),
            _ => return false,
        }
        true
    }

    /// What a function says of a window's values. `None`: nothing, as with too few values.
    pub(crate) fn result(self, function: RangeFunction, window: &Window) -> Option<f64> {
        let seconds = (window.end - window.start) as f64 / 1e9;
        Some(match self {
            Self::Sum(sum) if matches!(function, RangeFunction::Rate | RangeFunction::BytesRate) => {
                sum.value() / seconds
            }
            Self::Sum(value)
            | Self::Min(value)
            | Self::Max(value)
            | Self::First(_, value)
            | Self::Last(_, value) => value.value(),
            Self::Moments(count, mean, squares) => match function {
                RangeFunction::AvgOverTime => mean.value(),
                RangeFunction::StdvarOverTime => squares.value() / count as f64,
                _ => (squares.value() / count as f64).sqrt(),
            },
            Self::Values(mut values) => {
                if function == RangeFunction::QuantileOverTime {
                    let mut values: Vec<f64> = values.iter().map(|(_, bits)| bits.value()).collect();
                    quantile(window.parameter, &mut values)
                } else {
                    values.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.value().total_cmp(&b.1.value())));
                    return counter_rate(&values, window);
                }
            }
        })
    }
}

/// A window's bounds in nanoseconds, and which quantile is asked for.
pub(crate) struct Window {
    pub(crate) start: i128,
    pub(crate) end: i128,
    pub(crate) parameter: f64,
}

/// Between the two nearest of the sorted values.
fn quantile(quantile: f64, values: &mut [f64]) -> f64 {
    if quantile < 0.0 {
        return f64::NEG_INFINITY;
    }
    if quantile > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(f64::total_cmp);
    let Some(last) = values.len().checked_sub(1) else { return f64::NAN };
    let rank = quantile * last as f64;
    let (below, above) = (rank.floor() as usize, (rank.floor() as usize + 1).min(last));
    let weight = rank - rank.floor();
    match (values.get(below), values.get(above)) {
        (Some(below), Some(above)) => below * (1.0 - weight) + above * weight,
        _ => f64::NAN,
    }
}

/// How fast a counter grows, a second: from the first value to the last, with what was lost when it began anew, as far beyond
/// both as the values lie apart, but never below zero.
fn counter_rate(values: &[(i64, Bits)], window: &Window) -> Option<f64> {
    let [(first_at, first), .., (last_at, last)] = values else { return None };
    let mut growth = last.value() - first.value();
    for pair in values.windows(2) {
        if let [(_, before), (_, after)] = pair
            && after.value() < before.value()
        {
            growth += before.value();
        }
    }
    let seconds = |from: i128, to: i128| (to - from) as f64 / 1e9;
    let sampled = seconds((*first_at).into(), (*last_at).into());
    if sampled <= 0.0 {
        return None;
    }
    let between = sampled / (values.len() - 1) as f64;
    let mut before = seconds(window.start, (*first_at).into());
    if growth > 0.0 && first.value() >= 0.0 {
        before = before.min(sampled * first.value() / growth);
    }
    let after = seconds((*last_at).into(), window.end);
    let far = between * 1.1;
    let reach = |gap: f64| if gap < far { gap } else { between / 2.0 };
    let extrapolated = growth * (sampled + reach(before) + reach(after)) / sampled;
    Some(extrapolated / seconds(window.start, window.end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::number;

    #[test]
    fn quantiles_lie_between_values() {
        for (which, values, expected) in [
            (0.5, vec![3.0, 1.0, 2.0], 2.0),
            (0.5, vec![1.0, 2.0], 1.5),
            (0.99, vec![7.0], 7.0),
            (1.0, vec![1.0, 9.0], 9.0),
            (1.5, vec![1.0], f64::INFINITY),
            (-0.1, vec![1.0], f64::NEG_INFINITY),
        ] {
            let mut values = values;
            let found = quantile(which, &mut values);
            assert_eq!(number(found), number(expected), "{which} of {values:?}");
        }
    }

    #[test]
    fn a_counter_that_begins_anew_goes_on_growing() {
        let seconds = |seconds: i64| seconds * 1_000_000_000;
        let values: Vec<(i64, Bits)> = [(0, 10.0), (10, 20.0), (20, 5.0), (30, 15.0)]
            .map(|(at, value)| (seconds(at), Bits::of(value)))
            .into();
        let window = Window { start: 0, end: seconds(30).into(), parameter: 0.0 };
        let rate = counter_rate(&values, &window);
        assert!(rate.is_some_and(|rate| (rate - 25.0 / 30.0).abs() < 1e-9), "{rate:?}");
        assert_eq!(counter_rate(&values[..1], &window), None);
        let odd =
            (0..99).map(|at| (at % 7, Bits::of(if at % 3 == 0 { f64::NAN } else { at as f64 }))).collect();
        assert!(State::Values(odd).result(RangeFunction::RateCounter, &window).is_some());
    }
}
