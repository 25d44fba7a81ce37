//! Filebeat's conditions, as queries.

use super::field;
use crate::{query::Query, tree::Node};

/// Conditions within conditions are looked into so far.
const DEEPEST: usize = 16;

/// A condition; the error says what of it cannot be said.
pub(super) fn convert(condition: &Node, line: &str) -> Result<Query, String> {
    one(condition, line, 0)
}

fn one(condition: &Node, line: &str, depth: usize) -> Result<Query, String> {
    if depth > DEEPEST {
        return Err("conditions are nested too deep".to_owned());
    }
    let Some((kind, inner)) = condition.only() else {
        return Err("a condition of one kind was expected".to_owned());
    };
    condition.take();
    inner.take();
    let several =
        || inner.items().iter().map(|item| one(item, line, depth + 1)).collect::<Result<Vec<_>, String>>();
    let leaves = |query: &dyn Fn(&str, &Node) -> Result<Query, String>| {
        let fields = inner.leaves().into_iter();
        fields.map(|(name, leaf)| query(&field(&name, line), leaf)).collect::<Result<Vec<_>, String>>()
    };
    let all = |queries: Vec<Query>| Query::all(queries).ok_or_else(|| "an empty condition".to_owned());
    match kind {
        "and" => all(several()?),
        "or" => Query::any(several()?).ok_or_else(|| "an empty condition".to_owned()),
        "not" => Ok(one(inner, line, depth + 1)?.negated()),
        "equals" => all(leaves(&|field, leaf| Query::equals(field, &text(leaf)?))?),
        "contains" => all(leaves(&|field, leaf| any_of(leaf, |part| Query::contains(field, part)))?),
        "regexp" => all(leaves(&|field, leaf| any_of(leaf, |pattern| Query::regex(field, pattern)))?),
        "network" => all(leaves(&|field, leaf| any_of(leaf, |network| Query::network(field, network)))?),
        "range" => all(inner
            .leaves()
            .into_iter()
            .map(|(name, leaf)| range(&name, leaf, line))
            .collect::<Result<_, _>>()?),
        "has_fields" => {
            let names = inner.texts();
            all(names.iter().map(|name| Query::exists(&field(name, line))).collect::<Result<_, _>>()?)
        }
        other => Err(format!("Millrace has no condition like {other:?}")),
    }
}

fn text(leaf: &Node) -> Result<String, String> {
    leaf.text().ok_or_else(|| "a text was expected".to_owned())
}

/// One of a list, or the only one.
fn any_of(leaf: &Node, query: impl Fn(&str) -> Result<Query, String>) -> Result<Query, String> {
    let queries = leaf.texts().iter().map(|text| query(text)).collect::<Result<Vec<_>, _>>()?;
    Query::any(queries).ok_or_else(|| "an empty list".to_owned())
}

/// `http.response.code.gte: 400`.
fn range(name: &str, leaf: &Node, line: &str) -> Result<Query, String> {
    let (name, sign) = name.rsplit_once('.').ok_or("a range needs a field and gte, gt, lte or lt")?;
    let sign = match sign {
        "gte" => ">=",
        "gt" => ">",
        "lte" => "<=",
        "lt" => "<",
        _ => return Err("a range needs a field and gte, gt, lte or lt".to_owned()),
    };
    let bound = leaf.number().ok_or("a range needs numbers")?;
    Query::compare(&field(name, line), sign, bound)
}
