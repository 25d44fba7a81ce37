//! Parameters of a URL, taken one by one: what is left over at the end is an error that names it.

use crate::{Error, Wildcard, date};
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Parameters that every request may have.
const COMMON: &[&str] = &[
    "pretty",
    "human",
    "error_trace",
    "filter_path",
    "format",
    "source",
    "source_content_type",
    "opaque_id",
];

/// See the module.
#[derive(Debug, Default)]
pub struct Parameters {
    pairs: Vec<(String, String)>,
    seen: Mutex<Vec<&'static str>>,
}

impl Parameters {
    /// As they stand in the URL, decoded.
    pub fn new(pairs: Vec<(String, String)>) -> Self {
        Self { pairs, seen: Mutex::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Vec<&'static str>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last value of a name.
    pub fn get(&self, name: &'static str) -> Option<&str> {
        self.seen().push(name);
        self.pairs.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All values of a name, cut at commas.
    pub fn list(&self, name: &'static str) -> Vec<String> {
        self.seen().push(name);
        let values = self.pairs.iter().filter(|(key, _)| key == name).flat_map(|(_, value)| value.split(','));
        values.filter(|value| !value.is_empty()).map(str::to_owned).collect()
    }

    /// A flag; a name alone is true.
    ///
    /// # Errors
    /// It is neither true nor false.
    pub fn flag(&self, name: &'static str) -> Result<Option<bool>, Error> {
        match self.get(name) {
            None => Ok(None),
            Some("true" | "") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(Error::argument(format!(
                "Failed to parse value [{}] as only [true] or [false] are allowed.",
                other.chars().take(100).collect::<String>()
            ))),
        }
    }

    /// A whole number.
    ///
    /// # Errors
    /// It is none.
    pub fn integer(&self, name: &'static str) -> Result<Option<i64>, Error> {
        let Some(text) = self.get(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| {
            let shown: String = text.chars().take(100).collect();
            let reason = format!("Failed to parse int parameter [{name}] with value [{shown}]");
            Error { cause: Some(Box::new(Error::number(&shown))), ..Error::argument(reason) }
        })
    }

    /// A length of time.
    ///
    /// # Errors
    /// It is none.
    pub fn duration(&self, name: &'static str) -> Result<Option<Duration>, Error> {
        self.get(name).map(|text| duration(name, text)).transpose()
    }

    /// Names that are allowed and mean nothing here.
    pub fn ignore(&self, names: &[&'static str]) {
        self.seen().extend(names);
    }

    /// Nothing else may be there.
    ///
    /// # Errors
    /// What else is there.
    pub fn finish(&self, path: &str) -> Result<(), Error> {
        let seen = self.seen();
        let known = |key: &str| seen.contains(&key) || COMMON.contains(&key);
        match self.pairs.iter().find(|(key, _)| !known(key)) {
            None => Ok(()),
            Some((key, _)) => Err(Error::argument(format!(
                "request [{path}] contains unrecognized parameter: [{}]",
                key.chars().take(100).collect::<String>()
            ))),
        }
    }
}

/// A length of time; `-1` has no end.
pub(crate) fn duration(name: &str, text: &str) -> Result<Duration, Error> {
    if text == "-1" {
        return Ok(Duration::MAX);
    }
    let nanos = date::length(text).and_then(|nanos| u64::try_from(nanos).ok());
    nanos.map(Duration::from_nanos).ok_or_else(|| {
        let shown: String = text.chars().take(100).collect();
        Error::argument(format!(
            "failed to parse setting [{name}] with value [{shown}] as a time value: unit is missing or unrecognized"
        ))
    })
}

/// Which indices are meant, and what becomes of those that are not there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Indices {
    /// Names, patterns, and what is left out again (`-name`); nothing: all.
    pub patterns: Vec<String>,
    /// A name without an index is no error.
    pub ignore_unavailable: bool,
    /// Nor are patterns that match none; said with `false`, they are.
    pub refuse_none: bool,
}

impl Indices {
    /// From the path, and the parameters.
    ///
    /// # Errors
    /// A flag is none.
    pub fn read(path: &str, parameters: &Parameters) -> Result<Self, Error> {
        parameters.ignore(&["expand_wildcards", "ignore_throttled"]);
        Ok(Self {
            patterns: Self::names(path),
            ignore_unavailable: parameters.flag("ignore_unavailable")?.unwrap_or(false),
            refuse_none: !parameters.flag("allow_no_indices")?.unwrap_or(true),
        })
    }

    /// Names with commas between.
    pub(crate) fn names(path: &str) -> Vec<String> {
        path.split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty() && *name != "_all")
            .map(str::to_owned)
            .collect()
    }

    /// Is nothing named but everything?
    pub fn is_everything(&self) -> bool {
        self.patterns.iter().all(|pattern| pattern == "*" || pattern.starts_with('-'))
    }

    /// Those that are meant, of those that there are.
    ///
    /// # Errors
    /// One that is named is not there.
    pub fn resolve<'n>(&self, known: &[&'n str]) -> Result<Vec<&'n str>, Error> {
        if self.patterns.is_empty() {
            return Ok(known.to_vec());
        }
        let mut meant: Vec<&'n str> = Vec::new();
        for (at, pattern) in self.patterns.iter().enumerate() {
            if let Some(left_out) = pattern.strip_prefix('-').filter(|_| at > 0) {
                let left_out = Wildcard::new(left_out);
                meant.retain(|name| !left_out.matches(name));
                continue;
            }
            let wildcard = Wildcard::new(pattern);
            let before = meant.len();
            for name in known.iter().filter(|name| wildcard.matches(name)) {
                if !meant.contains(name) {
                    meant.push(name);
                }
            }
            let found = meant.len() > before || known.iter().any(|name| wildcard.matches(name));
            if !found && wildcard.is_name() && !self.ignore_unavailable {
                return Err(Error::no_index(pattern));
            }
        }
        if meant.is_empty() && self.refuse_none {
            return Err(Error::no_index(&self.patterns.join(",")));
        }
        Ok(meant)
    }
}
