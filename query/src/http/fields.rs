//! `/api/v1/fields`: which fields the records have that match, in how many of them, and of which types.
//!
//! Counts are exact for what records say of themselves, for attributes and for the resource. What lies inside of maps, and the
//! types of values, are known of the latest records alone, and said to be.

use super::{
    Api, ApiError,
    parameters::{Parameters, Selection},
    piped::{Made, piped},
    search::{self, Head},
};
use crate::SearchRequest;
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use millrace_filter::{self as filter, FieldTest, Filter, Predicate};
use millrace_listen::Caller;
use millrace_model::{Attributes, Row, Value};
use millrace_pipes::{Aggregate, AggregateKind, Expr, Named, Pipe, Table};
use millrace_store::{Leaf, Order};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};
use utoipa::ToSchema;

/// So many of the latest records are looked into.
const SAMPLE: usize = 500;
/// Fields that records have besides attributes and resource, and the type of each.
const OWN: [(&str, &str); 6] = [
    ("timestamp", "time"),
    ("observed_timestamp", "time"),
    ("level", "string"),
    ("severity_number", "int"),
    ("trace_id", "string"),
    ("span_id", "string"),
];
const SCOPES: [(&str, &str); 2] = [("attributes", "_attribute_names"), ("resource", "_resource_names")];

/// A field.
#[derive(Debug, Default)]
struct Found {
    present: u64,
    types: BTreeSet<&'static str>,
    estimated: bool,
}

type Fields = BTreeMap<(&'static str, String), Found>;

/// The fields of the records that match.
#[derive(Serialize, ToSchema)]
pub(super) struct FieldList {
    #[serde(flatten)]
    head: Head,
    /// So many of the latest records were looked into.
    sampled: usize,
    fields: Vec<FieldTold>,
}

/// A field.
#[derive(Serialize, ToSchema)]
#[schema(as = Field)]
struct FieldTold {
    name: String,
    /// Where it is: `record`, `attributes` or `resource`.
    #[schema(value_type = FieldScope)]
    scope: &'static str,
    /// Of which types its values are, as far as that is known.
    #[schema(value_type = Vec<ValueType>)]
    types: BTreeSet<&'static str>,
    /// How many records have it.
    present: u64,
    /// That is an estimate, of the latest records.
    estimated: bool,
}

/// Where a field is.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "it is described, and never made")]
enum FieldScope {
    /// What records say of themselves.
    Record,
    Attributes,
    Resource,
}

/// What a value is.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "it is described, and never made")]
enum ValueType {
    String,
    Text,
    Bytes,
    Bool,
    Int,
    Double,
    Array,
    Map,
    Time,
}

/// All fields of the records that match, by scope and name.
#[utoipa::path(
    get,
    path = "/api/v1/fields",
    tag = "search",
    operation_id = "fields",
    params(Selection),
    responses((status = 200, description = "The fields", body = FieldList))
)]
pub(super) async fn list<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    caller: Caller,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<FieldList>, ApiError> {
    let started = Instant::now();
    let parameters = search::given(parameters)?;
    let (mut request, pipes) =
        parameters.summary(&api.asking(&caller), counts_by_names(), Some(usize::MAX))?;
    let Made { hits, answer: counted, .. } = piped(&api, &request, &pipes, false).await?;
    request = SearchRequest { limit: SAMPLE, order: Order::NewestFirst, ..request };
    let sample = search::search(&api, &request).await?;
    // A line would be rebuilt to be counted; whether there is one is known without.
    let with_body = SearchRequest { filter: and_body(&request.filter), limit: 0, ..request.clone() };
    let mut fields = counts(&counted.table, search::search(&api, &with_body).await?.total);
    look_into(&mut fields, &sample.hits, hits.total);
    let list = fields.into_iter().filter(|(_, found)| found.present > 0).map(|((scope, name), found)| {
        let Found { present, types, estimated } = found;
        FieldTold { name, scope, types, present, estimated }
    });
    Ok(Json(FieldList { head: Head::of(&hits, started), sampled: sample.hits.len(), fields: list.collect() }))
}

/// How many records there are of each set of names, and how many of these have what not all have.
fn counts_by_names() -> Pipe {
    let column = |name: &str| Expr::Column(name.to_owned());
    let by = SCOPES.map(|(_, name)| Named { name: name.to_owned(), what: column(name) });
    let count =
        |name: &str, of| Named { name: name.to_owned(), what: Aggregate { kind: AggregateKind::Count, of } };
    let own = OWN.map(|(name, _)| count(name, Some(column(name))));
    Pipe::Stats { aggregates: [count("count", None)].into_iter().chain(own).collect(), by: by.to_vec() }
}

fn and_body(filter: &Filter) -> Filter {
    let body = filter::Expr::Field(Box::new(FieldTest::new("body", Predicate::Exists)));
    Filter::new(filter::Expr::all_of(vec![filter.root().clone(), body]))
}

/// What the table of these counts says of each field, and how many have a body.
fn counts(table: &Table, with_body: u64) -> Fields {
    let body = Found { present: with_body, types: BTreeSet::from(["string"]), estimated: false };
    let mut fields = Fields::from([(("record", "body".to_owned()), body)]);
    let cells =
        |name: &str| table.columns.iter().find(|column| column.name == name).map(|column| &column.cells);
    let number = |name: &str, row: usize| match cells(name).and_then(|cells| cells.get(row)) {
        Some(Value::Int(count)) => *count as u64,
        _ => 0,
    };
    for row in 0..table.rows {
        for (name, kind) in OWN {
            let found = fields.entry(("record", name.to_owned())).or_default();
            found.present += number(name, row);
            found.types.insert(kind);
        }
        for (scope, column) in SCOPES {
            let text = cells(column).and_then(|cells| cells.get(row)).and_then(Value::as_str);
            let names: BTreeSet<String> = serde_json::from_str(text.unwrap_or("[]")).unwrap_or_default();
            for name in names {
                fields.entry((scope, name)).or_default().present += number("count", row);
            }
        }
    }
    fields
}

/// What records show of the types of fields, and of what lies in maps.
fn look_into(fields: &mut Fields, sample: &[Row], total: u64) {
    let mut inside: BTreeMap<(&'static str, String), u64> = BTreeMap::new();
    for row in sample {
        for (scope, attributes) in
            [("attributes", &row.record.attributes), ("resource", &*row.record.resource)]
        {
            let mut seen = BTreeSet::new();
            each(attributes, &mut String::new(), &mut |name, value| {
                let found = fields.entry((scope, name.to_owned())).or_default();
                found.types.extend(type_of(value));
                if seen.insert(name.to_owned()) {
                    *inside.entry((scope, name.to_owned())).or_default() += 1;
                }
            });
        }
    }
    for (key, records) in inside {
        if let Some(found) = fields.get_mut(&key).filter(|found| found.present == 0) {
            found.estimated = true;
            let part = records as f64 / sample.len() as f64;
            found.present = ((part * total as f64).round() as u64).max(records);
        }
    }
}

/// All values with their dotted names, those inside of maps as well.
fn each<'a>(attributes: &'a Attributes, prefix: &mut String, visit: &mut dyn FnMut(&str, &'a Value)) {
    for (name, value) in attributes.iter() {
        let length = prefix.len();
        if length > 0 {
            prefix.push('.');
        }
        prefix.push_str(name);
        visit(prefix, value);
        if let Value::Map(map) = value {
            each(map, prefix, visit);
        }
        prefix.truncate(length);
    }
}

fn type_of(value: &Value) -> Option<&'static str> {
    Some(match value {
        Value::Null => return None,
        Value::String(_) => "string",
        Value::Text(_) => "text",
        Value::Bytes(_) => "bytes",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Double(_) => "double",
        Value::Array(_) => "array",
        Value::Map(_) => "map",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_model::{LogRecord, RecordId, SourceId, StreamName, Timestamp};

    #[test]
    fn what_lies_in_maps_is_known_of_a_sample() {
        let mut fields = Fields::new();
        fields.insert(("attributes", "a".to_owned()), Found { present: 40, ..Found::default() });
        let mut attributes = Attributes::new();
        attributes.set("a", Value::Map([("b".to_owned(), Value::Int(1))].into_iter().collect()));
        let record = LogRecord { attributes, ..LogRecord::default() };
        let id = RecordId { source: SourceId(1), position: 0, index: 0 };
        let row = |record| Row { id, stream: StreamName::default(), time: Timestamp(0), record };
        look_into(&mut fields, &[row(record), row(LogRecord::default())], 100);
        let of = |name: &str| &fields[&("attributes", name.to_owned())];
        assert_eq!((of("a").present, of("a").estimated), (40, false));
        assert_eq!((of("a.b").present, of("a.b").estimated), (50, true));
        assert!(of("a.b").types.contains("int") && of("a").types.contains("map"));
    }
}
