//! JSON lines: a scanner for one object, and the cut along it.
//!
//! Keys, punctuation, white space and `{}` are constant, exactly as written; every value is a variable over its raw
//! text: fields differ from line to line as a rule, and a template that depends on the values of an enumeration splits
//! what belongs together. Only a string under the key of a message ([`is_text_key`]) is cut like a line of text.
//!
//! The same scanner reads masks ([`crate::leaves`]), in which a NUL byte stands for a value: what it takes for the
//! structure of a line and of the line's mask cannot differ.

use crate::{bits::Bits, scan::Seams, text, unescape};
use std::ops::Range;

/// The levels of objects that are cut; what lies deeper is one raw value.
const MAX_DEPTH: usize = 16;
/// The levels of containers of a raw value; a line that nests deeper counts as text.
const MAX_RAW_DEPTH: u32 = 128;

/// Whether the string under this key, raw and without its quotes, is cut like text: the keys of prose, few and sure. A
/// value under any other is a variable as a whole.
#[inline]
pub(crate) fn is_text_key(key: &[u8]) -> bool {
    let names: &[&[u8]] = match key.len() {
        3 => &[b"msg", b"log", b"err"],
        4 => &[b"text", b"body"],
        5 => &[b"event", b"error"],
        6 => &[b"reason"],
        7 => &[b"message"],
        8 => &[b"@message"],
        12 => &[b"full_message"],
        13 => &[b"short_message"],
        _ => &[],
    };
    names.iter().any(|name| name.eq_ignore_ascii_case(key))
}

/// What a scan of an object comes by. Ranges lie without quotes in the scanned bytes; `None` ends the scan.
pub(crate) trait Visit {
    /// A string that is a value.
    fn string(&mut self, key: Range<usize>, content: Range<usize>, escaped: bool) -> Option<()>;
    /// A number, `true`, `false`, `null`, an array or an object that lies too deep.
    fn bare(&mut self, key: Range<usize>, value: Range<usize>) -> Option<()>;
    /// An object that is a value.
    fn open(&mut self, key: Range<usize>) -> Option<()>;
    /// Its end.
    fn close(&mut self);
}

/// Cuts a line that is one JSON object; `None` if it is none, or has too many variables.
pub(crate) fn cut(line: &str, bits: &Bits, seams: &mut Seams) -> Option<()> {
    scan::<false>(line.as_bytes(), &|at| bits.next_mark(at), &mut Cut { line, bits, seams })
}

struct Cut<'a> {
    line: &'a str,
    bits: &'a Bits,
    seams: &'a mut Seams,
}

impl Visit for Cut<'_> {
    #[inline]
    fn string(&mut self, key: Range<usize>, content: Range<usize>, escaped: bool) -> Option<()> {
        let bytes = self.line.as_bytes();
        if !is_text_key(&bytes[key]) {
            self.seams.variable(bytes, content);
        } else if escaped {
            text::cut::<true>(self.line, content, self.bits, self.seams);
        } else {
            text::cut::<false>(self.line, content, self.bits, self.seams);
        }
        (!self.seams.overflow()).then_some(())
    }

    #[inline]
    fn bare(&mut self, _: Range<usize>, value: Range<usize>) -> Option<()> {
        self.seams.variable(self.line.as_bytes(), value);
        (!self.seams.overflow()).then_some(())
    }

    fn open(&mut self, _: Range<usize>) -> Option<()> {
        Some(())
    }

    fn close(&mut self) {}
}

/// Visits the one object whose mask `mask` is; `None` if it is no such thing. Bare values are NUL bytes, and strings
/// may hold some.
pub(crate) fn scan_mask(mask: &[u8], visit: &mut impl Visit) -> Option<()> {
    scan::<true>(mask, &|at| plain(mask, at), visit)
}

/// Visits the one object that `bytes` are, or with `MASK` its mask. `next_mark` finds the first byte at or after a
/// place that does not stand for itself inside of a string.
fn scan<const MASK: bool>(
    bytes: &[u8],
    next_mark: &impl Fn(usize) -> usize,
    visit: &mut impl Visit,
) -> Option<()> {
    let mut at = byte(bytes, space(bytes, 0), b'{')?;
    let mut depth = 1;
    'members: loop {
        // In front of a key, or of the end of an object that has just begun.
        at = space(bytes, at);
        if bytes.get(at) != Some(&b'}') {
            let key_start = byte(bytes, at, b'"')?;
            let (key_end, _) = string::<false>(bytes, next_mark, key_start)?;
            let key = key_start..key_end;
            at = space(bytes, byte(bytes, space(bytes, key_end + 1), b':')?);
            match bytes.get(at)? {
                b'"' => {
                    let (end, escaped) = string::<MASK>(bytes, next_mark, at + 1)?;
                    visit.string(key, at + 1..end, escaped)?;
                    at = end + 1;
                }
                b'{' if depth < MAX_DEPTH => {
                    visit.open(key)?;
                    depth += 1;
                    at += 1;
                    continue 'members;
                }
                0 if MASK => {
                    visit.bare(key, at..at + 1)?;
                    at += 1;
                }
                _ if MASK => return None,
                _ => {
                    let end = raw(bytes, next_mark, at)?;
                    visit.bare(key, at..end)?;
                    at = end;
                }
            }
        }
        // Behind a member, or in front of the end of an empty object.
        loop {
            at = space(bytes, at);
            match bytes.get(at)? {
                b',' => {
                    at = space(bytes, at + 1);
                    if bytes.get(at) != Some(&b'"') {
                        return None;
                    }
                    continue 'members;
                }
                b'}' => {
                    at += 1;
                    depth -= 1;
                    if depth == 0 {
                        return (space(bytes, at) == bytes.len()).then_some(());
                    }
                    visit.close();
                }
                _ => return None,
            }
        }
    }
}

/// White space, as JSON has it.
#[inline]
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[inline]
fn space(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(|byte| is_space(*byte)) {
        at += 1;
    }
    at
}

#[inline]
fn byte(bytes: &[u8], at: usize, expected: u8) -> Option<usize> {
    (bytes.get(at) == Some(&expected)).then_some(at + 1)
}

/// Where the string's closing quote is that begins (behind its opening one) at `at`, and whether it has escapes.
#[inline]
fn string<const NUL: bool>(
    bytes: &[u8],
    next_mark: &impl Fn(usize) -> usize,
    mut at: usize,
) -> Option<(usize, bool)> {
    let mut escaped = false;
    loop {
        at = next_mark(at);
        match bytes.get(at)? {
            b'"' => return Some((at, escaped)),
            b'\\' => {
                escaped = true;
                at += unescape::sequence(&bytes[at..])?.1;
            }
            0 if NUL => at += 1,
            _ => return None,
        }
    }
}

/// The first byte at or after `at` that does not stand for itself inside of a string.
fn plain(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)).count()
}

/// Where the value ends that begins at `at`, whatever it is.
fn raw(bytes: &[u8], next_mark: &impl Fn(usize) -> usize, mut at: usize) -> Option<usize> {
    // The containers that are open, the innermost lowest: 1 is an object.
    let mut open: u128 = 0;
    let mut depth = 0;
    loop {
        at = space(bytes, at);
        let container = matches!(bytes.get(at)?, b'{' | b'[');
        if container {
            if depth == MAX_RAW_DEPTH {
                return None;
            }
            let is_object = bytes[at] == b'{';
            open = open << 1 | u128::from(is_object);
            depth += 1;
            at = space(bytes, at + 1);
            let end = if is_object { b'}' } else { b']' };
            if bytes.get(at) != Some(&end) {
                if is_object {
                    at = key(bytes, next_mark, at)?;
                }
                continue;
            }
        } else {
            at = scalar(bytes, next_mark, at)?;
        }
        // Behind a value, or in front of the end of an empty container.
        loop {
            if depth == 0 {
                return Some(at);
            }
            at = space(bytes, at);
            let is_object = open & 1 == 1;
            match bytes.get(at)? {
                b',' => {
                    at = space(bytes, at + 1);
                    if is_object {
                        at = key(bytes, next_mark, at)?;
                    }
                    break;
                }
                b'}' if is_object => {}
                b']' if !is_object => {}
                _ => return None,
            }
            at += 1;
            open >>= 1;
            depth -= 1;
        }
    }
}

/// Behind the colon of the member whose key begins at `at`.
fn key(bytes: &[u8], next_mark: &impl Fn(usize) -> usize, at: usize) -> Option<usize> {
    let (end, _) = string::<false>(bytes, next_mark, byte(bytes, at, b'"')?)?;
    byte(bytes, space(bytes, end + 1), b':')
}

fn scalar(bytes: &[u8], next_mark: &impl Fn(usize) -> usize, at: usize) -> Option<usize> {
    let word = |word: &[u8]| bytes[at..].starts_with(word).then_some(at + word.len());
    match bytes.get(at)? {
        b'"' => Some(string::<false>(bytes, next_mark, at + 1)?.0 + 1),
        b't' => word(b"true"),
        b'f' => word(b"false"),
        b'n' => word(b"null"),
        _ => number(bytes, at),
    }
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let digits = |at: usize| {
        let length = bytes.get(at..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
        (length > 0).then_some(at + length)
    };
    let start = byte(bytes, at, b'-').unwrap_or(at);
    let mut at = digits(start)?;
    if bytes[start] == b'0' && at > start + 1 {
        return None;
    }
    if let Some(fraction) = byte(bytes, at, b'.') {
        at = digits(fraction)?;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        at = digits(at + 1 + sign)?;
    }
    Some(at)
}

#[cfg(test)]
mod tests;
