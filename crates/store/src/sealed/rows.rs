//! From the answers of chunks to rows in their order: totals, histograms, and the first hits.
//!
//! Between two rows lie, of each shape, the ranks from one to another; so a stretch of rows is counted chunk by chunk,
//! and only the blocks at its ends are unpacked.

use super::{SealedShard, answers::Answers, reader::Reader};
use crate::{
    Error,
    blocks::{BLOCK_ROWS, Local},
    leaf::{LeafRequest, LeafResponse, Order, Place, bucket},
};
use millrace_model::{Row, TimeRange, Timestamp};
use std::{collections::BTreeMap, ops::Range};

/// A histogram of more buckets than this is counted row by row.
const MAX_BOUNDS: usize = 4096;

pub(super) fn search<'q>(
    shard: &SealedShard,
    reader: &Reader<'q>,
    answers: &Answers<'q>,
    request: &LeafRequest,
) -> Result<LeafResponse, Error> {
    let search = Search { shard, reader, answers };
    let range = search.rows_in(request.range)?;
    if range.is_empty() {
        return Ok(LeafResponse::default());
    }
    let histogram = match request.histogram.filter(|interval| *interval > 0) {
        Some(interval) => search.histogram(&range, interval)?,
        None => BTreeMap::new(),
    };
    let total = if request.histogram.is_some_and(|interval| interval > 0) {
        histogram.values().sum()
    } else {
        search.count(&[range.start, range.end])?.first().copied().unwrap_or_default()
    };
    let hits = search.hits(range, request)?;
    Ok(LeafResponse { hits, total, histogram, scanned_bytes: reader.read_bytes.get() })
}

/// Calls `visit` with every row that matches in a stretch of time.
pub(super) fn each<'q>(
    shard: &SealedShard,
    reader: &Reader<'q>,
    answers: &Answers<'q>,
    range: TimeRange,
    visit: &mut dyn FnMut(u32),
) -> Result<(), Error> {
    let search = Search { shard, reader, answers };
    let rows = search.rows_in(range)?;
    search.walk(rows, Order::OldestFirst, &mut |row| {
        visit(row);
        Ok(true)
    })
}

struct Search<'a, 'q> {
    shard: &'a SealedShard,
    reader: &'a Reader<'q>,
    answers: &'a Answers<'q>,
}

/// The ranks that are reached at the start of a block.
struct Sweep {
    number: usize,
    reached: Vec<u32>,
}

impl Search<'_, '_> {
    fn records(&self) -> u32 {
        self.shard.meta().records as u32
    }

    /// The first row whose time satisfies what all later ones satisfy too; the number of rows if none does.
    fn first_where(&self, test: impl Fn(Timestamp) -> bool) -> Result<u32, Error> {
        let blocks = &self.shard.directory.blocks;
        let number = blocks.partition_point(|block| !test(block.last));
        let Some(place) = blocks.get(number) else { return Ok(self.records()) };
        let at = if test(place.first) { 0 } else { self.reader.block(number)?.first_where(test) };
        Ok((number * BLOCK_ROWS + at) as u32)
    }

    fn rows_in(&self, range: TimeRange) -> Result<Range<u32>, Error> {
        let meta = self.shard.meta();
        if !range.overlaps_closed(meta.first, meta.last) {
            return Ok(0..0);
        }
        let start = self.first_where(|time| time >= range.from)?;
        let end = self.first_where(|time| time >= range.from && !range.contains(time))?;
        Ok(start..end.max(start))
    }

    /// The shapes with chunks that can hold a match.
    fn shapes(&self) -> Vec<u32> {
        let all = 0..self.shard.directory.shapes.len() as u32;
        match self.answers.candidates() {
            None => all.collect(),
            Some(chunks) => {
                let mut shapes: Vec<u32> = chunks
                    .ones(0..chunks.size())
                    .map(|chunk| self.shard.directory.chunks[chunk as usize].shape)
                    .collect();
                shapes.dedup();
                shapes
            }
        }
    }

    /// How many rows match between each two neighbours of ascending row numbers.
    fn count(&self, bounds: &[u32]) -> Result<Vec<u64>, Error> {
        let shapes = self.shapes();
        let mut counts = vec![0; bounds.len().saturating_sub(1)];
        let mut sweep = Sweep { number: 0, reached: vec![0; self.shard.directory.shapes.len()] };
        let mut before: Vec<u32> = Vec::new();
        for (number, bound) in bounds.iter().enumerate() {
            let after = self.ranks_at(*bound, &shapes, &mut sweep)?;
            if let Some(count) = number.checked_sub(1).and_then(|number| counts.get_mut(number)) {
                for (at, shape) in shapes.iter().enumerate() {
                    *count += self.count_of(*shape, before[at]..after[at])?;
                }
            }
            before = after;
        }
        Ok(counts)
    }

    /// How many rows of these shapes lie before a row, which lies behind the last one that was asked for.
    fn ranks_at(&self, row: u32, shapes: &[u32], sweep: &mut Sweep) -> Result<Vec<u32>, Error> {
        let directory = &self.shard.directory;
        if row == 0 {
            return Ok(vec![0; shapes.len()]);
        }
        if row >= self.records() {
            return Ok(shapes.iter().map(|shape| directory.rows[*shape as usize]).collect());
        }
        let (number, at) = Reader::place(row);
        let ranks = self.shard.ranks()?;
        for passed in sweep.number..number {
            for Local { shape, rank, rows } in ranks.of(passed) {
                sweep.reached[*shape as usize] = rank + rows;
            }
        }
        sweep.number = number;
        let mut found: Vec<u32> = shapes.iter().map(|shape| sweep.reached[*shape as usize]).collect();
        if at > 0 {
            let (block, local) = (self.reader.block(number)?, ranks.of(number));
            let mut counts = vec![0; local.len()];
            (0..at).for_each(|row| counts[block.code(row)] += 1);
            for (Local { shape, .. }, count) in local.iter().zip(counts) {
                if let Ok(at) = shapes.binary_search(shape) {
                    found[at] += count;
                }
            }
        }
        Ok(found)
    }

    /// How many rows of a shape match, of some of its ranks.
    fn count_of(&self, shape: u32, ranks: Range<u32>) -> Result<u64, Error> {
        let mut count = 0;
        let mut rank = ranks.start;
        while rank < ranks.end {
            let number = self.shard.chunk_of(shape, rank);
            let place = self.shard.directory.chunks[number as usize];
            let end = ranks.end.min(place.first + place.rows);
            let answer = self.answers.of(number)?;
            count += if end - rank == place.rows {
                answer.count(place.rows)
            } else {
                answer.count_in(rank - place.first..end - place.first)
            };
            rank = end;
        }
        Ok(count)
    }

    fn histogram(&self, range: &Range<u32>, interval: u64) -> Result<BTreeMap<i64, u64>, Error> {
        let first = self.time(range.start)?;
        let last = self.time(range.end - 1)?;
        let span = i128::from(last.0) - i128::from(first.0);
        if span / i128::from(interval) >= MAX_BOUNDS as i128 {
            return self.histogram_by_row(range, interval);
        }
        let (mut starts, mut bounds) = (vec![bucket(first, interval)], vec![range.start]);
        loop {
            let next = i128::from(*starts.last().unwrap_or(&0)).max(i128::from(bucket(first, interval)));
            let next = next.div_euclid(i128::from(interval)) * i128::from(interval) + i128::from(interval);
            let Some(next) = i64::try_from(next).ok().filter(|next| *next <= last.0) else { break };
            bounds.push(self.first_where(|time| time.0 >= next)?);
            starts.push(next);
        }
        bounds.push(range.end);
        let counts = self.count(&bounds)?;
        Ok(starts.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect())
    }

    fn histogram_by_row(&self, range: &Range<u32>, interval: u64) -> Result<BTreeMap<i64, u64>, Error> {
        let mut histogram = BTreeMap::new();
        self.walk(range.clone(), Order::OldestFirst, &mut |row| {
            *histogram.entry(bucket(self.time(row)?, interval)).or_insert(0) += 1;
            Ok(true)
        })?;
        Ok(histogram)
    }

    fn time(&self, row: u32) -> Result<Timestamp, Error> {
        let (number, at) = Reader::place(row);
        Ok(self.reader.block(number)?.time(at))
    }

    /// Calls `visit` with the rows that match, in order, until it has enough.
    fn walk(
        &self,
        range: Range<u32>,
        order: Order,
        visit: &mut dyn FnMut(u32) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let mut possible = vec![false; self.shard.directory.shapes.len()];
        self.shapes().into_iter().for_each(|shape| possible[shape as usize] = true);
        let blocks = range.start as usize / BLOCK_ROWS..(range.end as usize).div_ceil(BLOCK_ROWS);
        let newest = order == Order::NewestFirst;
        for step in 0..blocks.len() {
            let number = if newest { blocks.end - 1 - step } else { blocks.start + step };
            let local = self.shard.ranks()?.of(number);
            if !local.iter().any(|local| possible[local.shape as usize]) {
                continue;
            }
            let block = self.reader.block(number)?;
            let base = number * BLOCK_ROWS;
            let from = (range.start as usize).saturating_sub(base);
            let to = (range.end as usize - base).min(block.rows());
            // The ranks of the next row of each shape, in the direction of the walk.
            let mut next: Vec<u32> = local.iter().map(|local| local.rank).collect();
            let counted = if newest { to } else { from };
            (0..counted).for_each(|at| next[block.code(at)] += 1);
            for step in 0..to - from {
                let at = if newest { to - 1 - step } else { from + step };
                let code = block.code(at);
                let rank = if newest {
                    next[code] -= 1;
                    next[code]
                } else {
                    next[code] += 1;
                    next[code] - 1
                };
                let shape = local[code].shape;
                if !possible[shape as usize] {
                    continue;
                }
                let chunk = self.shard.chunk_of(shape, rank);
                let matched =
                    self.answers.of(chunk)?.holds(rank - self.shard.directory.chunks[chunk as usize].first);
                if matched && !visit((base + at) as u32)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn hits(&self, mut range: Range<u32>, request: &LeafRequest) -> Result<Vec<Row>, Error> {
        if request.limit == 0 {
            return Ok(Vec::new());
        }
        if let Some(after) = request.after {
            match request.order {
                Order::NewestFirst => range.end = self.first_from(&range, |place| place >= after)?,
                Order::OldestFirst => range.start = self.first_from(&range, |place| place > after)?,
            }
        }
        let mut rows = Vec::new();
        self.walk(range, request.order, &mut |row| {
            rows.push(row);
            Ok(rows.len() < request.limit)
        })?;
        rows.into_iter().map(|row| self.reader.row(row)).collect()
    }

    /// The first row of `range` whose place satisfies what all later ones satisfy too; its end if none does.
    fn first_from(&self, range: &Range<u32>, test: impl Fn(Place) -> bool) -> Result<u32, Error> {
        let Range { mut start, mut end } = range.clone();
        while start < end {
            let middle = start + (end - start) / 2;
            if test((self.time(middle)?, self.reader.id(middle)?)) {
                end = middle;
            } else {
                start = middle + 1;
            }
        }
        Ok(start)
    }
}
