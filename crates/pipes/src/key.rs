//! Values as keys: two are the same key when they are of one kind and equal. A whole number is the same key whether it is
//! kept with a fraction or without. And how values travel between nodes, exactly.

use millrace_model::{Attributes, Value};
use serde::{Deserialize, Serialize};
use std::hash::{Hash, Hasher};

/// A value as a key. See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Key(#[serde(with = "exact")] pub(crate) Value);

/// The same, borrowed: what keys are looked up by.
pub(crate) struct Probe<'a>(pub(crate) &'a Value);

/// A value on its way, exactly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Exact(#[serde(with = "exact")] pub(crate) Value);

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        same(&self.0, &other.0)
    }
}

impl Eq for Key {}

impl Key {
    pub(crate) fn of(value: &Value) -> Self {
        Self(match value {
            Value::Double(number) => whole(*number).map_or(Value::Double(*number), Value::Int),
            Value::Text(text) => Value::String(text.clone()),
            other => other.clone(),
        })
    }
}

/// The whole number that this is.
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0).then_some(number as i64)
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash(&self.0, state);
    }
}

impl Hash for Probe<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash(self.0, state);
    }
}

impl hashbrown::Equivalent<Key> for Probe<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        same(self.0, &key.0)
    }
}

fn hash<H: Hasher>(value: &Value, state: &mut H) {
    match value {
        Value::Null => state.write_u8(0),
        Value::Bool(flag) => state.write_u8(1 + u8::from(*flag)),
        Value::Int(number) => {
            state.write_u8(3);
            state.write_i64(*number);
        }
        Value::Double(number) => {
            if let Some(number) = whole(*number) {
                return hash(&Value::Int(number), state);
            }
            state.write_u8(4);
            state.write_u64(number.to_bits());
        }
        Value::String(text) | Value::Text(text) => {
            state.write_u8(5);
            text.hash(state);
        }
        Value::Bytes(bytes) => {
            state.write_u8(6);
            bytes.hash(state);
        }
        Value::Array(values) => {
            state.write_u8(7);
            for value in values {
                hash(value, state);
            }
        }
        Value::Map(entries) => {
            state.write_u8(8);
            for (key, value) in entries.iter() {
                key.hash(state);
                hash(value, state);
            }
        }
    }
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Double(a), Value::Double(b)) => a.to_bits() == b.to_bits(),
        (Value::Double(a), Value::Int(b)) | (Value::Int(b), Value::Double(a)) => whole(*a) == Some(*b),
        (Value::String(a) | Value::Text(a), Value::String(b) | Value::Text(b)) => a == b,
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| a.0 == b.0 && same(a.1, b.1))
        }
        (a, b) => a == b,
    }
}

/// Values on their way, exactly: JSON alone would make text of bytes and lose numbers that are none.
pub(crate) mod exact {
    use super::{Attributes, Deserialize, Serialize, Value};
    use serde::{Deserializer, Serializer};

    #[derive(Serialize, Deserialize)]
    enum Wire {
        N,
        B(bool),
        I(i64),
        /// By its bits.
        D(u64),
        S(String),
        X(Vec<u8>),
        A(Vec<Wire>),
        M(Vec<(String, Wire)>),
    }

    impl From<&Value> for Wire {
        fn from(value: &Value) -> Self {
            match value {
                Value::Null => Self::N,
                Value::Bool(flag) => Self::B(*flag),
                Value::Int(number) => Self::I(*number),
                Value::Double(number) => Self::D(number.to_bits()),
                Value::String(text) | Value::Text(text) => Self::S(text.clone()),
                Value::Bytes(bytes) => Self::X(bytes.clone()),
                Value::Array(values) => Self::A(values.iter().map(Self::from).collect()),
                Value::Map(entries) => {
                    Self::M(entries.iter().map(|(key, value)| (key.to_owned(), value.into())).collect())
                }
            }
        }
    }

    impl From<Wire> for Value {
        fn from(wire: Wire) -> Self {
            match wire {
                Wire::N => Self::Null,
                Wire::B(flag) => Self::Bool(flag),
                Wire::I(number) => Self::Int(number),
                Wire::D(bits) => Self::Double(f64::from_bits(bits)),
                Wire::S(text) => Self::String(text),
                Wire::X(bytes) => Self::Bytes(bytes),
                Wire::A(values) => Self::Array(values.into_iter().map(Self::from).collect()),
                Wire::M(entries) => Self::Map(
                    entries.into_iter().map(|(key, value)| (key, Self::from(value))).collect::<Attributes>(),
                ),
            }
        }
    }

    pub(crate) fn serialize<S: Serializer>(value: &Value, to: S) -> Result<S::Ok, S::Error> {
        Wire::from(value).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Value, D::Error> {
        Wire::deserialize(from).map(Value::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hashbrown::Equivalent;

    #[test]
    fn a_key_is_the_same_as_itself() {
        let map = |value: Value| Value::Map([("a".to_owned(), value)].into_iter().collect());
        for value in
            [Value::Double(f64::NAN), Value::Double(-0.5), Value::Int(7), Value::Null, Value::from("x")]
        {
            for value in [value.clone(), map(value.clone()), Value::Array(vec![map(value)])] {
                assert_eq!(Key::of(&value), Key::of(&value));
                assert!(Probe(&value).equivalent(&Key::of(&value)));
            }
        }
        assert_eq!(Key::of(&map(Value::Int(2))), Key::of(&map(Value::Double(2.0))));
        assert_ne!(Key::of(&map(Value::Int(2))), Key::of(&map(Value::Int(3))));
    }
}
