//! What was there before a rule: the values and counts of records that are kept, for rules that remember such. Whoever can read
//! records back gathers them in a [`Past`]; a detector that is handed it goes on as if its rule had been there when they came.

use crate::{
    kinds::{Fact, RuleKind},
    matching,
    rule::Rule,
    states::{hours, terms::Terms},
};
use millrace_model::{Row, TimeRange, Timestamp, Value};
use std::{collections::BTreeMap, time::Duration};

/// More groups, values and counts than this are not gathered for one rule: as much as a detector remembers of all of them.
const MOST: usize = 1_000_000;

/// What was there before one rule, by its groups. Plain values: it can be handed to several detectors.
#[derive(Debug, Clone)]
pub struct Past {
    pub(crate) rule: String,
    pub(crate) digest: u128,
    pub(crate) until: Timestamp,
    pub(crate) groups: BTreeMap<BTreeMap<String, String>, Gathered>,
    weight: usize,
    records: u64,
}

/// What one group of a rule would remember.
#[derive(Debug, Clone)]
pub(crate) enum Gathered {
    /// Values.
    Terms(Terms),
    /// Counts, by where their interval begins.
    Counts(BTreeMap<Timestamp, u32>),
}

/// There is more than is gathered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {MOST} groups, values and counts")]
pub struct TooMuch;

impl Rule {
    /// The time of which the rule could remember something, up to when it begins to watch; `None`: it remembers nothing that
    /// records which are kept could tell.
    pub fn past(&self, until: Timestamp) -> Option<TimeRange> {
        let from = match &self.kind {
            RuleKind::NewTerm(what) => until.minus(what.history),
            RuleKind::Baseline(what) => {
                hours::floor(until.minus(hours::remembered(what.interval)), what.interval)
            }
            _ => return None,
        };
        Some(TimeRange { from, to: until })
    }

    /// Does it remember something that records which are kept could tell?
    pub fn remembers(&self) -> bool {
        self.past(Timestamp::default()).is_some()
    }

    /// The interval by which records of the past may be counted, and the fields by whose values, instead of observing each of
    /// them: of a rule that asks for nothing else, and whose fields are what records have.
    pub fn counts_by(&self) -> Option<(Duration, Vec<&str>)> {
        let RuleKind::Baseline(what) = &self.kind else { return None };
        let is_plain = self.matches.as_ref().is_some_and(|matches| matches.extract.is_empty())
            && self.group_by.iter().all(|field| field.name != matching::TEMPLATE);
        is_plain.then(|| (what.interval, self.group_by.iter().map(|field| field.name.as_str()).collect()))
    }
}

impl Past {
    /// A rule may have come so much earlier than the end of what is handed to it: what came in between counts twice, then.
    pub const TOLERANCE: Duration = Duration::from_secs(10);

    /// Nothing was there before `until`, so far.
    pub fn new(rule: &Rule, until: Timestamp) -> Self {
        Self {
            rule: rule.id.clone(),
            digest: rule.digest,
            until,
            groups: BTreeMap::new(),
            weight: 0,
            records: 0,
        }
    }

    /// The rule's id.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// How many records were looked at, or counted.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// A record that the rule's query matches. The order in which they come does not matter.
    ///
    /// # Errors
    /// There is no room for what it says.
    pub fn observe(&mut self, rule: &Rule, row: &Row) -> Result<(), TooMuch> {
        self.records += 1;
        let Some((values, fact)) = rule.fact(row) else { return Ok(()) };
        let time = row.record.time();
        match (&rule.kind, fact) {
            (RuleKind::NewTerm(what), Fact::Terms(values_of)) => {
                let is_new = !self.groups.contains_key(&values);
                let gathered = self.groups.entry(values).or_insert_with(|| Gathered::Terms(Terms::new(time)));
                let Gathered::Terms(terms) = gathered else { return Ok(()) };
                let before = terms.len();
                terms.began_by(time);
                for value in values_of.into_iter().filter_map(|(_, value)| value) {
                    terms.take(value, time, time, what.novelty());
                }
                let grown = terms.len().saturating_sub(before);
                self.weigh(usize::from(is_new) + grown)
            }
            (RuleKind::Baseline(what), _) => self.add(values, hours::floor(time, what.interval), 1),
            _ => Ok(()),
        }
    }

    /// So many records of one interval and group: the values of its fields in the order of [`Rule::counts_by`], null where records
    /// have none.
    ///
    /// # Errors
    /// There is no room for them.
    pub fn count(
        &mut self,
        rule: &Rule,
        group: &[Value],
        start: Timestamp,
        count: u64,
    ) -> Result<(), TooMuch> {
        self.records += count;
        let named = rule.group_by.iter().zip(group);
        let values = named.filter_map(|(field, value)| Some((field.name.clone(), matching::text_of(value)?)));
        self.add(values.collect(), start, u32::try_from(count).unwrap_or(u32::MAX))
    }

    fn add(&mut self, values: BTreeMap<String, String>, start: Timestamp, count: u32) -> Result<(), TooMuch> {
        let gathered = self.groups.entry(values).or_insert_with(|| Gathered::Counts(BTreeMap::new()));
        let Gathered::Counts(counts) = gathered else { return Ok(()) };
        let before = counts.len();
        let counted = counts.entry(start).or_default();
        *counted = counted.saturating_add(count);
        let grown = counts.len() - before;
        self.weigh(grown)
    }

    fn weigh(&mut self, more: usize) -> Result<(), TooMuch> {
        self.weight += more;
        if self.weight > MOST { Err(TooMuch) } else { Ok(()) }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
