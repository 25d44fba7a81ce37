//! Searching rows that lie in memory: each one is tested by `filter::matches`, which is what the language means.

use crate::{
    HotRow,
    leaf::{LeafRequest, LeafResponse, Order, Place, bucket},
};
use millrace_model::{Row, Value};

/// Searches rows, whatever their order. CPU bound: about a microsecond a row.
pub fn search_rows<'a>(rows: impl Iterator<Item = &'a HotRow>, request: &LeafRequest) -> LeafResponse {
    let mut response = LeafResponse::default();
    let mut best = Best::new(request);
    let interval = request.histogram.filter(|interval| *interval > 0);
    for HotRow { row, .. } in rows {
        if !request.range.contains(row.time) {
            continue;
        }
        response.scanned_bytes += body_bytes(&row.record.body);
        if !millrace_filter::matches(&request.filter, &row.placed()) {
            continue;
        }
        response.total += 1;
        if let Some(interval) = interval {
            *response.histogram.entry(bucket(row.time, interval)).or_insert(0) += 1;
        }
        best.offer(row);
    }
    response.hits = best.in_order().into_iter().cloned().collect();
    response
}

fn body_bytes(body: &Value) -> u64 {
    match body {
        Value::String(text) => text.len() as u64,
        Value::Bytes(bytes) => bytes.len() as u64,
        _ => size_of::<Value>() as u64,
    }
}

/// The first rows of an order, out of many that come in any order. Keeps at most twice the limit and a little.
struct Best<'a> {
    order: Order,
    after: Option<Place>,
    limit: usize,
    kept: Vec<(Place, &'a Row)>,
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

    fn offer(&mut self, row: &'a Row) {
        let place = row.order();
        let behind = |other: &Place| self.order.compare(&place, other).is_gt();
        if self.limit == 0
            || self.worst.as_ref().is_some_and(behind)
            || !self.after.as_ref().is_none_or(behind)
        {
            return;
        }
        self.kept.push((place, row));
        if self.kept.len() >= self.limit.saturating_mul(2).saturating_add(256) {
            let order = self.order;
            let (_, worst, _) =
                self.kept.select_nth_unstable_by(self.limit - 1, |a, b| order.compare(&a.0, &b.0));
            self.worst = Some(worst.0);
            self.kept.truncate(self.limit);
        }
    }

    fn in_order(mut self) -> Vec<&'a Row> {
        self.kept.sort_unstable_by(|a, b| self.order.compare(&a.0, &b.0));
        self.kept.into_iter().take(self.limit).map(|(_, row)| row).collect()
    }
}
