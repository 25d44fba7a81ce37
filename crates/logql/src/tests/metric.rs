//! Metric queries by examples, computed of a few lines: split among two accumulators, and merged.

use crate::{
    Bounds, Entry, EvaluateError, Labels, RangeAccumulator, Steps, Value, evaluate, parse_metric,
    units::number,
};
use std::sync::Arc;

const SECOND: i64 = 1_000_000_000;

/// Seconds, the value of `app`, the line.
type Line = (i64, &'static str, &'static str);

const LINES: &[Line] = &[
    (10, "a", "level=info n=1 d=500ms size=1KB"),
    (20, "a", "level=error n=2 d=1s size=2KB"),
    (30, "a", "level=error n=4 d=2s size=3KB"),
    (40, "b", "level=info n=8 d=1m size=4KB"),
    (60, "b", "level=error n=16 d=1h size=5KB"),
    (90, "b", "level=info n=3 d=3s size=6KB"),
];

fn compute(query: &str, steps: Steps, lines: &[Line], bounds: Bounds) -> Result<Value, EvaluateError> {
    let expr = match parse_metric(query) {
        Ok(expr) => expr,
        Err(error) => panic!("{query}: {error}"),
    };
    evaluate(&expr, &steps, &bounds, &mut |_, range| {
        let mut parts =
            [RangeAccumulator::new(range, &steps, bounds)?, RangeAccumulator::new(range, &steps, bounds)?];
        for (nth, (second, app, line)) in lines.iter().enumerate() {
            let stream = Labels::from([("app".to_owned(), (*app).to_owned())]);
            let mut entry = Entry::new(second * SECOND, *line, Arc::new(stream), Labels::new());
            if range.pipeline().run(&mut entry) {
                parts[nth % 2].add(&entry)?;
            }
        }
        let [mut all, other] = parts;
        let travelled =
            serde_json::to_string(&other.into_partial()).map_err(|e| EvaluateError::Source(e.to_string()))?;
        let partial = serde_json::from_str(&travelled).map_err(|e| EvaluateError::Source(e.to_string()))?;
        all.merge_partial(partial)?;
        Ok(all.finish())
    })
}

fn shown(value: Result<Value, EvaluateError>) -> String {
    match value {
        Err(error) => format!("error: {error}"),
        Ok(Value::Scalar(value)) => number(value),
        Ok(Value::Series(series)) => {
            let each = series.into_iter().map(|series| {
                let labels: Vec<String> =
                    series.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
                let points: Vec<String> = series
                    .points
                    .iter()
                    .map(|(time, value)| format!("{}:{}", time / 1000, number((value * 1e6).round() / 1e6)))
                    .collect();
                format!("{{{}}} {}", labels.join(","), points.join(" "))
            });
            each.collect::<Vec<_>>().join("; ")
        }
    }
}

fn at(second: i64, query: &str) -> String {
    shown(compute(query, Steps::instant(second * SECOND), LINES, Bounds::default()))
}

fn over(start: i64, end: i64, step: i64, query: &str) -> String {
    let steps = Steps { start: start * SECOND, end: end * SECOND, step: step * SECOND };
    shown(compute(query, steps, LINES, Bounds::default()))
}

#[test]
fn ranges_at_one_time() {
    for (query, expected) in [
        (r#"count_over_time({app="a"}[1m])"#, "{app=a} 60:3"),
        (r#"count_over_time({app=~"a|b"}[1m])"#, "{app=a} 60:3; {app=b} 60:2"),
        // The window does not hold its start, but its end.
        (r#"count_over_time({app="a"}[50s])"#, "{app=a} 60:2"),
        (r#"count_over_time({app="b"}[20s])"#, "{app=b} 60:1"),
        (r#"count_over_time({app="a"} |= "error" [1m])"#, "{app=a} 60:2"),
        (r#"count_over_time({app="a"}[1m] |= "error")"#, "{app=a} 60:2"),
        (r#"count_over_time(({app="a"} |= "error")[1m])"#, "{app=a} 60:2"),
        (r#"count_over_time({app="a"}[10s] offset 40s)"#, "{app=a} 60:1"),
        (r#"count_over_time({app="b"}[10s] offset -30s)"#, "{app=b} 60:1"),
        (r#"rate({app="a"}[1m])"#, "{app=a} 60:0.05"),
        (r#"bytes_over_time({app="a"} | line_format "12345" [1m])"#, "{app=a} 60:15"),
        (r#"bytes_rate({app="a"} | line_format "12345" [1m])"#, "{app=a} 60:0.25"),
        (r#"count_over_time({app="c"}[1m])"#, ""),
        (r#"absent_over_time({app="c", x=~"y"}[1m])"#, "{app=c} 60:1"),
        (r#"absent_over_time({app="a"}[1m])"#, ""),
        (r#"sum_over_time({app="a"} | logfmt | keep app, n | unwrap n [1m])"#, "{app=a} 60:7"),
        (r#"rate({app="a"} | logfmt | keep app, n | unwrap n [1m])"#, "{app=a} 60:0.116667"),
        (r#"avg_over_time({app="a"} | logfmt | unwrap n [1m]) by (app)"#, "{app=a} 60:2.333333"),
        (r#"min_over_time({app=~".+"} | logfmt | unwrap n [1m]) by (app)"#, "{app=a} 60:1; {app=b} 60:8"),
        (
            r#"max_over_time({app=~".+"} | logfmt | unwrap n [1m]) by (level)"#,
            "{level=error} 60:16; {level=info} 60:8",
        ),
        (r#"first_over_time({app="a"} | logfmt | unwrap n [1m]) by (app)"#, "{app=a} 60:1"),
        (r#"last_over_time({app="a"} | logfmt | unwrap n [1m]) by (app)"#, "{app=a} 60:4"),
        (r#"stdvar_over_time({app="a"} | logfmt | unwrap n [1m]) by (app)"#, "{app=a} 60:1.555556"),
        (r#"stddev_over_time({app="a"} | logfmt | unwrap n [1m]) by (app)"#, "{app=a} 60:1.247219"),
        (r#"quantile_over_time(0.5, {app="a"} | logfmt | unwrap n [1m]) by (app)"#, "{app=a} 60:2"),
        (r#"quantile_over_time(0.75, {app="a"} | logfmt | unwrap n [1m]) by (app)"#, "{app=a} 60:3"),
        (r#"max_over_time({app="a"} | logfmt | unwrap duration(d) [1m]) by (app)"#, "{app=a} 60:2"),
        (
            r#"max_over_time({app="b"} | logfmt | unwrap duration_seconds(d) [1m]) by (app)"#,
            "{app=b} 60:3600",
        ),
        (
            r#"sum_over_time({app="a"} | logfmt | keep app, size | unwrap bytes(size) [1m])"#,
            "{app=a} 60:6000",
        ),
        (
            r#"sum_over_time({app="a"} | logfmt | unwrap n | n > 1 [1m])"#,
            "{app=a,d=1s,level=error,size=2KB} 60:2; {app=a,d=2s,level=error,size=3KB} 60:4",
        ),
        (
            r#"max_over_time({app="a"} | logfmt | unwrap n [1m]) without (d, size)"#,
            "{app=a,level=error} 60:4; {app=a,level=info} 60:1",
        ),
        (r#"sum_over_time({app="a"} | unwrap none [1m])"#, ""),
        (
            r#"sum_over_time({app="a"} | logfmt | keep level | unwrap level [1m])"#,
            "error: pipeline error: 'SampleExtractionErr' for series: '{__error__=\"SampleExtractionErr\", __error_details__=\"\\\"info\\\" is no number\", level=\"info\"}'. Use a label filter to intentionally skip this error. (e.g | __error__!=\"SampleExtractionErr\")",
        ),
        (r#"sum_over_time({app="a"} | logfmt | unwrap level | __error__="" [1m])"#, ""),
        (r#"sum by (__error__) (count_over_time({app="a"} | json [1m]))"#, "{__error__=JSONParserErr} 60:3"),
    ] {
        assert_eq!(at(60, query), expected, "{query}");
    }
}

#[test]
fn vectors_at_one_time() {
    let counts = r#"count_over_time({app=~".+"} | logfmt | keep app, level [100s])"#;
    for (query, expected) in [
        ("sum by (app) (COUNTS)", "{app=a} 100:3; {app=b} 100:3"),
        ("sum(COUNTS) by (level)", "{level=error} 100:3; {level=info} 100:3"),
        ("sum without (app) (COUNTS)", "{level=error} 100:3; {level=info} 100:3"),
        ("sum(COUNTS)", "{} 100:6"),
        ("avg(COUNTS)", "{} 100:1.5"),
        ("min(COUNTS)", "{} 100:1"),
        ("max by (app) (COUNTS)", "{app=a} 100:2; {app=b} 100:2"),
        ("count(COUNTS)", "{} 100:4"),
        ("stddev(COUNTS)", "{} 100:0.5"),
        ("stdvar(COUNTS)", "{} 100:0.25"),
        ("topk(1, COUNTS)", "{app=a,level=error} 100:2"),
        ("topk by (app) (1, COUNTS)", "{app=a,level=error} 100:2; {app=b,level=info} 100:2"),
        ("bottomk(1, COUNTS)", "{app=a,level=info} 100:1"),
        ("approx_topk(1, sum by (level) (COUNTS))", "{level=error} 100:3"),
        (
            "sort(COUNTS)",
            "{app=a,level=info} 100:1; {app=b,level=error} 100:1; {app=a,level=error} 100:2; {app=b,level=info} 100:2",
        ),
        ("sort_desc(sum by (app) (COUNTS) * 2 - 3)", "{app=a} 100:3; {app=b} 100:3"),
        ("COUNTS > 1", "{app=a,level=error} 100:2; {app=b,level=info} 100:2"),
        ("1 < COUNTS", "{app=a,level=error} 100:2; {app=b,level=info} 100:2"),
        ("sum(COUNTS > bool 1)", "{} 100:2"),
        ("COUNTS == 7", ""),
        ("sum(COUNTS) / 4", "{} 100:1.5"),
        ("12 / sum(COUNTS)", "{} 100:2"),
        ("sum(COUNTS) / 0", "{} 100:NaN"),
        ("sum(COUNTS) % 4", "{} 100:2"),
        ("sum(COUNTS) ^ 2", "{} 100:36"),
        ("-sum(COUNTS)", "{} 100:-6"),
        ("sum by (app) (COUNTS) + sum by (app) (COUNTS)", "{app=a} 100:6; {app=b} 100:6"),
        (
            "COUNTS / on (app) group_left sum by (app) (COUNTS)",
            "{app=a,level=error} 100:0.666667; {app=a,level=info} 100:0.333333; {app=b,level=error} 100:0.333333; {app=b,level=info} 100:0.666667",
        ),
        (
            "sum by (app) (COUNTS) / on (app) group_right () COUNTS > 2",
            "{app=a,level=info} 100:3; {app=b,level=error} 100:3",
        ),
        (
            "sum by (app) (COUNTS) - ignoring (app) sum(COUNTS)",
            "error: multiple matches for labels {}: many-to-one matching must be explicit (group_left/group_right)",
        ),
        ("sum by (app) (COUNTS) - ignoring (app) group_left sum(COUNTS)", "{app=a} 100:-3; {app=b} 100:-3"),
        (
            "COUNTS * on (app) COUNTS",
            "error: multiple matches for labels {app=\"a\"}: many-to-one matching must be explicit (group_left/group_right)",
        ),
        ("COUNTS and COUNTS > 1", "{app=a,level=error} 100:2; {app=b,level=info} 100:2"),
        ("COUNTS unless COUNTS > 1", "{app=a,level=info} 100:1; {app=b,level=error} 100:1"),
        (
            "COUNTS > 1 or COUNTS * 10",
            "{app=a,level=error} 100:2; {app=a,level=info} 100:10; {app=b,level=error} 100:10; {app=b,level=info} 100:2",
        ),
        ("sum(COUNTS) and on () vector(1)", "{} 100:6"),
        ("sum(count_over_time({app=\"none\"}[1m])) or vector(0)", "{} 100:0"),
        ("vector(3) == bool 3", "{} 100:1"),
        (
            "label_replace(sum by (app) (COUNTS), \"x\", \"$1!\", \"app\", \"(a)\")",
            "{app=a,x=a!} 100:3; {app=b} 100:3",
        ),
        (
            "label_replace(sum by (app) (COUNTS), \"app\", \"\", \"app\", \".*\")",
            "error: two series have the same labels {}",
        ),
        ("1 + 2 / 4", "1.5"),
        ("2 * 3 % 2", "0"),
        ("2 ^ 3 ^ 2", "512"),
        ("-2 ^ 2", "-4"),
        ("(1 + 2) * 3 - -1", "10"),
        ("1 >= 1", "1"),
        ("1 > bool 2", "0"),
        ("1 + 2 > 2 + 2", "0"),
    ] {
        assert_eq!(at(100, &query.replace("COUNTS", counts)), expected, "{query}");
    }
}

#[test]
fn series_over_time() {
    for (step, query, expected) in [
        (20, r#"count_over_time({app="a"}[20s])"#, "{app=a} 20:2 40:1"),
        (20, r#"count_over_time({app="a"}[40s])"#, "{app=a} 20:2 40:3 60:1"),
        (20, r#"count_over_time({app="b"}[1m])"#, "{app=b} 40:1 60:2 80:2 100:2"),
        (20, r#"count_over_time({app="b"}[10s])"#, "{app=b} 40:1 60:1"),
        (20, r#"count_over_time({app="a"}[20s] offset 20s)"#, "{app=a} 40:2 60:1"),
        (
            20,
            r#"max_over_time({app=~".+"} | logfmt | unwrap n [40s]) by ()"#,
            "{} 20:2 40:8 60:16 80:16 100:3",
        ),
        (
            20,
            r#"min_over_time({app=~".+"} | logfmt | unwrap n [40s]) by ()"#,
            "{} 20:1 40:1 60:4 80:16 100:3",
        ),
        (
            20,
            r#"avg_over_time({app=~".+"} | logfmt | unwrap n [40s]) by ()"#,
            "{} 20:1.5 40:3.75 60:9.333333 80:16 100:3",
        ),
        (
            20,
            r#"quantile_over_time(1, {app=~".+"} | logfmt | unwrap n [40s]) by ()"#,
            "{} 20:2 40:8 60:16 80:16 100:3",
        ),
        (20, r#"absent_over_time({app="a"}[20s])"#, "{app=a} 60:1 80:1 100:1"),
        (20, r#"sum(count_over_time({app=~".+"}[20s])) > 1"#, "{} 20:2 40:2"),
        (20, r#"topk(1, count_over_time({app=~".+"}[40s]))"#, "{app=a} 20:2 40:3; {app=b} 60:2 80:1 100:1"),
        (20, "vector(2) * 3", "{} 20:6 40:6 60:6 80:6 100:6"),
        (
            20,
            r#"count_over_time({app="a"}[20s]) or count_over_time({app="b"}[20s])"#,
            "{app=a} 20:2 40:1; {app=b} 40:1 60:1 100:1",
        ),
        (
            20,
            r#"sum without (app) (count_over_time({app="a"}[20s])) or sum without (app) (count_over_time({app="b"}[20s]))"#,
            "{} 20:2 40:1 60:1 100:1",
        ),
        (60, r#"rate_counter({app="b"} | logfmt | unwrap n | n < 20 [90s])"#, ""),
    ] {
        assert_eq!(over(20, 100, step, query), expected, "{query}");
    }
    // Over several steps a sort says nothing.
    assert_eq!(
        over(20, 40, 20, r#"sort_desc(count_over_time({app=~".+"}[1m]))"#),
        "{app=a} 20:2 40:3; {app=b} 40:1"
    );
}

#[test]
fn counters_are_extrapolated() {
    const COUNTER: &[Line] =
        &[(0, "a", "n=0"), (15, "a", "n=15"), (30, "a", "n=30"), (45, "a", "n=10"), (60, "a", "n=25")];
    let query = r#"rate_counter({app="a"} | logfmt | unwrap n [1m])"#;
    let value = shown(compute(query, Steps::instant(60 * SECOND), COUNTER, Bounds::default()));
    // 15, 30, 10, 25 grow by 40 in 45 s; the 15 s before the first are a step as the others.
    assert_eq!(value, "{app=a} 60:0.888889");
}

#[test]
fn answers_are_bounded() {
    let bounds = Bounds { series: 1, ..Bounds::default() };
    let steps = Steps::instant(60 * SECOND);
    let query = r#"count_over_time({app=~".+"}[1m])"#;
    assert_eq!(compute(query, steps, LINES, bounds), Err(EvaluateError::TooManySeries(1)));
    assert!(compute(&format!("sum({query})"), steps, LINES, bounds).is_ok());
    let many = Steps { start: 0, end: 20_000 * SECOND, step: SECOND };
    assert_eq!(compute(query, many, LINES, Bounds::default()), Err(EvaluateError::TooManyPoints(11_000)));
    let bounds = Bounds { values: 3, ..Bounds::default() };
    let query = r#"quantile_over_time(0.5, {app=~".+"} | logfmt | unwrap n [100s]) by ()"#;
    assert_eq!(
        compute(query, Steps::instant(90 * SECOND), LINES, bounds),
        Err(EvaluateError::TooManyValues(3))
    );
    let bounds = Bounds { states: 1, ..Bounds::default() };
    let few = Steps { start: 20 * SECOND, end: 60 * SECOND, step: 20 * SECOND };
    let query = r#"count_over_time({app="a"}[20s])"#;
    assert_eq!(compute(query, few, LINES, bounds), Err(EvaluateError::TooManyValues(1)));
}

#[test]
fn vectors_are_bounded() {
    let steps = Steps { start: 20 * SECOND, end: 60 * SECOND, step: 20 * SECOND };
    let bounds = Bounds { states: 3, ..Bounds::default() };
    let query = r#"count_over_time({app="a"}[40s])"#;
    let twelve = [query; 4].join(" or ");
    assert!(compute(&twelve, steps, LINES, bounds).is_ok());
    assert_eq!(
        compute(&format!("{twelve} or vector(1)"), steps, LINES, bounds),
        Err(EvaluateError::TooManyValues(12))
    );
}

#[test]
fn ranges_are_listed_with_their_groups() {
    let listed = |query: &str| {
        let Ok(expr) = parse_metric(query) else { panic!("{query} parses") };
        let early = |range: crate::Range| range.early.map_or("-".to_owned(), |by| by.to_string());
        expr.ranges().into_iter().map(early).collect::<Vec<_>>().join("; ")
    };
    for (query, expected) in [
        (r#"sum by (a) (count_over_time({x="y"}[1m]))"#, "by (a)"),
        (r#"sum(rate({x="y"}[1m])) / sum without (b) (bytes_rate({x="y"}[1m]))"#, "by (); without (b)"),
        (r#"max by (a) (count_over_time({x="y"}[1m]))"#, "-"),
        (r#"max by (a) (max_over_time({x="y"} | unwrap z [1m]))"#, "by (a)"),
        (r#"sum by (a) (avg_over_time({x="y"} | unwrap z [1m]))"#, "-"),
        (r#"sum by (a) (sum by (a, b) (rate({x="y"}[1m])))"#, "by (a, b)"),
        (r#"topk(3, rate({x="y"}[1m]))"#, "-"),
        (r#"absent_over_time({x="y"}[1m])"#, "by ()"),
    ] {
        assert_eq!(listed(query), expected, "{query}");
    }
    let Ok(expr) = parse_metric(r#"rate({x="y"}[1m] offset 30s)"#) else { panic!("it parses") };
    let steps = Steps { start: 100 * SECOND, end: 205 * SECOND, step: 10 * SECOND };
    let times: Vec<(i64, i64)> = expr.ranges().iter().map(|range| range.times(&steps)).collect();
    assert_eq!(times, [(10 * SECOND, 170 * SECOND)]);
}
