//! The reading of OTLP by prost's own types, which the reader is held against.

use crate::{Attributes, LogRecord, Severity, Timestamp, Value};
use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value},
    logs::v1::LogRecord as OtlpRecord,
};
use prost::Message;
use std::sync::Arc;

pub(super) fn decode(value: &[u8]) -> Option<Vec<LogRecord>> {
    let request = ExportLogsServiceRequest::decode(value).ok()?;
    let mut records = Vec::new();
    for group in request.resource_logs {
        let resource = Arc::new(attributes(group.resource.map(|r| r.attributes).unwrap_or_default()));
        for scope in group.scope_logs {
            let about = scope.scope.unwrap_or_default();
            for record in scope.log_records {
                let mut record = self::record(record, &resource);
                if !about.name.is_empty() {
                    record.attributes.set("otel.scope.name", about.name.as_str());
                }
                if !about.version.is_empty() {
                    record.attributes.set("otel.scope.version", about.version.as_str());
                }
                records.push(record);
            }
        }
    }
    Some(records)
}

fn record(record: OtlpRecord, resource: &Arc<Attributes>) -> LogRecord {
    let time = |nanos: u64| i64::try_from(nanos).ok().filter(|n| *n != 0).map(Timestamp);
    let timestamp = time(record.time_unix_nano);
    let mut attributes = attributes(record.attributes);
    if !record.event_name.is_empty() {
        attributes.set("event.name", record.event_name);
    }
    let severity = match Severity::from_number(record.severity_number.into()) {
        Severity::UNKNOWN => Severity::from_name(&record.severity_text).unwrap_or_default(),
        severity => severity,
    };
    LogRecord {
        timestamp,
        observed_timestamp: time(record.observed_time_unix_nano).or(timestamp).unwrap_or_default(),
        severity,
        severity_text: record.severity_text,
        body: record.body.map(value).unwrap_or_default(),
        resource: Arc::clone(resource),
        attributes,
        trace_id: <[u8; 16]>::try_from(record.trace_id).ok().filter(|id| *id != [0; 16]),
        span_id: <[u8; 8]>::try_from(record.span_id).ok().filter(|id| *id != [0; 8]),
    }
}

fn attributes(list: Vec<KeyValue>) -> Attributes {
    list.into_iter().map(|kv| (kv.key, kv.value.map(value).unwrap_or_default())).collect()
}

fn value(given: AnyValue) -> Value {
    use any_value::Value as Any;
    match given.value {
        Some(Any::BoolValue(value)) => Value::Bool(value),
        Some(Any::IntValue(value)) => Value::Int(value),
        Some(Any::DoubleValue(value)) => Value::Double(value),
        Some(Any::StringValue(text)) => Value::String(text),
        Some(Any::BytesValue(bytes)) => Value::Bytes(bytes),
        Some(Any::ArrayValue(array)) => Value::Array(array.values.into_iter().map(value).collect()),
        Some(Any::KvlistValue(list)) => Value::Map(attributes(list.values)),
        _ => Value::Null,
    }
}
