//! `millrace stats`: when records came, of which levels, and their most frequent values and patterns.

use crate::{
    chart::{self, Bar},
    cli::{Code, Failure, Output, StatsArgs, written},
    client::{self, Request, partial, printable},
    lines::is_coloured,
    pager::Screen,
};
use futures_util::future::try_join_all;
use millrace_model::{Clock, SystemClock, Timestamp};
use millrace_pipes::Name;
use millrace_query::http::parameters::time;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{self, Write},
    time::Duration,
};

/// Intervals for people, in seconds.
const INTERVALS: [u64; 18] =
    [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400];
/// What is counted where nothing is said.
const FIELDS: [&str; 3] = ["level", "host", "service"];
/// Severities from which on records are warnings, and errors: OpenTelemetry's numbers.
const WARN: u64 = 13;
const ERROR: u64 = 17;
/// How wide what is written is at most: longer bars tell no more.
const WIDEST: usize = 120;
/// What patterns are called among fields.
const PATTERN: &str = "pattern";
/// The columns of a bar beside a value.
const BAR: usize = 24;

/// A range cut into intervals.
struct Span {
    /// Epoch milliseconds; the first interval begins at or before it.
    from: i64,
    to: i64,
    /// In milliseconds.
    interval: i64,
}

impl Span {
    /// With as many intervals as bars fit.
    fn new(args: &StatsArgs, bars: usize) -> anyhow::Result<Self> {
        let now = SystemClock.now();
        let at = |name: &str, text: &str| {
            time(text, now).map(|time| time.0.div_euclid(1_000_000)).ok_or_else(|| {
                let expected = "a time as RFC 3339, epoch milliseconds, `now` or an age such as 15m expected";
                Failure::with(Code::Usage, format!("{name}: {expected}, found {text:?}"))
            })
        };
        let (from, to) =
            (at("--since", &args.since)?, at("--until", args.until.as_deref().unwrap_or("now"))?);
        if from >= to {
            return Err(Failure::with(Code::Usage, "--since is not before --until"));
        }
        let interval = match &args.interval {
            Some(interval) => i64::try_from(interval.0.as_millis()).unwrap_or(i64::MAX).max(1),
            None => fitting((to - from) as u64, bars.max(1) as u64),
        };
        if (to - from) / interval > 1000 {
            return Err(Failure::with(Code::Usage, "--interval cuts the time into more than 1,000"));
        }
        Ok(Self { from, to, interval })
    }

    /// Where each interval begins.
    fn starts(&self) -> impl Iterator<Item = i64> {
        let first = self.from.div_euclid(self.interval) * self.interval;
        (0..).map(move |at: i64| first + at * self.interval).take_while(|start| *start < self.to)
    }
}

/// The shortest interval of which so many cover a time, both in milliseconds.
fn fitting(length: u64, bars: u64) -> i64 {
    // One more than its length says begins within a range.
    let covers = |seconds: &&u64| length / (*seconds * 1000) < bars;
    let seconds = INTERVALS.iter().find(covers).copied();
    let days = || (length / 86_400_000 / bars + 1) * 86_400;
    (seconds.unwrap_or_else(days) * 1000) as i64
}

/// A value and how many records have it.
struct Counted {
    value: Value,
    count: u64,
    percent: f64,
}

/// Asks, and writes what comes.
pub(crate) async fn run(args: &StatsArgs) -> anyhow::Result<Code> {
    match millrace_pipes::parse(&args.query) {
        Ok(query) if query.pipes.is_empty() => {}
        Ok(_) => {
            let instead = "`stats` takes a filter alone; `millrace search` carries out pipes";
            return Err(Failure::with(Code::Usage, instead));
        }
        // Behind it stand pipes that nobody has typed: they are not to be shown.
        Err(error) => return Err(client::unreadable(&error, &args.query)),
    }
    let is_text = args.output == Output::Text;
    let columns =
        terminal_size::terminal_size().map_or(WIDEST, |(width, _)| usize::from(width.0)).min(WIDEST);
    let span = Span::new(args, chart::fitting(columns))?;
    let fields: Vec<String> = match args.by.as_slice() {
        [] => FIELDS.map(str::to_owned).to_vec(),
        named => named.to_vec(),
    };
    let over_time = format!(
        "timechart {} count() as all, count_if(severity_number >= {ERROR}) as errors, \
         count_if(severity_number >= {WARN} and severity_number < {ERROR}) as warnings",
        interval_text(span.interval)
    );
    let tops = fields.iter().map(|field| format!("top {} {}", args.top, Name(field)));
    let pipes = [over_time].into_iter().chain(tops).chain([format!("patterns | limit {}", args.top)]);
    let answers = try_join_all(pipes.map(|pipe| ask(args, &span, pipe))).await?;
    let (Some(first), Some(last)) = (answers.first(), answers.last()) else {
        return Ok(Code::Ok);
    };
    let buckets = buckets(&span, first);
    let values: Vec<(&str, Vec<Counted>)> =
        fields.iter().map(String::as_str).zip(answers[1..].iter().map(|answer| counted(answer, 0))).collect();
    let patterns = counted(last, 3);
    let mut out = if is_text && !args.no_pager { Screen::paged() } else { Screen::plain() };
    written(match args.output {
        Output::Text => {
            let shown = Shown { columns, coloured: is_coloured(args.colour) };
            shown.write(&mut out, &span, first, &buckets, &values, &patterns)
        }
        Output::Json => writeln!(out, "{:#}", document(&span, first, &buckets, &values, &patterns)),
        Output::Ndjson => write_lines(&mut out, &buckets, &values, &patterns),
    })?;
    written(out.flush())?;
    drop(out);
    Ok(answers.iter().map(partial).find(|code| *code != Code::Ok).unwrap_or(Code::Ok))
}

async fn ask(args: &StatsArgs, span: &Span, pipe: String) -> anyhow::Result<Value> {
    let query = format!("{} | {pipe}", args.query);
    let mut body = json!({ "q": query, "from": span.from, "to": span.to, "limit": 10_000 });
    if let Some(stream) = &args.stream {
        body["stream"] = json!(stream);
    }
    Request::post(&args.server, "api/v1/search", body).about(&query).send().await
}

fn interval_text(millis: i64) -> String {
    if millis % 1000 == 0 { format!("{}s", millis / 1000) } else { format!("{millis}ms") }
}

fn rows(answer: &Value) -> impl Iterator<Item = &Vec<Value>> {
    answer["table"]["rows"].as_array().into_iter().flatten().filter_map(Value::as_array)
}

/// Each interval's beginning, and its bar.
fn buckets(span: &Span, answer: &Value) -> Vec<(i64, Bar)> {
    let mut found: BTreeMap<i64, Bar> = span.starts().map(|start| (start, Bar::default())).collect();
    for row in rows(answer) {
        let time = row.first().and_then(Value::as_str).and_then(|time| time.parse::<Timestamp>().ok());
        let number = |at: usize| row.get(at).and_then(Value::as_u64).unwrap_or(0);
        if let Some(bar) = time.and_then(|time| found.get_mut(&time.0.div_euclid(1_000_000))) {
            let (errors, warnings) = (number(2), number(3));
            *bar = Bar { errors, warnings, others: number(1).saturating_sub(errors + warnings) };
        }
    }
    found.into_iter().collect()
}

/// The rows of `top`, or of `patterns`, whose counts come first: where the value stands.
fn counted(answer: &Value, value: usize) -> Vec<Counted> {
    let (count, percent) = if value == 0 { (1, 2) } else { (0, 1) };
    let of = |row: &Vec<Value>| Counted {
        value: row.get(value).cloned().unwrap_or_default(),
        count: row.get(count).and_then(Value::as_u64).unwrap_or(0),
        percent: row.get(percent).and_then(Value::as_f64).unwrap_or(0.0),
    };
    rows(answer).map(of).collect()
}

/// How people see it.
struct Shown {
    columns: usize,
    coloured: bool,
}

impl Shown {
    fn write(
        &self,
        out: &mut impl Write,
        span: &Span,
        answer: &Value,
        buckets: &[(i64, Bar)],
        values: &[(&str, Vec<Counted>)],
        patterns: &[Counted],
    ) -> io::Result<()> {
        let total = answer["total"].as_u64().unwrap_or(0);
        let sum = |part: fn(&Bar) -> u64| chart::grouped(buckets.iter().map(|(_, bar)| part(bar)).sum());
        let (errors, warnings) = (sum(|bar| bar.errors), sum(|bar| bar.warnings));
        let every = duration_text(Duration::from_millis(span.interval as u64));
        writeln!(
            out,
            "{} records, {errors} errors, {warnings} warnings; a bar is {every}",
            chart::grouped(total)
        )?;
        let labels = [span.from, span.from.midpoint(span.to), span.to].map(|time| minute(span, time));
        let bars: Vec<Bar> = buckets.iter().map(|(_, bar)| *bar).collect();
        for line in chart::over_time(&bars, &labels, self.columns, self.coloured) {
            writeln!(out, "{line}")?;
        }
        for (field, values) in values {
            self.write_values(out, field, values)?;
        }
        self.write_values(out, PATTERN, patterns)
    }

    fn write_values(&self, out: &mut impl Write, name: &str, values: &[Counted]) -> io::Result<()> {
        let name = printable(name);
        if self.coloured {
            writeln!(out, "\n\x1b[1m{name}\x1b[0m")?;
        } else {
            writeln!(out, "\n{name}")?;
        }
        if values.is_empty() {
            return writeln!(out, "  nothing");
        }
        let counts: Vec<String> = values.iter().map(|value| chart::grouped(value.count)).collect();
        let width = counts.iter().map(String::len).max().unwrap_or(0);
        // A pattern is long, and says more than a bar.
        let bar_width = if name == PATTERN { 0 } else { BAR };
        let room = self.columns.saturating_sub(width + bar_width + 15);
        for (value, count) in values.iter().zip(counts) {
            let text = match &value.value {
                Value::Null => "-".to_owned(),
                Value::String(text) => printable(text),
                other => printable(&other.to_string()),
            };
            let bar = format!("{:<bar_width$}", chart::sideways(value.percent / 100.0, bar_width));
            let bar = if self.coloured { format!("\x1b[36m{bar}\x1b[0m") } else { bar };
            let percent = value.percent;
            writeln!(out, "  {count:>width$} {percent:>6.2} % {bar} {}", cut(&text, room))?;
        }
        Ok(())
    }
}

/// How a text begins and ends, and a sign for what lies between, where that is too much. Lines of JSON begin alike.
fn cut(text: &str, characters: usize) -> String {
    let length = text.chars().count();
    if length <= characters {
        return text.to_owned();
    }
    let begins = characters / 4;
    let ends = characters.saturating_sub(begins + 1);
    text.chars().take(begins).chain(['…']).chain(text.chars().skip(length - ends)).collect()
}

/// A time to the minute, or to the second where bars are shorter than that; its day where there are several.
fn minute(span: &Span, millis: i64) -> String {
    let text = Timestamp::from_millis(millis).to_string();
    let from = if span.to - span.from > 86_400_000 { 0 } else { 11 };
    let to = if span.interval < 60_000 { 19 } else { 16 };
    text.get(from..to).map_or_else(|| text.clone(), |text| text.replace('T', " "))
}

fn duration_text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        _ if seconds.is_multiple_of(86_400) => format!("{} d", seconds / 86_400),
        _ if seconds.is_multiple_of(3600) => format!("{} h", seconds / 3600),
        _ if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

fn bucket(start: i64, bar: &Bar) -> Value {
    let Bar { errors, warnings, .. } = bar;
    json!({ "start": Timestamp::from_millis(start).to_string(), "count": bar.total(), "errors": errors, "warnings": warnings })
}

fn value(counted: &Counted) -> Value {
    json!({ "value": counted.value, "count": counted.count, "percent": counted.percent })
}

fn document(
    span: &Span,
    answer: &Value,
    buckets: &[(i64, Bar)],
    values: &[(&str, Vec<Counted>)],
    patterns: &[Counted],
) -> Value {
    let list = |values: &[Counted]| values.iter().map(value).collect::<Value>();
    json!({
        "total": answer["total"],
        "histogram": {
            "interval": interval_text(span.interval),
            "buckets": buckets.iter().map(|(start, bar)| bucket(*start, bar)).collect::<Value>(),
        },
        "fields": values.iter().map(|(name, values)| ((*name).to_owned(), list(values))).collect::<serde_json::Map<_, _>>(),
        "patterns": list(patterns),
        "partial": answer["partial"],
        "missing": answer["missing"],
    })
}

fn write_lines(
    out: &mut impl Write,
    buckets: &[(i64, Bar)],
    values: &[(&str, Vec<Counted>)],
    patterns: &[Counted],
) -> io::Result<()> {
    for (start, bar) in buckets {
        writeln!(out, "{}", bucket(*start, bar))?;
    }
    let all = values.iter().map(|(name, values)| (*name, values.as_slice())).chain([(PATTERN, patterns)]);
    for (name, values) in all {
        for counted in values {
            let mut line = value(counted);
            line["field"] = json!(name);
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_fit_the_time() {
        const MINUTE: u64 = 60_000;
        for (length, bars, seconds) in [
            (60 * MINUTE, 100, 60),
            (60 * MINUTE, 61, 60),
            (60 * MINUTE, 60, 120),
            (15 * MINUTE, 111, 10),
            (7 * 1440 * MINUTE, 100, 7200),
            (365 * 1440 * MINUTE, 100, 4 * 86_400),
        ] {
            assert_eq!(fitting(length, bars), seconds * 1000, "{length} ms in {bars}");
        }
    }

    #[test]
    fn each_interval_has_a_bar() {
        let span = Span { from: 61_000, to: 240_000, interval: 60_000 };
        let answer = json!({ "table": { "rows": [["1970-01-01T00:01:00Z", 5, 2, 1], ["1970-01-01T00:03:00.000000000Z", 7, 0, 0]] } });
        let bar = |errors, warnings, others| Bar { errors, warnings, others };
        assert_eq!(
            buckets(&span, &answer),
            [(60_000, bar(2, 1, 2)), (120_000, Bar::default()), (180_000, bar(0, 0, 7))]
        );
        assert_eq!(minute(&span, 61_000), "00:01");
    }

    #[test]
    fn texts_are_as_long_as_they_may_be() {
        assert_eq!((cut("abcd", 4).as_str(), cut("abcde", 4).as_str()), ("abcd", "a…de"));
        assert_eq!(duration_text(Duration::from_mins(90)), "90 min");
    }
}
