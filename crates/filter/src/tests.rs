#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use millrace_model::{Attributes, LogRecord, Severity, Timestamp, Value};
use proptest::prelude::*;
use std::sync::Arc;

fn record() -> LogRecord {
    let mut resource = Attributes::new();
    resource.set("host.name", "web1");
    let mut attributes = Attributes::new();
    attributes.set("status", 500);
    attributes.set("bytes", "150");
    attributes.set("user", "Admin");
    attributes.set("ip", "10.2.3.4");
    attributes.set("path", "/api/v2/items");
    attributes.set("big", i64::MAX);
    attributes.set("tags", Value::Array(vec!["red".into(), "blue".into()]));
    attributes.set("nested", Value::Map([("key".to_owned(), Value::from("v"))].into_iter().collect()));
    LogRecord {
        timestamp: Some(Timestamp::from_millis(1_000)),
        observed_timestamp: Timestamp::from_millis(2_000),
        severity: Severity::ERROR,
        severity_text: "ERR".to_owned(),
        body: "Connection reset by peer: größe=5 user_id=42 [---]".into(),
        resource: Arc::new(resource),
        attributes,
        trace_id: Some([0xab; 16]),
        span_id: None,
    }
}

fn check(query: &str, expected: bool) {
    let filter = parse(query).unwrap_or_else(|error| panic!("{}", error.render(query)));
    assert_eq!(filter.matches(&record()), expected, "{query} => {filter:?}");
    let printed = filter.to_string();
    assert_eq!(
        parse(&printed).unwrap_or_else(|e| panic!("{}", e.render(&printed))),
        filter,
        "{query} => {printed}"
    );
}

#[test]
fn queries_match_what_they_say() {
    for query in [
        "",
        "*",
        "connection",
        "RESET connection",
        "\"connection reset\"",
        "conn*",
        "*ction",
        "c?nnection",
        "GRÖßE",
        "\"[---]\"",
        "user_id",
        "user_id=42",
        "\"by peer\" 5",
        "/reset by/",
        "/(?i)RESET/",
        "*set\\ by*",
        "NOT absent",
        "-absent",
        "!absent",
        "absent OR reset",
        "absent || reset",
        "connection AND reset",
        "connection && reset",
        "(absent OR reset) peer",
        "status:500",
        "status:>=500",
        "status:<501",
        "status:[100 TO 500]",
        "status:{499 TO 500]",
        "status:[* TO 500]",
        "bytes:[100 TO 200]",
        "bytes:>149.5",
        "user:admin",
        "user:adm*",
        "user:ADMIN",
        "user:a?min",
        "ip:10.0.0.0/8",
        "ip:10.2.3.4",
        "path:/^\\/api\\/v[12]/",
        "path:\"/api/v2/items\"",
        "path:*items",
        "trace_id:*",
        "trace_id:ABABABABABABABABABABABABABABABAB",
        "host:web1",
        "host:(web1 OR web2)",
        "host:(NOT web2)",
        "user:(adm* NOT root)",
        "level:error",
        "level:err",
        "level:>=warn",
        "level:<=error",
        "level:[warn TO fatal]",
        "severity_number:17",
        "tags:red",
        "tags:(red blue)",
        "nested.key:v",
        "nested:*",
        "body:connection",
        "message:\"connection reset\"",
        "body:*",
        "timestamp:>=1000",
        "timestamp:[0 TO \"1970-01-01T00:00:01Z\"]",
        "big:9223372036854775807",
        "and OR reset",
        "attributes.status:500",
        "resource.host.name:web1",
    ] {
        check(query, true);
    }
    for query in [
        "absent",
        "\"reset connection\"",
        "onnection",
        "conn",
        "NOT reset",
        "-connection",
        "status:501",
        "status:>500",
        "status:{500 TO 600]",
        "bytes:>150",
        "user:adm",
        "ip:11.0.0.0/8",
        "path:/v3/",
        "span_id:*",
        "host:web",
        "-host:web1",
        "level:warn",
        "level:>error",
        "tags:green",
        "nested:v",
        "resource.status:500",
        "big:9223372036854775806",
        "no.such:*",
        "user:>5",
        "timestamp:>1000",
        "/RESET/",
        "connection AND absent",
    ] {
        check(query, false);
    }
}

#[test]
fn and_binds_tighter_than_or() {
    assert_eq!(parse("a b OR c d").unwrap(), parse("(a AND b) OR (c AND d)").unwrap());
    assert_eq!(parse("NOT a b").unwrap(), parse("(NOT a) AND b").unwrap());
    assert_eq!(parse("a OR b c").unwrap().to_string(), "a OR b c");
    assert_eq!(parse("(a OR b) c").unwrap().to_string(), "(a OR b) c");
    assert_eq!(parse("-(a b)").unwrap().to_string(), "NOT (a b)");
}

#[test]
fn a_mistake_is_shown_where_it_is() {
    for (query, at, message, suggestion) in [
        ("error \"open", 6, "the quote is not closed", "add a `\"`"),
        ("(a OR b", 0, "the parenthesis is not closed", "add a `)`"),
        ("a )", 2, "never opened", "remove it"),
        ("status: 500", 0, "`status:` has no value", "directly after the colon"),
        ("a AND", 2, "something must follow", "remove it"),
        ("OR a", 0, "something must stand before", "quote it"),
        ("k:/[/", 2, "regular expression is wrong", ""),
        ("status:[1 2]", 7, "this is no range", "[low TO high]"),
        ("status:[1 TO 2", 7, "the range is not closed", "add a `]`"),
        ("level:>=banana", 8, "\"banana\" is no level", "warn"),
        ("timestamp:>yesterday", 11, "is no time", "RFC 3339"),
        ("a | stats count()", 2, "no pipes", "leave them out"),
        ("/var/log/syslog", 0, "in the middle of this word", "\"/var/log/syslog\""),
        ("a NOT", 2, "nothing is negated", ""),
        ("()", 0, "nothing stands between", ""),
        ("status:>", 8, "a value must follow", "status:>=500"),
    ] {
        let error = parse(query).expect_err(query);
        assert_eq!(error.span.start, at, "{query}: {error}");
        assert!(error.message.contains(message), "{query}: {error}");
        assert!(error.suggestion.as_deref().unwrap_or_default().contains(suggestion), "{query}: {error}");
    }
    let query = "größe \"x";
    assert_eq!(
        parse(query).unwrap_err().render(query),
        "größe \"x\n      ^^\nthe quote is not closed; add a `\"` at its end"
    );
}

#[test]
fn every_leaf_knows_where_it_stood() {
    let query = "größe OR k:(b -\"c d\") !e:>5 * n:[1 TO 2] /x/ f:g*";
    let filter = parse(query).unwrap();
    let leaves: Vec<&str> = filter.spans().iter().map(|span| &query[span.clone()]).collect();
    assert_eq!(leaves, ["größe", "b", "\"c d\"", "e:>5", "*", "n:[1 TO 2]", "/x/", "f:g*"]);
    assert_eq!(filter, parse(&filter.to_string()).unwrap());
}

#[test]
fn hostile_queries_are_refused() {
    assert!(parse(&"(".repeat(100_000)).is_err());
    assert!(parse(&"NOT ".repeat(100_000)).is_err());
    assert!(parse(&format!("{}a", "-".repeat(100_000))).is_err());
    assert!(parse(&"a ".repeat(2_000)).unwrap_err().message.contains("1000 terms"));
    assert!(parse("k:(a)").is_ok());
    assert!(parse(&format!("k:{}a", "(".repeat(100_000))).is_err());
    assert!(parse(&format!("k:({}a)", "NOT ".repeat(100_000))).is_err());
    assert!(parse("/(a{1000}){1000}/").unwrap_err().message.contains("regular expression"));
    assert!(parse(&format!("/{}/", "a".repeat(1001))).is_err());
    assert!(parse(&"/a/ ".repeat(MAX_PATTERNS)).is_ok());
    let error = parse(&"f:/a/ ".repeat(MAX_PATTERNS + 1)).unwrap_err();
    assert!(error.message.contains("100 regular expressions") && error.span == (602..605), "{error:?}");
}

#[test]
fn what_a_filter_was_printed_as_is_read_however_large_it_is() {
    let values = |count| vec![parse("f:a OR /a/").unwrap().root().clone(); count];
    let large = Filter::new(Expr::any_of(values(3_000)));
    assert!(parse(&large.to_string()).is_err());
    assert_eq!(parse_kept(&large.to_string()).unwrap(), large);
}

/// Filters as JSON text.
#[test]
fn a_filter_travels_as_its_text() {
    let filter = parse("a OR status:>=500").unwrap();
    assert_eq!(serde_json::from_str::<Filter>(&serde_json::to_string(&filter).unwrap()).unwrap(), filter);
    assert!(serde_json::from_str::<Filter>("\"(\"").is_err());
}

#[test]
fn one_character_beside_ascii_folds_to_an_ascii_letter() {
    let others = ('\u{80}'..=char::MAX).filter(|c| c.to_lowercase().all(|folded| folded.is_ascii()));
    assert_eq!(others.collect::<Vec<_>>(), ['\u{212a}']);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_printed_parses_back(filter in arbitrary::filter()) {
        let printed = filter.to_string();
        let parsed = parse(&printed);
        prop_assert!(parsed.is_ok(), "{} {:?}", printed, parsed);
        prop_assert_eq!(parsed.unwrap(), filter, "{}", printed);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in r#"[a:/\[\]{}()"\\*?|&<>=!\-TORNADé \n]{0,24}"#) {
        if let Err(error) = parse(&text) {
            prop_assert!(error.span.start <= text.len(), "{:?}", error);
            prop_assert!(!error.render(&text).is_empty());
        }
    }

    #[test]
    fn a_negation_is_the_opposite(filter in arbitrary::filter(), record in arbitrary::record()) {
        let not = Filter::new(Expr::Not(Box::new(filter.root().clone())));
        prop_assert_ne!(filter.matches(&record), not.matches(&record));
    }

    #[test]
    fn what_matches_is_found_within_what_surrounds_it(
        text in "[a-cA-Ckß4\u{130}\u{212a}\\- ]{0,12}",
        around in "[kK4\u{130} ]{0,4}",
        word in "[a-ck4]{1,3}",
    ) {
        let test = Text::phrase(&word);
        let all = format!("{around}{text}{around}");
        prop_assert!(!test.matches(&text) || test.may_match_within(all.as_bytes()), "{} {:?}", word, all);
        if all.is_ascii() {
            prop_assert_eq!(test.may_match_within(all.as_bytes()), all.to_ascii_lowercase().contains(&word));
        }
    }

    /// Against the slow and plain way: cut, fold, compare.
    #[test]
    fn phrases_match_as_lists_of_tokens_do(record in arbitrary::record(), text in "[a-cé\u{212a}\\- ]{0,8}") {
        use millrace_model::text::{fold, tokens};
        let body = match &record.body { Value::Null => String::new(), other => other.to_string() };
        let (wanted, all) = (tokens(&text), tokens(&body));
        let expected = if wanted.is_empty() { fold(&body).contains(&fold(&text)) } else { all.windows(wanted.len()).any(|w| w == wanted) };
        prop_assert_eq!(Filter::new(Expr::Text(Text::phrase(&text))).matches(&record), expected);
    }
}

/// A value and what it is coerced to.
fn coerced(kind: millrace_model::FieldType, text: &str) -> (Value, Value) {
    let mut value = Value::from(text);
    kind.coerce(&mut value);
    (Value::from(text), value)
}

fn on(query: &str, value: &Value) -> bool {
    let record = LogRecord {
        attributes: [("f".to_owned(), value.clone())].into_iter().collect(),
        ..LogRecord::default()
    };
    parse(query).unwrap().matches(&record)
}

#[test]
fn a_field_that_is_searched_by_words_is_asked_as_the_body_is() {
    let (keyword, text) =
        coerced(millrace_model::FieldType::Text, "Connection reset by peer: 10.0.0.1 [---]");
    for query in [
        "reset",
        "RESET",
        "\"reset by\"",
        "res*",
        "*eer",
        "10.0.0.1",
        "\"[---]\"",
        "*set\\ by*",
        "/reset by/",
    ] {
        assert!(on(&format!("f:{query}"), &text), "{query}");
        let anywhere = query.starts_with(['/', '*']) && query != "*eer";
        assert_eq!(on(&format!("f:{query}"), &keyword), anywhere, "{query}");
        let body = LogRecord { body: keyword.clone(), ..LogRecord::default() };
        assert!(parse(query).unwrap().matches(&body), "{query}");
    }
    for query in ["rese", "\"by reset\"", "eer*", "10.0.0.2"] {
        assert!(!on(&format!("f:{query}"), &text), "{query}");
    }
    assert!(on("f:*", &text) && on("f:(absent OR peer)", &text) && on("NOT f:absent", &text));
    assert!(on("f:\"connection reset by peer: 10.0.0.1 [---]\"", &keyword), "the other is matched whole");
}

#[test]
fn an_address_is_found_by_any_of_its_spellings_where_it_is_declared() {
    use millrace_model::FieldType::Ip;
    let (plain, declared) = coerced(Ip, "2001:0DB8:0:0::1");
    assert!(on("f:\"2001:db8::1\"", &declared) && on("f:\"2001:0db8::0001\"", &declared));
    assert!(on("f:\"2001:0db8:0:0::1\"", &plain) && !on("f:\"2001:db8::1\"", &plain));
    let (plain, declared) = coerced(Ip, "::ffff:10.1.2.3");
    assert!(
        on("f:10.1.2.3", &declared)
            && on("f:10.0.0.0/8", &declared)
            && on("f:\"::ffff:10.1.2.3\"", &declared)
    );
    assert!(!on("f:10.0.0.0/8", &plain));
}

#[test]
fn undeclared_values_compare_across_types() {
    let (int, double, text) = (Value::Int(200), Value::Double(200.0), Value::from("200"));
    for query in ["f:200", "f:>=200", "f:<=200", "f:[100 TO 300]", "f:2*", "f:/^2/"] {
        assert!([&int, &double, &text].into_iter().all(|value| on(query, value)), "{query}");
    }
    // A number is its value, a text its spelling.
    assert!(on("f:200.0", &int) && on("f:2e2", &double) && !on("f:200.0", &text));
    assert!(on("f:200.0", &Value::from("200.0")) && !on("f:200", &Value::from("200.0")));
    // By number where the bound is one: what spells none is on no side of it. Else by text, and numbers on no side.
    let word = Value::from("n/a");
    assert!(!on("f:>=0", &word) && !on("f:<0", &word) && on("NOT f:>=0", &word));
    assert!(on("f:>m", &word) && !on("f:>m", &int) && on("f:>=199.5", &text));
    let mixed = Value::Array(vec![word, Value::from("300"), Value::Null]);
    assert!(on("f:>=300", &mixed) && on("f:n/a", &mixed) && !on("f:200", &mixed));
    let object = Value::Map([("a".to_owned(), Value::Int(1))].into_iter().collect());
    assert!(on("f:*", &object) && !on("f:1", &object) && !on("f:*1*", &object) && on("f.a:1", &object));
    assert!(
        !on("f:*", &Value::Null) && on("f:true", &Value::Bool(true)) && on("f:true", &Value::from("True"))
    );
}

proptest! {
    /// To declare a number changes no comparison: a text already compared as the number that it spells.
    #[test]
    fn a_declared_number_compares_as_its_text_did(
        text in "[ ]{0,1}[+-]{0,1}[0-9]{0,20}[.]{0,1}[0-9]{0,3}", bound in -400i64..400, sign in 0usize..4,
    ) {
        let (plain, number) = coerced(millrace_model::FieldType::Number, &text);
        let query = format!("f:{}\"{bound}\"", [">", ">=", "<", "<="][sign]);
        prop_assert_eq!(on(&query, &plain), on(&query, &number), "{}", query);
    }
}
