//! Records to and from OTLP's protobuf. Consecutive records that share a resource share its entry.

use super::{
    DecodeError,
    protobuf::{Fields, Malformed},
};
use crate::{Attributes, LogRecord, Severity, Timestamp, Value};
use bytes::Bytes;
use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsServiceRequest,
    common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList, any_value},
    logs::v1::{LogRecord as OtlpRecord, ResourceLogs, ScopeLogs},
    resource::v1::Resource,
};
use prost::Message;
use std::{mem, sync::Arc};

/// Attributes of OTLP's scope, as they appear among a record's own.
const SCOPE_NAME: &str = "otel.scope.name";
const SCOPE_VERSION: &str = "otel.scope.version";

pub(super) fn encode<'a>(records: impl IntoIterator<Item = &'a LogRecord>) -> Bytes {
    let mut groups: Vec<ResourceLogs> = Vec::new();
    let mut last: Option<&Arc<Attributes>> = None;
    for record in records {
        let same = last
            .is_some_and(|resource| Arc::ptr_eq(resource, &record.resource) || *resource == record.resource);
        if !same {
            groups.push(ResourceLogs {
                resource: Some(Resource {
                    attributes: write_attributes(&record.resource),
                    ..Resource::default()
                }),
                scope_logs: vec![ScopeLogs::default()],
                ..ResourceLogs::default()
            });
            last = Some(&record.resource);
        }
        if let Some(scope) = groups.last_mut().and_then(|group| group.scope_logs.first_mut()) {
            scope.log_records.push(write_record(record));
        }
    }
    ExportLogsServiceRequest { resource_logs: groups }.encode_to_vec().into()
}

/// Reads the protobuf in place: its messages are not built only to be taken apart.
pub(super) fn decode(value: &[u8]) -> Result<Vec<LogRecord>, DecodeError> {
    let mut records = Vec::new();
    match read_request(value, &mut records) {
        Ok(()) => Ok(records),
        Err(problem) => Err(DecodeError::Value(problem.to_string())),
    }
}

/// Reads OTLP's JSON: as the library has it, which gives the protobuf that is read as any.
pub(super) fn decode_json(text: &[u8]) -> Result<Vec<LogRecord>, DecodeError> {
    let request: ExportLogsServiceRequest =
        serde_json::from_slice(text).map_err(|error| DecodeError::Value(error.to_string()))?;
    decode(&request.encode_to_vec())
}

fn read_request(value: &[u8], records: &mut Vec<LogRecord>) -> Result<(), Malformed> {
    let mut fields = Fields::of(value);
    while let Some((number, field)) = fields.next()? {
        if number == 1 {
            read_group(fields.inner(field)?, records)?;
        }
    }
    Ok(())
}

/// `ResourceLogs`. The order of fields is nobody's promise, so what is said of all records is read first.
fn read_group(group: Fields<'_>, records: &mut Vec<LogRecord>) -> Result<(), Malformed> {
    let (mut resource, mut fields) = (Entries::new(), group);
    while let Some((number, field)) = fields.next()? {
        if number == 1 {
            let mut inner = fields.inner(field)?;
            while let Some((number, field)) = inner.next()? {
                if number == 1 {
                    resource.push(read_entry(inner.inner(field)?)?);
                }
            }
        }
    }
    let (resource, mut fields) = (Arc::new(resource.into_iter().collect()), group);
    while let Some((number, field)) = fields.next()? {
        if number == 2 {
            read_scope(fields.inner(field)?, &resource, records)?;
        }
    }
    Ok(())
}

/// `ScopeLogs`.
fn read_scope(
    scope: Fields<'_>,
    resource: &Arc<Attributes>,
    records: &mut Vec<LogRecord>,
) -> Result<(), Malformed> {
    let (mut name, mut version, mut fields) = ("", "", scope);
    while let Some((number, field)) = fields.next()? {
        if number == 1 {
            let mut inner = fields.inner(field)?;
            while let Some((number, field)) = inner.next()? {
                match number {
                    1 => name = field.text()?,
                    2 => version = field.text()?,
                    _ => {}
                }
            }
        }
    }
    let (mut attributes, mut fields) = (0, scope);
    while let Some((number, field)) = fields.next()? {
        if number == 2 {
            let mut record = read_record(fields.inner(field)?, resource, attributes)?;
            attributes = record.attributes.len();
            if !name.is_empty() {
                record.attributes.set(SCOPE_NAME, name);
            }
            if !version.is_empty() {
                record.attributes.set(SCOPE_VERSION, version);
            }
            records.push(record);
        }
    }
    Ok(())
}

/// A record, of perhaps so many attributes.
fn read_record(
    mut fields: Fields<'_>,
    resource: &Arc<Attributes>,
    attributes: usize,
) -> Result<LogRecord, Malformed> {
    let time = |nanos: u64| i64::try_from(nanos).ok().filter(|n| *n != 0).map(Timestamp);
    let mut record = LogRecord { resource: Arc::clone(resource), ..LogRecord::default() };
    let (mut observed, mut severity, mut event) = (None, 0, "");
    let mut entries = Entries::with_capacity(attributes);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => record.timestamp = time(field.fixed64()?),
            2 => severity = field.varint()? as i32,
            3 => field.text()?.clone_into(&mut record.severity_text),
            5 => read_value(fields.inner(field)?, &mut record.body)?,
            6 => entries.push(read_entry(fields.inner(field)?)?),
            9 => record.trace_id = field.bytes()?.try_into().ok().filter(|id| *id != [0; 16]),
            10 => record.span_id = field.bytes()?.try_into().ok().filter(|id| *id != [0; 8]),
            11 => observed = time(field.fixed64()?),
            12 => event = field.text()?,
            _ => {}
        }
    }
    // A producer that forgot it leaves the record's own time; 0 is seen to by whoever takes the message in.
    record.observed_timestamp = observed.or(record.timestamp).unwrap_or_default();
    record.severity = match Severity::from_number(severity.into()) {
        Severity::UNKNOWN => Severity::from_name(&record.severity_text).unwrap_or_default(),
        severity => severity,
    };
    record.attributes = entries.into_iter().collect();
    if !event.is_empty() {
        record.attributes.set("event.name", event);
    }
    Ok(record)
}

type Entries = Vec<(String, Value)>;

fn read_entry(mut fields: Fields<'_>) -> Result<(String, Value), Malformed> {
    let (mut key, mut value) = ("", Value::Null);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => key = field.text()?,
            2 => read_value(fields.inner(field)?, &mut value)?,
            _ => {}
        }
    }
    Ok((key.to_owned(), value))
}

/// `AnyValue`. A list that is given in parts is put together, as protobuf wants it; of all else the last counts.
fn read_value(mut fields: Fields<'_>, value: &mut Value) -> Result<(), Malformed> {
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => *value = Value::from(field.text()?),
            2 => *value = Value::Bool(field.varint()? != 0),
            3 => *value = Value::Int(field.varint()? as i64),
            4 => *value = Value::Double(f64::from_bits(field.fixed64()?)),
            5 => {
                let mut values =
                    if let Value::Array(values) = mem::take(value) { values } else { Vec::new() };
                let mut inner = fields.inner(field)?;
                while let Some((number, field)) = inner.next()? {
                    if number == 1 {
                        let mut value = Value::Null;
                        read_value(inner.inner(field)?, &mut value)?;
                        values.push(value);
                    }
                }
                *value = Value::Array(values);
            }
            6 => {
                let before =
                    if let Value::Map(before) = mem::take(value) { before } else { Attributes::new() };
                let mut entries: Entries = before.into_iter().collect();
                let mut inner = fields.inner(field)?;
                while let Some((number, field)) = inner.next()? {
                    if number == 1 {
                        entries.push(read_entry(inner.inner(field)?)?);
                    }
                }
                *value = Value::Map(entries.into_iter().collect());
            }
            7 => *value = Value::Bytes(field.bytes()?.to_vec()),
            // A reference into a table of texts, which only profiles have.
            8 => *value = Value::Null,
            _ => {}
        }
    }
    Ok(())
}

fn write_record(record: &LogRecord) -> OtlpRecord {
    OtlpRecord {
        time_unix_nano: record.timestamp.map_or(0, |time| time.0 as u64),
        observed_time_unix_nano: record.observed_timestamp.0 as u64,
        severity_number: record.severity.number().into(),
        severity_text: record.severity_text.clone(),
        body: Some(write_value(&record.body)),
        attributes: write_attributes(&record.attributes),
        trace_id: record.trace_id.map(Vec::from).unwrap_or_default(),
        span_id: record.span_id.map(Vec::from).unwrap_or_default(),
        ..OtlpRecord::default()
    }
}

fn write_attributes(attributes: &Attributes) -> Vec<KeyValue> {
    attributes
        .iter()
        .map(|(key, value)| KeyValue {
            key: key.to_owned(),
            value: Some(write_value(value)),
            ..KeyValue::default()
        })
        .collect()
}

fn write_value(value: &Value) -> AnyValue {
    use any_value::Value as Any;
    AnyValue {
        value: match value {
            Value::Null => None,
            Value::Bool(value) => Some(Any::BoolValue(*value)),
            Value::Int(value) => Some(Any::IntValue(*value)),
            Value::Double(value) => Some(Any::DoubleValue(*value)),
            Value::String(text) | Value::Text(text) => Some(Any::StringValue(text.clone())),
            Value::Bytes(bytes) => Some(Any::BytesValue(bytes.clone())),
            Value::Array(values) => {
                Some(Any::ArrayValue(ArrayValue { values: values.iter().map(write_value).collect() }))
            }
            Value::Map(map) => Some(Any::KvlistValue(KeyValueList { values: write_attributes(map) })),
        },
    }
}
