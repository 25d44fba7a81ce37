//! Blocks: a bundle in pieces of one size, the last one shorter. They are what is fetched and kept.

use std::ops::Range;

/// A fetch costs a round trip, in which as much as this comes on an ordinary network.
pub(crate) const BLOCK: u64 = 256 << 10;

/// How many blocks there are of so many bytes.
pub(crate) fn count(size: u64) -> usize {
    size.div_ceil(BLOCK) as usize
}

/// The blocks around a range.
pub(crate) fn blocks_of(range: &Range<u64>) -> Range<usize> {
    if range.is_empty() { 0..0 } else { (range.start / BLOCK) as usize..count(range.end) }
}

/// Where blocks lie in a bundle of that size.
pub(crate) fn place(blocks: &Range<usize>, size: u64) -> Range<u64> {
    blocks.start as u64 * BLOCK..(blocks.end as u64 * BLOCK).min(size)
}

/// How many bytes blocks have in a bundle of that size.
pub(crate) fn length(blocks: &Range<usize>, size: u64) -> u64 {
    let place = place(blocks, size);
    place.end - place.start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_a_range_and_no_more() {
        assert_eq!(blocks_of(&(0..0)), 0..0);
        assert_eq!(blocks_of(&(0..1)), 0..1);
        assert_eq!(blocks_of(&(BLOCK - 1..BLOCK + 1)), 0..2);
        assert_eq!(blocks_of(&(BLOCK..2 * BLOCK)), 1..2);
        assert_eq!(place(&(1..2), 2 * BLOCK - 5), BLOCK..2 * BLOCK - 5);
        assert_eq!((count(0), count(1), count(BLOCK + 1)), (0, 1, 2));
    }
}
