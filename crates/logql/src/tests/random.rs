//! Random queries: they print as what parses back, no text is too much for the parser, and what a pipeline keeps its filter
//! finds.

use crate::{
    Bounds, Entry, LabelFields, Labels, MetricExpr, Pipeline, Query, Range, RangeAccumulator, Series, Steps,
    label_name, parse, parse::parse_travelled, parse_metric, token::quoted,
};
use millrace_filter::{Filter, arbitrary, value_text};
use millrace_model::{FieldRef, Fields, LogRecord, Value};
use proptest::prelude::*;
use std::sync::Arc;

fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(texts).prop_map(str::to_owned)
}

fn label() -> impl Strategy<Value = String> {
    one_of(&[
        "host",
        "user",
        "status",
        "k",
        "a",
        "level",
        "service_name",
        "by",
        "duration",
        "host_name",
        "none",
    ])
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(arbitrary::WORDS).prop_map(str::to_owned),
        1 => ".{0,6}",
        1 => one_of(&["500", "true", "[\"a\"]", "foo", "a", "unknown", "err"]),
    ]
}

fn expression() -> impl Strategy<Value = String> {
    one_of(&[
        "err",
        "e.*",
        "",
        ".+",
        ".*",
        "a|b|",
        "error|timeout|500",
        "(?i)GET",
        "[0-9]+",
        "\\w+",
        "5..",
        "^x",
        "warn|error",
        "größe",
        ".*o.*",
        "(?P<q>a)",
        "\\d{3}",
        "[^a]+",
    ])
}

fn matcher() -> impl Strategy<Value = String> {
    prop_oneof![
        (label(), prop::sample::select(&["=", "!="][..]), text())
            .prop_map(|(label, sign, text)| format!("{label}{sign}{}", quoted(&text))),
        (label(), prop::sample::select(&["=~", "!~"][..]), expression())
            .prop_map(|(label, sign, text)| format!("{label}{sign}{}", quoted(&text))),
    ]
}

fn label_filter() -> impl Strategy<Value = String> {
    let sign = || prop::sample::select(&["=", "==", "!=", ">", ">=", "<", "<="][..]);
    let value = one_of(&["5", "-3", "0.5", "500", "1e3", "5ms", "1h30m", "2d", "10KB", "1MiB", "0"]);
    let leaf = prop_oneof![
        3 => matcher(),
        1 => (label(), sign(), value).prop_map(|(label, sign, value)| format!("{label} {sign} {value}")),
        1 => (label(), prop::sample::select(&["=", "!="][..]))
            .prop_map(|(label, sign)| format!("{label} {sign} ip(\"10.0.0.0/8\")")),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        let between = prop::sample::select(&[" and ", " or ", ", ", " "][..]);
        prop_oneof![
            (inner.clone(), between, inner.clone()).prop_map(|(a, between, b)| format!("{a}{between}{b}")),
            inner.prop_map(|filter| format!("({filter})")),
        ]
    })
}

fn line_filter() -> impl Strategy<Value = String> {
    let chain = |signs: &'static [&'static str], test: BoxedStrategy<String>| {
        (prop::sample::select(signs), prop::collection::vec(test, 1..3))
            .prop_map(|(sign, tests)| format!("{sign} {}", tests.join(" or ")))
    };
    let address =
        one_of(&["ip(\"10.0.0.1\")", "ip(\"10.0.0.0/8\")", "ip(\"fe80::1\")", "ip(\"10.0.0.1-10.9.9.9\")"]);
    let text = prop_oneof![3 => text().prop_map(|text| quoted(&text)), 1 => address];
    let pattern = one_of(&["<_>err<_>", "error", "<_> <_>", "a <_>", ""]).prop_map(|text| quoted(&text));
    prop_oneof![
        2 => chain(&["|=", "!="], text.boxed()),
        1 => chain(&["|~", "!~"], expression().prop_map(|text| quoted(&text)).boxed()),
        1 => chain(&["|>", "!>"], pattern.boxed()),
    ]
}

fn stage() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => line_filter(),
        4 => label_filter().prop_map(|filter| format!("| {filter}")),
        6 => one_of(&[
            "| json",
            "| json a, b=\"x.y[0]\", k=\"a[\\\"b c\\\"]\"",
            "| logfmt",
            "| logfmt --strict --keep-empty k, u=\"user\"",
            "| pattern \"<a> <_> <b>\"",
            "| regexp \"(?P<k>[a-z]+)(?P<n>[0-9]*)\"",
            "| unpack",
            "| decolorize",
            "| line_format \"{{.k}} {{ __line__ | upper }}\"",
            "| label_format a=k, b=\"{{.host}}\"",
            "| label_format level=`{{ if eq .k \"a\" }}x{{ else }}y{{ end }}`",
        ]),
        1 => (prop::sample::select(&["drop", "keep"][..]), prop::collection::vec(prop_oneof![label(), matcher()], 1..3))
            .prop_map(|(word, labels)| format!("| {word} {} | host=~\".*\"", labels.join(", "))),
    ]
}

fn stages() -> impl Strategy<Value = String> {
    prop::collection::vec(stage(), 0..5).prop_map(|stages| stages.join(" "))
}

fn pipeline() -> impl Strategy<Value = String> {
    (prop::collection::vec(matcher(), 0..3), stages())
        .prop_map(|(matchers, stages)| format!("{{{}}} {stages}", matchers.join(", ")))
        .prop_filter("the selector leaves something out", |query| parse(query).is_ok())
}

fn grouping() -> impl Strategy<Value = String> {
    (prop::sample::select(&["by", "without"][..]), prop::collection::vec(label(), 0..3))
        .prop_map(|(word, labels)| format!("{word} ({})", labels.join(", ")))
}

fn metric() -> impl Strategy<Value = String> {
    let range = || one_of(&["[5m]", "[90s]", "[1h] offset 5m", "[1d] offset -10s"]);
    let counts = one_of(&["count_over_time", "rate", "bytes_over_time", "bytes_rate", "absent_over_time"]);
    let unwrap = one_of(&["unwrap k", "unwrap duration(k)", "unwrap bytes(k) | __error__=\"\""]);
    let values =
        one_of(&["max_over_time(", "avg_over_time(", "quantile_over_time(0.99, ", "last_over_time("]);
    let leaf = prop_oneof![
        1 => one_of(&["1", "-2.5", "1e300", "vector(1)", "vector(-0.5)"]),
        3 => (counts, stages(), range())
            .prop_map(|(function, stages, range)| format!("{function}({{a=\"b\"}} {stages} {range})")),
        2 => (values, stages(), unwrap, range(), prop::option::of(grouping())).prop_map(
            |(function, stages, unwrap, range, grouping)| {
                format!("{function}{{a=\"b\"}} {stages} | {unwrap} {range}) {}", grouping.unwrap_or_default())
            }
        ),
    ];
    leaf.prop_recursive(3, 10, 2, |inner| {
        let op = one_of(&[
            "+",
            "-",
            "*",
            "/",
            "%",
            "^",
            "== bool",
            "!=",
            ">",
            "and",
            "or",
            "unless on (a)",
            "/ ignoring (a) group_left (b)",
            "* on (a, b) group_right",
        ]);
        prop_oneof![
            2 => (inner.clone(), op, inner.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            1 => inner.clone().prop_map(|inner| format!("({inner})")),
            1 => inner.clone().prop_map(|inner| format!("-{inner}")),
            1 => (one_of(&["sum", "avg", "count", "stddev"]), grouping(), inner.clone())
                .prop_map(|(op, grouping, inner)| format!("{op} {grouping} ({inner})")),
            1 => inner.clone().prop_map(|inner| format!("topk(3, {inner})")),
            1 => inner.prop_map(|inner| format!("label_replace({inner}, \"a\", \"$1\", \"b\", \"(.*)\")")),
        ]
    })
    .prop_filter("numbers are not vectors", |query| parse(query).is_ok())
}

#[test]
fn queries_of_dashboards_parse() {
    for query in [
        "sum by (level, detected_level) (count_over_time({app=\"x\"} |= `` | drop __error__[10s]))",
        "{service_name=~`.+`} | detected_level != \"\" | json | logfmt | drop __error__, __error_details__",
        "sum(count_over_time({service_name=`a`} | label != \"\" [1m])) by (label)",
        "sum by (host) (rate({job=\"mysql\"}\n  |= \"error\" != \"timeout\" # not these\n  | json\n  | duration > 10s [1m]))",
        "avg(rate(({job=\"nginx\"} |= \"GET\" | json | path=\"/home\")[10s])) by (region)",
        "quantile_over_time(\n\t0.99,\n\t{container=\"i\",service=\"h\"}\n\t| json\n\t| unwrap response_latency_seconds\n\t| __error__=\"\"[1m]\n\t) by (cluster)",
        "topk(10,sum(rate({region=\"us-east1\"}[5m])) by (name))",
        "max by(machine) (count_over_time({app=\"foo\"}[1m])) > bool ignoring(machine) avg(count_over_time({app=\"foo\"}[1m]))",
        "sum(count_over_time({namespace=\"traefik\"}[5m])) # nothing\n  or\nvector(0) # 0",
        "{job=\"x\"} | logfmt | label_format nowEpoch=`{{(unixEpoch __timestamp__)}}` | nowEpoch > 86400",
        "{cluster=\"o\"} | logfmt | label_format query=\"{{ Replace .query \\\"\\\\n\\\" \\\"\\\" -1 }}\" | line_format \"{{ .ts}}\\t{{ printf \\\"%-100.100s\\\" .query }} \"",
        "label_replace(rate({job=\"api-server\",service=\"a:c\"} |= \"err\" [1m]), \"foo\", \"$1\",\n  \"service\", \"(.*):.*\")",
    ] {
        let parsed = parse(query);
        assert!(parsed.is_ok(), "{query}: {parsed:?}");
    }
}

/// Labels of a record as a caller would give them: of its attributes, else of its resource.
struct ByRecord(LogRecord);

impl ByRecord {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.attributes.iter().chain(self.0.resource.iter()).map(|(name, _)| name)
    }

    fn labels(&self) -> Labels {
        let mut labels = Labels::new();
        for name in self.names() {
            let found = self.0.field(&FieldRef::resolve(&self.field(&label_name(name))));
            if let Some(millrace_model::ValueRef::Value(value)) = found
                && !matches!(value, Value::Null | Value::Array(_) | Value::Map(_))
            {
                labels.insert(label_name(name), value_text(value).into_owned());
            }
        }
        if !self.0.level().is_empty() {
            labels.insert("level".to_owned(), self.0.level().to_lowercase());
        }
        labels
    }

    fn field(&self, label: &str) -> String {
        self.names().find(|name| label_name(name) == label).unwrap_or(label).to_owned()
    }
}

impl LabelFields for ByRecord {
    fn field_of(&self, label: &str) -> Option<String> {
        match label {
            "level" | "service_name" => None,
            label => Some(self.field(label)),
        }
    }

    fn is_text(&self, label: &str) -> bool {
        let value = self.0.field(&FieldRef::resolve(&self.field(label)));
        matches!(value, None | Some(millrace_model::ValueRef::Value(Value::String(_))))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_is_too_much(text in ".*") {
        let _either = parse(&text);
    }

    #[test]
    fn no_change_of_a_query_is_too_much(
        query in prop_oneof![pipeline(), metric()],
        at in any::<prop::sample::Index>(),
        cut in 0usize..4,
        new in prop_oneof![Just(String::new()), ".{0,3}", one_of(&["(", "{", "|", "\"", "[5m]", "by", "-", "or", "{{"])],
    ) {
        let mut characters: Vec<char> = query.chars().collect();
        let at = at.index(characters.len());
        let end = (at + cut).min(characters.len());
        characters.splice(at..end, new.chars());
        let changed: String = characters.into_iter().collect();
        if let Ok(parsed) = parse(&changed) {
            prop_assert_eq!(parse(&parsed.to_string()), Ok(parsed), "{}", changed);
        }
    }

    #[test]
    fn a_query_prints_as_what_parses_back(query in prop_oneof![pipeline(), metric()]) {
        let parsed = parse(&query).map_err(|error| TestCaseError::fail(error.render(&query)))?;
        let printed = parsed.to_string();
        prop_assert_eq!(parse(&printed).map_err(|error| TestCaseError::fail(error.render(&printed)))?, parsed.clone());
        match parsed {
            Query::Log(pipeline) => {
                let text = serde_json::to_string(&pipeline).map_err(|e| TestCaseError::fail(e.to_string()))?;
                prop_assert_eq!(serde_json::from_str::<Pipeline>(&text).ok(), Some(pipeline));
            }
            Query::Metric(expr) => {
                for range in expr.ranges() {
                    let text = serde_json::to_string(range.pipeline()).map_err(|e| TestCaseError::fail(e.to_string()))?;
                    let travelled = serde_json::from_str::<Pipeline>(&text).ok();
                    prop_assert_eq!(travelled.as_ref(), Some(range.pipeline()));
                }
                let text = serde_json::to_string(&expr).map_err(|e| TestCaseError::fail(e.to_string()))?;
                prop_assert_eq!(serde_json::from_str::<MetricExpr>(&text).ok(), Some(expr));
            }
        }
    }
}

fn check_filter(query: &str, pipeline: &Pipeline, record: LogRecord) -> Result<(), TestCaseError> {
    let fields = ByRecord(record);
    let filter = Filter::new(pipeline.lower(&fields));
    let line = value_text(&fields.0.body).into_owned();
    let mut entry = Entry::new(0, line, Arc::new(fields.labels()), Labels::new());
    let kept = pipeline.run(&mut entry);
    prop_assert!(!kept || filter.matches(&fields.0), "{query} became {filter}, labels {:?}", fields.labels());
    Ok(())
}

/// What to ask about a record: how, which of its labels, and from which character of a text to which.
#[derive(Debug, Clone)]
struct About(u8, prop::sample::Index, prop::sample::Index, prop::sample::Index);

fn about() -> impl Strategy<Value = About> {
    let index = any::<prop::sample::Index>;
    (0u8..12, index(), index(), index()).prop_map(|(how, label, from, to)| About(how, label, from, to))
}

impl About {
    fn part(&self, text: &str) -> String {
        let characters: Vec<char> = text.chars().collect();
        let from = self.2.index(characters.len() + 1);
        let to = self.3.index(characters.len() + 1);
        characters[from.min(to)..from.max(to)].iter().collect()
    }

    /// Of a label that the record has, mostly one that holds.
    fn matcher(&self, fields: &ByRecord) -> String {
        let labels: Vec<(String, String)> = fields.labels().into_iter().collect();
        if labels.is_empty() {
            return "none=\"\"".to_owned();
        }
        let (label, value) = &labels[self.1.index(labels.len())];
        let (sign, value) = match self.0 {
            0..=2 => ("=", value.clone()),
            3 => ("!=", value.to_uppercase()),
            4 => ("!=", self.part(value)),
            5 => ("=~", regex::escape(value)),
            6 => ("=~", format!("{}.*|x", regex::escape(&value.chars().take(1).collect::<String>()))),
            7 => ("=~", format!("x|{value}|y")),
            8 => ("!~", self.part(value)),
            9 => ("=~", format!("(?i){}", regex::escape(&value.to_uppercase()))),
            10 => ("!=", String::new()),
            _ => ("=~", ".+".to_owned()),
        };
        format!("{label}{sign}{}", quoted(&value))
    }

    /// Of the line, or of a label.
    fn stage(&self, fields: &ByRecord) -> String {
        let line = value_text(&fields.0.body);
        let part = self.part(&line);
        let (sign, text) = match self.0 {
            0..=2 => ("|=", part),
            3 => ("!=", part.to_uppercase()),
            4 => ("|~", format!("{}.*", regex::escape(&part))),
            5 => ("!~", format!("{}{}", regex::escape(&part), regex::escape(&part))),
            6 => ("|>", format!("<_>{part}<_>")),
            7 => ("!>", part),
            8 => ("|= \"nothing\" or", part),
            _ => return format!("| {}", self.matcher(fields)),
        };
        format!("{sign} {}", quoted(&text))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn what_a_pipeline_keeps_its_filter_finds(query in pipeline(), record in arbitrary::record()) {
        let Ok(Query::Log(pipeline)) = parse(&query) else { return Ok(()) };
        check_filter(&query, &pipeline, record)?;
    }

    #[test]
    fn what_a_pipeline_keeps_for_its_words_its_filter_finds(
        record in arbitrary::record(),
        selected in prop::collection::vec(about(), 0..3),
        stages in prop::collection::vec(about(), 0..4),
        middle in prop_oneof![6 => Just(String::new()), 1 => stage()],
    ) {
        let fields = ByRecord(record.clone());
        let selected: Vec<String> = selected.iter().map(|about| about.matcher(&fields)).collect();
        let stages: Vec<String> = stages.iter().map(|about| about.stage(&fields)).collect();
        let query = format!("{{{}}} {middle} {}", selected.join(", "), stages.join(" "));
        if let Ok(pipeline) = parse_travelled(&query) {
            check_filter(&query, &pipeline, record)?;
        }
    }

    #[test]
    fn filters_of_lines_are_exact(filters in prop::collection::vec(line_filter(), 1..4), record in arbitrary::record()) {
        let query = format!("{{a=\"b\"}} {}", filters.join(" "));
        let Ok(Query::Log(mut pipeline)) = parse(&query) else { return Ok(()) };
        pipeline.selector.clear();
        let filter = Filter::new(pipeline.lower(&crate::PlainFields));
        let line = value_text(&record.body).into_owned();
        let kept = pipeline.run(&mut Entry::new(0, line, Arc::default(), Labels::new()));
        if !query.contains("ip(") {
            prop_assert_eq!(filter.matches(&record), kept, "{} became {}", query, filter);
        }
    }
}

/// As the accumulator, by the definition of a window.
fn by_definition(range: &Range, steps: &Steps, entries: &[(i64, f64)]) -> Vec<(i64, f64)> {
    let (length, offset) = (range.aggregation.range.0, range.aggregation.offset.0);
    let mut points = Vec::new();
    for nth in 0..steps.count() {
        let end = steps.time(nth) - offset;
        let inside = entries.iter().filter(|(time, _)| end - length < *time && *time <= end);
        let values: Vec<f64> = inside.map(|(_, value)| *value).collect();
        if !values.is_empty() {
            let value = match range.aggregation.function.name() {
                "sum_over_time" => values.iter().sum(),
                "max_over_time" => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                "avg_over_time" => values.iter().sum::<f64>() / values.len() as f64,
                _ => {
                    let mut sorted = values.clone();
                    sorted.sort_by(f64::total_cmp);
                    sorted[0]
                }
            };
            points.push((steps.millis(nth), value));
        }
    }
    points
}

proptest! {
    #[test]
    fn windows_hold_what_they_should(
        function in one_of(&["sum_over_time(", "max_over_time(", "avg_over_time(", "quantile_over_time(0, "]),
        length in 1i64..40,
        offset in -20i64..20,
        start in -20i64..50,
        end in 0i64..100,
        step in 0i64..30,
        entries in prop::collection::vec((-60i64..160, -9i64..9), 0..40),
    ) {
        let query = format!("{function}{{a=\"b\"}} | unwrap k [{length}ms] offset {offset}ms)");
        let expr = parse_metric(&query).map_err(|error| TestCaseError::fail(error.render(&query)))?;
        let range = &expr.ranges()[0];
        let millis = 1_000_000;
        let steps = Steps { start: start * millis, end: (start + end) * millis, step: step * millis };
        let mut parts = [(); 2].map(|()| RangeAccumulator::new(range, &steps, Bounds::default()));
        let mut pairs = Vec::new();
        for (nth, (time, value)) in entries.into_iter().enumerate() {
            let labels = Labels::from([("a", "b".to_owned()), ("k", value.to_string())].map(|(n, v)| (n.to_owned(), v)));
            let mut entry = Entry::new(time * millis, "", Arc::new(labels), Labels::new());
            prop_assert!(range.pipeline().run(&mut entry));
            pairs.push((time * millis, value as f64));
            if let Ok(part) = &mut parts[nth % 2] {
                prop_assert_eq!(part.add(&entry), Ok(()));
            }
        }
        let [Ok(mut all), Ok(other)] = parts else { return Err(TestCaseError::fail("too many steps")) };
        prop_assert_eq!(all.merge(other), Ok(()));
        let found: Vec<Series> = all.finish();
        let expected = by_definition(range, &steps, &pairs);
        let points = found.into_iter().next().map_or(Vec::new(), |series| series.points);
        prop_assert_eq!(points.len(), expected.len());
        for (found, expected) in points.iter().zip(&expected) {
            prop_assert!(found.0 == expected.0 && (found.1 - expected.1).abs() < 1e-9, "{:?} {:?}", points, expected);
        }
    }
}
