//! Compressed frames with their lengths, the way this crate writes them everywhere: zstd without checksum (blocks of the
//! bundle have theirs) and without content size (it stands beside).

use crate::bytes::{Malformed, Reader, put_bytes, put_number};
use std::{cell::RefCell, io};

/// Measured on the mixed corpus: higher levels take 1 % off the whole and cost twice the time.
const LEVEL: i32 = 1;
/// No frame holds more; what says so is damaged.
pub(crate) const MAX_LENGTH: usize = 1 << 30;

/// Keeps its working memory between frames.
pub(crate) struct Compressor {
    zstd: Option<zstd::bulk::Compressor<'static>>,
    frame: Vec<u8>,
}

impl Default for Compressor {
    fn default() -> Self {
        let zstd = zstd::bulk::Compressor::new(LEVEL).and_then(|mut zstd| {
            zstd.include_checksum(false)?;
            zstd.include_contentsize(false)?;
            Ok(zstd)
        });
        Self { zstd: zstd.ok(), frame: Vec::new() }
    }
}

impl Compressor {
    /// The frame of `bytes` alone, without lengths and even where it is longer; [`decompress`] reads it.
    pub(crate) fn compress(&mut self, bytes: &[u8]) -> io::Result<&[u8]> {
        let zstd = self.zstd.as_mut().ok_or_else(|| io::Error::other("zstd gives no compressor"))?;
        self.frame.clear();
        self.frame.reserve(zstd::zstd_safe::compress_bound(bytes.len()));
        zstd.compress_to_buffer(bytes, &mut self.frame)?;
        Ok(&self.frame)
    }

    /// Appends the length of `bytes` and, compressed or as they are where that is no longer, themselves with theirs.
    pub(crate) fn put_frame(&mut self, into: &mut Vec<u8>, bytes: &[u8]) -> io::Result<()> {
        put_number(into, bytes.len() as u64);
        if bytes.is_empty() {
            return Ok(());
        }
        let frame = self.compress(bytes)?;
        put_bytes(into, if frame.len() < bytes.len() { frame } else { bytes });
        Ok(())
    }
}

thread_local! {
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> =
        RefCell::new(zstd::bulk::Decompressor::new().ok());
}

/// Reads what [`Compressor::put_frame`] wrote.
pub(crate) fn read_frame(reader: &mut Reader<'_>) -> Result<Vec<u8>, Malformed> {
    let length = reader.below(MAX_LENGTH)?;
    if length == 0 {
        return Ok(Vec::new());
    }
    let frame = reader.bytes()?;
    if frame.len() >= length {
        return if frame.len() == length {
            Ok(frame.to_vec())
        } else {
            Err(Malformed("a shorter frame expected"))
        };
    }
    decompress(frame, length)
}

/// Passes over what [`Compressor::put_frame`] wrote; returns it as it stands.
pub(crate) fn skip_frame<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let before = reader.rest();
    if reader.below(MAX_LENGTH)? > 0 {
        reader.bytes()?;
    }
    Ok(&before[..before.len() - reader.rest().len()])
}

/// Decompresses a frame of known length. Memory is taken as bytes come, so a wrong length costs nothing.
pub(crate) fn decompress(frame: &[u8], length: usize) -> Result<Vec<u8>, Malformed> {
    let broken = Malformed("a whole zstd frame of that length expected");
    // zstd shrinks by some thousands at most per block of 128 KiB; more is a lie about the length.
    if length > MAX_LENGTH || length / 40_000 > frame.len() {
        return Err(broken);
    }
    let bytes =
        DECOMPRESSOR.with_borrow_mut(|decompressor| decompressor.as_mut()?.decompress(frame, length).ok());
    bytes.filter(|bytes| bytes.len() == length).ok_or(broken)
}
