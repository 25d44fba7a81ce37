//! A set of the numbers `0..size`, one bit each: rows of a chunk, documents of a shard, entries of a dictionary.

use std::ops::Range;

/// Some of the numbers `0..size`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bits {
    words: Vec<u64>,
    size: u32,
}

impl Bits {
    /// None of `size` numbers.
    pub(crate) fn none(size: u32) -> Self {
        Self { words: vec![0; size.div_ceil(64) as usize], size }
    }

    /// All of `size` numbers.
    pub(crate) fn all(size: u32) -> Self {
        let mut bits = Self { words: vec![u64::MAX; size.div_ceil(64) as usize], size };
        bits.trim();
        bits
    }

    /// All of `size` numbers, or none.
    pub(crate) fn uniform(size: u32, value: bool) -> Self {
        if value { Self::all(size) } else { Self::none(size) }
    }

    /// The numbers below `size` whose bit is set in `words`, number 0 being the lowest bit of the first word.
    pub(crate) fn from_words(mut words: Vec<u64>, size: u32) -> Self {
        words.resize(size.div_ceil(64) as usize, 0);
        let mut bits = Self { words, size };
        bits.trim();
        bits
    }

    /// Takes out what lies beyond the size.
    fn trim(&mut self) {
        let spare = self.words.len() as u32 * 64 - self.size;
        if let Some(last) = self.words.last_mut() {
            *last &= u64::MAX >> spare;
        }
    }

    /// How many numbers there could be.
    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    /// Adds one; what lies outside is passed over.
    #[inline]
    pub(crate) fn insert(&mut self, number: u32) {
        if number < self.size {
            self.words[number as usize / 64] |= 1 << (number % 64);
        }
    }

    /// Adds a stretch; what lies outside is passed over.
    pub(crate) fn insert_range(&mut self, range: Range<u32>) {
        let range = range.start..range.end.min(self.size);
        if range.is_empty() {
            return;
        }
        let (first, last) = (range.start as usize / 64, (range.end - 1) as usize / 64);
        for (index, word) in self.words[first..=last].iter_mut().enumerate() {
            *word |= mask(first + index, &range);
        }
    }

    /// Is this one in it?
    #[inline]
    pub(crate) fn contains(&self, number: u32) -> bool {
        number < self.size && self.words[number as usize / 64] >> (number % 64) & 1 == 1
    }

    /// Adds what is in `other` too.
    pub(crate) fn or_with(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a |= b);
        self.trim();
    }

    /// Keeps what is in `other` too.
    pub(crate) fn and_with(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a &= b);
    }

    /// Takes out what is in `other`.
    pub(crate) fn without_with(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a &= !b);
    }

    /// Swaps what is in it and what is not.
    pub(crate) fn invert(&mut self) {
        self.words.iter_mut().for_each(|word| *word = !*word);
        self.trim();
    }

    /// What is in this or in `other`.
    #[must_use]
    pub(crate) fn or(mut self, other: &Self) -> Self {
        self.or_with(other);
        self
    }

    /// What is in this and in `other`.
    #[must_use]
    pub(crate) fn and(mut self, other: &Self) -> Self {
        self.and_with(other);
        self
    }

    /// What is in this and not in `other`.
    #[must_use]
    pub(crate) fn without(mut self, other: &Self) -> Self {
        self.without_with(other);
        self
    }

    /// What is not in this.
    #[must_use]
    pub(crate) fn complement(mut self) -> Self {
        self.invert();
        self
    }

    /// Is nothing in it?
    pub(crate) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// How many are in it.
    pub(crate) fn count(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// How many lie inside `range`.
    pub(crate) fn count_in(&self, range: Range<u32>) -> u32 {
        let range = range.start..range.end.min(self.size);
        if range.is_empty() {
            return 0;
        }
        let (first, last) = (range.start as usize / 64, (range.end - 1) as usize / 64);
        let ones = |(index, word): (usize, &u64)| (word & mask(first + index, &range)).count_ones();
        self.words[first..=last].iter().enumerate().map(ones).sum()
    }

    /// Those inside `range`, counted from its start.
    pub(crate) fn part(&self, range: Range<u32>) -> Self {
        let size = range.end.saturating_sub(range.start);
        let (first, shift) = (range.start as usize / 64, range.start % 64);
        let word = |at: usize| self.words.get(at).copied().unwrap_or(0);
        let words = (first..first + size.div_ceil(64) as usize).map(|at| match shift {
            0 => word(at),
            _ => word(at) >> shift | word(at + 1) << (64 - shift),
        });
        Self::from_words(words.collect(), size)
    }

    /// The first one at or after `from`.
    pub(crate) fn next(&self, from: u32) -> Option<u32> {
        let start = from as usize / 64;
        self.words.iter().enumerate().skip(start).find_map(|(index, word)| {
            let word = if index == start { word & (u64::MAX << (from % 64)) } else { *word };
            (word != 0).then(|| index as u32 * 64 + word.trailing_zeros())
        })
    }

    /// Those inside `range`, upwards.
    pub(crate) fn ones(&self, range: Range<u32>) -> impl Iterator<Item = u32> {
        let mut from = range.start;
        std::iter::from_fn(move || {
            let number = self.next(from).filter(|number| *number < range.end)?;
            from = number + 1;
            Some(number)
        })
    }
}

impl FromIterator<bool> for Bits {
    fn from_iter<I: IntoIterator<Item = bool>>(each: I) -> Self {
        let (mut words, mut size) = (Vec::new(), 0);
        for one in each {
            if size % 64 == 0 {
                words.push(0);
            }
            if let Some(last) = words.last_mut() {
                *last |= u64::from(one) << (size % 64);
            }
            size += 1;
        }
        Self { words, size }
    }
}

/// The bits of word `index` whose numbers lie inside `range`.
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

    fn from(set: &BTreeSet<u32>, size: u32) -> Bits {
        let mut bits = Bits::none(size);
        for number in set {
            bits.insert(*number);
        }
        bits
    }

    fn items(bits: &Bits) -> BTreeSet<u32> {
        bits.ones(0..bits.size()).collect()
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
            prop_assert_eq!((0..size).map(|number| a.contains(&number)).collect::<Bits>(), x.clone());
            prop_assert_eq!(x.count() as usize, a.len());
            prop_assert_eq!(x.is_empty(), a.is_empty());
            prop_assert!((0..210).all(|number| x.contains(number) == a.contains(&number)));
            prop_assert_eq!(items(&x.clone().or(&y)), &a | &b);
            prop_assert_eq!(items(&x.clone().and(&y)), &a & &b);
            prop_assert_eq!(items(&x.clone().without(&y)), &a - &b);
            prop_assert_eq!(items(&x.clone().complement()), (0..size).filter(|d| !a.contains(d)).collect::<BTreeSet<u32>>());
            prop_assert_eq!(Bits::from_words(x.words.clone(), size), x.clone());
            let part: Vec<u32> = a.iter().copied().filter(|d| (start..end).contains(d)).collect();
            prop_assert_eq!(x.count_in(start..end) as usize, part.len());
            let moved: BTreeSet<u32> = part.iter().map(|number| number - start).collect();
            prop_assert_eq!(items(&x.part(start..end)), moved);
            prop_assert_eq!(x.ones(start..end).collect::<Vec<_>>(), part);
            let mut stretch = x.clone();
            stretch.insert_range(start..end);
            prop_assert_eq!(items(&stretch), (0..size).filter(|d| a.contains(d) || (start..end).contains(d)).collect::<BTreeSet<u32>>());
            prop_assert_eq!(Bits::all(size).count_in(0..u32::MAX), size);
        }
    }
}
