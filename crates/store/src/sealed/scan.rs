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
    leaf::{self, LeafResponse},
    scan::{GroupCounts, Projection, Projector},
    threads::{Threads, go_on},
};
use millrace_filter::Filter;
use millrace_model::{FieldRef, TimeRange};
use millrace_pipes::{Cells, Fragments, Rows};
use std::{cell::OnceCell, slice};

/// Some rows of a chunk, whose fields are read when they are asked for.
pub(crate) struct ChunkRows<'a, 'q, 'p> {
    answers: &'a Answers<'q>,
    projections: &'a [Projection<'p>],
    asked: &'a Asked<'a>,
    rows: &'a Bits,
    /// Their numbers in the chunk.
    numbers: OnceCell<Vec<u32>>,
}

impl Rows for ChunkRows<'_, '_, '_> {
    type Error = Error;

    fn count(&self) -> usize {
        self.rows.count() as usize
    }

    fn cells(&self, column: usize, rows: &[u32]) -> Result<Cells, Error> {
        let Some(projection) = self.projections.get(column) else {
            return Ok(Cells::uniform(None, rows.len()));
        };
        if rows.is_empty() {
            return Ok(Cells::default());
        }
        if rows.len() == self.count() {
            return self.answers.cells(projection, self.asked, self.rows);
        }
        let size = self.rows.size();
        let numbers = self.numbers.get_or_init(|| self.rows.ones(0..size).collect());
        let mut some = Bits::none(size);
        rows.iter().filter_map(|row| numbers.get(*row as usize)).for_each(|number| some.insert(*number));
        self.answers.cells(projection, self.asked, &some)
    }
}

impl SealedShard {
    /// Carries a fragment out on all that matches. CPU bound and blocking.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where bytes are changed.
    pub(super) fn gather(
        &self,
        filter: &Filter,
        range: TimeRange,
        fragments: &Fragments,
        threads: Option<&dyn Threads>,
    ) -> Result<LeafResponse, Error> {
        let mut gathered = fragments.begin();
        let (mut total, mut scanned_bytes) = (0, 0);
        if let Some(column) = fragments.counted() {
            let field = FieldRef::resolve(column);
            let mut go_on = |bytes| fragments.may_take(&mut gathered, bytes);
            let counts = self.count_groups(filter, range, &field, threads, &mut go_on)?;
            for (value, rows) in
                counts.each().map(|(value, rows)| (Some(value), rows)).chain([(None, counts.absent())])
            {
                total += rows;
                gathered.add_counted(value, rows);
            }
        } else if let Some(search) = leaf::instead(filter, range, fragments) {
            return Ok(leaf::gathered(fragments, self.search_on(&search, threads)?));
        } else {
            scanned_bytes = self.scan(filter, range, &fragments.fields(), threads, &mut |rows| {
                total += rows.count() as u64;
                fragments.add(&mut gathered, rows)?;
                Ok(!gathered.is_too_large())
            })?;
        }
        Ok(LeafResponse { total, scanned_bytes, gathered: Some(gathered), ..LeafResponse::default() })
    }

    /// Calls `visit` with all that matches, a chunk at a time, until it has enough. Returns how many bytes were looked at. CPU bound and
    /// blocking.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where bytes are changed; what was visited before is right. And what `visit` says.
    pub(crate) fn scan(
        &self,
        filter: &Filter,
        range: TimeRange,
        fields: &[FieldRef],
        threads: Option<&dyn Threads>,
        visit: &mut dyn FnMut(&ChunkRows<'_, '_, '_>) -> Result<bool, Error>,
    ) -> Result<u64, Error> {
        self.each_chunk(filter, range, fields, threads, |answers, projections, asked, rows| {
            visit(&ChunkRows { answers, projections, asked, rows, numbers: OnceCell::new() })
        })
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
        self.count_groups(filter, range, field, None, &mut |_| true)
    }

    /// The same; `go_on` is asked now and then with the bytes of memory that it takes. Where it says no, some are missing.
    fn count_groups(
        &self,
        filter: &Filter,
        range: TimeRange,
        field: &FieldRef,
        threads: Option<&dyn Threads>,
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<GroupCounts, Error> {
        let (mut counts, mut counted) = (RawCounts::default(), CountedValues::new(self));
        self.each_chunk(
            filter,
            range,
            slice::from_ref(field),
            threads,
            |answers, projections, asked, rows| {
                for projection in projections {
                    let is_whole = rows.count() == rows.size();
                    if !is_whole || !counted.take(projection, asked.shape, asked.number, answers.reader)? {
                        answers.count(projection, asked, rows, &mut counts)?;
                    }
                }
                Ok(go_on(counts.weight()))
            },
        )?;
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
        threads: Option<&dyn Threads>,
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
            go_on(threads)?;
            let shape = self.directory.chunks[number as usize].shape as usize;
            let projections = all[shape]
                .get_or_init(|| projectors.iter().map(|projector| projector.of(&shapes[shape])).collect());
            visit(&answers, projections, &Asked::new(self, number), &rows)
        })?;
        Ok(reader.read_bytes.get())
    }
}
