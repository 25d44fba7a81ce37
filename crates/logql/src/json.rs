//! The parsers `json` and `unpack`. Numbers keep their spelling; arrays and nulls are left out where all is taken.

use crate::{
    ast::{JsonField, JsonStep},
    entry::{Entry, label_name, sanitized},
};
use serde::de::{DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::{Deserializer, value::RawValue};
use std::fmt;

/// How deep objects are looked into.
const MAX_DEPTH: usize = 64;

/// The error of a line that is no JSON.
pub(crate) const JSON_ERROR: &str = "JSONParserErr";

/// The property that holds the line in what `unpack` reads.
const PACKED_LINE: &str = "_entry";

/// Calls `visit` with each property of an object, in order. What stands behind the object is not looked at.
fn each_property<'l>(
    text: &'l str,
    visit: &mut dyn FnMut(String, &'l RawValue) -> serde_json::Result<()>,
) -> serde_json::Result<()> {
    Deserializer::from_str(text).deserialize_map(Object(visit))
}

struct Object<'v, 'l>(&'v mut dyn FnMut(String, &'l RawValue) -> serde_json::Result<()>);

impl<'l> Visitor<'l> for Object<'_, 'l> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'l>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value::<&RawValue>()?;
            (self.0)(name, value).map_err(serde::de::Error::custom)?;
        }
        Ok(())
    }
}

/// Adds a label for each property, those of nested objects with the names of both.
pub(crate) fn read(entry: &mut Entry) {
    let line = std::mem::take(&mut entry.line);
    let read = flatten(&line, "", 0, &mut |name, value| entry.extract(name, value));
    if let Err(error) = read {
        entry.fail(JSON_ERROR, error.to_string());
    }
    entry.line = line;
}

fn flatten(
    text: &str,
    prefix: &str,
    depth: usize,
    emit: &mut dyn FnMut(&str, String),
) -> serde_json::Result<()> {
    each_property(text, &mut |name, value| {
        let name =
            if prefix.is_empty() { label_name(&name) } else { format!("{prefix}_{}", sanitized(&name)) };
        if name.is_empty() {
            return Ok(());
        }
        match value.get().as_bytes().first() {
            Some(b'{') if depth < MAX_DEPTH => flatten(value.get(), &name, depth + 1, emit)?,
            Some(b'{' | b'[' | b'n') => {}
            _ => emit(&name, plain(value)?),
        }
        Ok(())
    })
}

/// A value as a label: texts without quotes and escapes, the rest as it stands.
fn plain(value: &RawValue) -> serde_json::Result<String> {
    let text = value.get();
    if text.starts_with('"') { serde_json::from_str(text) } else { Ok(text.to_owned()) }
}

/// Adds the labels that are wanted; one whose value is not there is empty.
pub(crate) fn read_fields(fields: &[JsonField], entry: &mut Entry) {
    let line = std::mem::take(&mut entry.line);
    match serde_json::from_str::<&RawValue>(&line) {
        Ok(document) => {
            for field in fields {
                let value = at(document, &field.path).filter(|value| value.get() != "null");
                let value = value.and_then(|value| plain(value).ok());
                entry.extract(&field.label, value.unwrap_or_default());
            }
        }
        Err(error) => entry.fail(JSON_ERROR, error.to_string()),
    }
    entry.line = line;
}

fn at<'l>(document: &'l RawValue, path: &[JsonStep]) -> Option<&'l RawValue> {
    path.iter().try_fold(document, |value, step| match step {
        JsonStep::Field(name) if value.get().starts_with('{') => {
            let mut found = None;
            each_property(value.get(), &mut |property, value| {
                if found.is_none() && property == *name {
                    found = Some(value);
                }
                Ok(())
            })
            .ok()?;
            found
        }
        JsonStep::Index(index) if value.get().starts_with('[') => {
            Deserializer::from_str(value.get()).deserialize_seq(Nth(*index)).ok()?
        }
        _ => None,
    })
}

/// The element of an array.
struct Nth(usize);

impl<'l> Visitor<'l> for Nth {
    type Value = Option<&'l RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: serde::de::SeqAccess<'l>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut before = 0;
        while before < self.0 {
            if seq.next_element::<IgnoredAny>()?.is_none() {
                return Ok(None);
            }
            before += 1;
        }
        let found = seq.next_element_seed(Raw)?;
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }
}

struct Raw;

impl<'l> DeserializeSeed<'l> for Raw {
    type Value = &'l RawValue;

    fn deserialize<D: serde::Deserializer<'l>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        serde::Deserialize::deserialize(deserializer)
    }
}

/// Takes the line out of what was packed, and the texts beside it as labels. A line without one stays as it is.
pub(crate) fn unpack(entry: &mut Entry) {
    let mut line = None;
    let mut labels = Vec::new();
    let read = each_property(&entry.line, &mut |name, value| {
        if value.get().starts_with('"') {
            let text = plain(value)?;
            if name == PACKED_LINE { line = Some(text) } else { labels.push((label_name(&name), text)) }
        }
        Ok(())
    });
    if let Err(error) = read {
        entry.fail(JSON_ERROR, error.to_string());
    } else if let Some(line) = line {
        for (name, value) in labels {
            entry.extract(&name, value);
        }
        entry.line = line;
    }
}

/// The way to a value as queries write it: `a.b["c d"][0]`.
pub(crate) fn path(text: &str) -> Option<Vec<JsonStep>> {
    let mut steps = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix("[\"") {
            let (name, behind) = inside.split_once("\"]")?;
            steps.push(JsonStep::Field(name.to_owned()));
            rest = behind;
        } else if let Some(inside) = rest.strip_prefix('[') {
            let (index, behind) = inside.split_once(']')?;
            steps.push(JsonStep::Index(index.parse().ok()?));
            rest = behind;
        } else {
            let name = if steps.is_empty() { rest } else { rest.strip_prefix('.')? };
            let end = name.find(['.', '[']).unwrap_or(name.len());
            let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '@' | '$');
            if end == 0 || !name[..end].chars().all(allowed) {
                return None;
            }
            steps.push(JsonStep::Field(name[..end].to_owned()));
            rest = &name[end..];
        }
    }
    (!steps.is_empty()).then_some(steps)
}
