//! A list of values as its distinct ones, numbered in the order in which they come up.

use crate::strings::Strings;
use std::hash::{BuildHasher, RandomState};

/// The distinct values of a list, and of each row the number of its value.
#[derive(Debug, Clone, Default)]
pub(crate) struct Coded {
    pub(crate) values: Strings,
    pub(crate) codes: Vec<u32>,
}

impl Coded {
    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.codes.len()
    }

    /// The value of a row; empty where there is none.
    #[inline]
    pub(crate) fn get(&self, row: usize) -> &[u8] {
        self.codes.get(row).map_or(&[], |code| self.values.get(*code as usize))
    }

    /// The values of all rows in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.codes.iter().map(|code| self.values.get(*code as usize))
    }
}

#[cfg(test)]
impl<S: AsRef<[u8]>> FromIterator<S> for Coded {
    fn from_iter<I: IntoIterator<Item = S>>(values: I) -> Self {
        let (mut interner, mut list) = (Interner::default(), Self::default());
        interner.begin(&mut list);
        values.into_iter().for_each(|value| interner.push(value.as_ref(), &mut list));
        list
    }
}

/// Slots of an interner at first.
const FEW_SLOTS: usize = 64;

/// Finds distinct values. The hash is keyed by chance, so that nobody can choose values that collide; numbers do not
/// depend on it.
pub(crate) struct Interner {
    keys: [u64; 2],
    /// Number of a distinct value and one, by hash; a power of two long.
    slots: Vec<u32>,
    hashes: Vec<u64>,
}

impl Default for Interner {
    fn default() -> Self {
        let state = RandomState::new();
        Self { keys: [state.hash_one(1), state.hash_one(2)], slots: Vec::new(), hashes: Vec::new() }
    }
}

impl Interner {
    /// Makes a list empty, and begins with its values.
    pub(crate) fn begin(&mut self, list: &mut Coded) {
        list.values.clear();
        list.codes.clear();
        self.hashes.clear();
        self.slots.clear();
        self.slots.resize(FEW_SLOTS, 0);
    }

    /// Appends a value to the list that was begun.
    #[inline]
    pub(crate) fn push(&mut self, value: &[u8], list: &mut Coded) {
        let code = match list.codes.last() {
            Some(last) if list.values.get(*last as usize) == value => *last,
            _ => self.number(value, &mut list.values),
        };
        list.codes.push(code);
    }

    /// The number of a value in the list that was begun, which has it from here on.
    pub(crate) fn number(&mut self, value: &[u8], values: &mut Strings) -> u32 {
        let hash = hash(value, self.keys);
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let entry = self.slots[slot];
            if entry == 0 {
                break;
            }
            let code = entry - 1;
            if self.hashes[code as usize] == hash && values.get(code as usize) == value {
                return code;
            }
            slot = (slot + 1) & mask;
        }
        let code = self.hashes.len() as u32;
        self.slots[slot] = code + 1;
        self.hashes.push(hash);
        values.push(value);
        if self.hashes.len() * 2 > self.slots.len() {
            self.grow();
        }
        code
    }

    fn grow(&mut self) {
        let size = self.slots.len() * 4;
        self.slots.clear();
        self.slots.resize(size, 0);
        let mask = size - 1;
        for (code, hash) in self.hashes.iter().enumerate() {
            let mut slot = *hash as usize & mask;
            while self.slots[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            self.slots[slot] = code as u32 + 1;
        }
    }
}

/// Multiplies and folds, 16 bytes at a time; the last step takes what is left, overlapping.
#[inline]
fn hash(bytes: &[u8], keys: [u64; 2]) -> u64 {
    let mut state = keys[0] ^ bytes.len() as u64;
    let mut rest = bytes;
    while rest.len() > 16 {
        state = fold(state ^ word(rest), keys[1] ^ word(&rest[8..]));
        rest = &rest[16..];
    }
    let (first, last) = match rest.len() {
        8.. => (word(rest), word(&rest[rest.len() - 8..])),
        4.. => (half(rest), half(&rest[rest.len() - 4..])),
        1.. => {
            let ends = u64::from(rest[0]) | u64::from(rest[rest.len() / 2]) << 8;
            (ends | u64::from(rest[rest.len() - 1]) << 16, 0)
        }
        0 => (0, 0),
    };
    fold(state ^ first, keys[1] ^ last)
}

#[inline]
fn word(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}

#[inline]
fn half(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |half| u64::from(u32::from_le_bytes(*half)))
}

#[inline]
fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equal_values_have_equal_numbers(values in prop::collection::vec("[ab]{0,40}", 0..200)) {
            let list: Coded = values.iter().collect();
            let mut seen: Vec<&String> = Vec::new();
            for (row, value) in values.iter().enumerate() {
                let code = seen.iter().position(|known| *known == value).unwrap_or_else(|| {
                    seen.push(value);
                    seen.len() - 1
                });
                prop_assert_eq!(list.codes[row] as usize, code);
                prop_assert_eq!(list.get(row), value.as_bytes());
            }
            prop_assert_eq!(list.values.len(), seen.len());
        }
    }
}
