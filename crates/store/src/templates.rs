//! Which template a record's line stands for: the id that hits show. It is computed when a record is read, from its line
//! and the merges of masks that are known then; how the record is kept has no part in it.
//!
//! **Invariant:** the id is a function of the line and of the set of merges that were absorbed, in whatever order, as long
//! as no bound of the miner is reached.

use millrace_model::{LogRecord, Value};
use millrace_template::{Canonical, Miner, Scan};

pub use millrace_template::{Merge, TemplateId};

/// The merges that are known.
#[derive(Debug, Clone, Default)]
pub struct Templates {
    miner: Miner,
}

impl Templates {
    /// Without merges: every mask stands for itself.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes over a merged mask. One that overlaps others is joined with them; what is no merged mask is ignored. Bounded.
    pub fn absorb(&mut self, merge: &[u8]) {
        self.miner.absorb(merge);
    }

    /// The merges, for who names masks.
    pub fn merges(&self) -> &Miner {
        &self.miner
    }

    /// Names the templates of any number of records.
    pub fn namer(&self) -> Namer<'_> {
        Namer { miner: &self.miner, scan: Scan::default() }
    }
}

/// Names the templates of one record after the other: about a microsecond for a short line.
#[derive(Debug)]
pub struct Namer<'a> {
    miner: &'a Miner,
    scan: Scan,
}

impl Namer<'_> {
    /// The id of the merged mask that covers the mask of the record's whole line, or else of that mask itself. A line that
    /// is not cut has a mask, too. `None`: the body is no text.
    pub fn name(&mut self, record: &LogRecord) -> Option<TemplateId> {
        let Value::String(line) = &record.body else { return None };
        self.scan.line(line);
        Some(match self.miner.canonical(self.scan.mask()) {
            Canonical::Itself => TemplateId::of(self.scan.mask()),
            Canonical::Merged(merge) => merge.id,
        })
    }
}

#[cfg(test)]
mod tests;
