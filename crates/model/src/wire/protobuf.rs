//! Reading protobuf's wire format (<https://protobuf.dev/programming-guides/encoding/>), field by field and in place.
//! What the fields of a message mean is not known here. Groups, which no message of ours has, are refused.

/// The bytes are not what they should be, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(&'static str);

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Field<'a> {
    /// An integer, a truth value or a number of an enumeration.
    Varint(u64),
    /// Eight bytes.
    Fixed64(u64),
    /// Text, bytes or a message.
    Bytes(&'a [u8]),
    /// Four bytes.
    Fixed32,
}

impl<'a> Field<'a> {
    pub(super) fn varint(self) -> Result<u64, Malformed> {
        if let Self::Varint(number) = self { Ok(number) } else { Err(Malformed("a varint expected")) }
    }

    pub(super) fn fixed64(self) -> Result<u64, Malformed> {
        if let Self::Fixed64(number) = self { Ok(number) } else { Err(Malformed("eight bytes expected")) }
    }

    pub(super) fn bytes(self) -> Result<&'a [u8], Malformed> {
        if let Self::Bytes(bytes) = self { Ok(bytes) } else { Err(Malformed("bytes with a length expected")) }
    }

    pub(super) fn text(self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed("text that is UTF-8 expected"))
    }
}

/// Messages inside of one another, at most so deep.
const MAX_DEPTH: usize = 100;

/// The fields of a message, in the order in which they stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    depth: usize,
}

impl<'a> Fields<'a> {
    /// Of the outermost message.
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self { rest: message, depth: 0 }
    }

    /// Of a message that a field of this one holds.
    pub(super) fn inner(&self, field: Field<'a>) -> Result<Self, Malformed> {
        if self.depth >= MAX_DEPTH {
            return Err(Malformed("messages that are not nested so deep expected"));
        }
        Ok(Self { rest: field.bytes()?, depth: self.depth + 1 })
    }

    /// The next field and its number.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<(u32, Field<'a>)>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = u32::try_from(self.varint()?).map_err(|_| Malformed("the number of a field expected"))?;
        if key >> 3 == 0 {
            return Err(Malformed("the number of a field expected"));
        }
        let field = match key & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                let (bytes, rest) = self.rest.split_at_checked(length).ok_or(SHORT)?;
                self.rest = rest;
                Field::Bytes(bytes)
            }
            5 => {
                self.array::<4>()?;
                Field::Fixed32
            }
            _ => return Err(Malformed("a known kind of field expected")),
        };
        Ok(Some((key >> 3, field)))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(SHORT)?;
        self.rest = rest;
        Ok(*array)
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for (at, byte) in self.rest.iter().take(10).enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * at);
            if *byte < 0x80 {
                if at == 9 && *byte > 1 {
                    break;
                }
                self.rest = &self.rest[at + 1..];
                return Ok(number);
            }
        }
        Err(if self.rest.len() < 10 { SHORT } else { Malformed("a varint of 64 bits expected") })
    }
}

const SHORT: Malformed = Malformed("more bytes expected");

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn all(message: &[u8]) -> Result<Vec<(u32, Field<'_>)>, Malformed> {
        let mut fields = Fields::of(message);
        std::iter::from_fn(|| fields.next().transpose()).collect()
    }

    #[test]
    fn fields_of_every_kind_are_read() {
        let message = [
            0x08, 0x96, 0x01, // 1: 150
            0x12, 0x02, b'h', b'i', // 2: "hi"
            0x19, 1, 0, 0, 0, 0, 0, 0, 0, // 3: eight bytes
            0x25, 1, 2, 3, 4, // 4: four bytes
            0x80, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, // 16: the largest
        ];
        let expected = [
            (1, Field::Varint(150)),
            (2, Field::Bytes(b"hi")),
            (3, Field::Fixed64(1)),
            (4, Field::Fixed32),
            (16, Field::Varint(u64::MAX)),
        ];
        assert_eq!(all(&message).unwrap(), expected);
        assert_eq!(expected[1].1.text(), Ok("hi"));
    }

    #[test]
    fn what_is_no_field_is_refused() {
        let wrong: [&[u8]; 8] = [
            &[0x08],
            &[0x08, 0x80],
            &[0x12, 3, b'h', b'i'],
            &[0x19, 0],
            &[0x00, 0],
            &[0x0b],
            &[0x80, 0x80, 0x80, 0x80, 0x10, 0],
            &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
        ];
        for message in wrong {
            assert!(all(message).is_err(), "{message:?}");
        }
        assert!(Field::Varint(1).bytes().is_err() && Field::Bytes(b"\xff").text().is_err());
        let mut fields = Fields::of(b"");
        for _ in 0..MAX_DEPTH {
            fields = fields.inner(Field::Bytes(b"")).unwrap();
        }
        assert!(fields.inner(Field::Bytes(b"")).is_err());
    }
}
