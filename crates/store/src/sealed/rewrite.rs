//! Reading a whole shard once, to write its rows into another one.

use super::{SealedShard, answers::Answers, reader::Reader, rows};
use crate::{
    Deletion, Error,
    bits::Bits,
    blocks::{BLOCK_ROWS, RowHead},
    plan::Origin,
    shape::Shape,
    strings::Strings,
};
use std::sync::Arc;

/// See the module.
pub(crate) struct Rewriter<'s> {
    shard: &'s SealedShard,
    reader: Reader<'s>,
    /// By row.
    deleted: Option<Bits>,
    /// The chunk that was unpacked last.
    open: Option<(u32, Vec<Strings>)>,
}

impl<'s> Rewriter<'s> {
    pub(crate) fn new(shard: &'s SealedShard, deletions: &[Deletion]) -> Result<Self, Error> {
        let mut deleted: Option<Bits> = None;
        for Deletion { filter, range } in deletions {
            let reader = Reader::new(shard);
            let rows = rows::inside(shard, &reader, *range)?;
            let answers = Answers::new(shard, &reader, filter, &rows)?;
            let deleted = deleted.get_or_insert_with(|| Bits::none(shard.meta().records as u32));
            rows::each(shard, &reader, &answers, rows, &mut |row| deleted.insert(row))?;
        }
        Ok(Self { shard, reader: Reader::new(shard), deleted, open: None })
    }

    pub(crate) fn shapes(&self) -> &'s [Arc<Shape>] {
        &self.shard.directory.shapes
    }

    pub(crate) fn origins(&self) -> &'s [Origin] {
        &self.shard.directory.origins
    }

    /// Calls `visit` with each row that stays, in order, and its rank. Lengths of lines are left open: whoever writes
    /// them measures them.
    pub(crate) fn each_row(&mut self, visit: &mut dyn FnMut(RowHead, u32)) -> Result<(), Error> {
        let (shard, reader) = (self.shard, &self.reader);
        let ranks = shard.ranks()?;
        for number in 0..shard.directory.blocks.len() {
            let block = reader.block(number)?;
            let local = ranks.of(number);
            let broken = |problem| shard.broken(problem);
            let (codes, positions) = (block.codes().map_err(broken)?, block.positions().map_err(broken)?);
            let mut times = block.times().map_err(broken)?;
            let mut next: Vec<u32> = local.iter().map(|local| local.rank).collect();
            let mut origins = block.origins().map_err(broken)?;
            let mut observations = block.observations().map_err(broken)?;
            let (mut origin, mut observed) = (origins.next(), observations.next());
            for (at, position) in positions.iter().enumerate() {
                if origin.as_ref().is_some_and(|(_, run)| run.end <= at) {
                    origin = origins.next();
                }
                if observed.as_ref().is_some_and(|(_, run)| run.end <= at) {
                    observed = observations.next();
                }
                let (code, time) = (codes.of(at), times.next().unwrap_or_default());
                let (shape, rank) = (local[code].shape, next[code]);
                next[code] += 1;
                if self.deleted.as_ref().is_some_and(|rows| rows.contains((number * BLOCK_ROWS + at) as u32))
                {
                    continue;
                }
                let head = RowHead {
                    time,
                    observed: observed.as_ref().map(|(time, _)| *time).unwrap_or_default(),
                    position: *position,
                    index: block.index(at).map_err(broken)?,
                    origin: origin.as_ref().map_or(0, |(origin, _)| *origin),
                    shape,
                    length: 0,
                };
                if head.origin as usize >= shard.directory.origins.len() {
                    return Err(Error::corrupt(shard.bundle.path(), "a row is of an unknown origin"));
                }
                visit(head, rank);
            }
        }
        Ok(())
    }

    /// Appends the values of a shape's row to its columns. Ascending ranks unpack each chunk once.
    pub(crate) fn values(&mut self, shape: u32, rank: u32, columns: &mut [Strings]) -> Result<(), Error> {
        let number = self.shard.chunk_of(shape, rank);
        if self.open.as_ref().is_none_or(|(open, _)| *open != number) {
            let chunk = self.reader.chunk(number)?;
            let unpacked = chunk.decode()?;
            self.open = Some((number, unpacked));
        }
        let row = (rank - self.shard.directory.chunks[number as usize].first) as usize;
        if let Some((_, unpacked)) = &self.open {
            for (column, values) in columns.iter_mut().zip(unpacked) {
                column.push(values.get(row));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
impl SealedShard {
    /// Every row with the number of its chunk.
    pub(crate) fn each_row_with_chunk(&self, visit: &mut dyn FnMut(u32, &millrace_model::Row)) {
        let reader = Reader::new(self);
        for row in 0..self.meta().records as u32 {
            let (block, at) = Reader::place(row);
            let found = reader.rank(block, at).and_then(|(shape, rank)| Ok((shape, rank, reader.row(row)?)));
            if let Ok((shape, rank, row)) = found {
                visit(self.chunk_of(shape, rank), &row);
            }
        }
    }

    pub(crate) fn chunk_index(&self) -> &crate::index::ChunkIndex {
        &self.index
    }
}
