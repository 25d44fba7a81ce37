//! Any text is a query of Loki's or an error. A query prints as one that is equal; its stages and ranges are carried out.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_filter::Filter;
use millrace_fuzz::{LINES, NOW};
use millrace_logql::{Bounds, Entry, Labels, MetricExpr, Pipeline, PlainFields, Query, RangeAccumulator, Steps, evaluate};
use std::sync::Arc;

fuzz_target!(|text: &str| {
    let Ok(query) = millrace_logql::parse(text) else { return };
    let printed = query.to_string();
    let again = millrace_logql::parse(&printed);
    assert_eq!(again.ok().as_ref(), Some(&query), "{printed}");
    match query {
        Query::Log(pipeline) => {
            millrace_fuzz::hold(&Filter::new(pipeline.lower(&PlainFields)));
            run(&pipeline);
        }
        Query::Metric(expr) => compute(&expr),
    }
});

fn entries() -> impl Iterator<Item = Entry> {
    let stream: Arc<Labels> = Arc::new([("host", "web1"), ("level", "error")].map(|(name, value)| (name.into(), value.into())).into());
    let entry = move |(at, line): (usize, &&str)| Entry::new(NOW.0 - 1_000_000_000 * at as i64, *line, Arc::clone(&stream), Labels::new());
    LINES.iter().enumerate().map(entry)
}

fn run(pipeline: &Pipeline) {
    for mut entry in entries() {
        std::hint::black_box(pipeline.run(&mut entry));
    }
}

fn compute(expr: &MetricExpr) {
    let steps = Steps { start: NOW.0 - 10_000_000_000, end: NOW.0, step: 2_000_000_000 };
    let bounds = Bounds { series: 100, points: 1000, states: 10_000, values: 10_000 };
    let mut samples = |_: usize, range: &millrace_logql::Range| {
        let mut gathered = RangeAccumulator::new(range, &steps, bounds)?;
        for mut entry in entries() {
            if range.pipeline().selects(&entry) && range.pipeline().run(&mut entry) {
                gathered.add(&entry)?;
            }
        }
        Ok(gathered.finish())
    };
    drop(evaluate(expr, &steps, &bounds, &mut samples));
}
