//! Counts and numbers over time: what a window holds, and the one before it.

use super::{GroupClock, Holding, exact};
use crate::{finding::MAX_EVIDENCE, window::Event};
use millrace_model::{RecordId, Timestamp};
use serde::{Deserialize, Serialize};
use std::{fmt, ops::Range, time::Duration};

/// So many points are kept one by one; beyond it neighbours become one.
const MOST: usize = 1024;

/// One record, or several that happened at about the same time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Point {
    time: Timestamp,
    id: RecordId,
    /// How many records.
    count: u32,
    /// How many of them are what a share is of.
    hits: u32,
    /// Of numbers.
    #[serde(with = "exact")]
    sum: f64,
    #[serde(with = "exact")]
    least: f64,
    #[serde(with = "exact")]
    most: f64,
}

/// What is made of the numbers of a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measure {
    /// How many records.
    Count,
    /// How many of a hundred.
    Share,
    /// Their mean.
    Avg,
    /// Their sum.
    Sum,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The value below which that share of them lies, by linear interpolation.
    Percentile(f64),
}

/// As rules write it.
impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count => f.write_str("count"),
            Self::Share => f.write_str("share"),
            Self::Avg => f.write_str("avg"),
            Self::Sum => f.write_str("sum"),
            Self::Min => f.write_str("min"),
            Self::Max => f.write_str("max"),
            Self::Percentile(share) => write!(f, "p{}", (share * 10_000.0).round() / 100.0),
        }
    }
}

impl Serialize for Measure {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Series {
    points: Vec<Point>,
    /// When the first record of all happened.
    began: Timestamp,
    pub(crate) clock: GroupClock,
}

impl Series {
    pub(crate) fn new(event: &Event) -> Self {
        Self { points: Vec::new(), began: event.time, clock: GroupClock::new(event.time, event.heard) }
    }

    pub(crate) fn weight(&self) -> usize {
        self.points.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// When the first record of all happened.
    pub(crate) fn began(&self) -> Timestamp {
        self.began
    }

    /// A record happened. The same again is passed over.
    pub(crate) fn add(&mut self, event: &Event, hit: bool, number: f64) {
        self.clock.hear(event.time, event.heard);
        self.began = self.began.min(event.time);
        let key = (event.time, event.id);
        let Err(at) = self.points.binary_search_by_key(&key, |point| (point.time, point.id)) else { return };
        let point = Point {
            time: event.time,
            id: event.id,
            count: 1,
            hits: hit.into(),
            sum: number,
            least: number,
            most: number,
        };
        self.points.insert(at, point);
        if self.points.len() > MOST {
            self.thin();
        }
    }

    /// Makes one of each two neighbours, but for the latest, which say most.
    fn thin(&mut self) {
        let keep = self.points.len() - MOST / 4;
        let latest = self.points.split_off(keep);
        let pairs = self.points.chunks(2).map(|pair| match pair {
            [a, b] => Point {
                time: b.time,
                id: b.id,
                count: a.count.saturating_add(b.count),
                hits: a.hits.saturating_add(b.hits),
                sum: a.sum + b.sum,
                least: a.least.min(b.least),
                most: a.most.max(b.most),
            },
            other => other[0],
        });
        self.points = pairs.chain(latest).collect();
    }

    /// Forgets what happened before.
    pub(crate) fn forget_before(&mut self, time: Timestamp) {
        let kept = self.points.partition_point(|point| point.time < time);
        self.points.drain(..kept);
    }

    /// The points that happened less than a span before `end`, up to it.
    fn within(&self, end: Timestamp, span: Duration) -> Range<usize> {
        let first = self.points.partition_point(|point| point.time <= end && end.since(point.time) >= span);
        let last = self.points.partition_point(|point| point.time <= end);
        first.min(last)..last
    }

    /// When the next point leaves such a window, in event time.
    pub(crate) fn next_to_leave(&self, end: Timestamp, span: Duration) -> Option<Timestamp> {
        self.points.get(self.within(end, span).start).map(|point| point.time.plus(span))
    }

    /// How many records a window holds.
    pub(crate) fn count(&self, end: Timestamp, span: Duration) -> u64 {
        self.points[self.within(end, span)].iter().map(|point| u64::from(point.count)).sum()
    }

    /// What a window measures; `None`: there is nothing in it to measure.
    pub(crate) fn measure(&self, end: Timestamp, span: Duration, what: Measure) -> Option<f64> {
        let points = &self.points[self.within(end, span)];
        let count: u64 = points.iter().map(|point| u64::from(point.count)).sum();
        if count == 0 {
            return (what == Measure::Count).then_some(0.0);
        }
        Some(match what {
            Measure::Count => count as f64,
            Measure::Share => {
                100.0 * points.iter().map(|point| f64::from(point.hits)).sum::<f64>() / count as f64
            }
            Measure::Sum => points.iter().map(|point| point.sum).sum(),
            Measure::Avg => points.iter().map(|point| point.sum).sum::<f64>() / count as f64,
            Measure::Min => points.iter().map(|point| point.least).fold(f64::INFINITY, f64::min),
            Measure::Max => points.iter().map(|point| point.most).fold(f64::NEG_INFINITY, f64::max),
            Measure::Percentile(share) => percentile(points, count, share),
        })
    }

    /// A condition that holds over a window, as a finding tells it.
    pub(crate) fn holding(&self, end: Timestamp, span: Duration, value: f64) -> Holding {
        let points = &self.points[self.within(end, span)];
        Holding {
            first: points.first().map_or(end, |point| point.time),
            last: points.last().map_or(end, |point| point.time),
            count: points.iter().map(|point| u64::from(point.count)).sum(),
            evidence: points.iter().rev().take(MAX_EVIDENCE).map(|point| point.id).collect(),
            value,
        }
    }
}

/// By linear interpolation between neighbours; points that stand for several records count as so many of their mean.
fn percentile(points: &[Point], count: u64, share: f64) -> f64 {
    let mut values: Vec<(f64, u64)> =
        points.iter().map(|point| (point.sum / f64::from(point.count), point.count.into())).collect();
    values.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let rank = share.clamp(0.0, 1.0) * (count - 1) as f64;
    let at = |wanted: u64| {
        let mut before = 0;
        let found = values.iter().find(|(_, count)| {
            before += count;
            before > wanted
        });
        found.map_or(f64::NAN, |(value, _)| *value)
    };
    let (low, high) = (at(rank.floor() as u64), at(rank.ceil() as u64));
    low + (high - low) * rank.fract()
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_model::SourceId;

    fn event(second: i64, number: u64) -> Event {
        let time = Timestamp(second * 1_000_000_000);
        let id = RecordId { source: SourceId(1), position: number, index: 0 };
        Event { time, heard: time, id, value: None, weight: 1 }
    }

    fn series(values: &[(i64, f64)]) -> Series {
        let mut series = Series::new(&event(values[0].0, 0));
        for (number, (second, value)) in values.iter().enumerate() {
            series.add(&event(*second, number as u64), *value > 5.0, *value);
        }
        series
    }

    #[test]
    fn a_window_ends_with_its_end_and_begins_after_its_beginning() {
        let series = series(&[(0, 1.0), (10, 2.0), (5, 9.0), (20, 4.0)]);
        let (at, ten) = (|second: i64| Timestamp(second * 1_000_000_000), Duration::from_secs(10));
        assert_eq!(series.count(at(10), ten), 2, "the one at 0 is ten seconds old");
        assert_eq!(series.count(at(9), ten), 2);
        assert_eq!(series.count(at(20), ten), 1);
        assert_eq!(series.count(at(-1), ten), 0);
        assert_eq!(series.next_to_leave(at(9), ten), Some(at(10)));
        let measured = |what| series.measure(at(10), ten, what);
        assert_eq!(measured(Measure::Avg), Some(5.5));
        assert_eq!((measured(Measure::Min), measured(Measure::Max)), (Some(2.0), Some(9.0)));
        assert_eq!((measured(Measure::Sum), measured(Measure::Share)), (Some(11.0), Some(50.0)));
        assert_eq!(measured(Measure::Percentile(0.5)), Some(5.5));
        assert_eq!(series.measure(at(-1), ten, Measure::Avg), None);
    }

    #[test]
    fn many_records_take_bounded_room_and_count_all_the_same() {
        let values: Vec<(i64, f64)> = (0..10_000).map(|second| (second, (second % 100) as f64)).collect();
        let series = series(&values);
        assert!(series.weight() <= MOST);
        let (end, all) = (Timestamp(10_000 * 1_000_000_000), Duration::from_secs(20_000));
        assert_eq!(series.count(end, all), 10_000);
        assert_eq!(series.measure(end, all, Measure::Avg), Some(49.5));
        assert_eq!(series.measure(end, all, Measure::Max), Some(99.0));
    }
}
