//! Why a query is none: where, what, and what to write instead.

use std::{fmt, ops::Range};

/// A query that does not parse. `Display` shows the message alone; [`ParseError::render`] shows it under the query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ParseError {
    /// The bytes of the query that are meant.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub suggestion: Option<String>,
}

impl ParseError {
    /// Without a suggestion.
    pub fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), suggestion: None }
    }

    /// With what would be right.
    #[must_use]
    pub fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }

    /// The query with a mark under the span, and the message below it.
    pub fn render(&self, query: &str) -> String {
        let start = self.span.start.min(query.len());
        let end = self.span.end.clamp(start, query.len());
        let before = query.get(..start).map_or(0, |text| text.chars().count());
        let marked = query.get(start..end).map_or(1, |text| text.chars().count()).max(1);
        let one_line: String = query.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let mut text = format!("{one_line}\n{}{}\n{}", " ".repeat(before), "^".repeat(marked), self.message);
        if let Some(suggestion) = &self.suggestion {
            text.push_str("; ");
            text.push_str(suggestion);
        }
        text
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at {})", self.message, self.span.start)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "; {suggestion}"),
            None => Ok(()),
        }
    }
}
