//! The pieces that all values of a list have in common: literal text, numbers in a style, free text. What a head says of
//! each, and rendering one from its data.

use super::{
    ByteClasses,
    blob::BlobHead,
    date_time::Format,
    digits::{put_decimal, put_hexadecimal},
    numbers::{Numbers, NumbersHead},
};
use crate::bytes::{Malformed, Reader, put_number, put_signed};
use std::borrow::Cow;

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Decimal, with zeros before it up to `width` digits.
    Decimal { width: u8 },
    /// Decimal with its sign: the integer is `bias` and the number together.
    Signed { bias: i64 },
    /// So many hexadecimal digits.
    Hexadecimal { digits: u8, upper: bool },
    /// A date, a time or both.
    DateTime(Format),
}

impl Style {
    /// Appends a number.
    #[inline]
    pub(super) fn put(self, number: u64, into: &mut Vec<u8>) {
        match self {
            Self::Decimal { width } => put_decimal(number, width, into),
            Self::Signed { bias } => {
                let integer = bias.wrapping_add(number as i64);
                put_signed_decimal(u64::from(integer < 0), integer.unsigned_abs(), into);
            }
            Self::Hexadecimal { digits, upper } => put_hexadecimal(number, digits, upper, into),
            Self::DateTime(format) => format.put(number, into),
        }
    }

    fn classes(self) -> ByteClasses {
        match self {
            Self::Decimal { .. } => ByteClasses::DIGITS,
            Self::Signed { .. } => ByteClasses::DIGITS.union(ByteClasses::OTHER_ASCII),
            Self::Hexadecimal { upper: false, .. } => {
                ByteClasses::DIGITS.union(ByteClasses::LOWER_HEXADECIMAL)
            }
            Self::Hexadecimal { upper: true, .. } => {
                ByteClasses::DIGITS.union(ByteClasses::UPPER_HEXADECIMAL)
            }
            Self::DateTime(_) => [
                ByteClasses::LOWER_HEXADECIMAL,
                ByteClasses::UPPER_HEXADECIMAL,
                ByteClasses::OTHER_LETTERS,
                ByteClasses::OTHER_ASCII,
            ]
            .into_iter()
            .fold(ByteClasses::DIGITS, ByteClasses::union),
        }
    }
}

/// What a head says of a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PieceHead {
    /// The same bytes in all values.
    Literal(Box<[u8]>),
    /// A number in a style.
    Number { style: Style, numbers: NumbersHead },
    /// Decimal digits, with zeros before them up to a length that each value has of its own.
    Digits { lengths: NumbersHead, numbers: NumbersHead },
    /// Decimal with a sign, where these span more than 64 bits: whether each has one, and its digits.
    SignAndDigits { signs: NumbersHead, numbers: NumbersHead },
    /// Any bytes; `ends` says where each value's stop.
    Text { classes: ByteClasses, bytes: BlobHead, ends: NumbersHead },
}

const LITERAL: u8 = 0;
const DECIMAL: u8 = 1;
const SIGNED: u8 = 2;
const DIGITS: u8 = 3;
const HEXADECIMAL: u8 = 4;
const DATE_TIME: u8 = 5;
const TEXT: u8 = 6;
const SIGN_AND_DIGITS: u8 = 7;
/// The highest parameter that fits beside the kind of a piece.
const WIDE: u8 = 31;

/// Writes the head of a literal.
pub(super) fn put_literal(text: &[u8], into: &mut Vec<u8>) {
    if text.len() < usize::from(WIDE) {
        into.push(LITERAL | (text.len() as u8) << 3);
    } else {
        into.push(LITERAL | WIDE << 3);
        put_number(into, text.len() as u64);
    }
    into.extend_from_slice(text);
}

/// Writes a style; the head of the numbers follows.
pub(super) fn put_style(style: Style, into: &mut Vec<u8>) {
    match style {
        Style::Decimal { width } => into.push(DECIMAL | width << 3),
        Style::Signed { bias } => {
            into.push(SIGNED);
            put_signed(into, bias);
        }
        Style::Hexadecimal { digits, upper } => {
            into.push(HEXADECIMAL | (digits - 1) << 3 | u8::from(upper) << 7);
        }
        Style::DateTime(format) => {
            into.push(DATE_TIME);
            format.put_head(into);
        }
    }
}

/// Announces digits; the heads of lengths and numbers follow.
pub(super) fn put_digits(into: &mut Vec<u8>) {
    into.push(DIGITS);
}

/// Announces signs and digits; the heads of both follow.
pub(super) fn put_sign_and_digits(into: &mut Vec<u8>) {
    into.push(SIGN_AND_DIGITS);
}

/// Announces free text; the head of its bytes and that of their ends follow.
pub(super) fn put_text(classes: ByteClasses, into: &mut Vec<u8>) {
    into.extend([TEXT, classes.number()]);
}

impl PieceHead {
    /// Reads the head of a piece of `count` values.
    pub(super) fn read(reader: &mut Reader<'_>, count: usize) -> Result<Self, Malformed> {
        let tag = reader.byte()?;
        let parameter = tag >> 3;
        let style = match tag & 7 {
            LITERAL => {
                let text = if parameter == WIDE { reader.bytes() } else { reader.take(parameter.into()) };
                return Ok(Self::Literal(text?.into()));
            }
            DIGITS => {
                let lengths = NumbersHead::read(reader, count)?;
                return Ok(Self::Digits { lengths, numbers: NumbersHead::read(reader, count)? });
            }
            SIGN_AND_DIGITS => {
                let signs = NumbersHead::read(reader, count)?;
                return Ok(Self::SignAndDigits { signs, numbers: NumbersHead::read(reader, count)? });
            }
            TEXT => {
                let classes = ByteClasses::from_number(reader.byte()?);
                let bytes = BlobHead::read(reader)?;
                return Ok(Self::Text { classes, bytes, ends: NumbersHead::read(reader, count)? });
            }
            DECIMAL if parameter <= 20 => Style::Decimal { width: parameter },
            SIGNED => Style::Signed { bias: reader.signed()? },
            HEXADECIMAL => Style::Hexadecimal { digits: (parameter & 15) + 1, upper: parameter > 15 },
            DATE_TIME => Style::DateTime(Format::read(reader)?),
            _ => return Err(Malformed("a known kind of piece expected")),
        };
        Ok(Self::Number { style, numbers: NumbersHead::read(reader, count)? })
    }

    /// How many bytes of data and of pool belong to it.
    pub(super) fn lengths(&self) -> Result<(usize, usize), Malformed> {
        match self {
            Self::Literal(_) => Ok((0, 0)),
            Self::Number { numbers, .. } => numbers.lengths(),
            Self::Digits { lengths: others, numbers } | Self::SignAndDigits { signs: others, numbers } => {
                add_lengths(others.lengths()?, numbers.lengths()?)
            }
            Self::Text { bytes, ends, .. } => {
                add_lengths((bytes.data_length(), bytes.pool_length()), ends.lengths()?)
            }
        }
    }

    /// Which kinds of bytes it can have.
    pub(super) fn classes(&self) -> ByteClasses {
        match self {
            Self::Literal(text) => ByteClasses::of(text),
            Self::Number { style, .. } => style.classes(),
            Self::Digits { .. } => ByteClasses::DIGITS,
            Self::SignAndDigits { .. } => ByteClasses::DIGITS.union(ByteClasses::OTHER_ASCII),
            Self::Text { classes, .. } => *classes,
        }
    }

    /// Takes its data from the front of `data` and `pool`.
    pub(super) fn open<'a>(
        &'a self,
        data: &mut Reader<'a>,
        pool: &mut Reader<'a>,
    ) -> Result<Piece<'a>, Malformed> {
        Ok(match self {
            Self::Literal(text) => Piece::Literal(text),
            Self::Number { style, numbers } => {
                Piece::Number { style: *style, numbers: numbers.open(data, pool)? }
            }
            Self::Digits { lengths, numbers } => {
                Piece::Digits { lengths: lengths.open(data, pool)?, numbers: numbers.open(data, pool)? }
            }
            Self::SignAndDigits { signs, numbers } => {
                Piece::SignAndDigits { signs: signs.open(data, pool)?, numbers: numbers.open(data, pool)? }
            }
            Self::Text { bytes, ends, .. } => {
                Piece::Text { bytes: bytes.open(data, pool)?, ends: ends.open(data, pool)? }
            }
        })
    }
}

/// A piece with its data.
#[derive(Clone, Debug)]
pub(super) enum Piece<'a> {
    Literal(&'a [u8]),
    Number { style: Style, numbers: Numbers<'a> },
    Digits { lengths: Numbers<'a>, numbers: Numbers<'a> },
    SignAndDigits { signs: Numbers<'a>, numbers: Numbers<'a> },
    Text { bytes: Cow<'a, [u8]>, ends: Numbers<'a> },
}

/// As many digits as a length asks for, but no more than a number can have.
pub(super) fn digits_width(length: u64) -> u8 {
    length.min(20) as u8
}

impl Piece<'_> {
    /// Appends the piece of value `index`.
    pub(super) fn get(&self, index: usize, into: &mut Vec<u8>) {
        match self {
            Self::Literal(text) => into.extend_from_slice(text),
            Self::Number { style, numbers } => style.put(numbers.get(index), into),
            Self::Digits { lengths, numbers } => {
                put_decimal(numbers.get(index), digits_width(lengths.get(index)), into);
            }
            Self::SignAndDigits { signs, numbers } => {
                put_signed_decimal(signs.get(index), numbers.get(index), into);
            }
            Self::Text { bytes, ends } => into.extend_from_slice(text_at(bytes, ends, index)),
        }
    }
}

/// Lengths of data and of pool together.
pub(super) fn add_lengths(one: (usize, usize), other: (usize, usize)) -> Result<(usize, usize), Malformed> {
    let sum = one.0.checked_add(other.0).zip(one.1.checked_add(other.1));
    sum.ok_or(Malformed("shorter data expected"))
}

/// Appends a number with its sign.
#[inline]
pub(super) fn put_signed_decimal(sign: u64, number: u64, into: &mut Vec<u8>) {
    if sign != 0 {
        into.push(b'-');
    }
    put_decimal(number, 1, into);
}

/// The text of value `index`; empty where the ends make no sense.
fn text_at<'t>(bytes: &'t [u8], ends: &Numbers<'_>, index: usize) -> &'t [u8] {
    let start = if index == 0 { 0 } else { ends.get(index - 1) };
    slice(bytes, start, ends.get(index))
}

/// The bytes between two positions; empty where there are none.
#[inline]
pub(super) fn slice(bytes: &[u8], start: u64, end: u64) -> &[u8] {
    bytes.get(start as usize..end as usize).unwrap_or(&[])
}
