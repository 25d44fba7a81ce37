//! Rules over the stream: a record in, findings out. Owns what was counted, for every rule and group.
//!
//! Windows are counted in event time (see [`crate::window`]); memory and resolutions follow the time at which records are
//! heard of, the `now` that is passed in. So late, early and replayed records cannot fool a rule:
//! - a record counts at its own time, however late it is heard; one that claims to be from the future counts
//!   [`DetectorSettings::skew`] after it was observed;
//! - records count together when they happened within the rule's window and were heard within that window plus
//!   [`DetectorSettings::lateness`] of one another;
//! - what made a rule fire is used up by that, so nothing that comes after counts it again;
//! - a record that was heard already is passed over while it is in a window. (The ledger in front sees to the rest.)
//!
//! **Invariant:** the same rules, settings, rows and times give the same findings, in the same order, with or without a
//! snapshot between.

mod groups;
mod snapshot;

pub use snapshot::SnapshotError;

use crate::{
    finding::{Finding, FindingKind, fingerprint},
    rule::{Rule, RuleKind, RuleSet},
    window::{Event, Goal, Window},
};
use groups::{Episode, Group, Groups};
use millrace_model::{Row, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// The most record ids that a finding names.
pub const MAX_EVIDENCE: usize = 10;
/// A pause after a restart that is no longer than this is none.
const PAUSE: Duration = Duration::from_secs(10);

/// How a detector counts. Plain data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetectorSettings {
    /// How much later than the rest of its window a record may be heard and still count with it. Default 10 min.
    pub lateness: Duration,
    /// How far after its observation a record's own time is believed. Default 1 min.
    pub skew: Duration,
    /// Matches of one Sigma rule on one host are one finding for as long as they are no further apart. Default 5 min.
    pub suppress: Duration,
    /// The most groups that are remembered, over all rules; beyond it the stalest is forgotten. Default 100,000.
    pub max_groups: usize,
    /// The most records that are remembered in windows, over all groups. Default 1,000,000 (about 100 MB).
    pub max_events: usize,
    /// A group that goes on is reported at most so often between two ticks; a tick reports what is left. Default 1 s.
    pub update_every: Duration,
    /// Are the rows history, whose own times are taken as they stand? Default: no.
    pub history: bool,
}

impl Default for DetectorSettings {
    fn default() -> Self {
        Self {
            lateness: Duration::from_mins(10),
            skew: Duration::from_mins(1),
            suppress: Duration::from_mins(5),
            max_groups: 100_000,
            max_events: 1_000_000,
            update_every: Duration::from_secs(1),
            history: false,
        }
    }
}

impl DetectorSettings {
    /// For records that are read back: every match is reported.
    pub fn history() -> Self {
        Self { history: true, update_every: Duration::ZERO, ..Self::default() }
    }
}

/// Counts since the detector was made; the last three are how much it holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DetectorStats {
    /// Records tested.
    pub records: u64,
    /// Times that a record satisfied a rule.
    pub matches: u64,
    /// Records that satisfied a rule and were observed more than the lateness after they happened.
    pub late: u64,
    /// Records that satisfied a rule and claimed to be from the future.
    pub early: u64,
    /// Findings that something has come about.
    pub fired: u64,
    /// Findings that it is over.
    pub resolved: u64,
    /// Groups forgotten because there were too many.
    pub evicted: u64,
    /// Groups remembered.
    pub groups: u64,
    /// Groups whose rule has fired and is not resolved.
    pub active: u64,
    /// Records remembered in windows.
    pub events: u64,
}

/// The rules, and what they have counted so far. Not shared: one owner feeds it.
pub struct Detector {
    rules: Arc<RuleSet>,
    settings: DetectorSettings,
    groups: Groups,
    /// Groups with changes that no finding has told of.
    untold: BTreeSet<u128>,
    /// Findings that came about outside of a call that could give them out.
    pending: Vec<Finding>,
    stats: DetectorStats,
    /// The latest `now`.
    now: Timestamp,
    /// After a restore: the latest `now` of the snapshot.
    resumes: Option<Timestamp>,
    places: Vec<usize>,
}

/// What a rule asks for, whichever kind it is of.
struct Terms {
    goal: Goal,
    resolve_after: Duration,
}

impl Detector {
    /// With nothing counted yet.
    pub fn new(rules: Arc<RuleSet>, settings: DetectorSettings) -> Self {
        Self {
            rules,
            settings,
            groups: Groups::default(),
            untold: BTreeSet::new(),
            pending: Vec::new(),
            stats: DetectorStats::default(),
            now: Timestamp::MIN,
            resumes: None,
            places: Vec::new(),
        }
    }

    /// Tests one record of the stream. `now` is when it is heard, and never goes back. Findings are appended to `out`.
    pub fn observe(&mut self, row: &Row, now: Timestamp, out: &mut Vec<Finding>) {
        self.move_to(now, out);
        self.stats.records += 1;
        let rules = Arc::clone(&self.rules);
        let mut places = std::mem::take(&mut self.places);
        rules.matching(row, &mut places);
        for place in places.drain(..) {
            let rule = &rules.rules()[place];
            if let Some((values, distinct)) = rule.group(row) {
                self.stats.matches += 1;
                let event = self.event(row, distinct);
                self.count(place, rule, values, event, out);
            }
        }
        self.places = places;
        self.evict(out);
    }

    /// Says that time has passed: what was quiet for long enough is resolved, what goes on is reported, what is too old
    /// is forgotten. To be called every second or so, whether records come or not.
    pub fn tick(&mut self, now: Timestamp, out: &mut Vec<Finding>) {
        self.move_to(now, out);
        let rules = Arc::clone(&self.rules);
        while let Some((key, group)) = self.groups.take_due(self.now) {
            self.close(key, &rules.rules()[group.rule], &group, out);
        }
        for key in std::mem::take(&mut self.untold) {
            if let Some(group) = self.groups.get(key)
                && let Some(episode) = &group.episode
            {
                out.push(finding(
                    &rules.rules()[group.rule],
                    &group.values,
                    key,
                    FindingKind::Updated,
                    episode,
                ));
            }
        }
    }

    /// Goes on with other rules. What was counted for a rule that decides as before is kept; of a rule that decides
    /// otherwise only the fact that it is firing; what a rule that is gone left firing is resolved.
    pub fn replace_rules(&mut self, rules: Arc<RuleSet>) {
        let before = std::mem::replace(&mut self.rules, rules);
        let rules = Arc::clone(&self.rules);
        let groups = std::mem::take(&mut self.groups);
        for (key, mut group) in groups.into_sorted() {
            let old = &before.rules()[group.rule];
            let place = rules.place(&old.id);
            if let Some(place) = place.filter(|place| group.carry_over(old.digest, &rules.rules()[*place])) {
                group.rule = place;
                self.keep(key, group);
            } else {
                let mut gone = Vec::new();
                self.close(key, old, &group, &mut gone);
                self.pending.append(&mut gone);
            }
        }
    }

    /// The rules in use.
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }

    /// What was done, and how much is held.
    pub fn stats(&self) -> DetectorStats {
        DetectorStats {
            groups: self.groups.len() as u64,
            active: self.groups.active() as u64,
            events: self.groups.events() as u64,
            ..self.stats
        }
    }

    /// Moves time on, and gives out what waited for a chance.
    fn move_to(&mut self, now: Timestamp, out: &mut Vec<Finding>) {
        out.append(&mut self.pending);
        if let Some(then) = self.resumes.take() {
            let pause = now.since(then);
            if pause > PAUSE && !self.settings.history {
                for (key, mut group) in std::mem::take(&mut self.groups).into_sorted() {
                    group.delay(pause);
                    self.keep(key, group);
                }
            }
        }
        self.now = self.now.max(now);
    }

    /// When a record happened and when it was heard.
    fn event(&mut self, row: &Row, value: Option<u64>) -> Event {
        let record = &row.record;
        let mut time = record.time();
        if !self.settings.history {
            let latest = self.now.plus(self.settings.skew);
            let observed = if record.observed_timestamp == Timestamp::default() {
                self.now
            } else {
                record.observed_timestamp
            };
            let observed = observed.min(latest);
            if time == Timestamp::default() {
                time = observed;
            }
            let believed = observed.plus(self.settings.skew);
            self.stats.early += u64::from(time > believed);
            self.stats.late += u64::from(observed.since(time) > self.settings.lateness);
            time = time.min(believed);
        }
        Event { time, heard: self.now.max(time), id: row.id, value, weight: 1 }
    }

    fn terms(&self, rule: &Rule) -> Terms {
        match &rule.kind {
            RuleKind::Sigma => Terms {
                goal: Goal { count: 1, span: self.settings.suppress, distinct: false },
                resolve_after: self.settings.suppress,
            },
            RuleKind::Threshold(threshold) => Terms {
                goal: Goal {
                    count: threshold.count as usize,
                    span: threshold.window,
                    distinct: threshold.distinct.is_some(),
                },
                resolve_after: threshold.resolve_after,
            },
        }
    }

    /// Counts one event for one group of a rule.
    fn count(
        &mut self,
        place: usize,
        rule: &Rule,
        values: BTreeMap<String, String>,
        event: Event,
        out: &mut Vec<Finding>,
    ) {
        let terms = self.terms(rule);
        let key = fingerprint(&rule.id, &values);
        let kept_for = terms.goal.span + self.settings.lateness;
        let forget = self.now.minus(kept_for);
        let mut group = self.groups.take(key).unwrap_or_else(|| Group::new(place, values));
        let kind = if let Some(episode) = &mut group.episode {
            episode.add(&event, terms.goal.span);
            let due = episode.told.plus(self.settings.update_every) <= self.now;
            due.then_some(FindingKind::Updated)
        } else {
            group.window.forget_heard_before(forget);
            group.window.insert(event, &terms.goal).map(|run| {
                group.episode = Some(Episode::begin(&group.window.events()[run], event.heard));
                group.window = Window::default();
                FindingKind::Fired
            })
        };
        if let (Some(kind), Some(episode)) = (kind, &mut group.episode) {
            episode.told = self.now;
            self.untold.remove(&key);
            self.stats.fired += u64::from(kind == FindingKind::Fired);
            out.push(finding(rule, &group.values, key, kind, episode));
        } else if group.episode.is_some() {
            self.untold.insert(key);
        }
        self.keep(key, group);
    }

    /// Puts a group in its place again, by when it has to be looked at.
    fn keep(&mut self, key: u128, group: Group) {
        let rules = Arc::clone(&self.rules);
        let terms = self.terms(&rules.rules()[group.rule]);
        let due = match &group.episode {
            Some(episode) => episode.heard.max(episode.last).plus(terms.resolve_after),
            None => match group.window.last_heard() {
                Some(heard) => heard.plus(terms.goal.span + self.settings.lateness),
                None => return, // nothing to remember
            },
        };
        self.groups.put(key, group, due);
    }

    fn evict(&mut self, out: &mut Vec<Finding>) {
        while self.groups.len() > self.settings.max_groups || self.groups.events() > self.settings.max_events
        {
            let Some((key, group)) = self.groups.take_stalest() else { return };
            self.stats.evicted += 1;
            let rules = Arc::clone(&self.rules);
            self.close(key, &rules.rules()[group.rule], &group, out);
        }
    }

    /// Ends a group. If its rule had fired, that is over: nothing is left that could notice.
    fn close(&mut self, key: u128, rule: &Rule, group: &Group, out: &mut Vec<Finding>) {
        self.untold.remove(&key);
        if let Some(episode) = &group.episode {
            self.stats.resolved += 1;
            out.push(finding(rule, &group.values, key, FindingKind::Resolved, episode));
        }
    }
}

fn finding(
    rule: &Rule,
    values: &BTreeMap<String, String>,
    key: u128,
    kind: FindingKind,
    episode: &Episode,
) -> Finding {
    Finding {
        rule_id: rule.id.clone(),
        rule_title: rule.title.clone(),
        level: rule.level,
        kind,
        group: values.clone(),
        fingerprint: format!("{key:032x}"),
        first: episode.first,
        last: episode.last,
        count: episode.count,
        evidence: episode.evidence.clone(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
