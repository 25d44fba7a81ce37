//! A document becomes a record: its line is the body, what it says is attributes, as its index's mapping has it.
//!
//! Objects of an array are taken apart, as Elasticsearch does: `a: [{b: 1}, {b: 2}]` is `a: {b: [1, 2]}`. What is null or empty is
//! not there.

use super::{Kind, Mapping, Stored};
use crate::{Error, Zone, date::Format, json::scalar};
use millrace_model::{Attributes, LogRecord, Severity, Timestamp, Value, declared};
use serde_json::Value as Json;

/// How deep documents may nest.
pub const MAX_DEPTH: usize = 20;

/// Attributes under which documents say how bad things are.
const LEVELS: [&str; 4] = ["log.level", "level", "severity", "severity_text"];

/// The record of a document; `line` is the document as it was sent. When it was observed is for the caller to say.
///
/// # Errors
/// A value is not of its field's type.
pub fn record_of(mapping: &Mapping, line: &str, document: &Json) -> Result<LogRecord, Error> {
    let Json::Object(entries) = document else { return Err(Error::document("a document is an object")) };
    let mut attributes = Attributes::new();
    for (name, value) in entries {
        place(mapping, &mut attributes, name, name, value, 0)?;
    }
    let timestamp = match entries.get("@timestamp") {
        Some(value) => Some(Timestamp(time(mapping, value)?)),
        None => None,
    };
    let mut record = LogRecord { timestamp, body: Value::from(line), ..LogRecord::default() };
    let level = LEVELS.iter().find_map(|name| attributes.at(name)).and_then(Value::as_str);
    if let Some(level) = level.filter(|level| level.len() <= 32) {
        level.clone_into(&mut record.severity_text);
        record.severity = Severity::from_name(level).unwrap_or_default();
    }
    record.attributes = attributes;
    Ok(record)
}

fn time(mapping: &Mapping, value: &Json) -> Result<i64, Error> {
    let standard = Format::standard();
    let format = mapping.timestamp_format().unwrap_or(&standard);
    read_time("@timestamp", value, format)
}

fn read_time(path: &str, value: &Json, format: &Format) -> Result<i64, Error> {
    if let Some(at) = value.as_i64().and_then(|number| format.read_number(number)) {
        return Ok(at);
    }
    let text = scalar(value).unwrap_or_default();
    // Times of documents may be cut by fractions of a millisecond that are written with a number.
    let whole = text.strip_suffix(".0").unwrap_or(&text);
    format.read(whole, Zone::UTC, false).map_err(|error| failed(path, "date", value).caused(error))
}

impl Error {
    fn caused(self, cause: Self) -> Self {
        Self { cause: Some(Box::new(cause)), ..self }
    }
}

fn failed(path: &str, kind: &str, value: &Json) -> Error {
    let shown: String = scalar(value).unwrap_or_else(|| value.to_string()).chars().take(100).collect();
    Error::document(format!(
        "failed to parse field [{path}] of type [{kind}] in document. Preview of field's value: '{shown}'"
    ))
}

/// Puts a value where its name says. Objects of arrays add to what is there.
fn place(
    mapping: &Mapping,
    into: &mut Attributes,
    name: &str,
    path: &str,
    value: &Json,
    depth: usize,
) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(Error::document(format!(
            "The depth of the field has exceeded the allowed limit of [{MAX_DEPTH}]"
        )));
    }
    match value {
        Json::Null => Ok(()),
        _ if mapping.is_disabled(path) => Ok(()),
        Json::Object(entries) => {
            if mapping.declared(path).is_some_and(|kind| *kind != Kind::Object && *kind != Kind::Unknown) {
                return Err(failed(path, mapping.declared(path).map_or("", Kind::name), value));
            }
            let mut inner = match into.remove(name) {
                Some(Value::Map(inner)) => inner,
                Some(other) => {
                    into.push(name.to_owned(), other);
                    return Ok(());
                }
                None => Attributes::new(),
            };
            for (name, value) in entries {
                place(mapping, &mut inner, name, &format!("{path}.{name}"), value, depth + 1)?;
            }
            if !inner.is_empty() {
                into.push(name.to_owned(), Value::Map(inner));
            }
            Ok(())
        }
        Json::Array(values) => {
            values.iter().try_for_each(|value| place(mapping, into, name, path, value, depth + 1))
        }
        scalar => {
            if mapping.refuses(path) {
                let reason =
                    format!("mapping set to strict, dynamic introduction of [{path}] is not allowed");
                return Err(Error { kind: "strict_dynamic_mapping_exception", ..Error::document(reason) });
            }
            let value = value_of(mapping.declared(path), path, scalar)?;
            match into.remove(name) {
                None => into.push(name.to_owned(), value),
                Some(Value::Array(mut values)) => {
                    values.push(value);
                    into.push(name.to_owned(), Value::Array(values));
                }
                Some(map @ Value::Map(_)) => into.push(name.to_owned(), map),
                Some(other) => into.push(name.to_owned(), Value::Array(vec![other, value])),
            }
            Ok(())
        }
    }
}

fn plain(value: &Json) -> Value {
    match value {
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::Int(whole),
            None => number.as_f64().map_or(Value::Null, Value::Double),
        },
        Json::String(text) => Value::String(text.clone()),
        _ => Value::Null,
    }
}

/// A value as its field keeps it.
fn value_of(kind: Option<&Kind>, path: &str, value: &Json) -> Result<Value, Error> {
    let number = |name: &str| match value {
        Json::Number(_) => Ok(plain(value)),
        Json::String(text) => match millrace_model::Number::parse(text.trim()) {
            Some(millrace_model::Number::Int(whole)) => Ok(Value::Int(whole)),
            Some(millrace_model::Number::Double(number)) => Ok(Value::Double(number)),
            None => Err(failed(path, name, value)),
        },
        _ => Err(failed(path, name, value)),
    };
    match kind {
        Some(Kind::Date { stored, format }) => {
            let at = read_time(path, value, format)?;
            Ok(Value::Int(if *stored == Stored::Time { at } else { at.div_euclid(stored.unit()) }))
        }
        Some(Kind::Long) => number("long"),
        Some(Kind::Double) => number("double"),
        Some(Kind::Boolean) => match scalar(value).as_deref() {
            Some("true") => Ok(Value::Bool(true)),
            Some("false" | "") => Ok(Value::Bool(false)),
            _ => Err(failed(path, "boolean", value)),
        },
        Some(Kind::Ip) => {
            let address = value.as_str().and_then(declared::address);
            address.map(Value::String).ok_or_else(|| failed(path, "ip", value))
        }
        Some(Kind::Text | Kind::Keyword { .. }) => Ok(scalar(value).map_or(Value::Null, Value::String)),
        _ => Ok(plain(value)),
    }
}
