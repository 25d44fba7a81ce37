//! Scanning hot rows.

use super::HotRows;
use crate::{
    bytes::Malformed,
    plan::RowView,
    scan::{
        BATCH_ROWS, Batch, Cells, Delivery, GroupCounts, Own, Projection, Projector, ScanRequest, cell_of,
        cell_of_id,
    },
    shape::{Line, Slots},
};
use millrace_filter::Filter;
use millrace_model::{FieldRef, Fields, TimeRange, Value, ValueRef};
use std::{cell::OnceCell, ops::ControlFlow};

impl HotRows {
    /// Calls `visit` with all rows that match and whose messages lie at or above `from_offset`, until that breaks. CPU
    /// bound.
    pub fn scan(
        &self,
        request: &ScanRequest,
        from_offset: i64,
        visit: &mut dyn FnMut(Batch) -> ControlFlow<()>,
    ) {
        let mut delivery = Delivery::new(request.limit, visit);
        if !delivery.is_open() {
            return;
        }
        let all: Vec<OnceCell<Vec<Projection<'_>>>> = self.shapes().iter().map(|_| OnceCell::new()).collect();
        let projector = |field| Projector::new(field, self.origins(), &self.stream);
        let projectors: Vec<Projector<'_>> = request.fields.iter().map(projector).collect();
        let empty = || vec![Cells::default(); request.fields.len()];
        let (mut columns, mut rows) = (empty(), 0);
        let mut line = Line::default();
        self.each_match(&request.filter, request.range, from_offset, |block, at| {
            let (head, slots) = (&block.heads[at], block.slots(at));
            // What was put in by a shape comes out by it.
            let Ok(row) = self.view(head, &slots) else { return ControlFlow::Continue(()) };
            let projections = all[head.shape as usize]
                .get_or_init(|| projectors.iter().map(|projector| projector.of(row.shape)).collect());
            for (cells, projection) in columns.iter_mut().zip(projections) {
                cells.push(value(projection, &row, &mut line).unwrap_or_default());
            }
            rows += 1;
            if rows == BATCH_ROWS {
                delivery.give(Batch { rows, columns: std::mem::replace(&mut columns, empty()) });
                rows = 0;
            }
            if delivery.is_open() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        delivery.give(Batch { rows, columns });
    }

    /// How many of the rows that match, of messages at or above `from_offset`, have each value of a field. CPU bound.
    pub fn group_counts(
        &self,
        filter: &Filter,
        range: TimeRange,
        field: &FieldRef,
        from_offset: i64,
    ) -> GroupCounts {
        let mut counts = GroupCounts::default();
        let fields = vec![field.clone()];
        let request = ScanRequest { filter: filter.clone(), range, fields, limit: usize::MAX };
        self.scan(&request, from_offset, &mut |batch| {
            counts.add(&batch);
            ControlFlow::Continue(())
        });
        counts
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
