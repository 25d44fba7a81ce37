//! Lowering: what the index knows of a filter's answer. The answer lies between two sets: the records that surely
//! match, and those that possibly do; where the two are one, no record has to be read. Negation swaps them, so a `NOT`
//! over something undecided never loses a record.
//!
//! It does not repeat what a predicate means: distinct values are read from the dictionary and put to
//! [`Filter::matches`] itself. What is looked up directly, for speed, is held to it by the property test in
//! `sealed/tests.rs`.

mod body;
mod equality;
mod field;
mod index;
mod regex;

use self::index::{Index, Result};
use crate::{documents::Documents, layout::Layout, sealed::Columns, tables::Tables};
use millrace_filter::{Expr, Filter};
use millrace_model::StreamName;
use tantivy::SegmentReader;

/// What the index says of a filter.
#[derive(Debug, Clone)]
pub(crate) struct Lowered {
    /// These match.
    pub(crate) sure: Documents,
    /// No other than these match; `sure` is among them.
    pub(crate) possible: Documents,
}

impl Lowered {
    fn exactly(documents: Documents) -> Self {
        Self { possible: documents.clone(), sure: documents }
    }

    /// Any of these may match: only the records themselves can say.
    fn open(possible: Documents) -> Self {
        Self { sure: Documents::none(possible.size()), possible }
    }

    fn or(self, other: &Self) -> Self {
        Self { sure: self.sure.or(&other.sure), possible: self.possible.or(&other.possible) }
    }

    fn and(self, other: &Self) -> Self {
        Self { sure: self.sure.and(&other.sure), possible: self.possible.and(&other.possible) }
    }

    fn not(self) -> Self {
        Self { sure: self.possible.complement(), possible: self.sure.complement() }
    }

    fn without(self, documents: &Documents) -> Self {
        Self { sure: self.sure.without(documents), possible: self.possible.without(documents) }
    }
}

/// The parts of an open shard that lowering reads.
#[derive(Clone, Copy)]
pub(crate) struct Shard<'a> {
    pub(crate) segment: &'a SegmentReader,
    pub(crate) layout: &'a Layout,
    pub(crate) columns: &'a Columns,
    pub(crate) tables: &'a Tables,
    pub(crate) stream: &'a StreamName,
}

/// Lowers a filter, and says how many bytes of posting lists that took.
pub(crate) fn lower(filter: &Filter, shard: Shard<'_>) -> Result<(Lowered, u64)> {
    let lowering = Lowering { index: Index::new(shard.segment), shard };
    let lowered = lowering.expr(filter.root())?;
    Ok((lowered, lowering.index.read_bytes()))
}

struct Lowering<'a> {
    index: Index<'a>,
    shard: Shard<'a>,
}

impl Lowering<'_> {
    fn expr(&self, expr: &Expr) -> Result<Lowered> {
        match expr {
            Expr::All => Ok(Lowered::exactly(self.index.all())),
            Expr::And(terms) => {
                let all = Lowered::exactly(self.index.all());
                terms.iter().try_fold(all, |so_far, term| Ok(so_far.and(&self.expr(term)?)))
            }
            Expr::Or(terms) => {
                let none = Lowered::exactly(self.index.none());
                terms.iter().try_fold(none, |so_far, term| Ok(so_far.or(&self.expr(term)?)))
            }
            Expr::Not(inner) => Ok(self.expr(inner)?.not()),
            Expr::Text(test) => self.text(test),
            Expr::Field(test) => self.field(test),
        }
    }

    /// Asks `test` of every document: for what lies in columns.
    fn each(&self, test: impl Fn(u32) -> bool) -> Lowered {
        let mut documents = self.index.none();
        (0..documents.size())
            .filter(|document| test(*document))
            .for_each(|document| documents.insert(document));
        Lowered::exactly(documents)
    }
}
