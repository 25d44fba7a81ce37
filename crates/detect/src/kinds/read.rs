//! Reading what is said of each kind: the mapping that is called like it.

use super::{
    Baseline, Change, Flatline, Measure, Metric, NewTerm, RuleKind, Sequence, Spike, Step, Threshold,
    list::List,
};
use crate::{
    keys::{Keys, parse_span},
    matching::{Field, TEMPLATE},
};
use millrace_filter::{Filter, ParseError};
use serde_yaml_ng::Value as Yaml;
use std::time::Duration;

/// What rules may say that they are.
pub(crate) const KINDS: &[&str] = &[
    "threshold",
    "cardinality",
    "spike",
    "flatline",
    "new_term",
    "change",
    "percentage",
    "metric",
    "list",
    "sequence",
    "template",
    "baseline",
    "scheduled",
];
/// The most records that a rule may ask for in one window.
pub(crate) const MAX_COUNT: u64 = 100_000;
/// The most distinct values, and the most records that silence is told by.
const MAX_DISTINCT: u64 = 10_000;
/// The longest window.
pub(crate) const MAX_WINDOW: Duration = Duration::from_hours(30 * 24);
/// The longest time in which values are remembered.
const MAX_HISTORY: Duration = Duration::from_hours(366 * 24);
/// The most fields to group by, or to look at.
const MAX_FIELDS: usize = 8;
/// The most steps of a sequence, and records of one.
const MAX_STEPS: usize = 16;
/// The most entries of a list.
const MAX_ENTRIES: usize = 1_000_000;

const DAY: Duration = Duration::from_hours(24);

/// Reads the text of a file that a rule names.
pub(crate) type ReadFile<'r> = dyn FnMut(&str) -> Result<String, String> + 'r;

/// What is read of a kind's mapping.
pub(crate) struct Terms {
    pub(crate) kind: RuleKind,
    pub(crate) group_by: Vec<String>,
}

/// Reads the mapping of a kind. `distinct` is the field whose different values a threshold counts.
pub(crate) fn terms(
    kind: &str,
    keys: &mut Keys<'_, '_>,
    distinct: Option<&str>,
    files: &mut ReadFile<'_>,
) -> Option<Terms> {
    let group_by = group_by(keys);
    let kind = match kind {
        "threshold" => threshold(keys, distinct),
        "cardinality" => cardinality(keys),
        "spike" => spike(keys),
        "flatline" => flatline(keys),
        "new_term" => new_term(keys),
        "change" => change(keys),
        "percentage" => percentage(keys),
        "metric" => metric(keys),
        "list" => list(keys, files),
        "sequence" => sequence(keys),
        "template" => template(keys),
        _ => baseline(keys),
    };
    Some(Terms { kind: kind?, group_by: group_by? })
}

/// The fields that a kind groups by.
pub(crate) fn group_by(keys: &mut Keys<'_, '_>) -> Option<Vec<String>> {
    fields(keys, "group_by")
}

fn threshold(keys: &mut Keys<'_, '_>, distinct: Option<&str>) -> Option<RuleKind> {
    keys.known(&["count", "window", "group_by"]);
    let most = if distinct.is_some() { MAX_DISTINCT } else { MAX_COUNT };
    let count = keys.whole("count", 1..=most, None);
    let window = window(keys);
    Some(RuleKind::Threshold(Threshold {
        count: count?,
        window: window?,
        distinct: distinct.map(Field::new),
        says_more_than: false,
    }))
}

fn cardinality(keys: &mut Keys<'_, '_>) -> Option<RuleKind> {
    keys.known(&["field", "more_than", "fewer_than", "window", "group_by"]);
    let field = field(keys);
    let window = window(keys);
    let has = |key: &str| keys.map.contains_key(key);
    match (has("more_than"), has("fewer_than")) {
        (true, false) => {
            let count = keys.whole("more_than", 0..=MAX_DISTINCT - 1, None)? + 1;
            Some(RuleKind::Threshold(Threshold {
                count,
                window: window?,
                distinct: Some(field?),
                says_more_than: true,
            }))
        }
        (false, true) => {
            let fewer_than = keys.whole("fewer_than", 1..=MAX_DISTINCT, None)?;
            Some(RuleKind::Flatline(Flatline {
                fewer_than,
                window: Some(window?),
                distinct: Some(field?),
                forget_after: 7 * DAY,
                learned: (Duration::ZERO, Duration::ZERO),
            }))
        }
        _ => {
            keys.missing("more_than", "it or fewer_than, and not both,");
            None
        }
    }
}

fn spike(keys: &mut Keys<'_, '_>) -> Option<RuleKind> {
    keys.known(&[
        "window",
        "height",
        "direction",
        "field",
        "is",
        "min_reference",
        "min_current",
        "new_groups",
        "group_by",
    ]);
    let window = window(keys);
    let height = positive(keys, "height", None).filter(|height| *height > 1.0);
    if height.is_none() && keys.map.contains_key("height") {
        keys.wrong("height", "a number above 1 expected: so many times as much");
    }
    let (up, down) = direction(keys, (true, false))?;
    let field = keys.text("field").map(|name| Field::new(&name));
    let measure = match &field {
        Some(_) => measure(keys)?,
        None => Measure::Count,
    };
    Some(RuleKind::Spike(Spike {
        window: window?,
        height: height?,
        up,
        down,
        measure,
        field,
        min_reference: keys.number("min_reference").unwrap_or_default(),
        min_current: keys.number("min_current").unwrap_or_default(),
        new_groups: keys.flag("new_groups"),
    }))
}

fn flatline(keys: &mut Keys<'_, '_>) -> Option<RuleKind> {
    keys.known(&["window", "fewer_than", "forget_after", "least", "most", "group_by"]);
    let window = match keys.text("window").as_deref() {
        Some("learned") => Some(None),
        _ => window(keys).map(Some),
    };
    let most = if window == Some(None) { 1 } else { MAX_DISTINCT };
    let fewer_than = keys.whole("fewer_than", 1..=most, Some(1));
    let forget_after = keys.parsed("forget_after", span(MAX_HISTORY)).unwrap_or(7 * DAY);
    let least = keys.parsed("least", span(MAX_WINDOW)).unwrap_or(Duration::from_mins(1));
    let most = keys.parsed("most", span(MAX_WINDOW)).unwrap_or(DAY);
    if least > most {
        keys.wrong("least", "no more than `most` expected");
    }
    Some(RuleKind::Flatline(Flatline {
        fewer_than: fewer_than?,
        window: window?,
        distinct: None,
        forget_after,
        learned: (least, most.max(least)),
    }))
}

fn new_term(keys: &mut Keys<'_, '_>) -> Option<RuleKind> {
    keys.known(&["fields", "history", "learn", "seen_at_most", "missing", "group_by"]);
    let mut all = Vec::new();
    match keys.map.get("fields") {
        Some(Yaml::String(name)) => all.push(vec![Field::new(name)]),
        Some(Yaml::Sequence(list)) if !list.is_empty() && list.len() <= MAX_FIELDS => {
            for entry in list {
                let names = match entry {
                    Yaml::String(name) => vec![name.as_str()],
                    Yaml::Sequence(names) => names.iter().filter_map(Yaml::as_str).collect(),
                    _ => Vec::new(),
                };
                if names.is_empty() || names.len() > MAX_FIELDS {
                    keys.wrong(
                        "fields",
                        "each entry: a field, or a list of fields that are one value together",
                    );
                    return None;
                }
                all.push(names.into_iter().map(Field::new).collect());
            }
        }
        _ => {
            keys.missing("fields", "a list of 1 to 8 fields");
            return None;
        }
    }
    novelty(keys, all, DAY)
}

fn novelty(keys: &mut Keys<'_, '_>, fields: Vec<Vec<Field>>, learn: Duration) -> Option<RuleKind> {
    Some(RuleKind::NewTerm(NewTerm {
        fields,
        history: keys.parsed("history", span(MAX_HISTORY)).unwrap_or(30 * DAY),
        learn: keys.parsed("learn", any_span(MAX_WINDOW)).unwrap_or(learn),
        seen_at_most: keys.whole("seen_at_most", 0..=1000, Some(0))?.try_into().unwrap_or(0),
        missing: keys.flag("missing"),
    }))
}

fn change(keys: &mut Keys<'_, '_>) -> Option<RuleKind> {
    keys.known(&["fields", "within", "missing", "group_by"]);
    let fields = fields(keys, "fields")?;
    if fields.is_empty() {
        keys.missing("fields", "a list of 1 to 8 fields");
        return None;
    }
    Some(RuleKind::Change(Change {
        fields: fields.iter().map(|name| Field::new(name)).collect(),
        within: keys.parsed("within", span(MAX_WINDOW)),
        missing: keys.flag("missing"),
    }))
}

fn percentage(keys: &mut Keys<'_, '_>) -> Option<RuleKind> {
    keys.known(&["of", "above", "below", "window", "at_least", "group_by"]);
    let of = keys.required("of", "a query", query);
    bounds(keys, Measure::Share, None, Some(of?))
}

fn metric(keys: &mut Keys<'_, '_>) -> Option<RuleKind> {
    keys.known(&["field", "is", "above", "below", "window", "at_least", "group_by"]);
    let field = field(keys);
    let measure = measure(keys);
    bounds(keys, measure?, Some(field?), None)
}

fn bounds(
    keys: &mut Keys<'_, '_>,
    measure: Measure,
    field: Option<Field>,
    share_of: Option<Filter>,
) -> Option<RuleKind> {
    let window = window(keys);
    let (above, below) = (keys.number("above"), keys.number("below"));
    if above.is_none() && below.is_none() {
        keys.missing("above", "it or below, or both,");
        return None;
    }
    let at_least = keys.whole("at_least", 1..=MAX_COUNT, Some(1))?;
    Some(RuleKind::Metric(Metric {
        window: window?,
        measure,
        field,
        share_of,
        above,
        below,
        inclusive: false,
        at_least,
    }))
}

fn list(keys: &mut Keys<'_, '_>, files: &mut ReadFile<'_>) -> Option<RuleKind> {
    keys.known(&["field", "deny", "allow", "deny_file", "allow_file", "missing", "group_by"]);
    let field = field(keys);
    let has = |key: &str| keys.map.contains_key(key);
    let (deny, allow) = (has("deny") || has("deny_file"), has("allow") || has("allow_file"));
    if deny == allow {
        keys.missing("deny", "it or allow (or deny_file, allow_file), and not both,");
        return None;
    }
    let (key, file) = if deny { ("deny", "deny_file") } else { ("allow", "allow_file") };
    let own = keys.list(key);
    let mut text = String::new();
    if let Some(path) = keys.text(file) {
        match files(&path) {
            Ok(read) => text = read,
            Err(problem) => {
                keys.wrong(file, format!("{path}: {problem}"));
                return None;
            }
        }
    }
    if own.len() + text.lines().count() > MAX_ENTRIES {
        keys.wrong(key, format!("at most {MAX_ENTRIES} entries expected"));
        return None;
    }
    let entries = own.iter().map(String::as_str).chain(text.lines());
    let missing = keys.flag("missing");
    if missing && deny {
        keys.wrong("missing", "only with allow: nothing cannot be on a list");
    }
    Some(RuleKind::List(List::new(field?, deny, missing, entries)))
}

fn sequence(keys: &mut Keys<'_, '_>) -> Option<RuleKind> {
    keys.known(&["steps", "within", "ordered", "group_by"]);
    let within = keys.required("within", "a span such as \"10m\"", span(MAX_WINDOW));
    let ordered = !keys.map.contains_key("ordered") || keys.flag("ordered");
    let Some(Yaml::Sequence(list)) = keys.map.get("steps") else {
        keys.missing("steps", "a list of queries, or of mappings with query, count or not");
        return None;
    };
    let mut steps = Vec::new();
    for (number, entry) in list.iter().enumerate() {
        match step(entry) {
            Ok(step) => steps.push(step),
            Err(problem) => keys.wrong("steps", format!("step {}: {problem}", number + 1)),
        }
    }
    let chain: Vec<Step> = steps.iter().map(|(_, step)| *step).collect();
    let records: u64 = chain.iter().map(|step| u64::from(step.count)).sum();
    if chain.len() != list.len() {
        return None;
    }
    let wrong = if chain.len() < 2 || chain.len() > MAX_STEPS || records > 1000 {
        Some("2 to 16 steps, of 1,000 records together, expected")
    } else if chain[0].not {
        Some("what must not come stands behind something that must")
    } else if !ordered && chain.iter().any(|step| step.not) {
        Some("`not` needs an order: ordered: true")
    } else if chain.windows(2).any(|pair| pair[0].not && pair[1].not) {
        Some("one `not` after another: join them by OR in one query")
    } else {
        None
    };
    if let Some(wrong) = wrong {
        keys.wrong("steps", wrong);
        return None;
    }
    Some(RuleKind::Sequence(Sequence { steps, chain, within: within?, ordered }))
}

/// A query, or a mapping of `query` and `count`, or of `not`.
fn step(entry: &Yaml) -> Result<(Filter, Step), String> {
    let plain = |text: &str| Ok((query(text)?, Step { count: 1, not: false }));
    match entry {
        Yaml::String(text) => plain(text),
        Yaml::Mapping(map) => {
            let known = ["query", "count", "not"];
            if let Some(other) = map.keys().filter_map(Yaml::as_str).find(|key| !known.contains(key)) {
                return Err(format!("unknown key {other:?}; known are query, count and not"));
            }
            match (map.get("query"), map.get("not"), map.get("count")) {
                (None, Some(Yaml::String(text)), None) => Ok((query(text)?, Step { count: 1, not: true })),
                (Some(Yaml::String(text)), None, None) => plain(text),
                (Some(Yaml::String(text)), None, Some(count)) => {
                    let count = count.as_u64().and_then(|count| u32::try_from(count).ok());
                    let count = count.filter(|count| (1..=1000).contains(count));
                    Ok((query(text)?, Step { count: count.ok_or("count: 1 to 1000 expected")?, not: false }))
                }
                _ => Err("a query, `query` and `count`, or `not` and a query expected".to_owned()),
            }
        }
        _ => Err("a query, or a mapping expected".to_owned()),
    }
}

fn template(keys: &mut Keys<'_, '_>) -> Option<RuleKind> {
    let fields = || vec![vec![Field::new(TEMPLATE)]];
    match keys.text("is").as_deref() {
        Some("new") => {
            keys.known(&["is", "history", "learn", "group_by"]);
            novelty(keys, fields(), DAY)
        }
        Some("rare") => {
            keys.known(&["is", "history", "learn", "seen_at_most", "group_by"]);
            match novelty(keys, fields(), DAY)? {
                RuleKind::NewTerm(rare) if rare.seen_at_most == 0 => {
                    Some(RuleKind::NewTerm(NewTerm { seen_at_most: 4, ..rare }))
                }
                other => Some(other),
            }
        }
        Some("quiet") => {
            keys.known(&["is", "least", "most", "forget_after", "group_by"]);
            Some(RuleKind::Flatline(Flatline {
                fewer_than: 1,
                window: None,
                distinct: None,
                forget_after: keys.parsed("forget_after", span(MAX_HISTORY)).unwrap_or(DAY),
                learned: (
                    keys.parsed("least", span(MAX_WINDOW)).unwrap_or(Duration::from_mins(10)),
                    keys.parsed("most", span(MAX_WINDOW)).unwrap_or(DAY),
                ),
            }))
        }
        Some(other) => {
            keys.wrong("is", format!("new, rare or quiet expected, found {other:?}"));
            None
        }
        None => {
            keys.missing("is", "new, rare or quiet");
            None
        }
    }
}

fn baseline(keys: &mut Keys<'_, '_>) -> Option<RuleKind> {
    keys.known(&["interval", "deviation", "direction", "at_least", "group_by"]);
    let interval = keys.required("interval", "a span such as \"5m\"", |text| match parse_span(text)? {
        span if span < Duration::from_secs(1) || span > Duration::from_hours(1) => {
            Err("1s to 1h expected".to_owned())
        }
        span => Ok(span),
    });
    let deviation = positive(keys, "deviation", Some(6.0));
    let (up, down) = direction(keys, (true, true))?;
    let at_least = keys.whole("at_least", 0..=MAX_COUNT, Some(20))?;
    Some(RuleKind::Baseline(Baseline { interval: interval?, deviation: deviation?, up, down, at_least }))
}

fn direction(keys: &mut Keys<'_, '_>, default: (bool, bool)) -> Option<(bool, bool)> {
    match keys.text("direction").as_deref() {
        None => Some(default),
        Some("up") => Some((true, false)),
        Some("down") => Some((false, true)),
        Some("both") => Some((true, true)),
        Some(other) => {
            keys.wrong("direction", format!("up, down or both expected, found {other:?}"));
            None
        }
    }
}

/// `is`: what is made of numbers.
fn measure(keys: &mut Keys<'_, '_>) -> Option<Measure> {
    keys.required("is", "avg, sum, min, max or a percentile such as p95", |text| {
        Ok(match text {
            "avg" => Measure::Avg,
            "sum" => Measure::Sum,
            "min" => Measure::Min,
            "max" => Measure::Max,
            _ => {
                let share = text.strip_prefix('p').and_then(|share| share.parse::<f64>().ok());
                match share.filter(|share| *share > 0.0 && *share < 100.0) {
                    Some(share) => Measure::Percentile(share / 100.0),
                    None => {
                        return Err(format!(
                            "avg, sum, min, max or a percentile such as p95 expected, found {text:?}"
                        ));
                    }
                }
            }
        })
    })
}

fn positive(keys: &mut Keys<'_, '_>, key: &str, default: Option<f64>) -> Option<f64> {
    match keys.number(key) {
        Some(number) if number > 0.0 => Some(number),
        Some(_) => {
            keys.wrong(key, "a number above 0 expected");
            None
        }
        None if keys.map.contains_key(key) => None,
        None => {
            if default.is_none() {
                keys.missing(key, "a number");
            }
            default
        }
    }
}

fn field(keys: &mut Keys<'_, '_>) -> Option<Field> {
    keys.required("field", "the name of a field", |name| {
        if name.trim().is_empty() {
            Err("the name of a field expected".to_owned())
        } else {
            Ok(Field::new(name))
        }
    })
}

/// A list of different fields, not too long.
fn fields(keys: &mut Keys<'_, '_>, key: &str) -> Option<Vec<String>> {
    let names = keys.list(key);
    let twice = names.iter().enumerate().any(|(at, name)| names[..at].contains(name));
    if twice || names.len() > MAX_FIELDS || names.iter().any(|name| name.trim().is_empty()) {
        keys.wrong(key, format!("at most {MAX_FIELDS} different fields expected"));
        return None;
    }
    Some(names)
}

fn window(keys: &mut Keys<'_, '_>) -> Option<Duration> {
    keys.required("window", "a span such as \"2m\"", span(MAX_WINDOW))
}

/// A span of more than nothing.
pub(crate) fn span(most: Duration) -> impl Fn(&str) -> Result<Duration, String> {
    move |text| match parse_span(text)? {
        span if span.is_zero() => Err("more than nothing expected".to_owned()),
        span if span > most => Err(format!("{}d at most", most.as_secs() / 86_400)),
        span => Ok(span),
    }
}

/// A span, or nothing.
pub(crate) fn any_span(most: Duration) -> impl Fn(&str) -> Result<Duration, String> {
    move |text| if parse_span(text)?.is_zero() { Ok(Duration::ZERO) } else { span(most)(text) }
}

/// A query, or why it is none.
pub(crate) fn query(text: &str) -> Result<Filter, String> {
    millrace_filter::parse(text).map_err(|error| parse_problem(&error))
}

/// What is wrong with a query, and where.
pub(crate) fn parse_problem(error: &ParseError) -> String {
    match &error.suggestion {
        Some(suggestion) => format!("{} at character {}; {suggestion}", error.message, error.span.start + 1),
        None => format!("{} at character {}", error.message, error.span.start + 1),
    }
}
