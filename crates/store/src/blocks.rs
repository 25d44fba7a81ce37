//! What is said of each row besides the values of its slots: its time, its shape, where it comes from, when it was
//! observed, its position. Rows are numbered in their total order (time, then id); a block is [`BLOCK_ROWS`] of them.
//!
//! A block in its file: the packed times; the shapes, by their number among the shapes of the block, compressed; and the
//! *facts*, compressed: runs of origins, runs of observed times, positions; and the packed lengths of lines. Which shapes
//! a block has, and how many rows of each, stands in the file of ranks, together for all blocks, with the bounds of each
//! origin's positions: the n-th row of a shape in a block is the shape's (rank at the block's start + n)-th row of all.

mod groups;
mod positions;
mod ranks;
mod read;
mod write;

pub(crate) use self::{
    positions::Positions,
    ranks::{Local, Ranks},
    read::{Block, Codes},
    write::{BlockPlace, BlockWriter, RowHead},
};

/// Rows of a block.
pub(crate) const BLOCK_ROWS: usize = 2048;
