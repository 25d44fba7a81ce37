//! From pipes to fragments: what each of them reads, does and gathers. A fragment ends where all rows must be seen before
//! any can be given: at aggregates, orders and limits.

use crate::{
    Column, Fragment, Fragments, Partial, Partials, Table, TooLarge,
    ast::{Aggregate, AggregateKind, Join, Named, Pipe, SortKey},
    expression::{Expr, is_time_field},
    fragment::{Gather, Step},
    functions::Function,
    groups::GroupBy,
    join::{Joined, Lookup},
    memory::Memory,
    ordered::{LATEST, OrderBy},
    runs::{RunsBy, SPAN},
};
use millrace_model::{TimeRange, Timestamp, Value};
use millrace_template::{Canonical, Miner, TemplateId};
use std::{collections::HashMap, slice, time::Duration, vec};

/// What is shown of records where nothing else is said; what pipes add stands before the last.
const SHOWN: [&str; 5] = ["timestamp", "level", "host", "service", "body"];
/// The columns of `top` and `rare`, besides those that are counted. The first is that of `transaction`, too.
pub(crate) const COUNT: &str = "count";
const PERCENT: &str = "percent";
/// Those of `patterns`, besides.
pub(crate) const TEMPLATE: &str = "template";
const PATTERN: &str = "pattern";
/// What a text cannot say of its record.
const PLACES: [&str; 8] =
    ["timestamp", "observed_timestamp", "body", "_id", "_stream", "_source", "_position", "message"];
/// What stands for a variable in a pattern.
const VARIABLE: &str = "<*>";
/// The column of masks, before they are named.
const MASK: &str = "mask";
/// The column of `timechart` that says where an interval begins.
pub(crate) const TIME: &str = "timestamp";

/// Intervals for people, in seconds.
const INTERVALS: [i64; 15] =
    [1, 5, 10, 30, 60, 300, 600, 1800, 3600, 10_800, 21_600, 43_200, 86_400, 604_800, 2_592_000];
/// `timechart` makes at most about so many where no interval is said.
const FEW_INTERVALS: i64 = 100;
/// What is joined where records lie has no more bytes than this on its way to them, all tables together: leaves take 2 MiB.
const TRAVELS: usize = 1 << 20;

/// What a query is asked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// What `now()` is.
    pub now: Timestamp,
    /// The time that is asked for.
    pub range: TimeRange,
    /// How many rows are shown at most.
    pub limit: usize,
    /// How many bytes of memory what is gathered may take, about.
    pub memory: usize,
}

impl Context {
    /// How long the time is that is asked for: up to now, where it reaches further. `None`: it has no beginning.
    fn length(&self) -> Option<Duration> {
        let to = self.range.to.min(self.now.max(self.range.from));
        (self.range.from != Timestamp::MIN).then(|| to.since(self.range.from))
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// At least one. The first reads records, each other one the table of the one before.
    fragments: Vec<Fragment>,
    /// The columns of the answer.
    shown: Vec<String>,
    limit: usize,
    /// The fragment that gives no more rows than are shown, and how many it would give otherwise at most.
    cut: Option<(usize, u64)>,
    /// The fragment whose table has masks that are to be named.
    masks: Option<usize>,
}

/// What pipes made.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// As many rows of it as are shown.
    pub table: Table,
    /// How many rows it has.
    pub rows: u64,
}

impl Plan {
    /// A plan of at least one pipe.
    ///
    /// # Errors
    /// What cannot be planned, and why.
    pub fn new(pipes: &[Pipe], context: &Context) -> Result<Self, String> {
        Self::joining(pipes, context, Vec::new())
    }

    /// The same with what was answered to the queries that are joined, in the order of the joins.
    ///
    /// # Errors
    /// What cannot be planned, and why.
    pub fn joining(pipes: &[Pipe], context: &Context, joined: Vec<Joined>) -> Result<Self, String> {
        let shown = shown(pipes);
        let mut planner = Planner::new(context, joined);
        let needs = needs(pipes, &shown);
        let mut at = 0;
        while let Some(pipe) = pipes.get(at) {
            let rest = &pipes[at + 1..];
            planner.pipe(pipe, rest, &needs[at + 1])?;
            // A limit right behind an order is part of it.
            at += 1 + usize::from(
                matches!(pipe, Pipe::Sort(_)) && matches!(rest.first(), Some(Pipe::Limit(_))),
            );
        }
        if planner.fragments.is_empty() || !planner.steps.is_empty() {
            planner.rows(Vec::new(), Vec::new(), None, &[], &shown);
        }
        let Planner { fragments, cut, masks, .. } = planner;
        Ok(Self { fragments, shown, limit: context.limit, cut, masks })
    }

    /// What leaves carry out.
    pub fn leaf(&self) -> Fragments {
        Self::leaf_of(slice::from_ref(self))
    }

    /// What leaves carry out for all of these: they look at each record once.
    pub fn leaf_of(plans: &[Self]) -> Fragments {
        Fragments::from(plans.iter().map(|plan| plan.fragments[0].of_leaves()).collect::<Vec<_>>())
    }

    /// What is made of all that leaves have gathered for [`Self::leaf_of`] these.
    ///
    /// # Errors
    /// It would take too much memory.
    pub fn finish_all(
        plans: &[Self],
        gathered: Option<Partials>,
        merges: &Miner,
    ) -> Result<Vec<Answer>, TooLarge> {
        let mut parts = gathered.into_iter().flat_map(Partials::into_parts);
        plans.iter().map(|plan| plan.finish_one(parts.next(), merges)).collect()
    }

    /// What is made of all that leaves have gathered. `merges` are the merges of masks that are known.
    ///
    /// # Errors
    /// It would take too much memory.
    pub fn finish(&self, gathered: Option<Partials>, merges: &Miner) -> Result<Answer, TooLarge> {
        self.finish_one(gathered.into_iter().flat_map(Partials::into_parts).next(), merges)
    }

    pub(crate) fn fragments(&self) -> &[Fragment] {
        &self.fragments
    }

    fn finish_one(&self, gathered: Option<Partial>, merges: &Miner) -> Result<Answer, TooLarge> {
        let first = &self.fragments[0];
        let (mut table, seen) = first.finish(gathered.unwrap_or_else(|| first.begin(&Memory::default())))?;
        let mut rows = self.rows_before_cut(0, seen);
        for (number, fragment) in self.fragments.iter().enumerate().skip(1) {
            if self.masks == Some(number - 1) {
                table = named(table, merges);
            }
            let seen;
            (table, seen) = fragment.run(table)?;
            rows = rows.or_else(|| self.rows_before_cut(number, seen));
        }
        let rows = rows.unwrap_or(table.rows as u64);
        let mut table = table.select(&self.shown);
        table.truncate(self.limit);
        Ok(Answer { table, rows })
    }

    /// How many rows the answer has, where this fragment gave only those that are shown.
    fn rows_before_cut(&self, fragment: usize, seen: u64) -> Option<u64> {
        self.cut.filter(|(cut, _)| *cut == fragment).map(|(_, most)| seen.min(most))
    }
}

struct Planner<'c> {
    context: &'c Context,
    fragments: Vec<Fragment>,
    steps: Vec<Step>,
    /// Which columns that were made are times, and which are not.
    times: HashMap<String, bool>,
    cut: Option<(usize, u64)>,
    masks: Option<usize>,
    joined: vec::IntoIter<Joined>,
    /// How many bytes of these are joined where records lie.
    travelling: usize,
}

impl<'c> Planner<'c> {
    fn new(context: &'c Context, joined: Vec<Joined>) -> Self {
        let (fragments, steps, times) = (Vec::new(), Vec::new(), HashMap::new());
        let joined = joined.into_iter();
        Self { context, fragments, steps, times, cut: None, masks: None, joined, travelling: 0 }
    }
}

impl Planner<'_> {
    fn is_time(&self, name: &str) -> bool {
        match self.times.get(name) {
            Some(is_time) => *is_time,
            None => self.fragments.is_empty() && is_time_field(name),
        }
    }

    fn expression(&self, expr: &Expr) -> Expr {
        match expr {
            Expr::Call(Function::Now, _) => Expr::Constant(Value::Int(self.context.now.0)),
            Expr::Call(function, arguments) => {
                let arguments: Vec<Expr> =
                    arguments.iter().map(|argument| self.expression(argument)).collect();
                let call = Expr::Call(function.clone(), arguments);
                call.constant().map_or(call, Expr::Constant)
            }
            other => other.clone(),
        }
    }

    fn named(&self, columns: &[Named<Expr>]) -> Vec<Named<Expr>> {
        let one =
            |column: &Named<Expr>| Named { name: column.name.clone(), what: self.expression(&column.what) };
        columns.iter().map(one).collect()
    }

    /// `needed`: what the pipes behind this one need.
    fn pipe(&mut self, pipe: &Pipe, rest: &[Pipe], needed: &[String]) -> Result<(), String> {
        match pipe {
            Pipe::Where(condition) => self.steps.push(Step::Where(self.expression(condition))),
            Pipe::Eval(columns) => {
                for column in columns {
                    let is_time = column.what.is_time(&|name| self.is_time(name));
                    self.times.insert(column.name.clone(), is_time);
                }
                self.steps.push(Step::Eval(self.named(columns)));
            }
            Pipe::Extract(extract) => {
                self.times.extend(extract.names().iter().map(|name| (name.clone(), false)));
                self.steps.push(Step::Extract(extract.clone()));
            }
            Pipe::Parse { format, from } => {
                let of_texts = |name: &&String| !PLACES.contains(&name.as_str());
                let names: Vec<String> = needed.iter().filter(of_texts).cloned().collect();
                self.times.extend(names.iter().map(|name| (name.clone(), false)));
                self.steps.push(Step::Parse { format: format.clone(), from: from.clone(), names });
            }
            Pipe::Expand { of, different } => {
                self.steps.push(Step::Expand { of: of.clone(), different: *different });
            }
            Pipe::Join(join) => self.join(join, pipe, needed)?,
            // What is not needed is not read.
            Pipe::Fields(_) => {}
            Pipe::Stats { aggregates, by } => {
                let seconds = self.context.length().map(|length| length.as_secs_f64());
                self.groups(by, aggregates, seconds);
            }
            Pipe::Timechart { interval, aggregates, by } => {
                let width = match interval {
                    Some(interval) => *interval,
                    None => self.interval()?,
                };
                let bucket = Expr::Call(
                    Function::Bucket,
                    vec![Expr::Column(TIME.to_owned()), Expr::Constant(Value::Int(width))],
                );
                let mut all = vec![Named { name: TIME.to_owned(), what: bucket }];
                all.extend(by.iter().cloned());
                self.groups(&all, aggregates, Some(width as f64 / 1e9));
            }
            Pipe::Transaction { gap, aggregates, by } => {
                if !self.is_time(TIME) {
                    return Err(format!(
                        "the column {TIME} is not the time of a row any more, by which `transaction` finds what lies close together; \
                         give what was made another name than {TIME}"
                    ));
                }
                let (groups, mut times) = self.group_by(by, aggregates, None);
                times.splice(by.len()..by.len(), [true, true, false]);
                let names = columns_of(pipe);
                self.close(Gather::Runs(RunsBy { groups, gap: *gap }), times, names);
            }
            Pipe::Top { limit, by, rare } => {
                let count = Aggregate { kind: AggregateKind::Count, of: None };
                self.groups(by, &[Named { name: COUNT.to_owned(), what: count }], None);
                self.ranked(!rare, Some(*limit), rest, needed);
            }
            Pipe::Patterns => {
                let column = |name: &str, what: Expr| Named { name: name.to_owned(), what };
                let aggregate = |kind, of| Named { name: COUNT.to_owned(), what: Aggregate { kind, of } };
                let mask = Expr::Call(Function::Mask, vec![Expr::Column("body".to_owned())]);
                self.masks = Some(self.fragments.len());
                self.groups(&[column(MASK, mask)], &[aggregate(AggregateKind::Count, None)], None);
                // Masks that are one template after all come together here.
                let by = [TEMPLATE, PATTERN].map(|name| column(name, Expr::Column(name.to_owned())));
                let count = aggregate(AggregateKind::Sum, Some(Expr::Column(COUNT.to_owned())));
                self.groups(&by, &[count], None);
                self.ranked(true, None, rest, needed);
            }
            Pipe::Sort(keys) => {
                let limit = match rest.first() {
                    Some(Pipe::Limit(limit)) => Some(*limit),
                    _ => None,
                };
                self.rows(keys.clone(), Vec::new(), limit, rest, needed);
            }
            Pipe::Limit(limit) => self.rows(Vec::new(), Vec::new(), Some(*limit), rest, needed),
            Pipe::Dedup(unique) => self.rows(Vec::new(), unique.clone(), None, rest, needed),
        }
        Ok(())
    }

    /// What is joined goes to where records lie, unless it is too large for that: then they are gathered before it.
    fn join(&mut self, join: &Join, pipe: &Pipe, needed: &[String]) -> Result<(), String> {
        let joined = self.joined.next().ok_or("a query is joined that has not been answered")?;
        let (lookup, times) = Lookup::new(join, joined);
        if self.fragments.is_empty() {
            let length = self.travelling.saturating_add(lookup.length());
            if length <= TRAVELS {
                self.travelling = length;
            } else {
                let columns = needed_before(pipe, needed);
                self.rows(Vec::new(), Vec::new(), None, slice::from_ref(pipe), &columns);
            }
        }
        self.times.extend(times);
        self.steps.push(Step::Join(lookup));
        Ok(())
    }

    fn groups(&mut self, by: &[Named<Expr>], aggregates: &[Named<Aggregate>], seconds: Option<f64>) {
        let (ask, times) = self.group_by(by, aggregates, seconds);
        let names = by.iter().map(|by| &by.name).chain(aggregates.iter().map(|named| &named.name));
        let names = names.cloned().collect();
        self.close(Gather::Groups(ask), times, names);
    }

    /// What is asked of groups, and which of its columns are times.
    fn group_by(
        &self,
        by: &[Named<Expr>],
        aggregates: &[Named<Aggregate>],
        seconds: Option<f64>,
    ) -> (GroupBy, Vec<bool>) {
        let is_time = |expr: &Expr| expr.is_time(&|name| self.is_time(name));
        let mut times: Vec<bool> = by.iter().map(|by| is_time(&by.what)).collect();
        times.extend(aggregates.iter().map(|aggregate| {
            use AggregateKind::{First, Last, Max, Min};
            matches!(aggregate.what.kind, Min | Max | First | Last)
                && aggregate.what.of.as_ref().is_some_and(is_time)
        }));
        let aggregate = |named: &Named<Aggregate>| {
            let of = named.what.of.as_ref().map(|of| self.expression(of));
            Named { name: named.name.clone(), what: Aggregate { kind: named.what.kind, of } }
        };
        let aggregates = aggregates.iter().map(aggregate).collect();
        (GroupBy { by: self.named(by), aggregates, seconds }, times)
    }

    /// Groups by their counts, with what part of all each is.
    fn ranked(&mut self, descending: bool, limit: Option<usize>, rest: &[Pipe], needed: &[String]) {
        self.steps.push(Step::Share { of: COUNT.to_owned(), name: PERCENT.to_owned() });
        self.rows(vec![SortKey { name: COUNT.to_owned(), descending }], Vec::new(), limit, rest, needed);
    }

    /// The first rows of an order. Records are the latest first where nothing else is said, and where all else is equal.
    fn rows(
        &mut self,
        mut keys: Vec<SortKey>,
        unique: Vec<String>,
        limit: Option<usize>,
        rest: &[Pipe],
        columns: &[String],
    ) {
        if self.fragments.is_empty() {
            keys.extend(LATEST.map(|name| SortKey { name: name.to_owned(), descending: true }));
        }
        // Where all that follows is done row by row, no more rows are needed than are shown.
        let one_by_one = |pipe: &Pipe| {
            matches!(pipe, Pipe::Eval(_) | Pipe::Fields(_) | Pipe::Extract(_) | Pipe::Parse { .. })
        };
        let most = if rest.iter().all(one_by_one) { self.context.limit } else { usize::MAX };
        let limit = limit.unwrap_or(usize::MAX);
        if limit > most && self.cut.is_none() {
            self.cut = Some((self.fragments.len(), limit as u64));
        }
        let limit = limit.min(most);
        let is_time: Vec<bool> = columns.iter().map(|name| self.is_time(name)).collect();
        let gather = Gather::Rows(OrderBy { keys, unique, limit, columns: columns.to_vec() });
        self.close(gather, is_time, columns.to_vec());
    }

    /// A fragment ends, whose columns have these names.
    fn close(&mut self, gather: Gather, is_time: Vec<bool>, names: Vec<String>) {
        let steps = std::mem::take(&mut self.steps);
        self.times = names.into_iter().zip(is_time.iter().copied()).collect();
        self.fragments.push(Fragment::new(steps, gather, self.context.memory, is_time));
    }

    /// An interval that cuts the time that is asked for into few.
    fn interval(&self) -> Result<i64, String> {
        let length = self
            .context
            .length()
            .ok_or("say how long an interval is, such as `timechart 5m`, where the time has no beginning")?;
        let least = length.as_secs() as i64 / FEW_INTERVALS;
        let found = INTERVALS.iter().find(|interval| **interval >= least);
        Ok(found.copied().unwrap_or_else(|| least / 86_400 * 86_400 + 86_400) * 1_000_000_000)
    }
}

/// A table of masks with their templates, under the merges that are known, and how these look.
fn named(mut table: Table, merges: &Miner) -> Table {
    let Some(masks) = table.columns.iter().find(|column| column.name == MASK) else { return table };
    let name = |mask: &Value| {
        let mask = mask.as_str()?.as_bytes();
        Some(match merges.canonical(mask) {
            Canonical::Itself => (TemplateId::of(mask), String::from_utf8_lossy(mask).into_owned()),
            Canonical::Merged(merge) => (merge.id, String::from_utf8_lossy(&merge.mask).into_owned()),
        })
    };
    let template = |mask: &Value| name(mask).map(|(id, _)| Value::String(id.to_string()));
    let pattern = |mask: &Value| name(mask).map(|(_, mask)| Value::String(mask.replace('\0', VARIABLE)));
    let cells = [(TEMPLATE, masks.cells.map(template)), (PATTERN, masks.cells.map(pattern))];
    let columns = cells.map(|(name, cells)| Column {
        name: name.to_owned(),
        is_time: false,
        is_estimate: false,
        cells,
    });
    table.columns.extend(columns);
    table
}

fn add(names: &mut Vec<String>, name: &str) {
    if !names.iter().any(|known| known == name) {
        names.push(name.to_owned());
    }
}

/// The columns of the answer.
pub(crate) fn shown(pipes: &[Pipe]) -> Vec<String> {
    let mut shown: Vec<String> = SHOWN.iter().map(|name| (*name).to_owned()).collect();
    let mut is_open = true;
    for pipe in pipes {
        let more: Vec<String> = match pipe {
            Pipe::Sort(keys) if is_open => keys.iter().map(|key| key.name.clone()).collect(),
            Pipe::Dedup(names) if is_open => names.clone(),
            Pipe::Expand { of, .. } if is_open => vec![of.clone()],
            Pipe::Where(_)
            | Pipe::Limit(_)
            | Pipe::Sort(_)
            | Pipe::Dedup(_)
            | Pipe::Expand { .. }
            | Pipe::Parse { .. } => continue,
            Pipe::Eval(columns) => columns.iter().map(|column| column.name.clone()).collect(),
            Pipe::Extract(extract) => extract.names().to_vec(),
            Pipe::Join(join) => join.columns(),
            closing => {
                (shown, is_open) = (columns_of(closing), false);
                continue;
            }
        };
        let behind = if is_open { shown.pop() } else { None };
        for name in more.iter().filter(|name| behind.as_ref() != Some(*name)) {
            add(&mut shown, name);
        }
        shown.extend(behind);
    }
    shown
}

/// The columns of what gives others than it takes.
pub(crate) fn columns_of(pipe: &Pipe) -> Vec<String> {
    let (head, by, aggregates): (&[&str], &[Named<Expr>], &[Named<Aggregate>]) = match pipe {
        Pipe::Fields(names) => return names.clone(),
        Pipe::Stats { aggregates, by } | Pipe::Transaction { aggregates, by, .. } => (&[], by, aggregates),
        Pipe::Timechart { aggregates, by, .. } => (&[TIME], by, aggregates),
        Pipe::Top { by, .. } => {
            let by = by.iter().map(|by| by.name.as_str());
            return by.chain([COUNT, PERCENT]).map(str::to_owned).collect();
        }
        Pipe::Patterns => return [COUNT, PERCENT, TEMPLATE, PATTERN].map(str::to_owned).to_vec(),
        _ => return Vec::new(),
    };
    let behind: &[&str] = if matches!(pipe, Pipe::Transaction { .. }) { &SPAN } else { &[] };
    let by = by.iter().map(|by| by.name.as_str()).chain(behind.iter().copied());
    let names = head.iter().copied().chain(by).chain(aggregates.iter().map(|named| named.name.as_str()));
    names.map(str::to_owned).collect()
}

/// Before each pipe, and behind the last: the columns that what follows needs.
fn needs(pipes: &[Pipe], shown: &[String]) -> Vec<Vec<String>> {
    let mut all = vec![shown.to_vec()];
    for pipe in pipes.iter().rev() {
        let behind = all.last().map_or(&[][..], Vec::as_slice);
        all.push(needed_before(pipe, behind));
    }
    all.reverse();
    all
}

/// The columns that a pipe and what follows need, of which what follows needs these.
fn needed_before(pipe: &Pipe, behind: &[String]) -> Vec<String> {
    let mut needed = behind.to_vec();
    let of = |expr: &Expr, needed: &mut Vec<String>| expr.each_column(&mut |name| add(needed, name));
    let of_all = |by: &[Named<Expr>], needed: &mut Vec<String>| {
        for by in by {
            of(&by.what, needed);
        }
    };
    match pipe {
        Pipe::Where(condition) => of(condition, &mut needed),
        Pipe::Eval(columns) => {
            for column in columns.iter().rev() {
                needed.retain(|name| *name != column.name);
                of(&column.what, &mut needed);
            }
        }
        Pipe::Extract(extract) => {
            needed.retain(|name| !extract.names().contains(name));
            add(&mut needed, &extract.from);
        }
        Pipe::Parse { from: name, .. } | Pipe::Expand { of: name, .. } => add(&mut needed, name),
        Pipe::Join(join) => {
            let made = join.columns();
            needed.retain(|name| !made.contains(name));
            join.by.iter().for_each(|name| add(&mut needed, name));
        }
        Pipe::Fields(_) | Pipe::Limit(_) => {}
        Pipe::Sort(keys) => keys.iter().for_each(|key| add(&mut needed, &key.name)),
        Pipe::Dedup(names) => names.iter().for_each(|name| add(&mut needed, name)),
        Pipe::Stats { aggregates, by }
        | Pipe::Timechart { aggregates, by, .. }
        | Pipe::Transaction { aggregates, by, .. } => {
            needed.clear();
            of_all(by, &mut needed);
            for aggregate in aggregates {
                aggregate.what.of.iter().for_each(|expr| of(expr, &mut needed));
            }
            // What is first and last is told by the one, intervals and runs by the other.
            add(&mut needed, LATEST[0]);
            if !matches!(pipe, Pipe::Stats { .. }) {
                add(&mut needed, TIME);
            }
        }
        Pipe::Patterns => {
            needed.clear();
            add(&mut needed, "body");
        }
        Pipe::Top { by, .. } => {
            needed.clear();
            of_all(by, &mut needed);
        }
    }
    needed
}
