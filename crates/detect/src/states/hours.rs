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

/// No more weeks are of use to tell what is usual.
const WEEKS: u32 = 9;

/// How much time the counts of an interval are remembered of.
pub(crate) fn remembered(interval: Duration) -> Duration {
    let of_an_hour = interval.saturating_mul(OF_AN_HOUR as u32);
    let weeks = of_an_hour.as_secs().div_ceil(60 * 60).clamp(1, WEEKS.into());
    Duration::from_hours(weeks * 168)
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Hours {
    /// Where the first interval of all begins.
    #[serde(default)]
    began: Timestamp,
    /// Where the interval that is counted begins.
    start: Timestamp,
    count: u32,
    evidence: Vec<RecordId>,
    slots: BTreeMap<u16, VecDeque<u32>>,
    pub(crate) clock: GroupClock,
    /// All that is known of it was there before the rule. Until a record comes it may be others' to watch, and silence means nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    asleep: bool,
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
        Self::begin(floor(event.time, interval), GroupClock::new(event.time, event.heard))
    }

    fn begin(start: Timestamp, clock: GroupClock) -> Self {
        let (count, evidence, slots) = (0, Vec::new(), BTreeMap::new());
        Self { began: start, start, count, evidence, slots, clock, asleep: false }
    }

    /// Out of the counts of intervals, by where each begins; one that is not there had none. `None`: there are none at all.
    pub(crate) fn of_past(counts: &BTreeMap<Timestamp, u32>, interval: Duration) -> Option<Self> {
        let (first, _) = counts.first_key_value()?;
        let (last, _) = counts.last_key_value()?;
        let mut hours = Self { asleep: true, ..Self::begin(*first, GroupClock::new(*last, *last)) };
        for (start, count) in counts {
            hours.skip_to(*start, interval);
            hours.count = *count;
        }
        Some(hours)
    }

    /// The same as if what was counted before had been counted here. Of the interval in which this began both have a part.
    pub(crate) fn follow(&mut self, counts: &BTreeMap<Timestamp, u32>, interval: Duration) {
        let before = counts.range(..=self.began).map(|(start, count)| (*start, *count)).collect();
        let Some(mut before) = Self::of_past(&before, interval) else { return };
        before.skip_to(self.began, interval);
        if self.start == self.began {
            self.count = self.count.saturating_add(before.count);
        } else {
            let many = self.starts_in_first_hour(interval) > OF_AN_HOUR;
            let slot = self.slots.entry(hour_of_week(self.began)).or_default();
            let is_gone = many && slot.len() == OF_AN_HOUR;
            if let Some(first) = slot.front_mut().filter(|_| !is_gone) {
                *first = first.saturating_add(before.count);
            }
        }
        for (hour, mut counts) in before.slots {
            let slot = self.slots.entry(hour).or_default();
            counts.append(slot);
            counts.drain(..counts.len().saturating_sub(OF_AN_HOUR));
            *slot = counts;
        }
        self.began = before.began;
    }

    /// How many intervals were counted that began in the hour of the first: beyond so many, the first is forgotten.
    fn starts_in_first_hour(&self, interval: Duration) -> usize {
        let hour = Timestamp((self.began.0.div_euclid(HOUR) + 1) * HOUR).min(self.start);
        usize::try_from(hour.since(self.began).as_nanos().div_ceil(interval.as_nanos().max(1)))
            .unwrap_or(usize::MAX)
    }

    /// Has no record come since the rule is there?
    pub(crate) fn is_asleep(&self) -> bool {
        self.asleep
    }

    pub(crate) fn weight(&self) -> usize {
        1 + self.slots.values().map(VecDeque::len).sum::<usize>() / 16
    }

    /// A record happened; intervals that have ended with that are the answer. One that is too late for its interval is not counted.
    pub(crate) fn take(&mut self, event: &Event, interval: Duration) -> Vec<Counted> {
        if std::mem::take(&mut self.asleep) {
            self.skip_to(event.time, interval);
            self.clock = GroupClock::new(event.time, event.heard);
        }
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
        self.end_each(time, interval, |hours| {
            ended.push(Counted {
                start: hours.start,
                count: hours.count,
                evidence: std::mem::take(&mut hours.evidence),
                deviation: hours.deviation(hours.count),
            });
        });
        ended
    }

    /// The same, and nobody asks what the intervals were like.
    fn skip_to(&mut self, time: Timestamp, interval: Duration) {
        self.end_each(time, interval, |_| {});
    }

    fn end_each(&mut self, time: Timestamp, interval: Duration, mut look: impl FnMut(&mut Self)) {
        let now = floor(time, interval);
        // So long a silence is not what is usual.
        let is_long = now.0.saturating_sub(self.start.0) / width(interval) > FILLED;
        while self.start < now {
            look(self);
            let slot = self.slots.entry(hour_of_week(self.start)).or_default();
            slot.push_back(std::mem::take(&mut self.count));
            if slot.len() > OF_AN_HOUR {
                slot.pop_front();
            }
            self.start = if is_long { now } else { self.start.plus(interval) };
        }
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

/// Where the interval begins in which this is.
pub(crate) fn floor(time: Timestamp, interval: Duration) -> Timestamp {
    Timestamp(time.0.saturating_sub(time.0.rem_euclid(width(interval))))
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
    use proptest::prelude::*;

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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Whatever was counted before, and whenever it is handed over.
        #[test]
        fn one_that_follows_its_past_is_as_one_that_counted_it(
            pauses in prop::collection::vec(prop_oneof![8 => 0i64..90, 1 => 200i64..4000, 1 => 100_000i64..200_000], 2..300),
            (came, handed) in (0usize..300, 0usize..20),
        ) {
            let mut second = 0;
            let events: Vec<Event> = pauses.iter().map(|pause| { second += pause; event(second) }).collect();
            let came = came % events.len();
            let (before, after) = events.split_at(came);
            let mut counts = BTreeMap::new();
            for event in before {
                *counts.entry(floor(event.time, MINUTE)).or_default() += 1;
            }
            let mut watching = Hours::new(&events[0], MINUTE);
            for event in before {
                watching.take(event, MINUTE);
            }
            let (mut here, mut ended): (Option<Hours>, _) = (None, [Vec::new(), Vec::new()]);
            for (number, event) in after.iter().enumerate() {
                if number == handed {
                    match &mut here {
                        Some(here) => here.follow(&counts, MINUTE),
                        None => here = Hours::of_past(&counts, MINUTE),
                    }
                }
                let here = here.get_or_insert_with(|| Hours::new(event, MINUTE));
                let both = [watching.take(event, MINUTE), here.take(event, MINUTE)];
                // The first record wakes one that knows its past alone.
                if number > handed {
                    ended.iter_mut().zip(both).for_each(|(all, ended)| all.extend(ended));
                }
            }
            if let Some(here) = here.filter(|_| handed < after.len()) {
                let told = |hours: &Hours| (hours.began, hours.start, hours.count, hours.slots.clone());
                prop_assert_eq!(told(&here), told(&watching));
                let [expected, found] = ended.map(|ended| ended.into_iter().map(|c| (c.start, c.count, c.deviation)).collect::<Vec<_>>());
                prop_assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn a_long_silence_is_not_written_out() {
        let mut hours = Hours::new(&event(0), MINUTE);
        hours.take(&event(10 * 365 * 86_400), MINUTE);
        assert!(hours.weight() < 10);
    }
}
