//! Keys of buckets: how they come out of records, how they are shown, and which records they are found by again.

use super::{
    calendar::Rounding,
    needs::{call, column, int, text},
    spec::{DateHistogram, Histogram, Source},
};
use crate::{
    Error, Zone,
    date::Format,
    fields::{Kind, Mapping, Resolved, Stored},
    json::{self, float_text, scalar},
    query::{Leaf, none},
};
use millrace_filter::{Expr as Filter, Literal, Predicate};
use millrace_model::{TimeRange, Value, declared};
use millrace_pipes::{Expr, Function};
use serde_json::{Value as Json, json};
use std::cmp::Ordering;

const MILLISECOND: i64 = 1_000_000;

/// A key of a bucket.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    pub(super) field: Resolved,
    pub(super) kind: KeyKind,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum KeyKind {
    /// The values themselves.
    Plain,
    /// True and false are numbers with names.
    Flag,
    /// Times, in units of so many nanoseconds.
    Time { unit: i64, format: Format, zone: Zone },
    /// Where an interval of numbers begins.
    Number { interval: f64 },
    /// Where an interval of times begins, in nanoseconds.
    Interval { rounding: Rounding, format: Option<Format>, shown: Format, stored: Stored },
}

/// Values of a field as columns give them; lacking ones as `missing` says.
pub(super) fn values(field: &Resolved, missing: Option<&Json>) -> Result<Expr, Error> {
    values_of(column(&field.path), field, missing)
}

/// The same, where something else gives what the field has.
fn values_of(name: Expr, field: &Resolved, missing: Option<&Json>) -> Result<Expr, Error> {
    let values = match &field.kind {
        // As an index of words would have it.
        Kind::Text => call(Function::Lower, vec![name]),
        Kind::Long | Kind::Double | Kind::Date { stored: Stored::Millis | Stored::Nanos, .. } => {
            call(Function::Number, vec![name])
        }
        _ => name,
    };
    let Some(missing) = missing else { return Ok(values) };
    Ok(call(Function::Coalesce, vec![values, Expr::Constant(constant(field, missing)?)]))
}

/// A value as the field keeps it.
fn constant(field: &Resolved, given: &Json) -> Result<Value, Error> {
    let text = scalar(given).ok_or_else(|| Error::argument("[missing] is a text, a number or a flag"))?;
    let number = || match millrace_model::Number::parse(text.trim()) {
        Some(millrace_model::Number::Int(number)) => Ok(Value::Int(number)),
        Some(millrace_model::Number::Double(number)) => Ok(Value::Double(number)),
        None => Err(Error::number(&text)),
    };
    match &field.kind {
        Kind::Date { stored, format } => {
            let at = match text.parse::<i64>() {
                Ok(millis) => millis.saturating_mul(MILLISECOND),
                Err(_) => format.read(&text, Zone::UTC, false)?,
            };
            Ok(Value::Int(at.div_euclid(stored.unit())))
        }
        Kind::Long | Kind::Double => number(),
        Kind::Boolean => Ok(Value::Bool(text == "true")),
        Kind::Ip => Ok(Value::String(declared::address(&text).unwrap_or(text))),
        _ if given.is_number() => number(),
        _ => Ok(Value::String(text)),
    }
}

impl Key {
    /// Of the values themselves, and the expression, where a column has the elements of the field's arrays.
    pub(super) fn of_values(
        mapping: &Mapping,
        source: &Source,
        elements: &str,
    ) -> Result<(Self, Expr), Error> {
        let field = mapping.field(&source.field);
        let values = values_of(column(elements), &field, source.missing.as_ref())?;
        let kind = match &field.kind {
            Kind::Boolean => KeyKind::Flag,
            Kind::Date { stored: Stored::Time, format } => {
                // To the millisecond, as it is shown.
                let values = call(Function::Bucket, vec![values, int(MILLISECOND)]);
                let kind = KeyKind::Time { unit: 1, format: format.clone(), zone: Zone::UTC };
                return Ok((Self { field, kind }, values));
            }
            Kind::Date { stored, format } => {
                KeyKind::Time { unit: stored.unit(), format: format.clone(), zone: Zone::UTC }
            }
            _ => KeyKind::Plain,
        };
        Ok((Self { field, kind }, values))
    }

    /// Of intervals of numbers.
    pub(super) fn of_numbers(mapping: &Mapping, histogram: &Histogram) -> Result<(Self, Expr), Error> {
        let field = mapping.field(&histogram.source.field);
        let values = call(Function::Number, vec![values(&field, histogram.source.missing.as_ref())?]);
        let (interval, offset) = (histogram.interval, histogram.offset.rem_euclid(histogram.interval));
        let double = |number: f64| Expr::Constant(Value::Double(number));
        let shifted =
            if offset == 0.0 { values } else { call(Function::Subtract, vec![values, double(offset)]) };
        let start = call(Function::Bucket, vec![shifted, double(interval)]);
        let key = if offset == 0.0 { start } else { call(Function::Add, vec![start, double(offset)]) };
        Ok((Self { field, kind: KeyKind::Number { interval } }, key))
    }

    /// Of intervals of times: what comes first, and the expression.
    pub(super) fn of_times(
        mapping: &Mapping,
        histogram: &DateHistogram,
        prefix: &str,
        range: TimeRange,
    ) -> Result<(Self, Vec<millrace_pipes::Pipe>, Expr), Error> {
        let field = mapping.field(&histogram.source.field);
        let (stored, own) = match &field.kind {
            Kind::Date { stored, format } => (*stored, format.clone()),
            // A field that nobody declared holds milliseconds if it holds times.
            Kind::Long | Kind::Double | Kind::Dynamic | Kind::Unknown => (Stored::Millis, Format::standard()),
            other => {
                return Err(Error::argument(format!(
                    "Field [{}] of type [{}] is not supported for aggregation [date_histogram]",
                    histogram.source.field,
                    other.name()
                )));
            }
        };
        let zone = histogram.zone.as_deref().map_or(Ok(Zone::UTC), Zone::parse)?;
        let format = histogram.format.as_deref().map(Format::new).transpose()?;
        let values = values(&field, histogram.source.missing.as_ref())?;
        let nanos = match stored.unit() {
            1 => values,
            unit => call(Function::Multiply, vec![call(Function::Number, vec![values]), int(unit)]),
        };
        // What else is found may lie at any time in other fields.
        let range = if stored == Stored::Time { range } else { TimeRange::ALL };
        let rounding = Rounding { every: histogram.every, zone, offset: histogram.offset };
        let (pipes, key) = rounding.columns(prefix, nanos, range);
        let shown = format.clone().unwrap_or(own);
        Ok((Self { field, kind: KeyKind::Interval { rounding, format, shown, stored } }, pipes, key))
    }

    /// A key as it is shown, and as text where that is another.
    pub(super) fn show(&self, cell: Option<&Value>) -> (Json, Option<String>) {
        let Some(cell) = cell else { return (Json::Null, None) };
        match &self.kind {
            KeyKind::Flag => match cell {
                Value::Bool(flag) => (json!(i64::from(*flag)), Some(flag.to_string())),
                other => (json!(other), None),
            },
            KeyKind::Time { unit, format, zone } => match whole(cell) {
                Some(number) => {
                    let nanos = number.saturating_mul(*unit);
                    (json!(nanos.div_euclid(MILLISECOND)), Some(format.write(nanos, *zone)))
                }
                None => (json!(cell), None),
            },
            KeyKind::Interval { rounding, shown, .. } => match whole(cell) {
                Some(number) => {
                    let at = rounding.instant(number);
                    (json!(at.div_euclid(MILLISECOND)), Some(shown.write(at, rounding.zone)))
                }
                None => (json!(cell), None),
            },
            KeyKind::Number { .. } => (float(cell).map_or(Json::Null, |number| json!(number)), None),
            KeyKind::Plain => match (cell, &self.field.kind) {
                (Value::Bool(flag), _) => (json!(i64::from(*flag)), Some(flag.to_string())),
                (Value::Double(number), _) => (json::number(*number), None),
                (Value::Int(number), Kind::Double) => (json!(*number as f64), None),
                (Value::Array(_) | Value::Map(_), _) => (json!(cell.to_string()), None),
                _ => (json!(cell), None),
            },
        }
    }

    /// A key as parts of composites show it.
    pub(super) fn show_part(&self, cell: Option<&Value>) -> Json {
        let (key, text) = self.show(cell);
        match (&self.kind, text) {
            (KeyKind::Interval { format: Some(_), .. }, Some(text)) => json!(text),
            (KeyKind::Plain | KeyKind::Flag, Some(text)) => json!(text == "true"),
            _ => key,
        }
    }

    /// A key as text, as parts of several show it.
    pub(super) fn text(&self, cell: Option<&Value>) -> String {
        match self.show(cell) {
            (_, Some(text)) => text,
            (Json::Number(number), None) if number.is_f64() => {
                float_text(number.as_f64().unwrap_or_default())
            }
            (key, None) => scalar(&key).unwrap_or_default(),
        }
    }

    /// What a client hands back for a part of a composite, as it is compared. Times are instants.
    pub(super) fn read(&self, given: &Json) -> Option<Value> {
        match &self.kind {
            KeyKind::Interval { format, rounding, .. } => match (format, scalar(given)) {
                (Some(format), Some(text)) => format.read(&text, rounding.zone, false).ok().map(Value::Int),
                _ => json::integer(given).map(|millis| Value::Int(millis.saturating_mul(MILLISECOND))),
            },
            KeyKind::Time { unit, .. } => {
                json::integer(given).map(|millis| Value::Int(millis.saturating_mul(MILLISECOND) / unit))
            }
            KeyKind::Number { .. } => json::float(given).map(Value::Double),
            KeyKind::Flag | KeyKind::Plain => match (given, &self.field.kind) {
                (Json::Bool(flag), _) => Some(Value::Bool(*flag)),
                (Json::Number(number), _) => Some(
                    number
                        .as_i64()
                        .map_or_else(|| number.as_f64().map_or(Value::Null, Value::Double), Value::Int),
                ),
                (Json::String(text), Kind::Long | Kind::Double) => {
                    text.parse::<f64>().ok().map(Value::Double)
                }
                (Json::String(text), _) => Some(Value::from(text.as_str())),
                _ => None,
            },
        }
    }

    /// A key as it is compared: times as instants.
    pub(super) fn compared(&self, cell: &Value) -> Value {
        match (&self.kind, whole(cell)) {
            (KeyKind::Interval { rounding, .. }, Some(number)) => Value::Int(rounding.instant(number)),
            _ => cell.clone(),
        }
    }

    /// The records that have this key.
    pub(super) fn filter(&self, cell: Option<&Value>) -> Filter {
        let leaf = Leaf::new(self.field.clone(), 0);
        let Some(cell) = cell else { return crate::query::not(leaf.exists()) };
        let between = |low: f64, high: f64| {
            let literal = |number: f64| Literal::new(&number.to_string());
            leaf.test(Predicate::Range {
                low: Some((literal(low), true)),
                high: Some((literal(high), false)),
            })
        };
        match &self.kind {
            KeyKind::Number { interval } => {
                float(cell).map_or_else(none, |start| between(start, start + interval))
            }
            KeyKind::Interval { rounding, stored, .. } => whole(cell).map_or_else(none, |number| {
                let start = rounding.instant(number);
                leaf.stored_between(*stored, Some(start), Some(rounding.next(start)))
            }),
            KeyKind::Time { unit, .. }
                if matches!(self.field.kind, Kind::Date { stored: Stored::Time, .. }) =>
            {
                whole(cell).map_or_else(none, |number| {
                    let start = number.saturating_mul(*unit);
                    leaf.between(Some(start), Some(start.saturating_add(MILLISECOND)))
                })
            }
            _ => {
                let is_plain = !matches!(cell, Value::String(_) | Value::Text(_));
                let text = cell.to_string();
                let term = crate::query::Term { text: &text, is_plain, any_case: false };
                leaf.term(&term).unwrap_or_else(|_| leaf.equals(&text))
            }
        }
    }
}

pub(super) fn whole(cell: &Value) -> Option<i64> {
    match cell {
        Value::Int(number) => Some(*number),
        Value::Double(number) if number.abs() < 9.2e18 => Some(number.floor() as i64),
        _ => None,
    }
}

pub(super) fn float(cell: &Value) -> Option<f64> {
    match cell {
        Value::Int(number) => Some(*number as f64),
        Value::Double(number) => Some(*number),
        _ => None,
    }
}

/// How keys are ordered: what is lacking first, numbers by number, before texts.
pub(super) fn compare(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    match (a, b) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (Some(Value::Int(a)), Some(Value::Int(b))) => a.cmp(b),
        (Some(a), Some(b)) => {
            let number = |value: &Value| match value {
                Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
                other => float(other),
            };
            match (number(a), number(b)) {
                (Some(a), Some(b)) => a.total_cmp(&b),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => millrace_filter::value_text(a).cmp(&millrace_filter::value_text(b)),
            }
        }
    }
}

/// Numbers of a field; true and false are 1 and 0.
pub(super) fn numbers(field: &Resolved, missing: Option<&Json>) -> Result<Expr, Error> {
    if matches!(field.path.as_str(), "_size" | "_doc_length" | "attributes._size" | "attributes._doc_length")
    {
        // As the plugin for sizes has it: how long the document is.
        return Ok(call(Function::Length, vec![column("body")]));
    }
    let values = values(field, missing)?;
    if field.kind == Kind::Boolean {
        let is =
            |flag: &str| call(Function::Equal, vec![call(Function::Text, vec![values.clone()]), text(flag)]);
        let no = call(Function::If, vec![is("false"), int(0), Expr::Constant(Value::Null)]);
        return Ok(call(Function::If, vec![is("true"), int(1), no]));
    }
    Ok(call(Function::Number, vec![values]))
}
