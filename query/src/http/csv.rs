//! Hits and tables as CSV: as RFC 4180 has it, but for line ends. What is no text is JSON in it.

use serde_json::Value;
use std::io::{self, Write};

/// The columns of hits.
pub const HIT: [&str; 14] = [
    "_id",
    "timestamp",
    "observed_timestamp",
    "severity_text",
    "severity_number",
    "body",
    "resource",
    "attributes",
    "trace_id",
    "span_id",
    "_stream",
    "_source",
    "_position",
    "_template",
];

/// Writes rows.
///
/// # Errors
/// Those of `out`.
pub fn write<R: IntoIterator<Item = String>>(
    out: &mut impl Write,
    rows: impl Iterator<Item = R>,
) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    for row in rows {
        writer.write_record(row.into_iter().collect::<Vec<_>>()).map_err(io::Error::other)?;
    }
    writer.flush()
}

/// A value in a row.
pub fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
