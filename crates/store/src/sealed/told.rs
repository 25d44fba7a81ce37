//! What is known of a shard's chunks before any column of them is read: for whoever asks why a search reads what it reads.

use super::{
    SealedShard,
    answers::{Ahead, Answers},
    reader::Reader,
    rows,
};
use crate::Error;
use millrace_filter::Filter;
use millrace_model::TimeRange;
use serde::Serialize;

/// How many of a shard's chunks are dealt with how. Each is counted once, under the first that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ChunksTold {
    /// All of them.
    pub total: u64,
    /// Those that lie outside of the time.
    pub by_time: u64,
    /// Those that the index and the filters rule out: a word or a value of the query is not in them.
    pub by_terms: u64,
    /// Those whose template and names of attributes rule out that a record matches.
    pub by_shape: u64,
    /// Those whose matches are known without a look: all of their records, or as many as the index has counted.
    pub known: u64,
    /// Those whose columns have to be looked at.
    pub open: u64,
}

impl ChunksTold {
    /// Why the whole shard is ruled out, if it is: the reason that most of its chunks have.
    pub fn ruled_out(&self) -> Option<&'static str> {
        if self.known + self.open > 0 {
            return None;
        }
        let reasons = [("time", self.by_time), ("terms", self.by_terms), ("shape", self.by_shape)];
        reasons.into_iter().max_by_key(|(_, chunks)| *chunks).map(|(reason, _)| reason)
    }
}

impl SealedShard {
    /// What is known of the chunks for a filter. Reads what a search reads before columns. CPU bound and blocking.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Index`] where bytes are changed.
    pub fn chunks_told(&self, filter: &Filter, range: TimeRange) -> Result<ChunksTold, Error> {
        let reader = Reader::new(self);
        let mut told = ChunksTold { total: self.directory.chunks.len() as u64, ..ChunksTold::default() };
        let rows = rows::inside(self, &reader, range)?;
        let mut inside = 0;
        if !rows.is_empty() {
            let answers = Answers::new(self, &reader, filter, &rows)?;
            rows::each_chunk_inside(self, &reader, &answers, rows, &mut |number| {
                inside += 1;
                *match answers.ahead(number) {
                    Ahead::Terms => &mut told.by_terms,
                    Ahead::Shape => &mut told.by_shape,
                    Ahead::Known => &mut told.known,
                    Ahead::Open => &mut told.open,
                } += 1;
            })?;
        }
        told.by_time = told.total - inside;
        Ok(told)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use crate::{LeafRequest, Order, sample, sealed::tests::sealed_of};
    use millrace_filter::Filter;
    use millrace_model::{TimeRange, Timestamp};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_chunk_is_told_once_and_what_is_ruled_out_has_no_match(
            rows in sample::rows(40), filter in sample::filter(), times in any::<[prop::sample::Index; 2]>(), whole in any::<bool>(),
        ) {
            prop_assume!(!rows.is_empty());
            let [from, to] = times.map(|at| Timestamp(sample::TIMES[at.index(sample::TIMES.len())]));
            let range = if whole { TimeRange::ALL } else { TimeRange { from: from.min(to), to: from.max(to) } };
            let (_folder, shard) = sealed_of(&rows, rows.len());
            let told = shard.chunks_told(&filter, range).unwrap();
            prop_assert_eq!(told.by_time + told.by_terms + told.by_shape + told.known + told.open, told.total);
            let order = Order::NewestFirst;
            let request = LeafRequest { filter, range, limit: 0, order, after: None, histogram: None, fragments: None };
            if told.ruled_out().is_some() {
                prop_assert_eq!(shard.search(&request).unwrap().total, 0, "{:?}", told);
            }
            let all = shard.chunks_told(&Filter::ALL, TimeRange::ALL).unwrap();
            prop_assert_eq!((all.known, all.total), (told.total, told.total), "all of it is known");
        }
    }

    #[test]
    fn a_word_that_is_nowhere_rules_all_out() {
        let rows = proptest::strategy::ValueTree::current(
            &sample::rows(40).new_tree(&mut proptest::test_runner::TestRunner::deterministic()).unwrap(),
        );
        let (_folder, shard) = sealed_of(&rows, rows.len());
        let told =
            |query: &str, range| shard.chunks_told(&millrace_filter::parse(query).unwrap(), range).unwrap();
        let (terms, time) = (told("nowhereatall", TimeRange::ALL), told("*", TimeRange::NONE));
        assert_eq!((terms.by_terms, terms.ruled_out()), (terms.total, Some("terms")));
        assert_eq!((time.by_time, time.ruled_out()), (time.total, Some("time")));
    }
}
