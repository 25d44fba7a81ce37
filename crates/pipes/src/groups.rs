//! What aggregates keep of each group of rows.

use crate::{
    ast::{Aggregate, AggregateKind, Named},
    expression::Expr,
    frame::{Frame, Rows},
    key::Key,
    keys::Keys,
    ordered::LATEST,
    states::States,
    table::{Column, Table},
};
use millrace_model::Value;
use serde::{Deserialize, Serialize};

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

    /// Nothing kept yet.
    pub(crate) fn states(&self) -> Vec<States> {
        self.aggregates.iter().map(|aggregate| States::new(aggregate.what.kind)).collect()
    }

    /// Takes rows in, by their entries in the states, of which there are so many.
    pub(crate) fn add<R: Rows>(
        &self,
        states: &mut [States],
        entries: &[u32],
        count: usize,
        frame: &mut Frame<'_, R>,
    ) -> Result<(), R::Error> {
        for (states, aggregate) in states.iter_mut().zip(&self.aggregates) {
            states.grow(count);
            let cells = aggregate.what.of.as_ref().map(|of| of.of(frame)).transpose()?;
            let times = if needs_time(aggregate.what.kind) { Some(frame.cells(TIME)?) } else { None };
            states.add(entries, cells.as_deref(), times.as_deref());
        }
        Ok(())
    }

    /// What aggregates give for these entries of their states, each with the seconds that its rates are of: a column an
    /// aggregate.
    pub(crate) fn columns(
        &self,
        states: &[States],
        entries: impl Iterator<Item = (u32, f64)> + Clone,
    ) -> impl Iterator<Item = Column> {
        states.iter().zip(&self.aggregates).map(move |(states, aggregate)| {
            let value = |(entry, seconds)| states.value(entry as usize, aggregate.what.kind, seconds);
            let (values, estimates): (Vec<_>, Vec<bool>) = entries.clone().map(value).unzip();
            let (name, is_estimate) = (aggregate.name.clone(), estimates.contains(&true));
            Column { name, is_time: false, is_estimate, cells: values.into_iter().collect() }
        })
    }

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
    keys: Keys,
    /// Of each aggregate, an entry a group.
    states: Vec<States>,
}

/// How groups travel.
#[derive(Serialize, Deserialize)]
struct Wire {
    keys: Vec<Vec<Key>>,
    tuples: Vec<u32>,
    states: Vec<States>,
}

impl From<Groups> for Wire {
    fn from(groups: Groups) -> Self {
        let (keys, tuples) = groups.keys.into_wire();
        Self { keys, tuples, states: groups.states }
    }
}

impl From<Wire> for Groups {
    fn from(wire: Wire) -> Self {
        Self { keys: Keys::from_wire(&wire.keys, wire.tuples), states: wire.states }
    }
}

impl Groups {
    pub(crate) fn new(ask: &GroupBy) -> Self {
        let mut groups = Self { keys: Keys::new(ask.by.len()), states: ask.states() };
        if ask.by.is_empty() {
            // Of no rows at all there are counts, too.
            groups.states.iter_mut().for_each(|states| states.grow(1));
        }
        groups
    }

    pub(crate) fn add<R: Rows>(&mut self, ask: &GroupBy, frame: &mut Frame<'_, R>) -> Result<(), R::Error> {
        let assigned = self.keys.assign(&ask.by, frame)?;
        ask.add(&mut self.states, &assigned, self.keys.count(), frame)
    }

    /// So many rows that have the value of the only key: for who has counted them already.
    pub(crate) fn add_counted(&mut self, value: Option<&Value>, rows: u64) {
        if rows == 0 {
            return;
        }
        let Some(group) = self.keys.group_of(value) else { return };
        let count = self.keys.count();
        for states in &mut self.states {
            states.grow(count);
            if let States::Count(all) = states {
                all[group as usize] += rows;
            }
        }
    }

    /// How many groups.
    pub(crate) fn count(&self) -> usize {
        self.keys.count()
    }

    /// Takes over another leaf's groups. `false`: they are those of another question.
    pub(crate) fn merge(&mut self, other: Self) -> bool {
        self.keys.merge(&other.keys).is_some_and(|groups| {
            States::merge_all(&mut self.states, other.states, &groups, self.keys.count())
        })
    }

    /// About how many bytes of memory it takes.
    pub(crate) fn weight(&self) -> usize {
        self.keys.weight() + self.states.iter().map(States::weight).sum::<usize>()
    }

    /// The groups as rows, in the order of their keys.
    pub(crate) fn finish(self, ask: &GroupBy, is_time: &[bool]) -> Table {
        let rows = self.count();
        let mut order: Vec<u32> = (0..rows as u32).collect();
        order.sort_by(|a, b| self.keys.compare(*a, *b));
        let mut columns: Vec<Column> = self.keys.columns(&ask.by, &order).collect();
        let seconds = ask.seconds.unwrap_or(f64::NAN);
        columns.extend(ask.columns(&self.states, order.iter().map(|group| (*group, seconds))));
        columns.iter_mut().zip(is_time).for_each(|(column, is_time)| column.is_time = *is_time);
        Table { columns, rows, chosen_by_estimate: false }
    }
}
