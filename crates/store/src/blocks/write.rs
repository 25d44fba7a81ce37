//! Writing blocks of rows.

use super::{BLOCK_ROWS, Positions};
use crate::{
    bytes::{put_bytes, put_number, put_signed},
    column::{
        ColumnWriter, Sections,
        pack::{pack, width_of},
    },
    zstd_frame::Compressor,
};
use millrace_model::Timestamp;
use std::collections::{BTreeMap, HashMap};

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

        let codes = self.codes(&rows);
        self.write_spans(&rows);
        self.compressor.put_frame(&mut self.blocks, &codes)?;
        let facts = facts(&rows);
        self.compressor.put_frame(&mut self.blocks, &facts)?;
        let lengths = lengths(&rows);
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

    /// Between which positions each origin's rows lie, beside the ranks: one more than there are origins, then each with
    /// what its least position is more than its last most one.
    fn write_spans(&mut self, rows: &[RowHead]) {
        let mut spans: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        for row in rows {
            let span = spans.entry(row.origin).or_insert((row.position, row.position));
            *span = (span.0.min(row.position), span.1.max(row.position));
        }
        if spans.len() > MAX_SPANS {
            put_number(&mut self.ranks, 0);
            return;
        }
        put_number(&mut self.ranks, spans.len() as u64 + 1);
        let mut before = 0;
        for (origin, (least, most)) in spans {
            let last = self.most_of.insert(origin, most).unwrap_or(0);
            put_number(&mut self.ranks, u64::from(origin - before));
            put_signed(&mut self.ranks, least.wrapping_sub(last) as i64);
            put_number(&mut self.ranks, most - least);
            before = origin;
        }
    }

    /// The shapes by their number in the block: low bytes, then, where there are more than 256, high bytes.
    fn codes(&mut self, rows: &[RowHead]) -> Vec<u8> {
        let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
        for row in rows {
            *counts.entry(row.shape).or_insert(0) += 1;
        }
        put_number(&mut self.ranks, counts.len() as u64);
        let mut before = 0;
        for (shape, count) in &counts {
            put_number(&mut self.ranks, u64::from(shape - before));
            put_number(&mut self.ranks, u64::from(*count));
            before = *shape;
        }
        let numbers: BTreeMap<u32, u16> =
            counts.keys().enumerate().map(|(number, shape)| (*shape, number as u16)).collect();
        let codes = rows.iter().map(|row| numbers.get(&row.shape).copied().unwrap_or_default());
        if counts.len() <= 256 {
            codes.map(|code| code as u8).collect()
        } else {
            codes.flat_map(u16::to_le_bytes).collect()
        }
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

/// Runs of origins, runs of observed times, positions by origin, and the rest of the ids where any is not 0.
fn facts(rows: &[RowHead]) -> Vec<u8> {
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
    let mut by_origin: BTreeMap<u32, Vec<(u64, u64)>> = BTreeMap::new();
    for row in rows {
        by_origin.entry(row.origin).or_default().push((row.position, row.length));
    }
    for positions in by_origin.values() {
        Positions::write(positions, &mut facts);
    }
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
fn lengths(rows: &[RowHead]) -> Vec<u8> {
    let mut by_origin: BTreeMap<u32, Vec<(u64, u64)>> = BTreeMap::new();
    let mut by_shape: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for row in rows {
        by_origin.entry(row.origin).or_default().push((row.position, row.length));
        by_shape.entry(row.shape).or_default().push(row.length);
    }
    let mut bytes = Vec::new();
    if by_origin.values().any(|rows| Positions::need_lengths(rows)) {
        for lengths in by_shape.values() {
            let least = lengths.iter().copied().min().unwrap_or_default();
            let width = width_of(lengths.iter().copied().max().unwrap_or_default() - least);
            put_number(&mut bytes, least);
            bytes.push(width as u8);
            pack(&mut bytes, width, lengths.iter().map(|length| length - least));
        }
    }
    bytes
}

fn runs<T: PartialEq + Copy>(rows: &[RowHead], of: impl Fn(&RowHead) -> T, visit: &mut dyn FnMut(T, usize)) {
    for run in rows.chunk_by(|a, b| of(a) == of(b)) {
        visit(of(&run[0]), run.len());
    }
}
