//! Reading the keys of a rule: each with the type that is expected, each mistake with the line on which it stands.

use crate::{
    document::{Document, kind},
    rule::RuleError,
};
use millrace_model::closest;
use serde_yaml_ng::{Mapping, Value as Yaml};
use std::{ops::RangeInclusive, time::Duration};

/// A mapping of the document, and where the errors about its keys go.
pub(crate) struct Keys<'a, 'd> {
    document: &'a Document<'d>,
    /// What it holds.
    pub(crate) map: &'a Mapping,
    path: &'a [&'a str],
    /// Everything that was wrong so far.
    pub(crate) errors: &'a mut Vec<RuleError>,
}

impl<'a, 'd> Keys<'a, 'd> {
    /// The keys of the document itself.
    pub(crate) fn of(document: &'a Document<'d>, errors: &'a mut Vec<RuleError>) -> Self {
        Self { document, map: &document.root, path: &[], errors }
    }

    /// The keys of a mapping that stands at `path`.
    pub(crate) fn inner<'b>(&'b mut self, map: &'b Mapping, path: &'b [&'b str]) -> Keys<'b, 'd> {
        Keys { document: self.document, map, path, errors: self.errors }
    }

    /// The value of a key is not what it should be.
    pub(crate) fn wrong(&mut self, key: &str, message: impl AsRef<str>) {
        let path: Vec<&str> = self.path.iter().copied().chain([key]).collect();
        let error = self.document.error(&path, format!("{}: {}", path.join("."), message.as_ref()));
        self.errors.push(error);
    }

    /// A key that must be there is not.
    pub(crate) fn missing(&mut self, key: &str, expected: &str) {
        let name: Vec<&str> = self.path.iter().copied().chain([key]).collect();
        let error =
            self.document.error(self.path, format!("{} is missing: {expected} expected", name.join(".")));
        self.errors.push(error);
    }

    /// Every key must be one of these.
    pub(crate) fn known(&mut self, known: &[&'static str]) {
        let map = self.map;
        for key in map.keys() {
            match key.as_str() {
                Some(key) if known.contains(&key) => {}
                Some(key) => match closest(key, known.iter().copied()) {
                    Some(meant) => self.wrong(key, format!("unknown key; did you mean {meant:?}?")),
                    None => self.wrong(key, format!("unknown key; known are {}", known.join(", "))),
                },
                None => self.wrong("", format!("keys are text, this one is {}", kind(key))),
            }
        }
    }

    /// A text; `None` where the key is absent or was wrong.
    pub(crate) fn text(&mut self, key: &str) -> Option<String> {
        match self.map.get(key)? {
            Yaml::String(text) => Some(text.clone()),
            Yaml::Null => None,
            other => {
                let found = kind(other);
                self.wrong(key, format!("text expected, found {found}"));
                None
            }
        }
    }

    pub(crate) fn parsed<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(key)?;
        parse(&text).map_err(|problem| self.wrong(key, problem)).ok()
    }

    /// The same for a key that must be there.
    pub(crate) fn required<T>(
        &mut self,
        key: &str,
        expected: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        if self.map.get(key).is_none_or(Yaml::is_null) {
            self.missing(key, expected);
        }
        self.parsed(key, parse)
    }

    /// A whole number within bounds; `default` where there is none, an error where that is `None`, too.
    pub(crate) fn whole(
        &mut self,
        key: &str,
        bounds: RangeInclusive<u64>,
        default: Option<u64>,
    ) -> Option<u64> {
        let expected = format!("a whole number from {} to {}", bounds.start(), bounds.end());
        match self.map.get(key) {
            None | Some(Yaml::Null) => {
                if default.is_none() {
                    self.missing(key, &expected);
                }
                default
            }
            Some(value) => {
                let number = value.as_u64().filter(|number| bounds.contains(number));
                if number.is_none() {
                    self.wrong(key, format!("{expected} expected"));
                }
                number
            }
        }
    }

    /// A number; `None` where the key is absent or was wrong.
    pub(crate) fn number(&mut self, key: &str) -> Option<f64> {
        let value = self.map.get(key).filter(|value| !value.is_null())?;
        let number = value.as_f64().filter(|number| number.is_finite());
        if number.is_none() {
            self.wrong(key, format!("a number expected, found {}", kind(value)));
        }
        number
    }

    /// True or false; false where the key is absent.
    pub(crate) fn flag(&mut self, key: &str) -> bool {
        match self.map.get(key) {
            None | Some(Yaml::Null) => false,
            Some(Yaml::Bool(flag)) => *flag,
            Some(other) => {
                self.wrong(key, format!("true or false expected, found {}", kind(other)));
                false
            }
        }
    }

    /// One text, or a list of texts.
    pub(crate) fn list(&mut self, key: &str) -> Vec<String> {
        match self.map.get(key) {
            None | Some(Yaml::Null) => Vec::new(),
            Some(Yaml::String(text)) => vec![text.clone()],
            Some(Yaml::Sequence(values)) if values.iter().all(Yaml::is_string) => {
                values.iter().filter_map(Yaml::as_str).map(str::to_owned).collect()
            }
            Some(_) => {
                self.wrong(key, "a text or a list of texts expected");
                Vec::new()
            }
        }
    }
}

/// A span such as `90s`, `2m` or `1h30m`.
pub(crate) fn parse_span(text: &str) -> Result<Duration, String> {
    let error = || format!("a span such as \"90s\", \"2m\" or \"1h30m\" expected, found {text:?}");
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(error());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
        let number: u64 = rest[..digits].parse().map_err(|_| error())?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let millis = match rest[..unit].trim() {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            _ => return Err(error()),
        };
        rest = &rest[unit..];
        let part = Duration::from_millis(number.checked_mul(millis).ok_or_else(error)?);
        total = total.checked_add(part).ok_or_else(error)?;
    }
    Ok(total)
}
