//! Single values: words that meet one another in other cases, numbers at their bounds, nothing, and too much.

use crate::chance::Chance;
use millrace_model::{Attributes, Value};

/// Names of fields: plain ones, aliases in each of their spellings, and paths that nest.
const PATHS: &[&str] = &[
    "host",
    "host.name",
    "hostname",
    "service",
    "service.name",
    "status",
    "http.status_code",
    "user",
    "user.name",
    "a",
    "a.b",
    "a.b.c",
    "b",
    "b.c",
    "c",
    "größe",
    "x y",
    "nul\0name",
    "\u{1}",
    "",
];
const WORDS: &[&str] = &[
    "error",
    "Error",
    "ERROR",
    "errors",
    "warn",
    "INFO",
    "timeout",
    "connection reset",
    "web1",
    "web2",
    "WEB1",
    "größe",
    "GRÖSSE",
    "Straße",
    "İstanbul",
    "ǅ",
    "日本語 ログ",
    "a_b",
    "a-b",
    "x.y",
    "user*",
    "C:\\temp",
    "\"",
    "\\",
    "\u{7f}",
    "\u{2028}",
];
const SPELLINGS: &[&str] = &[
    "0",
    "-0",
    "1",
    "1.0",
    "+1",
    "01",
    "1e0",
    "-5",
    "200",
    "404",
    "500",
    "0x10",
    "NaN",
    "inf",
    "9007199254740993",
    "1.5",
    "18446744073709551616",
    "-9223372036854775808",
    "00000000000000000000000000000000000000001",
    "10.0.0.1",
    "10.1.2.3",
    "256.1.1.1",
    "192.168.0.7",
    "::1",
    "2001:db8::1",
    "10.0.0.1:80",
    "true",
    "false",
    "null",
    "2026-01-15T00:00:00Z",
    "2026-02-30 25:61:61,999",
    "ffffffff-0000-4000-8000-00000000000A",
    "deadbeef",
    "DEADBEEF",
    "blk_-1",
    "_",
    "-",
    "--1",
];
const INTEGERS: &[i64] = &[0, 1, -5, 5, 200, 404, 500, 503, i64::MAX, i64::MIN, 9_007_199_254_740_993];
const DOUBLES: &[f64] = &[0.0, -0.0, 1.0, 1.5, 200.0, 404.5, 1e300, 5e-324, f64::NAN, f64::INFINITY];

pub(crate) fn path(chance: &mut Chance) -> String {
    chance.pick(PATHS).to_owned()
}

pub(crate) fn text(chance: &mut Chance) -> String {
    match chance.below(16) {
        0..=4 => chance.pick(WORDS).to_owned(),
        5..=7 => chance.pick(SPELLINGS).to_owned(),
        8 => String::new(),
        9 => chance.pick(&["l", "é", "L", "9"]).repeat(120 + chance.below(20)) + &characters(chance, 3),
        10 => chance.pick(&["word ", "Wort", "é", "7 "]).repeat(40 + chance.below(100)),
        11 => chance.next().to_string(),
        12 => format!("{:x}", chance.next() >> chance.below(60)),
        13 => (chance.next() as i64 >> chance.below(60)).to_string(),
        14 => format!("{}.{:03}", chance.below(1_000), chance.below(1_000)),
        _ => characters(chance, 8),
    }
}

/// Up to so many characters from anywhere.
fn characters(chance: &mut Chance, most: usize) -> String {
    let one = |chance: &mut Chance| {
        let bound = chance.pick(&[0x80, 0x80, 0x800, 0x1_0000, 0x11_0000]);
        char::from_u32(chance.below(bound) as u32).unwrap_or('\u{fffd}')
    };
    (0..chance.below(most + 1)).map(|_| one(chance)).collect()
}

pub(crate) fn bytes(chance: &mut Chance) -> Vec<u8> {
    match chance.below(3) {
        0 => text(chance).into_bytes(),
        1 => b"error \xff web1".to_vec(),
        _ => (0..chance.below(7)).map(|_| chance.next() as u8).collect(),
    }
}

/// A value in which arrays and maps nest so deep at most.
pub(crate) fn value(chance: &mut Chance, depth: usize) -> Value {
    match chance.below(if depth > 0 { 16 } else { 13 }) {
        0..=5 => Value::String(text(chance)),
        6 => Value::Null,
        7 => Value::Bool(chance.once_in(2)),
        8 | 9 => Value::Int(chance.pick(INTEGERS)),
        10 => Value::Int(chance.next() as i64 >> chance.below(63)),
        11 => Value::Double(chance.pick(DOUBLES)),
        12 => Value::Bytes(bytes(chance)),
        13 => Value::Array((0..chance.below(4)).map(|_| value(chance, depth - 1)).collect()),
        _ => Value::Map((0..chance.below(3)).map(|_| (path(chance), value(chance, depth - 1))).collect()),
    }
}

pub(crate) fn attributes(chance: &mut Chance) -> Attributes {
    (0..chance.below(5)).map(|_| (path(chance), value(chance, 2))).collect()
}
