//! A JSON object becomes attributes.
//!
//! Bounds, so that no line can make a message that a reader must refuse or be slow over: values nested deeper than
//! [`MAX_DEPTH`] stay JSON text, and beyond [`MAX_VALUES`] values the rest is only in the body, and counted.

use super::{DROPPED_ATTRIBUTES, Reading, names};
use millrace_model::{Attributes, Value};
use serde::de::{DeserializeSeed, Deserializer as _, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::{cell::Cell, fmt};

/// Protobuf readers refuse messages nested deeper than 100; each level of ours takes three of theirs.
pub(super) const MAX_DEPTH: usize = 16;
/// Values of one line, counted at every level.
pub(super) const MAX_VALUES: usize = 1000;

/// Reads the object and places its fields in the record; an error leaves the record as it was.
pub(super) fn read(text: &str, reading: &mut Reading<'_>) -> Result<(), String> {
    let limits = Limits { left: Cell::new(MAX_VALUES), dropped: Cell::new(0) };
    let mut json = serde_json::Deserializer::from_str(text);
    let map = json
        .deserialize_map(Level { depth: 1, limits: &limits })
        .and_then(|map| json.end().map(|()| map))
        .map_err(|error| reason(&error))?;
    let Value::Map(attributes) = map else { return Err("not an object".to_owned()) };
    names::place(attributes, reading);
    if limits.dropped.get() > 0 {
        reading.record.attributes.set(DROPPED_ATTRIBUTES, limits.dropped.get() as i64);
    }
    Ok(())
}

/// What is wrong and where, without a word of the line itself.
fn reason(error: &serde_json::Error) -> String {
    let kind = match error.classify() {
        serde_json::error::Category::Eof => "ends too early",
        serde_json::error::Category::Data => "not an object",
        _ => "not JSON",
    };
    format!("{kind} at column {}", error.column())
}

struct Limits {
    left: Cell<usize>,
    dropped: Cell<usize>,
}

/// Reads one value at a depth; the object of the line itself is at depth 1.
#[derive(Clone, Copy)]
struct Level<'a> {
    depth: usize,
    limits: &'a Limits,
}

impl Level<'_> {
    /// May one more value be kept?
    fn admits(self) -> bool {
        let left = self.limits.left.get();
        if left == 0 {
            self.limits.dropped.set(self.limits.dropped.get() + 1);
        }
        self.limits.left.set(left.saturating_sub(1));
        left > 0
    }

    fn below(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.depth <= MAX_DEPTH {
            return deserializer.deserialize_any(self);
        }
        let raw = <&RawValue as serde::Deserialize>::deserialize(deserializer)?.get();
        if raw.starts_with(['{', '[']) {
            return Ok(Value::String(raw.to_owned()));
        }
        serde_json::from_str(raw).map_err(D::Error::custom)
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Double(value as f64), Value::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Double(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        loop {
            if self.limits.left.get() == 0 {
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    self.admits();
                }
                return Ok(Value::Array(values));
            }
            match seq.next_element_seed(self.below())? {
                Some(value) => {
                    self.admits();
                    values.push(value);
                }
                None => return Ok(Value::Array(values)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut attributes = Attributes::new();
        while let Some(key) = map.next_key::<String>()? {
            if self.admits() {
                attributes.push(key, map.next_value_seed(self.below())?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Value::Map(attributes.with_last_of_each()))
    }
}
