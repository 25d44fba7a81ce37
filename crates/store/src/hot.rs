//! Hot rows: records that are not sealed yet, searchable from the moment they are appended. It owns no thread and no
//! file: the topic is its write-ahead log. Rows lie in blocks that never change once somebody looks at them, so a
//! search holds no lock.

use millrace_model::{Partition, Row, TimeRange, Timestamp};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Small appends are gathered into blocks of about this many rows.
const BLOCK_ROWS: usize = 4096;

/// A row and the message that brought it.
#[derive(Debug, Clone, PartialEq)]
pub struct HotRow {
    /// The partition of that message.
    pub partition: Partition,
    /// Its offset.
    pub offset: i64,
    /// The row.
    pub row: Row,
}

#[derive(Debug, Clone)]
struct Block {
    rows: Vec<HotRow>,
    first: Timestamp,
    last: Timestamp,
}

impl Block {
    fn extend(&mut self, rows: Vec<HotRow>) {
        for hot in &rows {
            self.first = self.first.min(hot.row.time);
            self.last = self.last.max(hot.row.time);
        }
        self.rows.extend(rows);
    }
}

#[derive(Debug, Default)]
struct State {
    blocks: Vec<Arc<Block>>,
    rows: usize,
    weight: usize,
}

/// The rows of one stream and bucket, in the order in which they came. Shared by the writer that appends and any
/// number of searches.
#[derive(Debug, Default)]
pub struct HotShard {
    state: Mutex<State>,
}

impl HotShard {
    /// One without rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds rows; the next [`HotShard::snapshot`] has them. Holds the lock for a move of the rows at most.
    pub fn append(&self, rows: Vec<HotRow>) {
        if rows.is_empty() {
            return;
        }
        let weight: usize = rows.iter().map(|hot| hot.row.weight()).sum();
        let mut state = self.lock();
        state.rows += rows.len();
        state.weight += weight;
        // A block that a snapshot holds is left as it is: `get_mut` says so.
        if let Some(last) = state.blocks.last_mut()
            && last.rows.len() + rows.len() <= BLOCK_ROWS
            && let Some(block) = Arc::get_mut(last)
        {
            block.extend(rows);
        } else {
            let mut block = Block { rows: Vec::new(), first: Timestamp::MAX, last: Timestamp::MIN };
            block.extend(rows);
            state.blocks.push(Arc::new(block));
        }
    }

    /// About how many bytes the rows hold in memory.
    pub fn weight(&self) -> usize {
        self.lock().weight
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.lock().rows
    }

    /// No rows at all?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows as they are now. Costs a reference count for each few thousand rows; later appends do not show in it.
    pub fn snapshot(&self) -> HotRows {
        HotRows { blocks: self.lock().blocks.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rows that no longer change. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct HotRows {
    blocks: Vec<Arc<Block>>,
}

impl HotRows {
    /// All rows, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = &HotRow> + Clone {
        self.blocks.iter().flat_map(|block| &block.rows)
    }

    /// At least the rows inside `range`: blocks that lie outside are passed over whole. What
    /// [`search_rows`](crate::search_rows) should be given.
    pub fn near(&self, range: TimeRange) -> impl Iterator<Item = &HotRow> + Clone {
        self.blocks
            .iter()
            .filter(move |block| range.overlaps_closed(block.first, block.last))
            .flat_map(|block| &block.rows)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.blocks.iter().map(|block| block.rows.len()).sum()
    }

    /// None?
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }
}

impl FromIterator<HotRow> for HotRows {
    fn from_iter<I: IntoIterator<Item = HotRow>>(rows: I) -> Self {
        let shard = HotShard::new();
        shard.append(rows.into_iter().collect());
        shard.snapshot()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_model::{LogRecord, RecordId, SourceId, StreamName};

    fn row(offset: i64, time: i64) -> HotRow {
        let id = RecordId { source: SourceId(1), position: offset as u64, index: 0 };
        let row =
            Row { id, stream: StreamName::default(), time: Timestamp(time), record: LogRecord::default() };
        HotRow { partition: Partition(0), offset, row }
    }

    #[test]
    fn a_snapshot_does_not_see_later_rows_and_the_shard_does() {
        let shard = HotShard::new();
        shard.append(vec![row(0, 10), row(1, 20)]);
        let before = shard.snapshot();
        shard.append(vec![row(2, 30)]);
        shard.append(Vec::new());
        assert_eq!((before.len(), shard.len(), shard.snapshot().len()), (2, 3, 3));
        assert_eq!(shard.snapshot().iter().map(|hot| hot.offset).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(shard.weight(), 3 * row(0, 0).row.weight());
        assert!(HotShard::new().is_empty() && HotShard::new().snapshot().is_empty());
    }

    #[test]
    fn small_appends_share_a_block_until_somebody_looks() {
        let shard = HotShard::new();
        (0..10).for_each(|n| shard.append(vec![row(n, n)]));
        assert_eq!(shard.lock().blocks.len(), 1);
        let snapshot = shard.snapshot();
        shard.append(vec![row(10, 10)]);
        assert_eq!(shard.lock().blocks.len(), 2);
        drop(snapshot);
        (0..2 * BLOCK_ROWS as i64).for_each(|n| shard.append(vec![row(n, n)]));
        assert_eq!(shard.lock().blocks.len(), 4);
    }

    #[test]
    fn blocks_outside_the_range_are_passed_over() {
        let shard = HotShard::new();
        shard.append((0..BLOCK_ROWS as i64).map(|n| row(n, n)).collect());
        shard.append(vec![row(7, 1_000_000)]);
        let range = |from, to| TimeRange { from: Timestamp(from), to: Timestamp(to) };
        let rows = shard.snapshot();
        assert_eq!(rows.near(range(500_000, 2_000_000)).count(), 1);
        assert_eq!(rows.near(range(0, 1)).count(), BLOCK_ROWS);
        assert_eq!(rows.near(range(5_000, 1_000_000)).count(), 0);
    }
}
