//! Pipelines by examples: a line goes in, and comes out with the labels that were made of it, or does not.

use crate::{Entry, Labels, Pipeline, parse_log};
use proptest::prelude::*;
use std::sync::Arc;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// 2024-05-06T07:08:09.010Z.
const TIME: i64 = 1_714_979_289_010_000_000;

fn entry(line: &str) -> Entry {
    let stream = labels(&[("app", "web"), ("env", "prod")]);
    Entry::new(TIME, line, Arc::new(stream), labels(&[("pod", "p1")]))
}

fn run(stages: &str, line: &str) -> String {
    let pipeline: Pipeline = match parse_log(&format!("{{app=\"web\"}} {stages}")) {
        Ok(pipeline) => pipeline,
        Err(error) => return format!("error: {error}"),
    };
    let mut entry = entry(line);
    if !pipeline.run(&mut entry) {
        return "-".to_owned();
    }
    let made = entry.parsed_labels().into_iter().filter(|(name, _)| name != "__error_details__");
    let made: Vec<String> = made.map(|(name, value)| format!("{name}={value}")).collect();
    format!("{} [{}]", entry.line, made.join(" "))
}

fn check(examples: &[(&str, &str, &str)]) {
    for (stages, line, expected) in examples {
        assert_eq!(run(stages, line), *expected, "{stages} on {line}");
    }
}

#[test]
fn lines_are_filtered() {
    check(&[
        (r#"|= "err""#, "an error", "an error []"),
        (r#"|= "Err""#, "an error", "-"),
        (r"|= `a\d`", r"x a\d", r"x a\d []"),
        (r#"|= """#, "x", "x []"),
        (r#"!= "err""#, "an error", "-"),
        (r#"!= "err""#, "fine", "fine []"),
        (r#"|~ "e.*r""#, "an error", "an error []"),
        (r#"|~ "^err""#, "an error", "-"),
        (r#"|~ "(?i)ERR""#, "an error", "an error []"),
        (r#"|~ "a.b""#, "a\nb", "a\nb []"),
        (r#"!~ "e.+r""#, "an error", "-"),
        (r"!~ `\d`", "none", "none []"),
        (r#"|= "a" |= "b" != "c""#, "ab", "ab []"),
        (r#"|= "a" |= "b" != "c""#, "abc", "-"),
        (r#"|= "x" or "b""#, "ab", "ab []"),
        (r#"|= "x" or "y""#, "ab", "-"),
        (r#"!= "x" or "b""#, "ab", "-"),
        (r#"!= "x" or "y""#, "ab", "ab []"),
        (r#"|~ "x+" or "b+""#, "abb", "abb []"),
        (r#"|> "<_> level=debug <_>""#, "ts=1 level=debug x", "ts=1 level=debug x []"),
        (r#"|> "<_> level=debug <_>""#, "ts=1 level=info x", "-"),
        (r#"!> "<_> level=debug <_>""#, "ts=1 level=debug x", "-"),
        (r#"|= ip("10.0.0.0/8")"#, "from 10.1.2.3:80", "from 10.1.2.3:80 []"),
        (r#"|= ip("10.0.0.0/8")"#, "from 11.1.2.3:80", "-"),
        (r#"!= ip("192.168.4.5-192.168.4.20")"#, "from 192.168.4.7", "-"),
        (r#"|= ip("2001:db8::/32") or "local""#, "from 2001:db8::1", "from 2001:db8::1 []"),
    ]);
}

#[test]
fn json_becomes_labels() {
    check(&[
        ("| json", r#"{"a":"b","n":1.50,"t":true}"#, r#"{"a":"b","n":1.50,"t":true} [a=b n=1.50 t=true]"#),
        (
            r#"| json | line_format "x""#,
            r#"{"r":{"user-agent":"c","h":{"k":"v"}}}"#,
            "x [r_h_k=v r_user_agent=c]",
        ),
        (r#"| json | line_format "x""#, r#"{"l":[1,2],"z":null,"a":1}"#, "x [a=1]"),
        (r#"| json | line_format "x""#, r#"{"a.b":{"c":"d"},"5xx":"e"}"#, "x [_5xx=e a_b_c=d]"),
        (
            r#"| json | line_format "x""#,
            r#"{"app":"other","pod":"q"}"#,
            "x [app_extracted=other pod_extracted=q]",
        ),
        (r#"| json | line_format "x""#, r#"{"a":"1","a":"2"}"#, "x [a=1]"),
        ("| json", "plain", "plain [__error__=JSONParserErr]"),
        (r#"| json | line_format "x""#, r#"{"a":"1","b"#, "x [__error__=JSONParserErr a=1]"),
        (r#"| json | __error__="""#, "plain", "-"),
        (r#"| json | __error__!="""#, "plain", "plain [__error__=JSONParserErr]"),
        (r#"| json | __error__!="JSONParserErr""#, "plain", "-"),
        (
            r#"| json first="s[0]", ua="r.h[\"User-Agent\"]" | line_format "x""#,
            r#"{"s":["a","b"],"r":{"h":{"User-Agent":"curl"}}}"#,
            "x [first=a ua=curl]",
        ),
        (
            r#"| json s, r="r.h" | line_format "x""#,
            r#"{"s":["a","b"],"r":{"h":{"k":1}}}"#,
            r#"x [r={"k":1} s=["a","b"]]"#,
        ),
        (r#"| json none="x.y" | line_format "x""#, r#"{"x":1}"#, "x [none=]"),
        (r#"| json app="a" | line_format "x""#, r#"{"a":1}"#, "x [app_extracted=1]"),
        (r#"| json a="a""#, "no", "no [__error__=JSONParserErr]"),
        ("| unpack", r#"{"c":"my","_entry":"the line","n":1}"#, "the line [c=my]"),
        ("| unpack", r#"{"c":"my"}"#, r#"{"c":"my"} []"#),
        ("| unpack", "plain", "plain [__error__=JSONParserErr]"),
        ("| unpack | json", r#"{"c":"my","_entry":"{\"a\":1}"}"#, r#"{"a":1} [a=1 c=my]"#),
    ]);
}

#[test]
fn deep_json_is_looked_into_so_far() {
    let deep = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    assert!(run("| json | line_format `x`", &deep(10)).ends_with("[a_a_a_a_a_a_a_a_a_a=1]"));
    assert_eq!(run("| json | line_format `x`", &deep(100)), "x []");
    assert_eq!(run("| json b=\"a.a\" | keep c | line_format `x`", &deep(50_000)), "x []");
    assert_eq!(run("| json | line_format `x`", &deep(50_000)), "x []");
}

#[test]
fn logfmt_becomes_labels() {
    check(&[
        (
            r#"| logfmt | line_format "x""#,
            r#"at=info msg="all \"is\" well" d=8ms"#,
            r#"x [at=info d=8ms msg=all "is" well]"#,
        ),
        (r#"| logfmt | line_format "x""#, "a=1 b c= d=4", "x [a=1 d=4]"),
        (r#"| logfmt --keep-empty | line_format "x""#, "a=1 b c= d=4", "x [a=1 b= c= d=4]"),
        (r#"| logfmt | line_format "x""#, "foo=bar=buzz =v a=1 fo\"o=bar b=2", "x [a=1 b=2]"),
        (
            r#"| logfmt --strict | line_format "x""#,
            "a=1 foo=bar=buzz b=2",
            "x [__error__=LogfmtParserErr a=1]",
        ),
        (r#"| logfmt --strict --keep-empty | line_format "x""#, "a=1 b", "x [a=1 b=]"),
        (
            r#"| logfmt host, fwd_ip="fwd" | line_format "x""#,
            r#"at=info host=g fwd="1.2.3.4""#,
            "x [fwd_ip=1.2.3.4 host=g]",
        ),
        (r#"| logfmt none | line_format "x""#, "a=1", "x [none=]"),
        (r#"| logfmt | line_format "x""#, "app=b a.b=c", "x [a_b=c app_extracted=b]"),
        (r#"| logfmt | line_format "x""#, r#"a="unclosed b=2"#, "x []"),
    ]);
}

#[test]
fn patterns_and_expressions_become_labels() {
    let nginx = r#"0.191.12.2 - - [10/Jun/2021:09:14:29 +0000] "GET /api HTTP/1.1" 200 2 "-" "Go""#;
    check(&[
        (
            r#"| pattern `<ip> - - <_> "<method> <uri> <_>" <status> <size> <_> "<agent>"` | line_format "x""#,
            nginx,
            "x [agent=Go ip=0.191.12.2 method=GET size=2 status=200 uri=/api]",
        ),
        (r#"| pattern "<a>: <b>""#, "none", "none [a=none]"),
        (r#"| pattern "x <a>""#, "none", "none []"),
        (
            r#"| regexp `(?P<method>\w+) (?P<path>[\w|/]+) \((?P<status>\d+?)\) (?P<duration>.*)` | line_format "x""#,
            "POST /api/prom (200) 1.5s",
            "x [duration=1.5s method=POST path=/api/prom status=200]",
        ),
        (r#"| regexp "(?P<a>x)(?P<b>y)?""#, "x", "x [a=x b=]"),
        (r#"| regexp "(?P<a>x)""#, "none", "none []"),
        (r#"| regexp "(?P<env>p)""#, "p", "p [env_extracted=p]"),
        (
            r#"| logfmt | line_format "{{.msg}}" | regexp `(?P<m>\w+) (?P<p>\S+)`"#,
            r#"msg="POST /api""#,
            "POST /api [m=POST msg=POST /api p=/api]",
        ),
    ]);
}

#[test]
fn labels_are_filtered() {
    let line = "duration=15ms size=20KB status=200 method=GET addr=10.1.2.3 bad=x";
    let kept = "kept";
    for (filter, expected) in [
        (r#"status="200""#, kept),
        (r#"status=~"2..""#, kept),
        (r#"status=~"2""#, "-"),
        (r#"status!~"5..""#, kept),
        (r#"method!="GET""#, "-"),
        (r#"none="""#, kept),
        (r#"none!="""#, "-"),
        (r#"app="web", pod="p1""#, kept),
        ("status == 200", kept),
        ("status = 200.0", kept),
        ("status != 200", "-"),
        ("status >= 200 and status < 201", kept),
        ("status > 200", "-"),
        ("none > 1", "-"),
        ("duration >= 10ms", kept),
        ("duration > 1m", "-"),
        ("size == 20KB", kept),
        ("size > 20KiB", "-"),
        ("size <= 1MB", kept),
        (r#"duration >= 20ms or size == 20KB and method!~"2..""#, kept),
        (r#"duration >= 20ms or size == 20KB , method!~"G..""#, "-"),
        (r#"duration >= 20ms or size == 20KB method="GET""#, kept),
        (r#"(duration >= 20ms or size == 20KB) and method="POST""#, "-"),
        (r#"addr=ip("10.0.0.0/8")"#, kept),
        (r#"addr!=ip("10.0.0.0/8")"#, "-"),
        (r#"none=ip("10.0.0.0/8")"#, "-"),
        (r#"method!=ip("10.0.0.0/8")"#, kept),
        (r#"bad > 1 | __error__="""#, "-"),
        (r#"bad > 1 | __error__="LabelFilterErr""#, kept),
        ("bad > 1 | none > 5 | drop __error__, __error_details__", kept),
        ("bad > 1 | __error__ > 0", "-"),
        (r#"bad > 1ms | drop __error__ | __error__="""#, kept),
        (r#"bad > 1KB or status=200 | label_format x="{{.__error__}}" | x="LabelFilterErr""#, kept),
    ] {
        let stages = format!("| logfmt | {filter} | keep none | line_format `kept`");
        let found = run(&stages, line);
        assert_eq!(found.split(' ').next(), Some(expected), "{filter}: {found}");
    }
}

#[test]
fn labels_are_changed() {
    check(&[
        ("| logfmt | label_format b=a", "a=1", "a=1 [b=1]"),
        (r#"| logfmt | label_format b="{{.a}}!""#, "a=1", "a=1 [a=1 b=1!]"),
        (r#"| logfmt | label_format c=a, d="{{.b}}""#, "a=1 b=2", "a=1 b=2 [b=2 c=1 d=2]"),
        (r#"| logfmt | label_format x="1", y="{{.x}}""#, "a=1", "a=1 [a=1 x=1 y=]"),
        ("| label_format x=none", "a=1", "a=1 []"),
        ("| logfmt | label_format a=a", "a=1", "a=1 [a=1]"),
        (r#"| label_format app="new""#, "a", "a [app=new]"),
        (r#"| label_format x=app | app="""#, "a", "a [x=web]"),
        ("| logfmt | drop a, b", "a=1 b=2 c=3", "a=1 b=2 c=3 [c=3]"),
        (r#"| logfmt | drop a="1", b="1""#, "a=1 b=2", "a=1 b=2 [b=2]"),
        (r#"| logfmt | drop a=~"1|2", app"#, "a=1 b=2", "a=1 b=2 [b=2]"),
        (r#"| drop app | app="""#, "a", "a []"),
        ("| json | drop __error__", "a", "a []"),
        ("| logfmt | keep a", "a=1 b=2", "a=1 b=2 [a=1]"),
        (r#"| logfmt | keep a, b="3""#, "a=1 b=2", "a=1 b=2 [a=1]"),
        ("| json | keep a", "x", "x [__error__=JSONParserErr]"),
        ("| drop app | json", r#"{"app":"x"}"#, r#"{"app":"x"} [app_extracted=x]"#),
        ("| decolorize", "a \u{1b}[0;32mgreen\u{1b}[0m b", "a green b []"),
        ("| decolorize", "a \u{1b}x", "a \u{1b}x []"),
    ]);
}

#[test]
fn what_is_kept_of_streams_and_metadata_is_told_apart() {
    let mut entry = entry(r#"{"pod":"q","x":"1"}"#);
    let Ok(pipeline) = parse_log(r#"{app="web"} | json | drop env"#) else { panic!("it parses") };
    assert!(pipeline.run(&mut entry));
    assert_eq!(entry.stream_labels(), labels(&[("app", "web")]));
    assert_eq!(entry.metadata_labels(), labels(&[("pod", "p1")]));
    assert_eq!(entry.parsed_labels(), labels(&[("pod_extracted", "q"), ("x", "1")]));
    assert_eq!(entry.labels().len(), 4);
}

#[test]
fn selectors_are_checked_again() {
    for (selector, expected) in [
        (r#"{app="web"}"#, true),
        (r#"{app="WEB"}"#, false),
        (r#"{app="web", env!="prod"}"#, false),
        (r#"{app=~"w.+", none=""}"#, true),
        (r#"{app=~"we"}"#, false),
        (r#"{app="web", none!~".+"}"#, true),
        (r#"{pod="p1"}"#, true),
    ] {
        let Ok(pipeline) = parse_log(selector) else { panic!("{selector} parses") };
        assert_eq!(pipeline.run(&mut entry("x")), expected, "{selector}");
    }
}

proptest! {
    #[test]
    fn no_line_is_too_much(line in prop_oneof![".*", "[{}\\[\\]\":,a1 \\\\]{0,30}", "[a=\" \\\\ü]{0,30}", "[\u{1b}\u{9b}\\[\\]0-9;m\u{7} ]{0,12}"]) {
        for stages in [
            "| json | logfmt --strict | unpack",
            "| json a=\"a[1].a\", b=\"a\" | logfmt --keep-empty a, c=\"a\"",
            "| decolorize | pattern \"<a> <_>=<b>\" | regexp \"(?P<c>a+)?\"",
            "|= ip(\"10.0.0.0/8\") or ip(\"::/0\")",
            "!> \"<_>a<_>\" | line_format \"{{ title __line__ | trunc 3 }}\"",
        ] {
            let _either = run(stages, &line);
        }
    }
}
