//! From the answers of chunks to rows in their order: totals, histograms, and the first hits.
//!
//! Between two rows lie, of each shape, the ranks from one to another; so a stretch of rows is counted chunk by chunk,
//! and only the blocks at its ends are unpacked.

use super::{
    SealedShard,
    answers::{Answer, Answers, FEW_CHUNKS},
    reader::Reader,
};
use crate::{
    Error,
    bits::Bits,
    blocks::{BLOCK_ROWS, Local},
    leaf::{LeafRequest, LeafResponse, Order, Place, bucket},
    threads::{Threads, go_on},
};
use millrace_model::{Row, TimeRange, Timestamp};
use std::{collections::BTreeMap, ops::Range};

/// A histogram of more buckets than this is counted row by row.
const MAX_BOUNDS: usize = 4096;

/// The rows of a stretch of time.
pub(super) fn inside(
    shard: &SealedShard,
    reader: &Reader<'_>,
    range: TimeRange,
) -> Result<Range<u32>, Error> {
    let meta = shard.meta();
    if !range.overlaps_closed(meta.first, meta.last) {
        return Ok(0..0);
    }
    let start = first_where(shard, reader, |time| time >= range.from)?;
    let end = first_where(shard, reader, |time| time >= range.from && !range.contains(time))?;
    Ok(start..end.max(start))
}

/// The first row whose time satisfies what all later ones satisfy too; the number of rows if none does.
fn first_where(
    shard: &SealedShard,
    reader: &Reader<'_>,
    test: impl Fn(Timestamp) -> bool,
) -> Result<u32, Error> {
    let blocks = &shard.directory.blocks;
    let number = blocks.partition_point(|block| !test(block.last));
    let Some(place) = blocks.get(number) else { return Ok(shard.meta().records as u32) };
    let at = if test(place.first) {
        0
    } else {
        reader.block(number)?.first_where(test).map_err(|problem| shard.broken(problem))?
    };
    Ok((number * BLOCK_ROWS + at) as u32)
}

/// `rows` is not empty.
pub(super) fn search<'q>(
    shard: &SealedShard,
    reader: &Reader<'q>,
    answers: &Answers<'q>,
    rows: Range<u32>,
    request: &LeafRequest,
    threads: Option<&dyn Threads>,
) -> Result<LeafResponse, Error> {
    let search = Search { shard, reader, answers, threads };
    let (total, histogram) = match request.histogram.filter(|interval| *interval > 0) {
        Some(interval) => {
            let histogram = search.histogram(&rows, interval)?;
            (histogram.values().sum(), histogram)
        }
        None => (search.count(&[rows.start, rows.end])?.into_iter().sum(), BTreeMap::new()),
    };
    let hits = search.hits(rows, request, total)?;
    Ok(LeafResponse { hits, total, histogram, scanned_bytes: reader.read_bytes.get(), gathered: None })
}

/// Calls `visit` with every row that matches, of some.
pub(super) fn each<'q>(
    shard: &SealedShard,
    reader: &Reader<'q>,
    answers: &Answers<'q>,
    rows: Range<u32>,
    visit: &mut dyn FnMut(u32),
) -> Result<(), Error> {
    let search = Search { shard, reader, answers, threads: None };
    search.walk(rows, Order::OldestFirst, &mut |row| {
        visit(row);
        Ok(true)
    })?;
    Ok(())
}

/// Calls `visit` with each chunk that has rows that match, of some, and with those, until it has enough.
pub(super) fn each_chunk<'q>(
    shard: &SealedShard,
    reader: &Reader<'q>,
    answers: &Answers<'q>,
    rows: Range<u32>,
    visit: &mut dyn FnMut(u32, Bits) -> Result<bool, Error>,
) -> Result<(), Error> {
    let search = Search { shard, reader, answers, threads: None };
    let shapes = search.shapes();
    let ranks = search.ranks_inside(&rows, &shapes)?;
    for (shape, ranks) in shapes.iter().zip(ranks) {
        for (number, rows) in shard.chunks_of_ranks(*shape, ranks) {
            let mut matching = Bits::none(shard.directory.chunks[number as usize].rows);
            matching.insert_range(rows);
            match &*answers.of(number)? {
                Answer::None => continue,
                Answer::All => {}
                Answer::Some(bits) => matching.and_with(bits),
            }
            if !matching.is_empty() && !visit(number, matching)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Calls `visit` with each chunk that has some of these rows, whether they match or not.
pub(super) fn each_chunk_inside<'q>(
    shard: &SealedShard,
    reader: &Reader<'q>,
    answers: &Answers<'q>,
    rows: Range<u32>,
    visit: &mut dyn FnMut(u32),
) -> Result<(), Error> {
    let search = Search { shard, reader, answers, threads: None };
    let shapes: Vec<u32> = (0..shard.directory.shapes.len() as u32).collect();
    let ranks = search.ranks_inside(&rows, &shapes)?;
    for (shape, ranks) in shapes.iter().zip(ranks) {
        shard.chunks_of_ranks(*shape, ranks).for_each(|(number, _)| visit(number));
    }
    Ok(())
}

/// Of some rows, those in the block that an order begins with.
fn first_block(rows: &Range<u32>, order: Order) -> Range<u32> {
    const ROWS: u32 = BLOCK_ROWS as u32;
    match order {
        Order::NewestFirst => rows.start.max(rows.end.saturating_sub(1) / ROWS * ROWS)..rows.end,
        Order::OldestFirst => rows.start..rows.end.min((rows.start / ROWS + 1).saturating_mul(ROWS)),
    }
}

#[derive(Clone, Copy)]
struct Search<'a, 'q> {
    shard: &'a SealedShard,
    reader: &'a Reader<'q>,
    answers: &'a Answers<'q>,
    threads: Option<&'a dyn Threads>,
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
        if self.answers.is_all() {
            return Ok(bounds.windows(2).map(|pair| u64::from(pair[1] - pair[0])).collect());
        }
        let shapes = self.shapes();
        self.prepare(bounds, &shapes)?;
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

    /// Has the answers found that counting between bounds needs.
    fn prepare(&self, bounds: &[u32], shapes: &[u32]) -> Result<(), Error> {
        let (Some(threads), Some(first), Some(last)) = (self.threads, bounds.first(), bounds.last()) else {
            return Ok(());
        };
        if self.answers.candidates().is_some_and(|chunks| chunks.count() as usize <= FEW_CHUNKS) {
            return Ok(());
        }
        let ranks = self.ranks_inside(&(*first..*last), shapes)?.into_iter();
        let chunks = shapes.iter().zip(ranks).flat_map(|(shape, ranks)| {
            let is_whole = |number: u32, rows: Range<u32>| {
                bounds.len() == 2 && rows == (0..self.shard.directory.chunks[number as usize].rows)
            };
            let chunks = self.shard.chunks_of_ranks(*shape, ranks);
            chunks.map(move |(number, rows)| (number, is_whole(number, rows)))
        });
        self.answers.prepare(chunks, threads)
    }

    /// The ranks of these shapes' rows that are among some rows.
    fn ranks_inside(&self, rows: &Range<u32>, shapes: &[u32]) -> Result<Vec<Range<u32>>, Error> {
        let mut sweep = Sweep { number: 0, reached: vec![0; self.shard.directory.shapes.len()] };
        let from = self.ranks_at(rows.start, shapes, &mut sweep)?;
        let to = self.ranks_at(rows.end, shapes, &mut sweep)?;
        Ok(from.into_iter().zip(to).map(|(from, to)| from..to).collect())
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
            let codes = block.codes().map_err(|problem| self.shard.broken(problem))?;
            codes.each(0..at, |code| counts[code] += 1);
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
        for (number, rows) in self.shard.chunks_of_ranks(shape, ranks) {
            go_on(self.threads)?;
            count += self.answers.matching(number, rows)?;
        }
        Ok(count)
    }

    fn histogram(&self, range: &Range<u32>, interval: u64) -> Result<BTreeMap<i64, u64>, Error> {
        let (first, last) = (self.reader.time(range.start)?, self.reader.time(range.end - 1)?);
        let span = i128::from(last.0) - i128::from(first.0);
        if span / i128::from(interval) >= MAX_BOUNDS as i128 {
            return self.histogram_by_row(range, interval);
        }
        let (mut starts, mut bounds) = (vec![bucket(first, interval)], vec![range.start]);
        loop {
            let next = i128::from(*starts.last().unwrap_or(&0)).max(i128::from(bucket(first, interval)));
            let next = next.div_euclid(i128::from(interval)) * i128::from(interval) + i128::from(interval);
            let Some(next) = i64::try_from(next).ok().filter(|next| *next <= last.0) else { break };
            bounds.push(first_where(self.shard, self.reader, |time| time.0 >= next)?);
            starts.push(next);
        }
        bounds.push(range.end);
        let counts = self.count(&bounds)?;
        Ok(starts.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect())
    }

    fn histogram_by_row(&self, range: &Range<u32>, interval: u64) -> Result<BTreeMap<i64, u64>, Error> {
        let mut histogram = BTreeMap::new();
        self.walk(range.clone(), Order::OldestFirst, &mut |row| {
            *histogram.entry(bucket(self.reader.time(row)?, interval)).or_insert(0) += 1;
            Ok(true)
        })?;
        Ok(histogram)
    }

    /// Calls `visit` with the rows that match, in order, until it has enough. Says whether it wants more.
    fn walk(
        &self,
        range: Range<u32>,
        order: Order,
        visit: &mut dyn FnMut(u32) -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        let shapes = self.shapes();
        let blocks = range.start as usize / BLOCK_ROWS..(range.end as usize).div_ceil(BLOCK_ROWS);
        let newest = order == Order::NewestFirst;
        for step in 0..blocks.len() {
            go_on(self.threads)?;
            let number = if newest { blocks.end - 1 - step } else { blocks.start + step };
            let local = self.shard.ranks()?.of(number);
            let mut possible = vec![false; local.len()];
            for (possible, Local { shape, rank, rows }) in possible.iter_mut().zip(local) {
                let ranks = *rank..rank + rows;
                // What is frequent is found in the first block, in a few of its chunks.
                *possible = shapes.binary_search(shape).is_ok()
                    && if step == 0 {
                        self.shard
                            .chunks_of_ranks(*shape, ranks)
                            .any(|(number, _)| self.answers.may_hold(number))
                    } else {
                        self.count_of(*shape, ranks)? > 0
                    };
            }
            if !possible.contains(&true) {
                continue;
            }
            let block = self.reader.block(number)?;
            let codes = block.codes().map_err(|problem| self.shard.broken(problem))?;
            let base = number * BLOCK_ROWS;
            let from = (range.start as usize).saturating_sub(base);
            let to = (range.end as usize - base).min(block.rows());
            // The ranks of the next row of each shape, in the direction of the walk.
            let mut next: Vec<u32> = local.iter().map(|local| local.rank).collect();
            codes.each(0..if newest { to } else { from }, |code| next[code] += 1);
            for step in 0..to - from {
                let at = if newest { to - 1 - step } else { from + step };
                let code = codes.of(at);
                let rank = if newest {
                    next[code] -= 1;
                    next[code]
                } else {
                    next[code] += 1;
                    next[code] - 1
                };
                if !possible[code] {
                    continue;
                }
                let chunk = self.shard.chunk_of(local[code].shape, rank);
                let matched =
                    self.answers.of(chunk)?.holds(rank - self.shard.directory.chunks[chunk as usize].first);
                if matched && !visit((base + at) as u32)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// The first hits, out of so many.
    fn hits(&self, mut range: Range<u32>, request: &LeafRequest, total: u64) -> Result<Vec<Row>, Error> {
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
        let mut take = |row| {
            rows.push(row);
            Ok(rows.len() < request.limit)
        };
        let first = first_block(&range, request.order);
        let likely = total * first.len() as u64 / u64::from(self.records());
        if likely >= request.limit as u64
            && let Some(near) = self.answers.near(&first)
        {
            let near = Search { answers: &near, ..*self };
            if !near.walk(first.clone(), request.order, &mut take)? {
                range = 0..0;
            } else if request.order == Order::NewestFirst {
                range.end = first.start;
            } else {
                range.start = first.end;
            }
        }
        self.walk(range, request.order, &mut take)?;
        self.reader.rows(&rows, self.threads)
    }

    /// The first row of `range` whose place satisfies what all later ones satisfy too; its end if none does.
    fn first_from(&self, range: &Range<u32>, test: impl Fn(Place) -> bool) -> Result<u32, Error> {
        let Range { mut start, mut end } = range.clone();
        while start < end {
            let middle = start + (end - start) / 2;
            if test((self.reader.time(middle)?, self.reader.id(middle)?)) {
                end = middle;
            } else {
                start = middle + 1;
            }
        }
        Ok(start)
    }
}
