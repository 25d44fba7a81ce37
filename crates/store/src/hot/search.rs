//! Searching hot rows: each row is asked what its shape leaves open.

use super::{Block, Head, HotRows, HotSlots};
use crate::{
    Error, Threads,
    leaf::{LeafRequest, LeafResponse, Order, Place, bucket},
    plan::{Plan, Question, matches},
    shape::Line,
    threads::go_on,
};
use millrace_filter::Filter;
use millrace_model::{RecordId, TimeRange};
use std::{cell::OnceCell, ops::ControlFlow};

impl HotRows {
    /// Searches the rows whose messages lie at or above `from_offset`, for as long as `threads` say, on the caller's alone.
    /// CPU bound: some ten nanoseconds a row, more where lines must be rebuilt.
    ///
    /// # Errors
    /// It was stopped.
    pub fn search(
        &self,
        request: &LeafRequest,
        from_offset: i64,
        threads: Option<&dyn Threads>,
    ) -> Result<LeafResponse, Error> {
        if let Some(fragments) = &request.fragments {
            let gathered = self.gather(&request.filter, request.range, fragments, from_offset, threads)?;
            return Ok(match request.beside() {
                Some(beside) => gathered.with(self.search(&beside, from_offset, threads)?),
                None => gathered,
            });
        }
        let mut response = LeafResponse::default();
        let interval = request.histogram.filter(|interval| *interval > 0);
        let mut best = Best::new(request);
        let looked_at =
            self.each_match(&request.filter, request.range, from_offset, threads, |block, at| {
                let head = &block.heads[at];
                response.total += 1;
                if let Some(interval) = interval {
                    *response.histogram.entry(bucket(head.time, interval)).or_insert(0) += 1;
                }
                best.offer(self, block, at, head);
                ControlFlow::Continue(())
            })?;
        response.scanned_bytes = looked_at;
        let mut line = Line::default();
        response.hits = best
            .in_order()
            .into_iter()
            .filter_map(|(block, at)| {
                let slots = block.slots(at);
                self.view(&block.heads[at], &slots).and_then(|row| row.row(&mut line)).ok()
            })
            .collect();
        Ok(response)
    }

    /// Calls `visit` with the block and place of each row that matches, in the order in which they came, until that
    /// breaks. Returns how many bytes of values were looked at; stops, with an error, as soon as `threads` say so.
    pub(super) fn each_match<'a>(
        &'a self,
        filter: &Filter,
        range: TimeRange,
        from_offset: i64,
        threads: Option<&dyn Threads>,
        mut visit: impl FnMut(&'a Block, usize) -> ControlFlow<()>,
    ) -> Result<u64, Error> {
        let question = Question::new(filter, &self.stream, self.origins());
        let plans: Vec<OnceCell<Plan<'_>>> = self.shapes().iter().map(|_| OnceCell::new()).collect();
        let (mut looked_at, mut line) = (0, Line::default());
        let mut found = vec![OnceCell::new(); question.leaves()];
        for block in self.blocks().iter().filter(|block| block.reaches(range, from_offset)) {
            go_on(threads)?;
            found.fill(OnceCell::new());
            for (at, head) in block.heads.iter().enumerate() {
                if head.offset < from_offset || !range.contains(head.time) {
                    continue;
                }
                let Some(shape) = self.shapes().get(head.shape as usize) else { continue };
                let matched = match plans[head.shape as usize].get_or_init(|| question.plan(shape)) {
                    Plan::Always => true,
                    Plan::Never => false,
                    plan => {
                        let slots = HotSlots { found: &found, ..block.slots(at) };
                        looked_at += block.values.span(slots.first, shape.slots()) as u64;
                        let row = self.view(head, &slots);
                        // What was put in by a shape comes out by it.
                        row.and_then(|row| matches(plan, &row, &mut line)).unwrap_or(false)
                    }
                };
                if matched && visit(block, at).is_break() {
                    return Ok(looked_at);
                }
            }
        }
        Ok(looked_at)
    }
}

/// The first rows of an order, out of many that come in any order. Keeps at most twice the limit and a little.
struct Best<'a> {
    order: Order,
    after: Option<Place>,
    limit: usize,
    kept: Vec<(Place, &'a Block, usize)>,
    /// Once there are enough: nothing behind this can be among the first.
    worst: Option<Place>,
}

impl<'a> Best<'a> {
    fn new(request: &LeafRequest) -> Self {
        Self {
            order: request.order,
            after: request.after,
            limit: request.limit,
            kept: Vec::new(),
            worst: None,
        }
    }

    fn offer(&mut self, rows: &HotRows, block: &'a Block, at: usize, head: &Head) {
        if self.limit == 0 {
            return;
        }
        let Some(origin) = rows.origins().get(head.origin as usize) else { return };
        let id = RecordId { source: origin.source, position: head.position, index: head.index };
        let place = (head.time, id);
        let behind = |other: &Place| self.order.compare(&place, other).is_gt();
        if self.worst.as_ref().is_some_and(behind) || !self.after.as_ref().is_none_or(behind) {
            return;
        }
        self.kept.push((place, block, at));
        if self.kept.len() >= self.limit.saturating_mul(2).saturating_add(256) {
            let order = self.order;
            let (_, worst, _) =
                self.kept.select_nth_unstable_by(self.limit - 1, |a, b| order.compare(&a.0, &b.0));
            self.worst = Some(worst.0);
            self.kept.truncate(self.limit);
        }
    }

    fn in_order(mut self) -> Vec<(&'a Block, usize)> {
        self.kept.sort_unstable_by(|a, b| self.order.compare(&a.0, &b.0));
        self.kept.into_iter().take(self.limit).map(|(_, block, at)| (block, at)).collect()
    }
}
