//! What rows say, in the order of shapes and ranks: for plans that look at rows while chunks are asked. Each kind is
//! brought together in one walk over the blocks that a search looks at, when it is first needed, by whichever thread
//! needs it; the others wait.

use super::{SealedShard, reader::Reader};
use crate::{
    Error,
    bits::Bits,
    blocks::{BLOCK_ROWS, Block, Codes},
    bytes::Malformed,
    plan::{RowTest, id_matches},
    time_text::{TimeFormat, TimeTest},
};
use millrace_model::{RecordId, Timestamp, ValueRef};
use std::{
    collections::HashMap,
    ops::Range,
    ptr::from_ref,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

/// See the module.
pub(super) struct Unfolded<'q> {
    shard: &'q SealedShard,
    /// Of no others is anything known.
    blocks: Range<usize>,
    times: OnceLock<Vec<Timestamp>>,
    observed: OnceLock<Vec<Timestamp>>,
    origins: OnceLock<Vec<u32>>,
    positions: OnceLock<Vec<(u64, u32)>>,
    /// Held while one of the above is made.
    making: Mutex<()>,
    passing: Mutex<HashMap<TestKey, Arc<Bits>>>,
}

/// Tells tests apart by where what they ask for lies, and in what times are spelled.
type TestKey = (usize, Option<TimeFormat>);

impl<'q> Unfolded<'q> {
    /// For a search that looks at some rows.
    pub(super) fn new(shard: &'q SealedShard, rows: &Range<u32>) -> Self {
        Self {
            shard,
            blocks: rows.start as usize / BLOCK_ROWS..(rows.end as usize).div_ceil(BLOCK_ROWS),
            times: OnceLock::new(),
            observed: OnceLock::new(),
            origins: OnceLock::new(),
            positions: OnceLock::new(),
            making: Mutex::default(),
            passing: Mutex::default(),
        }
    }

    /// Where each row is sorted.
    pub(super) fn times(&self, reader: &Reader<'_>) -> Result<&[Timestamp], Error> {
        self.get(reader, &self.times, |block, codes, put| {
            let mut times = block.times()?;
            codes.each(0..block.rows(), |code| put(code, times.next().unwrap_or_default()));
            Ok(())
        })
    }

    /// When each row was observed.
    pub(super) fn observed(&self, reader: &Reader<'_>) -> Result<&[Timestamp], Error> {
        self.get(reader, &self.observed, |block, codes, put| {
            for (time, rows) in block.observations()? {
                codes.each(rows, |code| put(code, time));
            }
            Ok(())
        })
    }

    /// The origin of each row.
    pub(super) fn origins(&self, reader: &Reader<'_>) -> Result<&[u32], Error> {
        self.get(reader, &self.origins, |block, codes, put| {
            for (origin, rows) in block.origins()? {
                codes.each(rows, |code| put(code, origin));
            }
            Ok(())
        })
    }

    /// Where each row lies in its source, and its index there.
    pub(super) fn positions(&self, reader: &Reader<'_>) -> Result<&[(u64, u32)], Error> {
        self.get(reader, &self.positions, |block, codes, put| {
            let positions = block.positions()?;
            let (mut at, mut problem) = (0, None);
            codes.each(0..block.rows(), |code| {
                match block.index(at) {
                    Ok(index) => put(code, (positions[at], index)),
                    Err(malformed) => problem = Some(malformed),
                }
                at += 1;
            });
            problem.map_or(Ok(()), Err)
        })
    }

    /// Brings together what `each` says of the rows of a block, in turn, with their codes.
    fn get<'u, T: Copy + Default>(
        &self,
        reader: &Reader<'_>,
        cell: &'u OnceLock<Vec<T>>,
        mut each: impl FnMut(&Block, &Codes, &mut dyn FnMut(usize, T)) -> Result<(), Malformed>,
    ) -> Result<&'u [T], Error> {
        if let Some(known) = cell.get() {
            return Ok(known);
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = cell.get() {
            return Ok(known);
        }
        let mut all = vec![T::default(); self.shard.meta().records as usize];
        for number in self.blocks.clone() {
            let block = reader.block(number)?;
            let mut next = self.next(number)?;
            block
                .codes()
                .and_then(|codes| {
                    each(&block, codes, &mut |code, value| {
                        if let Some(place) = all.get_mut(next[code] as usize) {
                            *place = value;
                        }
                        next[code] += 1;
                    })
                })
                .map_err(|problem| self.shard.broken(problem))?;
        }
        Ok(cell.get_or_init(|| all))
    }

    /// Where the next row of each shape of a block belongs.
    fn next(&self, block: usize) -> Result<Vec<u32>, Error> {
        let place = |local: &crate::blocks::Local| self.shard.rows_before[local.shape as usize] + local.rank;
        Ok(self.shard.ranks()?.of(block).iter().map(place).collect())
    }

    /// The rows that pass a test.
    pub(super) fn passing(&self, reader: &Reader<'_>, test: &RowTest<'_>) -> Result<Arc<Bits>, Error> {
        let key = match test {
            RowTest::Origin(passes) => (passes.as_ptr().addr(), None),
            RowTest::Time(test) | RowTest::Observed(test) | RowTest::Id(test) => {
                (from_ref(*test).addr(), None)
            }
            RowTest::TimeWords { text, format } => (from_ref(*text).addr(), Some(*format)),
        };
        let mut passing = self.passing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = passing.get(&key) {
            return Ok(Arc::clone(known));
        }
        let mut all = Bits::none(self.shard.meta().records as u32);
        for number in self.blocks.clone() {
            let block = reader.block(number)?;
            let runs = self.runs(test, &block)?;
            let mut next = self.next(number)?;
            if matches!(&runs[..], [run] if *run == (0..block.rows())) {
                for (local, next) in self.shard.ranks()?.of(number).iter().zip(next) {
                    all.insert_range(next..next + local.rows);
                }
            } else if !runs.is_empty() {
                let codes = block.codes().map_err(|problem| self.shard.broken(problem))?;
                let mut at = 0;
                for run in &runs {
                    codes.each(at..run.start, |code| next[code] += 1);
                    codes.each(run.clone(), |code| {
                        all.insert(next[code]);
                        next[code] += 1;
                    });
                    at = run.end;
                }
            }
        }
        Ok(Arc::clone(passing.entry(key).or_insert(Arc::new(all))))
    }

    /// Runs of rows of a block that pass a test.
    fn runs(&self, test: &RowTest<'_>, block: &Block) -> Result<Vec<Range<usize>>, Error> {
        let broken = |problem| self.shard.broken(problem);
        Ok(match test {
            RowTest::Origin(passes) => {
                let passing = |origin: u32| passes.get(origin as usize).is_some_and(|passes| *passes);
                let runs = block.origins().map_err(broken)?;
                runs.filter(|(origin, _)| passing(*origin)).map(|(_, run)| run).collect()
            }
            RowTest::Observed(test) => {
                let runs = block.observations().map_err(broken)?;
                runs.filter(|(time, _)| test.matches(&ValueRef::Time(*time))).map(|(_, run)| run).collect()
            }
            RowTest::Time(test) => {
                let mut last: Option<(Timestamp, bool)> = None;
                runs_of(block.times().map_err(broken)?.map(|time| match last {
                    Some((before, passes)) if before == time => passes,
                    _ => {
                        let passes = test.matches(&ValueRef::Time(time));
                        last = Some((time, passes));
                        passes
                    }
                }))
            }
            RowTest::TimeWords { text, format } => {
                let mut test = TimeTest::new(text, *format);
                runs_of(block.times().map_err(broken)?.map(|time| test.passes(time)))
            }
            RowTest::Id(test) => {
                let positions = block.positions().map_err(broken)?;
                let mut passing = Vec::with_capacity(positions.len());
                for (origin, run) in block.origins().map_err(broken)? {
                    let source = self.shard.source(origin)?;
                    for at in run {
                        let index = block.index(at).map_err(broken)?;
                        let id = RecordId { source, position: positions[at], index };
                        passing.push(id_matches(test, id));
                    }
                }
                runs_of(passing.into_iter())
            }
        })
    }
}

/// The runs of rows that pass.
fn runs_of(rows: impl Iterator<Item = bool>) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (row, passes) in rows.enumerate() {
        match runs.last_mut() {
            Some(run) if passes && run.end == row => run.end += 1,
            _ if passes => runs.push(row..row + 1),
            _ => {}
        }
    }
    runs
}
