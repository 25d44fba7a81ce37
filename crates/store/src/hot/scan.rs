//! Scanning hot rows.

use super::{Block, HotRows};
use crate::{
    Error, Threads,
    bytes::Malformed,
    leaf::{self, LeafResponse},
    plan::RowView,
    scan::{BATCH_ROWS, GroupCounts, Own, Projection, Projector, cell_of, cell_of_id},
    shape::{Line, Slots},
};
use millrace_filter::Filter;
use millrace_model::{FieldRef, Fields, TimeRange, Value, ValueRef};
use millrace_pipes::{Cells, Fragments, Rows};
use std::{
    cell::{OnceCell, RefCell},
    convert::Infallible,
    ops::ControlFlow,
};

/// Some rows, whose fields are read when they are asked for.
pub(crate) struct SomeRows<'a, 'q> {
    rows: &'a HotRows,
    places: Vec<(&'a Block, usize)>,
    projectors: &'a [Projector<'q>],
    /// Of each shape.
    projections: &'a [OnceCell<Vec<Projection<'q>>>],
    line: RefCell<Line>,
}

impl Rows for SomeRows<'_, '_> {
    type Error = Infallible;

    fn count(&self) -> usize {
        self.places.len()
    }

    fn cells(&self, column: usize, rows: &[u32]) -> Result<Cells, Infallible> {
        let mut line = self.line.borrow_mut();
        let mut of = |place: &(&Block, usize)| {
            let (block, at) = *place;
            let (head, slots) = (&block.heads[at], block.slots(at));
            // What was put in by a shape comes out by it.
            let row = self.rows.view(head, &slots).ok()?;
            let projections = self.projections[head.shape as usize]
                .get_or_init(|| self.projectors.iter().map(|projector| projector.of(row.shape)).collect());
            value(projections.get(column)?, &row, &mut line).unwrap_or_default()
        };
        Ok(rows.iter().map(|row| self.places.get(*row as usize).and_then(&mut of)).collect())
    }
}

impl HotRows {
    /// Carries a fragment out on all rows that match and whose messages lie at or above `from_offset`. CPU bound.
    pub(super) fn gather(
        &self,
        filter: &Filter,
        range: TimeRange,
        fragments: &Fragments,
        from_offset: i64,
        threads: Option<&dyn Threads>,
    ) -> Result<LeafResponse, Error> {
        if let Some(search) = leaf::instead(filter, range, fragments) {
            return Ok(leaf::gathered(fragments, self.search(&search, from_offset, threads)?));
        }
        let (mut gathered, mut total) = (fragments.begin(), 0);
        let scanned_bytes =
            self.scan(filter, range, &fragments.fields(), from_offset, threads, &mut |rows| {
                total += rows.count() as u64;
                let Ok(()) = fragments.add(&mut gathered, rows);
            })?;
        Ok(LeafResponse { total, scanned_bytes, gathered: Some(gathered), ..LeafResponse::default() })
    }

    /// Calls `visit` with all rows that match and whose messages lie at or above `from_offset`, some at a time. Returns how
    /// many bytes of values were looked at. CPU bound. Stops as a search does.
    pub(crate) fn scan(
        &self,
        filter: &Filter,
        range: TimeRange,
        fields: &[FieldRef],
        from_offset: i64,
        threads: Option<&dyn Threads>,
        visit: &mut dyn FnMut(&SomeRows<'_, '_>),
    ) -> Result<u64, Error> {
        let projections: Vec<OnceCell<Vec<Projection<'_>>>> =
            self.shapes().iter().map(|_| OnceCell::new()).collect();
        let projector = |field| Projector::new(field, self.origins(), &self.stream);
        let projectors: Vec<Projector<'_>> = fields.iter().map(projector).collect();
        let mut some = SomeRows {
            rows: self,
            places: Vec::new(),
            projectors: &projectors,
            projections: &projections,
            line: RefCell::default(),
        };
        let looked_at = self.each_match(filter, range, from_offset, threads, |block, at| {
            some.places.push((block, at));
            if some.places.len() == BATCH_ROWS {
                visit(&some);
                some.places.clear();
            }
            ControlFlow::Continue(())
        })?;
        if !some.places.is_empty() {
            visit(&some);
        }
        Ok(looked_at)
    }

    /// How many of the rows that match, of messages at or above `from_offset`, have each value of a field. CPU bound.
    ///
    /// # Errors
    /// None: nobody stops it.
    pub fn group_counts(
        &self,
        filter: &Filter,
        range: TimeRange,
        field: &FieldRef,
        from_offset: i64,
    ) -> Result<GroupCounts, Error> {
        let mut counts = GroupCounts::default();
        self.scan(filter, range, std::slice::from_ref(field), from_offset, None, &mut |rows| {
            let all: Vec<u32> = (0..rows.count() as u32).collect();
            let Ok(cells) = rows.cells(0, &all);
            counts.add(&cells);
        })?;
        Ok(counts)
    }
}

/// The value of a field.
fn value<S: Slots>(
    projection: &Projection<'_>,
    row: &RowView<'_, S>,
    line: &mut Line,
) -> Result<Option<Value>, Malformed> {
    if let Some(value) = projection.resource.get(row.origin).copied().flatten() {
        return Ok(cell_of(&ValueRef::Value(value)));
    }
    Ok(match &projection.own {
        Own::Constant(value) => value.clone(),
        Own::Slot(slot, read) => projection.read(row.shape, *read, row.slots.slot(*slot))?,
        Own::Row => Some(match projection.field {
            FieldRef::Timestamp => Value::Int(row.facts.time.0),
            FieldRef::ObservedTimestamp => Value::Int(row.facts.observed.0),
            field => cell_of_id(field, row.id),
        }),
        Own::Record => row.row(line)?.placed().field(projection.field).and_then(|value| cell_of(&value)),
    })
}
