//! How a field's name finds its value, the same for every evaluator: reserved names, `attributes.` and `resource.`
//! paths, and plain names that look in attributes, then in the resource, then under their aliases.

use crate::{Attributes, LogRecord, RecordId, Row, Severity, StreamName, Timestamp, Value};

/// A field's name, resolved once when a query is read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FieldRef {
    /// The line.
    Body,
    /// The level: name and number together.
    Level,
    /// OpenTelemetry's severity number alone.
    SeverityNumber,
    /// The record's time.
    Timestamp,
    /// When it was observed.
    ObservedTimestamp,
    /// W3C trace id, in hexadecimal.
    TraceId,
    /// W3C span id, in hexadecimal.
    SpanId,
    /// `_id`.
    Id,
    /// `_source`.
    Source,
    /// `_position`.
    Position,
    /// `_stream`.
    Stream,
    /// `_attribute_names`: which attributes there are, as [`names`] has them.
    AttributeNames,
    /// `_resource_names`: the same of the resource.
    ResourceNames,
    /// A dotted path in the resource.
    Resource(String),
    /// A dotted path in the attributes.
    Attribute(String),
    /// A plain name: attributes, resource, then the alias's paths, each in both; the first that is there wins.
    Any {
        /// As written.
        path: String,
        /// The conventional paths that the name stands for.
        aliases: &'static [&'static str],
    },
}

/// Short names that people type, and the conventional paths that they stand for (OpenTelemetry first, then ECS).
const ALIASES: &[(&str, &[&str])] = &[
    ("host", &["host.name", "hostname", "agent.hostname"]),
    ("hostname", &["host.name", "host"]),
    ("service", &["service.name", "SYSLOG_IDENTIFIER", "container.name"]),
    ("file", &["log.file.path", "log.file.name", "filename"]),
    ("pid", &["process.pid", "_PID", "syslog.procid"]),
    ("unit", &["systemd.unit", "_SYSTEMD_UNIT"]),
    ("logger", &["log.logger", "logger_name"]),
    ("thread", &["thread.name", "process.thread.name"]),
    ("client_ip", &["client.address", "client.ip", "source.ip"]),
    ("status", &["http.response.status_code", "http.status_code"]),
    ("method", &["http.request.method", "http.method"]),
    ("user", &["user.name", "enduser.id"]),
    ("path", &["url.path", "url.original"]),
    ("bytes", &["http.response.body.size", "http.response.body.bytes"]),
    ("user_agent", &["user_agent.original"]),
    ("referer", &["http.request.header.referer", "http.request.referrer"]),
];

impl FieldRef {
    /// Resolves a name as written in a query. Never fails: an unknown name is a path that may be in some record.
    pub fn resolve(name: &str) -> Self {
        match name {
            "body" | "message" | "msg" => Self::Body,
            "level" | "severity" | "severity_text" | "log.level" => Self::Level,
            "severity_number" => Self::SeverityNumber,
            "timestamp" | "@timestamp" | "_time" => Self::Timestamp,
            "observed_timestamp" => Self::ObservedTimestamp,
            "trace_id" | "trace" | "trace.id" | "traceId" => Self::TraceId,
            "span_id" | "span" | "span.id" | "spanId" => Self::SpanId,
            "_id" => Self::Id,
            "_source" => Self::Source,
            "_position" => Self::Position,
            "_stream" | "stream" => Self::Stream,
            "_attribute_names" => Self::AttributeNames,
            "_resource_names" => Self::ResourceNames,
            _ => {
                if let Some(path) = name.strip_prefix("attributes.") {
                    Self::Attribute(path.to_owned())
                } else if let Some(path) = name.strip_prefix("resource.") {
                    Self::Resource(path.to_owned())
                } else {
                    let aliases =
                        ALIASES.iter().find(|(alias, _)| *alias == name).map_or(&[][..], |(_, p)| p);
                    Self::Any { path: name.to_owned(), aliases }
                }
            }
        }
    }

    /// The paths under which attributes or the resource may hold the field, best first; empty for reserved names.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let (first, aliases) = match self {
            Self::Resource(path) | Self::Attribute(path) => (Some(path.as_str()), &[][..]),
            Self::Any { path, aliases } => (Some(path.as_str()), *aliases),
            _ => (None, &[][..]),
        };
        first.into_iter().chain(aliases.iter().copied())
    }

    /// The value that this field has in `attributes` and `resource`, for the three path-like kinds.
    fn look_up<'a>(&self, attributes: &'a Attributes, resource: &'a Attributes) -> Option<&'a Value> {
        match self {
            Self::Attribute(path) => attributes.at(path),
            Self::Resource(path) => resource.at(path),
            _ => self.paths().find_map(|path| attributes.at(path).or_else(|| resource.at(path))),
        }
    }
}

/// A field's value, borrowed.
#[derive(Debug, Clone, PartialEq)]
pub enum ValueRef<'a> {
    /// A value out of body, attributes or resource.
    Value(&'a Value),
    /// Text made for the question (ids).
    Text(String),
    /// A number that is no attribute.
    Int(i64),
    /// A time.
    Time(Timestamp),
    /// A level, by name and number.
    Level {
        /// As the record spells it.
        text: &'a str,
        /// Its number.
        severity: Severity,
    },
}

/// What a predicate can ask of anything that is shaped like a record.
pub trait Fields {
    /// The value of a field, `None` where the record does not have it.
    fn field(&self, field: &FieldRef) -> Option<ValueRef<'_>>;
    /// The body, for bare words.
    fn body(&self) -> &Value;
}

/// Names as one text: a JSON array. Those inside of maps are not among them.
pub fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    serde_json::to_string(&names.collect::<Vec<_>>()).unwrap_or_default()
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// A record that is not in its place yet (rules on the stream): the fields of place are absent.
impl Fields for LogRecord {
    fn field(&self, field: &FieldRef) -> Option<ValueRef<'_>> {
        match field {
            FieldRef::Body => (self.body != Value::Null).then_some(ValueRef::Value(&self.body)),
            FieldRef::Level => (!self.severity_text.is_empty() || self.severity != Severity::UNKNOWN)
                .then_some(ValueRef::Level { text: &self.severity_text, severity: self.severity }),
            FieldRef::SeverityNumber => {
                (self.severity != Severity::UNKNOWN).then(|| ValueRef::Int(self.severity.number().into()))
            }
            FieldRef::Timestamp => Some(ValueRef::Time(self.time())),
            FieldRef::ObservedTimestamp => Some(ValueRef::Time(self.observed_timestamp)),
            FieldRef::TraceId => self.trace_id.map(|id| ValueRef::Text(hex(&id))),
            FieldRef::SpanId => self.span_id.map(|id| ValueRef::Text(hex(&id))),
            FieldRef::AttributeNames => {
                Some(ValueRef::Text(names(self.attributes.iter().map(|(name, _)| name))))
            }
            FieldRef::ResourceNames => {
                Some(ValueRef::Text(names(self.resource.iter().map(|(name, _)| name))))
            }
            FieldRef::Id | FieldRef::Source | FieldRef::Position | FieldRef::Stream => None,
            path => path.look_up(&self.attributes, &self.resource).map(ValueRef::Value),
        }
    }

    fn body(&self) -> &Value {
        &self.body
    }
}

/// A record in its place, borrowed part by part.
#[derive(Debug, Clone, Copy)]
pub struct Placed<'a> {
    /// Its id.
    pub id: RecordId,
    /// Its stream.
    pub stream: &'a StreamName,
    /// Where it is sorted.
    pub time: Timestamp,
    /// The record.
    pub record: &'a LogRecord,
}

impl Fields for Placed<'_> {
    fn field(&self, field: &FieldRef) -> Option<ValueRef<'_>> {
        match field {
            FieldRef::Timestamp => Some(ValueRef::Time(self.time)),
            FieldRef::Id => Some(ValueRef::Text(self.id.to_string())),
            FieldRef::Source => Some(ValueRef::Text(self.id.source.to_string())),
            FieldRef::Position => Some(ValueRef::Int(self.id.position as i64)),
            FieldRef::Stream => Some(ValueRef::Text(self.stream.as_str().to_owned())),
            other => self.record.field(other),
        }
    }

    fn body(&self) -> &Value {
        &self.record.body
    }
}

impl Row {
    /// The row as predicates see it.
    pub fn placed(&self) -> Placed<'_> {
        Placed { id: self.id, stream: &self.stream, time: self.time, record: &self.record }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn plain_names_look_in_attributes_then_resource_then_aliases() {
        let mut record = LogRecord::default();
        let mut resource = Attributes::new();
        resource.set("host.name", "web1");
        resource.set("region", "eu");
        record.resource = Arc::new(resource);
        record.attributes.set("region", "us");

        let text = |record: &LogRecord, name: &str| match record.field(&FieldRef::resolve(name)) {
            Some(ValueRef::Value(value)) => Some(value.to_string()),
            _ => None,
        };
        assert_eq!(text(&record, "host").as_deref(), Some("web1"));
        assert_eq!(text(&record, "region").as_deref(), Some("us"));
        assert_eq!(text(&record, "resource.region").as_deref(), Some("eu"));
        assert_eq!(text(&record, "attributes.host.name"), None);
    }
}
