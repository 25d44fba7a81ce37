//! The directory of a shard: its shapes, its origins, and where its chunks, groups and blocks lie. It is read whole when
//! a shard is opened; everything else is read where it points.

use crate::{
    blocks::BlockPlace,
    bytes::{Malformed, Reader, put_bytes, put_number, put_signed},
    chunks::{ChunkPlace, GroupPlace},
    plan::Origin,
    shape::{Shape, put_attributes, read_attributes_from},
    zstd_frame::{Compressor, read_frame},
};
use millrace_model::{SourceId, Timestamp};
use std::{io, sync::Arc};

/// The names of the shard's own files in its bundle; the others are the index's.
pub(crate) const COLUMNS: &str = "columns";
pub(crate) const POOLS: &str = "pools";
pub(crate) const HEADS: &str = "heads";
pub(crate) const BLOCKS: &str = "blocks";
pub(crate) const RANKS: &str = "ranks";
pub(crate) const COUNTS: &str = "counts";
pub(crate) const FILTERS: &str = "filters";
pub(crate) const DIRECTORY: &str = "directory";

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    pub(crate) shapes: Vec<Arc<Shape>>,
    /// How many rows each shape has.
    pub(crate) rows: Vec<u32>,
    pub(crate) origins: Vec<Origin>,
    /// By shape, then by rank.
    pub(crate) chunks: Vec<ChunkPlace>,
    /// How long each group is in each of its files.
    pub(crate) groups: Vec<GroupPlace>,
    pub(crate) blocks: Vec<BlockPlace>,
}

/// Bytes in a frame.
pub(crate) fn compressed(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut file = Vec::new();
    Compressor::default().put_frame(&mut file, bytes)?;
    Ok(file)
}

/// What [`compressed`] was given.
pub(crate) fn decompressed(file: &[u8]) -> Result<Vec<u8>, Malformed> {
    read_frame(&mut Reader::new(file))
}

impl Directory {
    /// The file.
    pub(crate) fn write(&self) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        put_number(&mut plain, self.shapes.len() as u64);
        for (shape, rows) in self.shapes.iter().zip(&self.rows) {
            put_bytes(&mut plain, shape.key());
            put_number(&mut plain, u64::from(*rows));
        }
        put_number(&mut plain, self.origins.len() as u64);
        for origin in &self.origins {
            plain.extend(origin.source.0.to_le_bytes());
            put_attributes(&mut plain, &origin.resource);
        }
        put_number(&mut plain, self.groups.len() as u64);
        let mut chunks = self.chunks.iter();
        for group in &self.groups {
            put_number(&mut plain, u64::from(group.chunks));
            put_number(&mut plain, group.heads);
            put_number(&mut plain, group.pools);
            put_number(&mut plain, group.pool);
            put_number(&mut plain, group.columns);
            for chunk in chunks.by_ref().take(group.chunks as usize) {
                put_number(&mut plain, u64::from(chunk.rows));
            }
        }
        put_number(&mut plain, self.blocks.len() as u64);
        let mut before = 0i64;
        for block in &self.blocks {
            put_number(&mut plain, u64::from(block.rows));
            put_number(&mut plain, block.to - block.from);
            put_signed(&mut plain, block.first.0.wrapping_sub(before));
            put_signed(&mut plain, block.last.0.wrapping_sub(block.first.0));
            before = block.last.0;
        }
        compressed(&plain)
    }

    /// Reads the file. Numbers are made to fit together: rows of shapes, chunks and blocks are the same.
    pub(crate) fn read(file: &[u8], records: u64) -> Result<Self, Malformed> {
        let plain = decompressed(file)?;
        let mut reader = Reader::new(&plain);
        let mut directory = Self::default();
        let mut all = 0u64;
        for _ in 0..reader.count()? {
            directory.shapes.push(Arc::new(Shape::read_key(reader.bytes()?)?));
            let rows = reader.below(1 << 32)? as u32;
            all += u64::from(rows);
            directory.rows.push(rows);
        }
        if all != records || records >= 1 << 32 {
            return Err(Malformed("shapes of as many rows as the shard has expected"));
        }
        for _ in 0..reader.count()? {
            let source = reader.take(16)?.try_into().map_err(|_| Malformed("an id expected"))?;
            let resource = Arc::new(read_attributes_from(&mut reader)?);
            directory.origins.push(Origin::new(SourceId(u128::from_le_bytes(source)), resource));
        }
        directory.read_chunks(&mut reader)?;
        directory.read_blocks(&mut reader, records)?;
        if reader.is_empty() {
            Ok(directory)
        } else {
            Err(Malformed("nothing more expected after a directory"))
        }
    }

    fn read_chunks(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        let (mut shape, mut first) = (0usize, 0u32);
        for group in 0..reader.count()? {
            let place = GroupPlace {
                chunks: reader.count()? as u32,
                heads: reader.number()?,
                pools: reader.number()?,
                pool: reader.number()?,
                columns: reader.number()?,
            };
            self.groups.push(place);
            for number in 0..place.chunks {
                let rows = reader.below(1 << 32)? as u32;
                let end = first.checked_add(rows).filter(|end| rows > 0 && self.rows.get(shape) >= Some(end));
                let end = end.ok_or(Malformed("chunks of as many rows as their shape has expected"))?;
                self.chunks.push(ChunkPlace {
                    shape: shape as u32,
                    first,
                    rows,
                    group: group as u32,
                    number,
                });
                first = end;
                if self.rows[shape] == end {
                    (shape, first) = (shape + 1, 0);
                }
            }
        }
        if shape == self.rows.len() { Ok(()) } else { Err(Malformed("chunks of all shapes expected")) }
    }

    fn read_blocks(&mut self, reader: &mut Reader<'_>, records: u64) -> Result<(), Malformed> {
        let (mut at, mut before, mut all) = (0u64, 0i64, 0u64);
        for _ in 0..reader.count()? {
            let rows = reader.below(crate::blocks::BLOCK_ROWS + 1)? as u32;
            let to = at.checked_add(reader.number()?).ok_or(Malformed("a place of a block expected"))?;
            let first = before.wrapping_add(reader.signed()?);
            let last = first.wrapping_add(reader.signed()?);
            let place = BlockPlace { from: at, to, rows, first: Timestamp(first), last: Timestamp(last) };
            self.blocks.push(place);
            all += u64::from(rows);
            (at, before) = (to, last);
        }
        if all == records {
            Ok(())
        } else {
            Err(Malformed("blocks of as many rows as the shard has expected"))
        }
    }
}
