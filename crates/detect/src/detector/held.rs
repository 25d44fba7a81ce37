//! Matches that wait for what happened before them: the buffer in which a partition's stream comes into order.

use crate::{kinds::Fact, window::Event};
use millrace_model::{RecordId, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// What a record is to a rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Held {
    /// The rule's place in the set.
    pub(crate) place: usize,
    /// The group that it is of.
    pub(crate) values: BTreeMap<String, String>,
    pub(crate) fact: Fact,
    pub(crate) event: Event,
}

type Key = (Timestamp, RecordId, usize);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// In the order in which they happened.
    held: BTreeMap<Key, Held>,
    /// In the order in which they were heard.
    order: VecDeque<(Timestamp, Key)>,
}

impl Waiting {
    pub(super) fn push(&mut self, held: Held) {
        let key = (held.event.time, held.event.id, held.place);
        self.order.push_back((held.event.heard, key));
        self.held.insert(key, held);
    }

    /// When the first has waited long enough.
    pub(super) fn next_release(&mut self, patience: Duration) -> Option<Timestamp> {
        loop {
            let (heard, key) = self.order.front()?;
            if self.held.contains_key(key) {
                return Some(heard.plus(patience));
            }
            self.order.pop_front(); // it went with one that happened later, or came twice
        }
    }

    /// The first that was heard, after all that happened before it.
    pub(super) fn release(&mut self) -> Vec<Held> {
        let Some((_, key)) = self.order.pop_front() else { return Vec::new() };
        let mut later = self.held.split_off(&key);
        let first = later.remove(&key);
        std::mem::replace(&mut self.held, later).into_values().chain(first).collect()
    }

    /// Keeps those that a rule still waits for, with its new place.
    pub(super) fn keep(&mut self, place: impl Fn(&Held) -> Option<usize>) {
        let before = std::mem::take(self);
        let mut held = before.held;
        for (_, key) in before.order {
            if let Some(one) = held.remove(&key)
                && let Some(place) = place(&one)
            {
                self.push(Held { place, ..one });
            }
        }
    }

    pub(super) fn delay(&mut self, by: Duration) {
        self.order.iter_mut().for_each(|(heard, _)| *heard = heard.plus(by));
        self.held.values_mut().for_each(|held| held.event.heard = held.event.heard.plus(by));
    }

    /// In the order in which they were heard.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.order.iter().filter_map(|(_, key)| self.held.get(key))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }
}
