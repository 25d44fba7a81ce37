//! The bytes on the topic: OTLP in the value, our own facts in the headers.
//!
//! A value is an OTLP `ExportLogsServiceRequest` (opentelemetry-proto, protobuf): one batch of records of one source.
//! Headers carry what OTLP has no place for, under `millrace.version` (format below); a message without that header is
//! a foreign one and is taken as plain OTLP. This is the only module that makes or reads message bytes.
//!
//! Format 1. Texts are ASCII, ids 32 hexadecimal digits.
//!
//! | header | content |
//! |---|---|
//! | `millrace.version` | `1` |
//! | `millrace.stream` | the stream's name |
//! | `millrace.agent`, `.instance`, `.boot` | ids of the sender |
//! | `millrace.epoch` | the sender's epoch, decimal |
//! | `millrace.source` | the source's id |
//! | `millrace.range` | `start-end`, decimal, half open: the bytes that the message accounts for |
//! | `millrace.crc32c` | CRC-32C of those raw bytes, 8 hexadecimal digits |
//! | `millrace.runs` | for each run of the range in order a LEB128 of `length << 1 \| skipped`; a skipped run is followed by one byte, its reason |
//! | `millrace.open` | JSON of [`SourceOpen`], on a source's first message |
//! | `millrace.close` | JSON of [`SourceClose`], on its last |
//! | `millrace.topic` | alone in the first message of each partition: the topic's id |
//!
//! What agents say of themselves in a topic of their own is a [`Heartbeat`]: JSON, under `millrace.heartbeat`.
//!
//! What rules of one partition hand on to those that see all is told with a [`MatchOrigin`], under `millrace.matches`.
//!
//! A dead letter is a message as it came, with the headers of [`Letter`] in front; one that is sent again keeps them.

mod headers;
mod heartbeat;
mod letter;
mod matches;
mod otlp;
mod protobuf;

pub use heartbeat::Heartbeat;
pub use letter::{Letter, dead_letter, letter, reason, revived};
pub use matches::MatchOrigin;

use crate::{AgentId, BootId, InstanceId, LogRecord, SourceId, StreamName, TopicId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The version of the header format that this code writes.
pub const VERSION: u32 = 1;

/// Who sent a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sender {
    /// The agent.
    pub agent: AgentId,
    /// Where its state lives.
    pub instance: InstanceId,
    /// Raised, durably, at each start.
    pub epoch: u64,
    /// This start of it.
    pub boot: BootId,
}

/// Why bytes inside a range are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// An empty line, or only white space.
    Blank,
    /// The part of a line beyond the longest that is kept; its record says how long it was.
    OverLong,
    /// Dropped by a configured filter.
    Filtered,
    /// Left out by configured sampling.
    Sampled,
    /// Could not be decoded; kept in the dead-letter topic.
    Undecodable,
    /// Zero bytes that a writer left behind.
    Nul,
    /// Destroyed by the source before it could be read.
    Lost,
    /// More than its stream or host may bring; kept in the dead-letter topic. Never said by an agent.
    Quota,
    /// A part of a record that begins before it, at another run.
    Merged,
    /// More than a configured rate.
    RateLimited,
    /// The topic takes no message with it; kept in the dead-letter topic, open to a good copy.
    Rejected,
}

impl SkipReason {
    /// All, in the order of their codes.
    pub const ALL: [Self; 11] = [
        Self::Blank,
        Self::OverLong,
        Self::Filtered,
        Self::Sampled,
        Self::Undecodable,
        Self::Nul,
        Self::Lost,
        Self::Quota,
        Self::Merged,
        Self::RateLimited,
        Self::Rejected,
    ];

    /// Its name in metrics and audits.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blank => "blank",
            Self::OverLong => "over_long",
            Self::Filtered => "filtered",
            Self::Sampled => "sampled",
            Self::Undecodable => "undecodable",
            Self::Nul => "nul",
            Self::Lost => "lost",
            Self::Quota => "quota",
            Self::Merged => "merged",
            Self::RateLimited => "rate_limited",
            Self::Rejected => "rejected",
        }
    }

    const fn code(self) -> u8 {
        self as u8 + 1
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code.checked_sub(1)?)).copied()
    }
}

/// What a run of bytes became.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunKind {
    /// The message's next record.
    Record,
    /// No record, and why.
    Skipped(SkipReason),
}

/// Consecutive bytes of a source with one fate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Run {
    /// How many bytes (journal entries, for a journal); at least 1.
    pub length: u64,
    /// What they became.
    pub kind: RunKind,
}

/// The part of a source that a message accounts for. Runs tile it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// The first position inside.
    pub start: u64,
    /// The first position after.
    pub end: u64,
    /// CRC-32C of the raw bytes.
    pub crc32c: u32,
    /// In order; their lengths add up to `end - start`.
    pub runs: Vec<Run>,
}

impl Extent {
    /// The position at which each record begins, in order.
    pub fn record_positions(&self) -> impl Iterator<Item = u64> {
        let mut at = self.start;
        self.runs.iter().filter_map(move |run| {
            let start = at;
            at += run.length;
            (run.kind == RunKind::Record).then_some(start)
        })
    }
}

/// What a source is, said once at its start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceOpen {
    /// `file`, `journald`, …
    pub kind: String,
    /// The path or the journal's directory.
    pub path: String,
    /// The host that it lies on.
    pub host: String,
    /// The first position that will be accounted for.
    pub start: u64,
    /// The source that this one goes on from, under another instance or partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<SourceId>,
    /// Why it goes on from another: `instance` (the state folder was copied or moved), `partition`, `truncated`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// What became of a source, said once at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceClose {
    /// The first position that will never come.
    pub end: u64,
    /// `deleted`, `truncated`, `rotated`, `removed` (from the configuration), …
    pub reason: String,
    /// At least so many bytes were destroyed unread after `end`. `None`: nothing was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_at_least: Option<u64>,
}

/// Our own facts about a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// The stream that its records belong to.
    pub stream: StreamName,
    /// Who sent it.
    pub sender: Sender,
    /// What it was read from.
    pub source: SourceId,
    /// Which part of it.
    pub extent: Extent,
    /// On the source's first message.
    pub open: Option<SourceOpen>,
    /// On the source's last message.
    pub close: Option<SourceClose>,
}

/// A message ready for the topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Payload {
    /// The key: the sender's agent id, so that other tools see which messages are of one host.
    pub key: Bytes,
    /// Names and values, in order.
    pub headers: Vec<(String, Bytes)>,
    /// OTLP.
    pub value: Bytes,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq)]
pub enum Decoded {
    /// A batch of ours: records and where each of them comes from.
    Batch(Box<Envelope>, Vec<LogRecord>),
    /// Plain OTLP from somebody else, and the stream that its headers name, if any.
    Foreign(Option<StreamName>, Vec<LogRecord>),
    /// The topic's own first message.
    TopicMarker(TopicId),
}

/// Why a message cannot be read. Every variant is a dead letter; none is worth a retry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The value is not an OTLP request.
    #[error("the value is not an OTLP ExportLogsServiceRequest: {0}")]
    Value(String),
    /// A header is missing or wrong.
    #[error("header {name}: {problem}")]
    Header {
        /// Which.
        name: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The format is newer than this code.
    #[error("millrace.version {0} is newer than this program reads ({VERSION})")]
    Version(String),
    /// Runs, range and records contradict one another.
    #[error("the runs do not tile the range: {0}")]
    Runs(String),
}

/// Makes the message of a batch.
pub fn encode<'a>(envelope: &Envelope, records: impl IntoIterator<Item = &'a LogRecord>) -> Payload {
    Payload {
        key: Bytes::copy_from_slice(envelope.sender.agent.to_string().as_bytes()),
        headers: headers::write(envelope),
        value: otlp::encode(records),
    }
}

/// A message of records without ranges, as others than agents send them; `stream` says where they belong.
pub fn plain<'a>(stream: Option<&StreamName>, records: impl IntoIterator<Item = &'a LogRecord>) -> Payload {
    Payload {
        key: Bytes::new(),
        headers: stream.map(headers::stream).into_iter().collect(),
        value: otlp::encode(records),
    }
}

/// What somebody found an alert to be, as JSON, under the alert's id; nothing, where it was taken back.
pub fn verdict(alert_id: &str, json: Option<String>) -> Payload {
    Payload {
        key: Bytes::copy_from_slice(alert_id.as_bytes()),
        headers: vec![(headers::VERSION.to_owned(), Bytes::from(VERSION.to_string()))],
        value: json.map(Bytes::from).unwrap_or_default(),
    }
}

/// The first message of a partition: the topic's id, and no records.
pub fn topic_marker(id: TopicId) -> Payload {
    Payload {
        key: Bytes::new(),
        headers: vec![
            (headers::VERSION.to_owned(), Bytes::from(VERSION.to_string())),
            (headers::TOPIC.to_owned(), Bytes::from(id.to_string())),
        ],
        value: Bytes::new(),
    }
}

/// Reads a message. Headers that are not ours are passed over.
pub fn decode(message_headers: &[(String, Bytes)], value: &[u8]) -> Result<Decoded, DecodeError> {
    match headers::read(message_headers)? {
        headers::Facts::None { stream } => Ok(Decoded::Foreign(stream, otlp::decode(value)?)),
        headers::Facts::Topic(id) => Ok(Decoded::TopicMarker(id)),
        headers::Facts::Envelope(envelope) => {
            let records = otlp::decode(value)?;
            let runs = envelope.extent.record_positions().count();
            if runs != records.len() {
                return Err(DecodeError::Runs(format!("{runs} record runs, {} records", records.len())));
            }
            Ok(Decoded::Batch(envelope, records))
        }
    }
}

/// The envelope alone, where the headers can be read: for a message whose value cannot.
pub fn envelope(message_headers: &[(String, Bytes)]) -> Option<Box<Envelope>> {
    match headers::read(message_headers) {
        Ok(headers::Facts::Envelope(envelope)) => Some(envelope),
        _ => None,
    }
}

/// Any record as OTLP bytes of its own: what the provisional shard layout stores.
pub fn encode_record(record: &LogRecord) -> Bytes {
    otlp::encode(std::iter::once(record))
}

/// Reads what [`encode_record`] wrote.
pub fn decode_record(bytes: &[u8]) -> Result<LogRecord, DecodeError> {
    otlp::decode(bytes)?.pop().ok_or_else(|| DecodeError::Value("no record".to_owned()))
}

/// The records of an OTLP `ExportLogsServiceRequest` as somebody else sends it.
pub fn decode_otlp(value: &[u8]) -> Result<Vec<LogRecord>, DecodeError> {
    otlp::decode(value)
}

/// The same, in OTLP's JSON.
pub fn decode_otlp_json(text: &[u8]) -> Result<Vec<LogRecord>, DecodeError> {
    otlp::decode_json(text)
}

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
