//! The counts: in how many rows of each chunk a word or term stands, for those that many chunks have. What
//! asks for nothing else is then counted without a column being read. A row counts once, however often it has a word.
//!
//! ```text
//! the directory's length u32 │ directory: a frame │ groups of words, two frames each: where, how many
//! directory: words and terms, each with its field and its lengths in both frames; groups, each with its length and number of words
//! where:     for each chunk with a row that may have the word, how many without lie before it
//! how many:  for each of them 0 for "ask it", 1 for "all of its rows", else one more than the rows
//! ```

use super::{FieldName, write::TermSet};
use crate::{
    bits::Bits,
    bytes::{Malformed, Reader, put_bytes, put_number},
    chunks::CHUNK_ROWS,
    time_text::TimeFormat,
    zstd_frame::{Compressor, read_frame},
};
use hashbrown::HashMap;
use millrace_model::text::MAX_TOKEN_BYTES;
use std::{io, ops::Range};

/// A word or term is worth its counts where so many chunks have it: to open one takes about 15 µs,
/// and counts take about a byte a chunk. In tests small shards have some, too.
const LEAST_CHUNKS: u8 = if cfg!(test) { 2 } else { 64 };
/// A group is closed when it has so many bytes.
const GROUP: usize = 16 << 10;
/// The length of the directory's length.
pub(crate) const LENGTH: usize = 4;

/// What is known of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowCount {
    /// No row has it.
    None,
    /// So many rows have it, others do not.
    Some(u32),
    All,
    /// Only the chunk can tell.
    Unknown,
}

impl RowCount {
    const fn code(self) -> u64 {
        match self {
            Self::Unknown | Self::None => 0,
            Self::All => 1,
            Self::Some(rows) => rows as u64 + 1,
        }
    }

    fn of_code(code: usize) -> Self {
        match code {
            0 => Self::Unknown,
            1 => Self::All,
            more => Self::Some(more as u32 - 1),
        }
    }
}

/// The counts of a word, while they are written.
struct List {
    entry: u32,
    gaps: Vec<u8>,
    codes: Vec<u8>,
    /// The chunk after the last one that it has.
    next: u32,
}

/// The file of what is worth it.
pub(super) fn write(terms: &TermSet) -> io::Result<Vec<u8>> {
    let mut lists = lists(terms);
    let bytes = |list: &List| terms.bytes(&terms.entries[list.entry as usize]);
    let field = |list: &List| terms.entries[list.entry as usize].field;
    lists.sort_unstable_by(|a, b| (field(a) as u8, bytes(a)).cmp(&(field(b) as u8, bytes(b))));
    fill(terms, &mut lists);
    let (mut directory, mut groups, mut places) = (Vec::new(), Vec::new(), Vec::new());
    put_number(&mut directory, lists.len() as u64);
    let mut compressor = Compressor::default();
    let (mut gaps, mut codes, mut words) = (Vec::new(), Vec::new(), 0);
    for (number, list) in lists.iter().enumerate() {
        directory.push(field(list) as u8);
        put_bytes(&mut directory, bytes(list));
        put_number(&mut directory, list.gaps.len() as u64);
        put_number(&mut directory, list.codes.len() as u64);
        gaps.extend_from_slice(&list.gaps);
        codes.extend_from_slice(&list.codes);
        words += 1;
        if codes.len() >= GROUP || number + 1 == lists.len() {
            let before = groups.len();
            compressor.put_frame(&mut groups, &gaps)?;
            compressor.put_frame(&mut groups, &codes)?;
            places.push((groups.len() - before, words));
            gaps.clear();
            codes.clear();
            words = 0;
        }
    }
    put_number(&mut directory, places.len() as u64);
    for (length, words) in places {
        put_number(&mut directory, length as u64);
        put_number(&mut directory, words);
    }
    let mut file = vec![0; LENGTH];
    compressor.put_frame(&mut file, &directory)?;
    let length = (file.len() - LENGTH) as u32;
    file[..LENGTH].copy_from_slice(&length.to_le_bytes());
    file.extend(groups);
    Ok(file)
}

/// Empty lists of the words and terms that are worth it.
fn lists(terms: &TermSet) -> Vec<List> {
    let mut chunks = vec![(0u8, false); terms.entries.len()];
    for (met, facts) in terms.chunks() {
        for met in met.iter().filter(|met| met.is_indexed()) {
            let Some(rows) = met.rows() else { continue };
            let (chunks, is_in_some) = &mut chunks[met.entry as usize];
            *chunks = chunks.saturating_add(1);
            *is_in_some |= rows < facts.rows;
        }
    }
    let worth = |(entry, (chunks, is_in_some)): (usize, (u8, bool))| {
        let known = &terms.entries[entry];
        // A word that was cut may be another one; where all rows have a word their shape says so.
        let is_asked = match known.field {
            FieldName::Terms => true,
            FieldName::Body => is_in_some && terms.bytes(known).len() < MAX_TOKEN_BYTES,
        };
        let list = List { entry: entry as u32, gaps: Vec::new(), codes: Vec::new(), next: 0 };
        (chunks >= LEAST_CHUNKS && is_asked).then_some(list)
    };
    chunks.into_iter().enumerate().filter_map(worth).collect()
}

/// Writes of each chunk what the lists say of it.
fn fill(terms: &TermSet, lists: &mut [List]) {
    let numbers: HashMap<u32, usize> =
        lists.iter().enumerate().map(|(number, list)| (list.entry, number)).collect();
    let words: Vec<(usize, String)> = lists
        .iter()
        .enumerate()
        .filter(|(_, list)| terms.entries[list.entry as usize].field == FieldName::Body)
        .map(|(number, list)| {
            let word = terms.bytes(&terms.entries[list.entry as usize]);
            (number, String::from_utf8_lossy(word).into_owned())
        })
        .collect();
    // Of each format, the words that some time may have in a way that was not counted.
    let mut besides: Vec<(TimeFormat, Vec<(usize, &str)>)> = Vec::new();
    let mut found: Vec<(usize, RowCount)> = Vec::new();
    for (chunk, (met, facts)) in terms.chunks().enumerate() {
        found.clear();
        if let Some((format, span)) = facts.times {
            let known = besides.iter().position(|(known, _)| *known == format).unwrap_or_else(|| {
                let possible = |(_, word): &(usize, &str)| format.may_hold(word);
                let words = words.iter().map(|(number, word)| (*number, word.as_str()));
                besides.push((format, words.filter(possible).collect()));
                besides.len() - 1
            });
            for (number, word) in &besides[known].1 {
                if format.may_hold_besides_parts(word, span) {
                    found.push((*number, RowCount::Unknown));
                }
            }
        }
        let uncounted = found.len();
        for met in met {
            let Some(number) = numbers.get(&met.entry) else { continue };
            let count = match met.rows() {
                None => RowCount::Unknown,
                Some(rows) if rows >= facts.rows => RowCount::All,
                Some(rows) => RowCount::Some(rows),
            };
            match found[..uncounted].binary_search_by_key(number, |(known, _)| *known) {
                Ok(at) if count == RowCount::All => found[at].1 = count,
                Ok(_) => {}
                Err(_) => found.push((*number, count)),
            }
        }
        for (number, count) in &found {
            let list = &mut lists[*number];
            put_number(&mut list.gaps, u64::from(chunk as u32 - list.next));
            put_number(&mut list.codes, count.code());
            list.next = chunk as u32 + 1;
        }
    }
}

/// Which words and terms have counts, and where these lie. None by default.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    chunks: u32,
    /// By field, then by bytes.
    words: Vec<Counted>,
    /// Where each group lies in the file.
    groups: Vec<Range<u64>>,
}

#[derive(Debug)]
struct Counted {
    field: u8,
    bytes: Box<[u8]>,
    group: u32,
    /// Where its counts lie in the group's frames.
    gaps: Range<usize>,
    codes: Range<usize>,
}

impl Counts {
    /// Out of the frame of the directory, for so many chunks.
    pub(crate) fn read(directory: &[u8], chunks: u32) -> Result<Self, Malformed> {
        let plain = read_frame(&mut Reader::new(directory))?;
        let mut reader = Reader::new(&plain);
        let mut words = Vec::new();
        for _ in 0..reader.count()? {
            let (field, bytes) = (reader.byte()?, reader.bytes()?.into());
            let (gaps, codes) = (0..reader.below(1 << 32)?, 0..reader.below(1 << 32)?);
            words.push(Counted { field, bytes, group: 0, gaps, codes });
        }
        let mut groups = Vec::new();
        let (mut at, mut next) = ((LENGTH + directory.len()) as u64, 0);
        for group in 0..reader.count()? {
            let (length, count) = (reader.below(1 << 32)?, reader.at_most(words.len() - next)?);
            let (mut gap, mut code) = (0, 0);
            for word in &mut words[next..next + count] {
                word.group = group as u32;
                word.gaps = gap..gap + word.gaps.end;
                word.codes = code..code + word.codes.end;
                (gap, code) = (word.gaps.end, word.codes.end);
            }
            groups.push(at..at + length as u64);
            (at, next) = (at + length as u64, next + count);
        }
        let sorted = words.is_sorted_by(|a, b| (a.field, &a.bytes) < (b.field, &b.bytes));
        if next == words.len() && sorted && reader.is_empty() {
            Ok(Self { chunks, words, groups })
        } else {
            Err(Malformed("a place for the counts of each word expected"))
        }
    }

    /// A word or term that has counts.
    pub(crate) fn find(&self, field: FieldName, bytes: &[u8]) -> Option<usize> {
        self.words.binary_search_by(|word| (word.field, &*word.bytes).cmp(&(field as u8, bytes))).ok()
    }

    /// All words and terms that have counts.
    pub(crate) fn each(&self) -> impl Iterator<Item = &[u8]> {
        self.words.iter().map(|word| &*word.bytes)
    }

    /// The terms that have counts and begin so.
    pub(crate) fn beginning(&self, begin: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
        let terms = FieldName::Terms as u8;
        let first = self.words.partition_point(|word| (word.field, &*word.bytes) < (terms, begin));
        let all = self.words[first..].iter().enumerate();
        all.take_while(move |(_, word)| word.field == terms && word.bytes.starts_with(begin))
            .map(move |(number, word)| (first + number, &*word.bytes))
    }

    /// Where the group of a word lies in the file.
    pub(crate) fn group(&self, word: usize) -> Option<Range<u64>> {
        self.groups.get(self.words.get(word)?.group as usize).cloned()
    }

    /// The counts of some words, chunk by chunk, out of their group.
    pub(crate) fn of(&self, words: &[usize], group: &[u8]) -> Result<Vec<ChunkCounts>, Malformed> {
        let mut reader = Reader::new(group);
        let (gaps, codes) = (read_frame(&mut reader)?, read_frame(&mut reader)?);
        words.iter().map(|word| self.of_one(*word, &gaps, &codes)).collect()
    }

    fn of_one(&self, word: usize, gaps: &[u8], codes: &[u8]) -> Result<ChunkCounts, Malformed> {
        let missing = Malformed("counts expected");
        let word = self.words.get(word).ok_or(missing)?;
        let mut gaps = Reader::new(gaps.get(word.gaps.clone()).ok_or(missing)?);
        let mut codes = Reader::new(codes.get(word.codes.clone()).ok_or(missing)?);
        let (mut counts, mut next) = (Vec::with_capacity(gaps.rest().len()), 0);
        while !gaps.is_empty() {
            let chunk = gaps.below(self.chunks as usize)? as u32 + next;
            if chunk >= self.chunks {
                return Err(Malformed("counts of fewer chunks expected"));
            }
            counts.push((chunk, RowCount::of_code(codes.at_most(CHUNK_ROWS + 1)?)));
            next = chunk + 1;
        }
        if codes.is_empty() {
            Ok(ChunkCounts { chunks: self.chunks, counts })
        } else {
            Err(Malformed("as many counts as chunks expected"))
        }
    }
}

/// What is known of the chunks of a shard about one word or term: those that may have it, in their order.
#[derive(Debug, Clone)]
pub(crate) struct ChunkCounts {
    chunks: u32,
    counts: Vec<(u32, RowCount)>,
}

impl ChunkCounts {
    /// Of a chunk.
    pub(crate) fn of(&self, chunk: u32) -> RowCount {
        match self.counts.binary_search_by_key(&chunk, |(chunk, _)| *chunk) {
            Ok(at) => self.counts[at].1,
            Err(_) => RowCount::None,
        }
    }

    /// Chunks and what is known of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, RowCount)> {
        self.counts.iter().copied()
    }

    /// The chunks that may have it.
    pub(crate) fn chunks(&self) -> Bits {
        let mut chunks = Bits::none(self.chunks);
        self.counts.iter().for_each(|(chunk, _)| chunks.insert(*chunk));
        chunks
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{super::ChunkFacts, *};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Of each chunk its rows, and in how many of them each word of a few stands.
    fn chunks() -> impl Strategy<Value = Vec<(u32, BTreeMap<String, u32>)>> {
        let chunk = (1u32..=CHUNK_ROWS as u32)
            .prop_flat_map(|rows| (Just(rows), prop::collection::btree_map("[0-9ab]{1,2}", 0..=rows, 0..12)));
        prop::collection::vec(chunk, 0..20)
    }

    fn written(chunks: &[(u32, BTreeMap<String, u32>)]) -> Vec<u8> {
        let mut set = TermSet::new(7);
        for (rows, words) in chunks {
            for (word, rows) in words {
                let met = set.add(FieldName::Body, word.as_bytes());
                set.add_rows(met, *rows);
            }
            set.end_chunk(ChunkFacts { rows: *rows, times: None });
        }
        write(&set).unwrap()
    }

    fn read(file: &[u8], chunks: usize) -> Result<(Counts, &[u8]), Malformed> {
        let (length, rest) = file.split_at_checked(LENGTH).ok_or(Malformed("a length"))?;
        let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
        let directory = rest.get(..length).ok_or(Malformed("a directory"))?;
        Ok((Counts::read(directory, chunks as u32)?, file))
    }

    fn all(file: &[u8], chunks: usize) -> Result<BTreeMap<Vec<u8>, ChunkCounts>, Malformed> {
        let (counts, file) = read(file, chunks)?;
        let mut all = BTreeMap::new();
        for (number, word) in counts.words.iter().enumerate() {
            let place = counts.group(number).unwrap();
            let group = file.get(place.start as usize..place.end as usize).ok_or(Malformed("a group"))?;
            all.insert(word.bytes.to_vec(), counts.of(&[number], group)?.pop().unwrap());
        }
        Ok(all)
    }

    proptest! {
        #[test]
        fn counts_come_back(chunks in chunks()) {
            let found = all(&written(&chunks), chunks.len()).unwrap();
            let mut asked: BTreeMap<&str, Vec<RowCount>> = BTreeMap::new();
            for (number, (rows, words)) in chunks.iter().enumerate() {
                for (word, count) in words {
                    let counts = asked.entry(word).or_insert_with(|| vec![RowCount::None; chunks.len()]);
                    counts[number] = match count {
                        0 => RowCount::Unknown,
                        count if count == rows => RowCount::All,
                        count => RowCount::Some(*count),
                    };
                }
            }
            for (word, counts) in asked {
                let known = counts.iter().filter(|count| matches!(count, RowCount::All | RowCount::Some(_))).count();
                let is_worth = known >= LEAST_CHUNKS.into() && counts.iter().any(|count| matches!(count, RowCount::Some(_)));
                let given = found.get(word.as_bytes());
                prop_assert_eq!(given.is_some(), is_worth, "{}", word);
                if let Some(given) = given {
                    let each: Vec<RowCount> = (0..chunks.len()).map(|chunk| given.of(chunk as u32)).collect();
                    prop_assert_eq!(each, counts, "{}", word);
                }
            }
        }

        /// What is damaged is refused or says something else; it never panics.
        #[test]
        fn damaged_counts_are_read_or_refused(
            chunks in chunks(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), fewer in 0usize..3,
        ) {
            let mut file = written(&chunks);
            for (at, byte) in changes {
                let at = at.index(file.len());
                file[at] = byte;
            }
            drop(all(&file, chunks.len().saturating_sub(fewer)));
        }
    }
}
