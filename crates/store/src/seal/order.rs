//! Rows from several places, hot or sealed, brought together: one list of shapes, one of origins, one order.

use crate::{
    Deletion, Error, HotRows, SealedShard,
    plan::Origin,
    sealed::Rewriter,
    shape::{Shape, same_attributes},
};
use millrace_model::{OffsetRange, Timestamp};
use std::{collections::HashMap, sync::Arc};

/// One row: what orders it, what its block says of it, and where its values are.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadInput {
    pub(super) time: Timestamp,
    pub(super) observed: Timestamp,
    pub(super) position: u64,
    pub(super) index: u32,
    pub(super) origin: u32,
    pub(super) shape: u32,
    /// Which of the inputs, and where in it: block and row of hot rows, shape and rank of sealed ones.
    pub(super) input: u32,
    pub(super) block: u32,
    pub(super) row: u32,
}

pub(super) enum Inputs<'a> {
    Hot(&'a [HotRows]),
    Sealed(Vec<Rewriter<'a>>),
}

/// See the module.
pub(super) struct Gathered<'a> {
    pub(super) inputs: Inputs<'a>,
    /// In the total order, once they are sorted.
    pub(super) heads: Vec<HeadInput>,
    /// In the order of their keys, once they are sorted.
    pub(super) shapes: Vec<Arc<Shape>>,
    /// How many rows each shape has.
    pub(super) rows: Vec<u32>,
    pub(super) origins: Vec<Origin>,
}

impl<'a> Gathered<'a> {
    /// Hot rows whose messages lie inside the offsets.
    pub(super) fn of_hot(inputs: &'a [HotRows], offsets: &[OffsetRange]) -> Self {
        let mut gathered = Self::new(Inputs::Hot(inputs));
        gathered.heads.reserve_exact(inputs.iter().map(HotRows::len).sum());
        let (mut shapes, mut origins) = (HashMap::new(), HashMap::new());
        for (input, rows) in inputs.iter().enumerate() {
            let shape_of: Vec<u32> =
                rows.shapes().iter().map(|shape| gathered.shape(shape, &mut shapes)).collect();
            let origin_of: Vec<u32> =
                rows.origins().iter().map(|origin| gathered.origin(origin, &mut origins)).collect();
            for (block_number, block) in rows.blocks().iter().enumerate() {
                let mut last: Option<&OffsetRange> = None;
                for (row, head) in block.heads.iter().enumerate() {
                    let holds = |range: &&OffsetRange| {
                        range.partition == head.partition && (range.from..range.to).contains(&head.offset)
                    };
                    last = last.filter(holds).or_else(|| offsets.iter().find(holds));
                    if last.is_none() {
                        continue;
                    }
                    gathered.heads.push(HeadInput {
                        time: head.time,
                        observed: head.observed,
                        position: head.position,
                        index: head.index,
                        origin: origin_of[head.origin as usize],
                        shape: shape_of[head.shape as usize],
                        input: input as u32,
                        block: block_number as u32,
                        row: row as u32,
                    });
                }
            }
        }
        gathered
    }

    /// The rows of sealed shards, but those that are deleted.
    pub(super) fn of_sealed(shards: &'a [SealedShard], deletions: &[Deletion]) -> Result<Self, Error> {
        let mut gathered = Self::new(Inputs::Sealed(Vec::new()));
        let rows: u64 = shards.iter().map(|shard| shard.meta().records).sum();
        gathered.heads.reserve_exact(usize::try_from(rows).unwrap_or_default());
        let (mut shapes, mut origins) = (HashMap::new(), HashMap::new());
        let mut inputs = Vec::with_capacity(shards.len());
        for (input, shard) in shards.iter().enumerate() {
            let mut rewriter = Rewriter::new(shard, deletions)?;
            let shape_of: Vec<u32> =
                rewriter.shapes().iter().map(|shape| gathered.shape(shape, &mut shapes)).collect();
            let origin_of: Vec<u32> =
                rewriter.origins().iter().map(|origin| gathered.origin(origin, &mut origins)).collect();
            rewriter.each_row(&mut |head, rank| {
                gathered.heads.push(HeadInput {
                    time: head.time,
                    observed: head.observed,
                    position: head.position,
                    index: head.index,
                    origin: origin_of[head.origin as usize],
                    shape: shape_of[head.shape as usize],
                    input: input as u32,
                    block: head.shape,
                    row: rank,
                });
            })?;
            inputs.push(rewriter);
        }
        gathered.inputs = Inputs::Sealed(inputs);
        Ok(gathered)
    }

    fn new(inputs: Inputs<'a>) -> Self {
        Self { inputs, heads: Vec::new(), shapes: Vec::new(), rows: Vec::new(), origins: Vec::new() }
    }

    fn shape(&mut self, shape: &Arc<Shape>, known: &mut HashMap<Vec<u8>, u32>) -> u32 {
        *known.entry(shape.key().to_vec()).or_insert_with(|| {
            self.shapes.push(Arc::clone(shape));
            self.shapes.len() as u32 - 1
        })
    }

    fn origin(&mut self, origin: &Origin, known: &mut HashMap<u128, Vec<u32>>) -> u32 {
        let of_source = known.entry(origin.source.0).or_default();
        let same =
            |number: &&u32| same_attributes(&self.origins[**number as usize].resource, &origin.resource);
        if let Some(number) = of_source.iter().find(same) {
            return *number;
        }
        self.origins.push(origin.clone());
        of_source.push(self.origins.len() as u32 - 1);
        self.origins.len() as u32 - 1
    }

    /// Puts rows in their total order, and shapes in that of their keys: shapes that are alike lie side by side. Shapes and
    /// origins without rows go: what they say may be just what was to be deleted.
    pub(super) fn sort(&mut self) {
        let mut used = vec![false; self.origins.len()];
        self.heads.iter().for_each(|head| used[head.origin as usize] = true);
        let mut renamed = Vec::with_capacity(used.len());
        let mut left = 0;
        for used in &used {
            renamed.push(left);
            left += u32::from(*used);
        }
        self.heads.iter_mut().for_each(|head| head.origin = renamed[head.origin as usize]);
        let mut used = used.into_iter();
        self.origins.retain(|_| used.next().unwrap_or_default());
        self.put_in_order();
        let mut counts = vec![0u32; self.shapes.len()];
        self.heads.iter().for_each(|head| counts[head.shape as usize] += 1);
        let mut order: Vec<usize> = (0..self.shapes.len()).filter(|shape| counts[*shape] > 0).collect();
        order.sort_by(|a, b| self.shapes[*a].key().cmp(self.shapes[*b].key()));
        let mut renamed = vec![0u32; self.shapes.len()];
        order.iter().enumerate().for_each(|(new, old)| renamed[*old] = new as u32);
        self.heads.iter_mut().for_each(|head| head.shape = renamed[head.shape as usize]);
        self.rows = order.iter().map(|old| counts[*old]).collect();
        self.shapes = order.iter().map(|old| Arc::clone(&self.shapes[*old])).collect();
    }

    /// Sorts the rows by numbers of them: a sort needs room beside what it sorts, and a row is twelve times its number.
    fn put_in_order(&mut self) {
        let (heads, origins) = (&mut self.heads, &self.origins);
        let source = |head: &HeadInput| origins[head.origin as usize].source;
        let mut order: Vec<u32> = (0..heads.len() as u32).collect();
        order.sort_by(|a, b| {
            let (a, b) = (&heads[*a as usize], &heads[*b as usize]);
            let of_one_time = || (source(a), a.position, a.index).cmp(&(source(b), b.position, b.index));
            a.time.cmp(&b.time).then_with(of_one_time)
        });
        // Along each cycle, every row moves to where it belongs; who has moved is in its place.
        for start in 0..order.len() {
            let (first, mut at) = (heads[start], start);
            loop {
                let from = std::mem::replace(&mut order[at], at as u32) as usize;
                if from == start {
                    heads[at] = first;
                    break;
                }
                heads[at] = heads[from];
                at = from;
            }
        }
    }

    /// The rows of each shape, in order.
    pub(super) fn by_shape(&self) -> Vec<Vec<u32>> {
        let mut by_shape: Vec<Vec<u32>> =
            self.rows.iter().map(|rows| Vec::with_capacity(*rows as usize)).collect();
        for (number, head) in self.heads.iter().enumerate() {
            by_shape[head.shape as usize].push(number as u32);
        }
        by_shape
    }
}
