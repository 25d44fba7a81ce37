//! Aggregations that make buckets.

use super::{content, entries, order, source};
use crate::{
    Error,
    aggs::spec::{
        Bucket, Choice, Composite, DateHistogram, Every, Filters, Histogram, Part, PartKind, Range,
        RangeKind, Ranges, Source, Terms,
    },
    date,
    json::{self, Object, scalar, token},
    query,
    zone::Unit,
};
use millrace_filter::Pattern;
use serde_json::Value as Json;

const DEFAULT_SIZE: usize = 10;
/// The most ranges, filters, or sources of one aggregation.
const MAX_PARTS: usize = 200;

/// `None`: it is of another kind.
pub(super) fn read(kind: &str, options: &Json) -> Result<Option<Bucket>, Error> {
    Ok(Some(match kind {
        "terms" => Bucket::Terms(terms(options)?),
        "multi_terms" => Bucket::Terms(multi_terms(options)?),
        "composite" => Bucket::Composite(composite(options)?),
        "date_histogram" => {
            let mut object = content(options, kind)?;
            let histogram = date_histogram(&mut object)?;
            object.finish()?;
            Bucket::DateHistogram(histogram)
        }
        "histogram" => {
            let mut object = content(options, kind)?;
            let histogram = histogram(&mut object)?;
            object.finish()?;
            Bucket::Histogram(histogram)
        }
        "range" => Bucket::Ranges(ranges(options, kind, RangeKind::Numbers)?),
        "date_range" => Bucket::Ranges(ranges(options, kind, RangeKind::Dates)?),
        "ip_range" => Bucket::Ranges(ranges(options, kind, RangeKind::Addresses)?),
        "filter" => Bucket::Filter(options.clone()),
        "filters" => Bucket::Filters(filters(options)?),
        "missing" => {
            let mut object = content(options, kind)?;
            let field = source(&mut object)?.field;
            object.finish()?;
            Bucket::Missing(field)
        }
        "global" => {
            content(options, kind)?.finish()?;
            Bucket::Global
        }
        _ => return Ok(None),
    }))
}

/// What terms say besides where they come from.
fn common(object: &mut Object<'_>, sources: Vec<Source>, is_multi: bool) -> Result<Terms, Error> {
    object.ignore(&[
        "shard_size",
        "segment_size",
        "split_size",
        "shard_min_doc_count",
        "show_term_doc_count_error",
        "collect_mode",
        "execution_hint",
        "value_type",
        "format",
    ]);
    let size = object.size("size")?.unwrap_or(DEFAULT_SIZE);
    if size == 0 {
        return Err(Error::argument("[size] must be greater than 0. Found [0] in [terms]"));
    }
    let min_doc_count = object.size("min_doc_count")?.unwrap_or(1) as u64;
    let order = order(object.value("order"))?;
    Ok(Terms { sources, is_multi, size, order, min_doc_count, include: None, exclude: None })
}

fn terms(options: &Json) -> Result<Terms, Error> {
    let mut object = content(options, "terms")?;
    let source = source(&mut object)?;
    let (include, exclude) = (object.value("include"), object.value("exclude"));
    let mut terms = common(&mut object, vec![source], false)?;
    object.finish()?;
    terms.include = include.map(choice).transpose()?;
    terms.exclude = exclude.map(choice).transpose()?;
    Ok(terms)
}

fn choice(given: &Json) -> Result<Choice, Error> {
    match given {
        Json::Array(values) if values.len() <= query::MAX_CLAUSES => {
            let values = values.iter().map(scalar).collect::<Option<Vec<_>>>();
            values
                .map(Choice::Values)
                .ok_or_else(|| Error::parsing("include and exclude are lists of values"))
        }
        Json::String(text) => {
            let pattern = Pattern::new(&query::anchored(text)?);
            pattern
                .map(Choice::Regex)
                .map_err(|why| Error::argument(format!("invalid regular expression: {why}")))
        }
        Json::Object(_) => Err(Error::argument("partitions of [include] are not supported here")),
        other => {
            Err(Error::parsing(format!("Unrecognized token for an include or exclude: {}", token(other))))
        }
    }
}

fn multi_terms(options: &Json) -> Result<Terms, Error> {
    let mut object = content(options, "multi_terms")?;
    let given = object.value("terms");
    let Some(Json::Array(given)) = given else { return Err(object.lacks("terms")) };
    if !(2..=MAX_PARTS).contains(&given.len()) {
        return Err(Error::argument(
            "The [terms] parameter in the aggregation [multi_terms] must be present and have at least 2 fields",
        ));
    }
    let one = |given: &Json| {
        let mut object = content(given, "terms")?;
        object.ignore(&["format", "user_value_type_hint", "value_type", "time_zone"]);
        let source = source(&mut object)?;
        object.finish()?;
        Ok(source)
    };
    let sources = given.iter().map(one).collect::<Result<Vec<_>, Error>>()?;
    let terms = common(&mut object, sources, true)?;
    object.finish()?;
    Ok(terms)
}

fn composite(options: &Json) -> Result<Composite, Error> {
    let mut object = content(options, "composite")?;
    let size = object.size("size")?.unwrap_or(DEFAULT_SIZE);
    if size == 0 {
        return Err(Error::argument("[size] must be greater than 0 in [composite]"));
    }
    let after = object.value("after").cloned();
    let given = object.value("sources");
    object.finish()?;
    let sources = match given {
        Some(Json::Array(sources)) if !sources.is_empty() && sources.len() <= MAX_PARTS => sources.clone(),
        Some(one @ Json::Object(_)) => vec![one.clone()],
        _ => return Err(Error::argument("Composite [sources] cannot be null or empty")),
    };
    let sources = sources.iter().map(part).collect::<Result<Vec<_>, _>>()?;
    for (at, source) in sources.iter().enumerate() {
        if sources[..at].iter().any(|before| before.name == source.name) {
            return Err(Error::argument(format!(
                "Composite source names must be unique, found duplicates: [{}]",
                source.name
            )));
        }
    }
    Ok(Composite { sources, size, after })
}

fn part(given: &Json) -> Result<Part, Error> {
    let wrong = || Error::parsing("a source of [composite] is {name: {kind: {…}}}");
    let (name, inner) = given.as_object().and_then(json::single).ok_or_else(wrong)?;
    let (kind, options) = inner.as_object().and_then(json::single).ok_or_else(wrong)?;
    let mut object = content(options, kind)?;
    object.ignore(&["missing_order", "value_type"]);
    let descending = match object.text("order")?.as_deref() {
        None | Some("asc") => false,
        Some("desc") => true,
        Some(other) => return Err(Error::argument(format!("Unknown sort order [{other}]"))),
    };
    let missing_bucket = object.flag("missing_bucket")?.unwrap_or(false);
    let kind = match kind {
        "terms" => {
            object.ignore(&["format"]);
            PartKind::Terms(source(&mut object)?)
        }
        "histogram" => PartKind::Histogram(histogram(&mut object)?),
        "date_histogram" => PartKind::DateHistogram(date_histogram(&mut object)?),
        other => {
            return Err(Error::argument(format!(
                "Unknown source type [{}] of [composite]",
                other.chars().take(100).collect::<String>()
            )));
        }
    };
    object.finish()?;
    Ok(Part { name: name.to_owned(), kind, descending, missing_bucket })
}

fn calendar(text: &str) -> Option<Unit> {
    Some(match text {
        "second" | "1s" => Unit::Second,
        "minute" | "1m" => Unit::Minute,
        "hour" | "1h" => Unit::Hour,
        "day" | "1d" => Unit::Day,
        "week" | "1w" => Unit::Week,
        "month" | "1M" => Unit::Month,
        "quarter" | "1q" => Unit::Quarter,
        "year" | "1y" => Unit::Year,
        _ => return None,
    })
}

fn every(object: &mut Object<'_>) -> Result<Every, Error> {
    let fixed = |text: &str| {
        let length = date::length(text).filter(|length| *length > 0);
        length.map(Every::Fixed).ok_or_else(|| {
            Error::argument(format!(
                "failed to parse setting [date_histogram.fixedInterval] with value [{}] as a time value: unit is missing or unrecognized",
                text.chars().take(100).collect::<String>()
            ))
        })
    };
    let (calendar_interval, fixed_interval, interval) =
        (object.text("calendar_interval")?, object.text("fixed_interval")?, object.text("interval")?);
    match (calendar_interval, fixed_interval, interval) {
        (Some(text), None, None) => calendar(&text).map(Every::Calendar).ok_or_else(|| {
            Error::argument(format!(
                "The supplied interval [{text}] could not be parsed as a calendar interval."
            ))
        }),
        (None, Some(text), None) => fixed(&text),
        (None, None, Some(text)) => match (calendar(&text), text.parse::<i64>()) {
            (Some(unit), _) => Ok(Every::Calendar(unit)),
            (None, Ok(millis)) if millis > 0 => Ok(Every::Fixed(millis.saturating_mul(1_000_000))),
            _ => fixed(&text),
        },
        (None, None, None) => {
            Err(Error::argument("Invalid interval specified, must be non-null and non-empty"))
        }
        _ => {
            Err(Error::argument("Cannot use [fixed_interval] with [calendar_interval] configuration option."))
        }
    }
}

fn date_histogram(object: &mut Object<'_>) -> Result<DateHistogram, Error> {
    let source = source(object)?;
    let offset = match object.text("offset")? {
        None => 0,
        Some(text) => date::length(&text)
            .or_else(|| text.parse::<i64>().ok().and_then(|millis| millis.checked_mul(1_000_000)))
            .ok_or_else(|| {
                Error::argument(format!(
                    "failed to parse [offset] with value [{}]",
                    text.chars().take(100).collect::<String>()
                ))
            })?,
    };
    Ok(DateHistogram {
        source,
        every: every(object)?,
        zone: object.text("time_zone")?,
        offset,
        min_doc_count: object.size("min_doc_count")?.unwrap_or(0) as u64,
        extended: object.value("extended_bounds").cloned(),
        hard: object.value("hard_bounds").cloned(),
        keyed: object.flag("keyed")?.unwrap_or(false),
        format: object.text("format")?,
        order: if is_composite(object) { Vec::new() } else { order(object.value("order"))? },
    })
}

/// Parts of composites have an order that is a text, which was read.
fn is_composite(object: &mut Object<'_>) -> bool {
    object.map().get("order").is_some_and(Json::is_string)
}

fn bounds(given: Option<&Json>, name: &str) -> Result<Option<(f64, f64)>, Error> {
    let Some(given) = given else { return Ok(None) };
    let mut object = content(given, name)?;
    let (min, max) = (object.float("min")?, object.float("max")?);
    object.finish()?;
    let (min, max) = (min.unwrap_or(f64::NEG_INFINITY), max.unwrap_or(f64::INFINITY));
    if min > max {
        return Err(Error::argument(format!("[{name}.min] cannot be greater than [{name}.max]")));
    }
    Ok(Some((min, max)))
}

fn histogram(object: &mut Object<'_>) -> Result<Histogram, Error> {
    object.ignore(&["format"]);
    let source = source(object)?;
    let interval = object.float("interval")?.ok_or_else(|| object.lacks("interval"))?;
    if !(interval.is_finite() && interval > 0.0) {
        return Err(Error::argument("[interval] must be >0 for histogram aggregation"));
    }
    Ok(Histogram {
        source,
        interval,
        offset: object.float("offset")?.unwrap_or(0.0),
        min_doc_count: object.size("min_doc_count")?.unwrap_or(0) as u64,
        extended: bounds(object.value("extended_bounds"), "extended_bounds")?,
        hard: bounds(object.value("hard_bounds"), "hard_bounds")?,
        keyed: object.flag("keyed")?.unwrap_or(false),
        order: if is_composite(object) { Vec::new() } else { order(object.value("order"))? },
    })
}

fn ranges(options: &Json, name: &str, kind: RangeKind) -> Result<Ranges, Error> {
    let mut object = content(options, name)?;
    let source = source(&mut object)?;
    let given = object.value("ranges");
    let Some(Json::Array(given)) = given else {
        return Err(Error::argument(format!("No [ranges] specified for the [{name}] aggregation")));
    };
    if given.is_empty() || given.len() > MAX_PARTS {
        return Err(Error::argument(format!("[{name}] takes 1 to {MAX_PARTS} ranges")));
    }
    let one = |given: &Json| {
        let mut object = content(given, "range")?;
        let range = Range {
            key: object.text("key")?,
            from: object.value("from").cloned(),
            to: object.value("to").cloned(),
            mask: if kind == RangeKind::Addresses { object.text("mask")? } else { None },
        };
        object.finish()?;
        Ok(range)
    };
    let ranges = given.iter().map(one).collect::<Result<Vec<_>, Error>>()?;
    let all = Ranges {
        kind,
        source,
        each: ranges,
        keyed: object.flag("keyed")?.unwrap_or(false),
        format: object.text("format")?,
        zone: object.text("time_zone")?,
    };
    object.finish()?;
    Ok(all)
}

fn filters(options: &Json) -> Result<Filters, Error> {
    let mut object = content(options, "filters")?;
    let (filters, keyed) = match object.value("filters") {
        Some(Json::Object(named)) => (entries(named), true),
        Some(Json::Array(all)) => (all.iter().map(|one| (String::new(), one.clone())).collect(), false),
        _ => return Err(object.lacks("filters")),
    };
    object.ignore(&["keyed"]);
    let name = object.text("other_bucket_key")?;
    let is_wanted = object.flag("other_bucket")?.unwrap_or(name.is_some());
    object.finish()?;
    if filters.is_empty() || filters.len() > MAX_PARTS {
        return Err(Error::argument(format!("[filters] takes 1 to {MAX_PARTS} filters")));
    }
    let other = is_wanted.then(|| name.unwrap_or_else(|| "_other_".to_owned()));
    Ok(Filters { each: filters, keyed, other })
}
