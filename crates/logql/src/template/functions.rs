//! The functions of templates: their table, and what a value is as an argument. Logic and conversions are here, `strings` and
//! `math` have the rest.

use super::{Function, Value, format, math, strings, time};
use crate::units::{Duration, bytes_value};
use std::cmp::Ordering;

/// Any number of arguments.
pub(super) const MANY: usize = usize::MAX;

/// A name, the least and the most arguments, and what it does.
pub(super) type Entry = (&'static str, usize, usize, Function);

pub(super) fn all() -> impl Iterator<Item = Entry> {
    TABLE.iter().chain(strings::TABLE).chain(math::TABLE).copied()
}

const TABLE: &[Entry] = &[
    ("and", 1, MANY, |a| Ok(logic(a, false))),
    ("or", 1, MANY, |a| Ok(logic(a, true))),
    ("not", 1, 1, |a| Ok(Value::Bool(!a[0].holds()))),
    ("eq", 2, MANY, |a| {
        let mut found = false;
        for other in &a[1..] {
            found |= compare(&a[0], other)?.is_some_and(Ordering::is_eq);
        }
        Ok(Value::Bool(found))
    }),
    ("ne", 2, 2, |a| Ok(Value::Bool(!compare(&a[0], &a[1])?.is_some_and(Ordering::is_eq)))),
    ("lt", 2, 2, |a| Ok(Value::Bool(compare(&a[0], &a[1])?.is_some_and(Ordering::is_lt)))),
    ("le", 2, 2, |a| Ok(Value::Bool(compare(&a[0], &a[1])?.is_some_and(Ordering::is_le)))),
    ("gt", 2, 2, |a| Ok(Value::Bool(compare(&a[0], &a[1])?.is_some_and(Ordering::is_gt)))),
    ("ge", 2, 2, |a| Ok(Value::Bool(compare(&a[0], &a[1])?.is_some_and(Ordering::is_ge)))),
    ("default", 2, 2, |a| Ok(if a[1].holds() { a[1].clone() } else { a[0].clone() })),
    ("int", 1, 1, |a| Ok(Value::Int(int(&a[0])))),
    ("float64", 1, 1, |a| Ok(Value::Float(float(&a[0])))),
    ("bytes", 1, 1, |a| {
        let text = text(&a[0]);
        let bytes = bytes_value(&text).ok_or_else(|| format!("{text:?} is no amount of bytes"))?;
        Ok(Value::Float(bytes as f64))
    }),
    ("duration", 1, 1, seconds),
    ("duration_seconds", 1, 1, seconds),
    ("date", 2, 2, |a| Ok(Value::Text(time::format(&text(&a[0]), moment(&a[1])?)))),
    ("toDate", 2, 2, |a| time::parse(&text(&a[0]), &text(&a[1])).map(Value::Time)),
    ("toDateInZone", 3, 3, |a| {
        let zone = text(&a[1]);
        if !matches!(zone.as_str(), "UTC" | "Local" | "") {
            return Err(format!("times are in UTC here, not in {zone}"));
        }
        time::parse(&text(&a[0]), &text(&a[2])).map(Value::Time)
    }),
    ("unixEpoch", 1, 1, |a| Ok(Value::Text(moment(&a[0])?.div_euclid(1_000_000_000).to_string()))),
    ("unixEpochMillis", 1, 1, |a| Ok(Value::Text(moment(&a[0])?.div_euclid(1_000_000).to_string()))),
    ("unixEpochNanos", 1, 1, |a| Ok(Value::Text(moment(&a[0])?.to_string()))),
    ("unixToTime", 1, 1, |a| {
        let text = text(&a[0]);
        time::from_epoch(&text).map(Value::Time).ok_or_else(|| format!("{text:?} is no time since the epoch"))
    }),
    ("print", 0, MANY, |a| Ok(Value::Text(a.iter().map(text).collect()))),
    ("println", 0, MANY, |a| {
        let texts: Vec<String> = a.iter().map(text).collect();
        Ok(Value::Text(texts.join(" ") + "\n"))
    }),
    ("printf", 1, MANY, |a| format::printf(&text(&a[0]), &a[1..]).map(Value::Text)),
];

/// The first value that decides, else the last.
fn logic(arguments: &[Value], decides: bool) -> Value {
    let last = arguments.last().cloned().unwrap_or(Value::Bool(!decides));
    arguments.iter().find(|value| value.holds() == decides).cloned().unwrap_or(last)
}

fn compare(a: &Value, b: &Value) -> Result<Option<Ordering>, String> {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => Ok(Some(a.cmp(b))),
        (Value::Int(a), Value::Int(b)) | (Value::Time(a), Value::Time(b)) => Ok(Some(a.cmp(b))),
        (Value::Float(a), Value::Float(b)) => Ok(a.partial_cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => Ok(Some(a.cmp(b))),
        _ => Err("values of different types do not compare".to_owned()),
    }
}

fn seconds(arguments: &[Value]) -> Result<Value, String> {
    let text = text(&arguments[0]);
    let duration = Duration::parse_value(&text).ok_or_else(|| format!("{text:?} is no length of time"))?;
    Ok(Value::Float(duration.seconds()))
}

fn moment(value: &Value) -> Result<i64, String> {
    match value {
        Value::Time(time) => Ok(*time),
        other => Err(format!("{:?} is no time", text(other))),
    }
}

/// As a text.
pub(super) fn text(value: &Value) -> String {
    let mut out = String::new();
    format::display(value, &mut out);
    out
}

/// As a whole number; 0 where it is none.
pub(super) fn int(value: &Value) -> i64 {
    match value {
        Value::Int(number) => *number,
        Value::Float(number) => *number as i64,
        Value::Bool(flag) => i64::from(*flag),
        Value::Text(text) => text.trim().parse().unwrap_or(0),
        Value::Time(_) => 0,
    }
}

/// As a number; 0 where it is none.
pub(super) fn float(value: &Value) -> f64 {
    match value {
        Value::Int(number) => *number as f64,
        Value::Float(number) => *number,
        Value::Bool(flag) => f64::from(*flag),
        Value::Text(text) => text.trim().parse().unwrap_or(0.0),
        Value::Time(_) => 0.0,
    }
}
