//! Buckets that are conditions: filters, ranges, what is missing, everything. A record may be in several of them.

use super::{
    keys::{numbers, values},
    needs::{call, matches},
    plan::{Path, Planner, Scope},
    spec::{Bucket, Entry, Filters, Range, RangeKind, Ranges},
};
use crate::{
    Error, Zone,
    date::Format,
    fields::{Kind, Stored},
    json::{float, float_text},
    query::{self, Bounds, Leaf, Reader},
};
use millrace_filter::{Expr as Filter, Literal, Predicate};
use millrace_model::{Timestamp, Value};
use millrace_pipes::{Expr, Function, Pipe};
use serde_json::{Map, Value as Json, json};

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Branches {
    pub(super) shape: Shape,
    pub(super) branches: Vec<Branch>,
}

/// How they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One bucket by itself.
    Single,
    /// By their names.
    Keyed,
    /// One after the other.
    List,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Branch {
    pub(super) name: String,
    /// What is shown of it besides.
    pub(super) head: Map<String, Json>,
    /// The records that are in it.
    pub(super) filter: Filter,
    pub(super) scope: Scope,
}

/// A branch before what is inside of it is planned.
struct Condition {
    name: String,
    head: Map<String, Json>,
    filter: Filter,
    holds: Expr,
}

/// One bucket of all that the path leads to.
pub(super) fn whole(planner: &mut Planner<'_>, inner: &[Entry], path: &Path) -> Result<Box<Branches>, Error> {
    let scope = planner.scope(inner, path, true)?;
    let branch = Branch { name: String::new(), head: Map::new(), filter: Filter::All, scope };
    Ok(Box::new(Branches { shape: Shape::Single, branches: vec![branch] }))
}

pub(super) fn plan(
    planner: &mut Planner<'_>,
    inner: &[Entry],
    bucket: &Bucket,
    path: &Path,
) -> Result<Box<Branches>, Error> {
    let mut reader = Reader::new(planner.mapping, Timestamp(planner.now));
    let (shape, conditions) = match bucket {
        Bucket::Filter(given) => {
            let filter = reader.whole(given)?;
            (Shape::Single, vec![condition(String::new(), filter)])
        }
        Bucket::Missing(field) => {
            let leaf = Leaf::new(planner.mapping.field(field), planner.now);
            (Shape::Single, vec![condition(String::new(), query::not(leaf.exists()))])
        }
        Bucket::Filters(filters) => filters_of(&mut reader, filters)?,
        Bucket::Ranges(ranges) => {
            let shape = if ranges.keyed { Shape::Keyed } else { Shape::List };
            (shape, ranges_of(planner, ranges)?)
        }
        _ => return Err(Error::internal("a bucket is planned as what it is not")),
    };
    let mut branches = Vec::with_capacity(conditions.len());
    for Condition { name, head, filter, holds } in conditions {
        let mut path = path.clone();
        path.steps.push(Pipe::Where(holds));
        let scope = planner.scope(inner, &path, true)?;
        branches.push(Branch { name, head, filter, scope });
    }
    Ok(Box::new(Branches { shape, branches }))
}

fn condition(name: String, filter: Filter) -> Condition {
    Condition { name, head: Map::new(), holds: matches(&filter), filter }
}

fn filters_of(reader: &mut Reader<'_>, filters: &Filters) -> Result<(Shape, Vec<Condition>), Error> {
    let mut conditions = Vec::new();
    for (name, given) in &filters.each {
        conditions.push(condition(name.clone(), reader.whole(given)?));
    }
    if let Some(other) = &filters.other {
        let any = query::any(conditions.iter().map(|condition| condition.filter.clone()).collect());
        conditions.push(condition(other.clone(), query::not(any)));
    }
    Ok((if filters.keyed { Shape::Keyed } else { Shape::List }, conditions))
}

fn ranges_of(planner: &Planner<'_>, ranges: &Ranges) -> Result<Vec<Condition>, Error> {
    let leaf = Leaf::new(planner.mapping.field(&ranges.source.field), planner.now);
    match ranges.kind {
        RangeKind::Addresses => ranges.each.iter().map(|range| addresses(&leaf, range)).collect(),
        RangeKind::Numbers => {
            let numbers = numbers(&leaf.field, ranges.source.missing.as_ref())?;
            let mut all = Vec::new();
            for range in &ranges.each {
                let (from, to) = (end(range.from.as_ref())?, end(range.to.as_ref())?);
                all.push((from, to, number_range(&leaf, &numbers, range, from, to)));
            }
            Ok(sorted(all))
        }
        RangeKind::Dates => {
            let mut all = Vec::new();
            for range in &ranges.each {
                let (from, to, condition) = date_range(planner, &leaf, ranges, range)?;
                all.push((from, to, condition));
            }
            Ok(sorted(all))
        }
    }
}

/// By where they begin, then by where they end.
fn sorted(mut all: Vec<(Option<f64>, Option<f64>, Condition)>) -> Vec<Condition> {
    all.sort_by(|a, b| {
        let from = |end: Option<f64>| end.unwrap_or(f64::NEG_INFINITY);
        let to = |end: Option<f64>| end.unwrap_or(f64::INFINITY);
        from(a.0).total_cmp(&from(b.0)).then(to(a.1).total_cmp(&to(b.1)))
    });
    all.into_iter().map(|(_, _, condition)| condition).collect()
}

fn end(given: Option<&Json>) -> Result<Option<f64>, Error> {
    match given {
        None => Ok(None),
        Some(value) => {
            float(value).map(Some).ok_or_else(|| Error::content("[range] from and to are numbers"))
        }
    }
}

fn between(of: &Expr, from: Option<Value>, to: Option<Value>) -> Expr {
    let mut terms = vec![call(Function::Exists, vec![of.clone()])];
    terms.extend(from.map(|from| call(Function::GreaterOrEqual, vec![of.clone(), Expr::Constant(from)])));
    terms.extend(to.map(|to| call(Function::Less, vec![of.clone(), Expr::Constant(to)])));
    call(Function::And, terms)
}

fn number_range(leaf: &Leaf, numbers: &Expr, range: &Range, from: Option<f64>, to: Option<f64>) -> Condition {
    let text = |end: Option<f64>| end.map_or_else(|| "*".to_owned(), float_text);
    let name = range.key.clone().unwrap_or_else(|| format!("{}-{}", text(from), text(to)));
    let mut head = Map::new();
    for (key, end) in [("from", from), ("to", to)] {
        head.extend(end.map(|end| (key.to_owned(), json!(end))));
    }
    let literal = |end: f64| Literal::new(&end.to_string());
    let filter = leaf.test(Predicate::Range {
        low: from.map(|end| (literal(end), true)),
        high: to.map(|end| (literal(end), false)),
    });
    let holds = between(numbers, from.map(Value::Double), to.map(Value::Double));
    Condition { name, head, filter, holds }
}

fn date_range(
    planner: &Planner<'_>,
    leaf: &Leaf,
    ranges: &Ranges,
    range: &Range,
) -> Result<(Option<f64>, Option<f64>, Condition), Error> {
    let (stored, own) = match &leaf.field.kind {
        Kind::Date { stored, format } => (*stored, format.clone()),
        _ => (Stored::Millis, Format::standard()),
    };
    let format = ranges.format.as_deref().map(Format::new).transpose()?.unwrap_or(own);
    let zone = ranges.zone.as_deref().map_or(Ok(Zone::UTC), Zone::parse)?;
    let at = |given: Option<&Json>| given.map(|given| planner.instant(given, &format, zone)).transpose();
    let (from, to) = (at(range.from.as_ref())?, at(range.to.as_ref())?);
    let text = |end: Option<i64>| end.map_or_else(|| "*".to_owned(), |end| format.write(end, zone));
    let name = range.key.clone().unwrap_or_else(|| format!("{}-{}", text(from), text(to)));
    let mut head = Map::new();
    for (key, end) in [("from", from), ("to", to)] {
        if let Some(end) = end {
            head.insert(key.to_owned(), json!(millis(end)));
            head.insert(format!("{key}_as_string"), json!(format.write(end, zone)));
        }
    }
    let unit = stored.unit();
    // The first that is not before.
    let kept = |end: i64| Value::Int(end.div_euclid(unit) + i64::from(end.rem_euclid(unit) != 0));
    let times = values(&leaf.field, ranges.source.missing.as_ref())?;
    let holds = between(&times, from.map(kept), to.map(kept));
    let filter = leaf.stored_between(stored, from, to);
    Ok((from.map(millis), to.map(millis), Condition { name, head, filter, holds }))
}

fn millis(nanos: i64) -> f64 {
    nanos.div_euclid(1_000_000) as f64
}

fn addresses(leaf: &Leaf, range: &Range) -> Result<Condition, Error> {
    let text = |given: Option<&Json>| given.and_then(crate::json::scalar);
    let (from, to) = (text(range.from.as_ref()), text(range.to.as_ref()));
    let mut head = Map::new();
    let (filter, name) = if let Some(mask) = &range.mask {
        let term = query::Term { text: mask, is_plain: false, any_case: false };
        (leaf.term(&term)?, mask.clone())
    } else {
        let bounds = Bounds {
            low: from.clone().map(|text| (text, true)),
            high: to.clone().map(|text| (text, false)),
            ..Bounds::default()
        };
        let filter = query::between(leaf, &bounds)?;
        let shown = |end: &Option<String>| end.clone().unwrap_or_else(|| "*".to_owned());
        (filter, format!("{}-{}", shown(&from), shown(&to)))
    };
    for (key, end) in [("from", from), ("to", to)] {
        head.extend(end.map(|end| (key.to_owned(), json!(end))));
    }
    Ok(Condition { name: range.key.clone().unwrap_or(name), head, holds: matches(&filter), filter })
}
