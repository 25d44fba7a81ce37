//! A value as it stands in a query, with everything that it could mean worked out once.

use crate::Text;
use millrace_model::{Number, Severity, Timestamp, declared, text};

/// A value as written.
#[derive(Debug, Clone)]
pub struct Literal {
    /// As written.
    pub text: String,
    /// Folded.
    pub folded: String,
    /// The number that it spells.
    pub number: Option<Number>,
    /// The time that it spells: RFC 3339 or epoch milliseconds.
    pub time: Option<Timestamp>,
    /// The level that it names.
    pub level: Option<Severity>,
    /// The canonical text of the address that it spells.
    pub address: Option<String>,
    /// As a bare word or phrase: what fields that are searched by words are asked for.
    pub words: Text,
}

impl Literal {
    /// Works out what `text` could mean.
    pub fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            folded: text::fold(text),
            number: Number::parse(text),
            time: text.parse().ok(),
            level: Severity::from_name(text),
            address: declared::address(text),
            words: Text::phrase(text),
        }
    }
}

impl PartialEq for Literal {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}
