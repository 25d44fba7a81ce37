//! Numbers of equal width packed back to back, least significant bit first: writing, reading one, reading blocks.

use crate::bytes::Malformed;
use std::borrow::Cow;

/// How many numbers are unpacked, tested or rendered together.
pub(super) const BLOCK: usize = 64;

/// A block of unpacked numbers.
pub(super) type Block = [u64; BLOCK];

/// How many bits a number takes.
#[inline]
pub(crate) fn width_of(number: u64) -> u32 {
    64 - number.leading_zeros()
}

/// How many bytes `count` numbers of `width` bits take.
pub(crate) fn packed_length(count: usize, width: u32) -> Result<usize, Malformed> {
    let bits = count.checked_mul(width as usize).ok_or(Malformed("fewer packed numbers expected"))?;
    Ok(bits.div_ceil(8))
}

/// Appends the low `width` bits of each number, which has no others.
pub(crate) fn pack(into: &mut Vec<u8>, width: u32, numbers: impl Iterator<Item = u64>) {
    if width == 0 {
        return;
    }
    let (mut word, mut used) = (0u64, 0u32);
    for number in numbers {
        word |= number << used;
        used += width;
        if used >= 64 {
            into.extend_from_slice(&word.to_le_bytes());
            used -= 64;
            word = if used == 0 { 0 } else { number >> (width - used) };
        }
    }
    into.extend_from_slice(&word.to_le_bytes()[..used.div_ceil(8) as usize]);
}

/// Packed numbers.
#[derive(Clone, Debug)]
pub(crate) struct Packed<'a> {
    bytes: Cow<'a, [u8]>,
    width: u32,
}

impl<'a> Packed<'a> {
    pub(crate) fn new(bytes: &'a [u8], width: u32) -> Self {
        Self { bytes: Cow::Borrowed(bytes), width: width.min(64) }
    }

    /// Numbers of a byte each.
    pub(super) fn of_bytes(bytes: Cow<'a, [u8]>) -> Self {
        Self { bytes, width: 8 }
    }

    /// Number `index`; zero beyond the end.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> u64 {
        let bit = index * self.width as usize;
        let (at, shift) = (bit / 8, bit % 8);
        let mask = if self.width == 0 { 0 } else { u64::MAX >> (64 - self.width) };
        if self.width <= 56 {
            return (self.load(at) >> shift) & mask;
        }
        let wide = u128::from(self.load(at)) | u128::from(self.load(at + 8)) << 64;
        (wide >> shift) as u64 & mask
    }

    /// Eight bytes from `at`, zeros beyond the end.
    #[inline]
    fn load(&self, at: usize) -> u64 {
        if let Some(word) = self.bytes.get(at..).and_then(<[u8]>::first_chunk) {
            return u64::from_le_bytes(*word);
        }
        let mut word = [0; 8];
        let rest = self.bytes.get(at..).unwrap_or(&[]);
        word[..rest.len()].copy_from_slice(rest);
        u64::from_le_bytes(word)
    }

    /// The numbers from `start` on.
    #[inline]
    pub(crate) fn unpack(&self, start: usize, into: &mut [u64]) {
        if self.width == 0 {
            into.fill(0);
            return;
        }
        let (width, bytes) = (self.width as usize, &*self.bytes);
        // So many numbers can be read with whole loads, without asking where the bytes end.
        let load = if width <= 56 { 8 } else { 16 };
        let whole = match (bytes.len() * 8 + 7).checked_sub(load * 8 + start * width) {
            Some(bits) => (bits / width + 1).min(into.len()),
            None => 0,
        };
        let (fast, slow) = into.split_at_mut(whole);
        let mask = u64::MAX >> (64 - self.width);
        let mut bit = start * width;
        if width <= 56 {
            for number in fast.iter_mut() {
                let word = bytes[bit / 8..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
                *number = (word >> (bit % 8)) & mask;
                bit += width;
            }
        } else {
            for number in fast.iter_mut() {
                let word = bytes[bit / 8..].first_chunk().map_or(0, |word| u128::from_le_bytes(*word));
                *number = (word >> (bit % 8)) as u64 & mask;
                bit += width;
            }
        }
        for (index, number) in slow.iter_mut().enumerate() {
            *number = self.get(start + whole + index);
        }
    }
}

/// Calls `visit` with each block of `count` numbers: where it starts and how many it has.
pub(super) fn each_block(count: usize, mut visit: impl FnMut(usize, usize)) {
    for start in (0..count).step_by(BLOCK) {
        visit(start, (count - start).min(BLOCK));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn packed_numbers_come_back(width in 0u32..=64, numbers in prop::collection::vec(any::<u64>(), 0..150), start in 0usize..160) {
            let mask = if width == 0 { 0 } else { u64::MAX >> (64 - width) };
            let numbers: Vec<u64> = numbers.iter().map(|number| number & mask).collect();
            let mut bytes = Vec::new();
            pack(&mut bytes, width, numbers.iter().copied());
            prop_assert_eq!(bytes.len(), packed_length(numbers.len(), width).unwrap_or(0));
            let packed = Packed::new(&bytes, width);
            let mut all = vec![7; numbers.len()];
            packed.unpack(0, &mut all);
            prop_assert_eq!(&all, &numbers);
            prop_assert!((0..numbers.len()).all(|index| packed.get(index) == numbers[index]));
            let start = start.min(numbers.len());
            packed.unpack(start, &mut all[start..]);
            prop_assert_eq!(&all[start..], &numbers[start..]);
            packed.unpack(start + 3, &mut all);
        }
    }
}
