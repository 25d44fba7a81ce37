//! Runs of rows: of rows that have something in common, those of which no two neighbours in time lie further apart than a gap.
//! Rows come in any order; a run that is found to touch others becomes one with them.
//!
//! **Invariant:** which runs there are does not depend on the order in which rows come, nor on how they are spread: the runs of
//! one group never come within the gap of one another.

use crate::{
    frame::{Frame, Rows},
    groups::GroupBy,
    key::Key,
    keys::Keys,
    plan::TIME,
    states::States,
    table::{Column, Table},
};
use millrace_model::Value;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a run's row says of its time: when it begins, when it ends, and how long that is.
pub(crate) const SPAN: [&str; 3] = ["start", "end", "duration"];
/// Entries of runs that became others are cleared away where they are as many as those that are left, and at least so many.
const SUPERSEDED: usize = 1 << 12;

/// What is asked of runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunsBy {
    /// What rows of one run have in common, and what is made of each run.
    pub(crate) groups: GroupBy,
    /// How far apart neighbours of one run may lie, in nanoseconds.
    pub(crate) gap: i64,
}

impl RunsBy {
    /// Calls `visit` with the name of each column that it needs.
    pub(crate) fn each_column<'a>(&'a self, visit: &mut impl FnMut(&'a str)) {
        visit(TIME);
        self.groups.each_column(visit);
    }
}

/// The runs of the rows so far.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Wire", into = "Wire")]
pub(crate) struct Runs {
    keys: Keys,
    /// The runs, by group and beginning.
    by_start: BTreeMap<(u32, i64), Run>,
    /// Of each aggregate, an entry a run that there is or was.
    states: Vec<States>,
    /// Of each entry, the one that it became part of; itself, where it is that of a run.
    became: Vec<u32>,
}

/// One of them. Times are nanoseconds since the epoch.
#[derive(Debug, Clone, Copy)]
struct Run {
    end: i64,
    /// Its entry, which is part of no other.
    entry: u32,
}

/// How runs travel: entries in the order of runs.
#[derive(Serialize, Deserialize)]
struct Wire {
    keys: Vec<Vec<Key>>,
    tuples: Vec<u32>,
    /// The group, the beginning and the end of each.
    runs: Vec<(u32, i64, i64)>,
    states: Vec<States>,
}

impl From<Runs> for Wire {
    fn from(mut runs: Runs) -> Self {
        runs.clear_away();
        let of = |(&(group, start), run): (&(u32, i64), &Run)| (group, start, run.end);
        let (keys, tuples) = runs.keys.into_wire();
        Self { keys, tuples, runs: runs.by_start.iter().map(of).collect(), states: runs.states }
    }
}

impl From<Wire> for Runs {
    fn from(Wire { keys, tuples, runs, mut states }: Wire) -> Self {
        for states in &mut states {
            states.grow(runs.len());
        }
        let became = (0..runs.len() as u32).collect();
        let runs = runs.into_iter().zip(0..);
        let by_start =
            runs.map(|((group, start, end), entry)| ((group, start), Run { end, entry })).collect();
        Self { keys: Keys::from_wire(&keys, tuples), by_start, states, became }
    }
}

impl Runs {
    pub(crate) fn new(ask: &RunsBy) -> Self {
        Self {
            keys: Keys::new(ask.groups.by.len()),
            by_start: BTreeMap::new(),
            states: ask.groups.states(),
            became: Vec::new(),
        }
    }

    /// Takes rows in; those without a time are in no run.
    pub(crate) fn add<R: Rows>(&mut self, ask: &RunsBy, frame: &mut Frame<'_, R>) -> Result<(), R::Error> {
        let times = frame.cells(TIME)?;
        frame.retain(&times, |time| matches!(time, Value::Int(_)));
        let times = frame.cells(TIME)?;
        let groups = self.keys.assign(&ask.groups.by, frame)?;
        let time = |row: usize| match times.get(row) {
            Some(Value::Int(time)) => *time,
            // Only rows with a time are left.
            _ => 0,
        };
        // In their order, runs of these rows alone are seen at once: what is known is looked into once a run.
        let mut order: Vec<(u32, i64, u32)> =
            groups.iter().enumerate().map(|(row, group)| (*group, time(row), row as u32)).collect();
        order.sort_unstable();
        let mut entries = vec![0; order.len()];
        let touch =
            |a: &(u32, i64, u32), b: &(u32, i64, u32)| a.0 == b.0 && b.1 <= a.1.saturating_add(ask.gap);
        for run in order.chunk_by(touch) {
            let (Some((group, start, _)), Some((_, end, _))) = (run.first(), run.last()) else { continue };
            let entry = self.place(ask.gap, *group, *start, *end);
            for (_, _, row) in run {
                entries[*row as usize] = entry;
            }
        }
        ask.groups.add(&mut self.states, &entries, self.became.len(), frame)?;
        if self.became.len() > SUPERSEDED + 2 * self.by_start.len() {
            self.clear_away();
        }
        Ok(())
    }

    /// The entry of a run from `start` to `end` of a group: that of the first run that it touches, which all others that it
    /// touches become part of, or a new one.
    fn place(&mut self, gap: i64, group: u32, mut start: i64, mut end: i64) -> u32 {
        let mut entry = None;
        loop {
            let near = (group, i64::MIN)..=(group, end.saturating_add(gap));
            let Some((&(_, first), run)) = self.by_start.range_mut(near).next_back() else { break };
            if run.end < start.saturating_sub(gap) {
                break;
            }
            let known = *entry.get_or_insert(run.entry);
            self.became[run.entry as usize] = known;
            end = end.max(run.end);
            if first <= start {
                // All before it lie further away.
                *run = Run { end, entry: known };
                return known;
            }
            start = start.min(first);
            self.by_start.remove(&(group, first));
        }
        let entry = entry.unwrap_or_else(|| {
            self.became.push(self.became.len() as u32);
            self.became.len() as u32 - 1
        });
        self.by_start.insert((group, start), Run { end, entry });
        entry
    }

    /// Joins the entries of what became one, and puts them in the order of runs.
    fn clear_away(&mut self) {
        let mut places = vec![0; self.became.len()];
        for (place, run) in (0..).zip(self.by_start.values_mut()) {
            places[run.entry as usize] = place;
            run.entry = place;
        }
        let entries = 0..self.became.len() as u32;
        let places: Vec<u32> = entries.map(|entry| places[self.of(entry) as usize]).collect();
        self.became = (0..self.by_start.len() as u32).collect();
        for states in &mut self.states {
            *states = std::mem::replace(states, states.none()).regrouped(&places, self.by_start.len());
        }
    }

    /// The entry of the run that an entry belongs to.
    fn of(&mut self, mut entry: u32) -> u32 {
        loop {
            let next = self.became[entry as usize];
            if next == entry {
                return entry;
            }
            // Whoever asks again has half of the way.
            let behind = self.became[next as usize];
            self.became[entry as usize] = behind;
            entry = behind;
        }
    }

    /// Takes over another leaf's runs. `false`: they are those of another question.
    pub(crate) fn merge(&mut self, ask: &RunsBy, mut other: Self) -> bool {
        other.clear_away();
        let Some(groups) = self.keys.merge(&other.keys) else { return false };
        let place = |(&(group, start), run): (&(u32, i64), &Run)| {
            groups.get(group as usize).map(|group| self.place(ask.gap, *group, start, run.end))
        };
        let entries: Option<Vec<u32>> = other.by_start.iter().map(place).collect();
        entries.is_some_and(|entries| {
            States::merge_all(&mut self.states, other.states, &entries, self.became.len())
        })
    }

    /// How many entries.
    pub(crate) fn count(&self) -> usize {
        self.became.len()
    }

    /// About how many bytes of memory it takes.
    pub(crate) fn weight(&self) -> usize {
        let runs = self.by_start.len() * 48 + self.became.len() * 4;
        self.keys.weight() + runs + self.states.iter().map(States::weight).sum::<usize>()
    }

    /// The runs as rows, in the order of their keys, and then of time.
    pub(crate) fn finish(mut self, ask: &RunsBy, is_time: &[bool]) -> Table {
        self.clear_away();
        let of = |(&(group, start), run): (&(u32, i64), &Run)| (group, start, run.end, run.entry);
        let mut order: Vec<(u32, i64, i64, u32)> = self.by_start.iter().map(of).collect();
        // Those of one group are in the order of time already.
        order.sort_by(|a, b| self.keys.compare(a.0, b.0));
        let groups: Vec<u32> = order.iter().map(|(group, ..)| *group).collect();
        let mut columns: Vec<Column> = self.keys.columns(&ask.groups.by, &groups).collect();
        let length = |start: i64, end: i64| end.saturating_sub(start);
        let spans: [&dyn Fn(i64, i64) -> i64; 3] = [&|start, _| start, &|_, end| end, &length];
        columns.extend(SPAN.iter().zip(spans).map(|(name, of)| Column {
            name: (*name).to_owned(),
            is_time: false,
            is_estimate: false,
            cells: order.iter().map(|(_, start, end, _)| Some(Value::Int(of(*start, *end)))).collect(),
        }));
        let entries = order.iter().map(|(_, start, end, entry)| (*entry, length(*start, *end) as f64 / 1e9));
        columns.extend(ask.groups.columns(&self.states, entries));
        columns.iter_mut().zip(is_time).for_each(|(column, is_time)| column.is_time = *is_time);
        Table { columns, rows: order.len(), chosen_by_estimate: false }
    }
}
