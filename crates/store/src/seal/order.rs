//! Rows from several places, hot or sealed, brought together: one list of shapes, one of origins, one order.
//!
//! What is kept of each row is little: where its values are, and the order. The rest is read where it lies, each time that
//! the rows are gone through.

mod merged;
mod sorted;

pub(super) use merged::Merged;
pub(super) use sorted::Sorted;

use crate::{
    Deletion, Error, HotRows, SealedShard,
    blocks::RowHead,
    plan::Origin,
    shape::{Shape, same_attributes},
};
use millrace_model::{OffsetRange, Timestamp};
use std::{collections::HashMap, sync::Arc};

/// Where the values of a row are.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowPlace {
    pub(super) input: u32,
    /// Where in the input: block and row of hot rows, shape and rank of sealed ones.
    pub(super) block: u32,
    pub(super) row: u32,
}

/// Rows in their total order: by time, then by source, position and index.
pub(super) enum Inputs<'a> {
    Hot(Sorted<'a>),
    Sealed(Merged<'a>),
}

/// The rows of one shape, in their order.
#[derive(Default)]
pub(super) struct OfShape {
    pub(super) places: Vec<RowPlace>,
    /// Their times, where the shape's lines spell them; else none.
    pub(super) times: Vec<Timestamp>,
    /// Runs of origins: which, and how many rows.
    pub(super) origins: Vec<(u32, u32)>,
}

/// The numbers that shapes and origins of one input have in what is made of it.
#[derive(Debug, Default)]
struct Numbers {
    shapes: Vec<u32>,
    origins: Vec<u32>,
}

/// See the module.
pub(super) struct Gathered<'a> {
    pub(super) inputs: Inputs<'a>,
    /// By input.
    numbers: Vec<Numbers>,
    /// In the order of their keys: shapes that are alike lie side by side.
    pub(super) shapes: Vec<Arc<Shape>>,
    /// By shape.
    pub(super) of_shape: Vec<OfShape>,
    pub(super) origins: Vec<Origin>,
    pub(super) rows: usize,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

impl<'a> Gathered<'a> {
    /// Hot rows whose messages lie inside the offsets.
    pub(super) fn of_hot(inputs: &'a [HotRows], offsets: &[OffsetRange]) -> Result<Self, Error> {
        let sorted = Sorted::new(inputs, offsets);
        let all = inputs.iter().map(|rows| (rows.shapes(), rows.origins()));
        Self::new(all, Inputs::Hot(sorted))
    }

    /// The rows of sealed shards, but those that are deleted.
    pub(super) fn of_sealed(shards: &'a [SealedShard], deletions: &[Deletion]) -> Result<Self, Error> {
        let merged = Merged::new(shards, deletions)?;
        let all = shards.iter().map(|shard| (shard.shapes(), shard.origins()));
        Self::new(all, Inputs::Sealed(merged))
    }

    fn new<'i>(
        all: impl Iterator<Item = (&'i [Arc<Shape>], &'i [Origin])>,
        inputs: Inputs<'a>,
    ) -> Result<Self, Error> {
        let mut known = Known::default();
        let numbers = all.map(|(shapes, origins)| known.numbers(shapes, origins)).collect();
        let Known { shapes, origins, .. } = known;
        let (first, last) = (Timestamp::MAX, Timestamp::MIN);
        let mut gathered =
            Self { inputs, numbers, shapes, of_shape: Vec::new(), origins, rows: 0, first, last };
        gathered.arrange()?;
        Ok(gathered)
    }

    /// Calls `visit` with each row, in the total order. Lengths of lines are left open: whoever writes them measures them.
    pub(super) fn each_row(
        &mut self,
        visit: &mut dyn FnMut(RowHead, RowPlace) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let numbers = &self.numbers;
        let mut named = |head: RowHead, place: RowPlace| {
            let Numbers { shapes, origins } = &numbers[place.input as usize];
            let (shape, origin) = (shapes[head.shape as usize], origins[head.origin as usize]);
            visit(RowHead { origin, shape, ..head }, place)
        };
        match &mut self.inputs {
            Inputs::Hot(sorted) => sorted.each_row(&mut named),
            Inputs::Sealed(merged) => merged.each_row(&mut named),
        }
    }

    /// Goes through the rows, and notes where those of each shape are. Shapes and origins without rows go: what they say may be
    /// just what was to be deleted.
    fn arrange(&mut self) -> Result<(), Error> {
        let spells_times: Vec<bool> = self.shapes.iter().map(|shape| spells_times(shape)).collect();
        let mut of_shape: Vec<OfShape> = self.shapes.iter().map(|_| OfShape::default()).collect();
        let mut used = vec![false; self.origins.len()];
        let (mut rows, mut first, mut last) = (0, None, Timestamp::MIN);
        self.each_row(&mut |head, place| {
            let shape = &mut of_shape[head.shape as usize];
            shape.places.push(place);
            if spells_times[head.shape as usize] {
                shape.times.push(head.time);
            }
            match shape.origins.last_mut() {
                Some((origin, rows)) if *origin == head.origin => *rows += 1,
                _ => shape.origins.push((head.origin, 1)),
            }
            used[head.origin as usize] = true;
            (rows, last) = (rows + 1, head.time);
            first.get_or_insert(head.time);
            Ok(())
        })?;
        (self.rows, self.first, self.last) = (rows, first.unwrap_or(last), last);
        self.name(of_shape, &used);
        Ok(())
    }

    /// Gives shapes and origins the numbers that they have in the end.
    fn name(&mut self, mut of_shape: Vec<OfShape>, used: &[bool]) {
        let mut origins = vec![0u32; used.len()];
        let mut left = 0;
        for (number, used) in origins.iter_mut().zip(used) {
            *number = left;
            left += u32::from(*used);
        }
        let mut order: Vec<usize> =
            (0..self.shapes.len()).filter(|shape| !of_shape[*shape].places.is_empty()).collect();
        order.sort_by(|a, b| self.shapes[*a].key().cmp(self.shapes[*b].key()));
        let mut shapes = vec![0u32; self.shapes.len()];
        order.iter().enumerate().for_each(|(new, old)| shapes[*old] = new as u32);

        for numbers in &mut self.numbers {
            numbers.shapes.iter_mut().for_each(|shape| *shape = shapes[*shape as usize]);
            numbers.origins.iter_mut().for_each(|origin| *origin = origins[*origin as usize]);
        }
        for (origin, _) in of_shape.iter_mut().flat_map(|shape| &mut shape.origins) {
            *origin = origins[*origin as usize];
        }
        let mut used = used.iter();
        self.origins.retain(|_| used.next().copied().unwrap_or_default());
        self.of_shape = order.iter().map(|old| std::mem::take(&mut of_shape[*old])).collect();
        self.shapes = order.iter().map(|old| Arc::clone(&self.shapes[*old])).collect();
    }
}

/// Does a line of this shape spell its record's time?
pub(super) fn spells_times(shape: &Shape) -> bool {
    shape.mask().is_some_and(|mask| mask.time.is_some())
}

/// Shapes and origins of all inputs, each once.
#[derive(Default)]
struct Known {
    shapes: Vec<Arc<Shape>>,
    by_key: HashMap<Vec<u8>, u32>,
    origins: Vec<Origin>,
    by_source: HashMap<u128, Vec<u32>>,
}

impl Known {
    fn numbers(&mut self, shapes: &[Arc<Shape>], origins: &[Origin]) -> Numbers {
        Numbers {
            shapes: shapes.iter().map(|shape| self.shape(shape)).collect(),
            origins: origins.iter().map(|origin| self.origin(origin)).collect(),
        }
    }

    fn shape(&mut self, shape: &Arc<Shape>) -> u32 {
        *self.by_key.entry(shape.key().to_vec()).or_insert_with(|| {
            self.shapes.push(Arc::clone(shape));
            self.shapes.len() as u32 - 1
        })
    }

    fn origin(&mut self, origin: &Origin) -> u32 {
        let of_source = self.by_source.entry(origin.source.0).or_default();
        let same =
            |number: &&u32| same_attributes(&self.origins[**number as usize].resource, &origin.resource);
        if let Some(number) = of_source.iter().find(same) {
            return *number;
        }
        self.origins.push(origin.clone());
        of_source.push(self.origins.len() as u32 - 1);
        self.origins.len() as u32 - 1
    }
}
