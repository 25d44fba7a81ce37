//! Records that are steps of something: all of them within a time, in order or not, and nothing that must not come between.
//!
//! **Invariant:** which chain is found depends on what happened when, not on the order in which it was heard. Records of the
//! same instant are in the order of their sources and positions.

use crate::window::Event;
use millrace_model::Timestamp;
use serde::{Deserialize, Serialize};
use std::{ops::Range, time::Duration};

/// The most records that one group remembers.
const MOST: usize = 4096;

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Step {
    /// So many records of it.
    pub count: u32,
    /// It must not come where it stands.
    pub not: bool,
}

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chain<'c> {
    pub(crate) steps: &'c [Step],
    pub(crate) within: Duration,
    pub(crate) ordered: bool,
}

impl Chain<'_> {
    /// Does it end with something that must not follow?
    fn waits(&self) -> bool {
        self.ordered && self.steps.last().is_some_and(|step| step.not)
    }
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Steps {
    /// By time and id, with the steps that each can be, a bit each.
    events: Vec<(Event, u64)>,
    /// Chains that are whole but for what must not follow, and when that is sure, as it is heard.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    waiting: Vec<(Timestamp, Vec<Event>)>,
}

impl Steps {
    pub(crate) fn weight(&self) -> usize {
        self.events.len() + self.waiting.iter().map(|(_, events)| events.len()).sum::<usize>()
    }

    pub(crate) fn delay(&mut self, by: Duration) {
        self.events.iter_mut().for_each(|(event, _)| event.heard = event.heard.plus(by));
        self.waiting.iter_mut().for_each(|(when, _)| *when = when.plus(by));
    }

    pub(crate) fn last_heard(&self) -> Option<Timestamp> {
        self.events.iter().map(|(event, _)| event.heard).max()
    }

    /// Forgets what was heard before.
    pub(crate) fn forget_heard_before(&mut self, heard: Timestamp) {
        self.events.retain(|(event, _)| event.heard >= heard);
    }

    /// When the first chain that waits is sure.
    pub(crate) fn sure_at(&self) -> Option<Timestamp> {
        self.waiting.iter().map(|(when, _)| *when).min()
    }

    /// A chain that has waited long enough by `now`.
    pub(crate) fn take_sure(&mut self, now: Timestamp) -> Option<Vec<Event>> {
        let at = self.waiting.iter().position(|(when, _)| *when <= now)?;
        Some(self.waiting.swap_remove(at).1)
    }

    /// A record that is one of the steps whose bits are set. The chain that it makes whole: its records are used up.
    /// `patience` is how long after its time a record may still be heard. How many were forgotten for want of room comes second.
    pub(crate) fn take(
        &mut self,
        event: Event,
        bits: u64,
        chain: &Chain<'_>,
        patience: Duration,
    ) -> (Option<Vec<Event>>, u64) {
        let key = (event.time, event.id);
        let Err(at) = self.events.binary_search_by_key(&key, |(event, _)| (event.time, event.id)) else {
            return (None, 0);
        };
        if chain.waits() && bits & (1 << (chain.steps.len() - 1)) != 0 {
            // What must not follow has come.
            self.waiting.retain(|(_, found)| {
                let last = found.last().map_or(event.time, |last| last.time);
                !(last <= event.time && event.time.since(last) < chain.within)
            });
        }
        self.events.insert(at, (event, bits));
        let found = if chain.ordered { self.ordered(at, chain) } else { self.together(at, chain) };
        let whole = found.map(|places| {
            let events: Vec<Event> = places.iter().map(|place| self.events[*place].0).collect();
            let mut place = 0;
            self.events.retain(|_| {
                place += 1;
                !places.contains(&(place - 1))
            });
            events
        });
        let forgotten = self.make_room();
        match whole {
            Some(events) if chain.waits() => {
                let last = events.last().map_or(event.time, |last| last.time);
                if !self.follows(last, chain) {
                    let sure =
                        event.heard.plus(chain.within.saturating_sub(event.time.since(last))).plus(patience);
                    self.waiting.push((sure, events));
                }
                (None, forgotten)
            }
            whole => (whole, forgotten),
        }
    }

    /// Is there already what must not follow?
    fn follows(&self, last: Timestamp, chain: &Chain<'_>) -> bool {
        let bit = 1 << (chain.steps.len() - 1);
        self.events.iter().any(|(event, bits)| {
            bits & bit != 0 && event.time >= last && event.time.since(last) < chain.within
        })
    }

    fn make_room(&mut self) -> u64 {
        let over = self.events.len().saturating_sub(MOST);
        self.events.drain(..over);
        over as u64
    }

    /// The places of records that are enough of each step, less than the span apart, the one at `at` among them.
    fn together(&self, at: usize, chain: &Chain<'_>) -> Option<Vec<usize>> {
        let time = |place: usize| self.events[place].0.time;
        let first = self.events.partition_point(|(event, _)| {
            event.time < time(at) && time(at).since(event.time) >= chain.within
        });
        // A window that moves on over those around it, with how many there are of each step.
        let mut counts = vec![0_u32; chain.steps.len()];
        let count = |counts: &mut [u32], place: usize, by: i64| {
            for (number, count) in counts.iter_mut().enumerate() {
                if self.events[place].1 & (1 << number) != 0 {
                    *count = count.saturating_add_signed(by as i32);
                }
            }
        };
        let mut end = first;
        for start in first..=at {
            while end < self.events.len() && time(end).since(time(start)) < chain.within {
                count(&mut counts, end, 1);
                end += 1;
            }
            let enough = counts.iter().zip(chain.steps).all(|(count, step)| *count >= step.count);
            if enough && end > at {
                return self.of_window(start..end, at, chain);
            }
            count(&mut counts, start, -1);
        }
        None
    }

    /// As many of each step as are needed, of a window that holds enough of each.
    fn of_window(&self, window: Range<usize>, at: usize, chain: &Chain<'_>) -> Option<Vec<usize>> {
        let mut used: Vec<usize> = Vec::new();
        for (number, step) in chain.steps.iter().enumerate() {
            let mut of_step: Vec<usize> =
                window.clone().filter(|place| self.events[*place].1 & (1 << number) != 0).collect();
            // The new one first: it is what makes the chain whole.
            of_step.sort_by_key(|place| (*place != at, *place));
            used.extend(of_step.into_iter().take(step.count as usize));
        }
        used.sort_unstable();
        used.dedup();
        used.contains(&at).then_some(used)
    }

    /// The places of a chain in order that holds the record at `at`, as short as can be around it.
    fn ordered(&self, at: usize, chain: &Chain<'_>) -> Option<Vec<usize>> {
        // Each record of each step, and what must not come before it.
        let mut wanted: Vec<(u64, u64)> = Vec::new();
        let mut not = 0;
        for (number, step) in chain.steps.iter().enumerate() {
            if step.not {
                not |= 1 << number;
                continue;
            }
            for _ in 0..step.count {
                wanted.push((1 << number, not));
                not = 0;
            }
        }
        let bits = self.events[at].1;
        (0..wanted.len())
            .rev()
            .filter(|place| bits & wanted[*place].0 != 0)
            .find_map(|place| self.around(at, place, &wanted, chain.within))
    }

    /// The record at `at` is the one that is wanted at `place`: the latest before it, the earliest after it.
    fn around(&self, at: usize, place: usize, wanted: &[(u64, u64)], within: Duration) -> Option<Vec<usize>> {
        let mut places = vec![at];
        let (mut before, mut not) = (at, wanted[place].1);
        for (bit, not_before) in wanted[..place].iter().rev() {
            let found = self.events[..before].iter().rposition(|(_, bits)| bits & (bit | not) != 0)?;
            if self.events[found].1 & bit == 0 {
                return None; // what must not come between
            }
            places.insert(0, found);
            (before, not) = (found, *not_before);
        }
        let mut after = at;
        for (bit, not) in &wanted[place + 1..] {
            let found = self.events[after + 1..].iter().position(|(_, bits)| bits & (bit | not) != 0)?;
            let found = after + 1 + found;
            if self.events[found].1 & bit == 0 {
                return None;
            }
            places.push(found);
            after = found;
        }
        let (first, last) = (self.events[*places.first()?].0.time, self.events[*places.last()?].0.time);
        (last.since(first) < within).then_some(places)
    }
}
