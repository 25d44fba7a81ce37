//! Reading chunks out of their groups. A group's heads are read first; its columns and its pool when a column is opened
//! that has some of them.

use crate::{
    Error,
    bundle::Bundle,
    bytes::{Malformed, Reader},
    column::{Coded, Column, Head},
    shape::Slots,
    strings::Strings,
    zstd_frame::read_frame,
};
use std::{cell::OnceCell, ops::Range, rc::Rc, sync::Arc};

/// A group's heads, and where its other parts lie in the bundle.
pub(crate) struct Group {
    bundle: Arc<Bundle>,
    columns_at: Range<u64>,
    pool_at: Range<u64>,
    heads: Vec<u8>,
    chunks: Vec<Parts>,
    columns: OnceCell<Vec<u8>>,
    pool: OnceCell<Vec<u8>>,
}

/// One chunk's parts: heads in the frame of heads, the others in the group's columns and pool.
#[derive(Debug, Clone)]
struct Parts {
    heads: Range<usize>,
    columns: Range<usize>,
    pool: Range<usize>,
}

impl Group {
    /// Out of the frame of its heads. `pool` is how long its pool is once it is decompressed.
    pub(crate) fn read(
        bundle: Arc<Bundle>,
        heads: &[u8],
        chunks: usize,
        columns_at: Range<u64>,
        pool_at: Range<u64>,
        pool: usize,
    ) -> Result<Self, Malformed> {
        let heads = read_frame(&mut Reader::new(heads))?;
        let columns = (columns_at.end - columns_at.start) as usize;
        let mut reader = Reader::new(&heads);
        let mut parts = Vec::with_capacity(chunks.min(heads.len()));
        let (mut column_end, mut pool_end) = (0, 0);
        for _ in 0..chunks {
            let (column_length, pool_length) = (reader.below(columns + 1)?, reader.below(pool + 1)?);
            let bytes = reader.bytes()?;
            let from = bytes.as_ptr() as usize - heads.as_ptr() as usize;
            parts.push(Parts {
                heads: from..from + bytes.len(),
                columns: column_end..column_end + column_length,
                pool: pool_end..pool_end + pool_length,
            });
            column_end += column_length;
            pool_end += pool_length;
        }
        if !reader.is_empty() || column_end != columns || pool_end != pool {
            return Err(Malformed("a group as long as its chunks expected"));
        }
        let (columns, pool) = (OnceCell::new(), OnceCell::new());
        Ok(Self { bundle, columns_at, pool_at, heads, chunks: parts, columns, pool })
    }

    fn columns(&self, range: Range<usize>) -> Result<&[u8], Error> {
        if range.is_empty() {
            return Ok(&[]);
        }
        let all = if let Some(all) = self.columns.get() {
            all
        } else {
            let all = self.bundle.part(self.columns_at.clone())?;
            self.columns.get_or_init(|| all)
        };
        all.get(range).ok_or_else(|| self.broken(Malformed("a column's data expected")))
    }

    fn pool(&self, range: Range<usize>) -> Result<&[u8], Error> {
        if range.is_empty() {
            return Ok(&[]);
        }
        let all = if let Some(all) = self.pool.get() {
            all
        } else {
            let frame = self.bundle.part(self.pool_at.clone())?;
            let all = read_frame(&mut Reader::new(&frame)).map_err(|problem| self.broken(problem))?;
            self.pool.get_or_init(|| all)
        };
        all.get(range).ok_or_else(|| self.broken(Malformed("a column's pool expected")))
    }

    fn broken(&self, problem: Malformed) -> Error {
        Error::corrupt(self.bundle.path(), problem.to_string())
    }
}

/// One chunk: the heads of its columns, and the columns to be opened.
pub(crate) struct Chunk {
    group: Rc<Group>,
    /// With the parts of the group's columns and pool.
    columns: Vec<(Head, Range<usize>, Range<usize>)>,
}

impl Chunk {
    /// A chunk of a group, by its number there.
    pub(crate) fn read(group: &Rc<Group>, number: usize, slots: usize, rows: usize) -> Result<Self, Error> {
        Self::parse(group, number, slots, rows).map_err(|problem| group.broken(problem))
    }

    fn parse(group: &Rc<Group>, number: usize, slots: usize, rows: usize) -> Result<Self, Malformed> {
        let parts = group.chunks.get(number).ok_or(Malformed("a chunk of the group expected"))?;
        let mut heads = Reader::new(&group.heads[parts.heads.clone()]);
        let (mut column_at, mut pool_at) = (parts.columns.start, parts.pool.start);
        let mut columns = Vec::with_capacity(slots);
        for _ in 0..slots {
            let head = Head::read(&mut heads, rows)?;
            let (column_end, pool_end) = (column_at + head.data_length(), pool_at + head.pool_length());
            columns.push((head, column_at..column_end, pool_at..pool_end));
            (column_at, pool_at) = (column_end, pool_end);
        }
        if heads.is_empty() && column_at == parts.columns.end && pool_at == parts.pool.end {
            Ok(Self { group: Rc::clone(group), columns })
        } else {
            Err(Malformed("a chunk as long as its columns expected"))
        }
    }

    pub(crate) fn head(&self, slot: usize) -> Option<&Head> {
        self.columns.get(slot).map(|column| &column.0)
    }

    /// The values of a slot.
    pub(crate) fn column(&self, slot: usize) -> Result<Column<'_>, Error> {
        let missing = || self.group.broken(Malformed("a column for each slot expected"));
        let (head, column, pool) = self.columns.get(slot).ok_or_else(missing)?;
        let (column, pool) = (self.group.columns(column.clone())?, self.group.pool(pool.clone())?);
        Column::open(head, column, pool).map_err(|problem| self.group.broken(problem))
    }

    /// The columns of all slots, for whoever reads row by row.
    pub(crate) fn columns(&self) -> Result<Columns<'_>, Error> {
        let columns = (0..self.columns.len()).map(|slot| self.column(slot)).collect::<Result<_, _>>()?;
        Ok(Columns { group: &self.group, columns })
    }

    /// All values of a slot, as entries of which some may be the same.
    pub(crate) fn coded(&self, slot: usize, out: &mut Coded) -> Result<(), Error> {
        let coded = self.column(slot)?.coded(out);
        coded.map_err(|problem| self.group.broken(problem))
    }

    /// All values of all slots.
    pub(crate) fn decode(&self) -> Result<Vec<Strings>, Error> {
        (0..self.columns.len())
            .map(|slot| {
                let mut values = Strings::default();
                let decoded = self.column(slot)?.decode(&mut values);
                decoded.map_err(|problem| self.group.broken(problem)).map(|()| values)
            })
            .collect()
    }
}

/// The columns of a chunk. What a column unpacks for one row serves the next.
pub(crate) struct Columns<'a> {
    group: &'a Group,
    columns: Vec<Column<'a>>,
}

impl Columns<'_> {
    /// The values of one row.
    pub(crate) fn row(&self, row: usize) -> Result<RowSlots, Error> {
        let mut values = Strings::default();
        for column in &self.columns {
            column.get(row, values.buffer()).map_err(|problem| self.group.broken(problem))?;
            values.end();
        }
        Ok(RowSlots(values))
    }
}

/// The values of one row.
pub(crate) struct RowSlots(Strings);

impl Slots for RowSlots {
    fn slot(&self, number: usize) -> &[u8] {
        self.0.get(number)
    }
}

/// One row of unpacked columns.
pub(crate) struct ColumnSlots<'a, C> {
    pub(crate) columns: &'a [C],
    pub(crate) row: usize,
}

impl Slots for ColumnSlots<'_, Strings> {
    fn slot(&self, number: usize) -> &[u8] {
        self.columns.get(number).map_or(&[], |column| column.get(self.row))
    }
}

impl Slots for ColumnSlots<'_, Coded> {
    fn slot(&self, number: usize) -> &[u8] {
        self.columns.get(number).map_or(&[], |column| column.get(self.row))
    }
}
