//! What a filter says of each chunk: that no row matches, that all do, or which. A plan is carried out on columns:
//! dictionaries are asked value by value, packed numbers as numbers; lines are rebuilt only where they must.

mod asked;
mod cells;
mod seams;

pub(super) use self::{asked::Asked, cells::RawCounts};
use super::{SealedShard, candidates::Candidates, reader::Reader, unfolded::Unfolded};
use crate::{
    Error,
    bits::Bits,
    index::RowCount,
    plan::{Plan, Question, Test},
    threads::{Threads, go_on},
};
use millrace_filter::{Expr, Filter};
use millrace_model::RecordId;
use std::{
    cell::{OnceCell, RefCell},
    collections::HashMap,
    ops::Range,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

/// Chunks that a thread asks before it looks for more of them.
const PIECE: usize = if cfg!(test) { 2 } else { 32 };
/// No more chunks than these are not worth a thread.
pub(super) const FEW_CHUNKS: usize = 3 * PIECE;

/// Of a chunk's rows.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    None,
    All,
    Some(Bits),
}

impl Answer {
    fn of(bits: Bits) -> Self {
        match bits.count() {
            0 => Self::None,
            all if all == bits.size() => Self::All,
            _ => Self::Some(bits),
        }
    }

    pub(super) fn holds(&self, row: u32) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Some(bits) => bits.contains(row),
        }
    }

    /// How many rows of a stretch.
    pub(super) fn count_in(&self, range: Range<u32>) -> u64 {
        match self {
            Self::None => 0,
            Self::All => u64::from(range.end.saturating_sub(range.start)),
            Self::Some(bits) => bits.count_in(range).into(),
        }
    }
}

/// What is known of a chunk before its columns are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ahead {
    /// No row matches: by the index.
    Terms,
    /// No row matches: by its shape.
    Shape,
    /// How many of its rows match.
    Known,
    /// Nothing.
    Open,
}

/// The answers of one search. They are found when they are asked for, and kept.
pub(super) struct Answers<'q> {
    shard: &'q SealedShard,
    pub(super) reader: &'q Reader<'q>,
    question: Arc<Question<'q>>,
    candidates: Arc<Candidates>,
    plans: Vec<OnceCell<Plan<'q>>>,
    found: Vec<OnceLock<Arc<Answer>>>,
    unfolded: Arc<Unfolded<'q>>,
    /// Where the rows of ids that were looked up lie.
    ids: RefCell<HashMap<RecordId, Option<u32>>>,
}

impl<'q> Answers<'q> {
    /// What a filter says of the rows of some stretch; of others, anything.
    pub(super) fn new(
        shard: &'q SealedShard,
        reader: &'q Reader<'q>,
        filter: &'q Filter,
        rows: &Range<u32>,
    ) -> Result<Self, Error> {
        let question = Question::new(filter, &shard.meta().stream, &shard.directory.origins);
        let candidates = Candidates::of(shard, question.root(), reader)?;
        let unfolded = Arc::new(Unfolded::new(shard, rows));
        Ok(Self::with(shard, reader, Arc::new(question), Arc::new(candidates), unfolded))
    }

    fn with(
        shard: &'q SealedShard,
        reader: &'q Reader<'q>,
        question: Arc<Question<'q>>,
        candidates: Arc<Candidates>,
        unfolded: Arc<Unfolded<'q>>,
    ) -> Self {
        Self {
            shard,
            reader,
            question,
            candidates,
            plans: shard.directory.shapes.iter().map(|_| OnceCell::new()).collect(),
            found: shard.directory.chunks.iter().map(|_| OnceLock::new()).collect(),
            unfolded,
            ids: RefCell::default(),
        }
    }

    /// Answers of few rows, where nothing had to be read to count all: what is told row by row is unfolded for these.
    pub(super) fn near(&self, rows: &Range<u32>) -> Option<Self> {
        let (question, candidates) = (Arc::clone(&self.question), Arc::clone(&self.candidates));
        let is_counted = candidates.counts.is_some();
        let unfolded = || Arc::new(Unfolded::new(self.shard, rows));
        is_counted.then(|| Self::with(self.shard, self.reader, question, candidates, unfolded()))
    }

    /// Finds the answers of those chunks that have to be read, on several threads where that is worth it. With each comes
    /// whether only the number of its rows that match is asked.
    pub(super) fn prepare(
        &self,
        chunks: impl Iterator<Item = (u32, bool)>,
        threads: &dyn Threads,
    ) -> Result<(), Error> {
        let is_open = |(number, is_whole): &(u32, bool)| match self.known(*number) {
            RowCount::None | RowCount::All => false,
            RowCount::Some(_) => !is_whole,
            RowCount::Unknown => {
                let shape = self.shard.directory.chunks[*number as usize].shape;
                !matches!(self.plan(shape), Plan::Always | Plan::Never)
            }
        };
        let open: Vec<u32> = chunks.filter(is_open).map(|(number, _)| number).collect();
        if open.len() <= FEW_CHUNKS {
            return Ok(());
        }
        let pieces: Vec<&[u32]> = open.chunks(PIECE).collect();
        let (shard, found) = (self.shard, &self.found);
        let (question, candidates, unfolded) = (&self.question, &self.candidates, &self.unfolded);
        let (next, read, failed) = (AtomicUsize::new(0), AtomicU64::new(0), Mutex::new(None));
        threads.run(pieces.len(), &|| {
            let reader = Reader::new(shard);
            let (question, candidates) = (Arc::clone(question), Arc::clone(candidates));
            let answers = Answers::with(shard, &reader, question, candidates, Arc::clone(unfolded));
            while let Some(piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
                for number in *piece {
                    match go_on(Some(threads)).and_then(|()| answers.of(*number)) {
                        Ok(answer) => drop(found[*number as usize].set(answer)),
                        Err(error) => {
                            next.store(pieces.len(), Ordering::Relaxed);
                            *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                            break;
                        }
                    }
                }
            }
            read.fetch_add(reader.read_bytes.get(), Ordering::Relaxed);
        });
        self.reader.read_bytes.set(self.reader.read_bytes.get() + read.into_inner());
        failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    /// Does every row match, whatever it is?
    pub(super) fn is_all(&self) -> bool {
        matches!(self.question.root(), Expr::All)
    }

    /// The chunks that can hold a match; `None`: all.
    pub(super) fn candidates(&self) -> Option<&Bits> {
        self.candidates.of_all.as_ref()
    }

    /// What is left of the filter for the rows of a shape.
    pub(super) fn plan(&self, shape: u32) -> &Plan<'q> {
        self.plans[shape as usize]
            .get_or_init(|| self.question.plan(&self.shard.directory.shapes[shape as usize]))
    }

    /// What is known of a chunk before it is read.
    fn known(&self, number: u32) -> RowCount {
        match &self.candidates.counts {
            Some(counts) => counts.of(number),
            None if self.may_hold(number) => RowCount::Unknown,
            None => RowCount::None,
        }
    }

    /// The same, and why.
    pub(super) fn ahead(&self, number: u32) -> Ahead {
        match self.known(number) {
            RowCount::None => Ahead::Terms,
            RowCount::All | RowCount::Some(_) => Ahead::Known,
            RowCount::Unknown => match self.plan(self.shard.directory.chunks[number as usize].shape) {
                Plan::Never => Ahead::Shape,
                Plan::Always => Ahead::Known,
                _ => Ahead::Open,
            },
        }
    }

    /// May a chunk hold a match?
    pub(super) fn may_hold(&self, number: u32) -> bool {
        self.candidates().is_none_or(|chunks| chunks.contains(number))
    }

    /// How many of some rows of a chunk match.
    pub(super) fn matching(&self, number: u32, rows: Range<u32>) -> Result<u64, Error> {
        let all = self.shard.directory.chunks[number as usize].rows;
        match self.known(number) {
            RowCount::Some(count) if rows == (0..all) => Ok(count.into()),
            _ => Ok(self.of(number)?.count_in(rows)),
        }
    }

    /// The answer for a chunk.
    pub(super) fn of(&self, number: u32) -> Result<Arc<Answer>, Error> {
        let cell = &self.found[number as usize];
        if let Some(known) = cell.get() {
            return Ok(Arc::clone(known));
        }
        let answer = match self.known(number) {
            RowCount::None => Answer::None,
            RowCount::All => Answer::All,
            RowCount::Some(_) | RowCount::Unknown => {
                let asked = Asked::new(self.shard, number);
                self.carry_out(self.plan(asked.place.shape), &asked, None)?
            }
        };
        Ok(Arc::clone(cell.get_or_init(|| Arc::new(answer))))
    }

    /// Carries a plan out. Only what it says of the rows `within` counts.
    fn carry_out(&self, plan: &Plan<'q>, asked: &Asked<'_>, within: Option<&Bits>) -> Result<Answer, Error> {
        let rows = asked.place.rows;
        Ok(match plan {
            Plan::Always => Answer::All,
            Plan::Never => Answer::None,
            Plan::Not(inner) => match self.carry_out(inner, asked, within)? {
                Answer::None => Answer::All,
                Answer::All => Answer::None,
                Answer::Some(bits) => Answer::Some(bits.complement()),
            },
            Plan::All(parts) => {
                let mut all = within.cloned();
                for part in by_cost(parts) {
                    match self.carry_out(part, asked, all.as_ref())? {
                        Answer::None => return Ok(Answer::None),
                        Answer::All => {}
                        Answer::Some(bits) => {
                            let both = match all {
                                Some(all) => all.and(&bits),
                                None => bits,
                            };
                            if both.is_empty() {
                                return Ok(Answer::None);
                            }
                            all = Some(both);
                        }
                    }
                }
                all.map_or(Answer::All, Answer::of)
            }
            Plan::Any(parts) => {
                let mut any = Bits::none(rows);
                for part in by_cost(parts) {
                    match self.carry_out(part, asked, within)? {
                        Answer::None => {}
                        Answer::All => return Ok(Answer::All),
                        Answer::Some(bits) => any.or_with(&bits),
                    }
                }
                Answer::of(any)
            }
            Plan::Test(test) => self.test(test, asked, within)?,
        })
    }

    fn test(&self, test: &Test<'q>, asked: &Asked<'_>, within: Option<&Bits>) -> Result<Answer, Error> {
        let impossible = |leaf: usize| {
            let chunks = self.candidates.of_leaf.get(leaf).and_then(Option::as_ref);
            chunks.is_some_and(|chunks| !chunks.contains(asked.number))
        };
        match test {
            Test::Words { leaf, .. } | Test::Body { leaf, .. } | Test::Value { leaf, .. }
                if impossible(*leaf) =>
            {
                Ok(Answer::None)
            }
            Test::Words { text, .. } => self.words(text, asked).map(Answer::of),
            Test::Body { text, needed, .. } => self.body(text, needed, asked, within),
            Test::Value { test, place, .. } => self.value(test, place, asked, within),
            Test::Record { .. } => self.each_row(&Plan::Test(test.clone()), asked, within),
            Test::Row(test) => self.row_test(test, asked).map(Answer::of),
        }
    }
}

/// Cheap parts first: what they leave is all that the others are asked of.
fn by_cost<'p, 'q>(parts: &'p [Plan<'q>]) -> Vec<&'p Plan<'q>> {
    fn cost(plan: &Plan<'_>) -> u8 {
        match plan {
            Plan::Always | Plan::Never => 0,
            Plan::Test(Test::Words { .. } | Test::Value { .. }) => 1,
            Plan::Test(Test::Row(_)) => 2,
            Plan::Test(Test::Body { .. }) => 3,
            Plan::Test(Test::Record { .. }) => 4,
            Plan::Not(inner) => cost(inner),
            Plan::All(parts) | Plan::Any(parts) => parts.iter().map(cost).max().unwrap_or(0),
        }
    }
    let mut sorted: Vec<&Plan<'q>> = parts.iter().collect();
    sorted.sort_by_key(|plan| cost(plan));
    sorted
}
