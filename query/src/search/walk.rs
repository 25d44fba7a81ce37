//! All records of a search, however many, page by page, in order.
//!
//! A page is searched for in a slice of time that is about as long as it holds a page of records: what a search counts
//! beyond its page stays small, so that a walk costs about as much as one look at everything.

use super::{Hits, SearchRequest, Searcher};
use millrace_model::{TimeRange, Timestamp};
use millrace_store::{Leaf, Order};
use std::time::Duration;

/// See the module.
#[derive(Debug)]
pub struct Walk {
    request: SearchRequest,
    page: usize,
    /// How long the next slice of time is, in nanoseconds.
    width: u64,
    /// Where the records begin and end was asked.
    bounded: bool,
}

impl Walk {
    /// Of what is asked for, whatever its limit, so many records a page.
    pub fn new(request: SearchRequest, page: usize) -> Self {
        Self { request: SearchRequest { limit: page, ..request }, page, width: 0, bounded: false }
    }

    /// The next records; `None`: there are no more.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn next<L: Leaf>(
        &mut self,
        searcher: &Searcher<L>,
    ) -> Result<Option<Hits>, millrace_catalogue::Error> {
        if !self.bounded {
            return self.begin(searcher).await.map(Some);
        }
        while self.request.range.from < self.request.range.to {
            let slice = self.slice();
            let request = SearchRequest { range: slice, ..self.request.clone() };
            let found = searcher.search(&request).await?;
            let is_dense = found.total > 4 * self.page as u64;
            let is_sparse = found.total < self.page as u64 / 4;
            self.width = if is_dense {
                (self.width / 4).max(1)
            } else if is_sparse {
                self.width.saturating_mul(4)
            } else {
                self.width
            };
            if let (true, Some(last)) = (found.hits.len() == self.page, found.hits.last()) {
                // What stands at the same time as the last comes with the next.
                self.request.after = Some(last.order());
                match self.request.order {
                    Order::NewestFirst => self.request.range.to = after(last.time),
                    Order::OldestFirst => self.request.range.from = last.time,
                }
            } else {
                match self.request.order {
                    Order::NewestFirst => self.request.range.to = slice.from,
                    Order::OldestFirst => self.request.range.from = slice.to,
                }
            }
            if !found.hits.is_empty() || !found.missing.is_empty() {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Looks where the first and the last record lie. What may be missing of all is told with this page, which is empty.
    async fn begin<L: Leaf>(&mut self, searcher: &Searcher<L>) -> Result<Hits, millrace_catalogue::Error> {
        self.bounded = true;
        let ask = |order| SearchRequest { limit: 1, order, ..self.request.clone() };
        let newest = searcher.search(&ask(Order::NewestFirst)).await?;
        let oldest = searcher.search(&ask(Order::OldestFirst)).await?;
        let range = &mut self.request.range;
        match (oldest.hits.first(), newest.hits.first()) {
            (Some(first), Some(last)) => {
                range.from = range.from.max(first.time);
                range.to = range.to.min(after(last.time));
            }
            _ => range.to = range.from,
        }
        let pages = newest.total / self.page as u64 + 1;
        self.width = (range.to.since(range.from).as_nanos() as u64 / pages).max(1);
        Ok(Hits { hits: Vec::new(), ..newest })
    }

    fn slice(&self) -> TimeRange {
        let TimeRange { from, to } = self.request.range;
        let width = Duration::from_nanos(self.width);
        match self.request.order {
            Order::NewestFirst => TimeRange { from: from.max(to.minus(width)), to },
            Order::OldestFirst => TimeRange { from, to: to.min(from.plus(width)) },
        }
    }
}

/// The first instant after.
fn after(time: Timestamp) -> Timestamp {
    Timestamp(time.0.saturating_add(1))
}
