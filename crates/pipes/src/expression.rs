//! What is computed of a row. Evaluated by columns: what depends on one column alone is asked once a value.
//!
//! - What a row lacks is lacking in what is computed of it; a comparison with it is false, and so its negation true.
//! - A text that spells a number counts as that number beside a number, and in arithmetic. Two texts compare as texts, case
//!   respected.
//! - Whole numbers stay whole where the result is whole and fits; `/` always gives a number with a fraction. A division by
//!   zero, or arithmetic on what is no number, gives nothing.
//! - Times are nanoseconds since the epoch, lengths of time nanoseconds.

use crate::{
    ABSENT, Cells,
    frame::{Frame, Rows},
    functions::Function,
};
use millrace_filter::value_text;
use millrace_model::{FieldRef, Number, Value};
use serde::{Deserialize, Serialize};
use std::{cmp::Ordering, rc::Rc};

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expr {
    /// The value of a column.
    Column(String),
    /// Always the same.
    Constant(Value),
    /// An operator or a function.
    Call(Function, Vec<Expr>),
}

impl Expr {
    /// Calls `visit` with the name of each column that it needs.
    pub fn each_column<'a>(&'a self, visit: &mut impl FnMut(&'a str)) {
        match self {
            Self::Column(name) => visit(name),
            Self::Constant(_) => {}
            Self::Call(_, arguments) => arguments.iter().for_each(|argument| argument.each_column(visit)),
        }
    }

    /// Is what it gives a time, where `is_time` says which columns are?
    pub fn is_time(&self, is_time: &impl Fn(&str) -> bool) -> bool {
        let all_of =
            |some: &[Self]| !some.is_empty() && some.iter().all(|argument| argument.is_time(is_time));
        match self {
            Self::Column(name) => is_time(name),
            Self::Constant(_) => false,
            Self::Call(function, arguments) => match function {
                Function::Now => true,
                Function::Bucket => all_of(arguments.get(..1).unwrap_or_default()),
                Function::If => all_of(arguments.get(1..).unwrap_or_default()),
                Function::Coalesce | Function::Least | Function::Greatest => all_of(arguments),
                Function::Subtract | Function::Add => {
                    arguments.iter().filter(|argument| argument.is_time(is_time)).count() == 1
                }
                _ => false,
            },
        }
    }

    /// Of all rows of a frame.
    pub(crate) fn of<R: Rows>(&self, frame: &mut Frame<'_, R>) -> Result<Rc<Cells>, R::Error> {
        match self {
            Self::Column(name) => frame.cells(name),
            Self::Constant(value) => Ok(Rc::new(Cells::uniform(Some(value.clone()), frame.rows()))),
            Self::Call(function, arguments) => {
                let cells: Vec<Rc<Cells>> =
                    arguments.iter().map(|argument| argument.of(frame)).collect::<Result<_, _>>()?;
                Ok(Rc::new(call(function, arguments, &cells, frame.rows())))
            }
        }
    }

    /// Of nothing but constants.
    pub(crate) fn constant(&self) -> Option<Value> {
        match self {
            Self::Column(_) => None,
            Self::Constant(value) => Some(value.clone()),
            Self::Call(function, arguments) => {
                let values: Vec<Value> = arguments.iter().map(Self::constant).collect::<Option<_>>()?;
                function.apply(&values.iter().map(Some).collect::<Vec<_>>())
            }
        }
    }
}

/// Of columns of arguments.
fn call(function: &Function, arguments: &[Expr], cells: &[Rc<Cells>], rows: usize) -> Cells {
    let varies = |at: &usize| !matches!(arguments[*at], Expr::Constant(_));
    let mut varying = (0..arguments.len()).filter(varies);
    let constants: Vec<Option<&Value>> = cells.iter().map(|cells| cells.values.first()).collect();
    match (varying.next(), varying.next()) {
        (None, _) => Cells::uniform(function.apply(&constants), rows),
        // Once a value, and once for none.
        (Some(one), None) => {
            let mut of = constants;
            of[one] = None;
            let of_none = function.apply(&of);
            let mut made = Cells::default();
            for value in &cells[one].values {
                of[one] = Some(value);
                made.push_run(function.apply(&of));
            }
            let codes =
                cells[one].codes.iter().map(|code| made.codes.get(*code as usize).copied().unwrap_or(ABSENT));
            made.codes = codes.collect();
            if let Some(value) = of_none.filter(|value| *value != Value::Null) {
                // Rows that lack the value; not those whose value gives nothing.
                let code = made.values.len() as u32;
                made.values.push(value);
                for (made, before) in made.codes.iter_mut().zip(&cells[one].codes) {
                    if *before == ABSENT {
                        *made = code;
                    }
                }
            }
            made
        }
        _ => {
            let mut of = vec![None; cells.len()];
            let row = |row: usize| {
                for (of, (cells, argument)) in of.iter_mut().zip(cells.iter().zip(arguments)) {
                    let row = if matches!(argument, Expr::Constant(_)) { 0 } else { row };
                    *of = cells.get(row);
                }
                function.apply(&of)
            };
            (0..rows).map(row).collect()
        }
    }
}

/// Does this column hold a time in records?
pub(crate) fn is_time_field(name: &str) -> bool {
    matches!(FieldRef::resolve(name), FieldRef::Timestamp | FieldRef::ObservedTimestamp)
}

/// The number that a value is or spells.
pub(crate) fn number(value: &Value) -> Option<Number> {
    match value {
        Value::Int(number) => Some(Number::Int(*number)),
        Value::Double(number) => (!number.is_nan()).then_some(Number::Double(*number)),
        Value::String(text) | Value::Text(text) => Number::parse(text.trim()),
        _ => None,
    }
}

/// The same without exactness.
pub(crate) fn float(value: &Value) -> Option<f64> {
    number(value).map(|number| match number {
        Number::Int(number) => number as f64,
        Number::Double(number) => number,
    })
}

/// Is it true?
pub(crate) fn truth(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => *flag,
        Value::String(text) | Value::Text(text) => text.eq_ignore_ascii_case("true"),
        _ => false,
    }
}

/// How two values compare in expressions: by number where one of them is one, else as texts. `None`: they do not.
pub(crate) fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    let is_number = |value: &Value| matches!(value, Value::Int(_) | Value::Double(_));
    if is_number(a) || is_number(b) {
        number(a)?.compare(number(b)?)
    } else {
        Some(value_text(a).cmp(&value_text(b)))
    }
}

/// A total order for sorting: what spells numbers by number, before texts. What is lacking is the caller's matter.
pub(crate) fn rank(a: &Value, b: &Value) -> Ordering {
    if let (Value::Int(a), Value::Int(b)) = (a, b) {
        return a.cmp(b);
    }
    let by_number = match (number(a), number(b)) {
        (Some(x), Some(y)) => x.compare(y).unwrap_or(Ordering::Equal),
        (x, y) => y.is_some().cmp(&x.is_some()),
    };
    by_number
        .then_with(|| value_text(a).cmp(&value_text(b)))
        .then_with(|| kind(a).cmp(&kind(b)))
        .then_with(|| inside(a, b))
}

/// How two values of one kind compare that read alike.
fn inside(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Double(a), Value::Double(b)) => a.to_bits().cmp(&b.to_bits()),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => {
            let differ = a.iter().zip(b).map(|(a, b)| rank(a, b)).find(|ordering| ordering.is_ne());
            differ.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (Value::Map(a), Value::Map(b)) => {
            let differ =
                a.iter().zip(b.iter()).map(|(a, b)| rank(a.1, b.1)).find(|ordering| ordering.is_ne());
            differ.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        _ => Ordering::Equal,
    }
}

/// Which kind of value it is: what looks alike is told apart by it.
const fn kind(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Int(_) => 1,
        Value::Double(_) => 2,
        Value::String(_) | Value::Text(_) => 3,
        Value::Bool(_) => 4,
        Value::Bytes(_) => 5,
        Value::Array(_) => 6,
        Value::Map(_) => 7,
    }
}
