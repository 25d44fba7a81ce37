//! Rules over the stream: a record in, findings out. Owns what was counted, for every rule and group.
//!
//! Windows are counted in event time (see [`crate::window`]); memory, silence and resolutions follow the time at which records
//! are heard of, the `now` that is passed in: best when the topic took them in, so that the same stream gives the same
//! findings whenever, and however fast, it is read. So late, early and replayed records cannot fool a rule:
//! - a record counts at its own time, however late it is heard; one that claims to be from the future counts
//!   [`DetectorSettings::skew`] after it was observed;
//! - records count together when they happened within the rule's window and were heard within that window plus
//!   [`DetectorSettings::lateness`] of one another;
//! - where order decides, matches wait for [`DetectorSettings::patience`] and are taken in the order in which they happened,
//!   those of one instant by source and position;
//! - what made a rule fire is used up by that, so nothing that comes after counts it again;
//! - a record that was heard already is passed over while it is in a window. (The ledger in front sees to the rest.)
//!
//! **Invariant:** the same rules, settings, rows and times give the same findings, in the same order, with or without a
//! snapshot between, and however often [`Detector::tick`] is called.

mod conditions;
mod counting;
mod groups;
pub(crate) mod held;
mod remember;
mod snapshot;

pub use snapshot::SnapshotError;

use crate::{
    across::{Handed, MatchBatch, Share},
    finding::{Finding, FindingKind, fingerprint},
    kinds::{Class, Fact, RuleKind},
    rule::Rule,
    set::RuleSet,
    window::Event,
};
use groups::{Episode, Group, Groups};
use held::{Held, Waiting};
use millrace_model::{Row, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// Values that may change are remembered for so long.
const REMEMBERED: Duration = Duration::from_hours(30 * 24);
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
    /// Where order decides, a record waits so long for others that happened before it. Default 1 s.
    pub patience: Duration,
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
            patience: Duration::from_secs(1),
            history: false,
        }
    }
}

impl DetectorSettings {
    /// For records that are read back: every match is reported.
    pub fn history() -> Self {
        Self { history: true, update_every: Duration::ZERO, patience: Duration::ZERO, ..Self::default() }
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
    /// Records, values and counts remembered.
    pub events: u64,
}

/// What one rule did in some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RuleStats {
    /// Records that it looked at more closely: that match its query or detection.
    pub matches: u64,
    /// Findings that something has come about.
    pub fired: u64,
    /// Groups, records and values that were forgotten for want of room.
    pub evicted: u64,
}

/// The rules, and what they have counted so far. Not shared: one owner feeds it.
pub struct Detector {
    rules: Arc<RuleSet>,
    settings: DetectorSettings,
    share: Share,
    groups: Groups,
    /// Matches that wait for what happened before them.
    waiting: Waiting,
    /// Groups with changes that no finding has told of.
    untold: BTreeSet<u128>,
    /// Findings that came about outside of a call that could give them out.
    pending: Vec<Finding>,
    stats: DetectorStats,
    /// By their places, of rules that did something that nobody has taken.
    of_rules: BTreeMap<usize, RuleStats>,
    /// The latest `now`.
    now: Timestamp,
    /// The first `now` of all; `None`: there was none yet.
    started: Option<Timestamp>,
    /// Rules whose one group is there before anything was heard of it.
    begun: BTreeSet<String>,
    /// Rules that remember what records of the past could tell: what was there before this time is to be handed over; `None`: it
    /// has been.
    pasts: BTreeMap<String, Option<Timestamp>>,
    /// There may be others of either.
    begin: bool,
    /// After a restore: the latest `now` of the snapshot.
    resumes: Option<Timestamp>,
    places: Vec<usize>,
    /// Rules that correlations are over, and that have just been satisfied; empty between calls.
    satisfied: Vec<(usize, BTreeMap<String, String>, Event)>,
    /// What others have to decide about, by slice, and by whether it is of counted rules.
    handed: BTreeMap<(u32, bool), MatchBatch>,
}

impl Detector {
    /// With nothing counted yet, for all records.
    pub fn new(rules: Arc<RuleSet>, settings: DetectorSettings) -> Self {
        Self::sharing(rules, settings, Share::Whole)
    }

    /// With nothing counted yet, for a share of the records.
    pub fn sharing(rules: Arc<RuleSet>, settings: DetectorSettings, share: Share) -> Self {
        Self {
            share,
            handed: BTreeMap::new(),
            of_rules: BTreeMap::new(),
            rules,
            settings,
            groups: Groups::default(),
            waiting: Waiting::default(),
            untold: BTreeSet::new(),
            pending: Vec::new(),
            stats: DetectorStats::default(),
            now: Timestamp::MIN,
            started: None,
            begun: BTreeSet::new(),
            pasts: BTreeMap::new(),
            begin: true,
            resumes: None,
            places: Vec::new(),
            satisfied: Vec::new(),
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
            if let Some((values, fact)) = rule.fact(row) {
                self.stats.matches += 1;
                self.of_rules.entry(place).or_default().matches += 1;
                let event = self.event(row, &fact);
                if !matches!(rule.kind, RuleKind::Sigma) || !rule.is_silent {
                    self.put(Held { place, values, fact, event }, false, out);
                }
                if matches!(rule.kind, RuleKind::Sigma) && !rules.over(place).is_empty() {
                    self.correlate(place, &event, &rules.values(row), false, out);
                }
            }
        }
        self.places = places;
        self.follow(out);
        self.evict(out);
    }

    /// Takes what partitions hand on to this slice, as if it had seen the records. Returns what was passed over: matches of rules that
    /// are not there, or decide otherwise. `now` as for [`Self::observe`].
    pub fn take_batch(&mut self, batch: MatchBatch, now: Timestamp, out: &mut Vec<Finding>) -> MatchBatch {
        self.move_to(now, out);
        let rules = Arc::clone(&self.rules);
        let mut unknown = MatchBatch::default();
        for (id, digest, mut held) in batch.into_matches() {
            match rules.place(&id).filter(|place| rules.rules()[*place].digest == digest) {
                Some(place) => {
                    held.event.heard = self.now;
                    self.put(Held { place, ..held }, false, out);
                }
                None => unknown.push(&id, digest, held),
            }
        }
        self.follow(out);
        self.evict(out);
        unknown
    }

    /// What this partition's detector hands on since it was last asked.
    pub fn handed(&mut self) -> impl Iterator<Item = Handed> + use<> {
        let handed = std::mem::take(&mut self.handed);
        handed.into_iter().map(|((slice, counted), matches)| Handed { slice, counted, matches })
    }

    /// Says that time has passed: what was quiet for long enough is resolved, what goes on is reported, what is too old
    /// is forgotten. To be called every second or so, whether records come or not.
    pub fn tick(&mut self, now: Timestamp, out: &mut Vec<Finding>) {
        self.move_to(now, out);
        let rules = Arc::clone(&self.rules);
        for key in std::mem::take(&mut self.untold) {
            if let Some(group) = self.groups.get(key)
                && let Some(episode) = &group.episode
                && !rules.rules()[group.rule].is_silent
            {
                let rule = &rules.rules()[group.rule];
                out.push(finding(rule, &group.values, key, FindingKind::Updated, episode));
            }
        }
        self.evict(out);
    }

    /// Goes on with other rules. What was counted for a rule that decides as before is kept; of a rule that decides
    /// otherwise only the fact that it is firing; what a rule that is gone left firing is resolved.
    pub fn replace_rules(&mut self, rules: Arc<RuleSet>) {
        let before = std::mem::replace(&mut self.rules, rules);
        let rules = Arc::clone(&self.rules);
        self.of_rules.clear();
        self.begin = true;
        let is_same = |id: &str| {
            let same = |now: &Rule| before.get(id).is_some_and(|before| before.digest == now.digest);
            rules.get(id).is_some_and(same)
        };
        self.begun.retain(|id| is_same(id));
        self.pasts.retain(|id, _| is_same(id));
        self.waiting.keep(|held| {
            let old = &before.rules()[held.place];
            let place = rules.place(&old.id)?;
            (rules.rules()[place].digest == old.digest).then_some(place)
        });
        let groups = std::mem::take(&mut self.groups);
        for (key, mut group) in groups.into_sorted() {
            let old = &before.rules()[group.rule];
            let place = rules.place(&old.id);
            let goes_on = |place: &usize| {
                group.carry_over(old.digest, &rules.rules()[*place]) && self.decides(*place, &group.values)
            };
            if let Some(place) = place.filter(goes_on) {
                group.rule = place;
                self.keep(key, group);
            } else {
                let mut gone = Vec::new();
                self.close(key, old, &group, &mut gone);
                self.pending.append(&mut gone);
            }
        }
    }

    /// What rules did since this was asked last, or they came; of those that did something, in the order of the set.
    pub fn take_rule_stats(&mut self) -> impl Iterator<Item = (&Rule, RuleStats)> {
        let taken = std::mem::take(&mut self.of_rules);
        taken.into_iter().map(|(place, stats)| (&self.rules.rules()[place], stats))
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
            events: (self.groups.events() + self.waiting.len()) as u64,
            ..self.stats
        }
    }

    /// Moves time on, and does all that was due on the way, in its order.
    fn move_to(&mut self, now: Timestamp, out: &mut Vec<Finding>) {
        out.append(&mut self.pending);
        if let Some(then) = self.resumes.take() {
            let pause = now.since(then);
            if pause > PAUSE && !self.settings.history {
                self.waiting.delay(pause);
                for (key, mut group) in std::mem::take(&mut self.groups).into_sorted() {
                    group.delay(pause);
                    self.keep(key, group);
                }
                self.now = self.now.plus(pause);
            }
        }
        if self.begin {
            self.begin = false;
            self.started.get_or_insert(now);
            self.begin_groups(now);
            self.begin_pasts(now);
        }
        loop {
            let released = self.waiting.next_release(self.settings.patience);
            let due = self.groups.next_due();
            match (released, due) {
                (Some(when), due) if when <= now && due.is_none_or(|due| when <= due) => {
                    self.now = self.now.max(when);
                    for held in self.waiting.release() {
                        self.take(held, out);
                    }
                    self.follow(out);
                }
                (_, Some(due)) if due <= now => {
                    self.now = self.now.max(due);
                    if let Some((key, group)) = self.groups.take_due(self.now) {
                        self.look(key, group, out);
                        self.follow(out);
                    }
                }
                _ => break,
            }
        }
        self.now = self.now.max(now);
    }

    /// Groups of rules that notice when nothing is heard at all.
    fn begin_groups(&mut self, now: Timestamp) {
        let rules = Arc::clone(&self.rules);
        for (place, rule) in rules.rules().iter().enumerate() {
            let RuleKind::Flatline(flatline) = &rule.kind else { continue };
            let none = BTreeMap::new();
            if rule.group_by.is_empty()
                && flatline.window.is_some()
                && self.decides(place, &none)
                && self.begun.insert(rule.id.clone())
            {
                let key = fingerprint(&rule.id, &none);
                let mut group = Group::new(place, none);
                group.state = Some(conditions::silence(now));
                self.keep(key, group);
            }
        }
    }

    /// When a record happened and when it was heard.
    fn event(&mut self, row: &Row, fact: &Fact) -> Event {
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
        let heard = if self.settings.history { self.now.max(time) } else { self.now };
        Event { time, heard, id: row.id, value: fact.value(), weight: 1 }
    }

    /// Quiet for so long, a rule that records make fire is over.
    fn resolve_after(&self, rule: &Rule) -> Duration {
        rule.resolve_after.unwrap_or(match &rule.kind {
            RuleKind::Threshold(threshold) => threshold.window,
            // What comes near to it is not over.
            RuleKind::Spike(spike) => spike.window,
            _ if rule.kind.class() == Class::Condition => Duration::ZERO,
            _ => self.settings.suppress,
        })
    }

    /// How far apart what counts together may be.
    fn span(&self, rule: &Rule) -> Duration {
        match &rule.kind {
            RuleKind::Threshold(threshold) => threshold.window,
            RuleKind::Sequence(sequence) => sequence.within,
            _ => self.settings.suppress,
        }
    }

    /// A match of a rule is one of those that correlations over it count.
    fn correlate(
        &mut self,
        place: usize,
        event: &Event,
        value: &dyn Fn(&str) -> Option<String>,
        counted: bool,
        out: &mut Vec<Finding>,
    ) {
        let rules = Arc::clone(&self.rules);
        for (place, input) in rules.over(place).iter().copied() {
            let rule = &rules.rules()[place];
            if let Some(over) = &rule.correlates
                && let Some((values, fact)) = over.fact(rule, input, value)
            {
                self.of_rules.entry(place).or_default().matches += 1;
                let event = Event { value: fact.value(), weight: 1, ..*event };
                self.put(Held { place, values, fact, event }, counted, out);
            }
        }
    }

    /// Correlations over rules that were satisfied, which may satisfy others.
    fn follow(&mut self, out: &mut Vec<Finding>) {
        while let Some((place, values, event)) = self.satisfied.pop() {
            self.correlate(place, &event, &|name| values.get(name).cloned(), true, out);
        }
    }

    /// Is a group decided here?
    fn decides(&self, place: usize, values: &BTreeMap<String, String>) -> bool {
        match self.share {
            Share::Whole => true,
            Share::Partition { slices } => self.rules.slice(place, values, slices).is_none(),
            Share::Slice { number, of } => self.rules.slice(place, values, of) == Some(number),
        }
    }

    /// A match is taken at once, waits for what happened before it, or is for others to decide about. Is it of a rule that counts?
    fn put(&mut self, held: Held, counted: bool, out: &mut Vec<Finding>) {
        let rule = &self.rules.rules()[held.place];
        if let Share::Partition { slices } = self.share
            && let Some(slice) = self.rules.slice(held.place, &held.values, slices)
        {
            return self.handed.entry((slice, counted)).or_default().push(&rule.id, rule.digest, held);
        }
        if rule.kind.needs_order() && !self.settings.patience.is_zero() {
            self.waiting.push(held);
        } else {
            self.take(held, out);
        }
    }

    /// Gives out a finding about a group that is firing; or notes that there is something to tell.
    fn tell(
        &mut self,
        rule: &Rule,
        key: u128,
        group: &mut Group,
        kind: Option<FindingKind>,
        out: &mut Vec<Finding>,
    ) {
        let Some(episode) = &mut group.episode else { return };
        let Some(kind) = kind else {
            self.untold.insert(key);
            return;
        };
        episode.told = self.now;
        self.untold.remove(&key);
        if rule.is_silent {
            return;
        }
        if kind == FindingKind::Fired {
            self.stats.fired += 1;
            self.of_rules.entry(group.rule).or_default().fired += 1;
        }
        out.push(finding(rule, &group.values, key, kind, episode));
    }

    /// Puts a group in its place again, by when it has to be looked at.
    fn keep(&mut self, key: u128, group: Group) {
        let rules = Arc::clone(&self.rules);
        if let Some(due) = self.due(&rules.rules()[group.rule], &group) {
            self.groups.put(key, group, due);
        }
    }

    fn evict(&mut self, out: &mut Vec<Finding>) {
        while self.groups.len() > self.settings.max_groups || self.groups.events() > self.settings.max_events
        {
            let Some((key, group)) = self.groups.take_stalest() else { return };
            self.forgotten(group.rule, 1);
            let rules = Arc::clone(&self.rules);
            self.close(key, &rules.rules()[group.rule], &group, out);
        }
    }

    /// Ends a group. If its rule had fired, that is over: nothing is left that could notice.
    fn close(&mut self, key: u128, rule: &Rule, group: &Group, out: &mut Vec<Finding>) {
        self.untold.remove(&key);
        if let Some(episode) = &group.episode {
            self.resolve(rule, &group.values, key, episode, out);
        }
    }

    /// It is over for a group.
    fn resolve(
        &mut self,
        rule: &Rule,
        values: &BTreeMap<String, String>,
        key: u128,
        episode: &Episode,
        out: &mut Vec<Finding>,
    ) {
        self.untold.remove(&key);
        if !rule.is_silent {
            self.stats.resolved += 1;
            out.push(finding(rule, values, key, FindingKind::Resolved, episode));
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
        value: episode.value,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
