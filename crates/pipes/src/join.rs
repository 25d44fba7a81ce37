//! Rows of another query beside those that have the same values: a table that travels with what leaves are asked where it is
//! small, and is kept where the query is answered where it is not.

use crate::{
    ABSENT, Answer, Cells, Table, TooLarge,
    ast::Join,
    estimates::Estimates,
    frame::{Frame, Rows, Visit},
    key::Exact,
    keys::Keys,
    states::text_bytes,
};
use serde::{Deserialize, Serialize};
use std::{fmt, io, rc::Rc, sync::Arc};

/// The most rows that a query may have that is joined.
pub(crate) const MOST_JOINED: u64 = 50_000;
/// The most rows that joins may add to those that they are given, where a row has many beside it: of one query.
pub(crate) const MOST_ADDED: u64 = 10_000_000;

/// The rows of a query that is joined, once it is answered.
#[derive(Debug, Clone)]
pub struct Joined {
    table: Table,
    bytes: usize,
}

impl Joined {
    /// How many rows are to be asked for of a query that is joined: one more than it may have, so that it shows.
    pub const LIMIT: usize = MOST_JOINED as usize + 1;

    /// What was answered, for a query that may still take so many bytes of memory.
    ///
    /// # Errors
    /// It has more rows, or takes more memory, than it may.
    pub fn of(answer: Answer, memory: usize) -> Result<Self, TooLarge> {
        if answer.rows > MOST_JOINED {
            return Err(TooLarge::Joined(answer.rows));
        }
        let table = answer.table;
        let values = table.columns.iter().flat_map(|column| &column.cells.values);
        let values: usize = values.map(|value| 32 + text_bytes(value)).sum();
        // Its cells, the keys among them once more and in a map, and which rows have each.
        let bytes = 3 * values + table.rows * (64 + 4 * table.columns.len());
        if bytes > memory {
            return Err(TooLarge::Memory(memory));
        }
        Ok(Self { table, bytes })
    }

    /// About how many bytes of memory it takes.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What stands beside rows, by their values of the keys.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "Wire", into = "Wire")]
pub(crate) struct Lookup {
    pub(crate) by: Vec<String>,
    pub(crate) left: bool,
    keyed: Arc<Keyed>,
    /// What of it is estimated: for who plans, and does not travel.
    estimates: Estimates,
}

/// The rows, and where those with the same keys are. Clones of a lookup share it.
struct Keyed {
    keys: Vec<Cells>,
    columns: Vec<(String, Cells)>,
    groups: Keys,
    /// Of each group, where its rows begin in `order`; and where those of the last end.
    starts: Vec<u32>,
    /// The rows, by their groups.
    order: Vec<u32>,
}

/// How it travels: without what is made of the rest.
#[derive(Serialize, Deserialize)]
struct Wire {
    by: Vec<String>,
    left: bool,
    keys: Vec<WireCells>,
    columns: Vec<(String, WireCells)>,
}

#[derive(Serialize, Deserialize)]
struct WireCells {
    values: Vec<Exact>,
    codes: Vec<u32>,
}

impl From<&Cells> for WireCells {
    fn from(cells: &Cells) -> Self {
        Self { values: cells.values.iter().cloned().map(Exact).collect(), codes: cells.codes.clone() }
    }
}

impl From<WireCells> for Cells {
    fn from(WireCells { values, codes }: WireCells) -> Self {
        Self { values: values.into_iter().map(|value| value.0).collect(), codes }
    }
}

impl From<Lookup> for Wire {
    fn from(Lookup { by, left, keyed, .. }: Lookup) -> Self {
        let columns = keyed.columns.iter().map(|(name, cells)| (name.clone(), cells.into())).collect();
        Self { by, left, keys: keyed.keys.iter().map(WireCells::from).collect(), columns }
    }
}

impl From<Wire> for Lookup {
    fn from(Wire { by, left, keys, columns }: Wire) -> Self {
        let columns = columns.into_iter().map(|(name, cells)| (name, cells.into())).collect();
        Self::of(by, left, keys.into_iter().map(Cells::from).collect(), columns)
    }
}

impl PartialEq for Lookup {
    fn eq(&self, other: &Self) -> bool {
        (&self.by, self.left) == (&other.by, other.left)
            && self.keyed.keys == other.keyed.keys
            && self.keyed.columns == other.keyed.columns
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.keyed.order.len();
        f.debug_struct("Lookup")
            .field("by", &self.by)
            .field("left", &self.left)
            .field("rows", &rows)
            .finish_non_exhaustive()
    }
}

/// Counts what is written.
struct Length(usize);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lookup {
    /// What a join gives beside rows; and which of the columns that it adds are times.
    pub(crate) fn new(join: &Join, joined: Joined) -> (Self, Vec<(String, bool)>) {
        let estimates = Estimates::of(&joined.table);
        let mut table = joined.table.select(&[join.by.clone(), join.columns()].concat());
        let beside = table.columns.split_off(join.by.len());
        let times = beside.iter().map(|column| (column.name.clone(), column.is_time)).collect();
        let keys = table.columns.into_iter().map(|column| column.cells).collect();
        let beside = beside.into_iter().map(|column| (column.name, column.cells)).collect();
        (Self { estimates, ..Self::of(join.by.clone(), join.left, keys, beside) }, times)
    }

    fn of(by: Vec<String>, left: bool, keys: Vec<Cells>, columns: Vec<(String, Cells)>) -> Self {
        let mut groups = Keys::new(keys.len());
        let rows = keys.iter().map(Cells::rows).min().unwrap_or(0);
        let shared: Vec<Rc<Cells>> = keys.iter().cloned().map(Rc::new).collect();
        let of_rows = groups.groups_of(&shared, rows);
        let mut starts = vec![0; groups.count() + 1];
        for group in &of_rows {
            starts[*group as usize + 1] += 1;
        }
        for group in 1..starts.len() {
            starts[group] += starts[group - 1];
        }
        let mut order: Vec<u32> = (0..rows as u32).collect();
        order.sort_by_key(|row| of_rows[*row as usize]);
        Self {
            by,
            left,
            keyed: Arc::new(Keyed { keys, columns, groups, starts, order }),
            estimates: Estimates::default(),
        }
    }

    /// How many bytes it has on its way.
    pub(crate) fn length(&self) -> usize {
        let mut length = Length(0);
        // Counting does not fail; and what cannot be written does not travel.
        serde_json::to_writer(&mut length, self).map_or(usize::MAX, |()| length.0)
    }

    /// How many rows there are to stand beside others.
    pub(crate) fn rows(&self) -> usize {
        self.keyed.order.len()
    }

    /// The columns that it adds.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.keyed.columns.iter().map(|(name, _)| name.as_str())
    }

    /// What of it is estimated, where it was planned.
    pub(crate) const fn estimates(&self) -> &Estimates {
        &self.estimates
    }

    fn beside(&self, group: u32) -> &[u32] {
        let Keyed { starts, order, .. } = &*self.keyed;
        let place = |group: usize| starts.get(group).map_or(order.len(), |start| *start as usize);
        if group == ABSENT { &[] } else { &order[place(group as usize)..place(group as usize + 1)] }
    }

    /// Calls `visit` with the rows of a frame and what stands beside them, some at a time, and how many rows that are more.
    pub(crate) fn each_part<'r, R: Rows>(
        &self,
        mut frame: Frame<'r, R>,
        visit: &mut Visit<'_, 'r, R>,
    ) -> Result<(), R::Error> {
        let keys: Vec<Rc<Cells>> = self.by.iter().map(|name| frame.cells(name)).collect::<Result<_, _>>()?;
        let groups = self.keyed.groups.find(&keys, frame.rows());
        let beside = |row: u32| match self.beside(groups[row as usize]) {
            [] if self.left => &[ABSENT],
            beside => beside,
        };
        let put = |part: &mut Frame<'r, R>, rows: &[u32]| {
            for (name, cells) in &self.keyed.columns {
                part.put(name, Rc::new(cells.pick(rows)));
            }
        };
        frame.spread(beside, put, visit)
    }
}
