//! A value and the place where it stands: the tree that all layers are merged into.
//!
//! Owns no file and knows no TOML; `parse` builds it, `section` reads it.

use std::{collections::BTreeMap, fmt, ops::Range, sync::Arc};

/// A piece of configuration text: a file, one environment variable or one flag.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Text {
    /// The file's path, `environment` or `flags`.
    pub(crate) name: String,
    pub(crate) content: String,
    /// Later layers are higher.
    pub(crate) layer: usize,
    /// Environment and flags have no quotes: `5` may be meant as the text "5", and `a,b` as a list.
    pub(crate) unquoted: bool,
}

/// Where something stands: a text and a range of its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    pub(crate) text: Arc<Text>,
    pub(crate) span: Range<usize>,
}

impl Place {
    pub(crate) fn new(text: &Arc<Text>, span: Range<usize>) -> Self {
        let end = span.end.min(text.content.len());
        Self { text: Arc::clone(text), span: span.start.min(end)..end }
    }

    /// The file's path, or `environment`, or `flags`.
    pub fn file(&self) -> &str {
        &self.text.name
    }

    /// Line and column, both counted from 1; columns count characters.
    pub fn line_and_column(&self) -> (usize, usize) {
        let before = self.text.content.get(..self.span.start).unwrap_or_default();
        let start_of_line = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[start_of_line..].chars().count() + 1)
    }

    /// What is written there.
    pub(crate) fn written(&self) -> &str {
        self.text.content.get(self.span.clone()).unwrap_or_default()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.line_and_column();
        write!(f, "{}:{line}:{column}", self.file())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The keys of a table, sorted.
pub(crate) type Table = BTreeMap<String, Entry>;

/// A key of a table and what it is set to.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: Place,
    pub(crate) value: Value,
}

#[derive(Debug, Clone)]
pub(crate) enum Data {
    String(String),
    Integer(i128),
    Float(f64),
    Boolean(bool),
    Datetime(String),
    Array(Vec<Value>),
    Table(Table),
    /// Could not be expanded; the reason is already among the problems.
    Invalid,
}

/// A value of the configuration, with its place. Variables and files are already put in.
#[derive(Clone)]
pub struct Value {
    pub(crate) data: Data,
    pub(crate) place: Place,
}

/// Shows the place alone: the value may be a secret.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({:?})", self.place)
    }
}

impl Value {
    /// Where it stands.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The text; a number or boolean of the environment or of a flag counts as text too, since those have no quotes.
    pub fn as_str(&self) -> Option<&str> {
        match &self.data {
            Data::String(text) => Some(text),
            Data::Integer(_) | Data::Float(_) | Data::Boolean(_) | Data::Datetime(_)
                if self.place.text.unquoted =>
            {
                Some(self.place.written())
            }
            _ => None,
        }
    }

    /// The integer.
    pub fn as_integer(&self) -> Option<i128> {
        if let Data::Integer(number) = self.data { Some(number) } else { None }
    }

    /// The number; an integer counts as one.
    pub fn as_float(&self) -> Option<f64> {
        match self.data {
            Data::Float(number) => Some(number),
            Data::Integer(number) => Some(number as f64),
            _ => None,
        }
    }

    /// The boolean.
    pub fn as_bool(&self) -> Option<bool> {
        if let Data::Boolean(value) = self.data { Some(value) } else { None }
    }

    /// The elements of a list.
    pub fn as_list(&self) -> Option<&[Self]> {
        if let Data::Array(values) = &self.data { Some(values) } else { None }
    }

    /// Is it a table?
    pub fn is_table(&self) -> bool {
        matches!(self.data, Data::Table(_))
    }

    /// The value of a table's key; `None` if this is no table or has no such key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.table()?.get(key).map(|entry| &entry.value)
    }

    /// The keys of a table, sorted; none if this is no table.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.table().into_iter().flatten().map(|(key, _)| key.as_str())
    }

    pub(crate) fn table(&self) -> Option<&Table> {
        if let Data::Table(table) = &self.data { Some(table) } else { None }
    }

    /// What it is, for messages: `a list`, `the number 5`, `the text "abc"`.
    pub fn found(&self) -> String {
        match &self.data {
            Data::String(text) if text.chars().count() > 60 => {
                format!("the text {:?}…", text.chars().take(60).collect::<String>())
            }
            Data::String(text) => format!("the text {text:?}"),
            Data::Integer(number) => format!("the number {number}"),
            Data::Float(number) => format!("the number {number}"),
            Data::Boolean(value) => value.to_string(),
            Data::Datetime(time) => format!("the time {time}"),
            other => other.kind().to_owned(),
        }
    }

    /// What kind of value it is, without telling the value: `a text`, `a number`.
    pub fn kind(&self) -> &'static str {
        self.data.kind()
    }
}

impl Data {
    fn kind(&self) -> &'static str {
        match self {
            Self::String(_) => "a text",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Boolean(_) => "a boolean",
            Self::Datetime(_) => "a time",
            Self::Array(_) => "a list",
            Self::Table(_) => "a table",
            Self::Invalid => "a value that could not be read",
        }
    }
}
