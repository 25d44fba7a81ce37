//! What is no query, and what is said of it.

use crate::{parse, parse_metric, parse_selector};

#[test]
fn errors_say_what_and_where() {
    for (query, marked, part) in [
        ("", "", "empty"),
        ("{}", "{}", "matches every stream"),
        ("{app=~\".*\"}", "{app=~\".*\"}", "matches every stream"),
        ("{app=\"a\"", "", "`}` was expected"),
        ("{app=a}", "a", "write \"a\""),
        ("{app == \"a\"}", "==", "single `=`"),
        ("{app=\"a\"} | jsn", "jsn", "did you mean `json`"),
        ("{app=\"a\"} | ", "", "missing behind the `|`"),
        ("{app=\"a\"} |= foo", "foo", "write \"foo\""),
        ("{app=\"a\"} |~ \"(\"", "\"(\"", "regular expression is wrong"),
        ("{app=\"a\"} |= ip(\"x\")", "\"x\"", "neither an address"),
        ("{app=\"a\"} |~ ip(\"10.0.0.1\")", "ip", "`|=` and `!=`"),
        ("{app=\"a\"} | pattern \"<_>\"", "\"<_>\"", "has a name"),
        ("{app=\"a\"} | regexp \"a\"", "\"a\"", "has a name"),
        ("{app=\"a\"} | a > \"5\"", "\"5\"", "no order"),
        ("{app=\"a\"} | a > b", "b", "write \"b\""),
        ("{app=\"a\"} | a = \"b\" or json = \"c\"", "json", "word of the language"),
        ("{app=\"a\"} | label_format a=b, a=c", "a=b, a=c", "set twice"),
        ("{app=\"a\"} | label_format __error__=b", "__error__", "cannot be set"),
        ("{app=\"a\"} | line_format \"{{ nope }}\"", "\"{{ nope }}\"", "no function `nope`"),
        ("{app=\"a\"} | json a=\"[\"", "\"[\"", "no way to a value"),
        ("{app=\"a\"} | unwrap x", "{app=\"a\"} | unwrap x", "only a range"),
        ("{app=\"a\"} [5m]", "[", "inside a function"),
        ("rate({app=\"a\"})", "{", "needs a range"),
        ("rate({app=\"a\"}[5])", "5", "length of time"),
        ("rate({app=\"a\"}[5m][5m])", "[", "range already"),
        ("rate({app=\"a\"}[0s])", "[", "longer than nothing"),
        ("rat({app=\"a\"}[5m])", "rat", "did you mean `rate`"),
        ("sum_over_time({app=\"a\"}[5m])", "sum_over_time", "needs values"),
        ("count_over_time({app=\"a\"} | unwrap x [5m])", "count_over_time", "not values"),
        ("sum_over_time({app=\"a\"} | unwrap x [5m]) by (a)", "sum_over_time", "no groups"),
        ("rate({app=\"a\"} | unwrap x |= \"b\" [5m])", "|=", "follow an unwrap"),
        ("rate({app=\"a\"} | unwrap seconds(x) [5m])", "(", "no conversion seconds"),
        ("quantile_over_time({app=\"a\"} | unwrap x [5m])", "{", "number was expected"),
        ("topk(0, rate({app=\"a\"}[5m]))", "0", "whole number"),
        ("sum by (a) (rate({app=\"a\"}[5m])) by (b)", "sum", "not both"),
        ("sort(rate({app=\"a\"}[5m])) by (b)", "sort", "no groups"),
        ("sum(1)", "sum", "of vectors"),
        ("1 and rate({app=\"a\"}[5m])", "and", "between vectors"),
        ("{app=\"a\"} + 1", "{app=\"a\"} ", "lines, not numbers"),
        ("rate({app=\"a\"}[5m]) + bool 1", "+", "comparison only"),
        ("rate({app=\"a\"}[5m]) and on(a) group_left rate({app=\"a\"}[5m])", "and", "no many side"),
        ("(1 + 2", "(", "not closed"),
        ("1 + 2)", ")", "never opened"),
        ("1 +", "", "something must follow"),
        ("label_replace(rate({app=\"a\"}[5m]), \"a b\", \"\", \"\", \"\")", "\"a b\"", "no name of a label"),
        ("{app='a'}", "'", "single quotes"),
        ("{a.b=\"c\"}", ".", "`_` for every other"),
        ("{app=\"a\\d\"}", "\\d", "backticks"),
    ] {
        let Err(error) = parse(query) else { panic!("{query} is none") };
        assert_eq!(query.get(error.span.clone()), Some(marked), "{query}: {error}");
        assert!(error.to_string().contains(part), "{query}: {error}");
    }
}

#[test]
fn queries_are_bounded() {
    let deep = format!("{}1{}", "(".repeat(5000), ")".repeat(5000));
    let signs = format!("{}1", "-".repeat(5000));
    let powers = format!("1{}", " ^ 1".repeat(5000));
    let sums = format!("1{}", " + 1".repeat(5000));
    let ranges = format!("rate({}{{a=\"b\"}}{}[5m])", "(".repeat(5000), ")".repeat(5000));
    let labels = format!("{{a=\"b\"}} | {}a=\"b\"{}", "(".repeat(5000), ")".repeat(5000));
    let stages = format!("{{a=\"b\"}}{}", "|= \"a\"".repeat(5000));
    let regexes = format!("{{a=\"b\"}}{}", "|~ \"a\"".repeat(400));
    let templates = format!("{{a=\"b\"}} | line_format `{}`", "{{ count \"a\" .b }}".repeat(400));
    let long = format!("{{a=\"{}\"}}", "x".repeat(70_000));
    for query in [deep, signs, powers, sums, ranges, labels, stages, regexes, templates, long] {
        assert!(parse(&query).is_err());
    }
}

#[test]
fn selectors_stand_alone() {
    assert_eq!(parse_selector("{}"), Ok(Vec::new()));
    assert_eq!(parse_selector("{a=\"b\", c!~\"d\",}").map(|matchers| matchers.len()), Ok(2));
    assert!(parse_selector("{a=\"b\"} | json").is_err());
    assert!(parse_metric("{a=\"b\"}").is_err());
}
