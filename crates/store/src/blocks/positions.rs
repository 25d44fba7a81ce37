//! Positions in their sources. Lines of a file touch: where one begins is where the one before ends, so of a stretch of
//! lines only the first position is kept, and the others follow from the lengths of the lines, which the block has.
//!
//! Per origin, in the order of its rows: stretches, each with its first position and how the next one is found.

use crate::bytes::{Malformed, Reader, put_number, put_signed, unzigzag, zigzag};

/// How a position follows from the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The line and its end are between them.
    Touching,
    /// Always this much.
    Fixed(i64),
}

/// Rows whose positions follow from the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretch {
    rows: usize,
    first: u64,
    step: Step,
}

/// The positions of one origin's rows in a block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Positions {
    stretches: Vec<Stretch>,
}

impl Positions {
    /// Appends the positions of rows, given with the lengths of their lines.
    pub(crate) fn write(rows: &[(u64, u64)], into: &mut Vec<u8>) {
        let Self { stretches } = Self::of(rows);
        put_number(into, stretches.len() as u64);
        let mut before = 0u64;
        for Stretch { rows, first, step } in stretches {
            put_number(into, (rows as u64 - 1) << 1 | u64::from(step != Step::Touching));
            put_number(into, zigzag(first.wrapping_sub(before) as i64));
            if let Step::Fixed(step) = step {
                put_signed(into, step);
            }
            before = first;
        }
    }

    fn of(rows: &[(u64, u64)]) -> Self {
        let mut stretches = Vec::new();
        let mut at = 0;
        while at < rows.len() {
            let rest = &rows[at..];
            let touching = 1 + rest.windows(2).take_while(|pair| touches(pair[0], pair[1].0)).count();
            let step = rest.get(1).map_or(0, |second| second.0.wrapping_sub(rest[0].0));
            let fixed =
                1 + rest.windows(2).take_while(|pair| pair[1].0.wrapping_sub(pair[0].0) == step).count();
            let (length, step) =
                if fixed > touching { (fixed, Step::Fixed(step as i64)) } else { (touching, Step::Touching) };
            stretches.push(Stretch { rows: length, first: rest[0].0, step });
            at += length;
        }
        Self { stretches }
    }

    /// Reads what [`Self::write`] wrote, of so many rows.
    pub(crate) fn read(reader: &mut Reader<'_>, rows: usize) -> Result<Self, Malformed> {
        let mut stretches = Vec::new();
        let (mut left, mut before) = (rows, 0u64);
        let count = reader.count()?;
        for _ in 0..count {
            let head = reader.number()?;
            let length = (head >> 1) as usize + 1;
            left = left.checked_sub(length).ok_or(Malformed("positions of fewer rows expected"))?;
            let first = before.wrapping_add(unzigzag(reader.number()?) as u64);
            let step = if head & 1 == 0 { Step::Touching } else { Step::Fixed(reader.signed()?) };
            stretches.push(Stretch { rows: length, first, step });
            before = first;
        }
        if left == 0 { Ok(Self { stretches }) } else { Err(Malformed("positions of more rows expected")) }
    }

    /// Does any row's position follow from the length of the line before?
    pub(crate) fn need_lengths(rows: &[(u64, u64)]) -> bool {
        rows.windows(2).any(|pair| touches(pair[0], pair[1].0))
    }

    /// The position of each row, given the lengths of their lines.
    pub(crate) fn each(&self, lengths: impl Fn(usize) -> u64, mut visit: impl FnMut(usize, u64)) {
        let mut ordinal = 0;
        for stretch in &self.stretches {
            let mut position = stretch.first;
            for _ in 0..stretch.rows {
                visit(ordinal, position);
                position = position.wrapping_add(match stretch.step {
                    Step::Touching => lengths(ordinal).wrapping_add(1),
                    Step::Fixed(step) => step as u64,
                });
                ordinal += 1;
            }
        }
    }
}

/// Does the line at the first place end where the next begins?
fn touches((position, length): (u64, u64), next: u64) -> bool {
    position.wrapping_add(length).wrapping_add(1) == next
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(positions: &Positions, rows: &[(u64, u64)]) -> Vec<u64> {
        let mut found = Vec::new();
        positions.each(
            |ordinal| if Positions::need_lengths(rows) { rows[ordinal].1 } else { u64::MAX / 2 },
            |ordinal, position| {
                assert_eq!(ordinal, found.len());
                found.push(position);
            },
        );
        found
    }

    fn check(rows: &[(u64, u64)]) -> usize {
        let mut bytes = Vec::new();
        Positions::write(rows, &mut bytes);
        let mut reader = Reader::new(&bytes);
        let positions = Positions::read(&mut reader, rows.len()).unwrap();
        assert!(reader.is_empty());
        assert_eq!(all(&positions, rows), rows.iter().map(|row| row.0).collect::<Vec<_>>());
        bytes.len()
    }

    #[test]
    fn touching_lines_and_even_steps_take_next_to_nothing() {
        let mut at = 7;
        let lines: Vec<(u64, u64)> = (0..3200)
            .map(|n| {
                let row = (at, 50 + n * 37 % 91);
                at += row.1 + 1;
                row
            })
            .collect();
        assert!(check(&lines) < 20);
        let entries: Vec<(u64, u64)> = (0..3200).map(|n| (n, 80)).collect();
        assert!(check(&entries) < 20);
        check(&[]);
        check(&[(u64::MAX, 0), (0, 3), (5, u64::MAX >> 1)]);
    }

    proptest! {
        #[test]
        fn any_positions_come_back(rows in prop::collection::vec((prop_oneof![0u64..40, any::<u64>()], 0u64..9), 0..200)) {
            check(&rows);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60), rows in 0usize..100) {
            if let Ok(positions) = Positions::read(&mut Reader::new(&bytes), rows) {
                let mut met = 0;
                positions.each(|_| u64::MAX, |_, _| met += 1);
                prop_assert_eq!(met, rows);
            }
        }
    }
}
