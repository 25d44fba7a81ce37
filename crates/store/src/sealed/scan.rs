//! Scanning: chunk by chunk, the rows that match, and of their columns those that are asked for.

use super::{
    SealedShard,
    answers::{Answers, Asked, RawCounts},
    counted::CountedValues,
    reader::Reader,
    rows,
};
use crate::{
    Error,
    bits::Bits,
    scan::{Batch, Delivery, GroupCounts, Projection, Projector, ScanRequest},
};
use millrace_filter::Filter;
use millrace_model::{FieldRef, TimeRange};
use std::{cell::OnceCell, ops::ControlFlow, slice};

impl SealedShard {
    /// Calls `visit` with all that matches, until that breaks. Returns how many bytes were looked at. CPU bound and
    /// blocking.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where bytes are changed; what was visited before is right.
    pub fn scan(
        &self,
        request: &ScanRequest,
        visit: &mut dyn FnMut(Batch) -> ControlFlow<()>,
    ) -> Result<u64, Error> {
        let mut delivery = Delivery::new(request.limit, visit);
        if !delivery.is_open() {
            return Ok(0);
        }
        self.each_chunk(
            &request.filter,
            request.range,
            &request.fields,
            |answers, projections, asked, rows| {
                let cells = |projection| answers.cells(projection, asked, rows);
                let columns = projections.iter().map(cells).collect::<Result<_, _>>()?;
                delivery.give(Batch { rows: rows.count() as usize, columns });
                Ok(delivery.is_open())
            },
        )
    }

    /// How many of the records that match have each value of a field. CPU bound and blocking.
    ///
    /// # Errors
    /// As [`Self::scan`].
    pub fn group_counts(
        &self,
        filter: &Filter,
        range: TimeRange,
        field: &FieldRef,
    ) -> Result<GroupCounts, Error> {
        let (mut counts, mut counted) = (RawCounts::default(), CountedValues::new(self));
        self.each_chunk(filter, range, slice::from_ref(field), |answers, projections, asked, rows| {
            for projection in projections {
                let is_whole = rows.count() == rows.size();
                if !is_whole || !counted.take(projection, asked.shape, asked.number, answers.reader)? {
                    answers.count(projection, asked, rows, &mut counts)?;
                }
            }
            Ok(true)
        })?;
        let Some(shape) = self.directory.shapes.first() else { return Ok(GroupCounts::default()) };
        let projection = Projector::new(field, &[], &self.meta().stream).of(shape);
        let mut groups = counts.finish(&projection, shape).map_err(|problem| self.broken(problem))?;
        groups.merge(&counted.finish());
        Ok(groups)
    }

    /// Calls `visit` with each chunk that has rows that match, where their fields come from, and which rows those are,
    /// until it has enough. Returns how many bytes were looked at.
    fn each_chunk<'q>(
        &'q self,
        filter: &Filter,
        range: TimeRange,
        fields: &'q [FieldRef],
        mut visit: impl FnMut(&Answers<'_>, &[Projection<'_>], &Asked<'_>, &Bits) -> Result<bool, Error>,
    ) -> Result<u64, Error> {
        let reader = Reader::new(self);
        let rows = rows::inside(self, &reader, range)?;
        if rows.is_empty() {
            return Ok(reader.read_bytes.get());
        }
        let answers = Answers::new(self, &reader, filter, &rows)?;
        let (shapes, origins) = (&self.directory.shapes, &self.directory.origins);
        let projector = |field| Projector::new(field, origins, &self.meta().stream);
        let projectors: Vec<Projector<'_>> = fields.iter().map(projector).collect();
        let all: Vec<OnceCell<Vec<Projection<'_>>>> = shapes.iter().map(|_| OnceCell::new()).collect();
        rows::each_chunk(self, &reader, &answers, rows, &mut |number, rows: Bits| {
            let shape = self.directory.chunks[number as usize].shape as usize;
            let projections = all[shape]
                .get_or_init(|| projectors.iter().map(|projector| projector.of(&shapes[shape])).collect());
            visit(&answers, projections, &Asked::new(self, number), &rows)
        })?;
        Ok(reader.read_bytes.get())
    }
}
