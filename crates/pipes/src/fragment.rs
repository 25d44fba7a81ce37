//! One stretch of a plan: what is done to each row, and what is gathered of all. The first is carried out where records lie,
//! on each leaf by itself; what leaves have gathered is joined.

use crate::{
    ast::Named,
    cells::{ABSENT, Cells, cell_of},
    estimates::Estimates,
    expand,
    expression::{Expr, float},
    extract::Extract,
    frame::{Frame, Rows},
    functions::Function,
    groups::{GroupBy, Groups},
    join::{Lookup, MOST_ADDED, MOST_JOINED},
    memory::{Memory, Taken},
    ordered::{OrderBy, Ordered},
    runs::{Runs, RunsBy},
    table::Table,
};
use millrace_filter::value_text;
use millrace_intake::{Parser, Parsers};
use millrace_model::{Attributes, FieldRef, Fields, Timestamp, Value};
use serde::{Deserialize, Serialize};
use std::{rc::Rc, sync::Arc};

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fragment {
    /// The columns that it reads.
    columns: Vec<String>,
    steps: Vec<Step>,
    gather: Gather,
    /// How many bytes what is gathered for it in this process may take, about: of all leaves together.
    memory: usize,
    /// Which of its columns are times.
    is_time: Vec<bool>,
}

/// What is done to each row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    Where(Expr),
    Eval(Vec<Named<Expr>>),
    Extract(Extract),
    /// A row for each element of an array: or for each that is different from those before.
    Expand {
        of: String,
        different: bool,
    },
    Join(Lookup),
    /// Columns of these names: of what the text says, or else what they were before.
    Parse {
        format: String,
        from: String,
        names: Vec<String>,
    },
    /// What part of the sum of a column each value is, in percent. Only of tables: it looks at all rows.
    Share {
        of: String,
        name: String,
    },
}

/// What is gathered of all rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Gather {
    Groups(GroupBy),
    Runs(RunsBy),
    Rows(OrderBy),
}

/// What was gathered of some rows. It travels as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Partial {
    state: State,
    /// How many rows joins have added to those that they were given, and arrays to those that were there more than once.
    #[serde(default)]
    added: u64,
    /// After so many rows its memory is looked at.
    #[serde(skip)]
    unweighed: usize,
    #[serde(skip)]
    taken: Taken,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Groups(Groups),
    Runs(Runs),
    Rows(Ordered),
    /// It would have taken more memory than it may.
    TooLarge,
    /// Joins would have added more rows than they may.
    TooMany,
}

/// Two are equal that travel as the same text.
impl PartialEq for Partial {
    fn eq(&self, other: &Self) -> bool {
        let text = |partial: &Self| serde_json::to_string(partial).ok();
        text(self) == text(other)
    }
}

/// What is gathered would be more than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    /// It would take more memory than so many bytes.
    #[error(
        "its groups or rows would take more than {} MiB of memory; ask for less time, filter more, or group by something with fewer values",
        .0 >> 20
    )]
    Memory(usize),
    /// A query that is joined has so many rows.
    #[error(
        "a query that is joined has {0} rows, and may have {MOST_JOINED}; filter it more, or make fewer rows of it, such as by `stats`"
    )]
    Joined(u64),
    /// Rows have many others beside them.
    #[error(
        "joins, or several arrays of a row, would add more than {MOST_ADDED} rows; join by more columns, or make one row of those that have \
         them in common, such as by `stats` or `dedup`"
    )]
    Added,
}

/// Memory is looked at after so many rows at least: and after as many as there are groups, for each of them is looked at.
const WEIGHED: usize = 1 << 12;

impl Fragment {
    pub(crate) fn new(steps: Vec<Step>, gather: Gather, memory: usize, is_time: Vec<bool>) -> Self {
        let mut columns: Vec<String> = Vec::new();
        let mut made: Vec<&str> = Vec::new();
        let mut need = |name: &str, made: &[&str]| {
            if !made.contains(&name) && !columns.iter().any(|known| known == name) {
                columns.push(name.to_owned());
            }
        };
        for step in &steps {
            match step {
                Step::Where(condition) => condition.each_column(&mut |name| need(name, &made)),
                Step::Eval(columns) => {
                    for column in columns {
                        column.what.each_column(&mut |name| need(name, &made));
                        made.push(&column.name);
                    }
                }
                Step::Extract(extract) => {
                    need(&extract.from, &made);
                    made.extend(extract.names().iter().map(String::as_str));
                }
                Step::Expand { of, .. } => {
                    need(of, &made);
                    made.push(of);
                }
                Step::Join(lookup) => {
                    lookup.by.iter().for_each(|name| need(name, &made));
                    made.extend(lookup.names());
                }
                Step::Parse { from, names, .. } => {
                    need(from, &made);
                    for name in names {
                        need(name, &made);
                    }
                }
                Step::Share { of, name } => {
                    need(of, &made);
                    made.push(name);
                }
            }
        }
        match &gather {
            Gather::Groups(ask) => ask.each_column(&mut |name| need(name, &made)),
            Gather::Runs(ask) => ask.each_column(&mut |name| need(name, &made)),
            Gather::Rows(ask) => ask.each_column(&mut |name| need(name, &made)),
        }
        Self { columns, steps, gather, memory, is_time }
    }

    /// As leaves carry it out: without what only the whole answer is made with. It is the same whenever the same is asked.
    pub(crate) fn of_leaves(&self) -> Self {
        let mut fragment = self.clone();
        if let Gather::Groups(ask) = &mut fragment.gather {
            ask.seconds = None;
        }
        fragment
    }

    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    pub(crate) fn gather(&self) -> &Gather {
        &self.gather
    }

    /// The columns that it reads, by name: [`Rows::cells`] is asked for them by their places here.
    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The column whose values it counts, if it does nothing else: who has counts of values can bring them by
    /// [`Partial::add_counted`].
    pub(crate) fn counted(&self) -> Option<&str> {
        match (&self.gather, self.steps.as_slice()) {
            (Gather::Groups(ask), []) => match ask.by.as_slice() {
                [Named { what: Expr::Column(name), .. }] => ask.only_counts().then_some(name),
                _ => None,
            },
            _ => None,
        }
    }

    /// The width of the intervals of time, in nanoseconds, in which it counts records, if it does nothing else: who has such
    /// counts can bring them by [`Partial::add_counted`], with the beginning of each interval.
    pub(crate) fn counted_by_time(&self) -> Option<u64> {
        let Gather::Groups(ask) = &self.gather else { return None };
        match (ask.by.as_slice(), self.steps.as_slice()) {
            ([Named { what: Expr::Call(Function::Bucket, of), .. }], []) if ask.only_counts() => {
                match of.as_slice() {
                    [Expr::Column(name), Expr::Constant(Value::Int(width))]
                        if FieldRef::resolve(name) == FieldRef::Timestamp =>
                    {
                        u64::try_from(*width).ok().filter(|width| *width > 0)
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// How many records it gathers, if these are the latest, and nothing else is done to them: other records need not be
    /// brought.
    pub(crate) fn latest(&self) -> Option<usize> {
        match (&self.gather, self.steps.as_slice()) {
            (Gather::Rows(ask), []) if ask.is_latest() => Some(ask.limit),
            _ => None,
        }
    }

    /// Nothing gathered yet; what will be is counted as part of `used`.
    pub(crate) fn begin(&self, used: &Memory) -> Partial {
        let state = match &self.gather {
            Gather::Groups(ask) => State::Groups(Groups::new(ask)),
            Gather::Runs(ask) => State::Runs(Runs::new(ask)),
            Gather::Rows(_) => State::Rows(Ordered::default()),
        };
        Partial { state, added: 0, unweighed: WEIGHED, taken: used.none_taken() }
    }

    /// Takes some rows in. CPU bound.
    ///
    /// # Errors
    /// Where a column cannot be read.
    pub(crate) fn add<R: Rows>(&self, partial: &mut Partial, rows: &R) -> Result<(), R::Error> {
        if rows.count() == 0 || partial.is_too_large() {
            return Ok(());
        }
        self.add_frame(partial, Frame::new(rows, &self.columns), &self.steps)
    }

    /// Takes rows in to which these steps are still to be done.
    fn add_frame<R: Rows>(
        &self,
        partial: &mut Partial,
        mut frame: Frame<'_, R>,
        steps: &[Step],
    ) -> Result<(), R::Error> {
        for (at, step) in steps.iter().enumerate() {
            let mut go_on = |part: Frame<'_, R>, added: u64| {
                partial.add(added);
                if partial.is_too_large() {
                    return Ok(());
                }
                self.add_frame(partial, part, &steps[at + 1..])
            };
            match step {
                Step::Join(lookup) => return lookup.each_part(frame, &mut go_on),
                Step::Expand { of, different } => {
                    return expand::each_part(frame, of, *different, &mut go_on);
                }
                step => step.apply(&mut frame)?,
            }
            if frame.rows() == 0 {
                return Ok(());
            }
        }
        let rows = frame.rows();
        match (&self.gather, &mut partial.state) {
            (Gather::Groups(ask), State::Groups(groups)) => groups.add(ask, &mut frame)?,
            (Gather::Runs(ask), State::Runs(runs)) => runs.add(ask, &mut frame)?,
            (Gather::Rows(ask), State::Rows(ordered)) => ordered.add(ask, &mut frame)?,
            _ => partial.state = State::TooLarge,
        }
        partial.unweighed = partial.unweighed.saturating_sub(rows);
        if partial.unweighed == 0 {
            self.weigh(partial);
        }
        Ok(())
    }

    /// Joins what was gathered of other rows.
    pub(crate) fn merge(&self, partial: &mut Partial, other: Partial) {
        if matches!(other.state, State::TooMany) {
            partial.state = State::TooMany;
        }
        partial.add(other.added);
        match (&self.gather, &mut partial.state, other.state) {
            (Gather::Groups(_), State::Groups(groups), State::Groups(others)) => {
                if !groups.merge(others) {
                    partial.state = State::TooLarge;
                }
            }
            (Gather::Runs(ask), State::Runs(runs), State::Runs(others)) => {
                if !runs.merge(ask, others) {
                    partial.state = State::TooLarge;
                }
            }
            (Gather::Rows(ask), State::Rows(ordered), State::Rows(others)) => ordered.merge(ask, others),
            (_, State::TooMany, _) => {}
            _ => partial.state = State::TooLarge,
        }
        self.weigh(partial);
    }

    /// What is gathered here takes so many bytes, where they are counted elsewhere: may it go on?
    pub(crate) fn may_take(&self, partial: &mut Partial, bytes: usize) -> bool {
        self.take(partial, bytes);
        !partial.is_too_large()
    }

    fn take(&self, partial: &mut Partial, bytes: usize) {
        if partial.taken.set(bytes) > self.memory {
            partial.state = State::TooLarge;
        }
        if partial.is_too_large() {
            partial.taken.set(0);
        }
    }

    fn weigh(&self, partial: &mut Partial) {
        let count = match &partial.state {
            State::Groups(groups) => groups.count(),
            State::Runs(runs) => runs.count(),
            State::Rows(ordered) => ordered.count(),
            State::TooLarge | State::TooMany => 0,
        };
        partial.unweighed = count.max(WEIGHED);
        self.take(partial, partial.weight());
    }

    /// What was gathered for another query that asked the same, from now on as part of what this one has `used`.
    pub(crate) fn adopt(&self, partial: &mut Partial, used: &Memory) {
        partial.taken = used.none_taken();
        self.weigh(partial);
    }

    /// What was gathered of records, as a table; and how many rows it would have without a limit.
    pub(crate) fn finish(&self, partial: Partial) -> Result<(Table, u64), TooLarge> {
        self.finish_of(partial, Estimates::default())
    }

    /// The same of rows of which this is estimated.
    fn finish_of(&self, partial: Partial, mut estimates: Estimates) -> Result<(Table, u64), TooLarge> {
        let (mut table, rows) = match (&self.gather, partial.state) {
            (Gather::Groups(ask), State::Groups(groups)) => all_of(groups.finish(ask, &self.is_time)),
            (Gather::Runs(ask), State::Runs(runs)) => all_of(runs.finish(ask, &self.is_time)),
            (Gather::Rows(ask), State::Rows(ordered)) => ordered.finish(ask, &self.is_time),
            (_, State::TooMany) => return Err(TooLarge::Added),
            _ => return Err(TooLarge::Memory(self.memory)),
        };
        self.steps.iter().for_each(|step| estimates.step(step));
        let is_cut = rows > table.rows as u64;
        estimates.mark(&self.gather, &mut table, is_cut);
        Ok((table, rows))
    }

    /// The same of a table.
    pub(crate) fn run(&self, table: Table) -> Result<(Table, u64), TooLarge> {
        let estimates = Estimates::of(&table);
        let table = table.select(&self.columns);
        let mut partial = self.begin(&Memory::default());
        let Ok(()) = self.add(&mut partial, &table);
        self.weigh(&mut partial);
        self.finish_of(partial, estimates)
    }
}

/// A table that shows all of its rows.
fn all_of(table: Table) -> (Table, u64) {
    let rows = table.rows as u64;
    (table, rows)
}

impl Partial {
    /// Would it take more memory than it may? Then nothing comes of it, whatever is added.
    pub(crate) fn is_too_large(&self) -> bool {
        matches!(self.state, State::TooLarge | State::TooMany)
    }

    /// About how many bytes of memory it takes.
    pub(crate) fn weight(&self) -> usize {
        match &self.state {
            State::Groups(groups) => groups.weight(),
            State::Runs(runs) => runs.weight(),
            State::Rows(ordered) => ordered.weight(),
            State::TooLarge | State::TooMany => 0,
        }
    }

    /// The same, counted for no query.
    pub(crate) fn apart(&self) -> Self {
        Self { state: self.state.clone(), taken: Taken::default(), ..*self }
    }

    /// Joins have added so many rows more.
    fn add(&mut self, rows: u64) {
        self.added += rows;
        if self.added > MOST_ADDED {
            self.state = State::TooMany;
        }
    }

    /// So many rows that have a value of what is counted, or none. For [`Fragment::counted`] and [`Fragment::counted_by_time`].
    pub(crate) fn add_counted(&mut self, value: Option<&Value>, rows: u64) {
        if let State::Groups(groups) = &mut self.state {
            groups.add_counted(value, rows);
        }
    }

    /// So many rows in all, where only the latest of them were brought: for [`Fragment::latest`].
    pub(crate) fn set_seen(&mut self, rows: u64) {
        if let State::Rows(ordered) = &mut self.state {
            ordered.set_seen(rows);
        }
    }
}

impl Step {
    fn apply<R: Rows>(&self, frame: &mut Frame<'_, R>) -> Result<(), R::Error> {
        match self {
            Self::Where(condition) => {
                let cells = condition.of(frame)?;
                frame.retain(&cells, crate::expression::truth);
            }
            Self::Eval(columns) => {
                for column in columns {
                    let cells = column.what.of(frame)?;
                    frame.put(&column.name, cells);
                }
            }
            Self::Extract(extract) => {
                let from = frame.cells(&extract.from)?;
                let parts: Vec<Vec<Option<Value>>> =
                    from.values.iter().map(|value| extract.parts(&value_text(value))).collect();
                for (at, name) in extract.names().iter().enumerate() {
                    frame.put(name, Rc::new(part(&from, &parts, at)));
                }
            }
            Self::Parse { format, from, names } => parse(format, from, names, frame)?,
            // A frame becomes many: see `Fragment::add_frame`.
            Self::Expand { .. } | Self::Join(_) => {}
            Self::Share { of, name } => {
                let counts = frame.cells(of)?;
                let rows = (0..frame.rows()).filter_map(|row| counts.get(row).and_then(float));
                let total: f64 = rows.sum();
                let share = |value: &Value| {
                    let percent = float(value)? / total * 100.0;
                    percent.is_finite().then(|| Value::Double((percent * 100.0).round() / 100.0))
                };
                let cells: Cells = counts.map(share);
                frame.put(name, Rc::new(cells));
            }
        }
        Ok(())
    }
}

/// One of the parts that were made of each of a column's values, for its rows.
fn part(of: &Cells, parts: &[Vec<Option<Value>>], at: usize) -> Cells {
    let mut parts = parts.iter();
    of.map(|_| parts.next().and_then(|parts| parts.get(at).cloned().flatten()))
}

/// Reads the text of a column, each of its values once, and puts what it says of some names before what they were.
fn parse<R: Rows>(
    format: &str,
    from: &str,
    names: &[String],
    frame: &mut Frame<'_, R>,
) -> Result<(), R::Error> {
    let parsers: Parsers =
        Parser::NAMES.iter().filter(|(name, _)| *name == format).map(|(_, parser)| parser.clone()).collect();
    let texts = frame.cells(from)?;
    let (resource, fields) = (Arc::new(Attributes::new()), names.iter().map(|name| FieldRef::resolve(name)));
    let fields: Vec<FieldRef> = fields.collect();
    let read = |text: &Value| -> Vec<Option<Value>> {
        let record = parsers.parse(value_text(text).as_bytes(), Timestamp(0), &resource);
        fields.iter().map(|field| record.field(field).and_then(|value| cell_of(&value))).collect()
    };
    let found: Vec<Vec<Option<Value>>> = texts.values.iter().map(read).collect();
    for (at, name) in names.iter().enumerate() {
        let said = part(&texts, &found, at);
        let before = frame.cells(name)?;
        let cells = if said.codes.contains(&ABSENT) {
            let of = |row: usize| said.get(row).or_else(|| before.get(row)).cloned();
            (0..said.rows()).map(of).collect()
        } else {
            said
        };
        frame.put(name, Rc::new(cells));
    }
    Ok(())
}
