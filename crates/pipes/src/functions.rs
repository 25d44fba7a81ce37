//! Operators and functions of expressions.

use crate::expression::{compare, float, number, truth};
use millrace_filter::{Cidr, Pattern, value_text};
use millrace_model::{Number, Value};
use millrace_template::Scan;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Texts that are made are no longer than this, in bytes.
const MAX_TEXT: usize = 1 << 20;

/// An operator or a function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is documented with an example in docs/query-language.md")]
pub enum Function {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Negate,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    And,
    Or,
    Not,
    Abs,
    Ceil,
    Floor,
    Round,
    Sqrt,
    Ln,
    Log10,
    Exp,
    Pow,
    Least,
    Greatest,
    Lower,
    Upper,
    Trim,
    Length,
    Substr,
    Replace,
    Concat,
    Contains,
    StartsWith,
    EndsWith,
    Matches(#[serde(serialize_with = "write_pattern", deserialize_with = "read_pattern")] Pattern),
    InNetwork(#[serde(serialize_with = "write_network", deserialize_with = "read_network")] Cidr),
    If,
    Coalesce,
    Exists,
    Number,
    Text,
    Bucket,
    Now,
    /// The mask of a line: not called by name, `patterns` does.
    Mask,
}

/// How many arguments a function takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arity {
    pub(crate) least: usize,
    pub(crate) most: usize,
}

const fn arity(least: usize, most: usize) -> Arity {
    Arity { least, most }
}

const ANY: usize = 16;

/// The functions that are called by name, besides `matches` and `in_network`.
pub(crate) const NAMED: &[(&str, Function, Arity)] = &[
    ("abs", Function::Abs, arity(1, 1)),
    ("bucket", Function::Bucket, arity(2, 2)),
    ("ceil", Function::Ceil, arity(1, 1)),
    ("coalesce", Function::Coalesce, arity(1, ANY)),
    ("concat", Function::Concat, arity(1, ANY)),
    ("contains", Function::Contains, arity(2, 2)),
    ("ends_with", Function::EndsWith, arity(2, 2)),
    ("exists", Function::Exists, arity(1, 1)),
    ("exp", Function::Exp, arity(1, 1)),
    ("floor", Function::Floor, arity(1, 1)),
    ("greatest", Function::Greatest, arity(1, ANY)),
    ("if", Function::If, arity(3, 3)),
    ("least", Function::Least, arity(1, ANY)),
    ("length", Function::Length, arity(1, 1)),
    ("ln", Function::Ln, arity(1, 1)),
    ("log10", Function::Log10, arity(1, 1)),
    ("lower", Function::Lower, arity(1, 1)),
    ("now", Function::Now, arity(0, 0)),
    ("number", Function::Number, arity(1, 1)),
    ("pow", Function::Pow, arity(2, 2)),
    ("replace", Function::Replace, arity(3, 3)),
    ("round", Function::Round, arity(1, 2)),
    ("sqrt", Function::Sqrt, arity(1, 1)),
    ("starts_with", Function::StartsWith, arity(2, 2)),
    ("substr", Function::Substr, arity(2, 3)),
    ("text", Function::Text, arity(1, 1)),
    ("trim", Function::Trim, arity(1, 1)),
    ("upper", Function::Upper, arity(1, 1)),
];

impl Function {
    /// What it gives for these arguments, each of which may be lacking.
    pub(crate) fn apply(&self, of: &[Option<&Value>]) -> Option<Value> {
        match self {
            Self::And => return Some(Value::Bool(of.iter().all(|value| value.is_some_and(truth)))),
            Self::Or => return Some(Value::Bool(of.iter().any(|value| value.is_some_and(truth)))),
            Self::Not => return Some(Value::Bool(!of.first().copied().flatten().is_some_and(truth))),
            Self::Exists => return Some(Value::Bool(of.first().copied().flatten().is_some())),
            Self::If => {
                let (condition, yes, no) = (of.first()?, of.get(1)?, of.get(2)?);
                return if condition.is_some_and(truth) { *yes } else { *no }.cloned();
            }
            Self::Coalesce => return of.iter().copied().flatten().next().cloned(),
            Self::Least => return best(of, std::cmp::Ordering::Less),
            Self::Greatest => return best(of, std::cmp::Ordering::Greater),
            Self::Concat => {
                let text: String = of.iter().flatten().map(|value| value_text(value)).collect();
                return (text.len() <= MAX_TEXT).then_some(Value::String(text));
            }
            _ => {}
        }
        let holds = |test: fn(std::cmp::Ordering) -> bool| {
            let ordering = of.first().copied().flatten().zip(of.get(1).copied().flatten());
            Some(Value::Bool(ordering.and_then(|(a, b)| compare(a, b)).is_some_and(test)))
        };
        match self {
            Self::Equal => return holds(std::cmp::Ordering::is_eq),
            // What is there and cannot be compared is not equal.
            Self::NotEqual => {
                let (a, b) = (of.first().copied().flatten(), of.get(1).copied().flatten());
                let differ = a.zip(b).is_some_and(|(a, b)| compare(a, b) != Some(std::cmp::Ordering::Equal));
                return Some(Value::Bool(differ));
            }
            Self::Less => return holds(std::cmp::Ordering::is_lt),
            Self::LessOrEqual => return holds(std::cmp::Ordering::is_le),
            Self::Greater => return holds(std::cmp::Ordering::is_gt),
            Self::GreaterOrEqual => return holds(std::cmp::Ordering::is_ge),
            _ => {}
        }
        // All others need all of their arguments.
        if of.iter().any(Option::is_none) {
            return None;
        }
        let at = |at: usize| of.get(at).copied().flatten();
        let first = at(0);
        let text = || first.map(value_text);
        let both = || Some((value_text(first?), value_text(at(1)?)));
        let float_of = |compute: fn(f64) -> f64| double(compute(float(first?)?));
        match self {
            Self::Add => exact(first?, at(1)?, i64::checked_add, |a, b| a + b),
            Self::Subtract => exact(first?, at(1)?, i64::checked_sub, |a, b| a - b),
            Self::Multiply => exact(first?, at(1)?, i64::checked_mul, |a, b| a * b),
            Self::Remainder => exact(first?, at(1)?, i64::checked_rem, |a, b| a % b),
            Self::Divide => double(float(first?)? / float(at(1)?)?),
            Self::Negate => match number(first?)? {
                Number::Int(number) => {
                    number.checked_neg().map_or_else(|| double(-(number as f64)), |n| Some(Value::Int(n)))
                }
                Number::Double(number) => double(-number),
            },
            Self::Abs => match number(first?)? {
                Number::Int(number) => number.checked_abs().map(Value::Int),
                Number::Double(number) => double(number.abs()),
            },
            Self::Ceil => whole(first?, f64::ceil),
            Self::Floor => whole(first?, f64::floor),
            Self::Round => match at(1) {
                None => whole(first?, f64::round),
                Some(digits) => {
                    let scale = 10f64.powi(float(digits)?.clamp(-300.0, 300.0) as i32);
                    double((float(first?)? * scale).round() / scale)
                }
            },
            Self::Sqrt => float_of(f64::sqrt),
            Self::Ln => float_of(f64::ln),
            Self::Log10 => float_of(f64::log10),
            Self::Exp => float_of(f64::exp),
            Self::Pow => double(float(first?)?.powf(float(at(1)?)?)),
            Self::Lower => Some(Value::String(text()?.to_lowercase())),
            Self::Upper => Some(Value::String(text()?.to_uppercase())),
            Self::Trim => Some(Value::from(text()?.trim())),
            Self::Length => Some(Value::Int(text()?.chars().count() as i64)),
            Self::Substr => {
                let count = |value: &Value| float(value).map(|number| number.max(0.0) as usize);
                let (from, most) = (count(at(1)?)?, at(2).map_or(Some(usize::MAX), count)?);
                Some(Value::String(text()?.chars().skip(from).take(most).collect()))
            }
            Self::Replace => {
                let (part, with) = (value_text(at(1)?), value_text(at(2)?));
                let text = text()?;
                if part.is_empty() {
                    return Some(Value::from(&*text));
                }
                let longer =
                    text.matches(&*part).count().saturating_mul(with.len()).saturating_add(text.len());
                (longer <= MAX_TEXT.max(text.len())).then(|| Value::String(text.replace(&*part, &with)))
            }
            Self::Contains => both().map(|(text, part)| Value::Bool(text.contains(&*part))),
            Self::StartsWith => both().map(|(text, part)| Value::Bool(text.starts_with(&*part))),
            Self::EndsWith => both().map(|(text, part)| Value::Bool(text.ends_with(&*part))),
            Self::Matches(pattern) => Some(Value::Bool(pattern.is_match(&text()?))),
            Self::InNetwork(network) => Some(Value::Bool(network.contains(&text()?))),
            Self::Number => number(first?).map(value_of),
            Self::Text => Some(Value::String(text()?.into_owned())),
            Self::Bucket => match (number(first?)?, number(at(1)?)?) {
                (Number::Int(at), Number::Int(width)) if width > 0 => {
                    // The first interval of time begins before what can be said.
                    Some(Value::Int(at.saturating_sub(at.rem_euclid(width))))
                }
                (at, width) => {
                    let (at, width) = (float(&value_of(at))?, float(&value_of(width))?);
                    if width > 0.0 { double((at / width).floor() * width) } else { None }
                }
            },
            Self::Mask => match first? {
                Value::String(line) => {
                    let mut scan = Scan::default();
                    scan.line(line);
                    std::str::from_utf8(scan.mask()).ok().map(Value::from)
                }
                _ => None,
            },
            // Put in by the plan: one instant for the whole query.
            _ => None,
        }
    }
}

fn value_of(number: Number) -> Value {
    match number {
        Number::Int(number) => Value::Int(number),
        Number::Double(number) => Value::Double(number),
    }
}

/// A number that is one.
fn double(number: f64) -> Option<Value> {
    number.is_finite().then_some(Value::Double(number))
}

/// Whole numbers exactly, as long as they fit.
fn exact(
    a: &Value,
    b: &Value,
    whole: fn(i64, i64) -> Option<i64>,
    other: fn(f64, f64) -> f64,
) -> Option<Value> {
    let (a, b) = (number(a)?, number(b)?);
    if let (Number::Int(a), Number::Int(b)) = (a, b)
        && let Some(result) = whole(a, b)
    {
        return Some(Value::Int(result));
    }
    double(other(float(&value_of(a))?, float(&value_of(b))?))
}

fn whole(value: &Value, round: fn(f64) -> f64) -> Option<Value> {
    match number(value)? {
        Number::Int(number) => Some(Value::Int(number)),
        Number::Double(number) => {
            let rounded = round(number);
            // Up to 2^53 each whole number is told apart.
            if rounded.abs() < 9_007_199_254_740_992.0 {
                Some(Value::Int(rounded as i64))
            } else {
                double(rounded)
            }
        }
    }
}

/// The first in an order, of what is there.
fn best(of: &[Option<&Value>], wanted: std::cmp::Ordering) -> Option<Value> {
    of.iter()
        .copied()
        .flatten()
        .reduce(|best, value| if crate::expression::rank(value, best) == wanted { value } else { best })
        .cloned()
}

fn write_pattern<S: Serializer>(pattern: &Pattern, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(pattern.as_str())
}

fn read_pattern<'de, D: Deserializer<'de>>(from: D) -> Result<Pattern, D::Error> {
    Pattern::new(&String::deserialize(from)?).map_err(D::Error::custom)
}

fn write_network<S: Serializer>(network: &Cidr, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(network)
}

fn read_network<'de, D: Deserializer<'de>>(from: D) -> Result<Cidr, D::Error> {
    let text = String::deserialize(from)?;
    Cidr::parse(&text).ok_or_else(|| D::Error::custom(format!("{text} is no network")))
}
