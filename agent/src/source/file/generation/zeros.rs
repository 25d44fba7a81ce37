//! Zero bytes: where a file has a hole, where it was allocated ahead, and where a writer left them behind. And what a file's first
//! bytes say of its encoding.

use super::{
    super::{FileContext, MARKER, content::Content, records::put},
    Generation,
};
use crate::framing::{Charset, Piece};
use std::io;

impl Generation {
    /// How much of the window is there for sure: zero bytes at its end may be written over.
    pub(super) fn without_zeros(&self, window: &[u8], before: usize) -> usize {
        if self.framing.charset.has_zeros() {
            return window.len();
        }
        window[before..].iter().rposition(|byte| *byte != 0).map_or(before, |last| before + last + 1)
    }

    /// Where nothing was ever written, nothing is read.
    pub(super) fn pass_hole(&mut self, content: &Content, to: u64) {
        if self.zeros > 0 {
            let at = self.read_to + self.zeros;
            self.zeros += content.next_data(at, to).saturating_sub(at);
        }
    }

    /// The zero bytes behind what was read will not be written over: something follows them, or nothing ever will.
    pub(super) fn keep_zeros(&mut self, context: &FileContext) {
        let mut left = std::mem::take(&mut self.zeros);
        let observed = context.shared.clock.now();
        while left > 0 {
            let cut =
                self.cuts.front().map(|cut| cut.saturating_sub(self.read_to)).filter(|cut| *cut <= left);
            let count = cut.unwrap_or(left);
            let Self { framer, outbox, resource, .. } = self;
            let take = &mut |piece: Piece<'_>| put(&piece, outbox, observed, resource, context);
            framer.push_zeros(count, take);
            if cut.is_some() {
                framer.cut(take);
                self.cuts.pop_front();
            }
            self.read_to += count;
            let new = usize::try_from(count).unwrap_or(MARKER).min(MARKER);
            self.tail.resize(self.tail.len() + new, 0);
            self.tail.drain(..self.tail.len().saturating_sub(MARKER));
            left -= count;
        }
    }

    /// What is it written in? `false`: too little of it is there to tell.
    pub(super) fn find_charset(&mut self, content: &mut Content, size: u64) -> io::Result<bool> {
        let mut first = [0; 4];
        let mut length = 0;
        while length < first.len() {
            match content.read_at(&mut first[length..], length as u64)? {
                0 => break,
                more => length += more,
            }
        }
        let first = &first[..length];
        let more_may_come = self.leaving.is_none() && self.closing.is_none() && size < u64::MAX;
        if Charset::may_be_marked(first) && more_may_come {
            return Ok(false);
        }
        if let Some(charset) = Charset::of_mark(first) {
            self.framing.charset = charset;
            self.framer = self.framer.anew(&self.framing);
        }
        self.charset_known = true;
        Ok(true)
    }
}
