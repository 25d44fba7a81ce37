//! A few records, and what fuzz targets do with what they have read: it is carried out, not only read.

use millrace_filter::Filter;
use millrace_model::{FieldRef, Fields, LogRecord, RecordId, Row, SourceId, TimeRange, Timestamp, Value};
use millrace_pipes::{Cells, Context, Pipe, Plan, Rows, cell_of};
use millrace_template::Miner;
use std::convert::Infallible;

/// What time it is.
pub const NOW: Timestamp = Timestamp(1_710_498_600_000_000_000);

/// Lines as they are common, a second apart.
pub const LINES: [&str; 6] = [
    r#"{"user":"anna","status":500,"duration":"1.5s","tags":["a","b"],"error":"timeout of 10.0.0.1"}"#,
    "level=info host=web1 status=200 took=12ms msg=\"a b c\"",
    "Failed password for invalid user admin from 10.0.0.7 port 4711 ssh2",
    r#"10.1.2.3 - bob [12/Mar/2024:10:00:00 +0000] "GET /a/b?c=d HTTP/1.1" 404 12"#,
    "",
    "größe 7 error ERROR warn\u{0}\u{7f}",
];

/// A row of each line.
pub fn rows() -> Vec<Row> {
    let row = |(at, line): (usize, &&str)| {
        let time = Timestamp(NOW.0 - 1_000_000_000 * at as i64);
        let body = Value::from(*line);
        let mut record = LogRecord { timestamp: Some(time), observed_timestamp: NOW, body, ..LogRecord::default() };
        record.attributes.set("status", Value::Int(200 + 100 * at as i64));
        record.attributes.set("user", Value::String(format!("u{}", at % 2)));
        record.attributes.set("share", Value::Double(0.5 * at as f64));
        record.attributes.set("tags", Value::Array(vec![Value::Int(1), Value::String("x".into())]));
        Row {
            id: RecordId { source: SourceId(1), position: at as u64, index: 0 },
            stream: "app".parse().expect("a stream's name"),
            time: record.time(),
            record,
        }
    };
    LINES.iter().enumerate().map(row).collect()
}

/// Rows as pipes ask for them.
struct Kept<'r> {
    rows: &'r [Row],
    fields: Vec<FieldRef>,
}

impl Rows for Kept<'_> {
    type Error = Infallible;

    fn count(&self) -> usize {
        self.rows.len()
    }

    fn cells(&self, column: usize, rows: &[u32]) -> Result<Cells, Infallible> {
        let value = |row: &u32| {
            self.rows[*row as usize].placed().field(&self.fields[column]).and_then(|value| cell_of(&value))
        };
        Ok(rows.iter().map(value).collect())
    }
}

/// Prints as text that parses back to an equal one, where that text is not too long for a query; and matches or does not.
pub fn hold(filter: &Filter) {
    for row in &rows() {
        std::hint::black_box(filter.matches(&row.placed()));
    }
    let text = filter.to_string();
    if text.len() < 5000 {
        let again = millrace_filter::parse(&text).unwrap_or_else(|error| panic!("{}", error.render(&text)));
        assert_eq!(again, *filter, "{text}");
    }
}

/// Plans pipes and carries them out, by way of the text that leaves are sent.
pub fn carry_out(pipes: &[Pipe]) {
    let range = TimeRange { from: Timestamp(0), to: NOW };
    let context = Context { now: NOW, range, limit: 100, memory: 1 << 22 };
    let Ok(plan) = Plan::new(pipes, &context) else { return };
    let leaf = plan.leaf();
    let text = serde_json::to_string(&leaf).expect("a plan travels");
    let leaf: millrace_pipes::Fragments = serde_json::from_str(&text).expect("what has travelled is read");
    let rows = rows();
    let mut all = leaf.begin();
    for rows in rows.chunks(4) {
        let mut part = leaf.begin();
        let Ok(()) = leaf.add(&mut part, &Kept { rows, fields: leaf.fields() });
        leaf.merge(&mut all, part);
    }
    drop(plan.finish(Some(all), &Miner::new()));
}
