//! Which attributes are a record's time, level, trace and span, by the names that loggers use for them. What is
//! understood moves to its place in the record; what is not stays an attribute.

use super::{Reading, time};
use millrace_model::{Attributes, Severity, Timestamp, Value};

/// Best first; of several only the best that can be read is taken.
const TIMESTAMP: &[&str] = &["@timestamp", "timestamp", "timeUnixNano", "time", "ts"];
const SEVERITY_TEXT: &[&str] =
    &["severity_text", "severityText", "level", "log.level", "severity", "levelname", "loglevel", "lvl"];
const SEVERITY_NUMBER: &[&str] = &["severity_number", "severityNumber"];
const TRACE_ID: &[&str] = &["trace_id", "traceId", "trace.id", "traceid", "traceID"];
const SPAN_ID: &[&str] = &["span_id", "spanId", "span.id", "spanid", "spanID"];

/// The longest text that can be a level.
const MAX_LEVEL_BYTES: usize = 32;

/// Moves what `attributes` say of time, level, trace and span into the record, and the rest to its attributes.
pub(super) fn place(mut attributes: Attributes, reading: &mut Reading<'_>) {
    let Reading { record, times } = reading;
    let observed = record.observed_timestamp;
    let read = |value: &Value| timestamp(value, |text| times.read(text, observed));
    let named = times.field.as_deref();
    record.timestamp = named.and_then(|name| take(&mut attributes, &[name], read));
    if record.timestamp.is_none() {
        record.timestamp = take(&mut attributes, TIMESTAMP, read);
    }
    if let Some((text, severity)) = take(&mut attributes, SEVERITY_TEXT, level) {
        record.severity_text = text;
        record.severity = severity;
    }
    if let Some(severity) = take(&mut attributes, SEVERITY_NUMBER, severity_number) {
        record.severity = severity;
    }
    record.trace_id = take(&mut attributes, TRACE_ID, hex_id::<16>);
    record.span_id = take(&mut attributes, SPAN_ID, hex_id::<8>);
    if record.attributes.is_empty() {
        record.attributes = attributes;
    } else {
        // An event within a syslog message.
        for (name, value) in attributes.iter() {
            record.attributes.set(name, value.clone());
        }
    }
}

/// The first of `names` whose value `read` understands; it is taken out. `a.b` is also looked for inside a map `a`.
fn take<T>(attributes: &mut Attributes, names: &[&str], read: impl Fn(&Value) -> Option<T>) -> Option<T> {
    for name in names {
        if let Some(found) = attributes.get(name).and_then(&read) {
            attributes.remove(name);
            return Some(found);
        }
        if let Some((outer, inner)) = name.split_once('.')
            && let Some(Value::Map(map)) = attributes.get(outer)
            && let Some(found) = map.get(inner).and_then(&read)
        {
            let mut map = map.clone();
            map.remove(inner);
            if map.is_empty() {
                attributes.remove(outer);
            } else {
                attributes.set(outer, Value::Map(map));
            }
            return Some(found);
        }
    }
    None
}

fn timestamp(value: &Value, from_text: impl Fn(&str) -> Option<Timestamp>) -> Option<Timestamp> {
    match value {
        Value::String(text) => from_text(text),
        Value::Int(number) => time::from_epoch(*number).or_else(|| from_text(&number.to_string())),
        Value::Double(number) => time::from_fraction(*number),
        _ => None,
    }
}

/// Does a field of this name hold an id, which is text even if it has digits alone?
pub(super) fn is_id(name: &str) -> bool {
    TRACE_ID.contains(&name) || SPAN_ID.contains(&name)
}

/// A text stays as it is spelled, whether it is known or not. The numbers are those of pino and bunyan.
fn level(value: &Value) -> Option<(String, Severity)> {
    match value {
        Value::String(text) if !text.is_empty() && text.len() <= MAX_LEVEL_BYTES => {
            Some((text.clone(), Severity::from_name(text).unwrap_or_default()))
        }
        Value::Int(number @ (10 | 20 | 30 | 40 | 50 | 60)) => {
            let severity = Severity::from_number((number / 10 - 1) * 4 + 1);
            Some((severity.class().to_owned(), severity))
        }
        _ => None,
    }
}

fn severity_number(value: &Value) -> Option<Severity> {
    match value {
        Value::Int(number @ 1..=24) => Some(Severity::from_number(*number)),
        _ => None,
    }
}

fn hex_id<const N: usize>(value: &Value) -> Option<[u8; N]> {
    let text = value.as_str()?.as_bytes();
    if text.len() != N * 2 {
        return None;
    }
    let mut id = [0; N];
    for (byte, pair) in id.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |b: u8| char::from(b).to_digit(16);
        *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    (id != [0; N]).then_some(id)
}
