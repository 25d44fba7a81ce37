//! Carrying queries out: records page by page through the stages of a pipeline.

use super::{Entries, Names, counted};
use crate::{Missing, SearchRequest, Searcher, search::walk::Walk};
use millrace_filter::Filter;
use millrace_logql::{
    Bounds, Entry, EvaluateError, MetricExpr, Pipeline, RangeAccumulator, Series, Steps, Value, evaluate,
};
use millrace_model::{Sight, TimeRange, Timestamp};
use millrace_pipes::TooLarge;
use millrace_store::{Leaf, Order};

/// So many records are looked at at once.
const PAGE: usize = 2000;
/// So many are looked at for the first lines of an answer.
const FIRST_PAGE: usize = 200;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum LokiError {
    /// The catalogue cannot be read.
    #[error(transparent)]
    Catalogue(#[from] millrace_catalogue::Error),
    /// The query cannot be computed.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// It would take too much memory.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

/// Lines, in the order that was asked for.
#[derive(Debug, Default)]
pub struct Logs {
    /// As the pipeline has left them.
    pub entries: Vec<Entry>,
    /// What may be missing.
    pub missing: Vec<Missing>,
}

/// What a metric comes to.
#[derive(Debug)]
pub struct Metric {
    /// The answer.
    pub value: Value,
    /// What may be missing.
    pub missing: Vec<Missing>,
}

/// Whoever asks, and how much an answer may take.
pub struct Loki<'s, L> {
    /// Finds records.
    pub searcher: &'s Searcher<L>,
    /// What may be seen.
    pub sight: Sight,
    /// How many bytes of memory what is gathered may take.
    pub memory: usize,
    /// How many series, and points of each.
    pub bounds: Bounds,
}

impl<L: Leaf> Loki<'_, L> {
    /// A search of all that a filter matches from one nanosecond to before another.
    pub fn request(&self, filter: Filter, (from, to): (i64, i64)) -> SearchRequest {
        let range = TimeRange { from: Timestamp(from), to: Timestamp(to.max(from)) };
        SearchRequest {
            filter,
            range,
            streams: None,
            sight: self.sight.clone(),
            limit: 0,
            order: Order::NewestFirst,
            after: None,
            histogram: None,
            gather: None,
        }
    }

    /// The fields that there are in a time.
    ///
    /// # Errors
    /// The catalogue cannot be read, or there are too many.
    pub async fn names(&self, times: (i64, i64)) -> Result<Names, LokiError> {
        Ok(Names::of(self.searcher, &self.request(Filter::ALL, times), self.memory).await??)
    }

    /// The first lines that a pipeline keeps of `[from, to)`.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn logs(
        &self,
        pipeline: &Pipeline,
        times: (i64, i64),
        order: Order,
        limit: usize,
    ) -> Result<Logs, LokiError> {
        let names = self.names(times).await?;
        let request = SearchRequest { order, ..self.request(Filter::new(pipeline.lower(&names)), times) };
        let mut entries = Entries::of(&pipeline.to_string());
        let mut found = Logs::default();
        let mut walk = Walk::new(request, if limit < FIRST_PAGE { FIRST_PAGE } else { PAGE });
        while found.entries.len() < limit
            && let Some(page) = walk.next(self.searcher).await?
        {
            note(&mut found.missing, page.missing);
            let kept = page.hits.iter().filter_map(|row| {
                let mut entry = entries.entry(row);
                pipeline.run(&mut entry).then_some(entry)
            });
            found.entries.extend(kept);
        }
        found.entries.truncate(limit);
        Ok(found)
    }

    /// A metric at some steps.
    ///
    /// # Errors
    /// It cannot be computed, or the catalogue cannot be read.
    pub async fn metric(&self, expr: &MetricExpr, steps: Steps) -> Result<Metric, LokiError> {
        if steps.count() > self.bounds.points {
            return Err(EvaluateError::TooManyPoints(self.bounds.points).into());
        }
        let mut missing = Vec::new();
        let mut all: Vec<Option<Vec<Series>>> = Vec::new();
        for range in expr.ranges() {
            let (after, until) = range.times(&steps);
            // Windows do not have their beginnings, and have their ends.
            let times = (after.saturating_add(1), until.saturating_add(1));
            let names = self.names(times).await?;
            let request = self.request(Filter::new(range.pipeline().lower(&names)), times);
            if let Some(counts) = counted::Counts::of(&range, &steps, &names) {
                all.push(Some(counts.series(self, &request, &mut missing).await?));
                continue;
            }
            let mut accumulator = RangeAccumulator::new(&range, &steps, self.bounds)?;
            let mut entries = Entries::of(&expr.to_string());
            let mut walk = Walk::new(request, PAGE);
            while let Some(page) = walk.next(self.searcher).await? {
                note(&mut missing, page.missing);
                for row in &page.hits {
                    let mut entry = entries.entry(row);
                    if range.pipeline().run(&mut entry) {
                        accumulator.add(&entry)?;
                    }
                }
            }
            all.push(Some(accumulator.finish()));
        }
        let mut samples = |number: usize, _: &_| {
            let series = all.get_mut(number).and_then(Option::take);
            series.ok_or_else(|| EvaluateError::Source("a range was asked for twice".to_owned()))
        };
        let value = evaluate(expr, &steps, &self.bounds, &mut samples)?;
        Ok(Metric { value, missing })
    }
}

/// What may be missing, each once.
pub(super) fn note(all: &mut Vec<Missing>, more: Vec<Missing>) {
    for one in more {
        if !all.contains(&one) {
            all.push(one);
        }
    }
}
