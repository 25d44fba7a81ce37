//! Answers as a table, whole, or one a line.

use crate::{
    cli::{Code, Output, written},
    client,
};
use serde_json::Value;
use std::io::{self, Write};

/// Writes what lies under `key` of an answer: as a table, whole, or one a line.
pub(crate) fn show(
    output: Output,
    answer: &Value,
    key: &str,
    columns: &[&str],
    row: fn(&Value) -> Vec<String>,
) -> anyhow::Result<Code> {
    let items = answer[key].as_array().cloned().unwrap_or_default();
    let mut out = io::stdout().lock();
    match output {
        Output::Json => written(writeln!(out, "{answer:#}"))?,
        Output::Ndjson => written(items.iter().try_for_each(|item| writeln!(out, "{item}")))?,
        Output::Text => {
            let header = columns.iter().map(|&column| column.to_owned()).collect();
            let rows: Vec<Vec<String>> = std::iter::once(header).chain(items.iter().map(row)).collect();
            written(lines(&rows, &[]).iter().try_for_each(|line| writeln!(out, "{line}")))?;
        }
    }
    Ok(Code::Ok)
}

/// Rows as lines, each column as wide as it must be, and to the right where that is said of it.
pub(crate) fn lines(rows: &[Vec<String>], right: &[bool]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |at| rows.iter().filter_map(|row| row.get(at)).map(|cell: &String| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, &width))| {
            if right.get(at) == Some(&true) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// A text without its quotes; nothing is `-`.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| "-".to_owned(), client::printable)
}

/// A time to the second.
pub(crate) fn time(value: &Value) -> String {
    value.as_str().map_or_else(|| "-".to_owned(), |time| format!("{}Z", time.get(..19).unwrap_or(time)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let rows = [vec!["A".to_owned(), "BC".to_owned()], vec!["größer".to_owned(), String::new()]];
        assert_eq!(lines(&rows, &[]), ["A       BC", "größer"]);
        assert_eq!(lines(&rows, &[true]), ["     A  BC", "größer"]);
    }

    #[test]
    fn times_are_said_to_the_second() {
        assert_eq!(time(&json!("2026-11-26T20:49:58.853917939Z")), "2026-11-26T20:49:58Z");
        assert_eq!(time(&Value::Null), "-");
    }
}
