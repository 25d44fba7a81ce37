//! Zero bytes: where a file has a hole, where it was allocated ahead, and where a writer left them behind. And what a file's first
//! bytes say of its encoding.

use super::{
    super::{FileContext, MARKER, content::Content, records::put},
    Failure, Generation,
};
use crate::framing::{Charset, Framer};
use std::io;

impl Generation {
    /// Where nothing was ever written, nothing is read.
    pub(super) fn pass_hole(
        &mut self,
        content: &Content,
        to: u64,
        context: &FileContext,
    ) -> Result<(), Failure> {
        let data = content.next_data(self.read_to, to);
        let count = data.saturating_sub(self.read_to);
        if count == 0 {
            return Ok(());
        }
        let cut = self.cuts.front().copied().filter(|cut| *cut <= data);
        let count = cut.map_or(count, |cut| cut.saturating_sub(self.read_to));
        let observed = context.shared.clock.now();
        let Self { framer, outbox, resource, .. } = self;
        framer.push_zeros(count, &mut |piece| put(&piece, outbox, observed, resource, context));
        self.moved_over_zeros(count);
        Ok(())
    }

    fn moved_over_zeros(&mut self, count: u64) {
        self.read_to += count;
        let new = usize::try_from(count).unwrap_or(MARKER).min(MARKER);
        self.tail.resize(self.tail.len() + new, 0);
        self.tail.drain(..self.tail.len().saturating_sub(MARKER));
    }

    /// Zero bytes up to the end may be written over: they are read again, until something follows them or the file ends.
    pub(super) fn step_back_over_zeros(&mut self, content: &mut Content) -> io::Result<()> {
        self.zeros = self.framer.trailing_zeros();
        if self.zeros == 0 {
            return Ok(());
        }
        let end = self.read_to - self.zeros;
        let mut tail = vec![0; end.min(MARKER as u64) as usize];
        let from = end - tail.len() as u64;
        content.read_exact_at(&mut tail, from)?;
        self.framer.forget_zeros();
        (self.read_to, self.tail) = (end, tail);
        Ok(())
    }

    /// Nothing will be written over them any more.
    pub(super) fn keep_zeros(&mut self, count: u64) {
        self.framer.push_zeros(count, &mut |_| {});
        self.moved_over_zeros(count);
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
            self.framer = Framer::new(self.framer.at(), &self.framing);
        }
        self.charset_known = true;
        Ok(true)
    }
}
