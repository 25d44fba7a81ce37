//! The explanation of a search as JSON: how it was understood, what is done where, and what the search saw on its way.

use super::described::{FragmentTold, Range};
use crate::{SearchRequest, search::explain::Explanation};
use millrace_filter::Expr;
use millrace_model::{FieldRef, StreamName, TimeRange};
use millrace_pipes::{Plan, Told};
use millrace_store::Order;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// How a search was understood, and what was done for it.
#[derive(Serialize, ToSchema)]
pub(super) struct Explained<'e> {
    /// The query's filter as it was understood.
    filter: String,
    /// What its names stand for besides themselves.
    names: BTreeMap<String, Vec<String>>,
    /// The time that was searched.
    #[schema(value_type = Range)]
    range: TimeRange,
    /// The explanations of the queries that were joined, each like this one.
    #[schema(value_type = Vec<Object>)]
    joined: &'e [Value],
    /// Of the streams that were asked for those that may be seen; null: all that may be.
    #[schema(value_type = Option<Vec<String>>, required)]
    streams: Option<Vec<StreamName>>,
    /// What is done on each shard, and at each indexer.
    #[schema(value_type = FragmentTold)]
    where_records_lie: Option<&'e Told>,
    /// What is done then with what these have gathered.
    #[schema(value_type = Vec<FragmentTold>)]
    where_it_is_answered: &'e [Told],
    #[serde(flatten)]
    seen: &'e Explanation,
}

/// What a search is for.
pub(super) enum Gathers<'p> {
    /// What a query's pipes make.
    Table(&'p Plan),
    /// Hits; and a histogram that is split, where there is one.
    Hits(Option<&'p Plan>),
}

/// See the module. `joined` are the explanations of the queries that were joined.
pub(super) fn told(
    request: &SearchRequest,
    gathers: &Gathers<'_>,
    seen: &Explanation,
    joined: &[Value],
) -> Value {
    let fragments = match gathers {
        Gathers::Table(plan) => plan.told(),
        Gathers::Hits(split) => vec![hits(request, split.and_then(|split| split.told().into_iter().next()))],
    };
    let mut names = BTreeMap::new();
    each_name(request.filter.root(), &mut |name| add(&mut names, name));
    // Behind the first fragment columns are what was made.
    let reads = fragments.first().into_iter().flat_map(|first| &first.reads);
    reads.for_each(|name| add(&mut names, name));
    let here = fragments.get(1..).unwrap_or_default();
    json!(Explained {
        filter: request.filter.to_string(),
        names,
        range: request.range,
        joined,
        streams: request.streams.as_ref().and_then(|asked| request.sight.grant.within(Some(asked))),
        where_records_lie: fragments.first(),
        where_it_is_answered: here,
        seen,
    })
}

/// What a search without pipes does, besides what splits its histogram.
fn hits(request: &SearchRequest, split: Option<Told>) -> Told {
    let which = match request.order {
        Order::NewestFirst => "latest",
        Order::OldestFirst => "earliest",
    };
    let histogram = match &split {
        Some(split) => Some(format!(", {}", split.gathers)),
        None => request.histogram.map(|interval| format!(", a histogram by {interval:?}")),
    };
    let behind = request.after.map(|_| " behind the cursor");
    let gathers = format!(
        "how many there are{}, the {} {which}{}",
        histogram.unwrap_or_default(),
        request.limit,
        behind.unwrap_or_default()
    );
    Told {
        reads: split.map(|split| split.reads).unwrap_or_default(),
        steps: Vec::new(),
        gathers,
        shortcut: None,
    }
}

fn each_name<'f>(expr: &'f Expr, visit: &mut impl FnMut(&'f str)) {
    match expr {
        Expr::And(terms) | Expr::Or(terms) => terms.iter().for_each(|term| each_name(term, visit)),
        Expr::Not(inner) => each_name(inner, visit),
        Expr::Field(test) => visit(&test.name),
        Expr::All | Expr::Text(_) => {}
    }
}

/// What a name stands for, if not for itself alone: in the order in which records are asked.
fn add(names: &mut BTreeMap<String, Vec<String>>, name: &str) {
    let field = FieldRef::resolve(name);
    let stands_for: Vec<String> = match &field {
        FieldRef::Any { aliases, .. } if !aliases.is_empty() => field.paths().map(str::to_owned).collect(),
        FieldRef::Body => vec!["body".to_owned()],
        FieldRef::Level => vec!["level".to_owned()],
        FieldRef::Timestamp => vec!["timestamp".to_owned()],
        FieldRef::TraceId => vec!["trace_id".to_owned()],
        FieldRef::SpanId => vec!["span_id".to_owned()],
        FieldRef::Stream => vec!["_stream".to_owned()],
        _ => return,
    };
    if stands_for != [name] {
        names.insert(name.to_owned(), stands_for);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::http::parameters::{Asking, Parameters};
    use millrace_model::{Grant, Sight, Timestamp};

    #[test]
    fn a_query_is_told_as_it_was_understood() {
        let of = |query: &str| {
            let parameters = Parameters { q: Some(query.to_owned()), ..Parameters::default() };
            let asking = Asking { now: Timestamp(1_000), memory: 1 << 20, sight: Sight::whole(Grant::All) };
            let (request, pipes) = parameters.request(&asking).unwrap();
            let plan = pipes.map(|pipes| pipes.plan(Vec::new()).unwrap());
            let gathers = plan.as_ref().map_or(Gathers::Hits(None), Gathers::Table);
            told(&request, &gathers, &Explanation::default(), &[])
        };
        let plain = of("message:x  (host:web1 OR NOT  status:>=500) own:1");
        assert_eq!(plain["filter"], "x (host:web1 OR NOT status:>=500) own:1");
        assert_eq!(plain["names"]["host"], json!(["host", "host.name", "hostname", "agent.hostname"]));
        assert_eq!(plain["names"]["own"], Value::Null, "it stands for itself");
        assert_eq!(plain["where_records_lie"]["gathers"], "how many there are, the 100 latest");
        assert_eq!(plain["where_it_is_answered"], json!([]));
        let piped = of("* | stats count() by user, message | sort -count()");
        assert_eq!(piped["where_records_lie"]["reads"], json!(["user", "message"]));
        assert_eq!(piped["names"]["message"], json!(["body"]));
        assert_eq!(piped["names"]["user"], json!(["user", "user.name", "enduser.id"]));
        assert_eq!(piped["where_it_is_answered"].as_array().unwrap().len(), 1);
    }
}
