//! `sort`: by what hits are ordered.

use crate::{
    Error,
    date::Format,
    json::{Object, Style, token},
};
use serde_json::Value as Json;

/// The most keys of an order.
const MAX_KEYS: usize = 32;

/// What is sorted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SortField {
    /// A field.
    Field(String),
    /// The order in which records came.
    Doc,
    /// The score, which all hits have alike.
    Score,
}

/// Where hits come that lack the field.
#[derive(Debug, Clone, PartialEq)]
pub enum Missing {
    /// At the end, whichever end is first.
    Last,
    /// At the beginning.
    First,
    /// As if they had this.
    Value(Json),
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct SortKey {
    /// What is sorted by.
    pub field: SortField,
    /// The largest first.
    pub descending: bool,
    /// Where hits come that lack it.
    pub missing: Missing,
    /// How its times are shown.
    pub format: Option<Format>,
}

impl SortKey {
    pub(crate) fn new(name: &str) -> Self {
        let field = match name {
            "_doc" | "_shard_doc" => SortField::Doc,
            "_score" => SortField::Score,
            name => SortField::Field(name.to_owned()),
        };
        Self { descending: field == SortField::Score, field, missing: Missing::Last, format: None }
    }
}

/// From a body.
pub(crate) fn parse(given: &Json) -> Result<Vec<SortKey>, Error> {
    let mut keys = Vec::new();
    match given {
        Json::Array(all) => {
            for one in all {
                entry(one, &mut keys)?;
            }
        }
        one => entry(one, &mut keys)?,
    }
    if keys.len() > MAX_KEYS {
        return Err(Error::argument(format!("[sort] has more than {MAX_KEYS} fields")));
    }
    Ok(keys)
}

/// From a URL: `field:desc,other`.
pub(crate) fn from_text(texts: &[String]) -> Result<Vec<SortKey>, Error> {
    let key = |text: &String| match text.rsplit_once(':') {
        None => Ok(SortKey::new(text)),
        Some((name, order)) => Ok(SortKey { descending: descending(order)?, ..SortKey::new(name) }),
    };
    texts.iter().take(MAX_KEYS).map(key).collect()
}

fn descending(order: &str) -> Result<bool, Error> {
    match order.to_ascii_lowercase().as_str() {
        "asc" => Ok(false),
        "desc" => Ok(true),
        _ => Err(Error::argument(format!(
            "No enum constant org.elasticsearch.search.sort.SortOrder.{}",
            order.to_uppercase().chars().take(100).collect::<String>()
        ))),
    }
}

fn entry(given: &Json, keys: &mut Vec<SortKey>) -> Result<(), Error> {
    match given {
        Json::String(name) => {
            keys.push(SortKey::new(name));
            Ok(())
        }
        Json::Object(fields) => {
            for (name, options) in fields {
                keys.push(key(name, options)?);
            }
            Ok(())
        }
        other => Err(Error::argument(format!(
            "malformed sort format, within the sort array, an object, or an actual string are allowed, found {}",
            token(other)
        ))),
    }
}

fn key(name: &str, options: &Json) -> Result<SortKey, Error> {
    if matches!(name, "_script" | "_geo_distance") {
        return Err(Error::argument(format!("[{name}] sorting is not supported here")));
    }
    let mut key = SortKey::new(name);
    match options {
        Json::String(order) => key.descending = descending(order)?,
        Json::Object(_) => {
            let mut object = Object::of(options, "field_sort", Style::Content)?;
            object.ignore(&[
                "unmapped_type",
                "ignore_unmapped",
                "mode",
                "numeric_type",
                "nested",
                "nested_path",
            ]);
            if let Some(order) = object.text("order")? {
                key.descending = descending(&order)?;
            }
            key.missing = match object.value("missing") {
                None => Missing::Last,
                Some(Json::String(text)) if text == "_last" => Missing::Last,
                Some(Json::String(text)) if text == "_first" => Missing::First,
                Some(value) => Missing::Value(value.clone()),
            };
            key.format = object.text("format")?.map(|text| Format::new(&text)).transpose()?;
            object.finish()?;
        }
        Json::Null => {}
        other => return Err(Error::parsing(format!("[{name}] expected an order, found {}", token(other)))),
    }
    Ok(key)
}
