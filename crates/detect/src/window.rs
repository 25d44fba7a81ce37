//! Counting in event time: the matching records of one group, in the order in which they *happened*, whatever the order
//! in which they were heard of.
//!
//! **Invariant:** the window is reached exactly when some stretch of time shorter than the span holds enough records, so
//! no order of arrival can hide such a stretch or make one up. What is forgotten is forgotten by when it was heard, never
//! because another record claims to be from the future.

use millrace_model::{RecordId, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
    time::Duration,
};

/// A record that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    /// When it happened.
    pub(crate) time: Timestamp,
    /// When the detector learnt of it.
    pub(crate) heard: Timestamp,
    /// Which record it is.
    pub(crate) id: RecordId,
    /// A digest of the value that must differ, for rules that count distinct values.
    pub(crate) value: Option<u64>,
    /// How many records it stands for.
    pub(crate) weight: u32,
}

/// As a list: time, heard, id, value, weight.
impl Serialize for Event {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (self.time, self.heard, self.id, self.value, self.weight).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (time, heard, id, value, weight) = Deserialize::deserialize(from)?;
        Ok(Self { time, heard, id, value, weight })
    }
}

/// What must come together for a rule to fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Goal {
    /// So many records, or distinct values.
    pub(crate) count: usize,
    /// Within less than this.
    pub(crate) span: Duration,
    /// Are values counted?
    pub(crate) distinct: bool,
}

/// Events of one group, sorted by time and id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Event>", into = "Vec<Event>")]
pub(crate) struct Window {
    events: VecDeque<Event>,
    /// Some were heard in another order than they happened: then all are looked at to find those that were heard long ago.
    mixed: bool,
}

impl From<Window> for Vec<Event> {
    fn from(window: Window) -> Self {
        window.events.into()
    }
}

impl From<Vec<Event>> for Window {
    /// Puts back what [`Window::events`] gave.
    fn from(mut events: Vec<Event>) -> Self {
        events.sort_by_key(|event| (event.time, event.id));
        let mixed = !events.is_sorted_by_key(|event| event.heard);
        Self { events: events.into(), mixed }
    }
}

impl Window {
    /// Takes in one event, and says which events reach the goal together with it. The same record again is passed over.
    pub(crate) fn insert(&mut self, event: Event, goal: &Goal) -> Option<Range<usize>> {
        let Err(at) = self.events.binary_search_by_key(&(event.time, event.id), |e| (e.time, e.id)) else {
            return None;
        };
        let heard = |at: usize| self.events.get(at).map(|event| event.heard);
        self.mixed |= at.checked_sub(1).and_then(heard).is_some_and(|before| before > event.heard)
            || heard(at).is_some_and(|after| after < event.heard);
        self.events.insert(at, event);
        if goal.distinct {
            let reached = self.distinct_around(at, goal);
            if reached.is_none() {
                self.thin(event, goal.span);
            }
            reached
        } else {
            self.run_around(at, goal)
        }
    }

    /// In order of time.
    pub(crate) fn events(&self) -> &VecDeque<Event> {
        &self.events
    }

    /// Forgets what was heard before `heard`.
    pub(crate) fn forget_heard_before(&mut self, heard: Timestamp) {
        if self.mixed {
            self.events.retain(|event| event.heard >= heard);
            self.mixed = !self.events.iter().is_sorted_by_key(|event| event.heard);
        } else {
            let gone = self.events.partition_point(|event| event.heard < heard);
            self.events.drain(..gone);
        }
    }

    /// When the latest of the events was heard.
    pub(crate) fn last_heard(&self) -> Option<Timestamp> {
        if self.mixed {
            self.events.iter().map(|event| event.heard).max()
        } else {
            self.events.back().map(|event| event.heard)
        }
    }

    /// Moves the times of hearing on, for a detector that did not run for a while.
    pub(crate) fn delay(&mut self, by: Duration) {
        self.events.iter_mut().for_each(|event| event.heard = event.heard.plus(by));
    }

    /// The earliest run of `count` events that holds the one at `at` and is shorter than the span.
    fn run_around(&self, at: usize, goal: &Goal) -> Option<Range<usize>> {
        let last_start = self.events.len().checked_sub(goal.count)?.min(at);
        let first_start = (at + 1).saturating_sub(goal.count);
        (first_start..=last_start)
            .map(|start| start..start + goal.count)
            .find(|run| fits(self.events[run.start].time, self.events[run.end - 1].time, goal.span))
    }

    /// The earliest stretch around the event at `at` that is shorter than the span and holds enough distinct values.
    fn distinct_around(&self, at: usize, goal: &Goal) -> Option<Range<usize>> {
        let near = self.near(self.events[at].time, goal.span);
        let mut values: HashMap<Option<u64>, usize> = HashMap::new();
        let mut start = near.start;
        for end in near {
            *values.entry(self.events[end].value).or_default() += 1;
            while !fits(self.events[start].time, self.events[end].time, goal.span) {
                if let Some(left) = values.get_mut(&self.events[start].value) {
                    *left -= 1;
                    if *left == 0 {
                        values.remove(&self.events[start].value);
                    }
                }
                start += 1;
            }
            if values.len() >= goal.count {
                return Some(start..end + 1);
            }
        }
        None
    }

    /// Drops events that can decide nothing: between two of the same value that are no further apart than the span, any
    /// stretch that holds the middle one holds one of its neighbours too. So a group keeps at most about two events per
    /// value and span, however often a value comes.
    fn thin(&mut self, event: Event, span: Duration) {
        let mut same: Vec<usize> = self.near(event.time, span.saturating_mul(2)).collect();
        same.retain(|at| self.events[*at].value == event.value);
        let mut at = 1;
        while at + 1 < same.len() {
            let (before, middle, after) = (same[at - 1], same[at], same[at + 1]);
            if self.events[after].time.since(self.events[before].time) <= span {
                let weight = self.events.remove(middle).map_or(0, |event| event.weight);
                self.events[before].weight = self.events[before].weight.saturating_add(weight);
                same.remove(at);
                same[at..].iter_mut().for_each(|later| *later -= 1);
            } else {
                at += 1;
            }
        }
    }

    /// The events less than a span away from `time`.
    fn near(&self, time: Timestamp, span: Duration) -> Range<usize> {
        let start = self.events.partition_point(|event| event.time < time && time.since(event.time) >= span);
        let end = self.events.partition_point(|event| event.time <= time || event.time.since(time) < span);
        start..end
    }
}

/// Is a stretch from `first` to `last` shorter than the span? Two records of one instant always are together.
fn fits(first: Timestamp, last: Timestamp, span: Duration) -> bool {
    last.since(first) < span
}

#[cfg(test)]
mod tests;
