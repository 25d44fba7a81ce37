//! A line becomes a record. Parsers are tried in the configured order; the first that understands the line wins.
//!
//! The body is always the original line, fields become attributes, and what stands for time, level, trace and span is
//! moved to its place in the record.

mod json;
mod names;
mod plain;
mod time;

pub use time::{from_epoch, from_text};

use millrace_model::{Attributes, LogRecord, Timestamp, Value};
use std::sync::Arc;

/// Why no parser understood the line.
pub const PARSE_ERROR: &str = "log.parse_error";
/// How many values of a line were left out of the attributes because there were too many; the body has them.
pub const DROPPED_ATTRIBUTES: &str = "log.dropped_attributes";

/// One way to read a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parser {
    /// JSON where the line looks like an object, plain otherwise. A guess, so a wrong one is no error.
    Auto,
    /// A JSON object a line.
    Json,
    /// The line is the body; its level is told from a leading word such as `ERROR`.
    Plain,
}

impl Parser {
    /// The names that settings may use, and what they mean.
    pub const NAMES: [(&str, Self); 3] = [("auto", Self::Auto), ("json", Self::Json), ("none", Self::Plain)];
}

/// The parsers of a source, in the order in which they are tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsers(Vec<Parser>);

impl Default for Parsers {
    fn default() -> Self {
        Self(vec![Parser::Auto])
    }
}

impl FromIterator<Parser> for Parsers {
    fn from_iter<I: IntoIterator<Item = Parser>>(parsers: I) -> Self {
        Self(parsers.into_iter().collect())
    }
}

impl Parsers {
    /// Reads a line, given without its line end. Never fails.
    pub fn parse(&self, line: &[u8], observed: Timestamp, resource: &Arc<Attributes>) -> LogRecord {
        let mut record = LogRecord {
            observed_timestamp: observed,
            resource: Arc::clone(resource),
            ..LogRecord::default()
        };
        let text = std::str::from_utf8(line);
        let mut error = None;
        for parser in &self.0 {
            match (parser, text) {
                (Parser::Plain, _) => {
                    plain::read(line, &mut record);
                    error = None;
                    break;
                }
                (Parser::Json, Err(invalid)) => {
                    error = Some(format!("json: invalid UTF-8 after byte {}", invalid.valid_up_to()));
                }
                (Parser::Json, Ok(text)) => match json::read(text, &mut record) {
                    Ok(()) => {
                        error = None;
                        break;
                    }
                    Err(reason) => error = Some(format!("json: {reason}")),
                },
                (Parser::Auto, text) => {
                    let object = text.ok().filter(|text| text.trim_ascii_start().starts_with('{'));
                    if object.is_none_or(|text| json::read(text, &mut record).is_err()) {
                        plain::read(line, &mut record);
                    }
                    error = None;
                    break;
                }
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
