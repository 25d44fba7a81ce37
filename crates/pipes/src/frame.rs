//! Rows on their way through pipes: which of a source's rows are still there, and the columns that were made for them. What
//! the source has is read when it is asked for, and only for rows that are still there.

use crate::Cells;
use hashbrown::HashMap;
use millrace_model::Value;
use std::rc::Rc;

/// Where rows come from: a chunk of a shard, hot rows, a table.
pub trait Rows {
    /// Why a column cannot be read.
    type Error;

    /// How many rows.
    fn count(&self) -> usize;

    /// The values of a column, of these rows: rising numbers below [`Rows::count`].
    ///
    /// # Errors
    /// As the source has them.
    fn cells(&self, column: usize, rows: &[u32]) -> Result<Cells, Self::Error>;
}

/// What is called with some rows, and how many of them were not there before.
pub(crate) type Visit<'v, 'r, R> = dyn FnMut(Frame<'r, R>, u64) -> Result<(), <R as Rows>::Error> + 'v;

/// So many rows are made at a time of those that are to be there more than once, and as many more as one of them makes.
const PART: usize = 1 << 14;

/// See the module.
pub(crate) struct Frame<'r, R> {
    source: &'r R,
    /// The names of the source's columns.
    names: &'r [String],
    /// Which of the source's rows are there: rising numbers.
    selected: Vec<u32>,
    /// Where some of them are there more than once: of each row, its place among those. Never falls.
    repeats: Option<Vec<u32>>,
    /// What was made of rows, and what was read of the source.
    made: HashMap<String, Rc<Cells>>,
}

impl<'r, R: Rows> Frame<'r, R> {
    /// All rows of a source, whose columns have these names.
    pub(crate) fn new(source: &'r R, names: &'r [String]) -> Self {
        let selected = (0..source.count() as u32).collect();
        Self { source, names, selected, repeats: None, made: HashMap::new() }
    }

    pub(crate) fn rows(&self) -> usize {
        self.repeats.as_ref().unwrap_or(&self.selected).len()
    }

    /// A column by its name: what was made comes before what the source has; nothing where neither knows it.
    pub(crate) fn cells(&mut self, name: &str) -> Result<Rc<Cells>, R::Error> {
        if let Some(cells) = self.made.get(name) {
            return Ok(Rc::clone(cells));
        }
        let cells = Rc::new(match self.names.iter().position(|known| known == name) {
            Some(column) => {
                let cells = self.source.cells(column, &self.selected)?;
                self.repeats.as_ref().map_or_else(|| cells.clone(), |repeats| cells.pick(repeats))
            }
            None => Cells::uniform(None, self.rows()),
        });
        self.made.insert(name.to_owned(), Rc::clone(&cells));
        Ok(cells)
    }

    pub(crate) fn put(&mut self, name: &str, cells: Rc<Cells>) {
        debug_assert_eq!(cells.rows(), self.rows(), "a column of these rows");
        self.made.insert(name.to_owned(), cells);
    }

    /// Only rows whose value says so.
    pub(crate) fn retain(&mut self, cells: &Cells, keep: impl Fn(&Value) -> bool) {
        let kept: Vec<bool> = cells.values.iter().map(keep).collect();
        let is_kept = |row: &u32| {
            cells.codes.get(*row as usize).is_some_and(|code| kept.get(*code as usize) == Some(&true))
        };
        let rows: Vec<u32> = (0..self.rows() as u32).filter(is_kept).collect();
        self.pick(&rows);
    }

    /// Only these, by their numbers among those that are still there.
    pub(crate) fn pick(&mut self, rows: &[u32]) {
        if rows.len() == self.rows() {
            return;
        }
        (self.selected, self.repeats) = self.places(rows);
        self.made.values_mut().for_each(|cells| *cells = Rc::new(cells.pick(rows)));
    }

    /// A frame of these, by their numbers among those that are still there, which never fall and may repeat.
    fn taken(&self, rows: &[u32]) -> Self {
        let (selected, repeats) = self.places(rows);
        let made = self.made.iter().map(|(name, cells)| (name.clone(), Rc::new(cells.pick(rows)))).collect();
        Self { source: self.source, names: self.names, selected, repeats, made }
    }

    /// Are some rows there more than once?
    pub(crate) fn repeats(&self) -> bool {
        self.repeats.is_some()
    }

    /// Calls `visit` with rows, some at a time, each as often as something stands `beside` it, which is `put` there.
    pub(crate) fn spread<'b>(
        &self,
        beside: impl Fn(u32) -> &'b [u32],
        put: impl Fn(&mut Self, &[u32]),
        visit: &mut Visit<'_, 'r, R>,
    ) -> Result<(), R::Error> {
        let (mut rows, mut others, mut added) = (Vec::new(), Vec::new(), 0);
        for row in 0..self.rows() as u32 {
            let beside = beside(row);
            added += beside.len().saturating_sub(1) as u64;
            rows.extend(beside.iter().map(|_| row));
            others.extend(beside);
            if rows.len() >= PART || (row as usize + 1 == self.rows() && !rows.is_empty()) {
                let mut part = self.taken(&rows);
                put(&mut part, &others);
                visit(part, added)?;
                rows.clear();
                others.clear();
                added = 0;
            }
        }
        Ok(())
    }

    fn places(&self, rows: &[u32]) -> (Vec<u32>, Option<Vec<u32>>) {
        let place = |row: &u32| match &self.repeats {
            Some(repeats) => repeats.get(*row as usize).copied(),
            None => Some(*row),
        };
        let (mut selected, mut repeats) = (Vec::new(), Vec::with_capacity(rows.len()));
        let mut last = None;
        for place in rows.iter().filter_map(place) {
            if last != Some(place) {
                selected.extend(self.selected.get(place as usize));
                last = Some(place);
            }
            repeats.push(selected.len().saturating_sub(1) as u32);
        }
        let repeats = (repeats.len() > selected.len()).then_some(repeats);
        (selected, repeats)
    }
}
