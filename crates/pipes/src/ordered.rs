//! The first rows of an order, out of many that come in any order. What is shown of a row is read only where the row may be
//! among the first.

use crate::{
    Cells,
    ast::SortKey,
    frame::{Frame, Rows},
    key::{Exact, Key},
    keys::first,
    states::text_bytes,
    table::{Column, Table},
};
use hashbrown::HashMap;
use millrace_model::Value;
use serde::{Deserialize, Serialize};
use std::{cmp::Ordering, rc::Rc};

/// Which rows, in which order, and what is shown of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderBy {
    /// By what, the first key first; nothing: as they come.
    pub keys: Vec<SortKey>,
    /// Of rows that have these in common only the first; nothing: all.
    pub unique: Vec<String>,
    /// How many at most.
    pub limit: usize,
    /// Which columns are shown.
    pub columns: Vec<String>,
}

impl OrderBy {
    /// Calls `visit` with the name of each column that it needs.
    pub(crate) fn each_column<'a>(&'a self, visit: &mut impl FnMut(&'a str)) {
        self.keys.iter().for_each(|key| visit(&key.name));
        self.unique.iter().chain(&self.columns).for_each(|name| visit(name));
    }

    /// Are these the latest records first, as searches give them?
    pub(crate) fn is_latest(&self) -> bool {
        let latest = |(key, name): (&SortKey, &str)| key.descending && key.name == name;
        self.unique.is_empty() && self.keys.len() == 2 && self.keys.iter().zip(LATEST).all(latest)
    }

    fn compare(&self, a: &[Option<Value>], b: &[Option<Value>]) -> Ordering {
        let mut keys = self.keys.iter().zip(a.iter().zip(b));
        keys.find_map(|(key, (a, b))| Some(ordering(key, a.as_ref(), b.as_ref())).filter(|o| o.is_ne()))
            .unwrap_or(Ordering::Equal)
    }
}

/// What records are ordered by where nothing else is said: by names that pipes seldom give to what they make.
pub(crate) const LATEST: [&str; 2] = ["@timestamp", "_id"];

/// What is lacking comes last, whichever end is first.
fn ordering(key: &SortKey, a: Option<&Value>, b: Option<&Value>) -> Ordering {
    let ordering = first(a, b);
    if key.descending && a.is_some() && b.is_some() { ordering.reverse() } else { ordering }
}

/// The rows so far.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Wire")]
pub(crate) struct Ordered {
    rows: Vec<Row>,
    /// How many rows there were.
    seen: u64,
    #[serde(skip)]
    bytes: usize,
    /// Once there are enough: nothing behind this can be among the first.
    #[serde(skip)]
    worst: Option<Vec<Option<Value>>>,
    /// Where the row of each combination is, where only one of each is wanted.
    #[serde(skip)]
    places: HashMap<Vec<Option<Key>>, usize>,
}

/// How they travel: without what is made of the rest.
#[derive(Deserialize)]
struct Wire {
    rows: Vec<Row>,
    seen: u64,
}

impl From<Wire> for Ordered {
    fn from(Wire { rows, seen }: Wire) -> Self {
        let bytes = rows.iter().map(Row::bytes).sum();
        let of_many = rows.iter().enumerate().filter(|(_, row)| !row.unique.is_empty());
        let places = of_many.map(|(place, row)| (row.combination(), place)).collect();
        Self { rows, seen, bytes, worst: None, places }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Row {
    #[serde(with = "cells")]
    keys: Vec<Option<Value>>,
    #[serde(with = "cells")]
    unique: Vec<Option<Value>>,
    #[serde(with = "cells")]
    values: Vec<Option<Value>>,
}

impl Row {
    fn combination(&self) -> Vec<Option<Key>> {
        self.unique.iter().map(|value| value.as_ref().map(Key::of)).collect()
    }

    fn bytes(&self) -> usize {
        let all = self.keys.iter().chain(&self.unique).chain(&self.values);
        72 + all.map(|value| 32 + value.as_ref().map_or(0, text_bytes)).sum::<usize>()
    }
}

impl Ordered {
    pub(crate) fn add<R: Rows>(&mut self, ask: &OrderBy, frame: &mut Frame<'_, R>) -> Result<(), R::Error> {
        self.seen += frame.rows() as u64;
        let read = |names: &mut dyn Iterator<Item = &String>, frame: &mut Frame<'_, R>| {
            names.map(|name| frame.cells(name)).collect::<Result<Vec<Rc<Cells>>, _>>()
        };
        let row_of = |cells: &[Rc<Cells>], row: u32| -> Vec<Option<Value>> {
            cells.iter().map(|cells| cells.get(row as usize).cloned()).collect()
        };
        if ask.unique.is_empty() {
            self.leave_worse(ask, frame)?;
        } else {
            self.leave_worse_of_each(ask, frame)?;
        }
        if frame.rows() == 0 || ask.limit == 0 {
            return Ok(());
        }
        let keys = read(&mut ask.keys.iter().map(|key| &key.name), frame)?;
        let unique = read(&mut ask.unique.iter(), frame)?;
        let values = read(&mut ask.columns.iter(), frame)?;
        for row in 0..frame.rows() as u32 {
            let of = |cells: &[Rc<Cells>]| row_of(cells, row);
            self.put(ask, Row { keys: of(&keys), unique: of(&unique), values: of(&values) });
        }
        Ok(())
    }

    /// Only rows that may be among the first. A key is read only of rows that the keys before leave open.
    fn leave_worse<R: Rows>(&self, ask: &OrderBy, frame: &mut Frame<'_, R>) -> Result<(), R::Error> {
        let Some(worst) = &self.worst else { return Ok(()) };
        // Of each row that is still there: is it better by a key before?
        let mut is_better = vec![false; frame.rows()];
        for (number, (key, worst)) in ask.keys.iter().zip(worst).enumerate() {
            if is_better.iter().all(|is_better| *is_better) {
                break;
            }
            let cells = frame.cells(&key.name)?;
            let is_last = number + 1 == ask.keys.len();
            let mut kept = Vec::new();
            let mut better = Vec::new();
            for (row, was_better) in is_better.iter().enumerate() {
                let ordering = ordering(key, cells.get(row), worst.as_ref());
                if *was_better || ordering.is_lt() || (ordering.is_eq() && !is_last) {
                    kept.push(row as u32);
                    better.push(*was_better || ordering.is_lt());
                }
            }
            frame.pick(&kept);
            is_better = better;
        }
        if ask.keys.is_empty() {
            frame.pick(&[]);
        }
        Ok(())
    }

    /// Of rows that have in common what only one may have, those that are the first by the first key, unless one is known that
    /// is before them by it.
    fn leave_worse_of_each<R: Rows>(&self, ask: &OrderBy, frame: &mut Frame<'_, R>) -> Result<(), R::Error> {
        let Some(key) = ask.keys.first() else { return Ok(()) };
        let unique: Vec<Rc<Cells>> =
            ask.unique.iter().map(|name| frame.cells(name)).collect::<Result<_, _>>()?;
        let cells = frame.cells(&key.name)?;
        let mut best: HashMap<Vec<u32>, Vec<u32>> = HashMap::new();
        let mut codes = Vec::new();
        for row in 0..frame.rows() as u32 {
            codes.clear();
            codes.extend(unique.iter().map(|cells| cells.codes[row as usize]));
            let value = |row: u32| cells.get(row as usize);
            match best.get_mut(codes.as_slice()) {
                None => drop(best.insert(codes.clone(), vec![row])),
                Some(rows) => match ordering(key, value(row), value(rows[0])) {
                    Ordering::Less => *rows = vec![row],
                    Ordering::Equal => rows.push(row),
                    Ordering::Greater => {}
                },
            }
        }
        let is_open = |row: &u32| {
            let of = |cells: &Rc<Cells>| cells.get(*row as usize).map(Key::of);
            let combination: Vec<Option<Key>> = unique.iter().map(of).collect();
            let known = self.places.get(&combination).and_then(|place| self.rows[*place].keys.first());
            known.is_none_or(|known| ordering(key, cells.get(*row as usize), known.as_ref()).is_le())
        };
        let mut rows: Vec<u32> = best.into_values().flatten().filter(is_open).collect();
        rows.sort_unstable();
        frame.pick(&rows);
        Ok(())
    }

    /// So many rows in all.
    pub(crate) fn set_seen(&mut self, rows: u64) {
        self.seen = rows;
    }

    fn put(&mut self, ask: &OrderBy, row: Row) {
        let bytes = row.bytes();
        if !ask.unique.is_empty() {
            let combination = row.combination();
            if let Some(place) = self.places.get(&combination) {
                let known = &mut self.rows[*place];
                if ask.compare(&row.keys, &known.keys).is_lt() {
                    self.bytes = (self.bytes + bytes).saturating_sub(known.bytes());
                    *known = row;
                }
                return;
            }
            self.places.insert(combination, self.rows.len());
            self.bytes += bytes;
        }
        self.bytes += bytes;
        self.rows.push(row);
        // Which combinations are among the first is known only at the end.
        if ask.unique.is_empty() && self.rows.len() >= ask.limit.saturating_mul(2).saturating_add(256) {
            self.prune(ask);
        }
    }

    /// Keeps as many rows as are asked for.
    fn prune(&mut self, ask: &OrderBy) {
        self.rows.sort_by(|a, b| ask.compare(&a.keys, &b.keys));
        self.rows.truncate(ask.limit);
        self.bytes = self.rows.iter().map(Row::bytes).sum();
        self.worst = self.rows.last().filter(|_| self.rows.len() == ask.limit).map(|row| row.keys.clone());
    }

    pub(crate) fn merge(&mut self, ask: &OrderBy, other: Self) {
        self.seen += other.seen;
        other.rows.into_iter().for_each(|row| self.put(ask, row));
    }

    /// How many rows are kept.
    pub(crate) fn count(&self) -> usize {
        self.rows.len()
    }

    /// About how many bytes of memory it takes.
    pub(crate) fn weight(&self) -> usize {
        self.bytes
    }

    /// The first rows, and how many there were. Those of which only one each was wanted are counted once.
    pub(crate) fn finish(mut self, ask: &OrderBy, is_time: &[bool]) -> (Table, u64) {
        let seen = if ask.unique.is_empty() { self.seen } else { self.rows.len() as u64 };
        self.rows.sort_by(|a, b| ask.compare(&a.keys, &b.keys));
        self.rows.truncate(ask.limit);
        let rows = self.rows.len();
        let column = |at: usize, name: &String| Column {
            name: name.clone(),
            is_time: is_time.get(at).copied().unwrap_or(false),
            is_estimate: false,
            cells: self.rows.iter().map(|row| row.values.get(at).cloned().flatten()).collect(),
        };
        let columns = ask.columns.iter().enumerate().map(|(at, name)| column(at, name)).collect();
        (Table { columns, rows, chosen_by_estimate: false }, seen)
    }
}

/// Cells of a row on their way.
mod cells {
    use super::{Deserialize, Exact, Value};
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(values: &[Option<Value>], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(|value| value.clone().map(Exact)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Option<Value>>, D::Error> {
        let cells = Vec::<Option<Exact>>::deserialize(from)?;
        Ok(cells.into_iter().map(|cell| cell.map(|cell| cell.0)).collect())
    }
}
