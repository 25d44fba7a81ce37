//! What rows say, in the order of shapes and ranks: for plans that look at rows while chunks are asked. Each kind is
//! brought together in one walk over all blocks, when it is first needed.

use super::{SealedShard, reader::Reader};
use crate::{
    Error,
    blocks::{BLOCK_ROWS, Block},
};
use millrace_model::Timestamp;
use std::cell::OnceCell;

/// See the module.
#[derive(Default)]
pub(super) struct Unfolded {
    rows: OnceCell<Vec<u32>>,
    times: OnceCell<Vec<Timestamp>>,
    observed: OnceCell<Vec<Timestamp>>,
    origins: OnceCell<Vec<u32>>,
    positions: OnceCell<Vec<u64>>,
    indexes: OnceCell<Vec<u32>>,
}

impl Unfolded {
    /// The number of each row.
    pub(super) fn rows<'u>(&'u self, shard: &SealedShard, reader: &Reader<'_>) -> Result<&'u [u32], Error> {
        get(&self.rows, || walk(shard, reader, |number, _, at| (number * BLOCK_ROWS + at) as u32))
    }

    /// Where each row is sorted.
    pub(super) fn times<'u>(
        &'u self,
        shard: &SealedShard,
        reader: &Reader<'_>,
    ) -> Result<&'u [Timestamp], Error> {
        get(&self.times, || walk(shard, reader, |_, block, at| block.time(at)))
    }

    /// When each row was observed.
    pub(super) fn observed<'u>(
        &'u self,
        shard: &SealedShard,
        reader: &Reader<'_>,
    ) -> Result<&'u [Timestamp], Error> {
        get(&self.observed, || {
            let mut run = (0usize, 0..0, Timestamp::default());
            walk(shard, reader, |number, block, at| {
                if run.0 != number || !run.1.contains(&at) {
                    let found = block.observations().find(|(_, rows)| rows.contains(&at));
                    let (time, rows) = found.unwrap_or_default();
                    run = (number, rows, time);
                }
                run.2
            })
        })
    }

    /// The origin of each row.
    pub(super) fn origins<'u>(
        &'u self,
        shard: &SealedShard,
        reader: &Reader<'_>,
    ) -> Result<&'u [u32], Error> {
        get(&self.origins, || {
            let mut run = (0usize, 0..0, u32::MAX);
            walk(shard, reader, |number, block, at| {
                if run.0 != number || !run.1.contains(&at) {
                    let found = block.origins().find(|(_, rows)| rows.contains(&at));
                    let (origin, rows) = found.unwrap_or((u32::MAX, 0..0));
                    run = (number, rows, origin);
                }
                run.2
            })
        })
    }

    /// Where each row lies in its source.
    pub(super) fn positions<'u>(
        &'u self,
        shard: &SealedShard,
        reader: &Reader<'_>,
    ) -> Result<&'u [u64], Error> {
        get(&self.positions, || {
            let mut broken = None;
            let positions = walk(shard, reader, |_, block, at| match block.positions() {
                Ok(positions) => positions[at],
                Err(problem) => {
                    broken = Some(problem);
                    0
                }
            })?;
            broken.map_or(Ok(positions), |problem| Err(shard.broken(problem)))
        })
    }

    /// What tells rows of one position apart.
    pub(super) fn indexes<'u>(
        &'u self,
        shard: &SealedShard,
        reader: &Reader<'_>,
    ) -> Result<&'u [u32], Error> {
        get(&self.indexes, || walk(shard, reader, |_, block, at| block.index(at)))
    }
}

fn get<T>(cell: &OnceCell<Vec<T>>, make: impl FnOnce() -> Result<Vec<T>, Error>) -> Result<&[T], Error> {
    if let Some(known) = cell.get() {
        return Ok(known);
    }
    let made = make()?;
    Ok(cell.get_or_init(|| made))
}

/// Asks `of` of every row and gives the answers in the order of shapes and ranks.
fn walk<T: Copy>(
    shard: &SealedShard,
    reader: &Reader<'_>,
    mut of: impl FnMut(usize, &Block, usize) -> T,
) -> Result<Vec<T>, Error> {
    let mut all: Vec<Option<T>> = vec![None; shard.meta().records as usize];
    let ranks = shard.ranks()?;
    let mut next: Vec<u32> = Vec::new();
    for number in 0..shard.directory.blocks.len() {
        let block = reader.block(number)?;
        next.clear();
        next.extend(
            ranks.of(number).iter().map(|local| shard.rows_before[local.shape as usize] + local.rank),
        );
        for at in 0..block.rows() {
            let place = &mut next[block.code(at)];
            all[*place as usize] = Some(of(number, &block, at));
            *place += 1;
        }
    }
    // The ranks of all rows were read: each place was met once.
    let whole: Option<Vec<T>> = all.into_iter().collect();
    whole.ok_or_else(|| Error::corrupt(shard.bundle.path(), "its blocks and its ranks differ"))
}
