//! Writing blocks of rows.

use super::{BLOCK_ROWS, Positions, groups::Groups};
use crate::{
    bytes::{put_bytes, put_number, put_signed},
    column::{
        ColumnWriter, Sections,
        pack::{pack, width_of},
    },
    zstd_frame::Compressor,
};
use millrace_model::Timestamp;
use std::collections::HashMap;

/// What a block says of one row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowHead {
    pub(crate) time: Timestamp,
    pub(crate) observed: Timestamp,
    pub(crate) position: u64,
    pub(crate) index: u32,
    pub(crate) origin: u32,
    pub(crate) shape: u32,
    /// The bytes of its line: from them the next position follows.
    pub(crate) length: u64,
}

/// Where a block lies, and when its rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockPlace {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) rows: u32,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
}

/// Collects rows in their order and writes blocks.
#[derive(Default)]
pub(crate) struct BlockWriter {
    rows: Vec<RowHead>,
    /// The blocks' file.
    pub(crate) blocks: Vec<u8>,
    pub(crate) places: Vec<BlockPlace>,
    /// The file of ranks, not compressed yet.
    pub(crate) ranks: Vec<u8>,
    /// The highest position of each origin's last rows.
    most_of: HashMap<u32, u64>,
    by_shape: Groups,
    by_origin: Groups,
    /// Position and length of each row, origin after origin.
    positions: Vec<(u64, u64)>,
    columns: ColumnWriter,
    compressor: Compressor,
}

impl BlockWriter {
    pub(crate) fn push(&mut self, row: RowHead) -> std::io::Result<()> {
        self.rows.push(row);
        if self.rows.len() == BLOCK_ROWS { self.end_block() } else { Ok(()) }
    }

    /// Writes the rows that are left.
    pub(crate) fn finish(&mut self) -> std::io::Result<()> {
        if self.rows.is_empty() { Ok(()) } else { self.end_block() }
    }

    fn end_block(&mut self) -> std::io::Result<()> {
        let rows = std::mem::take(&mut self.rows);
        let from = self.blocks.len() as u64;
        let first = rows.first().map_or(Timestamp::MIN, |row| row.time);
        let last = rows.last().map_or(Timestamp::MIN, |row| row.time);

        let mut times = Vec::new();
        self.write_times(&rows, first, &mut times);
        put_bytes(&mut self.blocks, &times);

        self.by_shape.find(rows.iter().map(|row| row.shape));
        self.by_origin.find(rows.iter().map(|row| row.origin));
        self.positions.clear();
        let of_origin = self.by_origin.each().flatten().map(|row| &rows[*row as usize]);
        self.positions.extend(of_origin.map(|row| (row.position, row.length)));

        let codes = self.codes();
        self.write_spans();
        self.compressor.put_frame(&mut self.blocks, &codes)?;
        let facts = self.facts(&rows);
        self.compressor.put_frame(&mut self.blocks, &facts)?;
        let lengths = self.lengths(&rows);
        put_bytes(&mut self.blocks, &lengths);

        self.places.push(BlockPlace {
            from,
            to: self.blocks.len() as u64,
            rows: rows.len() as u32,
            first,
            last,
        });
        self.rows = rows;
        self.rows.clear();
        Ok(())
    }

    /// Times since the first, in the largest unit that all are multiples of.
    fn write_times(&mut self, rows: &[RowHead], first: Timestamp, into: &mut Vec<u8>) {
        let since = |row: &RowHead| row.time.0.wrapping_sub(first.0) as u64;
        let unit = rows.iter().map(since).fold(0, greatest_divisor).max(1);
        let offsets: Vec<u64> = rows.iter().map(|row| since(row) / unit).collect();
        let mut sections = Sections::default();
        self.columns.write_numbers(&offsets, &mut sections);
        put_number(into, unit);
        put_bytes(into, &sections.head);
        put_bytes(into, &sections.data);
    }

    /// The positions and lengths of each origin's rows, in the order of the block's origins.
    fn positions(&self) -> impl Iterator<Item = &[(u64, u64)]> {
        let mut rest = &self.positions[..];
        self.by_origin.counts().map(move |count| {
            let (own, others) = rest.split_at(count);
            rest = others;
            own
        })
    }

    /// Between which positions each origin's rows lie, beside the ranks: one more than there are origins, then each with
    /// what its least position is more than its last most one.
    fn write_spans(&mut self) {
        if self.by_origin.numbers.len() > MAX_SPANS {
            put_number(&mut self.ranks, 0);
            return;
        }
        let span = |rows: &[(u64, u64)]| {
            let positions = || rows.iter().map(|row| row.0);
            (positions().min().unwrap_or_default(), positions().max().unwrap_or_default())
        };
        let spans: Vec<(u64, u64)> = self.positions().map(span).collect();
        put_number(&mut self.ranks, spans.len() as u64 + 1);
        let mut before = 0;
        for (origin, (least, most)) in self.by_origin.numbers.iter().zip(spans) {
            let last = self.most_of.insert(*origin, most).unwrap_or(0);
            put_number(&mut self.ranks, u64::from(origin - before));
            put_signed(&mut self.ranks, least.wrapping_sub(last) as i64);
            put_number(&mut self.ranks, most - least);
            before = *origin;
        }
    }

    /// The shapes by their number in the block: low bytes, then, where there are more than 256, high bytes.
    fn codes(&mut self) -> Vec<u8> {
        let Groups { numbers, codes, .. } = &self.by_shape;
        put_number(&mut self.ranks, numbers.len() as u64);
        let mut before = 0;
        for (shape, count) in numbers.iter().zip(self.by_shape.counts()) {
            put_number(&mut self.ranks, u64::from(shape - before));
            put_number(&mut self.ranks, count as u64);
            before = *shape;
        }
        if numbers.len() <= 256 {
            codes.iter().map(|code| *code as u8).collect()
        } else {
            codes.iter().flat_map(|code| (*code as u16).to_le_bytes()).collect()
        }
    }

    /// Runs of origins, runs of observed times, positions by origin, and the rest of the ids where any is not 0.
    fn facts(&self, rows: &[RowHead]) -> Vec<u8> {
        let mut facts = Vec::new();
        runs(rows, |row| row.origin, &mut |origin, length| {
            put_number(&mut facts, u64::from(origin));
            put_number(&mut facts, length as u64);
        });
        let mut before = 0i64;
        runs(rows, |row| row.observed, &mut |observed: Timestamp, length| {
            put_signed(&mut facts, observed.0.wrapping_sub(before));
            put_number(&mut facts, length as u64);
            before = observed.0;
        });
        self.positions().for_each(|positions| Positions::write(positions, &mut facts));
        if rows.iter().any(|row| row.index > 0) {
            facts.push(1);
            for row in rows {
                put_number(&mut facts, u64::from(row.index));
            }
        } else {
            facts.push(0);
        }
        facts
    }

    /// The lengths of the lines, where positions follow from them: of each shape of the block in turn the least, the bits
    /// that the others take above it, and they, packed. Nothing at all where no position does.
    fn lengths(&self, rows: &[RowHead]) -> Vec<u8> {
        let mut bytes = Vec::new();
        if self.positions().any(Positions::need_lengths) {
            for of_shape in self.by_shape.each() {
                let lengths = || of_shape.iter().map(|row| rows[*row as usize].length);
                let least = lengths().min().unwrap_or_default();
                let width = width_of(lengths().max().unwrap_or_default() - least);
                put_number(&mut bytes, least);
                bytes.push(width as u8);
                pack(&mut bytes, width, lengths().map(|length| length - least));
            }
        }
        bytes
    }
}

/// Told of no block with more origins than this.
const MAX_SPANS: usize = 512;

fn greatest_divisor(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn runs<T: PartialEq + Copy>(rows: &[RowHead], of: impl Fn(&RowHead) -> T, visit: &mut dyn FnMut(T, usize)) {
    for run in rows.chunk_by(|a, b| of(a) == of(b)) {
        visit(of(&run[0]), run.len());
    }
}
