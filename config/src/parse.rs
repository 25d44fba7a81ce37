//! From TOML text to the tree of values: parsed first, then variables and `{ file = "path" }` put into text values.
//!
//! Owns what a text means; which texts there are and which of them wins is `load`'s.

use crate::{
    expand::expand,
    report::Problem,
    value::{Data, Entry, Place, Table, Text, Value},
};
use std::{collections::BTreeMap, fs, ops::Range, path::Path, sync::Arc};
use toml::{
    Spanned,
    de::{DeInteger, DeTable, DeValue},
};

/// Turns one text into values. Problems of expansion are collected; such values become [`Data::Invalid`].
pub(crate) struct Parser<'a> {
    pub(crate) text: &'a Arc<Text>,
    pub(crate) variables: &'a BTreeMap<String, String>,
    /// What a relative `{ file = … }` is relative to.
    pub(crate) directory: &'a Path,
    pub(crate) problems: Vec<Problem>,
}

impl Parser<'_> {
    /// The table of a whole file, or all of its syntax errors.
    pub(crate) fn document(&mut self) -> Result<Table, Vec<Problem>> {
        let text = Arc::clone(self.text);
        let (table, errors) = DeTable::parse_recoverable(&text.content);
        if errors.is_empty() {
            return Ok(self.table(table.into_inner()));
        }
        Err(errors.iter().map(|error| self.syntax(error)).collect())
    }

    /// A value of the environment or a flag: TOML if it reads as TOML, plain text if not.
    pub(crate) fn unquoted(&mut self, span: Range<usize>) -> Value {
        let text = Arc::clone(self.text);
        let written = &text.content[span.clone()];
        match DeValue::parse(written) {
            Ok(value) => {
                let mut value = self.value(value);
                shift(&mut value, span.start);
                value
            }
            Err(_) => Value { data: Data::String(written.to_owned()), place: Place::new(&text, span) },
        }
    }

    fn syntax(&self, error: &toml::de::Error) -> Problem {
        let end = self.text.content.len();
        let span = error.span().unwrap_or(end..end);
        let message = error.message().lines().collect::<Vec<_>>().join("; ");
        Problem::new(format!("not valid TOML: {message}"), Some(&Place::new(self.text, span)))
            .expected("TOML cannot be read from here")
            .help("values are written as: key = \"text\", key = 5, key = [\"a\", \"b\"]; tables as: [name]")
    }

    fn table(&mut self, table: DeTable<'_>) -> Table {
        let mut entries = Table::new();
        for (key, value) in table {
            let place = Place::new(self.text, key.span());
            let value = self.value(value);
            entries.insert(key.into_inner().into_owned(), Entry { key: place, value });
        }
        entries
    }

    fn value(&mut self, value: Spanned<DeValue<'_>>) -> Value {
        let place = Place::new(self.text, value.span());
        let data = match value.into_inner() {
            DeValue::String(text) => self.expanded(&text, &place),
            DeValue::Integer(number) => self.integer(&number, &place),
            DeValue::Float(number) => Data::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(value) => Data::Boolean(value),
            DeValue::Datetime(time) => Data::Datetime(time.to_string()),
            DeValue::Array(values) => {
                Data::Array(values.into_iter().map(|value| self.value(value)).collect())
            }
            DeValue::Table(table) => {
                let table = self.table(table);
                // Only `{ file = … }` in braces: a `[section]` with a key `file` is a section.
                match table.get("file") {
                    Some(entry) if table.len() == 1 && place.written().starts_with('{') => {
                        self.file(&entry.value)
                    }
                    _ => Data::Table(table),
                }
            }
        };
        Value { data, place }
    }

    fn integer(&mut self, number: &DeInteger<'_>, place: &Place) -> Data {
        if let Ok(number) = i128::from_str_radix(number.as_str(), number.radix()) {
            return Data::Integer(number);
        }
        self.problems.push(Problem::new("the number is too large", Some(place)).expected("a smaller number"));
        Data::Invalid
    }

    fn expanded(&mut self, text: &str, place: &Place) -> Data {
        if place.text.unquoted {
            return Data::String(text.to_owned());
        }
        match expand(text, self.variables) {
            Ok(text) => Data::String(text),
            Err(failures) => {
                for failure in failures {
                    let place = match place.written().find(failure.part) {
                        Some(at) => {
                            let start = place.span.start + at;
                            Place::new(&place.text, start..start + failure.part.len())
                        }
                        None => place.clone(),
                    };
                    self.problems.push(Problem::new(failure.message, Some(&place)).help(failure.help));
                }
                Data::Invalid
            }
        }
    }

    /// The content of the file, without the line end that editors put after its last line.
    fn file(&mut self, path: &Value) -> Data {
        let Data::String(name) = &path.data else {
            if !matches!(path.data, Data::Invalid) {
                let problem = Problem::new(
                    format!("a file's path is expected, found {}", path.found()),
                    Some(&path.place),
                );
                self.problems.push(problem.expected("a path").help("write { file = \"/path/of/the/file\" }"));
            }
            return Data::Invalid;
        };
        let name = self.directory.join(name);
        match fs::read_to_string(&name) {
            Ok(content) => {
                let line = content.strip_suffix('\n').unwrap_or(&content);
                Data::String(line.strip_suffix('\r').unwrap_or(line).to_owned())
            }
            Err(error) => {
                let problem =
                    Problem::new(format!("cannot read {}: {error}", name.display()), Some(&path.place));
                self.problems.push(problem.expected("a file that can be read").help(
                    "create it, or let this user read it; a relative path starts at the configuration file's folder",
                ));
                Data::Invalid
            }
        }
    }
}

/// Moves the places of a value that was parsed from the middle of its text.
fn shift(value: &mut Value, by: usize) {
    let moved = |place: &Place| Place::new(&place.text, place.span.start + by..place.span.end + by);
    value.place = moved(&value.place);
    match &mut value.data {
        Data::Array(values) => values.iter_mut().for_each(|value| shift(value, by)),
        Data::Table(table) => {
            for entry in table.values_mut() {
                entry.key = moved(&entry.key);
                shift(&mut entry.value, by);
            }
        }
        _ => {}
    }
}
