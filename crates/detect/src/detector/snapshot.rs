//! What a detector has counted, as text, to be stored beside the offsets up to which it has read.
//!
//! Format 2, JSON: `{version, now, started, begun, pasts, rules: [{id, title, level, digest, groups: [{values, state?, episode?, due}], waiting}],
//! untold, pending}`; a state is as [`State`] has it, an event `[time, heard, record id, value | null, weight]`. Rules and groups
//! are sorted, so that equal states have equal snapshots. Format 1, which is read, had `events` of thresholds in place of
//! states, with times in nanoseconds.

use super::{
    Detector, finding,
    groups::{Episode, Group},
    held::Held,
};
use crate::{
    finding::{Finding, FindingKind, Level, fingerprint, memory},
    kinds::RuleKind,
    rule::Rule,
    states::State,
    window::{Event, Window},
};
use millrace_model::{RecordId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The format that this code writes and reads.
const VERSION: u32 = 2;
/// The oldest that it reads.
const OLDEST: u64 = 1;

/// Why a snapshot cannot be gone on from. Nothing of it has been taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// It was written in another format.
    #[error("the snapshot has format {0}, this program reads format {OLDEST} to {VERSION}")]
    Version(u64),
    /// It is no snapshot.
    #[error("the snapshot cannot be read")]
    Malformed(#[source] serde_json::Error),
}

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    now: i64,
    #[serde(default)]
    started: Option<i64>,
    /// Ids and digests of rules whose one group is there before anything was heard of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    begun: Vec<(String, String)>,
    /// Ids and digests of rules that remember, with the time before which what was there is to be handed over, if it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pasts: Vec<(String, String, Option<i64>)>,
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
    /// Matches that wait for what happened before them; their places mean nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    waiting: Vec<Held>,
}

#[derive(Serialize, Deserialize)]
struct SavedGroup {
    values: BTreeMap<String, String>,
    /// Of format 1.
    #[serde(default, skip_serializing)]
    events: Vec<(i64, i64, RecordId, Option<u64>, u32)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<State>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    episode: Option<Episode>,
    /// When it is to be looked at, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due: Option<i64>,
}

#[derive(Deserialize)]
struct Version {
    version: u64,
}

impl SavedGroup {
    fn of(group: &Group, due: Timestamp) -> Self {
        Self {
            values: group.values.clone(),
            events: Vec::new(),
            state: group.state.clone(),
            episode: group.episode.clone(),
            due: Some(due.0),
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
        let old = || Window::from(self.events.iter().copied().map(event).collect::<Vec<_>>());
        let state = self.state.or_else(|| (!self.events.is_empty()).then(|| State::Count(old())));
        Group { rule, values: self.values, state, episode: self.episode }
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
            waiting: Vec::new(),
        }
    }

    /// Enough of a rule that is gone to say that it is over.
    fn stand_in(&self) -> Rule {
        Rule {
            id: self.id.clone(),
            name: None,
            title: self.title.clone(),
            description: String::new(),
            level: self.level,
            tags: Vec::new(),
            file: String::new(),
            line: 0,
            streams: Vec::new(),
            kind: RuleKind::Sigma,
            cases: Vec::new(),
            group_by: Vec::new(),
            resolve_after: None,
            matches: None,
            correlates: None,
            is_silent: false,
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
        for (_, group, due) in self.groups.iter_sorted() {
            let rule = &self.rules.rules()[group.rule];
            let saved = rules.entry(&rule.id).or_insert_with(|| SavedRule::of(rule));
            saved.groups.push(SavedGroup::of(group, due));
        }
        for held in self.waiting.iter() {
            let rule = &self.rules.rules()[held.place];
            let saved = rules.entry(&rule.id).or_insert_with(|| SavedRule::of(rule));
            saved.waiting.push(Held { place: 0, ..held.clone() });
        }
        let saved = Saved {
            version: VERSION,
            now: self.now.0,
            started: self.started.map(|started| started.0),
            begun: self.begun.iter().filter_map(|id| Some((id.clone(), self.digest(id)?))).collect(),
            pasts: self
                .pasts
                .iter()
                .filter_map(|(id, until)| Some((id.clone(), self.digest(id)?, until.map(|until| until.0))))
                .collect(),
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
        if !(OLDEST..=u64::from(VERSION)).contains(&version.version) {
            return Err(SnapshotError::Version(version.version));
        }
        let saved: Saved = serde_json::from_str(snapshot).map_err(SnapshotError::Malformed)?;
        let new = Self::sharing(self.rules.clone(), self.settings.clone(), self.share);
        *self = Self { stats: self.stats, ..new };
        self.now = Timestamp(saved.now);
        self.started = saved.started.map(Timestamp);
        let begun = saved.begun.into_iter();
        self.begun =
            begun.filter(|(id, digest)| self.digest(id).as_ref() == Some(digest)).map(|(id, _)| id).collect();
        let pasts = saved.pasts.into_iter();
        self.pasts = pasts
            .filter(|(id, digest, _)| self.digest(id).as_ref() == Some(digest))
            .map(|(id, _, until)| (id, until.map(Timestamp)))
            .collect();
        self.resumes = Some(self.now);
        self.pending = saved.pending;
        let untold: BTreeSet<u128> =
            saved.untold.iter().filter_map(|key| u128::from_str_radix(key, 16).ok()).collect();
        let mut waiting = Vec::new();
        for mut rule in saved.rules {
            let before = u128::from_str_radix(&rule.digest, 16).unwrap_or_default();
            let place = self.rules.place(&rule.id);
            if let Some(place) = place.filter(|place| self.rules.rules()[*place].digest == before) {
                waiting.extend(rule.waiting.drain(..).map(|held| Held { place, ..held }));
            }
            let groups = std::mem::take(&mut rule.groups);
            for group in groups {
                self.restore_group(&rule, group, &untold);
            }
        }
        waiting.sort_by_key(|held| held.event.heard);
        for held in waiting {
            self.waiting.push(held);
        }
        Ok(())
    }

    /// By what a rule decides, as snapshots have it.
    fn digest(&self, rule: &str) -> Option<String> {
        self.rules.get(rule).map(|rule| format!("{:032x}", rule.digest))
    }

    fn restore_group(&mut self, rule: &SavedRule, group: SavedGroup, untold: &BTreeSet<u128>) {
        let key = match group.state {
            Some(State::Terms(_)) => memory(&rule.id, &group.values),
            _ => fingerprint(&rule.id, &group.values),
        };
        let (place, due) = (self.rules.place(&rule.id), group.due);
        let mut group = group.restored(place.unwrap_or_default());
        let before = u128::from_str_radix(&rule.digest, 16).unwrap_or_default();
        let goes_on = |place| {
            group.carry_over(before, &self.rules.rules()[place]) && self.decides(place, &group.values)
        };
        if place.is_some_and(goes_on) {
            if untold.contains(&key) {
                self.untold.insert(key);
            }
            match due {
                Some(due) if before == self.rules.rules()[group.rule].digest => {
                    self.groups.put(key, group, Timestamp(due));
                }
                _ => self.keep(key, group),
            }
        } else if let Some(episode) = &group.episode {
            self.stats.resolved += 1;
            self.pending.push(finding(&rule.stand_in(), &group.values, key, FindingKind::Resolved, episode));
        }
    }
}
