//! Several fragments over the same records: one look at each, whatever is made of it. What a leaf is asked for, and what it
//! answers.

use crate::{Cells, Fragment, Partial, frame::Rows, memory::Memory};
use millrace_model::{FieldRef, Value};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;

/// See the module. At least one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<Fragment>", into = "Vec<Fragment>")]
pub struct Fragments {
    each: Vec<Fragment>,
    /// The columns that they read, each once.
    columns: Vec<String>,
    /// Of each, the places of its columns among these.
    places: Vec<Vec<usize>>,
    /// What all of them have gathered in this process.
    used: Memory,
}

/// What was gathered for each of them. It travels as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Partials(Vec<Partial>);

impl From<Vec<Fragment>> for Fragments {
    fn from(each: Vec<Fragment>) -> Self {
        let mut columns: Vec<String> = Vec::new();
        let mut place = |name: &String| {
            columns.iter().position(|known| known == name).unwrap_or_else(|| {
                columns.push(name.clone());
                columns.len() - 1
            })
        };
        let places = each.iter().map(|one| one.columns().iter().map(&mut place).collect()).collect();
        Self { each, columns, places, used: Memory::default() }
    }
}

impl From<Fragments> for Vec<Fragment> {
    fn from(fragments: Fragments) -> Self {
        fragments.each
    }
}

impl Fragments {
    /// The names of the columns that they read.
    #[cfg(test)]
    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The columns that they read, as fields of records: [`Rows::cells`] is asked for them by their places here.
    pub fn fields(&self) -> Vec<FieldRef> {
        self.columns.iter().map(|name| FieldRef::resolve(name)).collect()
    }

    /// The only one, if there are no others: some things can be done faster for it.
    fn single(&self) -> Option<&Fragment> {
        match self.each.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }

    /// The column whose values are counted, if nothing else is done: who has counts of values can bring them by
    /// [`Partials::add_counted`].
    pub fn counted(&self) -> Option<&str> {
        self.single()?.counted()
    }

    /// The width of the intervals of time, in nanoseconds, in which records are counted, if nothing else is done: who has such
    /// counts can bring them by [`Partials::add_counted`], with the beginning of each interval.
    pub fn counted_by_time(&self) -> Option<u64> {
        self.single()?.counted_by_time()
    }

    /// How many records are gathered, if these are the latest, and nothing else is done to them: other records need not be
    /// brought.
    pub fn latest(&self) -> Option<usize> {
        self.single()?.latest()
    }

    /// Nothing gathered yet.
    pub fn begin(&self) -> Partials {
        Partials(self.each.iter().map(|one| one.begin(&self.used)).collect())
    }

    /// Takes some rows in. CPU bound.
    ///
    /// # Errors
    /// Where a column cannot be read.
    pub fn add<R: Rows>(&self, partials: &mut Partials, rows: &R) -> Result<(), R::Error> {
        let columns = self.columns.iter().map(|_| None).collect();
        let shared = Shared { rows, whole: RefCell::new(columns), keeps: self.each.len() > 1 };
        for ((one, places), partial) in self.each.iter().zip(&self.places).zip(&mut partials.0) {
            one.add(partial, &OneOf { shared: &shared, places })?;
        }
        Ok(())
    }

    /// Joins what was gathered of other rows.
    pub fn merge(&self, partials: &mut Partials, others: Partials) {
        let others = others.0.into_iter();
        for ((one, partial), other) in self.each.iter().zip(&mut partials.0).zip(others) {
            one.merge(partial, other);
        }
    }

    /// What was gathered for another query that asked the same, from now on counted for this one.
    #[must_use]
    pub fn adopt(&self, mut partials: Partials) -> Partials {
        for (one, partial) in self.each.iter().zip(&mut partials.0) {
            one.adopt(partial, &self.used);
        }
        partials
    }

    /// What is gathered here takes so many bytes, where they are counted elsewhere: may it go on?
    pub fn may_take(&self, partials: &mut Partials, bytes: usize) -> bool {
        let mut parts = self.each.iter().zip(&mut partials.0);
        parts.all(|(one, partial)| one.may_take(partial, bytes))
    }
}

impl Partials {
    /// Would one of them take more memory than it may? Then nothing comes of any, whatever is added.
    pub fn is_too_large(&self) -> bool {
        self.0.iter().any(Partial::is_too_large)
    }

    /// So many rows that have a value of what is counted, or none. For [`Fragments::counted`] and
    /// [`Fragments::counted_by_time`].
    pub fn add_counted(&mut self, value: Option<&Value>, rows: u64) {
        self.0.iter_mut().for_each(|partial| partial.add_counted(value, rows));
    }

    /// So many rows in all, where only the latest of them were brought: for [`Fragments::latest`].
    pub fn set_seen(&mut self, rows: u64) {
        self.0.iter_mut().for_each(|partial| partial.set_seen(rows));
    }

    /// About how many bytes of memory it takes.
    pub fn weight(&self) -> usize {
        self.0.iter().map(Partial::weight).sum()
    }

    /// The same, counted for no query: to be kept for longer than the one that it was gathered for.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self(self.0.iter().map(Partial::apart).collect())
    }

    /// Those of each fragment.
    pub(crate) fn into_parts(self) -> impl Iterator<Item = Partial> {
        self.0.into_iter()
    }
}

/// Rows whose columns are read once for all fragments, where all rows are asked for.
struct Shared<'a, R> {
    rows: &'a R,
    whole: RefCell<Vec<Option<Cells>>>,
    keeps: bool,
}

/// The same, as one fragment numbers the columns.
struct OneOf<'a, R> {
    shared: &'a Shared<'a, R>,
    places: &'a [usize],
}

impl<R: Rows> Rows for OneOf<'_, R> {
    type Error = R::Error;

    fn count(&self) -> usize {
        self.shared.rows.count()
    }

    fn cells(&self, column: usize, rows: &[u32]) -> Result<Cells, R::Error> {
        let Some(place) = self.places.get(column).copied() else {
            return Ok(Cells::uniform(None, rows.len()));
        };
        if !self.shared.keeps || rows.len() < self.count() {
            return self.shared.rows.cells(place, rows);
        }
        let mut whole = self.shared.whole.borrow_mut();
        if let Some(Some(cells)) = whole.get(place) {
            return Ok(cells.clone());
        }
        let cells = self.shared.rows.cells(place, rows)?;
        if let Some(kept) = whole.get_mut(place) {
            *kept = Some(cells.clone());
        }
        Ok(cells)
    }
}
