//! Reading blocks of rows, part by part as it is asked for.

use super::{BlockPlace, Positions};
use crate::{
    bytes::{Malformed, Reader},
    column::{
        Column, Head, Numbers,
        pack::{Packed, packed_length},
    },
    zstd_frame::{read_frame, skip_frame},
};
use millrace_model::Timestamp;
use std::{cell::OnceCell, ops::Range};

/// One block. Its parts are unpacked when they are asked for.
pub(crate) struct Block {
    rows: usize,
    shapes: usize,
    first: Timestamp,
    unit: u64,
    bytes: Vec<u8>,
    times_head: Head,
    parts: Parts,
    /// In units since the first.
    times: OnceCell<Vec<u64>>,
    codes: OnceCell<Codes>,
    facts: OnceCell<Facts>,
    positions: OnceCell<Vec<u64>>,
}

/// Where the parts of a block lie in its bytes.
struct Parts {
    times: Range<usize>,
    codes: Range<usize>,
    facts: Range<usize>,
    /// Packed, by shape.
    lengths: Range<usize>,
}

/// The shape of each row of a block, by its number among the block's.
pub(crate) struct Codes {
    bytes: Vec<u8>,
    wide: bool,
}

impl Codes {
    pub(crate) fn of(&self, row: usize) -> usize {
        if self.wide {
            let pair = self.bytes.get(2 * row..2 * row + 2);
            pair.map_or(usize::MAX, |pair| usize::from(u16::from_le_bytes([pair[0], pair[1]])))
        } else {
            self.bytes.get(row).map_or(usize::MAX, |code| usize::from(*code))
        }
    }

    /// Calls `visit` with the code of each row of a stretch.
    pub(crate) fn each(&self, rows: Range<usize>, mut visit: impl FnMut(usize)) {
        if self.wide {
            for pair in self.bytes.get(2 * rows.start..2 * rows.end).unwrap_or_default().as_chunks().0 {
                visit(usize::from(u16::from_le_bytes(*pair)));
            }
        } else {
            for code in self.bytes.get(rows).unwrap_or_default() {
                visit(usize::from(*code));
            }
        }
    }

    /// How many rows of a stretch have a code.
    pub(crate) fn count(&self, code: usize, rows: Range<usize>) -> usize {
        let mut count = 0;
        self.each(rows, |found| count += usize::from(found == code));
        count
    }
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
    pub(crate) fn read(bytes: Vec<u8>, place: &BlockPlace, shapes: usize) -> Result<Self, Malformed> {
        let rows = place.rows as usize;
        let mut reader = Reader::new(&bytes);
        let mut packed = Reader::new(reader.bytes()?);
        let unit = packed.number()?;
        let times_head = Head::read(&mut Reader::new(packed.bytes()?), rows)?;
        let times = packed.bytes()?;
        if times_head.data_length() != times.len() || times_head.pool_length() > 0 {
            return Err(Malformed("times as long as their head says expected"));
        }
        let inside = |part: &[u8]| {
            let from = part.as_ptr() as usize - bytes.as_ptr() as usize;
            from..from + part.len()
        };
        let parts = Parts {
            times: inside(times),
            codes: inside(skip_frame(&mut reader)?),
            facts: inside(skip_frame(&mut reader)?),
            lengths: inside(reader.bytes()?),
        };
        if !reader.is_empty() {
            return Err(Malformed("nothing more expected after a block"));
        }
        Ok(Self {
            rows,
            shapes,
            first: place.first,
            unit,
            times_head,
            parts,
            bytes,
            times: OnceCell::new(),
            codes: OnceCell::new(),
            facts: OnceCell::new(),
            positions: OnceCell::new(),
        })
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    fn instant(&self, units: u64) -> Timestamp {
        Timestamp(self.first.0.wrapping_add(units.wrapping_mul(self.unit) as i64))
    }

    /// Where each row is sorted.
    pub(crate) fn times(&self) -> Result<impl Iterator<Item = Timestamp>, Malformed> {
        let times = get(&self.times, || {
            let mut times = Vec::with_capacity(self.rows);
            with_numbers(&self.times_head, &self.bytes[self.parts.times.clone()], |all| {
                all.decode(&mut times);
            })?;
            Ok(times)
        })?;
        Ok(times.iter().map(|units| self.instant(*units)))
    }

    /// Where a row is sorted.
    pub(crate) fn time(&self, row: usize) -> Result<Timestamp, Malformed> {
        let units = match self.times.get() {
            Some(times) => times.get(row).copied().unwrap_or_default(),
            None => with_numbers(&self.times_head, &self.bytes[self.parts.times.clone()], |all| {
                if row < self.rows { all.get(row) } else { 0 }
            })?,
        };
        Ok(self.instant(units))
    }

    /// The first row whose time satisfies what all later ones satisfy too; the number of rows if none does.
    pub(crate) fn first_where(&self, test: impl Fn(Timestamp) -> bool) -> Result<usize, Malformed> {
        with_numbers(&self.times_head, &self.bytes[self.parts.times.clone()], |all| {
            let mut range = 0..self.rows;
            while range.start < range.end {
                let middle = range.start.midpoint(range.end);
                if test(self.instant(all.get(middle))) {
                    range.end = middle;
                } else {
                    range.start = middle + 1;
                }
            }
            range.start
        })
    }

    /// The shape of each row.
    pub(crate) fn codes(&self) -> Result<&Codes, Malformed> {
        get(&self.codes, || {
            let bytes = read_frame(&mut Reader::new(&self.bytes[self.parts.codes.clone()]))?;
            let codes = Codes { bytes, wide: self.shapes > 256 };
            let mut most = 0;
            codes.each(0..self.rows, |code| most = most.max(code));
            let length = self.rows * if codes.wide { 2 } else { 1 };
            if codes.bytes.len() == length && (most < self.shapes || self.rows == 0) {
                Ok(codes)
            } else {
                Err(Malformed("a shape of the block for each row expected"))
            }
        })
    }

    fn facts(&self) -> Result<&Facts, Malformed> {
        get(&self.facts, || {
            let bytes = read_frame(&mut Reader::new(&self.bytes[self.parts.facts.clone()]))?;
            Facts::read(&bytes, self.rows)
        })
    }

    /// Runs of rows with one origin.
    pub(crate) fn origins(&self) -> Result<impl Iterator<Item = (u32, Range<usize>)>, Malformed> {
        Ok(runs(&self.facts()?.origins))
    }

    /// Runs of rows observed at one time.
    pub(crate) fn observations(&self) -> Result<impl Iterator<Item = (Timestamp, Range<usize>)>, Malformed> {
        Ok(runs(&self.facts()?.observed))
    }

    pub(crate) fn origin(&self, row: usize) -> Result<u32, Malformed> {
        Ok(at(&self.facts()?.origins, row).unwrap_or(u32::MAX))
    }

    pub(crate) fn observed(&self, row: usize) -> Result<Timestamp, Malformed> {
        Ok(at(&self.facts()?.observed, row).unwrap_or_default())
    }

    /// What tells rows of one position apart.
    pub(crate) fn index(&self, row: usize) -> Result<u32, Malformed> {
        Ok(self.facts()?.index(row))
    }

    /// The row of one of these origins at a position, of those there the one with that index.
    pub(crate) fn find(
        &self,
        origins: &[u32],
        position: u64,
        index: u32,
    ) -> Result<Option<usize>, Malformed> {
        let (facts, positions) = (self.facts()?, self.positions()?);
        let is_it = |row: &usize| positions[*row] == position && facts.index(*row) == index;
        let mut of_origins = runs(&facts.origins).filter(|(origin, _)| origins.contains(origin));
        Ok(of_origins.find_map(|(_, run)| run.into_iter().find(is_it)))
    }

    /// Where each row lies in its source.
    pub(crate) fn positions(&self) -> Result<&[u64], Malformed> {
        let positions = get(&self.positions, || {
            let (facts, lengths) = (self.facts()?, self.unpack_lengths()?);
            let mut positions = vec![0; self.rows];
            let mut rows_of = vec![Vec::new(); facts.positions.len()];
            for (origin, run) in runs(&facts.origins) {
                let at = facts.positions.binary_search_by_key(&origin, |(of, _)| *of);
                if let Ok(at) = at {
                    rows_of[at].extend(run);
                }
            }
            for ((_, of_origin), rows) in facts.positions.iter().zip(&rows_of) {
                let length = |ordinal: usize| lengths.get(rows[ordinal]).copied().unwrap_or_default();
                of_origin.each(length, |ordinal, position| positions[rows[ordinal]] = position);
            }
            Ok(positions)
        })?;
        Ok(positions)
    }

    /// The lengths of the lines; none where no position follows from them.
    fn unpack_lengths(&self) -> Result<Vec<u64>, Malformed> {
        let lengths = &self.bytes[self.parts.lengths.clone()];
        if lengths.is_empty() {
            return Ok(Vec::new());
        }
        let codes = self.codes()?;
        let mut counts = vec![0; self.shapes];
        codes.each(0..self.rows, |code| counts[code] += 1);
        let mut reader = Reader::new(lengths);
        // Of the rows of each shape in turn; then where the next row of each has its own.
        let mut by_shape = vec![0; self.rows];
        let (mut next, mut start) = (Vec::with_capacity(self.shapes), 0);
        for count in counts {
            let (least, width) = (reader.number()?, u32::from(reader.byte()?));
            if width > 64 {
                return Err(Malformed("numbers of at most 64 bits expected"));
            }
            let packed = Packed::new(reader.take(packed_length(count, width)?)?, width);
            let of_shape = &mut by_shape[start..start + count];
            packed.unpack(0, of_shape);
            for length in of_shape {
                *length = least.wrapping_add(*length);
            }
            next.push(start);
            start += count;
        }
        if !reader.is_empty() {
            return Err(Malformed("lengths of all rows expected"));
        }
        let mut all = Vec::with_capacity(self.rows);
        codes.each(0..self.rows, |code| {
            all.push(by_shape[next[code]]);
            next[code] += 1;
        });
        Ok(all)
    }
}

fn get<T>(cell: &OnceCell<T>, make: impl FnOnce() -> Result<T, Malformed>) -> Result<&T, Malformed> {
    if let Some(known) = cell.get() {
        return Ok(known);
    }
    let made = make()?;
    Ok(cell.get_or_init(|| made))
}

/// Values and the rows that have them, given the ends of their runs.
fn runs<T: Copy>(ends: &[(T, u32)]) -> impl Iterator<Item = (T, Range<usize>)> {
    let mut start = 0;
    ends.iter().map(move |(value, end)| {
        let run = start..*end as usize;
        start = *end as usize;
        (*value, run)
    })
}

fn with_numbers<T>(head: &Head, data: &[u8], ask: impl FnOnce(&Numbers<'_>) -> T) -> Result<T, Malformed> {
    let column = Column::open(head, data, &[])?;
    Ok(ask(column.numbers().ok_or(Malformed("numbers expected"))?))
}

impl Facts {
    fn index(&self, row: usize) -> u32 {
        self.indexes.get(row).copied().unwrap_or_default()
    }

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
