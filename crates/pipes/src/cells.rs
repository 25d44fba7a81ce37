//! The values of one field, of some rows: each value mostly once, and a code a row. What is asked of values is asked once
//! a value, not once a row.

use millrace_model::{Value, ValueRef};

/// See the module.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cells {
    /// Values that occur, none of them null; where they repeat, mostly once each. Some may belong to no row.
    pub values: Vec<Value>,
    /// Of each row, which of the values it has, or [`ABSENT`].
    pub codes: Vec<u32>,
}

/// The code of a row without a value.
pub const ABSENT: u32 = u32::MAX;

impl Cells {
    /// The value of a row.
    pub fn get(&self, row: usize) -> Option<&Value> {
        self.values.get(*self.codes.get(row)? as usize)
    }

    /// One row more. Null is as good as absent.
    pub fn push(&mut self, value: Option<Value>) {
        match value {
            Some(value) if value != Value::Null => {
                self.codes.push(self.values.len() as u32);
                self.values.push(value);
            }
            _ => self.codes.push(ABSENT),
        }
    }

    /// The same, where values often come one after the other that are equal.
    pub(crate) fn push_run(&mut self, value: Option<Value>) {
        let last = self.codes.last().copied().unwrap_or(ABSENT);
        if value.is_some() && self.values.get(last as usize) == value.as_ref() {
            self.codes.push(last);
        } else {
            self.push(value);
        }
    }

    /// So many rows with one value.
    pub fn uniform(value: Option<Value>, rows: usize) -> Self {
        let value = value.filter(|value| *value != Value::Null);
        let code = if value.is_some() { 0 } else { ABSENT };
        Self { values: value.into_iter().collect(), codes: vec![code; rows] }
    }

    /// How many rows.
    pub fn rows(&self) -> usize {
        self.codes.len()
    }

    /// Only the first rows.
    pub fn truncate(&mut self, rows: usize) {
        self.codes.truncate(rows);
    }

    /// Other values for the same rows: what is made of each of them.
    #[must_use]
    pub fn map(&self, make: impl FnMut(&Value) -> Option<Value>) -> Self {
        let mut made = Self::default();
        self.values.iter().map(make).for_each(|value| made.push(value));
        let codes = self.codes.iter().map(|code| made.codes.get(*code as usize).copied().unwrap_or(ABSENT));
        Self { codes: codes.collect(), values: made.values }
    }

    /// These rows, by their numbers.
    #[must_use]
    pub(crate) fn pick(&self, rows: &[u32]) -> Self {
        // Of few rows only their own values are kept.
        if rows.len() < self.values.len() {
            return rows.iter().map(|row| self.get(*row as usize).cloned()).collect();
        }
        let codes = rows.iter().map(|row| self.codes.get(*row as usize).copied().unwrap_or(ABSENT));
        Self { codes: codes.collect(), values: self.values.clone() }
    }
}

impl FromIterator<Option<Value>> for Cells {
    fn from_iter<I: IntoIterator<Item = Option<Value>>>(values: I) -> Self {
        let mut cells = Self::default();
        values.into_iter().for_each(|value| cells.push(value));
        cells
    }
}

/// The value as it counts: how a text is searched makes no other value of it.
pub fn plain(value: Value) -> Value {
    match value {
        Value::Text(text) => Value::String(text),
        Value::Array(values) => Value::Array(values.into_iter().map(plain).collect()),
        Value::Map(entries) => {
            Value::Map(entries.into_iter().map(|(key, value)| (key, plain(value))).collect())
        }
        other => other,
    }
}

/// A field's value as a cell has it: a level is its text, or its class where it has none, a time is in nanoseconds since the epoch,
/// and null is as good as absent.
pub fn cell_of(value: &ValueRef<'_>) -> Option<Value> {
    match value {
        ValueRef::Value(Value::Null) => None,
        ValueRef::Value(value) => Some(plain((*value).clone())),
        ValueRef::Text(text) => Some(Value::String(text.clone())),
        ValueRef::Int(number) => Some(Value::Int(*number)),
        ValueRef::Time(time) => Some(Value::Int(time.0)),
        ValueRef::Level { text, severity } => {
            let text = if text.is_empty() { severity.class() } else { text };
            (!text.is_empty()).then(|| Value::from(text))
        }
    }
}
