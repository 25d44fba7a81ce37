//! The groups that a detector remembers, in the order in which they have to be looked at again.

use super::MAX_EVIDENCE;
use crate::{
    rule::Rule,
    window::{Event, Window},
};
use millrace_model::{RecordId, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

/// What a rule has counted for one combination of values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    /// The rule's place in the set.
    pub(super) rule: usize,
    /// The combination.
    pub(super) values: BTreeMap<String, String>,
    /// What was counted and has not made the rule fire.
    pub(super) window: Window,
    /// Since the rule has fired, until it is resolved.
    pub(super) episode: Option<Episode>,
}

/// The time in which a rule is firing for a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Episode {
    /// The earliest event.
    pub(super) first: Timestamp,
    /// The latest.
    pub(super) last: Timestamp,
    /// When the latest was heard.
    pub(super) heard: Timestamp,
    /// How many.
    pub(super) count: u64,
    /// Some of them.
    pub(super) evidence: Vec<RecordId>,
    /// When a finding last told of it.
    pub(super) told: Timestamp,
}

impl Episode {
    /// Of the events that made the rule fire.
    pub(super) fn begin(events: &[Event], heard: Timestamp) -> Self {
        let time = |event: Option<&Event>| event.map_or(heard, |event| event.time);
        Self {
            first: time(events.first()),
            last: time(events.last()),
            heard,
            count: events.iter().map(|event| u64::from(event.weight)).sum(),
            evidence: events.iter().take(MAX_EVIDENCE).map(|event| event.id).collect(),
            told: heard,
        }
    }

    /// One more. It moves the beginning back only where it could have been in the window that the beginning is of.
    pub(super) fn add(&mut self, event: &Event, span: Duration) {
        if event.time < self.first && self.first.since(event.time) < span {
            self.first = event.time;
        }
        self.last = self.last.max(event.time);
        self.heard = self.heard.max(event.heard);
        self.count = self.count.saturating_add(event.weight.into());
        if self.evidence.len() < MAX_EVIDENCE && !self.evidence.contains(&event.id) {
            self.evidence.push(event.id);
        }
    }
}

impl Group {
    pub(super) fn new(rule: usize, values: BTreeMap<String, String>) -> Self {
        Self { rule, values, window: Window::default(), episode: None }
    }

    /// Moves the times of hearing on.
    pub(super) fn delay(&mut self, by: Duration) {
        self.window.delay(by);
        if let Some(episode) = &mut self.episode {
            episode.heard = episode.heard.plus(by);
            episode.told = episode.told.plus(by);
        }
    }

    /// Fits this group to what its rule has become; `before` is what the rule decided by. Says whether anything of the
    /// group is left: if not, it is to be closed.
    pub(super) fn carry_over(&self, before: u128, rule: &Rule) -> bool {
        if before == rule.digest {
            return true;
        }
        self.episode.is_some()
            && self.values.keys().all(|name| rule.grouping.iter().any(|(field, _)| field == name))
    }
}

/// All groups. Those that are not firing are forgotten before those that are.
#[derive(Debug, Default)]
pub(super) struct Groups {
    map: HashMap<u128, (Group, Timestamp)>,
    /// Firing or not, when to look again, and which.
    order: BTreeSet<(bool, Timestamp, u128)>,
    events: usize,
    active: usize,
}

impl Groups {
    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    pub(super) fn events(&self) -> usize {
        self.events
    }

    pub(super) fn active(&self) -> usize {
        self.active
    }

    pub(super) fn get(&self, key: u128) -> Option<&Group> {
        self.map.get(&key).map(|(group, _)| group)
    }

    pub(super) fn take(&mut self, key: u128) -> Option<Group> {
        let (group, due) = self.map.remove(&key)?;
        self.order.remove(&(group.episode.is_some(), due, key));
        self.events -= group.window.events().len();
        self.active -= usize::from(group.episode.is_some());
        Some(group)
    }

    /// Puts in a group that is not there, to be looked at when `due`.
    pub(super) fn put(&mut self, key: u128, group: Group, due: Timestamp) {
        self.order.insert((group.episode.is_some(), due, key));
        self.events += group.window.events().len();
        self.active += usize::from(group.episode.is_some());
        self.map.insert(key, (group, due));
    }

    /// Takes out one that is due by `now`.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<(u128, Group)> {
        let first = |active| self.order.range((active, Timestamp::MIN, 0)..=(active, now, u128::MAX)).next();
        let (.., key) = *first(false).or_else(|| first(true))?;
        Some((key, self.take(key)?))
    }

    /// Takes out the one that would be missed least.
    pub(super) fn take_stalest(&mut self) -> Option<(u128, Group)> {
        let (.., key) = *self.order.first()?;
        Some((key, self.take(key)?))
    }

    /// By key.
    pub(super) fn iter_sorted(&self) -> impl Iterator<Item = (u128, &Group)> {
        let mut all: Vec<(u128, &Group)> = self.map.iter().map(|(key, (group, _))| (*key, group)).collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all.into_iter()
    }

    /// By key.
    pub(super) fn into_sorted(self) -> impl Iterator<Item = (u128, Group)> {
        let mut all: Vec<(u128, Group)> =
            self.map.into_iter().map(|(key, (group, _))| (key, group)).collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all.into_iter()
    }
}
