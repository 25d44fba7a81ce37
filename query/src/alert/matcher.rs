//! What says which alerts are meant: a filter of the query language, asked of an alert as its record in history, so that
//! a matcher can be tried by a search in the stream `alerts`.

use millrace_filter::{Filter, ParseError, parse};
use millrace_model::LogRecord;

/// A filter over alerts, and how it was written.
#[derive(Debug, Clone)]
pub struct Matcher {
    text: String,
    filter: Filter,
}

impl Matcher {
    /// Reads it.
    ///
    /// # Errors
    /// With the span, what is wrong there, and where possible what to write instead.
    pub fn read(text: &str) -> Result<Self, ParseError> {
        Ok(Self { text: text.to_owned(), filter: parse(text)? })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Is this alert meant?
    pub fn matches(&self, alert: &LogRecord) -> bool {
        self.filter.matches(alert)
    }
}

/// What is wrong with a matcher, in one line.
pub fn problem(error: &ParseError) -> String {
    let place = format!("{} (at {} to {})", error.message, error.span.start, error.span.end);
    match &error.suggestion {
        Some(suggestion) => format!("{place}; {suggestion}"),
        None => place,
    }
}
