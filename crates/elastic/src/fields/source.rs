//! A record becomes a document: the line that was sent, where it is one, else what ECS would make of it. And which parts of it are
//! shown.

use crate::{
    Error, Wildcard, Zone,
    date::Format,
    json::{Object, Style, texts},
};
use millrace_model::{Attributes, Row, Value, fields::hex};
use serde_json::{Map, Value as Json, json};

/// The document of a record. Of an index of documents it is the document that was sent and nothing else.
pub fn source_of(row: &Row, is_document: bool) -> Json {
    let record = &row.record;
    let sent = record.body.as_str().filter(|line| line.trim_start().starts_with('{'));
    let sent = sent.and_then(|line| serde_json::from_str::<Json>(line).ok());
    if let Some(document) = &sent
        && is_document
    {
        return document.clone();
    }
    let is_sent = sent.is_some();
    let mut document = match sent {
        Some(Json::Object(document)) => document,
        _ => Map::new(),
    };
    let time = Format::standard_nanos().write(row.time.0, Zone::UTC);
    document.entry("@timestamp").or_insert_with(|| json!(time));
    if !is_sent {
        document.insert("message".to_owned(), json!(record.body));
        if !record.level().is_empty() {
            nest(&mut document, "log.level", json!(record.level()));
        }
        for (name, id) in [
            ("trace.id", record.trace_id.as_ref().map(|id| hex(id))),
            ("span.id", record.span_id.as_ref().map(|id| hex(id))),
        ] {
            if let Some(id) = id {
                nest(&mut document, name, json!(id));
            }
        }
        spread(&mut document, &record.attributes);
    }
    spread(&mut document, &record.resource);
    Json::Object(document)
}

fn spread(document: &mut Map<String, Json>, attributes: &Attributes) {
    for (name, value) in attributes.iter().filter(|(_, value)| **value != Value::Null) {
        nest(document, name, json!(value));
    }
}

/// Puts `a.b` into the object at `a`; by its whole name where something else is there. What is there stays.
fn nest(document: &mut Map<String, Json>, path: &str, value: Json) {
    let mut at = &mut *document;
    let parts: Vec<&str> = path.split('.').collect();
    let Some((last, outer)) = parts.split_last() else { return };
    let fits = {
        let mut inner = Some(&*at);
        outer.iter().all(|part| match inner.and_then(|map| map.get(*part)) {
            None => {
                inner = None;
                true
            }
            Some(Json::Object(map)) => {
                inner = Some(map);
                true
            }
            Some(_) => false,
        })
    };
    if !fits || parts.len() > 16 || parts.iter().any(|part| part.is_empty()) {
        document.entry(path).or_insert(value);
        return;
    }
    for part in outer {
        let next = at.entry(*part).or_insert_with(|| json!({}));
        let Json::Object(map) = next else { return };
        at = map;
    }
    at.entry(*last).or_insert(value);
}

/// Which parts of documents are shown.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceFilter {
    /// At all.
    pub is_shown: bool,
    includes: Vec<Wildcard>,
    excludes: Vec<Wildcard>,
}

impl Default for SourceFilter {
    fn default() -> Self {
        Self { is_shown: true, includes: Vec::new(), excludes: Vec::new() }
    }
}

impl SourceFilter {
    /// From `_source` of a body.
    pub fn parse(given: &Json) -> Result<Self, Error> {
        let patterns = |names: Vec<String>| names.iter().map(|name| Wildcard::new(name)).collect();
        match given {
            Json::Bool(is_shown) => Ok(Self { is_shown: *is_shown, ..Self::default() }),
            Json::String(text) if text == "true" => Ok(Self::default()),
            Json::String(text) if text == "false" => Ok(Self { is_shown: false, ..Self::default() }),
            Json::String(_) | Json::Array(_) => {
                let names =
                    texts(given).ok_or_else(|| Error::parsing("Expected a list of names in [_source]"))?;
                Ok(Self { includes: patterns(names), ..Self::default() })
            }
            Json::Object(_) => {
                let mut object = Object::of(given, "_source", Style::Content)?;
                let mut names = Vec::new();
                for keys in [["includes", "include"], ["excludes", "exclude"]] {
                    let given = match object.texts(keys[0])? {
                        None => object.texts(keys[1])?,
                        given => {
                            object.ignore(&keys[1..]);
                            given
                        }
                    };
                    names.push(patterns(given.unwrap_or_default()));
                }
                object.finish()?;
                let excludes = names.pop().unwrap_or_default();
                Ok(Self { is_shown: true, includes: names.pop().unwrap_or_default(), excludes })
            }
            _ => Err(Error::parsing(
                "Expected one of [VALUE_BOOLEAN, VALUE_STRING, START_ARRAY, START_OBJECT] in [_source]",
            )),
        }
    }

    /// More, from the parameters `_source_includes` and `_source_excludes`.
    pub fn restrict(&mut self, includes: &[String], excludes: &[String]) {
        self.includes.extend(includes.iter().map(|name| Wildcard::new(name)));
        self.excludes.extend(excludes.iter().map(|name| Wildcard::new(name)));
    }

    /// What of a document is shown; `None`: nothing.
    pub fn apply(&self, document: Json) -> Option<Json> {
        if !self.is_shown {
            return None;
        }
        if self.includes.is_empty() && self.excludes.is_empty() {
            return Some(document);
        }
        Some(self.within(document, "", self.includes.is_empty()).unwrap_or_else(|| json!({})))
    }

    fn within(&self, value: Json, path: &str, included: bool) -> Option<Json> {
        match value {
            Json::Object(entries) => {
                let was_empty = entries.is_empty();
                let kept: Map<String, Json> = entries
                    .into_iter()
                    .filter_map(|(name, value)| {
                        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                        let included = included || self.includes.iter().any(|pattern| pattern.matches(&path));
                        if self.excludes.iter().any(|pattern| pattern.matches(&path)) {
                            return None;
                        }
                        Some((name, self.within(value, &path, included)?))
                    })
                    .collect();
                (included && was_empty || !kept.is_empty()).then_some(Json::Object(kept))
            }
            Json::Array(values) => {
                let kept: Vec<Json> =
                    values.into_iter().filter_map(|value| self.within(value, path, included)).collect();
                (included || !kept.is_empty()).then_some(Json::Array(kept))
            }
            scalar => included.then_some(scalar),
        }
    }
}

/// The values at a dotted path of a document, those of arrays one by one.
pub fn values_at<'d>(document: &'d Json, path: &str) -> Vec<&'d Json> {
    let mut found = Vec::new();
    walk(document, path, &mut found);
    found
}

fn walk<'d>(value: &'d Json, path: &str, found: &mut Vec<&'d Json>) {
    match value {
        Json::Array(values) => values.iter().for_each(|value| walk(value, path, found)),
        Json::Object(map) if !path.is_empty() => {
            // A name may hold dots itself.
            for (name, value) in map {
                if name == path {
                    walk(value, "", found);
                } else if let Some(rest) =
                    path.strip_prefix(name.as_str()).and_then(|rest| rest.strip_prefix('.'))
                {
                    walk(value, rest, found);
                }
            }
        }
        Json::Null => {}
        value if path.is_empty() => found.push(value),
        _ => {}
    }
}

/// The dotted paths of all values of a document that are neither objects nor lists.
pub fn leaves(document: &Json) -> Vec<String> {
    fn visit(value: &Json, path: &str, into: &mut Vec<String>) {
        match value {
            Json::Object(map) => {
                for (name, value) in map {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    visit(value, &path, into);
                }
            }
            Json::Array(values) => values.iter().for_each(|value| visit(value, path, into)),
            Json::Null => {}
            _ if into.iter().any(|known| known == path) => {}
            _ => into.push(path.to_owned()),
        }
    }
    let mut paths = Vec::new();
    visit(document, "", &mut paths);
    paths
}
