//! The values of a field, of some rows of a chunk.

use super::{Answers, Asked};
use crate::{
    Error,
    bits::Bits,
    bytes::Malformed,
    scan::{GroupCounts, Own, Projection, cell_of, cell_of_id},
    shape::{Read, Shape},
    strings::Strings,
};
use hashbrown::HashMap;
use millrace_model::{FieldRef, Fields, RecordId, Value};
use millrace_pipes::{ABSENT, Cells};

type ByBytes = HashMap<Box<[u8]>, u64>;

/// Counts of raw values: each is made a value once, not once a chunk.
#[derive(Default)]
pub(in crate::sealed) struct RawCounts {
    raw: Vec<(Read, ByBytes)>,
    bytes: usize,
    done: GroupCounts,
}

impl RawCounts {
    fn of(&mut self, read: Read) -> &mut ByBytes {
        let at = self.raw.iter().position(|(known, _)| *known == read).unwrap_or_else(|| {
            self.raw.push((read, ByBytes::new()));
            self.raw.len() - 1
        });
        &mut self.raw[at].1
    }

    /// About how many bytes of memory it takes.
    pub(in crate::sealed) fn weight(&self) -> usize {
        self.bytes + self.done.weight()
    }

    /// What was counted. `shape` is any.
    pub(in crate::sealed) fn finish(
        mut self,
        projection: &Projection<'_>,
        shape: &Shape,
    ) -> Result<GroupCounts, Malformed> {
        for (read, counts) in self.raw {
            for (raw, count) in counts {
                self.done.add_value(projection.read(shape, read, &raw)?.as_ref(), count);
            }
        }
        Ok(self.done)
    }
}

impl Answers<'_> {
    /// See the module. `rows` is not empty.
    pub(in crate::sealed) fn cells(
        &self,
        projection: &Projection<'_>,
        asked: &Asked<'_>,
        rows: &Bits,
    ) -> Result<Cells, Error> {
        let mut cells = match &projection.own {
            Own::Constant(value) => Cells::uniform(value.clone(), rows.count() as usize),
            Own::Slot(slot, read) => {
                let (mut entries, mut codes) = (Strings::default(), Vec::new());
                let picked = self.chunk(asked)?.column(*slot)?.pick(rows, &mut entries, &mut codes);
                picked.map_err(self.broken())?;
                self.reader.unpacked(entries.byte_len());
                let mut of_entries = Cells::default();
                for raw in entries.iter() {
                    of_entries.push(projection.read(asked.shape, *read, raw).map_err(self.broken())?);
                }
                for code in &mut codes {
                    *code = of_entries.codes[*code as usize];
                }
                Cells { values: of_entries.values, codes }
            }
            Own::Row => self.row_cells(projection.field, asked, rows)?,
            Own::Record => {
                let mut cells = Cells::default();
                self.each_view(asked, Some(rows), |view, line| {
                    let row = view.row(line)?;
                    cells.push(row.placed().field(projection.field).and_then(|value| cell_of(&value)));
                    Ok(false)
                })?;
                cells
            }
        };
        if !projection.resource.is_empty() {
            self.put_resources(&projection.resource, asked, rows, &mut cells)?;
        }
        Ok(cells)
    }

    /// Counts the values of a field in some rows.
    pub(in crate::sealed) fn count(
        &self,
        projection: &Projection<'_>,
        asked: &Asked<'_>,
        rows: &Bits,
        counts: &mut RawCounts,
    ) -> Result<(), Error> {
        match &projection.own {
            Own::Slot(slot, read) if projection.resource.is_empty() && !projection.needs_shape() => {
                let column = self.chunk(asked)?;
                let mut more = 0;
                let by_bytes = counts.of(*read);
                let count = |raw: &[u8], count| {
                    if let Some(known) = by_bytes.get_mut(raw) {
                        *known += count;
                    } else {
                        more += 48 + raw.len();
                        by_bytes.insert(raw.into(), count);
                    }
                };
                column.column(*slot)?.count(rows, &mut { count }).map_err(self.broken())?;
                counts.bytes += more;
                Ok(())
            }
            Own::Constant(value) if projection.resource.is_empty() => {
                counts.done.add_value(value.as_ref(), rows.count().into());
                Ok(())
            }
            _ => {
                counts.done.add(&self.cells(projection, asked, rows)?);
                Ok(())
            }
        }
    }

    /// What the resources say comes before what is there.
    fn put_resources(
        &self,
        values: &[Option<&Value>],
        asked: &Asked<'_>,
        rows: &Bits,
        cells: &mut Cells,
    ) -> Result<(), Error> {
        let base = asked.range(self.shard).start;
        let origins = self.unfolded.origins(self.reader)?;
        let mut known: HashMap<u32, u32> = HashMap::new();
        for (code, row) in cells.codes.iter_mut().zip(rows.ones(0..rows.size())) {
            let origin = origins[(base + row) as usize];
            let Some(value) = values.get(origin as usize).copied().flatten() else { continue };
            *code = match value {
                Value::Null => ABSENT,
                value => *known.entry(origin).or_insert_with(|| {
                    cells.values.push(value.clone());
                    cells.values.len() as u32 - 1
                }),
            };
        }
        Ok(())
    }

    /// What rows say besides their records.
    fn row_cells(&self, field: &FieldRef, asked: &Asked<'_>, rows: &Bits) -> Result<Cells, Error> {
        let base = asked.range(self.shard).start;
        let places = rows.ones(0..rows.size()).map(|row| (base + row) as usize);
        let mut cells = Cells::default();
        match field {
            FieldRef::ObservedTimestamp => {
                let times = self.unfolded.observed(self.reader)?;
                places.for_each(|at| cells.push(Some(Value::Int(times[at].0))));
            }
            FieldRef::Source | FieldRef::Id | FieldRef::Position => {
                let (origins, positions) =
                    (self.unfolded.origins(self.reader)?, self.unfolded.positions(self.reader)?);
                for at in places {
                    let (position, index) = positions[at];
                    let id = RecordId { source: self.shard.source(origins[at])?, position, index };
                    cells.push(Some(cell_of_id(field, id)));
                }
            }
            FieldRef::Timestamp => {
                let times = self.unfolded.times(self.reader)?;
                places.for_each(|at| cells.push(Some(Value::Int(times[at].0))));
            }
            _ => return Err(self.broken()(Malformed("a field that rows have expected"))),
        }
        Ok(cells)
    }
}
