//! What was there before a rule came is handed over here: for which rules it is missing, and how what they remember follows it.

use super::{Detector, Group};
use crate::{
    across::Share,
    finding::{fingerprint, memory},
    kinds::RuleKind,
    past::{Gathered, Past},
    rule::Rule,
    states::{State, hours::Hours},
};
use millrace_model::Timestamp;
use std::sync::Arc;

impl Detector {
    /// Rules that remember what records of the past could tell, with the time at which each came, if it has not been handed what
    /// was there before that. Those that came since something was heard, or a tick, are not among them yet.
    pub fn pasts(&self) -> impl Iterator<Item = (&Rule, Option<Timestamp>)> {
        self.pasts.iter().filter_map(|(id, came)| Some((self.rules.get(id)?, *came)))
    }

    /// Hands over what was there before a rule came. Says whether it was wanted here: of a rule that decides as it did when that was
    /// gathered, that came about then, and that has not been handed it. What there is no room for is passed over, and counts as evicted.
    pub fn remember(&mut self, past: &Past) -> bool {
        let rules = Arc::clone(&self.rules);
        let Some(place) = rules.place(&past.rule) else { return false };
        let rule = &rules.rules()[place];
        let Some(wanted) = self.pasts.get_mut(&past.rule) else { return false };
        let came_then = |came: Timestamp| came <= past.until && past.until.since(came) <= Past::TOLERANCE;
        if rule.digest != past.digest || !wanted.is_some_and(came_then) {
            return false;
        }
        *wanted = None;
        for (values, gathered) in &past.groups {
            if !self.decides(place, values) {
                continue;
            }
            let key = match gathered {
                Gathered::Terms(_) => memory(&rule.id, values),
                Gathered::Counts(_) => fingerprint(&rule.id, values),
            };
            let group = self.groups.take(key);
            let is_full = self.groups.len() >= self.settings.max_groups
                || self.groups.events() >= self.settings.max_events;
            if group.is_none() && is_full {
                self.forgotten(place, 1);
                continue;
            }
            let mut group = group.unwrap_or_else(|| Group::new(place, values.clone()));
            match (&rule.kind, gathered, &mut group.state) {
                (_, Gathered::Terms(before), Some(State::Terms(terms))) => {
                    let forgotten = terms.follow(before);
                    self.forgotten(place, forgotten);
                }
                (_, Gathered::Terms(before), state) => *state = Some(State::Terms(before.clone())),
                (RuleKind::Baseline(what), Gathered::Counts(counts), Some(State::Hours(hours))) => {
                    hours.follow(counts, what.interval);
                }
                (RuleKind::Baseline(what), Gathered::Counts(counts), state) => {
                    *state = Hours::of_past(counts, what.interval).map(State::Hours);
                }
                _ => {}
            }
            self.keep(key, group);
        }
        true
    }

    /// Rules that are here for the first time want what was there before.
    pub(super) fn begin_pasts(&mut self, now: Timestamp) {
        for (place, rule) in self.rules.rules().iter().enumerate().filter(|(_, rule)| rule.remembers()) {
            let is_decided_here = match self.share {
                Share::Whole => true,
                Share::Partition { .. } => self.rules.within(place),
                Share::Slice { .. } => !self.rules.within(place),
            };
            if is_decided_here && !self.pasts.contains_key(&rule.id) {
                self.pasts.insert(rule.id.clone(), Some(now));
            }
        }
    }

    /// So much was forgotten of a rule for want of room.
    pub(super) fn forgotten(&mut self, place: usize, many: u64) {
        if many > 0 {
            self.stats.evicted += many;
            self.of_rules.entry(place).or_default().evicted += many;
        }
    }
}
