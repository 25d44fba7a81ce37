//! A value as it stands in a query, with everything that it could mean worked out once.

use millrace_model::{Severity, Timestamp, text};
use std::cmp::Ordering;

/// A number, whole where it was written so.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A whole one.
    Int(i64),
    /// Any other; never NaN.
    Double(f64),
}

impl Number {
    /// The number that `text` spells in decimals, if it does.
    pub fn parse(text: &str) -> Option<Self> {
        let first = text.bytes().next()?;
        if !(first.is_ascii_digit() || matches!(first, b'-' | b'+' | b'.')) {
            return None;
        }
        if let Ok(value) = text.parse::<i64>() {
            return Some(Self::Int(value));
        }
        text.parse::<f64>().ok().filter(|value| value.is_finite()).map(Self::Double)
    }

    /// How two numbers compare; whole ones exactly. `None` for NaN.
    pub fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(&b)),
            (Self::Int(a), Self::Double(b)) => (a as f64).partial_cmp(&b),
            (Self::Double(a), Self::Int(b)) => a.partial_cmp(&(b as f64)),
            (Self::Double(a), Self::Double(b)) => a.partial_cmp(&b),
        }
    }
}

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
        }
    }
}

impl PartialEq for Literal {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}
