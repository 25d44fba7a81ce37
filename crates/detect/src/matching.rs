//! What a rule of our own looks at: the records that its query matches, and the values of their fields, those that its
//! patterns find in the line among them.

use crate::finding::digest;
use millrace_filter::Filter;
use millrace_model::{FieldRef, Fields, Number, Row, Value, ValueRef};
use millrace_template::{Scan, TemplateId};
use regex::Regex;
use serde::{Serialize, Serializer};
use std::{borrow::Cow, collections::BTreeMap};

/// The longest value that is kept whole in a group, in bytes; a longer one keeps its beginning and a digest.
const MAX_VALUE_BYTES: usize = 256;
/// Fields whose value one host alone has, and what it sends lies in one partition.
const HOSTS: [&str; 4] = ["host", "hostname", "host.name", "host.id"];
/// The field that is the template of a record's line.
pub(crate) const TEMPLATE: &str = "_template";

/// Which records a rule is about.
#[derive(Debug, Clone, Serialize)]
pub struct Matches {
    /// Those that this matches.
    #[serde(serialize_with = "as_text")]
    pub query: Filter,
    /// Patterns whose named groups, found in the body, are fields of this rule alone.
    #[serde(serialize_with = "as_patterns", skip_serializing_if = "Vec::is_empty")]
    pub extract: Vec<Regex>,
}

pub(crate) fn as_text<S: Serializer>(query: &Filter, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(query)
}

fn as_patterns<S: Serializer>(patterns: &[Regex], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(patterns.iter().map(Regex::as_str))
}

/// A field that a rule asks for.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    /// As the rule names it.
    pub(crate) name: String,
    field: FieldRef,
}

impl Field {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), field: FieldRef::resolve(name) }
    }

    /// Do all records that have the same value of it lie in one partition?
    pub(crate) fn is_of_host(&self) -> bool {
        match &self.field {
            FieldRef::Any { path, .. } | FieldRef::Resource(path) => HOSTS.contains(&path.as_str()),
            FieldRef::Source | FieldRef::Id => true,
            _ => false,
        }
    }
}

/// One record, asked for its fields by one rule.
pub(crate) struct Asked<'r> {
    row: &'r Row,
    extracted: BTreeMap<&'r str, String>,
}

impl<'r> Asked<'r> {
    pub(crate) fn new(row: &'r Row, extract: &'r [Regex]) -> Self {
        let mut extracted = BTreeMap::new();
        if !extract.is_empty() {
            let body = body_text(&row.record.body);
            for pattern in extract {
                let Some(captures) = pattern.captures(&body) else { continue };
                for name in pattern.capture_names().flatten() {
                    if let Some(value) = captures.name(name) {
                        // For each name the first pattern that has it wins.
                        extracted.entry(name).or_insert_with(|| bounded(value.as_str()));
                    }
                }
            }
        }
        Self { row, extracted }
    }

    /// A field's value as text of a bounded length; `None`: the record has none.
    pub(crate) fn text(&self, field: &Field) -> Option<String> {
        if let Some(found) = self.extracted.get(field.name.as_str()) {
            return Some(found.clone());
        }
        if field.name == TEMPLATE {
            return template(self.row);
        }
        match self.row.placed().field(&field.field)? {
            ValueRef::Value(value) => text_of(value),
            ValueRef::Text(text) => Some(bounded(&text)),
            ValueRef::Int(number) => Some(number.to_string()),
            ValueRef::Time(time) => Some(time.to_string()),
            ValueRef::Level { text, severity } => {
                Some(bounded(if text.is_empty() { severity.class() } else { text }))
            }
        }
    }

    /// A field's value as a number, if it is one or spells one.
    pub(crate) fn number(&self, field: &Field) -> Option<f64> {
        number(&self.text(field)?)
    }

    /// Does a query match it, too?
    pub(crate) fn matches(&self, query: &Filter) -> bool {
        query.matches(&self.row.placed())
    }

    /// The values of these fields; one that the record lacks is absent.
    pub(crate) fn group(&self, fields: &[Field]) -> BTreeMap<String, String> {
        fields.iter().filter_map(|field| Some((field.name.clone(), self.text(field)?))).collect()
    }
}

/// A value as text of a bounded length; `None`: it is none.
pub(crate) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) | Value::Text(text) => Some(bounded(text)),
        value => Some(bounded(&value.to_string())),
    }
}

/// The number that a text spells.
pub(crate) fn number(text: &str) -> Option<f64> {
    match Number::parse(text.trim())? {
        Number::Int(number) => Some(number as f64),
        Number::Double(number) => Some(number),
    }
}

/// The template of a record's line, as searches show it before masks are merged.
fn template(row: &Row) -> Option<String> {
    match &row.record.body {
        Value::String(line) | Value::Text(line) => {
            let mut scan = Scan::default();
            scan.line(line);
            Some(TemplateId::of(scan.mask()).to_string())
        }
        _ => None,
    }
}

pub(crate) fn bounded(value: &str) -> String {
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
