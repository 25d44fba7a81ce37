//! Functions of templates on texts. Positions and lengths count characters, so that none is cut.

use super::{
    Value, bounded,
    functions::{Entry, int, text},
};
use std::fmt::Write;

pub(super) const TABLE: &[Entry] = &[
    ("lower", 1, 1, |a| Ok(of(text(&a[0]).to_lowercase()))),
    ("ToLower", 1, 1, |a| Ok(of(text(&a[0]).to_lowercase()))),
    ("upper", 1, 1, |a| Ok(of(text(&a[0]).to_uppercase()))),
    ("ToUpper", 1, 1, |a| Ok(of(text(&a[0]).to_uppercase()))),
    ("title", 1, 1, |a| Ok(of(title(&text(&a[0]))))),
    ("trim", 1, 1, |a| Ok(of(text(&a[0]).trim()))),
    ("TrimSpace", 1, 1, |a| Ok(of(text(&a[0]).trim()))),
    ("trimAll", 2, 2, |a| Ok(trim(&a[1], &a[0], true, true))),
    ("Trim", 2, 2, |a| Ok(trim(&a[0], &a[1], true, true))),
    ("TrimLeft", 2, 2, |a| Ok(trim(&a[0], &a[1], true, false))),
    ("TrimRight", 2, 2, |a| Ok(trim(&a[0], &a[1], false, true))),
    ("trimPrefix", 2, 2, |a| Ok(without_prefix(&a[1], &a[0]))),
    ("TrimPrefix", 2, 2, |a| Ok(without_prefix(&a[0], &a[1]))),
    ("trimSuffix", 2, 2, |a| Ok(without_suffix(&a[1], &a[0]))),
    ("TrimSuffix", 2, 2, |a| Ok(without_suffix(&a[0], &a[1]))),
    ("replace", 3, 3, |a| replace(&text(&a[2]), &text(&a[0]), &text(&a[1]), -1)),
    ("Replace", 4, 4, |a| replace(&text(&a[0]), &text(&a[1]), &text(&a[2]), int(&a[3]))),
    ("trunc", 2, 2, |a| {
        let source = text(&a[1]);
        let (count, length) = (int(&a[0]), source.chars().count());
        let size = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        Ok(if count < 0 {
            of(part(&source, length.saturating_sub(size), length))
        } else {
            of(part(&source, 0, size))
        })
    }),
    ("substr", 3, 3, |a| {
        let source = text(&a[2]);
        let start = usize::try_from(int(&a[0])).unwrap_or(0);
        let end = usize::try_from(int(&a[1])).unwrap_or(usize::MAX);
        Ok(of(part(&source, start, end)))
    }),
    ("contains", 2, 2, |a| Ok(Value::Bool(text(&a[1]).contains(&text(&a[0]))))),
    ("hasPrefix", 2, 2, |a| Ok(Value::Bool(text(&a[1]).starts_with(&text(&a[0]))))),
    ("hasSuffix", 2, 2, |a| Ok(Value::Bool(text(&a[1]).ends_with(&text(&a[0]))))),
    ("len", 1, 1, |a| Ok(Value::Int(text(&a[0]).len() as i64))),
    ("indent", 2, 2, |a| indent(&a[0], &a[1], "")),
    ("nindent", 2, 2, |a| indent(&a[0], &a[1], "\n")),
    ("repeat", 2, 2, |a| {
        let source = text(&a[1]);
        let count = usize::try_from(int(&a[0])).unwrap_or(0);
        bounded(source.len().saturating_mul(count))?;
        Ok(of(source.repeat(count)))
    }),
    ("alignLeft", 2, 2, |a| align(&a[0], &a[1], true)),
    ("alignRight", 2, 2, |a| align(&a[0], &a[1], false)),
    ("urlencode", 1, 1, |a| Ok(of(url_encode(&text(&a[0]))))),
    ("urldecode", 1, 1, |a| url_decode(&text(&a[0])).map(Value::Text)),
    ("b64enc", 1, 1, |a| Ok(of(base64_encode(text(&a[0]).as_bytes())))),
    ("b64dec", 1, 1, |a| {
        let source = text(&a[0]);
        base64_decode(&source).map(Value::Text).ok_or_else(|| format!("{source:?} is no Base64"))
    }),
];

fn of(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

/// The characters from `start` to `end`.
fn part(text: &str, start: usize, end: usize) -> String {
    text.chars().skip(start).take(end.saturating_sub(start)).collect()
}

fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut begins = true;
    for c in text.chars() {
        if begins {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
        begins = !(c.is_alphanumeric() || matches!(c, '_' | '\''));
    }
    out
}

fn trim(source: &Value, characters: &Value, left: bool, right: bool) -> Value {
    let (source, characters) = (text(source), text(characters));
    let mut rest = source.as_str();
    if left {
        rest = rest.trim_start_matches(|c| characters.contains(c));
    }
    if right {
        rest = rest.trim_end_matches(|c| characters.contains(c));
    }
    of(rest)
}

fn without_prefix(source: &Value, prefix: &Value) -> Value {
    let source = text(source);
    of(source.strip_prefix(&text(prefix)).unwrap_or(&source))
}

fn without_suffix(source: &Value, suffix: &Value) -> Value {
    let source = text(source);
    of(source.strip_suffix(&text(suffix)).unwrap_or(&source))
}

/// The first `count` of `old`; all of them where it is negative.
fn replace(source: &str, old: &str, new: &str, count: i64) -> Result<Value, String> {
    let most = usize::try_from(count).unwrap_or(usize::MAX);
    let times = source.matches(old).count().min(most);
    bounded(source.len().saturating_add(times.saturating_mul(new.len())))?;
    Ok(of(source.replacen(old, new, most)))
}

fn indent(spaces: &Value, source: &Value, before: &str) -> Result<Value, String> {
    let source = text(source);
    let width = usize::try_from(int(spaces)).unwrap_or(0);
    bounded(source.len().saturating_add((source.matches('\n').count() + 1).saturating_mul(width)))?;
    let blank = " ".repeat(width);
    Ok(of(format!("{before}{blank}{}", source.replace('\n', &format!("\n{blank}")))))
}

fn align(width: &Value, source: &Value, left: bool) -> Result<Value, String> {
    let source = text(source);
    let width = usize::try_from(int(width)).unwrap_or(0);
    bounded(width)?;
    let length = source.chars().count();
    let blank = " ".repeat(width.saturating_sub(length));
    Ok(of(match (left, length > width) {
        (true, true) => part(&source, 0, width),
        (false, true) => part(&source, length - width, length),
        (true, false) => source + &blank,
        (false, false) => blank + &source,
    }))
}

fn url_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte as char),
            b' ' => out.push('+'),
            byte => {
                // Writing to a String cannot fail.
                let _infallible = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

fn url_decode(text: &str) -> Result<String, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
                let code = digits
                    .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
                    .and_then(|digits| u8::from_str_radix(digits, 16).ok());
                rest = rest.get(2..).unwrap_or_default();
                code.ok_or_else(|| format!("{text:?} has a wrong escape"))?
            }
            byte => *byte,
        });
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64_encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0u32, |bits, at| bits << 8 | u32::from(*group.get(at).unwrap_or(&0)));
        for at in 0..4 {
            let index = (bits >> (18 - 6 * at) & 63) as usize;
            out.push(if at <= group.len() { BASE64[index] as char } else { '=' });
        }
    }
    out
}

fn base64_decode(text: &str) -> Option<String> {
    let (mut bits, mut held) = (0u32, 0);
    let mut out = Vec::with_capacity(text.len());
    for byte in text.trim_end_matches('=').bytes() {
        let digit = BASE64.iter().position(|known| *known == byte)? as u32;
        bits = (bits << 6 | digit) & 0xff_ffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}
