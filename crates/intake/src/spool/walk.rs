//! Goes through a segment's bytes frame by frame. A damaged stretch is passed over to the next sound header; every step moves
//! on, so no file can hold a reader for ever.

use super::frame::{self, FRAME, FrameHeader, SEGMENT};
use std::{fs::File, io, ops::Range, os::unix::fs::FileExt};

/// How much is read ahead, in bytes.
const READ_AHEAD: usize = 256 << 10;

/// What lies next in a file.
#[derive(Debug)]
pub(super) enum Step {
    /// A frame with a sound header. Where its payload lies in the walker's buffer, unless that is damaged.
    Frame { header: FrameHeader, payload: Option<Range<usize>> },
    /// Bytes that are no frame.
    Damaged,
    /// The limit.
    End,
}

/// One segment being read.
#[derive(Debug)]
pub(super) struct Walker {
    file: File,
    seed: u32,
    /// Where the next frame begins in the file.
    position: u64,
    buffer: Vec<u8>,
    buffer_at: u64,
}

impl Walker {
    /// From the first frame on.
    pub(super) fn new(file: File, seed: u32) -> Self {
        Self { file, seed, position: SEGMENT as u64, buffer: Vec::new(), buffer_at: 0 }
    }

    /// Where the next frame begins.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Goes so many bytes back.
    pub(super) fn back(&mut self, bytes: u64) {
        self.position = self.position.saturating_sub(bytes).max(SEGMENT as u64);
    }

    /// The file's length, for one that is not written to any more.
    pub(super) fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// The payload that the last step has found.
    pub(super) fn payload(&self, range: Range<usize>) -> &[u8] {
        self.buffer.get(range).unwrap_or_default()
    }

    /// The next frame before `limit`, and moves past it. Blocks on the disk.
    pub(super) fn step(&mut self, limit: u64) -> io::Result<Step> {
        let position = self.position;
        if position >= limit {
            return Ok(Step::End);
        }
        let Some(header) = self.header_at(position, limit)? else {
            self.position = self.next_header_after(position, limit)?;
            return Ok(Step::Damaged);
        };
        let total = header.total() as usize;
        let at = self.load(position, total, limit)?;
        let payload = at + FRAME..at + total;
        self.position = position + header.total();
        let sound = self.buffer.get(payload.clone()).is_some_and(|bytes| header.holds(bytes));
        Ok(Step::Frame { header, payload: sound.then_some(payload) })
    }

    /// A sound header at `position` whose payload ends before `limit`.
    fn header_at(&mut self, position: u64, limit: u64) -> io::Result<Option<FrameHeader>> {
        let at = self.load(position, FRAME, limit)?;
        let header = FrameHeader::read(self.buffer.get(at..).unwrap_or_default(), self.seed);
        Ok(header.filter(|header| position + header.total() <= limit))
    }

    /// The first place after `position` where a sound header begins, or `limit`.
    fn next_header_after(&mut self, position: u64, limit: u64) -> io::Result<u64> {
        let mut at = position + 1;
        while at < limit {
            let start = self.load(at, FRAME, limit)?;
            let bytes = self.buffer.get(start..).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            let Some(found) = frame::find_magic(bytes) else {
                // The magic may straddle two looks.
                at += bytes.len().saturating_sub(3).max(1) as u64;
                continue;
            };
            at += found as u64;
            if self.header_at(at, limit)?.is_some() {
                return Ok(at);
            }
            at += 1;
        }
        Ok(limit)
    }

    /// Has up to `length` bytes from `position` in the buffer (fewer only at `limit` or the file's end), nothing from behind
    /// `limit`, and says where they begin.
    fn load(&mut self, position: u64, length: usize, limit: u64) -> io::Result<usize> {
        let left = usize::try_from(limit.saturating_sub(position)).unwrap_or(usize::MAX);
        let length = length.min(left);
        let end = self.buffer_at + self.buffer.len() as u64;
        if position < self.buffer_at || position + length as u64 > end {
            self.fill(position, length.max(READ_AHEAD).min(left))?;
        }
        Ok((position - self.buffer_at) as usize)
    }

    fn fill(&mut self, position: u64, length: usize) -> io::Result<()> {
        self.buffer.resize(length, 0);
        self.buffer_at = position;
        let mut filled = 0;
        while filled < length {
            match self.file.read_at(&mut self.buffer[filled..], position + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.buffer.clear();
                    return Err(error);
                }
            }
        }
        self.buffer.truncate(filled);
        Ok(())
    }
}
