//! Reading blocks of rows, part by part as it is asked for.

use super::{BlockPlace, Positions};
use crate::{
    bytes::{Malformed, Reader},
    column::{
        Column, Head,
        pack::{Packed, packed_length},
    },
    zstd_frame::read_frame,
};
use millrace_model::Timestamp;
use std::{cell::OnceCell, ops::Range};

/// Which shapes each block has, and the rank of each shape's first row in it.
#[derive(Debug, Default)]
pub(crate) struct Ranks {
    /// Where each block's entries begin; one more at the end.
    starts: Vec<u32>,
    /// By shape.
    entries: Vec<Local>,
}

/// A shape in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Local {
    pub(crate) shape: u32,
    /// The rank of its first row in the block.
    pub(crate) rank: u32,
    /// How many rows it has in the block.
    pub(crate) rows: u32,
}

impl Ranks {
    /// Reads the file of ranks; `shapes` has the number of rows of each shape.
    pub(crate) fn read(bytes: &[u8], places: &[BlockPlace], shapes: &[u32]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let mut reached = vec![0u32; shapes.len()];
        let mut ranks = Self { starts: vec![0], entries: Vec::new() };
        for place in places {
            let (mut shape, mut rows) = (0u64, 0u64);
            for _ in 0..reader.count()? {
                shape += reader.number()?;
                let count = reader.number()?;
                rows = rows.saturating_add(count);
                let known = usize::try_from(shape)
                    .ok()
                    .and_then(|shape| Some((reached.get_mut(shape)?, shapes[shape])));
                let (rank, all) = known.ok_or(Malformed("ranks of known shapes expected"))?;
                let before = *rank;
                *rank = u32::try_from(u64::from(*rank).saturating_add(count))
                    .ok()
                    .filter(|rank| *rank <= all)
                    .ok_or(Malformed("ranks of fewer rows expected"))?;
                ranks.entries.push(Local { shape: shape as u32, rank: before, rows: *rank - before });
            }
            if rows != u64::from(place.rows) {
                return Err(Malformed("ranks of as many rows as the block has expected"));
            }
            ranks.starts.push(ranks.entries.len() as u32);
        }
        if reader.is_empty() && reached == shapes {
            Ok(ranks)
        } else {
            Err(Malformed("ranks of all rows expected"))
        }
    }

    /// The shapes of a block; rows name them by their number here.
    pub(crate) fn of(&self, block: usize) -> &[Local] {
        let place = |at: usize| self.starts.get(at).map_or(self.entries.len(), |start| *start as usize);
        &self.entries[place(block)..place(block + 1)]
    }
}

/// One block, unpacked.
pub(crate) struct Block {
    rows: usize,
    first: Timestamp,
    unit: u64,
    /// In units since the first.
    times: Vec<u64>,
    codes: Vec<u8>,
    facts: Facts,
    /// Packed, by shape.
    lengths: Vec<u8>,
    before: OnceCell<Vec<u16>>,
    positions: OnceCell<Vec<u64>>,
}

struct Facts {
    /// Origins and the ends of their runs.
    origins: Vec<(u32, u32)>,
    observed: Vec<(Timestamp, u32)>,
    /// By origin, ascending.
    positions: Vec<(u32, Positions)>,
    indexes: Vec<u32>,
}

impl Block {
    pub(crate) fn read(bytes: &[u8], place: &BlockPlace, shapes: usize) -> Result<Self, Malformed> {
        let rows = place.rows as usize;
        let mut reader = Reader::new(bytes);
        let mut packed = Reader::new(reader.bytes()?);
        let unit = packed.number()?;
        let times = unpack_times(packed.bytes()?, packed.bytes()?, rows)?;
        let codes = read_frame(&mut reader)?;
        if codes.len() != rows * if shapes <= 256 { 1 } else { 2 } {
            return Err(Malformed("a shape for each row expected"));
        }
        let facts = Facts::read(&read_frame(&mut reader)?, rows)?;
        let lengths = reader.bytes()?.to_vec();
        let (before, positions) = (OnceCell::new(), OnceCell::new());
        let block = Self { rows, first: place.first, unit, times, codes, facts, lengths, before, positions };
        if !reader.is_empty() || (0..rows).any(|row| block.code(row) >= shapes) {
            return Err(Malformed("shapes of the block expected"));
        }
        Ok(block)
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Where a row is sorted.
    pub(crate) fn time(&self, row: usize) -> Timestamp {
        let units = self.times.get(row).copied().unwrap_or_default();
        Timestamp(self.first.0.wrapping_add(units.wrapping_mul(self.unit) as i64))
    }

    /// The first row whose time satisfies what all later ones satisfy too; the number of rows if none does.
    pub(crate) fn first_where(&self, test: impl Fn(Timestamp) -> bool) -> usize {
        let mut range = 0..self.rows;
        while range.start < range.end {
            let middle = range.start.midpoint(range.end);
            if test(self.time(middle)) { range.end = middle } else { range.start = middle + 1 }
        }
        range.start
    }

    /// The row's shape, by its number among the block's.
    pub(crate) fn code(&self, row: usize) -> usize {
        if self.codes.len() == self.rows {
            self.codes.get(row).map_or(usize::MAX, |code| usize::from(*code))
        } else {
            let pair = self.codes.get(2 * row..2 * row + 2);
            pair.map_or(usize::MAX, |pair| usize::from(u16::from_le_bytes([pair[0], pair[1]])))
        }
    }

    /// How many rows before this one have its shape.
    pub(crate) fn before(&self, row: usize) -> usize {
        let all = self.before.get_or_init(|| {
            let mut counts: Vec<u16> = Vec::new();
            let count = |row: usize| {
                let code = self.code(row);
                if counts.len() <= code {
                    counts.resize(code + 1, 0);
                }
                counts[code] += 1;
                counts[code] - 1
            };
            (0..self.rows).map(count).collect()
        });
        all.get(row).map_or(0, |before| usize::from(*before))
    }

    /// Runs of rows with one origin.
    pub(crate) fn origins(&self) -> impl Iterator<Item = (u32, Range<usize>)> {
        let mut start = 0;
        self.facts.origins.iter().map(move |(origin, end)| {
            let run = start..*end as usize;
            start = *end as usize;
            (*origin, run)
        })
    }

    /// Runs of rows observed at one time.
    pub(crate) fn observations(&self) -> impl Iterator<Item = (Timestamp, Range<usize>)> {
        let mut start = 0;
        self.facts.observed.iter().map(move |(time, end)| {
            let run = start..*end as usize;
            start = *end as usize;
            (*time, run)
        })
    }

    pub(crate) fn origin(&self, row: usize) -> u32 {
        at(&self.facts.origins, row).unwrap_or(u32::MAX)
    }

    pub(crate) fn observed(&self, row: usize) -> Timestamp {
        at(&self.facts.observed, row).unwrap_or_default()
    }

    pub(crate) fn index(&self, row: usize) -> u32 {
        self.facts.indexes.get(row).copied().unwrap_or_default()
    }

    /// The rows of these origins that may lie at a position: all that do are among them.
    pub(crate) fn at_position(&self, origins: &[u32], position: u64) -> Vec<usize> {
        let mut found = Vec::new();
        for (origin, positions) in self.facts.positions.iter().filter(|(origin, _)| origins.contains(origin))
        {
            for ordinals in positions.at(position) {
                let mut ordinal = 0;
                for (_, run) in self.origins().filter(|(of, _)| of == origin) {
                    let next = ordinal + run.len();
                    let (from, to) = (ordinals.start.max(ordinal), ordinals.end.min(next));
                    found.extend((from..to).map(|wanted| run.start + (wanted - ordinal)));
                    ordinal = next;
                }
            }
        }
        found
    }

    /// Where each row lies in its source.
    pub(crate) fn positions(&self) -> Result<&[u64], Malformed> {
        if let Some(positions) = self.positions.get() {
            return Ok(positions);
        }
        let lengths = self.unpack_lengths()?;
        let mut positions = vec![0; self.rows];
        for (origin, of_origin) in &self.facts.positions {
            let rows: Vec<usize> =
                self.origins().filter(|(of, _)| of == origin).flat_map(|(_, run)| run).collect();
            let length = |ordinal: usize| lengths.get(rows[ordinal]).copied().unwrap_or_default();
            of_origin.each(length, |ordinal, position| positions[rows[ordinal]] = position);
        }
        Ok(self.positions.get_or_init(|| positions))
    }

    /// The lengths of the lines; none where no position follows from them.
    fn unpack_lengths(&self) -> Result<Vec<u64>, Malformed> {
        if self.lengths.is_empty() {
            return Ok(Vec::new());
        }
        let mut counts: Vec<usize> = Vec::new();
        for row in 0..self.rows {
            let code = self.code(row);
            counts.resize(counts.len().max(code + 1), 0);
            counts[code] += 1;
        }
        let mut reader = Reader::new(&self.lengths);
        let packed = counts
            .iter()
            .map(|count| {
                let (least, width) = (reader.number()?, u32::from(reader.byte()?));
                if width > 64 {
                    return Err(Malformed("numbers of at most 64 bits expected"));
                }
                Ok((least, Packed::new(reader.take(packed_length(*count, width)?)?, width)))
            })
            .collect::<Result<Vec<_>, Malformed>>()?;
        if !reader.is_empty() {
            return Err(Malformed("lengths of all rows expected"));
        }
        let length = |row: usize| {
            let (least, packed) = &packed[self.code(row)];
            least.wrapping_add(packed.get(self.before(row)))
        };
        Ok((0..self.rows).map(length).collect())
    }
}

fn unpack_times(head: &[u8], data: &[u8], rows: usize) -> Result<Vec<u64>, Malformed> {
    let head = Head::read(&mut Reader::new(head), rows)?;
    if head.data_length() != data.len() || head.pool_length() > 0 {
        return Err(Malformed("times as long as their head says expected"));
    }
    let column = Column::open(&head, data, &[])?;
    let mut times = Vec::new();
    column.numbers().ok_or(Malformed("numbers expected"))?.decode(&mut times);
    Ok(times)
}

impl Facts {
    fn read(bytes: &[u8], rows: usize) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let runs_end = |end: u64| u32::try_from(end).ok().filter(|end| *end as usize <= rows);
        let too_long = Malformed("runs of as many rows as the block has expected");
        let (mut origins, mut end) = (Vec::new(), 0u64);
        while end < rows as u64 {
            let origin = reader.below(u32::MAX as usize)? as u32;
            end = end.saturating_add(reader.number()?.max(1));
            origins.push((origin, runs_end(end).ok_or(too_long)?));
        }
        let (mut observed, mut before, mut end) = (Vec::new(), 0i64, 0u64);
        while end < rows as u64 {
            before = before.wrapping_add(reader.signed()?);
            end = end.saturating_add(reader.number()?.max(1));
            observed.push((Timestamp(before), runs_end(end).ok_or(too_long)?));
        }
        let mut counts: std::collections::BTreeMap<u32, usize> = std::collections::BTreeMap::new();
        let mut start = 0;
        for (origin, end) in &origins {
            *counts.entry(*origin).or_insert(0) += *end as usize - start;
            start = *end as usize;
        }
        let positions = counts
            .into_iter()
            .map(|(origin, rows)| Ok((origin, Positions::read(&mut reader, rows)?)))
            .collect::<Result<_, Malformed>>()?;
        let indexes = match reader.byte()? {
            0 => Vec::new(),
            _ => (0..rows).map(|_| Ok(reader.below(1 << 32)? as u32)).collect::<Result<_, Malformed>>()?,
        };
        if reader.is_empty() {
            Ok(Self { origins, observed, positions, indexes })
        } else {
            Err(Malformed("nothing more expected after a block"))
        }
    }
}

fn at<T: Copy>(runs: &[(T, u32)], row: usize) -> Option<T> {
    runs.get(runs.partition_point(|(_, end)| *end as usize <= row)).map(|(value, _)| *value)
}
