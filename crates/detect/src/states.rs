//! What is remembered for one group of a rule, by what the rule asks for. Each knows its own times and bounds; none knows
//! what a rule is called, or when a finding is due.

pub(crate) mod hours;
pub(crate) mod last;
pub(crate) mod quiet;
pub(crate) mod series;
pub(crate) mod steps;
pub(crate) mod terms;

use crate::window::Window;
use millrace_model::{RecordId, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Records that count together.
    Count(Window),
    /// When something was heard last.
    Quiet(quiet::Quiet),
    /// Counts and numbers over time.
    Series(series::Series),
    /// Records that are steps of something.
    Steps(steps::Steps),
    /// The values that fields had last.
    Last(last::Last),
    /// Values that were there before.
    Terms(terms::Terms),
    /// Counts by hour of the week.
    Hours(hours::Hours),
}

impl State {
    /// How many records, values or counts it holds: what memory goes by.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Count(window) => window.events().len(),
            Self::Quiet(quiet) => quiet.weight(),
            Self::Series(series) => series.weight(),
            Self::Steps(steps) => steps.weight(),
            Self::Last(_) => 1,
            Self::Terms(terms) => terms.weight(),
            Self::Hours(hours) => hours.weight(),
        }
    }

    /// Moves the times of hearing on, for a detector that did not run for a while.
    pub(crate) fn delay(&mut self, by: Duration) {
        match self {
            Self::Count(window) => window.delay(by),
            Self::Quiet(quiet) => quiet.delay(by),
            Self::Series(series) => series.clock.delay(by),
            Self::Steps(steps) => steps.delay(by),
            Self::Last(last) => last.heard = last.heard.plus(by),
            Self::Terms(terms) => terms.delay(by),
            Self::Hours(hours) => hours.clock.delay(by),
        }
    }
}

/// How far the event time of a group has come: the latest that was heard of, and on from there as time passes. So a host whose
/// clock is an hour behind is not an hour late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GroupClock {
    /// The latest event time.
    edge: Timestamp,
    /// When it was heard.
    heard: Timestamp,
}

impl GroupClock {
    pub(crate) fn new(time: Timestamp, heard: Timestamp) -> Self {
        Self { edge: time, heard }
    }

    /// Something happened at `time`, and was heard of.
    pub(crate) fn hear(&mut self, time: Timestamp, heard: Timestamp) {
        if time > self.edge {
            *self = Self { edge: time, heard };
        }
    }

    /// The event time at `now`.
    pub(crate) fn at(&self, now: Timestamp) -> Timestamp {
        self.edge.plus(now.since(self.heard))
    }

    /// When it will be so late.
    pub(crate) fn when(&self, time: Timestamp) -> Timestamp {
        self.heard.plus(time.since(self.edge))
    }

    /// The latest event time.
    pub(crate) fn edge(&self) -> Timestamp {
        self.edge
    }

    /// When the latest was heard.
    pub(crate) fn heard(&self) -> Timestamp {
        self.heard
    }

    fn delay(&mut self, by: Duration) {
        self.heard = self.heard.plus(by);
    }
}

/// A condition that holds: what it rests on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Holding {
    /// The earliest record.
    pub(crate) first: Timestamp,
    /// The latest.
    pub(crate) last: Timestamp,
    /// How many.
    pub(crate) count: u64,
    /// Some of them.
    pub(crate) evidence: Vec<RecordId>,
    /// What was measured.
    pub(crate) value: f64,
}

/// A number in a snapshot is a text, for it must be the very same when it is read again.
pub(crate) mod exact {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    pub(crate) fn serialize<S: Serializer>(number: &f64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(number)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }

    /// The same where there may be none.
    pub(crate) mod option {
        use super::{Deserialize, Deserializer, Error, Serializer};

        #[expect(clippy::ref_option, reason = "as serde calls it")]
        pub(crate) fn serialize<S: Serializer>(number: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
            match number {
                Some(number) => to.collect_str(number),
                None => to.serialize_none(),
            }
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
            let text = Option::<String>::deserialize(from)?;
            text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
        }
    }
}
