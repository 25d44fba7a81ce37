//! What there is: labels, their values, series, how much of them, and what lines look like.

use super::{Problem, answers, in_time, loki, parameters::Given};
use crate::{
    Missing, SearchRequest,
    http::Api,
    loki::{Entries, Loki, LokiError, Names},
};
use axum::{
    Json,
    extract::{Path, State},
};
use millrace_filter::{Expr, Filter};
use millrace_logql::{
    Entry, LabelFields, Labels, Matcher, Pipeline, Query, label_field, label_name, parse, parse_selector,
};
use millrace_model::{Severity, Value};
use millrace_pipes::{
    Aggregate, AggregateKind, Answer, Context, Expr as Column, Function, Named, Pipe, Plan,
};
use millrace_store::{Leaf, Order};
use serde_json::{Value as Json_, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// So many lines are looked into for what they hold.
const SAMPLE: usize = 1000;
/// The most series, values or fields of an answer.
const MOST: usize = 5000;
const PATTERNS: usize = 300;

type Asked<L> = State<Arc<Api<L>>>;
type Answered = Result<Json<Json_>, Problem>;

/// The selector of a query, whatever follows it; everything where there is none.
fn selector(text: Option<&str>) -> Result<Vec<Matcher>, Problem> {
    let Some(text) = text else { return Ok(Vec::new()) };
    if let Ok(Query::Log(pipeline)) = parse(text) {
        return Ok(pipeline.selector);
    }
    parse_selector(text).map_err(|error| Problem::Query(Box::new((text.to_owned(), error))))
}

fn lowered(selector: &[Matcher], names: &Names) -> Expr {
    Pipeline { selector: selector.to_vec(), stages: Vec::new() }.lower(names)
}

fn field(names: &Names, label: &str) -> String {
    match label {
        "level" | "detected_level" => "severity_number".to_owned(),
        _ => names.field_of(label).unwrap_or_else(|| label_field(label)),
    }
}

/// A column's value as its label.
fn label(name: &str, value: &Value) -> Option<String> {
    match (name, value) {
        ("level" | "detected_level", Value::Int(number)) => {
            Some(Severity::from_number(*number).class().to_owned()).filter(|class| !class.is_empty())
        }
        (_, Value::Null | Value::Array(_) | Value::Map(_)) => None,
        (_, other) => Some(millrace_filter::value_text(other).into_owned()).filter(|text| !text.is_empty()),
    }
}

/// What a pipe makes of all that a search finds.
async fn piped<L: Leaf>(
    loki: &Loki<'_, L>,
    request: &SearchRequest,
    pipe: Pipe,
    missing: &mut Vec<Missing>,
) -> Result<Answer, LokiError> {
    let context =
        Context { now: loki.searcher.now(), range: request.range, limit: usize::MAX, memory: loki.memory };
    let plan = Plan::new(&[pipe], &context)
        .map_err(|problem| LokiError::Evaluate(millrace_logql::EvaluateError::Source(problem)))?;
    let request = SearchRequest { limit: 0, gather: Some(plan.leaf()), ..request.clone() };
    let found = loki.searcher.search(&request).await?;
    missing.extend(found.missing);
    Ok(loki.searcher.finish(plan, found.gathered).await?)
}

fn counts(by: &[(String, String)], more: Vec<Named<Aggregate>>) -> Pipe {
    let named =
        |(name, field): &(String, String)| Named { name: name.clone(), what: Column::Column(field.clone()) };
    let count = Named { name: "count".to_owned(), what: Aggregate { kind: AggregateKind::Count, of: None } };
    Pipe::Stats { aggregates: [count].into_iter().chain(more).collect(), by: by.iter().map(named).collect() }
}

/// The groups of a table that a selector keeps: their labels, and their counts.
fn groups(answer: &Answer, by: &[(String, String)], selector: &[Matcher]) -> Vec<(Labels, usize)> {
    let pipeline = Pipeline { selector: selector.to_vec(), stages: Vec::new() };
    let columns = &answer.table.columns;
    let of_row = |row: usize| {
        let of = |(name, _): &(String, String)| {
            let column = columns.iter().find(|column| column.name == *name)?;
            Some((name.clone(), label(name, column.cells.get(row)?)?))
        };
        (by.iter().filter_map(of).collect::<Labels>(), row)
    };
    let keeps = |(labels, _): &(Labels, usize)| {
        pipeline.selects(&Entry::new(0, "", Arc::new(labels.clone()), Labels::new()))
    };
    (0..answer.table.rows).map(of_row).filter(keeps).collect()
}

fn number(answer: &Answer, column: &str, row: usize) -> u64 {
    let column = answer.table.columns.iter().find(|known| known.name == column);
    match column.and_then(|column| column.cells.get(row)) {
        Some(Value::Int(number)) => *number as u64,
        Some(Value::Double(number)) => *number as u64,
        _ => 0,
    }
}

/// The labels that a selector asks for, beside others.
fn with_selected(
    labels: impl IntoIterator<Item = String>,
    selector: &[Matcher],
    names: &Names,
) -> Vec<(String, String)> {
    let mut all: BTreeSet<String> = labels.into_iter().collect();
    all.extend(selector.iter().map(|matcher| matcher.label.clone()));
    all.into_iter().map(|label| (label.clone(), field(names, &label))).collect()
}

/// Which labels there are.
pub(super) async fn labels<L: Leaf + 'static>(State(api): Asked<L>, given: Given) -> Answered {
    let times = given.times(api.searcher.now())?;
    let loki = loki(&api, &given);
    let names = in_time(&api, loki.names(times)).await?;
    let labels = if names.resource.is_empty() && names.attributes.is_empty() {
        BTreeSet::new()
    } else {
        names.labels()
    };
    Ok(answers::success(json!(labels), &[]))
}

/// The values of a label.
pub(super) async fn values<L: Leaf + 'static>(
    State(api): Asked<L>,
    Path(name): Path<String>,
    given: Given,
) -> Answered {
    let times = given.times(api.searcher.now())?;
    let selector = selector(given.get("query"))?;
    let loki = loki(&api, &given);
    let mut missing = Vec::new();
    let found = async {
        let names = loki.names(times).await?;
        let by = with_selected([name.clone()], &selector, &names);
        let request = loki.request(Filter::new(lowered(&selector, &names)), times);
        let answer = piped(&loki, &request, counts(&by, Vec::new()), &mut missing).await?;
        Ok::<BTreeSet<String>, LokiError>(
            groups(&answer, &by, &selector)
                .into_iter()
                .filter_map(|(mut labels, _)| labels.remove(&name))
                .take(MOST)
                .collect(),
        )
    };
    let values = in_time(&api, found).await?;
    Ok(answers::success(json!(values), &missing))
}

/// The label sets of streams.
pub(super) async fn series<L: Leaf + 'static>(State(api): Asked<L>, given: Given) -> Answered {
    let times = given.times(api.searcher.now())?;
    let texts: Vec<&String> = given.all("match[]").iter().chain(given.all("match")).collect();
    let selectors = texts.iter().map(|text| selector(Some(text))).collect::<Result<Vec<_>, _>>()?;
    let selectors = if selectors.is_empty() { vec![Vec::new()] } else { selectors };
    let loki = loki(&api, &given);
    let mut missing = Vec::new();
    let found = async {
        let names = loki.names(times).await?;
        let mut all = BTreeSet::new();
        for selector in &selectors {
            let by = with_selected(names.labels(), selector, &names);
            let request = loki.request(Filter::new(lowered(selector, &names)), times);
            let answer = piped(&loki, &request, counts(&by, Vec::new()), &mut missing).await?;
            all.extend(groups(&answer, &by, selector).into_iter().map(|(labels, _)| labels));
        }
        Ok::<_, LokiError>(all)
    };
    let series = in_time(&api, found).await?;
    Ok(answers::success(series.into_iter().take(MOST).map(|labels| json!(labels)).collect(), &missing))
}

/// Lengths of lines, added up.
fn bytes() -> Named<Aggregate> {
    let length = Column::Call(Function::Length, vec![Column::Column("body".to_owned())]);
    Named { name: "bytes".to_owned(), what: Aggregate { kind: AggregateKind::Sum, of: Some(length) } }
}

/// Streams with their counts of lines and bytes.
async fn sizes<L: Leaf>(
    loki: &Loki<'_, L>,
    selector: &[Matcher],
    by: Option<&[String]>,
    times: (i64, i64),
    missing: &mut Vec<Missing>,
) -> Result<Vec<(Labels, u64, u64)>, LokiError> {
    let names = loki.names(times).await?;
    let wanted: BTreeSet<String> = by.map_or_else(|| names.labels(), |by| by.iter().cloned().collect());
    let by = with_selected(wanted.clone(), selector, &names);
    let request = loki.request(Filter::new(lowered(selector, &names)), times);
    let answer = piped(loki, &request, counts(&by, vec![bytes()]), missing).await?;
    let mut sizes: BTreeMap<Labels, (u64, u64)> = BTreeMap::new();
    for (mut labels, row) in groups(&answer, &by, selector) {
        labels.retain(|name, _| wanted.contains(name));
        let size = sizes.entry(labels).or_default();
        size.0 += number(&answer, "count", row);
        size.1 += number(&answer, "bytes", row);
    }
    Ok(sizes.into_iter().map(|(labels, (lines, bytes))| (labels, lines, bytes)).collect())
}

/// How much a selector finds.
pub(super) async fn stats<L: Leaf + 'static>(State(api): Asked<L>, given: Given) -> Answered {
    let times = given.times(api.searcher.now())?;
    let selector = selector(given.get("query"))?;
    let loki = loki(&api, &given);
    let mut missing = Vec::new();
    let sizes = in_time(&api, sizes(&loki, &selector, None, times, &mut missing)).await?;
    let (entries, bytes) =
        sizes.iter().fold((0, 0), |(all, size), (_, lines, bytes)| (all + lines, size + bytes));
    // Loki's clients read these at the top.
    Ok(Json(json!({ "streams": sizes.len(), "chunks": sizes.len(), "entries": entries, "bytes": bytes })))
}

fn target(given: &Given, selector: &[Matcher]) -> Vec<String> {
    match given.get("targetLabels") {
        Some(labels) => labels.split(',').map(|label| label.trim().to_owned()).collect(),
        None if selector.is_empty() => vec!["stream".to_owned()],
        None => selector.iter().map(|matcher| matcher.label.clone()).collect(),
    }
}

async fn volumes<L: Leaf>(
    api: &Api<L>,
    given: &Given,
) -> Result<(Vec<(Labels, u64, u64)>, (i64, i64), Vec<Missing>), Problem> {
    let times = given.times(api.searcher.now())?;
    let selector = selector(given.get("query"))?;
    let by = target(given, &selector);
    let loki = loki(api, given);
    let mut missing = Vec::new();
    let mut sizes = in_time(api, sizes(&loki, &selector, Some(&by), times, &mut missing)).await?;
    sizes.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| a.0.cmp(&b.0)));
    sizes.truncate(given.number("limit", 100, MOST)?);
    Ok((sizes, times, missing))
}

/// Bytes by labels, the most first.
pub(super) async fn volume<L: Leaf + 'static>(State(api): Asked<L>, given: Given) -> Answered {
    let (sizes, (_, end), missing) = volumes(&api, &given).await?;
    let result: Vec<Json_> = sizes
        .iter()
        .map(|(labels, _, bytes)| json!({ "metric": labels, "value": [end / 1_000_000_000, bytes.to_string()] }))
        .collect();
    Ok(answers::success(json!({ "resultType": "vector", "result": result }), &missing))
}

/// The same as series with one point.
pub(super) async fn volume_range<L: Leaf + 'static>(State(api): Asked<L>, given: Given) -> Answered {
    let (sizes, (_, end), missing) = volumes(&api, &given).await?;
    let result: Vec<Json_> = sizes
        .iter()
        .map(|(labels, _, bytes)| json!({ "metric": labels, "values": [[end / 1_000_000_000, bytes.to_string()]] }))
        .collect();
    Ok(answers::success(json!({ "resultType": "matrix", "result": result }), &missing))
}

/// Labels, and how many values each has.
pub(super) async fn detected_labels<L: Leaf + 'static>(State(api): Asked<L>, given: Given) -> Answered {
    let times = given.times(api.searcher.now())?;
    let selector = selector(given.get("query"))?;
    let loki = loki(&api, &given);
    let mut missing = Vec::new();
    let sizes = in_time(&api, sizes(&loki, &selector, None, times, &mut missing)).await?;
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, value) in sizes.iter().flat_map(|(labels, ..)| labels) {
        values.entry(name).or_default().insert(value);
    }
    let list: Vec<Json_> =
        values.iter().map(|(label, values)| json!({ "label": label, "cardinality": values.len() })).collect();
    Ok(Json(json!({ "detectedLabels": list })))
}

/// What the latest lines hold that is no label of their stream.
pub(super) async fn detected_fields<L: Leaf + 'static>(State(api): Asked<L>, given: Given) -> Answered {
    let times = given.times(api.searcher.now())?;
    let text = given.required("query")?;
    let pipeline = millrace_logql::parse_log(text)
        .map_err(|error| Problem::Query(Box::new((text.to_owned(), error))))?;
    let limit = given.number("limit", 1000, MOST)?;
    let lines = given.number("line_limit", SAMPLE, SAMPLE)?;
    let loki = loki(&api, &given);
    let found = async {
        let names = loki.names(times).await?;
        let request = SearchRequest {
            limit: lines,
            order: Order::NewestFirst,
            ..loki.request(Filter::new(pipeline.lower(&names)), times)
        };
        Ok::<_, LokiError>(loki.searcher.search(&request).await?.hits)
    };
    let rows = in_time(&api, found).await?;
    let mut entries = Entries::of(text);
    let mut fields: BTreeMap<String, (&'static str, BTreeSet<String>)> = BTreeMap::new();
    for row in rows {
        if !pipeline.run(&mut entries.entry(&row)) {
            continue;
        }
        for (name, value) in row.record.attributes.iter() {
            let kind = match value {
                Value::Int(_) => "int",
                Value::Double(_) => "float",
                Value::Bool(_) => "boolean",
                _ => "string",
            };
            let Some(value) = label("", value) else { continue };
            let known = fields.entry(label_name(name)).or_insert_with(|| (kind, BTreeSet::new()));
            known.1.insert(value);
        }
    }
    let list: Vec<Json_> = fields
        .iter()
        .take(limit)
        .map(|(label, (kind, values))| {
            json!({ "label": label, "type": kind, "cardinality": values.len(), "parsers": null })
        })
        .collect();
    Ok(Json(json!({ "fields": list, "limit": limit })))
}

/// Templates of lines, each with a count at the end of the time.
pub(super) async fn patterns<L: Leaf + 'static>(State(api): Asked<L>, given: Given) -> Answered {
    let times = given.times(api.searcher.now())?;
    let selector = selector(Some(given.required("query")?))?;
    let loki = loki(&api, &given);
    let mut missing = Vec::new();
    let found = async {
        let names = loki.names(times).await?;
        let request = loki.request(Filter::new(lowered(&selector, &names)), times);
        piped(&loki, &request, Pipe::Patterns, &mut missing).await
    };
    let answer = in_time(&api, found).await?;
    let pattern = answer.table.columns.iter().find(|column| column.name == "pattern");
    let list: Vec<Json_> = (0..answer.table.rows.min(PATTERNS))
        .map(|row| {
            let pattern = pattern.and_then(|column| column.cells.get(row)).and_then(Value::as_str);
            let samples = [[times.1 / 1_000_000_000, number(&answer, "count", row) as i64]];
            json!({ "pattern": pattern.unwrap_or_default().replace("<*>", "<_>"), "samples": samples })
        })
        .collect();
    Ok(answers::success(json!(list), &missing))
}
