//! Which fields there are, and which labels these are. Loki's labels cannot say all that names of fields can.

use crate::{SearchRequest, Searcher};
use millrace_catalogue::Error;
use millrace_logql::{LabelFields, label_name};
use millrace_model::Value;
use millrace_pipes::{Aggregate, AggregateKind, Context, Expr, Named, Pipe, Plan, TooLarge};
use millrace_store::Leaf;
use std::collections::{BTreeMap, BTreeSet};

/// The fields of some records.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Names {
    /// What the resource says.
    pub resource: BTreeSet<String>,
    /// What the record says itself.
    pub attributes: BTreeSet<String>,
    /// By label: the field's name.
    by_label: BTreeMap<String, String>,
}

impl Names {
    /// Of these.
    pub fn new(resource: BTreeSet<String>, attributes: BTreeSet<String>) -> Self {
        let mut by_label = BTreeMap::new();
        for name in resource.iter().chain(&attributes) {
            let label = label_name(name);
            if label != *name || !by_label.contains_key(&label) {
                by_label.entry(label).or_insert_with(|| name.clone());
            }
        }
        Self { resource, attributes, by_label }
    }

    /// The fields of all that a search would find. A look at the shapes of records, not at each of them.
    ///
    /// # Errors
    /// The catalogue cannot be read, or there are too many names.
    pub async fn of<L: Leaf>(
        searcher: &Searcher<L>,
        request: &SearchRequest,
        memory: usize,
    ) -> Result<Result<Self, TooLarge>, Error> {
        let columns = ["_resource_names", "_attribute_names"];
        let by = columns.map(|name| Named { name: name.to_owned(), what: Expr::Column(name.to_owned()) });
        let count =
            Named { name: "count".to_owned(), what: Aggregate { kind: AggregateKind::Count, of: None } };
        let stats = Pipe::Stats { aggregates: vec![count], by: by.to_vec() };
        let context = Context { now: searcher.now(), range: request.range, limit: usize::MAX, memory };
        // One pipe of known columns can always be planned.
        let Ok(plan) = Plan::new(&[stats], &context) else { return Ok(Ok(Self::default())) };
        let request = SearchRequest { limit: 0, gather: Some(plan.leaf()), ..request.clone() };
        let found = searcher.search(&request).await?;
        let answer = match searcher.finish(plan, found.gathered).await {
            Ok(answer) => answer,
            Err(too_large) => return Ok(Err(too_large)),
        };
        let names = |column: &str| {
            let column = answer.table.columns.iter().find(|known| known.name == column);
            let texts = column.into_iter().flat_map(|column| &column.cells.values).filter_map(Value::as_str);
            texts.flat_map(|text| serde_json::from_str::<Vec<String>>(text).unwrap_or_default()).collect()
        };
        Ok(Ok(Self::new(names(columns[0]), names(columns[1]))))
    }

    /// The labels of streams.
    pub fn labels(&self) -> BTreeSet<String> {
        let fixed = ["level", "stream"].map(str::to_owned);
        self.resource.iter().map(|name| label_name(name)).chain(fixed).collect()
    }
}

impl LabelFields for Names {
    fn field_of(&self, label: &str) -> Option<String> {
        match label {
            "level" | "detected_level" | "stream" | "service_name" => None,
            _ => self.by_label.get(label).cloned(),
        }
    }
}

/// The words of a query that can be labels.
pub fn label_names(query: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    query.split(|c| !is_part(c)).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}
