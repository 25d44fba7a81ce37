//! Rules that hold or do not, by all that happened lately: silence, spikes, measures, and what is usual.

use super::{Detector, Episode, FindingKind, Group, Held};
use crate::{
    finding::{Finding, MAX_EVIDENCE},
    kinds::{Baseline, Fact, Metric, RuleKind, Spike},
    rule::Rule,
    states::{
        Holding, State,
        hours::{Counted, Hours},
        quiet::Quiet,
        series::{Measure, Series},
    },
    window::Event,
};
use millrace_model::Timestamp;
use std::time::Duration;

/// A group is looked at so often in its window, at most, because something has left it.
const LOOKS: u32 = 64;
/// What is usual of a group is forgotten when nothing was heard of it for so long.
const FORGOTTEN: Duration = Duration::from_hours(28 * 24);

/// Nothing was heard since then.
pub(super) fn silence(began: Timestamp) -> State {
    State::Quiet(Quiet::new(began))
}

impl Detector {
    /// A record was heard. What holds after that, once for each time at which it was to be decided.
    pub(super) fn hear(&mut self, rule: &Rule, group: &mut Group, held: &Held) -> Vec<Option<Holding>> {
        let event = &held.event;
        match &rule.kind {
            RuleKind::Flatline(flatline) => {
                let state = group.state.get_or_insert_with(|| State::Quiet(Quiet::new(event.heard)));
                let State::Quiet(quiet) = state else { return Vec::new() };
                quiet.hear(*event, &flatline.least());
                vec![self.is_quiet(rule, quiet)]
            }
            RuleKind::Spike(spike) => {
                let state = group.state.get_or_insert_with(|| State::Series(Series::new(event)));
                let State::Series(series) = state else { return Vec::new() };
                series.add(event, false, number(&held.fact));
                let end = series.clock.edge();
                series.forget_before(end.minus(spike.window * 2 + self.settings.lateness));
                // Others of the same moment may come: that it is less than before is decided when time has passed.
                vec![self.spikes(spike, series, end, group.episode.is_some())]
            }
            RuleKind::Metric(metric) => {
                let state = group.state.get_or_insert_with(|| State::Series(Series::new(event)));
                let State::Series(series) = state else { return Vec::new() };
                series.add(event, held.fact == Fact::Hit(true), number(&held.fact));
                let end = series.clock.edge();
                series.forget_before(end.minus(metric.window + self.settings.lateness));
                vec![is_beyond(metric, series, end)]
            }
            RuleKind::Baseline(baseline) => {
                let state =
                    group.state.get_or_insert_with(|| State::Hours(Hours::new(event, baseline.interval)));
                let State::Hours(hours) = state else { return Vec::new() };
                let ended = hours.take(event, baseline.interval);
                ended.into_iter().map(|counted| is_unusual(baseline, counted)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Time has passed for a group.
    pub(super) fn look_at_condition(
        &mut self,
        rule: &Rule,
        key: u128,
        mut group: Group,
        out: &mut Vec<Finding>,
    ) {
        let until = self.now.minus(self.settings.patience);
        let holdings = match (&rule.kind, &mut group.state) {
            (RuleKind::Flatline(flatline), Some(State::Quiet(quiet))) => {
                if quiet.last_heard().plus(flatline.forget_after) <= self.now && !rule.group_by.is_empty() {
                    return self.close(key, rule, &group, out);
                }
                vec![self.is_quiet(rule, quiet)]
            }
            (RuleKind::Spike(spike), Some(State::Series(series))) => {
                let end = series.clock.at(until);
                series.forget_before(end.minus(spike.window * 2 + self.settings.lateness));
                let holding = self.spikes(spike, series, end, true);
                if series.is_empty() && holding.is_none() {
                    return self.close(key, rule, &group, out);
                }
                vec![holding]
            }
            (RuleKind::Metric(metric), Some(State::Series(series))) => {
                let end = series.clock.at(until);
                series.forget_before(end.minus(metric.window + self.settings.lateness));
                if series.is_empty() {
                    return self.close(key, rule, &group, out);
                }
                // It comes about with a record; without one it can only end.
                vec![is_beyond(metric, series, end).filter(|_| group.episode.is_some())]
            }
            (RuleKind::Baseline(baseline), Some(State::Hours(hours))) => {
                if hours.clock.heard().plus(FORGOTTEN) <= self.now {
                    return self.close(key, rule, &group, out);
                }
                if hours.is_asleep() {
                    return self.keep(key, group);
                }
                let end = hours.clock.at(until);
                let ended = hours.end_before(end, baseline.interval);
                ended.into_iter().map(|counted| is_unusual(baseline, counted)).collect()
            }
            // The rule has become another.
            _ => return self.close(key, rule, &group, out),
        };
        for holding in holdings {
            self.turn(rule, key, &mut group, holding, out);
        }
        self.keep(key, group);
    }

    /// It holds now, or not.
    pub(super) fn turn(
        &mut self,
        rule: &Rule,
        key: u128,
        group: &mut Group,
        holding: Option<Holding>,
        out: &mut Vec<Finding>,
    ) {
        match (&mut group.episode, holding) {
            (None, None) => {}
            (None, Some(holding)) => {
                if !self.rules.over(group.rule).is_empty()
                    && let Some(last) = holding.evidence.first().copied()
                {
                    let event =
                        Event { time: holding.last, heard: self.now, id: last, value: None, weight: 1 };
                    self.satisfied.push((group.rule, group.values.clone(), event));
                }
                group.episode = Some(Episode::of(holding, self.now));
                self.tell(rule, key, group, Some(FindingKind::Fired), out);
            }
            (Some(episode), Some(holding)) => {
                if episode.hold(holding, self.now) {
                    let due = episode.told.plus(self.settings.update_every) <= self.now;
                    self.tell(rule, key, group, due.then_some(FindingKind::Updated), out);
                }
            }
            (Some(episode), None) => {
                if episode.heard.plus(self.resolve_after(rule)) <= self.now {
                    let over = episode.clone();
                    group.episode = None;
                    self.resolve(rule, &group.values, key, &over, out);
                }
            }
        }
    }

    /// When a group has to be looked at again.
    pub(super) fn condition_due(&self, rule: &Rule, group: &Group) -> Option<Timestamp> {
        let over = group.episode.as_ref().map(|episode| episode.heard.plus(self.resolve_after(rule)));
        let next = match (&rule.kind, &group.state) {
            (RuleKind::Flatline(flatline), Some(State::Quiet(quiet))) => {
                let forgotten = quiet.last_heard().plus(flatline.forget_after);
                let forgotten = Some(forgotten).filter(|_| !rule.group_by.is_empty());
                if group.episode.is_some() {
                    // A record ends it; one that comes in time for `resolve_after` has been looked at.
                    return Some(forgotten.unwrap_or(FAR).max(self.now));
                }
                let short = quiet.falls_short_at(&flatline.least());
                return Some(short.into_iter().chain(forgotten).min().unwrap_or(FAR));
            }
            (RuleKind::Spike(spike), Some(State::Series(series))) => {
                let end = series.clock.at(self.now.minus(self.settings.patience));
                let leaves = series.next_to_leave(end, spike.window);
                let leaves = leaves.or_else(|| series.next_to_leave(end.minus(spike.window), spike.window));
                let when =
                    series.clock.when(leaves.unwrap_or(end.plus(spike.window))).plus(self.settings.patience);
                Some(when.max(self.now.plus(spike.window / LOOKS)))
            }
            (RuleKind::Metric(metric), Some(State::Series(series))) => {
                let end = series.clock.at(self.now.minus(self.settings.patience));
                let step = if group.episode.is_some() {
                    series.next_to_leave(end, metric.window).unwrap_or(end.plus(metric.window))
                } else {
                    end.plus(metric.window + self.settings.lateness)
                };
                let when = series.clock.when(step).plus(self.settings.patience);
                Some(when.max(self.now.plus(metric.window / LOOKS)))
            }
            (RuleKind::Baseline(_), Some(State::Hours(hours))) if hours.is_asleep() => {
                Some(hours.clock.heard().plus(FORGOTTEN))
            }
            (RuleKind::Baseline(baseline), Some(State::Hours(hours))) => {
                let when = hours.ends_at(baseline.interval).plus(self.settings.patience);
                Some(when.max(self.now.plus(baseline.interval / LOOKS)))
            }
            _ => return over,
        };
        // What is over is noticed when it is looked at; what is not stays until something happens.
        over.filter(|over| *over > self.now).into_iter().chain(next).min()
    }

    fn is_quiet(&self, rule: &Rule, quiet: &Quiet) -> Option<Holding> {
        let RuleKind::Flatline(flatline) = &rule.kind else { return None };
        let least = flatline.least();
        let short = quiet.falls_short_at(&least).filter(|when| *when <= self.now)?;
        let since = self.now.minus(least.span.unwrap_or_else(|| self.now.since(quiet.last_heard())));
        let heard = quiet.recent().iter().filter(|event| event.heard > since).count();
        let last = quiet.recent().back();
        Some(Holding {
            first: last.map_or(quiet.last_heard(), |event| event.time),
            last: last.map_or(short, |event| event.time.max(short)),
            count: heard as u64,
            evidence: quiet.recent().iter().rev().take(MAX_EVIDENCE).map(|event| event.id).collect(),
            value: heard as f64,
        })
    }

    fn spikes(&self, spike: &Spike, series: &Series, end: Timestamp, down: bool) -> Option<Holding> {
        let before = end.minus(spike.window);
        let current = series.measure(end, spike.window, spike.measure);
        let reference = series.measure(before, spike.window, spike.measure);
        let old = end.since(series.began()) >= spike.window * 2;
        let watched = self.started.is_some_and(|started| self.now.since(started) >= spike.window * 2);
        let (current, reference) = match (current, reference) {
            // There was nothing before.
            (Some(current), None | Some(0.0)) if spike.new_groups && watched => {
                let enough =
                    spike.up && current > 0.0 && current >= spike.min_current && spike.min_reference <= 0.0;
                return enough.then(|| series.holding(end, spike.window, current));
            }
            (Some(current), Some(reference)) if old => (current, reference),
            (None, Some(reference)) if old && spike.measure == Measure::Count => (0.0, reference),
            _ => return None,
        };
        let enough = reference > 0.0 && reference >= spike.min_reference && current >= spike.min_current;
        let up = spike.up && current >= spike.height * reference;
        let down = down && spike.down && reference >= spike.height * current;
        let span = if current > 0.0 { spike.window } else { spike.window * 2 };
        (enough && (up || down)).then(|| series.holding(end, span, current))
    }
}

/// Nothing but a record changes it.
const FAR: Timestamp = Timestamp(i64::MAX);

fn number(fact: &Fact) -> f64 {
    match fact {
        Fact::Number(number) => *number,
        _ => 1.0,
    }
}

fn is_beyond(metric: &Metric, series: &Series, end: Timestamp) -> Option<Holding> {
    if series.count(end, metric.window) < metric.at_least {
        return None;
    }
    let value = series.measure(end, metric.window, metric.measure)?;
    metric.is_beyond(value).then(|| series.holding(end, metric.window, value))
}

fn is_unusual(baseline: &Baseline, counted: Counted) -> Option<Holding> {
    let away = counted.deviation?;
    let up = baseline.up && away >= baseline.deviation && u64::from(counted.count) >= baseline.at_least;
    let down = baseline.down && away <= -baseline.deviation;
    (up || down).then(|| Holding {
        first: counted.start,
        last: counted.start.plus(baseline.interval),
        count: counted.count.into(),
        evidence: counted.evidence,
        value: away,
    })
}
