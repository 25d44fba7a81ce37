//! Which numbers the rows of a block have, and the rows of each, in their order.

use std::ops::Range;

/// See the module. Keeps its working memory between blocks.
#[derive(Default)]
pub(super) struct Groups {
    /// The numbers that occur, ascending.
    pub(super) numbers: Vec<u32>,
    /// Which of them each row has.
    pub(super) codes: Vec<u32>,
    /// Where the rows of each end in `rows`.
    ends: Vec<usize>,
    rows: Vec<u32>,
    /// By number, which of those that occur it is.
    code_of: Vec<u32>,
}

const ABSENT: u32 = u32::MAX;

impl Groups {
    /// Groups rows by their numbers, which should not be sparse.
    pub(super) fn find(&mut self, numbers: impl Iterator<Item = u32> + Clone) {
        self.numbers.drain(..).for_each(|number| self.code_of[number as usize] = ABSENT);
        for number in numbers.clone() {
            if self.code_of.len() <= number as usize {
                self.code_of.resize(number as usize + 1, ABSENT);
            }
            if self.code_of[number as usize] == ABSENT {
                self.code_of[number as usize] = 0;
                self.numbers.push(number);
            }
        }
        self.numbers.sort_unstable();
        for (code, number) in self.numbers.iter().enumerate() {
            self.code_of[*number as usize] = code as u32;
        }
        self.codes.clear();
        self.codes.extend(numbers.map(|number| self.code_of[number as usize]));
        let mut next = vec![0; self.numbers.len() + 1];
        self.codes.iter().for_each(|code| next[*code as usize + 1] += 1);
        (1..next.len()).for_each(|code| next[code] += next[code - 1]);
        self.rows.clear();
        self.rows.resize(self.codes.len(), 0);
        for (row, code) in self.codes.iter().enumerate() {
            let place = &mut next[*code as usize];
            self.rows[*place] = row as u32;
            *place += 1;
        }
        next.pop();
        self.ends = next;
    }

    /// How many rows have each number.
    pub(super) fn counts(&self) -> impl Iterator<Item = usize> {
        self.ranges().map(|range| range.len())
    }

    /// The rows of each number.
    pub(super) fn each(&self) -> impl Iterator<Item = &[u32]> {
        self.ranges().map(|range| &self.rows[range])
    }

    fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| start..*end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn each_number_has_its_rows(blocks in prop::collection::vec(prop::collection::vec(0u32..40, 0..60), 1..4)) {
            let mut groups = Groups::default();
            for numbers in blocks {
                groups.find(numbers.iter().copied());
                let mut expected: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
                for (row, number) in numbers.iter().enumerate() {
                    expected.entry(*number).or_default().push(row as u32);
                    prop_assert_eq!(groups.numbers[groups.codes[row] as usize], *number);
                }
                prop_assert!(groups.numbers.iter().eq(expected.keys()));
                prop_assert!(groups.each().eq(expected.values().map(Vec::as_slice)));
                prop_assert!(groups.counts().eq(expected.values().map(Vec::len)));
            }
        }
    }
}
