//! The histogram of a search: how many records there are by time, and of each value of a field where it is split by one.
//!
//! **Invariant:** what a bucket is split into adds up to its count. What is named is all of one gathering: no second look.

use super::{
    ApiError,
    described::Time,
    parameters::{Asking, wrong},
};
use crate::{SearchRequest, Searcher};
use millrace_filter::value_text;
use millrace_model::{Timestamp, Value};
use millrace_pipes::{Aggregate, AggregateKind, Context, Expr, Named, Partials, Pipe, Plan, Table};
use millrace_store::Leaf;
use serde::Serialize;
use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};
use utoipa::ToSchema;

/// So many values are named at most, the most frequent.
const NAMED: usize = 20;
/// What stands for all other values.
const OTHER: &str = "(other)";
/// What stands for no value.
const NONE: &str = "(none)";

/// The columns of what is gathered.
const VALUE: &str = "value";
const COUNT: &str = "count";

/// As it is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Histogram {
    /// How long a bucket is.
    interval: String,
    /// Which buckets there are, in the order of time: those that are empty are left out.
    buckets: Vec<Bucket>,
    /// How buckets are split, where they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    by: Option<SplitBy>,
}

/// A stretch of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Bucket {
    /// Where it begins: a multiple of the interval since the epoch.
    #[schema(value_type = Time)]
    start: Timestamp,
    /// How many records lie in it.
    count: u64,
    /// How many of them have each value; these add up to `count`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    by: Option<BTreeMap<String, u64>>,
}

/// What buckets are split by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct SplitBy {
    /// The field.
    field: String,
    /// The values that are named, the most frequent first.
    values: Vec<String>,
    /// What stands for all other values.
    #[schema(value_type = String)]
    other: &'static str,
    /// What stands for records without a value.
    #[schema(value_type = String)]
    none: &'static str,
}

/// One that is not split.
pub(super) fn whole(interval: Duration, counts: &BTreeMap<i64, u64>) -> Histogram {
    let bucket = |(start, count): (&i64, &u64)| Bucket { start: Timestamp(*start), count: *count, by: None };
    Histogram { interval: named(interval), buckets: counts.iter().map(bucket).collect(), by: None }
}

fn named(interval: Duration) -> String {
    format!("{interval:?}")
}

/// One that is split, before it is made.
pub(super) struct Split {
    field: String,
    interval: Duration,
    plan: Plan,
}

impl Split {
    /// By the values of a field, if there is one and the search has a histogram.
    pub(super) fn of(
        field: Option<&str>,
        request: &SearchRequest,
        asking: &Asking,
    ) -> Result<Option<Self>, ApiError> {
        let (Some(field), Some(interval)) = (field, request.histogram) else { return Ok(None) };
        let context =
            Context { now: asking.now, range: request.range, limit: usize::MAX, memory: asking.memory };
        let count = Aggregate { kind: AggregateKind::Count, of: None };
        let counted = Pipe::Timechart {
            interval: Some(i64::try_from(interval.as_nanos()).unwrap_or(i64::MAX)),
            aggregates: vec![Named { name: COUNT.to_owned(), what: count }],
            by: vec![Named { name: VALUE.to_owned(), what: Expr::Column(field.to_owned()) }],
        };
        let plan = Plan::new(&[counted], &context).map_err(|problem| wrong("histogram_by", problem))?;
        Ok(Some(Self { field: field.to_owned(), interval, plan }))
    }

    /// What is gathered for it.
    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The same search, which gathers for it as well.
    pub(super) fn ask(&self, request: &SearchRequest) -> SearchRequest {
        SearchRequest { histogram: None, gather: Some(self.plan.leaf()), ..request.clone() }
    }

    /// What becomes of what was gathered for it.
    pub(super) async fn made<L: Leaf>(
        self,
        searcher: &Searcher<L>,
        gathered: Option<Partials>,
    ) -> Result<Histogram, ApiError> {
        let Self { field, interval, plan } = self;
        let table = searcher.finish(plan, gathered).await?.table;
        Ok(searcher.on_a_core(move |_| split(field, interval, &table)).await)
    }
}

fn split(field: String, interval: Duration, table: &Table) -> Histogram {
    let cells = cells(table);
    let values = most_frequent(&cells);
    let named_here: HashSet<&str> = values.iter().copied().collect();
    let mut buckets: BTreeMap<i64, BTreeMap<String, u64>> = BTreeMap::new();
    for Cell { start, value, count } in &cells {
        let key = match value {
            None => NONE,
            Some(value) => named_here.get(&**value).copied().unwrap_or(OTHER),
        };
        *buckets.entry(*start).or_default().entry(key.to_owned()).or_default() += count;
    }
    let bucket = |(start, by): (i64, BTreeMap<String, u64>)| Bucket {
        start: Timestamp(start),
        count: by.values().sum(),
        by: Some(by),
    };
    Histogram {
        interval: named(interval),
        buckets: buckets.into_iter().map(bucket).collect(),
        by: Some(SplitBy {
            field,
            values: values.into_iter().map(str::to_owned).collect(),
            other: OTHER,
            none: NONE,
        }),
    }
}

/// So many records of a bucket have this value.
struct Cell<'t> {
    start: i64,
    value: Option<Cow<'t, str>>,
    count: u64,
}

fn cells(table: &Table) -> Vec<Cell<'_>> {
    let [starts, values, counts] = table.columns.as_slice() else { return Vec::new() };
    let is_time = values.is_time;
    let cell = |row: usize| {
        let (Some(Value::Int(start)), Some(Value::Int(count))) =
            (starts.cells.get(row), counts.cells.get(row))
        else {
            return None;
        };
        let value = values.cells.get(row).map(|value| match value {
            Value::Int(time) if is_time => Cow::Owned(Timestamp(*time).to_string()),
            other => value_text(other),
        });
        Some(Cell { start: *start, value, count: *count as u64 })
    };
    (0..table.rows).filter_map(cell).collect()
}

/// The most frequent of all values, the most frequent first.
fn most_frequent<'c>(cells: &'c [Cell<'_>]) -> Vec<&'c str> {
    let mut counts: HashMap<&'c str, u64> = HashMap::new();
    for Cell { value, count, .. } in cells {
        if let Some(value) = value {
            *counts.entry(value).or_default() += count;
        }
    }
    // What reads like a value that stands for others is one of those.
    let mut all: Vec<_> = counts.into_iter().filter(|(value, _)| ![OTHER, NONE].contains(value)).collect();
    all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    all.into_iter().take(NAMED).map(|(value, _)| value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_pipes::{Cells, Column};

    /// Where a bucket begins, how many records it has, and how many of each value.
    type Told<'h> = (i64, u64, Vec<(&'h str, u64)>);

    fn table(rows: &[(i64, Option<Value>, i64)]) -> Table {
        let column = |name: &str, cells: Cells| Column {
            name: name.to_owned(),
            is_time: false,
            is_estimate: false,
            cells,
        };
        let columns = vec![
            column("timestamp", rows.iter().map(|row| Some(Value::Int(row.0))).collect()),
            column(VALUE, rows.iter().map(|row| row.1.clone()).collect()),
            column(COUNT, rows.iter().map(|row| Some(Value::Int(row.2))).collect()),
        ];
        Table { columns, rows: rows.len(), chosen_by_estimate: false }
    }

    fn buckets(histogram: &Histogram) -> Vec<Told<'_>> {
        histogram
            .buckets
            .iter()
            .map(|bucket| {
                let adds_up = bucket.by.iter().flatten().map(|(_, count)| count).sum::<u64>();
                assert_eq!(adds_up, bucket.count);
                let by = bucket.by.iter().flatten().map(|(value, count)| (value.as_str(), *count));
                (bucket.start.0, bucket.count, by.collect())
            })
            .collect()
    }

    #[test]
    fn buckets_are_split_by_what_is_frequent_and_the_rest_is_counted() {
        let text = |text: &str| Some(Value::from(text));
        let mut rows = vec![
            (0, text("error"), 30),
            (0, None, 2),
            (60, text("info"), 100),
            // The same text, of two types; and what reads like a remainder.
            (60, Some(Value::Int(7)), 20),
            (60, text("7"), 21),
            (60, text(NONE), 500),
        ];
        rows.extend((0..NAMED as i64).map(|n| (120, Some(Value::from(format!("rare{n:02}"))), 1)));
        let made = split("level".to_owned(), Duration::from_mins(1), &table(&rows));
        assert_eq!(
            buckets(&made)[..2],
            [
                (0, 32, vec![(NONE, 2), ("error", 30)]),
                (60, 641, vec![(OTHER, 500), ("7", 41), ("info", 100)])
            ]
        );
        let (start, count, last) = &buckets(&made)[2];
        assert_eq!((*start, *count, last.len()), (120, NAMED as u64, NAMED - 3 + 1));
        assert_eq!(last[0], (OTHER, 3));
        let (field, values) = made.by.map(|by| (by.field, by.values)).unwrap_or_default();
        assert_eq!(
            (field.as_str(), values.len(), &values[..3]),
            ("level", NAMED, &["info", "7", "error"].map(str::to_owned)[..])
        );
    }
}
