//! What is usual at an hour of the week: counts of an interval, held against those of the same hour in the weeks before, by
//! their median and how far they lie from it (a robust z-score of `ln(1 + count)`).

use super::GroupClock;
use crate::{finding::add_evidence, window::Event};
use millrace_model::{RecordId, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

const HOUR: i64 = 3_600_000_000_000;
/// So many counts of an hour of the week are remembered.
const OF_AN_HOUR: usize = 48;
/// So many must be known to say what is usual then; else all that are known are asked.
const ENOUGH_OF_AN_HOUR: usize = 8;
/// So many must be known at all.
const ENOUGH: usize = 24;
/// What makes the median of distances a standard deviation, where values are normally distributed.
const TO_DEVIATION: f64 = 1.4826;
/// Counts that never differ are no proof that they never will.
const LEAST_DEVIATION: f64 = 0.1;
/// The longest silence that is filled with zeros, in intervals.
const FILLED: i64 = 2016;

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Hours {
    /// Where the interval that is counted begins.
    start: Timestamp,
    count: u32,
    evidence: Vec<RecordId>,
    slots: BTreeMap<u16, VecDeque<u32>>,
    pub(crate) clock: GroupClock,
}

/// An interval that has ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Counted {
    pub(crate) start: Timestamp,
    pub(crate) count: u32,
    pub(crate) evidence: Vec<RecordId>,
    /// How many deviations from what is usual, above or below; `None`: what is usual is not known.
    pub(crate) deviation: Option<f64>,
}

impl Hours {
    pub(crate) fn new(event: &Event, interval: Duration) -> Self {
        Self {
            start: floor(event.time, interval),
            count: 0,
            evidence: Vec::new(),
            slots: BTreeMap::new(),
            clock: GroupClock::new(event.time, event.heard),
        }
    }

    pub(crate) fn weight(&self) -> usize {
        1 + self.slots.values().map(VecDeque::len).sum::<usize>() / 16
    }

    /// A record happened; intervals that have ended with that are the answer. One that is too late for its interval is not counted.
    pub(crate) fn take(&mut self, event: &Event, interval: Duration) -> Vec<Counted> {
        self.clock.hear(event.time, event.heard);
        let ended = self.end_before(event.time, interval);
        if event.time >= self.start {
            self.count = self.count.saturating_add(1);
            add_evidence(&mut self.evidence, [event.id]);
        }
        ended
    }

    /// When the interval ends that is counted, as it is heard.
    pub(crate) fn ends_at(&self, interval: Duration) -> Timestamp {
        self.clock.when(self.start.plus(interval))
    }

    /// Intervals that have ended before this.
    pub(crate) fn end_before(&mut self, time: Timestamp, interval: Duration) -> Vec<Counted> {
        let mut ended = Vec::new();
        let now = floor(time, interval);
        let width = width(interval);
        if now.0.saturating_sub(self.start.0) / width > FILLED {
            // So long a silence is not what is usual.
            ended.push(self.end());
            self.start = now;
            return ended;
        }
        while self.start < now {
            ended.push(self.end());
            self.start = self.start.plus(interval);
        }
        ended
    }

    fn end(&mut self) -> Counted {
        let counted = Counted {
            start: self.start,
            count: std::mem::take(&mut self.count),
            evidence: std::mem::take(&mut self.evidence),
            deviation: None,
        };
        let deviation = self.deviation(counted.count);
        let slot = self.slots.entry(hour_of_week(self.start)).or_default();
        slot.push_back(counted.count);
        if slot.len() > OF_AN_HOUR {
            slot.pop_front();
        }
        Counted { deviation, ..counted }
    }

    /// How far from what is usual.
    fn deviation(&self, count: u32) -> Option<f64> {
        let logs = |counts: &mut dyn Iterator<Item = u32>| -> Vec<f64> {
            counts.map(|count| f64::from(count).ln_1p()).collect()
        };
        let of_hour =
            self.slots.get(&hour_of_week(self.start)).filter(|slot| slot.len() >= ENOUGH_OF_AN_HOUR);
        let known = match of_hour {
            Some(slot) => logs(&mut slot.iter().copied()),
            None => logs(&mut self.slots.values().flatten().copied()),
        };
        if of_hour.is_none() && known.len() < ENOUGH {
            return None;
        }
        let middle = median(known.clone());
        let away = median(known.iter().map(|log| (log - middle).abs()).collect());
        Some((f64::from(count).ln_1p() - middle) / (TO_DEVIATION * away).max(LEAST_DEVIATION))
    }
}

fn width(interval: Duration) -> i64 {
    i64::try_from(interval.as_nanos()).unwrap_or(i64::MAX).max(1)
}

fn floor(time: Timestamp, interval: Duration) -> Timestamp {
    Timestamp(time.0 - time.0.rem_euclid(width(interval)))
}

/// From 0 to 167; the epoch began on a Thursday, which does not matter.
fn hour_of_week(time: Timestamp) -> u16 {
    u16::try_from(time.0.div_euclid(HOUR).rem_euclid(168)).unwrap_or_default()
}

/// Of a list that is not empty.
fn median(mut values: Vec<f64>) -> f64 {
    let middle = values.len() / 2;
    if values.is_empty() {
        return 0.0;
    }
    let (below, at, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let at = *at;
    if below.len() == middle && values.len() % 2 == 1 {
        return at;
    }
    let below = values[..middle].iter().copied().fold(f64::NEG_INFINITY, f64::max);
    f64::midpoint(below, at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_model::SourceId;

    const MINUTE: Duration = Duration::from_mins(1);

    fn event(second: i64) -> Event {
        let time = Timestamp(second * 1_000_000_000);
        let id = RecordId { source: SourceId(1), position: second as u64, index: 0 };
        Event { time, heard: time, id, value: None, weight: 1 }
    }

    #[test]
    fn a_median_is_the_middle() {
        for (values, middle) in
            [(vec![3.0, 1.0, 2.0], 2.0), (vec![4.0, 1.0, 2.0, 3.0], 2.5), (vec![7.0], 7.0)]
        {
            assert!((median(values) - middle).abs() < 1e-9);
        }
    }

    #[test]
    fn what_is_usual_is_no_deviation_and_what_is_not_is_a_large_one() {
        let mut hours = Hours::new(&event(0), MINUTE);
        let mut counted = Vec::new();
        for minute in 0..60 {
            for number in 0..10 + minute % 3 {
                counted.extend(hours.take(&event(minute * 60 + number), MINUTE));
            }
        }
        assert_eq!(counted.len(), 59);
        assert!(counted[..ENOUGH_OF_AN_HOUR].iter().all(|counted| counted.deviation.is_none()));
        assert!(
            counted[ENOUGH_OF_AN_HOUR..]
                .iter()
                .all(|counted| counted.deviation.is_some_and(|away| away.abs() < 3.0))
        );
        for number in 0..200 {
            hours.take(&event(3600 + number / 10), MINUTE);
        }
        let burst = hours.end_before(Timestamp(3660 * 1_000_000_000), MINUTE);
        assert!(burst[0].count == 200 && burst[0].deviation.is_some_and(|away| away > 10.0), "{burst:?}");
        let silence = hours.end_before(Timestamp(3720 * 1_000_000_000), MINUTE);
        assert!(silence[0].count == 0 && silence[0].deviation.is_some_and(|away| away < -10.0));
    }

    #[test]
    fn a_long_silence_is_not_written_out() {
        let mut hours = Hours::new(&event(0), MINUTE);
        hours.take(&event(10 * 365 * 86_400), MINUTE);
        assert!(hours.weight() < 10);
    }
}
