//! A line becomes a record. Parsers are tried in the configured order; the first that understands the line wins.
//!
//! The body is always the original line, fields become attributes, and what stands for time, level, trace and span is
//! moved to its place in the record.

mod access;
mod event;
mod fields;
mod json;
mod names;
mod pairs;
mod pattern;
mod plain;
mod syslog;
mod time;

pub use pairs::KeyValue;
pub use pattern::{Csv, GrokPattern, Pattern};
pub use syslog::set_syslog_level;
pub use time::{Format, Times, from_epoch, from_text};

use millrace_model::{Attributes, LogRecord, Timestamp, Value};
use std::sync::Arc;

/// Why no parser understood the line.
pub const PARSE_ERROR: &str = "log.parse_error";
/// How many values of a line were left out of the attributes because there were too many; the body has them.
pub const DROPPED_ATTRIBUTES: &str = "log.dropped_attributes";

/// One way to read a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parser {
    /// The one that fits: JSON, syslog, CEF, LEEF, an access log or logfmt where the line is one beyond doubt, plain otherwise. A
    /// guess, so a wrong one is no error.
    Auto,
    /// A JSON object a line.
    Json,
    /// Pairs as `level=info msg="all is well"`.
    Logfmt,
    /// RFC 3164 or 5424, or as daemons write it to files.
    Syslog,
    /// Common or combined, as nginx and Apache have it.
    Access,
    /// Events in the Common Event Format.
    Cef,
    /// Events in the Log Event Extended Format.
    Leef,
    /// Pairs with separators of their own.
    KeyValue(KeyValue),
    /// Comma-separated values.
    Csv(Csv),
    /// A regular expression with named groups.
    Regex(Pattern),
    /// A grok pattern.
    Grok(GrokPattern),
    /// The line is the body; its time is told if it begins with one, its level from a leading word such as `ERROR`.
    Plain,
}

impl Parser {
    /// The names that settings may use, and what they mean.
    pub const NAMES: [(&str, Self); 8] = [
        ("auto", Self::Auto),
        ("json", Self::Json),
        ("logfmt", Self::Logfmt),
        ("syslog", Self::Syslog),
        ("access", Self::Access),
        ("cef", Self::Cef),
        ("leef", Self::Leef),
        ("none", Self::Plain),
    ];

    /// Its name, as settings have it.
    fn name(&self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Json => "json",
            Self::Logfmt => "logfmt",
            Self::Syslog => "syslog",
            Self::Access => "access",
            Self::Cef => "cef",
            Self::Leef => "leef",
            Self::KeyValue(_) => "key_value",
            Self::Csv(_) => "csv",
            Self::Regex(_) => "regex",
            Self::Grok(_) => "grok",
            Self::Plain => "none",
        }
    }

    /// Reads a line that is text; why it is none of its kind.
    fn read(&self, text: &str, reading: &mut Reading<'_>) -> Result<(), String> {
        match self {
            Self::Auto => {
                if Self::recognise(text).is_none_or(|parser| parser.read(text, reading).is_err()) {
                    plain::read(text.as_bytes(), reading);
                }
                Ok(())
            }
            Self::Json => json::read(text, reading),
            Self::Logfmt => pairs::read(text, &KeyValue::default(), reading),
            Self::Syslog => syslog::read(text, reading),
            Self::Access => access::read(text, reading),
            Self::Cef => event::cef(text, reading),
            Self::Leef => event::leef(text, reading),
            Self::KeyValue(settings) => pairs::read(text, settings, reading),
            Self::Csv(csv) => csv.read(text, reading),
            Self::Regex(pattern) => pattern.read(text, reading),
            Self::Grok(pattern) => pattern.read(text, reading),
            Self::Plain => {
                plain::read(text.as_bytes(), reading);
                Ok(())
            }
        }
    }

    /// What a line is beyond doubt.
    fn recognise(text: &str) -> Option<Self> {
        let text = text.trim_ascii_start();
        if text.starts_with('{') {
            return Some(Self::Json);
        }
        if event::begins(text) {
            return Some(if text.starts_with('C') { Self::Cef } else { Self::Leef });
        }
        if syslog::is_likely(text) {
            return Some(Self::Syslog);
        }
        if access::is_likely(text) {
            return Some(Self::Access);
        }
        pairs::is_logfmt(text).then_some(Self::Logfmt)
    }
}

/// A line being read: what it becomes, and how its times are spelled.
struct Reading<'a> {
    record: &'a mut LogRecord,
    times: &'a Times,
}

/// The parsers of a source, in the order in which they are tried, and how it spells its times.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsers {
    list: Vec<Parser>,
    times: Times,
}

impl Default for Parsers {
    fn default() -> Self {
        Self::from_iter([Parser::Auto])
    }
}

impl FromIterator<Parser> for Parsers {
    fn from_iter<I: IntoIterator<Item = Parser>>(parsers: I) -> Self {
        Self { list: parsers.into_iter().collect(), times: Times::default() }
    }
}

impl Parsers {
    /// With times that are spelled so.
    #[must_use]
    pub fn with_times(self, times: Times) -> Self {
        Self { times, ..self }
    }

    /// The record of bytes that no parser can read, and why.
    pub fn keep(bytes: &[u8], reason: &str, observed: Timestamp, resource: &Arc<Attributes>) -> LogRecord {
        let mut record = LogRecord {
            observed_timestamp: observed,
            resource: Arc::clone(resource),
            body: Value::Bytes(bytes.to_owned()),
            ..LogRecord::default()
        };
        record.attributes.set(PARSE_ERROR, reason);
        record
    }

    /// Reads a line, given without its line end. Never fails.
    pub fn parse(&self, line: &[u8], observed: Timestamp, resource: &Arc<Attributes>) -> LogRecord {
        let mut record = LogRecord {
            observed_timestamp: observed,
            resource: Arc::clone(resource),
            ..LogRecord::default()
        };
        let text = std::str::from_utf8(line);
        let reading = &mut Reading { record: &mut record, times: &self.times };
        let mut error = None;
        for parser in &self.list {
            let read = match (parser, text) {
                (_, Ok(text)) => parser.read(text, reading),
                (Parser::Auto | Parser::Plain, Err(_)) => {
                    plain::read(line, reading);
                    Ok(())
                }
                (_, Err(invalid)) => Err(format!("invalid UTF-8 after byte {}", invalid.valid_up_to())),
            };
            error = read.err().map(|reason| format!("{}: {reason}", parser.name()));
            if error.is_none() {
                break;
            }
        }
        if let Some(error) = error {
            record.attributes.set(PARSE_ERROR, error);
        }
        record.body = match text {
            Ok(text) => Value::String(text.to_owned()),
            Err(_) => Value::Bytes(line.to_owned()),
        };
        record
    }
}

#[cfg(test)]
mod tests;
