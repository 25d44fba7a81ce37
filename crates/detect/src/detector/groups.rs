//! The groups that a detector remembers, in the order in which they have to be looked at again.

use crate::{
    finding::{MAX_EVIDENCE, add_evidence},
    rule::Rule,
    states::{Holding, State, exact},
    window::Event,
};
use millrace_model::{RecordId, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

/// What a rule has counted for one combination of values.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    /// The rule's place in the set.
    pub(super) rule: usize,
    /// The combination.
    pub(super) values: BTreeMap<String, String>,
    /// What is remembered, where the rule needs to.
    pub(super) state: Option<State>,
    /// Since the rule has fired, until it is resolved.
    pub(super) episode: Option<Episode>,
}

/// The time in which a rule is firing for a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// What was measured last.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "exact::option")]
    pub(super) value: Option<f64>,
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
            value: None,
        }
    }

    /// Of a condition that has come about.
    pub(super) fn of(holding: Holding, now: Timestamp) -> Self {
        Self {
            first: holding.first,
            last: holding.last,
            heard: now,
            count: holding.count,
            evidence: holding.evidence,
            told: now,
            value: Some(holding.value),
        }
    }

    /// It still holds. Says whether there is anything new in that.
    pub(super) fn hold(&mut self, holding: Holding, now: Timestamp) -> bool {
        let new = holding.last > self.last || holding.count > self.count;
        self.last = self.last.max(holding.last);
        self.count = self.count.max(holding.count);
        self.heard = now;
        self.value = Some(holding.value);
        add_evidence(&mut self.evidence, holding.evidence);
        new
    }

    /// One more. It moves the beginning back only where it could have been in the window that the beginning is of.
    pub(super) fn add(&mut self, event: &Event, span: Duration) {
        if event.time < self.first && self.first.since(event.time) < span {
            self.first = event.time;
        }
        self.last = self.last.max(event.time);
        self.heard = self.heard.max(event.heard);
        self.count = self.count.saturating_add(event.weight.into());
        add_evidence(&mut self.evidence, [event.id]);
    }
}

impl Group {
    pub(super) fn new(rule: usize, values: BTreeMap<String, String>) -> Self {
        Self { rule, values, state: None, episode: None }
    }

    /// Moves the times of hearing on.
    pub(super) fn delay(&mut self, by: Duration) {
        if let Some(state) = &mut self.state {
            state.delay(by);
        }
        if let Some(episode) = &mut self.episode {
            episode.heard = episode.heard.plus(by);
            episode.told = episode.told.plus(by);
        }
    }

    /// Fits this group to what its rule has become; `before` is what the rule decided by. Says whether anything of the
    /// group is left: if not, it is to be closed.
    pub(super) fn carry_over(&mut self, before: u128, rule: &Rule) -> bool {
        if before == rule.digest {
            return true;
        }
        self.state = None;
        self.episode.is_some()
            && self.values.keys().all(|name| rule.group_by.iter().any(|field| field.name == *name))
    }

    fn weight(&self) -> usize {
        self.state.as_ref().map_or(0, State::weight)
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
        self.events -= group.weight();
        self.active -= usize::from(group.episode.is_some());
        Some(group)
    }

    /// Puts in a group that is not there, to be looked at when `due`.
    pub(super) fn put(&mut self, key: u128, group: Group, due: Timestamp) {
        self.order.insert((group.episode.is_some(), due, key));
        self.events += group.weight();
        self.active += usize::from(group.episode.is_some());
        self.map.insert(key, (group, due));
    }

    /// When the first is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.first().map(|(due, _)| due)
    }

    fn first(&self) -> Option<(Timestamp, u128)> {
        let first = |active: bool| {
            let of_them = (active, Timestamp::MIN, 0)..=(active, Timestamp(i64::MAX), u128::MAX);
            self.order.range(of_them).next().map(|(_, due, key)| (*due, *key))
        };
        first(false).into_iter().chain(first(true)).min()
    }

    /// Takes out the first, if it is due by `now`.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<(u128, Group)> {
        let (_, key) = self.first().filter(|(due, _)| *due <= now)?;
        Some((key, self.take(key)?))
    }

    /// Takes out the one that would be missed least.
    pub(super) fn take_stalest(&mut self) -> Option<(u128, Group)> {
        let (.., key) = *self.order.first()?;
        Some((key, self.take(key)?))
    }

    /// By key, with when each is due.
    pub(super) fn iter_sorted(&self) -> impl Iterator<Item = (u128, &Group, Timestamp)> {
        let mut all: Vec<(u128, &Group, Timestamp)> =
            self.map.iter().map(|(key, (group, due))| (*key, group, *due)).collect();
        all.sort_unstable_by_key(|(key, ..)| *key);
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
