//! A set of documents of one shard, one bit each. Documents are numbered in the total order of their rows, so a range
//! of numbers is a stretch of time.

use std::ops::Range;

/// Some of the documents `0..size`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Documents {
    words: Vec<u64>,
    size: u32,
}

impl Documents {
    /// None of `size` documents.
    pub(crate) fn none(size: u32) -> Self {
        Self { words: vec![0; size.div_ceil(64) as usize], size }
    }

    /// All of `size` documents.
    pub(crate) fn all(size: u32) -> Self {
        Self::none(size).complement()
    }

    /// How many documents the shard has.
    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    /// Adds one; what lies outside the shard is passed over.
    pub(crate) fn insert(&mut self, document: u32) {
        if document < self.size {
            self.words[document as usize / 64] |= 1 << (document % 64);
        }
    }

    /// Adds what is in `other` too.
    pub(crate) fn or(mut self, other: &Self) -> Self {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a |= b);
        self
    }

    /// Keeps what is in `other` too.
    pub(crate) fn and(mut self, other: &Self) -> Self {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a &= b);
        self
    }

    /// Takes out what is in `other`.
    pub(crate) fn without(mut self, other: &Self) -> Self {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a &= !b);
        self
    }

    /// The documents that are not in here.
    pub(crate) fn complement(mut self) -> Self {
        self.words.iter_mut().for_each(|word| *word = !*word);
        let spare = self.words.len() as u32 * 64 - self.size;
        if let Some(last) = self.words.last_mut() {
            *last &= u64::MAX >> spare;
        }
        self
    }

    /// How many lie inside `range`.
    pub(crate) fn count(&self, range: &Range<u32>) -> u64 {
        let range = range.start..range.end.min(self.size);
        if range.is_empty() {
            return 0;
        }
        let (first, last) = (range.start as usize / 64, (range.end - 1) as usize / 64);
        let ones =
            |(index, word): (usize, &u64)| u64::from((word & mask(first + index, &range)).count_ones());
        self.words[first..=last].iter().enumerate().map(ones).sum()
    }

    /// The first document at or after `from`.
    pub(crate) fn next(&self, from: u32) -> Option<u32> {
        let start = from as usize / 64;
        self.words.iter().enumerate().skip(start).find_map(|(index, word)| {
            let word = if index == start { word & (u64::MAX << (from % 64)) } else { *word };
            (word != 0).then(|| index as u32 * 64 + word.trailing_zeros())
        })
    }

    /// The last document before `to`.
    pub(crate) fn previous(&self, to: u32) -> Option<u32> {
        let range = 0..to.min(self.size);
        let end = range.end.div_ceil(64) as usize;
        self.words[..end].iter().enumerate().rev().find_map(|(index, word)| {
            let word = word & mask(index, &range);
            (word != 0).then(|| index as u32 * 64 + 63 - word.leading_zeros())
        })
    }

    /// The documents inside `range`, upwards.
    pub(crate) fn upwards(&self, range: Range<u32>) -> impl Iterator<Item = u32> {
        let mut from = range.start;
        std::iter::from_fn(move || {
            let document = self.next(from).filter(|document| *document < range.end)?;
            from = document + 1;
            Some(document)
        })
    }

    /// The documents inside `range`, downwards.
    pub(crate) fn downwards(&self, range: Range<u32>) -> impl Iterator<Item = u32> {
        let mut to = range.end;
        std::iter::from_fn(move || {
            let document = self.previous(to).filter(|document| *document >= range.start)?;
            to = document;
            Some(document)
        })
    }
}

/// The bits of word `index` whose documents lie inside `range`.
fn mask(index: usize, range: &Range<u32>) -> u64 {
    let base = index as u64 * 64;
    let below = |end: u32| match u64::from(end).saturating_sub(base) {
        0 => 0,
        bits @ 1..64 => u64::MAX >> (64 - bits),
        _ => u64::MAX,
    };
    below(range.end) & !below(range.start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::btree_set, prelude::*};
    use std::collections::BTreeSet;

    fn from(set: &BTreeSet<u32>, size: u32) -> Documents {
        let mut documents = Documents::none(size);
        for document in set {
            documents.insert(*document);
        }
        documents
    }

    fn items(documents: &Documents) -> BTreeSet<u32> {
        documents.upwards(0..documents.size()).collect()
    }

    proptest! {
        #[test]
        fn behaves_as_a_set_of_numbers(
            size in 0u32..200, a in btree_set(0u32..200, 0..80), b in btree_set(0u32..200, 0..80), start in 0u32..210, end in 0u32..210,
        ) {
            let inside = |set: &BTreeSet<u32>| set.iter().copied().filter(|d| *d < size).collect::<BTreeSet<u32>>();
            let (a, b) = (inside(&a), inside(&b));
            let (x, y) = (from(&a, size), from(&b, size));
            prop_assert_eq!(items(&x), a.clone());
            prop_assert_eq!(items(&x.clone().or(&y)), &a | &b);
            prop_assert_eq!(items(&x.clone().and(&y)), &a & &b);
            prop_assert_eq!(items(&x.clone().without(&y)), &a - &b);
            prop_assert_eq!(items(&x.clone().complement()), (0..size).filter(|d| !a.contains(d)).collect::<BTreeSet<u32>>());
            let part: Vec<u32> = a.iter().copied().filter(|d| (start..end).contains(d)).collect();
            prop_assert_eq!(x.count(&(start..end)), part.len() as u64);
            prop_assert_eq!(x.upwards(start..end).collect::<Vec<_>>(), part.clone());
            prop_assert_eq!(x.downwards(start..end).collect::<Vec<_>>(), part.iter().rev().copied().collect::<Vec<_>>());
            prop_assert_eq!(Documents::all(size).count(&(0..u32::MAX)), u64::from(size));
        }
    }
}
