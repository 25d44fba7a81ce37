//! Rules as the rest of Millrace knows them. Which engine tests a rule is known only inside this crate.

use crate::{
    cases::Case,
    finding::{Level, digest},
    kinds::{Fact, RuleKind, as_name_list, as_seconds_or_none, scheduled::Scheduled},
    matching::{Asked, Field, Matches},
    sigma::correlations::Correlates,
};
use millrace_model::{Row, StreamName};
use serde::Serialize;
use std::{collections::BTreeMap, fmt, time::Duration};

/// A file of rules: one YAML document a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFile {
    /// What the file is called in errors, and where an id is made from for rules that have none.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// Why one rule was not taken, or what to mind about one that was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct RuleError {
    /// The file.
    pub file: String,
    /// The line in it, from 1.
    pub line: Option<usize>,
    /// The rule's title, where it has one.
    pub title: Option<String>,
    /// What is wrong, and what was expected.
    pub message: String,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        match &self.title {
            Some(title) => write!(f, ": {title}: {}", self.message),
            None => write!(f, ": {}", self.message),
        }
    }
}

/// One rule.
#[derive(Debug, Clone, Serialize)]
pub struct Rule {
    /// Its id: the one that it states, else one made from its file and title.
    pub id: String,
    /// The name by which correlations may refer to it, besides its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is called.
    pub title: String,
    /// What it looks for and what to do then.
    pub description: String,
    /// How serious a finding is.
    pub level: Level,
    /// ATT&CK and other tags.
    pub tags: Vec<String>,
    /// The file that it stands in.
    pub file: String,
    /// The line on which it begins.
    pub line: usize,
    /// The streams that it watches; none: all.
    pub streams: Vec<StreamName>,
    /// How it decides.
    #[serde(flatten)]
    pub kind: RuleKind,
    /// Which records it is about, where a query says so.
    #[serde(flatten)]
    pub matches: Option<Matches>,
    /// The rules that it is over, if it is a correlation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) correlates: Option<Correlates>,
    /// It makes no findings of its own: a correlation counts what it matches.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_silent: bool,
    /// Decided for each combination of these fields' values.
    #[serde(serialize_with = "as_name_list")]
    pub(crate) group_by: Vec<Field>,
    /// Quiet for so long, it is over; `None`: as is usual for its kind.
    #[serde(serialize_with = "as_seconds_or_none", skip_serializing_if = "Option::is_none")]
    pub resolve_after: Option<Duration>,
    /// Lines that must and must not make it fire.
    #[serde(skip)]
    pub(crate) cases: Vec<Case>,
    /// Differs when the rule decides differently.
    #[serde(skip)]
    pub(crate) digest: u128,
}

impl Rule {
    /// Is it of a kind of which every matching record is a finding by itself?
    pub fn is_single(&self) -> bool {
        matches!(self.kind, RuleKind::Sigma | RuleKind::List(_) | RuleKind::Change(_) | RuleKind::NewTerm(_))
    }

    /// The query that it asks again and again, if that is what it does. No record of the stream is anything to it then.
    pub fn scheduled(&self) -> Option<&Scheduled> {
        match &self.kind {
            RuleKind::Scheduled(scheduled) => Some(scheduled),
            _ => None,
        }
    }

    /// Is it over what other rules match?
    pub fn is_correlation(&self) -> bool {
        self.correlates.is_some()
    }

    /// What correlations may call it: its id, and its name if it has one.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        [Some(&self.id), self.name.as_ref()].into_iter().flatten().map(String::as_str)
    }

    /// Does it have a query that matches the record? What tells of alerts has to be asked for by its stream's name.
    pub(crate) fn asks_for(&self, row: &Row) -> bool {
        let tells_of_alerts = row.stream.as_str() == StreamName::ALERTS;
        self.matches.as_ref().is_some_and(|matches| {
            (self.streams.is_empty() && !tells_of_alerts || self.streams.contains(&row.stream))
                && matches.query.matches(&row.placed())
        })
    }

    /// The record's group, and what else it is to the rule. `None`: it does not count.
    pub(crate) fn fact(&self, row: &Row) -> Option<(BTreeMap<String, String>, Fact)> {
        let asked = Asked::new(row, self.matches.as_ref().map_or(&[], |matches| &matches.extract));
        let fact = self.kind.fact(&asked)?;
        Some((asked.group(&self.group_by), fact))
    }

    /// Something outside of its own text changes what it decides.
    pub(crate) fn decides_otherwise(&mut self, by: u128) {
        let parts = [self.digest, by].map(|part| format!("{part:032x}"));
        self.digest = digest(parts.iter().map(String::as_str));
    }
}

/// The id of a rule that states none: a UUID (version 8) made from its file and title, the same at every start.
pub(crate) fn derived_id(file: &str, title: &str) -> String {
    let bits = digest(["millrace rule", file, title].into_iter());
    let bits = bits & !(0xf << 76) & !(0x3 << 62) | 0x8 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
