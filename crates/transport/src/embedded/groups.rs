//! The consumer groups of an embedded topic: who is a member, who has which partitions, and what each group has
//! committed.
//!
//! A change of members is a new generation. Every member first gives up what it had (its reading thread sees that it is
//! behind, in [`Groups::step`]); when nobody holds anything of an older generation, each takes its share of the new one.
//! Commits are kept in a small file that is replaced as a whole.

use super::files::{read_json, replace_json};
use crate::{Error, sync::lock};
use millrace_model::{Partition, Timestamp, chain};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

/// A group without members that has committed nothing for so long is forgotten, as Kafka does.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(168);
/// What the loss of the file comes to.
const FORGOTTEN: &str = "retention does not wait for a group until it reads again";

/// What the file holds.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Stored {
    version: u32,
    groups: BTreeMap<String, Committed>,
}

/// What one group has committed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Committed {
    /// When it last did.
    seen: Timestamp,
    /// The next offset that it will read, per partition.
    next: BTreeMap<i32, i64>,
}

#[derive(Debug, Default)]
struct Group {
    /// What it said itself. `None`: nothing yet, and nothing is stored.
    committed: Option<Committed>,
    /// Where its members began, for partitions that it has not committed: kept from retention while they read.
    began: BTreeMap<i32, i64>,
    /// Retention does not wait for it.
    is_reader: bool,
    generation: u64,
    members: BTreeMap<u64, Member>,
}

#[derive(Debug, Default)]
struct Member {
    /// The generation whose share it has, or had.
    generation: u64,
    owned: Vec<Partition>,
}

/// All groups of a topic.
#[derive(Debug)]
pub(crate) struct Groups {
    path: PathBuf,
    partitions: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    groups: BTreeMap<String, Group>,
    members: u64,
    changed: bool,
}

/// What a member has to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Read on.
    Steady,
    /// Give these up, then say [`Groups::released`].
    Revoke(Vec<Partition>),
    /// These are its own now.
    Assign(Vec<Partition>),
    /// Others still have to give up theirs.
    Wait,
}

impl Groups {
    /// Reads what was committed. A file that is not there though it should be, as the topic has been `used`, or that cannot
    /// be read, is said and passed over: commits are advisory.
    pub(crate) fn open(directory: &Path, partitions: u32, used: bool) -> Self {
        let path = directory.join("groups.json");
        let stored = match read_json::<Stored>(&path) {
            Ok(None) if used => {
                tracing::warn!(path = %path.display(), "what groups had committed is missing; {FORGOTTEN}");
                Stored::default()
            }
            Ok(stored) => stored.unwrap_or_default(),
            Err(error) => {
                let error = chain(&error);
                tracing::error!(error, "what groups had committed is lost; {FORGOTTEN}");
                Stored::default()
            }
        };
        let group = |committed| Group { committed: Some(committed), ..Group::default() };
        let groups = stored.groups.into_iter().map(|(name, committed)| (name, group(committed))).collect();
        Self { path, partitions, state: Mutex::new(State { groups, ..State::default() }) }
    }

    /// A new member, or with `None` a reader that shares with nobody and that nobody waits for: the name of its group, and its
    /// number.
    pub(crate) fn join(&self, group: Option<&str>) -> (String, u64) {
        let mut state = lock(&self.state);
        state.members += 1;
        let id = state.members;
        // Groups of people's have no blanks in their names.
        let name = group.map_or_else(|| format!("reader {id}"), str::to_owned);
        let joined = state.groups.entry(name.clone()).or_default();
        joined.is_reader = group.is_none();
        joined.generation += 1;
        joined.members.insert(id, Member::default());
        (name, id)
    }

    /// The member is gone, and what it had is free.
    pub(crate) fn leave(&self, name: &str, member: u64) {
        let mut state = lock(&self.state);
        let Some(group) = state.groups.get_mut(name) else { return };
        group.members.remove(&member);
        group.generation += 1;
        if group.members.is_empty() {
            group.began.clear();
            if group.committed.is_none() {
                state.groups.remove(name);
            }
        }
    }

    /// What the member has to do next.
    pub(crate) fn step(&self, group: &str, member: u64) -> Step {
        let mut state = lock(&self.state);
        let Some(group) = state.groups.get_mut(group) else { return Step::Wait };
        let generation = group.generation;
        let Some(own) = group.members.get(&member) else { return Step::Wait };
        if own.generation == generation {
            return Step::Steady;
        }
        if !own.owned.is_empty() {
            return Step::Revoke(own.owned.clone());
        }
        if group.members.values().any(|other| other.generation != generation && !other.owned.is_empty()) {
            return Step::Wait;
        }
        let rank = group.members.keys().take_while(|id| **id != member).count();
        let share = share(self.partitions, group.members.len(), rank);
        if let Some(own) = group.members.get_mut(&member) {
            *own = Member { generation, owned: share.clone() };
        }
        Step::Assign(share)
    }

    /// Is the member's share still the newest?
    pub(crate) fn is_current(&self, group: &str, member: u64) -> bool {
        let state = lock(&self.state);
        state.groups.get(group).is_some_and(|group| {
            group.members.get(&member).is_some_and(|own| own.generation == group.generation)
        })
    }

    /// The member has given up what it had.
    pub(crate) fn released(&self, group: &str, member: u64) {
        let mut state = lock(&self.state);
        if let Some(own) = state.groups.get_mut(group).and_then(|group| group.members.get_mut(&member)) {
            own.owned.clear();
        }
    }

    /// A member begins to read here: retention waits for it from now on, until its group commits.
    pub(crate) fn began(&self, group: &str, partition: Partition, offset: i64) {
        if let Some(group) = lock(&self.state).groups.get_mut(group) {
            group.began.insert(partition.0, offset);
        }
    }

    /// The group will next read these offsets.
    pub(crate) fn commit(&self, group: &str, next: &[(Partition, i64)], now: Timestamp) {
        let mut state = lock(&self.state);
        let committed = state.groups.entry(group.to_owned()).or_default().committed.get_or_insert_default();
        committed.seen = now;
        committed.next.extend(next.iter().map(|(partition, offset)| (partition.0, *offset)));
        state.changed = true;
    }

    /// The first offset of a partition that some known group may still want.
    pub(crate) fn wanted_from(&self, partition: Partition) -> i64 {
        let state = lock(&self.state);
        let wanted = |group: &Group| {
            let committed = group.committed.as_ref().and_then(|committed| committed.next.get(&partition.0));
            committed.or_else(|| group.began.get(&partition.0)).copied().unwrap_or(0)
        };
        state.groups.values().filter(|group| !group.is_reader).map(wanted).min().unwrap_or(i64::MAX)
    }

    /// The first offset of a partition that no group has read; 0: none has read any of it.
    pub(crate) fn read_up_to(&self, partition: Partition) -> i64 {
        let state = lock(&self.state);
        let committed = state.groups.values().filter_map(|group| group.committed.as_ref());
        committed.filter_map(|committed| committed.next.get(&partition.0)).copied().max().unwrap_or(0)
    }

    /// Stores what was committed since the last time, if anything was; forgets groups that are long gone.
    pub(crate) fn store(&self, now: Timestamp) -> Result<(), Error> {
        let stored = {
            let mut state = lock(&self.state);
            let before = state.groups.len();
            let gone = now.minus(FORGOTTEN_AFTER);
            state.groups.retain(|name, group| {
                let keep =
                    !group.members.is_empty() || group.committed.as_ref().is_some_and(|c| c.seen >= gone);
                if !keep {
                    tracing::info!(
                        group = name,
                        "the group has committed nothing for 7 days and is forgotten"
                    );
                }
                keep
            });
            if !state.changed && state.groups.len() == before {
                return Ok(());
            }
            state.changed = false;
            let committed = |group: &Group| group.committed.clone();
            let groups =
                state.groups.iter().filter_map(|(name, group)| Some((name.clone(), committed(group)?)));
            Stored { version: 1, groups: groups.collect() }
        };
        replace_json(&self.path, &stored).inspect_err(|_| lock(&self.state).changed = true)
    }
}

/// The partitions of the member of this rank: neighbours, as evenly as they divide.
fn share(partitions: u32, members: usize, rank: usize) -> Vec<Partition> {
    let (partitions, members, rank) = (partitions as usize, members.max(1), rank);
    let bound = |rank: usize| (partitions * rank / members) as i32;
    (bound(rank)..bound(rank + 1)).map(Partition).collect()
}

#[cfg(test)]
mod tests;
