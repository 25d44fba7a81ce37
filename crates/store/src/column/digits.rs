//! Digits: parsing runs of them and writing them again.

/// The longest run of decimal digits that always fits 64 bits.
pub(super) const MOST_DIGITS: usize = 19;

const PAIRS: [u8; 200] = {
    let mut pairs = [0; 200];
    let mut number = 0;
    while number < 100 {
        pairs[2 * number] = b'0' + (number / 10) as u8;
        pairs[2 * number + 1] = b'0' + (number % 10) as u8;
        number += 1;
    }
    pairs
};

/// Appends a number in decimal digits, with zeros before it up to `width` digits.
#[inline]
pub(super) fn put_decimal(mut number: u64, width: u8, into: &mut Vec<u8>) {
    let mut digits = [b'0'; 20];
    let mut at = 20;
    while number >= 100 {
        let pair = (number % 100) as usize * 2;
        number /= 100;
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    }
    if number >= 10 {
        at -= 2;
        let pair = number as usize * 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    } else {
        at -= 1;
        digits[at] = b'0' + number as u8;
    }
    at = at.min(20usize.saturating_sub(width as usize));
    into.extend_from_slice(&digits[at..]);
}

/// How many decimal digits a number has.
#[inline]
pub(super) fn decimal_length(number: u64) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

/// The number that a run of decimal digits says, zeros before it allowed; `None` if it is no such run or says more than
/// 64 bits hold.
#[inline]
pub(super) fn parse_decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() || bytes.len() > 20 {
        return None;
    }
    let mut number = 0u64;
    let (eights, rest) = bytes.as_chunks();
    for eight in eights {
        number = number.checked_mul(100_000_000)?.checked_add(parse_eight(*eight)?)?;
    }
    for byte in rest {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(number)
}

/// Eight digits at once: neighbours are joined to pairs, fours, and all eight.
#[inline]
fn parse_eight(bytes: [u8; 8]) -> Option<u64> {
    let word = u64::from_le_bytes(bytes);
    let high = word & 0xf0f0_f0f0_f0f0_f0f0;
    let carried = word.wrapping_add(0x0606_0606_0606_0606) & 0xf0f0_f0f0_f0f0_f0f0;
    if high != 0x3030_3030_3030_3030 || carried != 0x3030_3030_3030_3030 {
        return None;
    }
    let ones = word & 0x0f0f_0f0f_0f0f_0f0f;
    let pairs = (ones.wrapping_mul(10).wrapping_add(ones >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100).wrapping_add(pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours.wrapping_mul(10_000).wrapping_add(fours >> 32)) & 0xffff_ffff)
}

/// The number that a canonical decimal integer says: no zeros before it, `-` only before what is not zero.
pub(super) fn parse_integer(bytes: &[u8]) -> Option<i128> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.first() == Some(&b'0') && (negative || digits.len() > 1) {
        return None;
    }
    let number = i128::from(parse_decimal(digits)?);
    Some(if negative { -number } else { number })
}

/// Appends the low hexadecimal digits of a number, the highest first.
#[inline]
pub(super) fn put_hexadecimal(number: u64, digits: u8, upper: bool, into: &mut Vec<u8>) {
    let alphabet: &[u8; 16] = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
    let digits = usize::from(digits.min(16));
    let mut text = [0; 16];
    for (index, byte) in text.iter_mut().enumerate() {
        *byte = alphabet[(number >> (60 - 4 * index)) as usize & 15];
    }
    into.extend_from_slice(&text[16 - digits..]);
}

/// No hexadecimal digit.
pub(super) const NO_DIGIT: u8 = 0xff;

/// What each byte is worth as a hexadecimal digit.
pub(super) const HEXADECIMAL: [u8; 256] = {
    let mut table = [NO_DIGIT; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            digit @ b'0'..=b'9' => digit - b'0',
            letter @ b'a'..=b'f' => letter - b'a' + 10,
            letter @ b'A'..=b'F' => letter - b'A' + 10,
            _ => NO_DIGIT,
        };
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decimal(number: u64, width: u8) -> String {
        let mut bytes = Vec::new();
        put_decimal(number, width, &mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    proptest! {
        #[test]
        fn decimals_are_written_and_parsed(number in any::<u64>(), shift in 0u32..64, width in 0u8..=20) {
            let number = number >> shift;
            let text = decimal(number, width);
            prop_assert_eq!(&text, &format!("{number:0width$}", width = width as usize));
            prop_assert_eq!(parse_decimal(text.as_bytes()), Some(number));
            prop_assert_eq!(decimal_length(number), number.to_string().len());
            prop_assert_eq!(parse_integer(format!("-{number}").as_bytes()), (number > 0).then_some(-i128::from(number)));
        }

        #[test]
        fn only_digits_are_parsed(text in "[0-9:/a-]{0,22}") {
            let digits = !text.is_empty() && text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit());
            prop_assert_eq!(parse_decimal(text.as_bytes()), if digits { text.parse().ok() } else { None });
            let canonical = text.parse::<i128>().ok().filter(|number| number.to_string() == text && number.unsigned_abs() <= u128::from(u64::MAX));
            prop_assert_eq!(parse_integer(text.as_bytes()), canonical);
        }

        #[test]
        fn hexadecimals_are_written(number in any::<u64>(), digits in 1u8..=16) {
            let number = number >> (64 - 4 * u32::from(digits));
            let mut bytes = Vec::new();
            put_hexadecimal(number, digits, true, &mut bytes);
            prop_assert_eq!(String::from_utf8_lossy(&bytes), format!("{number:0width$X}", width = digits as usize));
        }
    }
}
