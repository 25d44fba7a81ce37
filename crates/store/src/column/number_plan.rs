//! Choosing how a list of numbers is packed, what that costs, and writing it.

use super::{
    Sections,
    blob::put_blob,
    numbers::{BYTES, DELTAS, LINEAR, LISTED, MORE, Mode, NumbersHead, Places, SCALED},
    pack::{BLOCK, pack, width_of},
};
use crate::{
    bytes::{put_number, put_signed},
    zstd_frame::Compressor,
};
use std::ops::RangeInclusive;

/// Roughly what a head takes that is not a plain frame of reference, in bits.
const OVERHEAD: u64 = 24;
/// Numbers of these widths may be few.
const LISTED_WIDTHS: RangeInclusive<u32> = 3..=12;
/// Fewer numbers are not worth a list of those that occur.
const WORTH_LISTING: usize = 96;
/// What compressed places in a list take besides, and for each that differs, in bits.
const COMPRESSED: f64 = 200.0;
const SYMBOL: f64 = 4.0;

impl NumbersHead {
    /// The cheapest way to pack `numbers` that is read at random.
    pub(super) fn plan(numbers: &[u64]) -> Self {
        let first = numbers.first().copied().unwrap_or(0);
        let (mut minimum, mut maximum) = (first, first);
        let (mut least, mut most) = (i64::MAX, i64::MIN);
        for block in numbers.chunks(BLOCK) {
            for number in block {
                minimum = minimum.min(*number);
                maximum = maximum.max(*number);
            }
            for pair in block.windows(2) {
                let delta = pair[1].wrapping_sub(pair[0]) as i64;
                least = least.min(delta);
                most = most.max(delta);
            }
        }
        let (count, span) = (numbers.len(), maximum - minimum);
        let plain = Self { count, minimum, scale: 1, width: width_of(span), mode: Mode::FrameOfReference };
        if span == 0 || count < 3 {
            return plain;
        }
        let spread = most.wrapping_sub(least) as u64;
        let even = |(block, numbers): (usize, &[u64])| {
            numbers[0] == first.wrapping_add((least as u64).wrapping_mul((block * BLOCK) as u64))
        };
        if spread == 0 && numbers.chunks(BLOCK).enumerate().all(even) {
            return Self { minimum: first, width: 0, mode: Mode::Linear { step: least as u64 }, ..plain };
        }
        let scale = common_divisor(numbers, minimum);
        let plain = Self { scale, width: width_of(span / scale), ..plain };
        if scale > 1 && span > i64::MAX as u64 {
            // Differences of quotients need not be those of the numbers.
            return plain;
        }
        // All differences are multiples of the scale, and so is theirs.
        let least = if scale == 1 { least } else { least / scale as i64 };
        let mode = Mode::Deltas { minimum: least as u64, width: width_of(spread / scale) };
        let deltas = Self { mode, ..plain.clone() };
        if deltas.bits() + OVERHEAD < plain.bits() { deltas } else { plain }
    }

    /// The same with the minimum left out where that costs no bits of data. All numbers have at most `width` bits.
    pub(super) fn starting_at_zero(mut self, width: u32) -> Self {
        if self.mode == Mode::FrameOfReference && self.scale == 1 && self.width >= width {
            self.minimum = 0;
        }
        self
    }

    /// The same, or with a list of the numbers that occur where that is shorter, perhaps compressed.
    pub(super) fn or_listed(self, numbers: &[u64]) -> Self {
        if !LISTED_WIDTHS.contains(&self.width) || numbers.len() < WORTH_LISTING {
            return self;
        }
        let mut counts = [0u32; 1 << *LISTED_WIDTHS.end()];
        let counts = &mut counts[..1 << self.width];
        for number in numbers {
            counts[self.quotient(*number) as usize] += 1;
        }
        let total = numbers.len() as f64;
        let occurring = counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count));
        let add = |(bits, entries), count: f64| (bits + count * (total / count).log2(), entries + 1);
        let (entropy, entries) = occurring.fold((0.0, 0usize), add);
        let listed = |places| Self { mode: Mode::Listed { entries, places }, ..self.clone() };
        let packed = listed(Places::Packed { width: width_of(entries as u64 - 1) });
        let bytes = listed(Places::Planned { bits: (entropy + COMPRESSED + SYMBOL * entries as f64) as u64 });
        let best = if packed.bits() + OVERHEAD < self.bits() { packed } else { self };
        // Bytes have to be decompressed before any can be read, which should be worth it.
        if entries <= 256 && bytes.bits() < best.bits() / 8 * 7 { bytes } else { best }
    }

    /// What is packed of a number.
    fn quotient(&self, number: u64) -> u64 {
        number.wrapping_sub(self.minimum) / self.scale
    }

    /// How many bits the data has.
    pub(super) fn bits(&self) -> u64 {
        let (count, starts, first) = (self.count as u64, self.starts() as u64, u64::from(self.width));
        match &self.mode {
            Mode::FrameOfReference => count * first,
            Mode::Deltas { width, .. } => starts * first + (count - starts) * u64::from(*width),
            Mode::Listed { entries, places } => {
                let places = match places {
                    Places::Packed { width } => count * u64::from(*width),
                    Places::Planned { bits } => *bits,
                    Places::Bytes(blob) => 8 * (blob.data_length() + blob.pool_length()) as u64,
                };
                *entries as u64 * first + places
            }
            Mode::Linear { .. } => 0,
        }
    }

    /// How many bits `count` such numbers would have without deltas.
    pub(super) fn frame_bits(&self, count: usize) -> u64 {
        match self.mode {
            Mode::Listed { .. } => self.bits() * count as u64 / self.count.max(1) as u64,
            _ => count as u64 * u64::from(self.width),
        }
    }

    /// Roughly how many bits these numbers would have in order.
    pub(super) fn sorted_bits(&self) -> u64 {
        let step = self.limit() / self.count.max(1) as u64;
        let width = u64::from(width_of(step) + 3).min(self.width.into());
        self.starts() as u64 * u64::from(self.width) + self.count as u64 * width + OVERHEAD
    }

    /// Appends the head and the data of `numbers`, for which it was planned.
    pub(super) fn write(&self, numbers: &[u64], compressor: &mut Compressor, out: &mut Sections) {
        if let Mode::Linear { step } = self.mode {
            out.head.push(LINEAR);
            put_number(&mut out.head, self.minimum);
            put_signed(&mut out.head, step as i64);
            return;
        }
        let mode = match self.mode {
            Mode::Deltas { .. } => DELTAS,
            Mode::Listed { .. } => LISTED,
            Mode::FrameOfReference | Mode::Linear { .. } => 0,
        };
        let flags = mode | if self.scale == 1 { 0 } else { SCALED };
        out.head.push(self.width as u8 | if flags == 0 { 0 } else { MORE });
        if flags != 0 {
            out.head.push(flags);
        }
        put_number(&mut out.head, self.minimum);
        if self.scale != 1 {
            put_number(&mut out.head, self.scale);
        }
        if let Mode::Listed { entries, places } = &self.mode {
            put_number(&mut out.head, *entries as u64);
            self.write_listed(numbers, places, compressor, out);
            return;
        }
        if let Mode::Deltas { minimum, width } = self.mode {
            out.head.push(width as u8);
            put_signed(&mut out.head, minimum as i64);
        }
        match self.scale {
            1 => self.pack(numbers, |difference| difference, &mut out.data),
            power if power.is_power_of_two() => {
                let shift = power.trailing_zeros();
                self.pack(numbers, |difference| difference >> shift, &mut out.data);
            }
            scale => self.pack(numbers, |difference| difference / scale, &mut out.data),
        }
    }

    fn pack(&self, numbers: &[u64], divide: impl Fn(u64) -> u64 + Copy, into: &mut Vec<u8>) {
        let quotient = |number: &u64| divide(number.wrapping_sub(self.minimum));
        if let Mode::Deltas { minimum, width } = self.mode {
            pack(into, self.width, numbers.iter().step_by(BLOCK).map(quotient));
            let delta =
                |pair: &[u64]| quotient(&pair[1]).wrapping_sub(quotient(&pair[0])).wrapping_sub(minimum);
            pack(into, width, numbers.chunks(BLOCK).flat_map(|block| block.windows(2).map(delta)));
        } else {
            pack(into, self.width, numbers.iter().map(quotient));
        }
    }

    fn write_listed(
        &self,
        numbers: &[u64],
        places: &Places,
        compressor: &mut Compressor,
        out: &mut Sections,
    ) {
        // First whether a quotient occurs, then its place among those that do.
        let mut ranks = [0u16; 1 << *LISTED_WIDTHS.end()];
        for number in numbers {
            ranks[self.quotient(*number) as usize] = 1;
        }
        let occurring = ranks.iter().enumerate().filter(|(_, occurs)| **occurs > 0);
        pack(&mut out.data, self.width, occurring.map(|(quotient, _)| quotient as u64));
        let mut next = 0;
        for rank in &mut ranks {
            let occurs = *rank;
            *rank = next;
            next += occurs;
        }
        let places_of = numbers.iter().map(|number| ranks[self.quotient(*number) as usize]);
        if let Places::Packed { width } = places {
            out.head.push(*width as u8);
            pack(&mut out.data, *width, places_of.map(u64::from));
        } else {
            out.head.push(BYTES);
            let bytes: Vec<u8> = places_of.map(|place| place as u8).collect();
            put_blob(&bytes, compressor, out);
        }
    }
}

/// The greatest number that divides what all numbers are more than the least, which are not all equal.
fn common_divisor(numbers: &[u64], minimum: u64) -> u64 {
    let mut divisor = 0u64;
    for number in numbers {
        let difference = number - minimum;
        let divides = match divisor {
            1 => return 1,
            0 => difference == 0,
            // Of its power of two that is soon seen.
            _ if difference & (divisor & divisor.wrapping_neg()).wrapping_sub(1) != 0 => false,
            power if power.is_power_of_two() => true,
            _ => difference.is_multiple_of(divisor),
        };
        if !divides {
            let (mut greater, mut less) = (difference, divisor);
            while less != 0 {
                (greater, less) = (less, greater % less);
            }
            divisor = greater;
        }
    }
    divisor.max(1)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::bytes::Reader;
    use proptest::prelude::*;

    fn round_trip(numbers: &[u64], zero: bool, listed: bool) {
        let mut head = NumbersHead::plan(numbers);
        if listed {
            head = head.or_listed(numbers);
        }
        if zero {
            head = head.starting_at_zero(width_of(numbers.iter().copied().max().unwrap_or(0)));
        }
        let mut out = Sections::default();
        head.write(numbers, &mut Compressor::default(), &mut out);
        let mut heads = Reader::new(&out.head);
        let read = NumbersHead::read(&mut heads, numbers.len()).unwrap();
        assert!(heads.is_empty());
        assert_eq!(read.lengths().unwrap(), (out.data.len(), out.pool.len()));
        let list = read.open(&mut Reader::new(&out.data), &mut Reader::new(&out.pool)).unwrap();
        let mut all = Vec::new();
        list.decode(&mut all);
        assert_eq!(all, numbers);
        let (low, high) = read.bounds();
        for (index, number) in numbers.iter().enumerate() {
            assert_eq!(list.get(index), *number);
            assert!((low..=high).contains(number));
        }
        let edges = [numbers.first(), numbers.last()].into_iter().flatten().copied();
        for low in edges.clone().chain([0, 100]) {
            for high in edges.clone().chain([u64::MAX, 100]) {
                let bits = list.between(low, high);
                for (index, number) in numbers.iter().enumerate() {
                    assert_eq!(
                        bits.contains(index as u32),
                        low <= *number && *number <= high,
                        "{low} {high}"
                    );
                }
            }
        }
    }

    proptest! {
        #[test]
        fn numbers_come_back(
            start in any::<u64>(), steps in prop::collection::vec(any::<u64>(), 0..200), shift in 0u32..64, base in -5i64..5,
            zero in any::<bool>(), listed in any::<bool>(),
            scale in prop_oneof![Just(1u64), Just(1000), Just(1 << 20), Just(1 << 63), 1u64..99],
        ) {
            let mut number = start;
            let walk: Vec<u64> = steps.iter().map(|step| {
                number = number.wrapping_add(step >> shift).wrapping_add(base as u64);
                number
            }).collect();
            round_trip(&walk, zero, listed);
            let scaled: Vec<u64> = walk.iter().map(|number| number / scale * scale).collect();
            round_trip(&scaled, zero, listed);
            round_trip(&scaled.iter().map(|number| ((number / scale) >> 40) << 2).collect::<Vec<_>>(), zero, listed);
            round_trip(&steps.iter().map(|step| step >> shift).collect::<Vec<_>>(), zero, listed);
        }

        #[test]
        fn few_numbers_come_back(few in prop::collection::vec(0u64..4000, 1..300), picks in prop::collection::vec(any::<prop::sample::Index>(), 90..900), scale in 1u64..9) {
            let numbers: Vec<u64> = picks.iter().map(|pick| few[pick.index(few.len())] * scale + 7).collect();
            round_trip(&numbers, false, true);
            let skewed: Vec<u64> = picks.iter().map(|pick| few[pick.index(pick.index(few.len()) + 1)] * scale).collect();
            round_trip(&skewed, false, true);
        }
    }

    #[test]
    fn even_steps_take_no_bits() {
        let numbers: Vec<u64> = (0..300).map(|index| 7 + 3 * index).collect();
        round_trip(&numbers, false, false);
        assert_eq!(NumbersHead::plan(&numbers).bits(), 0);
    }

    #[test]
    fn skewed_numbers_are_listed() {
        let numbers: Vec<u64> =
            (0..2000u64).map(|index| if index % 16 == 0 { index % 700 } else { 3 }).collect();
        let head = NumbersHead::plan(&numbers);
        assert!(head.clone().or_listed(&numbers).bits() < head.bits() / 2);
        round_trip(&numbers, false, true);
    }
}
