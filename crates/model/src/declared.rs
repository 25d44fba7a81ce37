//! Declared fields: which types a stream's attributes are said to have, and what becomes of a value of another type. Pure,
//! and the only place that says so: whoever takes records in calls [`Declarations::coerce`] before anything else sees them.
//!
//! | declared | becomes it | stays as it came: a conflict |
//! |---|---|---|
//! | `number` | a text that spells a number, surrounding blanks aside | any other text; a whole number beyond 64 bits |
//! | `ip` | a text that is an IPv4 or IPv6 address: its canonical text | any other text; a number |
//! | `keyword` | a number, true or false: its text | bytes, a map |
//! | `text` | a text, a number, true or false: [`Value::Text`], searched by its words | bytes, a map |
//!
//! Of an array each element is coerced for itself. Null is no value, and no conflict.
//!
//! **Invariant:** nothing is dropped, and to coerce twice is to coerce once.

#[cfg(test)]
mod tests;

use crate::{Attributes, Number, Value};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, net::IpAddr};

/// What the values of a field are said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldType {
    /// Addresses, in their canonical text: `2001:db8::1`; one of IPv4 inside of IPv6 as IPv4.
    Ip,
    /// Texts that are matched whole.
    Keyword,
    /// Numbers.
    Number,
    /// Texts that are searched by their words.
    Text,
}

impl FieldType {
    /// Makes `value` one of this type. `false`: (some of) it stays as it came.
    pub fn coerce(self, value: &mut Value) -> bool {
        let coerced = match (self, &mut *value) {
            (_, Value::Null)
            | (Self::Number, Value::Int(_) | Value::Double(_))
            | (Self::Keyword, Value::String(_))
            | (Self::Text, Value::Text(_)) => return true,
            (_, Value::Array(values)) => {
                let mut all = true;
                for value in values {
                    all &= self.coerce(value);
                }
                return all;
            }
            (_, Value::Map(_) | Value::Bytes(_)) => return false,
            (Self::Number, Value::String(text) | Value::Text(text)) => number(text.trim()),
            (Self::Ip, Value::String(text) | Value::Text(text)) => address(text.trim()).map(Value::String),
            (Self::Keyword, Value::Text(text)) => Some(Value::String(std::mem::take(text))),
            (Self::Text, Value::String(text)) => Some(Value::Text(std::mem::take(text))),
            (Self::Keyword, scalar) => Some(Value::String(scalar.to_string())),
            (Self::Text, scalar) => Some(Value::Text(scalar.to_string())),
            (Self::Number | Self::Ip, _) => None,
        };
        let Some(coerced) = coerced else { return false };
        *value = coerced;
        true
    }
}

/// The number that a text spells, where nothing of it is lost: a whole one is kept whole or not at all.
fn number(text: &str) -> Option<Value> {
    match Number::parse(text)? {
        Number::Int(whole) => Some(Value::Int(whole)),
        Number::Double(_) if text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+')) => None,
        Number::Double(value) => Some(Value::Double(value)),
    }
}

/// The canonical text of an address, if it is one.
pub fn address(text: &str) -> Option<String> {
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical().to_string())
}

/// The declared fields of a stream, by their dotted paths among the attributes. One that is not declared may hold anything.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Declarations(BTreeMap<String, FieldType>);

/// Tells declarations apart: a hash of what they say, the same on every node. Shown as 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeclarationsVersion(u64);

impl fmt::Display for DeclarationsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Declarations {
    /// Is nothing declared?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many fields are declared.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The fields by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, FieldType)> {
        self.0.iter().map(|(path, kind)| (path.as_str(), *kind))
    }

    /// The version of these declarations.
    pub fn version(&self) -> DeclarationsVersion {
        // Names end with a byte that no text has, so that no two lists are spelled alike.
        let mut spelled = Vec::new();
        for (path, kind) in &self.0 {
            spelled.extend_from_slice(path.as_bytes());
            spelled.push(0xff);
            spelled.push(match kind {
                FieldType::Ip => b'i',
                FieldType::Keyword => b'k',
                FieldType::Number => b'n',
                FieldType::Text => b't',
            });
        }
        DeclarationsVersion(xxhash_rust::xxh3::xxh3_64(&spelled))
    }

    /// Makes each declared attribute one of its type. `conflict` is called with the path of each that stays as it came,
    /// wholly or in part.
    pub fn coerce(&self, attributes: &mut Attributes, mut conflict: impl FnMut(&str)) {
        for (path, kind) in &self.0 {
            if let Some(value) = attributes.at_mut(path)
                && !kind.coerce(value)
            {
                conflict(path);
            }
        }
    }
}

/// Under this name a record says which of its attributes are searched by their words: messages cannot say it of a value.
const WORDS: &str = "millrace.words";

/// Has a record say which of its attributes are [`Value::Text`], where some are.
pub fn say_words(attributes: &mut Attributes) {
    let mut paths = std::collections::BTreeSet::new();
    attributes.each_leaf(&mut |path, value| {
        if matches!(value, Value::Text(_)) {
            paths.insert(path.to_owned());
        }
    });
    if !paths.is_empty() {
        attributes.set(WORDS, Value::Array(paths.into_iter().map(Value::from).collect()));
    }
}

/// Makes them so again on the other side.
pub fn take_words(attributes: &mut Attributes) {
    if !matches!(attributes.get(WORDS), Some(Value::Array(_))) {
        return;
    }
    let Some(Value::Array(paths)) = attributes.remove(WORDS) else { return };
    for path in &paths {
        if let Some(value) = path.as_str().and_then(|path| attributes.at_mut(path)) {
            FieldType::Text.coerce(value);
        }
    }
}

impl FromIterator<(String, FieldType)> for Declarations {
    fn from_iter<I: IntoIterator<Item = (String, FieldType)>>(fields: I) -> Self {
        Self(fields.into_iter().collect())
    }
}
