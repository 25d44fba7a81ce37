//! Numbers and byte strings back to back: how everything small in a bundle is spelled. Reading checks every length, so
//! that bytes from anywhere give an error at worst.

use std::fmt;

/// Bytes that are not what they should be. Says what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Malformed {}

/// Appends a number as LEB128.
pub(crate) fn put_number(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

/// Appends a signed number: zigzag, then LEB128.
pub(crate) fn put_signed(into: &mut Vec<u8>, number: i64) {
    put_number(into, zigzag(number));
}

/// Small for numbers near zero, whatever their sign.
pub(crate) fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

/// The inverse of [`zigzag`].
pub(crate) fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// Appends a byte string with its length.
pub(crate) fn put_bytes(into: &mut Vec<u8>, bytes: &[u8]) {
    put_number(into, bytes.len() as u64);
    into.extend_from_slice(bytes);
}

/// Reads what the functions above wrote.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.rest.split_first().ok_or(Malformed("one more byte expected"))?;
        self.rest = rest;
        Ok(*first)
    }

    pub(crate) fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Malformed("a number of at most 64 bits expected"))
    }

    pub(crate) fn signed(&mut self) -> Result<i64, Malformed> {
        self.number().map(unzigzag)
    }

    /// A number that counts or points: below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> Result<usize, Malformed> {
        let number = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        if number < bound { Ok(number) } else { Err(Malformed("a smaller number expected")) }
    }

    /// A number of at most `most`.
    pub(crate) fn at_most(&mut self, most: usize) -> Result<usize, Malformed> {
        self.below(most.saturating_add(1))
    }

    /// How many bits a packed number takes.
    pub(crate) fn width(&mut self) -> Result<u32, Malformed> {
        let width = u32::from(self.byte()?);
        if width <= 64 { Ok(width) } else { Err(Malformed("a width of at most 64 bits expected")) }
    }

    /// How many things follow, each of which takes at least one byte.
    pub(crate) fn count(&mut self) -> Result<usize, Malformed> {
        let left = self.rest.len();
        self.at_most(left).map_err(|_| Malformed("fewer things than bytes expected"))
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed("more bytes expected"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.count()?;
        self.take(length)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed("text expected"))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(numbers in prop::collection::vec(any::<u64>(), 0..9), signed in any::<i64>(), text in ".*") {
            let mut bytes = Vec::new();
            for number in &numbers {
                put_number(&mut bytes, *number);
            }
            put_signed(&mut bytes, signed);
            put_bytes(&mut bytes, text.as_bytes());
            let mut reader = Reader::new(&bytes);
            for number in numbers {
                prop_assert_eq!(reader.number().unwrap(), number);
            }
            prop_assert_eq!(reader.signed().unwrap(), signed);
            prop_assert_eq!(reader.text().unwrap(), text);
            prop_assert!(reader.is_empty() && reader.byte().is_err());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut reader = Reader::new(&bytes);
            while !reader.is_empty() {
                if reader.text().is_err() && reader.count().is_err() && reader.number().is_err() {
                    break;
                }
            }
        }
    }
}
