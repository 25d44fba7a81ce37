//! Silence: when so few records, or different values, have been heard for so long that something has stopped. It goes by when
//! records are heard, not by what their hosts say the time is.

use crate::window::Event;
use millrace_model::Timestamp;
use serde::{Deserialize, Serialize};
use std::{collections::VecDeque, time::Duration};

/// Of so many hours the longest gap is remembered to learn from: of a week.
const HOURS: usize = 168;
const HOUR: i64 = 3_600_000_000_000;
/// So many gaps must have been there.
const ENOUGH: u32 = 10;
/// Silence is so many times longer than the longest gap that is known.
const LONGER: u32 = 3;

/// How much is too little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Least {
    /// Fewer than so many records, or different values.
    pub(crate) count: usize,
    /// In so much time; `None`: what was learnt of the group.
    pub(crate) span: Option<Duration>,
    /// The least and the most that are learnt.
    pub(crate) learned: (Duration, Duration),
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Quiet {
    began: Timestamp,
    /// The latest records, or those with different values, the latest last: as many as must be heard.
    recent: VecDeque<Event>,
    /// The longest between two records that ended in an hour, in nanoseconds; by the hour.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    gaps: VecDeque<(i64, u64)>,
    /// How many there were.
    #[serde(default)]
    known: u32,
}

impl Quiet {
    /// Nothing was heard since then.
    pub(crate) fn new(began: Timestamp) -> Self {
        Self { began, recent: VecDeque::new(), gaps: VecDeque::new(), known: 0 }
    }

    pub(crate) fn weight(&self) -> usize {
        self.recent.len() + self.gaps.len() / 4
    }

    pub(crate) fn delay(&mut self, by: Duration) {
        self.began = self.began.plus(by);
        self.recent.iter_mut().for_each(|event| event.heard = event.heard.plus(by));
    }

    /// A record was heard.
    pub(crate) fn hear(&mut self, event: Event, least: &Least) {
        if self.recent.iter().any(|known| known.id == event.id) {
            return;
        }
        if least.span.is_none()
            && let Some(last) = self.recent.back()
        {
            let gap = event.heard.since(last.heard).as_nanos().try_into().unwrap_or(u64::MAX);
            let hour = event.heard.0.div_euclid(HOUR);
            self.known = self.known.saturating_add(1);
            match self.gaps.back_mut() {
                Some((known, longest)) if *known == hour => *longest = gap.max(*longest),
                _ => self.gaps.push_back((hour, gap)),
            }
            if self.gaps.len() > HOURS {
                self.gaps.pop_front();
            }
        }
        if event.value.is_some() {
            self.recent.retain(|known| known.value != event.value);
        }
        let at = self.recent.partition_point(|known| known.heard <= event.heard);
        self.recent.insert(at, event);
        while self.recent.len() > least.count {
            self.recent.pop_front();
        }
    }

    /// When too little will have been heard, if nothing more comes. `None`: that is not known yet.
    pub(crate) fn falls_short_at(&self, least: &Least) -> Option<Timestamp> {
        let span = match least.span {
            Some(span) => span,
            None => self.learned(least.learned)?,
        };
        let from = match self.recent.len().checked_sub(least.count) {
            Some(at) => self.recent.get(at)?.heard,
            None => self.began,
        };
        Some(from.plus(span))
    }

    fn learned(&self, (least, most): (Duration, Duration)) -> Option<Duration> {
        if self.known < ENOUGH {
            return None;
        }
        let longest = self.gaps.iter().map(|(_, gap)| *gap).max().map(Duration::from_nanos)?;
        Some(longest.saturating_mul(LONGER).clamp(least, most))
    }

    /// The latest records, in the order in which they were heard.
    pub(crate) fn recent(&self) -> &VecDeque<Event> {
        &self.recent
    }

    /// When the last record was heard, or when listening began.
    pub(crate) fn last_heard(&self) -> Timestamp {
        self.recent.back().map_or(self.began, |event| event.heard)
    }
}
