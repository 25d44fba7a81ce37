//! Bytes become lines. A pure state machine: however the bytes are cut into blocks, the same pieces come out, and the
//! pieces tile the bytes.
//!
//! A line longer than the longest that is kept is never held: its first bytes are, the rest passes by into a checksum.
//! Nothing is handed out before its newline has come, but at the very end of a file ([`Framer::finish`]).

use millrace_intake::batch::Raw;
use millrace_model::wire::SkipReason;

/// What a stretch of bytes is.
#[derive(Debug)]
pub enum Piece<'a> {
    /// A line.
    Line {
        /// Without its line end.
        text: &'a [u8],
        /// With it.
        raw: &'a [u8],
    },
    /// A line that is too long: its head, and what is known of the rest.
    OverLong {
        /// The first bytes, as many as are kept.
        kept: &'a [u8],
        /// The rest, line end included.
        rest: Raw<'a>,
        /// How many bytes the rest has.
        rest_length: u64,
        /// How long the line really is, without its line end.
        length: u64,
    },
    /// No line.
    Skipped {
        /// Why.
        reason: SkipReason,
        /// The bytes.
        raw: Raw<'a>,
        /// How many.
        length: u64,
    },
}

/// Cuts the bytes of one file into lines.
#[derive(Debug)]
pub struct Framer {
    max_line: usize,
    /// Where the pending line (or the zero bytes before it) begins.
    at: u64,
    /// The pending line's first bytes, at most `max_line` and a line end.
    held: Vec<u8>,
    /// How many bytes of the pending line have come.
    length: u64,
    /// The checksum of those that are not held.
    passed_crc: u32,
    /// The last two bytes that came.
    last: [u8; 2],
    /// Zero bytes before the pending line, as a disordered writer leaves them.
    nuls: u64,
    nuls_crc: u32,
}

/// `\r\n`.
const LINE_END: usize = 2;
/// A line that was held is not worth more idle memory than this.
const KEPT_CAPACITY: usize = 4 << 10;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl Framer {
    /// Starts between two lines. `max_line` is in bytes, without the line end.
    pub fn new(at: u64, max_line: usize) -> Self {
        Self { max_line, at, held: Vec::new(), length: 0, passed_crc: 0, last: [0; 2], nuls: 0, nuls_crc: 0 }
    }

    /// The position after the last piece that was handed out.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// How many bytes have come since.
    pub fn pending(&self) -> u64 {
        self.nuls + self.length
    }

    /// Forgets the pending bytes: they will come again.
    pub fn rewind(&mut self) {
        *self = Self::new(self.at, self.max_line);
    }

    /// Takes the next bytes and hands out what is complete.
    pub fn push(&mut self, bytes: &[u8], take: &mut impl FnMut(Piece<'_>)) {
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            if self.length == 0 && *first == 0 {
                let count = rest.iter().position(|byte| *byte != 0).unwrap_or(rest.len());
                self.nuls_crc = crc32c::crc32c_append(self.nuls_crc, &rest[..count]);
                self.nuls += count as u64;
                rest = &rest[count..];
                continue;
            }
            self.hand_out_nuls(take);
            match memchr::memchr(b'\n', rest) {
                Some(at) if self.length == 0 => {
                    self.hand_out(&rest[..=at], take);
                    rest = &rest[at + 1..];
                }
                Some(at) => {
                    self.hold(&rest[..=at]);
                    self.hand_out_held(take);
                    rest = &rest[at + 1..];
                }
                None => {
                    self.hold(rest);
                    return;
                }
            }
        }
    }

    /// No more bytes will ever come: what is pending is the last line.
    pub fn finish(&mut self, take: &mut impl FnMut(Piece<'_>)) {
        self.hand_out_nuls(take);
        if self.length > 0 {
            self.hand_out_held(take);
        }
    }

    fn hand_out_nuls(&mut self, take: &mut impl FnMut(Piece<'_>)) {
        if self.nuls > 0 {
            let raw = Raw::Digest { crc32c: self.nuls_crc, length: self.nuls };
            take(Piece::Skipped { reason: SkipReason::Nul, raw, length: self.nuls });
            self.at += self.nuls;
            (self.nuls, self.nuls_crc) = (0, 0);
        }
    }

    fn hold(&mut self, bytes: &[u8]) {
        let room = (self.max_line + LINE_END).saturating_sub(self.held.len()).min(bytes.len());
        self.held.extend_from_slice(&bytes[..room]);
        self.passed_crc = crc32c::crc32c_append(self.passed_crc, &bytes[room..]);
        self.length += bytes.len() as u64;
        match bytes {
            [.., a, b] => self.last = [*a, *b],
            [b] => self.last = [self.last[1], *b],
            [] => {}
        }
    }

    fn hand_out_held(&mut self, take: &mut impl FnMut(Piece<'_>)) {
        let held = std::mem::take(&mut self.held);
        let passed = self.length - held.len() as u64;
        if passed == 0 {
            self.hand_out(&held, take);
        } else {
            let line_end = match self.last {
                [b'\r', b'\n'] => 2,
                [_, b'\n'] => 1,
                _ => 0,
            };
            let kept = &held[..floor_char(&held, self.max_line)];
            let rest_length = self.length - kept.len() as u64;
            let crc32c =
                crc32c::crc32c_combine(crc32c::crc32c(&held[kept.len()..]), self.passed_crc, passed as usize);
            let rest = Raw::Digest { crc32c, length: rest_length };
            take(Piece::OverLong { kept, rest, rest_length, length: self.length - line_end });
            self.at += self.length;
        }
        self.held = held;
        self.held.clear();
        self.held.shrink_to(KEPT_CAPACITY);
        (self.length, self.passed_crc, self.last) = (0, 0, [0; 2]);
    }

    /// Hands out a line of which every byte is at hand.
    fn hand_out(&mut self, raw: &[u8], take: &mut impl FnMut(Piece<'_>)) {
        let mut text = raw;
        if let [before @ .., b'\n'] = text {
            text = before.strip_suffix(b"\r").unwrap_or(before);
        }
        if text.len() > self.max_line {
            let (kept, rest) = raw.split_at(floor_char(raw, self.max_line));
            let rest_length = rest.len() as u64;
            take(Piece::OverLong { kept, rest: Raw::Bytes(rest), rest_length, length: text.len() as u64 });
        } else if text.trim_ascii_start().is_empty() {
            let raw_bytes = Raw::Bytes(raw);
            take(Piece::Skipped { reason: SkipReason::Blank, raw: raw_bytes, length: raw.len() as u64 });
        } else {
            if self.at == 0 {
                text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
            }
            take(Piece::Line { text, raw });
        }
        self.at += raw.len() as u64;
    }
}

/// The last place at or before `at` that does not cut a UTF-8 character, if there is one within its length.
fn floor_char(bytes: &[u8], at: usize) -> usize {
    let continues = |at: usize| bytes.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    (at.saturating_sub(3)..=at).rev().find(|at| !continues(*at)).filter(|at| *at > 0).unwrap_or(at)
}

#[cfg(test)]
mod tests;
