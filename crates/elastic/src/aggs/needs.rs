//! What aggregations need of pipes, each in one place, so that something better can stand there.
//!
//! - [`matches`]: does a record pass a filter? It is said with the functions that there are, test by test. Arrays are matched as
//!   their JSON reads, and levels by their names, which differs from the filter language; a function of pipes that carries out
//!   one test of a filter on one value would not.

use crate::query::{escape, side_by_side};
use millrace_filter::{Comparison, Expr as Filter, Glob, GlobPart, Literal, Pattern, Predicate, Text};
use millrace_model::{FieldRef, Number, Severity, Value, text::fold};
use millrace_pipes::{Expr, Function};

pub(super) fn call(function: Function, arguments: Vec<Expr>) -> Expr {
    Expr::Call(function, arguments)
}

pub(super) fn column(name: &str) -> Expr {
    Expr::Column(name.to_owned())
}

pub(super) fn text(text: &str) -> Expr {
    Expr::Constant(Value::from(text))
}

pub(super) fn int(number: i64) -> Expr {
    Expr::Constant(Value::Int(number))
}

pub(super) fn flag(flag: bool) -> Expr {
    Expr::Constant(Value::Bool(flag))
}

/// Does a record pass a filter?
pub(super) fn matches(filter: &Filter) -> Expr {
    let all = |terms: &[Filter]| terms.iter().map(matches).collect();
    match filter {
        Filter::All => flag(true),
        Filter::And(terms) => nested(Function::And, all(terms)),
        Filter::Or(terms) => nested(Function::Or, all(terms)),
        Filter::Not(inner) => call(Function::Not, vec![matches(inner)]),
        Filter::Text(test) => on_text(test, column("body")),
        Filter::Field(test) => on_field(&test.field, &test.predicate, column(&test.name)),
    }
}

/// Lists are not longer than what a node may send to another.
fn nested(function: Function, mut terms: Vec<Expr>) -> Expr {
    const WIDTH: usize = 512;
    while terms.len() > WIDTH {
        terms = terms.chunks(WIDTH).map(|some| call(function.clone(), some.to_vec())).collect();
    }
    call(function, terms)
}

/// A part of the text matches.
fn regex(pattern: &str, of: Expr) -> Expr {
    match Pattern::new(pattern) {
        Ok(pattern) => call(Function::Matches(pattern), vec![of]),
        // It is longer than an expression may be.
        Err(_) => flag(false),
    }
}

fn on_text(test: &Text, of: Expr) -> Expr {
    match test {
        Text::Phrase { tokens, .. } => regex(&format!(r"(?i)\b{}\b", side_by_side(tokens)), of),
        Text::Substring(part) => call(Function::Contains, vec![call(Function::Lower, vec![of]), text(part)]),
        Text::Token(glob) => regex(&format!(r"(?i)\b{}\b", parts(glob, r"\w*", r"\w")), of),
        Text::Part(glob) => regex(&format!("(?is){}", parts(glob, ".*", ".")), of),
        Text::Regex(pattern) => call(Function::Matches(pattern.clone()), vec![of]),
    }
}

fn parts(glob: &Glob, many: &str, one: &str) -> String {
    let part = |part: &GlobPart| match part {
        GlobPart::Literal(text) => escape(text),
        GlobPart::One => one.to_owned(),
        GlobPart::Any => many.to_owned(),
    };
    glob.parts().iter().map(part).collect()
}

fn on_field(field: &FieldRef, predicate: &Predicate, of: Expr) -> Expr {
    match predicate {
        Predicate::Exists => call(Function::Exists, vec![of]),
        Predicate::Equals(literal) if *field == FieldRef::Level => level(literal, of),
        Predicate::Equals(literal) if is_time(field) => call(Function::Equal, vec![of, time(literal)]),
        Predicate::Equals(literal) => equals(literal, of),
        Predicate::Glob(glob) => regex(&format!(r"(?is)\A{}\z", parts(glob, ".*", ".")), of),
        Predicate::Regex(pattern) => call(Function::Matches(pattern.clone()), vec![of]),
        Predicate::Cidr(network) => call(Function::InNetwork(*network), vec![of]),
        Predicate::Compare(sign, literal) => compare(field, *sign, literal, of),
        Predicate::Range { low, high } => {
            let mut terms = vec![call(Function::Exists, vec![of.clone()])];
            for (end, inside, outside) in [
                (low, Comparison::GreaterOrEqual, Comparison::Greater),
                (high, Comparison::LessOrEqual, Comparison::Less),
            ] {
                if let Some((literal, is_inside)) = end {
                    terms.push(compare(
                        field,
                        if *is_inside { inside } else { outside },
                        literal,
                        of.clone(),
                    ));
                }
            }
            call(Function::And, terms)
        }
    }
}

fn is_time(field: &FieldRef) -> bool {
    matches!(field, FieldRef::Timestamp | FieldRef::ObservedTimestamp)
}

fn time(literal: &Literal) -> Expr {
    literal.time.map_or(Expr::Constant(Value::Null), |time| int(time.0))
}

fn number(number: Number) -> Expr {
    Expr::Constant(match number {
        Number::Int(number) => Value::Int(number),
        Number::Double(number) => Value::Double(number),
    })
}

/// Case ignored, and by number where it is one. Words of a text are found as a part of it.
fn equals(literal: &Literal, of: Expr) -> Expr {
    let small = |of: Expr| call(Function::Lower, vec![call(Function::Text, vec![of])]);
    let mut ways = vec![call(Function::Equal, vec![small(of.clone()), text(&literal.folded)])];
    if let Some(value) = literal.number {
        ways.push(call(Function::Equal, vec![of.clone(), number(value)]));
    }
    if let Some(address) = &literal.address {
        ways.push(call(Function::Equal, vec![of, text(address)]));
    }
    call(Function::Or, ways)
}

/// The names of a level's class.
fn level(literal: &Literal, of: Expr) -> Expr {
    let same = |severity: Severity| {
        let names = NAMES.iter().filter(move |name| {
            Severity::from_name(name).is_some_and(|of| of.class_floor() == severity.class_floor())
        });
        names.map(|name| escape(name)).collect::<Vec<_>>().join("|")
    };
    let names = literal.level.map(same).unwrap_or_default();
    let own = escape(&literal.folded);
    let names = if names.is_empty() { own } else { format!("{names}|{own}") };
    regex(&format!(r"(?i)\A(?:{names})\z"), of)
}

/// What levels are called.
const NAMES: &[&str] = &[
    "trace",
    "trace2",
    "trace3",
    "trace4",
    "trc",
    "finest",
    "verbose",
    "silly",
    "debug",
    "debug2",
    "debug3",
    "debug4",
    "dbg",
    "fine",
    "finer",
    "d",
    "info",
    "info2",
    "info3",
    "info4",
    "information",
    "informational",
    "inf",
    "i",
    "notice",
    "note",
    "config",
    "warn",
    "warn2",
    "warn3",
    "warn4",
    "warning",
    "wrn",
    "w",
    "error",
    "error2",
    "error3",
    "error4",
    "err",
    "severe",
    "e",
    "fatal",
    "fatal2",
    "fatal3",
    "fatal4",
    "crit",
    "critical",
    "ftl",
    "f",
    "alert",
    "panic",
    "emerg",
    "emergency",
];

fn compare(field: &FieldRef, sign: Comparison, literal: &Literal, of: Expr) -> Expr {
    let function = match sign {
        Comparison::Greater => Function::Greater,
        Comparison::GreaterOrEqual => Function::GreaterOrEqual,
        Comparison::Less => Function::Less,
        Comparison::LessOrEqual => Function::LessOrEqual,
    };
    if is_time(field) {
        return call(function, vec![of, time(literal)]);
    }
    if let (FieldRef::Level, Some(bound)) = (field, literal.level) {
        let admitted = NAMES.iter().filter(|name| {
            let severity = Severity::from_name(name).map(Severity::class_floor);
            severity.is_some_and(|severity| sign.admits(severity.cmp(&bound.class_floor())))
        });
        let names: Vec<String> = admitted.map(|name| escape(name)).collect();
        return if names.is_empty() {
            flag(false)
        } else {
            regex(&format!(r"(?i)\A(?:{})\z", names.join("|")), of)
        };
    }
    if let Some(bound) = literal.number {
        call(function, vec![call(Function::Number, vec![of]), number(bound)])
    } else {
        let small = call(Function::Lower, vec![call(Function::Text, vec![of])]);
        call(function, vec![small, text(&fold(&literal.text))])
    }
}
