//! Random rows and filters for the tests of this crate: few distinct names, words and times, so that filters find
//! something, and every awkward kind of value; beside those of `millrace_filter::arbitrary`.

use crate::HotRow;
use millrace_filter::{
    Comparison, Expr, FieldTest, Filter, Glob, GlobPart, Literal, Predicate, Text, arbitrary,
};
use millrace_intake::{Parser, Parsers};
use millrace_model::{
    Attributes, Declarations, FieldType, LogRecord, Partition, RecordId, Row, Severity, SourceId, StreamName,
    Timestamp, Value, wire,
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use std::sync::Arc;

/// Names of fields: plain ones, aliases in each of their spellings, and paths that nest.
pub(crate) const PATHS: &[&str] = &[
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

/// Texts: words that meet one another in other cases, numbers, levels, addresses, nothing, and too much.
pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => select(&[
            "error", "Error", "ERROR", "errors", "warn", "INFO", "timeout", "connection reset", "web1", "web2", "WEB1",
            "größe", "GRÖSSE", "Straße", "İstanbul", "ǅ", "日本語 ログ", "a_b", "a-b", "x.y", "user*", "C:\\temp",
        ][..]).prop_map(str::to_owned),
        2 => select(&[
            "0", "-0", "1", "1.0", "+1", "01", "1e0", "-5", "200", "404", "500", "0x10", "NaN", "inf", "9007199254740993",
            "1.5", "10.0.0.1", "10.1.2.3", "192.168.0.7", "::1", "2001:db8::1", "10.0.0.1:80", "true", "false", "null",
            "2026-01-15T00:00:00Z",
        ][..]).prop_map(str::to_owned),
        1 => select(&["blk_-17", "17", "50010", "nfoo1", "foo1", "n2", "root", "get", "043", "05", "2026", "15t00"][..])
            .prop_map(str::to_owned),
        1 => Just(String::new()),
        1 => Just(" ".to_owned()),
        1 => (select(&["l", "é", "L"][..]), 120usize..140, ".{0,3}").prop_map(|(c, n, end)| c.repeat(n) + &end),
        1 => (select(&["word ", "Wort", "é"][..]), 40usize..140).prop_map(|(part, n)| part.repeat(n)),
        2 => "[abAB01 ._-]{0,6}",
        1 => ".{0,8}",
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        6 => text().prop_map(Value::String),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::Bool),
        3 => select(&[0, 1, -5, 5, 200, 404, 500, 503, i64::MAX, i64::MIN, 9_007_199_254_740_993][..]).prop_map(Value::Int),
        2 => select(&[0.0, -0.0, 1.0, 1.5, 200.0, 404.5, 1e300, f64::NAN, f64::INFINITY][..]).prop_map(Value::Double),
        1 => bytes().prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::Array),
            vec((path(), inner), 0..3).prop_map(|pairs| Value::Map(pairs.into_iter().collect())),
        ]
    })
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        text().prop_map(String::into_bytes),
        Just(b"error \xff web1".to_vec()),
        vec(any::<u8>(), 0..6)
    ]
}

fn path() -> impl Strategy<Value = String> {
    select(PATHS).prop_map(str::to_owned)
}

fn attributes() -> impl Strategy<Value = Attributes> {
    vec((path(), value()), 0..5).prop_map(|pairs| pairs.into_iter().collect())
}

fn body() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => vec(text(), 0..4).prop_map(|words| Value::String(words.join(" "))),
        1 => bytes().prop_map(Value::Bytes),
        2 => value(),
    ]
}

prop_compose! {
    fn own_record(resources: Vec<Attributes>)(
        timestamp in option::of(select(TIMES)), observed in select(TIMES), severity in 0i64..=24,
        severity_text in select(&["", "", "INFO", "warn", "Error", "ERR", "custom level", "größe"][..]),
        body in body(), attributes in attributes(), about in 0..resources.len(),
        trace_id in option::of(select(&[[0xab; 16], [1; 16]][..])), span_id in option::of(Just([0xcd; 8])),
        resources in Just(resources),
    ) -> LogRecord {
        LogRecord {
            timestamp: timestamp.map(Timestamp),
            observed_timestamp: Timestamp(observed),
            severity: Severity::from_number(severity),
            severity_text: severity_text.to_owned(),
            body,
            resource: Arc::new(resources[about].clone()),
            attributes,
            trace_id,
            span_id,
        }
    }
}

/// A JSON text, spelled in one of the many ways: white space, escapes, keys that repeat.
fn json(value: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = String> {
    (value, select(&["", " ", "\t"][..]), 0u8..4).prop_map(|(value, space, escapes)| {
        let plain = serde_json::to_string(&value).unwrap_or_default();
        let mut text = String::new();
        let (mut quoted, mut escaped) = (false, false);
        for c in plain.chars() {
            quoted ^= c == '"' && !escaped;
            escaped = quoted && c == '\\' && !escaped;
            match c {
                ':' | ',' if !quoted => text.extend([space, c.encode_utf8(&mut [0; 4]), space]),
                'é' | 'ö' | 'o' if escapes == 1 && quoted && !escaped => {
                    text.extend(["\\u".to_owned(), format!("{:04x}", c as u32)]);
                }
                '/' | '-' if escapes == 2 && quoted => text += "\\/",
                c => text.push(c),
            }
        }
        text
    })
}

/// Lines as programs write them, cut by every rule of masks.
fn line() -> impl Strategy<Value = String> {
    let word = || {
        prop_oneof![
            3 => text(),
            2 => select(&[
                "blk_-17", "blk_4", "10.0.0.1:50010", "2026-01-15 00:00:00,043", "12:30:05", "user=root", "\"GET /x HTTP/1.1\"",
                "550e8400-e29b-41d4-a716-446655440000", "deadbeef", "-5", "code -1", "a.b.C$1", "[x]", "\nfoo1", "\\n2",
            ][..]).prop_map(str::to_owned),
            1 => any::<i32>().prop_map(|number| number.to_string()),
            1 => any::<f32>().prop_map(|number| number.to_string()),
        ]
    };
    let prose = move || vec(word(), 0..6).prop_map(|words| words.join(" "));
    let names = &[
        "message",
        "msg",
        "level",
        "timestamp",
        "ts",
        "host",
        "a",
        "b",
        "a.b",
        "trace_id",
        "error",
        "n",
    ][..];
    let level = select(&["info", "WARN", "error", "odd", ""][..]).prop_map(Value::from);
    let time = select(TIMES).prop_map(|nanos| Value::String(Timestamp(nanos).to_string()));
    let field = prop_oneof![
        3 => prose().prop_map(Value::String),
        2 => value(),
        1 => level,
        1 => time,
        1 => Just(Value::from("0af7651916cd43dd8448eb211c80319c")),
    ];
    let object = vec((select(names).prop_map(str::to_owned), field), 0..6)
        .prop_map(|fields| Value::Map(fields.into_iter().collect()));
    prop_oneof![3 => json(object), 3 => prose(), 1 => any::<String>()]
}

/// A record as an agent makes it of a line; another parser's attributes may come along.
fn parsed(resources: Vec<Attributes>) -> impl Strategy<Value = LogRecord> {
    let resources: Vec<Arc<Attributes>> = resources.into_iter().map(Arc::new).collect();
    let parsers = select(&[Parser::Auto, Parser::Json, Parser::Plain][..]);
    (line(), parsers, select(TIMES), select(resources), option::of(0usize..4)).prop_map(
        |(line, parser, observed, resource, found)| {
            let parsers: Parsers = [parser].into_iter().collect();
            let mut record = parsers.parse(line.as_bytes(), Timestamp(observed), &resource);
            // As one that cuts a line at its spaces would.
            if let Some(word) = found.and_then(|at| line.split(' ').nth(at)) {
                record.attributes.set("word", word);
                if let Ok(number) = word.parse::<i64>() {
                    record.attributes.set("number", number);
                }
            }
            record
        },
    )
}

/// Types of some fields.
pub(crate) fn declarations() -> impl Strategy<Value = Declarations> {
    let kinds = &[FieldType::Ip, FieldType::Keyword, FieldType::Number, FieldType::Text, FieldType::Text][..];
    let paths = &["message", "word", "number", "error", "n"];
    let paths: Vec<&'static str> = PATHS.iter().chain(paths).copied().collect();
    vec((select(paths).prop_map(str::to_owned), select(kinds)), 0..9)
        .prop_map(|fields| fields.into_iter().collect())
}

/// A record as it comes off the wire, its fields declared to be something or not.
fn record(resources: Vec<Attributes>) -> impl Strategy<Value = LogRecord> {
    let record = prop_oneof![own_record(resources.clone()), arbitrary::record(), parsed(resources)];
    (record, option::weighted(0.4, declarations())).prop_map(|(record, declared)| {
        let mut record = wire::decode_record(&wire::encode_record(&record)).unwrap_or_default();
        if let Some(declared) = declared {
            declared.coerce(&mut record.attributes, |_| {});
        }
        record
    })
}

fn field_test() -> impl Strategy<Value = Expr> {
    let name = (select(&["", "", "attributes.", "resource."][..]), path())
        .prop_map(|(scope, path)| format!("{scope}{path}"));
    let literal = || text().prop_map(|text| Literal::new(&text));
    let predicate = prop_oneof![
        6 => literal().prop_map(Predicate::Equals),
        2 => (text(), any::<bool>()).prop_map(|(text, open)| {
            let start = text.chars().take(3).collect::<String>();
            let end = if open { GlobPart::Any } else { GlobPart::One };
            Predicate::Glob(Glob::new(vec![GlobPart::Literal(start), end]))
        }),
        2 => (select(&[Comparison::Greater, Comparison::LessOrEqual][..]), literal())
            .prop_map(|(sign, literal)| Predicate::Compare(sign, literal)),
        1 => (literal(), literal(), any::<bool>())
            .prop_map(|(low, high, inside)| Predicate::Range { low: Some((low, inside)), high: Some((high, inside)) }),
        2 => Just(Predicate::Exists),
    ];
    (name, predicate).prop_map(|(name, predicate)| Expr::Field(Box::new(FieldTest::new(&name, predicate))))
}

/// Any filter that can be written.
pub(crate) fn filter() -> impl Strategy<Value = Filter> {
    let leaf = prop_oneof![
        2 => arbitrary::filter().prop_map(|filter| filter.root().clone()),
        2 => field_test(),
        1 => text().prop_map(|text| Expr::Text(Text::phrase(&text))),
        1 => (text(), text()).prop_map(|(a, b)| Expr::Text(Text::phrase(&format!("{a} {b}")))),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 2..4).prop_map(Expr::And),
            vec(inner.clone(), 2..4).prop_map(Expr::Or),
            inner.prop_map(|expr| Expr::Not(Box::new(expr))),
        ]
    })
    .prop_map(Filter::new)
}

/// A few instants, so that rows share them.
pub(crate) const TIMES: &[i64] =
    &[1, 999, 1_000, 1_001, 1_000_000_000, 1_000_000_001, 1_768_435_200_000_000_000, i64::MAX - 1, i64::MAX];

/// Rows of one stream, each with an id of its own, in any order.
pub(crate) fn rows(most: usize) -> impl Strategy<Value = Vec<HotRow>> {
    vec(attributes(), 1..4)
        .prop_flat_map(move |resources| {
            let moved = option::weighted(0.2, select(&[i64::MIN, -1, 0, 77][..]));
            vec((record(resources), moved, 0u128..3), 0..most)
        })
        .prop_map(|records| records.into_iter().enumerate().map(|(n, parts)| row(n, parts)).collect())
}

fn row(number: usize, (record, moved, source): (LogRecord, Option<i64>, u128)) -> HotRow {
    // Ids run against the order in which rows come, and two rows share a position.
    let id = RecordId {
        source: SourceId(source << 70 | 5),
        position: 1_000 - number as u64 / 2,
        index: number as u32 % 2,
    };
    let time = moved.map_or(record.time(), Timestamp);
    let row = Row { id, stream: StreamName::default(), time, record };
    HotRow { partition: Partition(number as i32 % 2), offset: number as i64, row }
}
