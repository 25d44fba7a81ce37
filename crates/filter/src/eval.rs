//! The evaluator in memory: hot rows, rules, live tail, and the residual test of sealed shards.

use crate::{Comparison, Expr, FieldTest, Filter, Glob, Literal, Predicate, Text};
use millrace_model::{Fields, Number, Severity, Value, ValueRef, text};
use std::{borrow::Cow, cmp::Ordering, ops::Range};

impl Filter {
    /// Does the record match?
    pub fn matches(&self, record: &impl Fields) -> bool {
        expr(&self.root, record)
    }
}

fn expr(e: &Expr, record: &impl Fields) -> bool {
    match e {
        Expr::All => true,
        Expr::And(terms) => terms.iter().all(|term| expr(term, record)),
        Expr::Or(terms) => terms.iter().any(|term| expr(term, record)),
        Expr::Not(inner) => !expr(inner, record),
        Expr::Text(test) => test.matches(&value_text(record.body())),
        Expr::Field(test) => record.field(&test.field).is_some_and(|value| test.matches(&value)),
    }
}

impl Text {
    /// Does this text, a body's or a part of one that begins and ends between words, match?
    pub fn matches(&self, text: &str) -> bool {
        on_text(self, text)
    }

    /// Could a stretch of these bytes match? `false` is sure, and found much faster than by asking each stretch.
    pub fn may_match_within(&self, bytes: &[u8]) -> bool {
        let Self::Phrase { tokens, .. } = self else { return true };
        tokens.iter().all(|token| !token.is_ascii() || may_fold_to(bytes, token.as_bytes()))
    }
}

impl FieldTest {
    /// Does a field with this value match?
    pub fn matches(&self, value: &ValueRef<'_>) -> bool {
        on_field(&self.predicate, value)
    }
}

/// A value's text, which bare words look at: itself, lossily for bytes, or as JSON.
pub fn value_text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) | Value::Text(text) => Cow::Borrowed(text),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes),
        Value::Null => Cow::Borrowed(""),
        other => Cow::Owned(other.to_string()),
    }
}

fn folded(text: &str) -> Cow<'_, str> {
    if text.is_ascii() && !text.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text::fold(text))
    }
}

fn on_text(test: &Text, body: &str) -> bool {
    match test {
        Text::Phrase { tokens, .. } => has_phrase(body, tokens),
        Text::Substring(part) => folded(body).contains(part.as_str()),
        Text::Token(glob) => holds_token(glob, body),
        Text::Part(glob) => glob.matches_part(&folded(body)),
        Text::Regex(pattern) => pattern.is_match(body),
    }
}

fn holds_token(glob: &Glob, body: &str) -> bool {
    text::token_ranges(body).any(|range| glob.matches(&folded(&body[range])))
}

/// Do these folded tokens stand side by side among the body's?
fn has_phrase(body: &str, tokens: &[String]) -> bool {
    let Some((first, rest)) = tokens.split_first() else { return true };
    let ascii = body.is_ascii();
    let is = |range: Range<usize>, token: &str| {
        let found = &body[range];
        if ascii { found.eq_ignore_ascii_case(token) } else { folded(found) == token }
    };
    // A body without the first token's bytes is passed over without being cut into tokens.
    if ascii && !contains_ignoring_case(body.as_bytes(), first.as_bytes()) {
        return false;
    }
    let mut ranges = text::token_ranges(body);
    while let Some(range) = ranges.next() {
        if is(range, first) {
            let mut following = ranges.clone();
            if rest.iter().all(|token| following.next().is_some_and(|range| is(range, token))) {
                return true;
            }
        }
    }
    false
}

/// Is `part`, which is folded, in `bytes`, with ASCII's case ignored?
fn contains_ignoring_case(bytes: &[u8], part: &[u8]) -> bool {
    let Some(rarest) = (0..part.len()).max_by_key(|at| RARITY[part[*at] as usize]) else { return true };
    let (lower, upper) = (part[rarest], part[rarest].to_ascii_uppercase());
    let is_here = |at: usize| {
        let start = at.checked_sub(rarest);
        start
            .and_then(|start| bytes.get(start..start + part.len()))
            .is_some_and(|found| found.eq_ignore_ascii_case(part))
    };
    if lower == upper {
        memchr::memchr_iter(lower, bytes).any(is_here)
    } else {
        memchr::memchr2_iter(lower, upper, bytes).any(is_here)
    }
}

/// How seldom each byte of a word is met in log lines, roughly: this is asked for every record.
const RARITY: [u8; 256] = {
    const OFTEN_FIRST: &[u8] = b"0123e5496a87t_ocdinrsblfpmuhgvwykxzjq";
    let mut rarity = [OFTEN_FIRST.len() as u8; 256];
    let mut rank = 0;
    while rank < OFTEN_FIRST.len() {
        rarity[OFTEN_FIRST[rank] as usize] = rank as u8;
        rank += 1;
    }
    rarity
};

/// May a word in these bytes fold to this ASCII token?
fn may_fold_to(bytes: &[u8], token: &[u8]) -> bool {
    // Beside capitals, one character folds to an ASCII letter: Kelvin's sign.
    let kelvin = || token.contains(&b'k') && memchr::memmem::find(bytes, "\u{212a}".as_bytes()).is_some();
    contains_ignoring_case(bytes, token) || kelvin()
}

fn on_field(predicate: &Predicate, value: &ValueRef<'_>) -> bool {
    match value {
        ValueRef::Value(value) => on_value(predicate, value),
        ValueRef::Text(text) => on_string(predicate, text),
        ValueRef::Int(value) => on_number(predicate, Number::Int(*value), &value.to_string()),
        ValueRef::Time(time) => match predicate {
            Predicate::Exists => true,
            Predicate::Equals(literal) => literal.time == Some(*time),
            Predicate::Compare(sign, literal) => {
                literal.time.is_some_and(|bound| sign.admits(time.cmp(&bound)))
            }
            Predicate::Range { low, high } => {
                in_range(low.as_ref(), high.as_ref(), |literal| literal.time.map(|bound| time.cmp(&bound)))
            }
            Predicate::Glob(glob) => glob.matches(&text::fold(&time.to_string())),
            Predicate::Regex(pattern) => pattern.is_match(&time.to_string()),
            Predicate::Cidr(_) => false,
        },
        ValueRef::Level { text, severity } => on_level(predicate, text, *severity),
    }
}

fn on_value(predicate: &Predicate, value: &Value) -> bool {
    match (predicate, value) {
        (_, Value::Null) => false,
        (Predicate::Exists, _) => true,
        (_, Value::Array(values)) => values.iter().any(|value| on_value(predicate, value)),
        (_, Value::Map(_)) => false,
        (_, Value::String(text)) => on_string(predicate, text),
        (_, Value::Text(text)) => on_words(predicate, text),
        (_, Value::Bytes(bytes)) => on_string(predicate, &String::from_utf8_lossy(bytes)),
        (_, Value::Int(number)) => on_number(predicate, Number::Int(*number), &value.to_string()),
        (_, Value::Double(number)) => on_number(predicate, Number::Double(*number), &value.to_string()),
        (_, Value::Bool(flag)) => on_string(predicate, if *flag { "true" } else { "false" }),
    }
}

fn on_string(predicate: &Predicate, value: &str) -> bool {
    match predicate {
        Predicate::Exists => true,
        Predicate::Equals(literal) => {
            equals_folded(value, &literal.folded)
                || literal.address.as_deref().is_some_and(|address| equals_folded(value, address))
        }
        Predicate::Glob(glob) => glob.matches(&folded(value)),
        Predicate::Regex(pattern) => pattern.is_match(value),
        Predicate::Cidr(network) => network.contains(value),
        Predicate::Compare(sign, literal) => admits(*sign, compare_string(value, literal)),
        Predicate::Range { low, high } => {
            in_range(low.as_ref(), high.as_ref(), |literal| compare_string(value, literal))
        }
    }
}

/// A value that is searched by its words: as bare words search the body.
fn on_words(predicate: &Predicate, value: &str) -> bool {
    match predicate {
        Predicate::Equals(literal) => on_text(&literal.words, value),
        Predicate::Glob(glob) if glob.is_word() => holds_token(glob, value),
        Predicate::Glob(glob) => glob.matches_part(&folded(value)),
        other => on_string(other, value),
    }
}

fn on_number(predicate: &Predicate, value: Number, text: &str) -> bool {
    let compare = |literal: &Literal| literal.number.and_then(|bound| value.compare(bound));
    match predicate {
        Predicate::Exists => true,
        Predicate::Equals(literal) => compare(literal) == Some(Ordering::Equal),
        Predicate::Glob(glob) => glob.matches(&folded(text)),
        Predicate::Regex(pattern) => pattern.is_match(text),
        Predicate::Cidr(_) => false,
        Predicate::Compare(sign, literal) => admits(*sign, compare(literal)),
        Predicate::Range { low, high } => in_range(low.as_ref(), high.as_ref(), compare),
    }
}

fn on_level(predicate: &Predicate, text: &str, severity: Severity) -> bool {
    let known = severity != Severity::UNKNOWN;
    let name = if text.is_empty() { severity.class() } else { text };
    let compare = |literal: &Literal| match literal.level {
        _ if !known => None,
        Some(level) => Some(severity.class_floor().cmp(&level.class_floor())),
        None => literal.number.and_then(|number| Number::Int(severity.number().into()).compare(number)),
    };
    match predicate {
        Predicate::Exists => true,
        Predicate::Equals(literal) => {
            equals_folded(text, &literal.folded)
                || (known && literal.level.is_some_and(|level| level.class_floor() == severity.class_floor()))
        }
        Predicate::Glob(glob) => glob.matches(&folded(name)),
        Predicate::Regex(pattern) => pattern.is_match(name),
        Predicate::Cidr(_) => false,
        Predicate::Compare(sign, literal) => admits(*sign, compare(literal)),
        Predicate::Range { low, high } => in_range(low.as_ref(), high.as_ref(), compare),
    }
}

fn equals_folded(value: &str, literal: &str) -> bool {
    if value.is_ascii() { value.eq_ignore_ascii_case(literal) } else { text::fold(value) == literal }
}

/// By number where the literal is one; a text that spells none then compares with nothing.
fn compare_string(value: &str, literal: &Literal) -> Option<Ordering> {
    match literal.number {
        Some(bound) => Number::parse(value.trim()).and_then(|value| value.compare(bound)),
        None => Some(folded(value).as_ref().cmp(literal.folded.as_str())),
    }
}

fn admits(sign: Comparison, ordering: Option<Ordering>) -> bool {
    ordering.is_some_and(|ordering| sign.admits(ordering))
}

fn in_range(
    low: Option<&(Literal, bool)>,
    high: Option<&(Literal, bool)>,
    compare: impl Fn(&Literal) -> Option<Ordering>,
) -> bool {
    let bound = |bound: Option<&(Literal, bool)>, inside: Comparison, outside: Comparison| match bound {
        None => true,
        Some((literal, closed)) => admits(if *closed { inside } else { outside }, compare(literal)),
    };
    bound(low, Comparison::GreaterOrEqual, Comparison::Greater)
        && bound(high, Comparison::LessOrEqual, Comparison::Less)
}
