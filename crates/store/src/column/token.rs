//! Finding a word in values. Where values are literals and numbers, the word is turned into conditions on the numbers;
//! else each value is looked at.
//!
//! A number never shares a run of digits with what stands beside it, so where a word of the values holds a number, the
//! digits that the wanted word has in that place are the number, and must be written in the number's style.

use super::{
    Needle,
    digits::{HEXADECIMAL, NO_DIGIT, decimal_length, parse_decimal},
    numbers::Numbers,
    piece::{Piece, Style},
    values::Values,
};
use crate::bits::Bits;

/// Is the byte part of a word? For ASCII.
#[inline]
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Does `value` hold `token` as a word? Asks `exact` where the value is not ASCII.
pub(super) fn holds(value: &[u8], token: &str, exact: &mut dyn FnMut(&[u8]) -> bool) -> bool {
    if !value.is_ascii() {
        return exact(value);
    }
    let token = token.as_bytes();
    if token.is_empty() || value.len() < token.len() {
        return false;
    }
    let mut words = value.split(|byte| !is_word(*byte));
    words.any(|word| word.len() == token.len() && is_folded(word, token))
}

/// Is `word`, folded, `token`?
fn is_folded(word: &[u8], token: &[u8]) -> bool {
    word.iter().zip(token).all(|(byte, folded)| byte.to_ascii_lowercase() == *folded)
}

/// The values that hold `token` as a word.
pub(super) fn values_with(values: &Values<'_>, token: &str, exact: &mut dyn FnMut(&[u8]) -> bool) -> Bits {
    if let Some(bits) = by_numbers(values, token.as_bytes()) {
        return bits;
    }
    let mut bits = Bits::none(values.len() as u32);
    values.each(Needle::new(token).as_ref(), &mut |index, value| {
        if holds(value, token, exact) {
            bits.insert(index as u32);
        }
    });
    bits
}

/// A part of a word of the values.
enum Item<'p, 'a> {
    Byte(u8),
    Number { style: Style, numbers: &'p Numbers<'a> },
}

/// Digits whose sign stands apart.
const DIGITS: Style = Style::Decimal { width: 1 };

/// `None` where the pieces do not say where words are.
fn by_numbers(values: &Values<'_>, token: &[u8]) -> Option<Bits> {
    let count = values.len() as u32;
    let mut negative = None;
    for piece in values.pieces() {
        let below_zero = match piece {
            Piece::Literal(text) if text.is_ascii() => continue,
            Piece::Number { style: Style::Decimal { .. } | Style::Hexadecimal { .. }, .. } => continue,
            Piece::Number { style: Style::Signed { bias: bias @ ..0 }, numbers } => {
                numbers.between(0, bias.unsigned_abs() - 1)
            }
            Piece::Number { style: Style::Signed { .. }, .. } => Bits::none(count),
            Piece::SignAndDigits { signs, .. } => signs.between(1, u64::MAX),
            _ => return None,
        };
        if negative.replace(below_zero).is_some() {
            return None;
        }
    }
    if token.is_empty() || !token.iter().all(|byte| is_word(*byte) && !byte.is_ascii_uppercase()) {
        return Some(Bits::none(count));
    }
    let Some(negative) = negative else { return Some(words_with(values, token, false)) };
    // A sign ends the word before it, so values with and without one have different words.
    let mut bits = words_with(values, token, true).and(&negative);
    bits.or_with(&words_with(values, token, false).without(&negative));
    Some(bits)
}

/// The values that hold the word if all signed numbers have a sign, or none has.
fn words_with(values: &Values<'_>, token: &[u8], sign: bool) -> Bits {
    let mut bits = Bits::none(values.len() as u32);
    let mut word = Vec::new();
    for piece in values.pieces() {
        match piece {
            Piece::Literal(text) => {
                for byte in *text {
                    if is_word(*byte) {
                        word.push(Item::Byte(byte.to_ascii_lowercase()));
                    } else {
                        add_word(&mut word, token, sign, &mut bits);
                    }
                }
            }
            Piece::Number { style, numbers } => {
                if sign && matches!(style, Style::Signed { .. }) {
                    add_word(&mut word, token, sign, &mut bits);
                }
                word.push(Item::Number { style: *style, numbers });
            }
            Piece::SignAndDigits { numbers, .. } => {
                if sign {
                    add_word(&mut word, token, sign, &mut bits);
                }
                word.push(Item::Number { style: DIGITS, numbers });
            }
            Piece::Digits { .. } | Piece::Text { .. } => {}
        }
    }
    add_word(&mut word, token, sign, &mut bits);
    bits
}

/// Adds the values whose word this is, and ends the word.
fn add_word(word: &mut Vec<Item<'_, '_>>, token: &[u8], sign: bool, bits: &mut Bits) {
    if !word.is_empty()
        && let Some(conditions) = conditions(word, token, sign)
    {
        let mut all = Bits::all(bits.size());
        for (numbers, number) in conditions {
            all.and_with(&numbers.between(number, number));
        }
        bits.or_with(&all);
    }
    word.clear();
}

/// What the numbers of a word have to be so that it is the token; `None` where it cannot be.
fn conditions<'p, 'a>(
    word: &[Item<'p, 'a>],
    mut token: &[u8],
    sign: bool,
) -> Option<Vec<(&'p Numbers<'a>, u64)>> {
    let mut conditions = Vec::new();
    for item in word {
        match item {
            Item::Byte(byte) => token = token.strip_prefix(&[*byte])?,
            Item::Number { style: Style::Hexadecimal { digits, .. }, numbers } => {
                let (text, rest) = token.split_at_checked(usize::from(*digits))?;
                let mut number = 0;
                for byte in text {
                    let digit = HEXADECIMAL[*byte as usize];
                    if digit == NO_DIGIT {
                        return None;
                    }
                    number = number << 4 | u64::from(digit);
                }
                conditions.push((*numbers, number));
                token = rest;
            }
            Item::Number { style, numbers } => {
                let length = token.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let (text, rest) = token.split_at(length);
                let number = parse_decimal(text)?;
                let width = if let Style::Decimal { width } = style { usize::from(*width) } else { 1 };
                if length != decimal_length(number).max(width) {
                    return None;
                }
                let number = match style {
                    Style::Signed { bias } => {
                        let integer = if sign { -i128::from(number) } else { i128::from(number) };
                        u64::try_from(integer - i128::from(*bias)).ok()?
                    }
                    _ => number,
                };
                conditions.push((*numbers, number));
                token = rest;
            }
        }
    }
    token.is_empty().then_some(conditions)
}
