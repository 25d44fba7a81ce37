//! Rows by what they have in common: each combination of values is a group, and has a number. Values are numbers, too, while
//! rows come in: of each batch a value is looked up once.

use crate::{
    ABSENT, Cells,
    ast::Named,
    expression::{Expr, rank},
    frame::{Frame, Rows},
    key::{Key, Probe},
    states::text_bytes,
    table::Column,
};
use hashbrown::HashMap;
use millrace_model::Value;
use std::{cmp::Ordering, rc::Rc};

/// The groups so far. Where rows need to have nothing in common, there is one.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    /// The values of each key, by number.
    numbers: Vec<Numbers>,
    /// Of each group, the number of each of its values; [`ABSENT`] where it has none.
    tuples: Vec<u32>,
    by_tuple: HashMap<Box<[u32]>, u32>,
}

/// Values and their numbers.
#[derive(Debug, Clone, Default)]
struct Numbers {
    values: Vec<Key>,
    by_value: HashMap<Key, u32>,
    bytes: usize,
}

impl Numbers {
    fn of(values: &[Key]) -> Self {
        let mut numbers = Self::default();
        for key in values {
            numbers.number(&key.0);
        }
        numbers
    }

    fn number(&mut self, value: &Value) -> u32 {
        if let Some(number) = self.by_value.get(&Probe(value)) {
            return *number;
        }
        let (number, key) = (self.values.len() as u32, Key::of(value));
        self.bytes += 2 * (size_of::<Key>() + text_bytes(value)) + 16;
        self.values.push(key.clone());
        self.by_value.insert(key, number);
        number
    }
}

impl Keys {
    /// No groups of so many keys.
    pub(crate) fn new(width: usize) -> Self {
        Self { numbers: vec![Numbers::default(); width], tuples: Vec::new(), by_tuple: HashMap::new() }
    }

    /// As they have travelled: without what is made of the rest.
    pub(crate) fn from_wire(values: &[Vec<Key>], tuples: Vec<u32>) -> Self {
        let numbers: Vec<Numbers> = values.iter().map(|values| Numbers::of(values)).collect();
        let width = numbers.len();
        let mut by_tuple = HashMap::new();
        if width > 0 {
            by_tuple
                .extend(tuples.chunks(width).enumerate().map(|(group, tuple)| (tuple.into(), group as u32)));
        }
        Self { numbers, tuples, by_tuple }
    }

    /// The values of each key, and of each group their numbers.
    pub(crate) fn into_wire(self) -> (Vec<Vec<Key>>, Vec<u32>) {
        (self.numbers.into_iter().map(|numbers| numbers.values).collect(), self.tuples)
    }

    /// How many keys.
    pub(crate) fn width(&self) -> usize {
        self.numbers.len()
    }

    /// How many groups.
    pub(crate) fn count(&self) -> usize {
        if self.numbers.is_empty() { 1 } else { self.tuples.len() / self.numbers.len() }
    }

    /// The group of the rows that have this value of the only key, or none.
    pub(crate) fn group_of(&mut self, value: Option<&Value>) -> Option<u32> {
        let numbers = self.numbers.first_mut()?;
        let number = value.map_or(ABSENT, |value| numbers.number(value));
        Some(self.group(&[number]))
    }

    fn group(&mut self, tuple: &[u32]) -> u32 {
        if let Some(group) = self.by_tuple.get(tuple) {
            return *group;
        }
        let group = (self.tuples.len() / tuple.len().max(1)) as u32;
        self.tuples.extend(tuple);
        self.by_tuple.insert(tuple.into(), group);
        group
    }

    /// The group of each row of a frame.
    pub(crate) fn assign<R: Rows>(
        &mut self,
        by: &[Named<Expr>],
        frame: &mut Frame<'_, R>,
    ) -> Result<Vec<u32>, R::Error> {
        let columns: Vec<Rc<Cells>> = by.iter().map(|by| by.what.of(frame)).collect::<Result<_, _>>()?;
        Ok(self.groups_of(&columns, frame.rows()))
    }

    /// The group of each row of these columns; [`ABSENT`] where a value is lacking, or there is no such group.
    pub(crate) fn find(&self, columns: &[Rc<Cells>], rows: usize) -> Vec<u32> {
        let number =
            |numbers: &Numbers, value: &Value| numbers.by_value.get(&Probe(value)).copied().unwrap_or(ABSENT);
        // Each value is looked up once.
        let of_column = |(cells, numbers): (&Rc<Cells>, &Numbers)| -> Vec<u32> {
            cells.values.iter().map(|value| number(numbers, value)).collect()
        };
        let numbers: Vec<Vec<u32>> = columns.iter().zip(&self.numbers).map(of_column).collect();
        let mut tuple = vec![ABSENT; columns.len()];
        let mut group = |row: usize| {
            for ((part, cells), numbers) in tuple.iter_mut().zip(columns).zip(&numbers) {
                let code = cells.codes.get(row).copied().unwrap_or(ABSENT);
                *part = numbers.get(code as usize).copied().filter(|number| *number != ABSENT)?;
            }
            self.by_tuple.get(tuple.as_slice()).copied()
        };
        (0..rows).map(|row| group(row).unwrap_or(ABSENT)).collect()
    }

    pub(crate) fn groups_of(&mut self, columns: &[Rc<Cells>], rows: usize) -> Vec<u32> {
        if columns.is_empty() {
            return vec![0; rows];
        }
        // Rows with the same codes are in the same group: where there are few combinations of codes, each is looked up once.
        let sizes = columns.iter().map(|cells| cells.values.len() + 1);
        let combinations = sizes.clone().try_fold(1usize, usize::checked_mul);
        let few = combinations.filter(|combinations| *combinations <= 4 * rows.max(16));
        let mut known = vec![u32::MAX; few.unwrap_or(0)];
        let mut last: Option<(usize, u32)> = None;
        let mut tuple = vec![ABSENT; columns.len()];
        let same = |a: usize, b: usize| columns.iter().all(|cells| cells.codes[a] == cells.codes[b]);
        let mut assigned = Vec::with_capacity(rows);
        for row in 0..rows {
            let place = few.map(|_| {
                let digit = |cells: &Cells| cells.codes[row].wrapping_add(1) as usize;
                columns.iter().zip(sizes.clone()).fold(0, |place, (cells, size)| place * size + digit(cells))
            });
            let found = match (place, last) {
                (Some(place), _) if known[place] != u32::MAX => Some(known[place]),
                (None, Some((before, group))) if same(before, row) => Some(group),
                _ => None,
            };
            let group = found.unwrap_or_else(|| {
                for ((number, cells), numbers) in tuple.iter_mut().zip(columns).zip(&mut self.numbers) {
                    *number = cells.get(row).map_or(ABSENT, |value| numbers.number(value));
                }
                self.group(&tuple)
            });
            if let Some(place) = place {
                known[place] = group;
            }
            last = Some((row, group));
            assigned.push(group);
        }
        assigned
    }

    /// Takes over another leaf's groups: which of these each of them is. `None`: they are of other keys.
    pub(crate) fn merge(&mut self, other: &Self) -> Option<Vec<u32>> {
        if self.width() != other.width() {
            return None;
        }
        if self.numbers.is_empty() {
            return Some(vec![0]);
        }
        let translate = |(mine, others): (&mut Numbers, &Numbers)| -> Vec<u32> {
            others.values.iter().map(|key| mine.number(&key.0)).collect()
        };
        let numbers: Vec<Vec<u32>> = self.numbers.iter_mut().zip(&other.numbers).map(translate).collect();
        let mut tuple = vec![ABSENT; numbers.len()];
        let mut of = |others: &[u32]| {
            for ((mine, number), numbers) in tuple.iter_mut().zip(others).zip(&numbers) {
                *mine = numbers.get(*number as usize).copied().unwrap_or(ABSENT);
            }
            self.group(&tuple)
        };
        Some(other.tuples.chunks(other.width()).map(&mut of).collect())
    }

    /// About how many bytes of memory they take.
    pub(crate) fn weight(&self) -> usize {
        let values: usize = self.numbers.iter().map(|numbers| numbers.bytes).sum();
        values + self.tuples.len() * 8 + self.by_tuple.len() * 48
    }

    fn value(&self, group: u32, key: usize) -> Option<&Value> {
        let number = self.tuples.get(group as usize * self.width() + key)?;
        self.numbers[key].values.get(*number as usize).map(|key| &key.0)
    }

    /// Which of two groups comes first.
    pub(crate) fn compare(&self, a: u32, b: u32) -> Ordering {
        let by_key = |key| first(self.value(a, key), self.value(b, key));
        (0..self.width()).map(by_key).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
    }

    /// The values of these groups, a column a key.
    pub(crate) fn columns(&self, by: &[Named<Expr>], groups: &[u32]) -> impl Iterator<Item = Column> {
        by.iter().take(self.width()).enumerate().map(|(key, by)| Column {
            name: by.name.clone(),
            is_time: false,
            is_estimate: false,
            cells: groups.iter().map(|group| self.value(*group, key).cloned()).collect(),
        })
    }
}

/// What is lacking comes last.
pub(crate) fn first(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => rank(a, b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}
