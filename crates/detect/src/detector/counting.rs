//! What matches do to the groups of a rule: they are counted, make it fire, go on with that; and what becomes of a group when its
//! time has come.

use super::{Detector, Episode, FindingKind, Group, REMEMBERED, held::Held};
use crate::{
    finding::{Finding, fingerprint, memory},
    kinds::{Class, Fact, RuleKind},
    rule::Rule,
    states::{
        State,
        last::Last,
        steps::{Chain, Steps},
        terms::Terms,
    },
    window::{Event, Window},
};
use millrace_model::Timestamp;
use std::sync::Arc;

impl Detector {
    /// What a record is to a rule, in its turn.
    pub(super) fn take(&mut self, held: Held, out: &mut Vec<Finding>) {
        let rules = Arc::clone(&self.rules);
        let rule = &rules.rules()[held.place];
        match rule.kind.class() {
            Class::Memory => self.take_terms(rule, held, out),
            Class::Events => {
                let key = fingerprint(&rule.id, &held.values);
                let mut group =
                    self.groups.take(key).unwrap_or_else(|| Group::new(held.place, held.values.clone()));
                let satisfied = self.satisfies(rule, &mut group, &held);
                self.counted(rule, key, group, &held.event, satisfied, out);
            }
            Class::Condition => {
                let key = fingerprint(&rule.id, &held.values);
                let mut group =
                    self.groups.take(key).unwrap_or_else(|| Group::new(held.place, held.values.clone()));
                for holding in self.hear(rule, &mut group, &held) {
                    self.turn(rule, key, &mut group, holding, out);
                }
                self.keep(key, group);
            }
        }
    }

    /// Values that may be new; each that is makes a group of its own fire.
    pub(super) fn take_terms(&mut self, rule: &Rule, held: Held, out: &mut Vec<Finding>) {
        let (RuleKind::NewTerm(what), Fact::Terms(terms)) = (&rule.kind, held.fact) else { return };
        let key = memory(&rule.id, &held.values);
        let mut group = self.groups.take(key).unwrap_or_else(|| Group::new(held.place, held.values.clone()));
        let known = group.state.get_or_insert_with(|| State::Terms(Terms::new(held.event.heard)));
        let State::Terms(known) = known else { return };
        let mut news = Vec::new();
        for (names, value) in terms {
            let (new, forgotten) = match value {
                Some(value) => known.take(value, held.event.time, held.event.heard, what.novelty()),
                None => (true, 0),
            };
            self.forgotten(held.place, forgotten);
            if new {
                news.push(names);
            }
        }
        self.keep(key, group);
        for names in news {
            let mut values = held.values.clone();
            values.extend(names);
            let key = fingerprint(&rule.id, &values);
            let group = self.groups.take(key).unwrap_or_else(|| Group::new(held.place, values));
            self.counted(rule, key, group, &held.event, Some(vec![held.event]), out);
        }
    }

    /// The records that satisfy the rule together with this one. While it is firing, each that is of the kind does.
    pub(super) fn satisfies(&mut self, rule: &Rule, group: &mut Group, held: &Held) -> Option<Vec<Event>> {
        let event = held.event;
        let forget = self.now.minus(self.span(rule) + self.settings.lateness);
        match (&rule.kind, &held.fact) {
            (RuleKind::Threshold(threshold), _) => {
                if group.episode.is_some() {
                    return Some(vec![event]);
                }
                let state = group.state.get_or_insert_with(|| State::Count(Window::default()));
                let State::Count(window) = state else { return None };
                window.forget_heard_before(forget);
                let run = window.insert(event, &threshold.goal())?;
                let events: Vec<Event> = window.events().range(run).copied().collect();
                group.state = None;
                Some(events)
            }
            (RuleKind::Change(change), Fact::Values(values)) => {
                let state = group
                    .state
                    .get_or_insert_with(|| State::Last(Last::new(change.fields.len(), event.heard)));
                let State::Last(last) = state else { return None };
                let mut events = last.take(&event, values, change.different())?;
                events.push(event);
                Some(events)
            }
            (RuleKind::Sequence(sequence), Fact::Steps(bits)) => {
                let state = group.state.get_or_insert_with(|| State::Steps(Steps::default()));
                let State::Steps(steps) = state else { return None };
                steps.forget_heard_before(forget);
                let chain =
                    Chain { steps: &sequence.chain, within: sequence.within, ordered: sequence.ordered };
                let (events, forgotten) = steps.take(event, *bits, &chain, self.settings.patience);
                self.forgotten(group.rule, forgotten);
                events
            }
            _ => Some(vec![event]),
        }
    }

    /// A rule that records make fire was satisfied by some, or not.
    pub(super) fn counted(
        &mut self,
        rule: &Rule,
        key: u128,
        mut group: Group,
        event: &Event,
        satisfied: Option<Vec<Event>>,
        out: &mut Vec<Finding>,
    ) {
        if let Some(events) = satisfied {
            if !self.rules.over(group.rule).is_empty() && !matches!(rule.kind, RuleKind::Sigma) {
                self.satisfied.push((group.rule, group.values.clone(), *event));
            }
            let kind = if let Some(episode) = &mut group.episode {
                let span = self.span(rule);
                for event in &events {
                    episode.add(event, span);
                }
                let due = episode.told.plus(self.settings.update_every) <= self.now;
                due.then_some(FindingKind::Updated)
            } else {
                group.episode = Some(Episode::begin(&events, event.heard.max(self.now)));
                Some(FindingKind::Fired)
            };
            self.tell(rule, key, &mut group, kind, out);
        }
        self.keep(key, group);
    }

    /// Looks at a group whose time has come.
    pub(super) fn look(&mut self, key: u128, mut group: Group, out: &mut Vec<Finding>) {
        let rules = Arc::clone(&self.rules);
        let rule = &rules.rules()[group.rule];
        match rule.kind.class() {
            Class::Memory if group.episode.is_none() => {}
            Class::Memory | Class::Events => {
                if let Some(State::Steps(steps)) = &mut group.state
                    && let Some(events) = steps.take_sure(self.now)
                    && let Some(last) = events.last().copied()
                {
                    return self.counted(rule, key, group, &last, Some(events), out);
                }
                let over = group.episode.as_ref().is_none_or(|episode| {
                    episode.heard.max(episode.last).plus(self.resolve_after(rule)) <= self.now
                });
                if over {
                    self.close(key, rule, &group, out);
                    group.episode = None;
                }
                // Silence does not make a value another one.
                if matches!(rule.kind, RuleKind::Change(_) | RuleKind::Sequence(_)) {
                    self.keep(key, group);
                }
            }
            Class::Condition => self.look_at_condition(rule, key, group, out),
        }
    }

    /// When a group has to be looked at again; `None`: there is nothing to remember.
    pub(super) fn due(&self, rule: &Rule, group: &Group) -> Option<Timestamp> {
        if rule.kind.class() == Class::Condition {
            return self.condition_due(rule, group);
        }
        let over = group
            .episode
            .as_ref()
            .map(|episode| episode.heard.max(episode.last).plus(self.resolve_after(rule)));
        let kept = self.span(rule) + self.settings.lateness;
        let forget = match (&group.state, &rule.kind) {
            // Twice, so that a value that comes back after that time is new.
            (Some(State::Terms(terms)), RuleKind::NewTerm(what)) => Some(terms.latest.plus(what.history * 2)),
            (Some(State::Count(window)), _) => window.last_heard().map(|heard| heard.plus(kept)),
            (Some(State::Steps(steps)), _) => {
                let sure = steps.sure_at();
                let last = steps.last_heard().map(|heard| heard.plus(kept)).filter(|when| *when > self.now);
                sure.into_iter().chain(last).min()
            }
            (Some(State::Last(last)), RuleKind::Change(change)) => {
                let kept = change.within.unwrap_or(REMEMBERED) + self.settings.lateness;
                Some(last.heard.plus(kept)).filter(|when| *when > self.now)
            }
            _ => None,
        };
        over.into_iter().chain(forget).min()
    }
}
