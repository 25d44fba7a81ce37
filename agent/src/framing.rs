//! Bytes become lines. A pure state machine: however the bytes are cut into blocks, the same pieces come out, and the
//! pieces tile the bytes.
//!
//! A line longer than the longest that is kept is never held: its first bytes are, the rest passes by into a checksum.
//! Nothing is handed out before its newline has come, but at the very end of a file ([`Framer::finish`]), and where waiting for it
//! was given up ([`Framer::cut`]). Lines that belong together come as one, once the next has begun (`gather`).

mod charset;
mod container;
mod gather;
mod multiline;

pub use charset::Charset;
pub use container::{Envelope, Output};
pub use multiline::Multiline;

use gather::Gather;
use millrace_intake::batch::Raw;
use millrace_model::wire::SkipReason;
use std::{borrow::Cow, collections::VecDeque, ops::Range};

/// What a stretch of bytes is.
#[derive(Debug)]
pub enum Piece<'a> {
    /// A line, or several that are one record.
    Line {
        /// In UTF-8, without its line end.
        text: &'a [u8],
        /// The bytes that it is the run of.
        raw: Raw<'a>,
        /// How many.
        length: u64,
        /// It is no text in the file's encoding, and `text` is what the file has.
        malformed: bool,
        /// What the container's runtime says of it.
        envelope: Option<&'a Envelope>,
        /// The piece before and this one may not be parted: they hold bytes of the same record.
        joined: bool,
    },
    /// A line that is too long: its head, and what is known of the rest.
    OverLong {
        /// The head, in UTF-8.
        text: &'a [u8],
        /// The head is no text in the file's encoding.
        malformed: bool,
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
        /// As in [`Piece::Line`].
        joined: bool,
    },
}

impl Piece<'_> {
    /// May what comes before it be shipped without it?
    pub fn begins(&self) -> bool {
        !matches!(self, Self::Line { joined: true, .. } | Self::Skipped { joined: true, .. })
    }
}

/// How bytes become lines.
#[derive(Debug, Clone, PartialEq)]
pub struct Framing {
    /// The longest line that is kept whole, in bytes, without the line end; lines that belong together are not longer either.
    pub max_line: usize,
    /// Which lines belong together; `None`: none do.
    pub multiline: Option<Multiline>,
    /// The lines are a container runtime's.
    pub containers: bool,
    /// What they are written in.
    pub charset: Charset,
}

impl Framing {
    /// Lines of UTF-8, each by itself.
    pub fn lines(max_line: usize) -> Self {
        Self { max_line, multiline: None, containers: false, charset: Charset::UTF_8 }
    }
}

/// A line that is whole.
#[derive(Debug)]
struct Line<'a> {
    raw: &'a [u8],
    /// In UTF-8, or as it is if it is malformed.
    text: Cow<'a, [u8]>,
    /// Its line end.
    end: &'a [u8],
    malformed: bool,
}

impl Line<'_> {
    fn is_blank(&self) -> bool {
        self.text.trim_ascii_start().is_empty()
    }
}

/// Cuts the bytes of one file into lines.
#[derive(Debug)]
pub struct Framer {
    max_line: usize,
    charset: Charset,
    /// Where the pending lines (or the zero bytes before them) begin.
    at: u64,
    /// The pending line's first bytes, at most `max_line` and a line end.
    held: Vec<u8>,
    /// How many bytes of the pending line have come.
    length: u64,
    /// The checksum of those that are not held.
    passed_crc: u32,
    /// The last bytes that came.
    last: [u8; LINE_END],
    /// Zero bytes before the pending line, as a disordered writer leaves them.
    nuls: u64,
    nuls_crc: u32,
    /// Lines that wait for others; they lie before all else that is pending.
    gather: Gather,
    /// What belongs to records of the file before.
    merged: VecDeque<Range<u64>>,
}

/// `\r\n` in UTF-16.
const LINE_END: usize = 4;
/// A line that was held is not worth more idle memory than this.
const KEPT_CAPACITY: usize = 4 << 10;

impl Framer {
    /// Starts between two lines.
    pub fn new(at: u64, framing: &Framing) -> Self {
        let Framing { max_line, multiline, containers, charset } = framing.clone();
        Self {
            max_line,
            charset,
            at,
            held: Vec::new(),
            length: 0,
            passed_crc: 0,
            last: [0; LINE_END],
            nuls: 0,
            nuls_crc: 0,
            gather: Gather::new(containers, multiline, max_line),
            merged: VecDeque::new(),
        }
    }

    /// These bytes, whole lines at the beginning of the file, belong to records of the file before.
    #[must_use]
    pub fn with_merged(self, merged: impl IntoIterator<Item = Range<u64>>) -> Self {
        let at = self.at;
        Self { merged: merged.into_iter().filter(|range| range.end > at).collect(), ..self }
    }

    /// One that begins where this one stands, by other rules.
    #[must_use]
    pub fn anew(&self, framing: &Framing) -> Self {
        Self::new(self.at, framing).with_merged(self.merged.iter().cloned())
    }

    /// Do whole lines wait, and nothing else, so that lines of the file that follows may belong to them?
    pub fn may_be_followed(&self) -> bool {
        self.gather.bytes() > 0 && self.length == 0 && self.nuls == 0
    }

    /// Which of these bytes, with which the file that follows begins, belong to what waits here. `None`: the rest of them is not there
    /// yet; with `last` no more is waited for.
    pub fn followed_by(&self, bytes: &[u8], last: bool) -> Option<Vec<Range<u64>>> {
        let mut copy = Self {
            max_line: self.max_line,
            charset: self.charset,
            at: self.at,
            held: Vec::new(),
            length: 0,
            passed_crc: 0,
            last: [0; LINE_END],
            nuls: 0,
            nuls_crc: 0,
            gather: self.gather.follow(),
            merged: VecDeque::new(),
        };
        let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
        while !copy.gather.followed().1 {
            let Some(line) = lines.next() else { break };
            copy.push(line, &mut |_| {});
        }
        if last {
            copy.gather.end(&mut |_| {});
        }
        let (found, all) = copy.gather.followed();
        all.then_some(found)
    }

    /// A line of the file that follows: what waits here goes on with it.
    pub fn lend(&mut self, line: &[u8], take: &mut impl FnMut(Piece<'_>)) {
        let (text, end) = line.split_at(line.len() - self.charset.end_length(line));
        let decoded = self.charset.decode(text);
        let malformed = decoded.is_none();
        // It is no byte of this file.
        let line = Line { raw: &[], text: decoded.unwrap_or(Cow::Borrowed(text)), end, malformed };
        let before = self.gather.bytes();
        self.gather.line(&line, take);
        self.at += before - self.gather.bytes();
    }

    /// The position after the last piece that was handed out.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// How many bytes have come since.
    pub fn pending(&self) -> u64 {
        self.gather.bytes() + self.nuls + self.length
    }

    /// Is a line pending of which the end, or a part that a container's runtime still owes, has not come?
    pub fn is_within_line(&self) -> bool {
        self.length > 0 || self.gather.has_parts()
    }

    /// Changes whenever something is handed out, or the first of what waits grows.
    pub fn progress(&self) -> (u64, u64) {
        (self.at, self.gather.first_length() + self.length)
    }

    /// Where [`Self::cut`] would end; `None`: there is nothing to give up waiting for. Zero bytes alone may yet be overwritten.
    pub fn cut_at(&self) -> Option<u64> {
        let waiting = self.gather.bytes() + self.length;
        (waiting > 0).then_some(self.at + waiting)
    }

    /// Forgets the pending bytes: they will come again.
    pub fn rewind(&mut self) {
        self.gather = self.gather.emptied();
        self.held = Vec::new();
        (self.length, self.passed_crc, self.last) = (0, 0, [0; LINE_END]);
        (self.nuls, self.nuls_crc) = (0, 0);
    }

    /// Takes the next bytes and hands out what is complete.
    pub fn push(&mut self, bytes: &[u8], take: &mut impl FnMut(Piece<'_>)) {
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            if self.length == 0 && *first == 0 && !self.charset.has_zeros() {
                let count = rest.iter().position(|byte| *byte != 0).unwrap_or(rest.len());
                self.nuls_crc = crc32c::crc32c_append(self.nuls_crc, &rest[..count]);
                self.nuls += count as u64;
                rest = &rest[count..];
                continue;
            }
            self.hand_out_nuls(take);
            let at = self.at + self.gather.bytes() + self.length;
            match self.charset.line_end(rest, at, self.last[LINE_END - 1]) {
                Some(end) if self.length == 0 => {
                    self.hand_out(&rest[..end], take);
                    rest = &rest[end..];
                }
                Some(end) => {
                    self.hold(&rest[..end]);
                    self.hand_out_held(take);
                    rest = &rest[end..];
                }
                None => {
                    self.hold(rest);
                    return;
                }
            }
        }
    }

    /// Takes so many zero bytes, as a file has them where nothing was ever written.
    pub fn push_zeros(&mut self, count: u64, take: &mut impl FnMut(Piece<'_>)) {
        if self.length == 0 && !self.charset.has_zeros() {
            self.nuls_crc = crc32c::crc32c_combine(self.nuls_crc, crc_of_zeros(count), count as usize);
            self.nuls += count;
            return;
        }
        let zeros = [0; 4096];
        let mut left = count;
        while left > 0 {
            if self.held.len() >= self.max_line + LINE_END {
                // Nothing more of the line is kept.
                self.passed_crc = crc32c::crc32c_combine(self.passed_crc, crc_of_zeros(left), left as usize);
                self.length += left;
                self.last = [0; LINE_END];
                return;
            }
            let now = left.min(zeros.len() as u64);
            self.push(&zeros[..now as usize], take);
            left -= now;
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
        self.end_gathered(take);
    }

    fn end_gathered(&mut self, take: &mut impl FnMut(Piece<'_>)) {
        let before = self.gather.bytes();
        self.gather.end(take);
        self.at += before - self.gather.bytes();
    }

    fn hand_out_nuls(&mut self, take: &mut impl FnMut(Piece<'_>)) {
        if self.nuls > 0 {
            self.end_gathered(take);
            let raw = Raw::Digest { crc32c: self.nuls_crc, length: self.nuls };
            take(Piece::Skipped { reason: SkipReason::Nul, raw, length: self.nuls, joined: false });
            self.at += self.nuls;
            (self.nuls, self.nuls_crc) = (0, 0);
        }
    }

    fn hold(&mut self, bytes: &[u8]) {
        let room = (self.max_line + LINE_END).saturating_sub(self.held.len()).min(bytes.len());
        self.held.extend_from_slice(&bytes[..room]);
        self.passed_crc = crc32c::crc32c_append(self.passed_crc, &bytes[room..]);
        self.length += bytes.len() as u64;
        let new = bytes.len().min(LINE_END);
        self.last.copy_within(new.., 0);
        self.last[LINE_END - new..].copy_from_slice(&bytes[bytes.len() - new..]);
    }

    fn hand_out_held(&mut self, take: &mut impl FnMut(Piece<'_>)) {
        let held = std::mem::take(&mut self.held);
        let passed = self.length - held.len() as u64;
        if passed == 0 {
            self.hand_out(&held, take);
        } else {
            let line_end = self.charset.end_length(&self.last) as u64;
            let kept = &held[..self.charset.floor(&held, self.max_line)];
            let rest_length = self.length - kept.len() as u64;
            let crc32c =
                crc32c::crc32c_combine(crc32c::crc32c(&held[kept.len()..]), self.passed_crc, passed as usize);
            let rest = Raw::Digest { crc32c, length: rest_length };
            self.hand_out_over_long(kept, rest, rest_length, self.length - line_end, take);
        }
        self.held = held;
        self.held.clear();
        self.held.shrink_to(KEPT_CAPACITY);
        (self.length, self.passed_crc, self.last) = (0, 0, [0; LINE_END]);
    }

    /// Hands out a line of which every byte is at hand.
    fn hand_out(&mut self, raw: &[u8], take: &mut impl FnMut(Piece<'_>)) {
        let (line, end) = raw.split_at(raw.len() - self.charset.end_length(raw));
        if line.len() > self.max_line {
            let (kept, rest) = raw.split_at(self.charset.floor(raw, self.max_line));
            self.hand_out_over_long(kept, Raw::Bytes(rest), rest.len() as u64, line.len() as u64, take);
            return;
        }
        let position = self.at + self.gather.bytes();
        if self.is_merged(position) {
            self.gather.merged(raw, take);
            self.at += position + raw.len() as u64 - self.at - self.gather.bytes();
            return;
        }
        let first = position == 0;
        let marked = if first { self.charset.mark_length(line) } else { 0 };
        let decoded = self.charset.decode(&line[marked..]);
        let malformed = decoded.is_none();
        let line = Line { raw, text: decoded.unwrap_or(Cow::Borrowed(line)), end, malformed };
        if !self.gather.is_idle() {
            let before = self.gather.bytes() + raw.len() as u64;
            self.gather.line(&line, take);
            self.at += before - self.gather.bytes();
            return;
        }
        let (raw, length) = (Raw::Bytes(raw), raw.len() as u64);
        take(if line.is_blank() {
            Piece::Skipped { reason: SkipReason::Blank, raw, length, joined: false }
        } else {
            Piece::Line { text: &line.text, raw, length, malformed, envelope: None, joined: false }
        });
        self.at += length;
    }

    /// Does the line that begins here belong to a record of the file before?
    fn is_merged(&mut self, position: u64) -> bool {
        while self.merged.front().is_some_and(|range| range.end <= self.at) {
            self.merged.pop_front();
        }
        self.merged.iter().any(|range| range.contains(&position))
    }

    fn hand_out_over_long(
        &mut self,
        kept: &[u8],
        rest: Raw<'_>,
        rest_length: u64,
        length: u64,
        take: &mut impl FnMut(Piece<'_>),
    ) {
        self.end_gathered(take);
        let decoded = self.charset.decode(kept);
        let malformed = decoded.is_none();
        let text = &decoded.unwrap_or(Cow::Borrowed(kept));
        take(Piece::OverLong { text, malformed, kept, rest, rest_length, length });
        self.at += kept.len() as u64 + rest_length;
    }
}

/// The checksum of so many zero bytes, in as many steps as their number has binary digits.
fn crc_of_zeros(count: u64) -> u32 {
    let (mut crc, mut block, mut length, mut left) = (0, crc32c::crc32c(&[0]), 1_u64, count);
    while left > 0 {
        if left & 1 == 1 {
            crc = crc32c::crc32c_combine(crc, block, length as usize);
        }
        block = crc32c::crc32c_combine(block, block, length as usize);
        length = length.wrapping_mul(2);
        left >>= 1;
    }
    crc
}

#[cfg(test)]
mod tests;
