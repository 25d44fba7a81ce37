//! Whether a candidate is what it looks like, and which part of it is the secret. Pure functions of a text and a range in it.

use std::{borrow::Cow, net::Ipv6Addr, ops::Range};

/// Which part of a match counts; none if it is no such thing.
#[derive(Clone, Copy)]
pub(super) struct Part(pub(super) fn(&str, Range<usize>) -> Option<Range<usize>>);

impl Part {
    /// All of it.
    pub(super) const WHOLE: Self = Self(|_, range| Some(range));

    pub(super) fn of(self, text: &str, range: Range<usize>) -> Option<Range<usize>> {
        (self.0)(text, range)
    }
}

/// The longest beginning of the match that is a card's number and ends where a number can.
pub(super) fn credit_card(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    if goes_on_before(text, range.start, b".-") {
        return None;
    }
    let bytes = text.as_bytes();
    let digits: Vec<(usize, u8)> =
        range.clone().filter(|at| bytes[*at].is_ascii_digit()).map(|at| (at, bytes[at] - b'0')).collect();
    (13..=digits.len()).rev().find_map(|count| {
        let end = digits[count - 1].0 + 1;
        let number = &digits[..count];
        let ends = !is_word(bytes.get(end)) && !goes_on_after(text, end, b".");
        (ends && is_issued(number) && luhn(number)).then_some(range.start..end)
    })
}

/// Prefix and length as the issuers have them.
fn is_issued(digits: &[(usize, u8)]) -> bool {
    let prefix =
        |count: usize| digits[..count].iter().fold(0, |number, (_, digit)| number * 10 + u32::from(*digit));
    match digits.len() {
        // Visa.
        13 | 16 | 19 if digits[0].1 == 4 => true,
        // Diners Club.
        14 => matches!(prefix(2), 36 | 38 | 39) || matches!(prefix(3), 300..=305),
        // American Express.
        15 => matches!(prefix(2), 34 | 37),
        // Mastercard, Discover, JCB.
        16 if matches!(prefix(2), 51..=55 | 65)
            || matches!(prefix(4), 2221..=2720 | 3528..=3589 | 6011)
            || matches!(prefix(3), 644..=649) =>
        {
            true
        }
        // UnionPay; Maestro.
        16..=19 => {
            prefix(2) == 62 || matches!(prefix(4), 5018 | 5020 | 5038 | 5893 | 6304 | 6759 | 6761..=6763)
        }
        _ => false,
    }
}

fn luhn(digits: &[(usize, u8)]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, (_, digit))| match (at % 2, u32::from(*digit)) {
            (0, digit) => digit,
            (_, digit) if digit > 4 => digit * 2 - 9,
            (_, digit) => digit * 2,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Not `https://user:password@host.example` or `git@host:path`'s look-alikes: two dots, or one at an end, make no name.
pub(super) fn email(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let local = text[range.clone()].split('@').next()?;
    (!local.ends_with('.') && !local.contains("..")).then_some(range)
}

/// Not a part of a longer number with dots.
pub(super) fn ipv4(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let part = goes_on_before(text, range.start, b".") || goes_on_after(text, range.end, b".");
    (!part).then_some(range)
}

/// The longest beginning of the match that is an address. One without a digit is more likely code (`abc::def`).
pub(super) fn ipv6(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    if range.start > 0 && (is_word(bytes.get(range.start - 1)) || bytes[range.start - 1] == b':') {
        return None;
    }
    (range.start + 2..=range.end).rev().find_map(|end| {
        let candidate = &text[range.start..end];
        let ends = !is_word(bytes.get(end))
            && (bytes.get(end) != Some(&b':') || candidate.ends_with(':') || end == range.end);
        let is_one = ends
            && candidate.bytes().any(|byte| byte.is_ascii_digit())
            && candidate.parse::<Ipv6Addr>().is_ok();
        is_one.then_some(range.start..end)
    })
}

/// Lengths by country, as the register of IBANs has them.
const IBAN_LENGTHS: &str = "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18FO18FR27GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22VG24XK20YE30";

pub(super) fn iban(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let country = &text[range.start..range.start + 2];
    let entry =
        IBAN_LENGTHS.as_bytes().chunks_exact(4).find(|entry| entry.starts_with(country.as_bytes()))?;
    let length = usize::from(entry[2] - b'0') * 10 + usize::from(entry[3] - b'0');
    let bytes = text.as_bytes();
    let characters: Vec<usize> = range.clone().filter(|at| bytes[*at] != b' ').take(length).collect();
    let end = characters.last()? + 1;
    if characters.len() < length || is_word(bytes.get(end)) {
        return None;
    }
    // ISO 7064, MOD 97-10: the country and its check digits go to the end, letters count from 10.
    let rotated = characters[4..].iter().chain(&characters[..4]).map(|at| bytes[*at]);
    let remainder = rotated.fold(0, |remainder, byte| match byte {
        b'0'..=b'9' => (remainder * 10 + u32::from(byte - b'0')) % 97,
        _ => (remainder * 100 + u32::from(byte - b'A') + 10) % 97,
    });
    (remainder == 1).then_some(range.start..end)
}

pub(super) fn us_ssn(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let found = &text[range.clone()];
    let never = matches!(&found[..3], "000" | "666")
        || found.starts_with('9')
        || &found[4..6] == "00"
        || &found[7..] == "0000";
    let part = goes_on_before(text, range.start, b"-") || goes_on_after(text, range.end, b"-");
    (!never && !part).then_some(range)
}

/// Base64 has letters of both cases; what has not is a checksum.
pub(super) fn line_of_a_key(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let found = &text[range.clone()];
    let has = |is: fn(&u8) -> bool| found.as_bytes().iter().any(is);
    (has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase)).then_some(range)
}

/// What follows the last blank.
pub(super) fn after_blank(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let at = text[range.clone()].rfind(|character: char| character.is_ascii_whitespace())?;
    Some(range.start + at + 1..range.end)
}

/// The value of `password="…"`: behind the first separator, blanks and quotes.
pub(super) fn assigned(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let found = &text[range.clone()];
    let separator = found.find(['=', ':'])?;
    let value = found[separator..]
        .find(|character: char| !character.is_ascii_whitespace() && !"=>:\"'\\".contains(character))?;
    let value = range.start + separator + value;
    // What was taken out already, is switched off, or is the name of a thing rather than the thing.
    let plain = matches!(
        &text[value..range.end],
        "null" | "nil" | "none" | "None" | "true" | "false" | "***" | "******"
    );
    (!plain && value < range.end).then_some(value..range.end)
}

/// What stands between `://` and `@`.
pub(super) fn user_information(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let inner = range.start + 3..range.end - 1;
    (&text[inner.clone()] != ":").then_some(inner)
}

/// Do a digit and one of these come right before?
fn goes_on_before(text: &str, at: usize, joints: &[u8]) -> bool {
    matches!(text.as_bytes()[..at], [.., digit, joint] if digit.is_ascii_digit() && joints.contains(&joint))
}

/// Do one of these and a digit come right after?
fn goes_on_after(text: &str, at: usize, joints: &[u8]) -> bool {
    matches!(text.as_bytes()[at..], [joint, digit, ..] if digit.is_ascii_digit() && joints.contains(&joint))
}

fn is_word(byte: Option<&u8>) -> bool {
    byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// A line in which ASCII characters stand for themselves where JSON would let them be written as `\u0040` or `\/`. A quote and a
/// backslash stay as they are spelled, so that JSON is JSON afterwards.
pub(super) fn plainer(line: &str) -> Cow<'_, str> {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        let escape = &rest[at..];
        let code = escape.strip_prefix("\\u00").and_then(|hex| u8::from_str_radix(hex.get(..2)?, 16).ok());
        match (code, escape.as_bytes().get(1)) {
            (Some(code @ 0x20..=0x7e), _) if code != b'"' && code != b'\\' => {
                plain.push(char::from(code));
                rest = &escape[6..];
            }
            (_, Some(b'/')) => {
                plain.push('/');
                rest = &escape[2..];
            }
            // An escaped backslash does not escape what comes after it.
            (_, Some(next)) if next.is_ascii() => {
                plain.push_str(&escape[..2]);
                rest = &escape[2..];
            }
            _ => {
                plain.push('\\');
                rest = &escape[1..];
            }
        }
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}
