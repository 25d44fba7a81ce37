//! Sealed rows, merged: each shard has them in order already, so that they are read block by block.

use super::RowPlace;
use crate::{Deletion, Error, SealedShard, blocks::RowHead, sealed::Rewriter};
use millrace_model::{SourceId, Timestamp};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, binary_heap::PeekMut},
};

/// See the module.
pub(in crate::seal) struct Merged<'a> {
    inputs: Vec<Rewriter<'a>>,
    /// Of which input each row is, once that is known.
    order: Vec<u32>,
}

/// What orders rows, and the input that the row is of.
type Front = Reverse<((Timestamp, SourceId, u64, u32), usize)>;

/// The rows of one input, of which one block is in memory.
#[derive(Default)]
struct Cursor {
    block: usize,
    rows: Vec<(RowHead, u32)>,
    at: usize,
}

impl<'a> Merged<'a> {
    /// The rows of these shards, but those that are deleted.
    pub(super) fn new(shards: &'a [SealedShard], deletions: &[Deletion]) -> Result<Self, Error> {
        let inputs = shards.iter().map(|shard| Rewriter::new(shard, deletions)).collect::<Result<_, _>>()?;
        Ok(Self { inputs, order: Vec::new() })
    }

    /// Where the rows are.
    pub(in crate::seal) fn inputs(&self) -> &[Rewriter<'a>] {
        &self.inputs
    }

    /// Calls `visit` with each row, in order, its shape and origin by their numbers in its input.
    pub(super) fn each_row(
        &mut self,
        visit: &mut dyn FnMut(RowHead, RowPlace) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.order.is_empty() { self.merge(visit) } else { self.follow(visit) }
    }

    /// The first time: which row is next is found out.
    fn merge(&mut self, visit: &mut dyn FnMut(RowHead, RowPlace) -> Result<(), Error>) -> Result<(), Error> {
        let mut cursors: Vec<Cursor> = self.inputs.iter().map(|_| Cursor::default()).collect();
        let mut fronts: BinaryHeap<Front> = BinaryHeap::new();
        for (input, cursor) in cursors.iter_mut().enumerate() {
            fronts.extend(cursor.front(&self.inputs[input], input)?);
        }
        while let Some(mut least) = fronts.peek_mut() {
            let Reverse((_, input)) = *least;
            let rewriter = &self.inputs[input];
            let (head, rank) = cursors[input].take();
            match cursors[input].front(rewriter, input)? {
                // In reverse: the lesser comes last.
                Some(next) if next > *least => return Err(rewriter.disordered()),
                Some(next) => *least = next,
                None => drop(PeekMut::pop(least)),
            }
            self.order.push(input as u32);
            visit(head, RowPlace { input: input as u32, block: head.shape, row: rank })?;
        }
        Ok(())
    }

    /// From then on.
    fn follow(&self, visit: &mut dyn FnMut(RowHead, RowPlace) -> Result<(), Error>) -> Result<(), Error> {
        let mut cursors: Vec<Cursor> = self.inputs.iter().map(|_| Cursor::default()).collect();
        self.order.iter().try_for_each(|input| {
            let (cursor, rewriter) = (&mut cursors[*input as usize], &self.inputs[*input as usize]);
            // There were as many rows before.
            if cursor.is_there(rewriter)? {
                let (head, rank) = cursor.take();
                visit(head, RowPlace { input: *input, block: head.shape, row: rank })?;
            }
            Ok(())
        })
    }
}

impl Cursor {
    /// Is there another row? Then it is in memory.
    fn is_there(&mut self, rewriter: &Rewriter<'_>) -> Result<bool, Error> {
        while self.at == self.rows.len() {
            if self.block == rewriter.blocks() {
                return Ok(false);
            }
            self.rows.clear();
            rewriter.rows_of(self.block, &mut self.rows)?;
            (self.block, self.at) = (self.block + 1, 0);
        }
        Ok(true)
    }

    /// The next row's place in the order.
    fn front(&mut self, rewriter: &Rewriter<'_>, input: usize) -> Result<Option<Front>, Error> {
        if !self.is_there(rewriter)? {
            return Ok(None);
        }
        let RowHead { time, position, index, origin, .. } = self.rows[self.at].0;
        Ok(Some(Reverse(((time, rewriter.source(origin)?, position, index), input))))
    }

    /// The next row, which is there.
    fn take(&mut self) -> (RowHead, u32) {
        self.at += 1;
        self.rows[self.at - 1]
    }
}
