//! The distinct values of a list, numbered in the order in which they come up.

use crate::strings::Strings;
use std::hash::{BuildHasher, RandomState};

/// Finds distinct values. The hash is keyed by chance, so that nobody can choose values that collide; numbers do not
/// depend on it.
pub(super) struct Interner {
    keys: [u64; 2],
    /// Number of a distinct value and one, by hash; a power of two long.
    slots: Vec<u32>,
    hashes: Vec<u32>,
    /// The first row that has each distinct value.
    pub(super) firsts: Vec<u32>,
    /// Of each row the number of its value.
    pub(super) codes: Vec<u32>,
}

impl Default for Interner {
    fn default() -> Self {
        let state = RandomState::new();
        let keys = [state.hash_one(1), state.hash_one(2)];
        Self { keys, slots: Vec::new(), hashes: Vec::new(), firsts: Vec::new(), codes: Vec::new() }
    }
}

impl Interner {
    /// Numbers the values.
    pub(super) fn number(&mut self, values: &Strings) {
        let size = (values.len() * 2).next_power_of_two().max(16);
        self.slots.clear();
        self.slots.resize(size, 0);
        self.hashes.clear();
        self.firsts.clear();
        self.codes.clear();
        self.codes.reserve(values.len());
        let mask = size - 1;
        for (row, value) in values.iter().enumerate() {
            let hash = hash(value, self.keys);
            let tag = (hash >> 32) as u32;
            let mut slot = hash as usize & mask;
            let code = loop {
                let entry = self.slots[slot];
                if entry == 0 {
                    let code = self.firsts.len() as u32;
                    self.slots[slot] = code + 1;
                    self.firsts.push(row as u32);
                    self.hashes.push(tag);
                    break code;
                }
                let code = entry - 1;
                if self.hashes[code as usize] == tag
                    && values.get(self.firsts[code as usize] as usize) == value
                {
                    break code;
                }
                slot = (slot + 1) & mask;
            };
            self.codes.push(code);
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
            let list: Strings = values.iter().collect();
            let mut interner = Interner::default();
            interner.number(&list);
            let mut seen: Vec<&String> = Vec::new();
            for (row, value) in values.iter().enumerate() {
                let code = seen.iter().position(|known| *known == value).unwrap_or_else(|| {
                    seen.push(value);
                    seen.len() - 1
                });
                prop_assert_eq!(interner.codes[row] as usize, code);
                prop_assert_eq!(&values[interner.firsts[code] as usize], value);
            }
            prop_assert_eq!(interner.firsts.len(), seen.len());
        }
    }
}
