//! What a generation's last records have in the file that follows, and what a file has of the records before it.

use super::{super::content::Content, Generation};
use crate::checkpoint::{Closing, GoesOn};
use std::{io, ops::Range, time::Duration};

impl Generation {
    /// Was nothing read of it yet, so that its first lines may belong to another's last records?
    pub(crate) fn may_follow(&self) -> bool {
        let gathers = self.framing.containers || self.framing.multiline.is_some();
        gathers && self.read_to == 0 && self.closing.is_none() && self.settled.is_none_or(|size| size == 0)
    }

    /// Whole lines wait for the lines that follow them; for how long? `None`: none do.
    pub(crate) fn waits_for_its_follower(&self) -> Option<Duration> {
        self.framer.may_be_followed().then(|| self.progress.1.elapsed())
    }

    /// Its first bytes, at most so many; `None`: none, or they cannot be read.
    pub(crate) fn peek(&mut self, most: usize) -> Option<Vec<u8>> {
        self.open().ok().filter(|opened| *opened)?;
        let content = self.handle.as_mut()?;
        let mut bytes = vec![0; most];
        let mut length = 0;
        while length < most {
            match content.read_at(&mut bytes[length..], length as u64).ok()? {
                0 => break,
                more => length += more,
            }
        }
        bytes.truncate(length);
        (length > 0).then_some(bytes)
    }

    /// See [`crate::framing::Framer::followed_by`].
    pub(crate) fn followed_by(&self, bytes: &[u8], last: bool) -> Option<Vec<Range<u64>>> {
        self.framer.followed_by(bytes, last)
    }

    /// Its end is decided.
    pub(crate) fn decide(&mut self, closing: Closing) {
        self.closing = Some(closing);
    }

    pub(crate) fn goes_on(&self) -> Option<&GoesOn> {
        self.closing.as_ref()?.goes_on.as_ref()
    }

    /// These lines belong to records of the file before.
    pub(crate) fn take_as_merged(&mut self, ranges: &[Range<u64>]) {
        self.framer = self.framer.anew(&self.framing).with_merged(ranges.iter().cloned());
    }

    pub(crate) fn read_ranges(&mut self, ranges: &[Range<u64>]) -> io::Result<Vec<u8>> {
        let mut lines = Vec::new();
        if !self.open()? {
            return Err(io::ErrorKind::NotFound.into());
        }
        let content: &mut Content = self.handle.as_mut().ok_or(io::ErrorKind::NotFound)?;
        for range in ranges {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            content.read_exact_at(&mut bytes, range.start)?;
            lines.append(&mut bytes);
        }
        Ok(lines)
    }
}
