//! Pipes: what is made of the records that a filter found.
//!
//! A [`Query`] is a filter and pipes. A [`Plan`] cuts pipes into fragments: the first is carried out where records lie,
//! on each leaf by itself, over columns of values and codes ([`Cells`]) that are read only when they are asked for; what
//! leaves have gathered ([`Partials`]) is joined, in whatever order, and the other fragments make the answer of it. Imports
//! `model` and `filter`; no I/O.
//!
//! **Invariants:**
//! - What is gathered does not depend on how records are spread over leaves, nor on the order in which leaves answer; but
//!   for the last bits of sums and means of numbers with fractions, and for estimates, which are called that.
//! - What would take more memory than a query may is an error, not a smaller answer.

mod ast;
mod cells;
mod estimates;
mod expand;
mod expression;
mod extract;
mod fragment;
mod fragments;
mod frame;
mod functions;
mod groups;
mod join;
mod key;
mod keys;
mod memory;
mod ordered;
mod parse;
mod plan;
mod print;
mod runs;
mod states;
mod table;
mod token;

pub use ast::{Aggregate, AggregateKind, Join, Named, Pipe, Query, SortKey};
pub use cells::{ABSENT, Cells, cell_of, plain};
pub use expression::Expr;
pub use extract::{Extract, Pattern};
pub use fragment::TooLarge;
pub use fragments::{Fragments, Partials};
pub use frame::Rows;
pub use functions::Function;
pub use groups::GroupBy;
pub use join::Joined;
pub use millrace_filter::ParseError;
pub use ordered::OrderBy;
pub use parse::{parse, words};
pub use plan::{Answer, Context, Plan};
pub use print::{Name, Told};
pub use table::{Column, Table};

use fragment::{Fragment, Partial};

#[cfg(test)]
mod tests;
