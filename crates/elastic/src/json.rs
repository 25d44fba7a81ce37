//! Objects of requests, read key by key: what is left over at the end is an error that names it.

use crate::Error;
use serde_json::{Map, Value as Json};

/// Whose words an error uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// `[match] query does not support [x]`, a parsing exception.
    Query,
    /// `[terms] unknown field [x]`, an exception of the object parsers.
    Content,
}

/// An object that is being read.
pub(crate) struct Object<'a> {
    map: &'a Map<String, Json>,
    what: &'a str,
    style: Style,
    seen: Vec<&'static str>,
}

/// What kind of thing a value is, as Elasticsearch calls it.
pub(crate) fn token(value: &Json) -> &'static str {
    match value {
        Json::Null => "VALUE_NULL",
        Json::Bool(_) => "VALUE_BOOLEAN",
        Json::Number(_) => "VALUE_NUMBER",
        Json::String(_) => "VALUE_STRING",
        Json::Array(_) => "START_ARRAY",
        Json::Object(_) => "START_OBJECT",
    }
}

/// A scalar as text.
pub(crate) fn scalar(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number_text(number)),
        Json::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// A number without an exponent where that is short.
fn number_text(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(value) if number.is_f64() => float_text(value),
        _ => number.to_string(),
    }
}

/// A fraction as text.
pub(crate) fn float_text(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 { format!("{value:.1}") } else { value.to_string() }
}

/// A number for an answer: whole where it is whole and does not fit a signed one.
pub(crate) fn number(value: f64) -> Json {
    if (9_223_372_036_854_775_808.0..18_446_744_073_709_551_616.0).contains(&value) {
        return Json::from(value as u64);
    }
    serde_json::Number::from_f64(value).map_or(Json::Null, Json::Number)
}

/// The only entry of an object.
pub(crate) fn single(map: &Map<String, Json>) -> Option<(&str, &Json)> {
    let mut entries = map.iter();
    let (key, value) = entries.next()?;
    entries.next().is_none().then_some((key.as_str(), value))
}

impl<'a> Object<'a> {
    pub(crate) fn of(value: &'a Json, what: &'a str, style: Style) -> Result<Self, Error> {
        match value {
            Json::Object(map) => Ok(Self { map, what, style, seen: Vec::new() }),
            other => Err(match style {
                Style::Query => {
                    Error::parsing(format!("[{what}] query malformed, no start_object after query name"))
                }
                Style::Content => {
                    Error::content(format!("[{what}] expected an object, found {}", token(other)))
                }
            }),
        }
    }

    pub(crate) fn map(&self) -> &'a Map<String, Json> {
        self.map
    }

    /// The value of a key; null is as good as absent.
    pub(crate) fn value(&mut self, key: &'static str) -> Option<&'a Json> {
        self.seen.push(key);
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// Keys that are allowed and mean nothing here.
    pub(crate) fn ignore(&mut self, keys: &[&'static str]) {
        self.seen.extend(keys);
    }

    fn wrong(&self, key: &str, value: &Json) -> Error {
        let (what, found) = (self.what, token(value));
        match self.style {
            Style::Query => Error::parsing(format!("[{what}] query does not support [{found}] for [{key}]")),
            Style::Content => {
                Error::content(format!("[{what}] {key} doesn't support values of type: {found}"))
            }
        }
    }

    /// A text, a number or a flag, as text.
    pub(crate) fn text(&mut self, key: &'static str) -> Result<Option<String>, Error> {
        let Some(value) = self.value(key) else { return Ok(None) };
        scalar(value).map(Some).ok_or_else(|| self.wrong(key, value))
    }

    /// A text that must be there.
    pub(crate) fn required(&mut self, key: &'static str) -> Result<String, Error> {
        self.text(key)?.ok_or_else(|| self.lacks(key))
    }

    pub(crate) fn lacks(&self, key: &str) -> Error {
        match self.style {
            Style::Query => Error::parsing(format!("[{}] requires [{key}]", self.what)),
            Style::Content => {
                Error::argument(format!("Required one of fields [{key}], but none were specified."))
            }
        }
    }

    pub(crate) fn flag(&mut self, key: &'static str) -> Result<Option<bool>, Error> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match value {
            Json::Bool(flag) => Ok(Some(*flag)),
            Json::String(text) if text == "true" => Ok(Some(true)),
            Json::String(text) if text == "false" || text.is_empty() => Ok(Some(false)),
            other => Err(self.wrong(key, other)),
        }
    }

    pub(crate) fn float(&mut self, key: &'static str) -> Result<Option<f64>, Error> {
        let Some(value) = self.value(key) else { return Ok(None) };
        float(value).map(Some).ok_or_else(|| self.wrong(key, value))
    }

    /// A whole number; one with a fraction is cut, as Elasticsearch does.
    pub(crate) fn integer(&mut self, key: &'static str) -> Result<Option<i64>, Error> {
        let Some(value) = self.value(key) else { return Ok(None) };
        integer(value).map(Some).ok_or_else(|| self.wrong(key, value))
    }

    /// A count.
    pub(crate) fn size(&mut self, key: &'static str) -> Result<Option<usize>, Error> {
        match self.integer(key)? {
            None => Ok(None),
            Some(number) => usize::try_from(number).map(Some).map_err(|_| {
                Error::argument(format!(
                    "[{key}] must be greater than or equal to 0. Found [{number}] in [{}]",
                    self.what
                ))
            }),
        }
    }

    /// A text or a list of texts.
    pub(crate) fn texts(&mut self, key: &'static str) -> Result<Option<Vec<String>>, Error> {
        let Some(value) = self.value(key) else { return Ok(None) };
        texts(value).map(Some).ok_or_else(|| self.wrong(key, value))
    }

    /// Nothing else may be there.
    pub(crate) fn finish(&self) -> Result<(), Error> {
        let Some(key) = self.map.keys().find(|key| !self.seen.contains(&key.as_str())) else { return Ok(()) };
        let shown: String = key.chars().take(100).collect();
        Err(match self.style {
            Style::Query => Error::parsing(format!("[{}] query does not support [{shown}]", self.what)),
            Style::Content => Error::content(format!("[{}] unknown field [{shown}]", self.what)),
        })
    }
}

pub(crate) fn texts(value: &Json) -> Option<Vec<String>> {
    match value {
        Json::Array(values) => values.iter().map(scalar).collect(),
        other => scalar(other).map(|text| vec![text]),
    }
}

pub(crate) fn float(value: &Json) -> Option<f64> {
    match value {
        Json::Number(number) => number.as_f64(),
        Json::String(text) => text.trim().parse::<f64>().ok().filter(|value| value.is_finite()),
        _ => None,
    }
}

pub(crate) fn integer(value: &Json) -> Option<i64> {
    match value {
        Json::Number(number) => {
            number.as_i64().or_else(|| number.as_f64().filter(|f| f.abs() < 9.2e18).map(|f| f as i64))
        }
        Json::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}
