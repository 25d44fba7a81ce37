//! An index in memory, searched as the crate says: what tests ask.
#![expect(clippy::unwrap_used, reason = "tests")]

use crate::{
    Error,
    fields::{Mapping, record_of, source_of},
    request::{Native, Search},
};
use millrace_filter::Filter;
use millrace_model::{FieldRef, Fields, RecordId, Row, SourceId, TimeRange, Timestamp};
use millrace_pipes::{Cells, Context, Pipe, Plan, Rows, Table, cell_of};
use millrace_template::Miner;
use serde_json::{Value as Json, json};
use std::convert::Infallible;

pub(crate) const NOW: Timestamp = Timestamp(1_710_498_600_000_000_000); // 2024-03-15T10:30:00Z

pub(crate) struct Index {
    pub(crate) mapping: Mapping,
    pub(crate) rows: Vec<Row>,
}

struct Some<'r> {
    rows: &'r [&'r Row],
    fields: Vec<FieldRef>,
}

impl Rows for Some<'_> {
    type Error = Infallible;

    fn count(&self) -> usize {
        self.rows.len()
    }

    fn cells(&self, column: usize, rows: &[u32]) -> Result<Cells, Infallible> {
        let value = |row: &u32| {
            self.rows[*row as usize].placed().field(&self.fields[column]).and_then(|value| cell_of(&value))
        };
        Ok(rows.iter().map(value).collect())
    }
}

/// What pipes give of rows: a table each.
pub(crate) fn tables(pipes: &[&[Pipe]], rows: &[&Row]) -> Vec<Table> {
    // A time with a beginning: rates of one that has none do not travel.
    let range = TimeRange { from: Timestamp(0), to: NOW };
    let context = Context { now: NOW, range, limit: crate::aggs::MAX_ROWS, memory: 1 << 28 };
    let plans: Vec<Plan> = pipes.iter().map(|pipes| Plan::new(pipes, &context).unwrap()).collect();
    if plans.is_empty() {
        return Vec::new();
    }
    let leaf = Plan::leaf_of(&plans);
    let mut gathered = leaf.begin();
    // As shards give them: some at a time, and over a wire that bounds depth.
    let text = serde_json::to_string(&leaf).unwrap();
    let leaf: millrace_pipes::Fragments = serde_json::from_str(&text).unwrap();
    for rows in rows.chunks(3) {
        leaf.add(&mut gathered, &Some { rows, fields: leaf.fields() }).unwrap();
    }
    let answers = Plan::finish_all(&plans, Some(gathered), &Miner::new()).unwrap();
    answers.into_iter().map(|answer| answer.table).collect()
}

impl Index {
    pub(crate) fn new(mappings: &Json, documents: &[Json]) -> Self {
        let mapping = Mapping::parse(mappings).unwrap();
        let row = |(at, document): (usize, &Json)| {
            let line = serde_json::to_string(document).unwrap();
            let mut record = record_of(&mapping, &line, document).unwrap();
            record.observed_timestamp = Timestamp(NOW.0 + at as i64);
            Row {
                id: RecordId { source: SourceId(1), position: at as u64, index: 0 },
                stream: "docs".parse().unwrap(),
                time: record.time(),
                record,
            }
        };
        let rows = documents.iter().enumerate().map(row).collect();
        Self { mapping, rows }
    }

    /// `{"total", "hits": [{"source", "sort"}], "aggregations"}`.
    pub(crate) fn search(&self, body: &Json) -> Result<Json, Error> {
        let search = Search::body(body)?.checked()?;
        let filter = Filter::new(search.filter(&self.mapping, NOW)?);
        // It must be the same when it is read again.
        assert_eq!(millrace_filter::parse(&filter.to_string()).unwrap(), filter, "{filter}");
        let found: Vec<&Row> = self.rows.iter().filter(|row| filter.matches(&row.placed())).collect();
        let order = search.order(&self.mapping)?;
        let mut left: Vec<&Row> = found.clone();
        if let Some(expr) = order.filter() {
            let filter = Filter::new(expr.clone());
            left.retain(|row| filter.matches(&row.placed()));
        }
        let limit = search.from + search.size;
        let hits: Vec<(Json, Vec<Json>)> = if let Some(native) = order.native() {
            left.sort_by_key(|row| row.order());
            if native == Native::NewestFirst {
                left.reverse();
            }
            if let Some(position) = order.position() {
                let place = (position.time, position.id);
                left.retain(|row| {
                    if native == Native::OldestFirst { row.order() > place } else { row.order() < place }
                });
            }
            left.iter().take(limit).map(|row| (source_of(row, true), order.sort_values(row))).collect()
        } else {
            let table = tables(&[&order.pipes(limit)], &left).remove(0);
            let row = |id: &str| self.rows.iter().find(|row| row.id.to_string() == id).unwrap();
            order.found(&table).into_iter().map(|hit| (source_of(row(&hit.id), true), hit.sort)).collect()
        };
        let mut answer = json!({
            "total": found.len(),
            "hits": hits.into_iter().skip(search.from).map(|(source, sort)| json!({ "source": source, "sort": sort })).collect::<Json>(),
        });
        if let Some(aggregated) = search.aggregations(&self.mapping, NOW)? {
            answer["aggregations"] = self.aggregate(&aggregated, &found)?;
        }
        Ok(answer)
    }

    fn aggregate(&self, aggregated: &crate::aggs::Aggregated, found: &[&Row]) -> Result<Json, Error> {
        let all: Vec<&Row> = self.rows.iter().collect();
        let table = |pipeline: &crate::aggs::Pipeline| {
            tables(&[&pipeline.pipes], if pipeline.is_global { &all } else { found }).remove(0)
        };
        let tables: Vec<Table> = aggregated.pipelines().iter().map(table).collect();
        let mut responded = aggregated.respond(&tables)?;
        for hits in responded.top_hits.clone() {
            let filter = Filter::new(hits.filter);
            let of = if hits.is_global { &all[..] } else { found };
            let sources: Vec<Json> = of
                .iter()
                .filter(|row| filter.matches(&row.placed()))
                .map(|row| source_of(row, true))
                .collect();
            responded.fill(hits.number, &json!({ "total": sources.len(), "hits": sources }));
        }
        Ok(responded.aggregations)
    }

    pub(crate) fn aggs(&self, aggs: &Json) -> Json {
        self.search(&json!({ "size": 0, "aggs": aggs })).unwrap()["aggregations"].clone()
    }
}
