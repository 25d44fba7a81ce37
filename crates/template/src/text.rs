//! Cutting text. One pass over words; what stands between words is constant, and so is a word without digits.
//!
//! What is a variable, and why:
//! - *a word with an ASCII digit*: numbers, ids, versions, host names. It is a whole word, so `blk_123` is one;
//! - *eight or more letters that are all hexadecimal*: hashes and ids that happen to have no digit;
//! - *digit groups joined by dots*: addresses, versions and decimals are one value each, to store and to read;
//! - *dates, times, UUIDs, MAC and IPv6 addresses* ([`crate::shapes`]): one value each, whose parts would look now like
//!   words, now like variables (`beef`, `Dec`), and so split one template into many;
//! - *the signed exponent* of a number, as small numbers are printed with it and others of the same line without;
//! - *the sign* before a digit group where no word stands before it, so that `code 1` and `code -1` are one template;
//! - *what follows `_-`* in `blk_-123`, for the same reason;
//! - *a text in double quotes* with white space around them that has a digit or a `/`, or is empty or `-`: the requests,
//!   referrers and browsers of access logs, thousands of each, would make millions of templates. Other quoted text is
//!   prose, and what stands in quotes behind `=` is a field's text, whose words are what people look for.
//!
//! What is none, as `examples/grouping.rs` says: the word behind `=` (states and switches stand there as often as
//! names; −.024 of accuracy), and names joined by dots (`java.io.IOException` tells events apart; −.048). Names, paths
//! and hosts that do vary are found by [`crate::Miner`].

use crate::{
    bits::{Bits, Word},
    scan::Seams,
    shapes, unescape,
};
use std::ops::Range;

/// A character of a word.
const WORD: u8 = 1;
/// One of `0` to `9`.
pub(crate) const DIGIT: u8 = 2;

/// The least length of a word of hexadecimal letters that is a variable.
const HEX_LETTERS: usize = 8;

/// What each byte is.
pub(crate) const CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 128 {
        let byte = at as u8;
        if byte.is_ascii_digit() {
            table[at] = WORD | DIGIT;
        } else if byte.is_ascii_alphabetic() || byte == b'_' {
            table[at] = WORD;
        }
        at += 1;
    }
    table
};

/// Cuts `range` of `line`. With `ESCAPED` it is the raw inside of a JSON string.
pub(crate) fn cut<const ESCAPED: bool>(line: &str, range: Range<usize>, bits: &Bits, seams: &mut Seams) {
    let text = Text::<ESCAPED> { line, bytes: &line.as_bytes()[..range.end], start: range.start };
    if ESCAPED || !bits.is_plain(&range) {
        cut_slowly(&text, seams);
    } else {
        cut_plain(&text, bits, seams);
    }
}

/// Cuts a plain text without escapes, from one event to the next. Gives what [`cut_slowly`] gives.
fn cut_plain<const ESCAPED: bool>(text: &Text<'_, ESCAPED>, bits: &Bits, seams: &mut Seams) {
    // Up to where the text has been cut, and up to where it has been looked at.
    let (mut floor, mut at) = (text.start, text.start);
    while let Some(event) = bits.next_event(at).filter(|event| *event < text.bytes.len()) {
        at = event + 1;
        let byte = text.bytes[event];
        let variable = if byte == b'"' {
            text.quoted(at)
        } else if CLASS[byte as usize] & WORD == 0 && !text.joins(event) {
            None
        } else {
            let Word { range, has_digit } = bits.word(event);
            let word = range.start.max(text.start)..range.end.min(text.bytes.len());
            at = at.max(word.end);
            if word.is_empty() || word.start < floor {
                None
            } else if has_digit {
                let date = text.date_before(word.start, floor);
                date.or_else(|| Some(text.number(&word, text.follows_word(word.start))))
            } else {
                text.name(&word)
            }
        };
        if let Some(variable) = variable {
            floor = variable.end;
            at = at.max(floor);
            seams.variable(text.line.as_bytes(), variable);
            if seams.overflow() {
                return;
            }
        }
    }
}

/// Cuts any text, character by character.
fn cut_slowly<const ESCAPED: bool>(text: &Text<'_, ESCAPED>, seams: &mut Seams) {
    let mut at = text.start;
    // The end of the word before.
    let mut before = usize::MAX;
    // The escape sequence before that ends in a letter or digit: what follows belongs to its raw word.
    let mut escape = 0..0;
    while at < text.bytes.len() {
        let (is_word, length) = text.character(at);
        let variable = if is_word {
            let (end, has_digit) = text.word(at);
            let word = at..end;
            at = end;
            if has_digit {
                Some(text.number(&word, before == word.start.wrapping_sub(1)))
            } else {
                text.date(&word).or_else(|| text.name(&word))
            }
        } else {
            if length > 1
                && text.bytes[at] == b'\\'
                && CLASS[text.bytes[at + length - 1] as usize] & WORD != 0
            {
                escape = at..at + length;
            }
            at += length;
            // The quote, or the escape of one.
            if text.bytes[at - 1] == b'"' { text.quoted(at) } else { None }
        };
        if let Some(mut variable) = variable {
            at = variable.end;
            if variable.start == escape.end && text.character(variable.start).0 {
                variable.start = escape.start;
            }
            seams.variable(text.line.as_bytes(), variable);
            if seams.overflow() {
                return;
            }
        }
        if is_word {
            before = at;
        }
    }
}

/// A piece of a line that is being cut.
pub(crate) struct Text<'a, const ESCAPED: bool> {
    line: &'a str,
    /// The line up to the piece's end.
    pub(crate) bytes: &'a [u8],
    /// Where the piece begins.
    start: usize,
}

impl<const ESCAPED: bool> Text<'_, ESCAPED> {
    /// Whether the character at `at` belongs to a word, and its length. In a JSON string an escape is a character.
    #[inline]
    fn character(&self, at: usize) -> (bool, usize) {
        let byte = self.bytes[at];
        if byte < 128 && !(ESCAPED && byte == b'\\') {
            return (CLASS[byte as usize] & WORD != 0, 1);
        }
        self.long_character(at)
    }

    /// The same for one of several bytes.
    #[cold]
    fn long_character(&self, at: usize) -> (bool, usize) {
        let (c, length) = if self.bytes[at] == b'\\' {
            unescape::sequence(&self.bytes[at..]).unwrap_or(('\\', 1))
        } else {
            let c = self.line.get(at..).and_then(|rest| rest.chars().next()).unwrap_or('\0');
            (c, c.len_utf8())
        };
        (c == '_' || c.is_alphanumeric(), length)
    }

    /// Where the word that begins at `at` ends, and whether it has a digit.
    #[inline]
    fn word(&self, mut at: usize) -> (usize, bool) {
        let mut kinds = 0;
        while let Some(&byte) = self.bytes.get(at) {
            let class = CLASS[byte as usize];
            if class & WORD == 0 {
                let (is_word, length) = self.character(at);
                if !is_word {
                    break;
                }
                at += length;
            } else {
                kinds |= class;
                at += 1;
            }
        }
        (at, kinds & DIGIT != 0)
    }

    /// The variable that begins with a word without digits, if it is one, but for a date.
    fn name(&self, word: &Range<usize>) -> Option<Range<usize>> {
        let joined = match self.bytes.get(word.end) {
            Some(b'-' | b':') => shapes::hex(self, word).or_else(|| self.after_underscore(word.end)),
            _ => None,
        };
        let is_hash =
            || word.len() >= HEX_LETTERS && self.bytes[word.clone()].iter().all(u8::is_ascii_hexdigit);
        joined.or_else(|| is_hash().then_some(word.end)).map(|end| word.start..end)
    }

    /// Whether what stands at `at` may join a word without digits to more.
    #[inline]
    fn joins(&self, at: usize) -> bool {
        at > self.start && (self.bytes[at - 1] == b'_' || self.bytes[at - 1].is_ascii_hexdigit())
    }

    /// Whether a word ends right before the byte ahead of a word. Of ASCII only.
    fn follows_word(&self, start: usize) -> bool {
        start >= self.start + 2 && CLASS[self.bytes[start - 2] as usize] & WORD != 0
    }

    /// The date that begins with a word without digits.
    fn date(&self, word: &Range<usize>) -> Option<Range<usize>> {
        let is_name = shapes::is_name_of_date(&self.bytes[word.clone()]);
        let end = is_name.then(|| shapes::named_date(self, word.start))??;
        Some(word.start..end)
    }

    /// The date that begins before its first digits, which begin at `digits`, but not before `floor`.
    #[inline]
    fn date_before(&self, digits: usize, floor: usize) -> Option<Range<usize>> {
        if digits < floor + 4 || self.bytes[digits - 1] != b' ' {
            return None;
        }
        // `Sun Dec  4`, `Sun Dec 4`, `Sun, 4 Dec`, `Dec  4`, `Dec 4`: the farthest that is one.
        [9, 8, 5, 4].into_iter().find_map(|back| {
            let start = digits.checked_sub(back).filter(|start| *start >= floor)?;
            let is_border = start == self.start || CLASS[self.bytes[start - 1] as usize] & WORD == 0;
            let is_word = CLASS[self.bytes[start + 3] as usize] & WORD == 0;
            (is_border && is_word).then(|| self.date(&(start..start + 3)))?
        })
    }

    /// The variable that begins with a word with a digit, or with the sign before it.
    #[inline]
    fn number(&self, word: &Range<usize>, follows_word: bool) -> Range<usize> {
        let end = match self.bytes.get(word.end) {
            Some(b'.') => self.exponent(self.dotted(word.end)),
            Some(b'-' | b':' | b'/' | b'+') => shapes::numeric(self, word)
                .or_else(|| self.after_underscore(word.end))
                .unwrap_or_else(|| self.exponent(word.end)),
            _ => word.end,
        };
        let is_signed = word.start > self.start
            && self.bytes[word.start - 1] == b'-'
            && !follows_word
            && self.is_digit(word.start);
        word.start - usize::from(is_signed)..end
    }

    /// The variable between quotes, the first of which stands right before `start`.
    fn quoted(&self, start: usize) -> Option<Range<usize>> {
        let quote = 1 + usize::from(ESCAPED);
        let is_free = start - quote == self.start || self.bytes[start - quote - 1] == b' ';
        if !is_free {
            return None;
        }
        let mut end = start;
        let mut varies = false;
        loop {
            match self.bytes.get(end)? {
                b'"' if !ESCAPED => break,
                b'\\' if ESCAPED && self.bytes.get(end + 1) == Some(&b'"') => break,
                b'\\' => end += 1,
                byte => varies |= byte.is_ascii_digit() || *byte == b'/',
            }
            end += 1;
        }
        varies |= end == start || self.bytes[start..end] == *b"-";
        let is_closed = self.bytes.get(end + quote).is_none_or(|byte| *byte == b' ');
        (varies && is_closed).then_some(start..end)
    }

    /// Where a word that ends in `_` ends together with `-` and the number after it.
    #[inline]
    fn after_underscore(&self, end: usize) -> Option<usize> {
        let follows = self.bytes.get(end) == Some(&b'-')
            && self.bytes.get(end.wrapping_sub(1)) == Some(&b'_')
            && self.is_digit(end + 1);
        follows.then(|| self.dotted(self.word(end + 1).0))
    }

    /// Where a number ends together with its signed exponent.
    #[inline]
    fn exponent(&self, end: usize) -> usize {
        let signed =
            matches!(self.bytes.get(end), Some(b'-' | b'+')) && matches!(self.bytes[end - 1], b'e' | b'E');
        if signed && self.is_digit(end.wrapping_sub(2)) && self.is_digit(end + 1) {
            self.word(end + 1).0
        } else {
            end
        }
    }

    /// Where the digit groups end that are joined by dots to the word that ends at `end`.
    #[inline]
    pub(crate) fn dotted(&self, mut end: usize) -> usize {
        while self.bytes.get(end) == Some(&b'.') && self.is_digit(end - 1) && self.is_digit(end + 1) {
            end = self.word(end + 1).0;
        }
        end
    }

    #[inline]
    pub(crate) fn is_digit(&self, at: usize) -> bool {
        self.bytes.get(at).is_some_and(u8::is_ascii_digit)
    }

    /// Whether no character of a word stands at `at`.
    #[inline]
    pub(crate) fn is_border(&self, at: usize) -> bool {
        at >= self.bytes.len() || !self.character(at).0
    }
}

#[cfg(test)]
mod tests;
