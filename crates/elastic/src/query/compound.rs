//! Queries made of queries.

use super::{Reader, all, join::at_least, minimum::minimum, not};
use crate::{
    Error,
    json::{Object, Style},
};
use millrace_filter::Expr;
use serde_json::Value as Json;

/// What every query may say besides.
pub(super) const COMMON: &[&str] = &["boost", "_name"];

/// `match_all` and `match_none`.
pub(super) fn constant(body: &Json, name: &str, expr: Expr) -> Result<Expr, Error> {
    let mut object = Object::of(body, name, Style::Query)?;
    object.ignore(COMMON);
    object.finish()?;
    Ok(expr)
}

/// A query, or a list of them.
fn queries(reader: &mut Reader<'_>, given: Option<&Json>) -> Result<Vec<Expr>, Error> {
    match given {
        None => Ok(Vec::new()),
        Some(Json::Array(queries)) => {
            reader.clause(queries.len())?;
            queries.iter().map(|query| reader.query(query)).collect()
        }
        Some(query) => Ok(vec![reader.query(query)?]),
    }
}

pub(super) fn boolean(reader: &mut Reader<'_>, body: &Json) -> Result<Expr, Error> {
    let mut object = Object::of(body, "bool", Style::Query)?;
    object.ignore(COMMON);
    object.ignore(&["adjust_pure_negative", "disable_coord"]);
    let mut terms = queries(reader, object.value("must"))?;
    terms.extend(queries(reader, object.value("filter"))?);
    let should = queries(reader, object.value("should"))?;
    let must_not = queries(reader, object.value("must_not"))?;
    let given = object.value("minimum_should_match");
    object.finish()?;
    let count = should.len();
    let wanted = match given {
        Some(given) => minimum(given, count)?,
        None => 0,
    };
    // Where nothing else must match, one of them must.
    let wanted = if wanted == 0 && count > 0 && terms.is_empty() { 1 } else { wanted };
    terms.push(at_least(should, wanted)?);
    terms.extend(must_not.into_iter().map(not));
    Ok(all(terms))
}

/// A query that another is around of, under `key`.
pub(super) fn one(
    reader: &mut Reader<'_>,
    body: &Json,
    name: &str,
    key: &'static str,
) -> Result<Expr, Error> {
    let mut object = Object::of(body, name, Style::Query)?;
    object.ignore(COMMON);
    object.ignore(&["min_score", "script"]);
    let Some(inner) = object.value(key) else { return Err(object.lacks(key)) };
    object.finish()?;
    reader.query(inner)
}

/// What is pushed down by it is found all the same.
pub(super) fn boosting(reader: &mut Reader<'_>, body: &Json) -> Result<Expr, Error> {
    let mut object = Object::of(body, "boosting", Style::Query)?;
    object.ignore(COMMON);
    object.ignore(&["negative_boost"]);
    let (positive, negative) = (object.value("positive"), object.value("negative"));
    object.finish()?;
    let Some(positive) = positive else { return Err(object.lacks("positive")) };
    if let Some(negative) = negative {
        reader.query(negative)?;
    }
    reader.query(positive)
}

pub(super) fn any_of(reader: &mut Reader<'_>, body: &Json) -> Result<Expr, Error> {
    let mut object = Object::of(body, "dis_max", Style::Query)?;
    object.ignore(COMMON);
    object.ignore(&["tie_breaker"]);
    let given = object.value("queries");
    object.finish()?;
    if given.is_none() {
        return Err(object.lacks("queries"));
    }
    Ok(super::any(queries(reader, given)?))
}

pub(super) fn function_score(reader: &mut Reader<'_>, body: &Json) -> Result<Expr, Error> {
    let mut object = Object::of(body, "function_score", Style::Query)?;
    object.ignore(COMMON);
    object.ignore(&[
        "functions",
        "max_boost",
        "score_mode",
        "boost_mode",
        "min_score",
        "weight",
        "random_score",
        "field_value_factor",
        "script_score",
        "gauss",
        "linear",
        "exp",
    ]);
    let inner = object.value("query");
    object.finish()?;
    inner.map_or(Ok(Expr::All), |inner| reader.query(inner))
}
