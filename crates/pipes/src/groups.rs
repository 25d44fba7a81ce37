//! Rows by what they have in common, and what aggregates keep of each group. Keys are numbers while rows come in: of each
//! batch a value is looked up once.

use crate::{
    ABSENT, Cells,
    ast::{Aggregate, AggregateKind, Named},
    expression::{Expr, rank},
    frame::{Frame, Rows},
    key::{Key, Probe},
    ordered::LATEST,
    states::{States, text_bytes},
    table::{Column, Table},
};
use hashbrown::HashMap;
use millrace_model::Value;
use serde::{Deserialize, Serialize};
use std::{cmp::Ordering, rc::Rc};

/// What is asked of groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupBy {
    /// What rows of one group have in common; nothing: all are in one.
    pub by: Vec<Named<Expr>>,
    /// What is made of each.
    pub aggregates: Vec<Named<Aggregate>>,
    /// What rates are of, in seconds; `None`: the time has no beginning, and there are none.
    pub seconds: Option<f64>,
}

impl GroupBy {
    /// Calls `visit` with the name of each column that it needs.
    pub(crate) fn each_column<'a>(&'a self, visit: &mut impl FnMut(&'a str)) {
        self.by.iter().for_each(|by| by.what.each_column(visit));
        for aggregate in &self.aggregates {
            aggregate.what.of.iter().for_each(|of| of.each_column(visit));
            if needs_time(aggregate.what.kind) {
                visit(TIME);
            }
        }
    }
}

impl GroupBy {
    /// Does it only count rows?
    pub(crate) fn only_counts(&self) -> bool {
        let counts =
            |named: &Named<Aggregate>| named.what.kind == AggregateKind::Count && named.what.of.is_none();
        self.aggregates.iter().all(counts)
    }
}

/// The column that says which row is earlier; where there is none, rows are in their order.
const TIME: &str = LATEST[0];

const fn needs_time(kind: AggregateKind) -> bool {
    matches!(kind, AggregateKind::First | AggregateKind::Last)
}

/// The groups of the rows so far.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Wire", into = "Wire")]
pub(crate) struct Groups {
    /// The values of each key, by number.
    keys: Vec<Numbers>,
    /// Of each group, the number of each of its values; [`ABSENT`] where it has none.
    tuples: Vec<u32>,
    by_tuple: HashMap<Box<[u32]>, u32>,
    states: Vec<States>,
}

/// How groups travel: without what is made of the rest.
#[derive(Serialize, Deserialize)]
struct Wire {
    keys: Vec<Vec<Key>>,
    tuples: Vec<u32>,
    states: Vec<States>,
}

impl From<Groups> for Wire {
    fn from(groups: Groups) -> Self {
        let keys = groups.keys.into_iter().map(|numbers| numbers.values).collect();
        Self { keys, tuples: groups.tuples, states: groups.states }
    }
}

impl From<Wire> for Groups {
    fn from(wire: Wire) -> Self {
        let keys: Vec<Numbers> = wire.keys.iter().map(|values| Numbers::of(values)).collect();
        let width = keys.len();
        let mut by_tuple = HashMap::new();
        if width > 0 {
            by_tuple.extend(
                wire.tuples.chunks(width).enumerate().map(|(group, tuple)| (tuple.into(), group as u32)),
            );
        }
        Self { keys, tuples: wire.tuples, by_tuple, states: wire.states }
    }
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

impl Groups {
    pub(crate) fn new(ask: &GroupBy) -> Self {
        let mut groups = Self {
            keys: vec![Numbers::default(); ask.by.len()],
            tuples: Vec::new(),
            by_tuple: HashMap::new(),
            states: ask.aggregates.iter().map(|aggregate| States::new(aggregate.what.kind)).collect(),
        };
        if ask.by.is_empty() {
            // Of no rows at all there are counts, too.
            groups.states.iter_mut().for_each(|states| states.grow(1));
        }
        groups
    }

    pub(crate) fn add<R: Rows>(&mut self, ask: &GroupBy, frame: &mut Frame<'_, R>) -> Result<(), R::Error> {
        let rows = frame.rows();
        let columns: Vec<Rc<Cells>> = ask.by.iter().map(|by| by.what.of(frame)).collect::<Result<_, _>>()?;
        let assigned = self.assign(&columns, rows);
        let count = self.count();
        for (states, aggregate) in self.states.iter_mut().zip(&ask.aggregates) {
            states.grow(count);
            let cells = aggregate.what.of.as_ref().map(|of| of.of(frame)).transpose()?;
            let times = if needs_time(aggregate.what.kind) { Some(frame.cells(TIME)?) } else { None };
            states.add(&assigned, cells.as_deref(), times.as_deref());
        }
        Ok(())
    }

    /// So many rows that have the value of the only key: for who has counted them already.
    pub(crate) fn add_counted(&mut self, value: Option<&Value>, rows: u64) {
        let Some(numbers) = self.keys.first_mut().filter(|_| rows > 0) else { return };
        let number = value.map_or(ABSENT, |value| numbers.number(value));
        let group = self.group(&[number]);
        let count = self.count();
        for states in &mut self.states {
            states.grow(count);
            if let States::Count(all) = states {
                all[group as usize] += rows;
            }
        }
    }

    /// How many groups.
    pub(crate) fn count(&self) -> usize {
        if self.keys.is_empty() { 1 } else { self.tuples.len() / self.keys.len() }
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

    /// The group of each row.
    fn assign(&mut self, columns: &[Rc<Cells>], rows: usize) -> Vec<u32> {
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
                for ((number, cells), numbers) in tuple.iter_mut().zip(columns).zip(&mut self.keys) {
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

    /// Takes over another leaf's groups. `false`: they are those of another question.
    pub(crate) fn merge(&mut self, other: Self) -> bool {
        if (self.keys.len(), self.states.len()) != (other.keys.len(), other.states.len()) {
            return false;
        }
        let groups: Vec<u32> = if self.keys.is_empty() {
            vec![0]
        } else {
            let translate = |(mine, others): (&mut Numbers, &Numbers)| -> Vec<u32> {
                others.values.iter().map(|key| mine.number(&key.0)).collect()
            };
            let numbers: Vec<Vec<u32>> = self.keys.iter_mut().zip(&other.keys).map(translate).collect();
            let mut tuple = vec![ABSENT; numbers.len()];
            let mut of = |others: &[u32]| {
                for ((mine, number), numbers) in tuple.iter_mut().zip(others).zip(&numbers) {
                    *mine = numbers.get(*number as usize).copied().unwrap_or(ABSENT);
                }
                self.group(&tuple)
            };
            other.tuples.chunks(other.keys.len()).map(&mut of).collect()
        };
        let count = self.count();
        self.states.iter_mut().zip(other.states).all(|(mine, others)| {
            mine.grow(count);
            others.groups() <= groups.len() && mine.merge(others, &groups)
        })
    }

    /// About how many bytes of memory it takes.
    pub(crate) fn weight(&self) -> usize {
        let keys: usize = self.keys.iter().map(|numbers| numbers.bytes).sum();
        let tuples = self.tuples.len() * 8 + self.by_tuple.len() * 48;
        keys + tuples + self.states.iter().map(States::weight).sum::<usize>()
    }

    /// The groups as rows, in the order of their keys.
    pub(crate) fn finish(self, ask: &GroupBy, is_time: &[bool]) -> Table {
        let (width, count) = (self.keys.len(), self.count());
        let value = |group: usize, key: usize| {
            let number = self.tuples[group * width + key];
            self.keys[key].values.get(number as usize).map(|key| &key.0)
        };
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by(|a, b| {
            (0..width)
                .map(|key| first(value(*a, key), value(*b, key)))
                .find(|o| o.is_ne())
                .unwrap_or(Ordering::Equal)
        });
        let mut columns = Vec::with_capacity(width + ask.aggregates.len());
        for (key, by) in ask.by.iter().enumerate() {
            let cells = order.iter().map(|group| value(*group, key).cloned()).collect();
            columns.push(Column { name: by.name.clone(), is_time: false, is_estimate: false, cells });
        }
        for (states, aggregate) in self.states.iter().zip(&ask.aggregates) {
            let of =
                |group: &usize| states.value(*group, aggregate.what.kind, ask.seconds.unwrap_or(f64::NAN));
            let (values, estimates): (Vec<_>, Vec<bool>) = order.iter().map(of).unzip();
            let is_estimate = estimates.contains(&true);
            let name = aggregate.name.clone();
            columns.push(Column { name, is_time: false, is_estimate, cells: values.into_iter().collect() });
        }
        columns.iter_mut().zip(is_time).for_each(|(column, is_time)| column.is_time = *is_time);
        Table { columns, rows: count }
    }
}

/// What is lacking comes last.
pub(crate) fn first(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => rank(a, b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}
