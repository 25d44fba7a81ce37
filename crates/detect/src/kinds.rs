//! How rules decide: each kind with what it asks for, and what it asks of one record.

pub(crate) mod list;
pub(crate) mod read;
pub(crate) mod scheduled;

pub use crate::states::{series::Measure, steps::Step};

use crate::{
    matching::{Asked, Field},
    states::{exact, last::Different, quiet::Least, terms::Novelty},
    window::Goal,
};
use list::List;
use millrace_filter::Filter;
use scheduled::Scheduled;
use serde::{Serialize, Serializer};
use std::{collections::BTreeMap, time::Duration};
use xxhash_rust::xxh3::xxh3_64;

/// How a rule decides.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RuleKind {
    /// A Sigma detection: each record that it matches is a finding, folded by host.
    Sigma,
    /// Records, or different values, counted.
    Threshold(Threshold),
    /// Too few records, or too few different values.
    Flatline(Flatline),
    /// Much more, or much less, than just before.
    Spike(Spike),
    /// A measure of numbers beyond a bound.
    Metric(Metric),
    /// A value that was not there before.
    NewTerm(NewTerm),
    /// A value that is another than before.
    Change(Change),
    /// A value that is on a list, or on none.
    List(List),
    /// Things that come one after another.
    Sequence(Sequence),
    /// Another count than is usual at that hour of the week.
    Baseline(Baseline),
    /// What a query with pipes gives, asked again and again; no record of the stream is anything to it.
    Scheduled(Box<Scheduled>),
}

/// So many together.
#[derive(Debug, Clone, Serialize)]
pub struct Threshold {
    /// How many records, or different values.
    pub count: u64,
    /// Within less than this much event time.
    #[serde(serialize_with = "as_seconds")]
    pub window: Duration,
    /// The field whose different values are counted instead of records.
    #[serde(serialize_with = "as_name_or_none")]
    pub(crate) distinct: Option<Field>,
    /// The rule says how many are too many, which is one more than how many are not.
    #[serde(skip)]
    pub(crate) says_more_than: bool,
}

/// Too few.
#[derive(Debug, Clone, Serialize)]
pub struct Flatline {
    /// Fewer than so many records, or different values.
    pub fewer_than: u64,
    /// Within so much time; `None`: what is learnt of each group.
    #[serde(serialize_with = "as_seconds_or_learned")]
    pub window: Option<Duration>,
    /// The field whose different values are counted instead of records.
    #[serde(serialize_with = "as_name_or_none", skip_serializing_if = "Option::is_none")]
    pub(crate) distinct: Option<Field>,
    /// A group that has been quiet for so long is no group any more.
    #[serde(serialize_with = "as_seconds")]
    pub forget_after: Duration,
    /// The least and the most that are learnt.
    #[serde(skip)]
    pub learned: (Duration, Duration),
}

/// More or less than just before.
#[derive(Debug, Clone, Serialize)]
pub struct Spike {
    /// How long both windows are.
    #[serde(serialize_with = "as_seconds")]
    pub window: Duration,
    /// So many times as much.
    pub height: f64,
    /// Upward?
    pub up: bool,
    /// Downward?
    pub down: bool,
    /// What is measured.
    pub measure: Measure,
    /// The field that is measured.
    #[serde(serialize_with = "as_name_or_none", skip_serializing_if = "Option::is_none")]
    pub(crate) field: Option<Field>,
    /// At least so much in the window before.
    pub min_reference: f64,
    /// At least so much now.
    pub min_current: f64,
    /// Are groups told of that were not there before?
    pub new_groups: bool,
}

/// Beyond a bound.
#[derive(Debug, Clone, Serialize)]
pub struct Metric {
    /// How long the window is.
    #[serde(serialize_with = "as_seconds")]
    pub window: Duration,
    /// What is measured.
    pub measure: Measure,
    /// The field that is measured.
    #[serde(serialize_with = "as_name_or_none", skip_serializing_if = "Option::is_none")]
    pub(crate) field: Option<Field>,
    /// What the share is of: records that match this, too.
    #[serde(serialize_with = "as_query_or_none", skip_serializing_if = "Option::is_none")]
    pub share_of: Option<Filter>,
    /// More than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
    /// Less than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub below: Option<f64>,
    /// Is a bound itself beyond it?
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub inclusive: bool,
    /// Of at least so many records.
    pub at_least: u64,
}

/// Not there before.
#[derive(Debug, Clone, Serialize)]
pub struct NewTerm {
    /// The fields; several together are one value.
    #[serde(serialize_with = "as_names")]
    pub(crate) fields: Vec<Vec<Field>>,
    /// What was not there for so long is new again.
    #[serde(serialize_with = "as_seconds")]
    pub history: Duration,
    /// Nothing is new before values were gathered for so long.
    #[serde(serialize_with = "as_seconds")]
    pub learn: Duration,
    /// What was there so often is new all the same.
    pub seen_at_most: u32,
    /// Is a field that is not there a finding?
    pub missing: bool,
}

/// Another value.
#[derive(Debug, Clone, Serialize)]
pub struct Change {
    /// The fields.
    #[serde(serialize_with = "as_single_names")]
    pub(crate) fields: Vec<Field>,
    /// Only where the value before is no older.
    #[serde(serialize_with = "as_seconds_or_none", skip_serializing_if = "Option::is_none")]
    pub within: Option<Duration>,
    /// Is a field that is not there one more value?
    pub missing: bool,
}

/// One after another.
#[derive(Debug, Clone, Serialize)]
pub struct Sequence {
    /// What each step is, and how many records of it.
    #[serde(serialize_with = "as_steps")]
    pub(crate) steps: Vec<(Filter, Step)>,
    /// The same without what it is.
    #[serde(skip)]
    pub(crate) chain: Vec<Step>,
    /// All of them in less than this.
    #[serde(serialize_with = "as_seconds")]
    pub within: Duration,
    /// In that order?
    pub ordered: bool,
}

/// What is usual.
#[derive(Debug, Clone, Serialize)]
pub struct Baseline {
    /// Records are counted by this.
    #[serde(serialize_with = "as_seconds")]
    pub interval: Duration,
    /// So many deviations from what is usual.
    pub deviation: f64,
    /// Upward?
    pub up: bool,
    /// Downward?
    pub down: bool,
    /// Upward: at least so many records.
    pub at_least: u64,
}

/// What a record is to a rule, besides being there.
#[derive(Debug, Clone, PartialEq, serde::Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fact {
    /// Nothing else.
    There,
    /// A digest of a value that must be different.
    Value(u64),
    /// A number that is measured.
    Number(#[serde(with = "exact")] f64),
    /// Is it one that the share is of?
    Hit(bool),
    /// The values of fields that may change.
    Values(Vec<Option<String>>),
    /// Values that may be new: what they are called, and a digest. No digest: it is missing.
    Terms(Vec<(BTreeMap<String, String>, Option<u64>)>),
    /// The steps that it can be, a bit each.
    Steps(u64),
}

impl Fact {
    /// The digest of a value that must be different, if that is what it is.
    pub(crate) fn value(&self) -> Option<u64> {
        match self {
            Self::Value(value) => Some(*value),
            _ => None,
        }
    }
}

/// Into which of them a kind falls: when its findings come about, and when they are over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Records make it fire; it is over when none has come for a while.
    Events,
    /// It holds or does not, by all that happened lately.
    Condition,
    /// It remembers values; each that is news is a group of its own.
    Memory,
}

impl RuleKind {
    /// The name that rules give it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Sigma => "sigma",
            Self::Threshold(_) => "threshold",
            Self::Flatline(_) => "flatline",
            Self::Spike(_) => "spike",
            Self::Metric(_) => "metric",
            Self::NewTerm(_) => "new_term",
            Self::Change(_) => "change",
            Self::List(_) => "list",
            Self::Sequence(_) => "sequence",
            Self::Baseline(_) => "baseline",
            Self::Scheduled(_) => "scheduled",
        }
    }

    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Sigma
            | Self::Threshold(_)
            | Self::Change(_)
            | Self::List(_)
            | Self::Sequence(_)
            | Self::Scheduled(_) => Class::Events,
            Self::Flatline(_) | Self::Spike(_) | Self::Metric(_) | Self::Baseline(_) => Class::Condition,
            Self::NewTerm(_) => Class::Memory,
        }
    }

    /// Must records come in the order in which they happened?
    pub(crate) fn needs_order(&self) -> bool {
        match self {
            Self::Change(_) | Self::Spike(_) | Self::Metric(_) | Self::Baseline(_) => true,
            Self::Sequence(sequence) => sequence.chain.iter().any(|step| step.not),
            Self::Sigma
            | Self::Threshold(_)
            | Self::Flatline(_)
            | Self::NewTerm(_)
            | Self::List(_)
            | Self::Scheduled(_) => false,
        }
    }

    /// What one record is to it; `None`: nothing.
    pub(crate) fn fact(&self, asked: &Asked<'_>) -> Option<Fact> {
        let digest = |field: &Field| Some(xxh3_64(asked.text(field)?.as_bytes()));
        Some(match self {
            Self::Scheduled(_) => return None,
            Self::Sigma | Self::Baseline(_) => Fact::There,
            Self::Threshold(Threshold { distinct, .. }) | Self::Flatline(Flatline { distinct, .. }) => {
                match distinct {
                    None => Fact::There,
                    Some(field) => Fact::Value(digest(field)?),
                }
            }
            Self::Spike(Spike { field, .. }) => match field {
                None => Fact::There,
                Some(field) => Fact::Number(asked.number(field)?),
            },
            Self::Metric(Metric { field, share_of, .. }) => match (field, share_of) {
                (Some(field), _) => Fact::Number(asked.number(field)?),
                (None, Some(of)) => Fact::Hit(asked.matches(of)),
                (None, None) => Fact::There,
            },
            Self::List(list) => list.finds(asked.text(&list.field).as_deref()).then_some(Fact::There)?,
            Self::Change(Change { fields, missing, .. }) => {
                let values: Vec<Option<String>> = fields.iter().map(|field| asked.text(field)).collect();
                (*missing || values.iter().any(Option::is_some)).then_some(Fact::Values(values))?
            }
            Self::NewTerm(NewTerm { fields, missing, .. }) => {
                let terms: Vec<_> =
                    fields.iter().filter_map(|fields| term(asked, fields, *missing)).collect();
                (!terms.is_empty()).then_some(Fact::Terms(terms))?
            }
            Self::Sequence(Sequence { steps, .. }) => {
                let bits = steps
                    .iter()
                    .enumerate()
                    .filter(|(_, (query, _))| asked.matches(query))
                    .fold(0, |bits, (number, _)| bits | 1 << number);
                (bits != 0).then_some(Fact::Steps(bits))?
            }
        })
    }
}

/// What several fields say together.
fn term(
    asked: &Asked<'_>,
    fields: &[Field],
    missing: bool,
) -> Option<(BTreeMap<String, String>, Option<u64>)> {
    let values = asked.group(fields);
    if values.len() < fields.len() {
        return missing.then_some((values, None));
    }
    let mut text = Vec::new();
    for (name, value) in &values {
        for part in [name, value] {
            text.extend((part.len() as u64).to_le_bytes());
            text.extend(part.as_bytes());
        }
    }
    Some((values, Some(xxh3_64(&text))))
}

impl Threshold {
    pub(crate) fn goal(&self) -> Goal {
        Goal { count: self.count as usize, span: self.window, distinct: self.distinct.is_some() }
    }
}

impl Flatline {
    pub(crate) fn least(&self) -> Least {
        Least { count: self.fewer_than as usize, span: self.window, learned: self.learned }
    }
}

impl NewTerm {
    pub(crate) fn novelty(&self) -> Novelty {
        Novelty { history: self.history, learn: self.learn, rare: self.seen_at_most }
    }
}

impl Change {
    pub(crate) fn different(&self) -> Different {
        Different { within: self.within, missing: self.missing }
    }
}

impl Metric {
    /// Is a measure beyond a bound?
    pub(crate) fn is_beyond(&self, value: f64) -> bool {
        let equal = |bound: f64| self.inclusive && (value - bound).abs() <= f64::EPSILON * bound.abs();
        self.above.is_some_and(|bound| value > bound || equal(bound))
            || self.below.is_some_and(|bound| value < bound || equal(bound))
    }
}

pub(crate) fn as_seconds<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{}s", span.as_secs_f64()))
}

#[expect(clippy::ref_option, reason = "as serde calls it")]
pub(crate) fn as_seconds_or_none<S: Serializer>(
    span: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match span {
        Some(span) => as_seconds(span, serializer),
        None => serializer.serialize_none(),
    }
}

#[expect(clippy::ref_option, reason = "as serde calls it")]
fn as_seconds_or_learned<S: Serializer>(span: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match span {
        Some(span) => as_seconds(span, serializer),
        None => serializer.serialize_str("learned"),
    }
}

#[expect(clippy::ref_option, reason = "as serde calls it")]
fn as_name_or_none<S: Serializer>(field: &Option<Field>, serializer: S) -> Result<S::Ok, S::Error> {
    field.as_ref().map(|field| &field.name).serialize(serializer)
}

pub(crate) fn as_name_list<S: Serializer>(fields: &[Field], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(fields.iter().map(|field| &field.name))
}

fn as_names<S: Serializer>(fields: &[Vec<Field>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(
        fields.iter().map(|fields| fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>()),
    )
}

fn as_single_names<S: Serializer>(fields: &[Field], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(fields.iter().map(|field| [field.name.as_str()]))
}

#[expect(clippy::ref_option, reason = "as serde calls it")]
fn as_query_or_none<S: Serializer>(query: &Option<Filter>, serializer: S) -> Result<S::Ok, S::Error> {
    query.as_ref().map(Filter::to_string).serialize(serializer)
}

fn as_steps<S: Serializer>(steps: &[(Filter, Step)], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Told<'s> {
        query: String,
        #[serde(flatten)]
        step: &'s Step,
    }
    serializer.collect_seq(steps.iter().map(|(query, step)| Told { query: query.to_string(), step }))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
