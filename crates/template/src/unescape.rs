//! The inside of JSON strings.

use std::borrow::Cow;

/// Unescapes the raw inside of a JSON string; `None` where it is no valid content of one.
pub fn unescape(raw: &str) -> Option<Cow<'_, str>> {
    let bytes = raw.as_bytes();
    if !bytes.iter().any(|byte| is_break(*byte)) {
        return Some(Cow::Borrowed(raw));
    }
    let mut text = String::with_capacity(raw.len());
    let mut at = 0;
    while at < bytes.len() {
        let run = bytes[at..].iter().position(|byte| is_break(*byte)).unwrap_or(bytes.len() - at);
        text.push_str(raw.get(at..at + run)?);
        at += run;
        if at < bytes.len() {
            let (c, length) = sequence(&bytes[at..])?;
            text.push(c);
            at += length;
        }
    }
    Some(Cow::Owned(text))
}

/// Whether a byte does not stand for itself inside of a JSON string.
fn is_break(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// The character that the escape sequence at the start of `bytes` stands for, and the sequence's length. Two halves of
/// a surrogate pair are one sequence; half of one is none.
pub(crate) fn sequence(bytes: &[u8]) -> Option<(char, usize)> {
    let [b'\\', kind, rest @ ..] = bytes else { return None };
    let c = match kind {
        b'"' | b'\\' | b'/' => char::from(*kind),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let first = four_digits(rest)?;
            if let Some(c) = char::from_u32(first) {
                return Some((c, 6));
            }
            let [b'\\', b'u', low @ ..] = rest.get(4..)? else { return None };
            let low = four_digits(low)?;
            if first >= 0xdc00 || !(0xdc00..0xe000).contains(&low) {
                return None;
            }
            let c = char::from_u32(0x10000 + ((first - 0xd800) << 10) + (low - 0xdc00))?;
            return Some((c, 12));
        }
        _ => return None,
    };
    Some((c, 2))
}

fn four_digits(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.get(..4)?;
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn invalid_content_is_refused() {
        for raw in
            [r"\", r"\x", r"\u12", r"\u12g4", r"\ud800", r"\ud800x", r"\ud800\u0041", r"\udc00", "\"", "\n"]
        {
            assert_eq!(unescape(raw), None, "{raw}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_serde(raw in r#"(\\[nrtbfux"\\/]|\\u[0-9a-dA-F]{4}|\\ud[89a-f][0-9a-f]{2}|[a-z"\x01-é])*"#) {
            let expected = serde_json::from_str::<String>(&format!("\"{raw}\"")).ok();
            prop_assert_eq!(unescape(&raw).map(Cow::into_owned), expected);
        }
    }
}
