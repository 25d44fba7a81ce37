//! Random filters and records for property tests, of this crate and of the other evaluator's. They share a small
//! vocabulary, so that filters match often and nearly match more often.

use crate::{Cidr, Comparison, Expr, FieldTest, Filter, Glob, GlobPart, Literal, Pattern, Predicate, Text};
use millrace_model::{Attributes, LogRecord, Severity, Timestamp, Value};
use proptest::prelude::*;
use std::sync::Arc;

/// Words that records and filters are made of.
pub const WORDS: &[&str] = &[
    "error",
    "Error",
    "timeout",
    "a",
    "A_b",
    "10.0.0.1",
    "10.1.2.3",
    "fe80::1",
    "500",
    "5e2",
    "-3",
    "GET",
    "/api/v1",
    "größe",
    "GRÖSSE",
    "İ",
    "\u{212a}",
    "foo-bar",
    "---",
    "x=1",
    "",
    " ",
    "true",
    "warn",
    "café au lait",
    "2026-01-01T00:00:00Z",
    "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy1",
    "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy2",
];

/// Names of fields: reserved, plain, aliased and with a prefix.
pub const NAMES: &[&str] = &[
    "host",
    "host.name",
    "service",
    "user",
    "status",
    "k",
    "a.b",
    "level",
    "severity_number",
    "body",
    "timestamp",
    "observed_timestamp",
    "trace_id",
    "_position",
    "_stream",
    "_attribute_names",
    "_resource_names",
    "_id",
    "attributes.k",
    "resource.k",
    "resource.host.name",
    "no.such",
];

fn word() -> impl Strategy<Value = &'static str> {
    prop::sample::select(WORDS)
}

fn literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        4 => word().prop_map(Literal::new),
        1 => (-5i64..600).prop_map(|n| Literal::new(&n.to_string())),
        1 => (-50i64..6000).prop_map(|n| Literal::new(&format!("{}.5", n / 10))),
        1 => ".{0,6}".prop_map(|text| Literal::new(&text)),
    ]
}

fn glob() -> impl Strategy<Value = Glob> {
    let part = prop_oneof![
        3 => Just(GlobPart::Any),
        1 => Just(GlobPart::One),
        3 => (word(), 0usize..6, 1usize..6).prop_map(|(word, skip, take)| {
            GlobPart::Literal(word.chars().skip(skip).take(take).collect())
        }),
    ];
    prop::collection::vec(part, 1..5).prop_filter_map("a wildcard beside something else", |parts| {
        let glob = Glob::new(parts);
        let wild = glob.parts().iter().any(|part| !matches!(part, GlobPart::Literal(_)));
        (wild && !glob.is_any()).then_some(glob)
    })
}

fn pattern() -> impl Strategy<Value = Pattern> {
    let texts: &[&str] =
        &["err", "^10\\.", "(?i)GET", "v[12]", "a/b", "o+$", "\\d{3}", "", "ö", "\\\\", "x=.|---"];
    prop::sample::select(texts).prop_filter_map("valid", |text| Pattern::new(text).ok())
}

fn comparison() -> impl Strategy<Value = Comparison> {
    prop::sample::select(
        &[Comparison::Greater, Comparison::GreaterOrEqual, Comparison::Less, Comparison::LessOrEqual][..],
    )
}

/// A literal that the field can be compared with.
fn bound(name: &'static str) -> BoxedStrategy<Literal> {
    match name {
        "level" => prop::sample::select(&["info", "warn", "ERROR", "9"][..]).prop_map(Literal::new).boxed(),
        "timestamp" | "observed_timestamp" => (0i64..6).prop_map(|ms| Literal::new(&ms.to_string())).boxed(),
        _ => literal().boxed(),
    }
}

fn field_test() -> impl Strategy<Value = Expr> {
    prop::sample::select(NAMES).prop_flat_map(|name| {
        let end = || prop::option::of((bound(name), any::<bool>()));
        let predicate = prop_oneof![
            4 => literal().prop_map(Predicate::Equals),
            2 => glob().prop_map(Predicate::Glob),
            1 => pattern().prop_map(Predicate::Regex),
            2 => (comparison(), bound(name)).prop_map(|(sign, literal)| Predicate::Compare(sign, literal)),
            1 => (end(), end()).prop_map(|(low, high)| Predicate::Range { low, high }),
            1 => prop::sample::select(&["10.0.0.0/8", "10.0.0.1/32", "fe80::/10", "0.0.0.0/0"][..])
                .prop_filter_map("valid", |text| Cidr::parse(text).map(Predicate::Cidr)),
            2 => Just(Predicate::Exists),
        ];
        predicate.prop_map(move |predicate| match (name, predicate) {
            // On the body these are read as tests of its text.
            ("body", Predicate::Equals(literal)) => Expr::Text(Text::phrase(&literal.text)),
            ("body", Predicate::Glob(glob)) => Expr::Text(Text::glob(glob)),
            ("body", Predicate::Regex(pattern)) => Expr::Text(Text::Regex(pattern)),
            ("body", Predicate::Cidr(_)) => Expr::Field(Box::new(FieldTest::new(name, Predicate::Exists))),
            (name, predicate) => Expr::Field(Box::new(FieldTest::new(name, predicate))),
        })
    })
}

/// Any filter.
pub fn filter() -> impl Strategy<Value = Filter> {
    let leaf = prop_oneof![
        1 => Just(Expr::All),
        4 => word().prop_map(|word| Expr::Text(Text::phrase(word))),
        2 => (word(), word()).prop_map(|(a, b)| Expr::Text(Text::phrase(&format!("{a} {b}")))),
        1 => ".{0,8}".prop_map(|text| Expr::Text(Text::phrase(&text))),
        2 => glob().prop_map(|glob| Expr::Text(Text::glob(glob))),
        1 => pattern().prop_map(|pattern| Expr::Text(Text::Regex(pattern))),
        8 => field_test(),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expr::And),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expr::Or),
            inner.prop_map(|expr| Expr::Not(Box::new(expr))),
        ]
    })
    .prop_map(Filter::new)
}

/// Any value, of words mostly.
pub fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        6 => word().prop_map(Value::from),
        2 => (word(), word()).prop_map(|(a, b)| Value::from(format!("{a} {b}"))),
        2 => (-5i64..600).prop_map(Value::Int),
        1 => (-50i64..6000).prop_map(|n| Value::Double(n as f64 / 10.0)),
        1 => any::<bool>().prop_map(Value::Bool),
        1 => Just(Value::Null),
        1 => Just(Value::Bytes(b"10.0.0.1 err\xff or".to_vec())),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            prop::collection::vec((prop::sample::select(&["b", "k", "name"][..]), inner), 0..3).prop_map(
                |entries| Value::Map(
                    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
                )
            ),
        ]
    })
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let keys: &[&str] = &["host", "host.name", "k", "a", "a.b", "user", "status", "service.name"];
    prop::collection::vec((prop::sample::select(keys), value()), 0..4)
        .prop_map(|entries| entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

prop_compose! {
    /// Any record.
    pub fn record()(
        timestamp in prop::option::of(0i64..6_000_000),
        observed in 0i64..6_000_000,
        severity in 0i64..=24,
        severity_text in prop::sample::select(&["", "", "WARN", "error", "odd"][..]),
        body in value(),
        resource in attributes(),
        attributes in attributes(),
        trace in prop::option::of(prop::array::uniform16(0u8..3)),
    ) -> LogRecord {
        LogRecord {
            timestamp: timestamp.filter(|nanos| *nanos > 0).map(Timestamp),
            observed_timestamp: Timestamp(observed.max(1)),
            severity: Severity::from_number(severity),
            severity_text: severity_text.to_owned(),
            body,
            resource: Arc::new(resource),
            attributes,
            trace_id: trace.filter(|id| *id != [0; 16]),
            span_id: None,
        }
    }
}
