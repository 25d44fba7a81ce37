//! Records as Loki's entries.

use super::names::label_names;
use millrace_filter::value_text;
use millrace_logql::{Entry, Labels, label_name};
use millrace_model::{Attributes, FieldRef, Fields, Row, Severity, StreamName, Value, ValueRef, fields::hex};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// What entries have in common whose labels are the same: the stream, the resource by its place, and the level.
type Same = (StreamName, usize, u8);

/// So many sets of labels are remembered.
const REMEMBERED: usize = 10_000;

/// Makes entries for one query.
#[derive(Debug)]
pub struct Entries {
    /// The labels that the query may name.
    named: BTreeSet<String>,
    /// Those that are short names of fields.
    short: Vec<(String, FieldRef)>,
    known: HashMap<Same, (Arc<Attributes>, Arc<Labels>)>,
}

impl Entries {
    /// For this query.
    pub fn of(query: &str) -> Self {
        let named = label_names(query);
        let short = named.iter().map(|name| (name.clone(), FieldRef::resolve(name)));
        let is_short =
            |field: &FieldRef| matches!(field, FieldRef::Any { aliases, .. } if !aliases.is_empty());
        Self { short: short.filter(|(_, field)| is_short(field)).collect(), named, known: HashMap::new() }
    }

    /// A record as an entry.
    pub fn entry(&mut self, row: &Row) -> Entry {
        let labels = self.labels(row);
        let mut metadata = Labels::new();
        let record = &row.record;
        let mut add = |name: String, value: &dyn Fn() -> Option<String>| {
            if self.named.contains(&name)
                && let Some(value) = value()
            {
                metadata.insert(name, value);
            }
        };
        for (name, value) in record.attributes.iter() {
            add(label_name(name), &|| label_value(value));
        }
        for (name, id) in
            [("trace_id", record.trace_id.map(|id| hex(&id))), ("span_id", record.span_id.map(|id| hex(&id)))]
        {
            add(name.to_owned(), &|| id.clone());
        }
        add("detected_level".to_owned(), &|| Some(level_of(record.severity).unwrap_or("unknown").to_owned()));
        for (name, field) in &self.short {
            if !metadata.contains_key(name)
                && !labels.contains_key(name)
                && let Some(ValueRef::Value(value)) = record.field(field)
                && let Some(value) = label_value(value)
            {
                metadata.insert(name.clone(), value);
            }
        }
        Entry::new(row.time.0, value_text(&record.body).into_owned(), labels, metadata)
    }

    /// The labels of a record's stream.
    pub fn labels(&mut self, row: &Row) -> Arc<Labels> {
        let resource = &row.record.resource;
        // The resource is kept with them: its place is nobody else's meanwhile.
        let key = (row.stream.clone(), Arc::as_ptr(resource) as usize, row.record.severity.number());
        if let Some((_, labels)) = self.known.get(&key) {
            return Arc::clone(labels);
        }
        let mut labels = Labels::new();
        let told = resource.iter().filter_map(|(name, value)| Some((label_name(name), label_value(value)?)));
        labels.extend(told);
        labels.insert("stream".to_owned(), row.stream.as_str().to_owned());
        if let Some(level) = level_of(row.record.severity) {
            labels.insert("level".to_owned(), level.to_owned());
        }
        let labels = Arc::new(labels);
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        self.known.insert(key, (Arc::clone(resource), Arc::clone(&labels)));
        labels
    }
}

/// A level as Loki has it.
pub(super) fn level_of(severity: Severity) -> Option<&'static str> {
    match severity.class() {
        "" => None,
        class => Some(class),
    }
}

/// A field's value as a label's; `None`: it cannot be one.
pub(super) fn label_value(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Array(_) | Value::Map(_) => None,
        other => Some(value_text(other).into_owned()).filter(|text| !text.is_empty()),
    }
}
