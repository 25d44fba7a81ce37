//! Records to and from OTLP's protobuf. Consecutive records that share a resource share its entry.

use super::DecodeError;
use crate::{Attributes, LogRecord, Severity, Timestamp, Value};
use bytes::Bytes;
use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsServiceRequest,
    common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList, any_value},
    logs::v1::{LogRecord as OtlpRecord, ResourceLogs, ScopeLogs},
    resource::v1::Resource,
};
use prost::Message;
use std::sync::Arc;

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

pub(super) fn decode(value: &[u8]) -> Result<Vec<LogRecord>, DecodeError> {
    let request = ExportLogsServiceRequest::decode(value).map_err(|e| DecodeError::Value(e.to_string()))?;
    let mut records = Vec::new();
    for group in request.resource_logs {
        let resource = Arc::new(read_attributes(group.resource.map(|r| r.attributes).unwrap_or_default()));
        for scope in group.scope_logs {
            let about = scope.scope.unwrap_or_default();
            records.reserve(scope.log_records.len());
            for record in scope.log_records {
                let mut record = read_record(record, &resource);
                if !about.name.is_empty() {
                    record.attributes.set(SCOPE_NAME, about.name.as_str());
                }
                if !about.version.is_empty() {
                    record.attributes.set(SCOPE_VERSION, about.version.as_str());
                }
                records.push(record);
            }
        }
    }
    Ok(records)
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

fn read_record(record: OtlpRecord, resource: &Arc<Attributes>) -> LogRecord {
    let time = |nanos: u64| i64::try_from(nanos).ok().filter(|n| *n != 0).map(Timestamp);
    let observed = time(record.observed_time_unix_nano);
    let timestamp = time(record.time_unix_nano);
    let mut attributes = read_attributes(record.attributes);
    if !record.event_name.is_empty() {
        attributes.set("event.name", record.event_name);
    }
    let severity = match Severity::from_number(record.severity_number.into()) {
        Severity::UNKNOWN => Severity::from_name(&record.severity_text).unwrap_or_default(),
        severity => severity,
    };
    LogRecord {
        timestamp,
        // A producer that forgot it leaves the record's own time; 0 is seen to by whoever takes the message in.
        observed_timestamp: observed.or(timestamp).unwrap_or_default(),
        severity,
        severity_text: record.severity_text,
        body: record.body.map(read_value).unwrap_or_default(),
        resource: Arc::clone(resource),
        attributes,
        trace_id: <[u8; 16]>::try_from(record.trace_id).ok().filter(|id| *id != [0; 16]),
        span_id: <[u8; 8]>::try_from(record.span_id).ok().filter(|id| *id != [0; 8]),
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

fn read_attributes(list: Vec<KeyValue>) -> Attributes {
    list.into_iter().map(|kv| (kv.key, kv.value.map(read_value).unwrap_or_default())).collect()
}

fn write_value(value: &Value) -> AnyValue {
    use any_value::Value as Any;
    AnyValue {
        value: match value {
            Value::Null => None,
            Value::Bool(value) => Some(Any::BoolValue(*value)),
            Value::Int(value) => Some(Any::IntValue(*value)),
            Value::Double(value) => Some(Any::DoubleValue(*value)),
            Value::String(text) => Some(Any::StringValue(text.clone())),
            Value::Bytes(bytes) => Some(Any::BytesValue(bytes.clone())),
            Value::Array(values) => {
                Some(Any::ArrayValue(ArrayValue { values: values.iter().map(write_value).collect() }))
            }
            Value::Map(map) => Some(Any::KvlistValue(KeyValueList { values: write_attributes(map) })),
        },
    }
}

fn read_value(value: AnyValue) -> Value {
    use any_value::Value as Any;
    match value.value {
        Some(Any::BoolValue(value)) => Value::Bool(value),
        Some(Any::IntValue(value)) => Value::Int(value),
        Some(Any::DoubleValue(value)) => Value::Double(value),
        Some(Any::StringValue(text)) => Value::String(text),
        Some(Any::BytesValue(bytes)) => Value::Bytes(bytes),
        Some(Any::ArrayValue(array)) => Value::Array(array.values.into_iter().map(read_value).collect()),
        Some(Any::KvlistValue(list)) => Value::Map(read_attributes(list.values)),
        // Nothing, or a reference into a string table, which only profiles have.
        _ => Value::Null,
    }
}
