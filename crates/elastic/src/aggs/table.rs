//! Tables by their keys.

use super::plan::COUNT;
use millrace_model::Value;
use millrace_pipes::{Cells, Table};
use std::collections::HashMap;

/// A table whose rows are found by their first keys.
pub(super) struct Indexed<'t> {
    table: &'t Table,
    width: usize,
    counts: Option<&'t Cells>,
    /// Rows by the codes of their first keys: all of them, and all but the last few.
    whole: HashMap<String, usize>,
    parts: HashMap<String, Vec<usize>>,
}

impl<'t> Indexed<'t> {
    /// `width` keys, of which the last `own` tell rows of one part apart.
    pub(super) fn new(table: &'t Table, width: usize, own: usize) -> Self {
        let counts = table.columns.iter().find(|column| column.name == COUNT).map(|column| &column.cells);
        let mut indexed = Self { table, width, counts, whole: HashMap::new(), parts: HashMap::new() };
        for row in 0..table.rows {
            let mut code = String::new();
            for key in 0..width {
                if key == width - own {
                    indexed.parts.entry(code.clone()).or_default().push(row);
                }
                push(&mut code, indexed.key(row, key));
            }
            indexed.whole.insert(code, row);
        }
        indexed
    }

    /// A key of a row.
    pub(super) fn key(&self, row: usize, key: usize) -> Option<&'t Value> {
        self.table.columns.get(key).filter(|_| key < self.width)?.cells.get(row)
    }

    /// The value of a column.
    pub(super) fn cell(&self, row: usize, name: &str) -> Option<&'t Value> {
        self.table.columns[self.width.min(self.table.columns.len())..]
            .iter()
            .find(|column| column.name == name)?
            .cells
            .get(row)
    }

    /// How many records a row is of.
    pub(super) fn count(&self, row: usize) -> u64 {
        match self.counts.and_then(|counts| counts.get(row)) {
            Some(Value::Int(count)) => u64::try_from(*count).unwrap_or(0),
            _ => 0,
        }
    }

    /// The row of these keys.
    pub(super) fn row(&self, code: &str) -> Option<usize> {
        self.whole.get(code).copied()
    }

    /// The rows of a part.
    pub(super) fn rows(&self, code: &str) -> &[usize] {
        self.parts.get(code).map_or(&[], Vec::as_slice)
    }
}

/// Adds a key to a code. No two lists of keys have the same.
pub(super) fn push(code: &mut String, key: Option<&Value>) {
    match key {
        None => code.push_str("n;"),
        Some(Value::Int(number)) => code.extend(["i", &number.to_string(), ";"]),
        Some(Value::Double(number)) if number.fract() == 0.0 && number.abs() < 9e15 => {
            code.extend(["i", &(*number as i64).to_string(), ";"]);
        }
        Some(Value::Double(number)) => code.extend(["d", &number.to_bits().to_string(), ";"]),
        Some(Value::Bool(flag)) => code.push_str(if *flag { "bt;" } else { "bf;" }),
        Some(other) => {
            let text = other.to_string();
            code.extend(["s", &text.len().to_string(), ":", &text, ";"]);
        }
    }
}
