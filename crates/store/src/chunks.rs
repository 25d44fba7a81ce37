//! Chunks: the values of up to [`CHUNK_ROWS`] rows of one shape, a column a slot. Chunks lie in groups; a group's heads
//! share one compressed frame, its small strings another, and its packed data lie open, to be read at random.
//!
//! Three files: `heads`, `pools`, `columns`. A head tells what a column holds without its data: constants, bounds,
//! kinds of bytes.

mod read;
mod write;

pub(crate) use self::{
    read::{Chunk, ColumnSlots, Group, RowSlots},
    write::{ChunkWriter, GroupPlace},
};

/// Rows of a chunk at most.
pub(crate) const CHUNK_ROWS: usize = 2048;
/// Bytes of values of a chunk, about, at most: a single row is read by unpacking no more than this.
pub(crate) const CHUNK_BYTES: usize = 256 << 10;

/// Where a chunk is: which rows of which shape, in which group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkPlace {
    pub(crate) shape: u32,
    /// The rank of its first row among its shape's.
    pub(crate) first: u32,
    pub(crate) rows: u32,
    pub(crate) group: u32,
    /// Which of its group.
    pub(crate) number: u32,
}
