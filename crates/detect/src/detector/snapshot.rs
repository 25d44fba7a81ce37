//! What a detector has counted, as text, to be stored beside the offsets up to which it has read.
//!
//! Format 1, JSON: `{version, now, rules: [{id, title, level, digest, groups: [{values, events, episode?}]}], untold,
//! pending}`; an event is `[time, heard, record id, value | null, weight]`, times in nanoseconds. Rules and groups are sorted, so
//! that equal states have equal snapshots.

use super::{
    Detector, finding,
    groups::{Episode, Group},
};
use crate::{
    finding::{Finding, FindingKind, Level, fingerprint},
    rule::{Rule, RuleKind},
    window::{Event, Window},
};
use millrace_model::{RecordId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The format that this code writes and reads.
const VERSION: u32 = 1;

/// Why a snapshot cannot be gone on from. Nothing of it has been taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// It was written in another format.
    #[error("the snapshot has format {0}, this program reads format {VERSION}")]
    Version(u64),
    /// It is no snapshot.
    #[error("the snapshot cannot be read")]
    Malformed(#[source] serde_json::Error),
}

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    now: i64,
    rules: Vec<SavedRule>,
    /// Fingerprints of the groups whose changes no finding has told of.
    untold: Vec<String>,
    /// Findings that no call has given out.
    pending: Vec<Finding>,
}

#[derive(Serialize, Deserialize)]
struct SavedRule {
    id: String,
    title: String,
    level: Level,
    digest: String,
    groups: Vec<SavedGroup>,
}

#[derive(Serialize, Deserialize)]
struct SavedGroup {
    values: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    events: Vec<(i64, i64, RecordId, Option<u64>, u32)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    episode: Option<Episode>,
}

#[derive(Deserialize)]
struct Version {
    version: u64,
}

impl SavedGroup {
    fn of(group: &Group) -> Self {
        let event = |e: &Event| (e.time.0, e.heard.0, e.id, e.value, e.weight);
        Self {
            values: group.values.clone(),
            events: group.window.events().iter().map(event).collect(),
            episode: group.episode.clone(),
        }
    }

    fn restored(self, rule: usize) -> Group {
        let event = |(time, heard, id, value, weight)| Event {
            time: Timestamp(time),
            heard: Timestamp(heard),
            id,
            value,
            weight,
        };
        let window = Window::from_events(self.events.into_iter().map(event).collect());
        Group { rule, values: self.values, window, episode: self.episode }
    }
}

impl SavedRule {
    fn of(rule: &Rule) -> Self {
        Self {
            id: rule.id.clone(),
            title: rule.title.clone(),
            level: rule.level,
            digest: format!("{:032x}", rule.digest),
            groups: Vec::new(),
        }
    }

    /// Enough of a rule that is gone to say that it is over.
    fn stand_in(&self) -> Rule {
        Rule {
            id: self.id.clone(),
            title: self.title.clone(),
            description: String::new(),
            level: self.level,
            tags: Vec::new(),
            file: String::new(),
            line: 0,
            streams: Vec::new(),
            kind: RuleKind::Sigma,
            cases: Vec::new(),
            grouping: Vec::new(),
            digest: 0,
        }
    }
}

impl Detector {
    /// What was counted so far, to go on from.
    #[expect(
        clippy::expect_used,
        reason = "plain structs with text for keys: nothing in them that JSON cannot say"
    )]
    pub fn snapshot(&self) -> String {
        let mut rules: BTreeMap<&str, SavedRule> = BTreeMap::new();
        for (_, group) in self.groups.iter_sorted() {
            let rule = &self.rules.rules()[group.rule];
            rules.entry(&rule.id).or_insert_with(|| SavedRule::of(rule)).groups.push(SavedGroup::of(group));
        }
        let saved = Saved {
            version: VERSION,
            now: self.now.0,
            rules: rules.into_values().collect(),
            untold: self.untold.iter().map(|key| format!("{key:032x}")).collect(),
            pending: self.pending.clone(),
        };
        serde_json::to_string(&saved).expect("a snapshot in JSON")
    }

    /// Goes on from a snapshot; what was counted before is forgotten. Groups of rules that are gone are dropped, and
    /// what they left firing is resolved with the next findings. The time since the snapshot was taken does not count:
    /// nothing is resolved or forgotten because the detector did not run.
    pub fn restore(&mut self, snapshot: &str) -> Result<(), SnapshotError> {
        let version: Version = serde_json::from_str(snapshot).map_err(SnapshotError::Malformed)?;
        if version.version != u64::from(VERSION) {
            return Err(SnapshotError::Version(version.version));
        }
        let saved: Saved = serde_json::from_str(snapshot).map_err(SnapshotError::Malformed)?;
        *self = Self { stats: self.stats, ..Self::new(self.rules.clone(), self.settings.clone()) };
        self.now = Timestamp(saved.now);
        self.resumes = Some(self.now);
        self.pending = saved.pending;
        let untold: BTreeSet<u128> =
            saved.untold.iter().filter_map(|key| u128::from_str_radix(key, 16).ok()).collect();
        for mut rule in saved.rules {
            let groups = std::mem::take(&mut rule.groups);
            for group in groups {
                self.restore_group(&rule, group, &untold);
            }
        }
        Ok(())
    }

    fn restore_group(&mut self, rule: &SavedRule, group: SavedGroup, untold: &BTreeSet<u128>) {
        let key = fingerprint(&rule.id, &group.values);
        let place = self.rules.place(&rule.id);
        let group = group.restored(place.unwrap_or_default());
        let before = u128::from_str_radix(&rule.digest, 16).unwrap_or_default();
        if place.is_some_and(|place| group.carry_over(before, &self.rules.rules()[place])) {
            if untold.contains(&key) {
                self.untold.insert(key);
            }
            self.keep(key, group);
        } else if let Some(episode) = &group.episode {
            self.stats.resolved += 1;
            self.pending.push(finding(&rule.stand_in(), &group.values, key, FindingKind::Resolved, episode));
        }
    }
}
