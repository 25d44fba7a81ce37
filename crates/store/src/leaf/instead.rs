//! What a fragment gathers that a plain search finds faster: the latest records, and how many there are by time.

use super::{LeafRequest, LeafResponse, Order};
use crate::scan::cell_of;
use millrace_filter::Filter;
use millrace_model::{FieldRef, Fields, Row, TimeRange, Value};
use millrace_pipes::{Cells, Fragments, Rows};
use std::convert::Infallible;

/// The search to ask instead, if there is one.
pub(crate) fn instead(filter: &Filter, range: TimeRange, fragments: &Fragments) -> Option<LeafRequest> {
    let (limit, histogram) = match (fragments.latest(), fragments.counted_by_time()) {
        (Some(limit), _) => (limit, None),
        (None, Some(width)) => (0, Some(width)),
        (None, None) => return None,
    };
    let order = Order::NewestFirst;
    Some(LeafRequest { filter: filter.clone(), range, limit, order, after: None, histogram, fragments: None })
}

/// What the fragment gathers, out of what was found instead.
pub(crate) fn gathered(fragments: &Fragments, mut found: LeafResponse) -> LeafResponse {
    let mut gathered = fragments.begin();
    if fragments.latest().is_some() {
        let hits = Hits { rows: &found.hits, fields: fragments.fields() };
        let Ok(()) = fragments.add(&mut gathered, &hits);
        gathered.set_seen(found.total);
    }
    for (start, count) in std::mem::take(&mut found.histogram) {
        gathered.add_counted(Some(&Value::Int(start)), count);
    }
    found.hits.clear();
    found.gathered = Some(gathered);
    found
}

/// Records, as they are.
struct Hits<'a> {
    rows: &'a [Row],
    fields: Vec<FieldRef>,
}

impl Rows for Hits<'_> {
    type Error = Infallible;

    fn count(&self) -> usize {
        self.rows.len()
    }

    fn cells(&self, column: usize, rows: &[u32]) -> Result<Cells, Infallible> {
        let of = |row: &u32| {
            let field = self.fields.get(column)?;
            self.rows.get(*row as usize)?.placed().field(field).and_then(|value| cell_of(&value))
        };
        Ok(rows.iter().map(of).collect())
    }
}
