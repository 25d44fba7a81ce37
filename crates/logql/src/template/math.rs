//! Functions of templates on numbers. A text counts as the number that it spells, or as 0.

use super::{
    Value,
    functions::{Entry, MANY, float, int},
};

pub(super) const TABLE: &[Entry] = &[
    ("add", 1, MANY, |a| Ok(Value::Int(a.iter().map(int).fold(0, i64::wrapping_add)))),
    ("sub", 2, 2, |a| Ok(Value::Int(int(&a[0]).wrapping_sub(int(&a[1]))))),
    ("mul", 1, MANY, |a| Ok(Value::Int(a.iter().map(int).fold(1, i64::wrapping_mul)))),
    ("div", 2, 2, |a| whole(int(&a[0]).checked_div(int(&a[1])))),
    ("mod", 2, 2, |a| whole(int(&a[0]).checked_rem(int(&a[1])))),
    ("max", 1, MANY, |a| Ok(Value::Int(a.iter().map(int).max().unwrap_or(0)))),
    ("min", 1, MANY, |a| Ok(Value::Int(a.iter().map(int).min().unwrap_or(0)))),
    ("addf", 1, MANY, |a| Ok(folded(a, |a, b| a + b))),
    ("subf", 1, MANY, |a| Ok(folded(a, |a, b| a - b))),
    ("mulf", 1, MANY, |a| Ok(folded(a, |a, b| a * b))),
    ("divf", 1, MANY, |a| Ok(folded(a, |a, b| a / b))),
    ("maxf", 1, MANY, |a| Ok(folded(a, f64::max))),
    ("minf", 1, MANY, |a| Ok(folded(a, f64::min))),
    ("ceil", 1, 1, |a| Ok(Value::Float(float(&a[0]).ceil()))),
    ("floor", 1, 1, |a| Ok(Value::Float(float(&a[0]).floor()))),
    ("round", 2, 3, |a| {
        let on = a.get(2).map_or(0.5, float);
        let factor = 10f64.powi(int(&a[1]).clamp(-300, 300) as i32);
        let scaled = float(&a[0]) * factor;
        let (whole, part) = (scaled.trunc(), scaled.fract());
        let rounded = if part.abs() >= on { whole + part.signum() } else { whole };
        Ok(Value::Float(rounded / factor))
    }),
];

fn whole(result: Option<i64>) -> Result<Value, String> {
    result.map(Value::Int).ok_or_else(|| "a number is divided by zero".to_owned())
}

fn folded(arguments: &[Value], join: fn(f64, f64) -> f64) -> Value {
    Value::Float(arguments.iter().map(float).reduce(join).unwrap_or(0.0))
}
