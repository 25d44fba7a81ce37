//! Bytes become lines. A pure state machine: however the bytes are cut into blocks, the same pieces come out, and the
//! pieces tile the bytes.
//!
//! A line longer than the longest that is kept is never held: its first bytes are, the rest passes by into a checksum.
//! Nothing is handed out before its newline has come, but at the very end of a file ([`Framer::finish`]), and where waiting for it
//! was given up ([`Framer::cut`]). Lines that belong together ([`Multiline`]) come as one, once the next has begun.

mod multiline;

pub use multiline::Multiline;

use millrace_intake::batch::Raw;
use millrace_model::wire::SkipReason;
use multiline::State;
use std::ops::Range;

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
    /// Which lines belong together, and those that are gathered so far; they lie before all else that is pending.
    multiline: Option<Multiline>,
    group: Group,
}

/// Lines that belong together.
#[derive(Debug)]
struct Group {
    /// Their bytes, and blank lines that may turn out to be within.
    held: Vec<u8>,
    /// Where their text begins and ends in that; a line end does not belong to it.
    text: Range<usize>,
    /// Where the last of them ends, and the blank ones after it begin.
    end: usize,
    state: State,
}

impl Group {
    const EMPTY: Self = Self { held: Vec::new(), text: 0..0, end: 0, state: State::Line };

    fn add(&mut self, raw: &[u8], text: &Range<usize>, state: State) {
        if self.held.is_empty() {
            self.text.start = text.start;
        }
        self.text.end = self.held.len() + text.end;
        self.held.extend_from_slice(raw);
        self.end = self.held.len();
        self.state = state;
    }
}

/// `\r\n`.
const LINE_END: usize = 2;
/// A line that was held is not worth more idle memory than this.
const KEPT_CAPACITY: usize = 4 << 10;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl Framer {
    /// Starts between two lines. `max_line` is in bytes, without the line end; lines that belong together are not longer either.
    pub fn new(at: u64, max_line: usize, multiline: Option<Multiline>) -> Self {
        Self {
            max_line,
            at,
            held: Vec::new(),
            length: 0,
            passed_crc: 0,
            last: [0; 2],
            nuls: 0,
            nuls_crc: 0,
            multiline,
            group: Group::EMPTY,
        }
    }

    /// The position after the last piece that was handed out.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// How many bytes have come since.
    pub fn pending(&self) -> u64 {
        self.group.held.len() as u64 + self.nuls + self.length
    }

    /// Is a line pending of which the end has not come?
    pub fn is_within_line(&self) -> bool {
        self.length > 0
    }

    /// Where [`Self::cut`] would end; `None`: there is nothing to give up waiting for. Zero bytes alone may yet be overwritten.
    pub fn cut_at(&self) -> Option<u64> {
        let waiting = self.group.held.len() as u64 + self.length;
        (waiting > 0).then_some(self.at + waiting)
    }

    /// Forgets the pending bytes: they will come again.
    pub fn rewind(&mut self) {
        *self = Self::new(self.at, self.max_line, self.multiline.take());
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
        self.cut(take);
    }

    /// Hands out what is pending as if it were complete. The bytes that come next begin anew.
    pub fn cut(&mut self, take: &mut impl FnMut(Piece<'_>)) {
        if self.length > 0 {
            self.hand_out_held(take);
        }
        self.hand_out_group(take);
    }

    fn hand_out_nuls(&mut self, take: &mut impl FnMut(Piece<'_>)) {
        if self.nuls > 0 {
            self.hand_out_group(take);
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
            self.hand_out_group(take);
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
            self.hand_out_group(take);
            let (kept, rest) = raw.split_at(floor_char(raw, self.max_line));
            let rest_length = rest.len() as u64;
            take(Piece::OverLong { kept, rest: Raw::Bytes(rest), rest_length, length: text.len() as u64 });
        } else if text.trim_ascii_start().is_empty() {
            if !self.group.held.is_empty() && self.group.held.len() + raw.len() <= self.max_line {
                self.group.held.extend_from_slice(raw);
                return;
            }
            self.hand_out_group(take);
            let raw_bytes = Raw::Bytes(raw);
            take(Piece::Skipped { reason: SkipReason::Blank, raw: raw_bytes, length: raw.len() as u64 });
        } else {
            let marked = self.at == 0 && self.group.held.is_empty() && text.starts_with(BYTE_ORDER_MARK);
            let text = if marked { BYTE_ORDER_MARK.len() } else { 0 }..text.len();
            if self.gather(raw, &text, take) {
                return;
            }
            take(Piece::Line { text: &raw[text], raw });
        }
        self.at += raw.len() as u64;
    }

    /// Takes the line in with those that it belongs to; `false`: every line is by itself.
    fn gather(&mut self, raw: &[u8], text: &Range<usize>, take: &mut impl FnMut(Piece<'_>)) -> bool {
        let Some(multiline) = &self.multiline else { return false };
        let line = &raw[text.clone()];
        let fits = self.group.held.len() + raw.len() <= self.max_line;
        let goes_on = !self.group.held.is_empty() && fits;
        let goes_on = if goes_on { multiline.go_on(self.group.state, line) } else { None };
        let state = goes_on.unwrap_or_else(|| multiline.begin(line));
        if goes_on.is_none() {
            self.hand_out_group(take);
        }
        self.group.add(raw, text, state);
        true
    }

    fn hand_out_group(&mut self, take: &mut impl FnMut(Piece<'_>)) {
        if self.group.held.is_empty() {
            return;
        }
        let Group { mut held, text, end, .. } = std::mem::replace(&mut self.group, Group::EMPTY);
        let (lines, blank) = held.split_at(end);
        take(Piece::Line { text: &lines[text], raw: lines });
        if !blank.is_empty() {
            let length = blank.len() as u64;
            take(Piece::Skipped { reason: SkipReason::Blank, raw: Raw::Bytes(blank), length });
        }
        self.at += held.len() as u64;
        held.clear();
        held.shrink_to(KEPT_CAPACITY);
        self.group.held = held;
    }
}

/// The last place at or before `at` that does not cut a UTF-8 character, if there is one within its length.
fn floor_char(bytes: &[u8], at: usize) -> usize {
    let continues = |at: usize| bytes.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    (at.saturating_sub(3)..=at).rev().find(|at| !continues(*at)).filter(|at| *at > 0).unwrap_or(at)
}

#[cfg(test)]
mod tests;
