//! Writing chunks and their groups.

use super::ChunkPlace;
use crate::{
    bytes::{put_bytes, put_number},
    column::{Coded, ColumnWriter, Sections},
    zstd_frame::Compressor,
};
use std::io;

/// A group is closed when its small strings reach this many bytes: what must be decompressed for any one of them.
const POOL_BYTES: usize = 16 << 10;
/// … or when all of it reaches this many.
const GROUP_BYTES: usize = 64 << 10;

/// Where a group lies in each of the three files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct GroupPlace {
    pub(crate) chunks: u32,
    pub(crate) heads: u64,
    pub(crate) pools: u64,
    /// The pool before it was compressed.
    pub(crate) pool: u64,
    pub(crate) columns: u64,
}

/// Writes chunks, in the order of their shapes.
#[derive(Default)]
pub(crate) struct ChunkWriter {
    pub(crate) heads: Vec<u8>,
    pub(crate) pools: Vec<u8>,
    pub(crate) columns: Vec<u8>,
    pub(crate) chunks: Vec<ChunkPlace>,
    /// How long each group is in each file.
    pub(crate) groups: Vec<GroupPlace>,
    sections: Sections,
    /// Of the open group, not compressed yet.
    group_heads: Vec<u8>,
    group_pool: Vec<u8>,
    group_data: usize,
    group_chunks: u32,
    writer: ColumnWriter,
    compressor: Compressor,
}

impl ChunkWriter {
    /// Appends a chunk. Every column has a value for each of the rows.
    pub(crate) fn push(&mut self, shape: u32, first: u32, rows: u32, columns: &[Coded]) -> io::Result<()> {
        let sections = &mut self.sections;
        sections.head.clear();
        sections.data.clear();
        sections.pool.clear();
        for column in columns {
            self.writer.write(column, sections);
        }
        put_number(&mut self.group_heads, sections.data.len() as u64);
        put_number(&mut self.group_heads, sections.pool.len() as u64);
        put_bytes(&mut self.group_heads, &sections.head);
        self.group_pool.extend_from_slice(&sections.pool);
        self.columns.extend_from_slice(&sections.data);
        self.group_data += sections.data.len();
        let (group, number) = (self.groups.len() as u32, self.group_chunks);
        self.chunks.push(ChunkPlace { shape, first, rows, group, number });
        self.group_chunks += 1;
        let full = self.group_pool.len() >= POOL_BYTES
            || self.group_pool.len() + self.group_data + self.group_heads.len() >= GROUP_BYTES;
        if full { self.end_group() } else { Ok(()) }
    }

    /// Closes the last group.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        if self.group_chunks > 0 { self.end_group() } else { Ok(()) }
    }

    fn end_group(&mut self) -> io::Result<()> {
        let before = (self.heads.len(), self.pools.len());
        self.compressor.put_frame(&mut self.heads, &self.group_heads)?;
        self.compressor.put_frame(&mut self.pools, &self.group_pool)?;
        self.groups.push(GroupPlace {
            chunks: self.group_chunks,
            heads: (self.heads.len() - before.0) as u64,
            pools: (self.pools.len() - before.1) as u64,
            pool: self.group_pool.len() as u64,
            columns: self.group_data as u64,
        });
        self.group_heads.clear();
        self.group_pool.clear();
        (self.group_data, self.group_chunks) = (0, 0);
        Ok(())
    }
}
