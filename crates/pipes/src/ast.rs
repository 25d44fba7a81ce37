//! What a query is once it is read: a filter, and what is made of the records that it finds.

use crate::{
    expression::Expr,
    extract::Extract,
    plan::{TEMPLATE, shown},
};
use millrace_filter::Filter;
use serde::{Deserialize, Serialize};

/// A query.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// Which records.
    pub filter: Filter,
    /// What is made of them, one after the other; empty: the records are the answer.
    pub pipes: Vec<Pipe>,
}

impl Query {
    /// The columns of its answer: those that are shown of records, where no pipe says others.
    pub fn columns(&self) -> Vec<String> {
        shown(&self.pipes)
    }

    /// Those of them that tell its rows apart: by which the last pipe groups that does. A time is none of them.
    pub fn keys(&self) -> Vec<String> {
        let groups = |pipe: &Pipe| match pipe {
            Pipe::Stats { by, .. }
            | Pipe::Timechart { by, .. }
            | Pipe::Transaction { by, .. }
            | Pipe::Top { by, .. } => Some(by.iter().map(|by| by.name.clone()).collect()),
            Pipe::Patterns => Some(vec![TEMPLATE.to_owned()]),
            _ => None,
        };
        let mut keys: Vec<String> = self.pipes.iter().rev().find_map(groups).unwrap_or_default();
        let columns = self.columns();
        keys.retain(|name| columns.contains(name));
        keys
    }
}

/// One thing that is made of rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Pipe {
    /// Aggregates, a row a group.
    Stats {
        /// At least one.
        aggregates: Vec<Named<Aggregate>>,
        /// What rows have in common that are in one group.
        by: Vec<Named<Expr>>,
    },
    /// The same by intervals of time.
    Timechart {
        /// In nanoseconds; `None`: such that there are not many.
        interval: Option<i64>,
        /// At least one.
        aggregates: Vec<Named<Aggregate>>,
        /// Besides the time.
        by: Vec<Named<Expr>>,
    },
    /// Runs of rows of one group that lie close to one another in time, a row a run.
    Transaction {
        /// How far apart neighbours of one run may lie, in nanoseconds.
        gap: i64,
        /// At least one.
        aggregates: Vec<Named<Aggregate>>,
        /// What rows have in common that are in one run.
        by: Vec<Named<Expr>>,
    },
    /// The groups with the most rows, or with the fewest.
    Top {
        /// How many of them.
        limit: usize,
        /// At least one.
        by: Vec<Named<Expr>>,
        /// The fewest.
        rare: bool,
    },
    /// How many rows have a line of each template, the most first.
    Patterns,
    /// Only these columns, in this order.
    Fields(Vec<String>),
    /// Another order.
    Sort(Vec<SortKey>),
    /// Only the first rows.
    Limit(usize),
    /// Of rows that have these in common only the first.
    Dedup(Vec<String>),
    /// Only rows for which this is true.
    Where(Expr),
    /// More columns.
    Eval(Vec<Named<Expr>>),
    /// A row for each element of an array.
    Expand {
        /// The column that has it.
        of: String,
        /// Of elements that are equal, one.
        different: bool,
    },
    /// Beside each row those of another query that have the same values.
    Join(Join),
    /// Parts of a text as columns.
    Extract(Extract),
    /// What a text says in a format, as columns of the names that are asked for behind it.
    Parse {
        /// The format, by its parser's name.
        format: String,
        /// The column whose text is read.
        from: String,
    },
}

/// What stands beside a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Join {
    /// The columns that both sides have, with the same values.
    pub by: Vec<String>,
    /// Rows beside which nothing stands are kept.
    pub left: bool,
    /// The query whose rows they are. Its columns are known: the keys are among them.
    pub right: Query,
}

impl Join {
    /// The columns that it adds.
    pub fn columns(&self) -> Vec<String> {
        let mut columns = shown(&self.right.pipes);
        columns.retain(|name| !self.by.contains(name));
        columns
    }
}

/// Something with the name of its column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Named<T> {
    /// The column's name.
    pub name: String,
    /// What is in it.
    pub what: T,
}

/// What to sort by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SortKey {
    /// The column.
    pub name: String,
    /// The largest first.
    pub descending: bool,
}

/// What is made of the rows of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Aggregate {
    /// What.
    pub kind: AggregateKind,
    /// Of which values. `None`: of the rows.
    pub of: Option<Expr>,
}

/// See [`Aggregate`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AggregateKind {
    /// How many rows, or how many that have a value.
    Count,
    /// How many rows for which it is true.
    CountIf,
    /// How many different values: an estimate where they are many.
    CountDistinct,
    /// The sum of those that are numbers.
    Sum,
    /// Their mean.
    Avg,
    /// The smallest: of numbers, or else of texts.
    Min,
    /// The largest.
    Max,
    /// An estimate of a percentile, as a part of 1, within 1 % of the value.
    Percentile(f64),
    /// Their standard deviation, as of a whole population.
    StdDev,
    /// The value of the earliest row that has one.
    First,
    /// Of the latest.
    Last,
    /// Rows a second, or the sum a second.
    Rate,
}
