//! What is done to a source's records before they are redacted: steps, in the order in which they were configured.
//!
//! A step never loses a record by failing: what it cannot do it leaves undone. What it drops it drops for a reason, and whoever
//! applies it accounts for the bytes. Conditions are filters, as in searches.
//!
//! The same record at the same place is sampled the same way, however often it is read. A rate is measured in times of
//! observation: of what is read again after a crash, others may be let through than the first time. Each byte is still accounted
//! for once, for the first account of it counts.

mod limit;
mod table;

pub use limit::Rate;
pub use table::{CsvTable, GeoTable};

use limit::Buckets;
use millrace_filter::{Filter, value_text};
use millrace_model::{
    Attributes, Fields, LogRecord, SourceId, Value,
    fields::{FieldRef, ValueRef},
    wire::SkipReason,
};
use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
};

/// Where a record lies: what sampling goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// Its source.
    pub source: SourceId,
    /// Where it begins in that.
    pub position: u64,
}

/// The steps of a source.
#[derive(Debug, Clone, Default)]
pub struct Process(Arc<[Stage]>);

#[derive(Debug)]
struct Stage {
    step: Step,
    /// Of a step that limits a rate.
    buckets: Mutex<Buckets>,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// It is for records that match; `None`: for all.
    pub when: Option<Filter>,
    /// What it does with them.
    pub action: Action,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Drops the record.
    Drop,
    /// Drops what does not match.
    Keep(Filter),
    /// Keeps a part of the records.
    Sample {
        /// How many of them, from 0 to 1.
        share: f64,
        /// Records with the same value of this field are kept or dropped together; `None`: each by its place. A record without a
        /// value goes by its place, too.
        key: Option<FieldRef>,
    },
    /// Keeps no more than a rate.
    RateLimit {
        /// How many.
        rate: Rate,
        /// For each value of this field; `None`: for all records together.
        key: Option<FieldRef>,
    },
    /// Gives attributes other names.
    Rename(Vec<(String, String)>),
    /// Sets attributes; one that is there already is replaced.
    Add(Attributes),
    /// Looks a field's value up, and adds what the table has for it.
    Csv {
        /// What is looked up.
        by: FieldRef,
        /// Where.
        table: CsvTable,
        /// What the names of the table's columns get in front, with a dot.
        into: Option<String>,
    },
    /// Looks an address up, and adds where it is and whose, by OpenTelemetry's names.
    Geo {
        /// What is looked up.
        by: FieldRef,
        /// Where.
        table: GeoTable,
        /// What the names get in front, with a dot.
        into: Option<String>,
    },
}

impl Action {
    /// Its name, as settings have it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Keep(_) => "keep",
            Self::Sample { .. } => "sample",
            Self::RateLimit { .. } => "rate_limit",
            Self::Rename(_) => "rename",
            Self::Add(_) => "add",
            Self::Csv { .. } | Self::Geo { .. } => "enrich",
        }
    }
}

/// A record was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    /// What its bytes are accounted for as.
    pub reason: SkipReason,
    /// The number of the step, from 0.
    pub step: usize,
}

impl PartialEq for Process {
    fn eq(&self, other: &Self) -> bool {
        self.steps().eq(other.steps())
    }
}

impl FromIterator<Step> for Process {
    fn from_iter<I: IntoIterator<Item = Step>>(steps: I) -> Self {
        Self(steps.into_iter().map(|step| Stage { step, buckets: Mutex::default() }).collect())
    }
}

impl Process {
    /// The steps.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.0.iter().map(|stage| &stage.step)
    }

    /// Does all that is to be done.
    ///
    /// # Errors
    /// The record is dropped.
    pub fn apply(&self, record: &mut LogRecord, place: At) -> Result<(), Dropped> {
        for (number, stage) in self.0.iter().enumerate() {
            if stage.step.when.as_ref().is_some_and(|when| !when.matches(record)) {
                continue;
            }
            if let Some(reason) = stage.apply(record, place) {
                return Err(Dropped { reason, step: number });
            }
        }
        Ok(())
    }
}

impl Stage {
    /// Why the record is dropped; `None`: it is not.
    fn apply(&self, record: &mut LogRecord, place: At) -> Option<SkipReason> {
        match &self.step.action {
            Action::Drop => return Some(SkipReason::Filtered),
            Action::Keep(filter) => return (!filter.matches(record)).then_some(SkipReason::Filtered),
            Action::Sample { share, key } => {
                let key = key.as_ref().and_then(|key| text(record, key));
                return (!is_sampled(*share, key.as_deref(), place)).then_some(SkipReason::Sampled);
            }
            Action::RateLimit { rate, key } => {
                let key = key.as_ref().and_then(|key| text(record, key)).unwrap_or_default();
                let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
                let taken = buckets.take(&key, *rate, record.observed_timestamp);
                return (!taken).then_some(SkipReason::RateLimited);
            }
            Action::Rename(names) => {
                for (from, to) in names {
                    if let Some(value) = record.attributes.remove(from) {
                        record.attributes.set(to.as_str(), value);
                    }
                }
            }
            Action::Add(attributes) => {
                for (name, value) in attributes.iter() {
                    record.attributes.set(name, value.clone());
                }
            }
            Action::Csv { by, table, into } => {
                let columns = text(record, by).map(|key| table.find(&key).collect::<Vec<_>>());
                add(record, columns.unwrap_or_default(), into.as_deref());
            }
            Action::Geo { by, table, into } => {
                let facts = text(record, by).map(|address| table.find(&address)).unwrap_or_default();
                add(record, facts, into.as_deref());
            }
        }
        None
    }
}

fn add<N: AsRef<str>, V: Into<Value>>(record: &mut LogRecord, facts: Vec<(N, V)>, into: Option<&str>) {
    for (name, value) in facts {
        let name = match into {
            Some(prefix) => format!("{prefix}.{}", name.as_ref()),
            None => name.as_ref().to_owned(),
        };
        record.attributes.set(name, value);
    }
}

fn text(record: &LogRecord, field: &FieldRef) -> Option<String> {
    Some(match record.field(field)? {
        ValueRef::Value(value) => match value_text(value) {
            Cow::Borrowed("") => return None,
            text => text.into_owned(),
        },
        ValueRef::Text(text) => text,
        ValueRef::Int(number) => number.to_string(),
        ValueRef::Time(time) => time.to_string(),
        ValueRef::Level { .. } => record.level().to_owned(),
    })
}

/// By the first 64 bits of a hash: the same wherever, and whenever, it is asked.
fn is_sampled(share: f64, key: Option<&str>, place: At) -> bool {
    use sha2::{Digest, Sha256};
    let hash = match key {
        Some(key) => Sha256::digest(key),
        None => Sha256::new()
            .chain_update(place.source.0.to_be_bytes())
            .chain_update(place.position.to_be_bytes())
            .finalize(),
    };
    let first = hash.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    (first as f64) < share * (u64::MAX as f64) || share >= 1.0
}

#[cfg(test)]
mod tests;
