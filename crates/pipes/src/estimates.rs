//! What of a table is estimated: columns that hold estimates, those that are computed of them, and the rows themselves, where
//! which of them there are hangs on one. An estimate stays one, however many pipes are behind it.

use crate::{
    ast::{Aggregate, Named},
    expression::Expr,
    fragment::{Gather, Step},
    table::Table,
};
use hashbrown::HashSet;

/// See the module. Nothing of records is estimated.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Estimates {
    columns: HashSet<String>,
    /// Which rows there are hangs on one.
    rows: bool,
}

impl Estimates {
    /// Those of a table.
    pub(crate) fn of(table: &Table) -> Self {
        let columns = table.columns.iter().filter(|column| column.is_estimate);
        Self { columns: columns.map(|column| column.name.clone()).collect(), rows: table.chosen_by_estimate }
    }

    fn has(&self, name: &str) -> bool {
        self.columns.contains(name)
    }

    /// Is what comes of this an estimate?
    fn makes(&self, expr: &Expr) -> bool {
        let mut makes = false;
        expr.each_column(&mut |name| makes |= self.has(name));
        makes
    }

    fn set(&mut self, name: &str, is_estimate: bool) {
        if is_estimate {
            self.columns.insert(name.to_owned());
        } else {
            self.columns.remove(name);
        }
    }

    /// What is estimated once this has been done to each row.
    pub(crate) fn step(&mut self, step: &Step) {
        match step {
            Step::Where(condition) => self.rows |= self.makes(condition),
            Step::Eval(columns) => {
                for column in columns {
                    self.set(&column.name, self.makes(&column.what));
                }
            }
            Step::Extract(extract) => {
                let is_estimate = self.has(&extract.from);
                extract.names().iter().for_each(|name| self.set(name, is_estimate));
            }
            Step::Expand { of, .. } => self.rows |= self.has(of),
            Step::Join(lookup) => {
                let by_estimate = lookup.by.iter().any(|name| self.has(name)) || lookup.estimates().rows;
                self.rows |= by_estimate;
                for name in lookup.names() {
                    self.set(name, by_estimate || lookup.estimates().has(name));
                }
            }
            Step::Parse { from, names, .. } => {
                let is_estimate = self.has(from);
                for name in names {
                    self.set(name, is_estimate || self.has(name));
                }
            }
            // It is a part of what all rows have.
            Step::Share { of, name } => self.set(name, self.rows || self.has(of)),
        }
    }

    /// Marks what is estimated of a table that was gathered of such rows, and of which some rows were left out or not.
    pub(crate) fn mark(&self, gather: &Gather, table: &mut Table, is_cut: bool) {
        let mut marks = HashSet::new();
        match gather {
            Gather::Groups(ask) => {
                table.chosen_by_estimate = self.group(&ask.by, &ask.aggregates, &mut marks);
            }
            Gather::Runs(ask) => {
                let groups = &ask.groups;
                table.chosen_by_estimate = self.group(&groups.by, &groups.aggregates, &mut marks);
                if table.chosen_by_estimate {
                    // Where a run begins and ends hangs on its rows.
                    marks
                        .extend(table.columns.iter().skip(groups.by.len()).map(|column| column.name.clone()));
                }
            }
            Gather::Rows(ask) => {
                let ordered_by = ask.keys.iter().any(|key| self.has(&key.name));
                let one_of = ask.unique.iter().any(|name| self.has(name));
                table.chosen_by_estimate = self.rows || one_of || (ordered_by && is_cut);
                marks.clone_from(&self.columns);
            }
        }
        for column in &mut table.columns {
            column.is_estimate |= marks.contains(&column.name);
        }
    }

    /// Which columns of groups are estimates, besides what aggregates themselves estimate; and does it hang on estimates which
    /// groups there are?
    fn group(
        &self,
        by: &[Named<Expr>],
        aggregates: &[Named<Aggregate>],
        marks: &mut HashSet<String>,
    ) -> bool {
        marks.extend(by.iter().filter(|by| self.makes(&by.what)).map(|by| by.name.clone()));
        let rows = self.rows || !marks.is_empty();
        let of_estimates = |aggregate: &&Named<Aggregate>| {
            rows || aggregate.what.of.as_ref().is_some_and(|of| self.makes(of))
        };
        marks.extend(aggregates.iter().filter(of_estimates).map(|aggregate| aggregate.name.clone()));
        // Where nothing needs to be in common there is one group, whatever there is.
        rows && !by.is_empty()
    }
}
