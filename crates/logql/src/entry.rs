//! A line on its way through a pipeline: what it is made of, which labels it has, and what went wrong with it.

use std::{collections::BTreeMap, sync::Arc};

/// Labels by name.
pub type Labels = BTreeMap<String, String>;

/// Says which stage did not understand the line.
pub const ERROR: &str = "__error__";
/// Says what it did not understand.
pub const ERROR_DETAILS: &str = "__error_details__";

/// What is put behind a label's name where the stream has one of that name already.
const EXTRACTED: &str = "_extracted";

/// A line with its labels. A pipeline changes the line, and puts its labels in front of the stream's.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// In nanoseconds since the epoch.
    pub timestamp: i64,
    /// The line.
    pub line: String,
    stream: Arc<Labels>,
    metadata: Labels,
    changes: BTreeMap<String, Change>,
    error: Option<String>,
    error_details: Option<String>,
    sample: Option<f64>,
}

#[derive(Debug, Clone, PartialEq)]
enum Change {
    Set(String),
    /// Set by a parser: the first value is kept.
    Extracted(String),
    Removed,
}

impl Entry {
    /// A line as it is stored: `metadata` are the labels that are its own (structured metadata).
    pub fn new(timestamp: i64, line: impl Into<String>, stream: Arc<Labels>, metadata: Labels) -> Self {
        Self {
            timestamp,
            line: line.into(),
            stream,
            metadata,
            changes: BTreeMap::new(),
            error: None,
            error_details: None,
            sample: None,
        }
    }

    /// The value that an unwrap has taken from a label.
    pub fn sample(&self) -> Option<f64> {
        self.sample
    }

    /// Which stage did not understand the line, if any.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        match name {
            ERROR => return self.error.as_deref(),
            ERROR_DETAILS => return self.error_details.as_deref(),
            _ => {}
        }
        match self.changes.get(name) {
            Some(Change::Set(value) | Change::Extracted(value)) => Some(value),
            Some(Change::Removed) => None,
            None => self.metadata.get(name).or_else(|| self.stream.get(name)).map(String::as_str),
        }
    }

    /// All labels.
    pub fn labels(&self) -> Labels {
        let mut labels = self.stream_labels();
        labels.extend(self.metadata_labels());
        labels.extend(self.parsed_labels());
        labels
    }

    /// Those of the stream that nothing has replaced or removed.
    pub fn stream_labels(&self) -> Labels {
        let hidden = |name: &String| self.changes.contains_key(name) || self.metadata.contains_key(name);
        self.stream.iter().filter(|(name, _)| !hidden(name)).map(|(n, v)| (n.clone(), v.clone())).collect()
    }

    /// Those of the line's metadata that nothing has replaced or removed.
    pub fn metadata_labels(&self) -> Labels {
        let kept = self.metadata.iter().filter(|(name, _)| !self.changes.contains_key(*name));
        kept.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Those that the pipeline has made, errors among them.
    pub fn parsed_labels(&self) -> Labels {
        let mut labels: Labels = self
            .changes
            .iter()
            .filter_map(|(name, change)| match change {
                Change::Set(value) | Change::Extracted(value) => Some((name.clone(), value.clone())),
                Change::Removed => None,
            })
            .collect();
        for (name, value) in [(ERROR, &self.error), (ERROR_DETAILS, &self.error_details)] {
            if let Some(value) = value {
                labels.insert(name.to_owned(), value.clone());
            }
        }
        labels
    }

    /// The names of all labels but those of errors.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut labels = self.labels();
        labels.remove(ERROR);
        labels.remove(ERROR_DETAILS);
        labels.into_keys().collect()
    }

    pub(crate) fn set(&mut self, name: &str, value: String) {
        self.changes.insert(name.to_owned(), Change::Set(value));
    }

    /// Sets a label that a parser has found; under another name where the stream or the metadata have it.
    pub(crate) fn extract(&mut self, name: &str, value: impl Into<String>) {
        let name = if self.stream.contains_key(name) || self.metadata.contains_key(name) {
            format!("{name}{EXTRACTED}")
        } else {
            name.to_owned()
        };
        if !matches!(self.changes.get(&name), Some(Change::Extracted(_))) {
            self.changes.insert(name, Change::Extracted(value.into()));
        }
    }

    /// Has a parser set this label, for [`Entry::extract`]?
    pub(crate) fn is_extracted(&self, name: &str) -> bool {
        let is = |name: &str| matches!(self.changes.get(name), Some(Change::Extracted(_)));
        is(name) || is(&format!("{name}{EXTRACTED}"))
    }

    pub(crate) fn remove(&mut self, name: &str) {
        match name {
            ERROR => self.error = None,
            ERROR_DETAILS => self.error_details = None,
            _ if self.stream.contains_key(name) || self.metadata.contains_key(name) => {
                self.changes.insert(name.to_owned(), Change::Removed);
            }
            _ => {
                self.changes.remove(name);
            }
        }
    }

    pub(crate) fn fail(&mut self, error: &str, details: impl Into<String>) {
        self.error = Some(error.to_owned());
        self.error_details = Some(details.into());
    }

    pub(crate) fn set_sample(&mut self, value: f64) {
        self.sample = Some(value);
    }
}

/// A label's name out of any name: letters, digits and `_` stay, everything else becomes `_`; the first is no digit.
pub fn label_name(name: &str) -> String {
    let name = sanitized(name);
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// As [`label_name`], for a part that is not the first.
pub(crate) fn sanitized(name: &str) -> String {
    name.trim().chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_parser_finds_does_not_hide_what_was_there() {
        let stream = Arc::new(Labels::from([("app".to_owned(), "a".to_owned())]));
        let metadata = Labels::from([("pod".to_owned(), "p".to_owned())]);
        let mut entry = Entry::new(0, "x", stream, metadata);
        for (name, value) in [("app", "b"), ("app", "c"), ("pod", "q"), ("x", "1"), ("x", "2")] {
            entry.extract(name, value);
        }
        let expected =
            [("app", "a"), ("app_extracted", "b"), ("pod", "p"), ("pod_extracted", "q"), ("x", "1")];
        assert_eq!(entry.labels(), expected.map(|(n, v)| (n.to_owned(), v.to_owned())).into());
        entry.remove("app");
        entry.set("x", "3".to_owned());
        assert_eq!((entry.label("app"), entry.label("x")), (None, Some("3")));
        entry.extract("app", "d");
        assert_eq!(entry.label("app_extracted"), Some("b"));
    }

    #[test]
    fn names_become_names_of_labels() {
        for (name, label) in [
            ("a.b", "a_b"),
            ("5xx", "_5xx"),
            ("größe", "gr__e"),
            (" a b ", "a_b"),
            ("user-agent", "user_agent"),
        ] {
            assert_eq!(label_name(name), label);
        }
    }
}
