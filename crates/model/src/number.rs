//! Numbers as texts spell them and as they compare: one meaning for queries and for declared fields.

use std::cmp::Ordering;

/// A number, whole where it was written so.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A whole one.
    Int(i64),
    /// Any other; never NaN where it was parsed.
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
