//! What each format becomes, on lines as its makers write them.

use super::*;
use chrono_tz::Tz;

fn field<'a>(record: &'a LogRecord, name: &str) -> Option<&'a Value> {
    record.attributes.get(name)
}

fn text(record: &LogRecord, name: &str) -> String {
    field(record, name).map(ToString::to_string).unwrap_or_default()
}

fn error(record: &LogRecord) -> String {
    text(record, PARSE_ERROR)
}

#[expect(clippy::unnecessary_wraps, reason = "compared with what a record has")]
fn time(text: &str) -> Option<Timestamp> {
    Some(text.parse().unwrap())
}

fn in_zone(zone: Tz, parser: Parser, line: &str) -> LogRecord {
    let times = Times { zone: Some(zone), ..Times::default() };
    let parsers = Parsers::from_iter([parser]).with_times(times);
    parsers.parse(line.as_bytes(), NOW, &Arc::new(Attributes::new()))
}

#[test]
fn logfmt() {
    let line = r#"ts=2024-05-01T10:00:00Z level=warn msg="disk \"a\" is\tfull\u00e9" free=12 share=0.5 ok=true id=007 trace_id=01020304050607080910111213141516 dry"#;
    let record = parse(&[Parser::Logfmt], line.as_bytes());
    assert_eq!(error(&record), "");
    assert_eq!(record.timestamp, time("2024-05-01T10:00:00Z"));
    assert_eq!((record.severity_text.as_str(), record.severity), ("warn", Severity::WARN));
    assert_eq!(text(&record, "msg"), "disk \"a\" is\tfull\u{e9}");
    assert_eq!(field(&record, "free"), Some(&Value::Int(12)));
    assert_eq!(field(&record, "share"), Some(&Value::Double(0.5)));
    assert_eq!(field(&record, "ok"), Some(&Value::Bool(true)));
    assert_eq!(field(&record, "id"), Some(&Value::from("007")));
    assert_eq!(field(&record, "dry"), Some(&Value::Bool(true)));
    assert!(record.trace_id.is_some(), "an id of digits alone is one");
    for (line, reason) in [
        ("all is well", "no pairs"),
        ("a long sentence with one=pair", "no pairs"),
        (r#"msg="no end"#, "no closing quote"),
        ("=value", "no key"),
        (r#""quoted" a=b"#, "a quote without a key"),
    ] {
        let record = parse(&[Parser::Logfmt], line.as_bytes());
        assert!(
            error(&record).starts_with("logfmt: ") && error(&record).contains(reason),
            "{line}: {}",
            error(&record)
        );
        assert_eq!(record.attributes.len(), 1);
    }
}

#[test]
fn key_value_with_other_separators() {
    let parser = Parser::KeyValue(KeyValue { pair: ";".to_owned(), separator: ":".to_owned() });
    let record = parse(&[parser], br#"user: anna ; path:"/a;b"; code:7;"#);
    assert_eq!((text(&record, "user"), text(&record, "path")), ("anna".to_owned(), "/a;b".to_owned()));
    assert_eq!(field(&record, "code"), Some(&Value::Int(7)));
    assert_eq!(record.attributes.len(), 3);
    let parser = Parser::KeyValue(KeyValue { pair: " | ".to_owned(), separator: "=".to_owned() });
    let record = parse(&[parser], b"user=anna b | code=7 | ");
    assert_eq!((text(&record, "user"), text(&record, "code")), ("anna b".to_owned(), "7".to_owned()));
    assert_eq!(record.attributes.len(), 2);
}

#[test]
fn comma_separated_values() {
    let columns = ["time", "level", "", "message"].map(str::to_owned).to_vec();
    let parser = Parser::Csv(Csv { columns, delimiter: b',' });
    let record =
        parse(std::slice::from_ref(&parser), br#"2024-05-01T10:00:00Z,ERROR,x,"full, ""very"" full""#);
    assert_eq!(record.timestamp, time("2024-05-01T10:00:00Z"));
    assert_eq!(record.severity, Severity::ERROR);
    assert_eq!(text(&record, "message"), "full, \"very\" full");
    assert_eq!(record.attributes.len(), 1);
    assert_eq!(error(&parse(&[parser], b"a,b")), "csv: 2 values, where 4 columns are named");
}

#[test]
fn access_logs() {
    let line = r#"192.0.2.7 - anna [10/Oct/2023:13:55:36 -0700] "GET /apache.gif?q=1&r=2 HTTP/1.1" 200 2326 "http://www.example.com/start.html" "Mozilla/4.08 [en] (\"Win98\")""#;
    let record = parse(&[Parser::Access], line.as_bytes());
    assert_eq!(error(&record), "");
    assert_eq!(record.timestamp, time("2023-10-10T20:55:36Z"));
    for (name, value) in [
        ("client.address", "192.0.2.7"),
        ("user.name", "anna"),
        ("http.request.method", "GET"),
        ("url.path", "/apache.gif"),
        ("url.query", "q=1&r=2"),
        ("network.protocol.version", "1.1"),
        ("http.request.header.referer", "http://www.example.com/start.html"),
        ("user_agent.original", "Mozilla/4.08 [en] (\"Win98\")"),
    ] {
        assert_eq!(text(&record, name), value, "{name}");
    }
    assert_eq!(field(&record, "http.response.status_code"), Some(&Value::Int(200)));
    assert_eq!(field(&record, "http.response.body.size"), Some(&Value::Int(2326)));
    assert_eq!(record.attributes.len(), 10);

    // Common; a virtual host; nothing where there is nothing; nginx's X-Forwarded-For; and no request at all.
    let common =
        parse(&[Parser::Access], br#"::1 - - [10/Oct/2023:13:55:36 +0000] "OPTIONS * HTTP/1.0" 304 -"#);
    assert_eq!(
        (text(&common, "client.address"), text(&common, "url.original")),
        ("::1".to_owned(), "*".to_owned())
    );
    assert_eq!(field(&common, "http.response.body.size"), None);
    let host = br#"www.example.com:443 192.0.2.7 - - [10/Oct/2023:13:55:36 +0000] "GET / HTTP/2.0" 200 5 "-" "curl/8" "203.0.113.9""#;
    let host = parse(&[Parser::Access], host);
    assert_eq!(text(&host, "server.address"), "www.example.com:443");
    assert_eq!(text(&host, "client.address"), "192.0.2.7");
    assert_eq!(text(&host, "http.request.header.x-forwarded-for"), "203.0.113.9");
    assert_eq!(field(&host, "http.request.header.referer"), None);
    let tls = br#"192.0.2.7 - - [10/Oct/2023:13:55:36 +0000] "\x16\x03\x01" 400 166 "-" "-" rt=0.001 "a""#;
    let tls = parse(&[Parser::Access], tls);
    assert_eq!(text(&tls, "url.original"), r"\x16\x03\x01");
    assert_eq!(text(&tls, "access.rest"), r#"rt=0.001 "a""#);

    for line in [
        "",
        "a - - [b] \"c\" 200 1",
        "a - - [10/Oct/2023:13:55:36 +0000] \"c 200 1",
        "a - - [32/Oct/2023:13:55:36 +0000] \"c\" 200 1",
    ] {
        assert!(error(&parse(&[Parser::Access], line.as_bytes())).starts_with("access: "), "{line}");
    }
}

#[test]
fn syslog_of_both_kinds_and_as_files_have_it() {
    let record = in_zone(
        Tz::UTC,
        Parser::Syslog,
        "<34>Oct 11 22:14:15 mymachine su[231]: 'su root' failed for lonvick on /dev/pts/8",
    );
    assert_eq!(record.timestamp, time("2023-10-11T22:14:15Z"));
    assert_eq!((record.severity_text.as_str(), record.severity), ("crit", Severity::from_syslog(2)));
    assert_eq!(text(&record, "host.name"), "mymachine");
    assert_eq!(text(&record, "service.name"), "su");
    assert_eq!(field(&record, "process.pid"), Some(&Value::Int(231)));
    assert_eq!(text(&record, "syslog.facility"), "auth");

    let line = r#"<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut="3" eventSource="Application"] An application event"#;
    let record = parse(&[Parser::Syslog], line.as_bytes());
    assert_eq!(record.timestamp, time("2003-10-11T22:14:15.003Z"));
    assert_eq!(text(&record, "syslog.msgid"), "ID47");
    assert_eq!(text(&record, "syslog.exampleSDID@32473.eventSource"), "Application");
    assert_eq!(record.severity_text, "notice");

    let record =
        parse(&[Parser::Syslog], b"2023-11-27T13:24:08.123456+01:00 web1 kernel: ERROR: out of memory");
    assert_eq!(record.timestamp, time("2023-11-27T12:24:08.123456Z"));
    assert_eq!(
        (text(&record, "host.name"), text(&record, "service.name")),
        ("web1".to_owned(), "kernel".to_owned())
    );
    assert_eq!(record.severity, Severity::ERROR, "without a priority the word tells");

    for line in ["hello", "", "<999999>x", "2023-11-27 web1 kernel: x"] {
        assert!(error(&parse(&[Parser::Syslog], line.as_bytes())).starts_with("syslog: "), "{line}");
    }
}

#[test]
fn a_date_without_a_year_is_the_latest_that_is_not_in_the_future() {
    // Observed on the 14th of November 2023, 22:13:20 UTC.
    for (stamp, expected) in [
        ("Nov 14 22:13:20", "2023-11-14T22:13:20Z"),
        ("Nov 15 22:13:00", "2023-11-15T22:13:00Z"),
        ("Nov 16 00:00:00", "2022-11-16T00:00:00Z"),
        ("Dec 31 23:59:59", "2022-12-31T23:59:59Z"),
        ("Jan  1 00:00:00", "2023-01-01T00:00:00Z"),
        ("Feb 29 12:00:00", "2020-02-29T12:00:00Z"),
    ] {
        let record = in_zone(Tz::UTC, Parser::Syslog, &format!("{stamp} web1 app: x"));
        assert_eq!(record.timestamp, time(expected), "{stamp}");
    }
    // A new year begins earlier in the east.
    let new_year: Timestamp = "2023-12-31T20:00:00Z".parse().unwrap();
    let times = Times { zone: Some(Tz::Asia__Tokyo), ..Times::default() };
    let parsers = Parsers::from_iter([Parser::Syslog]).with_times(times);
    let record = parsers.parse(b"Jan  1 05:00:00 web1 app: x", new_year, &Arc::new(Attributes::new()));
    assert_eq!(record.timestamp, time("2023-12-31T20:00:00Z"));
}

#[test]
fn times_are_read_in_the_format_and_the_zone_of_the_source() {
    let format = |text: &str| Some(Format::new(text).unwrap());
    let line = br#"{"when":"01/05/2024 14:00:00","time":"2001-01-01T00:00:00Z"}"#;
    let read = |times: Times, line: &[u8]| {
        let parsers = Parsers::from_iter([Parser::Auto]).with_times(times);
        parsers.parse(line, NOW, &Arc::new(Attributes::new()))
    };
    let field = Some("when".to_owned());
    let times = Times {
        zone: Some(Tz::Europe__Berlin),
        field: field.clone(),
        format: format("%d/%m/%Y %H:%M:%S"),
        ..Times::default()
    };
    assert_eq!(read(times.clone(), line).timestamp, time("2024-05-01T12:00:00Z"));
    assert_eq!(
        read(times, b"01/05/2024 14:00:00 ERROR at the start").timestamp,
        time("2024-05-01T12:00:00Z")
    );
    // Without a year, and with a zone of its own.
    let times = Times { field: field.clone(), format: format("%b %d %H:%M:%S"), ..Times::default() };
    assert_eq!(read(times, br#"{"when":"Dec 31 23:00:00"}"#).timestamp, time("2022-12-31T23:00:00Z"));
    let times =
        Times { zone: Some(Tz::Asia__Tokyo), field, format: format("%Y%m%d %H%M%S %z"), ..Times::default() };
    assert_eq!(read(times, br#"{"when":"20240501 100000 +0200"}"#).timestamp, time("2024-05-01T08:00:00Z"));
    // Known spellings: without a zone only where one is said; an hour that comes twice is the first, one that is left out is later.
    let zoneless = b"2024-05-01 14:00:00,250 INFO x";
    assert_eq!(read(Times::default(), zoneless).timestamp, None);
    let berlin = Times { zone: Some(Tz::Europe__Berlin), ..Times::default() };
    assert_eq!(read(berlin.clone(), zoneless).timestamp, time("2024-05-01T12:00:00.25Z"));
    assert_eq!(read(berlin.clone(), b"2024-10-27T02:30:00 x").timestamp, time("2024-10-27T00:30:00Z"));
    assert_eq!(read(berlin, b"2024-03-31T02:30:00 x").timestamp, time("2024-03-31T01:30:00Z"));
    assert_eq!(
        read(Times::default(), b"[2024-05-01T14:00:00+02:00] x").timestamp,
        time("2024-05-01T12:00:00Z")
    );
    assert!(Format::new("%Q").is_err());
}

#[test]
fn cef() {
    let line = r"CEF:0|Security|threat\|manager|1.0|100|worm \\ stopped|10|src=10.0.0.1 act=blocked a | msg=Detected a \= in path\nnext cs1=admin cs1Label=Role rt=1714557600123";
    let record = parse(&[Parser::Cef], line.as_bytes());
    assert_eq!(error(&record), "");
    for (name, value) in [
        ("device.vendor", "Security"),
        ("device.product", "threat|manager"),
        ("event.code", "100"),
        ("event.name", "worm \\ stopped"),
        ("src", "10.0.0.1"),
        ("act", "blocked a |"),
        ("msg", "Detected a = in path\nnext"),
        ("cs1", "admin"),
        ("Role", "admin"),
    ] {
        assert_eq!(text(&record, name), value, "{name}");
    }
    assert_eq!((record.severity_text.as_str(), record.severity), ("10", Severity::FATAL));
    assert_eq!(error(&parse(&[Parser::Cef], b"CEF:0|a|b")), "cef: 2 of 7 fields of the header");
    assert_eq!(parse(&[Parser::Cef], b"CEF:1|a|b|c|d|e|Very-High").severity, Severity::FATAL);

    // Behind a syslog header both are read.
    let line = "<134>Oct 11 22:14:15 fw1 CEF: CEF:0|Vendor|Fw|1|7|deny|Low|src=10.0.0.1 dst=10.0.0.2";
    let record = in_zone(Tz::UTC, Parser::Auto, line);
    assert_eq!((text(&record, "host.name"), text(&record, "dst")), ("fw1".to_owned(), "10.0.0.2".to_owned()));
    assert_eq!(record.timestamp, time("2023-10-11T22:14:15Z"));
}

#[test]
fn leef() {
    let record = parse(
        &[Parser::Leef],
        b"LEEF:1.0|Microsoft|MSExchange|4.0 SP1|15345|src=192.0.2.0\tdst=172.50.123.1\tsev=5\tcat=a b",
    );
    assert_eq!(
        (text(&record, "event.code"), text(&record, "dst")),
        ("15345".to_owned(), "172.50.123.1".to_owned())
    );
    assert_eq!((text(&record, "cat"), record.severity), ("a b".to_owned(), Severity::WARN));
    for line in [
        "LEEF:2.0|Lancope|StealthWatch|1.0|41|^|src=10.0.1.8^dst=10.0.0.5",
        "LEEF:2.0|Lancope|StealthWatch|1.0|41|x5E|src=10.0.1.8^dst=10.0.0.5",
        "LEEF:2.0|Lancope|StealthWatch|1.0|41|src=10.0.1.8\tdst=10.0.0.5",
    ] {
        let record = parse(&[Parser::Leef], line.as_bytes());
        assert_eq!(
            (text(&record, "src"), text(&record, "dst")),
            ("10.0.1.8".to_owned(), "10.0.0.5".to_owned()),
            "{line}"
        );
    }
    assert_eq!(error(&parse(&[Parser::Leef], b"LEEF:1.0|a|b")), "leef: 3 of 5 fields of the header");
}

#[test]
fn expressions_and_grok_patterns() {
    let parser = Parser::Regex(
        Pattern::new(r"^(?<client.address>\S+) took (?<ms>\d+)ms(?: by (?<user>\w+))?$").unwrap(),
    );
    let record = parse(&[parser.clone(), Parser::Plain], b"10.0.0.1 took 12ms");
    assert_eq!(
        (text(&record, "client.address"), field(&record, "ms")),
        ("10.0.0.1".to_owned(), Some(&Value::Int(12)))
    );
    assert_eq!(record.attributes.len(), 2, "a group that took no part is no field");
    assert_eq!(error(&parse(&[parser], b"x")), "regex: does not match");
    assert!(Pattern::new("a(b)").unwrap_err().contains("no group has a name"));
    assert!(Pattern::new("(?<a>b").is_err() && Pattern::new(r"(?=a)(?<b>c)").is_err());

    let line = r#"127.0.0.1 - frank [10/Oct/2023:13:55:36 -0700] "GET /a HTTP/1.0" 200 2326 "-" "curl""#;
    let grok = GrokPattern::new(r#"%{IPORHOST:client} %{DATA} %{USER:user} \[%{HTTPDATE:time}\] "%{WORD:verb} %{NOTSPACE:path}.*?" %{NUMBER:status:int} %{NUMBER:size:string}"#).unwrap();
    let record = parse(&[Parser::Grok(grok)], line.as_bytes());
    assert_eq!(error(&record), "");
    assert_eq!((text(&record, "client"), text(&record, "path")), ("127.0.0.1".to_owned(), "/a".to_owned()));
    assert_eq!(
        (field(&record, "status"), field(&record, "size")),
        (Some(&Value::Int(200)), Some(&Value::from("2326")))
    );
    assert_eq!(GrokPattern::new("%{NO_SUCH:x}").unwrap_err(), "no pattern has the name NO_SUCH");
    let error = GrokPattern::new("%{WORD:x}(?=y)").unwrap_err();
    assert_eq!(
        error,
        "not a regular expression: look-around, including look-ahead and look-behind, is not supported"
    );
    assert!(GrokPattern::new("%{WORD}").unwrap_err().contains("nothing in it has a name"));
}

#[test]
fn auto_takes_a_line_for_what_it_is_beyond_doubt() {
    let seen = |line: &str| Parser::recognise(line).map_or("none", |parser| parser.name());
    for (line, kind) in [
        (r#"{"a":1}"#, "json"),
        ("CEF:0|a|b|c|d|e|1|", "cef"),
        ("LEEF:1.0|a|b|c|d|", "leef"),
        ("<13>Nov 27 13:24:08 web1 app: x", "syslog"),
        ("Nov 27 13:24:08 web1 sshd[12]: x", "syslog"),
        ("Nov  7 13:24:08 web1 kernel: x", "syslog"),
        ("2026-11-27T13:24:08.123456+01:00 web1 systemd[1]: x", "syslog"),
        (r#"::1 - - [10/Oct/2023:13:55:36 +0000] "GET / HTTP/1.0" 304 -"#, "access"),
        ("level=info msg=\"a b\" n=1", "logfmt"),
        // Not beyond doubt.
        ("2026-11-27T13:24:08.123456Z  INFO millrace::roles: listening", "none"),
        ("2026-11-27T13:24:08.123456Z INFO millrace: listening", "none"),
        ("2026-11-27T13:24:08.123456Z main.go:12 server: listening", "none"),
        ("Nov 27 13:24:08 it rained", "none"),
        ("the answer=42 is=known", "none"),
        ("answer=42", "none"),
        ("[2026-11-27 13:24:08] a=b", "none"),
        ("a [10/Oct] b", "none"),
        ("", "none"),
    ] {
        assert_eq!(seen(line), kind, "{line}");
    }
}

#[test]
fn more_fields_than_are_kept_are_counted() {
    let line: String = (0..1100).map(|n| format!("k{n}={n} ")).collect::<Vec<_>>().concat();
    let record = parse(&[Parser::Logfmt], line.as_bytes());
    assert_eq!(field(&record, DROPPED_ATTRIBUTES), Some(&Value::Int(100)));
    assert_eq!(record.attributes.len(), 1001);
}

fn any_parser() -> impl Strategy<Value = Parser> {
    let columns = vec!["a".to_owned(), "time".to_owned()];
    let mut all: Vec<Parser> = Parser::NAMES.into_iter().map(|(_, parser)| parser).collect();
    all.push(Parser::Csv(Csv { columns, delimiter: b',' }));
    all.push(Parser::KeyValue(KeyValue { pair: ";".to_owned(), separator: "=>".to_owned() }));
    all.push(Parser::Regex(Pattern::new("(?<a>.)(?<time>.*)").unwrap()));
    all.push(Parser::Grok(GrokPattern::new("%{DATA:a} %{GREEDYDATA:time}").unwrap()));
    prop::sample::select(all)
}

/// Pieces that the formats are made of, in any order.
fn any_line() -> impl Strategy<Value = String> {
    let pieces = [
        "<13>",
        "<1",
        ">",
        "1 ",
        "Oct 11 22:14:15 ",
        "Feb 29 25:61:61 ",
        "Mar 31 2024 02:30:00 ",
        "2024-02-30T00:00:00Z ",
        "2003-10-11T22:14:15.003Z ",
        "- ",
        "host ",
        "app[1]: ",
        "[a@1 b=\"c\\]\"] ",
        "CEF:0|",
        "LEEF:2.0|",
        "|",
        "\\",
        "\\|",
        "a=b ",
        "=",
        "\"",
        "\\\"",
        ";",
        "=>",
        ",",
        " [10/Oct/2023:13:55:36 -0700] ",
        "\"GET /a?b HTTP/1.1\" ",
        "200 ",
        "x5E|",
        "\t",
        "é",
        "{\"a\":",
        "}",
        "\u{0}",
        "::1 ",
        "a:80 ",
    ];
    prop_oneof![
        prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..14)
            .prop_map(|pieces| pieces.concat()),
        "\\PC{0,80}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn no_line_does_harm_to_any_parser(line in any_line(), parser in any_parser(), zone in prop::sample::select(vec![Tz::UTC, Tz::Europe__Berlin, Tz::America__Sao_Paulo])) {
        let times = Times { zone: Some(zone), format: Some(Format::new("%b %d %H:%M:%S").unwrap()), ..Times::default() };
        for times in [Times::default(), Times { format: None, ..times.clone() }, times] {
            let parsers = Parsers::from_iter([parser.clone()]).with_times(times);
            let record = parsers.parse(line.as_bytes(), NOW, &Arc::new(Attributes::new()));
            prop_assert_eq!(&record.body, &Value::from(line.as_str()));
            let bytes = millrace_model::wire::encode_record(&record);
            prop_assert_eq!(millrace_model::wire::decode_record(&bytes).unwrap(), record);
        }
    }
}
