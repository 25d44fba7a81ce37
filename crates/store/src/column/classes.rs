//! Which kinds of bytes a value is made of: enough to pass over a whole column that cannot hold a word.

/// A set of kinds of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ByteClasses(u8);

const TABLE: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let class = match byte as u8 {
            b'0'..=b'9' => ByteClasses::DIGITS,
            b'a'..=b'f' => ByteClasses::LOWER_HEXADECIMAL,
            b'A'..=b'F' => ByteClasses::UPPER_HEXADECIMAL,
            b'g'..=b'z' | b'G'..=b'Z' | b'_' => ByteClasses::OTHER_LETTERS,
            0..=127 => ByteClasses::OTHER_ASCII,
            128..=255 => ByteClasses::NON_ASCII,
        };
        table[byte] = class.0;
        byte += 1;
    }
    table
};

impl ByteClasses {
    /// No bytes at all.
    pub(crate) const NONE: Self = Self(0);
    /// `0` to `9`.
    pub(crate) const DIGITS: Self = Self(1);
    /// `a` to `f`.
    pub(crate) const LOWER_HEXADECIMAL: Self = Self(2);
    /// `A` to `F`.
    pub(crate) const UPPER_HEXADECIMAL: Self = Self(4);
    /// The other ASCII letters, and `_`.
    pub(crate) const OTHER_LETTERS: Self = Self(8);
    /// What is left of ASCII.
    pub(crate) const OTHER_ASCII: Self = Self(16);
    /// Bytes from 128 on.
    pub(crate) const NON_ASCII: Self = Self(32);
    /// Any bytes.
    pub(crate) const ALL: Self = Self(63);

    /// The kinds that occur in `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(0, |classes, byte| classes | TABLE[*byte as usize]))
    }

    /// The kinds in either.
    #[must_use]
    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Are all kinds of `other` in this?
    pub(crate) const fn holds(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The set as a number.
    pub(super) fn number(self) -> u8 {
        self.0
    }

    /// The inverse of [`Self::number`].
    pub(super) fn from_number(number: u8) -> Self {
        Self(number & Self::ALL.0)
    }

    /// Can a value of these bytes hold the folded word `token`? Characters outside of ASCII can fold to anything, so a
    /// value that has some can hold any word.
    pub(crate) fn may_hold(self, token: &str) -> bool {
        self.holds(Self::NON_ASCII) || self.folded().holds(Self::of(token.as_bytes()))
    }

    /// With upper case as lower case.
    fn folded(self) -> Self {
        if self.holds(Self::UPPER_HEXADECIMAL) { self.union(Self::LOWER_HEXADECIMAL) } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_without_the_bytes_of_a_word_cannot_hold_it() {
        let digits = ByteClasses::of(b"10.0.0.1");
        assert_eq!(digits, ByteClasses::DIGITS.union(ByteClasses::OTHER_ASCII));
        assert!(digits.may_hold("10") && !digits.may_hold("1a") && !digits.may_hold("x"));
        assert!(ByteClasses::of(b"DEAD").may_hold("beef") && !ByteClasses::of(b"DEAD").may_hold("beer"));
        assert!(ByteClasses::of("é".as_bytes()).may_hold("x"));
        assert!(!ByteClasses::of(b"e").may_hold("é"));
        assert_eq!(ByteClasses::from_number(ByteClasses::ALL.number()), ByteClasses::ALL);
    }
}
