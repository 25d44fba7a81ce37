//! A filter, asked of a shape: much of it is decided by what is constant, for all rows at once; what is left are tests on
//! slots, on the line, or on what the rows say. Hot rows and sealed chunks carry out the same plans, each in its own way.
//!
//! It does not repeat what a predicate means: every decision is [`Text::matches`], [`FieldTest::matches`] or
//! [`Filter::matches`](millrace_filter::Filter::matches) on some part of a record.

mod needed;
mod resolve;
mod row;

pub(crate) use self::{
    needed::{ascii_words, whole_words},
    resolve::Question,
    row::{RowView, holds, id_matches, matches, value_matches},
};
use crate::{shape::Place, time_text::TimeFormat};
use millrace_filter::{FieldTest, Text};
use millrace_model::{Attributes, SourceId, Value, fields};
use std::sync::Arc;

/// Where rows come from: what many of them share.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Origin {
    pub(crate) source: SourceId,
    pub(crate) resource: Arc<Attributes>,
    /// What [`FieldRef::ResourceNames`](millrace_model::FieldRef::ResourceNames) says of it.
    pub(crate) names: Value,
}

impl Origin {
    pub(crate) fn new(source: SourceId, resource: Arc<Attributes>) -> Self {
        let names = Value::String(fields::names(resource.iter().map(|(name, _)| name)));
        Self { source, resource, names }
    }
}

/// What decides, for the rows of one shape.
#[derive(Debug, Clone)]
pub(crate) enum Plan<'q> {
    Always,
    Never,
    All(Vec<Plan<'q>>),
    Any(Vec<Plan<'q>>),
    Not(Box<Plan<'q>>),
    Test(Test<'q>),
}

/// A test that needs a row.
#[derive(Debug, Clone)]
pub(crate) enum Test<'q> {
    /// A slot of the line, or its time, holds a word that matches; the constant text does not.
    Words { text: &'q Text, leaf: usize },
    /// The body's text decides. Where that has words, what is `needed` is found in them.
    Body { text: &'q Text, needed: Arc<[Text]>, leaf: usize },
    /// The value at a place of the shape decides.
    Value { test: &'q FieldTest, place: &'q Place, leaf: usize },
    /// Only the whole record can say.
    Record { test: &'q FieldTest },
    /// The row's columns decide.
    Row(RowTest<'q>),
}

/// A test on a row's columns.
#[derive(Debug, Clone)]
pub(crate) enum RowTest<'q> {
    /// Does the row's origin pass? By its number.
    Origin(Arc<[bool]>),
    /// The time that the row is sorted by.
    Time(&'q FieldTest),
    Observed(&'q FieldTest),
    /// The record's own time, spelled like this, holds a word that matches.
    TimeWords {
        text: &'q Text,
        format: TimeFormat,
    },
    /// `_id` or `_position`.
    Id(&'q FieldTest),
}

impl Plan<'_> {
    pub(crate) fn of(decided: bool) -> Self {
        if decided { Self::Always } else { Self::Never }
    }

    /// All of these.
    pub(crate) fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut open = Vec::new();
        for part in parts {
            match part {
                Self::Always => {}
                Self::Never => return Self::Never,
                Self::All(inner) => open.extend(inner),
                other => open.push(other),
            }
        }
        match open.len() {
            0 => Self::Always,
            1 => open.remove(0),
            _ => Self::All(open),
        }
    }

    /// Any of these.
    pub(crate) fn any(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut open = Vec::new();
        for part in parts {
            match part {
                Self::Never => {}
                Self::Always => return Self::Always,
                Self::Any(inner) => open.extend(inner),
                other => open.push(other),
            }
        }
        match open.len() {
            0 => Self::Never,
            1 => open.remove(0),
            _ => Self::Any(open),
        }
    }

    pub(crate) fn not(inner: Self) -> Self {
        match inner {
            Self::Always => Self::Never,
            Self::Never => Self::Always,
            Self::Not(twice) => *twice,
            other => Self::Not(Box::new(other)),
        }
    }
}
