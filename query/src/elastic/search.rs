//! Carrying searches out.

use super::{Collections, ID, Index, collections};
use crate::{Hits, Missing, SearchRequest, Searcher};
use millrace_elastic::{
    Error as ElasticError,
    aggs::MAX_ROWS,
    fields::source_of,
    request::{Native, Order, Search},
    response::{Answer, Hit, Total},
};
use millrace_filter::{Expr, FieldTest, Filter, Literal, Predicate, Text};
use millrace_model::{FieldRef, RecordId, Row, Sight, StreamName, TimeRange, Timestamp, text};
use millrace_pipes::{Context, Pipe, Plan, Table, TooLarge};
use millrace_store::{HotRows, Leaf, Order as RowOrder};
use serde_json::Value as Json;
use std::collections::HashMap;

/// Whoever asks, and how much an answer may take.
pub struct Elastic<'s, L> {
    /// Finds records.
    pub searcher: &'s Searcher<L>,
    /// Has the documents that clients change.
    pub collections: &'s Collections,
    /// What may be seen.
    pub sight: Sight,
    /// How many bytes of memory what is gathered may take.
    pub memory: usize,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The catalogue cannot be read.
    #[error(transparent)]
    Catalogue(#[from] millrace_catalogue::Error),
    /// As Elasticsearch has it.
    #[error(transparent)]
    Elastic(#[from] ElasticError),
    /// It would take too much memory.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

/// What is searched: records of some streams, and documents that clients change, that a filter matches.
#[derive(Clone)]
struct Scope {
    streams: Vec<StreamName>,
    documents: Vec<HotRows>,
    filter: Expr,
    range: TimeRange,
}

impl<L: Leaf> Elastic<'_, L> {
    /// Answers a search of some indices. `pinned`: records that were observed later, in nanoseconds, are hidden.
    ///
    /// # Errors
    /// As Elasticsearch has them; or the catalogue cannot be read.
    pub async fn search(
        &self,
        search: &Search,
        indices: &[Index],
        pinned: Option<i64>,
    ) -> Result<Answer, Failed> {
        let now = self.searcher.now();
        let Some(first) = leading(indices) else {
            return Ok(Answer { total: Some(Total { value: 0, is_exact: true }), ..Answer::default() });
        };
        for other in indices.iter().filter(|other| other.is_mutable != first.is_mutable) {
            search.check_fields(
                (first.stream.as_str(), &first.mapping),
                (other.stream.as_str(), &other.mapping),
            )?;
        }
        let order = search.order(&first.mapping)?;
        let mut missing = Vec::new();
        let mut answer = Answer { shards: indices.len(), is_sorted: order.is_sorted, ..Answer::default() };
        let documents = self.documents(indices).await?;
        let found = found_of(search, indices, &documents, pinned, now)?;
        let shown = shown_of(search, indices, &documents, pinned, now)?;
        let (hits, total) = self.hits(search, &order, indices, &shown, &mut missing).await?;
        (answer.hits, answer.total) = (hits, Some(Total { value: total, is_exact: true }));
        if search.has_aggregations() {
            answer.aggregations = Some(self.aggregate(search, indices, &found, &mut missing).await?);
        }
        answer.failures = missing.into_iter().map(|one| ("_local".to_owned(), one.reason)).collect();
        Ok(answer)
    }

    /// The hits of a scope that are shown, in their order; and how many there are.
    async fn hits(
        &self,
        search: &Search,
        order: &Order,
        indices: &[Index],
        scope: &Scope,
        missing: &mut Vec<Missing>,
    ) -> Result<(Vec<Json>, u64), Failed> {
        let limit = search.from + search.size;
        let (rows, total) = match order.native() {
            Some(native) => {
                let narrowed = order.filter().map_or(Expr::All, Clone::clone);
                let request = SearchRequest {
                    limit,
                    order: match native {
                        Native::NewestFirst => RowOrder::NewestFirst,
                        Native::OldestFirst => RowOrder::OldestFirst,
                    },
                    after: order.position().map(|position| (position.time, position.id)),
                    ..self.request(scope, &narrowed)
                };
                let hits = self.find(&request, scope).await?;
                note(missing, hits.missing);
                // What lies before the hits is counted as well.
                let total =
                    if narrowed == Expr::All { hits.total } else { self.count(scope, missing).await? };
                (hits.hits.into_iter().map(|row| (row, None)).collect(), total)
            }
            None => self.sorted(order, scope, limit, missing).await?,
        };
        let mut words = Vec::new();
        if search.highlight.is_some() {
            words_of(&scope.filter, &mut words);
        }
        let shown = rows.into_iter().skip(search.from).map(|(row, sort)| {
            let sort = sort.unwrap_or_else(|| order.sort_values(&row));
            hit(&row, indices, sort).shown(search, order.is_sorted, &words)
        });
        Ok((shown.collect(), total))
    }

    /// How many records of some indices a filter matches, and what may be missing.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn counted(&self, filters: &[(&Index, Expr)]) -> Result<(u64, Vec<(String, String)>), Failed> {
        let documents = self.documents(filters.iter().map(|(index, _)| *index)).await?;
        let of_ids = |(index, filter): &(_, Expr)| (*index, with_ids(filter.clone()));
        let scope = joined(&filters.iter().map(of_ids).collect::<Vec<_>>(), &documents);
        let mut missing = Vec::new();
        let count = self.count(&scope, &mut missing).await?;
        Ok((count, missing.into_iter().map(|one| ("_local".to_owned(), one.reason)).collect()))
    }

    async fn count(&self, scope: &Scope, missing: &mut Vec<Missing>) -> Result<u64, Failed> {
        let hits = self.find(&self.request(scope, &Expr::All), scope).await?;
        note(missing, hits.missing);
        Ok(hits.total)
    }

    /// Some records of an index that a filter matches, the latest first.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn records(&self, index: &Index, filter: Expr, limit: usize) -> Result<Vec<Row>, Failed> {
        let documents = self.documents([index]).await?;
        let scope = joined(&[(index, with_ids(filter))], &documents);
        let request = SearchRequest { limit, ..self.request(&scope, &Expr::All) };
        Ok(self.find(&request, &scope).await?.hits)
    }

    /// The documents of those indices whose documents clients change, all as they are now.
    async fn documents<'i>(
        &self,
        indices: impl IntoIterator<Item = &'i Index>,
    ) -> Result<Vec<HotRows>, Failed> {
        let seen = |index: &&Index| index.is_mutable && self.sight.grant.covers(&index.stream);
        let mutable: Vec<&Index> = indices.into_iter().filter(seen).collect();
        let bytes: u64 = mutable.iter().map(|index| index.bytes).sum();
        if bytes > self.memory as u64 {
            let reason = format!(
                "[{bytes}] bytes of documents would be searched, which is more than [{}]: name fewer indices",
                self.memory
            );
            let kind = "circuit_breaking_exception";
            return Err(ElasticError { kind, ..ElasticError::unavailable(reason) }.into());
        }
        let mut documents = Vec::with_capacity(mutable.len());
        for index in mutable {
            documents.push(self.collections.rows(index).await?);
        }
        Ok(documents)
    }

    async fn find(&self, request: &SearchRequest, scope: &Scope) -> Result<Hits, Failed> {
        Ok(self.searcher.search_beside(request, &scope.documents).await?)
    }

    fn request(&self, scope: &Scope, more: &Expr) -> SearchRequest {
        let both = [scope.filter.clone(), more.clone()].into_iter().filter(|one| *one != Expr::All);
        SearchRequest {
            filter: Filter::new(Expr::all_of(both.collect())),
            range: scope.range,
            streams: Some(scope.streams.clone()),
            sight: self.sight.clone(),
            limit: 0,
            order: RowOrder::NewestFirst,
            after: None,
            histogram: None,
            gather: None,
        }
    }

    /// What pipes make of a scope, each its table; and how many records there are.
    async fn tables(
        &self,
        scope: &Scope,
        pipes: &[&[Pipe]],
        missing: &mut Vec<Missing>,
    ) -> Result<(Vec<Table>, u64), Failed> {
        // A time that has a beginning: rates of others are none.
        let range = TimeRange { from: scope.range.from.max(Timestamp(0)), to: scope.range.to };
        let context = Context { now: self.searcher.now(), range, limit: MAX_ROWS, memory: self.memory };
        let plans = pipes.iter().map(|pipes| Plan::new(pipes, &context)).collect::<Result<Vec<_>, _>>();
        let plans = plans.map_err(ElasticError::argument)?;
        if plans.is_empty() {
            return Ok((Vec::new(), 0));
        }
        let request =
            SearchRequest { gather: Some(Plan::leaf_of(&plans)), ..self.request(scope, &Expr::All) };
        let found = self.find(&request, scope).await?;
        note(missing, found.missing);
        let answers = self.searcher.finish_all(plans, found.gathered).await?;
        Ok((answers.into_iter().map(|answer| answer.table).collect(), found.total))
    }

    /// Hits in an order that is not the records' own, each with its sort values.
    async fn sorted(
        &self,
        order: &Order,
        scope: &Scope,
        limit: usize,
        missing: &mut Vec<Missing>,
    ) -> Result<(Vec<(Row, Option<Vec<Json>>)>, u64), Failed> {
        let pipes = order.pipes(limit);
        let (tables, total) = self.tables(scope, &[&pipes], missing).await?;
        let found = tables.first().map(|table| order.found(table)).unwrap_or_default();
        let ids = found.iter().map(|hit| equals("_id", &hit.id)).collect();
        let of_them = Scope { filter: Expr::any_of(ids), ..scope.clone() };
        let request = SearchRequest { limit: found.len(), ..self.request(&of_them, &Expr::All) };
        let mut rows: HashMap<String, Row> = if found.is_empty() {
            HashMap::new()
        } else {
            let hits = self.find(&request, &of_them).await?;
            hits.hits.into_iter().map(|row| (row.id.to_string(), row)).collect()
        };
        let hits = found.into_iter().filter_map(|hit| Some((rows.remove(&hit.id)?, Some(hit.sort))));
        Ok((hits.collect(), total))
    }

    async fn aggregate(
        &self,
        search: &Search,
        indices: &[Index],
        found: &Scope,
        missing: &mut Vec<Missing>,
    ) -> Result<Json, Failed> {
        let Some(first) = leading(indices) else { return Ok(Json::Null) };
        let Some(aggregated) = search.aggregations(&first.mapping, self.searcher.now())? else {
            return Ok(Json::Null);
        };
        let everything = Scope { filter: Expr::All, range: TimeRange::ALL, ..found.clone() };
        let pipelines = aggregated.pipelines();
        let of = |is_global: bool| -> Vec<&[Pipe]> {
            pipelines
                .iter()
                .filter(|one| one.is_global == is_global)
                .map(|one| one.pipes.as_slice())
                .collect()
        };
        let (mut of_found, _) = self.tables(found, &of(false), missing).await?;
        let (mut of_all, _) = self.tables(&everything, &of(true), missing).await?;
        of_found.reverse();
        of_all.reverse();
        let tables =
            pipelines.iter().filter_map(|one| if one.is_global { of_all.pop() } else { of_found.pop() });
        let mut responded = aggregated.respond(&tables.collect::<Vec<_>>())?;
        for hits in responded.top_hits.clone() {
            let of = if hits.is_global { &everything } else { found };
            let both = [of.filter.clone(), hits.filter.clone()].into_iter().filter(|one| *one != Expr::All);
            let scope = Scope { filter: Expr::all_of(both.collect()), ..of.clone() };
            let shown = self.top(&hits.search, indices, &scope, missing).await?;
            responded.fill(hits.number, &shown);
        }
        Ok(responded.aggregations)
    }

    /// The first hits of a bucket.
    async fn top(
        &self,
        search: &Search,
        indices: &[Index],
        scope: &Scope,
        missing: &mut Vec<Missing>,
    ) -> Result<Json, Failed> {
        let Some(first) = leading(indices) else { return Ok(Json::Null) };
        let order = search.order(&first.mapping)?;
        let (hits, total) = self.hits(search, &order, indices, scope, missing).await?;
        let answer = Answer {
            total: Some(Total { value: total, is_exact: true }),
            hits,
            is_sorted: order.is_sorted,
            ..Answer::default()
        };
        Ok(answer.body(search)["hits"].clone())
    }
}

/// The index by whose fields hits are ordered and aggregated: a stream, where there is one. A name finds an attribute in it as well
/// as in documents.
fn leading(indices: &[Index]) -> Option<&Index> {
    indices.iter().find(|index| !index.is_mutable).or(indices.first())
}

/// What a search finds: each index by its own fields.
fn found_of(
    search: &Search,
    indices: &[Index],
    documents: &[HotRows],
    pinned: Option<i64>,
    now: Timestamp,
) -> Result<Scope, ElasticError> {
    let one = |index| {
        let index: &Index = index;
        let filter = search.filter(&index.mapping, now)?;
        Ok((index, with_pin(index, with_ids(filter), pinned)))
    };
    Ok(joined(&indices.iter().map(one).collect::<Result<Vec<_>, ElasticError>>()?, documents))
}

/// What of that is shown.
fn shown_of(
    search: &Search,
    indices: &[Index],
    documents: &[HotRows],
    pinned: Option<i64>,
    now: Timestamp,
) -> Result<Scope, ElasticError> {
    let one = |index| {
        let index: &Index = index;
        let filter = search.filter(&index.mapping, now)?;
        let more = search.post_filter(&index.mapping, now)?;
        let both = Expr::all_of(vec![filter, more].into_iter().filter(|one| *one != Expr::All).collect());
        Ok((index, with_pin(index, with_ids(both), pinned)))
    };
    Ok(joined(&indices.iter().map(one).collect::<Result<Vec<_>, ElasticError>>()?, documents))
}

/// The words that a filter looks for, folded.
fn words_of(filter: &Expr, words: &mut Vec<String>) {
    match filter {
        Expr::And(terms) | Expr::Or(terms) => terms.iter().for_each(|term| words_of(term, words)),
        Expr::Text(Text::Phrase { tokens, .. }) => words.extend(tokens.iter().cloned()),
        Expr::Field(test) => {
            if let Predicate::Equals(literal) = &test.predicate {
                words.extend(text::tokens(&literal.text));
            }
        }
        // What is not to be there is not shown, and patterns have no words.
        Expr::All | Expr::Not(_) | Expr::Text(_) => {}
    }
}

/// The id of a record, as clients know it.
pub(crate) fn id_of(row: &Row) -> String {
    let given = row.record.attributes.get(ID).and_then(millrace_model::Value::as_str);
    given.map_or_else(|| row.id.to_string(), str::to_owned)
}

/// A record as a hit of its index.
fn hit(row: &Row, indices: &[Index], sort: Vec<Json>) -> Hit {
    let index = indices.iter().find(|index| index.stream == row.stream);
    let is_documents = index.is_some_and(|index| index.mapping.is_documents());
    let (version, sequence) = match index {
        Some(index) if index.is_mutable => collections::edition(row),
        _ => (1, 0),
    };
    Hit {
        index: row.stream.to_string(),
        id: id_of(row),
        version,
        sequence,
        source: source_of(row, is_documents),
        sort,
    }
}

/// Indices, each with its own filter, as one.
fn joined(filters: &[(&Index, Expr)], documents: &[HotRows]) -> Scope {
    let same = filters.windows(2).all(|two| two[0].1 == two[1].1);
    let filter = match filters {
        [] => Expr::Not(Box::new(Expr::All)),
        [(_, first), ..] if same => first.clone(),
        several => {
            Expr::any_of(several.iter().map(|(index, filter)| of_stream(&index.stream, filter)).collect())
        }
    };
    let range = Search::range(&filter);
    // What shards have of a name that is for documents came before it was.
    let streams = filters.iter().filter(|(index, _)| !index.is_mutable);
    let streams = streams.map(|(index, _)| index.stream.clone()).collect();
    Scope { streams, documents: documents.to_vec(), filter, range }
}

fn of_stream(stream: &StreamName, filter: &Expr) -> Expr {
    let own = equals("_stream", stream.as_str());
    if *filter == Expr::All { own } else { Expr::all_of(vec![own, filter.clone()]) }
}

fn equals(field: &str, value: &str) -> Expr {
    Expr::Field(Box::new(FieldTest::new(field, Predicate::Equals(Literal::new(value)))))
}

/// Hides what was observed after a time. A document that is changed then is shown as it is: what it was is nowhere any more.
fn with_pin(index: &Index, filter: Expr, pinned: Option<i64>) -> Expr {
    let Some(pinned) = pinned.filter(|_| !index.is_mutable) else { return filter };
    let bound = Literal::new(&Timestamp(pinned).to_string());
    let before = Predicate::Compare(millrace_filter::Comparison::LessOrEqual, bound);
    let before = Expr::Field(Box::new(FieldTest::new("observed_timestamp", before)));
    if filter == Expr::All { before } else { Expr::all_of(vec![filter, before]) }
}

/// An id is a record's own, or the one that a client has given to its document.
pub(crate) fn with_ids(filter: Expr) -> Expr {
    match filter {
        Expr::And(terms) => Expr::all_of(terms.into_iter().map(with_ids).collect()),
        Expr::Or(terms) => Expr::any_of(terms.into_iter().map(with_ids).collect()),
        Expr::Not(inner) => Expr::Not(Box::new(with_ids(*inner))),
        Expr::Field(test) if test.field == FieldRef::Id => {
            let is_record = match &test.predicate {
                Predicate::Equals(literal) => literal.text.parse::<RecordId>().is_ok(),
                _ => false,
            };
            let given = FieldTest::new(&format!("attributes.{ID}"), test.predicate.clone());
            let given = Expr::Field(Box::new(given));
            if is_record { Expr::any_of(vec![Expr::Field(test), given]) } else { given }
        }
        other => other,
    }
}

fn note(all: &mut Vec<Missing>, more: Vec<Missing>) {
    for one in more {
        if !all.contains(&one) {
            all.push(one);
        }
    }
}
