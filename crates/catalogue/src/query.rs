//! A statement put together from pieces. Values are always bound, never written into the text: placeholders are numbered,
//! as both databases understand them (the driver's own builder writes `?`, which only one does).

use sqlx::{
    Any, AssertSqlSafe, FromRow,
    any::{AnyArguments, AnyRow},
};
use std::fmt::Write;

/// A statement that is being written.
pub(crate) struct Query {
    text: String,
    values: Vec<Value>,
}

/// A value of a statement.
pub(crate) enum Value {
    Number(i64),
    Truth(bool),
    Text(Option<String>),
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Truth(truth)
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

/// Binds the values of a query to one of the driver's.
macro_rules! bound {
    ($query:expr, $values:expr) => {{
        let mut query = $query;
        for value in $values {
            query = match value {
                Value::Number(number) => query.bind(number),
                Value::Truth(truth) => query.bind(truth),
                Value::Text(text) => query.bind(text),
            };
        }
        query
    }};
}

impl Query {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), values: Vec::new() }
    }

    /// Adds what stands in this program, or is made of nothing else.
    pub(crate) fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Adds a value.
    pub(crate) fn bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.values.push(value.into());
        // Writing into a string cannot fail.
        write!(self.text, "${}", self.values.len()).unwrap_or_default();
        self
    }

    /// Adds ` IN (…)` after `column`; of no values, a condition that never holds.
    pub(crate) fn push_in<T: Into<Value>>(
        &mut self,
        column: &str,
        values: impl IntoIterator<Item = T>,
    ) -> &mut Self {
        self.push(column).push(" IN (NULL");
        for value in values {
            self.push(", ").bind(value);
        }
        self.push(")")
    }

    /// Adds values in brackets, with commas between.
    pub(crate) fn push_row(&mut self, values: impl IntoIterator<Item = Value>) -> &mut Self {
        let mut before = "(";
        for value in values {
            self.push(before).bind(value);
            before = ", ";
        }
        self.push(")")
    }

    /// Adds another one, whose placeholders are numbered anew.
    pub(crate) fn append(&mut self, other: Self) -> &mut Self {
        let mut pieces = other.text.split('$');
        self.push(pieces.next().unwrap_or_default());
        for (piece, value) in pieces.zip(other.values) {
            self.bind(value).push(piece.trim_start_matches(|digit: char| digit.is_ascii_digit()));
        }
        self
    }

    /// To be executed.
    pub(crate) fn build(self) -> sqlx::query::Query<'static, Any, AnyArguments> {
        bound!(sqlx::query(AssertSqlSafe(self.text)), self.values)
    }

    /// To be read, a row a value.
    pub(crate) fn build_as<T: for<'r> FromRow<'r, AnyRow>>(
        self,
    ) -> sqlx::query::QueryAs<'static, Any, T, AnyArguments> {
        bound!(sqlx::query_as(AssertSqlSafe(self.text)), self.values)
    }
}
