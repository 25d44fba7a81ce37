//! What Loki's clients push: `POST /loki/api/v1/push`, JSON, or protobuf packed with Snappy as Promtail and Alloy send it.
//!
//! Of a stream's labels `host`, `hostname` and `service_name` are said by OpenTelemetry's names, a level is the record's, all others
//! are the resource's as they are; structured metadata are attributes.

use super::pushed::{Encoded, Inlet, Later};
use crate::settings::of_this_host_as;
use axum::{
    extract::Request,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use millrace_intake::{Parser, Parsers};
use millrace_listen::{RETRY_AFTER, Received, Turned, beside, receive};
use millrace_model::{Attributes, LogRecord, Severity, StreamName, Timestamp};
use prost::Message;
use serde::Deserialize;
use std::{collections::BTreeMap, fmt::Display, sync::Arc};

/// Loki's own names, and what they are called here.
const NAMES: [(&str, &str); 3] =
    [("host", "host.name"), ("hostname", "host.name"), ("service_name", "service.name")];
const LEVELS: [&str; 3] = ["level", "detected_level", "severity"];

/// `logproto.PushRequest`.
#[derive(Clone, PartialEq, Message)]
struct PushRequest {
    #[prost(message, repeated, tag = "1")]
    streams: Vec<StreamAdapter>,
}

/// `logproto.StreamAdapter`.
#[derive(Clone, PartialEq, Message)]
struct StreamAdapter {
    #[prost(string, tag = "1")]
    labels: String,
    #[prost(message, repeated, tag = "2")]
    entries: Vec<EntryAdapter>,
}

/// `logproto.EntryAdapter`.
#[derive(Clone, PartialEq, Message)]
struct EntryAdapter {
    #[prost(message, optional, tag = "1")]
    timestamp: Option<PushedTime>,
    #[prost(string, tag = "2")]
    line: String,
    #[prost(message, repeated, tag = "3")]
    structured_metadata: Vec<LabelPair>,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct PushedTime {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// `logproto.LabelPairAdapter`.
#[derive(Clone, PartialEq, Eq, Message)]
struct LabelPair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// The same request as JSON.
#[derive(Debug, Deserialize)]
struct PushJson {
    streams: Vec<StreamJson>,
}

#[derive(Debug, Deserialize)]
struct StreamJson {
    stream: BTreeMap<String, String>,
    values: Vec<EntryJson>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum EntryJson {
    Plain(String, String),
    WithMetadata(String, String, BTreeMap<String, String>),
}

/// An entry of a stream.
struct Entry<'a> {
    time: Timestamp,
    line: &'a str,
    metadata: Vec<(&'a str, &'a str)>,
}

/// Takes a request in.
pub(crate) async fn push(inlet: Inlet, max_body: usize, stream: StreamName, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let kind =
        parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_json = kind.starts_with("application/json");
    let reading = inlet.clone();
    let read = async {
        let received = receive(&parts.headers, body, max_body).await?;
        beside(move || {
            let records = if is_json {
                of_json(&reading, received)?
            } else {
                of_protobuf(&reading, received, max_body)?
            };
            Ok(Encoded::in_stream(records, &stream))
        })
        .await
    };
    let records = match read.await {
        Ok(records) => records,
        Err(turned) => {
            inlet.rejected(turned.code);
            return turned.into_response();
        }
    };
    match inlet.put(records).await {
        Ok(_) => StatusCode::NO_CONTENT.into_response(),
        Err(later) => later.into_response(),
    }
}

impl IntoResponse for Later {
    fn into_response(self) -> Response {
        let turned = Turned::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", self.0);
        ([(header::RETRY_AFTER, RETRY_AFTER.to_string())], turned).into_response()
    }
}

fn undecodable(why: impl Display) -> Turned {
    Turned::new(StatusCode::BAD_REQUEST, "undecodable", why.to_string())
}

fn of_json(inlet: &Inlet, received: Received) -> Result<Vec<LogRecord>, Turned> {
    let plain = received.plain()?;
    let request: PushJson = serde_json::from_slice(&plain).map_err(undecodable)?;
    let mut records = Vec::new();
    for pushed in &request.streams {
        let labels = pushed.stream.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let labels = Labels::of(labels);
        for value in &pushed.values {
            let (time, line, metadata) = match value {
                EntryJson::Plain(time, line) => (time, line, None),
                EntryJson::WithMetadata(time, line, metadata) => (time, line, Some(metadata)),
            };
            let wrong = || undecodable(format!("{time:?} is no time: nanoseconds since the epoch expected"));
            let time = Timestamp(time.parse().map_err(|_| wrong())?);
            let metadata =
                metadata.into_iter().flatten().map(|(name, value)| (name.as_str(), value.as_str()));
            records.push(labels.record(inlet, &Entry { time, line, metadata: metadata.collect() }));
        }
    }
    Ok(records)
}

fn of_protobuf(inlet: &Inlet, received: Received, max_body: usize) -> Result<Vec<LogRecord>, Turned> {
    let packed = received.plain()?;
    let length = snap::raw::decompress_len(&packed).map_err(undecodable)?;
    if length > max_body {
        let why = format!("a request may have {max_body} bytes, unpacked (max_body)");
        return Err(Turned::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", why));
    }
    let plain = snap::raw::Decoder::new().decompress_vec(&packed).map_err(undecodable)?;
    let request = PushRequest::decode(plain.as_slice()).map_err(undecodable)?;
    let mut records = Vec::new();
    for pushed in &request.streams {
        let labels = read_labels(&pushed.labels)
            .ok_or_else(|| undecodable(format!("{:?} are no labels", pushed.labels)))?;
        let labels = Labels::of(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        for entry in &pushed.entries {
            let time = entry.timestamp.unwrap_or_default();
            let time =
                Timestamp(time.seconds.saturating_mul(1_000_000_000).saturating_add(time.nanos.into()));
            let metadata = entry.structured_metadata.iter();
            let metadata = metadata.map(|pair| (pair.name.as_str(), pair.value.as_str())).collect();
            records.push(labels.record(inlet, &Entry { time, line: &entry.line, metadata }));
        }
    }
    Ok(records)
}

/// `{name="value", …}`, values as Go quotes them.
fn read_labels(text: &str) -> Option<Vec<(String, String)>> {
    let mut rest = text.trim().strip_prefix('{')?.trim_start();
    let mut labels = Vec::new();
    while !rest.starts_with('}') {
        let (name, after) = rest.split_once('=')?;
        let mut characters = after.trim_start().strip_prefix('"')?.char_indices();
        let (mut value, mut end) = (String::new(), None);
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    end = Some(at + 1);
                    break;
                }
                '\\' => match characters.next()?.1 {
                    'n' => value.push('\n'),
                    't' => value.push('\t'),
                    'r' => value.push('\r'),
                    other => value.push(other),
                },
                other => value.push(other),
            }
        }
        labels.push((name.trim().to_owned(), value));
        rest = after.trim_start().strip_prefix('"')?[end?..].trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    (rest == "}").then_some(labels)
}

/// What is said of all entries of a stream.
struct Labels {
    resource: Arc<Attributes>,
    level: Option<String>,
    parsers: Parsers,
}

impl Labels {
    fn of<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let (mut resource, mut level) = (Attributes::new(), None);
        for (name, value) in labels {
            if LEVELS.contains(&name) {
                level = Some(value.to_owned());
                continue;
            }
            let known = NAMES.iter().find(|(theirs, _)| *theirs == name);
            resource.set(known.map_or(name, |(_, ours)| *ours), value);
        }
        Self { resource: Arc::new(resource), level, parsers: of_this_host_as(Parser::Auto) }
    }

    fn record(&self, inlet: &Inlet, entry: &Entry<'_>) -> LogRecord {
        let mut record = self.parsers.parse(entry.line.as_bytes(), inlet.clock.now(), &self.resource);
        record.timestamp = Some(entry.time);
        let metadata = entry.metadata.iter();
        let level = metadata.clone().find(|(name, _)| LEVELS.contains(name)).map(|(_, value)| *value);
        if let Some(level) = level.or(self.level.as_deref()).filter(|level| *level != "unknown") {
            level.clone_into(&mut record.severity_text);
            record.severity = Severity::from_name(level).unwrap_or_default();
        }
        for (name, value) in metadata.filter(|(name, _)| !LEVELS.contains(name)) {
            record.attributes.set(*name, *value);
        }
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_as_they_are_quoted() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(read_labels("{}"), Some(Vec::new()));
        assert_eq!(
            read_labels(r#"{job="a b", path="C:\\x\"y\"", n="1\n2"}"#),
            Some(vec![pair("job", "a b"), pair("path", "C:\\x\"y\""), pair("n", "1\n2")])
        );
        for broken in ["", "{", "{a}", "{a=b}", "{a=\"b}", "{a=\"b\"} x", "{a=\"\\"] {
            assert_eq!(read_labels(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_request_is_read_as_its_clients_write_it() {
        let entry = EntryAdapter {
            timestamp: Some(PushedTime { seconds: 1, nanos: 5 }),
            line: "a line".to_owned(),
            structured_metadata: vec![LabelPair { name: "k".to_owned(), value: "v".to_owned() }],
        };
        let stream = StreamAdapter { labels: "{a=\"b\"}".to_owned(), entries: vec![entry] };
        let request = PushRequest { streams: vec![stream] };
        // As `protoc --encode` writes it.
        let bytes =
            b"\n\x21\n\x07{a=\"b\"}\x12\x16\n\x04\x08\x01\x10\x05\x12\x06a line\x1a\x06\n\x01k\x12\x01v";
        assert_eq!(PushRequest::decode(&request.encode_to_vec()[..]), Ok(request.clone()));
        assert_eq!(request.encode_to_vec(), bytes);
    }
}
