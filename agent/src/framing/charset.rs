//! How a file's bytes are text: where its lines end, and what they say in UTF-8.
//!
//! All encodings of the WHATWG's Encoding Standard are known (`encoding_rs`). But for UTF-16, a byte `\n` is a line end in each of
//! them and nothing else.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use std::borrow::Cow;

/// The encoding of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Charset(Option<&'static Encoding>);

impl Charset {
    /// UTF-8, or whatever it is: bytes are taken as they are.
    pub const UTF_8: Self = Self(None);

    /// By one of its names, such as `utf-16le`, `shift_jis` or `latin1`.
    pub fn named(label: &str) -> Option<Self> {
        let encoding = Encoding::for_label_no_replacement(label.as_bytes())?;
        Some(Self((encoding != UTF_8).then_some(encoding)))
    }

    /// What a file's first bytes say, if they are a byte order mark. Four bytes are enough to tell.
    pub fn of_mark(first: &[u8]) -> Option<Self> {
        let (encoding, _) = Encoding::for_bom(first)?;
        Some(Self((encoding != UTF_8).then_some(encoding)))
    }

    /// May more bytes after these make a byte order mark of them?
    pub fn may_be_marked(first: &[u8]) -> bool {
        let marks: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"];
        marks.iter().any(|mark| first.len() < mark.len() && mark.starts_with(first))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.0.unwrap_or(UTF_8).name()
    }

    fn is_wide(self) -> bool {
        self.0.is_some_and(|encoding| encoding == UTF_16LE || encoding == UTF_16BE)
    }

    /// Do texts have zero bytes in them? Where they do not, such bytes are what a writer left behind.
    pub(crate) fn has_zeros(self) -> bool {
        self.is_wide()
    }

    /// Where the first line ends that ends in these bytes: behind its `\n`. They lie at the position `at`, after the byte `before`.
    pub(super) fn line_end(self, bytes: &[u8], at: u64, before: u8) -> Option<usize> {
        if !self.is_wide() {
            return memchr::memchr(b'\n', bytes).map(|found| found + 1);
        }
        let big = self.0 == Some(UTF_16BE);
        if !big && at % 2 == 1 && before == b'\n' && bytes.first() == Some(&0) {
            return Some(1);
        }
        memchr::memchr_iter(b'\n', bytes).find_map(|found| {
            let second = (at + found as u64) % 2 == 1;
            let other = match (big, second) {
                (true, true) => found.checked_sub(1).map_or(Some(before), |at| bytes.get(at).copied()),
                (false, false) => bytes.get(found + 1).copied(),
                _ => None,
            };
            (other == Some(0)).then_some(found + if big { 1 } else { 2 })
        })
    }

    /// How many bytes of line end, `\n` or `\r\n`, these end in.
    pub(super) fn end_length(self, bytes: &[u8]) -> usize {
        let ends: [&[u8]; 2] = match self.0 {
            Some(encoding) if encoding == UTF_16LE => [b"\r\0\n\0", b"\n\0"],
            Some(encoding) if encoding == UTF_16BE => [b"\0\r\0\n", b"\0\n"],
            _ => [b"\r\n", b"\n"],
        };
        ends.iter().find(|end| bytes.ends_with(end)).map_or(0, |end| end.len())
    }

    /// How many bytes of a byte order mark these begin with.
    pub(super) fn mark_length(self, bytes: &[u8]) -> usize {
        match Encoding::for_bom(bytes) {
            Some((encoding, length)) if encoding == self.0.unwrap_or(UTF_8) => length,
            _ => 0,
        }
    }

    /// The last place at or before `at` that does not cut a character, if there is one within its length.
    pub(super) fn floor(self, bytes: &[u8], at: usize) -> usize {
        match self.0 {
            None => floor_utf_8(bytes, at),
            Some(_) if self.is_wide() => at & !1,
            Some(_) => at,
        }
    }

    /// The text in UTF-8; `None`: it is none in this encoding.
    pub(super) fn decode(self, text: &[u8]) -> Option<Cow<'_, [u8]>> {
        let Some(encoding) = self.0 else { return Some(Cow::Borrowed(text)) };
        let decoded = encoding.decode_without_bom_handling_and_without_replacement(text)?;
        Some(match decoded {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        })
    }
}

fn floor_utf_8(bytes: &[u8], at: usize) -> usize {
    let continues = |at: usize| bytes.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    (at.saturating_sub(3)..=at).rev().find(|at| !continues(*at)).filter(|at| *at > 0).unwrap_or(at)
}
