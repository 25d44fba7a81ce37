//! What pipes give: named columns of equal length.

use crate::{Cells, frame::Rows};
use millrace_model::{Timestamp, Value};
use std::convert::Infallible;

/// See the module.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// In the order in which they are shown.
    pub columns: Vec<Column>,
    /// How many rows.
    pub rows: usize,
    /// Which rows these are hangs on estimates.
    pub chosen_by_estimate: bool,
}

/// A column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its values are times, in nanoseconds since the epoch.
    pub is_time: bool,
    /// Some of its values are estimates.
    pub is_estimate: bool,
    /// Its values.
    pub cells: Cells,
}

impl Column {
    /// The value of a row, as it is shown: times as RFC 3339. Null where it has none.
    pub fn shown(&self, row: usize) -> Value {
        match self.cells.get(row) {
            Some(Value::Int(time)) if self.is_time => Value::String(Timestamp(*time).to_string()),
            Some(value) => value.clone(),
            None => Value::Null,
        }
    }
}

impl Table {
    /// Only these columns, in this order. One that is not there is empty.
    #[must_use]
    pub(crate) fn select(mut self, names: &[String]) -> Self {
        let rows = self.rows;
        let take = |name: &String| match self.columns.iter().position(|column| column.name == *name) {
            Some(at) => self.columns.remove(at),
            None => Column {
                name: name.clone(),
                is_time: false,
                is_estimate: false,
                cells: Cells::uniform(None, rows),
            },
        };
        Self { columns: names.iter().map(take).collect(), rows, ..self }
    }

    /// Only the first rows.
    pub(crate) fn truncate(&mut self, rows: usize) {
        if rows < self.rows {
            self.rows = rows;
            self.columns.iter_mut().for_each(|column| column.cells.truncate(rows));
        }
    }
}

impl Rows for Table {
    type Error = Infallible;

    fn count(&self) -> usize {
        self.rows
    }

    fn cells(&self, column: usize, rows: &[u32]) -> Result<Cells, Infallible> {
        Ok(self.columns.get(column).map_or_else(
            || Cells::uniform(None, rows.len()),
            |column| if rows.len() == self.rows { column.cells.clone() } else { column.cells.pick(rows) },
        ))
    }
}
