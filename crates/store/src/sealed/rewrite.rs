//! Reading a whole shard once, to write its rows into another one.

use super::{SealedShard, answers::Answers, reader::Reader, rows};
use crate::{
    Deletion, Error,
    bits::Bits,
    blocks::{BLOCK_ROWS, RowHead},
    column::Coded,
};
use millrace_model::SourceId;

/// See the module.
pub(crate) struct Rewriter<'s> {
    shard: &'s SealedShard,
    reader: Reader<'s>,
    /// By row.
    deleted: Option<Bits>,
}

/// A chunk, unpacked: the rows of a shape from a rank on.
#[derive(Default)]
pub(crate) struct Unpacked {
    shape: u32,
    first: u32,
    rows: u32,
    columns: Vec<Coded>,
    /// Of each row, how many bytes its line's slots have, and how many all.
    line_bytes: Vec<usize>,
    row_bytes: Vec<usize>,
}

impl Unpacked {
    /// Does it hold the row of this shape and rank?
    pub(crate) fn holds(&self, shape: u32, rank: u32) -> bool {
        self.shape == shape && rank.checked_sub(self.first).is_some_and(|row| row < self.rows)
    }

    /// Where in it the row with this rank is.
    pub(crate) fn place(&self, rank: u32) -> usize {
        (rank - self.first) as usize
    }

    /// The values of a slot.
    pub(crate) fn column(&self, slot: usize) -> &Coded {
        &self.columns[slot]
    }

    /// How many bytes the slots of a row's line have.
    pub(crate) fn line_bytes(&self, row: usize) -> usize {
        self.line_bytes[row]
    }

    /// How many bytes all slots of a row have.
    pub(crate) fn row_bytes(&self, row: usize) -> usize {
        self.row_bytes[row]
    }

    /// Counts the bytes of each row: of the first `line_slots` columns, then of all `slots`.
    fn measure(&mut self, line_slots: usize, slots: usize) {
        self.row_bytes.clear();
        self.row_bytes.resize(self.rows as usize, 0);
        let mut lengths: Vec<usize> = Vec::new();
        for (slot, column) in self.columns[..slots].iter().enumerate() {
            if slot == line_slots {
                self.line_bytes.clone_from(&self.row_bytes);
            }
            lengths.clear();
            lengths.extend(column.values.iter().map(<[u8]>::len));
            for (bytes, code) in self.row_bytes.iter_mut().zip(&column.codes) {
                *bytes += lengths.get(*code as usize).copied().unwrap_or_default();
            }
        }
        if line_slots >= slots {
            self.line_bytes.clone_from(&self.row_bytes);
        }
    }
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
        Ok(Self { shard, reader: Reader::of_a_pass(shard), deleted })
    }

    /// How many blocks of rows there are.
    pub(crate) fn blocks(&self) -> usize {
        self.shard.directory.blocks.len()
    }

    /// The source of an origin.
    pub(crate) fn source(&self, origin: u32) -> Result<SourceId, Error> {
        self.shard.source(origin)
    }

    /// Its rows turned out not to be in order.
    pub(crate) fn disordered(&self) -> Error {
        Error::corrupt(self.shard.bundle.path(), "rows in their order expected")
    }

    /// Appends the rows of a block that stay, in order, each with its rank. Lengths of lines are left open.
    pub(crate) fn rows_of(&self, number: usize, into: &mut Vec<(RowHead, u32)>) -> Result<(), Error> {
        let shard = self.shard;
        let block = self.reader.block(number)?;
        let local = shard.ranks()?.of(number);
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
            if self.deleted.as_ref().is_some_and(|rows| rows.contains((number * BLOCK_ROWS + at) as u32)) {
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
            into.push((head, rank));
        }
        Ok(())
    }

    /// Unpacks the chunk that holds the row of a shape and rank. The first `line_slots` of its slots are its line's.
    pub(crate) fn unpack(
        &self,
        shape: u32,
        rank: u32,
        line_slots: usize,
        into: &mut Unpacked,
    ) -> Result<(), Error> {
        let number = self.shard.chunk_of(shape, rank);
        let place = self.shard.directory.chunks[number as usize];
        (into.shape, into.first, into.rows) = (place.shape, place.first, place.rows);
        let chunk = self.reader.chunk(number)?;
        let slots = self.shard.directory.shapes[shape as usize].slots();
        into.columns.resize_with(slots.max(into.columns.len()), Coded::default);
        for (slot, column) in into.columns[..slots].iter_mut().enumerate() {
            chunk.coded(slot, column)?;
        }
        into.measure(line_slots, slots);
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
impl SealedShard {
    /// Every row with the number of its chunk.
    pub(crate) fn each_row_with_chunk(&self, visit: &mut dyn FnMut(u32, &millrace_model::Row)) {
        let reader = Reader::new(self);
        for row in 0..self.meta().records as u32 {
            let (block, at) = Reader::place(row);
            let (shape, rank) = reader.rank(block, at).unwrap();
            visit(self.chunk_of(shape, rank), &reader.rows(&[row], None).unwrap()[0]);
        }
    }

    pub(crate) fn chunk_index(&self) -> &crate::index::ChunkIndex {
        &self.index
    }
}
