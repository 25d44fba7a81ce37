//! Millrace's own rules: a query, and how many of the records that it matches must come together.
//!
//! ```yaml
//! title: SSH brute force
//! kind: threshold
//! level: high
//! query: '"Failed password"'
//! extract: 'from (?P<source_ip>\S+) port'   # named groups become fields of this rule; one pattern or a list
//! threshold: { count: 8, window: 2m, group_by: [source_ip] }
//! distinct: user                            # optional: count different values of this field instead of records
//! resolve_after: 10m                        # optional; the window, unless said otherwise
//! ```

use crate::{
    cases,
    document::{Document, kind},
    finding::{Level, digest},
    keys::{Keys, parse_span},
    rule::{Rule, RuleError, RuleKind, derived_id},
};
use millrace_filter::Filter;
use millrace_model::{FieldRef, Fields, Row, StreamName, Value, ValueRef};
use regex::Regex;
use serde::{Serialize, Serializer};
use serde_yaml_ng::Value as Yaml;
use std::{borrow::Cow, collections::BTreeMap, time::Duration};
use xxhash_rust::xxh3::xxh3_64;

const KEYS: &[&str] = &[
    "title",
    "id",
    "kind",
    "description",
    "level",
    "query",
    "threshold",
    "distinct",
    "extract",
    "tags",
    "streams",
    "resolve_after",
    "tests",
    "author",
    "date",
    "modified",
    "references",
    "falsepositives",
    "status",
    "license",
    "related",
];
const THRESHOLD_KEYS: &[&str] = &["count", "window", "group_by"];
/// The most records that a rule may ask for in one window.
const MAX_COUNT: u64 = 100_000;
/// The most distinct values.
const MAX_DISTINCT: u64 = 10_000;
/// The longest window.
const MAX_WINDOW: Duration = Duration::from_hours(30 * 24);
/// The most fields to group by.
const MAX_GROUP_BY: usize = 8;
/// The longest value that is kept whole in a group, in bytes; a longer one keeps its beginning and a digest.
const MAX_VALUE_BYTES: usize = 256;

/// What must come together.
#[derive(Debug, Clone, Serialize)]
pub struct Threshold {
    /// Which records count.
    #[serde(serialize_with = "as_text")]
    pub query: Filter,
    /// How many of them, or of distinct values.
    pub count: u64,
    /// Within less than this much event time.
    #[serde(serialize_with = "as_seconds")]
    pub window: Duration,
    /// Quiet for so long, it is over.
    #[serde(serialize_with = "as_seconds")]
    pub resolve_after: Duration,
    /// Counted for each combination of these fields' values.
    pub group_by: Vec<String>,
    /// The field whose different values are counted instead of records.
    pub distinct: Option<String>,
    /// Patterns whose named groups, found in the body, are fields of this rule alone.
    #[serde(serialize_with = "as_patterns")]
    pub extract: Vec<Regex>,
}

fn as_text<S: Serializer>(query: &Filter, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(query)
}
fn as_seconds<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{}s", span.as_secs_f64()))
}
fn as_patterns<S: Serializer>(patterns: &[Regex], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(patterns.iter().map(Regex::as_str))
}

impl Threshold {
    /// The values that the patterns find in the record's body; for each name the first pattern that has it wins.
    fn extracted(&self, row: &Row) -> BTreeMap<&str, String> {
        let mut found = BTreeMap::new();
        if self.extract.is_empty() {
            return found;
        }
        let body = body_text(&row.record.body);
        for pattern in &self.extract {
            let Some(captures) = pattern.captures(&body) else { continue };
            for name in pattern.capture_names().flatten() {
                if let Some(value) = captures.name(name) {
                    found.entry(name).or_insert_with(|| bounded(value.as_str()));
                }
            }
        }
        found
    }
}

impl Rule {
    /// The record's group, and a digest of the value that must differ if values are counted. A record without that
    /// value does not count: `None`.
    pub(crate) fn group(&self, row: &Row) -> Option<(BTreeMap<String, String>, Option<u64>)> {
        let mut extracted = match &self.kind {
            RuleKind::Threshold(threshold) => threshold.extracted(row),
            RuleKind::Sigma => BTreeMap::new(),
        };
        let distinct = match &self.kind {
            RuleKind::Threshold(Threshold { distinct: Some(name), .. }) => {
                let value =
                    extracted.get(name.as_str()).cloned().or_else(|| text(row, &FieldRef::resolve(name)))?;
                Some(xxh3_64(value.as_bytes()))
            }
            _ => None,
        };
        let group = self.grouping.iter().filter_map(|(name, field)| {
            let value = extracted.remove(name.as_str()).or_else(|| text(row, field))?;
            Some((name.clone(), value))
        });
        Some((group.collect(), distinct))
    }
}

/// A field's value as text of a bounded length.
fn text(row: &Row, field: &FieldRef) -> Option<String> {
    match row.placed().field(field)? {
        ValueRef::Value(Value::Null) => None,
        ValueRef::Value(Value::String(text) | Value::Text(text)) => Some(bounded(text)),
        ValueRef::Value(value) => Some(bounded(&value.to_string())),
        ValueRef::Text(text) => Some(bounded(&text)),
        ValueRef::Int(number) => Some(number.to_string()),
        ValueRef::Time(time) => Some(time.to_string()),
        ValueRef::Level { text, severity } => {
            Some(bounded(if text.is_empty() { severity.class() } else { text }))
        }
    }
}

fn bounded(value: &str) -> String {
    if value.len() <= MAX_VALUE_BYTES {
        return value.to_owned();
    }
    let digest = digest(std::iter::once(value));
    format!("{}…{digest:032x}", &value[..value.floor_char_boundary(MAX_VALUE_BYTES - 40)])
}

/// The body as the text that patterns search.
pub(crate) fn body_text(body: &Value) -> Cow<'_, str> {
    match body {
        Value::String(text) | Value::Text(text) => Cow::Borrowed(text),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes),
        Value::Null => Cow::Borrowed(""),
        other => Cow::Owned(other.to_string()),
    }
}

/// Reads a rule; says everything that is wrong with it, not the first thing only.
pub(crate) fn read(document: &Document<'_>, errors: &mut Vec<RuleError>) -> Option<Rule> {
    let before = errors.len();
    let mut keys = Keys::of(document, errors);
    keys.known(KEYS);
    match keys.text("kind").as_deref() {
        Some("threshold") => {}
        Some(other) => keys.wrong("kind", format!("\"threshold\" expected, found {other:?}")),
        None => keys.missing("kind", "`kind: threshold`"),
    }
    let title = keys.text("title").filter(|title| !title.trim().is_empty());
    if title.is_none() {
        keys.missing("title", "what the rule is called");
    }
    let id = keys.text("id");
    if id.as_ref().is_some_and(|id| id.is_empty() || id.len() > 200 || id.chars().any(char::is_control)) {
        keys.wrong("id", "1 to 200 printable characters expected");
    }
    let level = keys.parsed("level", str::parse::<Level>).unwrap_or_default();
    let query = keys
        .required("query", "a query", |text| millrace_filter::parse(text).map_err(|error| explain(&error)));
    let extract = extract(&mut keys);
    let streams = keys.list("streams");
    let streams = streams.iter().filter_map(|name| match name.parse::<StreamName>() {
        Ok(name) => Some(name),
        Err(problem) => {
            keys.wrong("streams", problem.to_string());
            None
        }
    });
    let streams: Vec<StreamName> = streams.collect();
    let distinct = keys.text("distinct");
    let terms = terms(&mut keys, distinct.is_some());
    let resolve_after = keys.parsed("resolve_after", parse_window);
    let (description, tags) = (keys.text("description").unwrap_or_default(), keys.list("tags"));
    let cases = cases::read(document, keys.errors);
    if errors.len() > before {
        return None;
    }
    let (title, query, (count, window, group_by)) = (title?, query?, terms?);
    let threshold = Threshold {
        query,
        count,
        window,
        resolve_after: resolve_after.unwrap_or(window),
        group_by,
        distinct,
        extract,
    };
    Some(Rule {
        id: id.unwrap_or_else(|| derived_id(document.file, &title)),
        title,
        description,
        level,
        tags,
        file: document.file.to_owned(),
        line: document.line,
        digest: decides_by(&threshold, &streams),
        streams,
        cases,
        grouping: threshold.group_by.iter().map(|name| (name.clone(), FieldRef::resolve(name))).collect(),
        kind: RuleKind::Threshold(threshold),
    })
}

fn explain(error: &millrace_filter::ParseError) -> String {
    match &error.suggestion {
        Some(suggestion) => format!("{} at character {}; {suggestion}", error.message, error.span.start + 1),
        None => format!("{} at character {}", error.message, error.span.start + 1),
    }
}

/// A digest of everything that decides which records count together.
fn decides_by(threshold: &Threshold, streams: &[StreamName]) -> u128 {
    let (query, window) = (threshold.query.to_string(), threshold.window.as_nanos().to_string());
    let count = threshold.count.to_string();
    let mut parts =
        vec![query.as_str(), &window, &count, threshold.distinct.as_deref().unwrap_or(""), "group_by"];
    parts.extend(threshold.group_by.iter().map(String::as_str));
    parts.push("extract");
    parts.extend(threshold.extract.iter().map(Regex::as_str));
    parts.push("streams");
    parts.extend(streams.iter().map(StreamName::as_str));
    digest(parts.into_iter())
}

fn parse_window(text: &str) -> Result<Duration, String> {
    match parse_span(text)? {
        span if span.is_zero() => Err("more than nothing expected".to_owned()),
        span if span > MAX_WINDOW => Err("30d at most".to_owned()),
        span => Ok(span),
    }
}

fn extract(keys: &mut Keys<'_, '_>) -> Vec<Regex> {
    let mut patterns = Vec::new();
    for text in keys.list("extract") {
        match Regex::new(&text) {
            Ok(pattern) if pattern.capture_names().flatten().next().is_none() => {
                keys.wrong("extract", "a pattern with at least one named group, (?P<name>…), expected");
            }
            Ok(pattern) => patterns.push(pattern),
            Err(problem) => keys.wrong("extract", problem.to_string()),
        }
    }
    patterns
}

/// `threshold`: how many, within what, for each what.
fn terms(outer: &mut Keys<'_, '_>, distinct: bool) -> Option<(u64, Duration, Vec<String>)> {
    let map = match outer.map.get("threshold") {
        Some(Yaml::Mapping(map)) => map,
        Some(other) => {
            let found = kind(other);
            outer.wrong(
                "threshold",
                format!("a mapping with count, window and group_by expected, found {found}"),
            );
            return None;
        }
        None => {
            outer.missing("threshold", "a mapping with count, window and group_by");
            return None;
        }
    };
    let mut keys = outer.inner(map, &["threshold"]);
    keys.known(THRESHOLD_KEYS);
    let most = if distinct { MAX_DISTINCT } else { MAX_COUNT };
    let count = map.get("count").and_then(Yaml::as_u64).filter(|count| (1..=most).contains(count));
    if count.is_none() {
        keys.wrong("count", format!("a whole number from 1 to {most} expected"));
    }
    let window = keys.required("window", "a span such as \"2m\"", parse_window);
    let group_by = keys.list("group_by");
    let twice = group_by.iter().enumerate().any(|(at, name)| group_by[..at].contains(name));
    if twice || group_by.len() > MAX_GROUP_BY || group_by.iter().any(|name| name.trim().is_empty()) {
        keys.wrong("group_by", format!("at most {MAX_GROUP_BY} different fields expected"));
    }
    Some((count?, window?, group_by))
}
