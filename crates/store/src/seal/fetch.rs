//! The values of a chunk's rows, fetched together: which rows a chunk takes, then slot by slot their distinct values.

use super::order::{Inputs, RowPlace};
use crate::{
    Error, HotRows,
    chunks::{CHUNK_BYTES, CHUNK_ROWS},
    column::{Coded, Interner},
    sealed::{Rewriter, Unpacked},
    shape::{Mask, Shape},
    strings::Strings,
};

/// See the module. Keeps its working memory between chunks.
#[derive(Default)]
pub(super) struct Fetched {
    interner: Interner,
    columns: Vec<Coded>,
    slots: usize,
    /// So many of them are the line's, the first ones.
    line_slots: usize,
    /// Of each row, how many bytes the variables of its line have that are in slots.
    line_bytes: Vec<usize>,
    unpacked: OpenChunks,
}

/// Chunks that the rows of the present one lie in.
#[derive(Default)]
struct OpenChunks {
    open: Vec<Unpacked>,
    /// Of each input, which of them was opened last.
    last: Vec<Option<usize>>,
    /// Their memory is used again.
    spare: Vec<Unpacked>,
    /// Of each row, in which of them it is, and where.
    places: Vec<(u32, u32)>,
    /// For each of them and each of its values, the number that it has in the new column.
    numbers: Vec<Vec<u32>>,
}

/// No number yet.
const UNKNOWN: u32 = u32::MAX;

impl Fetched {
    /// The rows of this shape come next, in their order.
    pub(super) fn begin_shape(&mut self, shape: &Shape) {
        self.slots = shape.slots();
        self.line_slots = shape.mask().map_or(0, Mask::slots);
        if self.columns.len() < self.slots {
            self.columns.resize_with(self.slots, Coded::default);
        }
        self.unpacked.last.clear();
    }

    /// Takes as many of `rows` as a chunk takes, from the first on. Returns how many these are.
    pub(super) fn take(&mut self, inputs: &Inputs<'_>, rows: &[RowPlace]) -> Result<usize, Error> {
        self.line_bytes.clear();
        match inputs {
            Inputs::Hot(sorted) => self.take_hot(sorted.inputs(), rows),
            Inputs::Sealed(merged) => self.take_sealed(merged.inputs(), rows)?,
        }
        Ok(self.line_bytes.len())
    }

    /// The values of the slots.
    pub(super) fn columns(&self) -> &[Coded] {
        &self.columns[..self.slots]
    }

    /// How many bytes of the lines are in slots, row by row.
    pub(super) fn line_bytes(&self) -> &[usize] {
        &self.line_bytes
    }

    fn take_hot(&mut self, inputs: &[HotRows], rows: &[RowPlace]) {
        let mut places: Vec<(&Strings, usize)> = Vec::new();
        let mut bytes = 0;
        for place in rows {
            if places.len() == CHUNK_ROWS || bytes >= CHUNK_BYTES {
                break;
            }
            let block = &inputs[place.input as usize].blocks()[place.block as usize];
            let (values, first) = block.place(place.row as usize);
            bytes += values.span(first, self.slots);
            self.line_bytes.push(values.span(first, self.line_slots));
            places.push((values, first));
        }
        for (slot, column) in self.columns[..self.slots].iter_mut().enumerate() {
            self.interner.begin(column);
            for (values, first) in &places {
                self.interner.push(values.get(first + slot), column);
            }
        }
    }

    fn take_sealed(&mut self, inputs: &[Rewriter<'_>], rows: &[RowPlace]) -> Result<(), Error> {
        let unpacked = &mut self.unpacked;
        unpacked.begin(inputs.len());
        let mut bytes = 0;
        for place in rows {
            if unpacked.places.len() == CHUNK_ROWS || bytes >= CHUNK_BYTES {
                break;
            }
            let chunk = unpacked.chunk(inputs, place, self.line_slots)?;
            let row = unpacked.open[chunk].place(place.row);
            bytes += unpacked.open[chunk].row_bytes(row);
            self.line_bytes.push(unpacked.open[chunk].line_bytes(row));
            unpacked.places.push((chunk as u32, row as u32));
        }
        for (slot, column) in self.columns[..self.slots].iter_mut().enumerate() {
            self.interner.begin(column);
            unpacked.begin_slot(slot);
            for (chunk, row) in &unpacked.places {
                let (chunk, row) = (*chunk as usize, *row as usize);
                let given = unpacked.open[chunk].column(slot);
                let code = given.codes.get(row).copied().unwrap_or(UNKNOWN);
                let number = match unpacked.numbers[chunk].get_mut(code as usize) {
                    Some(number) if *number != UNKNOWN => *number,
                    place => {
                        let value = given.values.get(code as usize);
                        let number = self.interner.number(value, &mut column.values);
                        if let Some(place) = place {
                            *place = number;
                        }
                        number
                    }
                };
                column.codes.push(number);
            }
        }
        Ok(())
    }
}

impl OpenChunks {
    /// Forgets rows, and all chunks but the last of each input.
    fn begin(&mut self, inputs: usize) {
        self.places.clear();
        self.last.resize(inputs, None);
        let mut kept = Vec::with_capacity(inputs);
        for (number, chunk) in std::mem::take(&mut self.open).into_iter().enumerate() {
            if let Some(last) = self.last.iter_mut().find(|last| **last == Some(number)) {
                *last = Some(kept.len());
                kept.push(chunk);
            } else {
                self.spare.push(chunk);
            }
        }
        self.open = kept;
    }

    /// The open chunk that a row lies in; it is opened if it is not.
    fn chunk(
        &mut self,
        inputs: &[Rewriter<'_>],
        place: &RowPlace,
        line_slots: usize,
    ) -> Result<usize, Error> {
        let input = place.input as usize;
        if let Some(last) = self.last[input].filter(|last| self.open[*last].holds(place.block, place.row)) {
            return Ok(last);
        }
        let mut chunk = self.spare.pop().unwrap_or_default();
        inputs[input].unpack(place.block, place.row, line_slots, &mut chunk)?;
        self.open.push(chunk);
        self.last[input] = Some(self.open.len() - 1);
        Ok(self.open.len() - 1)
    }

    /// Forgets the numbers of values.
    fn begin_slot(&mut self, slot: usize) {
        self.numbers.resize(self.open.len().max(self.numbers.len()), Vec::new());
        for (numbers, chunk) in self.numbers.iter_mut().zip(&self.open) {
            numbers.clear();
            numbers.resize(chunk.column(slot).values.len(), UNKNOWN);
        }
    }
}
