#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::{AggregateKind, functions::Function};
use millrace_model::Value;

fn pipes(query: &str) -> Vec<Pipe> {
    parse(query).unwrap_or_else(|error| panic!("{}", error.render(query))).pipes
}

fn column(name: &str) -> Expr {
    Expr::Column(name.to_owned())
}

fn call(function: Function, arguments: &[Expr]) -> Expr {
    Expr::Call(function, arguments.to_vec())
}

fn int(number: i64) -> Expr {
    Expr::Constant(Value::Int(number))
}

#[test]
fn a_query_without_pipes_is_a_filter() {
    for query in ["", "*", "error timeout", "a || b", "path:/^a|b$/", "\"a | b\""] {
        let parsed = parse(query).unwrap();
        assert_eq!(
            (parsed.filter, parsed.pipes),
            (millrace_filter::parse(query).unwrap(), vec![]),
            "{query}"
        );
    }
}

#[test]
fn a_filter_ends_where_the_first_pipe_begins() {
    let parsed = parse("level:error|limit 3 | limit 2").unwrap();
    assert_eq!(parsed.filter, millrace_filter::parse("level:error").unwrap());
    assert_eq!(parsed.pipes, [Pipe::Limit(3), Pipe::Limit(2)]);
    assert_eq!(parse("| limit 3").unwrap().filter, millrace_filter::Filter::ALL);
}

#[test]
fn stats_are_called_as_they_are_written_or_as_is_said() {
    let [Pipe::Stats { aggregates, by }] =
        &pipes("* | stats count(), p95( duration ), sum(a+b) as s by host, lower(user) as `the user`")[..]
    else {
        panic!("one pipe")
    };
    let names: Vec<&str> = aggregates.iter().map(|named| named.name.as_str()).collect();
    assert_eq!(names, ["count()", "p95( duration )", "s"]);
    assert_eq!(aggregates[1].what.kind, AggregateKind::Percentile(0.95));
    assert_eq!(by.iter().map(|by| by.name.as_str()).collect::<Vec<_>>(), ["host", "the user"]);
    assert_eq!(by[1].what, call(Function::Lower, &[column("user")]));
}

#[test]
fn what_an_aggregate_is_called_finds_it_again() {
    let [_, Pipe::Where(condition), Pipe::Sort(keys)] = &pipes(
        "* | stats count(), p95(a) by host | where count() > 5 and p95(a) * 2 < 7 | sort -count(), host",
    )[..] else {
        panic!("three pipes")
    };
    let twice = call(Function::Multiply, &[column("p95(a)"), int(2)]);
    let parts =
        [call(Function::Greater, &[column("count()"), int(5)]), call(Function::Less, &[twice, int(7)])];
    assert_eq!(*condition, call(Function::And, &parts));
    let keys: Vec<(&str, bool)> = keys.iter().map(|key| (key.name.as_str(), key.descending)).collect();
    assert_eq!(keys, [("count()", true), ("host", false)]);
}

#[test]
fn operators_bind_as_one_expects() {
    let of = |text: &str| match &pipes(&format!("* | where {text}"))[..] {
        [Pipe::Where(condition)] => condition.clone(),
        other => panic!("{other:?}"),
    };
    for (short, long) in [
        ("a > 2*b", "(a) > (2 * (b))"),
        ("a + b * c - d", "(a + (b * c)) - d"),
        ("a - b - c", "(a - b) - c"),
        ("not a = 1 and b = 2 or c = 3", "((not (a = 1)) and (b = 2)) or (c = 3)"),
        ("a == 1 && b != 2 || !(c < 3)", "((a = 1) and (b != 2)) or (not (c < 3))"),
        ("-a * b", "(-a) * b"),
        ("a/b/c", "(a / b) / c"),
    ] {
        assert_eq!(of(short), of(long), "{short}");
    }
    assert_eq!(of("x = -5"), call(Function::Equal, &[column("x"), int(-5)]));
    assert_eq!(of("x > 5m"), call(Function::Greater, &[column("x"), int(300_000_000_000)]));
    assert_eq!(
        of("`user-agent` = 'a b'"),
        call(Function::Equal, &[column("user-agent"), Expr::Constant(Value::from("a b"))])
    );
    let epoch = call(Function::Less, &[column("timestamp"), int(1_000_000_000)]);
    assert_eq!(of("timestamp < \"1970-01-01T00:00:01Z\""), epoch);
}

#[test]
fn a_query_in_parentheses_is_a_query() {
    let inner =
        r#"path:/^\/a|b(c)/ (x OR "y)") | where matches(z, /\)/) | stats count() as n, max(t) by a, `b c`"#;
    let [Pipe::Join(join), Pipe::Limit(3)] =
        &pipes(&format!("* | join left by a, `b c`, a ({inner}) | limit 3"))[..]
    else {
        panic!("two pipes")
    };
    assert_eq!(join.right, parse(inner).unwrap());
    assert_eq!((join.by.join(","), join.left), ("a,b c".to_owned(), true));
    assert_eq!(join.columns(), ["n", "max(t)"]);
    let of = |query: &str| match &pipes(query)[..] {
        [Pipe::Join(join)] => (join.left, join.right.filter.to_string(), join.columns()),
        other => panic!("{other:?}"),
    };
    // Of records those columns that are shown, and the keys.
    let Pipe::Join(join) = &pipes("* | stats count() by u | join by u (x | eval v = 1)")[1] else { panic!() };
    assert_eq!(join.columns(), ["timestamp", "level", "host", "service", "v", "body"]);
    assert_eq!(join.right.pipes.len(), 2, "{join:?}");
    for (written, left) in [("join by u", false), ("JOIN inner by u", false), ("join LEFT BY u", true)] {
        assert_eq!(
            of(&format!("* | {written} (k:(a OR b) | fields u, v)")),
            (left, "k:a OR k:b".to_owned(), vec!["v".to_owned()])
        );
    }
    assert_eq!(of("* | join by u(|fields u)").1, "*");
    let deep = pipes("* | join by u (x | join by u (y | fields u, v) | fields u, v)");
    assert_eq!(deep.len(), 1);
    // What is called so stays a column.
    assert_eq!(pipes("* | where join > (2 + 3) | fields join").len(), 2);
}

#[test]
fn what_is_wrong_is_marked_and_mended() {
    for (query, marked, message, suggestion) in [
        ("* |", "|", "a pipe is missing", "stats"),
        ("* | stat count()", "stat", "no pipe stat", "did you mean `stats`"),
        ("* | frobnicate", "frobnicate", "no pipe", "there are dedup"),
        ("* | stats cout()", "cout", "no aggregate", "`count`"),
        ("* | stats sum()", "sum", "told of what", "sum(bytes)"),
        ("* | stats count() as a, sum(x) as a", "stats", "two columns", "`as`"),
        ("* | stats count() by host | where hots = 1", "hots", "no column hots", "host"),
        ("* | fields size | sort b", "b", "no column b", "there are size"),
        ("* | fields a, b c", "c", "does not belong", "comma"),
        ("* | where a >", "", "a value was expected", "field"),
        ("* | where a < b < c", "<", "not chained", "and"),
        ("* | where lenght(a) > 3", "lenght", "no function", "length"),
        ("* | stats count() by a | where cuont() > 3", "cuont", "no function", "`count`"),
        ("* | where pow(a) > 3", "pow", "takes 2 arguments", ""),
        ("* | where matches(a, /(/)", "/(/", "regular expression is wrong", ""),
        ("* | where timestamp > \"noon\"", "\"noon\"", "no time", "RFC 3339"),
        ("* | where a = 12parsecs", "12parsecs", "neither a number", "ns, us"),
        ("* | where a = \"x", "\"x", "not closed", "end"),
        ("* | where a # 3", "#", "does not belong", "backquotes"),
        ("* | stats count() by host | timechart 5m count()", "timechart", "no column timestamp", ""),
        ("* | timechart 5 count()", "5", "needs a unit", "5m"),
        ("* | timechart 1ns count()", "1ns", "1ms", ""),
        ("* | transaction by user", "by", "how far apart", "transaction 30m by user"),
        ("* | transaction", "", "how far apart", "transaction 30m by user"),
        ("* | session 30 by user", "30", "a gap needs a unit", "30m"),
        ("* | transaktion 30m by user", "transaktion", "no pipe", "did you mean `transaction`"),
        ("* | transaction 30m cuont() by user", "cuont", "no aggregate", "`count`"),
        ("* | transaction 30m by duration", "transaction", "two columns are called duration", "`as`"),
        ("* | stats count() by user | transaction 30m by user", "transaction", "no column timestamp", "user"),
        ("* | transaction 30m by user | where lenght > 1m", "lenght", "no column", ""),
        ("* | expand", "", "a name was expected", ""),
        ("* | expand a, b", ",", "does not belong", "comma"),
        ("* | stats count() by tags | expand tag", "tag", "no column tag", "tags"),
        ("* | join user (x)", "user", "columns that both sides have", "join by user"),
        ("* | join by user", "", "in parentheses", "join by user ("),
        ("* | join by user x", "x", "in parentheses", "join by user ("),
        ("* | join by user (x | stats count()", "(", "not closed", "`)`"),
        ("* | join by user (x | stats cout() by user)", "cout", "no aggregate", "`count`"),
        ("* | join by user (x |)", "|", "a pipe is missing", ""),
        ("* | join by user (x | where )", "", "a value was expected", ""),
        ("* | join by user (x:>) | limit 1", "", "a value must follow", ""),
        ("* | join by uesr (x | stats count() by user)", "uesr", "no column uesr", "did you mean user"),
        ("* | stats count() by host | join by hots (x)", "hots", "no column hots any more", "host"),
        ("* | join by user (x)", "join", "both sides have a column timestamp", "| fields"),
        (
            "* | stats count() by user | join by user (* | stats count() by user)",
            "join",
            "both sides have a column count()",
            "`as`",
        ),
        (
            "* | join by a (x | fields a, b) | join by a (x | fields a, b)",
            "join",
            "both sides have a column b",
            "",
        ),
        (
            "* | stats count() by a | join by a (x | fields a, b) | where zebra = 1",
            "zebra",
            "no column zebra",
            "there are a, count(), b",
        ),
        (
            "* | join by a (x | join by a (y | join by a (z | fields a)))",
            "(",
            "2 deep",
            "one after the other",
        ),
        ("* | limit many", "many", "a number", "limit 20"),
        ("* | extract \"<a><b>\"", "\"<a><b>\"", "between", "extract"),
        ("* | parse jsn", "jsn", "a format", "`json`"),
        ("* | parse", "", "a format", "logfmt"),
        ("* | extract user", "user", "does not belong", "pattern"),
        ("* | in_network(a)", "in_network", "no pipe", ""),
        ("* | where in_network(a, b)", "in_network", "a network", "10.0.0.0/8"),
    ] {
        let error = parse(query).expect_err(query);
        assert_eq!(&query[error.span.clone()], marked, "{query}: {error}");
        assert!(error.message.contains(message), "{query}: {error}");
        assert!(error.suggestion.clone().unwrap_or_default().contains(suggestion), "{query}: {error}");
    }
}

#[test]
fn bombs_are_refused() {
    let deep = format!("* | where {}a{}", "(".repeat(100), ")".repeat(100));
    assert!(parse(&deep).unwrap_err().message.contains("deep"));
    let long = format!("* | where {}", vec!["a"; 1000].join(" + "));
    assert!(parse(&long).unwrap_err().message.contains("long"));
    let many = format!("* {}", "| limit 1".repeat(100));
    assert!(parse(&many).unwrap_err().message.contains("64 pipes"));
    let sum = format!("* | where {} > 1", vec!["a"; 50].join(" + "));
    assert!(parse(&sum).unwrap_err().message.contains("deep"));
    let list = format!("* | fields {}", vec!["a"; 1000].join(","));
    assert!(parse(&list).unwrap_err().message.contains("64 entries"));
    let joins = format!("* {}", "| join by a (* | join by a (* | fields a) | fields a)".repeat(5));
    assert!(parse(&joins).unwrap_err().message.contains("joins 8"));
    let nested = format!("* {}", "| join by a (".repeat(10_000));
    assert!(parse(&nested).unwrap_err().message.contains("2 deep"));
    let nots = format!("* | where {}a", "not ".repeat(1000));
    assert!(parse(&nots).unwrap_err().message.contains("deep"));
}

mod random {
    use super::super::parse;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_a_query_or_an_error_that_lies_in_it(text in r#"[-a-c0-9 |,()<>=!+*/%"'`.&]{0,60}"#) {
            for query in [text.clone(), format!("* | where {text}"), format!("* | stats {text}"), format!("* | eval {text}"), format!("* | join by a ({text}) {text}")] {
                if let Err(error) = parse(&query) {
                    prop_assert!(error.span.start <= error.span.end && error.span.end <= query.len(), "{query}: {error:?}");
                    prop_assert!(query.is_char_boundary(error.span.start) && query.is_char_boundary(error.span.end), "{query}: {error:?}");
                }
            }
        }

        #[test]
        fn so_is_any_text_of_any_characters(text in ".{0,40}") {
            for query in [text.clone(), format!("* | {text}"), format!("* | where {text}"), format!("* | extract {text}"), format!("* | join by a ({text}) | {text}")] {
                if let Err(error) = parse(&query) {
                    prop_assert!(error.render(&query).len() >= query.len());
                }
            }
        }
    }
}
