//! `search_after`: what lies behind a hit in an order of any fields.

use super::{
    Missing, SortField,
    order::{Key, call, column, rank},
};
use crate::{
    Error, Zone,
    date::Format,
    fields::{Kind, Stored},
    json,
};
use millrace_model::{Number, Value as Cell};
use millrace_pipes::{Expr, Function};
use serde_json::Value as Json;

/// A sort value, as it is compared.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// The hit lacked it.
    Missing,
    /// A time in nanoseconds.
    Time(i64),
    Number(Number),
    Text(String),
}

/// What a client handed back for a key.
pub(super) fn value(key: &Key, given: &Json) -> Result<Value, Error> {
    let wrong = || {
        let name = match &key.given.field {
            SortField::Field(name) => name.as_str(),
            SortField::Doc => "_doc",
            SortField::Score => "_score",
        };
        Error::argument(format!("Failed to parse search_after value for field [{name}]."))
    };
    if given.is_null() {
        return Ok(Value::Missing);
    }
    let text = json::scalar(given).ok_or_else(wrong)?;
    match &key.field.kind {
        Kind::Date { stored, format } => {
            let format = key.given.format.as_ref().unwrap_or(format);
            let whole = text.strip_suffix(".0").unwrap_or(&text);
            // Numbers are as they were shown, whatever the field's format is.
            let number = whole.parse::<i64>().ok().filter(|_| key.given.format.is_none());
            let at = match number {
                Some(number) => number.saturating_mul(if *stored == Stored::Nanos { 1 } else { 1_000_000 }),
                None => format
                    .read(whole, Zone::UTC, false)
                    .or_else(|_| Format::standard().read(whole, Zone::UTC, false))?,
            };
            Ok(Value::Time(at))
        }
        Kind::Long | Kind::Double => number(given).map(Value::Number).ok_or_else(wrong),
        Kind::Keyword { .. } | Kind::Text | Kind::Ip | Kind::Id | Kind::Index | Kind::Line | Kind::Level => {
            Ok(Value::Text(text))
        }
        _ => Ok(match (given, number(given)) {
            (Json::Bool(flag), _) => Value::Number(Number::Int(i64::from(*flag))),
            (_, Some(number)) => Value::Number(number),
            _ => Value::Text(text),
        }),
    }
}

fn number(given: &Json) -> Option<Number> {
    match given {
        Json::Number(number) => {
            number.as_i64().map(Number::Int).or_else(|| number.as_f64().map(Number::Double))
        }
        Json::String(text) => Number::parse(text.trim()),
        _ => None,
    }
}

/// What stands for a value that is lacking.
pub(super) fn cell(key: &Key, given: &Json) -> Cell {
    match value(key, given) {
        Ok(Value::Time(at)) => match &key.field.kind {
            Kind::Date { stored, .. } => Cell::Int(at.div_euclid(stored.unit())),
            _ => Cell::Int(at),
        },
        Ok(Value::Number(Number::Int(number))) => Cell::Int(number),
        Ok(Value::Number(Number::Double(number))) => Cell::Double(number),
        Ok(Value::Text(text)) => Cell::String(text),
        Ok(Value::Missing) | Err(_) => Cell::Null,
    }
}

/// Behind these values: behind the first, or equal in it and behind the second, and so on.
pub(super) fn condition(keys: &[Key], after: &[Json]) -> Result<Expr, Error> {
    let mut ways = Vec::new();
    let mut equal: Vec<Expr> = Vec::new();
    for (at, (key, given)) in keys.iter().zip(after).enumerate() {
        if column(key).is_none() {
            continue;
        }
        let value = match value(key, given)? {
            Value::Time(_) => match cell(key, given) {
                Cell::Int(number) => Value::Number(Number::Int(number)),
                _ => Value::Missing,
            },
            other => other,
        };
        let values = rank(key, &format!("_sort{at}"));
        let mut way = equal.clone();
        way.push(beyond(&values, &value, key));
        ways.push(call(Function::And, way));
        equal.push(same(&values, &value));
    }
    Ok(call(Function::Or, ways))
}

fn constant(number: Number) -> Expr {
    Expr::Constant(match number {
        Number::Int(number) => Cell::Int(number),
        Number::Double(number) => Cell::Double(number),
    })
}

fn exists(values: &Expr) -> Expr {
    call(Function::Exists, vec![values.clone()])
}

fn not(expr: Expr) -> Expr {
    call(Function::Not, vec![expr])
}

fn same(values: &Expr, value: &Value) -> Expr {
    match value {
        Value::Missing => not(exists(values)),
        Value::Time(at) => same(values, &Value::Number(Number::Int(*at))),
        Value::Number(number) => {
            call(Function::Equal, vec![call(Function::Number, vec![values.clone()]), constant(*number)])
        }
        Value::Text(text) => {
            call(Function::Equal, vec![values.clone(), Expr::Constant(Cell::from(text.as_str()))])
        }
    }
}

/// Behind a value, as pipes order: what spells numbers by number, before texts; what is lacking last, or first.
fn beyond(values: &Expr, value: &Value, key: &Key) -> Expr {
    let numbers = call(Function::Number, vec![values.clone()]);
    let is_text = call(Function::And, vec![exists(values), not(exists(&numbers))]);
    let descending = key.given.descending;
    let sign = if descending { Function::Less } else { Function::Greater };
    let is_first = key.given.missing == Missing::First;
    let there = match value {
        // All that is there comes behind what is lacking and first.
        Value::Missing if is_first => return exists(values),
        Value::Missing => return Expr::Constant(Cell::Bool(false)),
        Value::Time(at) => return beyond(values, &Value::Number(Number::Int(*at)), key),
        Value::Number(number) => {
            let by_number = call(sign, vec![numbers, constant(*number)]);
            if descending { by_number } else { call(Function::Or, vec![by_number, is_text]) }
        }
        Value::Text(text) if Number::parse(text.trim()).is_some() => {
            let number = Number::parse(text.trim()).map_or(Value::Missing, Value::Number);
            return beyond(values, &number, key);
        }
        Value::Text(text) => {
            let by_text = call(sign, vec![values.clone(), Expr::Constant(Cell::from(text.as_str()))]);
            if descending {
                call(Function::Or, vec![exists(&numbers), call(Function::And, vec![exists(values), by_text])])
            } else {
                call(Function::And, vec![is_text, by_text])
            }
        }
    };
    if is_first { there } else { call(Function::Or, vec![there, not(exists(values))]) }
}
