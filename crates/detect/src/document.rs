//! A rule file's text as YAML documents that know on which line their keys stand, so that an error can point at them.
//! It knows nothing of what a rule is.

use crate::rule::RuleError;
use serde_yaml_ng::{Mapping, Value};

/// The longest rule file that is read, in bytes.
pub(crate) const MAX_FILE_BYTES: usize = 1024 * 1024;

/// One document of a file.
pub(crate) struct Document<'a> {
    /// The file, as it was named.
    pub(crate) file: &'a str,
    /// The line in the file on which the document begins, from 1.
    pub(crate) line: usize,
    /// Its text.
    pub(crate) text: &'a str,
    /// What it says.
    pub(crate) root: Mapping,
}

impl<'a> Document<'a> {
    /// Reads every document of a file. One that is empty is passed over; one that is no mapping is an error.
    pub(crate) fn read_all(file: &'a str, text: &'a str, errors: &mut Vec<RuleError>) -> Vec<Self> {
        if text.len() > MAX_FILE_BYTES {
            let message =
                format!("a rule file holds at most {MAX_FILE_BYTES} bytes, this one has {}", text.len());
            errors.push(RuleError { file: file.to_owned(), line: None, title: None, message });
            return Vec::new();
        }
        split(text.strip_prefix('\u{feff}').unwrap_or(text))
            .into_iter()
            .filter_map(|(line, text)| match Self::read(file, line, text) {
                Ok(document) => document,
                Err(error) => {
                    errors.push(error);
                    None
                }
            })
            .collect()
    }

    fn read(file: &'a str, line: usize, text: &'a str) -> Result<Option<Self>, RuleError> {
        let error = |line, message| RuleError { file: file.to_owned(), line, title: None, message };
        match serde_yaml_ng::from_str::<Value>(&at_line(line, text)) {
            Ok(Value::Null) => Ok(None),
            Ok(Value::Mapping(root)) => Ok(Some(Self { file, line: line + first_key(text), text, root })),
            Ok(other) => {
                let found = kind(&other);
                Err(error(
                    Some(line + first_key(text)),
                    format!("a rule is a mapping, this document is {found}"),
                ))
            }
            Err(problem) => {
                let at = problem.location().map_or(line, |location| location.line());
                Err(error(Some(at), format!("not YAML: {problem}")))
            }
        }
    }

    /// The text with as many empty lines before it as the file has, so that a parser counts the file's lines.
    pub(crate) fn text_in_place(&self) -> String {
        at_line(self.line - first_key(self.text), self.text)
    }

    /// The rule's title, if it says one.
    pub(crate) fn title(&self) -> Option<String> {
        self.root.get("title")?.as_str().map(str::to_owned)
    }

    /// An error about the key at `path`, or about what it lies in where it is not found, or the whole document.
    pub(crate) fn error(&self, path: &[&str], message: impl Into<String>) -> RuleError {
        let line = (1..=path.len()).rev().find_map(|length| self.line_of(&path[..length]));
        RuleError {
            file: self.file.to_owned(),
            line: Some(line.unwrap_or(self.line)),
            title: self.title(),
            message: message.into(),
        }
    }

    /// An error about the first line that holds `needle`.
    pub(crate) fn error_near(&self, needle: Option<&str>, message: impl Into<String>) -> RuleError {
        let first = self.line - first_key(self.text);
        let at = needle.and_then(|needle| self.text.lines().position(|line| line.contains(needle)));
        RuleError { line: Some(at.map_or(self.line, |at| first + at)), ..self.error(&[], message) }
    }

    /// The line of the file on which the key at `path` stands.
    fn line_of(&self, path: &[&str]) -> Option<usize> {
        let first = self.line - first_key(self.text);
        let mut outer: Option<usize> = None;
        let mut path = path.iter();
        let mut wanted = path.next()?;
        for (number, line) in self.text.lines().enumerate() {
            let key = line.trim_start();
            if key.is_empty() || key.starts_with('#') {
                continue;
            }
            let indent = line.len() - key.len();
            let deeper = outer.map_or(indent == 0, |outer| indent > outer);
            if !deeper {
                if outer.is_some() {
                    return None;
                }
                continue;
            }
            if is_key(key, wanted) {
                let Some(next) = path.next() else { return Some(first + number) };
                (outer, wanted) = (Some(indent), next);
            }
        }
        None
    }
}

fn is_key(line: &str, key: &str) -> bool {
    let line = line.strip_prefix("- ").unwrap_or(line);
    let line = line.strip_prefix(['"', '\'']).unwrap_or(line);
    line.strip_prefix(key)
        .is_some_and(|rest| rest.trim_start_matches(['"', '\'']).trim_start().starts_with(':'))
}

fn at_line(line: usize, text: &str) -> String {
    let mut placed = "\n".repeat(line - 1);
    placed.push_str(text);
    placed
}

/// How many lines stand before the first that says something.
fn first_key(text: &str) -> usize {
    let says = |line: &str| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#') && line != "---"
    };
    text.lines().position(says).unwrap_or(0)
}

/// Documents and the lines on which they begin, from 1. `---` and `...` at the start of a line part them.
fn split(text: &str) -> Vec<(usize, &str)> {
    let mut documents = Vec::new();
    let (mut start, mut start_line, mut at) = (0, 1, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let content = line.trim_end();
        let begins = content == "---" || content.starts_with("--- ");
        if begins || content == "..." {
            documents.push((start_line, &text[start..at]));
            (start, start_line) = if begins { (at, number + 1) } else { (at + line.len(), number + 2) };
        }
        at += line.len();
    }
    documents.push((start_line, &text[start..]));
    documents
}

/// What a value is, for people.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Sequence(_) => "a list",
        Value::Mapping(_) => "a mapping",
        Value::Tagged(_) => "a tagged value",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_know_their_lines() {
        let text = "# head\ntitle: a\nx: 1\n---\n\ntitle: b\nthreshold:\n  count: 1\n  # windw: no\n  windw: 2m\nother: 1\n";
        let mut errors = Vec::new();
        let documents = Document::read_all("f.yml", text, &mut errors);
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(documents.iter().map(|d| d.line).collect::<Vec<_>>(), [2, 6]);
        assert_eq!(documents[1].error(&["threshold", "windw"], "x").line, Some(10));
        assert_eq!(documents[1].error(&["threshold", "other"], "x").line, Some(7), "not inside threshold");
        assert_eq!(documents[1].error(&["nothing"], "x").line, Some(6));
        assert_eq!(documents[0].error(&["x"], "x").line, Some(3));
        assert_eq!(documents[1].error_near(Some("2m"), "x").line, Some(10));
    }

    #[test]
    fn a_document_that_is_no_yaml_leaves_the_others() {
        let text = "title: a\n---\ntitle: [b\n---\n- 1\n---\ntitle: c\n...\n";
        let mut errors = Vec::new();
        let documents = Document::read_all("f.yml", text, &mut errors);
        assert_eq!(documents.iter().filter_map(Document::title).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(errors.len(), 2);
        assert!(errors.iter().all(|e| e.line.is_some_and(|line| (2..=6).contains(&line))), "{errors:?}");
        assert!(errors[1].message.contains("a list"), "{errors:?}");
    }

    #[test]
    fn a_file_beyond_the_bound_is_refused() {
        let mut errors = Vec::new();
        assert!(Document::read_all("f.yml", &"#".repeat(MAX_FILE_BYTES + 1), &mut errors).is_empty());
        assert_eq!(errors.len(), 1);
    }
}
