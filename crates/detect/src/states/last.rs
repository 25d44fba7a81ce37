//! The values that fields had last, to tell a change.

use crate::window::Event;
use millrace_model::{RecordId, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Last {
    /// Of each field, where it was there: its value, when, and in which record.
    values: Vec<Option<(Option<String>, Timestamp, RecordId)>>,
    /// When the latest record was heard.
    pub(crate) heard: Timestamp,
}

/// What is a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Different {
    /// Only if the value before is not older.
    pub(crate) within: Option<Duration>,
    /// A field that is not there is one more value.
    pub(crate) missing: bool,
}

impl Last {
    pub(crate) fn new(fields: usize, heard: Timestamp) -> Self {
        Self { values: vec![None; fields], heard }
    }

    /// The next record, in event time. The records of before, if any field's value is another now.
    pub(crate) fn take(
        &mut self,
        event: &Event,
        values: &[Option<String>],
        what: Different,
    ) -> Option<Vec<Event>> {
        self.heard = self.heard.max(event.heard);
        let mut before = Vec::new();
        for (known, value) in self.values.iter_mut().zip(values) {
            if value.is_none() && !what.missing {
                continue;
            }
            if let Some((old, time, id)) = known
                && *time <= event.time
                && old != value
                && what.within.is_none_or(|within| event.time.since(*time) <= within)
                && !before.iter().any(|event: &Event| event.id == *id)
            {
                before.push(Event { time: *time, id: *id, ..*event });
            }
            if known.as_ref().is_none_or(|(_, time, _)| *time <= event.time) {
                *known = Some((value.clone(), event.time, event.id));
            }
        }
        (!before.is_empty()).then_some(before)
    }
}
