//! What is known of all blocks together: which shapes each has, how many rows of each, and between which positions each
//! origin's rows lie.

use super::BlockPlace;
use crate::bytes::{Malformed, Reader};
use std::collections::HashMap;

/// Which shapes each block has, and the rank of each shape's first row in it.
#[derive(Debug, Default)]
pub(crate) struct Ranks {
    /// Where each block's entries begin; one more at the end.
    starts: Vec<u32>,
    /// By shape.
    entries: Vec<Local>,
    /// By block; none where that is not told.
    spans: Vec<Option<Vec<Span>>>,
}

/// A shape in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Local {
    pub(crate) shape: u32,
    /// The rank of its first row in the block.
    pub(crate) rank: u32,
    /// How many rows it has in the block.
    pub(crate) rows: u32,
}

/// Between which positions the rows of an origin lie in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    origin: u32,
    least: u64,
    most: u64,
}

impl Ranks {
    /// Reads the file of ranks; `shapes` has the number of rows of each shape.
    pub(crate) fn read(bytes: &[u8], places: &[BlockPlace], shapes: &[u32]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let mut reached = vec![0u32; shapes.len()];
        let mut ranks = Self { starts: vec![0], ..Self::default() };
        let mut most_of: HashMap<u32, u64> = HashMap::new();
        for place in places {
            let (mut shape, mut rows) = (0u64, 0u64);
            for _ in 0..reader.count()? {
                shape += reader.number()?;
                let count = reader.number()?;
                rows = rows.saturating_add(count);
                let known = usize::try_from(shape)
                    .ok()
                    .and_then(|shape| Some((reached.get_mut(shape)?, shapes[shape])));
                let (rank, all) = known.ok_or(Malformed("ranks of known shapes expected"))?;
                let before = *rank;
                *rank = u32::try_from(u64::from(*rank).saturating_add(count))
                    .ok()
                    .filter(|rank| *rank <= all)
                    .ok_or(Malformed("ranks of fewer rows expected"))?;
                ranks.entries.push(Local { shape: shape as u32, rank: before, rows: *rank - before });
            }
            if rows != u64::from(place.rows) {
                return Err(Malformed("ranks of as many rows as the block has expected"));
            }
            ranks.starts.push(ranks.entries.len() as u32);
            ranks.spans.push(Span::read_all(&mut reader, &mut most_of)?);
        }
        if reader.is_empty() && reached == shapes {
            Ok(ranks)
        } else {
            Err(Malformed("ranks of all rows expected"))
        }
    }

    /// May a row of these origins lie at this position, in this block?
    pub(crate) fn may_lie(&self, block: usize, origins: &[u32], position: u64) -> bool {
        let spans = self.spans.get(block).and_then(Option::as_ref);
        spans.is_none_or(|spans| {
            spans
                .iter()
                .any(|span| (span.least..=span.most).contains(&position) && origins.contains(&span.origin))
        })
    }

    /// The shapes of a block; rows name them by their number here.
    pub(crate) fn of(&self, block: usize) -> &[Local] {
        let place = |at: usize| self.starts.get(at).map_or(self.entries.len(), |start| *start as usize);
        &self.entries[place(block)..place(block + 1)]
    }
}

impl Span {
    fn read_all(
        reader: &mut Reader<'_>,
        most_of: &mut HashMap<u32, u64>,
    ) -> Result<Option<Vec<Self>>, Malformed> {
        let Some(count) = reader.count()?.checked_sub(1) else { return Ok(None) };
        let mut spans = Vec::new();
        let mut origin = 0u64;
        for _ in 0..count {
            origin = origin.saturating_add(reader.number()?);
            let origin = u32::try_from(origin).map_err(|_| Malformed("an origin expected"))?;
            let before = most_of.entry(origin).or_insert(0);
            let least = before.wrapping_add(reader.signed()? as u64);
            let most =
                least.checked_add(reader.number()?).ok_or(Malformed("a span of positions expected"))?;
            *before = most;
            spans.push(Self { origin, least, most });
        }
        Ok(Some(spans))
    }
}
