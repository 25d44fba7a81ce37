use super::*;
use proptest::prelude::*;

fn render(template: &str) -> String {
    let template = match Template::parse(template) {
        Ok(template) => template,
        Err(why) => return format!("wrong: {why}"),
    };
    let label = |name: &str| match name {
        "path" => Some("/a b/c"),
        "status" => Some("500"),
        "took" => Some("1500ms"),
        "size" => Some("2KB"),
        "multi" => Some("a\nb"),
        _ => None,
    };
    // 2024-05-06T07:08:09.010Z, a Monday.
    let scope = Scope { label: &label, line: "the Line", timestamp: 1_714_979_289_010_000_000 };
    template.render(&scope).unwrap_or_else(|why| format!("failed: {why}"))
}

#[test]
fn templates_by_examples() {
    for (template, expected) in [
        ("plain", "plain"),
        ("{{.status}} {{ .none }}|", "500 |"),
        ("{{ __line__ | lower }}", "the line"),
        ("{{ .path | replace \" \" \"_\" | trunc 5 | upper }}", "/A_B/"),
        ("{{ Replace .path \"/\" \"\" -1 }}", "a bc"),
        ("{{ Replace .path \"/\" \"\" 1 }}", "a b/c"),
        ("{{ ToUpper .took }}{{ ToLower \"ÄB\" }}", "1500MSäb"),
        ("{{ title \"hello world\" }}", "Hello World"),
        ("{{ trim \"  x \" }}|{{ TrimSpace \" y \" }}", "x|y"),
        ("{{ trimAll \"$\" \"$5.00$\" }}", "5.00"),
        ("{{ trimPrefix \"-\" \"-hello\" }}{{ trimSuffix \"-\" \"hello-\" }}", "hellohello"),
        (
            "{{ TrimPrefix .path \"/\" }} {{ Trim .path \"/c\" }} {{ TrimLeft .path \"/a\" }}",
            "a b/c a b  b/c",
        ),
        ("{{ substr 0 5 \"hello world\" }}", "hello"),
        ("{{ substr 6 -1 \"hello world\" }}", "world"),
        ("{{ trunc -5 \"hello world\" }}", "world"),
        ("{{ contains \"he\" \"hello\" }} {{ hasPrefix \"he\" \"hello\" }}", "true true"),
        ("{{ if hasSuffix \"x\" \"hello\" }}a{{ else }}b{{ end }}", "b"),
        ("{{ if eq .status \"500\" }}bad{{ else if eq .status \"404\" }}none{{ else }}ok{{ end }}", "bad"),
        ("{{ if and (contains \"he\" \"hello\") (ne .status \"200\") }}yes{{end}}", "yes"),
        ("{{ if or .none .status }}yes{{end}}{{ if not .none }}!{{end}}", "yes!"),
        ("{{ if gt (int .status) 499 }}5xx{{ end }}", "5xx"),
        ("{{ if le 1.5 (divf 3 2) }}le{{ end }}{{ if lt \"a\" \"b\" }}lt{{ end }}", "lelt"),
        ("{{ eq .status 500 }}", "failed: values of different types do not compare"),
        ("{{ default \"-\" .none }} {{ .status | default \"-\" }}", "- 500"),
        ("{{ len .status }}", "3"),
        ("{{ repeat 3 \"ab\" }}", "ababab"),
        ("{{ alignLeft 5 \"hi\" }}|{{ alignRight 5 \"hello world\" }}", "hi   |world"),
        ("{{ indent 2 .multi }}", "  a\n  b"),
        ("{{ nindent 1 .multi }}", "\n a\n b"),
        ("{{ regexReplaceAll \"(a*)bc\" \"aabc\" \"${1}x\" }}", "aax"),
        ("{{ regexReplaceAllLiteral \"b\" \"abc\" \"$1\" }}", "a$1c"),
        ("{{ __line__ | count \"[Le]\" }} {{ count \"a|b\" \"abab\" }}", "3 4"),
        ("{{ urlencode \"a b/ü\" }} {{ urldecode \"a+b%2F\" }}", "a+b%2F%C3%BC a b/"),
        ("{{ b64enc \"hello\" }} {{ b64dec \"aGVsbG8\" }}", "aGVsbG8= hello"),
        ("{{ add 3 2 .status }} {{ sub 5 2 }} {{ mul 5 2 3 }} {{ div 10 3 }} {{ mod 10 3 }}", "505 3 30 3 1"),
        (
            "{{ addf 3.5 2 5 }} {{ subf 5.5 2 1.5 }} {{ mulf 5.5 2 2.5 }} {{ divf 10 2 4 }}",
            "10.5 2 27.5 1.25",
        ),
        ("{{ max 1 2 3 }} {{ min 1 2 3 }} {{ maxf 1 2.5 }} {{ minf 1 2.5 }}", "3 1 2.5 1"),
        ("{{ ceil 123.001 }} {{ floor 123.9999 }} {{ round 123.555555 3 }}", "124 123 123.556"),
        ("{{ round 123.88571428571 5 .2 }}", "123.88572"),
        ("{{ \"3.5\" | float64 }} {{ \"3\" | int }}", "3.5 3"),
        ("{{ duration .took }} {{ .size | bytes }}", "1.5 2000"),
        ("{{ div 1 0 }}", "failed: a number is divided by zero"),
        ("{{ printf \"%s-%d|%5s|%-5s|%.2s\" .status 7 \"ab\" \"ab\" \"abc\" }}", "500-7|   ab|ab   |ab"),
        (
            "{{ printf \"%v %v %.2f %05d %x %q %t\" 1.5 \"a\" 2.345 42 255 \"x\" true }}",
            "1.5 a 2.35 00042 ff \"x\" true",
        ),
        ("{{ printf \"%d\" .status }} {{ printf \"%s\" }}", "%!d(string=500) %!s(MISSING)"),
        ("{{ printf \"%-40.40s|\" .status }}", "500                                     |"),
        ("{{ __timestamp__ | date \"2006-01-02T15:04:05.00Z07:00\" }}", "2024-05-06T07:08:09.01Z"),
        ("{{ __timestamp__ | date \"Mon, 2 Jan 06 3:04PM -0700\" }}", "Mon, 6 May 24 7:08AM +0000"),
        ("{{ __timestamp__ | unixEpoch }} {{ unixEpochMillis __timestamp__ }}", "1714979289 1714979289010"),
        ("{{ __timestamp__ }}", "2024-05-06 07:08:09.01 +0000 UTC"),
        ("{{ date \"2006-01-02\" (unixToTime \"1679577215\") }}", "2023-03-23"),
        ("{{ toDate \"2006-01-02\" \"2021-11-02\" | unixEpoch }}", "1635811200"),
        (
            "{{ \"2021-11-02T01:00:00.5+01:00\" | toDateInZone \"2006-01-02T15:04:05Z07:00\" \"UTC\" | unixEpochNanos }}",
            "1635811200500000000",
        ),
        ("a {{- .status -}} b", "a500b"),
        ("{{/* nothing */}}x{{- /* more */ -}} y", "xy"),
        ("{{ if .none }}{{ else }}{{ if .status }}in{{ end }}{{ end }}", "in"),
        ("{{ 1e21 | float64 }} {{ 0.00001 | float64 }}", "1e+21 1e-05"),
    ] {
        assert_eq!(render(template), expected, "{template}");
    }
}

#[test]
fn what_is_no_template_says_why() {
    for (template, part) in [
        ("{{ .a", "not closed"),
        ("{{ nonsense .a }}", "no function `nonsense`"),
        ("{{ lowr .a }}", "did you mean `lower`"),
        ("{{ lower }}", "arguments"),
        ("{{ if .a }}x", "no `{{ end }}`"),
        ("{{ end }}", "no `if`"),
        ("{{ range .a }}{{ end }}", "templates have no `range`"),
        ("{{ now }}", "templates have no `now`"),
        ("{{ $x := 1 }}", "no variables"),
        ("{{ (lower .a }}", "not closed"),
        ("{{ regexReplaceAll .a .b \"c\" }}", "text in quotes"),
        ("{{ regexReplaceAll \"(\" .b \"c\" }}", "wrong"),
        ("{{ .a.b }}", "one label"),
        ("{{ | lower }}", "missing"),
        ("{{ .a | }}", "missing"),
        ("{{ .a | .b }}", "only a function"),
        ("{{ printf \"a\" ) }}", "never opened"),
    ] {
        let found = render(template);
        assert!(found.starts_with("wrong: ") && found.contains(part), "{template}: {found}");
    }
    let deep = "{{ if .a }}".repeat(100);
    assert!(render(&deep).contains("nested more"));
    assert!(render("{{ repeat 9999999 \"abc\" }}").starts_with("failed: "));
    assert!(render("{{ printf \"%99999999d\" 1 }}").starts_with("failed: "));
}

fn template_text() -> impl Strategy<Value = String> {
    let pieces: &[&str] = &[
        "{{",
        "}}",
        "{{-",
        "-}}",
        "/*",
        "*/",
        " ",
        ".status",
        ".none",
        "if ",
        "else ",
        "end",
        "(",
        ")",
        "|",
        "lower",
        "printf",
        "\"%5.2f%d%v\"",
        "date",
        "__timestamp__",
        "__line__",
        "\"2006 Jan _2 .000\"",
        "`",
        "\"",
        "-5",
        "1e3",
        "0x",
        "ü",
        "trunc",
        "substr",
        "repeat",
        "toDate",
        "urldecode",
        "b64dec",
        "\"%zü\"",
        "round",
        "alignLeft",
        "eq",
        "$",
        "count \"a\"",
    ];
    prop::collection::vec(prop::sample::select(pieces), 0..16).prop_map(|pieces| pieces.join(" "))
}

proptest! {
    #[test]
    fn no_template_is_too_much(text in prop_oneof![template_text(), template_text().prop_map(|t| format!("{{{{ {t} }}}}")), ".*"]) {
        let _text = render(&text);
    }

    #[test]
    fn no_text_is_too_much_for_a_function(name in any::<prop::sample::Index>(), arguments in prop::collection::vec(value(), 0..5)) {
        let all: Vec<functions::Entry> = functions::all().collect();
        let (_, least, most, function) = all[name.index(all.len())];
        if (least..=most).contains(&arguments.len()) {
            let _either = function(&arguments);
        }
    }

    #[test]
    fn times_are_read_as_they_are_written(nanos in any::<i64>()) {
        for layout in ["2006-01-02T15:04:05.000000000Z07:00", "Mon Jan _2 03:04:05.999999999 PM 2006 -0700", "January 2, 2006 3:4:5.999999999pm MST"] {
            prop_assert_eq!(time::parse(layout, &time::format(layout, nanos)), Ok(nanos), "{}", layout);
        }
    }

    #[test]
    fn no_time_is_too_much(layout in "[0-9a-zA-Z .,_:+-]{0,12}|.*", text in "[0-9a-zA-Z .,:+-]{0,12}|.*") {
        let _either = time::parse(&layout, &text);
        let _either = time::parse("Jan _2 2006 3:04:05.000 PM -07:00", &text);
        let _either = time::from_epoch(&text);
    }
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => ".{0,8}".prop_map(Value::Text),
        1 => prop::sample::select(&["%v%5d%-3s%q%x%c%e", "5", "-1", "2006", "a%2", "%+"][..]).prop_map(|text| Value::Text(text.to_owned())),
        2 => prop_oneof![any::<i64>(), -5i64..50].prop_map(Value::Int),
        1 => any::<f64>().prop_map(Value::Float),
        1 => any::<bool>().prop_map(Value::Bool),
        1 => any::<i64>().prop_map(Value::Time),
    ]
}
