//! Reading out of a shard during one search: groups, chunks, blocks and single rows. Keeps what was read lately, and
//! account of how much that was.

use super::SealedShard;
use crate::{
    Error,
    blocks::Block,
    chunks::{Chunk, Group, RowSlots},
    directory,
    plan::RowView,
    shape::{Line, RowFacts, Shape},
    threads::{Threads, go_on},
};
use millrace_model::{RecordId, Row, Timestamp};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    hash::Hash,
    rc::Rc,
    sync::Arc,
};

/// How many of each are kept, up to twice that.
struct Bounds {
    groups: usize,
    chunks: usize,
    blocks: usize,
}

/// What searches come back to: about 12 MiB.
const OF_A_SEARCH: Bounds = Bounds { groups: 64, chunks: 512, blocks: 32 };
/// Who reads everything once, in the order in which it lies, and many shards at a time, comes back to nothing but the last.
const OF_A_PASS: Bounds = Bounds { groups: 1, chunks: 1, blocks: 1 };

/// See the module. For one thread.
pub(super) struct Reader<'s> {
    shard: &'s SealedShard,
    groups: RefCell<Kept<u32, Rc<Group>>>,
    chunks: RefCell<Kept<u32, Rc<Chunk>>>,
    blocks: RefCell<Kept<usize, Rc<Block>>>,
    pub(super) read_bytes: Cell<u64>,
}

/// The last things that were used, a bounded number of them: when there are enough new ones, the old ones go.
struct Kept<K, V> {
    bound: usize,
    new: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Eq + Hash + Copy, V: Clone> Kept<K, V> {
    fn new(bound: usize) -> RefCell<Self> {
        RefCell::new(Self { bound, new: HashMap::new(), old: HashMap::new() })
    }

    fn get(&mut self, key: K) -> Option<V> {
        if let Some(value) = self.new.get(&key) {
            return Some(value.clone());
        }
        let value = self.old.remove(&key)?;
        self.put(key, value.clone());
        Some(value)
    }

    fn put(&mut self, key: K, value: V) {
        if self.new.len() >= self.bound {
            self.old = std::mem::take(&mut self.new);
        }
        self.new.insert(key, value);
    }
}

impl<'s> Reader<'s> {
    /// For a search.
    pub(super) fn new(shard: &'s SealedShard) -> Self {
        Self::bounded(shard, &OF_A_SEARCH)
    }

    /// For reading everything in its order.
    pub(super) fn of_a_pass(shard: &'s SealedShard) -> Self {
        Self::bounded(shard, &OF_A_PASS)
    }

    fn bounded(shard: &'s SealedShard, bounds: &Bounds) -> Self {
        Self {
            shard,
            groups: Kept::new(bounds.groups),
            chunks: Kept::new(bounds.chunks),
            blocks: Kept::new(bounds.blocks),
            read_bytes: Cell::new(0),
        }
    }

    /// Bytes of one of the bundle's files, checked and counted.
    pub(super) fn read(&self, file: &str, range: std::ops::Range<u64>) -> Result<Vec<u8>, Error> {
        self.read_bytes.set(self.read_bytes.get() + (range.end - range.start));
        self.shard.read(file, range)
    }

    /// Counts bytes of text that were unpacked to be looked at.
    pub(super) fn unpacked(&self, bytes: usize) {
        self.read_bytes.set(self.read_bytes.get() + bytes as u64);
    }

    fn group(&self, number: u32) -> Result<Rc<Group>, Error> {
        if let Some(group) = self.groups.borrow_mut().get(number) {
            return Ok(group);
        }
        let shard = self.shard;
        let (place, offset) = (&shard.directory.groups[number as usize], shard.groups[number as usize]);
        let heads = offset.heads as usize..(offset.heads + place.heads) as usize;
        let group = Group::read(
            Arc::clone(&shard.bundle),
            shard.heads()?.get(heads).unwrap_or_default(),
            place.chunks as usize,
            shard.place(directory::COLUMNS, offset.columns..offset.columns + place.columns)?,
            shard.place(directory::POOLS, offset.pools..offset.pools + place.pools)?,
            place.pool as usize,
        );
        let group = Rc::new(group.map_err(|problem| shard.broken(problem))?);
        self.groups.borrow_mut().put(number, Rc::clone(&group));
        Ok(group)
    }

    /// A chunk, open.
    pub(super) fn chunk(&self, number: u32) -> Result<Rc<Chunk>, Error> {
        if let Some(chunk) = self.chunks.borrow_mut().get(number) {
            return Ok(chunk);
        }
        let place = self.shard.directory.chunks[number as usize];
        let slots = self.shard.directory.shapes[place.shape as usize].slots();
        let group = self.group(place.group)?;
        let chunk = Rc::new(Chunk::read(&group, place.number as usize, slots, place.rows as usize)?);
        self.chunks.borrow_mut().put(number, Rc::clone(&chunk));
        Ok(chunk)
    }

    /// A block of rows.
    pub(super) fn block(&self, number: usize) -> Result<Rc<Block>, Error> {
        if let Some(block) = self.blocks.borrow_mut().get(number) {
            return Ok(block);
        }
        let place = self.shard.directory.blocks[number];
        let bytes = self.read(directory::BLOCKS, place.from..place.to)?;
        let shapes = self.shard.ranks()?.of(number).len();
        let block = Block::read(bytes, &place, shapes).map_err(|problem| self.shard.broken(problem))?;
        let block = Rc::new(block);
        self.blocks.borrow_mut().put(number, Rc::clone(&block));
        Ok(block)
    }

    /// The block of a row, and the row's number in it. Blocks but the last are full.
    pub(super) fn place(row: u32) -> (usize, usize) {
        (row as usize / crate::blocks::BLOCK_ROWS, row as usize % crate::blocks::BLOCK_ROWS)
    }

    /// The shape and rank of a row.
    pub(super) fn rank(&self, block: usize, at: usize) -> Result<(u32, u32), Error> {
        let rows = self.block(block)?;
        let codes = rows.codes().map_err(|problem| self.shard.broken(problem))?;
        let local = self.shard.ranks()?.of(block)[codes.of(at)];
        Ok((local.shape, local.rank + codes.count(codes.of(at), 0..at) as u32))
    }

    /// Where a row is sorted.
    pub(super) fn time(&self, row: u32) -> Result<Timestamp, Error> {
        let (number, at) = Self::place(row);
        self.block(number)?.time(at).map_err(|problem| self.shard.broken(problem))
    }

    /// The id of a row.
    pub(super) fn id(&self, row: u32) -> Result<RecordId, Error> {
        let broken = |problem| self.shard.broken(problem);
        let (number, at) = Self::place(row);
        let block = self.block(number)?;
        let source = self.shard.source(block.origin(at).map_err(broken)?)?;
        let (positions, index) = (block.positions().map_err(broken)?, block.index(at).map_err(broken)?);
        Ok(RecordId { source, position: positions[at], index })
    }

    /// Rows, rebuilt, in the order in which they are given. Of each of their chunks the columns are opened once.
    pub(super) fn rows(&self, rows: &[u32], threads: Option<&dyn Threads>) -> Result<Vec<Row>, Error> {
        let mut places = Vec::with_capacity(rows.len());
        for (nth, row) in rows.iter().enumerate() {
            let (block, at) = Self::place(*row);
            let (shape, rank) = self.rank(block, at)?;
            let chunk = self.shard.chunk_of(shape, rank);
            places.push((chunk, rank - self.shard.directory.chunks[chunk as usize].first, nth));
        }
        places.sort_unstable();
        let mut made: Vec<Option<Row>> = rows.iter().map(|_| None).collect();
        for places in places.chunk_by(|(a, ..), (b, ..)| a == b) {
            go_on(threads)?;
            let number = places[0].0;
            let shape =
                &self.shard.directory.shapes[self.shard.directory.chunks[number as usize].shape as usize];
            let chunk = self.chunk(number)?;
            let columns = chunk.columns()?;
            for (_, at, nth) in places {
                made[*nth] = Some(self.row(rows[*nth], shape, &columns.row(*at as usize)?)?);
            }
        }
        Ok(made.into_iter().flatten().collect())
    }

    /// A row out of its values.
    fn row(&self, row: u32, shape: &Shape, slots: &RowSlots) -> Result<Row, Error> {
        let broken = |problem| self.shard.broken(problem);
        let (number, at) = Self::place(row);
        let id = self.id(row)?;
        let block = self.block(number)?;
        let origin = block.origin(at).map_err(broken)? as usize;
        let view = RowView {
            shape,
            slots,
            facts: RowFacts {
                time: block.time(at).map_err(broken)?,
                observed: block.observed(at).map_err(broken)?,
                resource: &self.shard.directory.origins[origin].resource,
            },
            origin,
            id,
            stream: &self.shard.meta().stream,
        };
        view.row(&mut Line::default()).map_err(broken)
    }

    /// The row of an id.
    pub(super) fn find(&self, id: RecordId) -> Result<Option<u32>, Error> {
        let origins = &self.shard.directory.origins;
        let of_source: Vec<u32> = (0..origins.len() as u32)
            .filter(|number| origins[*number as usize].source == id.source)
            .collect();
        if of_source.is_empty() {
            return Ok(None);
        }
        let ranks = self.shard.ranks()?;
        let may_lie = |number: &usize| ranks.may_lie(*number, &of_source, id.position);
        for number in (0..self.shard.directory.blocks.len()).filter(may_lie) {
            let found = self.block(number)?.find(&of_source, id.position, id.index);
            if let Some(at) = found.map_err(|problem| self.shard.broken(problem))? {
                return Ok(Some((number * crate::blocks::BLOCK_ROWS + at) as u32));
            }
        }
        Ok(None)
    }
}
