//! What each byte of a line is, as one bit a byte. The scanner goes from bit to bit.

use std::ops::Range;

/// The bytes of a line, classified. Made to be reused.
#[derive(Debug, Default)]
pub(crate) struct Bits {
    /// For each 64 bytes, the lowest bit first.
    blocks: Vec<Block>,
}

#[derive(Debug)]
struct Block {
    /// Letters, digits and `_`.
    word: u64,
    digit: u64,
    /// What does not stand for itself inside of a JSON string: `"`, backslashes and control characters.
    mark: u64,
    /// Where a variable may begin: see [`Bits::next_event`].
    event: u64,
    /// There may be words to look at that have no event.
    is_odd: bool,
    has_nul: bool,
}

/// A word, or none: then it is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) range: Range<usize>,
    pub(crate) has_digit: bool,
}

impl Bits {
    /// Classifies a line. True if it holds a NUL byte.
    pub(crate) fn read(&mut self, line: &[u8]) -> bool {
        self.blocks.clear();
        let (blocks, rest) = line.as_chunks::<64>();
        let mut has_nul = false;
        for bytes in blocks {
            let block = Block::of(bytes);
            has_nul |= block.has_nul;
            self.blocks.push(block);
        }
        let mut last = [b' '; 64];
        last[..rest.len()].copy_from_slice(rest);
        let block = Block::of(&last);
        has_nul |= block.has_nul;
        self.blocks.push(block);
        has_nul
    }

    /// Whether a range is ASCII alone, and has events wherever a variable begins. It may look at some more.
    pub(crate) fn is_plain(&self, range: &Range<usize>) -> bool {
        let blocks = self.blocks.get(range.start / 64..=range.end / 64);
        blocks.is_some_and(|blocks| blocks.iter().all(|block| !block.is_odd))
    }

    /// The first byte at or after `at` that does not stand for itself inside of a JSON string.
    #[inline]
    pub(crate) fn next_mark(&self, at: usize) -> usize {
        self.next(at, |block| block.mark).unwrap_or(usize::MAX)
    }

    /// The first byte at or after `at` without which no variable begins in a plain range: a digit, a mark, `-` or `:`.
    #[inline]
    pub(crate) fn next_event(&self, at: usize) -> Option<usize> {
        self.next(at, |block| block.event)
    }

    /// The word around `at`, or the one that ends right before it.
    #[inline]
    pub(crate) fn word(&self, at: usize) -> Word {
        let (index, bit) = (at / 64, at % 64);
        if let Some(block) = self.blocks.get(index) {
            let others_before = !block.word & ((1 << bit) - 1);
            let others_behind = !block.word >> bit << bit;
            if others_before != 0 && others_behind != 0 {
                let (start, end) = (64 - others_before.leading_zeros(), others_behind.trailing_zeros());
                let has_digit = block.digit >> start << start & ((1 << end) - 1) != 0;
                let base = index * 64;
                return Word { range: base + start as usize..base + end as usize, has_digit };
            }
        }
        self.long_word(at)
    }

    /// The same for a word that may lie in two blocks or more.
    #[cold]
    fn long_word(&self, at: usize) -> Word {
        let is_word =
            |at: usize| self.blocks.get(at / 64).is_some_and(|block| block.word >> (at % 64) & 1 == 1);
        let mut start = at;
        while start > 0 && is_word(start - 1) {
            start -= 1;
        }
        let end = self.next(at, |block| !block.word).unwrap_or(at);
        let has_digit = self.next(start, |block| block.digit).is_some_and(|digit| digit < end);
        Word { range: start..end, has_digit }
    }

    #[inline]
    fn next(&self, at: usize, bits: impl Fn(&Block) -> u64) -> Option<usize> {
        let mut index = at / 64;
        let mut found = bits(self.blocks.get(index)?) >> (at % 64) << (at % 64);
        while found == 0 {
            index += 1;
            found = bits(self.blocks.get(index)?);
        }
        Some(index * 64 + found.trailing_zeros() as usize)
    }
}

impl Block {
    // Plain loops over arrays of fixed length: compilers make vector instructions of them.
    #[inline]
    fn of(bytes: &[u8; 64]) -> Self {
        let mut word = [0; 64];
        let mut digit = [0; 64];
        let mut mark = [0; 64];
        let mut event = [0; 64];
        let mut hex = [0; 64];
        let (mut all, mut nul) = (0, 0);
        let mut at = 0;
        while at < 64 {
            let byte = bytes[at];
            let is_digit = u8::from(byte.wrapping_sub(b'0') < 10);
            let is_letter = u8::from((byte | 0x20).wrapping_sub(b'a') < 26);
            let is_mark = u8::from(byte < 0x20) | u8::from(byte == b'"') | u8::from(byte == b'\\');
            digit[at] = is_digit;
            word[at] = is_digit | is_letter | u8::from(byte == b'_');
            mark[at] = is_mark;
            event[at] = is_digit | is_mark | u8::from(byte == b'-') | u8::from(byte == b':');
            hex[at] = u8::from((byte | 0x20).wrapping_sub(b'a') < 6);
            all |= byte;
            nul |= u8::from(byte == 0);
            at += 1;
        }
        Self {
            word: gather(&word),
            digit: gather(&digit),
            mark: gather(&mark),
            event: gather(&event),
            is_odd: all >= 0x80 || has_four(&hex),
            has_nul: nul != 0,
        }
    }
}

/// Whether there are four of something in a row, at a multiple of four: as there are in any eight.
#[inline]
fn has_four(bytes: &[u8; 64]) -> bool {
    let (fours, _) = bytes.as_chunks::<4>();
    let mut found = false;
    let mut at = 0;
    while at < fours.len() {
        found |= u32::from_le_bytes(fours[at]) == 0x0101_0101;
        at += 1;
    }
    found
}

/// The lowest bit of each byte.
#[inline]
fn gather(bytes: &[u8; 64]) -> u64 {
    let (eights, _) = bytes.as_chunks::<8>();
    let mut bits = 0;
    let mut at = 0;
    while at < eights.len() {
        // Moves the bit of byte n to bit 56 + n.
        bits |= (u64::from_le_bytes(eights[at]).wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * at);
        at += 1;
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_classified_wherever_it_stands() {
        let mut bits = Bits::default();
        for byte in 1..128_u8 {
            for place in [0, 1, 7, 8, 63, 64, 100] {
                let mut text = [b' '; 101];
                text[place] = byte;
                assert!(!bits.read(&text[..=place]));
                let is_word = byte.is_ascii_alphanumeric() || byte == b'_';

                let is_mark = byte < b' ' || byte == b'"' || byte == b'\\';
                assert_eq!(bits.next_mark(0) == place, is_mark);
                let is_event = is_mark || byte.is_ascii_digit() || b"-:".contains(&byte);
                assert_eq!(bits.next_event(0), is_event.then_some(place), "{byte} {place}");
                let found = bits.word(place);
                assert_eq!(found.range, place..place + usize::from(is_word), "{byte} {place}");
                assert_eq!(found.has_digit, byte.is_ascii_digit());
            }
        }
        let text = format!("{}x{}y {}", " ".repeat(60), "z".repeat(70), "_".repeat(70));
        bits.read(text.as_bytes());
        for at in 60..=132 {
            assert_eq!(bits.word(at), Word { range: 60..132, has_digit: false }, "{at}");
        }
        assert!(bits.read(&[b'a', 0]));
        let beyond = format!("{}é", "z".repeat(100));
        assert!(!bits.read(beyond.as_bytes()));
        assert!(bits.is_plain(&(0..60)) && !bits.is_plain(&(0..101)) && !bits.is_plain(&(70..102)));
        for at in 0..100 {
            let hash = format!("{}deadbeef", "z".repeat(at));
            bits.read(hash.as_bytes());
            assert!(!bits.is_plain(&(0..hash.len())));
        }
    }
}
