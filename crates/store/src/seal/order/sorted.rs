//! Hot rows, sorted: they come in any order.

use super::RowPlace;
use crate::{Error, HotRows, blocks::RowHead, hot::Head};
use millrace_model::{OffsetRange, SourceId, Timestamp};

/// See the module.
pub(in crate::seal) struct Sorted<'a> {
    inputs: &'a [HotRows],
    rows: Vec<(Timestamp, RowPlace)>,
}

impl<'a> Sorted<'a> {
    /// The rows whose messages lie inside the offsets.
    pub(super) fn new(inputs: &'a [HotRows], offsets: &[OffsetRange]) -> Self {
        let mut rows = Vec::with_capacity(inputs.iter().map(HotRows::len).sum());
        for (input, hot) in inputs.iter().enumerate() {
            for (block_number, block) in hot.blocks().iter().enumerate() {
                let mut last: Option<&OffsetRange> = None;
                for (row, head) in block.heads.iter().enumerate() {
                    let holds = |range: &&OffsetRange| {
                        range.partition == head.partition && (range.from..range.to).contains(&head.offset)
                    };
                    last = last.filter(holds).or_else(|| offsets.iter().find(holds));
                    if last.is_some() {
                        let place =
                            RowPlace { input: input as u32, block: block_number as u32, row: row as u32 };
                        rows.push((head.time, place));
                    }
                }
            }
        }
        let mut sorted = Self { inputs, rows: Vec::new() };
        rows.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| sorted.id(a.1).cmp(&sorted.id(b.1))));
        sorted.rows = rows;
        sorted
    }

    /// Where the rows are.
    pub(in crate::seal) fn inputs(&self) -> &'a [HotRows] {
        self.inputs
    }

    fn head(&self, place: RowPlace) -> &'a Head {
        &self.inputs[place.input as usize].blocks()[place.block as usize].heads[place.row as usize]
    }

    /// What orders rows of one time.
    fn id(&self, place: RowPlace) -> (SourceId, u64, u32) {
        let head = self.head(place);
        let origin = &self.inputs[place.input as usize].origins()[head.origin as usize];
        (origin.source, head.position, head.index)
    }

    /// Calls `visit` with each row, in order, its shape and origin by their numbers in its input.
    pub(super) fn each_row(
        &self,
        visit: &mut dyn FnMut(RowHead, RowPlace) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.rows.iter().try_for_each(|(time, place)| {
            let Head { observed, position, index, origin, shape, .. } = *self.head(*place);
            visit(RowHead { time: *time, observed, position, index, origin, shape, length: 0 }, *place)
        })
    }
}
