//! Values and attributes, as OpenTelemetry's data model has them. Attributes keep their order; a key given twice keeps
//! its last value.

use serde::{Deserialize, Serialize, ser::SerializeMap, ser::SerializeSeq};
use std::{
    collections::{HashMap, HashSet},
    fmt,
};

/// Any value that a record can hold.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Double(f64),
    /// Text.
    String(String),
    /// Text that is searched by its words, as a line is: what a field holds that is declared so ([`crate::declared`]). The
    /// wire knows it as text.
    Text(String),
    /// Bytes that are not text; shown lossily, kept exactly.
    Bytes(Vec<u8>),
    /// Several values.
    Array(Vec<Value>),
    /// Named values.
    Map(Attributes),
}

impl Value {
    /// The value as text, where it is text already.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) | Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}
impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}
impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}
impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Double(value)
    }
}
impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

/// As text: strings as they are, bytes lossily, the rest as JSON.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Double(value) => write!(f, "{value}"),
            Self::String(text) | Self::Text(text) => f.write_str(text),
            Self::Bytes(bytes) => f.write_str(&String::from_utf8_lossy(bytes)),
            Self::Array(_) | Self::Map(_) => match serde_json::to_string(self) {
                Ok(json) => f.write_str(&json),
                Err(_) => Err(fmt::Error),
            },
        }
    }
}

/// JSON for people: bytes as lossy text, doubles that JSON cannot say as text.
impl Serialize for Value {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Double(value) if value.is_finite() => serializer.serialize_f64(*value),
            Self::Double(value) => serializer.collect_str(value),
            Self::String(text) | Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => serializer.serialize_str(&String::from_utf8_lossy(bytes)),
            Self::Array(values) => {
                let mut seq = serializer.serialize_seq(Some(values.len()))?;
                for value in values {
                    seq.serialize_element(value)?;
                }
                seq.end()
            }
            Self::Map(map) => map.serialize(serializer),
        }
    }
}

/// From JSON. A whole number beyond `i64` becomes a double; names keep their order.
impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
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
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = seq.next_element()? {
                    values.push(value);
                }
                Ok(Value::Array(values))
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
                read_entries(map).map(Value::Map)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

fn read_entries<'de, A: serde::de::MapAccess<'de>>(mut map: A) -> Result<Attributes, A::Error> {
    let mut attributes = Attributes::new();
    while let Some((key, value)) = map.next_entry::<String, Value>()? {
        attributes.push(key, value);
    }
    Ok(attributes.with_last_of_each())
}

/// Named values in the order in which they came.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Attributes(Vec<(String, Value)>);

impl Attributes {
    /// None.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Sets `key`, replacing the value that it had.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<Value>) {
        let (key, value) = (key.into(), value.into());
        match self.0.iter_mut().find(|(existing, _)| *existing == key) {
            Some((_, slot)) => *slot = value,
            None => self.0.push((key, value)),
        }
    }

    /// The value of exactly this key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().rev().find(|(existing, _)| existing == key).map(|(_, value)| value)
    }

    /// The value at a dotted path: `a.b` is the key `a.b`, or `b` inside the map at `a`; the longest key wins.
    pub fn at(&self, path: &str) -> Option<&Value> {
        let mut longest = path.len();
        loop {
            let begins = |key: &str| match path.as_bytes().get(key.len()) {
                None => path == key,
                Some(next) => *next == b'.' && path.starts_with(key),
            };
            let candidates = self.0.iter().filter(|(key, _)| key.len() <= longest && begins(key));
            let (key, value) = candidates.max_by_key(|(key, _)| key.len())?;
            if key.len() == path.len() {
                return Some(value);
            }
            if let Value::Map(inner) = value
                && let Some(value) = inner.at(&path[key.len() + 1..])
            {
                return Some(value);
            }
            longest = key.len().checked_sub(1)?;
        }
    }

    /// What [`Self::at`] finds, to be changed.
    pub fn at_mut(&mut self, path: &str) -> Option<&mut Value> {
        if let Some(at) = self.0.iter().rposition(|(key, _)| key == path) {
            return Some(&mut self.0[at].1);
        }
        let holds = |dot: &usize| match self.get(&path[..*dot]) {
            Some(Value::Map(inner)) => inner.at(&path[dot + 1..]).is_some(),
            _ => false,
        };
        let dot = path.rmatch_indices('.').map(|(dot, _)| dot).find(holds)?;
        let at = self.0.iter().rposition(|(key, _)| *key == path[..dot])?;
        match &mut self.0[at].1 {
            Value::Map(inner) => inner.at_mut(&path[dot + 1..]),
            _ => None,
        }
    }

    /// Takes `key` out.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let at = self.0.iter().rposition(|(existing, _)| existing == key)?;
        Some(self.0.remove(at).1)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// None at all?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The same, with values that can be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Value)> {
        self.0.iter_mut().map(|(key, value)| (key.as_str(), value))
    }

    /// Adds without looking for an earlier value: for decoders, where keys are already distinct.
    pub fn push(&mut self, key: String, value: Value) {
        self.0.push((key, value));
    }

    /// Keys that were pushed more than once keep their first place and their last value, as [`Self::set`] has it.
    #[must_use]
    pub fn with_last_of_each(self) -> Self {
        let repeated = if self.0.len() > 24 {
            let mut seen = HashSet::with_capacity(self.0.len());
            self.0.iter().any(|(key, _)| !seen.insert(key.as_str()))
        } else {
            self.0
                .iter()
                .enumerate()
                .any(|(at, (key, _))| self.0[..at].iter().any(|(before, _)| before == key))
        };
        if !repeated {
            return self;
        }
        let mut places: HashMap<String, usize> = HashMap::with_capacity(self.0.len());
        let mut kept: Vec<(String, Value)> = Vec::with_capacity(self.0.len());
        for (key, value) in self.0 {
            if let Some(place) = places.get(&key) {
                kept[*place].1 = value;
            } else {
                places.insert(key.clone(), kept.len());
                kept.push((key, value));
            }
        }
        Self(kept)
    }

    /// Calls `visit` with the dotted path of every value that is not a map. Elements of an array share its path.
    pub fn each_leaf<'a>(&'a self, visit: &mut dyn FnMut(&str, &'a Value)) {
        fn walk<'a>(prefix: &mut String, value: &'a Value, visit: &mut dyn FnMut(&str, &'a Value)) {
            match value {
                Value::Map(map) => {
                    for (key, value) in &map.0 {
                        let length = prefix.len();
                        prefix.push('.');
                        prefix.push_str(key);
                        walk(prefix, value, visit);
                        prefix.truncate(length);
                    }
                }
                Value::Array(values) => values.iter().for_each(|value| walk(prefix, value, visit)),
                _ => visit(prefix, value),
            }
        }
        for (key, value) in &self.0 {
            walk(&mut key.clone(), value, visit);
        }
    }
}

impl FromIterator<(String, Value)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(iter: I) -> Self {
        Self(iter.into_iter().collect()).with_last_of_each()
    }
}

impl IntoIterator for Attributes {
    type Item = (String, Value);
    type IntoIter = std::vec::IntoIter<(String, Value)>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl Serialize for Attributes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Attributes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Attributes, A::Error> {
                read_entries(map)
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Attributes {
        let mut inner = Attributes::new();
        inner.set("b", 1);
        inner.set("c.d", "x");
        let mut outer = Attributes::new();
        outer.set("a", Value::Map(inner));
        outer.set("a.b", "flat");
        outer
    }

    impl From<i32> for Value {
        fn from(value: i32) -> Self {
            Self::Int(value.into())
        }
    }

    #[test]
    fn a_path_finds_flat_and_nested_keys() {
        let attributes = sample();
        assert_eq!(attributes.at("a.b"), Some(&Value::from("flat")));
        assert_eq!(attributes.at("a.c.d"), Some(&Value::from("x")));
        assert_eq!(attributes.at("a.c"), None);
        assert_eq!(attributes.at("nothing"), None);
    }

    /// What [`Attributes::at`] says, tried for every cut of the path, the longest key first.
    fn at_every_cut<'a>(attributes: &'a Attributes, path: &str) -> Option<&'a Value> {
        let mut cuts = path.rmatch_indices('.').map(|(dot, _)| dot);
        attributes.get(path).or_else(|| {
            cuts.find_map(|dot| match attributes.get(&path[..dot]) {
                Some(Value::Map(inner)) => at_every_cut(inner, &path[dot + 1..]),
                _ => None,
            })
        })
    }

    fn nested(depth: u32) -> BoxedStrategy<Attributes> {
        let leaf = (0..9).prop_map(Value::from);
        let value = match depth {
            0 => leaf.boxed(),
            _ => prop_oneof![leaf, nested(depth - 1).prop_map(Value::Map)].boxed(),
        };
        prop::collection::vec(("[aü.]{0,4}", value), 0..5)
            .prop_map(|pairs| pairs.into_iter().collect())
            .boxed()
    }

    proptest! {
        #[test]
        fn a_path_is_looked_up_as_at_every_cut(attributes in nested(3), path in "[aü.]{0,9}") {
            prop_assert_eq!(attributes.at(&path), at_every_cut(&attributes, &path));
            let mut changed = attributes.clone();
            prop_assert_eq!(changed.at_mut(&path).map(|value| &*value), attributes.at(&path));
        }
    }

    #[test]
    fn leaves_have_dotted_paths() {
        let mut paths = Vec::new();
        sample().each_leaf(&mut |path, value| paths.push(format!("{path}={value}")));
        assert_eq!(paths, ["a.b=1", "a.c.d=x", "a.b=flat"]);
    }

    #[test]
    fn json_keeps_the_order_of_names_and_the_last_of_each() {
        let read: Value =
            serde_json::from_str(r#"{"b":1,"a":[{"z":18446744073709551615,"y":-0.0}],"b":null}"#).unwrap();
        assert_eq!(
            format!("{read:?}"),
            r#"Map(Attributes([("b", Null), ("a", Array([Map(Attributes([("z", Double(1.8446744073709552e19)), ("y", Double(-0.0))]))]))]))"#
        );
        let many: Attributes = serde_json::from_str(&format!(
            "{{{}}}",
            (0..99).map(|n| format!("\"k{}\":{n}", n % 50)).collect::<Vec<_>>().join(",")
        ))
        .unwrap();
        assert_eq!((many.len(), many.get("k3")), (50, Some(&Value::Int(53))));
    }

    #[test]
    fn setting_twice_replaces() {
        let mut attributes = sample();
        attributes.set("a.b", 2);
        assert_eq!(attributes.get("a.b"), Some(&Value::Int(2)));
        assert_eq!(attributes.len(), 2);
    }
}
