//! The places of a mask at which a merge may put a variable.
//!
//! Finer than words is too fine: host names, paths and class names have now two words, now five. So a *slot* is what
//! stands between white space, brackets, quotes, `,`, `;`, `=` and `|`, without the `.`, `:`, `!`, `?` at its end; more
//! than one space before it is its padding and belongs to it; and nothing at all is a slot too between a pair of
//! brackets or quotes and behind `=`, where other lines have something. Borders of slots are borders of words.
//!
//! In the mask of a JSON line there are slots in the texts of messages only, and no escape sequence is cut.

use crate::json::{self, Visit};
use std::ops::Range;

/// The slots of `mask`, in order. All else of it is its skeleton.
///
/// **Invariant:** with a slot replaced by one NUL byte, the mask has the same skeleton, and a slot at the same place.
pub(crate) fn find(mask: &[u8], into: &mut Vec<Range<usize>>) {
    into.clear();
    let mut texts = Texts { mask, found: Vec::new() };
    if json::scan_mask(mask, &mut texts).is_some() {
        for text in texts.found {
            cut::<true>(mask, text, into);
        }
    } else {
        cut::<false>(mask, 0..mask.len(), into);
    }
}

/// The texts of messages in the mask of a JSON line.
struct Texts<'a> {
    mask: &'a [u8],
    found: Vec<Range<usize>>,
}

impl Visit for Texts<'_> {
    fn string(&mut self, key: Range<usize>, content: Range<usize>, _: bool) -> Option<()> {
        if json::is_text_key(&self.mask[key]) {
            self.found.push(content);
            return Some(());
        }
        (self.mask[content] == [0]).then_some(())
    }

    fn bare(&mut self, _: Range<usize>, _: Range<usize>) -> Option<()> {
        Some(())
    }

    fn open(&mut self, _: Range<usize>) -> Option<()> {
        Some(())
    }

    fn close(&mut self) {}
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Part of a slot.
    Inside,
    /// Part of a slot, unless it ends there.
    Stop,
    Space,
    Open(u8),
    Close(u8),
    /// Begins one and ends one.
    Quote,
    Equals,
    /// Another delimiter.
    Between,
    End,
}

/// What stands at `at`, and how many bytes that is.
fn kind<const ESCAPED: bool>(text: &[u8], at: usize) -> (Kind, usize) {
    let Some(byte) = text.get(at) else { return (Kind::End, 0) };
    let kind = match byte {
        b' ' | b'\t' | b'\r' | b'\n' => Kind::Space,
        b'.' | b':' | b'!' | b'?' => Kind::Stop,
        b'(' => Kind::Open(b')'),
        b'[' => Kind::Open(b']'),
        b'{' => Kind::Open(b'}'),
        b'<' => Kind::Open(b'>'),
        b')' | b']' | b'}' | b'>' => Kind::Close(*byte),
        b'"' | b'\'' => Kind::Quote,
        b'=' => Kind::Equals,
        b',' | b';' | b'|' => Kind::Between,
        b'\\' if ESCAPED => {
            return match text.get(at + 1) {
                // Of the raw line's words, one may begin with the letter of the escape.
                Some(b'n' | b'r' | b't' | b'f' | b'b') if begins_word(&text[at + 2..]) => (Kind::Inside, 2),
                Some(b'n' | b'r' | b't' | b'f' | b'b') => (Kind::Space, 2),
                Some(b'"') => (Kind::Quote, 2),
                Some(b'u') => (Kind::Inside, 6.min(text.len() - at)),
                Some(_) => (Kind::Inside, 2),
                None => (Kind::Inside, 1),
            };
        }
        _ => Kind::Inside,
    };
    (kind, 1)
}

/// May the byte at the start be one of a word?
fn begins_word(rest: &[u8]) -> bool {
    rest.first()
        .is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 128 || *byte == 0)
}

fn cut<const ESCAPED: bool>(mask: &[u8], range: Range<usize>, into: &mut Vec<Range<usize>>) {
    let text = &mask[..range.end];
    let mut at = range.start;
    while at < text.len() {
        let (here, length) = kind::<ESCAPED>(text, at);
        if matches!(here, Kind::Inside | Kind::Stop) {
            at = slot::<ESCAPED>(text, at, at, into);
            continue;
        }
        at += length;
        let (next, _) = kind::<ESCAPED>(text, at);
        let is_empty = match here {
            Kind::Open(closing) => next == Kind::Close(closing),
            Kind::Quote => next == Kind::Quote,
            Kind::Equals => matches!(next, Kind::Space | Kind::Between | Kind::Close(_) | Kind::End),
            _ => false,
        };
        if is_empty {
            into.push(at..at);
        } else if here == Kind::Space && next == Kind::Space {
            let padding = at;
            while let (Kind::Space, length) = kind::<ESCAPED>(text, at) {
                at += length;
            }
            if matches!(kind::<ESCAPED>(text, at).0, Kind::Inside | Kind::Stop) {
                at = slot::<ESCAPED>(text, padding, at, into);
            }
        }
    }
}

/// Reads what begins at `at`, behind its padding; a slot if there is more than stops. Returns where it ends.
fn slot<const ESCAPED: bool>(
    text: &[u8],
    padding: usize,
    mut at: usize,
    into: &mut Vec<Range<usize>>,
) -> usize {
    let mut end = None;
    loop {
        match kind::<ESCAPED>(text, at) {
            (Kind::Inside, length) => {
                at += length;
                end = Some(at);
            }
            (Kind::Stop, length) => at += length,
            _ => break,
        }
    }
    into.extend(end.map(|end| padding..end));
    at
}

#[cfg(test)]
mod tests;
